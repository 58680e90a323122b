/* SPDX-License-Identifier: MIT */
/* tests/fuzz/library_map.c - calls on address spaces: VMAs, advice, mlock, fork, CPUs, the embedder's accesses. */
#include "tests/fuzz/library.h"

#define PROTS 7u

typedef unsigned long long ull;

static uint32_t any_prot(void)
{
	return one_in(2) ? VELLUM_PROT_READ | VELLUM_PROT_WRITE : any_flags(PROTS) | (one_in(40) ? 1u << below(32) : 0);
}

/* --- mappings --- */

static uint32_t any_map_flags(void)
{
	uint32_t flags = one_in(3) ? VELLUM_MAP_SHARED : VELLUM_MAP_PRIVATE;

	if (one_in(30))
		flags = (uint32_t)below(5);
	if (one_in(2))
		flags |= VELLUM_MAP_FIXED;
	if (one_in(10))
		flags |= VELLUM_MAP_NORESERVE;
	if (one_in(12))
		flags |= (uint32_t[]){ VELLUM_MAP_GROWSDOWN, VELLUM_MAP_LOCKED, VELLUM_MAP_POPULATE, VELLUM_MAP_STACK,
				       VELLUM_MAP_FIXED_NOREPLACE }[below(5)];
	return one_in(60) ? flags ^ 1u << below(32) : flags;
}

static void op_mmap(void)
{
	struct vellum_mm *mm = any_mm();
	struct vellum_map_args args = { .size = sizeof(args), .addr = any_addr(mm), .len = any_len(),
					.prot = any_prot(), .flags = any_map_flags(), .pgoff = any_index(),
					.file_prot = one_in(4) ? any_flags(3) : 3 };
	union {		/* as a caller with another version of the structure has it */
		struct vellum_map_args args;
		char bytes[2 * sizeof(struct vellum_map_args)];
	} call;
	uint64_t at = 0;

	if (one_in(2))
		args.mapping = any_object();
	if (!args.mapping || one_in(20))
		args.flags |= VELLUM_MAP_ANONYMOUS;
	if (one_in(200))
		args.size = (uint32_t)below(2 * sizeof(args));
	/* Populating takes time in proportion to the length. */
	if ((args.flags & (VELLUM_MAP_POPULATE | VELLUM_MAP_LOCKED)) && args.len > MANY * PAGE)
		args.len = MANY * PAGE;
	calling("mmap %#llx+%#llx prot %#x flags %#x pgoff %#llx", (ull)args.addr, (ull)args.len, args.prot,
		args.flags, (ull)args.pgoff);
	memset(&call, 0, sizeof(call));
	call.args = args;
	if (one_in(100))
		call.bytes[sizeof(args) + below(sizeof(args))] = 1;
	if (!result(vellum_mmap(mm, &call.args, &at)) && (at % PAGE || at >= VELLUM_TASK_SIZE))
		wrong("mapped at %#llx", (ull)at);
}

static void op_munmap(void)
{
	struct vellum_mm *mm = any_mm();
	uint64_t addr = any_addr(mm), len = one_in(100) ? WINDOW * PAGE : any_len();

	calling("munmap %#llx+%#llx", (ull)addr, (ull)len);
	result(vellum_munmap(mm, addr, len));
}

static void op_mprotect(void)
{
	struct vellum_mm *mm = any_mm();
	uint64_t addr = any_addr(mm), len = any_len();
	uint32_t prot = any_prot();

	calling("mprotect %#llx+%#llx %#x", (ull)addr, (ull)len, prot);
	result(vellum_mprotect(mm, addr, len, prot));
}

static void op_mremap(void)
{
	struct vellum_mm *mm = any_mm();
	uint64_t old = any_addr(mm), old_len = one_in(20) ? 0 : any_len(), len = one_in(3) ? old_len : any_len();
	uint64_t to = any_addr(mm);
	uint32_t flags = one_in(2) ? VELLUM_MREMAP_MAYMOVE : any_flags(7);

	calling("mremap %#llx+%#llx to %#llx+%#llx flags %#x", (ull)old, (ull)old_len, (ull)to, (ull)len, flags);
	result(vellum_mremap(mm, old, old_len, len, flags, &to));
}

static void op_madvise(void)
{
	static const int advices[] = { 0, 1, 2, 3, 4, 4, 8, 9, 10, 11, 12, 13, 14, 14, 15, 16, 17, 18, 19, 20, 21, 21, 22,
				       23, 24, 25, 25, 102, 103, 5, 100, -1 };
	struct vellum_mm *mm = any_mm();
	uint64_t addr = any_addr(mm), len = any_len();
	int advice = advices[below(sizeof(advices) / sizeof(*advices))];

	/* These fault pages in, which takes time in proportion to the length. */
	if ((advice == 22 || advice == 23 || advice == 25) && len > MANY * PAGE)
		len = MANY * PAGE;
	calling("madvise %#llx+%#llx %d", (ull)addr, (ull)len, advice);
	result(vellum_madvise(mm, addr, len, advice));
}

