/* SPDX-License-Identifier: MIT */
/*
 * abi/task.c - processes: born, run, die; and the kernel that holds them. One host thread each.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "abi/filemap.h"
#include "abi/text.h"

#define MAX_INSTRUCTION 15	/* bytes, on x86-64 */
#define TICK_NS 5000000		/* time slice while somebody waits for a CPU; and re-kicks */

uint64_t clock_ns(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* --- address spaces --- */

/* Ours are the program's; root may lock what it wants. */
static void set_limits(struct vellum_mm *mm)
{
	struct rlimit lock = { RLIM_INFINITY, RLIM_INFINITY }, stack = { RLIM_INFINITY, RLIM_INFINITY };

	if (geteuid() != 0)
		getrlimit(RLIMIT_MEMLOCK, &lock);
	getrlimit(RLIMIT_STACK, &stack);
	vellum_set_limits(mm, lock.rlim_cur, stack.rlim_cur);
}

struct guest_mm *gmm_create(struct kernel *k, int pid)
{
	struct guest_mm *gmm = calloc(1, sizeof(*gmm));

	if (!gmm)
		return NULL;
	if (vellum_mm_create(k->args->memory, &gmm->mm)) {
		free(gmm);
		return NULL;
	}
	set_limits(gmm->mm);
	gmm->refs = 1;
	gmm->pid = pid;
	return gmm;
}

void gmm_put(struct task *t, struct guest_mm *gmm)
{
	const struct abi_observer *ob = t->kernel->args->observer;

	if (__atomic_sub_fetch(&gmm->refs, 1, __ATOMIC_ACQ_REL))
		return;
	if (ob && ob->mm_end && gmm->observer_data)
		ob->mm_end(ob->arg, gmm);
	pool_forget_mm(t->kernel->pool, gmm->mm);
	vellum_mm_put(gmm->mm);
	filemap_unmapped();
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

static struct task *task_create(struct kernel *k)
{
	struct task *t = aligned_alloc(64, (sizeof(struct task) + 63) & ~63ul);

	if (!t)
		return NULL;
	memset(t, 0, sizeof(*t));
	t->kernel = k;
	t->cpu = t->last_cpu = -1;
	t->cwd = -1;
	t->syscall_nr = -1;
	t->load = VCPU_LOAD_FPU | VCPU_LOAD_SEGMENTS;
	pthread_mutex_lock(&k->lock);
	t->pid = k->next_pid++;
	pthread_mutex_unlock(&k->lock);
	return t;
}

/* kernel->lock held. */
static void unlink_task(struct kernel *k, struct task *t)
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

/* --- exit --- */

void task_release_vfork(struct task *t)
{
	if (!t->vfork_parent)
		return;
	pthread_mutex_lock(&t->kernel->lock);
	t->vfork_parent->vfork_done = true;
	t->vfork_parent = NULL;
	pthread_cond_broadcast(&t->kernel->changed);
	pthread_mutex_unlock(&t->kernel->lock);
}

/* Children go to pid 1, or, with nobody to wait for them, vanish. kernel->lock held. */
static void reparent_children(struct kernel *k, const struct task *t)
{
	struct task *next;

	for (struct task *c = k->tasks; c; c = next) {
		next = c->next;
		if (c->ppid != t->pid)
			continue;
		c->ppid = t->pid == 1 ? 0 : 1;
		if (c->state == TASK_ZOMBIE && c->ppid == 0) {
			unlink_task(k, c);
			free(c);
		}
	}
}

static bool parent_ignores_children(const struct task *parent)
{
	return parent->action[SIGCHLD].handler == 1 || (parent->action[SIGCHLD].flags & 2);
}

static void report_to_parent(struct kernel *k, struct task *t, bool *reaped)
{
	struct task *parent = task_find(k, t->ppid);
	struct sig_info info = { .signo = SIGCHLD, .pid = t->pid };

	*reaped = !parent || parent->state == TASK_ZOMBIE || parent_ignores_children(parent);
	if (!parent)
		return;
	info.code = WIFSIGNALED(t->exit_status) ? CLD_KILLED : CLD_EXITED;
	info.status = WIFSIGNALED(t->exit_status) ? WTERMSIG(t->exit_status) : WEXITSTATUS(t->exit_status);
	signal_send(k, parent, &info);
}

void task_exit(struct task *t, int status)
{
	struct kernel *k = t->kernel;
	uint32_t zero = 0;
	bool reaped;

	cpu_release(t);
	if (t->clear_child_tid)
		user_write(t, t->clear_child_tid, &zero, sizeof(zero));
	fds_close_all(t);
	inspect_exit(t);
	gmm_put(t, t->gmm);
	task_release_vfork(t);
	pool_forget_task(k->pool, t);
	pthread_mutex_lock(&k->lock);
	t->exit_status = status;
	t->state = TASK_ZOMBIE;
	k->result->nr_syscalls += t->nr_syscalls;
	if (t->pid == 1) {
		k->result->code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
		k->result->signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
	}
	reparent_children(k, t);
	report_to_parent(k, t, &reaped);
	if (reaped) {
		unlink_task(k, t);
		free(t);
	}
	k->nr_live--;
	pthread_cond_broadcast(&k->changed);
	pthread_mutex_unlock(&k->lock);
	pthread_exit(NULL);
}

void task_out_of_memory(struct task *t)
{
	char name[PRINTABLE_BYTES(sizeof(t->comm))];

	fprintf(stderr, "vellum: out of memory: process %d (%s) killed; run with more --ram or --swap\n",
		t->pid, printable(t->comm, name, sizeof(name)));
	inspect_signal(t, SIGKILL);
	task_exit(t, SIGKILL);
}

/* --- running --- */

static void fault_signal(struct task *t, enum vellum_fault_result result)
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
	case VELLUM_FAULT_INTERRUPTED:	/* signals are delivered, then the instruction runs again */
		break;
	case VELLUM_FAULT_OOM:
		task_out_of_memory(t);
	}
}

