/* SPDX-License-Identifier: MIT */
/*
 * tests/programs/threads.c - threads: what they share, futexes, signals, exit, exec and fork with several of them. Its output
 * is the same on the host's kernel.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <linux/sched.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "show.h"

static long futex(uint32_t *word, int op, uint32_t val, const struct timespec *timeout, uint32_t *word2, uint32_t val3)
{
	return syscall(SYS_futex, word, op, val, timeout, word2, val3);
}

static void start(pthread_t *t, void *(*run)(void *), void *arg)
{
	if (pthread_create(t, NULL, run, arg)) {
		perror("pthread_create");
		exit(1);
	}
}

static void nap(long ms)
{
	nanosleep(&(struct timespec){ ms / 1000, ms % 1000 * 1000000 }, NULL);
}

/* --- counting under locks --- */

#define THREADS 6
#define ROUNDS	3000

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_rwlock_t rwlock = PTHREAD_RWLOCK_INITIALIZER;
static pthread_spinlock_t spin;
static sem_t sem;
static long counts[5];
static _Thread_local long own;

static void *count(void *arg)
{
	for (int i = 0; i < ROUNDS; i++) {
		pthread_mutex_lock(&mutex);
		counts[0]++;
		pthread_mutex_unlock(&mutex);
		pthread_rwlock_wrlock(&rwlock);
		counts[1]++;
		pthread_rwlock_unlock(&rwlock);
		sem_wait(&sem);
		counts[2]++;
		sem_post(&sem);
		__atomic_fetch_add(&counts[3], 1, __ATOMIC_SEQ_CST);
		if (i % 10 == 0) {
			pthread_spin_lock(&spin);
			counts[4]++;
			pthread_spin_unlock(&spin);
		}
		own++;
	}
	return (void *)(own + (long)arg);
}

static void counting(void)
{
	pthread_t t[THREADS];
	long sum = 0;
	void *result;

	pthread_spin_init(&spin, 0);
	sem_init(&sem, 0, 1);
	for (long i = 0; i < THREADS; i++)
		start(&t[i], count, (void *)i);
	for (int i = 0; i < THREADS; i++) {
		pthread_join(t[i], &result);
		sum += (long)result;
	}
	printf("counts %ld %ld %ld %ld %ld, sum %ld\n", counts[0], counts[1], counts[2], counts[3], counts[4], sum);
}

/* --- what threads share --- */

static int passed_fd;

static void *share(void *arg)
{
	char text[16] = "";

	(void)arg;
	SHOW(getpid() == syscall(SYS_gettid));
	SHOW(read(passed_fd, text, 5));
	passed_fd = open("made", O_RDWR | O_CREAT, 0777);
	SHOW(chdir("/"));
	SHOW(umask(027));
	return NULL;
}

static void sharing(void)
{
	int p[2];
	struct stat st;
	char cwd[4096];
	pthread_t t;

	SHOW(pipe(p));
	umask(022);
	SHOW(write(p[1], "hello", 5));
	passed_fd = p[0];
	start(&t, share, NULL);
	pthread_join(t, NULL);
	SHOW(fstat(passed_fd, &st));
	printf("mode %o, cwd %s, umask %o\n", st.st_mode & 0777, getcwd(cwd, sizeof(cwd)), umask(022));
	SHOW(getpid() == syscall(SYS_gettid));
}

/* A descriptor that another thread closes stays open until the call that uses it returns. */
static void *read_it(void *arg)
{
	char c = 0;
	ssize_t n = read(*(int *)arg, &c, 1);

	return (void *)(n == 1 ? (long)c : n - 1);
}

static void closing(void)
{
	void *result;
	pthread_t t;
	int p[2];

	SHOW(pipe(p));
	start(&t, read_it, &p[0]);
	nap(50);
	SHOW(close(p[0]));
	SHOW(write(p[1], "x", 1));
	pthread_join(t, &result);
	SHOW((long)result == 'x');
}

/* --- futex(2) --- */

static uint32_t word, word2;

