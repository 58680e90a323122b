/* SPDX-License-Identifier: MIT */
/*
 * abi/rlimit.c - resource limits of a process: getrlimit(2). fork(2) copies them, execve(2) keeps them. Process 1
 * starts with the limits that Vellum was started with.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "abi/access.h"

#include "syscalls.h"	/* made from syscall.tbl */

#define PAGE_UP(x) (((x) + VELLUM_PAGE_SIZE - 1) & ~(uint64_t)(VELLUM_PAGE_SIZE - 1))

uint64_t rlimit_of(const struct task *t, int resource)
{
	return __atomic_load_n(&t->process->rlimits[resource].rlim_cur, __ATOMIC_RELAXED);
}

void rlimit_init(struct process *p, const struct rlimit *limits)
{
	struct rlimit *files = &p->rlimits[RLIMIT_NOFILE];

	for (int i = 0; i < (int)RLIM_NLIMITS; i++)
		p->rlimits[i] = limits[i];
	if (files->rlim_max > MAX_FDS)
		files->rlim_max = MAX_FDS;
	if (files->rlim_cur > files->rlim_max)
		files->rlim_cur = files->rlim_max;
}

/* The core enforces RLIMIT_MEMLOCK and RLIMIT_STACK. Called by the thread of @t. */
void rlimit_apply(struct task *t, struct vellum_mm *mm)
{
	vellum_set_limits(mm, has_capability(CAP_IPC_LOCK) ? RLIM_INFINITY : rlimit_of(t, RLIMIT_MEMLOCK),
			  rlimit_of(t, RLIMIT_STACK));
}

void rlimit_apply_changed(struct task *t)
{
	if (__atomic_exchange_n(&t->limits_changed, false, __ATOMIC_ACQUIRE))
		rlimit_apply(t, t->gmm->mm);
}

/* RLIMIT_NPROC limits the processes of a user. Those of all users of the run are counted. */
uint64_t rlimit_nproc(const struct task *t)
{
	return has_capability(CAP_SYS_RESOURCE) ? RLIM_INFINITY : rlimit_of(t, RLIMIT_NPROC);
}

/* --- memory --- */

static bool counts_as_data(uint32_t prot, bool shared)
{
	return (prot & VELLUM_PROT_WRITE) && !shared;
}

/* Bytes that are mapped outside [start, end). @data: count only what RLIMIT_DATA limits. */
static uint64_t mapped_bytes(struct task *t, uint64_t start, uint64_t end, bool data)
{
	struct vellum_vma_info info = { .size = sizeof(info) };
	uint64_t sum = 0;

	for (uint64_t at = 0; vellum_vma_next(t->gmm->mm, at, &info) == 0; at = info.end) {
		uint64_t from = info.start > start ? info.start : start;
		uint64_t to = info.end < end ? info.end : end;

		if (data && (!counts_as_data(info.prot, info.shared) || info.end == t->gmm->stack_end))
			continue;
		sum += info.end - info.start - (from < to ? to - from : 0);
	}
	return sum;
}

static bool is_within_limit(struct task *t, int resource, uint64_t start, uint64_t end, uint64_t more)
{
	uint64_t limit = rlimit_of(t, resource), have;

	if (limit == RLIM_INFINITY)
		return true;
	have = mapped_bytes(t, start, end, resource == RLIMIT_DATA);
	return more <= limit && have <= limit - more;
}

int rlimit_check_map(struct task *t, uint64_t start, uint64_t end, uint64_t more, uint32_t prot, bool shared)
{
	more = PAGE_UP(more);
	if (!is_within_limit(t, RLIMIT_AS, start, end, more))
		return -ENOMEM;
	return counts_as_data(prot, shared) && !is_within_limit(t, RLIMIT_DATA, start, end, more) ? -ENOMEM : 0;
}

/* --- files --- */

