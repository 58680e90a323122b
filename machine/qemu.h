/* SPDX-License-Identifier: MIT */
/*
 * machine/qemu.h - the qemu machine's own structures. qemu.c runs CPUs. qemu_memory.c fills the part of RAM that the
 * stubs use. qemu_start.c starts and ends the process. qemu_test.c tests its ring boundary.
 */
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
	uint64_t entry, broken_vector, broken_rip;
	uint32_t idle_saved, cpu_features;
	uint32_t idle_spins;
	uint8_t stack[MB_REGS - MB_IDLE_SPINS - 4];
	struct vcpu_regs regs;
	uint8_t fpu[VCPU_FPU_MAX], idle_fpu[VCPU_FPU_MAX];
	uint64_t scrub[MAX_SCRUB];
};

_Static_assert(offsetof(struct mailbox, tsc) == MB_TSC, "mailbox layout");
_Static_assert(offsetof(struct mailbox, flush_nr) == MB_FLUSH_NR, "mailbox layout");
_Static_assert(offsetof(struct mailbox, flush_addr) == MB_FLUSH_ADDR, "mailbox layout");
_Static_assert(offsetof(struct mailbox, entry) == MB_ENTRY, "mailbox layout");
_Static_assert(offsetof(struct mailbox, broken_vector) == MB_BROKEN, "mailbox layout");
_Static_assert(offsetof(struct mailbox, idle_saved) == MB_IDLE_SAVED, "mailbox layout");
_Static_assert(offsetof(struct mailbox, cpu_features) == MB_CPU_FEATURES, "mailbox layout");
_Static_assert(offsetof(struct mailbox, idle_spins) == MB_IDLE_SPINS, "mailbox layout");
_Static_assert(offsetof(struct mailbox, idle_fpu) == MB_IDLE_FPU, "mailbox layout");
_Static_assert(offsetof(struct mailbox, regs) == MB_REGS, "mailbox layout");
_Static_assert(offsetof(struct mailbox, regs.rflags) == MB_REGS + REGS_RFLAGS, "mailbox layout");
_Static_assert(offsetof(struct mailbox, regs.rsp) == MB_REGS + REGS_RSP, "mailbox layout");
_Static_assert(offsetof(struct mailbox, regs) + sizeof(struct vcpu_regs) == MB_RSP0_AT, "mailbox layout");
_Static_assert(offsetof(struct mailbox, fpu) == MB_FPU, "mailbox layout");
_Static_assert(offsetof(struct mailbox, scrub) == MB_SCRUB, "mailbox layout");
_Static_assert(sizeof(struct mailbox) == MAILBOX_SIZE, "mailbox layout");

/* What a trampoline loads. */
struct trampoline_slot {
	uint64_t rip, rcx, r11, unused;
};

struct qemu_vcpu {
	struct mailbox *mb;
	/* page, cr3 and load_cr3 are for the thread that uses the CPU: */
	char *page;			/* of the loaded address space: its machine page */
	uint32_t wake;			/* futex: counts the bytes that the stub sent */
	uint64_t cr3;			/* of that address space */
	uint64_t crowded_until;		/* by qemu_now_ns(): no long spins before */
	uint64_t crowded_at;		/* the last long sched_yield(2) */
	unsigned nr_crowded;
	bool load_cr3;			/* cr3 was changed and is not loaded yet */
	pthread_mutex_t flush_lock;	/* protects flush_req, flush_nr and flush_addr of the mailbox */
	/* Changed with life held for writing, or held for reading by the thread that uses the CPU: */
	bool fresh;			/* QEMU was started again, and the CPU has not run since */
	bool has_kept;			/* if fresh: kept is the FPU state that the CPU held */
	uint8_t kept[VCPU_FPU_MAX];
	bool in_program;		/* the CPU was in the program when QEMU ended */
	uint64_t lost_rip;		/* why_lock: the CPU's rip when QEMU aborted; 0: not known */
};

#define CRASH_NEAR 16384		/* qemu_crash.c */

struct crash_registers {
	uint64_t cr3;
	uint8_t around[2 * CRASH_NEAR];	/* QEMU's memory around its control registers */
};

struct qemu_crash {
	int listener;			/* of the seccomp filter in QEMU, or -1 */
	pid_t pid;
	bool watching;
	pthread_t thread;
	/* Used only by the thread until it has ended: */
	unsigned nr;
	struct crash_registers found[MAX_VCPUS];
};

