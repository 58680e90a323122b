/* SPDX-License-Identifier: MIT */
/* The two helpers on shared mappings: counts, bitmaps, visited VMAs, the order of events. */
#include "more_support.h"

#include <pthread.h>

#define SHARED VELLUM_MAP_SHARED

static struct vellum_mapping *plain_object(struct world *w, unsigned pages)
{
	struct vellum_mapping *obj;

	OK(vellum_mapping_create(w->memory, NULL, NULL, pages, 0, &obj));
	return obj;
}

struct cleaning {
	uint64_t bitmap[4], start, end, count;
};

static void clean(struct vellum_mapping *obj, uint64_t first, uint64_t nr, uint64_t pgoff,
		  struct cleaning *c)
{
	OK(vellum_clean_record_shared_mapping_range(obj, first, nr, pgoff, c->bitmap, &c->start,
						    &c->end, &c->count));
}

static uint64_t clean_count(struct vellum_mapping *obj)
{
	struct cleaning c = {.start = 0};

	clean(obj, 0, 64, 0, &c);
	return c.count;
}

static uint64_t wp_count(struct vellum_mapping *obj, uint64_t first, uint64_t nr)
{
	uint64_t count;

	OK(vellum_wp_shared_mapping_range(obj, first, nr, &count));
	return count;
}

/* A mapping of 64 pages: all pages at PAGE(0), and those from 16 on at PAGE(100). */
static struct vellum_mapping *mapped_twice(struct world *w)
{
	struct vellum_mapping *obj = plain_object(w, 64);

	map_object(w->mm, 0, 64, RW, SHARED, obj, 0, RW);
	map_object(w->mm, 100, 48, RW, SHARED, obj, 16, RW);
	return obj;
}

static void T_wpc_01_counts_and_bitmap(void **state)
{
	struct world *w = *state;
	struct vellum_mapping *obj = mapped_twice(w);
	struct cleaning c = {.start = 0};

	store(w->cpu[0], PAGE(5), 1);
	store(w->cpu[0], PAGE(20), 1);
	store(w->cpu[0], PAGE(40), 1);
	store(w->cpu[0], PAGE(100 + 20 - 16), 1); /* also mapped at PAGE(20) */
	store(w->cpu[0], PAGE(100 + 50 - 16), 1);
	load(w->cpu[0], PAGE(7));
	clean(obj, 0, 64, 0, &c);
	assert_int_equal(c.count, 5);
	assert_int_equal(c.bitmap[0], 1ull << 5 | 1ull << 20 | 1ull << 40 | 1ull << 50);
	assert_int_equal(c.start, 5);
	assert_int_equal(c.end, 51);
	assert_true(has_w(w->mm, PAGE(5))); /* stays writable */
	c.bitmap[0] = 0;
	clean(obj, 0, 64, 0, &c);
	assert_int_equal(c.count, 0);
	assert_int_equal(c.bitmap[0], 0);
	assert_int_equal(c.start, 5); /* as passed */
	assert_int_equal(c.end, 51);
	check_world(w);
	vellum_mapping_put(obj);
}

static void T_wpc_01_write_protect(void **state)
{
	struct world *w = *state;
	struct vellum_mapping *obj = mapped_twice(w);
	pte_t before;

	store(w->cpu[0], PAGE(20), 1);
	store(w->cpu[0], PAGE(104), 1);
	load(w->cpu[0], PAGE(30));
	before = entry_at(w->mm, PAGE(20));
	assert_int_equal(wp_count(obj, 0, 20), 0);
	assert_int_equal(wp_count(obj, 21, 43), 1); /* page 30 is writable after a load */
	assert_int_equal(wp_count(obj, 0, 64), 2);
	assert_int_equal(wp_count(obj, 0, 64), 0);
	assert_false(has_w(w->mm, PAGE(20)));
	assert_true(has_d(w->mm, PAGE(20)));
	assert_int_equal(entry_at(w->mm, PAGE(20)).val, pte_wrprotect(before).val);
	assert_int_equal(clean_count(obj), 2); /* write-protection keeps D as the saved bit */
	store(w->cpu[0], PAGE(20), 2);
	assert_int_equal(count_of(w, VELLUM_COUNT_FAULT_NOTIFY), 1);
	check_world(w);
	vellum_mapping_put(obj);
}

