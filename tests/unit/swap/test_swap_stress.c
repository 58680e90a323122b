/* SPDX-License-Identifier: MIT */
/*
 * Four times as many pages as RAM has, and two CPUs that store, while pages are moved in all ways: no byte is
 * lost.
 */
#include <pthread.h>
#include <sched.h>

#include "device_support.h"

enum { PRIVATE_PAGES = 2048, OBJECT_PAGES = 2048, STABLE = 1024, OBJECT_AT = 4096, SAMPLES = 24 };

#ifdef VELLUM_TSAN
enum { STORES = 12000 };
#else
enum { STORES = 120000 };
#endif

struct stress {
	struct swap_world sw;
	struct gpu *gpu;
	struct vellum_uffd *uffd;
	struct vellum_mapping *obj;
	uint64_t private[PRIVATE_PAGES], object[OBJECT_PAGES];	/* the values stored last; atomic */
	unsigned running;	/* threads that store; atomic */
	unsigned oom, wrong;	/* atomic */
};

struct storer {
	struct stress *st;
	struct vellum_soft_cpu *cpu;
	unsigned nr;
	uint64_t seed;
	pthread_t thread;
};

static uint64_t get(uint64_t *shadow)
{
	return __atomic_load_n(shadow, __ATOMIC_ACQUIRE);
}

/* Now and then mprotect removes a right, and grants it again. */
static enum vellum_fault_result patient_store(struct storer *s, uint64_t addr, uint64_t val)
{
	enum vellum_fault_result result;

	while ((result = vellum_soft_store64(s->cpu, addr, val)) == VELLUM_FAULT_SIGSEGV_ACCERR)
		sched_yield();
	if (result == VELLUM_FAULT_OOM)
		disk_count(&s->st->oom);
	else if (result != VELLUM_FAULT_OK && result != VELLUM_FAULT_SIGBUS)
		disk_count(&s->st->wrong);
	return result;
}

/* The first and the last word of a private page count up together. */
static void store_private(struct storer *s)
{
	unsigned page = 2 * random_below(&s->seed, PRIVATE_PAGES / 2) + s->nr;
	uint64_t val = 0, last = 0, now = get(&s->st->private[page]);

	if (vellum_soft_load64(s->cpu, PAGE(page), &val) ||
	    vellum_soft_load64(s->cpu, PAGE(page) + 4088, &last))
		disk_count(&s->st->oom);
	else if (val != now || last != now)
		disk_count(&s->st->wrong);
	else if (patient_store(s, PAGE(page), now + 1) || patient_store(s, PAGE(page) + 4088, now + 1))
		disk_count(&s->st->wrong);
	else
		__atomic_store_n(&s->st->private[page], now + 1, __ATOMIC_RELEASE);
}

/* Pages from STABLE on may be truncated at any moment: they are zero, or hold the value stored last. */
static void store_object(struct storer *s)
{
	unsigned page = 2 * random_below(&s->seed, OBJECT_PAGES / 2) + s->nr;
	uint64_t addr = PAGE(OBJECT_AT + page), val = 0, now = get(&s->st->object[page]);
	enum vellum_fault_result result = vellum_soft_load64(s->cpu, addr, &val);

	if (result == VELLUM_FAULT_OOM)
		disk_count(&s->st->oom);
	else if (result != VELLUM_FAULT_OK && !(page >= STABLE && result == VELLUM_FAULT_SIGBUS))
		disk_count(&s->st->wrong);
	else if (result == VELLUM_FAULT_OK && val != now && !(page >= STABLE && !val))
		disk_count(&s->st->wrong);
	result = patient_store(s, addr, now + 1);
	if (result == VELLUM_FAULT_OK)
		__atomic_store_n(&s->st->object[page], now + 1, __ATOMIC_RELEASE);
	else if (page < STABLE)
		disk_count(&s->st->wrong);
}

static void *keep_storing(void *arg)
{
	struct storer *s = arg;

	for (unsigned i = 0; i < STORES; i++) {
		if (i & 1)
			store_object(s);
		else
			store_private(s);
	}
	__atomic_fetch_sub(&s->st->running, 1, __ATOMIC_RELEASE);
	return NULL;
}

