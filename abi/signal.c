/* SPDX-License-Identifier: MIT */
/* abi/signal.c - send signals to processes and threads, and deliver them: signal(7). */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "abi/jobs.h"
#include "abi/repeat.h"
#include "abi/signals.h"

#define SYSCALL_BYTES	2	/* of the instruction */

#define UNBLOCKABLE (sig_bit(SIGKILL) | sig_bit(SIGSTOP))
#define STOP_SIGNALS (sig_bit(SIGSTOP) | sig_bit(SIGTSTP) | sig_bit(SIGTTIN) | sig_bit(SIGTTOU))

static bool default_stops(int signo)
{
	return signo == SIGSTOP || signo == SIGTSTP || signo == SIGTTIN || signo == SIGTTOU;
}

/* --- pending signals --- */

struct sig_node {
	struct sig_node *next;
	struct sig_info info;
};

#define MAX_QUEUED 1024	/* real-time signals of a process that are not delivered */

static bool is_real_time(int signo)
{
	return signo >= FIRST_RT_SIGNAL;
}

static void set_bits(struct sig_pending *pending, uint64_t set)
{
	__atomic_fetch_or(&pending->set, set, __ATOMIC_RELEASE);
}

static void clear_bits(struct sig_pending *pending, uint64_t set)
{
	__atomic_fetch_and(&pending->set, ~set, __ATOMIC_RELEASE);
}

/* Remove the nodes of the signals in @set; @one: only the first of them, which *@info gets. */
static void drop_nodes(struct sig_pending *pending, uint64_t set, bool one, struct sig_info *info)
{
	struct sig_node **at = &pending->first;

	while (*at) {
		struct sig_node *node = *at;

		if (!(sig_bit(node->info.signo) & set)) {
			at = &node->next;
			continue;
		}
		*at = node->next;
		if (one)
			*info = node->info;
		free(node);
		if (one)
			return;
	}
}

static void discard(struct sig_pending *pending, uint64_t set)
{
	clear_bits(pending, set);
	drop_nodes(pending, set, false, NULL);
}

void signal_drop_pending(struct sig_pending *pending)
{
	discard(pending, ~0ull);
}

static bool is_of_timer(const struct sig_info *info, int signo, int id)
{
	return info->signo == signo && info->code == SI_TIMER && info->pid == id;
}

bool signal_has_timer(const struct sig_pending *pending, int signo, int id)
{
	const struct sig_node *node = pending->first;

	if (!is_real_time(signo))
		return (pending->set & sig_bit(signo)) && is_of_timer(&pending->info[signo], signo, id);
	while (node && !is_of_timer(&node->info, signo, id))
		node = node->next;
	return node != NULL;
}

void discard_signals(struct process *p, uint64_t set)
{
	discard(&p->pending, set);
	for (struct task *t = p->threads; t; t = t->next)
		discard(&t->pending, set);
	signalfd_notify(p, 0);
}

/* Of a signal that is not a real-time signal, only the first is kept. 0 or -EAGAIN. */
static int enqueue(struct sig_pending *pending, const struct sig_info *info)
{
	struct sig_node **end = &pending->first, *node;
	unsigned n = 0;

	if (!is_real_time(info->signo)) {
		if (!(pending->set & sig_bit(info->signo)))
			pending->info[info->signo] = *info;
		set_bits(pending, sig_bit(info->signo));
		return 0;
	}
	for (; *end; end = &(*end)->next)
		n++;
	node = n < MAX_QUEUED ? malloc(sizeof(*node)) : NULL;
	if (!node)
		return -EAGAIN;
	*node = (struct sig_node){ .info = *info };
	*end = node;
	set_bits(pending, sig_bit(info->signo));
	return 0;
}

static void take(struct sig_pending *pending, int signo, struct sig_info *info)
{
	const struct sig_node *node;

	*info = (struct sig_info){ .signo = signo };
	if (!is_real_time(signo)) {
		*info = pending->info[signo];
		clear_bits(pending, sig_bit(signo));
		return;
	}
	drop_nodes(pending, sig_bit(signo), true, info);
	for (node = pending->first; node && node->info.signo != signo; node = node->next)
		;
	if (!node)
		clear_bits(pending, sig_bit(signo));
}

