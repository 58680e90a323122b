/* SPDX-License-Identifier: MIT */
/* tests/soak/snapshot.h - the world of the snapshot tests, random operations on it, and images of what can be seen. */
#ifndef TESTS_SOAK_SNAPSHOT_H
#define TESTS_SOAK_SNAPSHOT_H

#include <stdbool.h>
#include <stdint.h>

#include "host/test.h"
#include "vellum/backing.h"
#include "vellum/mm.h"
#include "vellum/snapshot.h"
#include "vellum/soft.h"

#define PAGE	VELLUM_PAGE_SIZE
#define RW	(VELLUM_PROT_READ | VELLUM_PROT_WRITE)
#define NR_MMS	2u
#define NR_ZONES 4u
#define ZONE_PAGES 640u		/* more than a table covers */
#define NR_SHARED 3u		/* mappings of shared memory; the last one is mapped by no VMA at first */
#define SHARED_PAGES 96u
#define FILE_PAGES 64u
#define MAX_PINS 8u
#define MAX_CHILDREN 2u

struct pin {
	unsigned mm;
	uint64_t pfn, addr;
};

struct child {
	struct vellum_mm *mm;
	uint64_t addr, hash;	/* a page, and its bytes when the child was made */
};

struct world {
	struct test_host host;
	struct vellum_soft *soft;
	struct vellum_memory *memory;
	struct vellum_mm *mm[NR_MMS];
	struct vellum_soft_cpu *cpu[NR_MMS];
	struct vellum_uffd *missing[NR_MMS], *async[NR_MMS];
	struct vellum_mapping *shared[NR_SHARED], *file;
	struct vellum_tracker *tracker;
	struct pin pins[MAX_PINS];
	unsigned nr_pins;
	struct child children[MAX_CHILDREN];
	uint64_t rng;
	bool trace;
};

extern struct world w;

_Noreturn void fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
void verify(struct vellum_snapshot *snapshot, const char *when);
void must(int err, const char *what);
uint64_t any64(void);
uint64_t below(uint64_t n);
static inline bool one_in(uint64_t n) { return !below(n); }
uint64_t zone_page(unsigned zone, uint64_t page);	/* its address */

/* snapshot_threads.c */
void run_threads(uint64_t runs);

/* snapshot_more_ops.c */
void device_begin(void);
void device_end(void);
void more_operation(unsigned i);
/* As vellum_peek(), but brings a page back from the device. */
int peek_page(struct vellum_mm *mm, uint64_t addr, void *buf);

/* snapshot_ops.c */
uint64_t any_addr(void);
uint64_t any_len(void);
void random_operation(void);
void release_pins(void);
void check_children(void);
void end_children(void);

/* snapshot_image.c: everything that a restore promises to bring back, as seen through the library's other calls */
struct image;
struct image *image_take(void);
/* NULL: they are equal; else what differs. */
const char *image_differs(const struct image *was, const struct image *is);
void image_free(struct image *image);
uint64_t hash_bytes(uint64_t hash, const void *bytes, uint64_t len);

#endif