static void T_wpc_02_none_set(void **state)
{
	struct world *w = *state;
	struct vellum_mapping *obj = mapped_twice(w);
	struct cleaning c = {.start = 7, .end = 7};

	clean(obj, 0, 64, 0, &c);
	assert_int_equal(c.start, 64);
	assert_int_equal(c.end, 0);
	c.start = 9;
	c.end = 3;
	clean(obj, 8, 16, 8, &c);
	assert_int_equal(c.start, 16);
	assert_int_equal(c.end, 0);
	store(w->cpu[0], PAGE(12), 1);
	clean(obj, 8, 16, 8, &c); /* (16, 0) also means none */
	assert_int_equal(c.start, 4);
	assert_int_equal(c.end, 5);
	store(w->cpu[0], PAGE(20), 1);
	clean(obj, 8, 16, 8, &c); /* the range grows */
	assert_int_equal(c.start, 4);
	assert_int_equal(c.end, 13);
	assert_int_equal(c.bitmap[0], 1 << 4 | 1 << 12);
	vellum_mapping_put(obj);
}

/* Bit 0 is page @bitmap_pgoff. The start may be below the first bit, but not above. */
static void bitmap_offset(void **state)
{
	struct world *w = *state;
	struct vellum_mapping *obj = mapped_twice(w);
	struct cleaning c = {.start = 0};

	store(w->cpu[0], PAGE(10), 1);
	store(w->cpu[0], PAGE(50), 1);
	clean(obj, 50, 4, 3, &c);
	assert_int_equal(c.bitmap[0], 1ull << 47);
	assert_int_equal(c.start, 4); /* nr bounds the start */
	assert_int_equal(c.end, 48);
	assert_true(has_d(w->mm, PAGE(10))); /* outside the range */
	c = (struct cleaning){.bitmap = {~0ull, 0, 0, 0}};
	clean(obj, 0, 64, 0, &c);
	assert_int_equal(c.bitmap[0], ~0ull); /* bits are only set, never cleared */
	assert_int_equal(c.count, 1);
	vellum_mapping_put(obj);
}

static void bits_beyond_the_first_word(void **state)
{
	struct world *w = *state;
	struct vellum_mapping *obj = plain_object(w, 200);
	struct cleaning c = {.start = 0};

	map_object(w->mm, 0, 200, RW, SHARED, obj, 0, RW);
	for (unsigned i = 0; i < 200; i += 63)
		store(w->cpu[0], PAGE(i), 1);
	clean(obj, 0, 200, 0, &c);
	assert_int_equal(c.bitmap[0], 1ull | 1ull << 63);
	assert_int_equal(c.bitmap[1], 1ull << 62);
	assert_int_equal(c.bitmap[2], 1ull << 61);
	assert_int_equal(c.bitmap[3], 0);
	assert_int_equal(c.end, 190);
	vellum_mapping_put(obj);
}

static void T_wpc_03_filter(void **state)
{
	struct world *w = *state;
	struct vellum_mapping *obj = plain_object(w, 8);
	struct vellum_mm *child;

	/* In the order of the walk: private, read-only file, made read-only by mprotect, writable. */
	map_object(w->mm, 0, 8, RW, VELLUM_MAP_PRIVATE, obj, 0, RW);
	map_object(w->mm, 16, 8, RO, SHARED, obj, 0, RO);
	map_object(w->mm, 32, 8, RW, SHARED, obj, 0, RW);
	map_object(w->mm, 48, 8, RW, SHARED, obj, 0, RW);
	store(w->cpu[0], PAGE(1), 1);
	load(w->cpu[0], PAGE(17));
	store(w->cpu[0], PAGE(33), 1);
	store(w->cpu[0], PAGE(49), 1);
	protect(w->mm, 32, 8, RO);
	child = fork_on(w->mm, w->cpu[1]);
	store(w->cpu[1], PAGE(50), 1);
	assert_int_equal(wp_count(obj, 0, 8), 2); /* page 49 of the parent, and 50 of the child */
	assert_int_equal(clean_count(obj), 3);	  /* and the page of the VMA made read-only */
	assert_true(has_d(w->mm, PAGE(1)));
	assert_int_equal(clean_count(obj), 0);
	end_child(child, w->cpu[1]);
	check_world(w);
	vellum_mapping_put(obj);
}