/* SIGKILL comes first, then signals that an instruction of the thread caused, then its own others, then the process's. */
int take_signal(struct task *t, uint64_t set, struct sig_info *info)
{
	const uint64_t sync = sig_bit(SIGSEGV) | sig_bit(SIGBUS) | sig_bit(SIGILL) | sig_bit(SIGFPE) | sig_bit(SIGTRAP);
	struct sig_pending *own = &t->pending, *shared = &t->process->pending, *from;
	uint64_t some;

	if ((own->set | shared->set) & set & sig_bit(SIGKILL))
		set = sig_bit(SIGKILL);
	from = own->set & set ? own : shared;
	some = from->set & set;
	if (!some)
		return 0;
	if (some & sync)
		some &= sync;
	take(from, __builtin_ctzll(some) + 1, info);
	signalfd_notify(t->process, 0);
	return info->signo;
}

/* --- masks --- */

/* The task's own thread writes the mask. Senders of signals read it. */
static uint64_t read_blocked(const struct task *t)
{
	return __atomic_load_n(&t->blocked, __ATOMIC_RELAXED);
}

static bool accepts(const struct task *t, int signo)
{
	return !(read_blocked(t) & sig_bit(signo)) || ((t->waits_for | UNBLOCKABLE) & sig_bit(signo));
}

/* Choose a thread that delivers the signal, and interrupt it. kernel->lock held. */
static void wake_one(struct process *p, int signo)
{
	struct task *found = NULL;

	for (struct task *t = p->threads; t; t = t->next)
		if (accepts(t, signo) && (!found || t->tid == p->pid))
			found = t;
	if (!found)
		return;
	__atomic_store_n(&found->woken, true, __ATOMIC_RELEASE);
	signal_wake(found);
}

/* Signals of the process that @t was to deliver, and does not, are for other threads. kernel->lock held. */
static void wake_others(struct process *p, uint64_t set)
{
	for (; set; set &= set - 1)
		wake_one(p, __builtin_ctzll(set) + 1);
}

void signal_set_blocked(struct task *t, uint64_t set)
{
	struct process *p = t->process;
	uint64_t waiting;

	__atomic_store_n(&t->blocked, set & ~UNBLOCKABLE, __ATOMIC_SEQ_CST);
	waiting = __atomic_load_n(&p->pending.set, __ATOMIC_SEQ_CST);
	if (waiting & ~t->blocked)
		__atomic_store_n(&t->woken, true, __ATOMIC_RELEASE);
	if (!(waiting & t->blocked) || is_single(p))
		return;
	pthread_mutex_lock(&t->kernel->lock);
	wake_others(p, p->pending.set & t->blocked);
	pthread_mutex_unlock(&t->kernel->lock);
}

void signal_leave(struct task *t)
{
	wake_others(t->process, t->process->pending.set);
}

/* --- sending --- */

void signal_wake(struct task *t)
{
	pthread_cond_broadcast(&t->kernel->changed);
	if (t == task_current())
		return;		/* it looks before it enters the program: a kick would end that at once */
	if (__atomic_load_n(&t->in_host, __ATOMIC_SEQ_CST))
		pthread_kill(t->thread, KICK_SIGNAL);
	cpu_kick(t);
}

void signal_wake_all(struct process *p)
{
	for (struct task *t = p->threads; t; t = t->next)
		signal_wake(t);
}

/* Tell the parent that @p stopped or continues. kernel->lock held. */
static void report_job_change(struct process *p, int change, int code, int signo)
{
	struct process *parent = process_find(p->kernel, p->ppid);

	p->job_change = change;
	if (parent && !(parent->sighand->action[SIGCHLD].flags & SA_NOCLDSTOP))
		signal_send(parent, &(struct sig_info){ .signo = SIGCHLD, .code = code, .pid = p->pid,
							.uid = (int)p->credentials.user.real, .status = signo }, false);
}

