/* SPDX-License-Identifier: MIT */
/* lib/version.c - the version of the library. */
#include "vellum/version.h"
#include "lib/types.h"

EXPORT unsigned vellum_version(void)
{
	return VELLUM_VERSION;
}
