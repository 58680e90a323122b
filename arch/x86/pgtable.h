/* SPDX-License-Identifier: MIT */
/*
 * arch/x86/pgtable.h - the x86-64 page-table entry format, as pure functions on values.
 *
 * SPEC.md "Entries" has the bits. No file outside arch/x86 uses a bit position. Live entries are read and changed only
 * by arch/x86/entry.h.
 *
 * INV-PTE-1: no entry has RW=0 and hardware D=1, the shadow-stack encoding, unless mkwrite for a shadow-stack VMA made
 *            it: every change of RW moves D to or from the saved bit.
 */
#ifndef ARCH_X86_PGTABLE_H
#define ARCH_X86_PGTABLE_H

#include "lib/types.h"

typedef struct { uint64_t val; } pte_t;
typedef struct { uint64_t val; } pmd_t;
typedef struct { uint64_t val; } pud_t;
typedef struct { uint64_t val; } pgd_t;

#define X86_PRESENT	(1ull << 0)
#define X86_RW		(1ull << 1)
#define X86_USER	(1ull << 2)
#define X86_PWT		(1ull << 3)
#define X86_PCD		(1ull << 4)
#define X86_ACCESSED	(1ull << 5)
#define X86_DIRTY	(1ull << 6)
#define X86_PSE		(1ull << 7)	/* huge leaf in a PMD or PUD; PAT in a PTE */
#define X86_PAT		(1ull << 7)
#define X86_PROTNONE	(1ull << 8)	/* with P=0: mapped, no access; PFN stored inverted */
#define X86_SPECIAL	(1ull << 9)
#define X86_UFFD_WP	(1ull << 10)
#define X86_SOFT_DIRTY	(1ull << 11)
#define X86_PAT_LARGE	(1ull << 12)
#define X86_UNCHANGED	(1ull << 52)	/* of small pages: as in the snapshot, unless D is set too */
#define X86_DEVMAP	(1ull << 57)
#define X86_SAVED_DIRTY	(1ull << 58)
#define X86_PKEY_MASK	(15ull << 59)
#define X86_NX		(1ull << 63)
#define X86_PFN_MASK	0x000ffffffffff000ull
#define MAX_PFN		(1ull << 40)		/* frames that an entry can name: 52 bits of physical address */

/* The bits of a table entry (not a leaf). The leaf decides the rights. */
#define X86_TABLE	(X86_PRESENT | X86_RW | X86_USER | X86_ACCESSED | X86_DIRTY)

/*
 * The bits that a change of protection keeps (SPEC.md "Change of protection"). In a huge leaf, bit 7 is PSE, and its
 * PAT is one of the frame's bits; both are kept too.
 */
#define X86_CHG_MASK                                                                          \
	(X86_PFN_MASK | X86_PCD | X86_PWT | X86_SPECIAL | X86_ACCESSED | X86_DIRTY |          \
	 X86_SAVED_DIRTY | X86_SOFT_DIRTY | X86_DEVMAP | X86_UFFD_WP | X86_PAT)

#define PMD_SHIFT	21
#define PUD_SHIFT	30
#define PGD_SHIFT	39
#define PMD_SIZE	(1ull << PMD_SHIFT)
#define PMD_MASK	(~(PMD_SIZE - 1))
#define PUD_SIZE	(1ull << PUD_SHIFT)
#define PUD_MASK	(~(PUD_SIZE - 1))
#define PGD_SIZE	(1ull << PGD_SHIFT)
#define PGD_MASK	(~(PGD_SIZE - 1))
#define ENTRIES_PER_TABLE 512
#define USER_PGD_ENTRIES  256	/* the lower half; the upper half is the machine's */
#define TASK_SIZE	((1ull << 47) - PAGE_SIZE)

/* Move D to the bit where RW allows it: INV-PTE-1. */
static inline uint64_t x86_save_dirty(uint64_t v)
{
	if (!(v & X86_RW) && (v & X86_DIRTY))
		v = (v & ~X86_DIRTY) | X86_SAVED_DIRTY;
	return v;
}

static inline uint64_t x86_unsave_dirty(uint64_t v)
{
	if ((v & X86_RW) && (v & X86_SAVED_DIRTY))
		v = (v & ~X86_SAVED_DIRTY) | X86_DIRTY;
	return v;
}

