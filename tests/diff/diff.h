/* SPDX-License-Identifier: MIT */
/*
 * tests/diff/diff.h - runs the same operations on the host's kernel and on Vellum, and compares the results.
 *
 * An episode is a list of operations on a small window of addresses in up to MAX_PROCS processes. Each operation
 * runs in an agent (a process of the host in which that window is free, agent.c) and on an address space of Vellum
 * with a CPU of the software MMU (vellum.c). Then results and views are compared (compare.c). Tables define the
 * operations (struct kind). A new family of operations is a new table, which kinds.c lists.
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
#define WINDOW	 48u	/* pages at which operations start, half of them on each side of a table's border */
#define MARGIN	 16u	/* pages around them that they may reach */
#define SEEN	 (WINDOW + 2 * MARGIN)
#define BASE	 (0x100200000ull - WINDOW / 2 * PAGE)
#define FIRST	 (BASE - MARGIN * PAGE)
#define LOW	 (BASE - (1ull << 30))	/* VMAs in [LOW, HIGH) are compared: agents use none there for themselves */
#define HIGH	 (BASE + (1ull << 30))
/*
 * A mapped page in each of the window's two last-level tables, outside of the compared pages, keeps the tables
 * allocated. PAGEMAP_SCAN shows whether a table exists, and each side frees empty tables at its own time.
 */
#define ANCHOR(i) (FIRST + SEEN / 2 * PAGE + ((i) ? 1ull << 20 : -(1ull << 20)))
#define EPISODE_MAX 4096u
#define MAX_PROCS 3u
#define NR_OBJECTS 5u
#define FILE_OBJECT (NR_OBJECTS - 1)	/* a file on a disk; the others are memfds */
#define DISK_PAGES 64u
#define OBJECT_PAGES 16u
#define MAX_VMAS 160u
#define NR_CONTEXTS 3u	/* userfaultfds of a process */
#define MAX_NOTES 16u
#define WORD_BITS (VELLUM_PM_UFFD_WP | VELLUM_PM_GUARD | VELLUM_PM_FILE | VELLUM_PM_SWAP | VELLUM_PM_PRESENT)
#define NO_DESCRIPTOR 1ull	/* in op.val of mmap: without ANONYMOUS, pass an invalid descriptor */
#define SCAN_UNKNOWN (1ull << 48)	/* in op.val of scan: an unknown category */
#define SCAN_BAD_SIZE (1ull << 49)
#define ELSEWHERE 1ull	/* any address outside [LOW, HIGH): each side chooses its own */

/* One operation. Its kind defines the meaning of the fields. */
struct op {
	uint16_t kind;
	uint8_t proc;		/* the process that does it; if it does not exist, nothing happens */
	uint8_t look;		/* after it, load every mapped page, and compare bytes and signals */
	uint64_t addr, len, to, new_len;
	uint32_t prot, flags;
	uint32_t object, access;	/* number of the object; how it was opened: index of access_prot[] */
	uint64_t val;
};

struct result {
	int64_t ret;		/* 0 or more; or a negative error number */
	uint64_t addr;		/* as canonical() returns it */
	int32_t sig, code;	/* of an access */
	uint64_t val;		/* bytes that were read, or their hash */
	uint8_t vec[SEEN];
};

/* A message of a userfaultfd, and the answer to it. */
struct note {
	uint32_t context, event, call, unused;
	uint64_t word[3];
	int64_t ret, val;
};

struct sight {
	uint64_t start, end, pgoff;
	uint64_t object;	/* 0: private anonymous; 1..NR_OBJECTS: the test's; others: in order of appearance */
	uint32_t prot, shared;
};

/* A process as it can be observed without changes, and, in look[], by loads. */
struct view {
	uint32_t nr;
	uint32_t looked;
	uint32_t child;			/* not the first process */
	struct sight vma[MAX_VMAS];
	uint8_t core[SEEN];		/* mincore(2); 0xff: not mapped */
	uint64_t word[SEEN];		/* pagemap, only the compared bits */
	uint64_t left[SEEN];		/* the same after the loads */
	bool uffd_wp[SEEN];		/* only Vellum's side: in a VMA that is registered for write-protection */
	struct {
		int32_t sig, code;
		uint64_t hash;
	} look[SEEN];
	struct {
		uint64_t size, seals;
	} object[NR_OBJECTS];
	uint32_t nr_notes;
	uint64_t notes_hash;
	struct note note[MAX_NOTES];	/* the first notes */
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
	bool may_lose;		/* MADV_FREE was used: such pages may become zeros */
};

