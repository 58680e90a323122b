/* SPDX-License-Identifier: MIT */
/*
 * The software MMU itself: huge leaves and shadow-stack accesses, on tables put together by hand; and its
 * hostile mode, alone and under the core.
 */
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
	vellum_soft_load_mm(h->w->cpu[0], NULL);
	*h->pgd = 0;
	vellum_memory_free_device(h->w->memory, h->frames, 512);
}

/* The CPU forgets what it has cached. */
static void forget(struct world *w)
{
	vellum_soft_load_mm(w->cpu[0], w->mm);
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

/* --- hostile: translations and tables are kept --- */

static void hostile(struct world *w, uint32_t flags)
{
	OK(vellum_soft_set_hostile(w->soft, flags));
}

static void hostile_flags(void **state)
{
	struct world *w = *state;

	assert_int_equal(vellum_soft_set_hostile(w->soft, 8), -EINVAL);
	hostile(w, VELLUM_SOFT_VCACHE);
	map_at(w->mm, 0, 1, RW, ANON);
	store(w->cpu[0], BASE, 5);
	hostile(w, 0);
	assert_int_equal(load(w->cpu[0], BASE), 5); /* written back */
}

/* 500 of them, where the sets have room for 256; and one flush takes exactly what it names. */
static void kept_until_flushed(void **state)
{
	struct world *w = *state;
	struct hand h = by_hand(w);

	hostile(w, VELLUM_SOFT_KEEP);
	for (unsigned i = 0; i < 500; i++)
		h.pte[i] = pte_mk(h.frames + i, USER_RW).val;
	for (unsigned i = 0; i < 500; i++)
		store(w->cpu[0], AT + BYTES(i), i);
	memset(h.pte, 0, PAGE_SIZE);
	for (unsigned i = 0; i < 500; i++)
		assert_int_equal(load(w->cpu[0], AT + BYTES(i)), i);
	flush_page(w->mm, AT + BYTES(9), VELLUM_FLUSH_UNMAP, h.frames + 9);
	for (unsigned i = 0; i < 500; i++)
		assert_int_equal(try_store(w->cpu[0], AT + BYTES(i), 0),
				 i == 9 ? VELLUM_FAULT_SIGSEGV_MAPERR : VELLUM_FAULT_OK);
	forget(w);
	assert_int_equal(try_load(w->cpu[0], AT), VELLUM_FAULT_SIGSEGV_MAPERR);
	take_down(&h);
}

/* A read-only translation faults though the entry is writable by now; the fault drops it. */
static void raised_rights_take_a_fault(void **state)
{
	struct world *w = *state;
	struct hand h = by_hand(w);
	uint8_t byte;

	hostile(w, VELLUM_SOFT_KEEP);
	*h.pte = pte_mk(h.frames, USER | X86_NX).val;
	load(w->cpu[0], AT);
	*h.pte = pte_mk(h.frames, USER_RW).val;
	assert_int_equal(try_store(w->cpu[0], AT, 1), VELLUM_FAULT_SIGSEGV_MAPERR);
	store(w->cpu[0], AT, 1);
	*h.pte = pte_mk(h.frames, USER_RW | X86_NX).val;
	forget(w);
	load(w->cpu[0], AT);
	store(w->cpu[0], AT, 2); /* writable, not known dirty: no fault, it walks */
	assert_true(*h.pte & X86_DIRTY);
	*h.pte = pte_mk(h.frames, USER_RW).val;
	assert_int_equal(vellum_soft_fetch(w->cpu[0], AT, &byte, 1), VELLUM_FAULT_SIGSEGV_MAPERR);
	assert_int_equal(vellum_soft_fetch(w->cpu[0], AT, &byte, 1), VELLUM_FAULT_OK);
	take_down(&h);
}

/* A table that was unlinked is walked until a flush: of an address below it, or with the kind. */
static void tables_are_kept(void **state)
{
	struct world *w = *state;
	struct hand h = by_hand(w);
	struct vellum_flush_batch tables = {.kinds = VELLUM_FLUSH_TABLES, .nr_ranges = 1};

	hostile(w, VELLUM_SOFT_KEEP);
	for (unsigned i = 0; i < 8; i++)
		h.pte[i] = pte_mk(h.frames + i, USER_RW).val;
	load(w->cpu[0], AT);
	*h.pmd = 0;
	store(w->cpu[0], AT + BYTES(1), 1);
	assert_int_equal(*frame(&h, 1), 1);
	assert_true(h.pte[1] & X86_DIRTY);
	flush_page(w->mm, AT + BYTES(100), VELLUM_FLUSH_UNMAP, 0);
	assert_int_equal(try_load(w->cpu[0], AT + BYTES(2)), VELLUM_FAULT_SIGSEGV_MAPERR);
	assert_int_equal(try_load(w->cpu[0], AT + BYTES(1)), VELLUM_FAULT_OK); /* nobody named it */
	*h.pmd = x86_mk_table(h.frames + 511);
	load(w->cpu[0], AT + BYTES(3));
	*h.pmd = 0;
	load(w->cpu[0], AT + BYTES(4));
	flush_batch(w->mm, &tables);
	assert_int_equal(try_load(w->cpu[0], AT + BYTES(5)), VELLUM_FAULT_SIGSEGV_MAPERR);
	take_down(&h);
}

static void a_at_will(void **state)
{
	struct world *w = *state;
	struct hand h = by_hand(w);

	hostile(w, VELLUM_SOFT_A_AT_WILL);
	for (unsigned i = 0; i < 16; i++)
		h.pte[i] = pte_mk(h.frames + i, USER_RW).val;
	h.pte[5] = pte_mk(h.frames + 5, X86_PROTNONE).val;
	h.pte[6] = 0;
	store(w->cpu[0], AT + BYTES(2), 1);
	for (unsigned i = 0; i < 16; i++) {
		if (i == 5 || i == 6)
			assert_false(h.pte[i] & X86_ACCESSED);
		else
			assert_int_equal(!!(h.pte[i] & X86_ACCESSED), i < 8);
		assert_int_equal(!!(h.pte[i] & X86_DIRTY), i == 2);
	}
	h.pte[1] = h.pte[9] = 0;
	assert_int_equal(try_load(w->cpu[0], AT + BYTES(1)), VELLUM_FAULT_OK); /* it was cached */
	assert_int_equal(try_load(w->cpu[0], AT + BYTES(9)), VELLUM_FAULT_SIGSEGV_MAPERR);
	take_down(&h);
}

/* --- hostile: caches for data that are written back --- */

static struct vellum_mapping *cached_object(struct world *w)
{
	struct vellum_mapping *obj;

	hostile(w, VELLUM_SOFT_VCACHE);
	OK(vellum_mapping_create(w->memory, NULL, NULL, 128, 0, &obj));
	map_object(w->mm, 0, 128, RW, VELLUM_MAP_SHARED, obj, 0, RW);
	return obj;
}

/* What memory has, for those who are no CPU. */
static uint64_t in_memory(struct vellum_mapping *obj, unsigned page)
{
	uint64_t val = 0;

	OK(vellum_mapping_read(obj, BYTES(page), &val, 8));
	return val;
}

static void stores_reach_memory_late(void **state)
{
	struct world *w = *state;
	struct vellum_mapping *obj = cached_object(w);
	uint64_t old = 1;
	bool swapped;

	map_object(w->mm, 200, 128, RW, VELLUM_MAP_SHARED, obj, 0, RW);
	vellum_soft_load_mm(w->cpu[1], w->mm);
	store(w->cpu[0], PAGE(3), 1);
	assert_int_equal(in_memory(obj, 3), 0);
	assert_int_equal(load(w->cpu[0], PAGE(3)), 1);
	OK(vellum_soft_cmpxchg64(w->cpu[0], PAGE(3), &old, 2, &swapped));
	assert_true(swapped);
	assert_int_equal(in_memory(obj, 3), 0);
	assert_int_equal(load(w->cpu[1], PAGE(3)), 2); /* CPUs agree */
	assert_int_equal(in_memory(obj, 3), 2);
	store(w->cpu[1], PAGE(3), 3);
	assert_int_equal(load(w->cpu[0], PAGE(203)), 3);
	store(w->cpu[0], PAGE(203), 4);
	assert_int_equal(load(w->cpu[0], PAGE(3)), 4); /* and two addresses of one CPU */
	store(w->cpu[0], PAGE(3), 5);
	for (unsigned i = 10; i < 10 + 63; i++)
		store(w->cpu[0], PAGE(i), i);
	assert_int_equal(in_memory(obj, 3), 4);
	store(w->cpu[0], PAGE(80), 80);
	assert_int_equal(in_memory(obj, 3), 5); /* evicted */
	vellum_soft_load_mm(w->cpu[0], NULL);
	assert_int_equal(in_memory(obj, 80), 80);
	vellum_soft_load_mm(w->cpu[1], NULL);
	vellum_mapping_put(obj);
}

/* After the entry says read-only and clean, as real ones do: the reason for flush_cache_range(). */
static void written_back_behind_a_clean_entry(void **state)
{
	struct world *w = *state;
	struct vellum_mapping *obj = cached_object(w);

	store(w->cpu[0], PAGE(3), 1);
	set_entry_at(w->mm, PAGE(3), pte_mkclean(pte_wrprotect(entry_at(w->mm, PAGE(3)))));
	flush_page(w->mm, PAGE(3), VELLUM_FLUSH_RIGHTS, pte_pfn(entry_at(w->mm, PAGE(3))));
	assert_int_equal(in_memory(obj, 3), 0);
	vellum_soft_write_back(w->soft);
	assert_int_equal(in_memory(obj, 3), 1);
	assert_false(has_d(w->mm, PAGE(3)));
	vellum_mapping_put(obj);
}

struct late {
	struct world *w;
	uint64_t val;
};

static void store_late(void *arg)
{
	struct late *late = arg;

	store(late->w->cpu[0], PAGE(3), late->val);
}

static uint64_t clean(struct vellum_mapping *obj)
{
	uint64_t bitmap[2] = {0}, start = 0, end = 0;

	OK(vellum_clean_record_shared_mapping_range(obj, 0, 128, 0, bitmap, &start, &end, NULL));
	return bitmap[0];
}

/* Clean and record, then copy what the bitmap has: the copy has all stores, those in the window too. */
static void wpc_copy_has_the_stores(void **state)
{
	struct world *w = *state;
	struct vellum_mapping *obj = cached_object(w);
	struct late late = {w, 22};

	store(w->cpu[0], PAGE(3), 11);
	store(w->cpu[0], PAGE(4), 44);
	assert_int_equal(clean(obj), 1 << 3 | 1 << 4);
	assert_int_equal(in_memory(obj, 3), 11);
	assert_int_equal(in_memory(obj, 4), 44);
	store(w->cpu[0], PAGE(3), 12);
	assert_int_equal(in_memory(obj, 3), 11);
	vellum_soft_set_flush_hook(w->soft, store_late, &late);
	assert_int_equal(clean(obj), 1 << 3);
	vellum_soft_set_flush_hook(w->soft, NULL, NULL);
	assert_int_equal(in_memory(obj, 3), 22);
	store(w->cpu[0], PAGE(5), 55);
	OK(vellum_wp_shared_mapping_range(obj, 0, 128, NULL));
	assert_int_equal(in_memory(obj, 5), 55);
	vellum_mapping_put(obj);
}

static void collected_copy_has_the_stores(void **state)
{
	static const enum vellum_track_method methods[] = {VELLUM_TRACK_WP, VELLUM_TRACK_CLEAN};
	struct world *w = *state;
	struct vellum_mapping *obj = cached_object(w);
	struct vellum_tracker *t;

	for (unsigned i = 0; i < 4; i++) {
		if (i < 2)
			OK(vellum_track_mapping(obj, 0, 128, methods[i % 2], &t));
		else
			OK(vellum_track_mm(w->mm, PAGE(0), PAGE(128), methods[i % 2], &t));
		collect(t, 0);
		for (unsigned round = 1; round < 4; round++) {
			store(w->cpu[0], PAGE(3), 100 * i + round);
			assert_int_equal(collect(t, i < 2 ? 0 : PAGE(0) >> PAGE_SHIFT), 1 << 3);
			assert_int_equal(in_memory(obj, 3), 100 * i + round);
		}
		vellum_tracker_destroy(t);
	}
	vellum_mapping_put(obj);
}

/* --- the core on hostile CPUs --- */

struct random_run {
	struct world *w;
	uint64_t seed, val[64];
};

static void random_stores(struct random_run *r, unsigned nr, uint64_t *changed)
{
	while (nr--) {
		unsigned page = random_below(&r->seed, 64), cpu = random_below(&r->seed, 2);

		assert_int_equal(load(r->w->cpu[cpu], PAGE(page)), r->val[page]);
		if (random_below(&r->seed, 2)) {
			r->val[page] = random_u64(&r->seed);
			store(r->w->cpu[cpu], PAGE(page), r->val[page]);
			*changed |= 1ull << page;
		}
	}
}

/* Rights, copies and pages that vanish, under a tracker: each collection has what was stored to, no more. */
static void random_work(struct random_run *r, struct vellum_tracker *t)
{
	struct world *w = r->w;

	for (unsigned round = 0; round < 300; round++) {
		unsigned at = random_below(&r->seed, 60);
		uint64_t changed = 0;

		random_stores(r, 20, &changed);
		if (random_below(&r->seed, 2)) {
			protect(w->mm, at, 4, RO);
			assert_int_equal(try_store(w->cpu[1], PAGE(at), 1), VELLUM_FAULT_SIGSEGV_ACCERR);
			protect(w->mm, at, 4, RW);
		}
		if (!random_below(&r->seed, 8)) {
			struct vellum_mm *child = fork_on(w->mm, w->cpu[2]);

			random_stores(r, 20, &changed);
			end_child(child, w->cpu[2]);
		}
		random_stores(r, 5, &changed);
		assert_int_equal(collect(t, PAGE(0) >> PAGE_SHIFT), changed);
	}
}

static void core_on_hostile_cpus(void **state)
{
	static const enum vellum_track_method methods[] = {VELLUM_TRACK_WP, VELLUM_TRACK_CLEAN,
							   VELLUM_TRACK_AUTO};
	struct random_run r = {.w = *state, .seed = 5};
	struct world *w = r.w;

	vellum_soft_load_mm(w->cpu[1], w->mm);
	for (unsigned i = 0; i < 12; i++) {
		struct vellum_tracker *t;

		hostile(w, VELLUM_SOFT_KEEP | VELLUM_SOFT_A_AT_WILL | (i & 1 ? VELLUM_SOFT_VCACHE : 0));
		map_at(w->mm, 0, 64, RW, i & 2 ? SHANON : ANON);
		for (unsigned page = 0; page < 64; page++) {
			r.val[page] = page;
			store(w->cpu[page % 2], PAGE(page), page);
		}
		OK(vellum_track_mm(w->mm, PAGE(0), PAGE(64), methods[i / 4], &t));
		collect(t, 0);
		random_work(&r, t);
		vellum_tracker_destroy(t);
		check_world(w);
		unmap(w->mm, 0, 64);
		assert_int_equal(try_load(w->cpu[1], PAGE(3)), VELLUM_FAULT_SIGSEGV_MAPERR);
	}
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
		WORLD_TEST(hostile_flags),
		WORLD_TEST(kept_until_flushed),
		WORLD_TEST(raised_rights_take_a_fault),
		WORLD_TEST(tables_are_kept),
		WORLD_TEST(a_at_will),
		WORLD_TEST(stores_reach_memory_late),
		WORLD_TEST(written_back_behind_a_clean_entry),
		WORLD_TEST(wpc_copy_has_the_stores),
		WORLD_TEST(collected_copy_has_the_stores),
		WORLD_TEST(core_on_hostile_cpus),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
