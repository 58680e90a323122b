/* SPDX-License-Identifier: MIT */
/*
 * tests/unit/uffd_support.h - a test is the manager of a userfaultfd. Its jobs wait.
 *
 * A job is one access or one call in a new thread. If a test expects a message because of a job, and the job ends
 * without one, the test fails instead of waiting forever.
 */
#ifndef TESTS_UNIT_UFFD_SUPPORT_H
#define TESTS_UNIT_UFFD_SUPPORT_H

#define _GNU_SOURCE
#include "file_support.h"

#include <pthread.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "mm/uffd/uffd.h"
#include "vellum/access.h"
#include "vellum/gup.h"
#include "vellum/pagemap.h"
#include "vellum/swap.h"
#include "vellum/uffd.h"

#define MISSING VELLUM_UFFD_MISSING
#define WP      VELLUM_UFFD_WP
#define MINOR   VELLUM_UFFD_MINOR
#define ASYNC   VELLUM_UFFD_FEATURE_WP_ASYNC

/* Pagemap words of kinds of entries. */
#define IS_PAGE    VELLUM_PM_PRESENT
#define IS_WP_PAGE (VELLUM_PM_PRESENT | VELLUM_PM_UFFD_WP)
#define IS_WP_NONE (VELLUM_PM_SWAP | VELLUM_PM_UFFD_WP) /* a marker, or swapped out */
#define IS_POISON  VELLUM_PM_SWAP
#define IS_GUARD   (VELLUM_PM_SWAP | VELLUM_PM_GUARD)

static inline uint64_t word_of_mm(struct vellum_mm *mm, unsigned page)
{
	uint64_t word;

	OK(vellum_pagemap_read(mm, PAGE(page), 1, 0, &word));
	return word & (VELLUM_PM_PRESENT | VELLUM_PM_SWAP | VELLUM_PM_UFFD_WP | VELLUM_PM_GUARD);
}

static inline uint64_t word(struct world *w, unsigned page)
{
	return word_of_mm(w->mm, page);
}

#define assert_word(w, page, bits) assert_int_equal(word(w, page), bits)

static inline bool is_soft_dirty(struct world *w, unsigned page)
{
	uint64_t bits;

	OK(vellum_pagemap_read(w->mm, PAGE(page), 1, 0, &bits));
	return bits & VELLUM_PM_SOFT_DIRTY;
}

static inline bool is_zero_page(struct world *w, unsigned page)
{
	pte_t pte = entry_at(w->mm, PAGE(page));

	return pte_present(pte) && pte_pfn(pte) == w->memory->zero_pfn;
}

/* --- contexts --- */

static inline struct vellum_uffd *uffd_with(struct world *w, uint32_t flags, uint64_t features)
{
	struct vellum_uffd *u;

	OK(vellum_uffd_create(w->mm, flags, &u));
	OK(vellum_uffd_api(u, VELLUM_UFFD_API, features, NULL, NULL));
	return u;
}

static inline struct vellum_uffd *new_uffd(struct world *w, uint64_t features)
{
	return uffd_with(w, VELLUM_UFFD_MAY_FORK, features);
}

static inline void enrol(struct world *w, struct vellum_uffd *u, unsigned at, unsigned pages, uint64_t modes)
{
	OK(vellum_uffd_register(u, PAGE(at), BYTES(pages), modes, NULL));
	check_world(w);
}

static inline void withdraw(struct world *w, struct vellum_uffd *u, unsigned at, unsigned pages)
{
	OK(vellum_uffd_unregister(u, PAGE(at), BYTES(pages)));
	check_world(w);
}

static inline void guard_writes(struct world *w, struct vellum_uffd *u, unsigned at, unsigned pages)
{
	OK(vellum_uffd_writeprotect(u, PAGE(at), BYTES(pages), VELLUM_UFFD_WRITEPROTECT_WP));
	check_world(w);
}

/* Without check_world(), as the woken thread runs at once. */
static inline void resolve(struct vellum_uffd *u, unsigned at, unsigned pages)
{
	OK(vellum_uffd_writeprotect(u, PAGE(at), BYTES(pages), 0));
}

