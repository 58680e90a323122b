/* SPDX-License-Identifier: MIT */
/* The software TLB: sizes, places, flushes of much and little; batches of accesses; fetches. */
#include "more_support.h"

#define MANY 3000	/* pages; a flush of so many looks at all translations */

static void sizes(void **state)
{
	static const unsigned bad[] = { 0, 1, 32, 63, 100, 1u << 25, ~0u };
	struct vellum_soft *soft;

	(void)state;
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(vellum_soft_create_tlb(1, bad[i], &soft), -EINVAL);
	assert_int_equal(vellum_soft_create_tlb(0, 64, &soft), -EINVAL);
	assert_int_equal(vellum_soft_create_tlb(1, 64, NULL), -EINVAL);
	for (unsigned pages = 64; pages <= 1 << 16; pages *= 4) {
		OK(vellum_soft_create_tlb(3, pages, &soft));
		for (unsigned i = 0; i < 3; i++) {
			assert_int_equal((uintptr_t)vellum_soft_cpu(soft, i) % 128, 0);
			assert_int_equal(vellum_soft_cpu(soft, i)->tlb_mask, pages - 1);
			assert_int_equal(vellum_soft_place(vellum_soft_cpu(soft, i), BASE)->load, VELLUM_SOFT_NO_PAGE);
		}
		vellum_soft_destroy(soft);
	}
}

static bool is_cached(struct vellum_soft_cpu *cpu, uint64_t addr)
{
	return vellum_soft_place(cpu, addr)->load == addr;
}

static void flushes(void **state)
{
	struct world *w = *state;

	vellum_soft_load_mm(w->cpu[1], w->mm);
	map_at(w->mm, 0, MANY, RW, ANON);
	for (unsigned i = 0; i < MANY; i++) {
		load(w->cpu[0], PAGE(i));
		load(w->cpu[1], PAGE(i));
	}
	assert_true(is_cached(w->cpu[0], PAGE(0)) && is_cached(w->cpu[1], PAGE(MANY - 1)));
	unmap(w->mm, 7, 1);
	unmap(w->mm, 100, 400);
	unmap(w->mm, 1000, 1500);
	for (unsigned c = 0; c < 2; c++)
		for (unsigned i = 0; i < MANY; i++) {
			bool gone = i == 7 || (i >= 100 && i < 500) || (i >= 1000 && i < 2500);

			assert_false(gone && is_cached(w->cpu[c], PAGE(i)));	/* more may have been flushed */
			assert_int_equal(try_load(w->cpu[c], PAGE(i)), gone ? VELLUM_FAULT_SIGSEGV_MAPERR : VELLUM_FAULT_OK);
		}
	/* A range of which each translation is looked at. */
	for (unsigned i = 2500; i < MANY; i++)
		store(w->cpu[0], PAGE(i), 1);
	store(w->cpu[0], PAGE(510), 1);
	protect(w->mm, 500, 500, RO);
	map_at(w->mm, MANY, 700, RW, ANON);
	for (unsigned i = MANY; i < MANY + 700; i++)
		store(w->cpu[0], PAGE(i), 1);
	protect(w->mm, MANY, 700, RO);
	assert_true(is_cached(w->cpu[0], PAGE(2600)));
	for (unsigned i = MANY; i < MANY + 700; i++)
		assert_int_equal(try_store(w->cpu[0], PAGE(i), 2), VELLUM_FAULT_SIGSEGV_ACCERR);
	assert_int_equal(try_store(w->cpu[0], PAGE(510), 2), VELLUM_FAULT_SIGSEGV_ACCERR);
	/* Leaving the address space drops all, and so does a second time, when other places are filled. */
	for (unsigned round = 0; round < 2; round++) {
		vellum_soft_load_mm(w->cpu[1], w->mm);
		for (uint64_t i = 0; i <= w->cpu[1]->tlb_mask; i++)
			assert_int_equal(w->cpu[1]->tlb[i].load & w->cpu[1]->tlb[i].store & w->cpu[1]->tlb[i].fetch,
					 VELLUM_SOFT_NO_PAGE);
		load(w->cpu[1], PAGE(600 + 200 * round));
	}
	vellum_soft_load_mm(w->cpu[1], NULL);
	check_world(w);
}

