/* SPDX-License-Identifier: MIT */
/*
 * tests/oracle/vellum.c - Vellum as a world: address spaces on the software MMU. Reads scenarios from
 * standard input and writes the results to standard output. --differences: print the list of allowed
 * differences.
 *
 * Invariants are checked after every operation.
 */
#define _GNU_SOURCE
#include "world.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "differences.h"
#include "host/test.h"
#include "mm/table/huge.h"
#include "mm/table/pgtable.h"
#include "vellum/gup.h"
#include "vellum/soft.h"

#define NR_OBJECTS (sizeof(OBJECTS) - 1)
#define RAM	   (32ull << 20)	/* a leaf of 1 GiB has 2 MiB of tables deposited, in case it is split */
#define MAX_SEEN   256

static struct object {
	struct vellum_mapping *mapping;
	char letter;
	unsigned mkwrites;
	bool refuse;
	uint64_t first_pfn, grain;
} objects[NR_OBJECTS];

static struct test_host host;
static struct vellum_soft *soft;
static struct vellum_memory *memory;
static struct vellum_mm *mms[NR_PROCS];
static void *ram;
static uint8_t *huge_memory;	/* of H and G */
/* Shared anonymous mappings. A reference keeps each allocated, so that its address can serve as its name. */
static struct vellum_mapping *seen[MAX_SEEN];
static unsigned nr_seen;
static struct pin {
	uint64_t pfn[ORACLE_MAX_PIN], nr;
	bool write;
} pins[ORACLE_PINS];

static void die(const char *what)
{
	fflush(stdout);
	fprintf(stderr, "%s\n", what);
	exit(1);
}

static void must(int err, const char *what)
{
	if (err)
		die(what);
}

/* --- objects --- */

static bool is_raw(char letter)
{
	return letter == 'P' || letter == 'R';
}

static bool is_huge(char letter)
{
	return letter == 'H' || letter == 'G';
}

static int object_fault(void *ctx, struct vellum_vmf *vmf)
{
	const struct object *obj = ctx;

	if (is_huge(obj->letter))
		vmf->pfn = ORACLE_HUGE_PFN + vmf->pgoff;
	else if (is_raw(obj->letter))
		vmf->pfn = obj->first_pfn + vmf->pgoff;
	else
		*(uint64_t *)vmf->page = ORACLE_WORD(obj->letter, vmf->pgoff);
	return VELLUM_VMF_OK;
}

static int object_mkwrite(void *ctx, struct vellum_vmf *vmf)
{
	struct object *obj = ctx;

	(void)vmf;
	if (obj->refuse)
		return VELLUM_VMF_SIGBUS;
	obj->mkwrites++;
	return VELLUM_VMF_OK;
}

static int object_huge_fault(void *ctx, struct vellum_vmf *vmf)
{
	struct object *obj = ctx;
	bool there = vmf->pfn != 0;

	if (obj->grain < (vmf->order == 9 ? 1 : 2))
		return VELLUM_VMF_FALLBACK;
	if (there)
		return object_mkwrite(ctx, vmf);
	vmf->pfn = ORACLE_HUGE_PFN + vmf->pgoff;
	return VELLUM_VMF_OK;
}

static const struct vellum_backing_ops quiet_ops = { .size = sizeof(quiet_ops), .fault = object_fault };
static const struct vellum_backing_ops page_ops = {
	.size = sizeof(page_ops),
	.fault = object_fault,
	.page_mkwrite = object_mkwrite,
};
static const struct vellum_backing_ops pfn_ops = {
	.size = sizeof(pfn_ops),
	.fault = object_fault,
	.pfn_mkwrite = object_mkwrite,
};

static const struct vellum_backing_ops huge_quiet_ops = {
	.size = sizeof(huge_quiet_ops),
	.fault = object_fault,
	.huge_fault = object_huge_fault,
};
static const struct vellum_backing_ops huge_told_ops = {
	.size = sizeof(huge_told_ops),
	.fault = object_fault,
	.huge_fault = object_huge_fault,
	.pfn_mkwrite = object_mkwrite,
};

static const struct vellum_backing_ops *ops_of(char letter)
{
	switch (letter) {
	case 'M':
		return &page_ops;
	case 'P':
		return &pfn_ops;
	case 'H':
		return &huge_quiet_ops;
	case 'G':
		return &huge_told_ops;
	case 'F':
		return NULL;
	default:
		return &quiet_ops;
	}
}

