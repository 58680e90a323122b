/* SPDX-License-Identifier: MIT */
/*
 * abi/task.c - the process table, address spaces of processes, and the loop in which the host thread of a process runs
 * its program.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "abi/filemap.h"
#include "abi/text.h"

#define MAX_INSTRUCTION 15	/* bytes, on x86-64 */
#define LOWER_HALF_BITS 47	/* higher addresses belong to the machine, or are not canonical */
#define MAX_PID		4194303	/* as in Linux on 64-bit machines */
#define FIRST_PID_AGAIN	301	/* as in Linux: after MAX_PID, small PIDs are not used again */

/* Exception vectors of x86. */
enum { DE = 0, DB = 1, BP = 3, OF = 4, BR = 5, UD = 6, GP = 13, MF = 16, AC = 17, XM = 19, NR_EXCEPTIONS = 32 };

/* The error code of a general protection fault that entry @n of the interrupt table caused. */
#define IDT_ERROR(n) ((n) << 3 | 2)

/* The FXSAVE area and the exceptions in it (Intel SDM). */
#define FCW_OFFSET	0
#define FSW_OFFSET	2
#define MXCSR_MASKS	7	/* bits from the flags to the masks */
#define FPU_INVALID	(1u << 0)
#define FPU_DENORMAL	(1u << 1)
#define FPU_ZERO_DIVIDE	(1u << 2)
#define FPU_OVERFLOW	(1u << 3)
#define FPU_UNDERFLOW	(1u << 4)

#define VSYSCALL_PAGE	0xffffffffff600000ull
#define VSYSCALL_STEP	1024

uint64_t clock_ns(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return (uint64_t)ts.tv_sec * NS_PER_SEC + (uint64_t)ts.tv_nsec;
}

/* --- address spaces --- */

struct guest_mm *gmm_create(struct task *t)
{
	struct guest_mm *gmm = calloc(1, sizeof(*gmm));

	if (!gmm)
		return NULL;
	if (vellum_mm_create(t->kernel->args->memory, &gmm->mm)) {
		free(gmm);
		return NULL;
	}
	rlimit_apply(t, gmm->mm);
	gmm->kernel = t->kernel;
	gmm->refs = 1;
	gmm->pid = t->pid;
	return gmm;
}

void gmm_put(struct task *t, struct guest_mm *gmm)
{
	const struct abi_observer *ob = t->kernel->args->observer;

	if (__atomic_sub_fetch(&gmm->refs, 1, __ATOMIC_ACQ_REL))
		return;
	if (ob && ob->mm_end && gmm->observer_data)
		ob->mm_end(ob->arg, gmm);
	pool_drop_mm(t->kernel->pool, gmm->mm);
	vellum_mm_put(gmm->mm);
	filemaps_writeback_unmapped(t->kernel->filemaps);
	free(gmm);
}

/* --- the process table --- */

struct task *task_find(struct kernel *k, int pid)
{
	struct task *t = k->tasks;

	while (t && t->pid != pid)
		t = t->next;
	return t;
}

/* A PID that no process, group or session uses. kernel->lock held. */
static int new_pid(struct kernel *k)
{
	const struct task *t;

	do {
		if (k->next_pid > MAX_PID)
			k->next_pid = FIRST_PID_AGAIN;
		for (t = k->tasks; t; t = t->next)
			if (t->pid == k->next_pid || t->pgid == k->next_pid || t->sid == k->next_pid)
				break;
		k->next_pid++;
	} while (t);
	return k->next_pid - 1;
}

/* Count a new task, unless there are @max, zombies included. 0 or an errno. */
static int reserve_task(struct kernel *k, uint64_t max)
{
	int err = 0;

	pthread_mutex_lock(&k->lock);
	if (k->nr_tasks >= max || !hostfd_reserve_task())
		err = EAGAIN;
	else
		k->nr_tasks++;
	pthread_mutex_unlock(&k->lock);
	return err;
}

struct task *task_create(struct kernel *k, uint64_t max)
{
	struct task *t = aligned_alloc(64, (sizeof(struct task) + 63) & ~63ul);
	int err = t ? reserve_task(k, max < MAX_TASKS ? max : MAX_TASKS) : ENOMEM;

	if (err) {
		free(t);
		errno = err;
		return NULL;
	}
	memset(t, 0, sizeof(*t));
	t->kernel = k;
	t->cpu = t->last_cpu = -1;
	t->cwd = -1;
	t->syscall_nr = -1;
	t->load = VCPU_LOAD_FPU | VCPU_LOAD_SEGMENTS;
	pthread_mutex_lock(&k->lock);
	t->pid = new_pid(k);
	pthread_mutex_unlock(&k->lock);
	return t;
}

