/* SPDX-License-Identifier: MIT */
/*
 * tests/unit/snap_support.h - scenes of snapshots: prepare memory, freeze it, run, restore, compare; on each machine.
 *
 * The comparison uses vellum_snapshot_verify(), and an image of the address spaces that was taken without the
 * snapshot's code. Looking at entries sets A in the table entries above, which can hide a change that leaves no mark.
 * So each run begins right after a restore.
 */
#ifndef TESTS_UNIT_SNAP_SUPPORT_H
#define TESTS_UNIT_SNAP_SUPPORT_H

#include "device_support.h"
#include "file_support.h"
#include "mm/object/object.h"
#include "vellum/access.h"
#include "vellum/snapshot.h"

#define MAX_MMS	    3
#define IMAGE_PAGES 4096
#define ROUNDS	    3

/* --- images --- */

struct image {
	uint64_t brk, memlock_limit, stack_limit, mmap_top, def_flags;
	unsigned nr_vmas, nr_pages;
	struct image_vma {
		uint64_t start, end, flags, pgoff;
		const void *mapping, *uffd;
	} vmas[64];
	struct image_page {
		uint64_t addr, sum, marks;
	} pages[IMAGE_PAGES];
};

static inline uint64_t sum_of(const void *page)
{
	uint64_t sum = 14695981039346656037ull, word;

	for (unsigned i = 0; i < PAGE_SIZE; i += 8) {
		memcpy(&word, (const char *)page + i, 8);
		sum = (sum ^ word) * 1099511628211ull;
	}
	return sum;
}

/* The bytes that a first load of a page of the mapping finds. Creates and caches no page. */
static inline void initial_bytes(struct vellum_mapping *mapping, uint64_t index, char *page)
{
	struct folio *folio;

	memset(page, 0, PAGE_SIZE);
	if (!mapping)
		return;
	folio = mapping_find(mapping, index);
	if (folio) {
		memcpy(page, frame_address(mapping->memory, folio_pfn(mapping->memory, folio)), PAGE_SIZE);
		folio_put(mapping->memory, folio);
	} else if (mapping_is_shmem(mapping) && mapping_has(mapping, index)) {
		OK(vellum_mapping_read(mapping, BYTES(index), page, 8));	/* swapped out: in memory now */
		initial_bytes(mapping, index, page);
	} else if (mapping->ops && mapping->ops->fault == file_fault) {
		memcpy(page, ((struct file *)mapping->ctx)->bytes + BYTES(index), PAGE_SIZE);
	}
}

/* Of a private VMA of a mapping: the page had no copy, so a snapshot does not know whether it was soft-dirty. */
#define NO_COPY 1

static inline void image_page(struct vellum_mm *mm, const struct vma *vma, uint64_t addr, struct image_page *out)
{
	uint64_t marks = VELLUM_PM_UFFD_WP | VELLUM_PM_GUARD | VELLUM_PM_SOFT_DIRTY, word;
	static char page[PAGE_SIZE];
	int found;

	OK(vellum_pagemap_read(mm, addr, 1, 0, &word));
	/* Soft-dirty bits of a mapping's own pages are not restored. With VM_SOFTDIRTY, they do not count. */
	if ((word & VELLUM_PM_FILE) || (vma->flags & (VM_MAYSHARE | VM_SOFTDIRTY)))
		marks &= ~VELLUM_PM_SOFT_DIRTY;
	found = vellum_peek(mm, addr, page);
	assert_true(found >= 0 || found == -EBUSY);
	if (found == 0 && !(vma->flags & (VM_PFNMAP | VM_IO)))
		initial_bytes(vma->mapping, vma_page_index(vma, addr), page);
	/* What lies beyond the end of the mapping in its last page may be lost at any time. */
	if (vma->mapping && vellum_mapping_size(vma->mapping) >> PAGE_SHIFT == vma_page_index(vma, addr))
		memset(page + vellum_mapping_size(vma->mapping) % PAGE_SIZE, 0,
		       PAGE_SIZE - vellum_mapping_size(vma->mapping) % PAGE_SIZE);
	/* A page on a device has no bytes that could be compared without bringing it back. */
	*out = (struct image_page){ addr, found < 0 ? 0 : sum_of(page), word & marks };
	if (vma->mapping && (!(word & (VELLUM_PM_PRESENT | VELLUM_PM_SWAP)) || (word & VELLUM_PM_FILE)))
		out->marks |= NO_COPY;
}

