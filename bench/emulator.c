/* SPDX-License-Identifier: MIT */
/*
 * bench/emulator.c - a whole emulator, examples/riscv_hart.h: each access is one of a batch on the software MMU, a single one
 * there, or one of plain memory.
 */
#define _GNU_SOURCE
#include "bench/bench.h"

#include <string.h>
#include <sys/mman.h>

#include "examples/riscv_primes.h"
#include "vellum/access.h"

#define HART(name) batch_##name
#define HART_FETCH32(h, addr, to) vellum_soft_batch_fetch32((h)->memory, addr, to)
#define HART_LOAD(h, bits, addr, to) vellum_soft_batch_load##bits((h)->memory, addr, to)
#define HART_STORE(h, bits, addr, value) vellum_soft_batch_store##bits((h)->memory, addr, value)
#define HART_PAUSE(h) vellum_soft_batch_pause((h)->memory)
#include "examples/riscv_hart.h"
#undef HART
#undef HART_FETCH32
#undef HART_LOAD
#undef HART_STORE
#undef HART_PAUSE

#define HART(name) single_##name
#define HART_FETCH32(h, addr, to) vellum_soft_fetch32((h)->memory, addr, to)
#define HART_LOAD(h, bits, addr, to) vellum_soft_load##bits((h)->memory, addr, to)
#define HART_STORE(h, bits, addr, value) vellum_soft_store##bits((h)->memory, addr, value)
#define HART_PAUSE(h) ((void)0)
#include "examples/riscv_hart.h"
#undef HART
#undef HART_FETCH32
#undef HART_LOAD
#undef HART_STORE

/* Addresses are those of the host. */
#define HART(name) flat_##name
#define HART_FETCH32(h, addr, to) (*(to) = *(const volatile uint32_t *)(addr), 0)
#define HART_LOAD(h, bits, addr, to) ((void)(h), *(to) = *(const volatile uint##bits##_t *)(addr), 0)
#define HART_STORE(h, bits, addr, value) ((void)(h), *(volatile uint##bits##_t *)(addr) = (value), 0)
#include "examples/riscv_hart.h"

typedef int run_fn(struct hart *h);

/* Nanoseconds for each number below @n. */
static double primes(run_fn *run, void *memory, uint64_t code, uint64_t data, uint64_t n)
{
	struct hart h = { .pc = code, .memory = memory };
	struct vellum_soft_cpu *cpu = run == batch_run ? memory : NULL;
	double ns = now_ns();

	h.x[1] = code + PRIMES_ECALL_AT;
	h.x[10] = data;
	h.x[11] = n;
	if (cpu)
		vellum_soft_batch_begin(cpu);
	must(run(&h) == HART_ECALL, "emulator: it stopped");
	if (cpu)
		vellum_soft_batch_end(cpu);
	ns = now_ns() - ns;
	must(h.x[10] > n / 20, "emulator: too few primes");
	return ns / (double)n;
}

void bench_emulator(void)
{
	struct row *batch = row_add("emulator.batch", "ns", "RV64I on the software MMU, in batches", "the same on plain memory");
	struct row *single = row_add("emulator.single", "ns", "RV64I on the software MMU", "the same on plain memory");
	uint64_t n = amount(400000, 20000), pages = n / PAGE + 1, code, data;
	struct world w;
	char *host;

	row_goal_ratio(batch, 1 / 1.5);
	world_open(&w, pages + 1);
	code = map_vellum(w.mm, 1, ANON);
	data = map_vellum(w.mm, pages, ANON);
	must(!vellum_copy_to_user(w.mm, code, primes_code, sizeof(primes_code), NULL), "emulator: the program");
	must(!vellum_mprotect(w.mm, code, PAGE, VELLUM_PROT_READ | VELLUM_PROT_EXEC), "emulator: mprotect");
	host = map_host(pages, MAP_PRIVATE);
	for (unsigned i = amount(31, 2); i--;) {
		uint64_t at = (uintptr_t)host, text = (uintptr_t)primes_code;
		double ours[2], flat;

		must(!vellum_madvise(w.mm, data, pages * PAGE, VELLUM_MADV_DONTNEED), "emulator: madvise");
		ours[0] = primes(batch_run, w.cpu[0], code, data, n);
		must(!vellum_madvise(w.mm, data, pages * PAGE, VELLUM_MADV_DONTNEED), "emulator: madvise");
		ours[1] = primes(single_run, w.cpu[0], code, data, n);
		memset(host, 0, pages * PAGE);
		flat = primes(flat_run, NULL, text, at, n);
		row_sample(batch, ours[0], flat);
		row_sample(single, ours[1], flat);
	}
	unmap_host(host, pages);
	world_close(&w);
}