static void op_other_ranges(void)
{
	struct vellum_mm *mm = any_mm();
	uint64_t addr = any_addr(mm), len = any_len();

	calling("msync, mincore, mlock, munlock %#llx+%#llx", (ull)addr, (ull)len);
	switch (below(4)) {
	case 0:
		result(vellum_msync(mm, addr, len, (int)any_flags(7)));
		return;
	case 1:
		if (len <= BUFFER * (uint64_t)PAGE)
			result(vellum_mincore(mm, addr, len, f.buffer));
		return;
	case 2:
		result(vellum_mlock(mm, addr, len, any_flags(1)));
		return;
	default:
		result(vellum_munlock(mm, addr, len));
	}
}

static void op_whole_mm(void)
{
	struct vellum_mm *mm = any_mm();
	uint64_t addr = any_addr(mm), len = few_pages() * PAGE;

	calling("a call on a whole address space %#llx", (ull)addr);
	switch (below(9)) {
	case 0:
		if (one_in(4))
			result(vellum_mlockall(mm, any_flags(7)));
		return;
	case 1:
		result(vellum_munlockall(mm));
		return;
	case 2:
		vellum_set_limits(mm, one_in(3) ? ~0ull : below(256) * PAGE, one_in(3) ? ~0ull : below(1024) * PAGE);
		return;
	case 3:
		result(vellum_map_shadow_stack(mm, &addr, len));
		return;
	case 4:
		vellum_set_brk(mm, (addr & ~(PAGE - 1ull)) % VELLUM_TASK_SIZE);
		return;
	case 5:
		vellum_brk(mm, any_addr(mm));
		return;
	case 6:
		vellum_set_mmap_top(mm, one_in(2) ? VELLUM_TASK_SIZE : BASE + WINDOW * PAGE);
		return;
	case 7:
		result(vellum_set_max_map_count(f.memory, one_in(3) ? 65530 : (uint32_t)below(100)));
		return;
	default:
		vellum_memory_trim(f.memory);
	}
}

/* --- address spaces and CPUs --- */

static void op_mm_life(void)
{
	unsigned i = 1 + (unsigned)below(NR_MMS - 1);

	if (f.mm[i]) {
		calling("the address space %u goes", i);
		vellum_mm_get(f.mm[i]);
		vellum_mm_put(f.mm[i]);
		drop_mm(i);
	} else if (one_in(4)) {
		calling("mm_create");
		result(vellum_mm_create(f.memory, &f.mm[i]));
	} else {
		calling("fork");
		result(vellum_fork(any_mm(), &f.mm[i]));
	}
}

static void op_cpu_switches(void)
{
	unsigned i = (unsigned)below(NR_CPUS);

	calling("CPU %u goes elsewhere", i);
	f.on[i] = one_in(8) ? NULL : any_mm();
	vellum_soft_load_mm(vellum_soft_cpu(f.soft, i), f.on[i]);
}

static void op_hostile(void)
{
	calling("set_hostile");
	if (one_in(2))
		vellum_soft_write_back(f.soft);
	else
		result(vellum_soft_set_hostile(f.soft, one_in(2) ? 0 : (uint32_t)below(9)));
}

/* --- accesses --- */

static void check_fault(enum vellum_fault_result r, struct vellum_soft_cpu *cpu, uint64_t addr, uint64_t len)
{
	if (r < VELLUM_FAULT_OK || r > VELLUM_FAULT_INTERRUPTED)
		wrong("an access returns %d", (int)r);
	if (r != VELLUM_FAULT_OK && vellum_soft_fault_addr(cpu) - addr >= len)
		wrong("an access of %llu bytes at %#llx faults at %#llx", (ull)len, (ull)addr,
		      (ull)vellum_soft_fault_addr(cpu));
}

static void access_by(struct vellum_soft_cpu *cpu, uint64_t addr)
{
	uint64_t v64 = any64();
	uint32_t v32 = (uint32_t)v64;
	uint16_t v16 = (uint16_t)v64;
	uint8_t v8 = (uint8_t)v64;
	bool swapped;

	switch (below(12)) {
	case 0:
		check_fault(vellum_soft_load8(cpu, addr, &v8), cpu, addr, 1);
		return;
	case 1:
		check_fault(vellum_soft_load16(cpu, addr, &v16), cpu, addr, 2);
		return;
	case 2:
		check_fault(vellum_soft_load32(cpu, addr, &v32), cpu, addr, 4);
		return;
	case 3:
		check_fault(vellum_soft_load64(cpu, addr, &v64), cpu, addr, 8);
		return;
	case 4:
		check_fault(vellum_soft_store8(cpu, addr, v8), cpu, addr, 1);
		return;
	case 5:
		check_fault(vellum_soft_store16(cpu, addr, v16), cpu, addr, 2);
		return;
	case 6:
		check_fault(vellum_soft_store32(cpu, addr, v32), cpu, addr, 4);
		return;
	case 7:
		check_fault(vellum_soft_shstk_load64(cpu, addr, &v64), cpu, addr, 8);
		return;
	case 8:
		check_fault(vellum_soft_shstk_store64(cpu, addr, v64), cpu, addr, 8);
		return;
	case 9:
		check_fault(vellum_soft_cmpxchg64(cpu, addr, &v64, any64(), &swapped), cpu, addr, 8);
		return;
	case 10:
		v64 = below(one_in(8) ? 3 * PAGE : 16) + 1;
		check_fault(vellum_soft_fetch(cpu, addr, f.buffer, v64), cpu, addr, v64);
		return;
	default:
		check_fault(vellum_soft_store64(cpu, addr, v64), cpu, addr, 8);
	}
}

