/* SPDX-License-Identifier: MIT */
/* Pins: their permissions, entry by entry, and the results of the fast and the slow path. */
#include "gup_support.h"
#include "vellum/pagemap.h"
#include "vellum/uffd.h"

#define LONG_WRITE (WRITE | PIN | LONGTERM)

/* --- long-term pins, FORCE, the fast path --- */

static void T_gup_01_longterm(void **state)
{
	struct world *w = *state;
	struct file f;

	file_create(&f, w, 4);
	map_shared(w->mm, 0, 4, &f, 0);
	assert_int_equal(try_gup(w, w->mm, PAGE(0), LONG_WRITE), -EFAULT);
	assert_int_equal(f.faults, 0);
	assert_int_equal(f.mkwrites, 0);
	OK(try_gup(w, w->mm, PAGE(0), WRITE | PIN));
	assert_int_equal(f.mkwrites, 1);
	OK(try_gup(w, w->mm, PAGE(1), PIN | LONGTERM));
	OK(try_gup(w, w->mm, PAGE(2), WRITE));
	/* Also if the entry has W already. */
	store(w->cpu[0], PAGE(3), 1);
	assert_int_equal(try_gup(w, w->mm, PAGE(3), LONG_WRITE), -EFAULT);
	assert_int_equal(try_gup(w, w->mm, PAGE(3), LONG_WRITE | FORCE), -EFAULT);
	/* Read-only: refused for missing rights. Writable again: tracked again. */
	protect(w->mm, 0, 4, RO);
	assert_int_equal(try_gup(w, w->mm, PAGE(3), LONG_WRITE), -EFAULT);
	OK(try_gup(w, w->mm, PAGE(3), PIN | LONGTERM));
	protect(w->mm, 0, 4, RW);
	assert_int_equal(try_gup(w, w->mm, PAGE(3), LONG_WRITE), -EFAULT);
	unmap(w->mm, 0, 4);
	file_destroy(&f);
}

static void T_gup_02_longterm_private(void **state)
{
	struct world *w = *state;
	uint64_t pfn, word;
	struct file f;

	file_create(&f, w, 2);
	map_private(w->mm, 0, 2, &f, 0);
	pfn = pin(w->mm, PAGE(1), WRITE | LONGTERM);
	assert_true(is_own_page(w, pfn));
	assert_int_equal(frame_words(w, pfn)[0], file_initial(1));
	frame_words(w, pfn)[0] = 77;
	assert_int_equal(load(w->cpu[0], PAGE(1)), 77);
	OK(vellum_mapping_read(f.mapping, BYTES(1), &word, 8));
	assert_int_equal(word, file_initial(1));
	assert_int_equal(f.mkwrites, 0);
	unpin_dirty(w, pfn);
	check_world(w);
	assert_int_equal(nr_dirty(&f), 0);
	unmap(w->mm, 0, 2);
	file_destroy(&f);
}

static void T_gup_03_shared_memory_and_device(void **state)
{
	struct world *w = *state;
	struct counting *c = new_counting();
	struct vellum_mapping *dev = new_pfn_object(w, c, 2), *shm;

	OK(vellum_mapping_create(w->memory, NULL, NULL, 2, 0, &shm));
	map_object(w->mm, 0, 4, RW, VELLUM_MAP_SHARED, shm, 0, RW);
	OK(try_gup(w, w->mm, PAGE(0), LONG_WRITE));
	assert_int_equal(try_gup(w, w->mm, PAGE(2), LONG_WRITE), -EFAULT);
	assert_int_equal(try_gup(w, w->mm, PAGE(2), 0), -EFAULT);
	map_object(w->mm, 8, 2, RW, VELLUM_MAP_SHARED, dev, 0, RW);
	store(w->cpu[0], PAGE(8), 1);
	assert_int_equal(try_gup(w, w->mm, PAGE(8), 0), -EFAULT);
	assert_int_equal(try_gup(w, w->mm, PAGE(8), WRITE | PIN), -EFAULT);
	assert_int_equal(try_gup(w, w->mm, PAGE(9), PIN), -EFAULT);
	assert_int_equal(c->faults, 1);
	unmap(w->mm, 0, 16);
	vellum_mapping_put(shm);
	vellum_mapping_put(dev);
	vellum_memory_free_device(w->memory, c->first_pfn, 2);
}