/* UFFDIO_COPY one page whose words are all @val. */
static inline int copy_in(struct vellum_uffd *u, unsigned at, uint64_t val, uint64_t mode)
{
	uint64_t page[PAGE_SIZE / 8];
	int64_t done = 0;
	int err;

	for (unsigned i = 0; i < PAGE_SIZE / 8; i++)
		page[i] = val;
	err = vellum_uffd_copy(u, PAGE(at), 0, page, PAGE_SIZE, mode, &done);
	assert_int_equal(done, err ? err : (int)PAGE_SIZE);
	return err;
}

static inline int zero_in(struct vellum_uffd *u, unsigned at)
{
	int64_t done;

	return vellum_uffd_zeropage(u, PAGE(at), PAGE_SIZE, 0, &done);
}

static inline int poison_in(struct vellum_uffd *u, unsigned at)
{
	int64_t done;

	return vellum_uffd_poison(u, PAGE(at), PAGE_SIZE, 0, &done);
}

static inline int continue_in(struct vellum_uffd *u, unsigned at, uint64_t mode)
{
	int64_t done;

	return vellum_uffd_continue(u, PAGE(at), PAGE_SIZE, mode, &done);
}

static inline int move_in(struct vellum_uffd *u, unsigned to, unsigned from, unsigned pages, uint64_t mode)
{
	int64_t done;

	return vellum_uffd_move(u, PAGE(to), PAGE(from), BYTES(pages), mode, &done);
}

/* The number of waiting faults, whether their messages were read or not. A wake-up removes a fault from the lists. */
static inline unsigned nr_waiting(struct world *w, struct vellum_uffd *u)
{
	unsigned nr = 0;

	mutex_lock(&u->lock, &w->memory->host);
	for (const struct uffd_wait *wait = u->pending.first; wait; wait = wait->next)
		nr++;
	for (const struct uffd_wait *wait = u->read.first; wait; wait = wait->next)
		nr++;
	mutex_unlock(&u->lock, &w->memory->host);
	return nr;
}

/* --- jobs --- */

struct job {
	pthread_t thread;
	struct world *w;
	struct vellum_mm *mm;
	struct vellum_soft_cpu *cpu;
	void (*fn)(struct job *job);
	uint64_t addr, len, to, val;
	int advice;
	struct vellum_mm *child;
	int result;
	uint32_t tid, over;
};

static inline void *job_thread(void *arg)
{
	struct job *job = arg;

	job->tid = (uint32_t)syscall(SYS_gettid);
	job->fn(job);
	__atomic_store_n(&job->over, 1, __ATOMIC_RELEASE);
	return NULL;
}

static inline void start(struct world *w, struct job *job, void (*fn)(struct job *job))
{
	job->w = w;
	job->fn = fn;
	if (!job->mm)
		job->mm = w->mm;
	assert_int_equal(pthread_create(&job->thread, NULL, job_thread, job), 0);
}

static inline bool is_over(const struct job *job)
{
	return __atomic_load_n(&job->over, __ATOMIC_ACQUIRE);
}

/* Wait until @nr faults wait; that of @job is the last. */
static inline void wait_for_nr(struct world *w, struct vellum_uffd *u, unsigned nr, const struct job *job)
{
	while (nr_waiting(w, u) != nr) {
		if (is_over(job))
			fail_msg("the job ended (%d) without waiting", job->result);
		sched_yield();
	}
}

static inline void wait_for_message(struct vellum_uffd *u, const struct job *job)
{
	while (vellum_uffd_poll(u) != 1) {
		if (is_over(job) && vellum_uffd_poll(u) != 1)
			fail_msg("the job ended (%d) without a message", job->result);
		sched_yield();
	}
}

/* The job must end with @result. No other thread may run, as this checks the world. */
static inline void ends_with(struct job *job, int result)
{
	assert_int_equal(pthread_join(job->thread, NULL), 0);
	assert_int_equal(job->result, result);
	check_world(job->w);
}

