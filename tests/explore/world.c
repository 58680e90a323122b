/* SPDX-License-Identifier: MIT */
/* tests/explore/world.c - the world that a scenario runs in, and the checks of all scenarios. */
#define _GNU_SOURCE
#include <sys/mman.h>

#include "engine.h"
#include "host/test.h"
#include "vellum/swap.h"

#define RAM_BYTES (4ull << 20)
#define RAM_MAX   (16ull << 20)

struct vellum_memory *memory;
struct vellum_mm *mm;
struct vellum_soft_cpu *cpu[MAX_CPUS];
struct vellum_mapping *object;

static struct vellum_soft *soft;
static unsigned nr_cpus;
static struct test_host host;
static char *ram;
static uint64_t ram_bytes;

bool vellum_explore_membarrier(void)
{
	return scenario->machine & MEMBARRIER;
}

/* The core's locks wait here: another thread, which holds the lock, runs. */
static void explore_wait(void *ctx, uint32_t *word, uint32_t value)
{
	(void)ctx;
	if (__atomic_load_n(word, __ATOMIC_SEQ_CST) == value)
		vellum_explore_point(SCHED_WAIT, word);
}

/* Poison first, so that a use after free reads other bytes. */
static void poison_and_free(void *ctx, void *ptr, size_t size)
{
	memset(ptr, 0xdb, size);
	test_host_ops()->free(ctx, ptr, size);
}

void explore_broken(const char *call)
{
	printf("not ok - explore %s: cannot set up: %s\n", scenario->name, call);
	exit(1);
}

