/* SPDX-License-Identifier: MIT */
/* Accesses of the software MMU that are not aligned, or cross a page: each width and kind. */

#include "more_support.h"

#define NR   16
#define SIZE (NR * PAGE_SIZE)

/* --- an access of any width --- */

static enum vellum_fault_result load_any(struct vellum_soft_cpu *cpu, uint64_t addr, unsigned size, uint64_t *val)
{
	uint8_t v8 = (uint8_t)*val;
	uint16_t v16 = (uint16_t)*val;
	uint32_t v32 = (uint32_t)*val;
	enum vellum_fault_result r;

	switch (size) {
	case 1:
		r = vellum_soft_load8(cpu, addr, &v8);
		*val = v8;
		return r;
	case 2:
		r = vellum_soft_load16(cpu, addr, &v16);
		*val = v16;
		return r;
	case 4:
		r = vellum_soft_load32(cpu, addr, &v32);
		*val = v32;
		return r;
	default:
		return vellum_soft_load64(cpu, addr, val);
	}
}

static enum vellum_fault_result store_any(struct vellum_soft_cpu *cpu, uint64_t addr, unsigned size, uint64_t val)
{
	switch (size) {
	case 1:
		return vellum_soft_store8(cpu, addr, (uint8_t)val);
	case 2:
		return vellum_soft_store16(cpu, addr, (uint16_t)val);
	case 4:
		return vellum_soft_store32(cpu, addr, (uint32_t)val);
	default:
		return vellum_soft_store64(cpu, addr, val);
	}
}

static uint64_t cut(uint64_t val, unsigned size)
{
	return size == 8 ? val : val & ((1ull << 8 * size) - 1);
}

/* Pages whose frames are not in the order of their addresses. All are dirty, and in the TLB of CPU 0. */
static void map_shuffled(struct world *w, uint32_t flags)
{
	map_at(w->mm, 0, NR, RW, flags);
	for (unsigned i = 0; i < NR; i++)
		store(w->cpu[0], PAGE(i * 5 % NR), 0);
}

static void assert_memory(struct world *w, const uint8_t *model)
{
	static uint8_t bytes[SIZE];

	vellum_soft_write_back(w->soft);
	OK(vellum_copy_from_user(w->mm, bytes, BASE, SIZE, NULL));
	assert_memory_equal(bytes, model, SIZE);
}

/* --- widths and offsets --- */

static void every_width_and_offset(void **state)
{
	static const unsigned sizes[] = {2, 4, 8};
	static uint8_t model[SIZE];
	struct world *w = *state;

	memset(model, 0, SIZE);
	map_shuffled(w, ANON);
	for (unsigned s = 0; s < ARRAY_SIZE(sizes); s++)
		for (unsigned back = 1; back < sizes[s]; back++) {
			uint64_t at = 4 * PAGE_SIZE - back, val = 0x1122334455667788ull * (s + back), got = 0;

			assert_int_equal(store_any(w->cpu[0], BASE + at, sizes[s], val), VELLUM_FAULT_OK);
			memcpy(model + at, &val, sizes[s]);
			assert_memory(w, model);
			assert_int_equal(load_any(w->cpu[0], BASE + at, sizes[s], &got), VELLUM_FAULT_OK);
			assert_int_equal(got, cut(val, sizes[s]));
		}
}

static void cross_and_note(struct world *w, uint64_t *seed, uint8_t *model, uint64_t *changed)
{
	const unsigned size = 1u << random_below(seed, 4);
	struct vellum_soft_cpu *cpu = w->cpu[random_below(seed, 2)];
	uint64_t at = random_below(seed, SIZE - 8), val = random_u64(seed), got = 0, old = 0;
	bool swapped;

	if (random_below(seed, 2))	/* near the end of a page, or across it */
		at = (at | (PAGE_SIZE - 1)) - random_below(seed, 8);
	if (at > SIZE - 8)
		at = SIZE - 8;
	assert_int_equal(load_any(cpu, BASE + at, size, &got), VELLUM_FAULT_OK);
	memcpy(&old, model + at, size);
	assert_int_equal(got, old);
	if (random_below(seed, 2))
		return;
	if (size == 8 && random_below(seed, 2)) {
		old = random_below(seed, 2) ? got : got + 1;
		assert_int_equal(vellum_soft_cmpxchg64(cpu, BASE + at, &old, val, &swapped), VELLUM_FAULT_OK);
		assert_int_equal(old, got);
		val = swapped ? val : got;
	} else {
		assert_int_equal(store_any(cpu, BASE + at, size, val), VELLUM_FAULT_OK);
	}
	memcpy(model + at, &val, size);
	*changed |= 1ull << at / PAGE_SIZE | 1ull << (at + size - 1) / PAGE_SIZE;
}

