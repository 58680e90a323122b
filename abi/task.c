/* SPDX-License-Identifier: MIT */
/*
 * abi/task.c - the process table, address spaces of processes, and the loop in which the host thread of a thread runs
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

#include "abi/access.h"
#include "abi/filemap.h"
#include "abi/ipc.h"
#include "abi/mempolicy.h"
#include "abi/repeat.h"
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

/* The condition uses CLOCK_REALTIME, which may be set. So wait for a second at most. */
void kernel_wait(struct kernel *k, uint64_t ns)
{
	uint64_t wake = clock_ns(CLOCK_REALTIME) + (ns < NS_PER_SEC ? ns : NS_PER_SEC);
	struct timespec ts = ns_timespec(wake);

	pthread_cond_timedwait(&k->changed, &k->lock, &ts);
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
	vellum_set_mmap_min_addr(gmm->mm, t->kernel->mmap_min_addr);
	user_check_low(t->kernel, gmm->mm, 0);
	gmm->kernel = t->kernel;
	gmm->refs = 1;
	mm_gate_init(gmm);
	gmm->pid = t->process->pid;
	return gmm;
}

struct guest_mm *gmm_copy(struct guest_mm *from, int pid)
{
	struct guest_mm *gmm = calloc(1, sizeof(*gmm));

	if (!gmm)
		return NULL;
	gmm->kernel = from->kernel;
	gmm->refs = 1;
	gmm->pid = pid;
	gmm_describe(gmm, from);
	gmm->placements = placements_copy(from);
	mm_gate_init(gmm);
	return gmm;
}

void gmm_describe(struct guest_mm *gmm, const struct guest_mm *from)
{
	gmm->stack_start = from->stack_start;
	gmm->stack_end = from->stack_end;
	gmm->brk_start = from->brk_start;
	gmm->vdso = from->vdso;
	gmm->args_start = from->args_start;
	gmm->env_start = from->env_start;
	gmm->env_end = from->env_end;
	gmm->start_sp = from->start_sp;
	memcpy(gmm->auxv, from->auxv, sizeof(gmm->auxv));
	gmm->auxv_bytes = from->auxv_bytes;
	gmm->loaded = from->loaded;
	__atomic_store_n(&gmm->not_dumpable, __atomic_load_n(&from->not_dumpable, __ATOMIC_RELAXED), __ATOMIC_RELAXED);
	__atomic_store_n(&gmm->membarrier_registrations,
			 __atomic_load_n(&from->membarrier_registrations, __ATOMIC_RELAXED), __ATOMIC_RELAXED);
	memcpy(gmm->exe, from->exe, sizeof(gmm->exe));
	memcpy(gmm->args, from->args, sizeof(gmm->args));
}

void gmm_pin(struct guest_mm *gmm)
{
	gmm->pins++;
}

void gmm_unpin(struct guest_mm *gmm)
{
	struct kernel *k = gmm->kernel;

	pthread_mutex_lock(&k->lock);
	if (!--gmm->pins && gmm_is_ending(gmm))
		pthread_cond_broadcast(&k->changed);
	pthread_mutex_unlock(&k->lock);
}

bool gmm_is_ending(const struct guest_mm *gmm)
{
	return !__atomic_load_n(&gmm->refs, __ATOMIC_ACQUIRE);
}

static void wait_for_pins(struct kernel *k, const struct guest_mm *gmm)
{
	pthread_mutex_lock(&k->lock);
	while (gmm->pins)
		pthread_cond_wait(&k->changed, &k->lock);
	pthread_mutex_unlock(&k->lock);
}

void gmm_put(struct task *t, struct guest_mm *gmm)
{
	const struct abi_observer *ob = t->kernel->args->observer;

	if (__atomic_sub_fetch(&gmm->refs, 1, __ATOMIC_ACQ_REL))
		return;
	wait_for_pins(t->kernel, gmm);
	if (ob && ob->mm_end && gmm->observer_data)
		ob->mm_end(ob->arg, gmm);
	pool_drop_mm(t->kernel->pool, gmm->mm);
	vellum_mm_put(gmm->mm);
	placements_free(gmm->placements);
	filemaps_writeback_unmapped(t->kernel->filemaps);
	shm_vmas_changed(t->kernel, t->process->pid);
	free(gmm);
}

/* --- processes and threads --- */

struct process *process_find(struct kernel *k, int pid)
{
	struct process *p = k->processes;

	while (p && p->pid != pid)
		p = p->next;
	return p;
}

struct task *task_find(struct kernel *k, int tid)
{
	for (struct process *p = k->processes; p; p = p->next)
		for (struct task *t = p->threads; t; t = t->next)
			if (t->tid == tid)
				return t;
	return NULL;
}

static bool is_used(struct kernel *k, int id)
{
	for (const struct process *p = k->processes; p; p = p->next)
		if (p->pid == id || p->pgid == id || p->sid == id)
			return true;
	return task_find(k, id) != NULL;
}