static void handle_exception(struct task *t)
{
	static const struct {
		int signo, code;
	} map[32] = {
		[0] = { SIGFPE, FPE_INTDIV }, [1] = { SIGTRAP, TRAP_TRACE }, [3] = { SIGTRAP, SI_KERNEL },
		[4] = { SIGSEGV, SI_KERNEL }, [5] = { SIGSEGV, SI_KERNEL }, [6] = { SIGILL, ILL_ILLOPN },
		[16] = { SIGFPE, FPE_FLTINV }, [17] = { SIGBUS, BUS_ADRALN }, [19] = { SIGFPE, FPE_FLTINV },
	};
	struct vcpu_regs *r = &t->st.regs;
	char name[PRINTABLE_BYTES(sizeof(t->comm))];

	if (r->vector == VCPU_VECTOR_PAGE_FAULT) {
		if (t->st.cr2 >> 47)	/* the machine's half, or not canonical */
			signal_fault(t, SIGSEGV, SEGV_MAPERR, t->st.cr2);
		else
			fault_signal(t, vellum_handle_fault(t->gmm->mm, t->st.cr2, (uint32_t)r->error));
	} else if (r->vector == 13 && r->error == 0x80 * 8 + 2) {
		fprintf(stderr, "vellum: process %d (%s) made a 32-bit system call (int 0x80): not supported\n",
			t->pid, printable(t->comm, name, sizeof(name)));
		signal_fault(t, SIGSEGV, SI_KERNEL, 0);
	} else if (r->vector < 32 && map[r->vector].signo) {
		signal_fault(t, map[r->vector].signo, map[r->vector].code, r->rip);
	} else {
		signal_fault(t, SIGSEGV, SI_KERNEL, 0);
	}
}

/*
 * The machine ended while the task was on it, and was started again without its registers. Nothing of the program
 * can handle that.
 */