static void T_gup_04_force(void **state)
{
	struct world *w = *state;
	struct vellum_mm *child;
	uint64_t pfn, shared;
	struct file f;

	map_at(w->mm, 0, 3, RW, ANON);
	store(w->cpu[0], PAGE(0), 5);
	protect(w->mm, 0, 3, RO);
	child = fork_on(w->mm, w->cpu[1]);
	shared = pte_pfn(entry_at(child, PAGE(0)));
	assert_int_equal(try_gup(w, child, PAGE(0), WRITE), -EFAULT);
	pfn = pin(child, PAGE(0), FORCE | WRITE);
	assert_int_not_equal(pfn, shared);
	assert_int_equal(pte_pfn(entry_at(child, PAGE(0))), pfn);
	assert_false(has_w(child, PAGE(0)));
	assert_true(is_own_page(w, pfn) && is_dirty_page(w, pfn));
	frame_words(w, pfn)[0] = 6;
	assert_int_equal(load(w->cpu[1], PAGE(0)), 6);
	assert_int_equal(load(w->cpu[0], PAGE(0)), 5);
	assert_int_equal(try_store(w->cpu[1], PAGE(0), 9), VELLUM_FAULT_SIGSEGV_ACCERR);
	unpin(w, pfn);
	/* A none entry, and the zero page. */
	load(w->cpu[0], PAGE(2));
	for (unsigned i = 1; i < 3; i++) {
		pfn = pin(w->mm, PAGE(i), FORCE | WRITE);
		assert_true(is_own_page(w, pfn) && is_dirty_page(w, pfn) && !has_w(w->mm, PAGE(i)));
		unpin(w, pfn);
		check_world(w);
	}
	end_child(child, w->cpu[1]);
	map_at(w->mm, 8, 1, RO, SHANON);
	assert_int_equal(try_gup(w, w->mm, PAGE(8), FORCE | WRITE), -EFAULT);
	file_create(&f, w, 1);
	map_shared(w->mm, 16, 1, &f, 0);
	assert_int_equal(try_gup(w, w->mm, PAGE(16), FORCE | LONG_WRITE), -EFAULT);
	unmap(w->mm, 16, 1);
	file_destroy(&f);
}

/* The file's page stays unchanged, also in the cache. */
static void T_gup_04_force_private_file(void **state)
{
	struct world *w = *state;
	uint64_t pfn, word;
	struct file f;

	file_create(&f, w, 1);
	map_object(w->mm, 0, 1, RO, VELLUM_MAP_PRIVATE, f.mapping, 0, RO);
	load(w->cpu[0], PAGE(0));
	pfn = pin(w->mm, PAGE(0), FORCE | WRITE | LONGTERM);
	assert_true(is_own_page(w, pfn));
	assert_false(has_w(w->mm, PAGE(0)));
	frame_words(w, pfn)[0] = 1;
	assert_int_equal(load(w->cpu[0], PAGE(0)), 1);
	OK(vellum_mapping_read(f.mapping, 0, &word, 8));
	assert_int_equal(word, file_initial(0));
	unpin_dirty(w, pfn);
	check_world(w);
	unmap(w->mm, 0, 1);
	file_destroy(&f);
}

/* FORCE sets soft-dirty, as a store would. */
static void T_gup_04_force_sets_soft_dirty(void **state)
{
	struct world *w = *state;
	uint64_t word, pfn;

	map_at(w->mm, 0, 1, RW, ANON);
	store(w->cpu[0], PAGE(0), 1);
	protect(w->mm, 0, 1, RO);
	OK(vellum_clear_refs(w->mm, VELLUM_CLEAR_REFS_SOFT_DIRTY));
	OK(vellum_pagemap_read(w->mm, PAGE(0), 1, 0, &word));
	assert_false(word & VELLUM_PM_SOFT_DIRTY);
	pfn = pin(w->mm, PAGE(0), FORCE | WRITE);
	OK(vellum_pagemap_read(w->mm, PAGE(0), 1, 0, &word));
	assert_true(word & VELLUM_PM_SOFT_DIRTY);
	unpin(w, pfn);
	check_world(w);
}