static void continue_process(struct process *p)
{
	discard_signals(p, STOP_SIGNALS);
	for (struct task *t = p->threads; t; t = t->next)
		t->stops = false;
	if (p->state != PROCESS_STOPPED)
		return;
	__atomic_store_n(&p->state, PROCESS_RUNNING, __ATOMIC_RELAXED);
	pthread_cond_broadcast(&p->kernel->changed);
	report_job_change(p, HAS_CONTINUED, CLD_CONTINUED, SIGCONT);
}

/* What a signal does when it is sent, even if it is blocked. True: nothing remains to be delivered. kernel->lock held. */
static bool act_on_sending(struct process *p, uint64_t blocked, int signo)
{
	if (signo == SIGCONT || signo == SIGKILL)
		continue_process(p);
	if (default_stops(signo))
		discard_signals(p, sig_bit(SIGCONT));
	if (!is_ignored(p, signo) || (blocked & sig_bit(signo)))
		return false;
	pthread_cond_broadcast(&p->kernel->changed);
	return true;
}

/* The child of a fork in progress belongs to the group, so it gets the signal, too. kernel->lock held. */
static void enqueue_for_child(struct process *p, const struct sig_info *info)
{
	if (info->signo == SIGCONT)
		discard(&p->fork_pending, STOP_SIGNALS);
	else if (default_stops(info->signo))
		discard(&p->fork_pending, sig_bit(SIGCONT));
	enqueue(&p->fork_pending, info);
}

int signal_send(struct process *p, const struct sig_info *info, bool group)
{
	uint64_t blocked = 0;
	int err;

	if (p->state == PROCESS_ZOMBIE)
		return 0;
	if (group && p->forking)
		enqueue_for_child(p, info);
	for (const struct task *t = p->threads; t; t = t->next)
		blocked |= read_blocked(t) | t->waits_for;
	if (act_on_sending(p, blocked, info->signo))
		return 0;
	err = enqueue(&p->pending, info);
	if (err)
		return err;
	wake_one(p, info->signo);
	signalfd_notify(p, info->signo);
	return 0;
}

void signal_send_pending(struct process *p, struct sig_pending *from)
{
	struct sig_info info;

	while (from->set) {
		take(from, __builtin_ctzll(from->set) + 1, &info);
		signal_send(p, &info, false);
	}
}

int signal_send_task(struct task *t, const struct sig_info *info)
{
	int err;

	if (act_on_sending(t->process, read_blocked(t) | t->waits_for, info->signo))
		return 0;
	err = enqueue(&t->pending, info);
	signal_wake(t);
	signalfd_notify(t->process, info->signo);
	return err;
}

static uint64_t deliverable(const struct task *t, const struct sig_pending *pending)
{
	return __atomic_load_n(&pending->set, __ATOMIC_ACQUIRE) & (~read_blocked(t) | UNBLOCKABLE);
}

/* The thread or all of its process must end. */
static bool must_end(const struct task *t)
{
	const struct process *p = t->process;
	const struct task *survivor = __atomic_load_n(&p->survivor, __ATOMIC_RELAXED);

	return __atomic_load_n(&p->exiting, __ATOMIC_RELAXED) || __atomic_load_n(&p->kernel->dying, __ATOMIC_RELAXED) ||
	       (survivor && survivor != t);
}

static bool is_stopped(const struct task *t)
{
	return __atomic_load_n(&t->process->state, __ATOMIC_RELAXED) == PROCESS_STOPPED;
}

/* Its process is being frozen by another thread. */
static bool must_park(const struct task *t)
{
	const struct task *freezer = __atomic_load_n(&t->process->freezer, __ATOMIC_RELAXED);

	return freezer && freezer != t;
}

/* A signal of the process interrupts only the thread that was chosen to deliver it. */
static bool has_signal(const struct task *t)
{
	return deliverable(t, &t->pending) || must_end(t) || is_stopped(t) ||
	       (__atomic_load_n(&t->woken, __ATOMIC_ACQUIRE) && deliverable(t, &t->process->pending));
}

