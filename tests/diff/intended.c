/* SPDX-License-Identifier: MIT */
/* tests/diff/intended.c - intended differences: operations that are not run on either side, and why. */
#include <stdio.h>

#include "tests/diff/uffd.h"

#define SEAL_EXEC 0x20u

/* Does a VMA end inside the range? */
static bool crosses_border(const struct view *view, uint64_t start, uint64_t len)
{
	for (unsigned i = 0; i < view->nr; i++)
		if (view->vma[i].end > start && view->vma[i].end - start < page_up(len))
			return true;
	return false;
}

static bool moves_several(const struct op *op, const struct before *before)
{
	return is(op, "mremap") && (op->flags & VELLUM_MREMAP_FIXED) && page_up(op->len) == page_up(op->new_len) &&
	       crosses_border(before->host, op->addr, op->len);
}

static bool borders_differ(const struct op *op, const struct before *before)
{
	uint64_t moved = op->len < op->new_len ? op->len : op->new_len;

	return is(op, "mremap") && (crosses_border(before->host, op->addr, op->len) !=
					    crosses_border(before->vellum, op->addr, op->len) ||
				    crosses_border(before->host, op->addr, moved) !=
					    crosses_border(before->vellum, op->addr, moved));
}

/* These calls continue after a hole, and would reach the agent's own memory. */
static bool reaches_the_agent(const struct op *op, const struct before *before)
{
	uint64_t end = op->addr + page_up(op->len);

	(void)before;
	return (is(op, "madvise") || is(op, "msync")) && end > HIGH && page_up(op->len) && end >= op->addr;
}

/* The agent's own memory counts for RLIMIT_MEMLOCK, unless the agent may lock all. */
static bool counts_the_agent(const struct op *op, const struct before *before)
{
	(void)before;
	return (is(op, "mlockall") || (is(op, "mlock") && op->len > HIGH - LOW)) && !agents_may_lock_all();
}

static bool is_huge(const struct op *op)
{
	return is(op, "mmap") && (op->flags & VELLUM_MAP_HUGETLB) && (op->flags & VELLUM_MAP_ANONYMOUS);
}

static bool reserves_no_huge_page(const struct op *op, const struct before *before)
{
	(void)before;
	return is_huge(op) && (op->flags & VELLUM_MAP_NORESERVE);
}

static bool unmaps_for_huge_pages(const struct op *op, const struct before *before)
{
	(void)before;
	return is_huge(op) && (op->flags & VELLUM_MAP_FIXED) && !(op->addr & ((2u << 20) - 1));
}

static bool unmaps_for_sync(const struct op *op, const struct before *before)
{
	(void)before;
	return is(op, "mmap") && op->object == FILE_OBJECT && !(op->flags & VELLUM_MAP_ANONYMOUS) &&
	       (op->flags & VELLUM_MAP_SYNC) && (op->flags & VELLUM_MAP_FIXED);
}

static bool has_gigantic_pages(const struct op *op, const struct before *before)
{
	(void)before;
	return is_huge(op) && op->flags >> 26 == 30;
}

static bool is_privileged(const struct op *op, const struct before *before)
{
	(void)before;
	return is(op, "mmap") && (op->flags & (VELLUM_MAP_FIXED | VELLUM_MAP_FIXED_NOREPLACE)) && op->addr < 0x10000;
}

static bool seals_execution(const struct op *op, const struct before *before)
{
	(void)before;
	return is(op, "seal") && (op->flags & SEAL_EXEC);
}

static bool wants_hugetlb(const struct op *op, const struct before *before)
{
	(void)before;
	return (is(op, "uffd_open") || is(op, "uffd_api")) && (op->to & UFFD_HUGETLB_FEATURES);
}

static bool keeps_what_is_behind_the_end(const struct op *op, const struct before *before)
{
	uint64_t old = before->host->object[op->object].size;

	return is(op, "truncate") && op->len > old && (old & (PAGE - 1)) &&
	       (before->host->object[op->object].seals & (VELLUM_SEAL_WRITE | VELLUM_SEAL_FUTURE_WRITE));
}

/* A move of less or more than exactly one VMA, on Linux's side. */
static bool unlocks_too_much(const struct op *op, const struct before *before)
{
	if (!is(op, "mremap") || !(op->flags & VELLUM_MREMAP_DONTUNMAP) || !before->may_be_locked)
		return false;
	for (unsigned i = 0; i < before->host->nr; i++)
		if (before->host->vma[i].start == op->addr && before->host->vma[i].end == op->addr + page_up(op->len))
			return false;
	return true;
}