static void task_lost(struct task *t)
{
	struct machine *m = t->kernel->args->machine;
	char reason[256], bytes[3 * MAX_INSTRUCTION + 1] = "";
	uint8_t code[MAX_INSTRUCTION];
	uint64_t n = user_read_some(t, code, t->st.regs.rip, sizeof(code));

	m->ops->lost(m, reason, sizeof(reason));
	for (uint64_t i = 0; i < n; i++)
		snprintf(bytes + 3 * i, 4, " %02x", code[i]);
	fprintf(stderr, "vellum: process %d (%s) is killed with SIGILL: %s; it was last entered at 0x%llx:%s\n", t->pid, t->comm, reason,
		(unsigned long long)t->st.regs.rip, n ? bytes : " nothing is there");
	inspect_signal(t, SIGILL);
	task_exit(t, SIGILL);
}

static void run_once(struct task *t)
{
	struct machine *m = t->kernel->args->machine;
	uint32_t load = t->load;
	int status;

	if (t->st.regs.rip >> 47) {	/* the stub's way into the program would fault in ring 0 */
		signal_fault(t, SIGSEGV, SI_KERNEL, 0);
		return;
	}
	t->load = 0;
	status = t->lost ? MACHINE_LOST : m->ops->run(m, (unsigned)t->cpu, &t->st, load);
	if (status == MACHINE_LOST)
		task_lost(t);
	if (status) {
		kernel_fail(t->kernel, m->ops->why(m));
		task_exit(t, SIGKILL);
	}
	if (t->st.regs.vector == VCPU_VECTOR_SYSCALL) {
		t->st.regs.rax = (uint64_t)syscall_dispatch(t);
	} else if (t->st.regs.vector != VCPU_VECTOR_KICK) {
		handle_exception(t);
	} else if (cpu_wanted(t->kernel->pool)) {
		cpu_release(t);		/* the time slice is over */
	}
}

/* The task whose thread this is; NULL: a thread of Vellum's own. */
static _Thread_local struct task *current;

static int interrupted(void *host)
{
	(void)host;
	if (!current)
		return 0;
	return signal_kills(current) ? VELLUM_KILLED : signal_pending(current) ? VELLUM_INTERRUPTED : 0;
}

const struct vellum_host_ops *abi_host(void)
{
	static struct vellum_host_ops ops;

	ops = *vellum_host_posix();
	ops.interrupted = interrupted;
	return &ops;
}

static void *task_main(void *arg)
{
	struct task *t = arg;

	current = t;
	pthread_mutex_lock(&t->kernel->lock);	/* start_task() is through */
	pthread_mutex_unlock(&t->kernel->lock);
	for (;;) {
		if (signal_pending(t) || t->syscall_nr >= 0 || t->restore_blocked)
			signal_deliver(t);
		cpu_acquire(t);
		run_once(t);
	}
	return NULL;
}

/* The task is complete: from here on others see it, and it runs. */
static int start_task(struct task *t)
{
	struct kernel *k = t->kernel;
	pthread_attr_t attr;
	int err;

	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attr, 256 << 10);
	pthread_mutex_lock(&k->lock);	/* it waits for this before its first step: thread is set by then */
	err = pthread_create(&t->thread, &attr, task_main, t);
	if (!err) {
		t->next = k->tasks;
		k->tasks = t;
		k->nr_live++;
	}
	pthread_mutex_unlock(&k->lock);
	pthread_attr_destroy(&attr);
	return err ? -EAGAIN : 0;
}

/* --- fork --- */

static int copy_mm(struct task *child, struct task *parent, bool share)
{
	const struct abi_observer *ob = parent->kernel->args->observer;
	struct guest_mm *gmm = parent->gmm, *copy;
	int err;

	if (share) {
		__atomic_fetch_add(&gmm->refs, 1, __ATOMIC_RELAXED);
		child->gmm = gmm;
		return 0;
	}
	copy = malloc(sizeof(*copy));
	if (!copy)
		return -ENOMEM;
	*copy = *gmm;
	copy->refs = 1;
	copy->pid = child->pid;
	copy->observer_data = NULL;
	if (ob && ob->before_fork)
		ob->before_fork(ob->arg, gmm);
	err = vellum_fork(gmm->mm, &copy->mm);
	if (err) {
		free(copy);
		return -ENOMEM;
	}
	child->gmm = copy;
	if (ob && ob->after_fork && ob->after_fork(ob->arg, gmm, copy))
		return -ENOMEM;
	return 0;
}

