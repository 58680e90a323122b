/* SPDX-License-Identifier: MIT */
/* Entries as values: encodings, the saved dirty bit, changes of protection. */
#include "more_support.h"

#define SD X86_SAVED_DIRTY

/* --- entries that are not present --- */

static const struct {
	unsigned type;
	uint64_t offset, val;
} swp_vectors[] = {
	{SWP_MARKER, MARKER_UFFD_WP, 0xfffffffffffffc00},
	{SWP_MARKER, MARKER_POISON, 0xfffffffffffffa00},
	{SWP_MARKER, MARKER_UFFD_WP | MARKER_POISON, 0xfffffffffffff800},
	{SWP_MARKER, MARKER_GUARD, 0xfffffffffffff600},
	{0, 0x1234, 0x7ffffffffdb9600},
	{1, 5, 0xffffffffffff400},
	{SWP_HWPOISON, 0x1000, 0xbfffffffffdffe00},
	{SWP_MIGRATION_READ, 0x1000, 0xc7ffffffffdffe00},
	{SWP_MIGRATION_READ_EXCL, 0x1000, 0xcfffffffffdffe00},
	{SWP_MIGRATION_WRITE, 0x1000, 0xd7ffffffffdffe00},
	{SWP_DEVICE_WRITE, 0x1000, 0xdfffffffffdffe00},
	{SWP_DEVICE_READ, 0x1000, 0xe7ffffffffdffe00},
	{SWP_DEVICE_EXCL_WRITE, 0x1000, 0xefffffffffdffe00},
	{SWP_DEVICE_EXCL_READ, 0x1000, 0xf7ffffffffdffe00},
	{SWP_MARKER, 0x1000, 0xffffffffffdffe00},
};

static void T_pte_03_swap_vectors(void **state)
{
	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(swp_vectors); i++) {
		pte_t pte = swp_entry_pte(swp_vectors[i].type, swp_vectors[i].offset);

		assert_int_equal(pte.val, swp_vectors[i].val);
		assert_true(pte_is_swp(pte));
		assert_false(pte_present(pte));
		assert_false(pte_none(pte));
		assert_int_equal(pte_swp_type(pte), swp_vectors[i].type);
		assert_int_equal(pte_swp_offset(pte), swp_vectors[i].offset);
		pte.val |= X86_ACCESSED | X86_DIRTY | SWP_SOFT_DIRTY | SWP_UFFD_WP | SWP_EXCLUSIVE;
		assert_int_equal(pte_swp_type(pte), swp_vectors[i].type);
		assert_int_equal(pte_swp_offset(pte), swp_vectors[i].offset);
		assert_false(pte_present(pte));
	}
	for (unsigned bits = 1; bits < 8; bits++)
		assert_int_equal(pte_marker(bits).val, swp_entry_pte(31, bits).val);
}

static void swap_round_trip(void **state)
{
	(void)state;
	for (unsigned type = 0; type < 32; type++)
		for (unsigned bit = 0; bit < SWP_OFFSET_BITS; bit++) {
			pte_t pte = swp_entry_pte(type, 1ull << bit);

			assert_int_equal(pte_swp_type(pte), type);
			assert_int_equal(pte_swp_offset(pte), 1ull << bit);
			assert_int_equal(pte.val & 0x1ff, 0);
		}
}

/* --- protections --- */

static const struct {
	unsigned prot;
	uint64_t private, shared;
} prot_vectors[] = {
	{VELLUM_PROT_NONE, 0x120, 0x120},
	{VELLUM_PROT_READ, 0x8000000000000025, 0x8000000000000025},
	{VELLUM_PROT_WRITE, 0x8000000000000025, 0x8000000000000027},
	{VELLUM_PROT_READ | VELLUM_PROT_WRITE, 0x8000000000000025, 0x8000000000000027},
	{VELLUM_PROT_EXEC, 0x25, 0x25},
	{VELLUM_PROT_READ | VELLUM_PROT_EXEC, 0x25, 0x25},
	{VELLUM_PROT_WRITE | VELLUM_PROT_EXEC, 0x25, 0x27},
	{VELLUM_PROT_READ | VELLUM_PROT_WRITE | VELLUM_PROT_EXEC, 0x25, 0x27},
};

