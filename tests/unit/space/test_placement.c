/* SPDX-License-Identifier: MIT */
/* mmap(2): the address, the flags and the entries' protection of a new VMA, and which neighbours merge. */
#include "swap_support.h"
#include "mm/space/space.h"

#define GB (1ull << 30)

static struct vellum_map_args request(uint64_t addr, uint64_t len, uint32_t flags)
{
	return (struct vellum_map_args){ .size = sizeof(struct vellum_map_args), .addr = addr, .len = len, .prot = RW,
					 .flags = flags, .file_prot = RW };
}

/* The address, or a negative error. */
static int64_t try_map(struct world *w, uint64_t addr, uint64_t len, uint32_t flags)
{
	struct vellum_map_args args = request(addr, len, flags);
	uint64_t at = 0;
	int err = vellum_mmap(w->mm, &args, &at);

	return err ? err : (int64_t)at;
}

static int try_mapping(struct world *w, struct vellum_map_args args, struct vellum_mapping *mapping)
{
	uint64_t at;

	args.mapping = mapping;
	return vellum_mmap(w->mm, &args, &at);
}

/* --- the address --- */

/* The highest free range, found by a look at each gap. */
static uint64_t highest_gap(struct vellum_mm *mm, uint64_t len, uint64_t low, uint64_t high)
{
	uint64_t best = 0, end = 0;

	for (struct vma *vma = vma_at(mm, 0);; vma = vma_at(mm, vma->end)) {
		uint64_t gap = (vma ? vma->start : ~0ull) - end, guard = vma && (vma->flags & VM_GROWSDOWN) ? BYTES(256) : 0;
		uint64_t top = min_u64(vma ? vma->start - min_u64(guard, gap) : ~0ull, high), bottom = max_u64(end, low);

		if (top >= len && top - len >= bottom)
			best = top - len;
		if (!vma)
			return best;
		end = vma->end;
	}
}

static void gap_is_the_highest(void **state)
{
	struct swap_world *sw = *state;
	struct world *w = &sw->w;
	uint64_t seed = 11;

	for (unsigned round = 0; round < 3000; round++) {
		unsigned at = random_below(&seed, 4096), nr = 1 + random_below(&seed, 40);
		uint64_t low = PAGE(random_below(&seed, 4200)), high = PAGE(random_below(&seed, 4200));
		uint64_t len = BYTES(1 + random_below(&seed, round % 2 ? 20 : 600));

		if (random_below(&seed, 3))
			map_at(w->mm, at, nr, at % 2 ? RO : RW, ANON | (at % 5 ? 0 : VELLUM_MAP_GROWSDOWN));
		else
			unmap(w->mm, at, 4 * nr);
		assert_int_equal(find_gap(w->mm, len, low, high), highest_gap(w->mm, len, low, high));
		if (round % 100 == 0)
			check_world(w);
	}
}

static void hints_end_where_their_range_ends(void **state)
{
	struct swap_world *sw = *state;
	struct world *w = &sw->w;

	assert_int_equal(try_map(w, 2 * GB - BYTES(4), BYTES(4), ANON | VELLUM_MAP_32BIT), 2 * GB - BYTES(4));
	assert_int_equal(try_map(w, 2 * GB - BYTES(3), BYTES(4), ANON | VELLUM_MAP_32BIT), 2 * GB - BYTES(8));
	assert_int_equal(try_map(w, 3 * GB, BYTES(4), ANON | VELLUM_MAP_32BIT), 2 * GB - BYTES(12));
	assert_int_equal(try_map(w, 0, GB - BYTES(12), ANON | VELLUM_MAP_32BIT | VELLUM_MAP_NORESERVE), GB);
	assert_int_equal(try_map(w, 0, BYTES(1), ANON | VELLUM_MAP_32BIT), -ENOMEM);
	vellum_set_mmap_top(w->mm, 4 * GB + BYTES(6) + 7);	/* rounded down */
	assert_int_equal(try_map(w, 0, BYTES(4), ANON | VELLUM_MAP_ABOVE4G), 4 * GB + BYTES(2));
	assert_int_equal(try_map(w, 0, BYTES(3), ANON | VELLUM_MAP_ABOVE4G), -ENOMEM);
	assert_int_equal(try_map(w, 0, BYTES(2), ANON | VELLUM_MAP_ABOVE4G), 4 * GB);
	assert_int_equal(try_map(w, 0, BYTES(2), ANON), 4 * GB - BYTES(2));
	/* A hint need not be below the top, but below the end of addresses. */
	assert_int_equal(try_map(w, VELLUM_TASK_SIZE - BYTES(2), BYTES(2), ANON), VELLUM_TASK_SIZE - BYTES(2));
	assert_int_equal(try_map(w, VELLUM_TASK_SIZE - BYTES(3), BYTES(2), ANON), 4 * GB - BYTES(4));
	assert_int_equal(try_map(w, VELLUM_TASK_SIZE, BYTES(2), ANON), 4 * GB - BYTES(6));
	vellum_set_mmap_top(w->mm, ~0ull);
	assert_int_equal(w->mm->mmap_top, VELLUM_TASK_SIZE);
}

