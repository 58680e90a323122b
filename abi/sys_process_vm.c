/* SPDX-License-Identifier: MIT */
/*
 * abi/sys_process_vm.c - the memory of another process: process_vm_readv(2), process_vm_writev(2), process_madvise(2),
 * process_mrelease(2).
 */
#define _GNU_SOURCE
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "abi/access.h"
#include "abi/bounce.h"
#include "abi/pidfd.h"
#include "abi/signals.h"

#include "syscalls.h"	/* made from syscall.tbl */

#define CHUNK		(64u << 10)	/* bytes that are copied at once */
#define ADVICE_COLLAPSE	25		/* MADV_COLLAPSE, which older headers do not have */

/* The address space of a process, pinned. A negative errno: none. kernel->lock held. */
static int get_gmm(const struct task *t, const struct process *p, struct guest_mm **out)
{
	const struct task *other = p ? p->threads : NULL;
	int err;

	while (other && !other->gmm)
		other = other->next;
	if (!other)
		return -ESRCH;
	err = access_check(t, p, ACCESS_REAL);
	if (err)
		return err;
	gmm_pin(other->gmm);
	*out = other->gmm;
	return 0;
}

/* @pid: also of a thread. */
static int get_gmm_of_pid(struct task *t, int pid, struct guest_mm **out)
{
	const struct task *other;
	int err;

	pthread_mutex_lock(&t->kernel->lock);
	other = task_find(t->kernel, pid);
	err = get_gmm(t, other ? other->process : NULL, out);
	pthread_mutex_unlock(&t->kernel->lock);
	return err;
}

/* --- copying --- */

/* Copy to or from @len bytes of the other process at @addr. Return: bytes copied. */
static uint64_t copy_remote(struct task *t, struct guest_mm *gmm, uint64_t addr, void *buf, uint64_t len,
			    enum direction dir)
{
	uint64_t done = 0;
	int err;

	if (dir == IN) {
		err = vellum_copy_from_user(gmm->mm, buf, addr, len, &done);
	} else {
		gmm_gate_enter(gmm, t);
		err = vellum_copy_to_user(gmm->mm, addr, buf, len, &done);
		gmm_gate_leave(gmm, t);
	}
	if (err)
		t->copy_error = err;
	return done;
}

/* Copy a part of the other process's memory, of @len bytes at most. Return: bytes copied, fewer after a fault. */
static uint64_t copy_piece(struct task *t, struct guest_mm *gmm, uint64_t addr, struct user_vector *local, char *buf,
			   uint64_t len, enum direction dir)
{
	if (dir == IN)
		return vector_store(t, local, buf, copy_remote(t, gmm, addr, buf, len, IN));
	return copy_remote(t, gmm, addr, buf, vector_load(t, local, buf, len), OUT);
}

/* @len: of the local vector. Bytes, or -EFAULT. */
static int64_t copy_vectors(struct task *t, struct guest_mm *gmm, struct user_vector *local, uint64_t len,
			    const struct iovec *remote, size_t nr, enum direction dir)
{
	char *buf = malloc(CHUNK);
	uint64_t done = 0;
	bool fault = false;

	if (!buf)
		return -ENOMEM;
	for (size_t i = 0; i < nr && !fault; i++)
		for (uint64_t at = 0; at < remote[i].iov_len && done < len && !fault;) {
			uint64_t want = remote[i].iov_len - at, n;

			want = want < CHUNK ? want : CHUNK;
			want = want < len - done ? want : len - done;
			n = copy_piece(t, gmm, (uint64_t)remote[i].iov_base + at, local, buf, want, dir);
			done += n;
			at += n;
			fault = n < want || signal_fatal_pending(t) || gmm_is_ending(gmm);
		}
	free(buf);
	return done || !fault ? (int64_t)done : -EFAULT;
}

/* As user_vector_read(), but the addresses are those of another process. *@bytes: false, if there are none. */
static int read_remote_vector(struct task *t, struct iovec *iov, uint64_t addr, uint64_t nr, bool *bytes)
{
	*bytes = false;
	if (nr > IOV_MAX)
		return -EINVAL;
	if (user_read(t, iov, addr, nr * sizeof(iov[0])))
		return -EFAULT;
	for (uint64_t i = 0; i < nr; i++) {
		if ((int64_t)iov[i].iov_len < 0)
			return -EINVAL;
		*bytes |= iov[i].iov_len > 0;
	}
	return 0;
}