void world_open(struct world *w);
/* Return: NULL, or what was wrong at the end: leaks, calls of bug(). */
const char *world_close(struct world *w);
void world_view(struct world *w, unsigned proc, bool look, struct view *view);
extern const struct vellum_backing_ops disk_ops;
void disk_cut(uint64_t size);		/* forget the bytes beyond @size */
void set_fault(struct result *r, enum vellum_fault_result fault);

/* --- the host's side --- */

struct reader;

/* An agent's state, for its operations. */
struct agent {
	unsigned slot;
	int maps, pagemap;		/* descriptors of /proc/self/maps and /proc/self/pagemap */
	int fd[NR_OBJECTS][3];		/* second index: as in access_prot[] */
	int scratch_in, scratch_out;	/* files for copies */
	struct reader *reader;
};
extern struct agent agent;
extern const uint32_t access_prot[3];

bool agents_open(void);
void agents_close(void);
/* False: locking a whole process exceeds RLIMIT_MEMLOCK. */
bool agents_may_lock_all(void);
/* Run an operation in its process, then take the view. False: the agent died. */
bool agent_run(const struct op *op, struct result *r, struct view *view);
/* Take the view without an operation. False: the agent died. */
bool agent_view(unsigned slot, bool look, struct view *view);
/* In an agent: fork a child that serves @slot. */
int agent_fork(unsigned slot);
/* In an agent: unmap the window, then end the process. Does not return. */
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

/* Draw arguments; most are valid. */
uint64_t some_page(struct generator *g);
uint64_t some_pages(struct generator *g);	/* a length in bytes, of a few pages */
uint32_t some_prot(struct generator *g);
uint32_t some_bit(struct generator *g, unsigned in, unsigned low, unsigned high);	/* of [low, high); mostly none */
void some_range(struct generator *g, struct op *op);	/* addr, len: sometimes not aligned, zero, too long */

struct kind {
	const char *name;
	unsigned weight;
	bool everybody;		/* other processes may observe it: compare all */
	void (*generate)(struct generator *g, struct op *op);
	void (*run_host)(const struct op *op, struct result *r);
	void (*run_vellum)(struct world *w, const struct op *op, struct result *r);
	/* May be NULL: results are then compared byte by byte. */
	bool (*same)(const struct op *op, const struct result *host, const struct result *vellum);
};

extern const struct kind map_kinds[], advice_kinds[], access_kinds[], object_kinds[], process_kinds[],
	uffd_kinds[], scan_kinds[], enumerate_kinds[];
extern const unsigned nr_map_kinds, nr_advice_kinds, nr_access_kinds, nr_object_kinds, nr_process_kinds,
	nr_uffd_kinds, nr_scan_kinds, nr_enumerate_kinds;

const struct kind *kind_at(unsigned i);	/* NULL: no such kind */
int kind_named(const char *name);
void generate(struct generator *g, struct op *op);
void print_op(const struct op *op);
bool parse_op(const char *line, struct op *op);

/* For both sides: an address in the form that is the same on both sides. */
static inline uint64_t canonical(uint64_t addr)
{
	return addr >= LOW && addr < HIGH ? addr : ELSEWHERE;
}

/* The result of a system call, as the kernel returns it. */
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

/* Both sides before an operation, to decide whether it is run. */
struct before {
	const struct view *host, *vellum;	/* of the process */
	bool may_be_locked;			/* some VMA of the process may be locked */
	bool may_be_watched;			/* a userfaultfd may be registered */
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

/* Why the operation must not run on either side, or NULL. Counts each reason. */
const char *not_compared(const struct op *op, const struct before *before);
/* False: @why has one line that says what differs. */
bool same_result(const struct op *op, const struct result *h, const struct result *v, char *why, size_t size);
bool same_view(const struct view *h, const struct view *v, char *why, size_t size);
void print_intended(void);	/* the allowed differences, with the number of occurrences of each */
void print_not_run(void);
void print_difference(const char *what, unsigned long met, const char *name, const char *reason);

#endif
