/* SPDX-License-Identifier: MIT */
/*
 * tests/oracle/differences.c - the list of allowed differences between Linux and Vellum.
 *
 * A row changes, on both sides alike, how an operation is done or what is printed. So what the row covers is compared
 * as far as possible, and everything else in full. Rows without a function document how a world is set up.
 * A difference without a row is a failure.
 */
#include "differences.h"

#include <errno.h>
#include <string.h>

#include "arch/x86/pgtable.h"

struct difference {
	const char *name, *reason;
	void (*entry)(struct oracle_entry *e);
	/* true: print the two VMAs as one */
	bool (*same_vma)(const struct oracle_vma *low, const struct oracle_vma *high);
	void (*before)(struct op *op);
	/* true: this did the operation; false: world_do() does it */
	bool (*instead)(const struct op *op, struct answer *a);
	void (*after)(const struct op *op, struct answer *a);
	/* Called after all rows' after(). before_op[] has the entries before the operation. */
	void (*settle)(const struct op *op, const struct answer *a);
};

/* The entries before the operation. Kept as soon as a huge object has been mapped. */
static struct oracle_entry before_op[NR_PROCS][NR_PAGES];
static bool huge_mapped;

static void fold_saved_dirty(struct oracle_entry *e)
{
	if (e->level && (e->raw & X86_SAVED_DIRTY))
		e->raw = (e->raw & ~X86_SAVED_DIRTY) | X86_DIRTY;
}

static void fold_accessed_of_files(struct oracle_entry *e)
{
	if (e->kind == ORACLE_FILE)
		e->raw &= ~X86_ACCESSED;
}

static bool private_neighbours(const struct oracle_vma *low, const struct oracle_vma *high)
{
	return low->end == high->start && low->flags == high->flags && !(low->flags & ORACLE_VMA_SHARED) &&
	       low->owner == high->owner &&
	       (!low->owner || low->pgoff + (low->end - low->start) / PAGE == high->pgoff);
}

static bool populate_page_by_page(const struct op *op, struct answer *a)
{
	if (op->kind != OP_POPULATE)
		return false;
	for (uint64_t i = 0; i < op->arg[1] && !a->code; i++) {
		struct op page = *op;

		page.arg[0] += i;
		page.arg[1] = 1;
		world_do(&page, a);
	}
	return true;
}

static bool ranges_overlap(const struct op *move)
{
	const uint64_t *arg = move->arg;

	return arg[3] < arg[0] + arg[1] && arg[0] < arg[3] + arg[2];
}

static void one_error_of_two(const struct op *op, struct answer *a)
{
	if (op->kind == OP_MOVE && ranges_overlap(op) && a->code == -EFAULT)
		a->code = -EINVAL;
}

static void unmap(int proc, uint64_t first, uint64_t nr)
{
	struct op op = { .kind = OP_UNMAP, .proc = proc, .arg = { first, nr } };
	struct answer a = { .code = 0 };

	world_do(&op, &a);
}

static void unmap_after_failed_move(const struct op *op, struct answer *a)
{
	const uint64_t *arg = op->arg;

	if (op->kind != OP_MOVE || a->code != -EFAULT)
		return;
	unmap(op->proc, arg[3], arg[2]);
	if (arg[1] > arg[2])
		unmap(op->proc, arg[0] + arg[2], arg[1] - arg[2]);
}

static void forget_zero_pages(const struct op *op, const struct answer *answer)
{
	struct oracle_entry parent[NR_PAGES] = { 0 };

	if (op->kind != OP_FORK || answer->code)
		return;
	world_entries(op->proc, parent);
	for (uint64_t i = 0; i < NR_PAGES; i++) {
		struct op drop = { .kind = OP_DROP, .proc = (int)op->arg[0], .arg = { i, 1 } };
		struct answer a = { .code = 0 };

		if (parent[i].kind == ORACLE_ZERO)
			world_do(&drop, &a);
	}
}