static void fixed_addresses_have_borders(void **state)
{
	const uint32_t fixed = ANON | VELLUM_MAP_FIXED, free = ANON | VELLUM_MAP_FIXED_NOREPLACE;
	struct swap_world *sw = *state;
	struct world *w = &sw->w;
	uint64_t top = VELLUM_TASK_SIZE;

	vellum_set_mmap_min_addr(w->mm, BYTES(3));
	assert_int_equal(try_map(w, BYTES(2), BYTES(1), fixed), -EPERM);
	assert_int_equal(try_map(w, BYTES(3), BYTES(1), fixed), BYTES(3));
	assert_int_equal(try_map(w, top - BYTES(1), BYTES(2), fixed), -ENOMEM);
	assert_int_equal(try_map(w, top - BYTES(2), BYTES(2), fixed), top - BYTES(2));
	assert_int_equal(try_map(w, top - BYTES(4), BYTES(3), free), -EEXIST);
	assert_int_equal(try_map(w, top - BYTES(4), BYTES(2), free), top - BYTES(4));
	assert_int_equal(try_map(w, BYTES(4), BYTES(1), free), BYTES(4));
	assert_int_equal(try_map(w, BYTES(4), BYTES(1), free), -EEXIST);
	assert_int_equal(try_map(w, BYTES(5) + 1, BYTES(1), free), -EINVAL);
	OK(vellum_munmap(w->mm, BYTES(3), BYTES(2)));
}

/* RAM has 4096 frames. */
static void commitment_is_limited_to_ram_and_swap(void **state)
{
	struct swap_world *sw = *state;
	struct world *w = &sw->w;
	uint64_t all = BYTES(4096 + DISK_SLOTS);

	assert_int_equal(try_map(w, BASE, all + 1, ANON), -ENOMEM);
	assert_int_equal(try_map(w, BASE, all, ANON), BASE);
	assert_int_equal(try_map(w, 2 * BASE, all + 1, ANON | VELLUM_MAP_NORESERVE), 2 * BASE);
	OK(vellum_swap_remove(w->memory, sw->disk.area));
	assert_int_equal(try_map(w, 3 * BASE, BYTES(4096) + 1, ANON), -ENOMEM);
	assert_int_equal(try_map(w, 3 * BASE, BYTES(4096), ANON), 3 * BASE);
}

/* --- flags and errors --- */

#define ALL_MAY (VM_MAYREAD | VM_MAYWRITE | VM_MAYEXEC | VM_SOFTDIRTY)