/* Two pages with one place displace each other, and keep their bytes. */
static void pages_with_one_place(void **state)
{
	struct world *w = *state;
	struct vellum_soft_cpu *cpu = w->cpu[0];
	unsigned other = 1;

	while (vellum_soft_place(cpu, PAGE(other)) != vellum_soft_place(cpu, PAGE(0)))
		other++;
	assert_true(other > 1000);
	map_at(w->mm, 0, 1, RW, ANON);
	map_at(w->mm, other, 1, RW, ANON);
	for (uint64_t i = 1; i < 5; i++) {
		store(cpu, PAGE(0), i);
		store(cpu, PAGE(other), 100 + i);
		assert_int_equal(load(cpu, PAGE(0)), i);
		assert_int_equal(load(cpu, PAGE(other)), 100 + i);
	}
	check_world(w);
}

static void batches(void **state)
{
	struct world *w = *state;
	struct vellum_soft_cpu *cpu = w->cpu[0];
	uint64_t val = 0;
	uint16_t crossing = 0;
	uint8_t byte = 0;

	map_at(w->mm, 0, 3, RW, ANON);
	protect(w->mm, 2, 1, RO);
	vellum_soft_batch_begin(cpu);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(vellum_soft_batch_store64(cpu, PAGE(1) + 8 * i, i + 1), VELLUM_FAULT_OK);
		vellum_soft_batch_pause(cpu);
		assert_int_equal(vellum_soft_batch_load64(cpu, PAGE(1) + 8 * i, &val), VELLUM_FAULT_OK);
		assert_int_equal(val, i + 1);
	}
	assert_int_equal(vellum_soft_batch_store16(cpu, PAGE(1) - 1, 0x0201), VELLUM_FAULT_OK);
	assert_int_equal(vellum_soft_batch_load16(cpu, PAGE(1) - 1, &crossing), VELLUM_FAULT_OK);
	assert_int_equal(crossing, 0x0201);
	assert_int_equal(vellum_soft_batch_store8(cpu, PAGE(2), 1), VELLUM_FAULT_SIGSEGV_ACCERR);
	assert_int_equal(vellum_soft_fault_addr(cpu), PAGE(2));
	assert_int_equal(vellum_soft_batch_fetch8(cpu, PAGE(1), &byte), VELLUM_FAULT_SIGSEGV_ACCERR);
	assert_int_equal(vellum_soft_batch_load8(cpu, PAGE(3), &byte), VELLUM_FAULT_SIGSEGV_MAPERR);
	assert_true(cpu->busy);
	vellum_soft_batch_end(cpu);
	assert_false(cpu->busy);
	check_world(w);
}

static void fetches(void **state)
{
	struct world *w = *state;
	struct vellum_soft_cpu *cpu = w->cpu[0];
	uint32_t insn = 0;
	uint16_t half = 0;

	map_at(w->mm, 0, 2, RW, ANON);
	store(cpu, PAGE(0), 0x1122334455667788);
	store(cpu, PAGE(0) + 4088, 0x99);
	assert_int_equal(vellum_soft_fetch32(cpu, PAGE(0), &insn), VELLUM_FAULT_SIGSEGV_ACCERR);
	protect(w->mm, 0, 1, VELLUM_PROT_READ | VELLUM_PROT_EXEC);
	for (unsigned i = 0; i < 2; i++) {	/* a walk, then a hit */
		assert_int_equal(vellum_soft_fetch32(cpu, PAGE(0) + 4, &insn), VELLUM_FAULT_OK);
		assert_int_equal(insn, 0x11223344);
		assert_int_equal(vellum_soft_fetch16(cpu, PAGE(0) + 3, &half), VELLUM_FAULT_OK);	/* not aligned */
		assert_int_equal(half, 0x4455);
	}
	assert_int_equal(vellum_soft_fetch16(cpu, PAGE(1) - 1, &half), VELLUM_FAULT_SIGSEGV_ACCERR);
	assert_int_equal(vellum_soft_fault_addr(cpu), PAGE(1));
	protect(w->mm, 0, 1, RW);
	assert_int_equal(vellum_soft_fetch32(cpu, PAGE(0), &insn), VELLUM_FAULT_SIGSEGV_ACCERR);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sizes),
		WORLD_TEST(flushes),
		WORLD_TEST(pages_with_one_place),
		WORLD_TEST(batches),
		WORLD_TEST(fetches),
	};

	return cmocka_run_group_tests_name("soft_tlb", tests, NULL, NULL);
}
