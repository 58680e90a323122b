/* SPDX-License-Identifier: MIT */
/*
 * tests/diff/diff.h - the same operations on the host's kernel and on Vellum, and what both show.
 *
 * An episode is a list of operations on a small window of addresses in up to MAX_PROCS processes. Each is run
 * by an agent (a process of the host with that window free, agent.c) and on an address space of Vellum with a
 * CPU of the software MMU (vellum.c); then results and what can be seen are compared (compare.c). What an
 * operation is stands in a table (struct kind); a new family is a table of its own, named in kinds.c.
 */
#ifndef TESTS_DIFF_DIFF_H
#define TESTS_DIFF_DIFF_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "host/test.h"
#include "vellum/access.h"
#include "vellum/backing.h"
#include "vellum/mm.h"
#include "vellum/pagemap.h"
#include "vellum/soft.h"

#define PAGE	 4096ull
#define WINDOW	 48u	/* pages that operations start in, half of them on each side of a table's border */
#define MARGIN	 16u	/* pages around them that they may reach */
#define SEEN	 (WINDOW + 2 * MARGIN)
#define BASE	 (0x100200000ull - WINDOW / 2 * PAGE)
#define FIRST	 (BASE - MARGIN * PAGE)
#define LOW	 (BASE - (1ull << 30))	/* mappings in [LOW, HIGH) are compared: agents have none of their own */
#define HIGH	 (BASE + (1ull << 30))
/*
 * A page in each of the window's two last-level tables, outside of what is compared: whether a table is there shows in
 * PAGEMAP_SCAN, and when an empty one comes and goes is up to each side.
 */
#define ANCHOR(i) (FIRST + SEEN / 2 * PAGE + ((i) ? 1ull << 20 : -(1ull << 20)))
#define MAX_PROCS 3u
#define NR_OBJECTS 5u
#define FILE_OBJECT (NR_OBJECTS - 1)	/* a file on a disk; the others are memfds */
#define DISK_PAGES 64u
#define OBJECT_PAGES 16u
#define MAX_VMAS 160u
#define NR_CONTEXTS 3u	/* userfaultfds of a process */
#define MAX_NOTES 16u
#define WORD_BITS (VELLUM_PM_UFFD_WP | VELLUM_PM_GUARD | VELLUM_PM_FILE | VELLUM_PM_SWAP | VELLUM_PM_PRESENT)
#define ELSEWHERE 1ull	/* any address outside [LOW, HIGH): where is up to each side */

/* One operation; what the fields mean is up to its kind. */
struct op {
	uint16_t kind;
	uint8_t proc;		/* which process does it; nothing happens if there is no such process */
	uint8_t look;		/* load every mapped page afterwards, and compare bytes and signals */
	uint64_t addr, len, to, new_len;
	uint32_t prot, flags;
	uint32_t object, access;	/* which object, and how it was opened: index of access_prot[] */
	uint64_t val;
};

struct result {
	int64_t ret;		/* 0 or more; or a negative error number */
	uint64_t addr;		/* as canonical() */
	int32_t sig, code;	/* of an access */
	uint64_t val;		/* bytes read, or a hash of them */
	uint8_t vec[SEEN];
};

/* A message of a userfaultfd, and how it was answered. */
struct note {
	uint32_t context, event, call, unused;
	uint64_t word[3];
	int64_t ret, val;
};

struct sight {
	uint64_t start, end, pgoff;
	uint64_t object;	/* 0: private anonymous; 1..NR_OBJECTS: ours; then in order of appearance */
	uint32_t prot, shared;
};

/* What is to be seen of a process without changing it, and, in look[], by loads. */
struct view {
	uint32_t nr;
	uint32_t looked;
	uint32_t child;			/* not the first process */
	struct sight vma[MAX_VMAS];
	uint8_t core[SEEN];		/* mincore(2); 0xff: not mapped */
	uint64_t word[SEEN];		/* of pagemap, as far as it is compared */
	uint64_t left[SEEN];		/* the same after the loads */
	bool uffd_wp[SEEN];		/* Vellum's side: in a mapping whose stores a userfaultfd may forbid */
	struct {
		int32_t sig, code;
		uint64_t hash;
	} look[SEEN];
	struct {
		uint64_t size, seals;
	} object[NR_OBJECTS];
	uint32_t nr_notes;
	uint64_t notes_hash;
	struct note note[MAX_NOTES];	/* the first of them */
};

/* --- Vellum's side --- */

struct world {
	struct test_host host;
	struct vellum_soft *soft;
	struct vellum_memory *memory;
	void *ram;
	struct vellum_mm *mm[MAX_PROCS];
	struct vellum_soft_cpu *cpu[MAX_PROCS];
	struct vellum_mapping *object[NR_OBJECTS];
	struct reader *reader[MAX_PROCS];
	bool may_lose;		/* pages after MADV_FREE: those are zeros when they leave RAM */
};

void world_open(struct world *w);
/* Return: NULL, or what was wrong at the end: leaks, calls of bug(). */
const char *world_close(struct world *w);
void world_view(struct world *w, unsigned proc, bool look, struct view *view);
extern const struct vellum_backing_ops disk_ops;
void disk_cut(uint64_t size);		/* nothing is behind it any more */
void set_fault(struct result *r, enum vellum_fault_result fault);

