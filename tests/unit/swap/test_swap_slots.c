/* SPDX-License-Identifier: MIT */
/* Slots of swap areas: which one is allocated next, their counts, and areas that are full, closing or removed. */
#include "swap_support.h"
#include "mm/object/object.h"
#include "mm/swap/swap.h"
#include "vellum/dirty.h"

#define CHUNK 1024	/* slots whose counts are allocated together */
#define LARGE (2 * CHUNK + 452)
#define SMALL 10

struct area {
	unsigned type, frees;
	uint64_t last_free;
};

static void note_free(void *ctx, uint64_t slot)
{
	struct area *a = ctx;

	a->frees++;
	a->last_free = slot;
}

static int fill_read(void *ctx, uint64_t slot, void *page)
{
	(void)ctx;
	memset(page, (int)slot, PAGE_SIZE);
	return 0;
}

static int drop_write(void *ctx, uint64_t slot, const void *page)
{
	(void)ctx;
	(void)slot;
	(void)page;
	return 0;
}

static const struct vellum_swap_ops note_ops = {
	.size = sizeof(note_ops), .read = fill_read, .write = drop_write, .free = note_free };

static void add_area(struct world *w, struct area *a, uint64_t nr)
{
	*a = (struct area){ .frees = 0 };
	OK(vellum_swap_add(w->memory, &note_ops, a, nr, &a->type));
}

static struct vellum_swap_info info_of_swap(struct world *w)
{
	struct vellum_swap_info info = { .size = sizeof(info) };

	OK(vellum_swap_info(w->memory, &info));
	return info;
}

/* --- which slot is next --- */

static void must_be_next(struct world *w, const struct area *a, uint64_t nr)
{
	assert_int_equal(slot_alloc(w->memory), make_slot(a->type, nr));
}

static void put(struct world *w, struct area *a, uint64_t nr)
{
	unsigned before = a->frees;

	slot_put(w->memory, make_slot(a->type, nr));
	assert_int_equal(a->frees, before + 1);
	assert_int_equal(a->last_free, nr);
}

static void slots_are_taken_in_turn(void **state)
{
	struct world *w = *state;
	struct area large, small;

	add_area(w, &large, LARGE);
	add_area(w, &small, SMALL);
	for (unsigned i = 0; i < 100; i++)
		must_be_next(w, &large, i);
	put(w, &large, 7);
	for (unsigned i = 100; i < LARGE; i++)		/* slot 7 only after the last one */
		must_be_next(w, &large, i);
	must_be_next(w, &large, 7);
	for (unsigned i = 0; i < SMALL; i++)
		must_be_next(w, &small, i);
	assert_int_equal(slot_alloc(w->memory), 0);
	assert_int_equal(info_of_swap(w).nr_slots, LARGE + SMALL);
	assert_int_equal(info_of_swap(w).nr_used, LARGE + SMALL);
	put(w, &small, 3);
	put(w, &large, CHUNK - 1);
	put(w, &large, CHUNK);
	put(w, &large, LARGE - 1);
	put(w, &large, 0);
	must_be_next(w, &large, CHUNK - 1);
	must_be_next(w, &large, CHUNK);
	must_be_next(w, &large, LARGE - 1);
	must_be_next(w, &large, 0);
	must_be_next(w, &small, 3);
	assert_int_equal(slot_alloc(w->memory), 0);
	for (unsigned i = 0; i < LARGE; i++)
		put(w, &large, i);
	for (unsigned i = 0; i < SMALL; i++)
		put(w, &small, i);
	assert_int_equal(info_of_swap(w).nr_used, 0);
}

/* A chunk whose counts cannot be allocated is passed over. */
static void chunk_without_memory_is_skipped(void **state)
{
	struct world *w = *state;
	struct area large;

	add_area(w, &large, LARGE);
	w->host.fail_at = w->host.nr_allocs + 1;
	must_be_next(w, &large, CHUNK);
	must_be_next(w, &large, CHUNK + 1);
	put(w, &large, CHUNK);
	put(w, &large, CHUNK + 1);
	w->host.fail_at = 0;
	OK(vellum_swap_remove(w->memory, large.type));
	add_area(w, &large, SMALL);
	w->host.fail_at = w->host.nr_allocs + 1;
	must_be_next(w, &large, 0);	/* the only chunk is tried again */
	put(w, &large, 0);
}

/* --- counts --- */

