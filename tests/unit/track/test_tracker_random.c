/* SPDX-License-Identifier: MIT */
/* Trackers with random operations. Replicas that are updated only from collections must equal memory. */
#include "more_support.h"

#define SPAN	48 /* pages that may be mapped; the rest of the address space is taken */
#define OBJECTS 3  /* 0: no hooks, 1: mkwrite, 2: frames; mapped shared, page i at PAGE(i) */

struct page {
	unsigned char bytes[4096];
};

struct replica {
	struct vellum_tracker *t;
	struct page private[SPAN];
	bool valid[SPAN]; /* if not: zeros, or the file's bytes */
	/* The VMA. Replacing it, where its pages were clean, is a change that no tracker reports. */
	struct vellum_vma_info as[SPAN];
	struct page object[OBJECTS][SPAN];
};

struct chaos {
	struct world *w;
	uint64_t seed;
	struct counting *c[4];
	struct vellum_mapping *obj[OBJECTS], *file; /* file: only mapped private */
	struct replica rep[2];
	struct vellum_tracker *object_t[2]; /* of mapping 0 */
	struct page object_rep[2][SPAN];
	struct vellum_mm *child;
	unsigned run, step;
	const char *what;
};

static struct chaos *current; /* for the callback of a collection */

static void object_page(struct chaos *ch, unsigned i, unsigned page, void *buf)
{
	if (i == 2)
		memcpy(buf, vellum_frame_host(ch->w->memory, ch->c[2]->first_pfn + page), 4096);
	else
		OK(vellum_mapping_read(ch->obj[i], BYTES(page), buf, 4096));
}

/* The file's bytes. A VMA may have grown beyond them. */
static void file_page(struct chaos *ch, unsigned page, const struct vellum_vma_info *info,
		      void *buf)
{
	uint64_t index = info->pgoff + ((PAGE(page) - info->start) >> 12);

	if (index < SPAN)
		OK(vellum_mapping_read(ch->file, BYTES(index), buf, 4096));
}

/* The bytes of a page in memory now. */
static void memory_page(struct chaos *ch, unsigned page, const struct vellum_vma_info *info,
			void *buf)
{
	if (vellum_peek(ch->w->mm, PAGE(page), buf) == 1)
		return;
	memset(buf, 0, 4096);
	for (unsigned i = 0; i < OBJECTS; i++)
		if (info->mapping == ch->obj[i])
			object_page(ch, i, page, buf);
	if (info->mapping == ch->file)
		file_page(ch, page, info, buf);
}

static bool mapping_of(struct chaos *ch, unsigned page, struct vellum_vma_info *info)
{
	info->size = sizeof(*info);
	return vellum_vma_next(ch->w->mm, PAGE(page), info) == 0 && info->start <= PAGE(page);
}

static int feed_replica(void *arg, uint64_t first, uint64_t nr)
{
	struct replica *r = arg;

	for (uint64_t at = first; at < first + nr; at++) {
		unsigned page = (unsigned)(at - (BASE >> 12));
		struct vellum_vma_info info = { .size = sizeof(info) };

		r->valid[page] = mapping_of(current, page, &info) && !info.shared &&
				 vellum_peek(current->w->mm, PAGE(page), &r->private[page]) == 1;
		r->as[page] = info;
		for (unsigned i = 0; i < OBJECTS; i++)
			object_page(current, i, page, &r->object[i][page]);
	}
	return 0;
}

static bool same_mapping(const struct vellum_vma_info *a, const struct vellum_vma_info *b)
{
	return a->mapping == b->mapping &&
	       (!a->mapping || a->pgoff - (a->start >> 12) == b->pgoff - (b->start >> 12));
}

static void expected_page(struct chaos *ch, struct replica *r, unsigned page,
			  const struct vellum_vma_info *info, void *buf)
{
	for (unsigned i = 0; i < OBJECTS; i++)
		if (info->mapping == ch->obj[i]) {
			memcpy(buf, &r->object[i][page], 4096);
			return;
		}
	memset(buf, 0, 4096);
	if (r->valid[page] && same_mapping(&r->as[page], info))
		memcpy(buf, &r->private[page], 4096);
	else if (info->mapping)
		file_page(ch, page, info, buf);
}

static void collect_and_compare(struct chaos *ch, unsigned i)
{
	static struct page have, want;
	struct replica *r = &ch->rep[i];

	current = ch;
	OK(vellum_tracker_collect(r->t, 0, ~0ull, feed_replica, r));
	for (unsigned page = 0; page < SPAN; page++) {
		struct vellum_vma_info info = { .size = sizeof(info) };

		if (!mapping_of(ch, page, &info))
			continue;
		memory_page(ch, page, &info, &have);
		expected_page(ch, r, page, &info, &want);
		if (memcmp(&have, &want, 4096))
			fail_msg("seed %u, step %u: %s replica differs at page %u", ch->run,
				 ch->step, i == VELLUM_TRACK_WP ? "wp" : "clean", page);
		if (i == VELLUM_TRACK_WP && has_w(ch->w->mm, PAGE(page)))
			fail_msg("seed %u, step %u: INV-TRACK-1 at page %u", ch->run, ch->step,
				 page);
	}
}

