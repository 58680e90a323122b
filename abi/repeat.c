/* SPDX-License-Identifier: MIT */
/* abi/repeat.c - the life of a repeated program: see repeat.h. */
#define _GNU_SOURCE
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>

#include "abi/filemap.h"
#include "abi/futex.h"
#include "abi/proc.h"
#include "abi/repeat.h"
#include "abi/text.h"
#include "vellum/snapshot.h"

#define INT3 0xcc
#define SYSCALL_BYTES 2

struct repeat {
	const struct abi_repeat *want;
	struct kernel *kernel;
	enum { NOT_FROZEN, FREEZING, FROZEN, FINISHED } state;	/* atomic; from NOT_FROZEN with kernel->lock held */
	struct task *task;		/* the frozen thread, */
	struct process *process;	/* and its process; NULL: not frozen yet */
	uint64_t breakpoint;		/* 0: none */
	uint8_t replaced;		/* the byte at the breakpoint */
	struct vellum_snapshot *snapshot;
	struct image *image;
	struct parked *parked;
	uint64_t nr_resets;
	bool took_fork, took_fork_before;	/* repeat_takes_fork(); and when it was frozen */
};

struct repeat *repeat_create(struct kernel *k)
{
	struct repeat *r = calloc(1, sizeof(*r));

	if (r) {
		r->want = k->args->repeat;
		r->kernel = k;
	}
	return r;
}

/* No task is left. */
void repeat_destroy(struct repeat *r)
{
	if (!r)
		return;
	vellum_snapshot_destroy(r->snapshot);
	image_free(r->image);
	free(r->parked);
	free(r);
}

static int state_of(const struct repeat *r)
{
	return __atomic_load_n(&r->state, __ATOMIC_ACQUIRE);
}

bool repeat_has(const struct process *p)
{
	const struct repeat *r = p->kernel->repeat;

	return r && state_of(r) == FROZEN && r->process == p;
}

bool repeat_is_frozen(const struct task *t)
{
	return repeat_has(t->process) && t->kernel->repeat->task == t;
}

/* End the run: the program cannot be repeated. */
static void give_up(struct repeat *r, const char *format, const char *what)
{
	char line[2 * ABI_MAX_NAME];

	snprintf(line, sizeof(line), format, what);
	kernel_fail(r->kernel, line);
}

/* --- where the program is frozen --- */

static bool exchange_byte(struct task *t, uint64_t addr, uint8_t *byte)
{
	const struct proc_view view = { .kernel = t->kernel, .gmm = t->gmm };
	uint8_t old;

	if (proc_mem_read(&view, addr, &old, 1) != 1 || proc_mem_write(t, &view, addr, byte, 1) != 1)
		return false;
	*byte = old;
	return true;
}

bool repeat_begin(struct task *t)
{
	struct repeat *r = t->kernel->repeat;
	const struct abi_repeat *want = r->want;

	if (want->loaded)
		want->loaded(want->arg, t->gmm);
	switch (want->place) {
	case ABI_PLACE_FIRST_READ:
	case ABI_PLACE_FORK:
		return true;
	case ABI_PLACE_FUNCTION:
		if (!repeat_find_function(t, want->function, &r->breakpoint)) {
			give_up(r, "the program has no function %s; name another place, as --at=0xADDRESS or "
				"--at=first-read", want->function);
			return false;
		}
		break;
	case ABI_PLACE_ADDRESS:
		r->breakpoint = repeat_place_address(t, want->address);
	}
	r->replaced = INT3;
	if (exchange_byte(t, r->breakpoint, &r->replaced))
		return true;
	give_up(r, "the place to freeze the program is not in its memory%s", "");
	return false;
}

/* --- freeze --- */

/* False: another thread has come to the place before. */
static bool begin_freezing(struct repeat *r)
{
	bool first;

	pthread_mutex_lock(&r->kernel->lock);
	first = state_of(r) == NOT_FROZEN;
	if (first)
		__atomic_store_n(&r->state, FREEZING, __ATOMIC_RELEASE);
	pthread_mutex_unlock(&r->kernel->lock);
	return first;
}

/* False: there are other processes, which is said. */
static bool is_only_process(struct repeat *r, const struct task *t)
{
	bool only;

	pthread_mutex_lock(&r->kernel->lock);
	only = r->kernel->processes == t->process && !t->process->next;
	pthread_mutex_unlock(&r->kernel->lock);
	if (!only)
		give_up(r, "the program has other processes where it is to be frozen; name an earlier place with --at%s", "");
	return only;
}

