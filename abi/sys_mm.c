/* SPDX-License-Identifier: MIT */
/*
 * abi/sys_mm.c - mmap(2), munmap(2), mprotect(2), mremap(2), remap_file_pages(2), brk(2), madvise(2), msync(2),
 * mincore(2), mlock(2), mseal(2), pkey_alloc(2).
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/major.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "abi/access.h"
#include "abi/filemap.h"
#include "abi/ipc.h"
#include "abi/mempolicy.h"

#include "syscalls.h"	/* made from syscall.tbl */

#define ZERO_MINOR 5	/* of MEM_MAJOR: null(4) */
#define UNKNOWN_FLAG	0x80000000u	/* stands for all flags beyond the 32 bits of the library */
#define UNKNOWN_PROT	0x80000000u

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

/* Linux checks the flags as those of a file. */
static int map_zero_device(struct vellum_map_args *args)
{
	uint32_t type = args->flags & VELLUM_MAP_TYPE;

	if (type > VELLUM_MAP_SHARED_VALIDATE || (args->flags & VELLUM_MAP_GROWSDOWN))
		return -EINVAL;
	if (type == VELLUM_MAP_SHARED_VALIDATE)
		args->flags ^= VELLUM_MAP_SHARED_VALIDATE ^ VELLUM_MAP_SHARED;
	args->flags |= VELLUM_MAP_ANONYMOUS;
	return 0;
}

#define HUGE_PAGE_BYTES (2u << 20)	/* by default, as Hugepagesize of /proc/meminfo */

/* A file of hugetlbfs. The pool of huge pages is empty: as MAP_HUGETLB, it is checked and then refused. */
static int map_hugetlb_file(struct vellum_map_args *args, int fd, bool writable)
{
	const bool stores = (args->flags & VELLUM_MAP_SHARED) && (args->prot & VELLUM_PROT_WRITE);

	if (stores && !writable)
		return -EACCES;
	if (stores && fcntl(fd, F_GET_SEALS) > 0 && (fcntl(fd, F_GET_SEALS) & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE)))
		return -EPERM;
	if (args->pgoff % (HUGE_PAGE_BYTES / VELLUM_PAGE_SIZE))
		return -EINVAL;
	args->flags |= VELLUM_MAP_ANONYMOUS | VELLUM_MAP_HUGETLB;
	return 0;
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
	if ((flags & O_ACCMODE) == O_WRONLY) {	/* -EACCES, in its turn: only the rights matter */
		args->file_prot = VELLUM_PROT_WRITE;
		return vellum_mapping_create(t->kernel->args->memory, NULL, NULL, 1, 0, &args->mapping);
	}
	if (is_zero_device(&st))
		return map_zero_device(args);
	if (!S_ISREG(st.st_mode))
		return -ENODEV;
	writable = (flags & O_ACCMODE) == O_RDWR;
	if (file_system_is(fd, HUGETLBFS_MAGIC))
		return map_hugetlb_file(args, fd, writable);
	args->file_prot = VELLUM_PROT_READ | (writable ? VELLUM_PROT_WRITE : 0);
	/* Also if PROT_WRITE is not set: mprotect(2) may add it. */
	return filemap_get(t->kernel, fd, writable && (args->flags & VELLUM_MAP_SHARED),
			   &args->mapping);
}

static void notify_mapped(struct task *t, uint64_t start, uint64_t len)
{
	const struct abi_observer *ob = t->kernel->args->observer;

	if (ob && ob->mapped && t->gmm->observer_data)
		ob->mapped(ob->arg, t->gmm, start, start + PAGE_UP(len));
}

/* Does the host's file system take MAP_SYNC, as it does without a meaning on tmpfs? */
static bool host_takes_sync(int fd)
{
	void *at = mmap(NULL, VELLUM_PAGE_SIZE, PROT_READ, MAP_PRIVATE | MAP_SYNC, fd, 0);

	if (at == MAP_FAILED)
		return false;
	munmap(at, VELLUM_PAGE_SIZE);
	return true;
}