static void copy_task(struct task *child, struct task *parent)
{
	cpu_save_fpu(parent);
	child->st = parent->st;
	child->st.regs.rax = 0;
	child->ppid = parent->pid;
	child->pgid = parent->pgid;
	child->sid = parent->sid;
	child->umask = parent->umask;
	memcpy(child->comm, parent->comm, sizeof(child->comm));
	child->blocked = parent->blocked;
	memcpy(child->action, parent->action, sizeof(child->action));
	child->alt_sp = parent->alt_sp;
	child->alt_size = parent->alt_size;
	child->cwd = fcntl(parent->cwd, F_DUPFD_CLOEXEC, 0);
	fds_fork(child, parent);
}

/* It never ran and nobody has seen it. */
static void abandon_task(struct task *t)
{
	fds_close_all(t);
	if (t->gmm)
		gmm_put(t, t->gmm);
	free(t);
}

static void wait_vfork(struct task *parent)
{
	struct kernel *k = parent->kernel;

	cpu_release(parent);
	pthread_mutex_lock(&k->lock);
	while (!parent->vfork_done)
		pthread_cond_wait(&k->changed, &k->lock);
	pthread_mutex_unlock(&k->lock);
}

int task_fork(struct task *parent, uint64_t flags, uint64_t stack, uint64_t child_tid)
{
	struct task *child = task_create(parent->kernel);
	uint32_t tid;
	int err, pid;

	if (!child)
		return -ENOMEM;
	pid = child->pid;
	tid = (uint32_t)pid;
	copy_task(child, parent);
	if (stack)
		child->st.regs.rsp = stack;
	err = copy_mm(child, parent, flags & CLONE_VM);
	if (!err) {
		if (flags & CLONE_CHILD_SETTID)
			user_write(child, child_tid, &tid, sizeof(tid));
		if (flags & CLONE_CHILD_CLEARTID)
			child->clear_child_tid = child_tid;
		if (flags & CLONE_VFORK) {
			parent->vfork_done = false;
			child->vfork_parent = parent;
		}
		err = start_task(child);
	}
	if (err) {
		abandon_task(child);
		return err;
	}
	if (flags & CLONE_VFORK)
		wait_vfork(parent);
	return pid;
}

/* --- timers, time slices, lost kicks, signals to Vellum --- */

/* Vellum's own signals, which are the program's: waited for by the ticker, blocked elsewhere. */
static void taken_signals(sigset_t *set)
{
	static const int signals[] = { SIGINT, SIGTERM, SIGQUIT, SIGHUP, SIGUSR1, SIGUSR2, SIGALRM };

	sigemptyset(set);
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		sigaddset(set, signals[i]);
}

static void forward_signal(struct kernel *k, int signo)
{
	struct sig_info info = { .signo = signo, .code = SI_USER };

	bool to_all = signo == SIGINT || signo == SIGQUIT;
	const struct task *first;

	pthread_mutex_lock(&k->lock);
	/* The terminal's signals go to everybody, others to the first process, while there is one. */
	first = task_find(k, 1);
	to_all |= !first || first->state == TASK_ZOMBIE;
	for (struct task *t = k->tasks; t; t = t->next)
		if (t->pid == 1 || to_all)
			signal_send(k, t, &info);
	pthread_mutex_unlock(&k->lock);
}