/* The other threads are parked. False: the reason is said. */
static bool save_all(struct repeat *r, struct task *t)
{
	const struct vellum_snapshot_args args = { .size = sizeof(args), .nr_mms = 1, .mms = &t->gmm->mm,
						   .flags = r->want->verify_every > 1 ? VELLUM_SNAPSHOT_NOTES_RESTORED : 0 };
	int err;

	r->parked = threads_save(t);
	r->image = image_save(t);
	err = r->parked && r->image ? vellum_snapshot_create(&args, &r->snapshot) : -ENOMEM;
	if (err)
		give_up(r, "cannot freeze the program: %s", strerror(-err));
	return !err;
}

static void freeze_parked(struct repeat *r, struct task *t)
{
	char limits[ABI_MAX_NAME];

	if (r->want->freezing)
		r->want->freezing(r->want->arg);
	image_limits(t, limits, sizeof(limits));
	if (!save_all(r, t))
		return;
	r->task = t;
	r->process = t->process;
	r->took_fork_before = r->took_fork;
	__atomic_store_n(&r->state, FROZEN, __ATOMIC_RELEASE);
	r->want->frozen(r->want->arg, limits, r);
}

static void freeze(struct repeat *r, struct task *t)
{
	char why[2 * ABI_MAX_NAME];

	cpu_release(t);
	cpu_save_fpu(t);
	if (!is_only_process(r, t))
		return;
	if (threads_park(t, why, sizeof(why))) {
		if (is_only_process(r, t))	/* a fork may have been on its way */
			freeze_parked(r, t);
	} else if (why[0]) {
		give_up(r, "%s", why);
	} else {
		__atomic_store_n(&r->state, NOT_FROZEN, __ATOMIC_RELEASE);	/* the thread ends */
	}
	threads_go_on(t);
}

/* Another thread may have come to the place, and taken the instruction away, since the thread executed it. */
static bool is_at_place(const struct repeat *r, const struct task *t)
{
	const struct proc_view view = { .kernel = t->kernel, .gmm = t->gmm };
	uint8_t byte = INT3;

	if (!r->breakpoint || t->st.regs.rip != r->breakpoint + 1)
		return false;
	return state_of(r) < FROZEN || (proc_mem_read(&view, r->breakpoint, &byte, 1) == 1 && byte != INT3);
}

bool repeat_at_breakpoint(struct task *t)
{
	struct repeat *r = t->kernel->repeat;

	if (!r || !is_at_place(r, t))
		return false;
	t->st.regs.rip = r->breakpoint;
	if (begin_freezing(r)) {
		exchange_byte(t, r->breakpoint, &r->replaced);
		freeze(r, t);
	}
	return true;
}

static bool is_first_read(const struct vcpu_regs *regs)
{
	return (regs->rax == SYS_read || regs->rax == SYS_pread64 || regs->rax == SYS_readv) && regs->rdi == 0;
}

static bool is_fork(const struct task *t, const struct vcpu_regs *regs)
{
	return t->tid == 1 && (regs->rax == SYS_fork || (regs->rax == SYS_clone && !(regs->rdi & CLONE_VM)));
}

void repeat_at_syscall(struct task *t)
{
	struct repeat *r = t->kernel->repeat;
	struct vcpu_regs *regs = &t->st.regs;

	if (!r || state_of(r) != NOT_FROZEN || !(r->want->place == ABI_PLACE_FIRST_READ ? is_first_read(regs) :
					      r->want->place == ABI_PLACE_FORK && is_fork(t, regs)))
		return;
	if (!begin_freezing(r))
		return;
	regs->rip -= SYSCALL_BYTES;		/* a run begins with the call */
	freeze(r, t);
	regs->rip += SYSCALL_BYTES;
}

bool repeat_takes_fork(struct task *t)
{
	struct repeat *r = t->kernel->repeat;

	if (!r || !r->want->serves || r->took_fork || t->tid != 1)
		return false;
	r->took_fork = true;
	return true;
}

bool repeat_ends_at_stop(const struct process *p)
{
	return repeat_has(p) && p->kernel->repeat->want->serves;
}

/* --- the end of a run --- */

void repeat_kill_others(const struct task *t)
{
	const struct sig_info info = { .signo = SIGKILL, .code = SI_KERNEL };

	for (struct process *p = t->kernel->processes; p; p = p->next)
		if (p != t->process && p->state != PROCESS_ZOMBIE)
			signal_send(p, &info, true);
}

/* Kill the other processes, and wait until they are gone. */
static void end_others(struct repeat *r)
{
	struct kernel *k = r->kernel;
	struct process *next;

	pthread_mutex_lock(&k->lock);
	while (k->processes != r->process || r->process->next) {
		for (struct process *p = k->processes; p; p = next) {
			next = p->next;
			if (p == r->process)
				continue;
			if (p->state == PROCESS_ZOMBIE) {
				process_unlink(k, p);
				process_free(p);
			}
		}
		repeat_kill_others(r->task);
		if (k->processes != r->process || r->process->next)
			kernel_wait(k, NS_PER_SEC);
	}
	pthread_mutex_unlock(&k->lock);
}