/* Set what the descriptor adds to @args. 0 or a negative errno. */
static int prepare_object(struct task *t, int fd, uint64_t flags, uint64_t offset, struct vellum_map_args *args)
{
	const struct file *file = fd_file(t, fd);
	int host_fd = file ? file->fd : -EBADF, err;

	if (file && file->proc)
		return -ENODEV;
	err = open_object(t, host_fd, args);
	if (err)
		return err;
	if ((int64_t)offset >= 0 && PAGE_UP(args->len) > INT64_MAX - offset)
		args->pgoff = UINT64_MAX;	/* -EOVERFLOW, in its turn */
	if (flags >> 32)
		args->flags |= UNKNOWN_FLAG;
	if ((args->flags & VELLUM_MAP_SYNC) && args->mapping && host_takes_sync(host_fd))
		args->flags = (args->flags & ~(uint32_t)VELLUM_MAP_SYNC) | UNKNOWN_FLAG;
	return 0;
}

void user_check_low(const struct kernel *k, struct vellum_mm *mm, uint64_t addr)
{
	if (addr < k->mmap_min_addr)
		vellum_set_mmap_min_addr(mm, has_capability(CAP_SYS_RAWIO) ? 0 : k->mmap_min_addr);
}

int user_map(struct task *t, const struct vellum_map_args *args, uint64_t *at)
{
	uint64_t addr = args->addr, len = args->len;
	bool fixed = (args->flags & VELLUM_MAP_FIXED) && !(args->flags & VELLUM_MAP_FIXED_NOREPLACE) &&
		     is_page_range(addr, len);
	bool shared = (args->flags & VELLUM_MAP_SHARED) && !(args->flags & VELLUM_MAP_DROPPABLE);
	int err = rlimit_check_map(t, fixed ? addr : 0, fixed ? addr + PAGE_UP(len) : 0, len, args->prot,
				   shared || (args->flags & VELLUM_MAP_TYPE) == VELLUM_MAP_SHARED_VALIDATE);

	if (err)
		return err;
	if (args->flags & (VELLUM_MAP_FIXED | VELLUM_MAP_FIXED_NOREPLACE))
		user_check_low(t->kernel, t->gmm->mm, addr);
	if (fixed) {
		shm_before_unmap(t, addr, PAGE_UP(len));
		notify_before_unmap(t, addr, len);
	}
	err = vellum_mmap(t->gmm->mm, args, at);
	if (fixed) {
		notify_after_unmap(t, addr, err ? 0 : len);
		shm_vmas_changed(t->kernel, t->process->pid);
	}
	if (!err) {
		placements_clear(t->gmm, *at, *at + PAGE_UP(len));
		notify_mapped(t, *at, len);
	}
	return err;
}

int64_t sys_mmap(struct task *t, uint64_t addr, uint64_t len, uint64_t prot, uint64_t flags, int fd,
		 uint64_t offset)
{
	struct vellum_map_args args = { .size = sizeof(args), .addr = addr, .len = len, .prot = (uint32_t)prot,
					.flags = (uint32_t)flags, .pgoff = offset / VELLUM_PAGE_SIZE };
	uint64_t at = addr;
	int err;

	if (offset & (VELLUM_PAGE_SIZE - 1))
		return -EINVAL;
	if (!(args.flags & VELLUM_MAP_ANONYMOUS)) {
		err = prepare_object(t, fd, flags, offset, &args);
		if (err)
			return err;
	}
	err = user_map(t, &args, &at);
	vellum_mapping_put(args.mapping);
	return err ? err : (int64_t)at;
}

int user_unmap(struct task *t, uint64_t addr, uint64_t len)
{
	bool sane = is_page_range(addr, len);
	int err;

	if (sane) {
		shm_before_unmap(t, addr, PAGE_UP(len));
		notify_before_unmap(t, addr, len);
	}
	err = vellum_munmap(t->gmm->mm, addr, len);
	if (sane && !err)
		placements_clear(t->gmm, addr, addr + PAGE_UP(len));
	if (sane)
		notify_after_unmap(t, addr, err ? 0 : len);
	filemaps_writeback_unmapped(t->kernel->filemaps);
	shm_vmas_changed(t->kernel, t->process->pid);
	return err;
}

