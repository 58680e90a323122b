/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "support.h"

#include <stdio.h>
#include <sys/mman.h>

#include "fail_sweep.h"
#include "mm/space/space.h"

void world_create(struct world *w, uint64_t ram_size)
{
	struct vellum_memory_args args = { .size = sizeof(args), .ram_size = ram_size };

	memset(w, 0, sizeof(*w));
	w->ram_size = ram_size;
	w->ram = mmap(NULL, ram_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(w->ram, MAP_FAILED);
	assert_int_equal(vellum_soft_create(4, &w->soft), 0);
	args.host = test_host_ops();
	args.host_ctx = &w->host;
	args.mmu = vellum_soft_mmu_ops();
	args.machine = w->soft;
	args.ram = w->ram;
	assert_int_equal(vellum_memory_create(&args, &w->memory), 0);
	assert_int_equal(vellum_mm_create(w->memory, &w->mm), 0);
	for (unsigned i = 0; i < 4; i++)
		w->cpu[i] = vellum_soft_cpu(w->soft, i);
	vellum_soft_load_mm(w->cpu[0], w->mm);
	fail_sweep_begin(w);
}

void world_remake(struct world *w, const struct vellum_mmu_ops *mmu, const struct vellum_host_ops *host)
{
	const struct vellum_memory_args args = { .size = sizeof(args), .ram_size = w->ram_size, .ram = w->ram,
						 .host = host, .host_ctx = &w->host, .mmu = mmu, .machine = w->soft };

	vellum_soft_load_mm(w->cpu[0], NULL);
	vellum_mm_put(w->mm);
	assert_int_equal(vellum_memory_destroy(w->memory), 0);
	assert_int_equal(vellum_memory_create(&args, &w->memory), 0);
	assert_int_equal(vellum_mm_create(w->memory, &w->mm), 0);
}

void world_destroy(struct world *w)
{
	struct vellum_memory_info info;

	check_world(w);
	for (unsigned i = 0; i < 4; i++)
		vellum_soft_load_mm(w->cpu[i], NULL);
	vellum_mm_put(w->mm);
	vellum_memory_info(w->memory, &info);
	assert_int_equal(info.nr_free, info.nr_frames - 2);	/* reserved page and zero page */
	assert_int_equal(vellum_memory_destroy(w->memory), 0);
	vellum_soft_destroy(w->soft);
	assert_int_equal(w->host.live, 0);
	assert_int_equal(w->host.live_bytes, 0);
	assert_int_equal(w->host.bugs, 0);
	munmap(w->ram, w->ram_size);
	fail_sweep_end(w);
}

int world_setup(void **state)
{
	*state = malloc(sizeof(struct world));
	world_create(*state, 16 << 20);
	return 0;
}

int world_teardown(void **state)
{
	world_destroy(*state);
	free(*state);
	return 0;
}

void must_in_thread(bool ok)
{
	if (!ok) {
		fprintf(stderr, "error: Failure! in a thread\n");
		abort();
	}
}

void check_world(struct world *w)
{
	const char *why = NULL;
	int err = vellum_validate(w->memory, &why);

	if (err)
		fail_msg("validator: %s", why ? why : vellum_strerror(err));
}

void map_object(struct vellum_mm *mm, unsigned at, unsigned pages, uint32_t prot, uint32_t flags,
		struct vellum_mapping *mapping, uint64_t pgoff, uint32_t file_prot)
{
	struct vellum_map_args args = { .size = sizeof(args),
					.addr = PAGE(at),
					.len = pages * PAGE_SIZE,
					.prot = prot,
					.flags = flags | VELLUM_MAP_FIXED,
					.mapping = mapping,
					.pgoff = pgoff,
					.file_prot = file_prot };
	uint64_t addr;

	assert_int_equal(vellum_mmap(mm, &args, &addr), 0);
	assert_int_equal(addr, PAGE(at));
}

void map_at(struct vellum_mm *mm, unsigned at, unsigned pages, uint32_t prot, uint32_t flags)
{
	map_object(mm, at, pages, prot, flags, NULL, 0, 0);
}

enum vellum_fault_result try_store(struct vellum_soft_cpu *cpu, uint64_t addr, uint64_t val)
{
	return vellum_soft_store64(cpu, addr, val);
}

void store(struct vellum_soft_cpu *cpu, uint64_t addr, uint64_t val)
{
	assert_int_equal(vellum_soft_store64(cpu, addr, val), VELLUM_FAULT_OK);
}

uint64_t load(struct vellum_soft_cpu *cpu, uint64_t addr)
{
	uint64_t val = 0;

	assert_int_equal(vellum_soft_load64(cpu, addr, &val), VELLUM_FAULT_OK);
	return val;
}

pte_t entry_at(struct vellum_mm *mm, uint64_t addr)
{
	struct mutex *ptl;
	pte_t *ptep = pte_lookup(mm, addr, &ptl);

	return ptep ? ptep_get(ptep) : pte_make(0);
}

void set_entry_at(struct vellum_mm *mm, uint64_t addr, pte_t pte)
{
	struct mutex *ptl;

	fail_sweep_by_hand();
	ptep_set(pte_lookup(mm, addr, &ptl), pte);
}

struct vma *vma_at(struct vellum_mm *mm, uint64_t addr)
{
	struct vma *vma;

	read_lock(&mm->mmap_lock, mm_host(mm));
	vma = find_vma(mm, addr);
	read_unlock(&mm->mmap_lock, mm_host(mm));
	return vma;
}

unsigned nr_vmas(struct vellum_mm *mm)
{
	return mm->nr_vmas;
}

struct bits {
	uint64_t first, mask;
};

static int add_bits(void *arg, uint64_t first, uint64_t nr)
{
	struct bits *b = arg;

	for (uint64_t page = first; page < first + nr && page < b->first + 64; page++)
		if (page >= b->first)
			b->mask |= 1ull << (page - b->first);
	return 0;
}

uint64_t collect(struct vellum_tracker *t, uint64_t first_page)
{
	struct bits b = { first_page, 0 };

	assert_int_equal(vellum_tracker_collect(t, 0, ~0ull, add_bits, &b), 0);
	return b.mask;
}

static int counting_fault(void *ctx, struct vellum_vmf *vmf)
{
	struct counting *c = ctx;

	__atomic_fetch_add(&c->faults, 1, __ATOMIC_RELAXED);
	if (c->fault_code)
		return c->fault_code;
	if (vmf->page)
		for (unsigned i = 0; i < PAGE_SIZE / 8; i++)
			((uint64_t *)vmf->page)[i] = vmf->pgoff;
	vmf->pfn = c->first_pfn + vmf->pgoff;
	return 0;
}

static int counting_mkwrite(void *ctx, struct vellum_vmf *vmf)
{
	struct counting *c = ctx;

	(void)vmf;
	__atomic_fetch_add(&c->mkwrites, 1, __ATOMIC_RELAXED);
	return c->mkwrite_code;
}

static void counting_dirt(void *ctx, uint64_t pgoff)
{
	struct counting *c = ctx;

	__atomic_fetch_add(&c->dirts, 1, __ATOMIC_RELAXED);
	if (pgoff < 64)
		__atomic_fetch_or(&c->dirt_mask, 1ull << pgoff, __ATOMIC_RELAXED);
}

static void counting_release(void *ctx)
{
	((struct counting *)ctx)->releases++;
}

const struct vellum_backing_ops counting_ops = {
	.size = sizeof(counting_ops),
	.fault = counting_fault,
	.page_mkwrite = counting_mkwrite,
	.release = counting_release,
};

const struct vellum_backing_ops counting_pfn_ops = {
	.size = sizeof(counting_pfn_ops),
	.fault = counting_fault,
	.pfn_mkwrite = counting_mkwrite,
	.dirt = counting_dirt,
	.release = counting_release,
};

struct vellum_mapping *new_object(struct world *w, struct counting *c, uint64_t pages)
{
	struct vellum_mapping *mapping;

	assert_int_equal(vellum_mapping_create(w->memory, &counting_ops, c, pages, 0, &mapping), 0);
	return mapping;
}

struct vellum_mapping *new_pfn_object(struct world *w, struct counting *c, uint64_t pages)
{
	struct vellum_mapping *mapping;

	assert_int_equal(vellum_memory_alloc_device(w->memory, pages, &c->first_pfn), 0);
	assert_int_equal(vellum_mapping_create(w->memory, &counting_pfn_ops, c, pages,
					       VELLUM_MAPPING_PFN, &mapping),
			 0);
	return mapping;
}