/* The thread is in its process again: the only one, if it was not. */
static void enter_process(struct repeat *r)
{
	pthread_mutex_lock(&r->kernel->lock);
	if (!r->process->threads) {
		r->task->next = NULL;
		r->process->threads = r->task;
		r->process->nr_leaving = 0;
		r->kernel->nr_tasks += r->task->tid != r->process->pid;	/* unlink_thread() has taken it off */
		__atomic_store_n(&r->process->nr_threads, 1, __ATOMIC_RELEASE);
	}
	pthread_mutex_unlock(&r->kernel->lock);
}

/* False: it failed, and the reason is said. */
static bool verify(struct repeat *r, bool all)
{
	struct vellum_snapshot_difference d = { .size = sizeof(d) };
	int err = all ? vellum_snapshot_verify(r->snapshot, &d) : vellum_snapshot_verify_restored(r->snapshot, &d);
	char text[ABI_MAX_NAME];

	if (!err)
		return true;
	if (err < 0)
		snprintf(text, sizeof(text), "%s", strerror(-err));
	else
		snprintf(text, sizeof(text), "kind %u at 0x%llx differs after reset %llu", d.what,
			 (unsigned long long)d.address, (unsigned long long)r->nr_resets);
	give_up(r, "memory is not as it was frozen: %s", text);
	return false;
}

static bool reset(struct repeat *r, struct abi_reset *done)
{
	struct vellum_snapshot_info info = { .size = sizeof(info) };
	uint64_t start = clock_ns(CLOCK_MONOTONIC);
	const char *why;
	int err;

	if (image_restore(r->image, r->task, &why)) {
		give_up(r, "the run cannot be undone: %s", why);
		return false;
	}
	if (r->want->undone && !filemaps_have_writable(r->kernel->filemaps))
		r->want->undone(r->want->arg);
	err = vellum_snapshot_restore(r->snapshot);
	if (err) {
		give_up(r, "the run cannot be undone: %s", strerror(-err));
		return false;
	}
	filemaps_writeback_unmapped(r->kernel->filemaps);	/* as at the end of a process: the next input may be in such a file */
	r->took_fork = r->took_fork_before;
	enter_process(r);
	done->ns = clock_ns(CLOCK_MONOTONIC) - start;
	vellum_snapshot_info(r->snapshot, &info);
	done->pages = info.copied_pages + info.dropped_pages + info.copied_shared_pages;
	r->nr_resets++;
	return !r->want->verify_every || verify(r, r->nr_resets % r->want->verify_every == 0);
}

static bool start_others(struct repeat *r)
{
	int err = threads_start_again(r->parked, r->task);

	if (err)
		give_up(r, "cannot start the program's threads again: %s", strerror(-err));
	return !err;
}

static bool is_asked_to_end(struct kernel *k)
{
	bool asked;

	pthread_mutex_lock(&k->lock);
	asked = k->dying || k->asked_to_end;
	pthread_mutex_unlock(&k->lock);
	return asked;
}

void repeat_end_run(struct task *t)
{
	struct repeat *r = t->kernel->repeat;
	struct kernel *k = r->kernel;
	const int status = r->process->exit_status;
	struct abi_reset done;
	bool again;

	end_others(r);
	again = !is_asked_to_end(k) && r->want->ended(r->want->arg, status) &&
		reset(r, &done) && r->want->was_reset(r->want->arg, &done) && start_others(r);
	if (again && !is_asked_to_end(k))	/* a signal that came during the reset was dropped with the run's */
		task_run_again();
	if (r->want->finished)
		r->want->finished(r->want->arg);
	enter_process(r);
	pthread_mutex_lock(&k->lock);
	r->process->exit_status = status;
	__atomic_store_n(&r->process->exiting, true, __ATOMIC_RELAXED);
	signal_wake_all(r->process);		/* those that were started again */
	__atomic_store_n(&r->state, FINISHED, __ATOMIC_RELEASE);
	pthread_mutex_unlock(&k->lock);
}

void abi_repeat_kill(struct repeat *run)
{
	const struct sig_info info = { .signo = SIGKILL, .code = SI_KERNEL };
	struct kernel *k = run->kernel;

	pthread_mutex_lock(&k->lock);
	if (state_of(run) == FROZEN && run->process->nr_threads)
		signal_send(run->process, &info, true);
	pthread_mutex_unlock(&k->lock);
}
