/* SPDX-License-Identifier: MIT */
/* Migration of a page to another frame: each entry has the same bits afterwards. */
#include <pthread.h>

#include "swap_support.h"
#include "vellum/device.h"

/* --- every combination of bits --- */

static uint64_t without_pfn(pte_t pte)
{
	return pte.val & ~X86_PFN_MASK;
}

/* Migrate PAGE(0). If @fails, the test holds a reference, so the migration must return -EBUSY. */
static void move(struct world *w, bool fails)
{
	pfn_t before = pte_pfn(entry_at(w->mm, PAGE(0)));
	struct folio *folio = pfn_folio(w->memory, before);
	uint64_t frames = free_frames(w);

	check_world(w);
	if (fails)
		folio_get(folio);
	assert_int_equal(vellum_migrate_page(w->mm, PAGE(0)), fails ? -EBUSY : 0);
	assert_int_equal(free_frames(w), frames);
	if (fails)
		folio_put(w->memory, folio);
	assert_int_equal(pte_pfn(entry_at(w->mm, PAGE(0))) == before, fails);
	check_world(w);
}

static void one_anon(struct world *w, unsigned bits, bool fails)
{
	struct vellum_uffd *uffd;
	pte_t pte, now;

	map_at(w->mm, 0, 1, RW, ANON);
	uffd = register_wp(w->mm, 0, 1, VELLUM_UFFD_FEATURE_WP_ASYNC);
	store(w->cpu[0], PAGE(0) + 8, bits);
	if (!(bits & BIT_X))
		end_child(fork_on(w->mm, w->cpu[1]), w->cpu[1]);
	vellum_soft_load_mm(w->cpu[0], w->mm);	/* drop the translations: the test changes the entry */
	pte = with_bits(entry_at(w->mm, PAGE(0)), bits);
	set_entry_at(w->mm, PAGE(0), pte);
	move(w, fails);
	now = entry_at(w->mm, PAGE(0));
	assert_int_equal(without_pfn(now), without_pfn(pte));
	assert_int_equal(has_x(w, PAGE(0)), !!(bits & BIT_X));
	assert_int_equal(load(w->cpu[0], PAGE(0) + 8), bits);
	store(w->cpu[0], PAGE(0), 7);
	check_world(w);
	unmap(w->mm, 0, 1);
	vellum_uffd_put(uffd);
}

static void T_pte_05_anon(void **state)
{
	for (unsigned bits = 0; bits < NR_BITS; bits++) {
		if ((bits & BIT_W) && (!(bits & BIT_X) || (bits & BIT_U)))
			continue;	/* invalid: INV-FAULT-1, INV-UFFD-1 */
		one_anon(*state, bits, false);
		one_anon(*state, bits, true);
	}
}

/* A migrated shared page gets W if its VMA allows stores and needs no write notify. */
static void one_shared(struct world *w, unsigned bits, bool watched, bool fails)
{
	struct vellum_uffd *uffd = NULL;
	pte_t pte, now, expected;

	map_at(w->mm, 0, 1, RW, SHANON);
	if (watched)
		uffd = register_wp(w->mm, 0, 1,
				   VELLUM_UFFD_FEATURE_WP_ASYNC | VELLUM_UFFD_FEATURE_WP_HUGETLBFS_SHMEM);
	store(w->cpu[0], PAGE(0) + 8, bits);
	vellum_soft_load_mm(w->cpu[0], w->mm);
	pte = with_bits(entry_at(w->mm, PAGE(0)), bits);
	set_entry_at(w->mm, PAGE(0), pte);
	move(w, fails);
	now = entry_at(w->mm, PAGE(0));
	expected = with_bits(pte, watched ? bits : bits | BIT_W);
	assert_int_equal(without_pfn(now), without_pfn(expected));
	assert_int_equal(load(w->cpu[0], PAGE(0) + 8), bits);
	store(w->cpu[0], PAGE(0), 7);
	check_world(w);
	unmap(w->mm, 0, 1);
	if (uffd)
		vellum_uffd_put(uffd);
}

static void T_pte_05_shared(void **state)
{
	for (unsigned bits = 0; bits < BIT_X; bits++) {
		if ((bits & BIT_W) && (bits & BIT_U))
			continue;
		one_shared(*state, bits, true, false);
		one_shared(*state, bits, true, true);
		if (bits & BIT_U)
			continue;
		one_shared(*state, bits, false, false);
		one_shared(*state, bits, false, true);
	}
}

/* Read-only and PROT_NONE: migration grants no rights. */
static void T_pte_05_rights(void **state)
{
	static const uint32_t prots[] = {VELLUM_PROT_NONE, RO, RO | VELLUM_PROT_EXEC, RW | VELLUM_PROT_EXEC};
	struct world *w = *state;

	for (unsigned i = 0; i < 8; i++) {
		pte_t before;

		map_at(w->mm, 0, 1, RW, i & 1 ? SHANON : ANON);
		store(w->cpu[0], PAGE(0), i + 1);
		protect(w->mm, 0, 1, prots[i / 2]);
		before = entry_at(w->mm, PAGE(0));
		move(w, false);
		/* The frame number of a PROT_NONE entry is inverted. */
		assert_int_equal(without_pfn(entry_at(w->mm, PAGE(0))), without_pfn(before));
		protect(w->mm, 0, 1, RW);
		assert_int_equal(load(w->cpu[0], PAGE(0)), i + 1);
		unmap(w->mm, 0, 1);
	}
}

