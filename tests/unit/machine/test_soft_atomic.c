/* SPDX-License-Identifier: MIT */
/* Accesses of the software MMU that read, change and store in one step, and those of 16 bytes. */
#include "more_support.h"

#define NR   4
#define SIZE (NR * PAGE_SIZE)

/* --- operations of any width --- */

enum op { CMPXCHG, EXCHANGE, FETCH_ADD, FETCH_AND, FETCH_OR, FETCH_XOR, NR_OPS };

/* *@old: the expected value of a cmpxchg; out: the value found. */
#define DEFINE_DO(bits)                                                                                      \
	static enum vellum_fault_result do##bits(enum op op, struct vellum_soft_cpu *cpu, uint64_t addr,     \
						 uint64_t val, uint64_t *old, bool *swapped)                 \
	{                                                                                                    \
		uint##bits##_t found = (uint##bits##_t)*old, v = (uint##bits##_t)val;                        \
		enum vellum_fault_result r = VELLUM_FAULT_OK;                                                \
                                                                                                             \
		switch (op) {                                                                                \
		case CMPXCHG:   r = vellum_soft_cmpxchg##bits(cpu, addr, &found, v, swapped); break;         \
		case EXCHANGE:  r = vellum_soft_exchange##bits(cpu, addr, v, &found); break;                 \
		case FETCH_ADD: r = vellum_soft_fetch_add##bits(cpu, addr, v, &found); break;                \
		case FETCH_AND: r = vellum_soft_fetch_and##bits(cpu, addr, v, &found); break;                \
		case FETCH_OR:  r = vellum_soft_fetch_or##bits(cpu, addr, v, &found); break;                 \
		default:        r = vellum_soft_fetch_xor##bits(cpu, addr, v, &found); break;                \
		}                                                                                            \
		*old = found;                                                                                \
		return r;                                                                                    \
	}
VELLUM_SOFT_SIZES(DEFINE_DO)

static enum vellum_fault_result do_any(enum op op, unsigned size, struct vellum_soft_cpu *cpu, uint64_t addr,
				       uint64_t val, uint64_t *old, bool *swapped)
{
	switch (size) {
	case 1:  return do8(op, cpu, addr, val, old, swapped);
	case 2:  return do16(op, cpu, addr, val, old, swapped);
	case 4:  return do32(op, cpu, addr, val, old, swapped);
	default: return do64(op, cpu, addr, val, old, swapped);
	}
}

static uint64_t result_of(enum op op, uint64_t was, uint64_t val, bool equal)
{
	switch (op) {
	case CMPXCHG:   return equal ? val : was;
	case EXCHANGE:  return val;
	case FETCH_ADD: return was + val;
	case FETCH_AND: return was & val;
	case FETCH_OR:  return was | val;
	default:        return was ^ val;
	}
}

static void assert_memory(struct world *w, const uint8_t *model)
{
	static uint8_t bytes[SIZE];

	vellum_soft_write_back(w->soft);
	OK(vellum_copy_from_user(w->mm, bytes, BASE, SIZE, NULL));
	assert_memory_equal(bytes, model, SIZE);
}

/* One operation at @at, whose result the model gets. */
static void one_operation(struct world *w, enum op op, unsigned size, uint64_t at, uint8_t *model, uint64_t *seed)
{
	uint64_t was = 0, val = random_u64(seed), old, now;
	const bool equal = random_below(seed, 2);
	bool swapped = !equal;

	memcpy(&was, model + at, size);
	old = op != CMPXCHG ? 0x77 : equal ? was : was ^ 1;
	assert_int_equal(do_any(op, size, w->cpu[random_below(seed, 2)], BASE + at, val, &old, &swapped), VELLUM_FAULT_OK);
	assert_int_equal(old, was);
	if (op == CMPXCHG)
		assert_int_equal(swapped, equal);
	now = result_of(op, was, val, equal);
	memcpy(model + at, &now, size);
}