/*
 * Compares bytes, and the reports of trackers of each method: exactly the pages that were stored to, and both
 * if an access crosses.
 */
static void random_accesses(void **state)
{
	static const enum vellum_track_method methods[] = {VELLUM_TRACK_WP, VELLUM_TRACK_CLEAN};
	static const uint32_t hostile[] = {0, VELLUM_SOFT_KEEP | VELLUM_SOFT_A_AT_WILL, VELLUM_SOFT_VCACHE,
					   VELLUM_SOFT_KEEP | VELLUM_SOFT_VCACHE};
	static uint8_t model[SIZE];
	struct world *w = *state;
	uint64_t seed = 3;

	vellum_soft_load_mm(w->cpu[1], w->mm);
	for (unsigned i = 0; i < 4 * ARRAY_SIZE(hostile); i++) {
		struct vellum_tracker *t;

		OK(vellum_soft_set_hostile(w->soft, hostile[i / 4]));
		memset(model, 0, SIZE);
		map_shuffled(w, i & 1 ? SHANON : ANON);
		OK(vellum_track_mm(w->mm, PAGE(0), PAGE(NR), methods[i / 2 % 2], &t));
		collect(t, 0);
		for (unsigned round = 0; round < 100; round++) {
			uint64_t changed = 0;

			for (unsigned n = random_below(&seed, 10); n--;)
				cross_and_note(w, &seed, model, &changed);
			assert_int_equal(collect(t, PAGE(0) >> PAGE_SHIFT), changed);
		}
		assert_memory(w, model);
		vellum_tracker_destroy(t);
		check_world(w);
		unmap(w->mm, 0, NR);
	}
	OK(vellum_soft_set_hostile(w->soft, 0));
}

/* --- faults --- */

/* A store of 8 bytes, 4 bytes before page 1, fails at @at and changes nothing. */
static void refused(struct world *w, enum vellum_fault_result wanted, uint64_t at)
{
	uint64_t val = 77, old = 0, before[2] = {0}, after[2] = {0}, readable = 0, now = 0;
	bool swapped;

	OK(vellum_copy_from_user(w->mm, before, PAGE(1) - 8, 8, NULL));
	vellum_copy_from_user(w->mm, before + 1, PAGE(1), 8, &readable);
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(i ? vellum_soft_cmpxchg64(w->cpu[0], PAGE(1) - 4, &old, 5, &swapped) :
				     vellum_soft_store64(w->cpu[0], PAGE(1) - 4, ~0ull),
				 wanted);
		assert_int_equal(vellum_soft_fault_addr(w->cpu[0]), at);
	}
	if (!readable) {
		assert_int_equal(vellum_soft_load64(w->cpu[0], PAGE(1) - 4, &val), wanted);
		assert_int_equal(vellum_soft_fault_addr(w->cpu[0]), at);
		assert_int_equal(val, 77);
	}
	OK(vellum_copy_from_user(w->mm, after, PAGE(1) - 8, 8, NULL));
	vellum_copy_from_user(w->mm, after + 1, PAGE(1), 8, &now);
	assert_int_equal(now, readable);
	assert_memory_equal(before, after, sizeof(before));
}

static void fault_in_the_second_page(void **state)
{
	struct world *w = *state;
	struct vellum_mapping *obj = new_object(w, new_counting(), 1);

	map_at(w->mm, 0, 2, RW, ANON);
	store(w->cpu[0], PAGE(0) + 4088, ~7ull);
	store(w->cpu[0], PAGE(1), ~8ull);
	protect(w->mm, 1, 1, RO);
	refused(w, VELLUM_FAULT_SIGSEGV_ACCERR, PAGE(1));
	unmap(w->mm, 1, 1);
	refused(w, VELLUM_FAULT_SIGSEGV_MAPERR, PAGE(1));
	map_at(w->mm, 1, 1, VELLUM_PROT_NONE, ANON);
	refused(w, VELLUM_FAULT_SIGSEGV_ACCERR, PAGE(1));
	map_object(w->mm, 1, 1, RW, VELLUM_MAP_SHARED, obj, 1, RW); /* beyond the end */
	refused(w, VELLUM_FAULT_SIGBUS, PAGE(1));
	vellum_mapping_put(obj);
}

static void fault_in_the_first_page(void **state)
{
	struct world *w = *state;

	map_at(w->mm, 0, 2, RW, SHANON);
	store(w->cpu[0], PAGE(0), 1);
	load(w->cpu[0], PAGE(1));
	protect(w->mm, 0, 1, RO);
	refused(w, VELLUM_FAULT_SIGSEGV_ACCERR, PAGE(1) - 4);
	assert_false(has_d(w->mm, PAGE(1)));
	/* Both pages fault: the first page is reported. */
	protect(w->mm, 1, 1, RO);
	refused(w, VELLUM_FAULT_SIGSEGV_ACCERR, PAGE(1) - 4);
}

