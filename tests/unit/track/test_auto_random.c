/* SPDX-License-Identifier: MIT */
/*
 * VELLUM_TRACK_AUTO with random operations. Replicas that are updated only from collections must equal memory,
 * for trackers of all methods at once.
 */
#include "file_support.h"

#define SPAN   48  /* pages that may be mapped; the rest of the address space is taken */
#define START  488 /* of the span: 24 pages on each side of a border between chunks */
#define AT(i)  (START + (i))
#define NR_MM  4
#define NR_ALL 6 /* the last two track the shared file */

enum { SHMEM, SHARED_FILE, NR_OBJECTS }; /* page i of each is mapped at AT(i) only */

struct page {
	unsigned char bytes[4096];
};

struct replica {
	struct vellum_tracker *t;
	struct page private[SPAN], object[NR_OBJECTS][SPAN];
	bool valid[SPAN]; /* the content is in private[]; else zeros, or the file's bytes */
	struct vellum_vma_info as[SPAN]; /* the VMA that was mapped there */
	unsigned to_wp, to_clean;
};

struct chaos {
	struct world *w;
	uint64_t seed;
	struct file shared, private; /* the second is only mapped private */
	struct vellum_mapping *obj[NR_OBJECTS];
	struct replica rep[NR_ALL];
	struct vellum_mm *child;
	unsigned run, step;
};

static struct chaos *current; /* for the callback of a collection */

static unsigned below(struct chaos *ch, unsigned n)
{
	return random_below(&ch->seed, n);
}

static void read_object(struct vellum_mapping *obj, uint64_t page, void *buf)
{
	if (page < SPAN)
		OK(vellum_mapping_read(obj, BYTES(page), buf, 4096));
	else
		memset(buf, 0, 4096);
}

static bool mapping_of(struct chaos *ch, unsigned i, struct vellum_vma_info *info)
{
	info->size = sizeof(*info);
	return vellum_vma_next(ch->w->mm, PAGE(AT(i)), info) == 0 && info->start <= PAGE(AT(i));
}

static uint64_t index_of(const struct vellum_vma_info *info, unsigned i)
{
	return info->pgoff + ((PAGE(AT(i)) - info->start) >> 12);
}

static void memory_page(struct chaos *ch, unsigned i, const struct vellum_vma_info *info, void *buf)
{
	if (vellum_peek(ch->w->mm, PAGE(AT(i)), buf) == 1)
		return;
	memset(buf, 0, 4096);
	if (info->mapping)
		read_object(info->mapping, index_of(info, i), buf);
}

static int feed(void *arg, uint64_t first, uint64_t nr)
{
	const uint64_t base = (BASE >> 12) + START;
	struct replica *r = arg;

	for (uint64_t at = first; at < first + nr; at++) {
		unsigned i = (unsigned)(at - base);

		if (at < base || i >= SPAN) /* outside the span: no stores */
			continue;
		r->valid[i] = mapping_of(current, i, &r->as[i]) && !r->as[i].shared &&
			      vellum_peek(current->w->mm, PAGE(AT(i)), &r->private[i]) == 1;
		for (unsigned o = 0; o < NR_OBJECTS; o++)
			read_object(current->obj[o], i, &r->object[o][i]);
	}
	return 0;
}

static bool same_mapping(const struct vellum_vma_info *a, const struct vellum_vma_info *b)
{
	return a->mapping == b->mapping &&
	       (!a->mapping || a->pgoff - (a->start >> 12) == b->pgoff - (b->start >> 12));
}

static void expected_page(struct chaos *ch, struct replica *r, unsigned i,
			  const struct vellum_vma_info *info, void *buf)
{
	for (unsigned o = 0; o < NR_OBJECTS; o++)
		if (info->mapping == ch->obj[o]) {
			memcpy(buf, &r->object[o][i], 4096);
			return;
		}
	memset(buf, 0, 4096);
	if (r->valid[i] && same_mapping(&r->as[i], info))
		memcpy(buf, &r->private[i], 4096);
	else if (info->mapping)
		read_object(info->mapping, index_of(info, i), buf);
}