static uint64_t prot_of(unsigned prot, bool shared)
{
	return x86_prot(prot & VELLUM_PROT_READ, prot & VELLUM_PROT_WRITE, prot & VELLUM_PROT_EXEC,
			shared);
}

static void page_protections(void **state)
{
	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(prot_vectors); i++) {
		assert_int_equal(prot_of(prot_vectors[i].prot, false), prot_vectors[i].private);
		assert_int_equal(prot_of(prot_vectors[i].prot, true), prot_vectors[i].shared);
	}
}

static void T_pte_03_protnone_round_trip(void **state)
{
	static const uint64_t pfns[] = {0, 1, 0x1000, 0x123456789, 0xffffffffff};
	const uint64_t none = prot_of(0, false);

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(pfns); i++)
		for (unsigned prot = 1; prot < 8; prot++) {
			pte_t pte = pte_mkdirty(pte_mk(pfns[i], prot_of(prot, true)));
			pte_t off = pte_modify(pte, none);

			assert_int_equal(pte_pfn(pte), pfns[i]);
			assert_false(off.val & X86_PRESENT);
			assert_true(pte_present(off));
			assert_true(pte_dirty(off));
			assert_int_equal(pte_pfn(off), pfns[i]);
			assert_int_equal(off.val & X86_PFN_MASK, ~(pfns[i] << 12) & X86_PFN_MASK);
			assert_int_equal(pte_modify(off, none).val, off.val);
			assert_int_equal(pte_modify(off, prot_of(prot, true)).val, pte.val);
			assert_int_equal(pte_pfn(pte_mk(pfns[i], none)), pfns[i]);
		}
}

/* A bit of the entry stays if it is in the list. Else the new protection decides. */
static void pte_modify_keeps_the_bits_of_its_list(void **state)
{
	const uint64_t kept = X86_PFN_MASK | X86_PWT | X86_PCD | X86_ACCESSED | X86_DIRTY |
			      X86_PAT | X86_SPECIAL | X86_UFFD_WP | X86_SOFT_DIRTY | X86_DEVMAP;
	const uint64_t prot = X86_PRESENT | X86_RW | X86_USER | X86_ACCESSED | X86_NX | 5ull << 59;

	(void)state;
	for (unsigned bit = 0; bit < 64; bit++) {
		uint64_t v = X86_PRESENT | X86_RW | 1ull << bit;
		uint64_t want = (prot & ~X86_ACCESSED) | (v & kept);

		if (1ull << bit == SD) /* the entry is writable, so saved D moves to D */
			continue;
		assert_int_equal(pte_modify(pte_make(v), prot).val, want);
	}
	assert_int_equal(X86_CHG_MASK, kept | SD);
	assert_int_equal(pte_modify(pte_make(0x1000025 | SD), X86_PRESENT | X86_USER).val,
			 0x1000025 | SD);
}

/*
 * A huge leaf keeps PSE and the PAT at bit 12, which is no bit of the frame. PROT_NONE inverts only the frame
 * number.
 */