static const struct {
	uint32_t prot, flags, file_prot;	/* @file_prot 0: anonymous */
	uint64_t want;				/* beside @prot */
} flag_rows[] = {
	{ RW, ANON, 0, ALL_MAY },
	{ RW | VELLUM_PROT_EXEC, ANON, 0, ALL_MAY },
	{ RO, SHANON, 0, ALL_MAY | VM_SHARED | VM_MAYSHARE },
	{ RW, ANON | VELLUM_MAP_STACK, 0, ALL_MAY | VM_NOHUGEPAGE },
	{ RW, ANON | VELLUM_MAP_STACK | VELLUM_MAP_NORESERVE, 0, ALL_MAY | VM_NOHUGEPAGE | VM_NORESERVE },
	{ RW, ANON | VELLUM_MAP_GROWSDOWN, 0, ALL_MAY | VM_GROWSDOWN },
	{ RW, ANON | VELLUM_MAP_LOCKED | VELLUM_MAP_STACK, 0, ALL_MAY | VM_LOCKED | VM_NOHUGEPAGE },
	{ RW, VELLUM_MAP_DROPPABLE | VELLUM_MAP_ANONYMOUS, 0,
	  ALL_MAY | VM_DROPPABLE | VM_NORESERVE | VM_WIPEONFORK | VM_DONTDUMP },
	{ RW, VELLUM_MAP_SHARED, RW, ALL_MAY | VM_SHARED | VM_MAYSHARE },
	{ RO, VELLUM_MAP_SHARED, RO, (ALL_MAY | VM_MAYSHARE) & ~VM_MAYWRITE },
	{ RO, VELLUM_MAP_SHARED_VALIDATE, RW, ALL_MAY | VM_SHARED | VM_MAYSHARE },
	{ RW, VELLUM_MAP_PRIVATE, RO, ALL_MAY },
	{ RW, VELLUM_MAP_PRIVATE | VELLUM_MAP_NORESERVE, RW, ALL_MAY | VM_NORESERVE },
};

static void flags_of_each_request(void **state)
{
	struct swap_world *sw = *state;
	struct world *w = &sw->w;
	struct counting *c = new_counting();
	struct vellum_mapping *mapping = new_object(w, c, 8);

	for (unsigned i = 0; i < ARRAY_SIZE(flag_rows); i++) {
		struct vellum_map_args args = request(BASE, BYTES(2), flag_rows[i].flags | VELLUM_MAP_FIXED);

		args.prot = flag_rows[i].prot;
		args.file_prot = flag_rows[i].file_prot;
		OK(try_mapping(w, args, flag_rows[i].file_prot ? mapping : NULL));
		assert_int_equal(vma_at(w->mm, BASE)->flags, flag_rows[i].prot | flag_rows[i].want);
		check_world(w);
	}
	unmap(w->mm, 0, 2);
	vellum_mapping_put(mapping);
}

static void errors_of_mappings(void **state)
{
	struct swap_world *sw = *state;
	struct world *w = &sw->w;
	struct vellum_map_args args = request(BASE, BYTES(2), VELLUM_MAP_SHARED | VELLUM_MAP_FIXED);
	struct vellum_mapping *mapping;

	OK(vellum_mapping_create(w->memory, NULL, NULL, 8, 0, &mapping));
	args.pgoff = MAX_MMAP_PAGES - 1;
	assert_int_equal(try_mapping(w, args, mapping), -EOVERFLOW);
	args.pgoff = MAX_MMAP_PAGES - 2;
	OK(try_mapping(w, args, mapping));
	args.pgoff = 0;
	args.flags = VELLUM_MAP_SHARED_VALIDATE | VELLUM_MAP_FIXED | VELLUM_MAP_SYNC;
	assert_int_equal(try_mapping(w, args, mapping), -EOPNOTSUPP);
	args.flags = VELLUM_MAP_SHARED | VELLUM_MAP_FIXED | VELLUM_MAP_SYNC;	/* ignored, as all that is unknown */
	OK(try_mapping(w, args, mapping));
	args.flags = VELLUM_MAP_DROPPABLE | VELLUM_MAP_FIXED;
	assert_int_equal(try_mapping(w, args, mapping), -EINVAL);
	args.flags = VELLUM_MAP_SHARED | VELLUM_MAP_GROWSDOWN | VELLUM_MAP_FIXED;
	assert_int_equal(try_mapping(w, args, mapping), -EINVAL);
	args.flags = VELLUM_MAP_SHARED | VELLUM_MAP_FIXED;
	args.file_prot = VELLUM_PROT_WRITE;
	assert_int_equal(try_mapping(w, args, mapping), -EACCES);
	args.file_prot = RO;
	assert_int_equal(try_mapping(w, args, mapping), -EACCES);
	args.flags = VELLUM_MAP_PRIVATE | VELLUM_MAP_FIXED;
	OK(try_mapping(w, args, mapping));
	OK(vellum_mapping_add_seals(mapping, VELLUM_SEAL_WRITE));
	OK(try_mapping(w, args, mapping));
	args.flags = VELLUM_MAP_SHARED | VELLUM_MAP_FIXED;
	args.file_prot = RW;
	assert_int_equal(try_mapping(w, args, mapping), -EPERM);
	args.prot = RO;
	OK(try_mapping(w, args, mapping));
	assert_int_equal(vma_at(w->mm, BASE)->flags & VM_MAYWRITE, 0);
	unmap(w->mm, 0, 2);
	vellum_mapping_put(mapping);
}

