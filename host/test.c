/* SPDX-License-Identifier: MIT */
/* host/test.c - see test.h. wait() yields and returns, so that tests with threads work too. */
#define _GNU_SOURCE
#include "host/test.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "vellum/errno.h"

static uint64_t count(uint64_t *counter, int64_t by)
{
	return __atomic_add_fetch(counter, (uint64_t)by, __ATOMIC_RELAXED);
}

static void *test_alloc(void *host, size_t size, size_t align)
{
	struct test_host *th = host;
	uint64_t nth = count(&th->nr_allocs, 1);
	void *ptr;

	if (nth == th->fail_at || posix_memalign(&ptr, align < 8 ? 8 : align, size))
		return NULL;
	memset(ptr, 0, size);
	count(&th->live, 1);
	count(&th->live_bytes, (int64_t)size);
	return ptr;
}

static void test_free(void *host, void *ptr, size_t size)
{
	struct test_host *th = host;

	count(&th->live, -1);
	count(&th->live_bytes, -(int64_t)size);	/* a wrong @size leaves live_bytes other than 0 */
	free(ptr);
}

static void test_wait(void *host, uint32_t *word, uint32_t value)
{
	(void)host, (void)word, (void)value;
	sched_yield();
}

static void test_wait_for_user(void *host, uint32_t *word, uint32_t value)
{
	struct test_host *th = host;

	count(&th->nr_user_waits, 1);
	test_wait(host, word, value);
}

static void test_wake(void *host, uint32_t *word)
{
	(void)host, (void)word;
}

static int test_commit(void *host, uint64_t offset, uint64_t len)
{
	const struct test_host *th = host;

	(void)offset, (void)len;
	return th->fail_commits ? -VELLUM_ENOMEM : 0;
}

static void test_bug(void *host, const char *what, const char *file, int line)
{
	struct test_host *th = host;

	(void)file, (void)line;
	count(&th->bugs, 1);
	th->last_bug = what;
}

static uint32_t test_thread_id(void *host)
{
	(void)host;
	return (uint32_t)syscall(SYS_gettid);
}

static int test_interrupted(void *host)
{
	struct test_host *th = host;

	if (count(&th->nr_asked, 1) >= th->kill_at && th->kill_at)
		return VELLUM_KILLED;
	return (int)__atomic_load_n(&th->interrupted, __ATOMIC_ACQUIRE);
}

const struct vellum_host_ops *test_host_ops(void)
{
	static const struct vellum_host_ops ops = {
		.size = sizeof(ops),
		.alloc = test_alloc,
		.free = test_free,
		.wait = test_wait,
		.wake = test_wake,
		.commit = test_commit,
		.bug = test_bug,
		.thread_id = test_thread_id,
		.interrupted = test_interrupted,
		.wait_for_user = test_wait_for_user,
	};

	return &ops;
}