int64_t sys_munmap(struct task *t, uint64_t addr, uint64_t len)
{
	return user_unmap(t, addr, len);
}

int64_t sys_mprotect(struct task *t, uint64_t addr, uint64_t len, uint64_t prot)
{
	if (prot >> 32)
		prot = UNKNOWN_PROT;
	return vellum_mprotect(t->gmm->mm, addr, len, (uint32_t)prot);
}

/*
 * Map other pages of a shared mapping over a part of one of its VMAs. As in Linux since 4.0, the part becomes a VMA of
 * its own. It keeps its rights; one that may not be written to does not become writable later.
 */
int64_t sys_remap_file_pages(struct task *t, uint64_t addr, uint64_t len, uint64_t prot, uint64_t pgoff, uint64_t flags)
{
	struct vellum_vma_info info = { .size = sizeof(info) };
	struct vellum_map_args args = { .size = sizeof(args), .addr = addr & -(uint64_t)VELLUM_PAGE_SIZE,
					.len = len & -(uint64_t)VELLUM_PAGE_SIZE, .pgoff = pgoff,
					.flags = VELLUM_MAP_SHARED | VELLUM_MAP_FIXED | VELLUM_MAP_POPULATE };
	uint64_t at;
	int err;

	if (prot || !is_page_range(args.addr, args.len) || pgoff + args.len / VELLUM_PAGE_SIZE < pgoff)
		return -EINVAL;
	if (vellum_vma_next(t->gmm->mm, args.addr, &info) || info.start > args.addr || !info.shared || !info.mapping ||
	    info.end - args.addr < args.len)
		return -EINVAL;
	args.mapping = info.mapping;
	args.prot = info.prot;
	args.file_prot = VELLUM_PROT_READ | (info.prot & VELLUM_PROT_WRITE);
	args.flags |= (info.locked ? VELLUM_MAP_LOCKED : 0) | (flags & VELLUM_MAP_NONBLOCK);
	vellum_mapping_get(args.mapping);
	err = user_map(t, &args, &at);
	vellum_mapping_put(args.mapping);
	return err;
}

/* --- protection keys: no CPU here has them --- */

#define NO_KEY (-1)

int64_t sys_pkey_mprotect(struct task *t, uint64_t addr, uint64_t len, uint64_t prot, int pkey)
{
	return pkey == NO_KEY ? sys_mprotect(t, addr, len, prot) : -EINVAL;
}

int64_t sys_pkey_alloc(struct task *t, uint64_t flags, uint64_t rights)
{
	return flags || (rights & ~(uint64_t)(PKEY_DISABLE_ACCESS | PKEY_DISABLE_WRITE)) ? -EINVAL : -ENOSPC;
}

int64_t sys_pkey_free(struct task *t, int pkey)
{
	return -EINVAL;
}

int64_t sys_mseal(struct task *t, uint64_t addr, uint64_t len, uint64_t flags)
{
	return vellum_mseal(t->gmm->mm, addr, len, flags);
}

/* True: mremap(2) may move: @from is mapped and not sealed, and the ranges do not overlap. */
static bool is_movable(struct task *t, uint64_t from, uint64_t old_len, uint64_t to, uint64_t new_len)
{
	struct vellum_vma_info info = { .size = sizeof(info) };

	return is_page_range(from, old_len) && is_page_range(to, new_len) &&
	       (to + PAGE_UP(new_len) <= from || from + PAGE_UP(old_len) <= to) &&
	       vellum_vma_next(t->gmm->mm, from, &info) == 0 && info.start <= from && !info.sealed;
}

/* Check the limits before the VMA at @addr grows by @more bytes. */
static int check_growth(struct task *t, uint64_t addr, uint64_t more)
{
	struct vellum_vma_info info = { .size = sizeof(info) };

	if (vellum_vma_next(t->gmm->mm, addr, &info) || info.start > addr)
		return 0;	/* vellum_mremap() returns the error */
	return rlimit_check_map(t, 0, 0, more, info.prot, info.shared);
}