static void op_access(void)
{
	struct vellum_soft_cpu *cpu = any_cpu();
	uint64_t addr = any_addr(cpu ? f.on[cpu->id] : NULL);

	if (one_in(3))
		addr += below(2) ? below(PAGE) : PAGE - below(9);
	calling("accesses at %#llx", (ull)addr);
	for (uint64_t n = 1 + below(8); cpu && n--; addr += one_in(2) ? PAGE : 0)
		access_by(cpu, addr);
}

static void op_fault(void)
{
	struct vellum_mm *mm = any_mm();
	uint64_t addr = any_addr(mm);
	uint32_t error = one_in(4) ? (uint32_t)any64() : (uint32_t)below(128);

	calling("handle_fault %#llx error %#x", (ull)addr, error);
	vellum_handle_fault(mm, addr, error);
}

static void op_copy(void)
{
	struct vellum_mm *mm = any_mm();
	uint64_t addr = any_addr(mm), len = below(one_in(4) ? BUFFER + 1 : 100), done = 0;

	calling("copy, peek %#llx+%#llx", (ull)addr, (ull)len);
	switch (below(3)) {
	case 0:
		result(vellum_copy_to_user(mm, addr, f.buffer, len, one_in(2) ? &done : NULL));
		break;
	case 1:
		result(vellum_copy_from_user(mm, f.buffer, addr, len, one_in(2) ? &done : NULL));
		break;
	default:
		if (vellum_peek(mm, addr & ~(PAGE - 1ull), f.buffer) > 1)
			wrong("peek");
	}
	if (done > len)
		wrong("copied %llu of %llu bytes", (ull)done, (ull)len);
}

/* --- queries --- */

static int count_entry(void *arg, const struct vellum_entry *entry)
{
	if (!vellum_entry_kind_name(entry->kind))
		wrong("an entry has the kind %d", (int)entry->kind);
	return --*(int *)arg == 0;
}

static void op_ask(void)
{
	struct vellum_mm *mm = any_mm();
	struct vellum_memory_info info = { .size = sizeof(info) };
	struct vellum_swap_info swap = { .size = sizeof(swap) };
	int left = (int)below(2000);

	calling("questions");
	vellum_memory_info(f.memory, &info);
	vellum_swap_info(f.memory, &swap);
	if (info.nr_free > info.nr_frames || swap.nr_used > swap.nr_slots)
		wrong("more is free or used than there is");
	for (unsigned i = 0; i < VELLUM_NR_COUNTERS; i++)
		vellum_mm_counter(mm, (enum vellum_counter)i);
	vellum_mm_rss(mm);
	vellum_mm_swapped(mm);
	vellum_walk_entries(mm, BASE, BASE + WINDOW * PAGE, count_entry, &left);
}

/* Arguments that break a rule: the call must refuse them. */
static void op_memory_create(void)
{
	struct vellum_memory_args args = { .size = sizeof(args), .host = test_host_ops(), .host_ctx = &f.host,
					   .ram = f.ram, .ram_size = RAM };
	struct vellum_memory *memory;

	calling("memory_create with bad arguments");
	switch (below(7)) {
	case 0:
		args.size = (uint32_t)below(offsetof(struct vellum_memory_args, ram_size));
		break;
	case 1:
		args.ram_size = one_in(2) ? below(4 << 20) : RAM + 1 + below(PAGE);
		break;
	case 2:
		args.ram = (char *)f.ram + 1 + below(PAGE - 1);
		break;
	case 3:
		args.reserved = one_in(2) ? 1 + below(PAGE - 1) : RAM + below(~0ull - RAM);
		break;
	case 4:
		args.hole_start = 1 + below(PAGE - 1);
		args.hole_size = PAGE;
		break;
	case 5:
		args.hole_start = PAGE;
		args.hole_size = 1 + below(PAGE - 1);
		break;
	default:
		args.host = NULL;
	}
	if (!vellum_memory_create(&args, &memory))
		wrong("memory was made of bad arguments");
}

const struct op map_ops[] = {
	{ 60, op_mmap },
	{ 30, op_munmap },
	{ 30, op_mprotect },
	{ 25, op_mremap },
	{ 60, op_madvise },
	{ 30, op_other_ranges },
	{ 10, op_whole_mm },
	{ 12, op_mm_life },
	{ 6, op_cpu_switches },
	{ 1, op_hostile },
	{ 200, op_access },
	{ 30, op_fault },
	{ 30, op_copy },
	{ 2, op_ask },
	{ 1, op_memory_create },
	{ 0, NULL },
};