static bool vma_at(int proc, uint64_t addr, struct oracle_vma *found)
{
	static struct oracle_vma vma[2 * NR_PAGES];
	unsigned nr = world_vmas(proc, vma, 2 * NR_PAGES);

	for (unsigned i = 0; i < nr; i++) {
		if (addr < vma[i].start || addr >= vma[i].end)
			continue;
		*found = vma[i];
		return true;
	}
	return false;
}

/* If a pin's flags in @mask are @how, and @differs is true for a page of its range, clear its flags @drop. */
static void pin_without(struct op *op, uint64_t mask, uint64_t how, uint64_t drop,
			bool (*differs)(const struct oracle_vma *vma, const struct oracle_entry *e))
{
	struct oracle_entry entry[NR_PAGES] = { 0 };
	struct oracle_vma vma;

	if (op->kind != OP_PIN || (op->arg[3] & mask) != how)
		return;
	world_entries(op->proc, entry);
	for (uint64_t i = op->arg[1]; i < op->arg[1] + op->arg[2] && i < NR_PAGES; i++) {
		if (!vma_at(op->proc, page_at(i), &vma) || !differs(&vma, &entry[i]))
			continue;
		op->arg[3] &= ~drop;
		return;
	}
}

/* Is the mapping notified before a store to one of its pages, which have a struct page? */
static bool tells_of_stores(const struct oracle_vma *vma, const struct oracle_entry *e)
{
	(void)e;
	return (vma->flags & ORACLE_VMA_SHARED) && vma->owner == 'M';
}

static void pin_before_write_rule(struct op *op)
{
	pin_without(op, PIN_W | PIN_LONGTERM, PIN_W | PIN_LONGTERM, PIN_LONGTERM, tells_of_stores);
}

/* A pin without locks does not know whether the VMA is private. If that matters, it must use the VMA and its rights. */
static bool might_be_unshared(const struct oracle_vma *vma, const struct oracle_entry *e)
{
	return e->kind != ORACLE_ANON &&
	       (vma->flags & (ORACLE_VMA_SHARED | ORACLE_VMA_READ)) != (ORACLE_VMA_SHARED | ORACLE_VMA_READ);
}

static void pin_before_read_rule(struct op *op)
{
	pin_without(op, PIN_W | PIN_LONGTERM, PIN_LONGTERM, PIN_LONGTERM, might_be_unshared);
}

static bool not_to_be_read(const struct oracle_vma *vma, const struct oracle_entry *e)
{
	return !(vma->flags & ORACLE_VMA_READ) && e->kind != ORACLE_NOTHING && e->level == 1;
}

static void pin_fast_first(struct op *op)
{
	pin_without(op, PIN_W | PIN_FORCE, 0, PIN_SLOW | PIN_REMOTE, not_to_be_read);
}

/* --- huge entries --- */

static void hide_special_of_huge(struct oracle_entry *e)
{
	if (e->level > 1)
		e->raw &= ~X86_SPECIAL;
}

static void hide_soft_dirty_of_small(struct oracle_entry *e)
{
	if (e->kind == ORACLE_OBJECT && e->owner == 'H' && e->level == 1)
		e->raw &= ~X86_SOFT_DIRTY;
}

/* The level of the largest leaf in a unit before the operation; 0: no huge leaf. */
static unsigned leaf_before(int proc, unsigned unit)
{
	unsigned level = 0;

	for (unsigned i = unit; i < unit + UNIT; i++)
		if (before_op[proc][i].level > 1 && before_op[proc][i].level > level)
			level = before_op[proc][i].level;
	return level;
}

static uint64_t end_of_unit(unsigned first)
{
	return page_at(first) + range_len(first, UNIT);
}

/* The page of interest in a unit that begins at @addr; UNIT: none, as @addr is the unit's end. */
static unsigned page_in_unit(unsigned first, uint64_t addr)
{
	unsigned i;

	for (i = 0; i < UNIT && page_at(first + i) != addr; i++)
		;
	return i;
}

