/* SPDX-License-Identifier: MIT */
/*
 * machine/soft_hostile.c - the worst that CPUs may do: keep translations and tables until a flush names them, and
 * keep stored data in a cache for long before it is written back.
 *
 * INV-HOSTILE-1: a frame has at most one line: of the CPU that stored to it last, and of the virtual page that the
 *                store used.
 */
#include "machine/soft_hostile.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "arch/x86/pgtable.h"
#include "lib/errnum.h"

#define KEPT 4096		/* most translations that a CPU caches */
#define KEPT_TABLES 64
#define MAX_LINES 64
#define MAX_NAMED 64
#define WORDS (PAGE_SIZE / 8)
#define NO_REGION (~0ull)

struct kept_table {
	uint64_t region;	/* address >> PMD_SHIFT, or NO_REGION */
	uint64_t *table;
};

struct hostile_cpu {
	unsigned nr, next;	/* translations; which to replace when all slots are in use */
	unsigned next_table;
	struct vellum_soft_tlbe kept[KEPT];
	struct kept_table table[KEPT_TABLES];
};

/* Stores of a CPU to a page that are not yet in memory. Word by word: other CPUs may change the rest of the page. */
struct line {
	struct line *next;	/* older */
	const struct vellum_soft_cpu *cpu;
	const struct vellum_mm *mm;
	uint64_t addr;		/* virtual, of the page */
	uint64_t *memory;
	uint64_t dirty[WORDS / 64];
	_Alignas(16) uint64_t word[WORDS];	/* for 16-byte accesses */
};

struct range {
	const struct vellum_mm *mm;
	uint64_t start, end;
};

struct hostile {
	uint32_t flags;
	struct hostile_cpu *cpus;
	pthread_mutex_t lock;
	/* lock protects: */
	struct line *lines;
	struct range named[MAX_NAMED];	/* all ranges that hostile_flush_cache() was called for */
	unsigned nr_named;
};

bool hostile_is(const struct hostile *h, uint32_t flags)
{
	return h && (h->flags & flags);
}

/* --- translations --- */

struct vellum_soft_tlbe *hostile_find(struct hostile *h, unsigned cpu, uint64_t page)
{
	struct hostile_cpu *hc = &h->cpus[cpu];

	for (unsigned i = 0; i < hc->nr; i++)
		if (hc->kept[i].load == page)
			return &hc->kept[i];
	return NULL;
}

struct vellum_soft_tlbe *hostile_fill(struct hostile *h, unsigned cpu, const struct vellum_soft_tlbe *e)
{
	struct hostile_cpu *hc = &h->cpus[cpu];
	struct vellum_soft_tlbe *slot = hostile_find(h, cpu, e->load);

	if (!slot)
		slot = &hc->kept[hc->nr < KEPT ? hc->nr++ : hc->next++ % KEPT];
	*slot = *e;
	return slot;
}

uint64_t *hostile_table(struct hostile *h, unsigned cpu, uint64_t addr)
{
	for (unsigned i = 0; i < KEPT_TABLES; i++)
		if (h->cpus[cpu].table[i].region == addr >> PMD_SHIFT)
			return h->cpus[cpu].table[i].table;
	return NULL;
}

void hostile_keep_table(struct hostile *h, unsigned cpu, uint64_t addr, uint64_t *table)
{
	struct hostile_cpu *hc = &h->cpus[cpu];

	hc->table[hc->next_table++ % KEPT_TABLES] = (struct kept_table){ addr >> PMD_SHIFT, table };
}

static bool names(const struct vellum_flush_batch *batch, uint64_t start, uint64_t end)
{
	for (unsigned i = 0; i < batch->nr_ranges; i++)
		if (start < batch->range[i].end && batch->range[i].start < end)
			return true;
	return false;
}

void hostile_drop(struct hostile *h, unsigned cpu, const struct vellum_flush_batch *batch)
{
	struct hostile_cpu *hc = &h->cpus[cpu];

	for (unsigned i = 0; i < KEPT_TABLES; i++) {
		uint64_t start = hc->table[i].region << PMD_SHIFT;

		if (!batch || (batch->kinds & VELLUM_FLUSH_TABLES) || names(batch, start, start + PMD_SIZE))
			hc->table[i].region = NO_REGION;
	}
	for (unsigned i = hc->nr; i--;) {
		uint64_t start = hc->kept[i].load;

		if (!batch || names(batch, start, start + PAGE_SIZE))
			hc->kept[i] = hc->kept[--hc->nr];
	}
}

void hostile_fault(struct hostile *h, unsigned cpu, uint64_t addr)
{
	struct vellum_flush_batch page = { .size = sizeof(page), .nr_ranges = 1 };

	page.range[0].start = addr & PAGE_MASK;
	page.range[0].end = page.range[0].start + PAGE_SIZE;
	hostile_drop(h, cpu, &page);
}

/* --- data --- */

/* Atomic: host threads read and write the page meanwhile, and so do CPUs without a line. */
static uint64_t peek(const uint64_t *word)
{
	return __atomic_load_n(word, __ATOMIC_RELAXED);
}

/* Write a line's words to memory, and free the line. */
static void retire(struct line **link)
{
	struct line *line = *link;

	for (unsigned i = 0; i < WORDS; i++)
		if (line->dirty[i / 64] >> i % 64 & 1)
			__atomic_store_n(&line->memory[i], line->word[i], __ATOMIC_RELAXED);
	*link = line->next;
	free(line);
}

/* Copy the words from memory that the CPU has not stored to: they may have changed there. */
static void refresh(struct line *line)
{
	for (unsigned i = 0; i < WORDS; i++)
		if (!(line->dirty[i / 64] >> i % 64 & 1))
			line->word[i] = peek(&line->memory[i]);
}

