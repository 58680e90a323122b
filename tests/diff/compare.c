/* SPDX-License-Identifier: MIT */
/* tests/diff/compare.c - compares results and views, except where differences are allowed. */
#include <stdio.h>

#include "tests/diff/diff.h"

/* Allowed differences of views. */
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
}, left_over = {
	"pagemap of a page that was protected, and whose mapping is not registered for that any more",
	"docs/differences.md: W takes the bit away; in Linux it stays, and protects nothing.",
	0
};

/* --- results --- */

static bool is_mincore_of_child(const struct op *op, const struct result *h, const struct result *v)
{
	return op->proc && is(op, "mincore") && h->ret == v->ret;
}

/* Allowed differences of results. Neither side changed anything: the views are compared as usual. */
static struct {
	const char *name, *reason;
	bool (*match)(const struct op *op, const struct result *h, const struct result *v);
	unsigned long met;
} other_results[] = {
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
	for (unsigned i = 0; i < SEEN; i++)
		if (h->vec[i] != v->vec[i]) {
			snprintf(why, size, "result: host ret %lld, vellum ret %lld; of page %#llx: host %#x, vellum %#x",
				 (long long)h->ret, (long long)v->ret, (unsigned long long)(FIRST + i * PAGE), h->vec[i],
				 v->vec[i]);
			return false;
		}
	snprintf(why, size, "result: host ret %lld addr %#llx signal %d/%d val %#llx, vellum ret %lld addr %#llx "
			    "signal %d/%d val %#llx",
		 (long long)h->ret, (unsigned long long)h->addr, h->sig, h->code, (unsigned long long)h->val,
		 (long long)v->ret, (unsigned long long)v->addr, v->sig, v->code, (unsigned long long)v->val);
	return false;
}

/* --- views --- */

static bool continues(const struct sight *a, const struct sight *b)
{
	return a->end == b->start && a->prot == b->prot && a->shared == b->shared && a->object == b->object &&
	       (!a->object || a->pgoff + (a->end - a->start) / PAGE == b->pgoff);
}

/* Join VMAs that differ only in hidden properties: whether those are merged is not compared. */
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

static bool is_private_anonymous(const struct view *view, uint64_t addr)
{
	const struct sight *s = mapping_at(view, addr);

	return s && !s->object && !s->shared;
}

/* Is this a page of a child to which it has not stored? Loads from it are the same on both sides. */
static bool nobody_stored_to(const struct view *h, unsigned i)
{
	if (!h->child || !is_private_anonymous(h, FIRST + i * PAGE))
		return false;
	untouched.met++;
	return true;
}

/*
 * May the page be present on one side and absent on the other? A fault elsewhere may have mapped it, or a fork may have
 * copied the entry.
 */
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

static bool is_left_over(const struct view *h, const struct view *v, unsigned i)
{
	if (v->uffd_wp[i] || h->word[i] != (v->word[i] | VELLUM_PM_UFFD_WP) || !(v->word[i] & VELLUM_PM_PRESENT))
		return false;
	left_over.met++;
	return true;
}

static bool same_pages(const struct view *h, const struct view *v, char *why, size_t size)
{
	for (unsigned i = 0; i < SEEN; i++) {
		unsigned long long addr = FIRST + i * PAGE;

		if (h->core[i] != v->core[i] && !nobody_stored_to(h, i) && !reaches_the_file(h, addr, PAGE)) {
			snprintf(why, size, "mincore of %#llx: host %u, vellum %u", addr, h->core[i], v->core[i]);
			return false;
		}
		if (h->word[i] != v->word[i] && !may_be_there(h, v, i) && !is_left_over(h, v, i)) {
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

/* Counted, not compared. */
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

static void text_of_note(char *buf, size_t size, const struct view *view, unsigned i)
{
	const struct note *n = &view->note[i];

	if (i >= view->nr_notes)
		snprintf(buf, size, "none");
	else
		snprintf(buf, size, "context %u event %#x %#llx %#llx %#llx call %u ret %lld val %lld", n->context,
			 n->event, (unsigned long long)n->word[0], (unsigned long long)n->word[1],
			 (unsigned long long)n->word[2], n->call, (long long)n->ret, (long long)n->val);
}

static bool same_notes(const struct view *h, const struct view *v, char *why, size_t size)
{
	char host[160], vellum[160];
	unsigned i = 0;

	if (h->nr_notes == v->nr_notes && h->notes_hash == v->notes_hash)
		return true;
	while (i < MAX_NOTES - 1 && memcmp(&h->note[i], &v->note[i], sizeof(h->note[i])) == 0)
		i++;
	text_of_note(host, sizeof(host), h, i);
	text_of_note(vellum, sizeof(vellum), v, i);
	snprintf(why, size, "message %u: host %s, vellum %s", i, host, vellum);
	return false;
}

bool same_view(const struct view *h, const struct view *v, char *why, size_t size)
{
	count_borders(h, v);
	return same_notes(h, v, why, size) && same_layout(h, v, why, size) && same_pages(h, v, why, size) &&
	       same_objects(h, v, why, size);
}

void print_difference(const char *what, unsigned long met, const char *name, const char *reason)
{
	printf("# %s, %lu times: %s\n#\t%s\n", what, met, name, reason);
}

void print_intended(void)
{
	print_not_run();
	for (unsigned i = 0; i < NR_OTHER; i++)
		print_difference("another result", other_results[i].met, other_results[i].name, other_results[i].reason);
	print_difference("seen differently", untouched.met, untouched.name, untouched.reason);
	print_difference("seen differently", neighbours.met, neighbours.name, neighbours.reason);
	print_difference("seen differently", left_over.met, left_over.name, left_over.reason);
	printf("# neighbours alike but apart: %lu on both sides; only host %lu private, %lu shared; only vellum %lu, %lu\n",
	       borders.both, borders.host[0], borders.host[1], borders.vellum[0], borders.vellum[1]);
}