/* A file with write notify: a read-only page stays read-only. */
static void T_pte_05_file(void **state)
{
	struct world *w = *state;
	struct counting *c = new_counting();
	struct vellum_mapping *obj = new_object(w, c, 4);
	uint64_t val;

	map_object(w->mm, 0, 4, RW, VELLUM_MAP_SHARED, obj, 0, RW);
	map_object(w->mm, 8, 4, RW, VELLUM_MAP_PRIVATE, obj, 0, RO);
	load(w->cpu[0], PAGE(0));
	load(w->cpu[0], PAGE(8));
	move(w, false);
	assert_false(has_w(w->mm, PAGE(0)) || has_w(w->mm, PAGE(8)));
	assert_int_equal(c->mkwrites, 0);
	store(w->cpu[0], PAGE(0) + 8, 1);
	assert_int_equal(c->mkwrites, 1);
	move(w, false);
	store(w->cpu[0], PAGE(0) + 8, 2);
	assert_int_equal(c->mkwrites, 1);	/* W was kept */
	assert_int_equal(load(w->cpu[0], PAGE(8) + 8), 2);
	assert_int_equal(c->faults, 1);		/* the mapping still has the page, so the fault hook is not called */
	OK(vellum_mapping_read(obj, 8, &val, 8));
	assert_int_equal(val, 2);
	store(w->cpu[0], PAGE(8), 3);
	assert_int_equal(load(w->cpu[0], PAGE(0)), 0);
	check_world(w);
	unmap(w->mm, 0, 16);
	vellum_mapping_put(obj);
}

static void T_pte_05_several_processes(void **state)
{
	struct world *w = *state;
	struct vellum_mm *child[2];
	pte_t pte;

	map_at(w->mm, 0, 1, RW, ANON);
	map_at(w->mm, 1, 1, RW, SHANON);
	store(w->cpu[0], PAGE(0), 5);
	store(w->cpu[0], PAGE(1), 6);
	for (unsigned i = 0; i < 2; i++) {
		child[i] = fork_on(w->mm, w->cpu[i + 1]);
		load(w->cpu[i + 1], PAGE(1));
	}
	OK(vellum_migrate_page(child[0], PAGE(1)));
	move(w, false);
	for (unsigned i = 0; i < 2; i++)
		for (unsigned page = 0; page < 2; page++) {
			pte = entry_at(child[i], PAGE(page));
			assert_int_equal(pte_pfn(pte), pte_pfn(entry_at(w->mm, PAGE(page))));
			assert_int_equal(!!pte_write(pte), page);
			assert_int_equal(load(w->cpu[i + 1], PAGE(page)), 5 + page);
		}
	store(w->cpu[1], PAGE(0), 50);
	store(w->cpu[2], PAGE(1), 60);
	assert_int_equal(load(w->cpu[0], PAGE(0)), 5);
	assert_int_equal(load(w->cpu[0], PAGE(1)), 60);
	check_world(w);
	end_child(child[0], w->cpu[1]);
	end_child(child[1], w->cpu[2]);
}

/* --- pages that do not migrate --- */

static void T_pte_05_refused(void **state)
{
	struct world *w = *state;
	uint64_t pfn, n;
	pte_t before;

	map_at(w->mm, 0, 4, RW, ANON);
	store(w->cpu[0], PAGE(0), 1);
	load(w->cpu[0], PAGE(1));
	store(w->cpu[0], PAGE(2), 2);
	pageout(w->mm, 2, 1);
	assert_int_equal(vellum_migrate_page(w->mm, PAGE(1)), -EFAULT);	/* the zero page */
	assert_int_equal(vellum_migrate_page(w->mm, PAGE(2)), -EFAULT);
	assert_int_equal(vellum_migrate_page(w->mm, PAGE(3)), -EFAULT);
	assert_int_equal(vellum_migrate_page(w->mm, PAGE(9)), -EFAULT);
	assert_int_equal(vellum_migrate_page(w->mm, PAGE(0) + 8), -EFAULT);
	before = entry_at(w->mm, PAGE(0));
	OK(vellum_pin_pages(w->mm, PAGE(0), 1, VELLUM_GUP_WRITE, &pfn, &n));
	assert_int_equal(vellum_migrate_page(w->mm, PAGE(0)), -EBUSY);
	assert_int_equal(entry_at(w->mm, PAGE(0)).val, before.val);
	vellum_unpin_pages(w->memory, &pfn, 1);
	check_world(w);
	OK(vellum_mlock(w->mm, PAGE(0), BYTES(1), 0));	/* an mlocked page migrates, unlike a pinned one */
	OK(vellum_migrate_page(w->mm, PAGE(0)));
	assert_int_equal(load(w->cpu[0], PAGE(0)), 1);
	OK(vellum_munlockall(w->mm));
}