static void *futex_wait(void *arg)
{
	long result = futex(&word, FUTEX_WAIT_BITSET | FUTEX_PRIVATE_FLAG, 0, NULL, NULL, (uint32_t)(uintptr_t)arg);

	return (void *)result;
}

static void futexes(void)
{
	const struct timespec ms = { 0, 2000000 }, bad = { 0, -1 }, past = { 1, 0 };
	pthread_t t[4];
	void *result;
	long woken = 0;

	SHOW(futex(&word, FUTEX_WAIT, 1, NULL, NULL, 0));
	SHOW(futex(&word, FUTEX_WAIT, 0, &ms, NULL, 0));
	SHOW(futex(&word, FUTEX_WAIT, 0, &bad, NULL, 0));
	SHOW(futex(&word, FUTEX_WAIT_BITSET, 0, &past, NULL, ~0u));
	SHOW(futex(&word, FUTEX_WAIT_BITSET | FUTEX_CLOCK_REALTIME, 0, &past, NULL, ~0u));
	SHOW(futex(&word, FUTEX_WAIT_BITSET, 0, NULL, NULL, 0));
	SHOW(futex((uint32_t *)((char *)&word + 1), FUTEX_WAIT, 0, NULL, NULL, 0));
	SHOW(futex(NULL, FUTEX_WAIT, 0, NULL, NULL, 0));
	SHOW(futex(NULL, FUTEX_WAKE, 1, NULL, NULL, 0));
	SHOW(futex(NULL, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, 1, NULL, NULL, 0));
	SHOW(futex(&word, FUTEX_WAKE, 1, NULL, NULL, 0));
	SHOW(futex(&word, 99, 1, NULL, NULL, 0));
	SHOW(futex(&word, FUTEX_WAKE | FUTEX_CLOCK_REALTIME, 1, NULL, NULL, 0));
	SHOW(futex(&word, FUTEX_CMP_REQUEUE, 1, (void *)1, &word2, 5));
	SHOW(futex(&word, FUTEX_CMP_REQUEUE, (uint32_t)-1, (void *)1, &word2, 0));
	for (int i = 0; i < 4; i++)
		start(&t[i], futex_wait, (void *)(uintptr_t)(i < 2 ? 1 : 2));
	nap(100);
	SHOW(futex(&word, FUTEX_WAKE_BITSET | FUTEX_PRIVATE_FLAG, 9, NULL, NULL, 4));
	SHOW(futex(&word, FUTEX_WAKE_BITSET | FUTEX_PRIVATE_FLAG, 9, NULL, NULL, 1));
	SHOW(futex(&word, FUTEX_CMP_REQUEUE | FUTEX_PRIVATE_FLAG, 0, (void *)9, &word2, 0));
	SHOW(futex(&word, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, 9, NULL, NULL, 0));
	/* word2 += 3, and wake one there as it was 0 */
	SHOW(futex(&word, FUTEX_WAKE_OP | FUTEX_PRIVATE_FLAG, 1, (void *)1, &word2,
		   FUTEX_OP(FUTEX_OP_ADD, 3, FUTEX_OP_CMP_EQ, 0)));
	SHOW(word2);
	SHOW(futex(&word2, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, 9, NULL, NULL, 0));
	for (int i = 0; i < 4; i++) {
		pthread_join(t[i], &result);
		woken += result == NULL;
	}
	SHOW(woken);
}

/* struct futex_waitv of <linux/futex.h>, which older systems do not have */
struct waitv {
	uint64_t val, addr;
	uint32_t flags, reserved;
};

#define WAITV_32 2u
#define WAITV_PRIVATE (2u | 128u)

static uint32_t words[4];

static long waitv(const void *waiters, unsigned nr, unsigned flags, const struct timespec *timeout, int clock)
{
	return syscall(449, waiters, nr, flags, timeout, clock);
}

static void *wake_later(void *arg)
{
	nap(50);
	return (void *)futex(arg, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, 1, NULL, NULL, 0);
}