static inline void ends(struct job *job)
{
	ends_with(job, 0);
}

static inline void job_store(struct job *job)
{
	job->result = (int)vellum_soft_store64(job->cpu, job->addr, job->val);
}

static inline void job_load(struct job *job)
{
	job->result = (int)vellum_soft_load64(job->cpu, job->addr, &job->val);
}

static inline void job_copy_to(struct job *job)
{
	job->result = vellum_copy_to_user(job->mm, job->addr, &job->val, sizeof(job->val), NULL);
}

static inline void job_madvise(struct job *job)
{
	job->result = vellum_madvise(job->mm, job->addr, job->len, job->advice);
}

static inline void job_munmap(struct job *job)
{
	job->result = vellum_munmap(job->mm, job->addr, job->len);
}

static inline void job_mremap(struct job *job)
{
	job->result = vellum_mremap(job->mm, job->addr, job->len, job->val, (uint32_t)job->advice, &job->to);
}

static inline void job_fork(struct job *job)
{
	job->result = vellum_fork(job->mm, &job->child);
}

static inline void start_access(struct world *w, struct job *job, unsigned cpu, void (*fn)(struct job *job),
				uint64_t addr, uint64_t val)
{
	*job = (struct job){.cpu = w->cpu[cpu], .addr = addr, .val = val};
	vellum_soft_load_mm(job->cpu, w->mm);
	start(w, job, fn);
}

static inline void start_store(struct world *w, struct job *job, uint64_t addr, uint64_t val)
{
	start_access(w, job, 1, job_store, addr, val);
}

static inline void start_load(struct world *w, struct job *job, uint64_t addr)
{
	start_access(w, job, 1, job_load, addr, 0);
}

static inline void start_madvise(struct world *w, struct job *job, unsigned at, unsigned pages, int advice)
{
	*job = (struct job){.addr = PAGE(at), .len = BYTES(pages), .advice = advice};
	start(w, job, job_madvise);
}

static inline void start_munmap(struct world *w, struct job *job, unsigned at, unsigned pages)
{
	*job = (struct job){.addr = PAGE(at), .len = BYTES(pages)};
	start(w, job, job_munmap);
}

/* mremap to @to, with the same length. */
static inline void start_move(struct world *w, struct job *job, unsigned from, unsigned pages, unsigned to,
			      uint32_t flags)
{
	*job = (struct job){.addr = PAGE(from),
			    .len = BYTES(pages),
			    .val = BYTES(pages),
			    .to = PAGE(to),
			    .advice = (int)(flags | VELLUM_MREMAP_MAYMOVE | VELLUM_MREMAP_FIXED)};
	start(w, job, job_mremap);
}

static inline void start_fork(struct world *w, struct job *job)
{
	*job = (struct job){.len = 0};
	start(w, job, job_fork);
}

/* --- messages --- */

/* Wait for one message, which @job causes, and read it. */
static inline struct vellum_uffd_msg message(struct vellum_uffd *u, const struct job *job)
{
	struct vellum_uffd_msg msg;
	uint32_t got = 0;

	wait_for_message(u, job);
	OK(vellum_uffd_read(u, &msg, 1, true, &got));
	assert_int_equal(got, 1);
	return msg;
}

static inline void says_fault(struct vellum_uffd *u, const struct job *job, uint64_t addr, uint64_t flags)
{
	struct vellum_uffd_msg msg = message(u, job);

	assert_int_equal(msg.event, VELLUM_UFFD_EVENT_PAGEFAULT);
	assert_int_equal(msg.arg.pagefault.flags, flags);
	assert_int_equal(msg.arg.pagefault.address, addr);
	assert_int_equal(msg.arg.pagefault.ptid, 0);
}

/* The next message must be an event with a range: REMOVE or UNMAP. */
static inline void says_range(struct vellum_uffd *u, const struct job *job, unsigned event, unsigned at,
			      unsigned pages)
{
	struct vellum_uffd_msg msg = message(u, job);

	assert_int_equal(msg.event, event);
	assert_int_equal(msg.arg.remove.start, PAGE(at));
	assert_int_equal(msg.arg.remove.end, PAGE(at) + BYTES(pages));
}