int64_t sys_mremap(struct task *t, uint64_t old_addr, uint64_t old_len, uint64_t new_len, uint64_t flags,
		   uint64_t new_addr)
{
	bool sane = is_page_range(old_addr, old_len);
	uint64_t addr = new_addr;
	int err = 0;

	if (flags >> 32)
		return -EINVAL;
	/* mremap(2) would do this. A separate unmap lets the observer see what was mapped at the target. */
	if ((flags & VELLUM_MREMAP_FIXED) && (flags & VELLUM_MREMAP_MAYMOVE) &&
	    is_movable(t, old_addr, old_len, new_addr, new_len))
		err = user_unmap(t, new_addr, new_len);
	if (err)
		return err;
	if (PAGE_UP(new_len) > PAGE_UP(old_len))
		err = check_growth(t, old_addr, PAGE_UP(new_len) - PAGE_UP(old_len));
	if (err)
		return err;
	if (flags & VELLUM_MREMAP_FIXED)
		user_check_low(t->kernel, t->gmm->mm, new_addr);
	if (sane) {
		shm_before_unmap(t, old_addr, PAGE_UP(old_len));
		notify_before_unmap(t, old_addr, old_len);
	}
	err = vellum_mremap(t->gmm->mm, old_addr, old_len, new_len, (uint32_t)flags, &addr);
	if (sane && !err)
		placements_move(t->gmm, old_addr, PAGE_UP(old_len), addr, PAGE_UP(new_len),
				flags & VELLUM_MREMAP_DONTUNMAP);
	if (sane && !err && addr != old_addr)
		notify_after_unmap(t, old_addr, old_len);
	else if (sane && !err && PAGE_UP(new_len) < PAGE_UP(old_len))	/* its end was unmapped */
		notify_after_unmap(t, old_addr + PAGE_UP(new_len), PAGE_UP(old_len) - PAGE_UP(new_len));
	else if (sane)
		notify_after_unmap(t, 0, 0);
	if (sane && !err && PAGE_UP(new_len) > PAGE_UP(old_len))	/* it grew */
		notify_mapped(t, addr + PAGE_UP(old_len), PAGE_UP(new_len) - PAGE_UP(old_len));
	shm_vmas_changed(t->kernel, t->process->pid);
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
	if (shrinks) {
		placements_clear(t->gmm, from, from + len);
		notify_after_unmap(t, from, len);
	}
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

static bool is_user_bytes(uint64_t addr, uint64_t len)
{
	return addr <= VELLUM_TASK_SIZE && len <= VELLUM_TASK_SIZE - addr;
}

/* From @addr to the end of its VMA; in a hole, one page. */
static uint64_t pages_in_vma(struct task *t, uint64_t addr)
{
	struct vellum_vma_info info = { .size = sizeof(info) };

	if (vellum_vma_next(t->gmm->mm, addr, &info) || info.start > addr)
		return 1;
	return (info.end - addr) / VELLUM_PAGE_SIZE;
}

/* VMA by VMA, as Linux does: what is before a hole is stored before the hole is an error. */
int64_t sys_mincore(struct task *t, uint64_t addr, uint64_t len, uint64_t vec)
{
	uint64_t pages = PAGE_UP(len) / VELLUM_PAGE_SIZE;
	uint8_t part[4096];
	int err = 0;

	if (addr & (VELLUM_PAGE_SIZE - 1))
		return -EINVAL;
	if (!is_user_bytes(addr, len))
		return -ENOMEM;
	if (!is_user_bytes(vec, pages))
		return -EFAULT;
	for (uint64_t n; pages && !err; pages -= n, addr += n * VELLUM_PAGE_SIZE, vec += n) {
		if (signal_fatal_pending(t))
			return -EINTR;
		n = pages_in_vma(t, addr);
		n = n < pages ? n : pages;
		n = n < sizeof(part) ? n : sizeof(part);
		err = vellum_mincore(t->gmm->mm, addr, n * VELLUM_PAGE_SIZE, part);
		if (!err)
			err = user_write(t, vec, part, n);
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