static void every_operation_and_offset(void **state)
{
	static const uint32_t hostile[] = {0, VELLUM_SOFT_KEEP | VELLUM_SOFT_A_AT_WILL, VELLUM_SOFT_VCACHE};
	static uint8_t model[SIZE];
	struct world *w = *state;
	uint64_t seed = 5;

	vellum_soft_load_mm(w->cpu[1], w->mm);
	for (unsigned h = 0; h < ARRAY_SIZE(hostile); h++) {
		OK(vellum_soft_set_hostile(w->soft, hostile[h]));
		map_at(w->mm, 0, NR, RW, ANON);
		memset(model, 0, SIZE);
		for (unsigned op = 0; op < NR_OPS; op++)
			for (unsigned size = 1; size <= 8; size *= 2)
				for (uint64_t at = PAGE_SIZE - 16; at <= PAGE_SIZE + 8; at++)
					one_operation(w, op, size, at, model, &seed);
		assert_memory(w, model);
		check_world(w);
		unmap(w->mm, 0, NR);
	}
	OK(vellum_soft_set_hostile(w->soft, 0));
	vellum_soft_load_mm(w->cpu[1], NULL);
}

/* --- rights, and the dirty bit --- */

static void an_operation_is_a_store(void **state)
{
	struct world *w = *state;
	struct vellum_tracker *t;

	map_at(w->mm, 0, 2, RW, ANON);
	store(w->cpu[0], PAGE(0), 1);
	store(w->cpu[0], PAGE(1), 1);
	OK(vellum_track_mm(w->mm, PAGE(0), PAGE(2), VELLUM_TRACK_CLEAN, &t));
	collect(t, 0);
	for (unsigned op = 0; op < NR_OPS; op++) {
		uint64_t old = 99;	/* a cmpxchg that fails stores what it found */
		bool swapped = true;

		assert_int_equal(do_any(op, 4, w->cpu[0], PAGE(1) - 2, 0, &old, &swapped), VELLUM_FAULT_OK);
		assert_int_equal(collect(t, PAGE(0) >> PAGE_SHIFT), 3);
		if (op == CMPXCHG)
			assert_false(swapped);
	}
	vellum_tracker_destroy(t);
	store(w->cpu[0], PAGE(1) - 4, 0x100000002);
	protect(w->mm, 1, 1, RO);
	for (unsigned op = 0; op < NR_OPS; op++) {
		uint64_t old = 99;
		bool swapped = true;

		assert_int_equal(do_any(op, 8, w->cpu[0], PAGE(1) - 4, 5, &old, &swapped), VELLUM_FAULT_SIGSEGV_ACCERR);
		assert_int_equal(vellum_soft_fault_addr(w->cpu[0]), PAGE(1));
		assert_int_equal(old, 99);
		assert_true(swapped);
	}
	assert_int_equal(load(w->cpu[0], PAGE(1) - 4), 0x100000002);
}

/* --- 16 bytes --- */

