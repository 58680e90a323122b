/* SPDX-License-Identifier: MIT */
/* Pins, while other threads fork, truncate, reclaim and unmap. */
#include "gup_support.h"

#include <pthread.h>

#define PAGES  8
#define ROUNDS 2000

struct race {
	struct world *w;
	uint32_t flags;		/* of the pins */
	uint32_t stop;		/* atomic: the other thread is done */
	uint64_t got;		/* successful pins */
	uint64_t wrong;		/* atomic: violations */
	struct vellum_mapping *shm;
};

static bool is_stopped(const struct race *r)
{
	return __atomic_load_n(&r->stop, __ATOMIC_ACQUIRE);
}

static uint64_t frame_load(struct race *r, uint64_t pfn, unsigned word)
{
	return __atomic_load_n(frame_words(r->w, pfn) + word, __ATOMIC_RELAXED);
}

static void frame_store(struct race *r, uint64_t pfn, unsigned word, uint64_t val)
{
	__atomic_store_n(frame_words(r->w, pfn) + word, val, __ATOMIC_RELAXED);
}

static void wrong_if(struct race *r, bool is)
{
	if (is)
		__atomic_fetch_add(&r->wrong, 1, __ATOMIC_RELAXED);
}

/* During the pin, process and pinning thread see each other's stores, in word 1 and word 2. */
static void *pin_and_compare(void *arg)
{
	struct race *r = arg;
	struct vellum_soft_cpu *cpu = r->w->cpu[0];

	for (uint64_t i = 1; !is_stopped(r) || r->got == 0; i++) {
		uint64_t addr = PAGE(i % PAGES), pfn, done, seen = 0;

		if (vellum_pin_pages(r->w->mm, addr, 1, r->flags, &pfn, &done))
			continue;
		r->got++;
		wrong_if(r, !is_own_page(r->w, pfn));
		for (unsigned again = 0; again < 3; again++) {
			wrong_if(r, vellum_soft_store64(cpu, addr + 8, i + again));
			wrong_if(r, frame_load(r, pfn, 1) != i + again);
			if (r->flags & WRITE) {
				frame_store(r, pfn, 2, i + again);
				wrong_if(r, vellum_soft_load64(cpu, addr + 16, &seen));
				wrong_if(r, seen != i + again);
			}
		}
		wrong_if(r, !vellum_page_maybe_pinned(r->w->memory, pfn));
		(r->flags & WRITE ? vellum_unpin_pages_dirty : vellum_unpin_pages)(r->w->memory, &pfn, 1);
	}
	return NULL;
}

/* The child has the bytes of the fork. No pin stores to its pages. */
static void fork_and_compare(struct race *r)
{
	uint64_t was[PAGES][2], now;
	struct vellum_mm *child;

	if (vellum_fork(r->w->mm, &child)) {
		wrong_if(r, true);
		return;
	}
	vellum_soft_load_mm(r->w->cpu[1], child);
	for (unsigned again = 0; again < 3; again++) {
		for (unsigned i = 0; i < 2 * PAGES; i++) {
			wrong_if(r, vellum_soft_load64(r->w->cpu[1], PAGE(i / 2) + 8 + i % 2 * 8, &now));
			wrong_if(r, again && now != was[i / 2][i % 2]);
			was[i / 2][i % 2] = now;
		}
	}
	vellum_soft_load_mm(r->w->cpu[1], NULL);
	vellum_mm_put(child);
}

static void race_with_forks(struct world *w, void *(*run)(void *race), uint32_t flags)
{
	struct race r = { .w = w, .flags = flags };
	pthread_t pinner;

	map_at(w->mm, 0, PAGES, RW, ANON);
	for (unsigned i = 0; i < PAGES; i++)
		store(w->cpu[0], PAGE(i), i);
	OK(pthread_create(&pinner, NULL, run, &r));
	for (unsigned i = 0; i < ROUNDS; i++)
		fork_and_compare(&r);
	__atomic_store_n(&r.stop, 1, __ATOMIC_RELEASE);
	pthread_join(pinner, NULL);
	assert_int_equal(r.wrong, 0);
	check_world(w);
}

static void T_gup_06_write_pins_and_forks(void **state)
{
	race_with_forks(*state, pin_and_compare, WRITE);
}

static void T_gup_06_read_pins_and_forks(void **state)
{
	race_with_forks(*state, pin_and_compare, 0);
}