static inline bool x86_protnone(uint64_t v)
{
	return (v & (X86_PRESENT | X86_PROTNONE)) == X86_PROTNONE;
}

/*
 * The PFN of a no-access entry is inverted, so that no CPU speculates into the frame (L1TF). @mask: the bits that hold
 * the frame at this level.
 */
static inline uint64_t x86_pfn_bits(uint64_t v, uint64_t mask)
{
	return (x86_protnone(v) ? ~v : v) & mask;
}

static inline uint64_t x86_with_pfn_bits(uint64_t v, uint64_t pfn_bits, uint64_t mask)
{
	return (v & ~mask) | ((x86_protnone(v) ? ~pfn_bits : pfn_bits) & mask);
}

/*
 * --- the same words for leaves of each level ---
 *
 * @pfn_mask: a huge leaf's frame begins at bit 21 or 30; bit 12 is its PAT. @pse: what makes it a leaf there.
 *
 * A word that removes D, or that changes soft-dirty or uffd-wp, also removes UNCHANGED: the next restore of a snapshot
 * (mm/snapshot/) then compares the entry with the frozen one.
 */

#define X86_LEAF_WORDS(lvl, type, pfn_mask, pse)                                              \
	static inline type lvl##_make(uint64_t val) { return (type){ val }; }                 \
	/* An erratum may set A and D in an empty entry: they don't count. */                 \
	static inline bool lvl##_none(type e)                                                 \
	{                                                                                     \
		return (e.val & ~(X86_ACCESSED | X86_DIRTY)) == 0;                            \
	}                                                                                     \
	static inline bool lvl##_dirty(type e)                                                \
	{                                                                                     \
		return (e.val & (X86_DIRTY | X86_SAVED_DIRTY)) != 0;                          \
	}                                                                                     \
	static inline bool lvl##_young(type e) { return (e.val & X86_ACCESSED) != 0; }        \
	static inline bool lvl##_special(type e) { return (e.val & X86_SPECIAL) != 0; }       \
	static inline bool lvl##_devmap(type e) { return (e.val & X86_DEVMAP) != 0; }         \
	static inline bool lvl##_uffd_wp(type e) { return (e.val & X86_UFFD_WP) != 0; }       \
	static inline bool lvl##_soft_dirty(type e) { return (e.val & X86_SOFT_DIRTY) != 0; } \
	static inline bool lvl##_exec(type e) { return !(e.val & X86_NX); }                   \
	static inline type lvl##_wrprotect(type e)                                            \
	{                                                                                     \
		return lvl##_make(x86_save_dirty(e.val & ~X86_RW));                           \
	}                                                                                     \
	static inline type lvl##_mkwrite_novma(type e) { return lvl##_make(e.val | X86_RW); } \
	/* For an ordinary VMA; a shadow-stack VMA takes lvl##_mkwrite_shstk. */              \
	static inline type lvl##_mkwrite(type e)                                              \
	{                                                                                     \
		return lvl##_make(x86_unsave_dirty(e.val | X86_RW));                          \
	}                                                                                     \
	static inline type lvl##_mkwrite_shstk(type e)                                        \
	{                                                                                     \
		return lvl##_make((e.val & ~(X86_RW | X86_SAVED_DIRTY)) | X86_DIRTY);         \
	}                                                                                     \
	static inline type lvl##_mkdirty(type e)                                              \
	{                                                                                     \
		return lvl##_make(x86_save_dirty(e.val | X86_DIRTY | X86_SOFT_DIRTY));        \
	}                                                                                     \
	static inline type lvl##_mkclean(type e)                                              \
	{                                                                                     \
		return lvl##_make(e.val & ~(X86_DIRTY | X86_SAVED_DIRTY | X86_UNCHANGED));    \
	}                                                                                     \
	static inline type lvl##_mkyoung(type e) { return lvl##_make(e.val | X86_ACCESSED); } \
	static inline type lvl##_mkold(type e) { return lvl##_make(e.val & ~X86_ACCESSED); }  \
	static inline type lvl##_mkspecial(type e) { return lvl##_make(e.val | X86_SPECIAL); } \
	static inline type lvl##_mkdevmap(type e) { return lvl##_make(e.val | X86_DEVMAP); }  \
	static inline type lvl##_mkuffd_wp(type e)                                            \
	{                                                                                     \
		return lvl##_wrprotect(lvl##_make((e.val & ~X86_UNCHANGED) | X86_UFFD_WP));   \
	}                                                                                     \
	static inline type lvl##_clear_uffd_wp(type e)                                        \
	{                                                                                     \
		return lvl##_make(e.val & ~(X86_UFFD_WP | X86_UNCHANGED));                    \
	}                                                                                     \
	static inline type lvl##_mksoft_dirty(type e)                                         \
	{                                                                                     \
		return lvl##_make((e.val & ~X86_UNCHANGED) | X86_SOFT_DIRTY);                 \
	}                                                                                     \
	static inline type lvl##_clear_soft_dirty(type e)                                     \
	{                                                                                     \
		return lvl##_make(e.val & ~(X86_SOFT_DIRTY | X86_UNCHANGED));                 \
	}                                                                                     \
	/* The first frame of a leaf. */                                                      \
	static inline pfn_t lvl##_pfn(type e)                                                 \
	{                                                                                     \
		return x86_pfn_bits(e.val, pfn_mask) >> PAGE_SHIFT;                           \
	}                                                                                     \
	/* A leaf that maps @pfn and up with protection bits @prot (vma.page_prot). */        \
	static inline type lvl##_mk(pfn_t pfn, uint64_t prot)                                 \
	{                                                                                     \
		return lvl##_make(x86_with_pfn_bits(prot | (pse), pfn << PAGE_SHIFT, pfn_mask)); \
	}                                                                                     \
	/* Change of protection: the bits of X86_CHG_MASK stay, others come from @prot. */    \
	static inline type lvl##_modify(type e, uint64_t prot)                                \
	{                                                                                     \
		uint64_t v = (e.val & X86_CHG_MASK & ~(pfn_mask)) | (prot & ~X86_CHG_MASK);   \
                                                                                              \
		v = x86_with_pfn_bits(v, x86_pfn_bits(e.val, pfn_mask), pfn_mask);            \
		return lvl##_make(e.val & X86_RW ? x86_save_dirty(v) : x86_unsave_dirty(v));  \
	}

