/* SPDX-License-Identifier: MIT */
/* machine/qemu.h - the qemu machine's own structures, for qemu.c (running) and qemu_start.c. */
#ifndef MACHINE_QEMU_H
#define MACHINE_QEMU_H

#include <pthread.h>
#include <sys/types.h>

#include "machine/machine.h"
#include "machine/qemu_layout.h"

#define QEMU_PROGRAM "qemu-system-x86_64"

struct mailbox {
	uint32_t cmd, state, sleeping, flags, host_sleeps, exit_req;
	uint64_t flush_req, flush_ack;
	uint64_t cr3, cr2, fs_base, gs_base, user_rsp, rsp0;
	uint32_t nr_scrub, id;
	uint64_t tsc;
	uint32_t fpu_size, flush_nr;
	uint64_t flush_addr[MAX_FLUSH_PAGES];
	uint8_t stack[MB_REGS - MB_FLUSH_ADDR - 8 * MAX_FLUSH_PAGES];
	struct vcpu_regs regs;
	uint8_t fpu[VCPU_FPU_MAX];
	uint64_t scrub[MAX_SCRUB];
};

_Static_assert(offsetof(struct mailbox, tsc) == MB_TSC, "mailbox layout");
_Static_assert(offsetof(struct mailbox, flush_nr) == MB_FLUSH_NR, "mailbox layout");
_Static_assert(offsetof(struct mailbox, flush_addr) == MB_FLUSH_ADDR, "mailbox layout");
_Static_assert(offsetof(struct mailbox, regs) == MB_REGS, "mailbox layout");
_Static_assert(offsetof(struct mailbox, regs) + sizeof(struct vcpu_regs) == MB_RSP0_AT, "mailbox layout");
_Static_assert(offsetof(struct mailbox, fpu) == MB_FPU, "mailbox layout");
_Static_assert(offsetof(struct mailbox, scrub) == MB_SCRUB, "mailbox layout");
_Static_assert(sizeof(struct mailbox) == MAILBOX_SIZE, "mailbox layout");

struct qemu_vcpu {
	struct mailbox *mb;
	uint32_t wake;			/* futex: counts the stub's bytes */
	bool load_cr3;			/* the address space changed; written by the CPU's owner */
	pthread_mutex_t flush_lock;	/* the mailbox' flush_req, flush_nr, flush_addr */
};

struct qemu_machine {
	struct machine base;
	pid_t pid;
	int sock;			/* the serial line */
	char *ram;
	uint32_t dead;			/* atomic */
	char why[160];			/* set before dead */
	pthread_mutex_t why_lock;
	pthread_t reader;
	bool has_reader;
	struct qemu_vcpu vcpu[MAX_VCPUS];
	pthread_mutex_t scrub_lock;
	/* scrub_lock protects: */
	uint64_t *scrub;		/* [max_scrub] physical addresses */
	uint32_t nr_scrub;		/* also read without the lock */
	uint32_t max_scrub;
};

static inline struct qemu_machine *to_qemu(struct machine *m)
{
	return (struct qemu_machine *)m;
}

/* qemu.c */
extern const struct machine_ops qemu_machine_ops;
extern const struct vellum_mmu_ops qemu_mmu_ops;
uint64_t qemu_now_ns(void);
uint32_t qemu_state(const struct mailbox *mb);
/* Give the CPU a command and wait until it is idle again. 0, or -1: the machine is dead. */
int qemu_command(struct qemu_machine *q, struct qemu_vcpu *v, uint32_t cmd);
/* No CPU runs any more; the first reason counts. */
void qemu_declare_dead(struct qemu_machine *q, const char *why);

/* qemu_start.c */
void qemu_destroy(struct machine *m);

#endif
