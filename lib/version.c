/* SPDX-License-Identifier: MIT */
/* lib/version.c - the version of the library. */
#include "vellum/version.h"

#define EXPORT __attribute__((visibility("default")))

EXPORT unsigned vellum_version(void)
{
	return VELLUM_VERSION;
}