/* Make an operation that maps the part of @vma in a unit. False: there is no such part. */
static bool map_op(int proc, unsigned first, const struct oracle_vma *vma, struct op *op)
{
	uint64_t start = vma->start > page_at(first) ? vma->start : page_at(first);
	uint64_t end = vma->end < end_of_unit(first) ? vma->end : end_of_unit(first);
	unsigned at = page_in_unit(first, start);

	if (start >= end)
		return false;
	*op = (struct op){
		.kind = OP_MAP,
		.proc = proc,
		.arg = { vma->owner, 1,
			 (vma->flags & ORACLE_VMA_READ ? PROT_R : 0u) |
				 (vma->flags & ORACLE_VMA_WRITE ? PROT_W : 0u),
			 first + at, page_in_unit(first, end) - at, vma->pgoff + (start - vma->start) / PAGE },
	};
	return true;
}

/* Map the unit's VMAs again, which removes the entries. */
static void map_again(int proc, unsigned first)
{
	static struct oracle_vma vma[2 * NR_PAGES];
	unsigned nr = world_vmas(proc, vma, 2 * NR_PAGES);
	bool unmapped = false;

	for (unsigned i = 0; i < nr; i++) {
		struct answer a = { .code = 0 };
		struct op op;

		if (!map_op(proc, first, &vma[i], &op))
			continue;
		if (!unmapped)
			unmap(proc, first, UNIT);
		unmapped = true;
		world_do(&op, &a);
	}
}

/* The pages that an operation maps, unmaps or protects. A move has two ranges. */
static bool range_of(const struct op *op, unsigned which, uint64_t *first, uint64_t *nr)
{
	bool map = op->kind == OP_MAP || op->kind == OP_MAPRO;
	unsigned at = map ? 3 : op->kind == OP_ANON ? 2 : which ? 3 : 0;

	if (op->proc == NOBODY || which > (op->kind == OP_MOVE) ||
	    (!map && op->kind != OP_ANON && op->kind != OP_MOVE && op->kind != OP_UNMAP && op->kind != OP_PROTECT))
		return false;
	*first = op->arg[at];
	*nr = op->arg[which ? 2 : at + 1];
	return true;
}

static bool covers(const struct op *op, unsigned which, unsigned unit)
{
	uint64_t first, nr;

	return range_of(op, which, &first, &nr) && first <= unit && unit + UNIT <= first + nr;
}

static bool touches(const struct op *op, unsigned which, unsigned unit)
{
	uint64_t first, nr;

	return range_of(op, which, &first, &nr) && first < unit + UNIT && unit < first + nr;
}

/* Does the operation replace the whole huge page? */
static bool replaced(const struct op *op, int proc, unsigned unit)
{
	return proc == op->proc && op->kind != OP_PROTECT && (covers(op, 0, unit) || covers(op, 1, unit));
}

/* Are all huge leaves unchanged? Pages without one may have a table now: on Vellum, a fault beyond the end adds it. */
static bool still_whole(const struct oracle_entry *now, const struct oracle_entry *before)
{
	for (unsigned i = 0; i < UNIT; i++)
		if (before[i].level > 1 && (now[i].level != before[i].level || now[i].index != before[i].index))
			return false;
	return true;
}

static void drop_what_was_split(const struct op *op, const struct answer *a)
{
	(void)a;
	for (int p = 0; p < NR_PROCS; p++) {
		struct oracle_entry now[NR_PAGES] = { 0 };

		if (!world_alive(p))
			continue;
		world_entries(p, now);
		for (unsigned u = FIRST_PMD; u < NR_PAGES; u += UNIT)
			if (leaf_before(p, u) && !still_whole(&now[u], &before_op[p][u]) &&
			    !replaced(op, p, u))
				map_again(p, u);
	}
}

static void drop_leaves_of_child(const struct op *op, const struct answer *a)
{
	if (op->kind != OP_FORK || a->code)
		return;
	for (unsigned u = FIRST_PMD; u < NR_PAGES; u += UNIT) {
		if (!leaf_before(op->proc, u))
			continue;
		map_again((int)op->arg[0], u);
		if (leaf_before(op->proc, u) == 3)
			map_again(op->proc, u);
	}
}

static void drop_protected_puds(const struct op *op, const struct answer *a)
{
	(void)a;
	for (unsigned u = FIRST_PUD; u < NR_PAGES && op->kind == OP_PROTECT; u += UNIT)
		if (leaf_before(op->proc, u) == 3 && touches(op, 0, u))
			map_again(op->proc, u);
}