static bool ends_differently(const struct before *before, uint64_t start, uint64_t len)
{
	return crosses_border(before->host, start, len) != crosses_border(before->vellum, start, len);
}

/* These ioctls work inside one VMA only, so a border that only one side has matters. */
static bool fills_over_a_border(const struct op *op, const struct before *before)
{
	static const char *const names[] = { "uffd_copy", "uffd_zeropage", "uffd_continue", "uffd_poison",
					     "uffd_move" };

	for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (is(op, names[i]))
			return ends_differently(before, op->addr, op->len) ||
			       ends_differently(before, op->to, op->len);
	return false;
}

static bool looks_different(const struct before *before, uint64_t start, uint64_t len)
{
	for (unsigned i = 0; i < SEEN; i++) {
		uint64_t at = FIRST + i * PAGE;

		if (before->host->left[i] != before->vellum->left[i] && at + PAGE > start &&
		    at - start < page_up(len))
			return true;
	}
	return false;
}

static bool meets_a_neighbour(const struct op *op, const struct before *before)
{
	return (strncmp(kind_at(op->kind)->name, "uffd_", 5) == 0 || is(op, "scan")) &&
	       (looks_different(before, op->addr, op->len) ||
		(is(op, "uffd_move") && looks_different(before, op->to, op->len)));
}

static bool fills_a_guard(const struct op *op, const struct before *before)
{
	for (unsigned i = 0; is(op, "uffd_copy") && i < SEEN; i++) {
		uint64_t at = FIRST + i * PAGE;

		if ((before->host->left[i] & VELLUM_PM_GUARD) && at >= op->addr && at - op->addr < op->len)
			return true;
	}
	return false;
}

/* Would @from, if moved to [start, end), have a neighbour of its kind? */
static bool has_neighbour(const struct view *view, const struct sight *from, uint64_t start, uint64_t end)
{
	const struct sight *next[2] = { mapping_at(view, start - 1), mapping_at(view, end) };

	for (unsigned i = 0; i < 2; i++)
		if (next[i] && next[i]->object == from->object && next[i]->prot == from->prot &&
		    next[i]->shared == from->shared)
			return true;
	return false;
}

static bool merges_when_moved(const struct op *op, const struct before *before)
{
	const struct sight *from = is(op, "mremap") ? mapping_at(before->host, op->addr) : NULL;
	uint64_t len = page_up(op->new_len);

	return from && before->may_be_watched && (has_neighbour(before->host, from, op->to, op->to + len) ||
						  has_neighbour(before->host, from, op->val, op->val + len));
}

/* Each side decides when it reads ahead, writes and drops cached pages of files. */
static bool depends_on_the_cache(const struct op *op, const struct before *before)
{
	return (is(op, "mincore") || is(op, "msync") || (is(op, "madvise") && op->flags == VELLUM_MADV_PAGEOUT)) &&
	       reaches_the_file(before->host, op->addr, op->len);
}

/* The largest file on ext4 has about 2^32 pages. Vellum has no such limit for a mapping. */
static bool is_too_far_for_a_disk(const struct op *op, const struct before *before)
{
	for (unsigned i = 0; is(op, "madvise") && op->flags == VELLUM_MADV_REMOVE && i < before->host->nr; i++) {
		const struct sight *s = &before->host->vma[i];

		if (s->object == FILE_OBJECT + 1 && s->pgoff >> 32 && s->end > op->addr &&
		    s->start < op->addr + page_up(op->len))
			return true;
	}
	return false;
}

/* A page that is neither present nor absent is poison, as nothing is swapped out on either side. */
static bool protects_what_is_no_page(const struct op *op, const struct before *before)
{
	for (unsigned i = 0; is(op, "scan") && (op->flags & VELLUM_SCAN_WP_MATCHING) && i < SEEN; i++)
		if ((before->host->left[i] & ~VELLUM_PM_GUARD) == VELLUM_PM_SWAP)
			return true;
	return false;
}

static bool punches_a_part_of_the_first_page(const struct op *op, const struct before *before)
{
	(void)before;
	return is(op, "punch") && op->addr + op->len < PAGE;
}