static void vectors(void)
{
	const struct timespec past = { 1, 0 }, bad = { 0, -1 };
	struct waitv v[3], many[129];
	void *woken;
	pthread_t t;

	for (int i = 0; i < 3; i++)
		v[i] = (struct waitv){ .addr = (uintptr_t)&words[i], .flags = WAITV_PRIVATE };
	for (int i = 0; i < 129; i++)
		many[i] = v[0];
	SHOW(waitv(v, 3, 1, NULL, 0));
	SHOW(waitv(v, 0, 0, NULL, 0));
	SHOW(waitv(many, 129, 0, NULL, 0));
	SHOW(waitv(NULL, 1, 0, NULL, 0));
	SHOW(waitv((void *)16, 1, 0, NULL, 0));
	SHOW(waitv(v, 3, 0, &bad, CLOCK_MONOTONIC));
	SHOW(waitv(v, 3, 0, &past, CLOCK_BOOTTIME));
	SHOW(waitv(v, 3, 0, (void *)16, CLOCK_MONOTONIC));
	SHOW(waitv(v, 3, 0, &past, CLOCK_MONOTONIC));
	SHOW(waitv(many, 128, 0, &past, CLOCK_REALTIME));
	v[1].val = 5;
	SHOW(waitv(v, 3, 0, NULL, 0));
	v[1].val = 1ull << 32;
	SHOW(waitv(v, 3, 0, &past, CLOCK_REALTIME));
	v[1].val = 0;
	v[1].flags = 128;
	SHOW(waitv(v, 3, 0, NULL, 0));
	v[1].flags = WAITV_32;
	v[1].reserved = 1;
	SHOW(waitv(v, 3, 0, NULL, 0));
	v[1].reserved = 0;
	v[1].addr = 2;
	SHOW(waitv(v, 3, 0, NULL, 0));
	v[1].addr = 4;
	SHOW(waitv(v, 3, 0, NULL, 0));
	v[1] = v[0];
	for (int i = 0; i < 3; i++) {
		v[i].flags = WAITV_PRIVATE;
		v[i].addr = (uintptr_t)&words[i];
	}
	for (int i = 0; i < 3; i++) {
		start(&t, wake_later, &words[i]);
		SHOW(waitv(v, 3, 0, NULL, 0));
		pthread_join(t, &woken);
		SHOW((long)woken);
	}
	for (int i = 0; i < 3; i++)
		SHOW(futex(&words[i], FUTEX_WAKE | FUTEX_PRIVATE_FLAG, 1, NULL, NULL, 0));
}

/* A futex in shared memory, between processes. */
static void shared_futex(void)
{
	uint32_t *shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (!pid)
		_exit(futex(shared + 5, FUTEX_WAIT, 0, NULL, NULL, 0) == 0 ? 7 : 8);
	while (futex(shared + 5, FUTEX_WAKE, 1, NULL, NULL, 0) == 0)
		nap(1);
	int status = 0;

	waitpid(pid, &status, 0);
	SHOW(WEXITSTATUS(status));
}

/* --- robust mutexes --- */

static pthread_mutex_t robust;

static void *lock_and_end(void *arg)
{
	pthread_mutex_lock(&robust);
	return arg;
}

static void robust_mutex(void)
{
	pthread_mutexattr_t attr;
	pthread_t t;

	pthread_mutexattr_init(&attr);
	pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
	pthread_mutex_init(&robust, &attr);
	start(&t, lock_and_end, NULL);
	pthread_join(t, NULL);
	printf("owner died: %s\n", strerrorname_np(pthread_mutex_lock(&robust)));
	SHOW(pthread_mutex_consistent(&robust));
	SHOW(pthread_mutex_unlock(&robust));
	start(&t, lock_and_end, NULL);
	printf("while waiting: ");
	nap(20);
	printf("%s\n", strerrorname_np(pthread_mutex_lock(&robust)));
	pthread_join(t, NULL);
}

/* --- signals --- */

static volatile sig_atomic_t handled_by, nr_handled;
static volatile int values[8];

