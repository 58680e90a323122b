/* SPDX-License-Identifier: MIT */
/*
 * A stand-in for a header that some of Linux's tests include: the ioctls of a debugfs file for pins. Neither the host
 * nor Vellum has that file, so no test gets to a call of them. The numbers are arbitrary.
 */
#pragma once
#include <linux/types.h>

struct pin_longterm_test {
	__u64 addr;
	__u64 size;
	__u32 flags;
};

#define PIN_LONGTERM_TEST_FLAG_USE_WRITE 1
#define PIN_LONGTERM_TEST_FLAG_USE_FAST 2
#define PIN_LONGTERM_TEST_START _IOW('g', 0xf0, struct pin_longterm_test)
#define PIN_LONGTERM_TEST_STOP _IO('g', 0xf1)
#define PIN_LONGTERM_TEST_READ _IOW('g', 0xf2, __u64)