static void create_object(struct object *obj, char letter)
{
	*obj = (struct object){ .letter = letter, .grain = 2 };
	if (is_raw(letter)) {
		must(vellum_memory_alloc_device(memory, ORACLE_PAGES, &obj->first_pfn), "device frames");
		for (unsigned i = 0; i < ORACLE_PAGES; i++)
			*(uint64_t *)frame_address(memory, obj->first_pfn + i) = ORACLE_WORD(letter, i);
	}
	must(vellum_mapping_create(memory, ops_of(letter), obj, is_huge(letter) ? ORACLE_HUGE_PAGES : ORACLE_PAGES,
				   is_raw(letter) || is_huge(letter) ? VELLUM_MAPPING_PFN : 0, &obj->mapping),
	     "object");
}

static struct object *object_of(uint64_t letter)
{
	return &objects[strchr(OBJECTS, (int)letter) - OBJECTS];
}

static const struct object *object_with(const struct vellum_mapping *mapping)
{
	for (unsigned i = 0; i < NR_OBJECTS; i++)
		if (objects[i].mapping == mapping)
			return &objects[i];
	return NULL;
}

/* --- the world --- */

/* The memory of H and G outlives the world. Most of it is never accessed. */
static void set_up_huge_memory(void)
{
	if (!huge_memory) {
		huge_memory = mmap(NULL, ORACLE_HUGE_PAGES * PAGE, PROT_READ | PROT_WRITE,
				   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		if (huge_memory == MAP_FAILED)
			die("mmap");
	}
	for (uint64_t i = 0; i < ORACLE_HUGE_TOLD; i++)
		*(uint64_t *)(huge_memory + i * PAGE) = ORACLE_WORD('H', i);
	*(uint64_t *)(huge_memory + (ORACLE_HUGE_PAGES - 1) * PAGE) = ORACLE_WORD('H', ORACLE_HUGE_PAGES - 1);
	must(vellum_memory_add_device(memory, ORACLE_HUGE_PFN, ORACLE_HUGE_PAGES, huge_memory), "device");
}

void world_begin(void)
{
	struct vellum_memory_args args = { .size = sizeof(args), .ram_size = RAM };

	memset(&host, 0, sizeof(host));
	ram = mmap(NULL, RAM, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (ram == MAP_FAILED)
		die("mmap");
	must(vellum_soft_create(NR_PROCS, &soft), "machine");
	args.host = test_host_ops();
	args.host_ctx = &host;
	args.mmu = vellum_soft_mmu_ops();
	args.machine = soft;
	args.ram = ram;
	must(vellum_memory_create(&args, &memory), "memory");
	set_up_huge_memory();
	for (unsigned i = 0; i < NR_OBJECTS; i++)
		create_object(&objects[i], OBJECTS[i]);
	must(vellum_mm_create(memory, &mms[0]), "address space");
	vellum_soft_load_mm(vellum_soft_cpu(soft, 0), mms[0]);
}

static void end_process(int proc)
{
	vellum_soft_load_mm(vellum_soft_cpu(soft, (unsigned)proc), NULL);
	vellum_mm_put(mms[proc]);
	mms[proc] = NULL;
}

static void check(void)
{
	const char *why = NULL;

	if (vellum_validate(memory, &why))
		printf("  broken: %s\n", why ? why : "the validator failed");
	if (host.bugs)
		printf("  bug: %s\n", host.last_bug);
}

static void unpin(struct pin *pin, bool dirty)
{
	if (dirty)
		vellum_unpin_pages_dirty(memory, pin->pfn, pin->nr);
	else
		vellum_unpin_pages(memory, pin->pfn, pin->nr);
	pin->nr = 0;
}

void world_end(void)
{
	for (unsigned i = 0; i < ORACLE_PINS; i++)
		unpin(&pins[i], false);
	for (int p = 0; p < NR_PROCS; p++)
		if (mms[p])
			end_process(p);
	while (nr_seen)
		vellum_mapping_put(seen[--nr_seen]);
	check();
	for (unsigned i = 0; i < NR_OBJECTS; i++) {
		vellum_mapping_put(objects[i].mapping);
		if (is_raw(objects[i].letter))
			vellum_memory_free_device(memory, objects[i].first_pfn, ORACLE_PAGES);
	}
	must(vellum_memory_destroy(memory), "something still lives in the memory");
	vellum_soft_destroy(soft);
	if (host.live)
		printf("  leak: %llu allocations\n", (unsigned long long)host.live);
	munmap(ram, RAM);
}

bool world_alive(int proc)
{
	return mms[proc] != NULL;
}

unsigned world_mkwrites(char letter)
{
	return object_of((unsigned char)letter)->mkwrites;
}

/* --- operations --- */

static void set_signal(struct answer *a, enum vellum_fault_result result)
{
	static const char *const names[] = {
		[VELLUM_FAULT_SIGSEGV_MAPERR] = "SIGSEGV MAPERR",
		[VELLUM_FAULT_SIGSEGV_ACCERR] = "SIGSEGV ACCERR",
		[VELLUM_FAULT_SIGBUS] = "SIGBUS",
		[VELLUM_FAULT_OOM] = "out of memory",
	};

	a->type = ANSWER_SIGNAL;
	a->signal = names[result];
}

static void access_page(const struct op *op, struct answer *a)
{
	struct vellum_soft_cpu *cpu = vellum_soft_cpu(soft, (unsigned)op->proc);
	uint64_t addr = page_at(op->arg[0]);
	enum vellum_fault_result result;

	if (op->kind == OP_STORE) {
		result = vellum_soft_store64(cpu, addr, op->arg[1]);
	} else {
		a->type = ANSWER_VALUE;
		result = vellum_soft_load64(cpu, addr, &a->value);
	}
	if (result != VELLUM_FAULT_OK)
		set_signal(a, result);
}

static void copy_by_kernel(const struct op *op, struct answer *a)
{
	struct vellum_mm *mm = mms[op->proc];
	uint64_t addr = page_at(op->arg[0]), word = op->arg[1];

	if (op->kind == OP_PUT) {
		a->code = vellum_copy_to_user(mm, addr, &word, sizeof(word), NULL);
		return;
	}
	a->code = vellum_copy_from_user(mm, &word, addr, sizeof(word), NULL);
	if (a->code)
		return;
	a->type = ANSWER_VALUE;
	a->value = word;
}

/* differences.c, "fault-around". */
static int map_without_neighbours(struct vellum_mm *mm, const struct vellum_map_args *args)
{
	uint64_t addr;
	int err = vellum_mmap(mm, args, &addr);

	if (!err && args->mapping && object_with(args->mapping)->letter != 'F')
		must(vellum_madvise(mm, addr, args->len, VELLUM_MADV_RANDOM), "MADV_RANDOM");
	return err;
}

static int map(const struct op *op)
{
	struct vellum_map_args args = { .size = sizeof(args) };
	const uint64_t *arg = op->arg;

	if (op->kind == OP_ANON) {
		args.flags = VELLUM_MAP_ANONYMOUS;
	} else {
		args.mapping = object_of(arg[0])->mapping;
		args.pgoff = arg[5];
		args.file_prot = VELLUM_PROT_READ | (op->kind == OP_MAP ? VELLUM_PROT_WRITE : 0);
		arg++;
	}
	args.flags |= VELLUM_MAP_FIXED | (arg[0] ? VELLUM_MAP_SHARED : VELLUM_MAP_PRIVATE);
	args.prot = (uint32_t)arg[1];	/* PROT_R, _W, _X are VELLUM_PROT_* */
	args.addr = page_at(arg[2]);
	args.len = range_len(arg[2], arg[3]);
	return map_without_neighbours(mms[op->proc], &args);
}

static int remap(const struct op *op)
{
	uint32_t flags = op->kind == OP_MOVE ? VELLUM_MREMAP_MAYMOVE | VELLUM_MREMAP_FIXED : 0;
	uint64_t new_len = range_len(op->arg[op->kind == OP_MOVE ? 3 : 0], op->arg[2]);
	uint64_t addr = page_at(op->arg[3]);

	return vellum_mremap(mms[op->proc], page_at(op->arg[0]), range_len(op->arg[0], op->arg[1]), new_len, flags,
			     &addr);
}

static int fork_to(const struct op *op)
{
	unsigned child = (unsigned)op->arg[0];
	int err = vellum_fork(mms[op->proc], &mms[child]);

	if (!err)
		vellum_soft_load_mm(vellum_soft_cpu(soft, child), mms[child]);
	return err;
}

static void call_helper(const struct op *op, struct answer *a)
{
	struct vellum_mapping *mapping = object_of(op->arg[0])->mapping;
	struct oracle_walk *w = &a->walk;
	uint64_t first = op->arg[1], nr = op->arg[2], bitmap[ORACLE_BITMAP] = { 0 };

	if (op->kind == OP_ZAP) {
		vellum_unmap_mapping_range(mapping, first, nr);
		return;
	}
	a->type = ANSWER_WALK;
	w->start = 64;
	if (op->kind == OP_WP)
		must(vellum_wp_shared_mapping_range(mapping, first, nr, (uint64_t *)&w->count), "wp");
	else
		must(vellum_clean_record_shared_mapping_range(mapping, first, nr, 0, bitmap,
							      (uint64_t *)&w->start, (uint64_t *)&w->end,
							      (uint64_t *)&w->count),
		     "clean");
	w->bitmap = oracle_fold((const __u64 *)bitmap, ORACLE_BITMAP);
}

static int pin(const struct op *op)
{
	struct pin *p = &pins[op->arg[0] % ORACLE_PINS];
	uint64_t how = op->arg[3];
	uint32_t flags = (how & PIN_W ? VELLUM_GUP_WRITE : 0) | (how & PIN_FORCE ? VELLUM_GUP_FORCE : 0) |
			 (how & PIN_LONGTERM ? VELLUM_GUP_LONGTERM : 0);
	int err;

	if (op->arg[0] >= ORACLE_PINS || op->arg[2] > ORACLE_MAX_PIN)
		return -VELLUM_EINVAL;
	if (p->nr)
		return -VELLUM_EBUSY;
	p->write = how & PIN_W;
	err = vellum_pin_pages(mms[op->proc], page_at(op->arg[1]), op->arg[2], flags, p->pfn, &p->nr);
	if (err)
		p->nr = 0;
	return err ? err : (int)p->nr;
}

static int use_pin(const struct op *op)
{
	struct pin *p = &pins[op->arg[0] % ORACLE_PINS];
	int nr = (int)p->nr;

	if (op->kind == OP_UNPIN) {
		unpin(p, op->arg[1]);
		return nr;
	}
	if (op->arg[1] >= p->nr || !p->write)
		return -VELLUM_EINVAL;
	*(uint64_t *)frame_address(memory, p->pfn[op->arg[1]]) = op->arg[2];
	return 0;
}

static int populate(struct vellum_mm *mm, const uint64_t *arg)
{
	int advice = arg[2] & PROT_W ? VELLUM_MADV_POPULATE_WRITE : VELLUM_MADV_POPULATE_READ;

	return vellum_madvise(mm, page_at(arg[0]), range_len(arg[0], arg[1]), advice);
}

static void do_op(const struct op *op, struct answer *a)
{
	struct vellum_mm *mm = op->proc == NOBODY ? NULL : mms[op->proc];
	const uint64_t *arg = op->arg;

	switch (op->kind) {
	case OP_MAP:
	case OP_MAPRO:
	case OP_ANON:
		a->code = map(op);
		break;
	case OP_LOAD:
	case OP_STORE:
		access_page(op, a);
		break;
	case OP_GET:
	case OP_PUT:
		copy_by_kernel(op, a);
		break;
	case OP_FORK:
		a->code = fork_to(op);
		break;
	case OP_EXIT:
		end_process(op->proc);
		break;
	case OP_PROTECT:
		a->code = vellum_mprotect(mm, page_at(arg[0]), range_len(arg[0], arg[1]), (uint32_t)arg[2]);
		break;
	case OP_UNMAP:
		a->code = vellum_munmap(mm, page_at(arg[0]), range_len(arg[0], arg[1]));
		break;
	case OP_MOVE:
	case OP_RESIZE:
		a->code = remap(op);
		break;
	case OP_DROP:
		a->code = vellum_madvise(mm, page_at(arg[0]), range_len(arg[0], arg[1]), VELLUM_MADV_DONTNEED);
		break;
	case OP_POPULATE:
		a->code = populate(mm, arg);
		break;
	case OP_REFUSE:
		object_of(arg[0])->refuse = arg[1];
		break;
	case OP_GRAIN:
		object_of(arg[0])->grain = arg[1];
		break;
	case OP_WP:
	case OP_CLEAN:
	case OP_ZAP:
		call_helper(op, a);
		break;
	case OP_PIN:
		a->code = pin(op);
		break;
	case OP_UNPIN:
	case OP_POKE:
		a->code = use_pin(op);
		break;
	default:
		die("an operation that Vellum does not have");
	}
}

void world_do(const struct op *op, struct answer *a)
{
	do_op(op, a);
	check();
}

/* --- state of the world --- */

static void remember(struct vellum_mapping *mapping)
{
	for (unsigned i = 0; i < nr_seen; i++)
		if (seen[i] == mapping)
			return;
	if (nr_seen == MAX_SEEN)
		die("too many shared mappings");
	vellum_mapping_get(mapping);
	seen[nr_seen++] = mapping;
}

static bool describe_raw_frame(pfn_t pfn, struct oracle_entry *e)
{
	if (pfn - ORACLE_HUGE_PFN < ORACLE_HUGE_PAGES) {
		e->kind = ORACLE_OBJECT;
		e->owner = 'H';
		e->index = (uint32_t)(pfn - ORACLE_HUGE_PFN);
		return true;
	}
	for (unsigned i = 0; i < NR_OBJECTS; i++) {
		const struct object *obj = &objects[i];

		if (!is_raw(obj->letter) || pfn < obj->first_pfn || pfn >= obj->first_pfn + ORACLE_PAGES)
			continue;
		e->kind = ORACLE_OBJECT;
		e->owner = (unsigned char)obj->letter;
		e->index = (uint32_t)(pfn - obj->first_pfn);
		return true;
	}
	return false;
}

static void describe_page(struct folio *folio, struct oracle_entry *e)
{
	const struct object *obj;

	if (folio_flags(folio) & PG_ANON) {
		e->kind = ORACLE_ANON;
		return;
	}
	obj = object_with(folio->mapping);
	e->index = (uint32_t)folio->index;
	if (obj && obj->letter != 'F') {
		e->kind = ORACLE_OBJECT;
		e->owner = (unsigned char)obj->letter;
		return;
	}
	if (!obj)
		remember(folio->mapping);
	e->kind = ORACLE_FILE;
	e->owner = (uintptr_t)folio->mapping;
}

static void describe_frame(pfn_t pfn, struct oracle_entry *e)
{
	e->owner = pfn;
	if (pfn == memory->zero_pfn) {
		e->kind = ORACLE_ZERO;
		return;
	}
	e->word = *(uint64_t *)pfn_host(memory, pfn);
	e->pinned = vellum_page_maybe_pinned(memory, pfn);
	e->kind = ORACLE_OTHER;
	if (!describe_raw_frame(pfn, e))
		describe_page(pfn_folio(memory, pfn), e);
}

static void describe(pte_t pte, struct oracle_entry *e)
{

	e->level = 1;
	e->raw = pte.val;
	if (pte_none(pte))
		return;
	if (!pte_present(pte)) {
		e->kind = pte_swp_type(pte) == SWP_MARKER ? ORACLE_MARKER : ORACLE_SWAP;
		e->index = (uint32_t)pte_swp_offset(pte);
		e->owner = pte_swp_type(pte);
		return;
	}
	describe_frame(pte_pfn(pte), e);
}

static void describe_leaf(const struct leaf *leaf, uint64_t addr, struct oracle_entry *e)
{
	e->level = leaf->shift == PMD_SHIFT ? 2 : 3;
	e->raw = entry_load(leaf->entry);
	describe_frame(leaf_pfn(e->raw, leaf->shift) + ((addr - leaf_start(addr, leaf->shift)) >> PAGE_SHIFT), e);
}

unsigned world_pins(unsigned slot, struct oracle_entry page[ORACLE_MAX_PIN])
{
	for (unsigned i = 0; i < pins[slot].nr; i++)
		describe_frame(pins[slot].pfn[i], &page[i]);
	return (unsigned)pins[slot].nr;
}

void world_entries(int proc, struct oracle_entry entry[NR_PAGES])
{
	for (unsigned i = 0; i < NR_PAGES; i++) {
		struct mutex *ptl;
		struct leaf leaf;
		pte_t *ptep;

		if (huge_lookup(mms[proc], page_at(i), &leaf)) {
			describe_leaf(&leaf, page_at(i), &entry[i]);
			continue;
		}
		ptep = pte_lookup(mms[proc], page_at(i), &ptl);
		if (ptep)
			describe(ptep_get(ptep), &entry[i]);
	}
}

unsigned world_vmas(int proc, struct oracle_vma vma[], unsigned max)
{
	struct vellum_vma_info info = { .size = sizeof(info) };
	unsigned nr = 0;

	for (uint64_t at = REGION; nr < max && !vellum_vma_next(mms[proc], at, &info); at = info.end) {
		const struct object *obj = info.mapping ? object_with(info.mapping) : NULL;

		vma[nr++] = (struct oracle_vma){
			.start = info.start,
			.end = info.end,
			.pgoff = info.pgoff,
			.owner = obj ? (unsigned char)obj->letter : 0,
			.flags = (info.prot & VELLUM_PROT_READ ? ORACLE_VMA_READ : 0) |
				 (info.prot & VELLUM_PROT_WRITE ? ORACLE_VMA_WRITE : 0) |
				 (info.shared ? ORACLE_VMA_SHARED : 0),
		};
	}
	return nr;
}

int main(int argc, char **argv)
{
	if (argc == 2 && strcmp(argv[1], "--differences") == 0) {
		print_differences(stdout);
		return 0;
	}
	return drive(stdin, stdout);
}