static void on_signal(int signo, siginfo_t *info, void *context)
{
	(void)signo, (void)context;
	handled_by = (int)syscall(SYS_gettid);
	if (nr_handled < 8)
		values[nr_handled] = info->si_value.sival_int;
	nr_handled++;
}

static sem_t ready, done;
static pid_t worker_tid;

static void *block_usr1(void *arg)
{
	sigset_t set;

	(void)arg;
	worker_tid = (pid_t)syscall(SYS_gettid);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	sem_post(&ready);
	sem_wait(&done);
	return NULL;
}

static void *take_usr1(void *arg)
{
	(void)arg;
	worker_tid = (pid_t)syscall(SYS_gettid);
	sem_post(&ready);
	while (!nr_handled)
		nap(1);
	return NULL;
}

static void *wait_usr2(void *arg)
{
	sigset_t set;
	siginfo_t info;

	(void)arg;
	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	sem_post(&ready);
	printf("sigwaitinfo: %d", sigwaitinfo(&set, &info));
	printf(" from %s\n", info.si_pid == getpid() ? "itself" : "another");
	return NULL;
}

static void signals(void)
{
	struct sigaction sa = { .sa_sigaction = on_signal, .sa_flags = SA_SIGINFO };
	const struct timespec none = { 0, 0 };
	sigset_t usr1, rt;
	siginfo_t info;
	pthread_t t;

	sem_init(&ready, 0, 0);
	sem_init(&done, 0, 0);
	sigaction(SIGUSR1, &sa, NULL);
	sigaction(SIGRTMIN + 3, &sa, NULL);
	start(&t, block_usr1, NULL);
	sem_wait(&ready);
	kill(getpid(), SIGUSR1);
	printf("by the first thread: %d\n", handled_by == getpid());
	sem_post(&done);
	pthread_join(t, NULL);

	nr_handled = 0;
	start(&t, take_usr1, NULL);
	sem_wait(&ready);
	pthread_kill(t, SIGUSR1);
	pthread_join(t, NULL);
	printf("by the thread meant: %d\n", handled_by == worker_tid);

	nr_handled = 0;
	sigemptyset(&usr1);
	sigaddset(&usr1, SIGUSR1);
	pthread_sigmask(SIG_BLOCK, &usr1, NULL);	/* the thread inherits it */
	kill(getpid(), SIGUSR1);
	kill(getpid(), SIGUSR1);
	SHOW(sigtimedwait(&usr1, &info, &none) == SIGUSR1);
	SHOW(sigtimedwait(&usr1, &info, &none));
	pthread_sigmask(SIG_UNBLOCK, &usr1, NULL);

	sigemptyset(&rt);
	sigaddset(&rt, SIGRTMIN + 3);
	pthread_sigmask(SIG_BLOCK, &rt, NULL);
	for (int i = 1; i <= 4; i++)
		sigqueue(getpid(), SIGRTMIN + 3, (union sigval){ .sival_int = i * 11 });
	pthread_sigmask(SIG_UNBLOCK, &rt, NULL);
	printf("queued: %d times, %d %d %d %d\n", (int)nr_handled, values[0], values[1], values[2], values[3]);

	signal(SIGUSR2, SIG_DFL);
	sigemptyset(&usr1);
	sigaddset(&usr1, SIGUSR2);
	pthread_sigmask(SIG_BLOCK, &usr1, NULL);
	start(&t, wait_usr2, NULL);
	sem_wait(&ready);
	nap(20);
	kill(getpid(), SIGUSR2);
	pthread_join(t, NULL);
	SHOW(syscall(SYS_tgkill, getpid(), 1 << 29, SIGUSR1));
	SHOW(syscall(SYS_tkill, 0, SIGUSR1));
	SHOW(syscall(SYS_rt_sigqueueinfo, 1 << 29, SIGUSR1, &info));
}

/* --- timers --- */

static void *tick_thread(void *arg)
{
	worker_tid = (pid_t)syscall(SYS_gettid);
	sem_post(&ready);
	while (nr_handled < 3)
		nap(1);
	return arg;
}