static void note_stores(struct line *line)
{
	for (unsigned i = 0; i < WORDS; i++)
		if (line->word[i] != peek(&line->memory[i]))
			line->dirty[i / 64] |= 1ull << i % 64;
}

/* The frame's line, if it is of this CPU and address. A line of another CPU or address is written back. NULL: none. */
static struct line *line_for(struct hostile *h, const struct vellum_soft_cpu *cpu, uint64_t addr,
			     const char *host)
{
	struct line **link = &h->lines;

	while (*link && (const char *)(*link)->memory != host)
		link = &(*link)->next;
	if (*link && ((*link)->cpu != cpu || (*link)->addr != addr))
		retire(link);
	else if (*link)
		return *link;
	return NULL;
}

/* NULL: out of memory; the caller then stores to memory. */
static struct line *line_new(struct hostile *h, const struct vellum_soft_cpu *cpu, uint64_t addr, char *host)
{
	struct line *line = calloc(1, sizeof(*line)), **link = &h->lines;

	if (!line)
		return NULL;
	*line = (struct line){ .next = h->lines, .cpu = cpu, .mm = cpu->mm, .addr = addr,
			       .memory = (uint64_t *)(void *)host };
	h->lines = line;
	for (unsigned i = 0; *link && i < MAX_LINES; i++)
		link = &(*link)->next;
	if (*link)
		retire(link);
	return line;
}

void hostile_access(struct hostile *h, const struct vellum_soft_cpu *cpu, uint64_t addr, char *host,
		    bool write, vellum_soft_fn fn, void *arg)
{
	const uint64_t offset = addr & ~PAGE_MASK;
	struct line *line;

	pthread_mutex_lock(&h->lock);
	line = line_for(h, cpu, addr - offset, host);
	if (!line && write)
		line = line_new(h, cpu, addr - offset, host);
	if (line) {
		refresh(line);
		fn((char *)line->word + offset, arg);
		note_stores(line);
	} else {
		fn(host + offset, arg);
	}
	pthread_mutex_unlock(&h->lock);
}

static bool was_named(const struct hostile *h, const struct line *line)
{
	for (unsigned i = 0; i < h->nr_named; i++)
		if (h->named[i].mm == line->mm && line->addr >= h->named[i].start &&
		    line->addr < h->named[i].end)
			return true;
	return h->nr_named == MAX_NAMED;
}

static void note_named(struct hostile *h, const struct vellum_mm *mm, uint64_t start, uint64_t end)
{
	for (unsigned i = 0; i < h->nr_named; i++)
		if (h->named[i].mm == mm && h->named[i].start <= start && end <= h->named[i].end)
			return;
	if (h->nr_named < MAX_NAMED)
		h->named[h->nr_named++] = (struct range){ mm, start, end };
}

void hostile_flush_cache(struct hostile *h, const struct vellum_mm *mm, uint64_t start, uint64_t end)
{
	struct line **link = &h->lines;

	pthread_mutex_lock(&h->lock);
	note_named(h, mm, start, end);
	while (*link)
		if ((*link)->mm == mm && (*link)->addr >= start && (*link)->addr < end)
			retire(link);
		else
			link = &(*link)->next;
	pthread_mutex_unlock(&h->lock);
}

/*
 * Stores between the flush of the cache and the flush of the translations must be in memory when the latter returns.
 * These stores cannot be identified, as there may be flushes for other reasons in between. So every flush writes back
 * a page that hostile_flush_cache() named once. A flush after an entry was removed writes back too: the frame may be
 * freed and allocated for another use.
 */
static bool must_retire(const struct hostile *h, const struct line *line,
			const struct vellum_flush_batch *batch)
{
	if (!batch)
		return true;
	if (!names(batch, line->addr, line->addr + PAGE_SIZE))
		return false;
	return (batch->kinds & ~(uint32_t)(VELLUM_FLUSH_RIGHTS | VELLUM_FLUSH_ACCESSED)) || was_named(h, line);
}

void hostile_flushed(struct hostile *h, const struct vellum_mm *mm, const struct vellum_flush_batch *batch)
{
	struct line **link = &h->lines;

	pthread_mutex_lock(&h->lock);
	while (*link)
		if ((*link)->mm == mm && must_retire(h, *link, batch))
			retire(link);
		else
			link = &(*link)->next;
	pthread_mutex_unlock(&h->lock);
}

void hostile_write_back(struct hostile *h, const struct vellum_soft_cpu *cpu)
{
	struct line **link = &h->lines;

	pthread_mutex_lock(&h->lock);
	while (*link)
		if (!cpu || (*link)->cpu == cpu)
			retire(link);
		else
			link = &(*link)->next;
	pthread_mutex_unlock(&h->lock);
}

/* --- life --- */

int hostile_create(unsigned nr_cpus, uint32_t flags, struct hostile **out)
{
	struct hostile *h = calloc(1, sizeof(*h));

	if (!h)
		return -ENOMEM;
	h->flags = flags;
	h->cpus = calloc(nr_cpus, sizeof(*h->cpus));
	if (!h->cpus) {
		free(h);
		return -ENOMEM;
	}
	pthread_mutex_init(&h->lock, NULL);
	for (unsigned i = 0; i < nr_cpus; i++)
		hostile_drop(h, i, NULL);
	*out = h;
	return 0;
}

void hostile_destroy(struct hostile *h)
{
	if (!h)
		return;
	hostile_write_back(h, NULL);
	pthread_mutex_destroy(&h->lock);
	free(h->cpus);
	free(h);
}