static void collect_mm(struct chaos *ch, unsigned nr)
{
	static struct page have, want;
	struct replica *r = &ch->rep[nr];

	current = ch;
	OK(vellum_tracker_collect(r->t, 0, ~0ull, feed, r));
	for (unsigned i = 0; i < SPAN; i++) {
		struct vellum_vma_info info = { .size = sizeof(info) };

		if (!mapping_of(ch, i, &info))
			continue;
		memory_page(ch, i, &info, &have);
		expected_page(ch, r, i, &info, &want);
		if (memcmp(&have, &want, 4096))
			fail_msg("seed %u, step %u: replica %u differs at page %u", ch->run,
				 ch->step, nr, i);
	}
}

static int feed_object(void *arg, uint64_t first, uint64_t nr)
{
	struct replica *r = arg;

	for (uint64_t page = first; page < first + nr && page < SPAN; page++)
		read_object(current->shared.mapping, page, &r->object[SHARED_FILE][page]);
	return 0;
}

static void collect_object(struct chaos *ch, unsigned nr)
{
	static struct page have;
	struct replica *r = &ch->rep[nr];

	current = ch;
	OK(vellum_tracker_collect(r->t, 0, ~0ull, feed_object, r));
	for (unsigned page = 0; page < SPAN; page++) {
		read_object(ch->shared.mapping, page, &have);
		if (memcmp(&have, &r->object[SHARED_FILE][page], 4096))
			fail_msg("seed %u, step %u: replica of mapping %u differs at page %u",
				 ch->run, ch->step, nr, page);
	}
}

static void collect_some(struct chaos *ch)
{
	unsigned nr = below(ch, NR_ALL);

	if (nr < NR_MM)
		collect_mm(ch, nr);
	else
		collect_object(ch, nr);
}

/* --- the operations --- */

static void map_something(struct chaos *ch, unsigned i, unsigned pages)
{
	uint32_t prot = below(ch, 4) ? RW : RO, extra = below(ch, 4) ? 0 : VELLUM_MAP_POPULATE;
	struct vellum_mm *mm = ch->w->mm;

	switch (below(ch, 5)) {
	case 0:
	case 1:
		map_at(mm, AT(i), pages, prot, ANON | extra);
		break;
	case 2:
		map_object(mm, AT(i), pages, prot, VELLUM_MAP_PRIVATE | extra, ch->private.mapping,
			   below(ch, SPAN - pages), RO);
		break;
	default:
		map_object(mm, AT(i), pages, prot, VELLUM_MAP_SHARED | extra,
			   ch->obj[below(ch, NR_OBJECTS)], i, RW);
		break;
	}
}

static bool all_private(struct chaos *ch, unsigned i, unsigned pages)
{
	struct vellum_vma_info info = { .size = sizeof(info) };

	for (unsigned p = i; p < i + pages; p++)
		if (!mapping_of(ch, p, &info) || info.shared)
			return false;
	return true;
}

/* A shared page is only mapped at its own address. */
static void move_something(struct chaos *ch, unsigned i, unsigned pages)
{
	uint64_t addr = PAGE(AT(below(ch, SPAN - pages)));

	if (!all_private(ch, i, pages))
		return;
	switch (below(ch, 3)) {
	case 0:
		vellum_mremap(ch->w->mm, PAGE(AT(i)), BYTES(pages), BYTES(1 + below(ch, pages + 4)),
			      VELLUM_MREMAP_MAYMOVE, &addr);
		break;
	case 1:
		vellum_mremap(ch->w->mm, PAGE(AT(i)), BYTES(pages), BYTES(pages),
			      VELLUM_MREMAP_MAYMOVE | VELLUM_MREMAP_FIXED, &addr);
		break;
	default:
		vellum_mremap(ch->w->mm, PAGE(AT(i)), BYTES(pages), BYTES(pages),
			      VELLUM_MREMAP_MAYMOVE | VELLUM_MREMAP_FIXED | VELLUM_MREMAP_DONTUNMAP,
			      &addr);
		break;
	}
}