/* --- operations of the main thread --- */

static void fork_and_compare(struct stress *st, uint64_t *seed)
{
	struct world *w = &st->sw.w;
	struct vellum_mm *child;
	unsigned page[SAMPLES];
	uint64_t before[SAMPLES];

	for (unsigned i = 0; i < SAMPLES; i++) {
		page[i] = random_below(seed, PRIVATE_PAGES);
		before[i] = get(&st->private[page[i]]);
	}
	child = fork_on(w->mm, w->cpu[3]);
	for (unsigned i = 0; i < SAMPLES; i++) {
		uint64_t after = get(&st->private[page[i]]), val = load(w->cpu[3], PAGE(page[i]));

		if (val < before[i] || val > after + 1)
			disk_count(&st->wrong);
		store(w->cpu[3], PAGE(page[i]) + 2048, i);	/* the child copies the page */
		if (load(w->cpu[3], PAGE(page[i])) != val)
			disk_count(&st->wrong);
	}
	end_child(child, w->cpu[3]);
}

static void protect_for_a_while(struct stress *st, unsigned at)
{
	struct world *w = &st->sw.w;

	protect(w->mm, at, 64, RO);
	pageout(w->mm, at, 64);
	sched_yield();
	protect(w->mm, at, 64, RW);
}

static void truncate_for_a_while(struct stress *st, uint64_t *seed)
{
	OK(vellum_mapping_set_size(st->obj, BYTES(STABLE) + 8 * random_below(seed, 4096)));
	sched_yield();
	OK(vellum_mapping_set_size(st->obj, BYTES(OBJECT_PAGES)));
	OK(vellum_mapping_punch_hole(st->obj, BYTES(STABLE + 600) + 8, BYTES(3)));
}

static void one_round(struct stress *st, uint64_t *seed)
{
	struct world *w = &st->sw.w;
	unsigned at = random_below(seed, PRIVATE_PAGES - 64),
		 object_at = OBJECT_AT + random_below(seed, OBJECT_PAGES - 64);

	switch (random_below(seed, 8)) {
	case 0:
		fork_and_compare(st, seed);
		break;
	case 1:
		pageout(w->mm, at, 64);
		pageout(w->mm, object_at, 64);
		break;
	case 2:
		protect_for_a_while(st, at);
		break;
	case 3:
		wp(st->uffd, at, 64);
		break;
	case 4:
		truncate_for_a_while(st, seed);
		break;
	case 5:
		to_gpu(st->gpu, w->mm, at, 16);
		break;
	case 6:
		for (unsigned i = 0; i < 16; i++)
			vellum_migrate_page(w->mm, PAGE(i & 1 ? at + i : object_at + i));
		break;
	default:
		clear_soft_dirty(w->mm);
		vellum_reclaim(w->memory, 32);
		break;
	}
}

static void stress_create(struct stress *st)
{
	memset(st, 0, sizeof(*st));
	swap_world_create(&st->sw, 4 << 20, 16384);
	st->gpu = gpu_create(&st->sw.w, GPU_PAGES);
	OK(vellum_mapping_create(st->sw.w.memory, NULL, NULL, OBJECT_PAGES, 0, &st->obj));
	map_at(st->sw.w.mm, 0, PRIVATE_PAGES, RW, ANON | VELLUM_MAP_NORESERVE);
	map_object(st->sw.w.mm, OBJECT_AT, OBJECT_PAGES, RW, VELLUM_MAP_SHARED, st->obj, 0, RW);
	st->uffd = register_wp(st->sw.w.mm, 0, PRIVATE_PAGES, VELLUM_UFFD_FEATURE_WP_ASYNC);
}

static void compare_all(struct stress *st)
{
	struct world *w = &st->sw.w;

	for (unsigned i = 0; i < PRIVATE_PAGES; i++) {
		assert_int_equal(load(w->cpu[0], PAGE(i)), st->private[i]);
		assert_int_equal(load(w->cpu[0], PAGE(i) + 4088), st->private[i]);
	}
	for (unsigned i = 0; i < OBJECT_PAGES; i++) {
		uint64_t val = load(w->cpu[0], PAGE(OBJECT_AT + i));

		assert_true(val == st->object[i] || (i >= STABLE && !val));
	}
}