static void T_wpc_04_not_present(void **state)
{
	struct world *w = *state;
	struct vellum_mapping *obj = plain_object(w, 16);
	const pte_t raw[] = {
		pte_marker(MARKER_UFFD_WP),
		pte_marker(MARKER_POISON),
		pte_marker(MARKER_GUARD),
		swp_entry_pte(0, 0x1234),
		swp_entry_pte(5, 0),
		pte_make(swp_entry_pte(1, 5).val | 0xe),
		swp_entry_pte(SWP_MIGRATION_WRITE, 0x1000 | MIGRATION_DIRTY),
		swp_entry_pte(SWP_DEVICE_WRITE, 77),
		swp_entry_pte(SWP_HWPOISON, 1),
		pte_make(0x60),
	};

	map_object(w->mm, 0, 16, RW, SHARED, obj, 0, RW);
	store(w->cpu[0], PAGE(15), 1);
	for (unsigned i = 0; i < ARRAY_SIZE(raw); i++)
		set_entry_at(w->mm, PAGE(i), raw[i]);
	assert_int_equal(wp_count(obj, 0, 16), 1);
	assert_int_equal(clean_count(obj), 1);
	for (unsigned i = 0; i < ARRAY_SIZE(raw); i++) {
		assert_int_equal(entry_at(w->mm, PAGE(i)).val, raw[i].val);
		set_entry_at(w->mm, PAGE(i), pte_make(0));
	}
	vellum_mapping_put(obj);
}

/* PROT_NONE entries are present: D is collected, the frame stays. */
static void prot_none_entries_are_cleaned(void **state)
{
	struct world *w = *state;
	struct vellum_mapping *obj = plain_object(w, 4);

	map_object(w->mm, 0, 4, RW, SHARED, obj, 0, RW);
	store(w->cpu[0], PAGE(1), 11);
	protect(w->mm, 0, 4, 0);
	assert_int_equal(wp_count(obj, 0, 4), 0);
	assert_int_equal(clean_count(obj), 1);
	protect(w->mm, 0, 4, RW);
	assert_int_equal(load(w->cpu[0], PAGE(1)), 11);
	vellum_mapping_put(obj);
}

static void T_wpc_08_exact_snapshot(void **state)
{
	struct world *w = *state;
	struct counting *c = new_counting();
	struct vellum_mapping *obj = new_object(w, c, 8);

	map_object(w->mm, 0, 8, RW, SHARED, obj, 0, RW);
	for (unsigned i = 0; i < 4; i++)
		store(w->cpu[0], PAGE(i), 1);
	assert_int_equal(wp_count(obj, 0, 8), 4);
	c->mkwrite_code = VELLUM_VMF_SIGBUS; /* stores fail */
	assert_int_equal(clean_count(obj), 4);
	for (unsigned i = 0; i < 8; i++)
		assert_int_equal(try_store(w->cpu[0], PAGE(i), 2), VELLUM_FAULT_SIGBUS);
	assert_int_equal(clean_count(obj), 0);
	c->mkwrite_code = 0;
	store(w->cpu[0], PAGE(2), 2);
	assert_int_equal(clean_count(obj), 1);
	vellum_mapping_put(obj);
}