void task_free(struct task *t)
{
	t->kernel->nr_tasks--;
	free(t);
}

/* kernel->lock held. */
void task_unlink(struct kernel *k, struct task *t)
{
	struct task **at = &k->tasks;

	while (*at && *at != t)
		at = &(*at)->next;
	if (*at)
		*at = t->next;
}

void kernel_fail(struct kernel *k, const char *why)
{
	pthread_mutex_lock(&k->lock);
	if (!k->result->error[0])
		snprintf(k->result->error, sizeof(k->result->error), "%s", why);
	__atomic_store_n(&k->dying, true, __ATOMIC_RELAXED);
	pthread_cond_broadcast(&k->changed);
	for (struct task *t = k->tasks; t; t = t->next)
		if (__atomic_load_n(&t->in_host, __ATOMIC_SEQ_CST))
			pthread_kill(t->thread, KICK_SIGNAL);
	pthread_mutex_unlock(&k->lock);
}

/* --- running --- */

static void signal_fault_result(struct task *t, enum vellum_fault_result result)
{
	uint64_t addr = t->st.cr2;

	switch (result) {
	case VELLUM_FAULT_OK:
		break;
	case VELLUM_FAULT_SIGSEGV_MAPERR:
		signal_fault(t, SIGSEGV, SEGV_MAPERR, addr);
		break;
	case VELLUM_FAULT_SIGSEGV_ACCERR:
		signal_fault(t, SIGSEGV, SEGV_ACCERR, addr);
		break;
	case VELLUM_FAULT_SIGBUS:
		signal_fault(t, SIGBUS, BUS_ADRERR, addr);
		break;
	case VELLUM_FAULT_HWPOISON:
		signal_fault(t, SIGBUS, BUS_MCEERR_AR, addr);
		break;
	case VELLUM_FAULT_INTERRUPTED:	/* the instruction is executed again after signals were delivered */
		break;
	case VELLUM_FAULT_OOM:
		task_out_of_memory(t);
	}
}

/* The si_code for an exception of the x87 FPU or of SSE: what is flagged and not masked. */
static int fpu_code(struct task *t)
{
	uint32_t raised;

	cpu_save_fpu(t);
	if (t->st.regs.vector == MF)
		raised = *(uint16_t *)&t->st.fpu[FSW_OFFSET] & ~(uint32_t)*(uint16_t *)&t->st.fpu[FCW_OFFSET];
	else
		raised = *(uint32_t *)&t->st.fpu[VCPU_FPU_MXCSR] & ~(*(uint32_t *)&t->st.fpu[VCPU_FPU_MXCSR] >> MXCSR_MASKS);
	return raised & FPU_INVALID ? FPE_FLTINV : raised & FPU_ZERO_DIVIDE ? FPE_FLTDIV : raised & FPU_OVERFLOW ? FPE_FLTOVF :
	       raised & (FPU_DENORMAL | FPU_UNDERFLOW) ? FPE_FLTUND : FPE_FLTRES;
}

/*
 * The vsyscall page: three old entry points in the upper half that programs may call. True: the program called one, and
 * it has returned.
 */
static bool vsyscall(struct task *t)
{
	static const int numbers[] = { SYS_gettimeofday, SYS_time, SYS_getcpu };
	struct vcpu_regs *r = &t->st.regs;
	uint64_t offset = r->rip - VSYSCALL_PAGE, target;

	if (offset % VSYSCALL_STEP || offset / VSYSCALL_STEP >= sizeof(numbers) / sizeof(numbers[0]))
		return false;
	if (user_read(t, &target, r->rsp, sizeof(target))) {
		signal_fault(t, SIGSEGV, SEGV_MAPERR, r->rsp);
		return true;
	}
	r->rax = (uint64_t)numbers[offset / VSYSCALL_STEP];
	r->rax = (uint64_t)syscall_dispatch(t);
	r->rip = target;
	r->rsp += sizeof(target);
	return true;
}