/* Call free(). */
static inline struct image *take_image(struct vellum_mm *mm)
{
	struct image *im = calloc(1, sizeof(*im));

	im->brk = mm->brk;
	im->memlock_limit = mm->memlock_limit;
	im->stack_limit = mm->stack_limit;
	im->mmap_top = mm->mmap_top;
	im->def_flags = mm->def_flags;
	for (const struct vma *vma = vma_at(mm, 0); vma; vma = vma_at(mm, vma->end)) {
		assert_true(im->nr_vmas < 64);
		im->vmas[im->nr_vmas++] = (struct image_vma){ vma->start,   vma->end,	  vma->flags,
							      vma->pgoff, vma->mapping, vma->uffd };
		for (uint64_t addr = vma->start; addr < vma->end; addr += PAGE_SIZE) {
			assert_true(im->nr_pages < IMAGE_PAGES);
			image_page(mm, vma, addr, &im->pages[im->nr_pages++]);
		}
	}
	return im;
}

/* --- scenes --- */

struct snap {
	struct swap_world sw;
	struct world *w;
	struct vellum_mm *mm;		/* the first address space; w->cpu[0] has loaded it */
	struct vellum_soft_cpu *cpu;
	struct vellum_mm *mms[MAX_MMS];
	unsigned nr_mms, round;
	struct vellum_mapping *mappings[4];	/* the test's references */
	unsigned nr_mappings;		/* to be frozen though no address space may map them */
	struct vellum_snapshot *snapshot;
	struct image *images[MAX_MMS];
	const struct machine *machine;
	struct vellum_mmu_ops ops;
	/* for the scenes' own use */
	struct vellum_uffd *uffd;
	struct vellum_tracker *tracker;
	struct file file;
	struct gpu *gpu;
	void *bytes;			/* of a device; freed after the memory */
	uint64_t pfn[8];
	uint64_t addr, nr, seed;
	unsigned flags;
};

typedef void (*scene_fn)(struct snap *s);

enum {
	SCENE_AGAIN = 1,	/* a second restore may copy pages that did not change */
	SCENE_NO_VCACHE = 2,	/* other accesses than the CPUs' see bytes in the middle of a run */
	SCENE_PLAIN = 4,	/* on the first machine only */
};

struct scene {
	scene_fn prepare, run, end;
	unsigned flags;
};

static const struct machine {
	const char *name;
	uint32_t hostile, caps;
} machines[] = {
	{ "plain", 0, 0 },
	{ "keep", VELLUM_SOFT_KEEP, 0 },
	{ "A at will", VELLUM_SOFT_A_AT_WILL, 0 },
	{ "virtual cache", VELLUM_SOFT_VCACHE, 0 },
	{ "keep, A at will, virtual cache", VELLUM_SOFT_KEEP | VELLUM_SOFT_A_AT_WILL | VELLUM_SOFT_VCACHE, 0 },
	{ "clear and flush", 0, VELLUM_MMU_CLEAR_FLUSH },
	{ "exposed tables", 0, VELLUM_MMU_TABLES_EXPOSED },
};
#define NR_MACHINES (sizeof(machines) / sizeof(*machines))