static void T_pte_05_no_frames(void **state)
{
	static uint64_t hoard[4096];
	struct world *w = *state;
	unsigned n = 0;
	pte_t before;

	map_at(w->mm, 0, 1, RW, ANON);
	store(w->cpu[0], PAGE(0), 1);
	before = entry_at(w->mm, PAGE(0));
	while (vellum_memory_alloc_device(w->memory, 1, &hoard[n]) == 0)
		n++;
	assert_int_equal(vellum_migrate_page(w->mm, PAGE(0)), -ENOMEM);
	assert_int_equal(entry_at(w->mm, PAGE(0)).val, before.val);
	while (n)
		vellum_memory_free_device(w->memory, hoard[--n], 1);
	move(w, false);
	assert_int_equal(load(w->cpu[0], PAGE(0)), 1);
}

/* A MADV_FREE page stays lazily freed in its new frame. */
static void T_pte_05_lazyfree(void **state)
{
	struct world *w = *state;

	map_at(w->mm, 0, 1, RW, ANON);
	for (unsigned stored = 0; stored < 2; stored++) {
		store(w->cpu[0], PAGE(0), 5);
		OK(vellum_madvise(w->mm, PAGE(0), BYTES(1), VELLUM_MADV_FREE));
		if (stored)
			store(w->cpu[0], PAGE(0), 6);
		move(w, false);
		assert_int_equal(has_d(w->mm, PAGE(0)), stored);
		reclaim_all(w);
		assert_int_equal(load(w->cpu[0], PAGE(0)), stored ? 6 : 0);
	}
}

/* --- stores during a migration --- */

static void store_once(void *arg)
{
	struct world *w = *(struct world **)arg;

	*(struct world **)arg = NULL;
	if (w)
		store(w->cpu[0], PAGE(0), 99);
}

static void T_pte_05_store_before_flush(void **state)
{
	struct world *w = *state, *once;

	OK(vellum_soft_set_hostile(w->soft, VELLUM_SOFT_KEEP));
	for (unsigned shared = 0; shared < 2; shared++) {
		map_at(w->mm, 0, 1, RW, shared ? SHANON : ANON);
		store(w->cpu[0], PAGE(0), 1);
		once = w;
		vellum_soft_set_flush_hook(w->soft, store_once, &once);
		OK(vellum_migrate_page(w->mm, PAGE(0)));
		vellum_soft_set_flush_hook(w->soft, NULL, NULL);
		assert_null(once);
		assert_int_equal(load(w->cpu[0], PAGE(0)), 99);
		check_world(w);
		unmap(w->mm, 0, 1);
	}
}

enum { ROUNDS = 3000 };

struct counter {
	struct vellum_soft_cpu *cpu;
	uint64_t addr;
	unsigned bad;
};

static void *count_up(void *arg)
{
	struct counter *c = arg;
	uint64_t val;

	for (uint64_t i = 1; i <= ROUNDS; i++)
		if (vellum_soft_store64(c->cpu, c->addr, i) || vellum_soft_load64(c->cpu, c->addr, &val) ||
		    val != i)
			c->bad++;
	return NULL;
}

/* Two CPUs count in pages that are migrated all the time. */
static void T_pte_05_threads(void **state)
{
	struct world *w = *state;
	struct counter c[2] = {{.cpu = w->cpu[1], .addr = PAGE(0)}, {.cpu = w->cpu[2], .addr = PAGE(1) + 8}};
	pthread_t thread[2];
	unsigned moved = 0;

	map_at(w->mm, 0, 1, RW, ANON);
	map_at(w->mm, 1, 1, RW, SHANON);
	for (unsigned i = 0; i < 2; i++) {
		store(w->cpu[0], c[i].addr, 1);	/* so that there are pages to migrate from the start */
		vellum_soft_load_mm(c[i].cpu, w->mm);
		assert_int_equal(pthread_create(&thread[i], NULL, count_up, &c[i]), 0);
	}
	for (unsigned i = 0; i < ROUNDS; i++) {
		int err = vellum_migrate_page(w->mm, PAGE(i & 1));

		assert_true(!err || err == -EFAULT || err == -EBUSY);
		moved += !err;
	}
	for (unsigned i = 0; i < 2; i++) {
		pthread_join(thread[i], NULL);
		vellum_soft_load_mm(c[i].cpu, NULL);
		assert_int_equal(c[i].bad, 0);
		assert_int_equal(load(w->cpu[0], c[i].addr), ROUNDS);
	}
	assert_true(moved > 0);
	check_world(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SWAP_TEST(T_pte_05_anon),
		SWAP_TEST(T_pte_05_shared),
		SWAP_TEST(T_pte_05_rights),
		SWAP_TEST(T_pte_05_file),
		SWAP_TEST(T_pte_05_several_processes),
		SWAP_TEST(T_pte_05_refused),
		SWAP_TEST(T_pte_05_no_frames),
		SWAP_TEST(T_pte_05_lazyfree),
		SWAP_TEST(T_pte_05_store_before_flush),
		SWAP_TEST(T_pte_05_threads),
	};

	return cmocka_run_group_tests_name("migrate", tests, NULL, NULL);
}