static void pages_of_several_processes_are_visited(void **state)
{
	struct world *w = *state;
	struct vellum_mapping *obj = plain_object(w, 8);
	struct vellum_mm *mm[3] = {w->mm};

	map_object(w->mm, 0, 8, RW, SHARED, obj, 0, RW);
	mm[1] = fork_on(w->mm, w->cpu[1]);
	mm[2] = fork_on(mm[1], w->cpu[2]);
	for (unsigned i = 0; i < 3; i++)
		store(w->cpu[i], PAGE(3), i);
	assert_int_equal(wp_count(obj, 3, 1), 3);
	for (unsigned i = 0; i < 3; i++)
		assert_false(has_w(mm[i], PAGE(3)));
	assert_int_equal(clean_count(obj), 3);
	store(w->cpu[2], PAGE(3), 1);
	assert_int_equal(clean_count(obj), 1);
	end_child(mm[1], w->cpu[1]);
	end_child(mm[2], w->cpu[2]);
	vellum_mapping_put(obj);
}

static void dirt_of_device_frames_is_recorded(void **state)
{
	struct world *w = *state;
	struct counting *c = new_counting();
	struct vellum_mapping *dev = new_pfn_object(w, c, 8);

	map_object(w->mm, 0, 8, RW, SHARED, dev, 0, RW);
	map_object(w->mm, 16, 8, RW, VELLUM_MAP_PRIVATE, dev, 0, RW);
	store(w->cpu[0], PAGE(1), 1);
	store(w->cpu[0], PAGE(17), 1);
	assert_int_equal(wp_count(dev, 0, 8), 1);
	assert_int_equal(clean_count(dev), 1);
	store(w->cpu[0], PAGE(1), 2);
	assert_int_equal(c->mkwrites, 2);
	clean_count(dev);
	unmap(w->mm, 0, 24);
	assert_int_equal(c->dirts, 0); /* D was collected before the unmap */
	vellum_mapping_put(dev);
	vellum_memory_free_device(w->memory, c->first_pfn, 8);
}

static void wrong_arguments(void **state)
{
	struct world *w = *state;
	struct vellum_mapping *obj = mapped_twice(w);
	uint64_t b[2] = {0}, s = 3, e = 4, n = 99;

	store(w->cpu[0], PAGE(1), 1);
	assert_int_equal(vellum_wp_shared_mapping_range(obj, 0, 0, &n), -EINVAL);
	assert_int_equal(vellum_wp_shared_mapping_range(NULL, 0, 1, &n), -EINVAL);
	assert_int_equal(vellum_wp_shared_mapping_range(obj, ~0ull, 2, &n), -EINVAL);
	assert_int_equal(vellum_wp_shared_mapping_range(obj, 1, ~0ull, &n), -EINVAL);
	assert_int_equal(vellum_wp_shared_mapping_range(obj, 1ull << 52, 1, &n), -EINVAL);
#define CLEAN vellum_clean_record_shared_mapping_range
	assert_int_equal(CLEAN(obj, 0, 0, 0, b, &s, &e, &n), -EINVAL);
	assert_int_equal(CLEAN(obj, 0, 8, 1, b, &s, &e, &n), -EINVAL);
	assert_int_equal(CLEAN(obj, 0, 8, 0, NULL, &s, &e, &n), -EINVAL);
	assert_int_equal(CLEAN(obj, 0, 8, 0, b, NULL, &e, &n), -EINVAL);
	assert_int_equal(CLEAN(obj, 0, 8, 0, b, &s, NULL, &n), -EINVAL);
	assert_int_equal(CLEAN(NULL, 0, 8, 0, b, &s, &e, &n), -EINVAL);
	assert_int_equal(CLEAN(obj, 1, 1ull << 52, 0, b, &s, &e, &n), -EINVAL);
	assert_int_equal(n, 99);
	assert_int_equal(s, 3);
	assert_int_equal(e, 4);
	assert_int_equal(b[0], 0);
	assert_true(has_w(w->mm, PAGE(1)) && has_d(w->mm, PAGE(1)));
	OK(CLEAN(obj, 0, 64, 0, b, &s, &e, NULL));
	OK(vellum_wp_shared_mapping_range(obj, 0, 1ull << 52, NULL));
	vellum_mapping_put(obj);
}

