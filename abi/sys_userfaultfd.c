/* SPDX-License-Identifier: MIT */
/* abi/sys_userfaultfd.c - userfaultfd(2), /dev/userfaultfd, ioctl_userfaultfd(2); see uffd.h. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/major.h>
#include <linux/userfaultfd.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "abi/access.h"
#include "abi/uffd.h"

#include "syscalls.h"	/* made from syscall.tbl */

#define MAX_WORDS	5		/* of the argument of an ioctl */
#define UNTOUCHED	INT64_MIN	/* no result of the library */

/* --- creation --- */

/* The system's answer: vm.unprivileged_userfaultfd is the host's, which the program sees in /proc/sys. */
static bool is_unprivileged_allowed(void)
{
	FILE *f = fopen("/proc/sys/vm/unprivileged_userfaultfd", "re");
	bool allowed = f && fgetc(f) == '1';

	if (f)
		fclose(f);
	return allowed;
}

static int64_t create(struct task *t, uint32_t flags)
{
	struct vellum_uffd *context;
	uint32_t how = (flags & VELLUM_UFFD_USER_MODE_ONLY) |
		       (has_capability(CAP_SYS_PTRACE) ? VELLUM_UFFD_MAY_FORK : 0);
	int err;

	if (flags & ~(uint32_t)(O_CLOEXEC | O_NONBLOCK | VELLUM_UFFD_USER_MODE_ONLY))
		return -EINVAL;
	err = fd_check_room(t, 1);
	if (!err)
		err = vellum_uffd_create(t->gmm->mm, how, &context);
	return err ? err : uffd_install(t, context, flags, 0);
}

int64_t sys_userfaultfd(struct task *t, uint32_t flags)
{
	if (!(flags & VELLUM_UFFD_USER_MODE_ONLY) && !has_capability(CAP_SYS_PTRACE) && !is_unprivileged_allowed())
		return -EPERM;
	return create(t, flags);
}

/* The host's device, whose number differs between boots. The right to open it is the right to use it. */
static bool is_device(const struct file *file)
{
	char link[64], target[256];
	const char *name;
	struct stat st;
	ssize_t n;

	if (fstat(file->fd, &st) || !S_ISCHR(st.st_mode) || major(st.st_rdev) != MISC_MAJOR)
		return false;
	snprintf(link, sizeof(link), "/sys/dev/char/%u:%u", major(st.st_rdev), minor(st.st_rdev));
	n = readlink(link, target, sizeof(target) - 1);
	target[n > 0 ? n : 0] = 0;
	name = strrchr(target, '/');
	return name && !strcmp(name + 1, UFFD_DEVICE_NAME);
}

/* --- ioctl(2) --- */

/* The words of the argument, in the order of the structures of ioctl_userfaultfd(2). */
typedef int call_fn(struct task *t, struct vellum_uffd *context, const uint64_t *a, int64_t *out);

static int do_register(struct task *t, struct vellum_uffd *context, const uint64_t *a, int64_t *out)
{
	uint64_t ioctls = 0;
	int err = vellum_uffd_register(context, a[0], a[1], a[2], &ioctls);

	(void)t;
	if (!err)
		*out = (int64_t)ioctls;
	return err;
}

static int do_unregister(struct task *t, struct vellum_uffd *context, const uint64_t *a, int64_t *out)
{
	(void)t, (void)out;
	return vellum_uffd_unregister(context, a[0], a[1]);
}

static int do_wake(struct task *t, struct vellum_uffd *context, const uint64_t *a, int64_t *out)
{
	(void)t, (void)out;
	return vellum_uffd_wake(context, a[0], a[1]);
}

static int do_copy(struct task *t, struct vellum_uffd *context, const uint64_t *a, int64_t *out)
{
	return vellum_uffd_copy_from(context, a[0], t->gmm->mm, a[1], a[2], a[3], out);
}

static int do_zeropage(struct task *t, struct vellum_uffd *context, const uint64_t *a, int64_t *out)
{
	(void)t;
	return vellum_uffd_zeropage(context, a[0], a[1], a[2], out);
}

static int do_move(struct task *t, struct vellum_uffd *context, const uint64_t *a, int64_t *out)
{
	if (!vellum_uffd_is_for(context, t->gmm->mm))
		return -EINVAL;
	return vellum_uffd_move(context, a[0], a[1], a[2], a[3], out);
}

static int do_writeprotect(struct task *t, struct vellum_uffd *context, const uint64_t *a, int64_t *out)
{
	(void)t, (void)out;
	return vellum_uffd_writeprotect(context, a[0], a[1], a[2]);
}