/* --- the host's side --- */

struct reader;

/* In an agent: what its operations may use. */
struct agent {
	unsigned slot;
	int maps, pagemap;		/* /proc/self/maps, /proc/self/pagemap of this process */
	int fd[NR_OBJECTS][3];		/* by access_prot[] */
	int scratch_in, scratch_out;	/* files for copies */
	struct reader *reader;
};
extern struct agent agent;
extern const uint32_t access_prot[3];

bool agents_open(void);
void agents_close(void);
/* False: all of a process is more than RLIMIT_MEMLOCK. */
bool agents_may_lock_all(void);
/* Run an operation in its process; false: the agent died. The view is taken after it. */
bool agent_run(const struct op *op, struct result *r, struct view *view);
/* Only look. */
bool agent_view(unsigned slot, bool look, struct view *view);
/* In an agent: a child of it serves @slot from now on. */
int agent_fork(unsigned slot);
/* In an agent: the process ends, once nothing is mapped in it any more. Does not return. */
void agent_exit(void);
/* In an agent: run @fn(@addr, @val) with signals caught. */
void guarded(void (*fn)(uint64_t addr, uint64_t *val), uint64_t addr, uint64_t *val, struct result *r);

/* --- operations --- */

struct generator {
	uint64_t state;
	uint64_t stores;
	bool alive[MAX_PROCS];
};

uint64_t draw(struct generator *g);
unsigned below(struct generator *g, unsigned n);
bool one_in(struct generator *g, unsigned n);

/* Mostly sensible arguments. */
uint64_t some_page(struct generator *g);
uint64_t some_pages(struct generator *g);	/* bytes, few */
uint32_t some_prot(struct generator *g);
void some_range(struct generator *g, struct op *op);	/* addr, len: sometimes not aligned, zero, too long */

struct kind {
	const char *name;
	unsigned weight;
	bool everybody;		/* other processes may see it too: compare them all */
	void (*generate)(struct generator *g, struct op *op);
	void (*run_host)(const struct op *op, struct result *r);
	void (*run_vellum)(struct world *w, const struct op *op, struct result *r);
	/* May be NULL: results are then compared byte by byte. */
	bool (*same)(const struct op *op, const struct result *host, const struct result *vellum);
};

extern const struct kind map_kinds[], advice_kinds[], access_kinds[], object_kinds[], process_kinds[],
	uffd_kinds[], scan_kinds[];
extern const unsigned nr_map_kinds, nr_advice_kinds, nr_access_kinds, nr_object_kinds, nr_process_kinds,
	nr_uffd_kinds, nr_scan_kinds;

const struct kind *kind_at(unsigned i);	/* NULL beyond the last */
int kind_named(const char *name);
void generate(struct generator *g, struct op *op);
void print_op(const struct op *op);
bool parse_op(const char *line, struct op *op);

/* In both: an address as far as it is the same on both sides. */
static inline uint64_t canonical(uint64_t addr)
{
	return addr >= LOW && addr < HIGH ? addr : ELSEWHERE;
}

/* What a system call returned, as the kernel says it. */
static inline int64_t host_error(long ret)
{
	return ret < 0 ? -(int64_t)errno : ret;
}

static inline uint64_t hash_bytes(const void *buf, uint64_t len)
{
	const unsigned char *bytes = buf;
	uint64_t h = 0xcbf29ce484222325ull, word;

	for (; len >= 8; len -= 8, bytes += 8) {
		memcpy(&word, bytes, 8);
		h = (h ^ word) * 0x100000001b3ull;
		h ^= h >> 29;
	}
	while (len--)
		h = (h ^ *bytes++) * 0x100000001b3ull;
	return h;
}

/* --- comparing --- */

/* How both stood before an operation, for those that are not to be run. */
struct before {
	const struct view *host, *vellum;	/* of the process */
	bool may_be_locked;			/* something in it */
	bool may_be_watched;			/* by a userfaultfd */
};

static inline uint64_t page_up(uint64_t n)
{
	return (n + PAGE - 1) & ~(PAGE - 1);
}

static inline bool is(const struct op *op, const char *kind)
{
	return strcmp(kind_at(op->kind)->name, kind) == 0;
}

static inline const struct sight *mapping_at(const struct view *view, uint64_t addr)
{
	for (unsigned i = 0; i < view->nr; i++)
		if (view->vma[i].start <= addr && addr < view->vma[i].end)
			return &view->vma[i];
	return NULL;
}

static inline bool reaches_the_file(const struct view *view, uint64_t start, uint64_t len)
{
	for (unsigned i = 0; i < view->nr; i++)
		if (view->vma[i].object == FILE_OBJECT + 1 && view->vma[i].end > start &&
		    view->vma[i].start < start + page_up(len))
			return true;
	return false;
}

/* Why the operation is not run on either side, or NULL. Counted. */
const char *not_compared(const struct op *op, const struct before *before);
/* False, and a line for people: what differs. */
bool same_result(const struct op *op, const struct result *h, const struct result *v, char *why, size_t size);
bool same_view(const struct view *h, const struct view *v, char *why, size_t size);
void print_intended(void);	/* what differs as is meant, with how often each was met */
void print_not_run(void);
void print_difference(const char *what, unsigned long met, const char *name, const char *reason);

#endif