/* An ID that no process, thread, group or session uses. kernel->lock held. */
static int new_id(struct kernel *k)
{
	do {
		if (k->next_pid > MAX_PID)
			k->next_pid = FIRST_PID_AGAIN;
	} while (is_used(k, k->next_pid++));
	return k->next_pid - 1;
}

/* Count a new thread, unless there are @max. *@id: its ID. 0 or an errno. */
static int reserve_task(struct kernel *k, uint64_t max, bool process, int *id)
{
	int err = 0;

	pthread_mutex_lock(&k->lock);
	if (k->nr_tasks >= (max < MAX_TASKS ? max : MAX_TASKS) || (process && !hostfd_reserve_process()))
		err = EAGAIN;
	else
		k->nr_tasks++;
	if (!err) {
		*id = k->last_id = new_id(k);
		k->nr_created++;
	}
	pthread_mutex_unlock(&k->lock);
	return err;
}

static struct task *task_create(struct process *p)
{
	struct task *t = aligned_alloc(64, (sizeof(*t) + 63) & ~63ul);

	if (!t)
		return NULL;
	memset(t, 0, sizeof(*t));
	t->kernel = p->kernel;
	t->process = p;
	t->cpu = t->last_cpu = -1;
	t->cpus = cpu_all(p->kernel);
	t->wake_fd = -1;
	t->syscall_nr = -1;
	t->load = VCPU_LOAD_FPU | VCPU_LOAD_SEGMENTS;
	t->start_ns = clock_ns(CLOCK_BOOTTIME);
	credentials_read(&t->credentials);	/* the caller is the parent, whose host thread makes the new one */
	return t;
}

struct task *process_create(struct kernel *k, uint64_t max)
{
	struct process *p = calloc(1, sizeof(*p));
	struct task *t;
	int err;

	if (!p)
		return NULL;
	p->kernel = k;
	p->exit_signal = SIGCHLD;
	t = task_create(p);
	err = t ? reserve_task(k, max, true, &p->pid) : ENOMEM;
	if (err) {
		free(t);
		free(p);
		errno = err;
		return NULL;
	}
	t->tid = p->pid;
	p->start_ns = t->start_ns;
	p->credentials = t->credentials;
	p->threads = t;
	p->nr_threads = 1;
	return t;
}

struct task *thread_create(struct process *p, uint64_t max)
{
	struct task *t = task_create(p);
	int err = t ? reserve_task(p->kernel, max, false, &t->tid) : ENOMEM;

	if (err) {
		free(t);
		errno = err;
		return NULL;
	}
	return t;
}

struct task *thread_create_again(struct process *p, int tid)
{
	struct task *t = task_create(p);

	if (t) {
		t->tid = tid;
		pthread_mutex_lock(&p->kernel->lock);
		p->kernel->nr_tasks += tid != p->pid;
		pthread_mutex_unlock(&p->kernel->lock);
	}
	return t;
}

/* kernel->nr_tasks counts the first thread with its process. */
void thread_uncount(struct task *t)
{
	if (t->tid != t->process->pid)
		t->kernel->nr_tasks--;
}

void task_free(struct task *t)
{
	signal_drop_pending(&t->pending);
	if (t->wake_fd >= 0) {
		close(t->wake_fd);
		hostfd_release(1);
	}
	free(t->held);
	free(t);
}

void task_set_comm(struct task *t, const char name[TASK_COMM_LEN])
{
	pthread_mutex_lock(&t->kernel->lock);
	memcpy(t->comm, name, sizeof(t->comm));
	pthread_mutex_unlock(&t->kernel->lock);
}

void task_get_comm(const struct task *t, char name[TASK_COMM_LEN])
{
	pthread_mutex_lock(&t->kernel->lock);
	memcpy(name, t->comm, sizeof(t->comm));
	pthread_mutex_unlock(&t->kernel->lock);
}

void task_end_in_memory(struct task *t)
{
	const struct abi_observer *ob = t->kernel->args->observer;
	char name[TASK_COMM_LEN];

	task_get_comm(t, name);
	if (ob && ob->thread_end && t->gmm->observer_data && t->gmm->pid == t->process->pid)
		ob->thread_end(ob->arg, t->gmm, t->tid, name, t->nr_syscalls);
	pthread_mutex_lock(&t->kernel->lock);
	t->process->nr_syscalls += t->nr_syscalls;
	t->nr_syscalls = 0;
	pthread_mutex_unlock(&t->kernel->lock);
}

bool task_is_running(const struct task *t)
{
	return __atomic_load_n(&t->clock.mode, __ATOMIC_RELAXED) != USAGE_NONE ||
	       __atomic_load_n(&t->waits_for_cpu, __ATOMIC_RELAXED);
}