X86_LEAF_WORDS(pte, pte_t, X86_PFN_MASK, 0)
X86_LEAF_WORDS(pmd, pmd_t, X86_PFN_MASK & PMD_MASK, X86_PSE)
X86_LEAF_WORDS(pud, pud_t, X86_PFN_MASK & PUD_MASK, X86_PSE)

static inline bool pte_present(pte_t pte)
{
	return (pte.val & (X86_PRESENT | X86_PROTNONE)) != 0;
}

static inline bool pte_unchanged(pte_t pte)
{
	return (pte.val & (X86_UNCHANGED | X86_DIRTY | X86_SAVED_DIRTY)) == X86_UNCHANGED;
}

static inline pte_t pte_mkunchanged(pte_t pte) { return pte_make(pte.val | X86_UNCHANGED); }
static inline pte_t pte_mkchanged(pte_t pte) { return pte_make(pte.val & ~X86_UNCHANGED); }

/* A huge entry under invalidation has P=0 and PSE=1 and still counts as present. */
static inline bool pmd_present(pmd_t pmd)
{
	return (pmd.val & (X86_PRESENT | X86_PROTNONE | X86_PSE)) != 0;
}

static inline bool pud_present(pud_t pud)
{
	return (pud.val & (X86_PRESENT | X86_PROTNONE | X86_PSE)) != 0;
}

static inline bool pmd_leaf(pmd_t pmd)
{
	return pmd_present(pmd) && (pmd.val & X86_PSE);
}

static inline bool pud_leaf(pud_t pud)
{
	return pud_present(pud) && (pud.val & X86_PSE);
}

static inline bool pgd_none(pgd_t pgd)
{
	return (pgd.val & X86_PRESENT) == 0;
}

/* RW, or the shadow-stack encoding: some kind of store is allowed. There are no shadow stacks in PUDs. */
static inline bool x86_writable(uint64_t v)
{
	return (v & X86_RW) || (v & X86_DIRTY);
}

static inline bool pte_write(pte_t pte)
{
	return x86_writable(pte.val);
}

static inline bool pmd_write(pmd_t pmd)
{
	return x86_writable(pmd.val);
}

static inline bool pud_write(pud_t pud)
{
	return (pud.val & X86_RW) != 0;
}

