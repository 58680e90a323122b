/* SPDX-License-Identifier: MIT */
/*
 * A machine whose CPUs write cached entries back (VELLUM_MMU_CLEAR_FLUSH). If a change takes rights from a
 * present entry without clearing and flushing it in between, this machine restores them.
 */
#define _GNU_SOURCE
#include "fail_sweep.h"
#include "file_support.h"

#include <sys/mman.h>

#define NR_CPUS 2
#define CACHED 128
#define PAGES 32

/* A cached entry of a CPU, and its location. */
struct copy {
	uint64_t addr, val; /* val 0: unused */
	uint64_t *entry;
};

struct machine {
	struct world w;
	struct vellum_mmu_ops ops;
	struct vellum_mm *running[NR_CPUS];
	struct copy copies[NR_CPUS][CACHED];
};

/* --- the machine --- */

/* Write the W and D of the cached entry back, if the entry is present and still maps the same frame. */
static void write_back(const struct copy *c)
{
	uint64_t live = entry_load(c->entry);

	while ((live & X86_PRESENT) && pte_pfn(pte_make(live)) == pte_pfn(pte_make(c->val)) &&
	       !entry_cmpxchg(c->entry, &live, live | (c->val & (X86_RW | X86_DIRTY))))
		;
}

/* A real CPU may do this at any moment. */
static void write_all_back(struct machine *m)
{
	for (unsigned cpu = 0; cpu < NR_CPUS; cpu++)
		for (unsigned i = 0; i < CACHED; i++)
			if (m->copies[cpu][i].val)
				write_back(&m->copies[cpu][i]);
}

static void forget(struct machine *m, struct vellum_mm *mm, uint64_t start, uint64_t end)
{
	for (unsigned cpu = 0; cpu < NR_CPUS; cpu++)
		for (unsigned i = 0; i < CACHED; i++) {
			struct copy *c = &m->copies[cpu][i];

			if (m->running[cpu] == mm && c->val && c->addr >= start && c->addr < end) {
				write_back(c);
				c->val = 0;
			}
		}
}

static void machine_flush(void *machine, struct vellum_mm *mm, const struct vellum_flush_batch *batch)
{
	write_all_back(machine);
	for (unsigned i = 0; i < batch->nr_ranges; i++)
		forget(machine, mm, batch->range[i].start, batch->range[i].end);
}

static void machine_flush_mm(void *machine, struct vellum_mm *mm)
{
	write_all_back(machine);
	forget(machine, mm, 0, ~0ull);
}

static bool permits(uint64_t val, bool store)
{
	return (val & X86_PRESENT) && (!store || (val & X86_RW));
}

static struct copy *copy_of(struct machine *m, unsigned cpu, uint64_t addr)
{
	struct copy *unused = NULL;

	for (unsigned i = 0; i < CACHED; i++) {
		struct copy *c = &m->copies[cpu][i];

		if (c->val && c->addr == addr)
			return c;
		if (!c->val)
			unused = c;
	}
	assert_non_null(unused);
	*unused = (struct copy){.addr = addr};
	return unused;
}

/* Cache the entry, with A and D as the access needs them. False: a fault. */
static bool walk(struct vellum_mm *mm, struct copy *c, bool store)
{
	struct mutex *ptl;
	pte_t *ptep = pte_lookup(mm, c->addr, &ptl), old = ptep ? ptep_get(ptep) : pte_make(0);
	uint64_t bits = X86_ACCESSED | (store ? X86_DIRTY : 0);

	do {
		if (!permits(old.val, store))
			return false;
	} while (!ptep_cmpxchg(ptep, &old, pte_make(old.val | bits)));
	c->entry = &ptep->val;
	c->val = old.val | bits;
	return true;
}

static uint64_t *word_at(struct machine *m, const struct copy *c, uint64_t addr)
{
	char *host = vellum_frame_host(m->w.memory, pte_pfn(pte_make(c->val)));

	return (uint64_t *)(host + addr % PAGE_SIZE);
}

static uint64_t *use(struct machine *m, unsigned cpu, uint64_t addr, bool store)
{
	struct vellum_mm *mm = m->running[cpu];
	struct copy *c = copy_of(m, cpu, addr & PAGE_MASK);

	while (!permits(c->val, store)) {
		uint32_t error = VELLUM_FAULT_USER | (store ? VELLUM_FAULT_WRITE : 0);

		c->val = 0;
		if (walk(mm, c, store))
			break;
		assert_int_equal(vellum_handle_fault(mm, addr, error), VELLUM_FAULT_OK);
		c = copy_of(m, cpu, addr & PAGE_MASK);
	}
	if (store && !(c->val & X86_DIRTY)) {
		c->val |= X86_DIRTY;
		write_back(c);
	}
	return word_at(m, c, addr);
}

static void put(struct machine *m, unsigned cpu, unsigned page, uint64_t val)
{
	*use(m, cpu, PAGE(page), true) = val;
}