static bool watches_a_private_file(const struct op *op, const struct before *before)
{
	for (unsigned i = 0; is(op, "uffd_register") && i < before->host->nr; i++) {
		const struct sight *s = &before->host->vma[i];

		if (s->object == FILE_OBJECT + 1 && !s->shared && s->end > op->addr &&
		    s->start < op->addr + page_up(op->len))
			return true;
	}
	return false;
}

static bool guards_an_object(const struct op *op, const struct before *before)
{
	if (!is(op, "madvise") || (op->flags != VELLUM_MADV_GUARD_INSTALL && op->flags != VELLUM_MADV_GUARD_REMOVE))
		return false;
	for (unsigned i = 0; i < before->host->nr; i++) {
		const struct sight *s = &before->host->vma[i];

		if (s->object && s->end > op->addr && s->start < op->addr + page_up(op->len))
			return true;
	}
	return false;
}

static bool populates_before_the_event(const struct op *op, const struct before *before)
{
	return is(op, "mremap") && page_up(op->new_len) > page_up(op->len) && before->may_be_locked &&
	       before->may_be_watched;
}

static bool ends_at(const struct view *view, uint64_t addr)
{
	for (unsigned i = 0; i < view->nr; i++)
		if (view->vma[i].end == addr)
			return true;
	return false;
}

/* Has @a a border inside the range that @b does not have? */
static bool has_other_borders(const struct view *a, const struct view *b, uint64_t start, uint64_t len)
{
	for (unsigned i = 0; i < a->nr; i++)
		if (a->vma[i].end > start && a->vma[i].end - start < page_up(len) && !ends_at(b, a->vma[i].end))
			return true;
	return false;
}

static bool cut_differently(const struct before *before, uint64_t start, uint64_t len)
{
	return has_other_borders(before->host, before->vellum, start, len) ||
	       has_other_borders(before->vellum, before->host, start, len);
}

/* There is an event for each VMA, so the borders must be the same. */
static bool tells_by_mappings(const struct op *op, const struct before *before)
{
	return is(op, "madvise") && before->may_be_watched && cut_differently(before, op->addr, op->len);
}

/* A page that cannot be faulted in ends the call for the rest of its VMA, so the borders must be the same. */
static bool brings_in_by_mappings(const struct op *op, const struct before *before)
{
	for (unsigned i = 0; is(op, "mlockall") && i < SEEN; i++)
		if (before->host->left[i] & VELLUM_PM_GUARD)
			return cut_differently(before, 0, 1ull << 47);
	return false;
}