static void sync_is_refused_for_files(void **state)
{
	struct swap_world *sw = *state;
	struct world *w = &sw->w;
	struct vellum_map_args args = request(BASE, BYTES(2), VELLUM_MAP_FIXED | VELLUM_MAP_SYNC | VELLUM_MAP_SHARED_VALIDATE);
	struct vellum_mapping *mapping;

	OK(vellum_mapping_create(w->memory, NULL, NULL, 8, VELLUM_MAPPING_WRITEBACK, &mapping));
	assert_int_equal(try_mapping(w, args, mapping), -EOPNOTSUPP);
	args.flags ^= VELLUM_MAP_SYNC;
	OK(try_mapping(w, args, mapping));
	args.flags |= 1u << 31;
	assert_int_equal(try_mapping(w, args, mapping), -EOPNOTSUPP);
	unmap(w->mm, 0, 2);
	vellum_mapping_put(mapping);
}

/* --- the entries' protection --- */

static void caching_mode_of_a_driver(void **state)
{
	static const struct {
		uint32_t flags;
		uint64_t bits;
	} rows[] = { { 0, 0 }, { VELLUM_MAPPING_UNCACHED, X86_PCD }, { VELLUM_MAPPING_WRITE_COMBINING, X86_PWT },
		     { VELLUM_MAPPING_UNCACHED | VELLUM_MAPPING_WRITE_COMBINING, X86_PCD | X86_PWT },
		     { VELLUM_MAPPING_READ_FIRST, 0 }, { VELLUM_MAPPING_READ_FIRST | VELLUM_MAPPING_UNCACHED, X86_PCD } };
	const uint64_t basic = X86_PRESENT | X86_USER | X86_ACCESSED | X86_NX;
	struct swap_world *sw = *state;
	struct world *w = &sw->w;

	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++)
		for (unsigned shared = 0; shared < 2; shared++) {
			bool w_at_once = shared && !(rows[i].flags & VELLUM_MAPPING_READ_FIRST);
			struct vellum_mapping *mapping;

			OK(vellum_mapping_create(w->memory, NULL, NULL, 8, rows[i].flags, &mapping));
			map_object(w->mm, 0, 2, RW, shared ? VELLUM_MAP_SHARED : VELLUM_MAP_PRIVATE, mapping, 0, RW);
			assert_int_equal(vma_at(w->mm, BASE)->page_prot, basic | rows[i].bits | (w_at_once ? X86_RW : 0));
			load(w->cpu[0], PAGE(0));
			assert_int_equal(entry_at(w->mm, BASE).val & (X86_PCD | X86_PWT), rows[i].bits);
			store(w->cpu[0], PAGE(1), 1);
			protect(w->mm, 0, 2, RO);
			assert_int_equal(vma_at(w->mm, BASE)->page_prot, basic | rows[i].bits);
			check_world(w);
			unmap(w->mm, 0, 2);
			vellum_mapping_put(mapping);
		}
}

/* --- merging --- */

/* Of the first two pages, which @vma has. */
static struct vma *change_flags(struct world *w, struct vma *vma, uint64_t flags)
{
	write_lock(&w->mm->mmap_lock, mm_host(w->mm));
	vma = vma_change_flags(vma, PAGE(0), PAGE(2), vma->flags ^ flags);
	write_unlock(&w->mm->mmap_lock, mm_host(w->mm));
	return vma;
}

/* Two VMAs side by side that differ in one thing. */
static void neighbours_merge_only_if_alike(void **state)
{
	static const uint64_t differ[] = { VM_LOCKED, VM_SEQ_READ, VM_RAND_READ, VM_DONTCOPY, VM_NORESERVE, VM_WIPEONFORK,
					   VM_DONTDUMP, VM_HUGEPAGE, VM_NOHUGEPAGE, VM_MAYEXEC, VM_EXEC };
	struct swap_world *sw = *state;
	struct world *w = &sw->w;
	struct vma *low;

	for (unsigned i = 0; i < ARRAY_SIZE(differ); i++) {
		map_at(w->mm, 0, 4, RW, ANON);
		low = change_flags(w, vma_at(w->mm, BASE), differ[i]);
		assert_int_equal(low->end, PAGE(2));
		assert_int_equal(nr_vmas(w->mm), 2);
		check_world(w);
		assert_ptr_equal(change_flags(w, low, differ[i]), low);
		assert_int_equal(nr_vmas(w->mm), 1);
		unmap(w->mm, 0, 4);
	}
}

