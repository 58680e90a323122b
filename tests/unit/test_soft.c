/* SPDX-License-Identifier: MIT */
/* The software MMU itself: huge leaves and shadow-stack accesses, on tables put together by hand. */
#include "more_support.h"

#define AT (1ull << PGD_SHIFT) /* its tables are the test's own: no VMA is near */
#define USER (X86_PRESENT | X86_USER)
#define USER_RW (USER | X86_RW)

/* --- tables by hand --- */

struct hand {
	struct world *w;
	uint64_t *pgd, *pud, *pmd, *pte; /* the entries for AT */
	pfn_t frames;			 /* 512, aligned as a PMD leaf wants them; the last ones are the tables */
};

static uint64_t *frame(struct hand *h, unsigned i)
{
	return vellum_frame_host(h->w->memory, h->frames + i);
}

static struct hand by_hand(struct world *w)
{
	struct hand h = {.w = w};

	OK(vellum_memory_alloc_device(w->memory, 512, &h.frames));
	for (unsigned i = 0; i < 512; i++)
		memset(frame(&h, i), 0, PAGE_SIZE);
	h.pgd = (uint64_t *)vellum_frame_host(w->memory, vellum_mm_pgd(w->mm)) + table_index(AT, PGD_SHIFT);
	h.pud = frame(&h, 509);
	h.pmd = frame(&h, 510);
	h.pte = frame(&h, 511);
	*h.pgd = x86_mk_table(h.frames + 509) & ~X86_ACCESSED;
	*h.pud = x86_mk_table(h.frames + 510) & ~X86_ACCESSED;
	*h.pmd = x86_mk_table(h.frames + 511) & ~X86_ACCESSED;
	return h;
}

/* Before the core looks at its tables again. */
static void take_down(struct hand *h)
{
	vellum_soft_run(h->w->cpu[0], NULL);
	*h->pgd = 0;
	vellum_memory_free_device(h->w->memory, h->frames, 512);
}

/* The CPU forgets what it has cached. */
static void forget(struct world *w)
{
	vellum_soft_run(w->cpu[0], w->mm);
}

/* --- huge leaves --- */

static void pmd_leaf_is_walked(void **state)
{
	struct world *w = *state;
	struct hand h = by_hand(w);
	const uint64_t leaf = pmd_mk(h.frames, USER_RW).val | X86_PAT_LARGE;

	*frame(&h, 3) = 33;
	*h.pmd = leaf;
	assert_int_equal(load(w->cpu[0], AT + BYTES(3)), 33);
	assert_int_equal(*h.pmd, leaf | X86_ACCESSED);
	assert_true(*h.pgd & *h.pud & X86_ACCESSED);
	store(w->cpu[0], AT + BYTES(200) + 8, 7);
	assert_int_equal(*h.pmd, leaf | X86_ACCESSED | X86_DIRTY);
	assert_int_equal(frame(&h, 200)[1], 7);
	/* A page that was loaded from while the leaf was clean has no right to store by; that one, it has. */
	*h.pmd = leaf;
	store(w->cpu[0], AT + BYTES(200) + 8, 8);
	assert_int_equal(*h.pmd, leaf);
	store(w->cpu[0], AT + BYTES(3), 9);
	assert_int_equal(*h.pmd, leaf | X86_ACCESSED | X86_DIRTY);
	assert_int_equal(*frame(&h, 3), 9);
	take_down(&h);
}

/* A PUD leaf covers all RAM here. */
static void pud_leaf_is_walked(void **state)
{
	struct world *w = *state;
	struct hand h = by_hand(w);
	const uint64_t leaf = pud_mk(0, USER_RW).val | X86_PAT_LARGE;

	*h.pud = leaf;
	*frame(&h, 5) = 55;
	assert_int_equal(load(w->cpu[0], AT + BYTES(h.frames + 5)), 55);
	assert_int_equal(*h.pud, leaf | X86_ACCESSED);
	store(w->cpu[0], AT + BYTES(h.frames + 300), 6);
	assert_int_equal(*h.pud, leaf | X86_ACCESSED | X86_DIRTY);
	assert_int_equal(*frame(&h, 300), 6);
	take_down(&h);
}

/* D is set only where the store is allowed; rights of a huge leaf are a small one's. */
static void huge_leaf_faults(void **state)
{
	static const uint64_t refused[] = {
		X86_PSE | USER,			 /* read-only */
		X86_PSE | USER | X86_ACCESSED | X86_SAVED_DIRTY,
		X86_PSE | X86_PRESENT | X86_RW,	 /* not the user's */
		X86_PSE | X86_USER | X86_RW,	 /* under invalidation: P=0 */
		X86_PSE | X86_PROTNONE,
		X86_PSE | USER | X86_DIRTY,	 /* a shadow stack's */
	};
	struct world *w = *state;
	struct hand h = by_hand(w);

	for (unsigned i = 0; i < ARRAY_SIZE(refused); i++) {
		const uint64_t leaf = x86_with_pfn_bits(refused[i], BYTES(h.frames), X86_PFN_MASK);
		uint8_t byte;

		*h.pmd = leaf;
		assert_int_equal(try_store(w->cpu[0], AT, 1), VELLUM_FAULT_SIGSEGV_MAPERR);
		assert_int_equal(*h.pmd, leaf);
		if (!(leaf & X86_PRESENT) || !(leaf & X86_USER))
			assert_int_equal(try_load(w->cpu[0], AT), VELLUM_FAULT_SIGSEGV_MAPERR);
		*h.pmd = leaf | X86_NX;
		assert_int_equal(vellum_soft_fetch(w->cpu[0], AT, &byte, 1), VELLUM_FAULT_SIGSEGV_MAPERR);
		assert_int_equal(*h.pmd, leaf | X86_NX);
		*h.pud = pud_mk(0, 0).val | refused[i];
		assert_int_equal(try_store(w->cpu[0], AT, 1), VELLUM_FAULT_SIGSEGV_MAPERR);
		assert_int_equal(*h.pud, pud_mk(0, 0).val | refused[i]);
		*h.pud = x86_mk_table(h.frames + 510);
	}
	assert_int_equal(*frame(&h, 0), 0);
	take_down(&h);
}