static int feed_object_replica(void *arg, uint64_t first, uint64_t nr)
{
	for (uint64_t page = first; page < first + nr; page++)
		object_page(current, 0, (unsigned)page, (struct page *)arg + page);
	return 0;
}

static void collect_object(struct chaos *ch, unsigned i)
{
	static struct page have;

	current = ch;
	OK(vellum_tracker_collect(ch->object_t[i], 0, ~0ull, feed_object_replica,
				  ch->object_rep[i]));
	for (unsigned page = 0; page < SPAN; page++) {
		object_page(ch, 0, page, &have);
		if (memcmp(&have, &ch->object_rep[i][page], 4096))
			fail_msg("seed %u, step %u: replica of mapping %u differs at page %u",
				 ch->run, ch->step, i, page);
	}
}

static void chaos_map(struct chaos *ch, unsigned at, unsigned pages)
{
	uint32_t prot = random_below(&ch->seed, 4) ? RW : RO;
	unsigned kind = random_below(&ch->seed, 6);
	uint32_t populate = random_below(&ch->seed, 4) ? 0 : VELLUM_MAP_POPULATE;

	if (kind < 2)
		map_at(ch->w->mm, at, pages, prot, ANON | populate);
	else if (kind == 2)
		map_object(ch->w->mm, at, pages, prot, VELLUM_MAP_PRIVATE | populate, ch->file,
			   random_below(&ch->seed, SPAN - pages), RO);
	else
		map_object(ch->w->mm, at, pages, prot, VELLUM_MAP_SHARED | populate,
			   ch->obj[kind - 3], at, RW);
}

/* A mapping is only mapped at its own address, so that the replica sees stores to it. */
static void chaos_mremap(struct chaos *ch, unsigned at, unsigned pages)
{
	struct vellum_vma_info info = { .size = sizeof(info) };
	uint64_t addr;

	for (unsigned i = at; i < at + pages; i++)
		if (!mapping_of(ch, i, &info) || info.shared)
			return;
	vellum_mremap(ch->w->mm, PAGE(at), BYTES(pages),
		      BYTES(1 + random_below(&ch->seed, pages + 4)), VELLUM_MREMAP_MAYMOVE, &addr);
}

static void chaos_child(struct chaos *ch, unsigned at)
{
	struct vellum_vma_info info = { .size = sizeof(info) };

	if (!ch->child) {
		ch->child = fork_on(ch->w->mm, ch->w->cpu[1]);
	} else if (random_below(&ch->seed, 8) == 0) {
		end_child(ch->child, ch->w->cpu[1]);
		ch->child = NULL;
	} else if (vellum_vma_next(ch->child, PAGE(at), &info) == 0 && !info.shared) {
		try_store(ch->w->cpu[1], PAGE(at), random_u64(&ch->seed));
	}
}

static void chaos_helper(struct chaos *ch, bool wp, unsigned at, unsigned pages)
{
	uint64_t bitmap[1] = {0}, start = 0, end = 0;
	struct vellum_mapping *obj = ch->obj[random_below(&ch->seed, OBJECTS)];

	if (wp)
		OK(vellum_wp_shared_mapping_range(obj, at, pages, NULL));
	else
		OK(vellum_clean_record_shared_mapping_range(obj, at, pages, at, bitmap, &start,
							    &end, NULL));
}

static void chaos_store(struct chaos *ch, unsigned at)
{
	try_store(ch->w->cpu[0], PAGE(at) + 8 * random_below(&ch->seed, 512),
		  random_u64(&ch->seed));
}

static void chaos_copy(struct chaos *ch, unsigned at)
{
	uint64_t buf[32];

	for (unsigned i = 0; i < 32; i++)
		buf[i] = random_u64(&ch->seed);
	vellum_copy_to_user(ch->w->mm, PAGE(at) + random_below(&ch->seed, 4096), buf, sizeof(buf),
			    NULL);
}

/* Change what is mapped at the pages [at, at + pages). */
static void chaos_change(struct chaos *ch, unsigned op, unsigned at, unsigned pages)
{
	static const uint32_t prots[] = {RW, RW, RO, 0};
	struct vellum_mm *mm = ch->w->mm;

	if (op < 2) {
		ch->what = "map";
		chaos_map(ch, at, pages);
	} else if (op == 2) {
		ch->what = "munmap";
		unmap(mm, at, pages);
	} else if (op < 5) {
		ch->what = "mprotect";
		vellum_mprotect(mm, PAGE(at), BYTES(pages), prots[random_below(&ch->seed, 4)]);
	} else if (op == 5) {
		ch->what = "mremap";
		chaos_mremap(ch, at, pages);
	} else {
		ch->what = "dontneed";
		vellum_madvise(mm, PAGE(at), BYTES(pages), VELLUM_MADV_DONTNEED);
	}
}