static void use_child(struct chaos *ch, unsigned i)
{
	struct vellum_vma_info info = { .size = sizeof(info) };

	if (!ch->child) {
		ch->child = fork_on(ch->w->mm, ch->w->cpu[1]);
	} else if (below(ch, 8) == 0) {
		end_child(ch->child, ch->w->cpu[1]);
		ch->child = NULL;
	} else if (vellum_vma_next(ch->child, PAGE(AT(i)), &info) == 0 && !info.shared) {
		try_store(ch->w->cpu[1], PAGE(AT(i)), random_u64(&ch->seed));
	}
}

/* A program that stores to all pages makes a chunk busy. */
static void store_many(struct chaos *ch, unsigned pages)
{
	uint64_t val = random_u64(&ch->seed);
	unsigned first = below(ch, SPAN);

	for (unsigned i = first; i < first + pages && i < SPAN; i++)
		try_store(ch->w->cpu[0], PAGE(AT(i)) + 8 * (val % 512), val + i);
}

/* An access by the embedder, where a VMA maps the file's page. Else no tracker reports it. */
static void change_object(struct chaos *ch, unsigned i)
{
	uint64_t val = random_u64(&ch->seed);
	struct vellum_vma_info info = { .size = sizeof(info) };

	if (!mapping_of(ch, i, &info) || !info.shared)
		return;
	if (below(ch, 3))
		OK(vellum_mapping_write(info.mapping, BYTES(i) + 8 * (val % 512), &val, 8));
	else
		OK(vellum_mapping_punch_hole(info.mapping, BYTES(i) + val % 4096, 1));
}

static void run_helper(struct chaos *ch, unsigned i, unsigned pages)
{
	uint64_t bitmap[1] = {0}, start = 0, end = 0;
	struct vellum_mapping *obj = ch->obj[below(ch, NR_OBJECTS)];

	switch (below(ch, 6)) {
	case 0:
		OK(vellum_wp_shared_mapping_range(obj, i, pages, NULL));
		break;
	case 1:
		OK(vellum_clean_record_shared_mapping_range(obj, i, pages, i, bitmap, &start, &end,
							    NULL));
		break;
	case 2:
		vellum_unmap_mapping_range(obj, i, pages);
		break;
	case 3:
		OK(vellum_mapping_writeback(obj, i, pages, NULL));
		break;
	case 4:
		vellum_reclaim(ch->w->memory, below(ch, 8));
		break;
	default:
		vellum_writeback_step(ch->w->memory, below(ch, 8));
		break;
	}
}

static void do_step(struct chaos *ch)
{
	static const uint32_t prots[] = {RW, RW, RO, 0};
	unsigned i = below(ch, SPAN - 8), pages = 1 + below(ch, 7);
	struct vellum_mm *mm = ch->w->mm;
	uint64_t val = ch->step;

	switch (below(ch, 26)) {
	case 0:
	case 1:
		map_something(ch, i, pages);
		break;
	case 2:
		unmap(mm, AT(i), pages);
		break;
	case 3:
		vellum_mprotect(mm, PAGE(AT(i)), BYTES(pages), prots[below(ch, 4)]);
		break;
	case 4:
		move_something(ch, i, pages);
		break;
	case 5:
		vellum_madvise(mm, PAGE(AT(i)), BYTES(pages),
			       below(ch, 2) ? VELLUM_MADV_DONTNEED : VELLUM_MADV_FREE);
		break;
	case 6:
	case 7:
		use_child(ch, i);
		break;
	case 8:
		run_helper(ch, i, pages);
		break;
	case 9:
		change_object(ch, i);
		break;
	case 10:
		vellum_copy_to_user(mm, PAGE(AT(i)) + 4092, &val, 8, NULL);
		break;
	case 11:
	case 12:
	case 13:
	case 14:
		collect_some(ch);
		break;
	case 15:
	case 16:
		store_many(ch, 8 + below(ch, SPAN));
		break;
	case 17:
		OK(vellum_tracker_costs(ch->rep[below(ch, NR_ALL)].t, 1 + below(ch, 1000), 3000));
		break;
	case 18:
		vellum_madvise(mm, PAGE(AT(i)), BYTES(pages), VELLUM_MADV_POPULATE_READ);
		break;
	case 19:
	case 20:
		try_load(ch->w->cpu[0], PAGE(AT(i)));
		break;
	default:
		try_store(ch->w->cpu[0], PAGE(AT(i)) + 8 * below(ch, 512), random_u64(&ch->seed));
		break;
	}
}