/* Nothing answers behind a leaf: a bus error, and no translation. */
static void leaf_without_memory(void **state)
{
	struct world *w = *state;
	struct hand h = by_hand(w);

	*h.pmd = pmd_mk(1ull << 30, USER_RW).val;
	assert_int_equal(try_load(w->cpu[0], AT), VELLUM_FAULT_SIGBUS);
	take_down(&h);
}

/* --- shadow stack --- */

static enum vellum_fault_result shstk_load(struct world *w, uint64_t addr)
{
	uint64_t val;

	return vellum_soft_shstk_load64(w->cpu[0], addr, &val);
}

/*
 * Without a VMA every fault is MAPERR; so what is tried is what the CPU itself lets through, with
 * a cold TLB and with one that ordinary loads have warmed.
 */
static void shstk_by_encoding(void **state)
{
	static const struct {
		uint64_t bits;
		bool store, shstk;
	} kinds[] = {
		{USER, false, false},
		{USER | X86_SAVED_DIRTY, false, false},
		{USER_RW, true, false},
		{USER_RW | X86_DIRTY, true, false},
		{USER | X86_DIRTY, false, true},
		{X86_PRESENT | X86_DIRTY, false, false}, /* the supervisor's */
		{X86_USER | X86_DIRTY, false, false},	 /* not present */
	};
	struct world *w = *state;
	struct hand h = by_hand(w);

	for (unsigned i = 0; i < 2 * ARRAY_SIZE(kinds); i++) {
		const bool store = kinds[i / 2].store, shstk = kinds[i / 2].shstk;
		const uint64_t leaf = pte_mk(h.frames, kinds[i / 2].bits).val;

		*h.pte = leaf;
		forget(w);
		if (i & 1)
			try_load(w->cpu[0], AT);
		assert_int_equal(shstk_load(w, AT), shstk ? VELLUM_FAULT_OK : VELLUM_FAULT_SIGSEGV_MAPERR);
		assert_int_equal(vellum_soft_shstk_store64(w->cpu[0], AT, i + 100),
				 shstk ? VELLUM_FAULT_OK : VELLUM_FAULT_SIGSEGV_MAPERR);
		assert_int_equal(*frame(&h, 0) == i + 100, shstk);
		assert_int_equal(*h.pte & ~X86_ACCESSED, leaf);
		assert_int_equal(try_store(w->cpu[0], AT, i + 200),
				 store ? VELLUM_FAULT_OK : VELLUM_FAULT_SIGSEGV_MAPERR);
		assert_int_equal(*frame(&h, 0) == i + 200, store);
	}
	*h.pmd = pmd_mk(h.frames, USER | X86_DIRTY).val; /* a huge one */
	assert_int_equal(vellum_soft_shstk_store64(w->cpu[0], AT + BYTES(9), 1), VELLUM_FAULT_OK);
	assert_int_equal(*frame(&h, 9), 1);
	take_down(&h);
}

/* A cached shadow-stack translation is a flush's to take, as any other. */
static void shstk_translation_is_cached(void **state)
{
	struct world *w = *state;
	struct hand h = by_hand(w);

	*h.pte = pte_mk(h.frames, USER | X86_DIRTY).val;
	assert_int_equal(shstk_load(w, AT), VELLUM_FAULT_OK);
	*h.pte = 0;
	assert_int_equal(vellum_soft_shstk_store64(w->cpu[0], AT, 1), VELLUM_FAULT_OK);
	assert_int_equal(*frame(&h, 0), 1);
	flush_page(w->mm, AT, VELLUM_FLUSH_UNMAP, h.frames);
	assert_int_equal(shstk_load(w, AT), VELLUM_FAULT_SIGSEGV_MAPERR);
	take_down(&h);
}

/* Where a store would be served, the error bit tells the core that this one is none. */
static void shstk_fault_says_so(void **state)
{
	struct world *w = *state;

	map_at(w->mm, 0, 1, RW, ANON);
	assert_int_equal(vellum_soft_shstk_store64(w->cpu[0], BASE, 1), VELLUM_FAULT_SIGSEGV_ACCERR);
	store(w->cpu[0], BASE, 2);
	assert_int_equal(vellum_soft_shstk_store64(w->cpu[0], BASE, 1), VELLUM_FAULT_SIGSEGV_ACCERR);
	assert_int_equal(shstk_load(w, BASE), VELLUM_FAULT_SIGSEGV_ACCERR);
	assert_int_equal(load(w->cpu[0], BASE), 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WORLD_TEST(pmd_leaf_is_walked),
		WORLD_TEST(pud_leaf_is_walked),
		WORLD_TEST(huge_leaf_faults),
		WORLD_TEST(leaf_without_memory),
		WORLD_TEST(shstk_by_encoding),
		WORLD_TEST(shstk_translation_is_cached),
		WORLD_TEST(shstk_fault_says_so),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