static inline void says_nothing(struct vellum_uffd *u)
{
	struct vellum_uffd_msg msg;
	uint32_t got;

	assert_int_equal(vellum_uffd_poll(u), 0);
	assert_int_equal(vellum_uffd_read(u, &msg, 1, false, &got), -EAGAIN);
}

/* A store to a protected page waits until the protection is removed. */
static inline void store_waits(struct world *w, struct vellum_uffd *u, unsigned page, uint64_t val)
{
	struct job job;

	start_store(w, &job, PAGE(page), val);
	says_fault(u, &job, PAGE(page), VELLUM_UFFD_FLAG_WRITE | VELLUM_UFFD_FLAG_WP);
	resolve(u, page, 1);
	ends(&job);
	assert_int_equal(load(w->cpu[0], PAGE(page)), val);
}

/* A store succeeds without a message. */
static inline void store_passes(struct world *w, struct vellum_uffd *u, unsigned page, uint64_t val)
{
	store(w->cpu[0], PAGE(page), val);
	check_world(w);
	says_nothing(u);
}

/* --- mappings and swap --- */

/* Shared memory whose pages hold their index + 100. */
static inline struct vellum_mapping *new_shmem(struct world *w, uint64_t pages)
{
	struct vellum_mapping *mapping;

	OK(vellum_mapping_create(w->memory, NULL, NULL, pages, 0, &mapping));
	for (uint64_t i = 0; i < pages; i++) {
		uint64_t val = i + 100;

		OK(vellum_mapping_write(mapping, BYTES(i), &val, sizeof(val)));
	}
	return mapping;
}

/* Shared memory: page 0 is present and protected, the others have markers. */
static inline void map_protected(struct world *w, struct vellum_uffd *u, unsigned at)
{
	map_at(w->mm, at, 4, RW, SHANON);
	store(w->cpu[0], PAGE(at), 1);
	enrol(w, u, at, 4, WP);
	guard_writes(w, u, at, 4);
	assert_word(w, at, IS_WP_PAGE);
	assert_word(w, at + 1, IS_WP_NONE);
}

/* A huge page at PAGE(512), registered in async mode. */
static inline struct vellum_uffd *huge_world(struct world *w)
{
	struct vellum_uffd *u = new_uffd(w, ASYNC);

	map_at(w->mm, 512, 512, RW, ANON);
	OK(vellum_madvise(w->mm, PAGE(512), BYTES(512), VELLUM_MADV_HUGEPAGE));
	store(w->cpu[0], PAGE(512), 1);
	assert_int_equal(vellum_mm_rss(w->mm), 512);
	enrol(w, u, 512, 512, WP);
	return u;
}

#define SWAP_SLOTS 64

struct swap_array {
	uint8_t slot[SWAP_SLOTS][4096];
};

static inline int swap_array_write(void *ctx, uint64_t slot, const void *page)
{
	memcpy(((struct swap_array *)ctx)->slot[slot], page, PAGE_SIZE);
	return 0;
}

static inline int swap_array_read(void *ctx, uint64_t slot, void *page)
{
	memcpy(page, ((struct swap_array *)ctx)->slot[slot], PAGE_SIZE);
	return 0;
}

static inline void add_swap(struct world *w, struct swap_array *array)
{
	static const struct vellum_swap_ops ops = {
		.size = sizeof(ops), .write = swap_array_write, .read = swap_array_read};

	OK(vellum_swap_add(w->memory, &ops, array, SWAP_SLOTS, NULL));
}

static inline void page_out(struct world *w, unsigned at, unsigned pages)
{
	OK(vellum_madvise(w->mm, PAGE(at), BYTES(pages), VELLUM_MADV_PAGEOUT));
	check_world(w);
	for (unsigned i = at; i < at + pages; i++)
		assert_true(pte_is_genuine_swap(entry_at(w->mm, PAGE(i))));
}

#endif