bool signal_pending(struct task *t)
{
	return has_signal(t) || must_park(t);
}

bool signal_only_parks(const struct task *t)
{
	return must_park(t) && !has_signal(t);
}

bool signal_has_handler(const struct process *p, int signo)
{
	return p->sighand->action[signo].handler > HANDLER_IGNORE && !(p->pending.set & sig_bit(signo));
}

bool signal_fatal_pending(const struct task *t)
{
	uint64_t pending = deliverable(t, &t->pending) | deliverable(t, &t->process->pending);
	bool kills = must_end(t);

	for (; pending && !kills; pending &= pending - 1) {
		int signo = __builtin_ctzll(pending) + 1;

		kills = handler_of(t->process, signo) == HANDLER_DEFAULT && !default_ignores(signo) &&
			!default_stops(signo);
	}
	return kills;
}

/* A blocked or ignored signal that the task's own instruction causes kills the task. */
void signal_fault(struct task *t, int signo, int code, uint64_t addr)
{
	const struct sig_info info = { .signo = signo, .code = code, .addr = addr };
	struct sig_action *action = &t->process->sighand->action[signo];

	pthread_mutex_lock(&t->kernel->lock);
	if ((t->blocked & sig_bit(signo)) || action->handler == HANDLER_IGNORE) {
		__atomic_store_n(&action->handler, HANDLER_DEFAULT, __ATOMIC_RELAXED);
		__atomic_store_n(&t->blocked, t->blocked & ~sig_bit(signo), __ATOMIC_RELAXED);
	}
	t->pending.info[signo] = info;
	set_bits(&t->pending, sig_bit(signo));
	pthread_mutex_unlock(&t->kernel->lock);
}

void signal_reset_for_exec(struct task *t)
{
	struct process *p = t->process;

	pthread_mutex_lock(&t->kernel->lock);
	p->has_execed = true;
	p->exit_signal = SIGCHLD;
	timers_drop_all(p);
	for (int signo = 1; signo <= NR_SIGNALS; signo++)
		if (p->sighand->action[signo].handler != HANDLER_IGNORE)
			memset(&p->sighand->action[signo], 0, sizeof(p->sighand->action[signo]));
	pthread_mutex_unlock(&t->kernel->lock);
	disable_alt_stack(t);
}

/* --- delivery --- */

/* Stop all threads of the process. No shell would continue an orphaned group: only SIGSTOP stops its processes. */
static void stop_process(struct task *t, const struct sig_info *info)
{
	struct process *p = t->process;
	int signo = info->signo;


	pthread_mutex_lock(&p->kernel->lock);
	if (signo == SIGSTOP && t->stops && repeat_ends_at_stop(p)) {
		pthread_mutex_unlock(&p->kernel->lock);
		process_exit(t, 0);
	}
	if (t->stops && p->state == PROCESS_RUNNING && !p->exiting &&
	    (signo == SIGSTOP || !group_is_orphaned(p->kernel, p->pgid))) {
		__atomic_store_n(&p->state, PROCESS_STOPPED, __ATOMIC_RELAXED);
		p->stop_signal = signo;
		p->stopped_by = info->pid;
		report_job_change(p, HAS_STOPPED, CLD_STOPPED, signo);
		signal_wake_all(p);
	}
	pthread_mutex_unlock(&p->kernel->lock);
}

static void wait_stopped(struct task *t)
{
	cpu_release(t);
	pthread_mutex_lock(&t->kernel->lock);
	while (is_stopped(t) && !must_end(t))
		pthread_cond_wait(&t->kernel->changed, &t->kernel->lock);
	pthread_mutex_unlock(&t->kernel->lock);
}

/* The thread is between two instructions of its program, as the one that freezes the process will find it. */
static void wait_parked(struct task *t)
{
	struct kernel *k = t->kernel;

	cpu_release(t);
	cpu_save_fpu(t);
	pthread_mutex_lock(&k->lock);
	t->parked = true;
	pthread_cond_broadcast(&k->changed);
	while (must_park(t) && !must_end(t))
		pthread_cond_wait(&k->changed, &k->lock);
	t->parked = false;
	pthread_mutex_unlock(&k->lock);
}

