/* SPDX-License-Identifier: MIT */
/* abi/sys_mm.c - mmap(2), munmap(2), mprotect(2), mremap(2), brk(2), madvise(2), msync(2), mincore(2), mlock(2). */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/major.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "abi/filemap.h"

#include "syscalls.h"	/* made from syscall.tbl */

#define ZERO_MINOR 5	/* of MEM_MAJOR: null(4) */
#define MAP_TYPE_MASK	0xfu		/* MAP_TYPE of mmap(2): more bits than there are types */
#ifndef MAP_DROPPABLE
#define MAP_DROPPABLE	8u		/* of <linux/mman.h>, since Linux 6.11 */
#endif
#define PROT_BITS	((uint32_t)(PROT_READ | PROT_WRITE | PROT_EXEC))
#ifndef PROT_SEM
#define PROT_SEM	8		/* of <asm-generic/mman-common.h>; has no effect */
#endif

#define PAGE_UP(x) (((x) + VELLUM_PAGE_SIZE - 1) & ~(uint64_t)(VELLUM_PAGE_SIZE - 1))

/*
 * Call the observer before and after an unmap. If the unmap failed, the second call has @len 0. Other threads store nothing
 * between the two calls.
 */
static void notify_before_unmap(struct task *t, uint64_t start, uint64_t len)
{
	const struct abi_observer *ob = t->kernel->args->observer;

	if (!ob || !ob->before_unmap || !len || !t->gmm->observer_data)
		return;
	mm_gate_close(t);
	ob->before_unmap(ob->arg, t->gmm, start, start + PAGE_UP(len));
}

static void notify_after_unmap(struct task *t, uint64_t start, uint64_t len)
{
	const struct abi_observer *ob = t->kernel->args->observer;

	if (!ob || !ob->after_unmap || !t->gmm->observer_data)
		return;
	ob->after_unmap(ob->arg, t->gmm, start, start + PAGE_UP(len));
	mm_gate_open(t);
}

static bool is_page_range(uint64_t addr, uint64_t len)
{
	return !(addr & (VELLUM_PAGE_SIZE - 1)) && len && len < VELLUM_TASK_SIZE &&
	       addr < VELLUM_TASK_SIZE && PAGE_UP(len) <= VELLUM_TASK_SIZE - addr;
}

/* A mapping of /dev/zero is anonymous memory. */
static bool is_zero_device(const struct stat *st)
{
	return S_ISCHR(st->st_mode) && st->st_rdev == makedev(MEM_MAJOR, ZERO_MINOR);
}

/* Set the mapping of a file in @args. @fd: of the host. 0 or a negative errno. */
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
	/* Also if PROT_WRITE is not set: mprotect(2) may add it. */
	return filemap_get(t->kernel, fd, writable && (args->flags & MAP_TYPE_MASK) != VELLUM_MAP_PRIVATE,
			   &args->mapping);
}

static void notify_mapped(struct task *t, uint64_t start, uint64_t len)
{
	const struct abi_observer *ob = t->kernel->args->observer;

	if (ob && ob->mapped && t->gmm->observer_data)
		ob->mapped(ob->arg, t->gmm, start, start + PAGE_UP(len));
}

/* There are no huge pages of hugetlbfs: as on a host without any. */
static int huge_page_error(uint32_t flags)
{
	unsigned shift = flags >> MAP_HUGE_SHIFT & MAP_HUGE_MASK;

	return shift == 0 || shift == 21 || shift == 30 ? -ENOMEM : -EINVAL;
}

