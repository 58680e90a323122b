/* SPDX-License-Identifier: MIT */
/*
 * The software MMU: huge leaves and shadow-stack accesses, with tables that the test writes; and its hostile
 * modes, alone and under the core.
 */
#include "more_support.h"

#define AT (1ull << PGD_SHIFT) /* an address without a VMA nearby, whose tables the test writes */
#define USER (X86_PRESENT | X86_USER)
#define USER_RW (USER | X86_RW)

/* --- tables written by the test --- */

struct hand {
	struct world *w;
	uint64_t *pgd, *pud, *pmd, *pte; /* the entries for AT */
	pfn_t frames;			 /* 512, aligned for a PMD leaf; the last three are the tables */
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

/* Remove the tables before the core looks at its own again. */
static void take_down(struct hand *h)
{
	vellum_soft_load_mm(h->w->cpu[0], NULL);
	*h->pgd = 0;
	vellum_memory_free_device(h->w->memory, h->frames, 512);
}

/* Flush the CPU's TLB. */
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
	/*
	 * The TLB entry of a page that was loaded from while the leaf was clean does not allow stores without a
	 * walk. The TLB entry of a page that was stored to does.
	 */
	*h.pmd = leaf;
	store(w->cpu[0], AT + BYTES(200) + 8, 8);
	assert_int_equal(*h.pmd, leaf);
	store(w->cpu[0], AT + BYTES(3), 9);
	assert_int_equal(*h.pmd, leaf | X86_ACCESSED | X86_DIRTY);
	assert_int_equal(*frame(&h, 3), 9);
	take_down(&h);
}

/* The PUD leaf covers all RAM. */
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

/* Only a store that is allowed sets D. The rights of a huge leaf are checked as those of a small one. */
static void huge_leaf_faults(void **state)
{
	static const uint64_t refused[] = {
		X86_PSE | USER,			 /* read-only */
		X86_PSE | USER | X86_ACCESSED | X86_SAVED_DIRTY,
		X86_PSE | X86_PRESENT | X86_RW,	 /* no user access */
		X86_PSE | X86_USER | X86_RW,	 /* during an invalidation: P=0 */
		X86_PSE | X86_PROTNONE,
		X86_PSE | USER | X86_DIRTY,	 /* shadow stack */
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

/* A leaf that maps no memory: SIGBUS, and no translation is cached. */
static void leaf_without_memory_is_sigbus(void **state)
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
 * Without a VMA, each fault is MAPERR. So the test sees which accesses the CPU itself allows, with a cold TLB
 * and after an ordinary load.
 */
static void shadow_stack_accesses_by_encoding(void **state)
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
		{X86_PRESENT | X86_DIRTY, false, false}, /* supervisor only */
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
	*h.pmd = pmd_mk(h.frames, USER | X86_DIRTY).val; /* a huge leaf */
	assert_int_equal(vellum_soft_shstk_store64(w->cpu[0], AT + BYTES(9), 1), VELLUM_FAULT_OK);
	assert_int_equal(*frame(&h, 9), 1);
	take_down(&h);
}

/* A flush removes a cached shadow-stack translation, as any other. */
static void shadow_stack_translations_are_cached(void **state)
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

/*
 * The error code tells the core that the access is a shadow-stack access, so it is refused where a store is
 * allowed.
 */
static void shadow_stack_faults_have_their_error_code(void **state)
{
	struct world *w = *state;

	map_at(w->mm, 0, 1, RW, ANON);
	assert_int_equal(vellum_soft_shstk_store64(w->cpu[0], BASE, 1), VELLUM_FAULT_SIGSEGV_ACCERR);
	store(w->cpu[0], BASE, 2);
	assert_int_equal(vellum_soft_shstk_store64(w->cpu[0], BASE, 1), VELLUM_FAULT_SIGSEGV_ACCERR);
	assert_int_equal(shstk_load(w, BASE), VELLUM_FAULT_SIGSEGV_ACCERR);
	assert_int_equal(load(w->cpu[0], BASE), 2);
}

/* --- hostile: translations and tables stay cached --- */

static void hostile(struct world *w, uint32_t flags)
{
	OK(vellum_soft_set_hostile(w->soft, flags));
}

static void set_hostile_checks_its_flags(void **state)
{
	struct world *w = *state;

	assert_int_equal(vellum_soft_set_hostile(w->soft, 8), -EINVAL);
	hostile(w, VELLUM_SOFT_VCACHE);
	map_at(w->mm, 0, 1, RW, ANON);
	store(w->cpu[0], BASE, 5);
	hostile(w, 0);
	assert_int_equal(load(w->cpu[0], BASE), 5); /* written back */
}

/* 500 translations, where the sets have room for 256. A flush removes exactly those that it names. */
static void translations_stay_until_flushed(void **state)
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

/* A translation without W faults although the entry has W. The fault removes the translation. */
static void granted_rights_need_a_fault_once(void **state)
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
	store(w->cpu[0], AT, 2); /* has W, but not D: no fault, the CPU walks */
	assert_true(*h.pte & X86_DIRTY);
	*h.pte = pte_mk(h.frames, USER_RW).val;
	assert_int_equal(vellum_soft_fetch(w->cpu[0], AT, &byte, 1), VELLUM_FAULT_SIGSEGV_MAPERR);
	assert_int_equal(vellum_soft_fetch(w->cpu[0], AT, &byte, 1), VELLUM_FAULT_OK);
	take_down(&h);
}