static void free_unpinned(struct process *p)
{
	if (p->pins)
		return;
	free(p);
}

void process_free(struct process *p)
{
	p->kernel->nr_tasks--;
	signal_drop_pending(&p->pending);
	signal_drop_pending(&p->fork_pending);
	signalfd_leave(p);
	pidfds_reap(p);
	timers_drop_all(p);
	sighand_put(p->sighand);
	p->reaped = true;
	free_unpinned(p);
}

void process_pin(struct process *p)
{
	p->pins++;
}

void process_unpin(struct process *p)
{
	p->pins--;
	if (p->reaped)
		free_unpinned(p);
}

/* kernel->lock held. */
void process_unlink(struct kernel *k, struct process *p)
{
	struct process **at = &k->processes;

	while (*at && *at != p)
		at = &(*at)->next;
	if (*at)
		*at = p->next;
}

void kernel_fail(struct kernel *k, const char *why)
{
	pthread_mutex_lock(&k->lock);
	if (!k->result->error[0])
		snprintf(k->result->error, sizeof(k->result->error), "%s", why);
	__atomic_store_n(&k->dying, true, __ATOMIC_RELAXED);
	pthread_cond_broadcast(&k->changed);
	for (struct process *p = k->processes; p; p = p->next)
		for (struct task *t = p->threads; t; t = t->next)
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

static void handle_page_fault(struct task *t)
{
	enum vellum_fault_result result;

	t->interruptible = true;
	result = vellum_handle_fault(t->gmm->mm, t->st.cr2, (uint32_t)t->st.regs.error);
	t->interruptible = false;
	usage_count_fault(t);
	signal_fault_result(t, result);
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
			handle_page_fault(t);
	} else if (r->vector == GP && r->error == IDT_ERROR(0x80)) {
		fprintf(stderr, "vellum: process %d (%s) made a 32-bit system call (int 0x80): not supported, so "
			"it gets SIGSEGV\n",
			t->process->pid, printable(t->comm, name, sizeof(name)));
		signal_fault(t, SIGSEGV, SI_KERNEL, 0);
	} else if (r->vector < NR_EXCEPTIONS && map[r->vector].signo) {
		bool has_addr = r->vector != BP && r->vector != AC;

		if (r->vector == BP && repeat_at_breakpoint(t))
			return;
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
	fprintf(stderr, "vellum: process %d (%s) is killed with SIGILL: %s; it was %s 0x%llx:%s\n", t->process->pid,
		printable(t->comm, name, sizeof(name)), reason,
		t->st.regs.vector == VCPU_VECTOR_LOST_AT ? "in the code at" : "last entered at",
		(unsigned long long)t->st.regs.rip, n ? bytes : " not mapped");
	inspect_signal(t, SIGILL);
	process_exit(t, SIGILL);
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
	usage_switch(t, USAGE_USER);
	status = t->lost ? MACHINE_LOST : m->ops->run(m, (unsigned)t->cpu, &t->st, load);
	usage_switch(t, USAGE_SYSTEM);
	if (status == MACHINE_LOST)
		kill_lost_task(t);
	if (status) {
		kernel_fail(t->kernel, m->ops->why(m));
		process_exit(t, SIGKILL);
	}
	if (t->st.regs.vector == VCPU_VECTOR_SYSCALL) {
		t->st.regs.rax = (uint64_t)syscall_dispatch(t);
	} else if (t->st.regs.vector != VCPU_VECTOR_KICK) {
		handle_exception(t);
	} else if (cpu_must_yield(t)) {
		cpu_preempt(t);
	}
}

/* The task of this thread; NULL in threads that belong to no task. */
static _Thread_local struct task *current;

struct task *task_current(void)
{
	return current;
}

/* pthread_exit(3) is not used: its first call loads a library, which may fail. */
static _Thread_local jmp_buf thread_end;

enum { END_THREAD = 1, RUN_AGAIN };

void task_exit_thread(void)
{
	longjmp(thread_end, END_THREAD);
}

void task_run_again(void)
{
	longjmp(thread_end, RUN_AGAIN);
}

/* Until the thread ends. */
static void run(struct task *t)
{
	if (setjmp(thread_end) == END_THREAD)
		return;
	for (;;) {
		if (signal_pending(t) || t->syscall_nr >= 0 || t->restore_blocked)
			signal_deliver(t);
		rlimit_apply_changed(t);
		cpu_acquire(t);
		run_once(t);
	}
}

void *task_main(void *arg)
{
	struct task *t = arg;

	current = t;
	pthread_mutex_lock(&t->kernel->lock);	/* wait until start_thread() has finished */
	t->host_tid = gettid();
	if (t->sets_nice)
		setpriority(PRIO_PROCESS, 0, t->start_nice);	/* of this thread; lower ones need CAP_SYS_NICE */
	pthread_mutex_unlock(&t->kernel->lock);
	run(t);
	return NULL;
}