static int64_t transfer(struct task *t, int pid, const uint64_t vectors[2], const uint64_t nr[2], uint64_t flags,
			enum direction dir)
{
	struct iovec iov[IOV_MAX], remote[IOV_MAX];
	struct user_vector local = { .iov = iov, .nr = nr[0] };
	struct guest_mm *gmm;
	uint64_t len;
	int64_t result;
	bool bytes;
	int err;

	if (flags)
		return -EINVAL;
	err = user_vector_read(t, iov, vectors[0], nr[0], &len);
	if (err || !len)
		return err;
	err = read_remote_vector(t, remote, vectors[1], nr[1], &bytes);
	if (err || !bytes)
		return err;
	cpu_release(t);		/* a thread that waits for this CPU may be inside the other gate */
	err = get_gmm_of_pid(t, pid, &gmm);
	if (err)
		return err;
	result = copy_vectors(t, gmm, &local, len, remote, nr[1], dir);
	gmm_unpin(gmm);
	return result;
}

int64_t sys_process_vm_readv(struct task *t, int pid, uint64_t lvec, uint64_t liovcnt, uint64_t rvec,
			     uint64_t riovcnt, uint64_t flags)
{
	return transfer(t, pid, (uint64_t[]){ lvec, rvec }, (uint64_t[]){ liovcnt, riovcnt }, flags, IN);
}

int64_t sys_process_vm_writev(struct task *t, int pid, uint64_t lvec, uint64_t liovcnt, uint64_t rvec,
			      uint64_t riovcnt, uint64_t flags)
{
	return transfer(t, pid, (uint64_t[]){ lvec, rvec }, (uint64_t[]){ liovcnt, riovcnt }, flags, OUT);
}

/* --- process_madvise(2) --- */

/* Advice that drops no bytes may be given about another process. */
static bool is_for_others(int advice)
{
	return advice == MADV_COLD || advice == MADV_PAGEOUT || advice == MADV_WILLNEED || advice == ADVICE_COLLAPSE;
}

static int64_t advise(struct task *t, struct guest_mm *gmm, const struct iovec *iov, size_t nr, int advice)
{
	int64_t done = 0;
	int err = 0;

	if (gmm != t->gmm && !is_for_others(advice))
		return -EINVAL;
	if (gmm != t->gmm && !has_capability(CAP_SYS_NICE))
		return -EPERM;
	for (size_t i = 0; i < nr && !err; i++) {
		err = vellum_madvise(gmm->mm, (uint64_t)iov[i].iov_base, iov[i].iov_len, advice);
		done += err ? 0 : (int64_t)iov[i].iov_len;
	}
	return done ? done : err;
}

int64_t sys_process_madvise(struct task *t, int pidfd, uint64_t vec, uint64_t nr, int advice, uint32_t flags)
{
	bool self = pidfd == PIDFD_OWN_THREAD || pidfd == PIDFD_OWN_PROCESS;
	const struct pidfd *target;
	struct iovec iov[IOV_MAX];
	struct guest_mm *gmm;
	uint64_t len;
	int64_t result;
	int err;

	if (flags)
		return -EINVAL;
	err = user_vector_read(t, iov, vec, nr, &len);
	if (err)
		return err;
	target = self ? NULL : pidfd_get(t, pidfd);
	if (!self && !target)
		return -EBADF;
	cpu_release(t);
	pthread_mutex_lock(&t->kernel->lock);
	err = get_gmm(t, self ? t->process : target->process, &gmm);
	pthread_mutex_unlock(&t->kernel->lock);
	if (err)
		return err == -EPERM ? -EACCES : err;
	result = advise(t, gmm, iov, nr, advice);
	gmm_unpin(gmm);
	return result;
}

/* --- process_mrelease(2) --- */

/* A killed process frees its memory at once, as no thread can sleep uninterruptibly. So there is nothing to do. */
int64_t sys_process_mrelease(struct task *t, int pidfd, uint32_t flags)
{
	const struct pidfd *target;
	const struct process *p;
	int err = -EINVAL;

	if (flags)
		return -EINVAL;
	target = pidfd_get(t, pidfd);
	if (!target)
		return -EBADF;
	pthread_mutex_lock(&t->kernel->lock);
	p = target->process;
	if (!p || p->state == PROCESS_ZOMBIE)
		err = -ESRCH;
	else if (p->exiting || (p->pending.set & sig_bit(SIGKILL)))
		err = 0;
	pthread_mutex_unlock(&t->kernel->lock);
	return err;
}