static void huge_leaves_keep_pse_and_pat(void **state)
{
	const uint64_t none = prot_of(0, false), rw = prot_of(RW, true), pat = X86_PAT_LARGE;

	(void)state;
	for (uint64_t frame = 1; frame < 1ull << 31; frame <<= 1) {
		pmd_t pmd = pmd_make(pmd_mk(frame << 9, rw).val | pat), off = pmd_modify(pmd, none);

		assert_int_equal(pmd.val, frame << 21 | rw | X86_PSE | pat);
		assert_int_equal(pmd_pfn(pmd), frame << 9);
		assert_true(pmd_leaf(off));
		assert_int_equal(off.val, (~(frame << 21) & X86_PFN_MASK & PMD_MASK) | none | X86_PSE | pat);
		assert_int_equal(pmd_pfn(off), frame << 9);
		assert_int_equal(pmd_modify(off, rw).val, pmd.val);
		assert_int_equal(pmd_pfn(pmd_mk(frame << 9, none)), frame << 9);
	}
	for (uint64_t frame = 1; frame < 1ull << 22; frame <<= 1) {
		pud_t pud = pud_make(pud_mk(frame << 18, rw).val | pat), off = pud_modify(pud, none);

		assert_int_equal(pud.val, frame << 30 | rw | X86_PSE | pat);
		assert_int_equal(pud_pfn(pud), frame << 18);
		assert_true(pud_leaf(off));
		assert_int_equal(off.val, (~(frame << 30) & X86_PFN_MASK & PUD_MASK) | none | X86_PSE | pat);
		assert_int_equal(pud_pfn(off), frame << 18);
		assert_int_equal(pud_modify(off, rw).val, pud.val);
	}
	/* During an invalidation, the frame number is not inverted. */
	assert_int_equal(pmd_pfn(pmd_make(0x40000000 | X86_PSE | X86_RW)), 0x40000);
}

/* --- empty entries --- */

static void T_pte_02_none(void **state)
{
	static const uint64_t none[] = {0, 0x20, 0x40, 0x60};

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(none); i++) {
		assert_true(pte_none(pte_make(none[i])));
		assert_true(pmd_none(pmd_make(none[i])));
		assert_true(pud_none(pud_make(none[i])));
		assert_false(pte_present(pte_make(none[i])));
		assert_false(pte_is_swp(pte_make(none[i])));
	}
	for (unsigned bit = 0; bit < 64; bit++)
		if (bit != 5 && bit != 6)
			assert_false(pte_none(pte_make(1ull << bit | 0x60)));
}

static void present_and_protnone_entries(void **state)
{
	(void)state;
	assert_true(pte_present(pte_make(X86_PRESENT)));
	assert_true(pte_present(pte_make(X86_PROTNONE)));
	assert_false(pte_present(pte_make(X86_PSE))); /* the PAT in a PTE */
	assert_true(pmd_present(pmd_make(X86_PSE)));  /* a leaf during an invalidation */
	assert_true(pud_present(pud_make(X86_PSE)));
	assert_true(pmd_leaf(pmd_make(X86_PSE | X86_PRESENT)));
	assert_false(pmd_leaf(pmd_make(X86_PRESENT)));
	assert_false(pmd_present(pmd_make(0x60)));
}

/* An erratum of some CPUs sets A and D in empty entries. Every operation takes such an entry for none. */
static void T_pte_02_every_operation(void **state)
{
	static const uint64_t none[] = {0x20, 0x40, 0x60};
	struct world *w = *state;
	struct vellum_tracker *wp, *clean;
	struct vellum_mm *child;
	uint64_t addr;

	map_at(w->mm, 0, 16, RW, ANON);
	store(w->cpu[0], PAGE(15), 1);
	OK(vellum_track_mm(w->mm, BASE, PAGE(16), VELLUM_TRACK_CLEAN, &clean));
	OK(vellum_track_mm(w->mm, BASE, PAGE(16), VELLUM_TRACK_WP, &wp));
	for (unsigned i = 0; i < 9; i++)
		set_entry_at(w->mm, PAGE(i), pte_make(none[i % 3]));
	check_world(w);
	child = fork_on(w->mm, w->cpu[1]);
	assert_int_equal(entry_at(child, PAGE(1)).val, 0);
	end_child(child, w->cpu[1]);
	protect(w->mm, 0, 9, RO);
	protect(w->mm, 0, 9, RW);
	dontneed(w->mm, 0, 3);
	assert_int_equal(collect(wp, BASE >> 12), 0);
	assert_int_equal(collect(clean, BASE >> 12), 0);
	assert_int_equal(load(w->cpu[0], PAGE(3)), 0);
	store(w->cpu[0], PAGE(4), 4);
	assert_int_equal(vellum_peek(w->mm, PAGE(5), &(char[4096]){0}), 0);
	OK(vellum_mremap(w->mm, BASE, BYTES(9), BYTES(20), VELLUM_MREMAP_MAYMOVE, &addr));
	assert_int_equal(load(w->cpu[0], addr + BYTES(4)), 4);
	assert_int_equal(load(w->cpu[0], addr + BYTES(5)), 0);
	assert_true(pte_none(entry_at(w->mm, addr + BYTES(6))));
	vellum_tracker_destroy(wp);
	vellum_tracker_destroy(clean);
}

