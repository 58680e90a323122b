/* SPDX-License-Identifier: MIT */
/* abi/sys_mm.c - mmap(2), munmap(2), mprotect(2), mremap(2), brk(2), madvise(2), and kin. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "abi/filemap.h"

#define PAGE_UP(x) (((x) + VELLUM_PAGE_SIZE - 1) & ~(uint64_t)(VELLUM_PAGE_SIZE - 1))

/* The observer sees the range before and after it loses its mappings; an empty one: it kept them. */
static void before_unmap(struct task *t, uint64_t start, uint64_t len)
{
	const struct abi_observer *ob = t->kernel->args->observer;

	if (ob && ob->before_unmap && len && t->gmm->observer_data)
		ob->before_unmap(ob->arg, t->gmm, start, start + PAGE_UP(len));
}

static void after_unmap(struct task *t, uint64_t start, uint64_t len)
{
	const struct abi_observer *ob = t->kernel->args->observer;

	if (ob && ob->after_unmap && t->gmm->observer_data)
		ob->after_unmap(ob->arg, t->gmm, start, start + PAGE_UP(len));
}

static bool sane_range(uint64_t addr, uint64_t len)
{
	return !(addr & (VELLUM_PAGE_SIZE - 1)) && len && len < VELLUM_TASK_SIZE &&
	       addr < VELLUM_TASK_SIZE && PAGE_UP(len) <= VELLUM_TASK_SIZE - addr;
}

/* /dev/zero is memory without a name. */
static bool is_zero_device(const struct stat *st)
{
	return S_ISCHR(st->st_mode) && st->st_rdev == makedev(1, 5);
}

static int open_object(struct task *t, int fd, struct vellum_map_args *args)
{
	bool writable;
	struct stat st;
	int flags;

	if (fd < 0)
		return -EBADF;
	flags = fcntl(fd, F_GETFL);
	if (flags < 0 || fstat(fd, &st))
		return -EBADF;
	if (flags & O_PATH)
		return -EBADF;
	if ((flags & O_ACCMODE) == O_WRONLY)
		return -EACCES;
	if (is_zero_device(&st)) {
		args->flags |= VELLUM_MAP_ANONYMOUS;
		return 0;
	}
	if (!S_ISREG(st.st_mode))
		return -ENODEV;
	writable = (flags & O_ACCMODE) == O_RDWR;
	args->file_prot = VELLUM_PROT_READ | (writable ? VELLUM_PROT_WRITE : 0);
	/* It may be made writable later. */
	return filemap_get(t->kernel, fd, writable && (args->flags & 3) != VELLUM_MAP_PRIVATE, &args->mapping);
}

/* The observer looks at what appeared. */
static void mapped(struct task *t, uint64_t start, uint64_t len)
{
	const struct abi_observer *ob = t->kernel->args->observer;

	if (ob && ob->mapped && t->gmm->observer_data)
		ob->mapped(ob->arg, t->gmm, start, start + PAGE_UP(len));
}

SYSCALL(mmap)
{
	struct vellum_map_args args = { .size = sizeof(args), .addr = a[0], .len = a[1],
					.prot = (uint32_t)a[2], .flags = (uint32_t)a[3],
					.pgoff = a[5] / VELLUM_PAGE_SIZE };
	bool fixed = (args.flags & VELLUM_MAP_FIXED) && !(args.flags & VELLUM_MAP_FIXED_NOREPLACE);
	uint64_t addr;
	int err;

	if ((a[5] & (VELLUM_PAGE_SIZE - 1)) && !(args.flags & VELLUM_MAP_ANONYMOUS))
		return -EINVAL;
	if (!(args.flags & VELLUM_MAP_ANONYMOUS)) {
		err = open_object(t, fd_host(t, a[4]), &args);
		if (err)
			return err;
		if ((int64_t)a[5] >= 0 && PAGE_UP(a[1]) > INT64_MAX - a[5]) {
			vellum_mapping_put(args.mapping);
			return -EOVERFLOW;
		}
	}
	fixed = fixed && sane_range(a[0], a[1]);
	err = rlimit_map(t, fixed ? a[0] : 0, fixed ? a[0] + PAGE_UP(a[1]) : 0, a[1], args.prot,
			 (args.flags & 3) != VELLUM_MAP_PRIVATE);
	if (err) {
		vellum_mapping_put(args.mapping);
		return err;
	}
	if (fixed)
		before_unmap(t, a[0], a[1]);
	err = vellum_mmap(t->gmm->mm, &args, &addr);
	if (fixed)
		after_unmap(t, a[0], err ? 0 : a[1]);
	vellum_mapping_put(args.mapping);
	if (!err)
		mapped(t, addr, a[1]);
	return err ? err : (int64_t)addr;
}

static int unmap(struct task *t, uint64_t addr, uint64_t len)
{
	bool sane = sane_range(addr, len);
	int err;

	if (sane)
		before_unmap(t, addr, len);
	err = vellum_munmap(t->gmm->mm, addr, len);
	if (sane)
		after_unmap(t, addr, err ? 0 : len);
	filemap_unmapped();
	return err;
}

SYSCALL(munmap)
{
	return unmap(t, a[0], a[1]);
}

SYSCALL(mprotect)
{
	return vellum_mprotect(t->gmm->mm, a[0], a[1], (uint32_t)a[2]);
}