static void T_gup_07_fast(void **state)
{
	struct world *w = *state;
	struct vellum_mapping *mapping;
	struct folio *folio;
	struct file f;

	file_create(&f, w, 1);
	map_shared(w->mm, 0, 1, &f, 0);
	map_at(w->mm, 4, 1, RW, ANON);
	map_at(w->mm, 8, 1, RW, SHANON);
	for (unsigned i = 0; i < 12; i += 4) {
		assert_int_equal(try_gup(w, w->mm, PAGE(i), LONG_WRITE | FAST), -EAGAIN);
		store(w->cpu[0], PAGE(i), 1);
		OK(try_gup(w, w->mm, PAGE(i), WRITE | PIN | FAST));
	}
	assert_int_equal(try_gup(w, w->mm, PAGE(0), LONG_WRITE | FAST), -EAGAIN);
	OK(try_gup(w, w->mm, PAGE(4), LONG_WRITE | FAST));
	OK(try_gup(w, w->mm, PAGE(8), LONG_WRITE | FAST));
	/* As during a truncation: the entry is present, but the mapping has no page. */
	folio = pfn_folio(w->memory, pte_pfn(entry_at(w->mm, PAGE(8))));
	mapping = folio->mapping;
	folio->mapping = NULL;
	assert_int_equal(vellum_pin_pages(w->mm, PAGE(8), 1, WRITE | LONGTERM | FAST, &(uint64_t){ 0 },
					  &(uint64_t){ 0 }), -EAGAIN);
	folio->mapping = mapping;
	unmap(w->mm, 0, 1);
	file_destroy(&f);
}

/* --- arguments, and the order of the checks --- */

static void gup_arguments(void **state)
{
	struct world *w = *state;
	uint64_t pfn[4], nr;

	map_at(w->mm, 0, 2, RW, ANON);
	assert_int_equal(vellum_get_pages(w->mm, PAGE(0), 1, LONGTERM, pfn, &nr), -EINVAL);
	assert_int_equal(vellum_pin_pages(w->mm, PAGE(0), 1, 1 << 2 << 18, pfn, &nr), -EINVAL);
	assert_int_equal(vellum_pin_pages(w->mm, PAGE(0), 1, 2, pfn, &nr), -EINVAL);
	assert_int_equal(vellum_pin_pages(w->mm, PAGE(0), 0, 0, pfn, &nr), -EINVAL);
	assert_int_equal(vellum_pin_pages(w->mm, PAGE(0) + 8, 1, 0, pfn, &nr), -EINVAL);
	assert_int_equal(vellum_pin_pages(w->mm, PAGE(0), 1, 0, NULL, &nr), -EINVAL);
	assert_int_equal(vellum_pin_pages(w->mm, VELLUM_TASK_SIZE, 1, 0, pfn, &nr), -EFAULT);
	assert_int_equal(vellum_pin_pages(w->mm, PAGE(0), ~0ull, 0, pfn, &nr), -EFAULT);
	/* Some pages, then an error: returns the pages before the error. */
	OK(vellum_pin_pages(w->mm, PAGE(0), 4, WRITE, pfn, &nr));
	assert_int_equal(nr, 2);
	assert_int_not_equal(pfn[0], pfn[1]);
	assert_int_equal(pfn[1], pte_pfn(entry_at(w->mm, PAGE(1))));
	vellum_unpin_pages(w->memory, pfn, nr);
	check_world(w);
}

static int mixed_pfn(void *ctx, struct vellum_vmf *vmf)
{
	vmf->pfn = ((struct counting *)ctx)->first_pfn;
	return vmf->pgoff == 1 ? VELLUM_VMF_OK : VELLUM_VMF_FALLBACK;
}