/* --- the saved dirty bit --- */

static pte_t to_read(pte_t pte)
{
	return pte_modify(pte, prot_of(VELLUM_PROT_READ, true));
}

static pte_t to_write(pte_t pte)
{
	return pte_modify(pte, prot_of(RW, true));
}

static const struct {
	uint64_t start;
	pte_t (*op)(pte_t pte);
	uint64_t result;
} dirty_vectors[] = {
	{0x1000067, pte_wrprotect, 0x0400000001000025},
	{0x0400000001000025, pte_mkwrite, 0x1000067},
	{0x0400000001000025, pte_mkwrite_novma, 0x0400000001000027},
	{0x0400000001000025, pte_mkclean, 0x1000025},
	{0x1000025, pte_mkdirty, 0x0400000001000825},
	{0x1000027, pte_mkdirty, 0x1000867},
	{0x1000067, pte_mkuffd_wp, 0x0400000001000425},
	{0x0400000001000425, pte_clear_uffd_wp, 0x0400000001000025},
	{0x1000025, pte_mkwrite_shstk, 0x1000065},
	{0x1000065, pte_wrprotect, 0x0400000001000025},
	{0x1000067, to_read, 0x8400000001000025},
	{0x0400000001000025, to_write, 0x8000000001000067},
};

static void T_shs_01_vectors(void **state)
{
	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(dirty_vectors); i++)
		assert_int_equal(dirty_vectors[i].op(pte_make(dirty_vectors[i].start)).val,
				 dirty_vectors[i].result);
}

/* The same rules, written with named bits. */
struct model {
	bool rw, d, sd, u, s;
};

static uint64_t model_value(struct model m)
{
	return X86_PRESENT | X86_USER | 0x1000000 | (m.rw ? X86_RW : 0) | (m.d ? X86_DIRTY : 0) |
	       (m.sd ? SD : 0) | (m.u ? X86_UFFD_WP : 0) | (m.s ? X86_SOFT_DIRTY : 0);
}

static struct model save(struct model m)
{
	if (!m.rw) {
		m.sd |= m.d;
		m.d = false;
	}
	return m;
}

static struct model unsave(struct model m)
{
	if (m.rw) {
		m.d |= m.sd;
		m.sd = false;
	}
	return m;
}

enum op {
	WRPROTECT,
	MKUFFD,
	CLEARUFFD,
	MKDIRTY,
	MKCLEAN,
	NOVMA,
	MKWRITE,
	SHSTK,
	TO_RO,
	TO_RW,
	NR_OPS
};

static struct model model_apply(struct model m, enum op op)
{
	bool was_rw = m.rw;