/* --- setup and teardown --- */

static void count_switch(void *arg, uint64_t first, uint64_t nr, enum vellum_track_method method)
{
	struct replica *r = arg;

	(void)first, (void)nr;
	*(method == VELLUM_TRACK_WP ? &r->to_wp : &r->to_clean) += 1;
}

static void take_the_rest(struct world *w)
{
	struct vellum_map_args args = {.size = sizeof(args),
				       .addr = MMAP_MIN_ADDR,
				       .len = PAGE(START) - MMAP_MIN_ADDR,
				       .flags = ANON | VELLUM_MAP_FIXED};
	uint64_t addr;

	OK(vellum_mmap(w->mm, &args, &addr));
	args.addr = PAGE(START + SPAN);
	args.len = VELLUM_TASK_SIZE - args.addr;
	OK(vellum_mmap(w->mm, &args, &addr));
}

static void chaos_create(struct chaos *ch, struct world *w, unsigned run)
{
	static const enum vellum_track_method methods[NR_ALL] = {
		VELLUM_TRACK_AUTO,  VELLUM_TRACK_AUTO, VELLUM_TRACK_WP,
		VELLUM_TRACK_CLEAN, VELLUM_TRACK_AUTO, VELLUM_TRACK_WP};

	memset(ch, 0, sizeof(*ch));
	ch->w = w;
	ch->run = run;
	ch->seed = run * 15485863ull;
	file_create(&ch->shared, w, SPAN);
	file_create(&ch->private, w, SPAN);
	OK(vellum_mapping_create(w->memory, NULL, NULL, SPAN, 0, &ch->obj[SHMEM]));
	ch->obj[SHARED_FILE] = ch->shared.mapping;
	take_the_rest(w);
	for (unsigned i = 0; i < NR_ALL; i++) {
		struct replica *r = &ch->rep[i];

		if (i < NR_MM)
			OK(vellum_track_mm(w->mm, BASE, PAGE(1024), methods[i], &r->t));
		else
			OK(vellum_track_mapping(ch->shared.mapping, 0, i == NR_MM ? 4096 : SPAN,
						methods[i], &r->t));
		vellum_tracker_on_switch(r->t, count_switch, r);
		for (unsigned p = 0; p < SPAN; p++)
			read_object(ch->shared.mapping, p, &r->object[SHARED_FILE][p]);
	}
	OK(vellum_tracker_costs(ch->rep[0].t, 1000, 2000));
	OK(vellum_tracker_costs(ch->rep[NR_MM].t, 1000, 2000));
}

static void chaos_destroy(struct chaos *ch)
{
	if (ch->child)
		end_child(ch->child, ch->w->cpu[1]);
	for (unsigned i = 0; i < NR_ALL; i++) {
		if (i < NR_MM)
			collect_mm(ch, i);
		else
			collect_object(ch, i);
		if (i < 2) /* the method changed several times */
			assert_true(ch->rep[i].to_wp && ch->rep[i].to_clean);
		vellum_tracker_destroy(ch->rep[i].t);
	}
	OK(vellum_munmap(ch->w->mm, MMAP_MIN_ADDR, VELLUM_TASK_SIZE - MMAP_MIN_ADDR));
	vellum_mapping_put(ch->obj[SHMEM]);
	file_destroy(&ch->shared);
	file_destroy(&ch->private);
}

static void random_operations(void **state)
{
	static struct chaos ch;

	for (unsigned run = 1; run <= 6; run++) {
		chaos_create(&ch, *state, run);
		for (ch.step = 0; ch.step < 4000; ch.step++) {
			const char *why = NULL;

			do_step(&ch);
			if (vellum_validate(ch.w->memory, &why))
				fail_msg("seed %u, step %u: %s", run, ch.step, why);
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