static uint64_t get(struct machine *m, unsigned cpu, unsigned page)
{
	return *use(m, cpu, PAGE(page), false);
}

static void run(struct machine *m, unsigned cpu, struct vellum_mm *mm)
{
	if (m->running[cpu]) {
		memset(m->copies[cpu], 0, sizeof(m->copies[cpu]));
		vellum_mm_deactivate(m->running[cpu], cpu);
	}
	m->running[cpu] = mm;
	if (mm)
		vellum_mm_activate(mm, cpu);
}

/* --- a world with this machine --- */

static void create(struct machine *m, uint32_t caps)
{
	struct vellum_memory_args args = {.size = sizeof(args), .ram_size = 16 << 20};

	memset(m, 0, sizeof(*m));
	m->ops = (struct vellum_mmu_ops){.size = sizeof(m->ops), .caps = caps, .flush = machine_flush,
					 .flush_mm = machine_flush_mm};
	m->w.ram_size = args.ram_size;
	m->w.ram = mmap(NULL, args.ram_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(m->w.ram, MAP_FAILED);
	args.host = test_host_ops();
	args.host_ctx = &m->w.host;
	args.mmu = &m->ops;
	args.machine = m;
	args.ram = m->w.ram;
	OK(vellum_memory_create(&args, &m->w.memory));
	OK(vellum_mm_create(m->w.memory, &m->w.mm));
	for (unsigned cpu = 0; cpu < NR_CPUS; cpu++)
		run(m, cpu, m->w.mm);
	fail_sweep_begin(&m->w);
}

static void destroy(struct machine *m)
{
	for (unsigned cpu = 0; cpu < NR_CPUS; cpu++)
		run(m, cpu, NULL);
	vellum_mm_put(m->w.mm);
	assert_int_equal(vellum_memory_destroy(m->w.memory), 0);
	assert_int_equal(m->w.host.live, 0);
	assert_int_equal(m->w.host.bugs, 0);
	munmap(m->w.ram, m->w.ram_size);
	fail_sweep_end(&m->w);
}

static int setup(void **state)
{
	*state = malloc(sizeof(struct machine));
	create(*state, VELLUM_MMU_CLEAR_FLUSH);
	return 0;
}

static int teardown(void **state)
{
	check_world(&((struct machine *)*state)->w);
	destroy(*state);
	free(*state);
	return 0;
}

static struct vellum_mapping *object(struct machine *m)
{
	struct vellum_mapping *obj;

	OK(vellum_mapping_create(m->w.memory, NULL, NULL, PAGES, 0, &obj));
	map_object(m->w.mm, 0, PAGES, RW, VELLUM_MAP_SHARED, obj, 0, RW);
	return obj;
}

static uint64_t clean(struct vellum_mapping *obj)
{
	uint64_t bitmap = 0, start = 0, end = 0;

	OK(vellum_clean_record_shared_mapping_range(obj, 0, PAGES, 0, &bitmap, &start, &end, NULL));
	return bitmap;
}

/* --- the machine undoes changes that are not flushed --- */

/*
 * Without the capability, the core does not clear and flush, and the machine undoes its changes. So the tests
 * below can fail.
 */
static void without_clear_and_flush_changes_are_undone(void **state)
{
	struct machine *m = malloc(sizeof(*m));
	struct vellum_mapping *obj;

	(void)state;
	create(m, 0);
	obj = object(m);
	put(m, 0, 3, 1);
	put(m, 1, 4, 1);
	assert_int_equal(clean(obj), 1 << 3 | 1 << 4);
	assert_true(has_d(m->w.mm, PAGE(3)));	/* although no CPU stored since */
	put(m, 1, 4, 2);
	OK(vellum_wp_shared_mapping_range(obj, 0, PAGES, NULL));
	assert_true(has_w(m->w.mm, PAGE(4)));
	unmap(m->w.mm, 0, PAGES);
	vellum_mapping_put(obj);
	destroy(m);
	free(m);
}

/* --- the helpers --- */

static void clean_and_record(void **state)
{
	struct machine *m = *state;
	struct vellum_mapping *obj = object(m);

	put(m, 0, 3, 1);
	put(m, 1, 3, 2);
	put(m, 1, 4, 1);
	get(m, 0, 5);
	assert_int_equal(clean(obj), 1 << 3 | 1 << 4);
	write_all_back(m);
	assert_true(has_w(m->w.mm, PAGE(3)));
	assert_int_equal(clean(obj), 0);
	put(m, 0, 4, 2);
	put(m, 0, 5, 2);
	assert_int_equal(clean(obj), 1 << 4 | 1 << 5);
	assert_int_equal(get(m, 1, 3), 2);
	vellum_mapping_put(obj);
}

static void write_protect(void **state)
{
	struct machine *m = *state;
	struct vellum_mapping *obj = object(m);
	uint64_t count;

	put(m, 0, 3, 1);
	put(m, 1, 4, 1);
	OK(vellum_wp_shared_mapping_range(obj, 0, PAGES, &count));
	assert_int_equal(count, 2);
	write_all_back(m);
	assert_false(has_w(m->w.mm, PAGE(3)));
	assert_false(has_w(m->w.mm, PAGE(4)));
	assert_int_equal(clean(obj), 1 << 3 | 1 << 4); /* write-protection keeps D */
	put(m, 1, 3, 2);
	assert_int_equal(count_of(&m->w, VELLUM_COUNT_FAULT_NOTIFY), 1);
	assert_int_equal(get(m, 0, 3), 2);
	vellum_mapping_put(obj);
}

/* --- trackers: each collection has exactly the pages that were written --- */

static void track(struct machine *m, struct vellum_tracker *t)
{
	uint64_t seed = 77;

	collect(t, PAGE(0) >> PAGE_SHIFT);
	for (unsigned round = 0; round < 200; round++) {
		uint64_t want = 0;

		for (unsigned n = random_below(&seed, 12); n--;) {
			unsigned page = random_below(&seed, PAGES), cpu = random_below(&seed, NR_CPUS);

			if (random_below(&seed, 3)) {
				put(m, cpu, page, round);
				want |= 1ull << page;
			} else {
				get(m, cpu, page);
			}
		}
		if (random_below(&seed, 2))
			write_all_back(m);
		assert_int_equal(collect(t, PAGE(0) >> PAGE_SHIFT), want);
	}
}

static void trackers_are_exact(void **state)
{
	static const enum vellum_track_method methods[] = {VELLUM_TRACK_WP, VELLUM_TRACK_CLEAN,
							   VELLUM_TRACK_AUTO};
	struct machine *m = *state;

	for (unsigned i = 0; i < ARRAY_SIZE(methods); i++)
		for (unsigned shared = 0; shared < 2; shared++) {
			struct vellum_tracker *t;

			map_at(m->w.mm, 0, PAGES, RW, shared ? SHANON : ANON);
			for (unsigned page = 0; page < PAGES; page++)
				put(m, page % NR_CPUS, page, page);
			OK(vellum_track_mm(m->w.mm, PAGE(0), PAGE(PAGES), methods[i], &t));
			track(m, t);
			vellum_tracker_destroy(t);
			unmap(m->w.mm, 0, PAGES);
		}
}

/* --- writeback --- */

static void writeback_is_exact(void **state)
{
	struct machine *m = *state;
	struct file f;

	file_create(&f, &m->w, PAGES);
	map_shared(m->w.mm, 0, PAGES, &f, 0);
	for (unsigned round = 1; round < 20; round++) {
		uint64_t written;

		put(m, 0, 1, round);
		put(m, 1, round, round);
		f.write_mask = 0;
		OK(vellum_mapping_writeback(f.mapping, 0, PAGES, &written));
		assert_int_equal(f.write_mask, 1 << 1 | 1 << round);
		assert_int_equal(file_word(&f, BYTES(1)), round);
		assert_int_equal(file_word(&f, BYTES(round)), round);
		write_all_back(m);
		assert_false(has_w(m->w.mm, PAGE(1)) || has_d(m->w.mm, PAGE(1)));
		OK(vellum_mapping_writeback(f.mapping, 0, PAGES, &written));
		assert_int_equal(written, 0);
	}
	unmap(m->w.mm, 0, PAGES);
	file_destroy(&f);
}

/* --- fork removes W from private pages, mprotect from all pages --- */

static void fork_removes_w_from_both(void **state)
{
	struct machine *m = *state;
	struct vellum_mm *child;

	map_at(m->w.mm, 0, PAGES, RW, ANON);
	put(m, 0, 3, 1);
	OK(vellum_fork(m->w.mm, &child));
	run(m, 1, child);
	put(m, 0, 3, 2);
	assert_int_equal(get(m, 1, 3), 1);
	put(m, 1, 3, 3);
	assert_int_equal(get(m, 0, 3), 2);
	run(m, 1, NULL);
	vellum_mm_put(child);
}

static void mprotect_is_not_undone(void **state)
{
	struct machine *m = *state;

	map_at(m->w.mm, 0, PAGES, RW, ANON);
	put(m, 0, 3, 1);
	put(m, 1, 4, 1);
	protect(m->w.mm, 0, PAGES, RO);
	write_all_back(m);
	assert_false(has_w(m->w.mm, PAGE(3)) || has_w(m->w.mm, PAGE(4)));
	assert_int_equal(get(m, 1, 3), 1);
	protect(m->w.mm, 0, PAGES, RW);
	put(m, 0, 4, 2);
	assert_int_equal(get(m, 1, 4), 2);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(without_clear_and_flush_changes_are_undone),
		TEST(clean_and_record),
		TEST(write_protect),
		TEST(trackers_are_exact),
		TEST(writeback_is_exact),
		TEST(fork_removes_w_from_both),
		TEST(mprotect_is_not_undone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