/* Is there something to move, and is the target apart from it? */
static bool can_move_to(struct task *t, const uint64_t a[6])
{
	struct vellum_vma_info info;

	return sane_range(a[0], a[1]) && sane_range(a[4], a[2]) && (a[3] & VELLUM_MREMAP_MAYMOVE) &&
	       (a[4] + PAGE_UP(a[2]) <= a[0] || a[0] + PAGE_UP(a[1]) <= a[4]) &&
	       vellum_vma_next(t->gmm->mm, a[0], &info) == 0 && info.start <= a[0];
}

/* The mapping at @addr, by @more. */
static int may_grow(struct task *t, uint64_t addr, uint64_t more)
{
	struct vellum_vma_info info;

	if (vellum_vma_next(t->gmm->mm, addr, &info) || info.start > addr)
		return 0;	/* mremap says what is wrong with it */
	return rlimit_map(t, 0, 0, more, info.prot, info.shared);
}

SYSCALL(mremap)
{
	bool sane = sane_range(a[0], a[1]);
	uint64_t addr = a[4];
	int err = 0;

	/* There the new address is a hint, and looked at (seen on Linux 6.18). */
	if ((a[3] & VELLUM_MREMAP_DONTUNMAP) && (a[4] & (VELLUM_PAGE_SIZE - 1)))
		return -EINVAL;

	/* As mremap would itself; a step of its own so that what was there before is told apart. */
	if ((a[3] & VELLUM_MREMAP_FIXED) && can_move_to(t, a))
		err = unmap(t, a[4], a[2]);
	if (err)
		return err;
	if (PAGE_UP(a[2]) > PAGE_UP(a[1]))
		err = may_grow(t, a[0], PAGE_UP(a[2]) - PAGE_UP(a[1]));
	if (err)
		return err;
	if (sane)
		before_unmap(t, a[0], a[1]);
	err = vellum_mremap(t->gmm->mm, a[0], a[1], a[2], (uint32_t)a[3], &addr);
	if (sane && !err && addr != a[0])
		after_unmap(t, a[0], a[1]);
	else if (sane && !err && PAGE_UP(a[2]) < PAGE_UP(a[1]))	/* its end was cut off */
		after_unmap(t, a[0] + PAGE_UP(a[2]), PAGE_UP(a[1]) - PAGE_UP(a[2]));
	else if (sane)
		after_unmap(t, 0, 0);
	if (sane && !err && PAGE_UP(a[2]) > PAGE_UP(a[1]))	/* it has grown */
		mapped(t, addr + PAGE_UP(a[1]), PAGE_UP(a[2]) - PAGE_UP(a[1]));
	return err ? err : (int64_t)addr;
}

SYSCALL(brk)
{
	uint64_t now = vellum_brk(t->gmm->mm, 0);
	bool shrinks = a[0] >= t->gmm->brk_start && PAGE_UP(a[0]) < PAGE_UP(now);
	uint64_t from = PAGE_UP(a[0]), len = PAGE_UP(now) - from;

	if (PAGE_UP(a[0]) > PAGE_UP(now) &&
	    rlimit_map(t, 0, 0, PAGE_UP(a[0]) - PAGE_UP(now), VELLUM_PROT_WRITE, false))
		return (int64_t)now;
	if (shrinks)
		before_unmap(t, from, len);
	now = vellum_brk(t->gmm->mm, a[0]);
	if (shrinks)
		after_unmap(t, from, len);
	return (int64_t)now;
}

/* What may take long lets other programs have the CPU. */
SYSCALL(madvise)
{
	if ((int)a[2] >= VELLUM_MADV_COLD)
		cpu_release(t);
	return vellum_madvise(t->gmm->mm, a[0], a[1], (int)a[2]);
}

/* Pages are written without a CPU: the other programs go on meanwhile. */
SYSCALL(msync)
{
	int err;

	block_begin(t);
	err = vellum_msync(t->gmm->mm, a[0], a[1], (int)a[2]);
	block_end(t);
	return err == -EINTR ? -ERESTARTSYS : err;
}

SYSCALL(mincore)
{
	uint64_t pages = PAGE_UP(a[1]) / VELLUM_PAGE_SIZE;
	uint8_t vec[4096];
	int err = 0;

	if (a[1] > VELLUM_TASK_SIZE)
		return -ENOMEM;
	if (!pages)
		return vellum_mincore(t->gmm->mm, a[0], 0, vec);
	for (uint64_t done = 0, n; done < pages && !err; done += n) {
		if (signal_kills(t))
			return -EINTR;
		n = pages - done < sizeof(vec) ? pages - done : sizeof(vec);
		err = vellum_mincore(t->gmm->mm, a[0] + done * VELLUM_PAGE_SIZE, n * VELLUM_PAGE_SIZE, vec);
		if (!err)
			err = user_write(t, a[2] + done, vec, n);
	}
	return err;
}

SYSCALL(mlock)
{
	cpu_release(t);
	return vellum_mlock(t->gmm->mm, a[0], a[1], 0);
}

SYSCALL(mlock2)
{
	cpu_release(t);
	return vellum_mlock(t->gmm->mm, a[0], a[1], a[2] > 1 ? ~0u : (uint32_t)a[2]);
}

SYSCALL(munlock)
{
	return vellum_munlock(t->gmm->mm, a[0], a[1]);
}

SYSCALL(mlockall)
{
	cpu_release(t);
	return vellum_mlockall(t->gmm->mm, a[0] > 7 ? ~0u : (uint32_t)a[0]);
}

SYSCALL(munlockall)
{
	(void)a;
	return vellum_munlockall(t->gmm->mm);
}