static bool had_dirty_pmd(int proc, unsigned unit)
{
	for (unsigned i = unit; i < unit + UNIT; i++)
		if (before_op[proc][i].level == 2 &&
		    (before_op[proc][i].raw & (X86_DIRTY | X86_SAVED_DIRTY)))
			return true;
	return false;
}

static bool maps_told(int proc, unsigned unit)
{
	struct oracle_vma vma;

	for (unsigned i = unit; i < unit + UNIT; i++)
		if (vma_at(proc, page_at(i), &vma) && vma.owner == 'G')
			return true;
	return false;
}

/* The entry is dirty, so a driver that is notified of stores was notified: the entry may stay or become writable. */
static void drop_upgraded(const struct op *op, const struct answer *a)
{
	(void)a;
	if (op->kind != OP_PROTECT || !(op->arg[2] & PROT_W))
		return;
	for (unsigned u = FIRST_PMD; u < NR_PAGES; u += UNIT)
		if (had_dirty_pmd(op->proc, u) && touches(op, 0, u) && maps_told(op->proc, u))
			map_again(op->proc, u);
}

/* Part of a leaf, or a leaf of 1 GiB, may have another form after a move: map the destination again. */
static void drop_moved(const struct op *op, const struct answer *a)
{
	bool differs = false;

	if (op->kind != OP_MOVE || a->code)
		return;
	for (unsigned u = FIRST_PMD; u < NR_PAGES; u += UNIT)
		differs |= leaf_before(op->proc, u) && touches(op, 0, u) &&
			   (u >= FIRST_PUD || !covers(op, 0, u));
	for (unsigned u = FIRST_PMD; u < NR_PAGES && differs; u += UNIT)
		if (touches(op, 1, u))
			map_again(op->proc, u);
}

/* If the operation begins or ends inside a leaf of 1 GiB, map that again before. */
static void drop_puds_first(struct op *op)
{
	for (unsigned u = FIRST_PUD; u < NR_PAGES && huge_mapped; u += UNIT)
		for (unsigned which = 0; which < 2; which++)
			if (touches(op, which, u) && !covers(op, which, u) && leaf_before(op->proc, u) == 3)
				map_again(op->proc, u);
}

/* Some kernels give W to clean anonymous pages in mprotect, some do not. Store each page's own word, which sets W. */
static void store_to_clean_pages(const struct op *op, const struct answer *answer)
{
	struct oracle_entry now[NR_PAGES] = { 0 };
	struct oracle_vma vma;

	(void)answer;
	if (op->kind != OP_PROTECT || !(op->arg[2] & PROT_W))
		return;
	world_entries(op->proc, now);
	for (uint64_t i = op->arg[0]; i < op->arg[0] + op->arg[1] && i < NR_PAGES; i++) {
		struct op store = { .kind = OP_STORE, .proc = op->proc, .arg = { i, now[i].word } };
		struct answer a = { .code = 0 };

		if (now[i].kind == ORACLE_ANON && !(now[i].raw & (X86_DIRTY | X86_SAVED_DIRTY)) &&
		    vma_at(op->proc, page_at(i), &vma) && (vma.flags & ORACLE_VMA_WRITE))
			world_do(&store, &a);
	}
}

