/* SPDX-License-Identifier: MIT */
/*
 * machine/qemu.c - qemu-system-x86_64 under TCG as a machine: start it, run CPUs, flush.
 *
 * RAM is a memory file that Vellum and QEMU map. Each CPU has a mailbox page in RAM (qemu_layout.h). A host thread
 * writes a command there and waits until the CPU is idle again: it spins, then sleeps in a futex. The stub wakes it
 * by a byte on the serial port. A byte from the host interrupts every CPU. Each side sends a byte only if the other
 * side sleeps, or if a CPU runs the program.
 *
 * INV-QEMU-1: a thread that requests a flush or an exit stores the request, fences, then reads the state.
 *             The stub stores the state, fences, then reads the requests. So no request is missed.
 * INV-QEMU-2: QEMU caches translated instructions and does not notice stores by the host. Before a frame
 *             with new bytes becomes executable, a stub rewrites the frame (sync_icache): the next CPU that enters
 *             a program, or, if one is in a program and may reach the frame without an exit, the service CPU at
 *             once. A machine with one CPU has no service CPU.
 */
#define _GNU_SOURCE
#include "machine/coverage.h"
#include "machine/qemu.h"

#include <errno.h>
#include <sched.h>
#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "arch/x86/pgtable.h"
#include "vellum/mm.h"

#define RFLAGS_TF	 0x100ull
#define VECTOR_TS	 10		/* to VECTOR_GP: exceptions whose error code is a selector */
#define VECTOR_GP	 13

uint64_t qemu_now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* --- when QEMU has ended --- */

bool qemu_is_down(const struct qemu_machine *q)
{
	return __atomic_load_n(&q->down, __ATOMIC_ACQUIRE);
}

