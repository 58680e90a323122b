/* SPDX-License-Identifier: MIT */
/* lib/errnum.h - the error numbers under their kernel names, for files that do not include errno.h. */
#ifndef LIB_ERRNUM_H
#define LIB_ERRNUM_H

#include "vellum/errno.h"

#define EPERM		VELLUM_EPERM
#define ENOENT		VELLUM_ENOENT
#define ESRCH		VELLUM_ESRCH
#define EINTR		VELLUM_EINTR
#define EIO		VELLUM_EIO
#define E2BIG		VELLUM_E2BIG
#define EBADF		VELLUM_EBADF
#define EAGAIN		VELLUM_EAGAIN
#define ENOMEM		VELLUM_ENOMEM
#define EACCES		VELLUM_EACCES
#define EFAULT		VELLUM_EFAULT
#define EBUSY		VELLUM_EBUSY
#define EEXIST		VELLUM_EEXIST
#define ENODEV		VELLUM_ENODEV
#define EINVAL		VELLUM_EINVAL
#define EFBIG		VELLUM_EFBIG
#define ENOSPC		VELLUM_ENOSPC
#define EOVERFLOW	VELLUM_EOVERFLOW
#define EOPNOTSUPP	VELLUM_EOPNOTSUPP
#define EHWPOISON	VELLUM_EHWPOISON

#endif