static void end_of_user_addresses(void **state)
{
	struct world *w = *state;
	struct vellum_map_args args = {.size = sizeof(args), .addr = TASK_SIZE - PAGE_SIZE, .len = PAGE_SIZE,
				       .prot = RW, .flags = ANON | VELLUM_MAP_FIXED};
	uint64_t at, val = 5;

	OK(vellum_mmap(w->mm, &args, &at));
	store(w->cpu[0], TASK_SIZE - 8, 9);
	assert_int_equal(try_store(w->cpu[0], TASK_SIZE - 4, ~0ull), VELLUM_FAULT_SIGSEGV_MAPERR);
	assert_int_equal(vellum_soft_fault_addr(w->cpu[0]), TASK_SIZE);
	assert_int_equal(load(w->cpu[0], TASK_SIZE - 8), 9);
	assert_int_equal(vellum_soft_load64(w->cpu[0], TASK_SIZE - 1, &val), VELLUM_FAULT_SIGSEGV_MAPERR);
	assert_int_equal(val, 5);
	/* Around the end of user addresses, and of canonical addresses. */
	assert_int_equal(try_store(w->cpu[0], ~0ull - 3, 1), VELLUM_FAULT_SIGSEGV_MAPERR);
	assert_int_equal(vellum_soft_fault_addr(w->cpu[0]), ~0ull - 3);
	assert_int_equal(try_store(w->cpu[0], (1ull << 63) | PAGE(0), 1), VELLUM_FAULT_SIGSEGV_MAPERR);
	assert_int_equal(vellum_soft_fetch(w->cpu[0], ~0ull, &val, 8), VELLUM_FAULT_SIGSEGV_MAPERR);
}

/* --- adjacent VMAs of different kinds --- */

static void accesses_across_vmas(void **state)
{
	struct world *w = *state;
	struct counting *c = new_counting();
	struct vellum_mapping *obj = new_object(w, c, 1);
	uint64_t val;

	map_at(w->mm, 0, 1, RW, ANON);
	map_object(w->mm, 1, 1, RW, VELLUM_MAP_SHARED, obj, 0, RW);
	map_at(w->mm, 2, 1, RW, SHANON);
	store(w->cpu[0], PAGE(1) - 4, 0xaaaaaaaabbbbbbbb); /* neither page was present */
	store(w->cpu[0], PAGE(2) - 1, 0x1122334455667788);
	for (unsigned i = 0; i < 3; i++)
		assert_true(has_d(w->mm, PAGE(i)));
	assert_int_equal(c->mkwrites, 1);
	OK(vellum_mapping_read(obj, 0, &val, 4));
	assert_int_equal((uint32_t)val, 0xaaaaaaaa);
	assert_int_equal(load(w->cpu[0], PAGE(2) - 1), 0x1122334455667788);
	vellum_mapping_put(obj);
}

/* The store copies both pages for the child. The parent's bytes stay. */
static void store_copies_both_pages(void **state)
{
	struct world *w = *state;
	struct vellum_mm *child;

	map_at(w->mm, 0, 2, RW, ANON);
	store(w->cpu[0], PAGE(1) - 4, 1);
	child = fork_on(w->mm, w->cpu[2]);
	store(w->cpu[2], PAGE(1) - 4, 2);
	assert_int_equal(load(w->cpu[0], PAGE(1) - 4), 1);
	assert_int_equal(load(w->cpu[2], PAGE(1) - 4), 2);
	end_child(child, w->cpu[2]);
}

/* --- instructions and shadow stacks --- */

static void fetches_across_pages(void **state)
{
	struct world *w = *state;
	static uint8_t buf[3 * PAGE_SIZE];

	map_at(w->mm, 0, 4, RW | VELLUM_PROT_EXEC, ANON);
	for (unsigned i = 0; i < 4; i++)
		store(w->cpu[0], PAGE(3 - i), 0x0101010101010101 * (4 - i));
	store(w->cpu[0], PAGE(1) - 8, 0x9999999999999999);
	assert_int_equal(vellum_soft_fetch(w->cpu[0], PAGE(1) - 7, buf, 15), VELLUM_FAULT_OK);
	assert_memory_equal(buf, "\x99\x99\x99\x99\x99\x99\x99\2\2\2\2\2\2\2\2", 15);
	assert_int_equal(vellum_soft_fetch(w->cpu[0], PAGE(1) - 1, buf, sizeof(buf)), VELLUM_FAULT_OK);
	assert_int_equal(buf[1 + PAGE_SIZE], 3);
	assert_int_equal(buf[1 + 2 * PAGE_SIZE], 4);
	protect(w->mm, 1, 1, RW);
	memset(buf, 0, 16);
	assert_int_equal(vellum_soft_fetch(w->cpu[0], PAGE(1) - 7, buf, 15), VELLUM_FAULT_SIGSEGV_ACCERR);
	assert_int_equal(vellum_soft_fault_addr(w->cpu[0]), PAGE(1));
	assert_memory_equal(buf, "\x99\x99\x99\x99\x99\x99\x99\0\0", 9);
}

