/* SPDX-License-Identifier: MIT */
/* abi/kernel.c - a run: its start and end, timers, and signals to Vellum. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "abi/async.h"
#include "abi/filemap.h"
#include "abi/ipc.h"
#include "abi/jobs.h"
#include "abi/memfd.h"
#include "abi/proc.h"
#include "abi/repeat.h"
#include "abi/tty.h"

#define DEFAULT_MMAP_MIN_ADDR 0x10000	/* as Linux is usually configured */
#define REFRESH_NS 50000000	/* between calls of the machine's refresh() */
#define TICK_NS	 5000000	/* time slice if a task waits for a CPU; period of alarms and repeated kicks */
#define SHUTDOWN_STEP_NS (10 * NS_PER_SEC)	/* until the next advance_shutdown() without a signal */

/* --- the ticker: timers, time slices, repeated kicks, signals to Vellum --- */

/* Signals to Vellum that are forwarded to the program. The ticker waits for them; they are blocked in all threads. */
static void fill_forwarded_signals(sigset_t *set)
{
	static const int signals[] = { SIGINT, SIGTERM, SIGQUIT, SIGHUP, SIGUSR1, SIGUSR2, SIGALRM,
					SIGTSTP, SIGCONT, SIGWINCH };

	sigemptyset(set);
	sigaddset(set, ASYNC_SIGNAL);
	sigaddset(set, SIGIO);
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		sigaddset(set, signals[i]);
}

/*
 * The second SIGTERM or SIGINT ends the run, even if the program ignores the signal. A SIGINT for which process 1 has a
 * handler does not: a shell gets many. lock held.
 */
static bool is_end_request(struct kernel *k, int signo)
{
	const struct process *first = process_find(k, 1);
	unsigned asked = k->asked_to_end;

	if (signo != SIGTERM && signo != SIGINT)
		return false;
	k->asked_to_end |= 1u << signo;
	if (k->first_exited || !first)
		return true;
	if (signo == SIGINT && signal_has_handler(first, signo))
		return false;
	return asked & (1u << SIGTERM | 1u << SIGINT);
}

/* Does the signal ask an ending run to end sooner? timeout(1) sends SIGCONT behind its signal. */
static bool is_impatient(int signo)
{
	return signo == SIGINT || signo == SIGTERM || signo == SIGQUIT || signo == SIGHUP;
}

/* The next step of the shutdown: kill the tasks; report without them; exit at once. lock held. */
static void advance_shutdown(struct kernel *k, int signo)
{
	k->shutdown_at = clock_ns(CLOCK_MONOTONIC) + SHUTDOWN_STEP_NS;
	if (!k->dying || !k->ended_by) {
		k->ended_by = signo;
		__atomic_store_n(&k->dying, true, __ATOMIC_RELAXED);
	} else if (!k->abandoned) {
		k->abandoned = true;
		pthread_cond_broadcast(&k->all_ended);
	} else {
		fprintf(stderr, "vellum: the run was ended before all files and the report were written\n");
		_exit(128 + k->ended_by);
	}
	pthread_cond_broadcast(&k->changed);
}

/*
 * A signal of the outer terminal is for its foreground group. Others are for process 1, or for its group if a shell
 * outside sends them to its job: the host does not say which.
 */
static void forward_signal(struct kernel *k, const siginfo_t *from)
{
	const struct sig_info info = { .signo = from->si_signo, .code = from->si_code };
	bool of_terminal = from->si_code == SI_KERNEL;
	int signo = info.signo, group = of_terminal ? tty_outer_foreground(k) : 0;

	group = group ? group : FIRST_GROUP;
	for (struct process *p = k->processes; p; p = p->next) {
		bool is_first = p->pid == 1 && (group == FIRST_GROUP || signo == SIGHUP || !of_terminal);
		bool to_group = of_terminal || signo == SIGINT || signo == SIGQUIT || signo == SIGTSTP || signo == SIGCONT;

		if (is_first || (to_group && p->pgid == group))
			signal_send(p, &info, true);
	}
}

/* lock held. */
static void signal_arrived(struct kernel *k, const siginfo_t *from)
{
	int foreground = from->si_code == SI_KERNEL ? tty_outer_foreground(k) : 0;
	bool of_job = foreground && foreground != FIRST_GROUP;	/* of a shell inside */

	if (k->ended_by ? is_impatient(from->si_signo) : !of_job && is_end_request(k, from->si_signo))
		advance_shutdown(k, from->si_signo);
	else if (!k->ended_by)
		forward_signal(k, from);
}

