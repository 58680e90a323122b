/* SPDX-License-Identifier: MIT */
/*
 * tests/oracle/differences.c - the one list of what may differ between Linux and Vellum.
 *
 * A row changes how an operation is done or what is printed, on both sides alike, so that what it covers is
 * compared as far as it can be, and all else in full. Rows without a function are about how a world is set up.
 * A difference that has no row here is a failure.
 */
#include "differences.h"

#include <errno.h>

#include "arch/x86/pgtable.h"

struct difference {
	const char *name, *reason;
	void (*entry)(struct oracle_entry *e);
	/* true: the two are shown as one mapping */
	bool (*same_vma)(const struct oracle_vma *low, const struct oracle_vma *high);
	/* true: done, else world_do() is to do it */
	bool (*instead)(const struct op *op, struct answer *a);
	void (*after)(const struct op *op, struct answer *a);
};

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

/* The mapping tells an owner of pages with metadata before one of them is stored to. */
static bool tells_of_stores(const struct oracle_vma *vma)
{
	return (vma->flags & ORACLE_VMA_SHARED) && vma->owner == 'M';
}

static bool pin_before_notify_rule(const struct op *op, struct answer *a)
{
	struct op without = *op;
	struct oracle_vma vma;
	bool differs = false;

	if (op->kind != OP_PIN || (op->arg[3] & (PIN_W | PIN_LONGTERM)) != (PIN_W | PIN_LONGTERM))
		return false;
	for (uint64_t i = 0; i < op->arg[2]; i++)
		differs |= vma_at(op->proc, PAGE_AT(op->arg[1] + i), &vma) && tells_of_stores(&vma);
	without.arg[3] &= ~(uint64_t)PIN_LONGTERM;
	if (differs)
		world_do(&without, a);
	return differs;
}

static bool pin_before_read_rule(const struct op *op, struct answer *a)
{
	struct oracle_entry entry[NR_PAGES] = { 0 };
	struct op without = *op;
	struct oracle_vma vma;
	bool differs = false;

	if (op->kind != OP_PIN || (op->arg[3] & (PIN_W | PIN_LONGTERM)) != PIN_LONGTERM)
		return false;
	world_entries(op->proc, entry);
	for (uint64_t i = op->arg[1]; i < op->arg[1] + op->arg[2] && i < NR_PAGES; i++)
		differs |= vma_at(op->proc, PAGE_AT(i), &vma) && !(vma.flags & ORACLE_VMA_SHARED) &&
			   entry[i].kind != ORACLE_ANON;
	without.arg[3] &= ~(uint64_t)PIN_LONGTERM;
	if (differs)
		world_do(&without, a);
	return differs;
}

static void hide_pins_of_zero_page(struct oracle_entry *e)
{
	if (e->kind == ORACLE_ZERO)
		e->pinned = 0;
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
	  .reason = "A long-term pin for writing of shared pages whose owner is told of stores is refused on Vellum and "
		    "on Linux from 6.5 on; before, it was given. It is asked for without LONGTERM.",
	  .instead = pin_before_notify_rule },
	{ .name = "pin-longterm-read",
	  .reason = "A long-term pin for reading of a private mapping gets a page of its own on Vellum and on Linux "
		    "from 6.2 on; before, it pinned the zero page or the object's. Where the entry is not a private page "
		    "already, it is asked for without LONGTERM.",
	  .instead = pin_before_read_rule },
	{ .name = "pin-zero",
	  .reason = "A pin of the zero page is not counted on Vellum and on Linux from 6.5 on; before, it was. That the "
		    "zero page may be pinned is not shown.",
	  .entry = hide_pins_of_zero_page },
};

#define NR_DIFFERENCES (sizeof(differences) / sizeof(differences[0]))

void do_normalised(const struct op *op, struct answer *a)
{
	bool done = false;

	for (unsigned i = 0; i < NR_DIFFERENCES && !done; i++)
		done = differences[i].instead && differences[i].instead(op, a);
	if (!done)
		world_do(op, a);
	for (unsigned i = 0; i < NR_DIFFERENCES; i++)
		if (differences[i].after)
			differences[i].after(op, a);
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