/* --- the order: start, change, flush, finish --- */

struct order {
	struct world *w;
	struct vellum_notifier n;
	char log[32];
	unsigned nr;
	uint64_t start, end, val_at_start;
	enum vellum_notifier_event event;
};

static void note(struct order *o, char what)
{
	if (o->nr < sizeof(o->log) - 1)
		o->log[o->nr++] = what;
}

static void on_start(void *ctx, enum vellum_notifier_event event, uint64_t start, uint64_t end)
{
	struct order *o = ctx;

	note(o, 's');
	o->event = event;
	o->start = start;
	o->end = end;
	o->val_at_start = entry_at(o->w->mm, PAGE(1)).val;
}

static void on_finish(void *ctx, enum vellum_notifier_event event, uint64_t start, uint64_t end)
{
	struct order *o = ctx;

	note(o, 'e');
	if (event != o->event || start != o->start || end != o->end)
		note(o, '!');
}

static void on_flush(void *arg)
{
	struct order *o = arg;

	note(o, entry_at(o->w->mm, PAGE(1)).val != o->val_at_start ? 'F' : 'f');
}

static struct order *watch_order(struct world *w)
{
	static struct order o;

	o = (struct order){.w = w, .n = {.start = on_start, .finish = on_finish, .ctx = &o}};
	vellum_notifier_register(w->mm, &o.n);
	vellum_soft_set_flush_hook(w->soft, on_flush, &o);
	return &o;
}

/* The log so far. Clears it. */
static const char *taken(struct order *o)
{
	static char log[32];

	memcpy(log, o->log, sizeof(log));
	memset(o->log, 0, sizeof(o->log));
	o->nr = 0;
	return log;
}

static void notifier_order(void **state)
{
	struct world *w = *state;
	struct vellum_mapping *obj = plain_object(w, 8);
	struct order *o;

	map_object(w->mm, 0, 8, RW, SHARED, obj, 0, RW);
	store(w->cpu[0], PAGE(1), 1);
	o = watch_order(w);
	clean_count(obj);
	assert_string_equal(taken(o), "sFe");
	assert_int_equal(o->event, VELLUM_NOTIFY_PROTECTION_PAGE);
	assert_int_equal(o->start, BASE);
	assert_int_equal(o->end, PAGE(8));
	wp_count(obj, 1, 2);
	assert_string_equal(taken(o), "sFe");
	assert_int_equal(o->start, PAGE(1));
	assert_int_equal(o->end, PAGE(3));
	dontneed(w->mm, 0, 8);
	assert_string_equal(taken(o), "sFe");
	assert_int_equal(o->event, VELLUM_NOTIFY_CLEAR);
	store(w->cpu[0], PAGE(1), 1);
	vellum_unmap_mapping_range(obj, 0, 8);
	assert_string_equal(taken(o), "sFe");
	vellum_notifier_unregister(w->mm, &o->n);
	clean_count(obj);
	assert_string_equal(taken(o), "");
	vellum_mapping_put(obj);
}

/* mremap with old length 0 moves no page, so no notification comes. */
static void mremap_of_old_length_0_does_not_notify(void **state)
{
	struct world *w = *state;
	struct order *o;
	uint64_t at = PAGE(100);

	map_at(w->mm, 0, 8, RW, SHANON);
	store(w->cpu[0], PAGE(1), 7);
	o = watch_order(w);
	OK(vellum_mremap(w->mm, PAGE(0), 0, BYTES(8), VELLUM_MREMAP_MAYMOVE | VELLUM_MREMAP_FIXED, &at));
	assert_string_equal(taken(o), "");
	vellum_notifier_unregister(w->mm, &o->n);
	vellum_soft_set_flush_hook(w->soft, NULL, NULL);
	assert_int_equal(load(w->cpu[0], PAGE(101)), 7);
}