/* The checks come in this order. The errors tell which check failed. */
static void permissions_are_checked_in_order(void **state)
{
	struct world *w = *state;
	struct counting *c = new_counting(), *x = new_counting();
	struct vellum_mapping *dev = new_pfn_object(w, c, 1), *dax, *shm;
	struct vellum_backing_ops dax_ops = counting_pfn_ops;

	dax_ops.pfn_fault = mixed_pfn;
	OK(vellum_memory_alloc_device(w->memory, 1, &x->first_pfn));
	OK(vellum_mapping_create(w->memory, &dax_ops, x, 2,
				 VELLUM_MAPPING_MIXED | VELLUM_MAPPING_DEVMAP, &dax));
	OK(vellum_mapping_create(w->memory, NULL, NULL, 1, 0, &shm));
	assert_int_equal(try_gup(w, w->mm, PAGE(0), 0), -EFAULT);		/* no VMA */
	map_object(w->mm, 0, 1, RW, VELLUM_MAP_SHARED, dev, 0, RW);
	assert_int_equal(try_gup(w, w->mm, PAGE(0), FORCE), -EFAULT);		/* raw frames */
	map_object(w->mm, 2, 1, RW, VELLUM_MAP_PRIVATE, shm, 0, RW);
	assert_int_equal(try_gup(w, w->mm, PAGE(2), VELLUM_GUP_ANON), -EFAULT);	/* not private anonymous */
	map_at(w->mm, 4, 1, RW, ANON);
	OK(try_gup(w, w->mm, PAGE(4), VELLUM_GUP_ANON));
	map_object(w->mm, 6, 1, VELLUM_PROT_NONE, VELLUM_MAP_SHARED, dax, 1, RW);
	assert_int_equal(try_gup(w, w->mm, PAGE(6), PIN | LONGTERM), -EOPNOTSUPP);	/* before rights */
	assert_int_equal(try_gup(w, w->mm, PAGE(6), LONG_WRITE), -EOPNOTSUPP);
	assert_int_equal(try_gup(w, w->mm, PAGE(6), LONG_WRITE | VELLUM_GUP_ANON), -EFAULT);	/* before long-term */
	map_at(w->mm, 8, 1, RO, ANON);
	assert_int_equal(try_gup(w, w->mm, PAGE(8), WRITE), -EFAULT);		/* not writable */
	OK(try_gup(w, w->mm, PAGE(8), WRITE | FORCE));
	map_object(w->mm, 10, 1, RO, VELLUM_MAP_SHARED, shm, 0, RW);
	assert_int_equal(try_gup(w, w->mm, PAGE(10), WRITE | FORCE), -EFAULT);	/* FORCE needs a private VMA */
	map_object(w->mm, 12, 1, RO, VELLUM_MAP_SHARED, shm, 0, RO);
	assert_int_equal(try_gup(w, w->mm, PAGE(12), WRITE | FORCE), -EFAULT);
	OK(try_gup(w, w->mm, PAGE(12), PIN));
	map_at(w->mm, 14, 1, VELLUM_PROT_NONE, ANON);
	assert_int_equal(try_gup(w, w->mm, PAGE(14), 0), -EFAULT);		/* not readable */
	OK(try_gup(w, w->mm, PAGE(14), FORCE));
	unmap(w->mm, 0, 16);
	vellum_mapping_put(dev);
	vellum_mapping_put(dax);
	vellum_mapping_put(shm);
	vellum_memory_free_device(w->memory, c->first_pfn, 1);
	vellum_memory_free_device(w->memory, x->first_pfn, 1);
}

