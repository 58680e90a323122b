/* SPDX-License-Identifier: MIT */
/*
 * vellum/errno.h - error numbers: Linux's own (errno(3)) on every host, since guests see them.
 *
 * Library calls return 0 or a negative VELLUM_E*; they never set errno.
 */
#ifndef VELLUM_ERRNO_H
#define VELLUM_ERRNO_H

#ifdef __cplusplus
extern "C" {
#endif

enum vellum_errno {
	VELLUM_EPERM = 1,
	VELLUM_ENOENT = 2,
	VELLUM_ESRCH = 3,
	VELLUM_EINTR = 4,
	VELLUM_EIO = 5,
	VELLUM_E2BIG = 7,
	VELLUM_EBADF = 9,
	VELLUM_EAGAIN = 11,
	VELLUM_ENOMEM = 12,
	VELLUM_EACCES = 13,
	VELLUM_EFAULT = 14,
	VELLUM_EBUSY = 16,
	VELLUM_EEXIST = 17,
	VELLUM_ENODEV = 19,
	VELLUM_EINVAL = 22,
	VELLUM_EFBIG = 27,
	VELLUM_ENOSPC = 28,
	VELLUM_EOVERFLOW = 75,
	VELLUM_EOPNOTSUPP = 95,
	VELLUM_EHWPOISON = 133,
};

/**
 * vellum_strerror - a short text for an error number
 * @err: a VELLUM_E* number, positive or negative.
 *
 * Return: a constant string, never NULL; "unknown error" for a number that no
 *         call of this library returns.
 */
const char *vellum_strerror(int err);

#ifdef __cplusplus
}
#endif
#endif