void make_world(void)
{
	static struct vellum_host_ops ops;
	static struct vellum_mmu_ops mmu;
	struct vellum_memory_args args = { .size = sizeof(args) };

	ops = *test_host_ops();
	ops.wait = explore_wait;
	ops.wait_for_user = explore_wait;
	ops.free = poison_and_free;
	memset(&host, 0, sizeof(host));
	if (!ram)
		ram = mmap(NULL, RAM_MAX, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	nr_cpus = scenario->nr_cpus ? scenario->nr_cpus : 2;
	MUST(vellum_soft_create_tlb(nr_cpus, 64, &soft));
	args.host = &ops;
	args.host_ctx = &host;
	mmu = *vellum_soft_mmu_ops();
	if (!(scenario->machine & STOPS_WALKS))
		mmu.stop_walks = mmu.resume_walks = NULL;
	args.mmu = &mmu;
	args.machine = soft;
	args.ram = ram;
	args.ram_size = ram_bytes = scenario->ram ? scenario->ram : RAM_BYTES;
	MUST(vellum_memory_create(&args, &memory));
	MUST(vellum_mm_create(memory, &mm));
	for (unsigned i = 0; i < nr_cpus; i++) {
		cpu[i] = vellum_soft_cpu(soft, i);
		vellum_soft_load_mm(cpu[i], mm);
	}
	object = NULL;
	scenario->setup();
}

/* Empty RAM for the next world. */
static void wipe_ram(void)
{
	for (uint64_t i = 0; i < memory->nr_frames; i++)
		if (folio_flags(&memory->folios[i]) & (PG_USED | PG_NEEDS_ZERO))
			memset(ram + i * PAGE_SIZE, 0, PAGE_SIZE);
}

void drop_world(void)
{
	if (scenario->teardown)
		scenario->teardown();
	for (unsigned i = 0; i < nr_cpus; i++)
		vellum_soft_load_mm(cpu[i], NULL);
	vellum_mm_put(mm);
	vellum_mapping_put(object);
	wipe_ram();
	vellum_memory_destroy(memory);
	vellum_soft_destroy(soft);
	if (host.live)
		explore_broken("something leaks");
}

void abandon_world(void)
{
	running = -1;
	madvise(ram, ram_bytes, MADV_DONTNEED);	/* threads that use it will not run again */
}

/* --- checks of all scenarios --- */

/* The folio of RAM at a host address, or NULL. */
static struct folio *folio_at(const volatile void *where)
{
	uint64_t offset = (uint64_t)((const volatile char *)where - ram);

	return offset < ram_bytes ? &memory->folios[offset / PAGE_SIZE] : NULL;
}

/* INV-TLB-1: no CPU has a translation to a frame that is free or is a page table. */
const char *check_world_step(void)
{
	for (unsigned c = 0; c < nr_cpus; c++)
		for (unsigned page = 0; page < MAX_PAGES; page++) {
			const struct vellum_soft_tlbe *e = vellum_soft_place(cpu[c], PAGE(page));
			const struct folio *folio;

			if (e->load == VELLUM_SOFT_NO_PAGE)
				continue;
			folio = folio_at(e->host);
			if (folio && (folio_flags(folio) & (PG_USED | PG_TABLE)) != PG_USED)
				return "INV-TLB-1: a CPU has a translation to a freed frame";
		}
	return host.bugs ? host.last_bug : NULL;
}

/* Check an access that a thread is about to make. */
const char *check_access(enum sched_kind kind, const volatile void *where)
{
	const char *folios = (const char *)memory->folios;
	const struct folio *folio = folio_at(where);

	if (kind == SCHED_ENTRY && folio && !(folio_flags(folio) & PG_TABLE))
		return "INV-TLB-1: an entry is accessed in a table that was freed";
	if (kind == SCHED_MEMORY && folio && !(folio_flags(folio) & PG_USED))
		return "INV-TLB-1: a freed frame is accessed";
	if (kind == SCHED_LOCK && (uintptr_t)where - (uintptr_t)folios < memory->nr_frames * sizeof(*folio)) {
		folio = &memory->folios[((const volatile char *)where - folios) / sizeof(*folio)];
		if (!(folio_flags(folio) & PG_USED))
			return "the lock of a freed frame is taken";
	}
	return NULL;
}

const char *check_world_end(void)
{
	const char *why = NULL;

	if (vellum_validate(memory, &why) && !why)
		why = "the validator fails";
	return why;
}

/* --- for scenarios --- */

void new_object(const struct vellum_backing_ops *ops, uint64_t pages, uint32_t flags)
{
	MUST(vellum_mapping_create(memory, ops, NULL, pages, flags, &object));
}

void map_pages(struct vellum_mm *to, unsigned at, unsigned pages, uint32_t prot, uint32_t flags,
	       struct vellum_mapping *mapping, uint64_t pgoff)
{
	struct vellum_map_args args = { .size = sizeof(args), .addr = PAGE(at), .len = pages * PAGE_SIZE,
					.prot = prot, .flags = flags | VELLUM_MAP_FIXED, .mapping = mapping,
					.pgoff = pgoff, .file_prot = RW };
	uint64_t addr;

	if (!mapping)
		args.flags |= VELLUM_MAP_ANONYMOUS;
	MUST(vellum_mmap(to, &args, &addr));
}

void keep_tables(void)
{
	map_pages(mm, MAX_PAGES - 1, 1, RW, PRIVATE, NULL, 0);
}

void store(unsigned c, unsigned page, uint64_t val)
{
	if (try_store(c, page, val)) {
		if (running < 0)
			explore_broken("store");
		violated("a store failed");
	}
}

void store_and_fence(unsigned c, unsigned page, uint64_t val)
{
	store(c, page, val);
	vellum_explore_point(SCHED_TLB, &cpu[c]->busy);
	vellum_explore_locked();
}

uint64_t load(unsigned c, unsigned page)
{
	uint64_t val;

	if (vellum_soft_load64(cpu[c], PAGE(page), &val)) {
		if (running < 0)
			explore_broken("load");
		violated("a load failed");
	}
	return val;
}

void pause_here(void)
{
	vellum_explore_point(SCHED_TLB, NULL);
}

void wait_for_others(const volatile void *what)
{
	vellum_explore_point(SCHED_WAIT, what);
}

/* Raw: without a scheduling point, and without store buffers. */
static uint64_t *raw_table(struct vellum_mm *of, unsigned page)
{
	uint64_t *table = &of->pgd[0].val;

	for (unsigned shift = PGD_SHIFT; shift > PAGE_SHIFT; shift -= 9) {
		uint64_t val = __atomic_load_n(&table[table_index(PAGE(page), shift)], __ATOMIC_SEQ_CST);

		if (!(val & X86_PRESENT))
			return NULL;
		table = table_of(memory, val);
	}
	return table;
}

uint64_t raw_entry(struct vellum_mm *of, unsigned page)
{
	const uint64_t *table = raw_table(of, page);

	return table ? __atomic_load_n(&table[table_index(PAGE(page), PAGE_SHIFT)], __ATOMIC_SEQ_CST) : 0;
}

bool entry_locked(struct vellum_mm *of, unsigned page)
{
	const uint64_t *table = raw_table(of, page);

	return table && mutex_is_locked(&folio_at(table)->ptl);
}

const void *raw_bytes(struct vellum_mm *of, unsigned page)
{
	uint64_t val = raw_entry(of, page);

	return val & X86_PRESENT ? vellum_frame_host(memory, pte_pfn(pte_make(val))) : NULL;
}

uint64_t raw_word(struct vellum_mm *of, unsigned page)
{
	const uint64_t *bytes = raw_bytes(of, page);

	return bytes ? *bytes : ~0ull;
}

const void *object_bytes(unsigned page)
{
	const struct folio *folio = radix_get(&object->pages, page);

	return folio ? frame_address(memory, folio_pfn(memory, folio)) : NULL;
}

uint64_t object_word(unsigned page)
{
	const uint64_t *bytes = object_bytes(page);

	return bytes ? *bytes : ~0ull;
}

bool tlb_reaches(const void *at, bool to_store)
{
	for (unsigned c = 0; c < nr_cpus; c++)
		for (unsigned page = 0; page < MAX_PAGES; page++) {
			const struct vellum_soft_tlbe *e = vellum_soft_place(cpu[c], PAGE(page));

			if (e->load == VELLUM_SOFT_NO_PAGE || e->host != at)
				continue;
			/* Other values of store have flags and do not permit a store. */
			if (!to_store || e->store == e->load)
				return true;
		}
	return false;
}

/* --- swap --- */

#define SLOTS 16

static char slots[SLOTS][VELLUM_PAGE_SIZE];

static int slot_out(void *ctx, uint64_t slot, const void *page)
{
	(void)ctx;
	pause_here();
	memcpy(slots[slot], page, VELLUM_PAGE_SIZE);
	pause_here();
	return 0;
}

static int slot_in(void *ctx, uint64_t slot, void *page)
{
	(void)ctx;
	pause_here();
	memcpy(page, slots[slot], VELLUM_PAGE_SIZE);
	return 0;
}

static void slot_back(void *ctx, uint64_t slot)
{
	(void)ctx;
	pause_here();
	memset(slots[slot], 0xee, VELLUM_PAGE_SIZE);
}

static const struct vellum_swap_ops swap_ops = { .size = sizeof(swap_ops), .write = slot_out, .read = slot_in,
						 .free = slot_back };

void add_swap(void)
{
	memset(slots, 0xee, sizeof(slots));
	MUST(vellum_swap_add(memory, &swap_ops, NULL, SLOTS, NULL));
}