/* PROT_NONE and present: only FORCE pins, in both paths. */
static void prot_none_is_refused_in_both_paths(void **state)
{
	struct world *w = *state;
	uint64_t pfn;

	map_at(w->mm, 0, 1, RW, ANON);
	store(w->cpu[0], PAGE(0), 3);
	protect(w->mm, 0, 1, VELLUM_PROT_NONE);
	assert_int_equal(try_gup(w, w->mm, PAGE(0), PIN | FAST), -EAGAIN);
	assert_int_equal(try_gup(w, w->mm, PAGE(0), PIN), -EFAULT);
	assert_int_equal(try_gup(w, w->mm, PAGE(0), PIN | WRITE), -EFAULT);
	pfn = pin(w->mm, PAGE(0), FORCE);
	assert_int_equal(frame_words(w, pfn)[0], 3);
	unpin(w, pfn);
	pfn = pin(w->mm, PAGE(0), FORCE | WRITE);
	assert_int_equal(frame_words(w, pfn)[0], 3);
	unpin(w, pfn);
	check_world(w);
}

/* --- entries --- */

static void none_entries_are_faulted_in(void **state)
{
	struct world *w = *state;

	map_at(w->mm, 0, 1, RW, ANON);
	map_at(w->mm, 2, 1, RW, SHANON);
	assert_int_equal(try_gup(w, w->mm, PAGE(0), PIN | VELLUM_GUP_NOFAULT), -EAGAIN);
	assert_int_equal(try_gup(w, w->mm, PAGE(0), VELLUM_GUP_DUMP), -EFAULT);
	assert_int_equal(entry_at(w->mm, PAGE(0)).val, 0);
	OK(try_gup(w, w->mm, PAGE(2), VELLUM_GUP_DUMP));
	store(w->cpu[0], PAGE(0), 1);
	OK(try_gup(w, w->mm, PAGE(0), PIN | WRITE | VELLUM_GUP_NOFAULT));
	OK(try_gup(w, w->mm, PAGE(0), VELLUM_GUP_DUMP));
}

/* The zero page is not counted. A long-term pin gets a page of its own, or it would miss later stores. */
static void zero_page(void **state)
{
	struct world *w = *state;
	uint64_t pfn[3], nr;

	map_at(w->mm, 0, 3, RW, ANON);
	load(w->cpu[0], PAGE(0));
	pfn[0] = pin(w->mm, PAGE(0), 0);
	assert_int_equal(pfn[0], w->memory->zero_pfn);
	assert_int_equal(vellum_page_maybe_pinned(w->memory, pfn[0]), 0);
	unpin(w, pfn[0]);
	pfn[0] = pin(w->mm, PAGE(0), LONGTERM);
	assert_int_not_equal(pfn[0], w->memory->zero_pfn);
	assert_true(is_own_page(w, pfn[0]));
	store(w->cpu[0], PAGE(0), 4);
	assert_int_equal(frame_words(w, pfn[0])[0], 4);
	unpin(w, pfn[0]);
	OK(vellum_get_pages(w->mm, PAGE(0), 3, 0, pfn, &nr));
	assert_int_equal(nr, 3);
	assert_int_equal(pfn[1], w->memory->zero_pfn);
	vellum_put_pages(w->memory, pfn, 3);
	check_world(w);
}

/* Markers: a guard is -EFAULT. Poison depends on the flags. */
static void markers(void **state)
{
	struct world *w = *state;

	map_at(w->mm, 0, 2, RW, ANON);
	OK(vellum_madvise(w->mm, PAGE(0), BYTES(1), VELLUM_MADV_GUARD_INSTALL));
	assert_int_equal(try_gup(w, w->mm, PAGE(0), PIN), -EFAULT);
	store(w->cpu[0], PAGE(1), 0);
	dontneed(w->mm, 1, 1);
	set_entry_at(w->mm, PAGE(1), pte_marker(MARKER_POISON));
	assert_int_equal(try_gup(w, w->mm, PAGE(1), PIN), -EFAULT);
	assert_int_equal(try_gup(w, w->mm, PAGE(1), PIN | VELLUM_GUP_HWPOISON), -EHWPOISON);
	assert_int_equal(try_gup(w, w->mm, PAGE(1), PIN | FAST), -EAGAIN);
}

