/* SPDX-License-Identifier: MIT */
/* riscv.c - an emulator's loop on the software MMU: it runs a compiled program, is forked, and its dirty pages are counted. */
#include <stdio.h>
#include <stdlib.h>
#include <vellum/access.h>
#include <vellum/dirty.h>
#include <vellum/host.h>
#include <vellum/mm.h>
#include <vellum/soft.h>

#define TRY(call) ((call) ? exit(1) : (void)0)

/* In a batch, an access that hits the TLB is a comparison and the access. After a jump, others may flush. */
#define HART(name) hart_##name
#define HART_FETCH32(h, addr, to)	  vellum_soft_batch_fetch32((h)->memory, addr, to)
#define HART_LOAD(h, bits, addr, to)	  vellum_soft_batch_load##bits((h)->memory, addr, to)
#define HART_STORE(h, bits, addr, value) vellum_soft_batch_store##bits((h)->memory, addr, value)
#define HART_PAUSE(h)			  vellum_soft_batch_pause((h)->memory)
#include "riscv_hart.h"
#include "riscv_primes.h"

#define DATA_BYTES (1 << 20)

static uint64_t map(struct vellum_mm *mm, uint64_t len)
{
	struct vellum_map_args args = { .size = sizeof(args), .len = len, .prot = VELLUM_PROT_READ | VELLUM_PROT_WRITE,
					.flags = VELLUM_MAP_PRIVATE | VELLUM_MAP_ANONYMOUS };
	uint64_t addr;

	TRY(vellum_mmap(mm, &args, &addr));
	return addr;
}

/* primes(@data, @n) in the address space that the CPU has loaded. */
static uint64_t primes(struct vellum_soft_cpu *cpu, uint64_t code, uint64_t data, uint64_t n)
{
	struct hart h = { .pc = code, .memory = cpu };
	int stop;

	h.x[1] = code + PRIMES_ECALL_AT;	/* ra */
	h.x[10] = data;			/* a0, a1 */
	h.x[11] = n;
	vellum_soft_batch_begin(cpu);
	stop = hart_run(&h);
	vellum_soft_batch_end(cpu);
	if (stop != HART_ECALL) {
		fprintf(stderr, "stopped at %#llx with %d, fault at %#llx\n", (unsigned long long)h.pc, stop,
			(unsigned long long)vellum_soft_fault_addr(cpu));
		exit(1);
	}
	return h.x[10];
}

static int count_pages(void *arg, uint64_t first, uint64_t nr)
{
	(void)first;
	*(uint64_t *)arg += nr;
	return 0;
}

int main(void)
{
	struct vellum_host_ram ram = { .size = sizeof(ram) };
	struct vellum_soft *soft;
	struct vellum_memory *memory;
	struct vellum_mm *mm, *child;
	struct vellum_tracker *tracker;
	uint64_t code, data, stored, dirty = 0, again = 0, of_parent, of_child;

	TRY(vellum_host_ram_create(64 << 20, &ram) || vellum_soft_create(1, &soft));
	TRY(vellum_memory_create(&(struct vellum_memory_args){ .size = sizeof(struct vellum_memory_args),
		.host = vellum_host_posix(), .mmu = vellum_soft_mmu_ops(), .machine = soft,
		.ram = ram.base, .ram_size = ram.len }, &memory));
	TRY(vellum_mm_create(memory, &mm));
	struct vellum_soft_cpu *cpu = vellum_soft_cpu(soft, 0);
	vellum_soft_load_mm(cpu, mm);
	code = map(mm, VELLUM_PAGE_SIZE);
	data = map(mm, DATA_BYTES);
	TRY(vellum_copy_to_user(mm, code, primes_code, sizeof(primes_code), &stored));
	TRY(vellum_mprotect(mm, code, VELLUM_PAGE_SIZE, VELLUM_PROT_READ | VELLUM_PROT_EXEC));
	TRY(vellum_track_mm(mm, data, data + DATA_BYTES, VELLUM_TRACK_AUTO, &tracker));
	of_parent = primes(cpu, code, data, 20000);
	TRY(vellum_tracker_collect(tracker, 0, ~0ull, count_pages, &dirty));
	TRY(vellum_fork(mm, &child));
	vellum_soft_load_mm(cpu, child);
	of_child = primes(cpu, code, data + DATA_BYTES / 2, 40000);
	vellum_soft_load_mm(cpu, mm);
	TRY(vellum_tracker_collect(tracker, 0, ~0ull, count_pages, &again));
	printf("# %llu primes and %llu; the parent's program has changed %llu pages, and while the child ran %llu\n",
	       (unsigned long long)of_parent, (unsigned long long)of_child, (unsigned long long)dirty,
	       (unsigned long long)again);
	vellum_soft_load_mm(cpu, NULL);
	vellum_tracker_destroy(tracker);
	vellum_mm_put(child), vellum_mm_put(mm), vellum_memory_destroy(memory);
	vellum_soft_destroy(soft), vellum_host_ram_destroy(&ram);
	return of_parent != 2262 || of_child != 4203 || dirty != 5 || again;
}