static void timers(void)
{
	struct sigaction sa = { .sa_sigaction = on_signal, .sa_flags = SA_SIGINFO };
	struct sigevent event = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1 };
	struct itimerspec once = { .it_value = { 0, 20000000 } }, every = { { 0, 10000000 }, { 0, 10000000 } }, left;
	pthread_t t;
	timer_t id;

	nr_handled = 0;
	sigaction(SIGUSR1, &sa, NULL);
	event.sigev_value.sival_int = 77;
	SHOW(timer_create(CLOCK_MONOTONIC, &event, &id));
	SHOW(timer_settime(id, 0, &once, NULL));
	while (!nr_handled)
		pause();
	printf("value %d\n", values[0]);
	SHOW(timer_gettime(id, &left));
	SHOW(left.it_value.tv_sec + left.it_value.tv_nsec);
	once.it_value.tv_sec = 100;
	SHOW(timer_settime(id, 0, &once, &left));
	SHOW(timer_gettime(id, &left));
	SHOW(left.it_value.tv_sec >= 99 && left.it_value.tv_sec <= 100);
	SHOW(timer_delete(id));
	SHOW(syscall(SYS_timer_delete, 12345));
	SHOW(syscall(SYS_timer_settime, 12345, 0, &once, NULL));
	once.it_value.tv_nsec = -1;
	SHOW(timer_create(CLOCK_REALTIME, NULL, &id));
	SHOW(timer_settime(id, 0, &once, NULL));
	SHOW(syscall(SYS_timer_settime, 0, 0, NULL, NULL));
	SHOW(timer_delete(id));
	SHOW(syscall(SYS_timer_create, 77, NULL, &id));

	nr_handled = 0;
	start(&t, tick_thread, NULL);
	sem_wait(&ready);
	event.sigev_notify = SIGEV_THREAD_ID;
	event._sigev_un._tid = worker_tid;
	SHOW(timer_create(CLOCK_MONOTONIC, &event, &id));
	SHOW(timer_settime(id, 0, &every, NULL));
	pthread_join(t, NULL);
	printf("by the thread meant: %d\n", handled_by == worker_tid);
	SHOW(timer_getoverrun(id) >= 0);
	SHOW(timer_delete(id));
	event._sigev_un._tid = 1 << 29;
	SHOW(timer_create(CLOCK_MONOTONIC, &event, &id));
}

/* --- exit, exec and fork, each in a child --- */

static void *sleep_long(void *arg)
{
	nap(100000);
	return arg;
}

static void *spin_long(void *arg)
{
	for (volatile unsigned i = 0;; i++)
		;
	return arg;
}

static void *exit_process(void *arg)
{
	exit((int)(long)arg);
}

static void *exit_later(void *arg)
{
	nap(50);
	syscall(SYS_exit, (long)arg);
	return NULL;
}

static void *exec_program(void *arg)
{
	char *const argv[] = { (char *)"threads", (char *)"execed", arg, NULL };
	char pid[16];

	snprintf(pid, sizeof(pid), "%d", getpid());
	execve("/proc/self/exe", (char *const[]){ argv[0], argv[1], pid, NULL }, environ);
	return NULL;
}

static void *crash(void *arg)
{
	*(volatile int *)arg = 1;
	return NULL;
}

static void several(void)
{
	pthread_t t;

	start(&t, sleep_long, NULL);
	start(&t, spin_long, NULL);
	start(&t, sleep_long, NULL);
}

static void exit_by_thread(void) { pthread_t t; several(); start(&t, exit_process, (void *)42); pause(); }
static void exit_by_main(void) { several(); exit(43); }
static void first_ends_first(void) { pthread_t t; start(&t, exit_later, (void *)44); syscall(SYS_exit, 45); }
static void exec_by_thread(void) { pthread_t t; several(); start(&t, exec_program, NULL); pause(); }
static void exec_by_main(void) { several(); exec_program(NULL); }
static void crash_in_thread(void) { pthread_t t; several(); start(&t, crash, NULL); pause(); }
static void killed(void) { several(); kill(getpid(), SIGTERM); pause(); }