static void tick_process(struct process *p, uint64_t now)
{
	if (p->alarm_at && now >= p->alarm_at) {
		signal_send(p, &(struct sig_info){ .signo = SIGALRM, .code = SI_KERNEL }, false);
		p->alarm_at = p->alarm_interval ? now + p->alarm_interval : 0;
	}
	timers_tick(p, now);
	usage_tick(p);
	for (struct task *t = p->threads; t; t = t->next) {
		if (!signal_pending(t) && !cpu_must_move(t))
			continue;
		/* A kick just before the host call began, or before the program was entered, had no effect. Repeat it. */
		if (__atomic_load_n(&t->in_host, __ATOMIC_SEQ_CST))
			pthread_kill(t->thread, KICK_SIGNAL);
		cpu_kick(t);
	}
}

static void *ticker(void *arg)
{
	struct kernel *k = arg;
	struct timespec ts = { 0, TICK_NS };
	uint64_t next_refresh = 0;
	sigset_t set;

	fill_forwarded_signals(&set);
	while (!__atomic_load_n(&k->ticker_stop, __ATOMIC_RELAXED)) {
		siginfo_t from;
		int signo = sigtimedwait(&set, &from, &ts), stop;
		uint64_t now = clock_ns(CLOCK_MONOTONIC);
		bool kick = cpu_has_waiters(k->pool);

		pthread_mutex_lock(&k->lock);
		if (signo == ASYNC_SIGNAL || signo == SIGIO)
			async_arrived(k, &from);
		else if (signo > 0)
			signal_arrived(k, &from);
		for (struct process *p = k->processes; p; p = p->next)
			if (p->state != PROCESS_ZOMBIE)
				tick_process(p, now);
		load_tick(k, now);
		if (k->shutdown_at && now >= k->shutdown_at)
			advance_shutdown(k, k->ended_by);
		stop = k->ended_by || k->repeat ? 0 : jobs_stop_signal(k);	/* a run that stops is to be ended */
		pthread_mutex_unlock(&k->lock);
		if (stop)
			jobs_stop(stop);
		if (kick)
			pool_kick_all(k->pool);
		if (now >= next_refresh) {
			k->args->machine->ops->refresh(k->args->machine);
			next_refresh = now + REFRESH_NS;
		}
		vdso_update_clock(k);
	}
	return NULL;
}

/* --- start and end --- */

static void ignore_signal(int signo)
{
	(void)signo;
}

static int open_standard_files(struct task *t)
{
	const struct abi_repeat *repeat = t->kernel->args->repeat;

	for (int fd = 0; fd <= 2; fd++) {
		struct memfd *account;
		struct file *file;
		int host;

		if (t->kernel->args->closed_fds >> fd & 1)
			continue;
		host = fcntl(repeat && fd ? repeat->output[fd - 1] : fd, F_DUPFD_CLOEXEC, 3);
		account = repeat && fd && repeat->output[fd - 1] != fd && host >= 0 ? memfd_new(filemaps_memfds(t->kernel->filemaps), host) : NULL;
		file = host < 0 ? NULL : file_open(t->kernel, host);
		memfd_put(account);	/* the file has its own reference */
		if (file)
			file->is_stdout = fd == STDOUT_FILENO && !repeat;
		if (fd_install(t, file, fd, false) < 0)
			return -errno;
	}
	return 0;
}

static int open_server_files(struct task *t)
{
	const struct abi_repeat *repeat = t->kernel->args->repeat;

	for (int i = 0; repeat && repeat->serves && i < 2; i++) {
		int host = fcntl(repeat->server[i], F_DUPFD_CLOEXEC, 3);
		int err = host < 0 ? -errno : fd_install(t, file_open(t->kernel, host), ABI_SERVER_FD + i, false);

		if (err < 0)
			return err;
	}
	return 0;
}

/* A copy of the environment, with the segments that the caller grants, in @room. 0 or a negative errno. */
static int grant_segments(struct task *t, char *const *env, char ***out, char room[ABI_MAX_SEGMENTS][64])
{
	const struct abi_repeat *repeat = t->kernel->args->repeat;
	size_t n = 0;
	char **envp;

	while (env[n])
		n++;
	*out = envp = calloc(n + ABI_MAX_SEGMENTS + 1, sizeof(*envp));
	if (!envp)
		return -ENOMEM;
	memcpy(envp, env, n * sizeof(*envp));
	for (unsigned i = 0; repeat && i < repeat->nr_segments; i++) {
		struct abi_segment *s = &repeat->segments[i];
		int id = shm_grant(t, s->bytes, &s->mapping);

		if (id < 0)
			return id;
		snprintf(room[i], sizeof(room[i]), "%s=%d", s->variable, id);
		envp[n++] = room[i];
	}
	return 0;
}