/* A raw frame in a mixed mapping is -EEXIST, after the pages before it. */
static void raw_frame_of_a_mixed_mapping_is_eexist(void **state)
{
	struct world *w = *state;
	struct counting *c = new_counting();
	struct vellum_backing_ops ops = counting_ops;
	struct vellum_mapping *mapping;
	uint64_t pfn[3], nr;

	ops.pfn_fault = mixed_pfn;
	ops.page_mkwrite = NULL;
	OK(vellum_memory_alloc_device(w->memory, 1, &c->first_pfn));
	OK(vellum_mapping_create(w->memory, &ops, c, 3, VELLUM_MAPPING_MIXED, &mapping));
	map_object(w->mm, 0, 3, RW, VELLUM_MAP_SHARED, mapping, 0, RW);
	for (unsigned i = 0; i < 2; i++) {
		uint32_t flags = i ? WRITE : 0;

		assert_int_equal(try_gup(w, w->mm, PAGE(1), flags), -EEXIST);
		assert_int_equal(try_gup(w, w->mm, PAGE(1), flags | FAST), -EAGAIN);
		OK(vellum_pin_pages(w->mm, PAGE(0), 3, flags, pfn, &nr));
		assert_int_equal(nr, 1);
		vellum_unpin_pages(w->memory, pfn, nr);
		OK(try_gup(w, w->mm, PAGE(2), flags));
	}
	unmap(w->mm, 0, 3);
	vellum_mapping_put(mapping);
	vellum_memory_free_device(w->memory, c->first_pfn, 1);
}

/* FORCE respects write protection by userfaultfd: the forced store is resolved asynchronously here. */
static void force_respects_uffd_wp(void **state)
{
	struct world *w = *state;
	struct vellum_uffd *uffd;
	uint64_t mask, pfn;

	map_at(w->mm, 0, 1, RW, ANON);
	store(w->cpu[0], PAGE(0), 1);
	OK(vellum_uffd_create(w->mm, 0, &uffd));
	OK(vellum_uffd_api(uffd, VELLUM_UFFD_API, VELLUM_UFFD_FEATURE_WP_ASYNC | VELLUM_UFFD_FEATURE_WP_UNPOPULATED,
			   &mask, &mask));
	OK(vellum_uffd_register(uffd, PAGE(0), BYTES(1), VELLUM_UFFD_WP, &mask));
	protect(w->mm, 0, 1, RO);
	OK(vellum_uffd_writeprotect(uffd, PAGE(0), BYTES(1), VELLUM_UFFD_WRITEPROTECT_WP));
	assert_true(pte_uffd_wp(entry_at(w->mm, PAGE(0))));
	pfn = pin(w->mm, PAGE(0), FORCE | WRITE);
	assert_false(pte_uffd_wp(entry_at(w->mm, PAGE(0))));
	assert_false(has_w(w->mm, PAGE(0)));
	unpin(w, pfn);
	check_world(w);
	vellum_uffd_put(uffd);
}

/* --- the fast and the slow path --- */

enum kind { K_ANON, K_SHMEM, K_SHMEM_PRIVATE, K_FILE, K_FILE_PRIVATE, K_PFN, NR_KINDS };

static const uint32_t asks[] = { WRITE, WRITE | PIN, LONG_WRITE, PIN, PIN | LONGTERM, FORCE | WRITE };

struct zoo {
	struct file f;
	struct counting *c;
	struct vellum_mapping *shm, *dev;
};

static void map_kind(struct world *w, struct zoo *z, enum kind kind)
{
	uint32_t how = kind == K_SHMEM_PRIVATE || kind == K_FILE_PRIVATE ? VELLUM_MAP_PRIVATE : VELLUM_MAP_SHARED;
	struct vellum_mapping *mapping = kind == K_PFN ? z->dev : kind >= K_FILE ? z->f.mapping : z->shm;

	if (kind == K_ANON)
		map_at(w->mm, 0, 1, RW, ANON);
	else
		map_object(w->mm, 0, 1, RW, how, mapping, 0, RW);
}