/* Change protection bits: X86_CHG_MASK stays, the rest comes from @to. */
static inline uint64_t x86_prot_modify(uint64_t prot, uint64_t to)
{
	return (prot & X86_CHG_MASK) | (to & ~X86_CHG_MASK);
}

/* --- tables --- */

static inline pfn_t x86_table_pfn(uint64_t v)
{
	return (v & X86_PFN_MASK) >> PAGE_SHIFT;
}

static inline uint64_t x86_mk_table(pfn_t pfn)
{
	return pfn << PAGE_SHIFT | X86_TABLE;
}

/* Index of @addr in a table whose entries cover 1 << @shift bytes each. */
static inline unsigned table_index(gva_t addr, unsigned shift)
{
	return addr >> shift & (ENTRIES_PER_TABLE - 1);
}

/* --- entries that are not present: swap, migration, device, markers --- */

#define SWP_SOFT_DIRTY	(1ull << 1)
#define SWP_UFFD_WP	(1ull << 2)
#define SWP_EXCLUSIVE	(1ull << 3)
#define SWP_OFFSET_BITS	50
#define SWP_OFFSET_SHIFT 9
#define SWP_TYPE_SHIFT	59

enum swp_type {
	SWP_GENUINE_MAX = 22,	/* 0 to 22: swap areas */
	SWP_HWPOISON = 23,
	SWP_MIGRATION_READ = 24,
	SWP_MIGRATION_READ_EXCL = 25,
	SWP_MIGRATION_WRITE = 26,
	SWP_DEVICE_WRITE = 27,
	SWP_DEVICE_READ = 28,
	SWP_DEVICE_EXCL_WRITE = 29,
	SWP_DEVICE_EXCL_READ = 30,
	SWP_MARKER = 31,
};

#define MARKER_UFFD_WP	1u
#define MARKER_POISON	2u
#define MARKER_GUARD	4u

/* Migration entries: flags in the offset, above the widest pfn (40 bits). */
#define MIGRATION_YOUNG	(1ull << 40)
#define MIGRATION_DIRTY	(1ull << 41)

static inline pte_t swp_entry_pte(unsigned type, uint64_t offset)
{
	uint64_t inverted = ~offset & ((1ull << SWP_OFFSET_BITS) - 1);

	return pte_make((uint64_t)type << SWP_TYPE_SHIFT | inverted << SWP_OFFSET_SHIFT);
}

/* Not present and not none: one of enum swp_type. */
static inline bool pte_is_swp(pte_t pte)
{
	return !pte_none(pte) && !pte_present(pte);
}

static inline unsigned pte_swp_type(pte_t pte)
{
	return pte.val >> SWP_TYPE_SHIFT;
}

static inline uint64_t pte_swp_offset(pte_t pte)
{
	return ~pte.val >> SWP_OFFSET_SHIFT & ((1ull << SWP_OFFSET_BITS) - 1);
}

static inline bool pte_swp_soft_dirty(pte_t pte) { return (pte.val & SWP_SOFT_DIRTY) != 0; }
static inline bool pte_swp_uffd_wp(pte_t pte) { return (pte.val & SWP_UFFD_WP) != 0; }
static inline bool pte_swp_exclusive(pte_t pte) { return (pte.val & SWP_EXCLUSIVE) != 0; }
static inline pte_t pte_swp_mksoft_dirty(pte_t pte) { return pte_make(pte.val | SWP_SOFT_DIRTY); }
static inline pte_t pte_swp_mkuffd_wp(pte_t pte) { return pte_make(pte.val | SWP_UFFD_WP); }
static inline pte_t pte_swp_mkexclusive(pte_t pte) { return pte_make(pte.val | SWP_EXCLUSIVE); }
static inline pte_t pte_swp_clear_soft_dirty(pte_t pte) { return pte_make(pte.val & ~SWP_SOFT_DIRTY); }
static inline pte_t pte_swp_clear_uffd_wp(pte_t pte) { return pte_make(pte.val & ~SWP_UFFD_WP); }
static inline pte_t pte_swp_clear_exclusive(pte_t pte) { return pte_make(pte.val & ~SWP_EXCLUSIVE); }

/* The same entry and flags with another type: a write entry becomes a read entry. */
static inline pte_t pte_swp_with_type(pte_t pte, unsigned type)
{
	return pte_make((pte.val & ~(31ull << SWP_TYPE_SHIFT)) | (uint64_t)type << SWP_TYPE_SHIFT);
}

