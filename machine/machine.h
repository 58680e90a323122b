/* SPDX-License-Identifier: MIT */
/*
 * machine/machine.h - CPUs that run a program's ring-3 code natively or translated.
 *
 * A machine has nr_cpus CPUs. One thread at a time uses a CPU: run() loads a task's registers, runs until the program
 * makes a system call, faults, or is kicked, and returns the registers. State that the CPU still holds from the
 * task's last run (FPU, segment bases, address space) need not be loaded again.
 */
#ifndef MACHINE_MACHINE_H
#define MACHINE_MACHINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vellum/host.h"
#include "vellum/mmu.h"

/* In the order in which the stubs push them. */
struct vcpu_regs {
	uint64_t r15, r14, r13, r12, rbp, rbx, r11, r10, r9, r8, rax, rcx, rdx, rsi, rdi;
	uint64_t vector;	/* of the exit: exception number or VCPU_VECTOR_* */
	uint64_t error;		/* exception's error code */
	uint64_t rip, cs, rflags, rsp, ss;
};

#define VCPU_VECTOR_PAGE_FAULT	14
#define VCPU_VECTOR_KICK	0x40
#define VCPU_VECTOR_SYSCALL	0x100
#define VCPU_VECTOR_LOST	0x200	/* with MACHINE_LOST: rip is where the program was entered last */
#define VCPU_VECTOR_LOST_AT	0x201	/* with MACHINE_LOST: rip is where QEMU aborted */

#define VCPU_USER_CS	0x33	/* Linux's values: programs read them */
#define VCPU_USER_SS	0x2b
/* Flags that a program may set. IF is always on, IOPL always 0. */
#define VCPU_USER_RFLAGS 0x244dd5ull
#define VCPU_RFLAGS_IF	 0x200ull

#define VCPU_FPU_MAX	1536	/* XSAVE area, standard format: x87, SSE and AVX need 832 */
#define VCPU_FPU_MXCSR	24	/* offset in it (Intel SDM) */

struct vcpu_state {
	struct vcpu_regs regs;
	uint64_t cr2;
	uint64_t fs_base, gs_base;
	uint8_t fpu[VCPU_FPU_MAX] __attribute__((aligned(64)));
};

enum vcpu_load {		/* what a CPU must load before it runs */
	VCPU_LOAD_SEGMENTS = 1 << 1,
	VCPU_LOAD_FPU = 1 << 2,
};

struct machine {
	const struct machine_ops *ops;
	const struct vellum_mmu_ops *mmu;	/* for vellum_memory_create(), with this as context */
	unsigned nr_cpus;
	int child_pid;				/* of the process that runs the CPUs; 0: none */
	uint32_t fpu_size;			/* bytes of vcpu_state.fpu in use */
	uint32_t cpu_features;			/* CPUID.1:EDX, as programs read it */
	uint64_t reserved;			/* bytes at the start of RAM that the machine uses */
	uint64_t hole_start, hole_size;		/* of guest-physical addresses */
	uint64_t nr_exits;			/* atomic */
	int64_t tsc_offset;			/* the program's TSC minus this host's; see has_tsc */
	bool has_tsc;
	/* Called after a restart of the machine, while no CPU runs: tsc_offset and has_tsc have changed. */
	void (*restarted)(void *arg);
	void *restarted_arg;
	bool short_waits;			/* runs and the pauses between are short: spin for their end */
	uint64_t fault_ns;			/* approximate cost of a page fault, measured */
	struct coverage *coverage;		/* coverage.h; NULL: nothing is counted */
	char leak[160];				/* how ring 3 can access the upper half; empty: it cannot */
};

enum {
	MACHINE_GONE = -1,	/* no CPU can run any more; why() returns the reason */
	MACHINE_LOST = 1,	/* the machine ended and was started again; the task's registers are lost */
};

struct machine_ops {
	/*
	 * Run until the next exit; st->regs.vector says why. 0, MACHINE_GONE, or MACHINE_LOST: st->regs.rip is the
	 * program's last known address, and lost() returns the reason.
	 */
	int (*run)(struct machine *m, unsigned cpu, struct vcpu_state *st, uint32_t load);
	/* Fetch the FPU state that the CPU holds. 0, MACHINE_GONE, or MACHINE_LOST: the state is lost. */
	int (*save_fpu)(struct machine *m, unsigned cpu, struct vcpu_state *st);
	/* Make the CPU exit soon, with VCPU_VECTOR_KICK. Any thread may call this. */
	void (*kick)(struct machine *m, unsigned cpu);
	/* Called some times a second while programs run: what makes the machine faster. Any thread may call this. */
	void (*refresh)(struct machine *m);
	const char *(*why)(struct machine *m);
	/* Write one line to @text: why the machine ended the last time. Any thread may call this. */
	void (*lost)(struct machine *m, char *text, size_t size);
	void (*destroy)(struct machine *m);
};

enum machine_coverage { COVERAGE_NONE, COVERAGE_EDGES, COVERAGE_BLOCKS };

/* The registers and FPU state that a new program starts with. */
void vcpu_state_init(struct vcpu_state *st, uint64_t rip, uint64_t rsp);
void vcpu_fpu_init(struct vcpu_state *st);	/* all components in their initial state */

/*
 * Start QEMU (TCG) as a child process, which shares @ram. On failure, writes one line to @why.
 * @confined: take the rights from the process that it does not need. machine->leak tells whether the ring boundary
 * holds. @covers: what to count in machine->coverage. The calling thread must live as long as the machine: the kernel kills
 * QEMU when that thread ends.
 */
struct machine *machine_qemu_create(const struct vellum_host_ram *ram, unsigned nr_cpus, bool confined,
				    enum machine_coverage covers, char *why, size_t why_size);

#endif