static void tick_task(struct kernel *k, struct task *t, uint64_t now)
{
	if (t->alarm_at && now >= t->alarm_at) {
		signal_send(k, t, &(struct sig_info){ .signo = SIGALRM, .code = SI_KERNEL });
		t->alarm_at = t->alarm_interval ? now + t->alarm_interval : 0;
	}
	/* A kick that came just before the host call began was lost: again. */
	if (__atomic_load_n(&t->in_host, __ATOMIC_SEQ_CST) && t->state != TASK_ZOMBIE && signal_pending(t))
		pthread_kill(t->thread, KICK_SIGNAL);
}

static void *ticker(void *arg)
{
	struct kernel *k = arg;
	struct timespec ts = { 0, TICK_NS };
	sigset_t taken;

	taken_signals(&taken);
	while (!__atomic_load_n(&k->ticker_stop, __ATOMIC_RELAXED)) {
		int signo = sigtimedwait(&taken, NULL, &ts);
		uint64_t now = clock_ns(CLOCK_MONOTONIC);
		bool kick = cpu_wanted(k->pool);

		if (signo > 0)
			forward_signal(k, signo);
		pthread_mutex_lock(&k->lock);
		for (struct task *t = k->tasks; t; t = t->next) {
			tick_task(k, t, now);
			kick |= t->state != TASK_ZOMBIE && signal_pending(t);
		}
		pthread_mutex_unlock(&k->lock);
		if (kick)
			pool_kick_all(k->pool);
		vdso_tick(k);
	}
	return NULL;
}

/* --- the whole --- */

static void ignore_signal(int signo)
{
	(void)signo;
}

static int open_standard_files(struct task *t)
{
	for (int fd = 0; fd <= 2; fd++) {
		int host = t->kernel->args->closed_fds >> fd & 1 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 3);

		if (host >= 0 && fd_install(t, file_open(host), fd, false) < 0)
			return -ENOMEM;
	}
	t->cwd = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	t->umask = umask(0);		/* ours stays 0: each program has its own */
	return t->cwd < 0 ? -errno : 0;
}

static int start_first(struct kernel *k, const struct abi_args *args)
{
	struct task *t = task_create(k);
	int err;

	if (!t)
		return -ENOMEM;
	t->pgid = t->sid = t->pid;
	err = open_standard_files(t);
	if (!err)
		err = exec_load(t, args->path, args->argv, args->envp);
	if (!err)
		err = start_task(t);
	if (err)
		abandon_task(t);
	return err;
}

void abi_take_signals(void)
{
	sigset_t taken;

	taken_signals(&taken);
	pthread_sigmask(SIG_BLOCK, &taken, NULL);
}

void abi_run(const struct abi_args *args, struct abi_result *result)
{
	struct kernel k = { .args = args, .result = result, .next_pid = 1 };
	struct sigaction quiet = { .sa_handler = ignore_signal }, no_pipe = { .sa_handler = SIG_IGN };
	int err;

	memset(result, 0, sizeof(*result));
	result->code = -1;
	pthread_mutex_init(&k.lock, NULL);
	pthread_cond_init(&k.changed, NULL);
	sigaction(KICK_SIGNAL, &quiet, NULL);
	sigaction(SIGPIPE, &no_pipe, NULL);	/* the program's, not ours: the calls' errors tell */
	sigaction(SIGXFSZ, &no_pipe, NULL);
	k.pool = pool_create(args->machine);
	vdso_init(&k);
	filemap_start(&k);
	pthread_create(&k.ticker, NULL, ticker, &k);
	err = k.pool ? start_first(&k, args) : -ENOMEM;
	result->started = !err;
	if (err)
		snprintf(result->error, sizeof(result->error), "cannot run %s: %s", args->path, strerror(-err));
	pthread_mutex_lock(&k.lock);
	while (k.nr_live)
		pthread_cond_wait(&k.changed, &k.lock);
	pthread_mutex_unlock(&k.lock);
	__atomic_store_n(&k.ticker_stop, true, __ATOMIC_RELAXED);
	pthread_join(k.ticker, NULL);
	while (k.tasks) {
		struct task *t = k.tasks;

		k.tasks = t->next;
		free(t);
	}
	filemap_stop();
	vdso_fini(&k);
	pool_destroy(k.pool);
}