/* The offset at which a write(2) begins. */
static int64_t write_position(const struct file *file, int64_t offset)
{
	int flags = fcntl(file->fd, F_GETFL);
	struct stat st;

	if (flags >= 0 && (flags & O_APPEND))
		return fstat(file->fd, &st) ? -1 : st.st_size;
	return offset >= 0 ? offset : lseek(file->fd, 0, SEEK_CUR);
}

int64_t rlimit_clip_write(struct task *t, const struct file *file, uint64_t len, int64_t offset)
{
	uint64_t limit = rlimit_of(t, RLIMIT_FSIZE);
	int64_t at;

	if (limit == RLIM_INFINITY || !file->regular || !len)
		return (int64_t)len;
	at = write_position(file, offset);
	if (at < 0)
		return (int64_t)len;
	if ((uint64_t)at >= limit)
		return -EFBIG;
	return (int64_t)(len < limit - (uint64_t)at ? len : limit - (uint64_t)at);
}

int rlimit_check_size(struct task *t, const struct file *file, int64_t size)
{
	uint64_t limit = rlimit_of(t, RLIMIT_FSIZE);
	struct stat st;

	if (limit == RLIM_INFINITY || size < 0 || (uint64_t)size <= limit)
		return 0;
	if (fstat(file->fd, &st) || size <= st.st_size)		/* the file does not grow */
		return 0;
	signal_self(t, SIGXFSZ);
	return -EFBIG;
}

/* --- system calls --- */

static int check_change(const struct rlimit *new, const struct rlimit *old, int resource)
{
	if (new->rlim_cur > new->rlim_max)
		return -EINVAL;
	if (resource == RLIMIT_NOFILE && new->rlim_max > MAX_FDS)
		return -EPERM;		/* as above fs.nr_open in Linux */
	return new->rlim_max > old->rlim_max && !has_capability(CAP_SYS_RESOURCE) ? -EPERM : 0;
}

/* kernel->lock held. */
static int change_limit(struct process *other, int resource, const struct rlimit *new,
			struct rlimit *old)
{
	int err = 0;

	*old = other->rlimits[resource];
	if (new)
		err = check_change(new, old, resource);
	if (!new || err)
		return err;
	__atomic_store_n(&other->rlimits[resource].rlim_max, new->rlim_max, __ATOMIC_RELAXED);
	__atomic_store_n(&other->rlimits[resource].rlim_cur, new->rlim_cur, __ATOMIC_RELAXED);
	for (struct task *t = other->threads; t; t = t->next) {
		__atomic_store_n(&t->limits_changed, true, __ATOMIC_RELEASE);
		cpu_kick(t);
	}
	return 0;
}

static int64_t do_prlimit(struct task *t, uint64_t pid, uint64_t resource, uint64_t new_addr, uint64_t old_addr)
{
	struct rlimit new, old;
	struct process *other;
	int err = -ESRCH;

	if (resource >= RLIM_NLIMITS)
		return -EINVAL;
	if (new_addr && user_read(t, &new, new_addr, sizeof(new)))
		return -EFAULT;
	pthread_mutex_lock(&t->kernel->lock);
	other = pid ? process_find(t->kernel, (int)pid) : t->process;
	if (other)
		err = access_check_limits(t, other);
	if (!err)
		err = change_limit(other, (int)resource, new_addr ? &new : NULL, &old);
	pthread_mutex_unlock(&t->kernel->lock);
	return err || !old_addr ? err : user_write(t, old_addr, &old, sizeof(old));
}

int64_t sys_prlimit64(struct task *t, int pid, uint32_t resource, uint64_t new_limit, uint64_t old_limit)
{
	return do_prlimit(t, pid, resource, new_limit, old_limit);
}

int64_t sys_getrlimit(struct task *t, uint32_t resource, uint64_t limit)
{
	return do_prlimit(t, 0, resource, 0, limit);
}

int64_t sys_setrlimit(struct task *t, uint32_t resource, uint64_t limit)
{
	return limit ? do_prlimit(t, 0, resource, limit, 0) : -EFAULT;
}