static void handle_exception(struct task *t)
{
	static const struct {
		int signo, code;
	} map[NR_EXCEPTIONS] = {
		[DE] = { SIGFPE, FPE_INTDIV }, [DB] = { SIGTRAP, TRAP_TRACE }, [BP] = { SIGTRAP, SI_KERNEL },
		[OF] = { SIGSEGV, SI_KERNEL }, [BR] = { SIGSEGV, SI_KERNEL }, [UD] = { SIGILL, ILL_ILLOPN },
		[MF] = { SIGFPE, FPE_FLTINV }, [AC] = { SIGBUS, BUS_ADRALN }, [XM] = { SIGFPE, FPE_FLTINV },
	};
	struct vcpu_regs *r = &t->st.regs;
	char name[PRINTABLE_BYTES(sizeof(t->comm))];

	if (r->vector == VCPU_VECTOR_PAGE_FAULT) {
		if (r->rip == t->st.cr2 && vsyscall(t))
			return;
		if (t->st.cr2 >> LOWER_HALF_BITS)
			signal_fault(t, SIGSEGV, SEGV_MAPERR, t->st.cr2);
		else
			signal_fault_result(t, vellum_handle_fault(t->gmm->mm, t->st.cr2, (uint32_t)r->error));
	} else if (r->vector == GP && r->error == IDT_ERROR(0x80)) {
		fprintf(stderr, "vellum: process %d (%s) made a 32-bit system call (int 0x80): not supported, so "
			"it gets SIGSEGV\n",
			t->pid, printable(t->comm, name, sizeof(name)));
		signal_fault(t, SIGSEGV, SI_KERNEL, 0);
	} else if (r->vector < NR_EXCEPTIONS && map[r->vector].signo) {
		bool has_addr = r->vector != BP && r->vector != AC;

		signal_fault(t, map[r->vector].signo, r->vector == MF || r->vector == XM ? fpu_code(t) : map[r->vector].code,
			     has_addr ? r->rip : 0);
	} else {
		signal_fault(t, SIGSEGV, SI_KERNEL, 0);
	}
}

/*
 * The machine ended while it ran the task, and was restarted. The task's registers are lost, so no handler of the
 * program can be called.
 */
static void kill_lost_task(struct task *t)
{
	struct machine *m = t->kernel->args->machine;
	char reason[256], bytes[3 * MAX_INSTRUCTION + 1] = "", name[PRINTABLE_BYTES(sizeof(t->comm))];
	uint8_t code[MAX_INSTRUCTION];
	uint64_t n = user_read_some(t, code, t->st.regs.rip, sizeof(code));

	m->ops->lost(m, reason, sizeof(reason));
	for (uint64_t i = 0; i < n; i++)
		snprintf(bytes + 3 * i, 4, " %02x", code[i]);
	fprintf(stderr, "vellum: process %d (%s) is killed with SIGILL: %s; it was %s 0x%llx:%s\n", t->pid,
		printable(t->comm, name, sizeof(name)), reason,
		t->st.regs.vector == VCPU_VECTOR_LOST_AT ? "in the code at" : "last entered at",
		(unsigned long long)t->st.regs.rip, n ? bytes : " not mapped");
	inspect_signal(t, SIGILL);
	task_exit(t, SIGILL);
}

static void run_once(struct task *t)
{
	struct machine *m = t->kernel->args->machine;
	uint32_t load = t->load;
	int status;

	if (t->st.regs.rip >> LOWER_HALF_BITS) {	/* the stub would fault in ring 0 */
		signal_fault(t, SIGSEGV, SI_KERNEL, 0);
		return;
	}
	t->load = 0;
	status = t->lost ? MACHINE_LOST : m->ops->run(m, (unsigned)t->cpu, &t->st, load);
	if (status == MACHINE_LOST)
		kill_lost_task(t);
	if (status) {
		kernel_fail(t->kernel, m->ops->why(m));
		task_exit(t, SIGKILL);
	}
	if (t->st.regs.vector == VCPU_VECTOR_SYSCALL) {
		t->st.regs.rax = (uint64_t)syscall_dispatch(t);
	} else if (t->st.regs.vector != VCPU_VECTOR_KICK) {
		handle_exception(t);
	} else if (cpu_has_waiters(t->kernel->pool)) {
		cpu_release(t);		/* the time slice is over */
	}
}

/* The task of this thread; NULL in threads that belong to no task. */
static _Thread_local struct task *current;

static int interrupted_hook(void *host)
{
	(void)host;
	if (!current)
		return 0;
	return signal_fatal_pending(current) ? VELLUM_KILLED : signal_pending(current) ? VELLUM_INTERRUPTED : 0;
}

const struct vellum_host_ops *abi_host(void)
{
	static struct vellum_host_ops ops;

	ops = *vellum_host_posix();
	ops.interrupted = interrupted_hook;
	return &ops;
}

/* pthread_exit(3) is not used: its first call loads a library, which may fail. */
static _Thread_local jmp_buf thread_end;

void task_exit_thread(void)
{
	longjmp(thread_end, 1);
}

void *task_main(void *arg)
{
	struct task *t = arg;

	if (setjmp(thread_end))
		return NULL;
	current = t;
	pthread_mutex_lock(&t->kernel->lock);	/* wait until task_start() has finished */
	t->tid = gettid();
	pthread_mutex_unlock(&t->kernel->lock);
	for (;;) {
		if (signal_pending(t) || t->syscall_nr >= 0 || t->restore_blocked)
			signal_deliver(t);
		rlimit_apply_changed(t);
		cpu_acquire(t);
		run_once(t);
	}
}