/* "after the flush" is @finish. */
static void mprotect_notifies_until_the_flush(void **state)
{
	struct world *w = *state;
	struct order *o;

	map_at(w->mm, 0, 8, RW, ANON);
	store(w->cpu[0], PAGE(1), 1);
	o = watch_order(w);
	protect(w->mm, 0, 8, RO);
	vellum_notifier_unregister(w->mm, &o->n);
	assert_string_equal(taken(o), "sFe");
}

static void fork_notifies_until_the_flush(void **state)
{
	struct world *w = *state;
	struct vellum_mm *child;
	struct order *o;

	map_at(w->mm, 0, 8, RW, ANON);
	store(w->cpu[0], PAGE(1), 1);
	o = watch_order(w);
	OK(vellum_fork(w->mm, &child));
	vellum_notifier_unregister(w->mm, &o->n);
	vellum_mm_put(child);
	assert_string_equal(taken(o), "sFe");
}

static void cow_and_munmap_order(void **state)
{
	struct world *w = *state;
	struct vellum_mm *child;
	struct order *o;

	map_at(w->mm, 0, 8, RW, ANON);
	store(w->cpu[0], PAGE(1), 1);
	OK(vellum_fork(w->mm, &child));
	o = watch_order(w);
	store(w->cpu[0], PAGE(1), 2);
	assert_string_equal(taken(o), "sFe");
	assert_int_equal(o->event, VELLUM_NOTIFY_CLEAR);
	unmap(w->mm, 0, 8);
	assert_string_equal(taken(o), "sFe");
	assert_int_equal(o->event, VELLUM_NOTIFY_UNMAP);
	vellum_notifier_unregister(w->mm, &o->n);
	vellum_mm_put(child);
}

static void T_wpc_09_what_is_flushed(void **state)
{
	struct world *w = *state;
	struct vellum_mapping *obj = mapped_twice(w);
	uint64_t flushes;

	store(w->cpu[0], PAGE(1), 1);
	flushes = count_of(w, VELLUM_COUNT_TLB_FLUSHES);
	assert_int_equal(clean_count(obj), 1);
	assert_int_equal(count_of(w, VELLUM_COUNT_TLB_FLUSHES), flushes + 1);
	assert_int_equal(clean_count(obj), 0); /* no entry was changed, and no other window is open: no flush */
	assert_int_equal(count_of(w, VELLUM_COUNT_TLB_FLUSHES), flushes + 1);
	flush_window_open(w->mm); /* of another thread */
	assert_int_equal(clean_count(obj), 0);
	assert_int_equal(count_of(w, VELLUM_COUNT_TLB_FLUSHES), flushes + 3); /* both VMAs */
	flush_window_close(w->mm, &(struct vellum_flush_batch){.kinds = 0}, BASE, PAGE(1));
	vellum_mapping_put(obj);
}

/* --- guarantee (b), with threads --- */

#define PAGES 16

struct race {
	struct world *w;
	struct vellum_mapping *obj;
	uint32_t stop; /* atomic */
};

static void *keep_storing(void *arg)
{
	struct race *r = arg;
	uint64_t seed = 5, n = 0;

	while (!__atomic_load_n(&r->stop, __ATOMIC_ACQUIRE))
		vellum_soft_store64(r->w->cpu[1], PAGE(random_below(&seed, PAGES)), ++n);
	return NULL;
}

/* The consumer copies the pages in the bitmap. */
static void consume(struct race *r, struct cleaning *c, uint64_t *copy)
{
	static uint64_t page[512];

	for (unsigned i = 0; i < PAGES; i++)
		if (c->bitmap[0] >> i & 1 && vellum_peek(r->w->mm, PAGE(i), page) == 1)
			copy[i] = page[0];
	c->bitmap[0] = 0;
}