static inline void snap_open(struct snap *s, const struct machine *machine, unsigned flags)
{
	memset(s, 0, sizeof(*s));
	s->w = &s->sw.w;
	s->machine = machine;
	s->flags = flags;
	s->seed = getenv("SNAP_SEED") ? strtoull(getenv("SNAP_SEED"), NULL, 0) : 88172645463325252ull;
	if (machine->caps) {
		s->ops = *vellum_soft_mmu_ops();
		s->ops.caps |= machine->caps;
		world_create(s->w, 16 << 20);
		world_remake(s->w, &s->ops, test_host_ops());
		vellum_soft_load_mm(s->w->cpu[0], s->w->mm);
		disk_create(&s->sw.disk, s->w, DISK_SLOTS);
	} else {
		swap_world_create(&s->sw, 16 << 20, DISK_SLOTS);
	}
	OK(vellum_soft_set_hostile(s->w->soft, machine->hostile));
	s->mm = s->mms[0] = s->w->mm;
	s->nr_mms = 1;
	s->cpu = s->w->cpu[0];
}

static inline int freeze_all(struct snap *s, struct vellum_snapshot **out)
{
	struct vellum_snapshot_args args = { .size = sizeof(args), .nr_mms = s->nr_mms, .mms = s->mms,
					     .nr_mappings = s->nr_mappings, .mappings = s->mappings };

	return vellum_snapshot_create(&args, out);
}

static inline void take_images(struct snap *s)
{
	vellum_soft_write_back(s->w->soft);
	for (unsigned i = 0; i < s->nr_mms; i++) {
		free(s->images[i]);
		s->images[i] = take_image(s->mms[i]);
	}
}

static inline void freeze(struct snap *s)
{
	take_images(s);
	OK(freeze_all(s, &s->snapshot));
}

static inline void check_image(struct snap *s, const struct image *then, struct vellum_mm *mm)
{
	struct image *now = take_image(mm);
	const char *on = s->machine->name;

	if (now->brk != then->brk || now->memlock_limit != then->memlock_limit || now->stack_limit != then->stack_limit ||
	    now->mmap_top != then->mmap_top || now->def_flags != then->def_flags)
		fail_msg("%s: a limit differs", on);
	if (now->nr_vmas != then->nr_vmas || memcmp(now->vmas, then->vmas, sizeof(now->vmas)))
		fail_msg("%s: a VMA differs", on);
	for (unsigned i = 0; i < now->nr_pages; i++)
		if (((now->pages[i].marks ^ then->pages[i].marks) &
		     ~(then->pages[i].marks & NO_COPY ? VELLUM_PM_SOFT_DIRTY | NO_COPY : NO_COPY)) ||
		    (now->pages[i].sum != then->pages[i].sum && now->pages[i].sum && then->pages[i].sum))
			fail_msg("%s, round %u: page %lld differs, marks %llx, %llx before", on, s->round,
				 (long long)(now->pages[i].addr - BASE) >> PAGE_SHIFT, (unsigned long long)now->pages[i].marks,
				 (unsigned long long)then->pages[i].marks);
	free(now);
}

static inline void must_verify(struct snap *s, struct vellum_snapshot *snapshot)
{
	struct vellum_snapshot_difference diff = { .size = sizeof(diff) };
	int found = vellum_snapshot_verify(snapshot, &diff);

	if (found)
		fail_msg("%s, round %u: verify: %d, what %u of %llu at page %lld", s->machine->name, s->round, found, diff.what,
			 (unsigned long long)diff.index, (long long)(diff.address - BASE) >> PAGE_SHIFT);
}

static inline void check_restored(struct snap *s)
{
	check_world(s->w);
	for (unsigned i = 0; i < s->nr_mms; i++)
		check_image(s, s->images[i], s->mms[i]);
	must_verify(s, s->snapshot);
	check_world(s->w);
}

static inline struct vellum_snapshot_info snap_info(struct vellum_snapshot *snapshot)
{
	struct vellum_snapshot_info info = { .size = sizeof(info) };

	OK(vellum_snapshot_info(snapshot, &info));
	return info;
}

/* Restore without a look at what changed. */
static inline void restore(struct snap *s)
{
	OK(vellum_snapshot_restore(s->snapshot));
}