static void slot_lives_until_its_last_count(void **state)
{
	struct world *w = *state;
	struct area a;
	slot_t slot;

	assert_false(swap_slot_exists(w->memory, make_slot(0, 0)));	/* there is no swap at all */
	assert_int_equal(slot_alloc(w->memory), 0);
	add_area(w, &a, SMALL);
	slot = slot_alloc(w->memory);
	assert_int_equal(slot_count(w->memory, slot), 1);
	assert_true(swap_slot_exists(w->memory, slot));
	assert_false(swap_slot_exists(w->memory, make_slot(a.type, 1)));
	assert_false(swap_slot_exists(w->memory, make_slot(a.type, SMALL)));
	assert_false(swap_slot_exists(w->memory, make_slot(a.type, CHUNK)));
	assert_false(swap_slot_exists(w->memory, make_slot(a.type + 1, 0)));
	slot_dup(w->memory, slot);
	slot_dup(w->memory, slot);
	assert_int_equal(slot_count(w->memory, slot), 3);
	slot_put(w->memory, slot);
	slot_put(w->memory, slot);
	assert_int_equal(slot_count(w->memory, slot), 1);
	assert_int_equal(info_of_swap(w).nr_used, 1);
	assert_int_equal(a.frees, 0);
	put(w, &a, 0);
	assert_false(swap_slot_exists(w->memory, slot));
	assert_int_equal(info_of_swap(w).nr_used, 0);
}

/* --- areas --- */

static void areas_have_sizes_and_hooks(void **state)
{
	struct world *w = *state;
	struct vellum_swap_ops ops = note_ops;
	struct area a;
	unsigned type = 77;

	assert_int_equal(vellum_swap_add(w->memory, NULL, &a, 1, &type), -EINVAL);
	assert_int_equal(vellum_swap_add(w->memory, &ops, &a, 0, &type), -EINVAL);
	assert_int_equal(vellum_swap_add(w->memory, &ops, &a, (1ull << 32) + 1, &type), -EINVAL);
	ops.read = NULL;
	assert_int_equal(vellum_swap_add(w->memory, &ops, &a, 1, &type), -EINVAL);
	ops = note_ops;
	ops.write = NULL;
	assert_int_equal(vellum_swap_add(w->memory, &ops, &a, 1, &type), -EINVAL);
	assert_int_equal(type, 77);
	for (unsigned k = 1; k <= 3; k++) {
		/* First the state and the area fail, which are allocated in this order. The state stays. Then the counts. */
		uint64_t live = w->host.live, at = k == 3 ? 2 : k;

		w->host.fail_at = w->host.nr_allocs + at;
		assert_int_equal(vellum_swap_add(w->memory, &note_ops, &a, CHUNK, &type), -ENOMEM);
		w->host.fail_at = 0;
		assert_int_equal(w->host.live, live + (k == 2));
	}
	OK(vellum_swap_add(w->memory, &note_ops, &a, 1, NULL));
	OK(vellum_swap_add(w->memory, &note_ops, &a, CHUNK + 1, &type));
	assert_int_equal(type, 1);
	assert_int_equal(info_of_swap(w).nr_slots, CHUNK + 2);
}

static void closing_area_gives_no_slots(void **state)
{
	struct world *w = *state;
	struct area first, second;

	assert_int_equal(swap_close(w->memory, 0), -EINVAL);
	add_area(w, &first, SMALL);
	add_area(w, &second, SMALL);
	must_be_next(w, &first, 0);
	assert_int_equal(swap_close(w->memory, VELLUM_MAX_SWAP_AREAS), -EINVAL);
	assert_int_equal(swap_close(w->memory, VELLUM_MAX_SWAP_AREAS - 1), -EINVAL);
	OK(swap_close(w->memory, first.type));
	assert_int_equal(swap_close(w->memory, first.type), -VELLUM_EBUSY);
	must_be_next(w, &second, 0);
	assert_false(swap_try_remove(w->memory, first.type));	/* a slot is in use: the area is open again */
	must_be_next(w, &first, 1);
	put(w, &first, 0);
	put(w, &first, 1);
	OK(swap_close(w->memory, first.type));
	assert_true(swap_try_remove(w->memory, first.type));
	assert_int_equal(info_of_swap(w).nr_slots, SMALL);
	must_be_next(w, &second, 1);
	assert_false(swap_slot_exists(w->memory, make_slot(first.type, 0)));
	add_area(w, &first, SMALL);
	assert_int_equal(first.type, 0);	/* the lowest free number */
	put(w, &second, 0);
	put(w, &second, 1);
}