static void T_wpc_07_every_page_covered(void **state)
{
	struct race r = {.w = *state};
	struct cleaning c = {.start = 0};
	uint64_t copy[PAGES] = {0};
	pthread_t thread;

	r.obj = plain_object(r.w, PAGES);
	map_object(r.w->mm, 0, PAGES, RW, SHARED, r.obj, 0, RW);
	vellum_soft_load_mm(r.w->cpu[1], r.w->mm);
	OK(pthread_create(&thread, NULL, keep_storing, &r));
	for (unsigned i = 0; i < 3000; i++) {
		if (i % 5 == 0)
			wp_count(r.obj, 0, PAGES);
		clean(r.obj, 0, PAGES, 0, &c);
		consume(&r, &c, copy);
	}
	__atomic_store_n(&r.stop, 1, __ATOMIC_RELEASE);
	pthread_join(thread, NULL);
	clean(r.obj, 0, PAGES, 0, &c);
	consume(&r, &c, copy);
	for (unsigned i = 0; i < PAGES; i++)
		assert_int_equal(copy[i], load(r.w->cpu[0], PAGE(i)));
	vellum_soft_load_mm(r.w->cpu[1], NULL);
	vellum_mapping_put(r.obj);
}

/*
 * (c) while another thread splits and merges the VMA elsewhere. Each entry must be visited, even if its VMA is
 * being split.
 */
static void *split_and_merge(void *arg)
{
	struct race *r = arg;

	while (!__atomic_load_n(&r->stop, __ATOMIC_ACQUIRE)) {
		protect(r->w->mm, 2, 2, RO);
		protect(r->w->mm, 2, 2, RW);
	}
	return NULL;
}

#ifdef VELLUM_TSAN
#define SPLIT_ROUNDS 2000
#else
#define SPLIT_ROUNDS 10000
#endif

static void wp_and_clean_during_splits(void **state)
{
	struct race r = {.w = *state};
	unsigned wp_missed = 0, clean_missed = 0;
	pthread_t thread;

	r.obj = plain_object(r.w, 8);
	map_object(r.w->mm, 0, 8, RW, SHARED, r.obj, 0, RW);
	OK(pthread_create(&thread, NULL, split_and_merge, &r));
	for (unsigned i = 0; i < SPLIT_ROUNDS; i++) {
		store(r.w->cpu[0], PAGE(7), i);
		wp_missed += wp_count(r.obj, 7, 1) != 1;
		clean_missed += clean_count(r.obj) != 1;
	}
	__atomic_store_n(&r.stop, 1, __ATOMIC_RELEASE);
	pthread_join(thread, NULL);
	vellum_mapping_put(r.obj);
	assert_int_equal(wp_missed, 0);
	assert_int_equal(clean_missed, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WORLD_TEST(T_wpc_01_counts_and_bitmap),
		WORLD_TEST(T_wpc_01_write_protect),
		WORLD_TEST(T_wpc_02_none_set),
		WORLD_TEST(bitmap_offset),
		WORLD_TEST(bits_beyond_the_first_word),
		WORLD_TEST(T_wpc_03_filter),
		WORLD_TEST(T_wpc_04_not_present),
		WORLD_TEST(prot_none_entries_are_cleaned),
		WORLD_TEST(T_wpc_08_exact_snapshot),
		WORLD_TEST(pages_of_several_processes_are_visited),
		WORLD_TEST(dirt_of_device_frames_is_recorded),
		WORLD_TEST(wrong_arguments),
		WORLD_TEST(notifier_order),
		WORLD_TEST(mremap_of_old_length_0_does_not_notify),
		WORLD_TEST(mprotect_notifies_until_the_flush),
		WORLD_TEST(fork_notifies_until_the_flush),
		WORLD_TEST(cow_and_munmap_order),
		WORLD_TEST(T_wpc_09_what_is_flushed),
		WORLD_TEST(T_wpc_07_every_page_covered),
		WORLD_TEST(wp_and_clean_during_splits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