/* Restore, compare all, and restore again: nothing may be left to do. */
static inline void restore_and_check(struct snap *s)
{
	struct vellum_snapshot_info info;

	restore(s);
	check_restored(s);
	restore(s);
	info = snap_info(s->snapshot);
	if (!(s->flags & SCENE_AGAIN) && (info.copied_pages || info.dropped_pages || info.copied_shared_pages))
		fail_msg("%s, round %u: a second restore has %llu + %llu + %llu pages left", s->machine->name, s->round,
			 (unsigned long long)info.copied_pages, (unsigned long long)info.dropped_pages,
			 (unsigned long long)info.copied_shared_pages);
}

static inline void thaw(struct snap *s)
{
	vellum_snapshot_destroy(s->snapshot);
	s->snapshot = NULL;
}

static inline void snap_close(struct snap *s)
{
	thaw(s);
	for (unsigned i = 0; i < MAX_MMS; i++)
		free(s->images[i]);
	for (unsigned i = 1; i < s->nr_mms; i++) {
		vellum_soft_load_mm(s->w->cpu[i], NULL);
		vellum_mm_put(s->mms[i]);
	}
	OK(vellum_munmap(s->mm, MMAP_MIN_ADDR, VELLUM_TASK_SIZE - MMAP_MIN_ADDR));
	for (unsigned i = 0; i < 4 && s->mappings[i]; i++)
		vellum_mapping_put(s->mappings[i]);
	if (s->file.bytes)
		file_destroy(&s->file);
	if (s->gpu)
		gpu_destroy(s->gpu);
	swap_world_destroy(&s->sw);
	free(s->bytes);
}

static inline void play_on(const struct scene *scene, const struct machine *machine)
{
	static struct snap s;

	snap_open(&s, machine, scene->flags);
	scene->prepare(&s);
	freeze(&s);
	check_world(s.w);
	restore(&s);
	for (s.round = 0; s.round < ROUNDS; s.round++) {
		scene->run(&s);
		restore_and_check(&s);
	}
	if (scene->end)
		scene->end(&s);
	snap_close(&s);
}

static inline void play(void **state)
{
	const struct scene *scene = *state;

	for (unsigned i = 0; i < NR_MACHINES; i++) {
		if ((scene->flags & SCENE_NO_VCACHE) && (machines[i].hostile & VELLUM_SOFT_VCACHE))
			continue;
		play_on(scene, &machines[i]);
		if ((scene->flags & SCENE_PLAIN) || getenv("VELLUM_FAIL_SWEEP"))
			break;
	}
}

/* A row of a group of tests. */
#define SCENE_WITH(name, prepare, run, end, flags) \
	{ name, play, NULL, NULL, &(struct scene){ prepare, run, end, flags } }
#define SCENE(name, prepare, run) SCENE_WITH(name, prepare, run, NULL, 0)

/* --- accesses --- */

static inline void store_range(struct snap *s, unsigned at, unsigned pages, uint64_t val)
{
	for (unsigned i = at; i < at + pages; i++)
		store(s->cpu, PAGE(i) + 8 * (i % 512), val + i);
}

static inline void load_range(struct snap *s, unsigned at, unsigned pages)
{
	for (unsigned i = at; i < at + pages; i++)
		load(s->cpu, PAGE(i));
}

static inline uint64_t faults_of(struct vellum_mm *mm)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < VELLUM_COUNT_TLB_FLUSHES; i++)
		sum += vellum_mm_counter(mm, i);
	return sum;
}

static inline void advise(struct snap *s, unsigned at, unsigned pages, int advice)
{
	OK(vellum_madvise(s->mm, PAGE(at), BYTES(pages), advice));
}

static inline void move(struct snap *s, unsigned from, unsigned pages, unsigned to, uint32_t flags)
{
	uint64_t addr = PAGE(to);

	OK(vellum_mremap(s->mm, PAGE(from), BYTES(pages), BYTES(pages),
			 flags | VELLUM_MREMAP_MAYMOVE | VELLUM_MREMAP_FIXED, &addr));
}

/* Private memory: 16 pages that were stored to, 4 that were loaded only, 12 without an entry. */
static inline void prepare_private(struct snap *s)
{
	map_at(s->mm, 0, 32, RW, ANON);
	store_range(s, 0, 16, 100);
	load_range(s, 16, 4);
}

#endif