static struct intended {
	const char *name, *reason;
	bool (*match)(const struct op *op, const struct before *before);
	unsigned long met;
} table[] = {
	{ "madvise, msync beyond the window",
	  "No difference: it would change what the host's process lives on.",
	  reaches_the_agent, 0 },
	{ "mlock, mlockall beyond RLIMIT_MEMLOCK",
	  "No difference: what the host's process lives on counts too, and what is asked for counts first.",
	  counts_the_agent, 0 },
	{ "mmap HUGETLB and NORESERVE",
	  "docs/differences.md: no hugetlbfs, ENOMEM. Linux maps it, and with an empty pool each access is SIGBUS.",
	  reserves_no_huge_page, 0 },
	{ "mmap HUGETLB and FIXED, aligned",
	  "mm.h: a call that fails has changed nothing. Linux has unmapped 2 MiB before it finds no huge page.",
	  unmaps_for_huge_pages, 0 },
	{ "mmap SYNC and FIXED of a file on a disk without DAX",
	  "mm.h: a call that fails has changed nothing. Linux has unmapped the range before the file system refuses.",
	  unmaps_for_sync, 0 },
	{ "mmap HUGETLB of 1 GiB",
	  "No difference: Linux has EINVAL where the CPU cannot map 1 GiB, else ENOMEM, as the library.",
	  has_gigantic_pages, 0 },
	{ "mmap of an address below 64 KiB",
	  "No difference: Linux has EPERM, as the library, unless the process has CAP_SYS_RAWIO.",
	  is_privileged, 0 },
	{ "F_SEAL_EXEC",
	  "mm.h: EINVAL. It keeps the file's mode, and an object of the library has no mode.",
	  seals_execution, 0 },
	{ "userfaultfd: the features for hugetlbfs",
	  "docs/differences.md: there is no hugetlbfs, so they are not offered; EINVAL as for each unknown feature.",
	  wants_hugetlb, 0 },
	{ "a sealed object with a part of a page at its end is made longer",
	  "ftruncate(2): what is added reads as zeros. tmpfs shows what was stored there through a mapping; "
	  "ops_object.c removes that first, which a sealed object does not let it.",
	  keeps_what_is_behind_the_end, 0 },
	{ "mremap DONTUNMAP of a part of what is locked",
	  "mremap(2) moves the lock with the pages; Linux unlocks the whole mapping that they were a part of.",
	  unlocks_too_much, 0 },
	{ "mremap of several mappings",
	  "mremap(2): EFAULT where the old range crosses the end of a mapping. Linux moves them all since 6.17, with "
	  "FIXED and equal lengths.",
	  moves_several, 0 },
	{ "mremap over a border that one side has merged",
	  "ARCHITECTURE.md, Data structures: one anon_vma for a family of forks, so other neighbours can merge; and "
	  "mm.h: MERGEABLE to NOHUGEPAGE change nothing that is kept with a mapping. mremap shows it as EFAULT.",
	  borders_differ, 0 },
	{ "userfaultfd: filling over a border that one side has merged",
	  "As for mremap; it shows as ENOENT.",
	  fills_over_a_border, 0 },
	{ "userfaultfd, PAGEMAP_SCAN of pages that one side alone has entries for",
	  "Neighbours that a fault brought along, and what fork copied: see below. To them it shows.",
	  meets_a_neighbour, 0 },
	{ "mremap that makes locked and watched memory longer",
	  "The event comes first: a fault at an address that the reader has not heard of has no answer. Linux "
	  "brings the pages in first; COPY is EAGAIN until the event is read, and page faults are read before events.",
	  populates_before_the_event, 0 },
	{ "mremap of watched memory to where it has a neighbour",
	  "Without EVENT_REMAP what has moved is registered no more. Linux lets it merge first: then its neighbour is "
	  "not either, and is protected no more.",
	  merges_when_moved, 0 },
	{ "UFFDIO_COPY to a guard",
	  "uffd.h: EEXIST. A guard is somebody's wish that nothing be there; Linux puts the page in its place.",
	  fills_a_guard, 0 },
	{ "mincore, msync, PAGEOUT of a file on a disk",
	  "When its pages are read ahead, written and dropped is up to each side; a write cuts off what is behind its end.",
	  depends_on_the_cache, 0 },
	{ "MADV_REMOVE of a file on a disk, further than its file system reaches",
	  "madvise(2) has what fallocate(2) fails with, and EFBIG is the file system's.",
	  is_too_far_for_a_disk, 0 },
	{ "PAGEMAP_SCAN that protects guards or poison",
	  "They cannot be stored to, so the library has nothing to protect. Linux sets a bit in the marker, and where "
	  "the object is truncated that is what stays of it.",
	  protects_what_is_no_page, 0 },
	{ "a hole in the first page of an object",
	  "Linux takes the entries of all pages behind it away; they come back by faults, which a userfaultfd sees.",
	  punches_a_part_of_the_first_page, 0 },
	{ "madvise of watched memory over a border that one side has merged",
	  "As for mremap; it shows in events, of which each mapping gets its own.",
	  tells_by_mappings, 0 },
	{ "mlockall with a guard in a mapping that one side has merged",
	  "As for mremap; what is behind the guard in its mapping does not come in, the next mapping does.",
	  brings_in_by_mappings, 0 },
	{ "userfaultfd registered with a private mapping of a file on a disk",
	  "No difference: on Linux 6.18 a load of a page with a marker, may "
	  "fault without end (seed 1800).",
	  watches_a_private_file, 0 },
	{ "madvise GUARD_INSTALL, GUARD_REMOVE of an object",
	  "mm.h, vellum_madvise: EINVAL. Linux takes mappings of files since 6.15.",
	  guards_an_object, 0 },
};

#define NR_INTENDED (sizeof(table) / sizeof(table[0]))

const char *not_compared(const struct op *op, const struct before *before)
{
	for (unsigned i = 0; i < NR_INTENDED; i++)
		if (table[i].match(op, before)) {
			table[i].met++;
			return table[i].name;
		}
	return NULL;
}

void print_not_run(void)
{
	for (unsigned i = 0; i < NR_INTENDED; i++)
		print_difference("not run", table[i].met, table[i].name, table[i].reason);
}