static int do_continue(struct task *t, struct vellum_uffd *context, const uint64_t *a, int64_t *out)
{
	(void)t;
	return vellum_uffd_continue(context, a[0], a[1], a[2], out);
}

static int do_poison(struct task *t, struct vellum_uffd *context, const uint64_t *a, int64_t *out)
{
	(void)t;
	return vellum_uffd_poison(context, a[0], a[1], a[2], out);
}

struct request {
	unsigned nr;		/* VELLUM_UFFDIO_* */
	unsigned dir;		/* of the request's number */
	unsigned in;		/* words that the call reads */
	unsigned words;		/* of the structure: one more than @in is the result */
	call_fn *call;
};

static const struct request requests[] = {
	{ VELLUM_UFFDIO_REGISTER, _IOC_READ | _IOC_WRITE, 3, 4, do_register },
	{ VELLUM_UFFDIO_UNREGISTER, _IOC_READ, 2, 2, do_unregister },
	{ VELLUM_UFFDIO_WAKE, _IOC_READ, 2, 2, do_wake },
	{ VELLUM_UFFDIO_COPY, _IOC_READ | _IOC_WRITE, 4, 5, do_copy },
	{ VELLUM_UFFDIO_ZEROPAGE, _IOC_READ | _IOC_WRITE, 3, 4, do_zeropage },
	{ VELLUM_UFFDIO_MOVE, _IOC_READ | _IOC_WRITE, 4, 5, do_move },
	{ VELLUM_UFFDIO_WRITEPROTECT, _IOC_READ | _IOC_WRITE, 3, 3, do_writeprotect },
	{ VELLUM_UFFDIO_CONTINUE, _IOC_READ | _IOC_WRITE, 3, 4, do_continue },
	{ VELLUM_UFFDIO_POISON, _IOC_READ | _IOC_WRITE, 3, 4, do_poison },
};

static const struct request *find_request(uint32_t request)
{
	for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++) {
		const struct request *r = &requests[i];

		if (request == UFFD_IOC(r->dir, r->nr, r->words))
			return r;
	}
	return NULL;
}

/* hugetlbfs is there, though its pool of pages is empty. The core does not know the features. */
#define HUGETLB_FEATURES ((uint64_t)(UFFD_FEATURE_MISSING_HUGETLBFS | UFFD_FEATURE_MINOR_HUGETLBFS))

/* An error zeroes the structure. The answer must be storable before the handshake has an effect. */
static int64_t handshake(struct task *t, const struct file *file, uint64_t arg)
{
	struct vellum_uffd *context = uffd_context(file);
	uint64_t a[3], features = 0, ioctls = 0;
	int err;

	if (user_read(t, a, arg, sizeof(a)) || vellum_storable(t->gmm->mm, arg, sizeof(a)) < sizeof(a))
		return -EFAULT;
	err = vellum_uffd_api(context, a[0], a[1] & ~HUGETLB_FEATURES, &features, &ioctls);
	if (!err)
		uffd_set_features(file, a[1] & VELLUM_UFFD_FEATURE_WP_ASYNC ?
					a[1] | VELLUM_UFFD_FEATURE_WP_UNPOPULATED : a[1]);
	a[0] = err ? 0 : VELLUM_UFFD_API;
	a[1] = err ? 0 : features | HUGETLB_FEATURES;
	a[2] = ioctls;
	return user_write(t, arg, a, sizeof(a)) ? -EFAULT : err;
}

static int64_t context_ioctl(struct task *t, const struct file *file, uint32_t request, uint64_t arg)
{
	struct vellum_uffd *context = uffd_context(file);
	const struct request *r = find_request(request);
	uint64_t a[MAX_WORDS];
	int64_t out = UNTOUCHED;
	int err;

	if (request == UFFD_IOC(_IOC_READ | _IOC_WRITE, VELLUM_UFFDIO_API, 3))
		return handshake(t, file, arg);
	if (!r || vellum_uffd_poll(context) < 0)
		return -EINVAL;
	if (user_read(t, a, arg, r->in * sizeof(a[0])))
		return -EFAULT;
	err = r->call(t, context, a, &out);
	if (out != UNTOUCHED && err != -ESRCH && user_write(t, arg + r->in * sizeof(a[0]), &out, sizeof(out)))
		return -EFAULT;
	return err;
}

bool uffd_ioctl(struct task *t, const struct file *file, uint32_t request, uint64_t arg, int64_t *result)
{
	if (file->uffd && request != FIONBIO && request != FIOASYNC)
		*result = context_ioctl(t, file, request, arg);
	else if (_IOC_TYPE(request) == UFFD_IOC_TYPE && is_device(file))
		*result = request == UFFD_IOC_NEW ? create(t, (uint32_t)arg) : -EINVAL;
	else
		return false;
	return true;
}
