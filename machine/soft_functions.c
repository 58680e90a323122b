/* SPDX-License-Identifier: MIT */
/* machine/soft_functions.c - the inline accessors of vellum/soft.h as ordinary functions, for bindings. */
#define VELLUM_SOFT_INLINE __attribute__((visibility("default")))
#include "vellum/soft.h"