/*
 * Prepare an interrupted system call to be executed again, or let it return EINTR. @handler: a handler with @flags is
 * called before.
 */
static void prepare_restart(struct task *t, bool handler, uint64_t flags)
{
	int64_t result = (int64_t)t->st.regs.rax;

	if ((result != -ERESTARTSYS && result != -ERESTARTNOINTR && result != -ERESTARTNOHAND) || t->syscall_nr < 0)
		return;
	if (handler && (result == -ERESTARTNOHAND || (result == -ERESTARTSYS && !(flags & SA_RESTART)))) {
		t->st.regs.rax = (uint64_t)-EINTR;
	} else {
		t->st.regs.rax = (uint64_t)t->syscall_nr;
		t->st.regs.rip -= SYSCALL_BYTES;	/* execute the syscall instruction again */
	}
	t->syscall_nr = -1;
}

static void set_default_handler(struct task *t, int signo)
{
	pthread_mutex_lock(&t->kernel->lock);
	__atomic_store_n(&t->process->sighand->action[signo].handler, HANDLER_DEFAULT, __ATOMIC_RELAXED);
	pthread_mutex_unlock(&t->kernel->lock);
}

static void enter_handler(struct task *t, const struct sig_action *act, const struct sig_info *info)
{
	int signo = info->signo;

	prepare_restart(t, true, act->flags);
	t->copy_error = 0;
	if (signal_push_frame(t, act, info)) {
		if (t->copy_error == -ENOMEM)
			task_out_of_memory(t);
		/* As Linux: a handler of SIGSEGV gets the next chance, on the alternate stack; its own frame gets none. */
		if (signo == SIGSEGV)
			set_default_handler(t, SIGSEGV);
		signal_fault(t, SIGSEGV, SI_KERNEL, 0);
		return;
	}
	t->restore_blocked = false;
	signal_set_blocked(t, t->blocked | act->mask | (act->flags & SA_NODEFER ? 0 : sig_bit(signo)));
	if (act->flags & SA_RESETHAND)
		set_default_handler(t, signo);
}

/* Remove a pending signal that is not blocked. 0: none. *@act: what the process does with it. */
static int dequeue_signal(struct task *t, struct sig_info *info, struct sig_action *act)
{
	int signo;

	pthread_mutex_lock(&t->kernel->lock);
	signo = take_signal(t, ~read_blocked(t) | UNBLOCKABLE, info);
	t->stops = default_stops(signo);
	if (signo)
		*act = t->process->sighand->action[signo];
	else
		__atomic_store_n(&t->woken, false, __ATOMIC_RELAXED);
	pthread_mutex_unlock(&t->kernel->lock);
	return signo;
}

static void deliver_one(struct task *t, const struct sig_info *info, const struct sig_action *act)
{
	int signo = info->signo;

	if (act->handler == HANDLER_IGNORE || (act->handler == HANDLER_DEFAULT && default_ignores(signo)))
		return;
	inspect_signal(t, signo);
	if (act->handler > HANDLER_IGNORE)
		enter_handler(t, act, info);
	else if (default_stops(signo))
		stop_process(t, info);
	else
		process_exit(t, signo);
}

/* Until none is pending. */
static void take_signals(struct task *t)
{
	struct sig_action act;
	struct sig_info info;

	while (has_signal(t)) {
		if (must_end(t))
			task_exit(t, SIGKILL);
		if (is_stopped(t))
			wait_stopped(t);
		else if (dequeue_signal(t, &info, &act))
			deliver_one(t, &info, &act);
	}
}

void signal_deliver(struct task *t)
{
	for (;;) {
		take_signals(t);
		prepare_restart(t, false, 0);
		if (t->restore_blocked) {
			signal_set_blocked(t, t->saved_blocked);
			t->restore_blocked = false;
		}
		if (!must_park(t))
			return;
		wait_parked(t);
	}
}