static int load_first(struct task *t, const struct abi_args *args)
{
	char **envp, room[ABI_MAX_SEGMENTS][64];
	int err = grant_segments(t, args->envp, &envp, room), fd;

	if (!err) {
		fd = exec_open(t, args->path);
		err = fd < 0 ? fd : exec_load(t, fd, args->path, args->argv, envp);
	}
	free(envp);
	return err;
}

static int start_first(struct kernel *k, const struct abi_args *args)
{
	struct task *t = process_create(k, RLIM_INFINITY);
	int err;

	if (!t)
		return -errno;
	t->process->pgid = t->process->sid = t->process->pid;
	ttys_start(k, t->process);
	rlimit_init(t->process, args->limits);
	err = sharing_start(t);
	if (!err)
		err = open_standard_files(t);
	if (!err)
		err = open_server_files(t);
	if (!err)
		err = load_first(t, args);
	if (!err && k->repeat && !repeat_begin(t))
		err = -ECANCELED;
	if (!err)
		err = process_start(t, NULL, 0);
	if (err)
		process_discard(t);
	return err;
}

void abi_block_signals(void)
{
	sigset_t set;

	fill_forwarded_signals(&set);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
}

/* Discard signals that came after the program ended. Later ones have their default action. */
static void unblock_signals(void)
{
	static const struct timespec at_once;
	sigset_t set;

	fill_forwarded_signals(&set);
	while (sigtimedwait(&set, NULL, &at_once) > 0)
		;
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}

/* Report although a task still waits in a host call. The ticker ends Vellum if this takes too long. */
static void report_and_exit(struct kernel *k) __attribute__((noreturn));
static void report_and_exit(struct kernel *k)
{
	int status;

	fprintf(stderr, "vellum: left behind: %u process%s whose system call on the host does not return\n", k->nr_live,
		k->nr_live == 1 ? "" : "es");
	if (!k->first_exited) {
		k->result->code = -1;
		k->result->signal = k->ended_by;
	}
	status = k->args->abandoned(k->args->abandoned_arg);
	filemaps_sync(k->filemaps);
	proc_tree_remove(k->proc);
	_exit(status);
}

/* Sleep until no task is left, or until advance_shutdown() gives them up. */
static void wait_for_end(struct kernel *k)
{
	pthread_mutex_lock(&k->lock);
	while (k->nr_live && !k->abandoned)
		pthread_cond_wait(&k->all_ended, &k->lock);
	pthread_mutex_unlock(&k->lock);
	if (k->abandoned)
		report_and_exit(k);
}

static uint64_t read_mmap_min_addr(void)
{
	unsigned long long n = DEFAULT_MMAP_MIN_ADDR;
	FILE *f = fopen("/proc/sys/vm/mmap_min_addr", "re");

	if (f && fscanf(f, "%llu", &n) != 1)
		n = DEFAULT_MMAP_MIN_ADDR;
	if (f)
		fclose(f);
	return n;
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
	pthread_cond_init(&k.all_ended, NULL);
	sched_getaffinity(0, sizeof(k.host_cpus), &k.host_cpus);
	pthread_mutex_init(&k.unread_lock, NULL);
	pthread_mutex_init(&k.async_lock, NULL);
	if (hostfd_init(result->error, sizeof(result->error)))
		return;
	sigaction(KICK_SIGNAL, &quiet, NULL);
	sigaction(SIGPIPE, &no_pipe, NULL);	/* Vellum sends it to the program after EPIPE */
	sigaction(SIGXFSZ, &no_pipe, NULL);
	k.mmap_min_addr = read_mmap_min_addr();
	k.pool = pool_create(args->machine);
	vdso_init(&k);
	k.filemaps = filemaps_start(&k);
	k.futexes = futexes_create();
	k.proc = proc_tree_create();
	k.ipc = ipc_create();
	pthread_create(&k.ticker, NULL, ticker, &k);
	if (args->repeat)
		k.repeat = repeat_create(&k);
	err = k.pool && k.filemaps && k.futexes && k.proc && k.ipc && !k.repeat == !args->repeat ? start_first(&k, args) : -ENOMEM;
	result->started = !err;
	if (err && !result->error[0])
		snprintf(result->error, sizeof(result->error), "cannot run %s: %s", args->path, strerror(-err));
	wait_for_end(&k);
	repeat_destroy(k.repeat);
	if (k.filemaps)
		filemaps_stop(k.filemaps);
	__atomic_store_n(&k.ticker_stop, true, __ATOMIC_RELAXED);
	pthread_join(k.ticker, NULL);
	while (k.processes) {
		struct process *p = k.processes;

		k.processes = p->next;
		process_free(p);
	}
	ttys_free(&k);
	futexes_destroy(k.futexes);
	proc_tree_destroy(k.proc);
	ipc_destroy(k.ipc);
	vdso_fini(&k);
	pool_destroy(k.pool);
	unblock_signals();
}
