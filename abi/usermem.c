/* SPDX-License-Identifier: MIT */
/* abi/usermem.c - copy arguments from and to the program. An argument is copied once, then checked, then used. */
#define _GNU_SOURCE
#include <errno.h>
#include <string.h>

#include "abi/task.h"

/* A wait for a userfaultfd releases the CPU, and passes the gate again. Only a thread with a CPU stays inside. */
static void leave_without_cpu(struct task *t)
{
	if (t->cpu < 0)
		mm_gate_leave(t);
}

uint64_t user_read_some(struct task *t, void *buf, uint64_t addr, uint64_t len)
{
	uint64_t done = 0;
	int err = vellum_copy_from_user(t->gmm->mm, buf, addr, len, &done);

	leave_without_cpu(t);
	if (err)
		t->copy_error = err;
	return done;
}

uint64_t user_write_some(struct task *t, uint64_t addr, const void *buf, uint64_t len)
{
	uint64_t done = 0;
	int err;

	mm_gate_enter(t);
	err = vellum_copy_to_user(t->gmm->mm, addr, buf, len, &done);
	leave_without_cpu(t);
	if (err)
		t->copy_error = err;
	return done;
}

int user_read(struct task *t, void *buf, uint64_t addr, uint64_t len)
{
	return user_read_some(t, buf, addr, len) < len ? -EFAULT : 0;
}

int user_write(struct task *t, uint64_t addr, const void *buf, uint64_t len)
{
	return user_write_some(t, addr, buf, len) < len ? -EFAULT : 0;
}

int user_cmpxchg(struct task *t, uint64_t addr, uint32_t *expected, uint32_t desired)
{
	int err;

	mm_gate_enter(t);
	err = vellum_cmpxchg_user(t->gmm->mm, addr, expected, desired);
	leave_without_cpu(t);
	if (err)
		t->copy_error = err;
	return err;
}

int user_string(struct task *t, char *buf, size_t size, uint64_t addr)
{
	size_t have = 0;

	while (have < size) {
		/* Not beyond a page at a time: the next page may not be mapped. */
		uint64_t n = VELLUM_PAGE_SIZE - ((addr + have) & (VELLUM_PAGE_SIZE - 1)), done;

		if (n > size - have)
			n = size - have;
		done = user_read_some(t, buf + have, addr + have, n);
		if (memchr(buf + have, 0, done))
			return 0;
		if (done < n)
			return -EFAULT;
		have += n;
	}
	return -ENAMETOOLONG;
}

int user_read_sized(struct task *t, void *out, size_t known, uint64_t addr, uint64_t size)
{
	char rest[VELLUM_PAGE_SIZE];

	memset(out, 0, known);
	if (user_read(t, out, addr, size < known ? size : known))
		return -EFAULT;
	if (size <= known)
		return 0;
	if (user_read(t, rest, addr + known, size - known))
		return -EFAULT;
	for (size_t i = 0; i < size - known; i++)
		if (rest[i])
			return -E2BIG;
	return 0;
}