/* An unlinked table is walked until a flush of an address below it, or of all tables. */
static void tables_are_walked_until_flushed(void **state)
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
	assert_int_equal(try_load(w->cpu[0], AT + BYTES(1)), VELLUM_FAULT_OK); /* no flush named this translation */
	*h.pmd = x86_mk_table(h.frames + 511);
	load(w->cpu[0], AT + BYTES(3));
	*h.pmd = 0;
	load(w->cpu[0], AT + BYTES(4));
	flush_batch(w->mm, &tables);
	assert_int_equal(try_load(w->cpu[0], AT + BYTES(5)), VELLUM_FAULT_SIGSEGV_MAPERR);
	take_down(&h);
}

static void a_may_be_set_without_an_access(void **state)
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
	assert_int_equal(try_load(w->cpu[0], AT + BYTES(1)), VELLUM_FAULT_OK); /* cached */
	assert_int_equal(try_load(w->cpu[0], AT + BYTES(9)), VELLUM_FAULT_SIGSEGV_MAPERR);
	take_down(&h);
}

/* --- hostile: write-back caches for data --- */

static struct vellum_mapping *cached_object(struct world *w)
{
	struct vellum_mapping *obj;

	hostile(w, VELLUM_SOFT_VCACHE);
	OK(vellum_mapping_create(w->memory, NULL, NULL, 128, 0, &obj));
	map_object(w->mm, 0, 128, RW, VELLUM_MAP_SHARED, obj, 0, RW);
	return obj;
}

/* The word in memory, as devices see it. */
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
	assert_int_equal(load(w->cpu[1], PAGE(3)), 2); /* CPUs are coherent */
	assert_int_equal(in_memory(obj, 3), 2);
	store(w->cpu[1], PAGE(3), 3);
	assert_int_equal(load(w->cpu[0], PAGE(203)), 3);
	store(w->cpu[0], PAGE(203), 4);
	assert_int_equal(load(w->cpu[0], PAGE(3)), 4); /* and so are two addresses of one CPU */
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

/* Real caches, too, write back after the entry is read-only and clean. So the core calls flush_cache_range(). */
static void caches_write_back_after_the_entry_is_clean(void **state)
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

/*
 * Clean and record, then copy the pages of the bitmap: the copy has all stores, including those in the flush
 * window.
 */
static void copy_after_a_clean_has_all_stores(void **state)
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

static void copy_after_a_collection_has_all_stores(void **state)
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

/*
 * Rights change, pages are copied and unmapped, and a tracker collects: each collection reports exactly the
 * pages that were stored to.
 */
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

static void collections_are_exact_on_hostile_cpus(void **state)
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
		WORLD_TEST(leaf_without_memory_is_sigbus),
		WORLD_TEST(shadow_stack_accesses_by_encoding),
		WORLD_TEST(shadow_stack_translations_are_cached),
		WORLD_TEST(shadow_stack_faults_have_their_error_code),
		WORLD_TEST(set_hostile_checks_its_flags),
		WORLD_TEST(translations_stay_until_flushed),
		WORLD_TEST(granted_rights_need_a_fault_once),
		WORLD_TEST(tables_are_walked_until_flushed),
		WORLD_TEST(a_may_be_set_without_an_access),
		WORLD_TEST(stores_reach_memory_late),
		WORLD_TEST(caches_write_back_after_the_entry_is_clean),
		WORLD_TEST(copy_after_a_clean_has_all_stores),
		WORLD_TEST(copy_after_a_collection_has_all_stores),
		WORLD_TEST(collections_are_exact_on_hostile_cpus),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
