/* SPDX-License-Identifier: MIT */
/*
 * tests/fuzz/library.h - the state of the library's fuzzer, and random arguments.
 *
 * Every call gets valid pointers (a library cannot survive a bad pointer), but any numbers: addresses, lengths,
 * flags. Memory that a call may fill is as large as the call's contract requires.
 */
#ifndef TESTS_FUZZ_LIBRARY_H
#define TESTS_FUZZ_LIBRARY_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/test.h"
#include "vellum/access.h"
#include "vellum/backing.h"
#include "vellum/device.h"
#include "vellum/dirty.h"
#include "vellum/gup.h"
#include "vellum/mm.h"
#include "vellum/mmu.h"
#include "vellum/pagemap.h"
#include "vellum/soft.h"
#include "vellum/swap.h"
#include "vellum/swap_backends.h"
#include "vellum/uffd.h"

#define PAGE	 VELLUM_PAGE_SIZE
#define BASE	 0x100000000ull
#define WINDOW	 4096u			/* pages from BASE on, to which most calls go */
#define RAM	 (8ull << 20)
#define RAW_PFN	 (4ull << 18)		/* first frame of a device above RAM, aligned for leaves of 1 GiB */
#define RAW_PAGES 2048u
#define BUFFER	 (64u << 10)
#define MANY	 1024u			/* pages for which arrays of words have room */

enum { NR_CPUS = 4, NR_MMS = 6, NR_OBJECTS = 8, NR_TRACKERS = 6, NR_UFFDS = 6, NR_PINS = 8, NR_DEVICES = 2,
       NR_AREAS = 3, NR_NOTIFIERS = 4, NR_BLOCKS = 4, PIN_MAX = 64, SLOTS = 1024 };

struct pin {
	uint64_t pfn[PIN_MAX], nr;
	bool is_get;
};

struct area {
	unsigned number;
	char *bytes;		/* for the fuzzer's own backend */
	struct vellum_swap_file *file;
	struct vellum_swap_zstd *zstd;
	bool in_use;
};

struct device {
	struct vellum_device *device;
	char *bytes;
};

struct notifier {
	struct vellum_notifier notifier;
	struct vellum_mm *mm;	/* NULL: not registered */
};

struct fuzz {
	uint64_t rng;
	struct test_host host;
	struct vellum_soft *soft;
	struct vellum_memory *memory;
	struct vellum_mm *mm[NR_MMS];
	struct vellum_mm *on[NR_CPUS];	/* the address space that each CPU has loaded */
	struct vellum_mapping *object[NR_OBJECTS];
	struct vellum_tracker *tracker[NR_TRACKERS];
	struct vellum_uffd *uffd[NR_UFFDS];
	struct pin pin[NR_PINS];
	struct device device[NR_DEVICES];
	struct area area[NR_AREAS];
	struct notifier notifier[NR_NOTIFIERS];
	uint64_t block[NR_BLOCKS], block_nr[NR_BLOCKS];
	uint64_t open_notifications;
	void *ram, *raw;
	uint8_t buffer[BUFFER];
	uint64_t words[MANY + 64];
};

extern struct fuzz f;

/* Note the next call, for --trace and for the message of wrong(). */
void calling(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Print the message, the seed and the number of the call, and end the process. */
void wrong(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));
/* Check that a result is 0 or one of the library's error numbers. */
int result(int err);

/* --- numbers --- */

uint64_t any64(void);
uint64_t below(uint64_t n);
static inline bool one_in(uint64_t n)
{
	return below(n) == 0;
}
/* Mostly an address that is in use; sometimes any. */
uint64_t any_addr(struct vellum_mm *mm);
uint64_t any_len(void);
uint64_t few_pages(void);		/* 1 to 64, rarely up to 1024 */
uint64_t any_index(void);		/* of a page in a mapping */
uint32_t any_flags(uint32_t known);	/* some of @known; rarely others */

/* --- handles in use, or NULL --- */

struct vellum_mm *any_mm(void);
struct vellum_mapping *any_object(void);
struct vellum_soft_cpu *any_cpu(void);	/* a CPU that has loaded an address space */
struct vellum_uffd *any_uffd(void);
struct vellum_tracker *any_tracker(void);

void drop_mm(unsigned i);		/* first unloads it from CPUs and unregisters notifiers */
void drop_uffd(unsigned i);
int remove_area(unsigned i);

/* --- calls, each with a weight and a function --- */

struct op {
	unsigned weight;
	void (*run)(void);
};
extern const struct op map_ops[], object_ops[], page_ops[], uffd_ops[];	/* each ended by weight 0 */

/* Release everything that these calls made. */
void give_back_pages(void);
void give_back_objects(void);

#endif