/* The merged VMA has the faults of both, and is soft-dirty if one of them was. */
static void merged_vma_has_what_both_had(void **state)
{
	struct swap_world *sw = *state;
	struct world *w = &sw->w;

	map_at(w->mm, 0, 2, RW, ANON);
	clear_soft_dirty(w->mm);
	store(w->cpu[0], PAGE(0), 1);
	store(w->cpu[0], PAGE(1), 1);
	assert_int_equal(vma_at(w->mm, BASE)->flags & VM_SOFTDIRTY, 0);
	map_at(w->mm, 2, 1, RW, ANON);
	map_at(w->mm, 4, 1, RW, ANON);
	store(w->cpu[0], PAGE(4), 1);
	map_at(w->mm, 3, 1, RW, ANON);
	assert_int_equal(nr_vmas(w->mm), 2);	/* those with pages have different anon_vmas */
	assert_true(vma_at(w->mm, BASE)->flags & VM_SOFTDIRTY);
	assert_int_equal(vma_at(w->mm, BASE)->write_faults, 2);
	protect(w->mm, 1, 1, RO);
	protect(w->mm, 1, 1, RW);
	assert_int_equal(vma_at(w->mm, BASE)->write_faults, 2);
	assert_int_equal(vma_at(w->mm, PAGE(4))->write_faults, 1);
	check_world(w);
}

/* --- what a new address space gets, and counters --- */

static struct {
	unsigned calls;
	const void *machine;
	const uint64_t *upper;
} made;

static void note_pgd(void *machine, uint64_t *upper)
{
	made.calls++;
	made.machine = machine;
	made.upper = upper;
	upper[0] = 0;
}

static void machine_fills_the_upper_half(void **state)
{
	struct vellum_mmu_ops ops = *vellum_soft_mmu_ops();
	struct vellum_mm *child;
	struct world w;

	(void)state;
	ops.init_pgd = note_pgd;
	world_create(&w, 16 << 20);
	world_remake(&w, &ops, test_host_ops());
	assert_int_equal(made.calls, 1);
	assert_ptr_equal(made.machine, w.memory->machine);
	assert_ptr_equal(made.upper, &w.mm->pgd[ENTRIES_PER_TABLE / 2].val);
	OK(vellum_fork(w.mm, &child));
	assert_int_equal(made.calls, 2);
	assert_ptr_equal(made.upper, &child->pgd[ENTRIES_PER_TABLE / 2].val);
	vellum_mm_put(child);
	world_destroy(&w);
}

static void counters_have_names(void **state)
{
	struct swap_world *sw = *state;

	for (unsigned i = 0; i < VELLUM_NR_COUNTERS; i++) {
		assert_non_null(vellum_counter_name(i));
		for (unsigned j = 0; j < i; j++)
			assert_string_not_equal(vellum_counter_name(i), vellum_counter_name(j));
	}
	assert_string_equal(vellum_counter_name(VELLUM_COUNT_TLB_FLUSHES), "tlb_flushes");
	assert_null(vellum_counter_name(VELLUM_NR_COUNTERS));
	assert_null(vellum_counter_name((enum vellum_counter)-1));
	assert_int_equal(vellum_mm_counter(sw->w.mm, VELLUM_NR_COUNTERS), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SWAP_TEST(gap_is_the_highest),
		SWAP_TEST(hints_end_where_their_range_ends),
		SWAP_TEST(fixed_addresses_have_borders),
		SWAP_TEST(commitment_is_limited_to_ram_and_swap),
		SWAP_TEST(flags_of_each_request),
		SWAP_TEST(errors_of_mappings),
		SWAP_TEST(sync_is_refused_for_files),
		SWAP_TEST(caching_mode_of_a_driver),
		SWAP_TEST(neighbours_merge_only_if_alike),
		SWAP_TEST(merged_vma_has_what_both_had),
		cmocka_unit_test(machine_fills_the_upper_half),
		SWAP_TEST(counters_have_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