void qemu_declare_down(struct qemu_machine *q, const char *why)
{
	pthread_mutex_lock(&q->why_lock);
	if (!q->down) {
		snprintf(q->why, sizeof(q->why), "%s", why);
		__atomic_store_n(&q->down, 1, __ATOMIC_RELEASE);
	}
	if (q->pid > 0)
		kill(q->pid, SIGKILL);
	pthread_mutex_unlock(&q->why_lock);
	for (unsigned i = 0; i < q->nr_vcpus; i++) {
		__atomic_fetch_add(&q->vcpu[i].wake, 1, __ATOMIC_SEQ_CST);
		syscall(SYS_futex, &q->vcpu[i].wake, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
	}
}

static const char *qemu_why(struct machine *m)
{
	return to_qemu(m)->why;
}

static void qemu_lost(struct machine *m, char *text, size_t size)
{
	struct qemu_machine *q = to_qemu(m);

	pthread_mutex_lock(&q->why_lock);
	while (qemu_is_down(q) && !q->gone)
		pthread_cond_wait(&q->changed, &q->why_lock);
	snprintf(text, size, "%s", q->lost);
	pthread_mutex_unlock(&q->why_lock);
}

/* Wait until a QEMU runs. The caller may use mailboxes until leave(). False: QEMU is not started again. */
static bool enter(struct qemu_machine *q)
{
	bool gone = false;

	for (;;) {
		pthread_rwlock_rdlock(&q->life);
		if (!qemu_is_down(q))
			return true;
		pthread_rwlock_unlock(&q->life);
		pthread_mutex_lock(&q->why_lock);
		while (qemu_is_down(q) && !q->gone)
			pthread_cond_wait(&q->changed, &q->why_lock);
		gone = q->gone;
		pthread_mutex_unlock(&q->why_lock);
		if (gone)
			return false;
	}
}

static void leave(struct qemu_machine *q)
{
	pthread_rwlock_unlock(&q->life);
}

/* --- commands --- */

uint32_t qemu_state(const struct mailbox *mb)
{
	return __atomic_load_n(&mb->state, __ATOMIC_SEQ_CST);
}

bool qemu_not_begun(const struct mailbox *mb)
{
	return __atomic_load_n(&mb->cmd, __ATOMIC_SEQ_CST) != 0;
}


void qemu_send_kick(struct qemu_machine *q)
{
	char byte = 1;

	/* If the line is full, no byte is needed: the CPUs receive its bytes after the request was stored. */
	while (send(q->sock, &byte, 1, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 && errno == EINTR)
		;
}

static void sleep_for_byte(struct qemu_vcpu *v)
{
	struct timespec ts = { QEMU_WATCH_NS / 1000000000u, QEMU_WATCH_NS % 1000000000u };
	uint32_t seen = __atomic_load_n(&v->wake, __ATOMIC_SEQ_CST);

	__atomic_store_n(&v->mb->host_sleeps, 1, __ATOMIC_SEQ_CST);
	if (qemu_state(v->mb) == STATE_GUEST || qemu_state(v->mb) == STATE_COMMANDED)
		syscall(SYS_futex, &v->wake, FUTEX_WAIT_PRIVATE, seen, &ts, NULL, 0);
	__atomic_store_n(&v->mb->host_sleeps, 0, __ATOMIC_RELAXED);
}

static bool is_idle(struct qemu_vcpu *v)
{
	return qemu_state(v->mb) == STATE_IDLE;
}

/* A stub faulted: the mailbox has a value that a CPU cannot load, or QEMU has a bug. */
static void declare_broken(struct qemu_machine *q, const struct qemu_vcpu *v)
{
	char why[120];

	snprintf(why, sizeof(why), "Vellum's code in " QEMU_PROGRAM " faulted: exception %llu at 0x%llx",
		 (unsigned long long)v->mb->broken_vector, (unsigned long long)v->mb->broken_rip);
	qemu_declare_down(q, why);
}

/* If other threads want the processors, spinning costs more than it saves. */
static bool spins_longer(const struct qemu_machine *q, const struct qemu_vcpu *v, uint64_t now)
{
	return q->base.short_waits && now >= v->crowded_until;
}

static void yield(struct qemu_vcpu *v, uint64_t now)
{
	uint64_t after;

	sched_yield();
	after = qemu_now_ns();
	if (after - now < QEMU_CROWDED_NS)
		return;
	/* Another thread has used the processor: now and then afl-fuzz computes, but others that spin do it each time. */
	v->nr_crowded = now - v->crowded_at < QEMU_CROWDED_WITHIN_NS ? v->nr_crowded + 1 : 1;
	v->crowded_at = after;
	if (v->nr_crowded >= QEMU_CROWDED_TIMES)
		v->crowded_until = after + QEMU_CROWDED_PAUSE_NS;
}

/*
 * Wait until the CPU is idle. A program may compute for hours. So each second the CPU gets a flush request, which it
 * must acknowledge: this interrupts QEMU's CPU, not the program.
 */
static int wait_idle(struct qemu_machine *q, struct qemu_vcpu *v)
{
	uint64_t start = qemu_now_ns(), asked = 0;
	struct qemu_patience patience = { 0, 0 };

	while (!is_idle(v)) {
		uint64_t now = qemu_now_ns();

		if (qemu_is_down(q))
			return -1;
		if (qemu_state(v->mb) == STATE_BROKEN)
			declare_broken(q, v);
		if (now - start < QEMU_SPIN_NS) {
			for (int i = 0; i < 50 && !is_idle(v); i++)
				__builtin_ia32_pause();
			continue;
		}
		if (spins_longer(q, v, now) && now - start < QEMU_LONG_SPIN_NS) {
			yield(v, now);
			continue;
		}
		sleep_for_byte(v);
		now = qemu_now_ns();
		if (is_idle(v) || now - start < QEMU_WATCH_NS)
			continue;
		if (__atomic_load_n(&v->mb->flush_ack, __ATOMIC_SEQ_CST) >= asked) {
			asked = qemu_request_flush(v, NULL);
			patience = (struct qemu_patience){ 0, 0 };
			qemu_send_kick(q);
		} else if (qemu_is_exhausted(&patience) && !is_idle(v)) {
			qemu_declare_down(q, QEMU_PROGRAM " stopped answering");
			return -1;
		}
	}
	return 0;
}

int qemu_command(struct qemu_machine *q, struct qemu_vcpu *v, uint32_t cmd)
{
	if (qemu_is_down(q))
		return -1;
	v->mb->idle_spins = spins_longer(q, v, qemu_now_ns()) ? QEMU_LONG_IDLE_SPINS : QEMU_IDLE_SPINS;
	__atomic_store_n(&v->mb->state, STATE_COMMANDED, __ATOMIC_RELAXED);
	__atomic_store_n(&v->mb->cmd, cmd, __ATOMIC_SEQ_CST);
	if (__atomic_load_n(&v->mb->sleeping, __ATOMIC_SEQ_CST))
		qemu_send_kick(q);
	return wait_idle(q, v);
}

/* --- frames with instructions that the host stored --- */

static uint64_t frame_gpa(uint64_t pfn)
{
	return pfn << PAGE_SHIFT;
}

/* scrub_lock held. 0, or -1: QEMU is down. */
static int scrub(struct qemu_machine *q, struct qemu_vcpu *v)
{
	int err = 0;

	for (uint32_t at = 0, n; at < q->nr_scrub && !err; at += n) {
		n = q->nr_scrub - at < MAX_SCRUB ? q->nr_scrub - at : MAX_SCRUB;
		memcpy(v->mb->scrub, q->scrub + at, n * sizeof(q->scrub[0]));
		v->mb->nr_scrub = n;
		err = qemu_command(q, v, CMD_SCRUB);
	}
	__atomic_store_n(&q->nr_scrub, 0, __ATOMIC_RELEASE);
	return err;
}

static int scrub_pending(struct qemu_machine *q, struct qemu_vcpu *v)
{
	int err;

	pthread_mutex_lock(&q->scrub_lock);	/* held: no CPU enters the program before the scrub */
	err = scrub(q, v);
	pthread_mutex_unlock(&q->scrub_lock);
	return err;
}

static bool is_queued(const struct qemu_machine *q, uint64_t gpa)
{
	/* Repeated calls are mostly for the same page. */
	return q->nr_scrub && q->scrub[q->nr_scrub - 1] == gpa;
}

static bool grow_queue(struct qemu_machine *q)
{
	uint32_t max = q->max_scrub ? 2 * q->max_scrub : MAX_SCRUB;
	uint64_t *more = realloc(q->scrub, max * sizeof(*more));

	if (!more)
		return false;
	q->scrub = more;
	q->max_scrub = max;
	return true;
}

/* Queue a frame for CMD_SCRUB before the next entry of any CPU. scrub_lock held. False: no memory. */
static bool queue_scrub(struct qemu_machine *q, uint64_t gpa)
{
	if (is_queued(q, gpa))
		return true;
	if (q->nr_scrub == q->max_scrub && !grow_queue(q))
		return false;
	q->scrub[q->nr_scrub] = gpa;
	__atomic_store_n(&q->nr_scrub, q->nr_scrub + 1, __ATOMIC_SEQ_CST);
	return true;
}

/* Called with a page-table lock. Either this call sees the CPU that enters (nr_running), or that CPU sees nr_scrub. */
static void qemu_sync_icache(void *machine, uint64_t pfn)
{
	struct qemu_machine *q = machine;
	bool ok;

	pthread_mutex_lock(&q->scrub_lock);
	ok = queue_scrub(q, frame_gpa(pfn));
	pthread_mutex_unlock(&q->scrub_lock);
	if (!ok)
		qemu_declare_down(q, "the host has no memory for a list of freed frames");
	else if (q->nr_vcpus > q->base.nr_cpus && __atomic_load_n(&q->nr_running, __ATOMIC_SEQ_CST) && enter(q)) {
		scrub_pending(q, &q->vcpu[q->nr_vcpus - 1]);
		leave(q);
	}
}

/* --- running --- */

/*
 * sysret takes rip from rcx and flags from r11. After a system call, these registers hold both values already. Else
 * sysret enters the trampoline, which loads the program's rcx and r11. Return: true if through the trampoline.
 */
static bool set_entry(struct qemu_vcpu *v, unsigned cpu, struct vcpu_regs *r)
{
	struct trampoline_slot *slot = (struct trampoline_slot *)(v->page + TRAMPOLINE_SLOTS) + cpu;

	r->cs = VCPU_USER_CS;
	r->ss = VCPU_USER_SS;
	r->rflags = (r->rflags & VCPU_USER_RFLAGS) | VCPU_RFLAGS_IF | 2;
	if (r->rcx == r->rip && r->r11 == r->rflags && r->rip < VELLUM_TASK_SIZE) {
		v->mb->entry = r->rip;
		return false;
	}
	*slot = (struct trampoline_slot){ .rip = r->rip, .rcx = r->rcx, .r11 = r->r11 };
	r->rflags &= ~RFLAGS_TF;	/* else each entry would trap in the trampoline */
	v->mb->entry = VELLUM_MACHINE_PAGE + cpu * TRAMPOLINE_SIZE;
	return true;
}

/* Report an exit from the trampoline as an exit from the address that the trampoline jumps to. */
static void rewind_trampoline(struct vcpu_regs *r, const struct vcpu_regs *wanted)
{
	if (r->rip - VELLUM_MACHINE_PAGE >= VELLUM_PAGE_SIZE)
		return;
	r->rip = wanted->rip;
	r->rcx = wanted->rcx;
	r->r11 = wanted->r11;
}

/*
 * Remove from an exit what reveals the upper half, so that the exit looks as on a CPU that refuses every access there.
 * QEMU's far returns read the upper half with supervisor rights, and the error code then contains bytes of it.
 */
static void hide_upper_half(struct vcpu_state *st)
{
	struct vcpu_regs *r = &st->regs;

	if (r->vector >= VECTOR_TS && r->vector <= VECTOR_GP && r->rsp >> 47) {
		r->vector = VCPU_VECTOR_PAGE_FAULT;
		r->error = 0;
		st->cr2 = r->rsp;
	}
	if (r->vector != VCPU_VECTOR_PAGE_FAULT)
		return;
	r->error |= VELLUM_FAULT_USER;
	if (st->cr2 >> 47)
		r->error = (r->error & (VELLUM_FAULT_WRITE | VELLUM_FAULT_INSTR)) | VELLUM_FAULT_USER |
			   VELLUM_FAULT_PRESENT;
}

/* QEMU was started again: load all state that the CPU held. False: the FPU state is lost. */
static bool refresh(struct qemu_vcpu *v, struct vcpu_state *st, uint32_t *load)
{
	if (!(*load & VCPU_LOAD_FPU) && !v->has_kept)
		return false;
	if (!(*load & VCPU_LOAD_FPU))
		memcpy(st->fpu, v->kept, sizeof(v->kept));
	*load |= VCPU_LOAD_FPU | VCPU_LOAD_SEGMENTS;
	v->load_cr3 = true;
	v->fresh = v->has_kept = false;
	return true;
}

/* Write to the mailbox what the CPU must load. Return: true if the program is entered through the trampoline. */
static bool load_mailbox(const struct qemu_machine *q, unsigned cpu, struct qemu_vcpu *v, struct vcpu_state *st,
			 uint32_t load)
{
	struct mailbox *mb = v->mb;
	bool trampoline = set_entry(v, cpu, &st->regs);

	mb->regs = st->regs;
	mb->fs_base = st->fs_base;
	mb->gs_base = st->gs_base;
	mb->cr3 = v->cr3;
	if (load & VCPU_LOAD_FPU)
		memcpy(mb->fpu, st->fpu, q->base.fpu_size);
	mb->flags = load | (v->load_cr3 ? LOAD_CR3 : 0);
	v->load_cr3 = false;
	return trampoline;
}

#define RUN_AGAIN 2	/* QEMU ended before the CPU took the command */

/* life is held for reading. If QEMU was started again, adds to @load, for the next attempt too, what it must load. */
static int run_once(struct qemu_machine *q, unsigned cpu, struct vcpu_state *st, uint32_t *load)
{
	struct qemu_vcpu *v = &q->vcpu[cpu];
	const struct vcpu_regs wanted = st->regs;
	const struct mailbox *mb = v->mb;
	bool trampoline;

	if (v->fresh && !refresh(v, st, load))
		return MACHINE_LOST;
	if (__atomic_load_n(&q->nr_scrub, __ATOMIC_SEQ_CST) && scrub_pending(q, v))
		return RUN_AGAIN;
	trampoline = load_mailbox(q, cpu, v, st, *load);
	if (qemu_command(q, v, CMD_RUN)) {
		st->regs = wanted;
		if (qemu_not_begun(mb))
			return RUN_AGAIN;
		v->in_program = true;
		return MACHINE_LOST;
	}
	__atomic_fetch_add(&q->base.nr_exits, 1, __ATOMIC_RELAXED);
	st->regs = mb->regs;
	if (trampoline)
		rewind_trampoline(&st->regs, &wanted);
	st->cr2 = mb->cr2;
	hide_upper_half(st);
	st->fs_base = mb->fs_base;
	st->gs_base = mb->gs_base;
	return 0;
}

/* Set rip to where the program was when QEMU ended, if that is known; else rip stays where it was entered. */
static void find_lost(struct qemu_machine *q, struct qemu_vcpu *v, struct vcpu_regs *r)
{
	pthread_mutex_lock(&q->why_lock);
	while (qemu_is_down(q) && !q->gone)
		pthread_cond_wait(&q->changed, &q->why_lock);
	r->vector = v->in_program && v->lost_rip && !(v->lost_rip >> 47) ? VCPU_VECTOR_LOST_AT : VCPU_VECTOR_LOST;
	if (r->vector == VCPU_VECTOR_LOST_AT)
		r->rip = v->lost_rip;
	v->in_program = false;
	pthread_mutex_unlock(&q->why_lock);
}

/* Did an access of the instruction at rip fault? Not: reading the instruction itself, which has not begun. */
static bool runs_again(const struct vcpu_state *st)
{
	return st->regs.vector == VCPU_VECTOR_PAGE_FAULT && !(st->regs.error & VELLUM_FAULT_INSTR);
}

/* If an interrupt came before the instruction ran again, the plugin has not taken its address, and must find it still. */
static void tell_resumed(struct coverage *coverage, unsigned cpu, const struct vcpu_state *st)
{
	struct coverage_cpu *c = &coverage->cpu[cpu];

	if (runs_again(st)) {
		c->resumed = st->regs.rip;
		coverage_uncount(coverage, st->regs.rip);
	} else if (c->resumed != st->regs.rip) {
		c->resumed = 0;
	}
}

static int qemu_run(struct machine *m, unsigned cpu, struct vcpu_state *st, uint32_t load)
{
	struct qemu_machine *q = to_qemu(m);
	int status;

	if (m->coverage)
		tell_resumed(m->coverage, cpu, st);
	do {
		if (!enter(q))
			return MACHINE_GONE;
		__atomic_fetch_add(&q->nr_running, 1, __ATOMIC_SEQ_CST);
		status = run_once(q, cpu, st, &load);
		__atomic_fetch_sub(&q->nr_running, 1, __ATOMIC_SEQ_CST);
		leave(q);
	} while (status == RUN_AGAIN);
	if (status == MACHINE_LOST)
		find_lost(q, &q->vcpu[cpu], &st->regs);
	return status;
}

static int qemu_save_fpu(struct machine *m, unsigned cpu, struct vcpu_state *st)
{
	struct qemu_machine *q = to_qemu(m);
	struct qemu_vcpu *v = &q->vcpu[cpu];
	int status = 0;

	if (!enter(q))
		return MACHINE_GONE;
	if (v->fresh && !v->has_kept) {
		status = MACHINE_LOST;
	} else if (v->fresh) {
		memcpy(st->fpu, v->kept, sizeof(v->kept));
		v->has_kept = false;
	} else if (!qemu_command(q, v, CMD_SAVE_FPU)) {
		memcpy(st->fpu, v->mb->fpu, m->fpu_size);
	} else if (v->mb->idle_saved) {
		memcpy(st->fpu, v->mb->idle_fpu, m->fpu_size);
	} else {
		status = MACHINE_LOST;
	}
	leave(q);
	return status;
}

static void qemu_kick(struct machine *m, unsigned cpu)
{
	struct qemu_machine *q = to_qemu(m);
	struct mailbox *mb = q->vcpu[cpu].mb;

	__atomic_store_n(&mb->exit_req, 1, __ATOMIC_SEQ_CST);
	if (qemu_state(mb) == STATE_GUEST)
		qemu_send_kick(q);
}

/* --- operations of vellum_mmu_ops --- */

/* Called by the thread that uses the CPU, with the CPU idle; qemu_deactivate() too. */
static void qemu_activate(void *machine, unsigned cpu, struct vellum_mm *mm, uint64_t pgd)
{
	struct qemu_machine *q = machine;

	q->vcpu[cpu].page = vellum_mm_machine_page(mm);
	q->vcpu[cpu].cr3 = frame_gpa(pgd);
	q->vcpu[cpu].load_cr3 = true;
}

static void qemu_deactivate(void *machine, unsigned cpu, struct vellum_mm *mm)
{
	struct qemu_machine *q = machine;

	(void)mm;	/* its tables may be freed next: load the boot tables; a restarted QEMU has them loaded */
	pthread_rwlock_rdlock(&q->life);
	if (!qemu_is_down(q))
		qemu_command(q, &q->vcpu[cpu], CMD_IDLE);
	leave(q);
}

const struct vellum_mmu_ops qemu_mmu_ops = {
	.size = sizeof(qemu_mmu_ops),
#ifndef BENCH_UNCHECKED	/* bench_checks() in bench/run.c measures the checks */
	.caps = VELLUM_MMU_TABLES_EXPOSED,
#endif
	.flush = qemu_flush,
	.flush_mm = qemu_flush_mm,
	.activate = qemu_activate,
	.deactivate = qemu_deactivate,
	.init_pgd = qemu_init_pgd,
	.machine_page = qemu_machine_page,
	.sync_icache = qemu_sync_icache,
};

const struct machine_ops qemu_machine_ops = {
	.run = qemu_run,
	.save_fpu = qemu_save_fpu,
	.kick = qemu_kick,
	.refresh = qemu_refresh,
	.why = qemu_why,
	.lost = qemu_lost,
	.destroy = qemu_destroy,
};