static void T_gup_06_longterm_pins_and_forks(void **state)
{
	race_with_forks(*state, pin_and_compare, WRITE | LONGTERM);
}

/* Only the fast path, which must notice forks without a lock. The process stores, so that entries get W. */
static void *pin_fast_only(void *arg)
{
	struct race *r = arg;

	for (uint64_t i = 1; !is_stopped(r) || r->got == 0; i++) {
		uint64_t addr = PAGE(i % PAGES), pfn, done;

		wrong_if(r, vellum_soft_store64(r->w->cpu[0], addr + 8, i));
		if (vellum_pin_pages(r->w->mm, addr, 1, WRITE | FAST, &pfn, &done))
			continue;
		r->got++;
		wrong_if(r, !is_own_page(r->w, pfn));
		frame_store(r, pfn, 2, i);
		wrong_if(r, vellum_soft_store64(r->w->cpu[0], addr + 8, ~i));
		wrong_if(r, frame_load(r, pfn, 1) != ~i);
		vellum_unpin_pages(r->w->memory, &pfn, 1);
	}
	return NULL;
}

static void T_gup_06_fast_pins_and_forks(void **state)
{
	race_with_forks(*state, pin_fast_only, 0);
}

/* A pinned frame is not reused, even if its mapping is removed. */
static void *pin_what_comes_and_goes(void *arg)
{
	struct race *r = arg;

	for (uint64_t i = 1; !is_stopped(r) || r->got == 0; i++) {
		uint64_t addr = PAGE(i % PAGES), pfn, done, mark = i << 32;
		int err = vellum_pin_pages(r->w->mm, addr, 1, WRITE | LONGTERM, &pfn, &done);

		wrong_if(r, err && err != -EFAULT);
		if (err)
			continue;
		r->got++;
		for (unsigned again = 0; again < 8; again++) {
			frame_store(r, pfn, 3, mark + again);
			wrong_if(r, frame_load(r, pfn, 3) != mark + again);
		}
		vellum_unpin_pages_dirty(r->w->memory, &pfn, 1);
	}
	return NULL;
}

static void come_and_go(struct race *r, unsigned round)
{
	struct vellum_mm *mm = r->w->mm;

	switch (round % 4) {
	case 0:
		OK(vellum_mapping_set_size(r->shm, BYTES(PAGES / 2)));
		OK(vellum_mapping_set_size(r->shm, BYTES(PAGES)));
		break;
	case 1:
		map_object(mm, 0, PAGES / 2, RW, VELLUM_MAP_PRIVATE, r->shm, 0, RW);
		break;
	case 2:
		vellum_reclaim(r->w->memory, 64);
		OK(vellum_mapping_punch_hole(r->shm, 0, BYTES(PAGES)));
		break;
	default:
		unmap(mm, 2, 4);
		map_object(mm, 0, PAGES, RW, VELLUM_MAP_SHARED, r->shm, 0, RW);
	}
}

static void pins_while_pages_are_truncated_and_unmapped(void **state)
{
	struct world *w = *state;
	struct race r = { .w = w };
	struct ram_swap swap;
	pthread_t pinner;

	ram_swap_start(w, &swap, 256);
	OK(vellum_mapping_create(w->memory, NULL, NULL, PAGES, 0, &r.shm));
	map_object(w->mm, 0, PAGES, RW, VELLUM_MAP_SHARED, r.shm, 0, RW);
	OK(pthread_create(&pinner, NULL, pin_what_comes_and_goes, &r));
	for (unsigned i = 0; i < 4 * ROUNDS; i++)
		come_and_go(&r, i);
	__atomic_store_n(&r.stop, 1, __ATOMIC_RELEASE);
	pthread_join(pinner, NULL);
	assert_int_equal(r.wrong, 0);
	check_world(w);
	unmap(w->mm, 0, PAGES);
	vellum_mapping_put(r.shm);
	ram_swap_stop(w, &swap);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WORLD_TEST(T_gup_06_write_pins_and_forks),
		WORLD_TEST(T_gup_06_read_pins_and_forks),
		WORLD_TEST(T_gup_06_longterm_pins_and_forks),
		WORLD_TEST(T_gup_06_fast_pins_and_forks),
		WORLD_TEST(pins_while_pages_are_truncated_and_unmapped),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
