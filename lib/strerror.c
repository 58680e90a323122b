/* SPDX-License-Identifier: MIT */
/* lib/strerror.c - names for the error numbers of vellum/errno.h. */
#include "lib/errnum.h"
#include "lib/types.h"

EXPORT const char *vellum_strerror(int err)
{
	if (!err)
		return "success";
	switch ((enum vellum_errno)(err < 0 ? -(unsigned)err : (unsigned)err)) {	/* no default: the compiler checks it */
	case EPERM: return "operation not permitted";
	case ENOENT: return "no such file or directory";
	case ESRCH: return "no such process";
	case EINTR: return "interrupted";
	case EIO: return "input/output error";
	case E2BIG: return "argument too large";
	case EBADF: return "bad file descriptor";
	case EAGAIN: return "resource temporarily unavailable";
	case ENOMEM: return "cannot allocate memory";
	case EACCES: return "permission denied";
	case EFAULT: return "bad address";
	case EBUSY: return "device or resource busy";
	case EEXIST: return "already exists";
	case ENODEV: return "no such device";
	case EINVAL: return "invalid argument";
	case EFBIG: return "file too large";
	case ENOSPC: return "no space left on device";
	case EOVERFLOW: return "value too large";
	case EOPNOTSUPP: return "operation not supported";
	case EHWPOISON: return "memory page has a hardware error";
	}
	return "unknown error";
}