	switch (op) {
	case MKUFFD:
		m.u = true; /* fall through */
	case WRPROTECT:
		m.rw = false;
		return save(m);
	case CLEARUFFD:
		m.u = false;
		return m;
	case MKDIRTY:
		m.d = m.s = true;
		return save(m);
	case MKCLEAN:
		m.d = m.sd = false;
		return m;
	case NOVMA:
		m.rw = true;
		return m;
	case MKWRITE:
		m.rw = true;
		return unsave(m);
	case SHSTK:
		m.rw = m.sd = false;
		m.d = true;
		return m;
	case TO_RO:
		m.rw = false;
		return was_rw ? save(m) : unsave(m);
	case TO_RW:
		m.rw = true;
		return was_rw ? save(m) : unsave(m);
	default:
		return m;
	}
}

#define APPLY(lvl)                                                                                 \
	static uint64_t lvl##_apply(uint64_t v, enum op op)                                        \
	{                                                                                          \
		lvl##_t (*const ops[])(lvl##_t) = {                                                \
			[WRPROTECT] = lvl##_wrprotect,	   [MKUFFD] = lvl##_mkuffd_wp,             \
			[CLEARUFFD] = lvl##_clear_uffd_wp, [MKDIRTY] = lvl##_mkdirty,              \
			[MKCLEAN] = lvl##_mkclean,	   [NOVMA] = lvl##_mkwrite_novma,          \
			[MKWRITE] = lvl##_mkwrite,	   [SHSTK] = lvl##_mkwrite_shstk,          \
		};                                                                                 \
		return ops[op](lvl##_make(v)).val;                                                 \
	}
APPLY(pte)
APPLY(pmd)
APPLY(pud)

static void check_property(struct model m, enum op op, uint64_t result)
{
	bool was_dirty = m.d || m.sd, was_shstk = !m.rw && m.d;
	bool dirty = result & (X86_DIRTY | SD);

	if (op == MKCLEAN)
		assert_false(dirty);
	else if (op == MKDIRTY || op == SHSTK)
		assert_true(dirty);
	else
		assert_int_equal(dirty, was_dirty);
	if (op != SHSTK && !was_shstk)
		assert_false(!(result & X86_RW) && (result & X86_DIRTY));
}

static void T_shs_01_exhaustive(void **state)
{
	(void)state;
	for (unsigned bits = 0; bits < 32; bits++)
		for (enum op op = 0; op < NR_OPS; op++) {
			struct model m = {bits & 1, bits & 2, bits & 4, bits & 8, bits & 16};
			uint64_t v = model_value(m), want = model_value(model_apply(m, op)), got;

			if (op >= TO_RO) {
				uint64_t prot = X86_PRESENT | X86_USER | (op == TO_RW ? X86_RW : 0);

				got = pte_modify(pte_make(v), prot).val;
				assert_int_equal(pmd_modify(pmd_make(v), prot).val, want);
				assert_int_equal(pud_modify(pud_make(v), prot).val, want);
			} else {
				got = pte_apply(v, op);
				assert_int_equal(pmd_apply(v, op), want);
				assert_int_equal(pud_apply(v, op), want);
			}
			assert_int_equal(got, want);
			check_property(m, op, got);
		}
}

/* A CPU sets A and D while software changes the entry: no bit is lost. */
static void live_update_keeps_bits(void **state)
{
	pte_t pte = pte_make(0x1000003), old;

	(void)state;
	old = ptep_get(&pte);
	pte.val |= X86_ACCESSED | X86_DIRTY; /* as a CPU would, between load and update */
	assert_false(ptep_cmpxchg(&pte, &old, pte_wrprotect(old)));
	assert_int_equal(old.val, 0x1000063);
	assert_int_equal(ptep_update(&pte, pte_wrprotect).val, 0x1000063);
	assert_int_equal(pte.val, 0x1000021 | SD);
	assert_int_equal(ptep_get_and_clear(&pte).val, 0x1000021 | SD);
	assert_int_equal(pte.val, 0);
}