struct qemu_machine {
	struct machine base;
	pid_t pid;
	int sock;			/* the serial line */
	char *ram;
	bool confined;
	int plugin, map;		/* descriptors of the plugin and of its memory; -1: none */
	struct vellum_host_ram ram_file;
	int err;			/* QEMU's stderr, for its error message; non-blocking */
	/*
	 * Held for reading by threads that use mailboxes. The thread read_line() holds it for writing while it starts
	 * QEMU again. When down is set, readers release it soon. Outermost lock.
	 */
	pthread_rwlock_t life;
	uint32_t down;			/* atomic: this QEMU has ended, or must */
	pthread_mutex_t why_lock;
	pthread_cond_t changed;
	/* why_lock protects: */
	bool gone, ending;		/* QEMU could not be started again; the machine is being destroyed */
	char why[256];			/* the first reason since QEMU was started */
	char lost[200];			/* why QEMU ended the last time */
	struct qemu_crash crash;	/* for the thread read_line() */
	pthread_t reader;
	bool has_reader;
	unsigned nr_vcpus;		/* base.nr_cpus, and the service CPU, which is the last one */
	struct qemu_vcpu vcpu[MAX_VCPUS];
	uint32_t nr_running;		/* atomic: CPUs that are about to enter a program, or are in it */
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

#define QEMU_SPIN_NS	15000ull		/* a wait spins before it sleeps */
#define QEMU_IDLE_SPINS	20000u		/* about 50 us */
/* The same for a machine with short_waits: to sleep and be woken takes longer than most of its waits. */
#define QEMU_LONG_SPIN_NS 500000ull
#define QEMU_LONG_IDLE_SPINS (10 * QEMU_IDLE_SPINS)
#define QEMU_CROWDED_NS	400000ull		/* a sched_yield(2) that takes longer let another thread run */
#define QEMU_CROWDED_WITHIN_NS 10000000ull
#define QEMU_CROWDED_TIMES 3
#define QEMU_CROWDED_PAUSE_NS 200000000ull
#define QEMU_WATCH_NS	1000000000ull	/* a wait that sleeps looks whether QEMU still answers */

/* qemu.c */
extern const struct machine_ops qemu_machine_ops;
extern const struct vellum_mmu_ops qemu_mmu_ops;
uint64_t qemu_now_ns(void);
uint32_t qemu_state(const struct mailbox *mb);
/* The CPU has not yet taken its command. */
bool qemu_not_begun(const struct mailbox *mb);
/* Give the CPU a command and wait until it is idle again. 0, or -1: QEMU is down. life is held for reading. */
int qemu_command(struct qemu_machine *q, struct qemu_vcpu *v, uint32_t cmd);
/* End QEMU if it has not ended. Records @why if it is the first reason. The thread read_line() starts QEMU again. */
void qemu_declare_down(struct qemu_machine *q, const char *why);
bool qemu_is_down(const struct qemu_machine *q);
void qemu_send_kick(struct qemu_machine *q);	/* interrupt every CPU that sleeps or is in the program */

/* qemu_flush.c */
/* Time spent waiting. If the process was stopped meanwhile, that counts as one step of at most 2 * WATCH_NS. */
struct qemu_patience {
	uint64_t last, waited;
};
bool qemu_is_exhausted(struct qemu_patience *p);
/*
 * Ask one CPU to flush the pages of @batch; NULL: all. The stub may still be reading the list of a request that it
 * has not acknowledged. Then the list stays as it is, and this request flushes all.
 * Return: the number of the request, which the stub acknowledges.
 */
uint64_t qemu_request_flush(struct qemu_vcpu *v, const struct vellum_flush_batch *batch);
/* Of vellum_mmu_ops and machine_ops. */
void qemu_flush_mm(void *machine, struct vellum_mm *mm);
void qemu_flush(void *machine, struct vellum_mm *mm, const struct vellum_flush_batch *batch);
void qemu_refresh(struct machine *m);

/* qemu_confine.c: in the child, before it executes QEMU: give up rights that QEMU does not need */
void qemu_confine(void);

/* qemu_crash.c: at which address did QEMU abort? */
int qemu_crash_filter(void);			/* in the child; returns the filter's listener, or -1 */
void qemu_crash_start(struct qemu_crash *crash, pid_t pid, int listener);
void qemu_crash_end(struct qemu_crash *crash);	/* QEMU has ended */
void qemu_crash_explain(struct qemu_machine *q);	/* set lost_rip of each CPU; a new QEMU runs, its CPUs idle */

/* qemu_start.c */
void qemu_destroy(struct machine *m);

/* qemu_memory.c */
void qemu_lay_memory(struct qemu_machine *q);	/* before QEMU starts */
int qemu_make_rom(void);			/* a memory file with the reset vector's image, or -1 */
void qemu_init_pgd(void *machine, uint64_t *upper);
void qemu_machine_page(void *machine, void *bytes);

/*
 * qemu_test.c: test that ring 3 cannot access the upper half. Every CPU must be idle. False: it can; @why is one line.
 */
bool qemu_test_rings(struct qemu_machine *q, char *why, size_t why_size);

#endif