/* Refused: device memory, and long-term pins for writing of a dirty-tracked file. */
static int slow_answer(enum kind kind, uint32_t ask)
{
	return kind == K_PFN || (kind == K_FILE && ask == LONG_WRITE) ? -EFAULT : 0;
}

static void check_got(struct world *w, enum kind kind, uint32_t ask, uint64_t pfn)
{
	bool private = kind == K_ANON || kind == K_SHMEM_PRIVATE || kind == K_FILE_PRIVATE;

	assert_int_equal(pte_pfn(entry_at(w->mm, PAGE(0))), pfn);
	if (private && ((ask & WRITE) || (ask & LONGTERM)))
		assert_true(is_own_page(w, pfn));
	if (!private)
		assert_false(page_flags(w, pfn) & PG_ANON);
	assert_int_equal(vellum_page_maybe_pinned(w->memory, pfn), (ask & PIN) && pfn != w->memory->zero_pfn);
	if (ask & WRITE) {
		frame_words(w, pfn)[1] = 99;
		assert_int_equal(load(w->cpu[0], PAGE(0) + 8), 99);
	}
}

/* @touch: 0: none; 1: after a load; 2: after a store. */
static void cross_one(struct world *w, struct zoo *z, enum kind kind, uint32_t ask, unsigned touch)
{
	int want = slow_answer(kind, ask), fast;
	uint64_t pfn;

	map_kind(w, z, kind);
	if (touch == 1)
		load(w->cpu[0], PAGE(0));
	else if (touch == 2)
		store(w->cpu[0], PAGE(0), 1);
	fast = gup_one(w->mm, PAGE(0), ask | FAST, &pfn);
	if (fast != -EAGAIN)
		assert_int_equal(fast, want);
	if (!fast) {
		check_got(w, kind, ask, pfn);
		give_one(w->memory, ask, pfn);
	}
	/* The fast path must succeed for writable pages. */
	if (touch == 2 && (kind == K_ANON || kind == K_SHMEM) && !(ask & FORCE) && ask != (PIN | LONGTERM))
		OK(fast);
	assert_int_equal(gup_one(w->mm, PAGE(0), ask, &pfn), want);
	if (!want) {
		check_got(w, kind, ask, pfn);
		give_one(w->memory, ask, pfn);
	}
	check_world(w);
	unmap(w->mm, 0, 1);
	check_world(w);
}

static void fast_and_slow_path_agree(void **state)
{
	struct world *w = *state;
	struct zoo z = { .c = new_counting() };

	file_create(&z.f, w, 1);
	OK(vellum_mapping_create(w->memory, NULL, NULL, 1, 0, &z.shm));
	z.dev = new_pfn_object(w, z.c, 1);
	for (unsigned kind = 0; kind < NR_KINDS; kind++)
		for (unsigned i = 0; i < ARRAY_SIZE(asks); i++)
			for (unsigned touch = 0; touch < 3; touch++)
				cross_one(w, &z, kind, asks[i], touch);
	vellum_mapping_put(z.shm);
	vellum_mapping_put(z.dev);
	file_destroy(&z.f);
	vellum_memory_free_device(w->memory, z.c->first_pfn, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WORLD_TEST(T_gup_01_longterm),
		WORLD_TEST(T_gup_02_longterm_private),
		WORLD_TEST(T_gup_03_shared_memory_and_device),
		WORLD_TEST(T_gup_04_force),
		WORLD_TEST(T_gup_04_force_private_file),
		WORLD_TEST(T_gup_04_force_sets_soft_dirty),
		WORLD_TEST(T_gup_07_fast),
		WORLD_TEST(gup_arguments),
		WORLD_TEST(permissions_are_checked_in_order),
		WORLD_TEST(prot_none_is_refused_in_both_paths),
		WORLD_TEST(none_entries_are_faulted_in),
		WORLD_TEST(zero_page),
		WORLD_TEST(markers),
		WORLD_TEST(raw_frame_of_a_mixed_mapping_is_eexist),
		WORLD_TEST(force_respects_uffd_wp),
		WORLD_TEST(fast_and_slow_path_agree),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