int64_t sys_mmap(struct task *t, uint64_t addr, uint64_t len, uint32_t prot, uint32_t flags, int fd,
		 uint64_t offset)
{
	struct vellum_map_args args = { .size = sizeof(args), .addr = addr, .len = len,
					.prot = prot & PROT_BITS, .flags = flags,	/* unknown rights are ignored */
					.pgoff = offset / VELLUM_PAGE_SIZE };
	bool fixed = (args.flags & VELLUM_MAP_FIXED) && !(args.flags & VELLUM_MAP_FIXED_NOREPLACE);
	bool droppable = (flags & (MAP_TYPE_MASK | VELLUM_MAP_ANONYMOUS)) == (MAP_DROPPABLE | VELLUM_MAP_ANONYMOUS);
	uint64_t at = addr;
	int err;

	if (droppable)
		args.flags = (flags & ~MAP_TYPE_MASK) | VELLUM_MAP_PRIVATE | VELLUM_MAP_NORESERVE;
	else if ((flags & MAP_TYPE_MASK) > VELLUM_MAP_SHARED_VALIDATE)
		args.flags = flags & ~MAP_TYPE_MASK;	/* no type: an error, in the order of Linux's checks */
	if ((offset & (VELLUM_PAGE_SIZE - 1)) && !(args.flags & VELLUM_MAP_ANONYMOUS))
		return -EINVAL;
	if ((flags & MAP_HUGETLB) && (flags & VELLUM_MAP_ANONYMOUS))
		return huge_page_error(flags);
	if (!(args.flags & VELLUM_MAP_ANONYMOUS)) {
		err = open_object(t, fd_host(t, fd), &args);
		if (err)
			return err;
		if ((int64_t)offset >= 0 && PAGE_UP(len) > INT64_MAX - offset) {
			vellum_mapping_put(args.mapping);
			return -EOVERFLOW;
		}
	}
	fixed = fixed && is_page_range(addr, len);
	err = rlimit_check_map(t, fixed ? addr : 0, fixed ? addr + PAGE_UP(len) : 0, len, args.prot,
			       (args.flags & MAP_TYPE_MASK) != VELLUM_MAP_PRIVATE);
	if (err) {
		vellum_mapping_put(args.mapping);
		return err;
	}
	if (fixed)
		notify_before_unmap(t, addr, len);
	err = vellum_mmap(t->gmm->mm, &args, &at);
	if (fixed)
		notify_after_unmap(t, addr, err ? 0 : len);
	vellum_mapping_put(args.mapping);
	if (err)
		return err;
	if (droppable) {		/* Vellum never drops its pages; a child gets none of them */
		vellum_madvise(t->gmm->mm, at, PAGE_UP(len), VELLUM_MADV_WIPEONFORK);
		vellum_madvise(t->gmm->mm, at, PAGE_UP(len), VELLUM_MADV_DONTDUMP);
	}
	notify_mapped(t, at, len);
	return (int64_t)at;
}

static int unmap(struct task *t, uint64_t addr, uint64_t len)
{
	bool sane = is_page_range(addr, len);
	int err;

	if (sane)
		notify_before_unmap(t, addr, len);
	err = vellum_munmap(t->gmm->mm, addr, len);
	if (sane)
		notify_after_unmap(t, addr, err ? 0 : len);
	filemaps_writeback_unmapped(t->kernel->filemaps);
	return err;
}

int64_t sys_munmap(struct task *t, uint64_t addr, uint64_t len)
{
	return unmap(t, addr, len);
}

/* PROT_GROWSDOWN: from the start of the stack that holds the range. 0 or a negative errno. */
static int extend_to_stack(struct task *t, uint64_t *addr, uint64_t *len)
{
	struct vellum_vma_info info = { .size = sizeof(info) };
	uint64_t end = *addr + PAGE_UP(*len);

	if (vellum_vma_next(t->gmm->mm, *addr, &info) || info.start >= end)
		return -ENOMEM;
	if (!info.growsdown)
		return -EINVAL;
	*addr = info.start;
	*len = end - info.start;
	return 0;
}

int64_t sys_mprotect(struct task *t, uint64_t addr, uint64_t len, uint32_t prot)
{
	uint32_t grows = prot & (uint32_t)(PROT_GROWSDOWN | PROT_GROWSUP);
	int err;

	if (grows == (uint32_t)(PROT_GROWSDOWN | PROT_GROWSUP) || (addr & (VELLUM_PAGE_SIZE - 1)))
		return -EINVAL;
	if (!len)
		return 0;
	if (addr + PAGE_UP(len) <= addr)
		return -ENOMEM;
	prot &= ~grows;
	if (prot & ~(PROT_BITS | PROT_SEM))
		return -EINVAL;
	if (grows & PROT_GROWSDOWN) {
		err = extend_to_stack(t, &addr, &len);
		if (err)
			return err;
	} else if (grows) {
		struct vellum_vma_info info = { .size = sizeof(info) };

		/* No VMA of x86-64 grows up. */
		return vellum_vma_next(t->gmm->mm, addr, &info) || info.start > addr ? -ENOMEM : -EINVAL;
	}
	return vellum_mprotect(t->gmm->mm, addr, len, prot & PROT_BITS);
}

/* True: mremap(2) may move: @from is mapped, and the ranges do not overlap. */
static bool is_movable(struct task *t, uint64_t from, uint64_t old_len, uint64_t to, uint64_t new_len)
{
	struct vellum_vma_info info = { .size = sizeof(info) };

	return is_page_range(from, old_len) && is_page_range(to, new_len) &&
	       (to + PAGE_UP(new_len) <= from || from + PAGE_UP(old_len) <= to) &&
	       vellum_vma_next(t->gmm->mm, from, &info) == 0 && info.start <= from;
}

/* Check the limits before the VMA at @addr grows by @more bytes. */
static int check_growth(struct task *t, uint64_t addr, uint64_t more)
{
	struct vellum_vma_info info = { .size = sizeof(info) };

	if (vellum_vma_next(t->gmm->mm, addr, &info) || info.start > addr)
		return 0;	/* vellum_mremap() returns the error */
	return rlimit_check_map(t, 0, 0, more, info.prot, info.shared);
}