static void chaos_track(struct chaos *ch, unsigned op, unsigned at, unsigned pages)
{
	if (op == 9 || op == 10) {
		ch->what = op == 9 ? "wp" : "clean";
		chaos_helper(ch, op == 9, at, pages);
	} else if (op == 11) {
		ch->what = "unmap object";
		vellum_unmap_mapping_range(ch->obj[at % OBJECTS], at, pages);
	} else if (op == 12) {
		ch->what = "copy_to_user";
		chaos_copy(ch, at);
	} else if (op < 15) {
		ch->what = "collect";
		collect_and_compare(ch, op - 13);
	} else {
		ch->what = "collect object";
		collect_object(ch, at & 1);
	}
}

static void chaos_step(struct chaos *ch)
{
	unsigned at = random_below(&ch->seed, SPAN - 8), pages = 1 + random_below(&ch->seed, 7);
	unsigned op = random_below(&ch->seed, 32);

	if (op < 7) {
		chaos_change(ch, op, at, pages);
	} else if (op < 9) {
		ch->what = "child";
		chaos_child(ch, at);
	} else if (op < 16) {
		chaos_track(ch, op, at, pages);
	} else if (op < 19) {
		ch->what = "load";
		try_load(ch->w->cpu[0], PAGE(at));
	} else {
		ch->what = "store";
		chaos_store(ch, at);
	}
}

/* Fill all mappings, and map all other addresses. */
static void chaos_create(struct chaos *ch, struct world *w, uint64_t seed)
{
	struct vellum_map_args args = {.size = sizeof(args),
				       .addr = MMAP_MIN_ADDR,
				       .len = BASE - MMAP_MIN_ADDR,
				       .flags = ANON | VELLUM_MAP_FIXED};
	uint64_t addr;

	memset(ch, 0, sizeof(*ch));
	ch->w = w;
	ch->seed = seed;
	for (unsigned i = 0; i < 4; i++)
		ch->c[i] = new_counting();
	OK(vellum_mapping_create(w->memory, NULL, NULL, SPAN, 0, &ch->obj[0]));
	ch->obj[1] = new_object(w, ch->c[1], SPAN);
	ch->obj[2] = new_pfn_object(w, ch->c[2], SPAN);
	ch->file = new_object(w, ch->c[3], SPAN);
	map_object(w->mm, 0, SPAN, RO, VELLUM_MAP_SHARED | VELLUM_MAP_POPULATE, ch->obj[1], 0, RW);
	map_object(w->mm, 0, SPAN, RO, VELLUM_MAP_SHARED | VELLUM_MAP_POPULATE, ch->file, 0, RW);
	unmap(w->mm, 0, SPAN);
	OK(vellum_mmap(w->mm, &args, &addr));
	args.addr = PAGE(SPAN);
	args.len = VELLUM_TASK_SIZE - PAGE(SPAN);
	OK(vellum_mmap(w->mm, &args, &addr));
	for (unsigned i = 0; i < 2; i++) {
		OK(vellum_track_mm(w->mm, BASE, PAGE(SPAN), i, &ch->rep[i].t));
		OK(vellum_track_mapping(ch->obj[0], 0, SPAN, i, &ch->object_t[i]));
		for (unsigned page = 0; page < SPAN; page++)
			for (unsigned o = 0; o < OBJECTS; o++)
				object_page(ch, o, page, &ch->rep[i].object[o][page]);
	}
}

static void chaos_destroy(struct chaos *ch)
{
	if (ch->child)
		end_child(ch->child, ch->w->cpu[1]);
	for (unsigned i = 0; i < 2; i++) {
		collect_and_compare(ch, i);
		collect_object(ch, i);
		vellum_tracker_destroy(ch->rep[i].t);
		vellum_tracker_destroy(ch->object_t[i]);
	}
	OK(vellum_munmap(ch->w->mm, BASE, BYTES(SPAN)));
	for (unsigned i = 0; i < OBJECTS; i++)
		vellum_mapping_put(ch->obj[i]);
	vellum_mapping_put(ch->file);
	vellum_memory_free_device(ch->w->memory, ch->c[2]->first_pfn, SPAN);
}

static void random_operations(void **state)
{
	static struct chaos ch;

	for (unsigned run = 1; run <= 6; run++) {
		chaos_create(&ch, *state, run * 7919);
		ch.run = run;
		for (ch.step = 0; ch.step < 4000; ch.step++) {
			const char *why = NULL;

			chaos_step(&ch);
			if (vellum_validate(ch.w->memory, &why))
				fail_msg("seed %u, step %u (%s): %s", run, ch.step, ch.what, why);
		}
		chaos_destroy(&ch);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WORLD_TEST(random_operations),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