static const struct difference differences[] = {
	{ .name = "walk-ends",
	  .reason = "Linux's walk of an object ends at the first mapping that the helpers skip; Vellum's goes on. "
		    "So Linux maps what is skipped (private, or opened read-only) through a second device "
		    "with the same pages, which the walk does not meet." },
	{ .name = "fault-around",
	  .reason = "A driver of Linux says whether a load brings neighbours along; of Vellum's objects all do. "
		    "MADV_RANDOM on Vellum's side for the module's objects; memfds and shared memory are compared "
		    "as they are." },
	{ .name = "fault-around-young",
	  .reason = "A neighbour that fault-around maps is old on Vellum: nobody has accessed it. On Linux that is up "
		    "to the architecture, and on x86 it is young. A of memfds and shared memory is not shown.",
	  .entry = fold_accessed_of_files },
	{ .name = "fault-around-end",
	  .reason = "A load beyond the end of a memfd maps cached neighbours on Linux before it is SIGBUS; on Vellum "
		    "only a load that works does. The generator maps nothing beyond the end of memfds." },
	{ .name = "merge",
	  .reason = "Linux does not merge private mappings that a fork has cloned with others, and lets a moved "
		    "mapping without pages merge at its new place; Vellum has one anon_vma for a family, and keeps "
		    "offsets. Private neighbours that could be one mapping are shown as one, and the generator "
		    "moves no range that is part of two such.",
	  .same_vma = private_neighbours },
	{ .name = "merge-fork",
	  .reason = "So what is one private mapping on Vellum, with pages of its own, may on Linux be two, and one of "
		    "them without such pages, whose entries of the zero page a fork leaves out. They are "
		    "dropped in the child.",
	  .settle = forget_zero_pages },
	{ .name = "copy-retries",
	  .reason = "When a copy to a process fails, Linux tries the rest once more byte by byte, which asks a hook "
		    "that refused again. Hooks refuse until they are told otherwise, and what they refuse "
		    "is not counted." },
	{ .name = "saved-dirty",
	  .reason = "Linux keeps D in read-only entries before 6.6, and moves it to bit 58 from then on, as "
		    "Vellum does. Both are shown as D.",
	  .entry = fold_saved_dirty },
	{ .name = "populate-holes",
	  .reason = "MADV_POPULATE_* stops at a hole on Vellum and on Linux from 6.9 on; before, Linux went on "
		    "behind it. It is done page by page, until one fails.",
	  .instead = populate_page_by_page },
	{ .name = "mremap-order",
	  .reason = "Source and target of mremap overlap, and there is no mapping: EINVAL on Vellum and on Linux "
		    "from 6.17 on, EFAULT before. Shown as EINVAL.",
	  .after = one_error_of_two },
	{ .name = "mremap-target",
	  .reason = "An mremap that fails with EFAULT changes nothing on Vellum and on Linux from 6.17 on; before, "
		    "the target, and what the source was to lose, were unmapped. Then both are unmapped.",
	  .after = unmap_after_failed_move },
	{ .name = "pin-longterm-write",
	  .reason = "A long-term pin for writing of shared pages whose owner is told of stores is refused "
		    "on Vellum and on Linux from 6.5 on; before, it was given. It is asked for without "
		    "LONGTERM.",
	  .before = pin_before_write_rule },
	{ .name = "pin-longterm-read",
	  .reason = "A long-term pin for reading of a private mapping gets a page of its own on Vellum and "
		    "on Linux from 6.2 on; before, it pinned the zero page or the object's. So from then on it "
		    "also looks at the rights of a mapping that may not be read, though the entry lets it. "
		    "Where the entry is not a private page already, it is asked for without LONGTERM.",
	  .before = pin_before_read_rule },
	{ .name = "pin-fast",
	  .reason = "Vellum has one function, which tries without locks first, as pin_user_pages_fast() "
		    "does: that finds what is there and lets itself be read by the entry, though the "
		    "mapping has no right to. Linux's other functions ask the mapping. There, this one is "
		    "used.",
	  .before = pin_fast_first },
	{ .name = "mprotect-clean",
	  .reason = "mprotect that gives the right to store gives W to a clean page of the process's own (a "
		    "pin for reading unshares so) on Vellum and on Linux from 6.2 on; before, only to dirty "
		    "ones. Then the page is stored to.",
	  .settle = store_to_clean_pages },
	{ .name = "huge-special",
	  .reason = "Huge entries of raw frames have the special bit on Vellum and on Linux from 6.12 on; "
		    "before, only small ones had. It is not shown of huge ones.",
	  .entry = hide_special_of_huge },
	{ .name = "huge-split",
	  .reason = "What does not concern all of a huge entry of raw frames (a part is unmapped, "
		    "protected, moved, zapped; a driver wants stores page by page) makes Linux drop it with "
		    "its dirt; on Vellum it becomes smaller entries. A huge page whose entry is not whole "
		    "any more is mapped again.",
	  .settle = drop_what_was_split },
	{ .name = "huge-fork",
	  .reason = "A fork gives the child huge entries of raw frames, and takes no rights, on Vellum and "
		    "on Linux from 6.12 on; before, it left those of 2 MiB out, and those of 1 GiB lost W "
		    "on both sides. Then they are mapped again in the child, those of 1 GiB in the parent "
		    "too.",
	  .settle = drop_leaves_of_child },
	{ .name = "huge-protect",
	  .reason = "mprotect of 1 GiB changes the entry on Vellum and on Linux from 6.12 on; 6.1 takes the "
		    "entry for a broken table and clears it. Then it is mapped again.",
	  .settle = drop_protected_puds },
	{ .name = "huge-upgrade",
	  .reason = "mprotect that leaves or gives the right to store lets a dirty entry have W though a "
		    "driver is told of stores; of 2 MiB too on Vellum and on Linux from 6.2 on, not before. "
		    "Such are mapped again.",
	  .settle = drop_upgraded },
	{ .name = "huge-move",
	  .reason = "mremap takes an entry of 1 GiB along on Vellum, and what a part of a huge one becomes; "
		    "Linux 6.1 drops both. What was moved is mapped again at its new place.",
	  .settle = drop_moved },
	{ .name = "move-table",
	  .reason = "When mremap moves all of 2 MiB, Linux moves the table, and the entries in it don't "
		    "become soft-dirty; Vellum moves each, and they do. Soft-dirty is not shown of small "
		    "entries of H and G.",
	  .entry = hide_soft_dirty_of_small },
	{ .name = "huge-inside",
	  .reason = "Where a mapping is to be divided inside an entry of 1 GiB, Linux 6.1 takes the entry "
		    "for a table and crashes. The huge page is mapped again first.",
	  .before = drop_puds_first },
};