/* Add the flags of the present entry @old to the swap entry @swp that replaces it: soft-dirty and uffd-wp. */
static inline pte_t pte_to_swp_flags(pte_t swp, pte_t old)
{
	if (pte_soft_dirty(old))
		swp = pte_swp_mksoft_dirty(swp);
	return pte_uffd_wp(old) ? pte_swp_mkuffd_wp(swp) : swp;
}

/* Add the flags of the swap entry @swp to the present entry @pte that replaces it. */
static inline pte_t swp_to_pte_flags(pte_t pte, pte_t swp)
{
	if (pte_swp_soft_dirty(swp))
		pte = pte_mksoft_dirty(pte);
	return pte_swp_uffd_wp(swp) ? pte_mkuffd_wp(pte) : pte;
}

/* Migration and device entries keep a frame number in the low bits of the offset. */
static inline pfn_t pte_swp_pfn(pte_t pte)
{
	return pte_swp_offset(pte) & (MIGRATION_YOUNG - 1);
}

/* The migration entry of a page whose D was taken: the offset is stored inverted. */
static inline pte_t pte_migration_mkclean(pte_t pte)
{
	return pte_make(pte.val | MIGRATION_DIRTY << SWP_OFFSET_SHIFT);
}

static inline bool pte_has_swp_type(pte_t pte, unsigned first, unsigned last)
{
	return pte_is_swp(pte) && pte_swp_type(pte) >= first && pte_swp_type(pte) <= last;
}

static inline bool pte_is_genuine_swap(pte_t pte) { return pte_has_swp_type(pte, 0, SWP_GENUINE_MAX); }

static inline bool pte_is_migration(pte_t pte)
{
	return pte_has_swp_type(pte, SWP_MIGRATION_READ, SWP_MIGRATION_WRITE);
}

static inline bool pte_is_device_private(pte_t pte)
{
	return pte_has_swp_type(pte, SWP_DEVICE_WRITE, SWP_DEVICE_READ);
}

static inline bool pte_is_device_exclusive(pte_t pte)
{
	return pte_has_swp_type(pte, SWP_DEVICE_EXCL_WRITE, SWP_DEVICE_EXCL_READ);
}

static inline pte_t pte_marker(unsigned bits)
{
	return swp_entry_pte(SWP_MARKER, bits);
}

static inline bool pte_is_marker(pte_t pte) { return pte_has_swp_type(pte, SWP_MARKER, SWP_MARKER); }

/* MARKER_* of a marker, else 0. Markers may also have the flags of swap entries, so raw values must not be compared. */
static inline unsigned pte_marker_bits(pte_t pte)
{
	return pte_is_marker(pte) ? (unsigned)pte_swp_offset(pte) & 7u : 0;
}

/* Protected by userfaultfd in any form: present, swapped out, or a marker. */
static inline bool pte_is_uffd_wp(pte_t pte)
{
	if (pte_present(pte))
		return pte_uffd_wp(pte);
	return pte_is_swp(pte) && (pte_swp_uffd_wp(pte) || (pte_marker_bits(pte) & MARKER_UFFD_WP));
}

/* None, or only a wp marker: a fault populates it. */
static inline bool pte_none_or_wp_marker(pte_t pte)
{
	return pte_none(pte) || pte_marker_bits(pte) == MARKER_UFFD_WP;
}

/* --- protections --- */

/*
 * Protection bits for access rights. W of a private VMA is never set here: only the fault that makes the page
 * exclusive to the process grants it (SPEC.md "Page protections").
 */
static inline uint64_t x86_prot(bool read, bool write, bool exec, bool shared)
{
	uint64_t prot = X86_PRESENT | X86_USER | X86_ACCESSED;

	if (!read && !write && !exec)
		return X86_PROTNONE | X86_ACCESSED;
	if (write && shared)
		prot |= X86_RW;
	if (!exec)
		prot |= X86_NX;
	return prot;
}

/* --- page-fault error code --- */

#define X86_PF_PROT	(1u << 0)	/* the entry was present */
#define X86_PF_WRITE	(1u << 1)
#define X86_PF_USER	(1u << 2)
#define X86_PF_RSVD	(1u << 3)
#define X86_PF_INSTR	(1u << 4)
#define X86_PF_PK	(1u << 5)
#define X86_PF_SHSTK	(1u << 6)

#endif