static void no_store_is_lost_while_pages_move(void **state)
{
	static struct stress st;
	struct storer s[2];
	uint64_t seed = 4711;
	unsigned rounds = 0;

	(void)state;
	stress_create(&st);
	st.running = 2;
	for (unsigned i = 0; i < 2; i++) {
		s[i] = (struct storer){ .st = &st, .cpu = st.sw.w.cpu[1 + i], .nr = i, .seed = 99 + i };
		vellum_soft_load_mm(s[i].cpu, st.sw.w.mm);
		assert_int_equal(pthread_create(&s[i].thread, NULL, keep_storing, &s[i]), 0);
	}
	for (; __atomic_load_n(&st.running, __ATOMIC_ACQUIRE); rounds++)
		one_round(&st, &seed);
	for (unsigned i = 0; i < 2; i++) {
		pthread_join(s[i].thread, NULL);
		vellum_soft_load_mm(s[i].cpu, NULL);
	}
	check_world(&st.sw.w);
	assert_int_equal(st.oom, 0);
	assert_int_equal(st.wrong, 0);
	compare_all(&st);
	check_world(&st.sw.w);
	assert_true(rounds > 20);
	assert_true(st.sw.disk.writes > 1000 && st.sw.disk.reads > 1000);
	OK(vellum_munmap(st.sw.w.mm, MMAP_MIN_ADDR, VELLUM_TASK_SIZE - MMAP_MIN_ADDR));
	vellum_mapping_put(st.obj);
	vellum_uffd_put(st.uffd);
	gpu_destroy(st.gpu);
	swap_world_destroy(&st.sw);
}

/* --- new pages while reclaim looks for pages --- */

struct newcomer {
	struct vellum_mm *mm;
	struct vellum_soft_cpu *cpu;
	unsigned *running, at, wrong;
	pthread_t thread;
};

static void *bring_in_and_drop(void *arg)
{
	struct newcomer *n = arg;

	for (unsigned i = 0; i < STORES; i++) {
		uint64_t addr = PAGE(n->at + i % 32), val = 0;

		if (vellum_soft_store64(n->cpu, addr, i + 1) || vellum_soft_load64(n->cpu, addr, &val) ||
		    val != i + 1)
			n->wrong++;
		if (i % 32 == 31 && vellum_madvise(n->mm, PAGE(n->at), BYTES(32), VELLUM_MADV_DONTNEED))
			n->wrong++;
	}
	__atomic_fetch_sub(n->running, 1, __ATOMIC_RELEASE);
	return NULL;
}

static void reclaim_meets_new_pages(void **state)
{
	static struct swap_world sw;
	struct newcomer n[2];
	unsigned running = 2;

	(void)state;
	swap_world_create(&sw, 4 << 20, 4096);
	for (unsigned i = 0; i < 2; i++) {
		map_at(sw.w.mm, 1024 * i, 32, RW, ANON);
		n[i] = (struct newcomer){
			.mm = sw.w.mm, .cpu = sw.w.cpu[1 + i], .at = 1024 * i, .running = &running};
		vellum_soft_load_mm(n[i].cpu, sw.w.mm);
		assert_int_equal(pthread_create(&n[i].thread, NULL, bring_in_and_drop, &n[i]), 0);
	}
	while (__atomic_load_n(&running, __ATOMIC_ACQUIRE))
		vellum_reclaim(sw.w.memory, 8);
	for (unsigned i = 0; i < 2; i++) {
		pthread_join(n[i].thread, NULL);
		vellum_soft_load_mm(n[i].cpu, NULL);
		assert_int_equal(n[i].wrong, 0);
	}
	swap_world_destroy(&sw);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_store_is_lost_while_pages_move),
		cmocka_unit_test(reclaim_meets_new_pages),
	};

	return cmocka_run_group_tests_name("swap_stress", tests, NULL, NULL);
}