static void shadow_stack_accesses_across_pages(void **state)
{
	struct world *w = *state;
	uint64_t at = PAGE(0), val = 0;

	OK(vellum_map_shadow_stack(w->mm, &at, BYTES(2)));
	map_at(w->mm, 2, 1, RW, ANON);
	store(w->cpu[0], PAGE(2), ~0ull);
	assert_int_equal(vellum_soft_shstk_store64(w->cpu[0], PAGE(1) - 4, 0x123456789), VELLUM_FAULT_OK);
	assert_int_equal(vellum_soft_shstk_load64(w->cpu[0], PAGE(1) - 4, &val), VELLUM_FAULT_OK);
	assert_int_equal(val, 0x123456789);
	assert_int_equal(vellum_soft_shstk_store64(w->cpu[0], PAGE(2) - 4, 1), VELLUM_FAULT_SIGSEGV_ACCERR);
	assert_int_equal(vellum_soft_fault_addr(w->cpu[0]), PAGE(2));
	assert_int_equal(load(w->cpu[0], PAGE(2)), ~0ull);
	assert_int_equal(load(w->cpu[0], PAGE(2) - 8), 0);
}

/* --- write-back caches --- */

static void caches_hold_both_pages(void **state)
{
	struct world *w = *state;
	struct vellum_mapping *obj;
	uint64_t val = 0, old = 0x5555555566666666;
	bool swapped;

	OK(vellum_soft_set_hostile(w->soft, VELLUM_SOFT_VCACHE));
	OK(vellum_mapping_create(w->memory, NULL, NULL, 2, 0, &obj));
	map_object(w->mm, 0, 2, RW, VELLUM_MAP_SHARED, obj, 0, RW);
	vellum_soft_load_mm(w->cpu[1], w->mm);
	store(w->cpu[0], PAGE(1) - 4, 0x5555555566666666);
	OK(vellum_mapping_read(obj, PAGE_SIZE - 4, &val, 8));
	assert_int_equal(val, 0);
	assert_int_equal(load(w->cpu[1], PAGE(1) - 4), 0x5555555566666666);
	OK(vellum_mapping_read(obj, PAGE_SIZE - 4, &val, 8));
	assert_int_equal(val, 0x5555555566666666);
	OK(vellum_soft_cmpxchg64(w->cpu[0], PAGE(1) - 4, &old, 7, &swapped));
	assert_true(swapped);
	assert_int_equal(load(w->cpu[1], PAGE(1) - 4), 7);
	OK(vellum_soft_set_hostile(w->soft, 0));
	OK(vellum_mapping_read(obj, PAGE_SIZE - 4, &val, 8));
	assert_int_equal(val, 7);
	vellum_soft_load_mm(w->cpu[1], NULL);
	vellum_mapping_put(obj);
}

/* --- locked accesses of several CPUs --- */

#define ADDS 2000u

/* At one address across two pages, and at an aligned address in its second half. */
static void *keep_adding(void *arg)
{
	struct vellum_soft_cpu *cpu = arg;

	for (unsigned i = 0; i < ADDS; i++) {
		const uint64_t addr = i & 1 ? PAGE(1) - 4 : PAGE(1), add = i & 1 ? 1 : 1ull << 32;
		uint64_t old = 0;
		bool swapped = false;

		while (!swapped)
			must_in_thread(!vellum_soft_cmpxchg64(cpu, addr, &old, old + add, &swapped));
	}
	return NULL;
}

static void locked_accesses_of_several_cpus(void **state)
{
	struct world *w = *state;

	map_at(w->mm, 0, 2, RW, ANON);
	run_on_cpus(w, 3, keep_adding);
	assert_int_equal(load(w->cpu[0], PAGE(1) - 4), 3 * ADDS / 2);
	assert_int_equal(load(w->cpu[0], PAGE(1)), 3ull * ADDS / 2 << 32);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WORLD_TEST(every_width_and_offset),
		WORLD_TEST(random_accesses),
		WORLD_TEST(fault_in_the_second_page),
		WORLD_TEST(fault_in_the_first_page),
		WORLD_TEST(end_of_user_addresses),
		WORLD_TEST(accesses_across_vmas),
		WORLD_TEST(store_copies_both_pages),
		WORLD_TEST(fetches_across_pages),
		WORLD_TEST(shadow_stack_accesses_across_pages),
		WORLD_TEST(caches_hold_both_pages),
		WORLD_TEST(locked_accesses_of_several_cpus),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