static void sixteen_bytes_with(struct world *w, uint32_t hostile)
{
	OK(vellum_soft_set_hostile(w->soft, hostile));
	map_at(w->mm, 0, NR, RW, ANON);
	for (uint64_t at = PAGE_SIZE - 32; at <= PAGE_SIZE + 16; at++) {
		struct vellum_soft_u128 val = {at * 3, at * 5}, got = {0, 0}, old = {at * 3, 0}, next = {at, ~at};
		uint8_t bytes[18] = {0};
		bool swapped = true;

		assert_int_equal(vellum_soft_store128(w->cpu[0], BASE + at, val), VELLUM_FAULT_OK);
		assert_int_equal(vellum_soft_load128(w->cpu[0], BASE + at, &got), VELLUM_FAULT_OK);
		assert_memory_equal(&got, &val, sizeof(val));
		assert_int_equal(vellum_soft_cmpxchg128(w->cpu[0], BASE + at, &old, next, &swapped), VELLUM_FAULT_OK);
		assert_false(swapped);
		assert_memory_equal(&old, &val, sizeof(val));
		assert_int_equal(vellum_soft_cmpxchg128(w->cpu[0], BASE + at, &old, next, &swapped), VELLUM_FAULT_OK);
		assert_true(swapped);
		vellum_soft_write_back(w->soft);
		OK(vellum_copy_from_user(w->mm, bytes, BASE + at - 1, sizeof(bytes), NULL));
		assert_memory_equal(bytes + 1, &next, sizeof(next));
		assert_int_equal(bytes[17], 0);
		vellum_soft_batch_begin(w->cpu[0]);
		assert_int_equal(vellum_soft_batch_store128(w->cpu[0], BASE + at, val), VELLUM_FAULT_OK);
		assert_int_equal(vellum_soft_batch_load128(w->cpu[0], BASE + at, &got), VELLUM_FAULT_OK);
		vellum_soft_batch_end(w->cpu[0]);
		assert_memory_equal(&got, &val, sizeof(val));
		store(w->cpu[0], BASE + at, 0);
		store(w->cpu[0], BASE + at + 8, 0);
	}
	protect(w->mm, 1, 1, RO);
	assert_int_equal(vellum_soft_store128(w->cpu[0], PAGE(1) - 8, (struct vellum_soft_u128){7, 7}),
			 VELLUM_FAULT_SIGSEGV_ACCERR);
	assert_int_equal(load(w->cpu[0], PAGE(1) - 8), 0);
	unmap(w->mm, 0, NR);
	OK(vellum_soft_set_hostile(w->soft, 0));
}

static void sixteen_bytes(void **state)
{
	sixteen_bytes_with(*state, 0);
	sixteen_bytes_with(*state, VELLUM_SOFT_KEEP | VELLUM_SOFT_A_AT_WILL);
	sixteen_bytes_with(*state, VELLUM_SOFT_VCACHE);
}

/* --- several CPUs --- */

#define ROUNDS 1500u

/* Aligned, across two pages, and 16 bytes whose halves change together. */
static void *keep_adding(void *arg)
{
	struct vellum_soft_cpu *cpu = arg;

	for (unsigned i = 0; i < ROUNDS; i++) {
		struct vellum_soft_u128 pair = {0, 0}, next = {1, 2};
		bool swapped = false;
		uint64_t old;
		uint16_t old16;

		must_in_thread(!vellum_soft_fetch_add64(cpu, PAGE(0), 3, &old));
		must_in_thread(!vellum_soft_fetch_add64(cpu, PAGE(1) - 4, 1, &old));
		must_in_thread(!vellum_soft_fetch_add16(cpu, PAGE(0) + 8, 1, &old16));
		while (!swapped) {
			must_in_thread(!vellum_soft_cmpxchg128(cpu, PAGE(2), &pair, next, &swapped));
			must_in_thread(pair.high == 2 * pair.low);
			next = (struct vellum_soft_u128){pair.low + 1, 2 * (pair.low + 1)};
		}
	}
	return NULL;
}

static void operations_of_several_cpus(void **state)
{
	struct world *w = *state;
	struct vellum_soft_u128 pair;

	map_at(w->mm, 0, NR, RW, ANON);
	run_on_cpus(w, 3, keep_adding);
	assert_int_equal(load(w->cpu[0], PAGE(0)), 3ull * 3 * ROUNDS);
	assert_int_equal(load(w->cpu[0], PAGE(0) + 8), 3 * ROUNDS);
	assert_int_equal(load(w->cpu[0], PAGE(1) - 4), 3 * ROUNDS);
	assert_int_equal(vellum_soft_load128(w->cpu[0], PAGE(2), &pair), VELLUM_FAULT_OK);
	assert_int_equal(pair.low, 3 * ROUNDS);
	assert_int_equal(pair.high, 2 * 3 * ROUNDS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WORLD_TEST(every_operation_and_offset),
		WORLD_TEST(an_operation_is_a_store),
		WORLD_TEST(sixteen_bytes),
		WORLD_TEST(operations_of_several_cpus),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