/* Flags of entries that are not present, alone and together, leave type and offset unchanged. */
static void T_pte_03_swap_flags(void **state)
{
	(void)state;
	for (unsigned type = 0; type < 32; type++)
		for (unsigned flags = 0; flags < 8; flags++) {
			pte_t pte = swp_entry_pte(type, 0x1234);

			pte = flags & 1 ? pte_swp_mksoft_dirty(pte) : pte;
			pte = flags & 2 ? pte_swp_mkuffd_wp(pte) : pte;
			pte = flags & 4 ? pte_swp_mkexclusive(pte) : pte;
			assert_true(pte_is_swp(pte) && !pte_present(pte) && !pte_none(pte));
			assert_int_equal(pte_swp_type(pte), type);
			assert_int_equal(pte_swp_offset(pte), 0x1234);
			assert_int_equal(pte_swp_soft_dirty(pte), flags & 1);
			assert_int_equal(pte_swp_uffd_wp(pte), flags >> 1 & 1);
			assert_int_equal(pte_swp_exclusive(pte), flags >> 2);
			assert_int_equal(pte_is_uffd_wp(pte), flags >> 1 & 1);
			assert_int_equal(pte_is_genuine_swap(pte), type <= 22);
			assert_int_equal(pte_is_migration(pte), type >= 24 && type <= 26);
			assert_int_equal(pte_is_device_private(pte), type == 27 || type == 28);
			assert_int_equal(pte_is_device_exclusive(pte), type == 29 || type == 30);
			assert_int_equal(pte_is_marker(pte), type == 31);
			pte = pte_swp_clear_exclusive(pte_swp_clear_uffd_wp(pte_swp_clear_soft_dirty(pte)));
			assert_int_equal(pte.val, swp_entry_pte(type, 0x1234).val);
		}
}

/* The type and the offset identify a marker, whatever its flags are. */
static void T_pte_03_marker_bits(void **state)
{
	(void)state;
	for (unsigned bits = 0; bits < 8; bits++) {
		pte_t pte = pte_marker(bits), flagged = pte_swp_mksoft_dirty(pte);

		assert_int_equal(pte_marker_bits(pte), bits);
		assert_int_equal(pte_marker_bits(flagged), bits);
		assert_int_equal(pte_is_uffd_wp(pte), bits & MARKER_UFFD_WP);
		assert_int_equal(pte_none_or_wp_marker(flagged), bits == MARKER_UFFD_WP);
	}
	assert_true(pte_none_or_wp_marker(pte_make(0)));
	assert_false(pte_none_or_wp_marker(swp_entry_pte(1, 1)));
	assert_int_equal(pte_marker_bits(swp_entry_pte(1, 1)), 0);
	assert_true(pte_is_uffd_wp(pte_mkuffd_wp(pte_mk(1, x86_prot(true, true, false, true)))));
	assert_int_equal(pte_swp_pfn(swp_entry_pte(SWP_MIGRATION_WRITE, 77 | MIGRATION_DIRTY | MIGRATION_YOUNG)), 77);
	assert_int_equal(pte_swp_type(pte_swp_with_type(swp_entry_pte(SWP_MIGRATION_WRITE, 77),
							SWP_MIGRATION_READ)), SWP_MIGRATION_READ);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(T_pte_03_swap_vectors),
		cmocka_unit_test(swap_round_trip),
		cmocka_unit_test(page_protections),
		cmocka_unit_test(T_pte_03_protnone_round_trip),
		cmocka_unit_test(pte_modify_keeps_the_bits_of_its_list),
		cmocka_unit_test(huge_leaves_keep_pse_and_pat),
		cmocka_unit_test(T_pte_02_none),
		cmocka_unit_test(present_and_protnone_entries),
		WORLD_TEST(T_pte_02_every_operation),
		cmocka_unit_test(T_pte_03_swap_flags),
		cmocka_unit_test(T_pte_03_marker_bits),
		cmocka_unit_test(T_shs_01_vectors),
		cmocka_unit_test(T_shs_01_exhaustive),
		cmocka_unit_test(live_update_keeps_bits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