/* Of shared memory, only the pages that are in the removed area come in. */
static void removal_reads_the_pages_of_the_area_only(void **state)
{
	struct world *w = *state;
	struct disk low, high;
	struct vellum_mapping *mapping;

	disk_create(&low, w, 3);
	disk_create(&high, w, 8);
	map_at(w->mm, 0, 8, RW, SHANON);
	mapping = vma_at(w->mm, BASE)->mapping;
	for (unsigned i = 0; i < 7; i++)
		store(w->cpu[0], PAGE(i), i + 1);
	pageout(w->mm, 0, 8);
	assert_int_equal(low.writes, 3);
	assert_int_equal(high.writes, 4);
	assert_int_equal(info_of_swap(w).nr_out, 7);
	low.read_err = -VELLUM_EIO;
	low.bad_slot = 1;
	assert_int_equal(vellum_swap_remove(w->memory, low.area), -VELLUM_EIO);
	assert_int_equal(slots_used(w), 5);		/* the page that cannot be read stays there */
	low.read_err = 0;
	OK(vellum_swap_remove(w->memory, low.area));
	check_world(w);
	assert_int_equal(high.reads, 0);
	assert_int_equal(slots_used(w), 4);
	assert_int_equal(info_of_swap(w).nr_in, 3);
	for (unsigned i = 0; i < 8; i++)
		assert_true(mapping_has(mapping, i) == (i < 7));
	for (unsigned i = 0; i < 8; i++)
		assert_int_equal(load(w->cpu[0], PAGE(i)), i < 7 ? i + 1 : 0);
	assert_int_equal(high.reads, 4);
	unmap(w->mm, 0, 8);
	OK(vellum_swap_remove(w->memory, high.area));
	disk_destroy(&low);
	disk_destroy(&high);
}

/* A private page that cannot be read becomes poison, which trackers hear of. Its neighbours come in. */
static void unreadable_page_is_reported(void **state)
{
	struct swap_world *sw = *state;
	struct world *w = &sw->w;
	struct vellum_tracker *t;

	map_at(w->mm, 0, 4, RW, ANON);
	for (unsigned i = 0; i < 4; i++)
		store(w->cpu[0], PAGE(i), i + 1);
	OK(vellum_track_mm(w->mm, PAGE(0), PAGE(4), VELLUM_TRACK_WP, &t));
	pageout(w->mm, 0, 4);
	collect(t, PAGE(0) >> PAGE_SHIFT);
	sw->disk.bad_slot = pte_swp_offset(entry_at(w->mm, PAGE(2)));
	sw->disk.read_err = -VELLUM_EIO;
	OK(vellum_swap_remove(w->memory, sw->disk.area));
	check_world(w);
	assert_int_equal(entry_at(w->mm, PAGE(2)).val, pte_marker(MARKER_POISON).val);
	assert_true(collect(t, PAGE(0) >> PAGE_SHIFT) & 4);
	for (unsigned i = 0; i < 4; i++)
		if (i != 2)
			assert_int_equal(load(w->cpu[0], PAGE(i)), i + 1);
	assert_int_equal(vellum_mm_swapped(w->mm), 0);
	vellum_tracker_destroy(t);
}

/* Without a free frame the area stays, is open again, and can be removed later. */
static void removal_without_frames_can_be_repeated(void **state)
{
	static uint64_t pfn[4096];
	struct swap_world *sw = *state;
	struct world *w = &sw->w;
	unsigned nr = 0;

	map_at(w->mm, 0, 4, RW, SHANON);
	for (unsigned i = 0; i < 4; i++)
		store(w->cpu[0], PAGE(i), i + 1);
	pageout(w->mm, 0, 4);
	assert_int_equal(slots_used(w), 4);
	while (!vellum_memory_alloc_device(w->memory, 1, &pfn[nr]))
		nr++;
	assert_int_equal(vellum_swap_remove(w->memory, sw->disk.area), -ENOMEM);
	assert_int_equal(slots_used(w), 4);
	vellum_memory_free_device(w->memory, pfn[--nr], 1);
	assert_int_equal(vellum_swap_remove(w->memory, sw->disk.area), -ENOMEM);	/* one page has come in */
	assert_int_equal(slots_used(w), 3);
	while (nr)
		vellum_memory_free_device(w->memory, pfn[--nr], 1);
	OK(vellum_swap_remove(w->memory, sw->disk.area));
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(load(w->cpu[0], PAGE(i)), i + 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WORLD_TEST(slots_are_taken_in_turn),
		WORLD_TEST(chunk_without_memory_is_skipped),
		WORLD_TEST(slot_lives_until_its_last_count),
		WORLD_TEST(areas_have_sizes_and_hooks),
		WORLD_TEST(closing_area_gives_no_slots),
		WORLD_TEST(removal_reads_the_pages_of_the_area_only),
		SWAP_TEST(unreadable_page_is_reported),
		SWAP_TEST(removal_without_frames_can_be_repeated),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