static void *fork_in_thread(void *arg)
{
	pid_t pid = fork();
	int status = 0;

	if (!pid)	/* the only thread */
		_exit(getpid() == syscall(SYS_gettid) ? 46 : 47);
	waitpid(pid, &status, 0);
	_exit(WEXITSTATUS(status));
	return arg;
}

static void fork_by_thread(void) { pthread_t t; several(); start(&t, fork_in_thread, NULL); pause(); }

static void *make_threads(void *arg)
{
	pthread_t t;

	for (int i = 0; i < 200; i++) {
		start(&t, count, NULL);
		pthread_join(t, NULL);
	}
	return arg;
}

static void in_child(const char *name, void (*run)(void))
{
	int status = 0;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (!pid) {
		run();
		_exit(99);
	}
	waitpid(pid, &status, 0);
	printf("%s: %s %d\n", name, WIFSIGNALED(status) ? "signal" : "status",
	       WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
}

static void stop_and_continue(void)
{
	int status;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (!pid) {
		several();
		for (;;)
			pause();
	}
	nap(50);
	kill(pid, SIGSTOP);
	SHOW(waitpid(pid, &status, WUNTRACED) == pid && WIFSTOPPED(status));
	kill(pid, SIGCONT);
	SHOW(waitpid(pid, &status, WCONTINUED) == pid && WIFCONTINUED(status));
	kill(pid, SIGKILL);
	SHOW(waitpid(pid, &status, 0) == pid && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

/* --- clone(2) itself --- */

static void clones(void)
{
	struct clone_args args = { .exit_signal = SIGCHLD };
	int status;
	long pid;

	SHOW(syscall(SYS_clone, CLONE_THREAD, NULL, NULL, NULL, NULL));
	SHOW(syscall(SYS_clone, CLONE_SIGHAND | SIGCHLD, NULL, NULL, NULL, NULL));
	SHOW(syscall(SYS_clone, CLONE_THREAD | CLONE_SIGHAND, NULL, NULL, NULL, NULL));
	SHOW(syscall(SYS_clone3, &args, 8));
	SHOW(syscall(SYS_clone3, &args, 1 << 20));
	args.exit_signal = 100;
	SHOW(syscall(SYS_clone3, &args, sizeof(args)));
	args.exit_signal = SIGCHLD;
	fflush(stdout);
	pid = syscall(SYS_clone3, &args, sizeof(args));
	if (!pid)
		_exit(9);
	SHOW(waitpid((pid_t)pid, &status, 0) == pid && WEXITSTATUS(status) == 9);
	fflush(stdout);
	pid = syscall(SYS_clone, 0, NULL, NULL, NULL, NULL);	/* no signal at its end */
	if (!pid)
		_exit(8);
	nap(50);
	SHOW(waitpid((pid_t)pid, &status, WNOHANG));
	SHOW(waitpid((pid_t)pid, &status, __WALL) == pid && WEXITSTATUS(status) == 8);
}

int main(int argc, char **argv)
{
	pthread_t t;

	if (argc > 2 && !strcmp(argv[1], "execed"))
		return getpid() == atoi(argv[2]) && getpid() == syscall(SYS_gettid) ? 48 : 49;
	counting();
	sharing();
	closing();
	futexes();
	vectors();
	shared_futex();
	robust_mutex();
	signals();
	timers();
	in_child("exit by a thread", exit_by_thread);
	in_child("exit by the first thread", exit_by_main);
	in_child("the first thread ends first", first_ends_first);
	in_child("exec by a thread", exec_by_thread);
	in_child("exec by the first thread", exec_by_main);
	in_child("a thread crashes", crash_in_thread);
	in_child("killed", killed);
	in_child("fork by a thread", fork_by_thread);
	stop_and_continue();
	clones();
	start(&t, make_threads, NULL);
	pthread_join(t, NULL);
	printf("counts %ld\n", counts[3]);
	return 0;
}