#define NR_DIFFERENCES (sizeof(differences) / sizeof(differences[0]))

void normalise_begin(void)
{
	huge_mapped = false;
	memset(before_op, 0, sizeof(before_op));
}

static void look_before(const struct op *op)
{
	huge_mapped |= op->kind == OP_MAP && (op->arg[0] == 'H' || op->arg[0] == 'G');
	if (!huge_mapped)
		return;
	memset(before_op, 0, sizeof(before_op));
	for (int p = 0; p < NR_PROCS; p++)
		if (world_alive(p))
			world_entries(p, before_op[p]);
}

void do_normalised(const struct op *original, struct answer *a)
{
	struct op changed = *original, *op = &changed;
	bool done = false;

	look_before(op);
	for (unsigned i = 0; i < NR_DIFFERENCES; i++)
		if (differences[i].before)
			differences[i].before(op);
	for (unsigned i = 0; i < NR_DIFFERENCES && !done; i++)
		done = differences[i].instead && differences[i].instead(op, a);
	if (!done)
		world_do(op, a);
	for (unsigned i = 0; i < NR_DIFFERENCES; i++)
		if (differences[i].after)
			differences[i].after(op, a);
	for (unsigned i = 0; i < NR_DIFFERENCES; i++)
		if (differences[i].settle)
			differences[i].settle(op, a);
}

void normalise_entry(struct oracle_entry *e)
{
	for (unsigned i = 0; i < NR_DIFFERENCES; i++)
		if (differences[i].entry)
			differences[i].entry(e);
}

static bool same_vma(const struct oracle_vma *low, const struct oracle_vma *high)
{
	for (unsigned i = 0; i < NR_DIFFERENCES; i++)
		if (differences[i].same_vma && differences[i].same_vma(low, high))
			return true;
	return false;
}

unsigned normalise_vmas(struct oracle_vma vma[], unsigned nr)
{
	unsigned kept = 0;

	for (unsigned i = 0; i < nr; i++) {
		if (kept && same_vma(&vma[kept - 1], &vma[i]))
			vma[kept - 1].end = vma[i].end;
		else
			vma[kept++] = vma[i];
	}
	return kept;
}

void print_differences(FILE *out)
{
	for (unsigned i = 0; i < NR_DIFFERENCES; i++)
		fprintf(out, "%s: %s\n", differences[i].name, differences[i].reason);
}
