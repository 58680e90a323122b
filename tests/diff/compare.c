/* SPDX-License-Identifier: MIT */
/* tests/diff/compare.c - what must be the same on both sides, and the table of what need not be. */
#include <stdio.h>

#include "tests/diff/diff.h"

/* --- intended differences: what is not run on either side, and why --- */

static uint64_t page_up(uint64_t n)
{
	return (n + PAGE - 1) & ~(PAGE - 1);
}

/* Does a mapping end inside the range? */
static bool crosses_border(const struct view *view, uint64_t start, uint64_t len)
{
	for (unsigned i = 0; i < view->nr; i++)
		if (view->vma[i].end > start && view->vma[i].end - start < page_up(len))
			return true;
	return false;
}

static bool is(const struct op *op, const char *name)
{
	return strcmp(kind_at(op->kind)->name, name) == 0;
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

/* A hole does not end them: they would go on to the agent's own memory. */
static bool reaches_the_agent(const struct op *op, const struct before *before)
{
	uint64_t end = op->addr + page_up(op->len);

	(void)before;
	return (is(op, "madvise") || is(op, "msync")) && end > HIGH && page_up(op->len) && end >= op->addr;
}

/* Without the right to lock as much as it likes. */
static bool counts_the_agent(const struct op *op, const struct before *before)
{
	(void)before;
	return (is(op, "mlockall") || (is(op, "mlock") && op->len > HIGH - LOW)) && !agents_may_lock_all();
}

static bool wraps_to_no_length(const struct op *op, const struct before *before)
{
	(void)before;
	return is(op, "mremap") && op->len && !page_up(op->len);
}

static bool wraps_around(const struct op *op, const struct before *before)
{
	(void)before;
	return (is(op, "mlock") || is(op, "munlock")) && op->len + (op->addr & (PAGE - 1)) < op->len;
}

static bool keeps_what_is_behind_the_end(const struct op *op, const struct before *before)
{
	uint64_t old = before->host->object[op->object].size;

	return is(op, "truncate") && op->len > old && (old & (PAGE - 1)) &&
	       (before->host->object[op->object].seals & (VELLUM_SEAL_WRITE | VELLUM_SEAL_FUTURE_WRITE));
}

static bool unmaps_the_target(const struct op *op, const struct before *before)
{
	(void)before;
	return is(op, "mremap") && op->len >> 47 && (op->flags & VELLUM_MREMAP_FIXED);
}

/* Not the whole of one mapping, on Linux's side. */
static bool unlocks_too_much(const struct op *op, const struct before *before)
{
	if (!is(op, "mremap") || !(op->flags & VELLUM_MREMAP_DONTUNMAP) || !before->may_be_locked)
		return false;
	for (unsigned i = 0; i < before->host->nr; i++)
		if (before->host->vma[i].start == op->addr && before->host->vma[i].end == op->addr + page_up(op->len))
			return false;
	return true;
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
	{ "mremap: a length that wraps to nothing",
	  "mremap(2) has old_size 0 for a second mapping; Linux takes one that is rounded to 0 for that too.",
	  wraps_to_no_length, 0 },
	{ "mlock, munlock: a length that wraps around",
	  "mlock(2): EINVAL. Linux adds the address's offset in its page first, and locks one page.",
	  wraps_around, 0 },
	{ "a sealed object with a part of a page at its end is made longer",
	  "ftruncate(2): what is added reads as zeros. tmpfs shows what was stored there through a mapping; "
	  "ops_object.c removes that first, which a sealed object does not let it.",
	  keeps_what_is_behind_the_end, 0 },
	{ "mremap FIXED of a length beyond the address space",
	  "mm.h: a call that fails has changed nothing. Linux unmaps the target before it finds out.",
	  unmaps_the_target, 0 },
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
};

/* By what is seen. */
static struct {
	const char *name, *reason;
	unsigned long met;
} untouched = {
	"mincore and pagemap of a child's pages that nobody stored to",
	"ARCHITECTURE.md, Data structures: a child has the zero page's entries of a mapping that has an anon_vma, "
	"and which has one is another thing where there is one for a family.",
	0
}, neighbours = {
	"pagemap of pages of an object that nobody accessed in the process",
	"Which neighbours a fault brings along is up to who does it (mm.h, RANDOM), and whether a child has the "
	"entries of its parent for what a fault would bring back: in Linux if the mapping has an anon_vma.",
	0
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

/* --- results --- */

static bool other_error_first(const struct op *op, const struct result *h, const struct result *v)
{
	if (!is(op, "mmap") || h->ret >= 0 || v->ret >= 0)
		return false;
	return h->ret == -VELLUM_EEXIST || h->ret == -VELLUM_EBADF ||
	       (v->ret == -VELLUM_EINVAL && ((op->flags & VELLUM_MAP_GROWSDOWN) || !(op->flags & 3)));
}

static bool wraps_to_nothing(const struct op *op, const struct result *h, const struct result *v)
{
	return (is(op, "mlock") || is(op, "munlock") || is(op, "msync")) && op->len && h->ret == 0 &&
	       !page_up(op->len + (op->addr & (PAGE - 1))) && v->ret < 0;
}

static bool too_long(const struct op *op, const struct result *h, const struct result *v)
{
	return is(op, "mremap") && op->len >> 47 && h->ret < 0 && v->ret == -VELLUM_EINVAL;
}

static bool no_length_may_not_move(const struct op *op, const struct result *h, const struct result *v)
{
	return is(op, "mremap") && !page_up(op->len) && !(op->flags & VELLUM_MREMAP_MAYMOVE) && h->ret < 0 &&
	       v->ret == -VELLUM_EINVAL;
}

static bool is_mincore_of_child(const struct op *op, const struct result *h, const struct result *v)
{
	return op->proc && is(op, "mincore") && h->ret == v->ret;
}

/* Both are as before: what is seen is compared all the same. */
static struct {
	const char *name, *reason;
	bool (*match)(const struct op *op, const struct result *h, const struct result *v);
	unsigned long met;
} other_results[] = {
	{ "mmap: one of several errors",
	  "mmap(2) does not say which error comes first; the library looks at the arguments before the place and the object.",
	  other_error_first, 0 },
	{ "mlock, munlock, msync: a length that wraps to nothing",
	  "mlock(2): EINVAL where the sum of address and length is less than the address; msync(2): ENOMEM. Linux "
	  "sees a length of 0.",
	  wraps_to_nothing, 0 },
	{ "mremap: an old length beyond the address space",
	  "mremap(2) does not say which error comes first: EINVAL, or EFAULT as nothing is mapped there.",
	  too_long, 0 },
	{ "mremap: no old length and not MAYMOVE",
	  "mm.h, vellum_mremap: EINVAL. Linux takes it as a mapping that cannot grow, ENOMEM, or EFAULT.",
	  no_length_may_not_move, 0 },
	{ "mincore in a child",
	  "As for pages that nobody stored to.",
	  is_mincore_of_child, 0 },
};

#define NR_OTHER (sizeof(other_results) / sizeof(other_results[0]))

bool same_result(const struct op *op, const struct result *h, const struct result *v, char *why, size_t size)
{
	const struct kind *kind = kind_at(op->kind);

	if (kind->same ? kind->same(op, h, v) : memcmp(h, v, sizeof(*h)) == 0)
		return true;
	for (unsigned i = 0; i < NR_OTHER; i++)
		if (other_results[i].match(op, h, v)) {
			other_results[i].met++;
			return true;
		}
	snprintf(why, size, "result: host ret %lld addr %#llx signal %d/%d val %#llx, vellum ret %lld addr %#llx "
			    "signal %d/%d val %#llx%s",
		 (long long)h->ret, (unsigned long long)h->addr, h->sig, h->code, (unsigned long long)h->val,
		 (long long)v->ret, (unsigned long long)v->addr, v->sig, v->code, (unsigned long long)v->val,
		 memcmp(h->vec, v->vec, sizeof(h->vec)) ? ", vectors differ" : "");
	return false;
}

/* --- views --- */

static bool continues(const struct sight *a, const struct sight *b)
{
	return a->end == b->start && a->prot == b->prot && a->shared == b->shared && a->object == b->object &&
	       (!a->object || a->pgoff + (a->end - a->start) / PAGE == b->pgoff);
}

/* Borders that only some hidden property makes: which of them merge is not compared. */
static unsigned join(const struct view *view, struct sight *out)
{
	unsigned nr = 0;

	for (unsigned i = 0; i < view->nr; i++) {
		if (nr && continues(&out[nr - 1], &view->vma[i]))
			out[nr - 1].end = view->vma[i].end;
		else
			out[nr++] = view->vma[i];
	}
	return nr;
}

static int text_of(char *buf, size_t size, const char *who, const struct sight *s)
{
	if (!s)
		return snprintf(buf, size, "%s: nothing", who);
	return snprintf(buf, size, "%s: [%#llx, %#llx) prot %u %s object %llu page %llu", who,
			(unsigned long long)s->start, (unsigned long long)s->end, s->prot,
			s->shared ? "shared" : "private", (unsigned long long)s->object,
			(unsigned long long)s->pgoff);
}

static bool same_layout(const struct view *h, const struct view *v, char *why, size_t size)
{
	struct sight hs[MAX_VMAS], vs[MAX_VMAS];
	unsigned nh = join(h, hs), nv = join(v, vs);

	for (unsigned i = 0; i < nh || i < nv; i++) {
		int n;

		if (i < nh && i < nv && memcmp(&hs[i], &vs[i], sizeof(hs[i])) == 0)
			continue;
		n = snprintf(why, size, "mapping %u: ", i);
		n += text_of(why + n, size - (size_t)n, "host", i < nh ? &hs[i] : NULL);
		text_of(why + n, size - (size_t)n, ", vellum", i < nv ? &vs[i] : NULL);
		return false;
	}
	return true;
}

static const struct sight *mapping_at(const struct view *view, uint64_t addr)
{
	for (unsigned i = 0; i < view->nr; i++)
		if (view->vma[i].start <= addr && addr < view->vma[i].end)
			return &view->vma[i];
	return NULL;
}

static bool is_private_anonymous(const struct view *view, uint64_t addr)
{
	const struct sight *s = mapping_at(view, addr);

	return s && !s->object && !s->shared;
}

/* Such a page reads the same on both sides. */
static bool nobody_stored_to(const struct view *h, unsigned i)
{
	if (!h->child || !is_private_anonymous(h, FIRST + i * PAGE))
		return false;
	untouched.met++;
	return true;
}

/* Present on one side alone, and nothing else: brought in by a fault elsewhere, or copied by fork. */
static bool may_be_there(const struct view *h, const struct view *v, unsigned i)
{
	uint64_t either = h->word[i] | v->word[i];
	const struct sight *s = mapping_at(h, FIRST + i * PAGE);

	if ((h->word[i] && v->word[i]) || !s)
		return false;
	if (either == (VELLUM_PM_PRESENT | VELLUM_PM_FILE) && s->object) {
		neighbours.met++;
		return true;
	}
	return either == VELLUM_PM_PRESENT && nobody_stored_to(h, i);
}

static bool same_pages(const struct view *h, const struct view *v, char *why, size_t size)
{
	for (unsigned i = 0; i < SEEN; i++) {
		unsigned long long addr = FIRST + i * PAGE;

		if (h->core[i] != v->core[i] && !nobody_stored_to(h, i)) {
			snprintf(why, size, "mincore of %#llx: host %u, vellum %u", addr, h->core[i], v->core[i]);
			return false;
		}
		if (h->word[i] != v->word[i] && !may_be_there(h, v, i)) {
			snprintf(why, size, "pagemap of %#llx: host %#llx, vellum %#llx", addr,
				 (unsigned long long)h->word[i], (unsigned long long)v->word[i]);
			return false;
		}
		if (h->looked && memcmp(&h->look[i], &v->look[i], sizeof(h->look[i]))) {
			snprintf(why, size, "load at %#llx: host signal %d/%d bytes %#llx, vellum signal %d/%d bytes %#llx",
				 addr, h->look[i].sig, h->look[i].code, (unsigned long long)h->look[i].hash,
				 v->look[i].sig, v->look[i].code, (unsigned long long)v->look[i].hash);
			return false;
		}
	}
	return true;
}

static bool same_objects(const struct view *h, const struct view *v, char *why, size_t size)
{
	for (unsigned i = 0; i < NR_OBJECTS; i++) {
		if (memcmp(&h->object[i], &v->object[i], sizeof(h->object[i])) == 0)
			continue;
		snprintf(why, size, "object %u: host size %llu seals %#llx, vellum size %llu seals %#llx", i,
			 (unsigned long long)h->object[i].size, (unsigned long long)h->object[i].seals,
			 (unsigned long long)v->object[i].size, (unsigned long long)v->object[i].seals);
		return false;
	}
	return true;
}

/* Only counted. */
static struct {
	unsigned long both, host[2], vellum[2];		/* private, shared */
} borders;

static bool ends_at(const struct view *view, uint64_t addr)
{
	for (unsigned i = 0; i < view->nr; i++)
		if (view->vma[i].end == addr)
			return true;
	return false;
}

static void count_borders(const struct view *h, const struct view *v)
{
	for (unsigned i = 0; i + 1 < h->nr; i++)
		if (continues(&h->vma[i], &h->vma[i + 1])) {
			if (ends_at(v, h->vma[i].end))
				borders.both++;
			else
				borders.host[h->vma[i].shared]++;
		}
	for (unsigned i = 0; i + 1 < v->nr; i++)
		if (continues(&v->vma[i], &v->vma[i + 1]) && !ends_at(h, v->vma[i].end))
			borders.vellum[v->vma[i].shared]++;
}

bool same_view(const struct view *h, const struct view *v, char *why, size_t size)
{
	count_borders(h, v);
	return same_layout(h, v, why, size) && same_pages(h, v, why, size) && same_objects(h, v, why, size);
}

static void print_one(const char *what, unsigned long met, const char *name, const char *reason)
{
	printf("# %s, %lu times: %s\n#\t%s\n", what, met, name, reason);
}

void print_intended(void)
{
	for (unsigned i = 0; i < NR_INTENDED; i++)
		print_one("not run", table[i].met, table[i].name, table[i].reason);
	for (unsigned i = 0; i < NR_OTHER; i++)
		print_one("another result", other_results[i].met, other_results[i].name, other_results[i].reason);
	print_one("seen differently", untouched.met, untouched.name, untouched.reason);
	print_one("seen differently", neighbours.met, neighbours.name, neighbours.reason);
	printf("# neighbours alike but apart: %lu on both sides; only host %lu private, %lu shared; only vellum %lu, %lu\n",
	       borders.both, borders.host[0], borders.host[1], borders.vellum[0], borders.vellum[1]);
}