int64_t sys_mremap(struct task *t, uint64_t old_addr, uint64_t old_len, uint64_t new_len, uint32_t flags,
		   uint64_t new_addr)
{
	bool sane = is_page_range(old_addr, old_len);
	uint64_t addr = new_addr;
	int err = 0;

	/* The new address is only a hint then, but Linux checks it (seen on 6.18). */
	if ((flags & VELLUM_MREMAP_DONTUNMAP) && (new_addr & (VELLUM_PAGE_SIZE - 1)))
		return -EINVAL;

	/* mremap(2) would do this. A separate unmap lets the observer see what was mapped at the target. */
	if ((flags & VELLUM_MREMAP_FIXED) && (flags & VELLUM_MREMAP_MAYMOVE) &&
	    is_movable(t, old_addr, old_len, new_addr, new_len))
		err = unmap(t, new_addr, new_len);
	if (err)
		return err;
	if (PAGE_UP(new_len) > PAGE_UP(old_len))
		err = check_growth(t, old_addr, PAGE_UP(new_len) - PAGE_UP(old_len));
	if (err)
		return err;
	if (sane)
		notify_before_unmap(t, old_addr, old_len);
	err = vellum_mremap(t->gmm->mm, old_addr, old_len, new_len, flags, &addr);
	if (sane && !err && addr != old_addr)
		notify_after_unmap(t, old_addr, old_len);
	else if (sane && !err && PAGE_UP(new_len) < PAGE_UP(old_len))	/* its end was unmapped */
		notify_after_unmap(t, old_addr + PAGE_UP(new_len), PAGE_UP(old_len) - PAGE_UP(new_len));
	else if (sane)
		notify_after_unmap(t, 0, 0);
	if (sane && !err && PAGE_UP(new_len) > PAGE_UP(old_len))	/* it grew */
		notify_mapped(t, addr + PAGE_UP(old_len), PAGE_UP(new_len) - PAGE_UP(old_len));
	return err ? err : (int64_t)addr;
}

int64_t sys_brk(struct task *t, uint64_t addr)
{
	uint64_t now = vellum_brk(t->gmm->mm, 0);
	bool shrinks = addr >= t->gmm->brk_start && PAGE_UP(addr) < PAGE_UP(now);
	uint64_t from = PAGE_UP(addr), len = PAGE_UP(now) - from;

	if (PAGE_UP(addr) > PAGE_UP(now) &&
	    rlimit_check_map(t, 0, 0, PAGE_UP(addr) - PAGE_UP(now), VELLUM_PROT_WRITE, false))
		return (int64_t)now;
	if (shrinks)
		notify_before_unmap(t, from, len);
	now = vellum_brk(t->gmm->mm, addr);
	if (shrinks)
		notify_after_unmap(t, from, len);
	return (int64_t)now;
}

/* The kinds of advice from MADV_COLD on may take long: release the CPU. */
int64_t sys_madvise(struct task *t, uint64_t addr, uint64_t len, int advice)
{
	if (advice >= VELLUM_MADV_COLD)
		cpu_release(t);
	return vellum_madvise(t->gmm->mm, addr, len, advice);
}

/* Writeback may block: release the CPU. */
int64_t sys_msync(struct task *t, uint64_t addr, uint64_t len, int flags)
{
	int err;

	host_call_begin(t);
	err = vellum_msync(t->gmm->mm, addr, len, flags);
	host_call_end(t);
	return err == -EINTR ? -ERESTARTSYS : err;
}

int64_t sys_mincore(struct task *t, uint64_t addr, uint64_t len, uint64_t vec)
{
	uint64_t pages = PAGE_UP(len) / VELLUM_PAGE_SIZE;
	uint8_t part[4096];
	int err = 0;

	if (len > VELLUM_TASK_SIZE)
		return -ENOMEM;
	if (!pages)
		return vellum_mincore(t->gmm->mm, addr, 0, part);
	for (uint64_t done = 0, n; done < pages && !err; done += n) {
		if (signal_fatal_pending(t))
			return -EINTR;
		n = pages - done < sizeof(part) ? pages - done : sizeof(part);
		err = vellum_mincore(t->gmm->mm, addr + done * VELLUM_PAGE_SIZE, n * VELLUM_PAGE_SIZE, part);
		if (!err)
			err = user_write(t, vec + done, part, n);
	}
	return err;
}

int64_t sys_mlock(struct task *t, uint64_t addr, uint64_t len)
{
	cpu_release(t);
	return vellum_mlock(t->gmm->mm, addr, len, 0);
}

int64_t sys_mlock2(struct task *t, uint64_t addr, uint64_t len, uint32_t flags)
{
	cpu_release(t);
	return vellum_mlock(t->gmm->mm, addr, len, flags);
}

int64_t sys_munlock(struct task *t, uint64_t addr, uint64_t len)
{
	return vellum_munlock(t->gmm->mm, addr, len);
}

int64_t sys_mlockall(struct task *t, int flags)
{
	cpu_release(t);
	return vellum_mlockall(t->gmm->mm, (uint32_t)flags);
}

int64_t sys_munlockall(struct task *t)
{
	return vellum_munlockall(t->gmm->mm);
}
