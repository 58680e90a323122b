/* SPDX-License-Identifier: MIT */
/*
 * tests/programs/sharing.c - clone(2) with each mixture of what threads and processes may share, and unshare(2). Its output
 * is the same on the host's kernel.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>


#define STACK_BYTES (64 << 10)

static struct run {
	int closes, opens;	/* descriptors */
	const char *moves_to;
	mode_t umask;
	int ignores;		/* a signal */
	uint64_t unshares;
	volatile uint32_t tid;	/* cleared at its end, if it is a thread or asked for it */
	volatile int stored;
} run;

static void handler(int signo)
{
	(void)signo;
}

/* Only system calls: a thread that clone(2) made has no thread-local storage of its own. */
static int body(void *arg)
{
	struct run *r = arg;

	if (r->unshares)
		r->stored = syscall(SYS_unshare, r->unshares) ? -1 : 1;
	if (r->closes)
		syscall(SYS_close, r->closes);
	if (r->opens)
		syscall(SYS_dup2, 1, r->opens);
	if (r->moves_to)
		syscall(SYS_chdir, r->moves_to);
	if (r->umask)
		syscall(SYS_umask, r->umask);
	if (r->ignores) {
		struct { void (*handler)(int); uint64_t flags, restorer, mask; } ignore = { .handler = SIG_IGN };

		syscall(SYS_rt_sigaction, r->ignores, &ignore, NULL, 8);
	}
	if (!r->unshares)
		r->stored = 1;
	syscall(SYS_exit, 7);
	return 0;
}

static void wait_for_thread(void)
{
	uint32_t tid;

	while ((tid = run.tid))
		syscall(SYS_futex, &run.tid, FUTEX_WAIT, tid, NULL, NULL, 0);
}

/* What the parent sees of what the other did. */
static void report(const char *title, int fd)
{
	struct sigaction action;
	const mode_t mask = umask(022);
	char cwd[4096];

	umask(022);
	sigaction(SIGUSR1, NULL, &action);
	printf("%s: stored %d, closed %d, opened %d, directory %s, umask %o, ignored %d\n", title, run.stored,
	     fcntl(fd, F_GETFD) < 0, fcntl(fd + 20, F_GETFD) >= 0, strcmp(getcwd(cwd, sizeof(cwd)), "/") ? "kept" : "/", mask,
	     action.sa_handler == SIG_IGN);
}

static void try(const char *title, unsigned flags, uint64_t unshares)
{
	char *stack = mmap(NULL, STACK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	const int home = open(".", O_RDONLY | O_DIRECTORY), fd = dup(1);
	int status = -1;
	pid_t pid;

	signal(SIGUSR1, handler);
	umask(022);
	run = (struct run){ .closes = fd, .opens = fd + 20, .moves_to = "/", .umask = 077, .ignores = SIGUSR1,
			    .unshares = unshares, .tid = 1 };
	pid = clone(body, stack + STACK_BYTES, (int)flags | CLONE_CHILD_CLEARTID | (flags & CLONE_THREAD ? 0 : SIGCHLD), &run,
		    NULL, NULL, (void *)&run.tid);
	if (pid < 0) {
		printf("%s: %s\n", title, strerror(errno));
	} else if (flags & CLONE_THREAD) {
		wait_for_thread();
		report(title, fd);
	} else {
		waitpid(pid, &status, 0);
		report(title, fd);
		printf("  status %d\n", WEXITSTATUS(status));
	}
	close(fd);
	close(fd + 20);
	if (fchdir(home))
		perror("fchdir");
	close(home);
	munmap(stack, STACK_BYTES);
}

static void mixtures(void)
{
	static const struct { const char *name; unsigned flags; } all[] = {
		{ "nothing", 0 }, { "files", CLONE_FILES }, { "fs", CLONE_FS }, { "files, fs", CLONE_FILES | CLONE_FS },
		{ "memory", CLONE_VM }, { "memory, files", CLONE_VM | CLONE_FILES },
		{ "memory, handlers", CLONE_VM | CLONE_SIGHAND },
		{ "memory, files, fs", CLONE_VM | CLONE_FILES | CLONE_FS },
		{ "memory, files, fs, handlers", CLONE_VM | CLONE_FILES | CLONE_FS | CLONE_SIGHAND },
		{ "vfork, files", CLONE_VM | CLONE_VFORK | CLONE_FILES },
		{ "vfork without memory", CLONE_VFORK },
		{ "thread with nothing else", CLONE_VM | CLONE_SIGHAND | CLONE_THREAD },
		{ "thread, files", CLONE_VM | CLONE_SIGHAND | CLONE_THREAD | CLONE_FILES },
		{ "thread, fs", CLONE_VM | CLONE_SIGHAND | CLONE_THREAD | CLONE_FS },
		{ "thread, all", CLONE_VM | CLONE_SIGHAND | CLONE_THREAD | CLONE_FILES | CLONE_FS | CLONE_SYSVSEM },
		{ "handlers without memory", CLONE_SIGHAND }, { "thread without handlers", CLONE_VM | CLONE_THREAD },
		{ "I/O context", CLONE_IO },
	};

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		try(all[i].name, all[i].flags, 0);
}

static void unshares(void)
{
	const unsigned thread = CLONE_VM | CLONE_SIGHAND | CLONE_THREAD | CLONE_FILES | CLONE_FS | CLONE_SYSVSEM;
	const int fd = dup(1), other = fcntl(1, F_DUPFD, 50);

	try("a thread unshares its files", thread, CLONE_FILES);
	try("a thread unshares its directory", thread, CLONE_FS);
	try("a thread unshares both", thread, CLONE_FS | CLONE_FILES);
	try("a thread unshares its memory", thread, CLONE_VM);
	try("a process unshares its files", CLONE_VM | CLONE_FILES | CLONE_FS, CLONE_FILES);
	try("a process unshares its handlers", CLONE_VM | CLONE_SIGHAND, CLONE_SIGHAND);
	printf("alone: memory %d, handlers %d, thread %d, files %d\n", unshare(CLONE_VM), unshare(CLONE_SIGHAND),
	     unshare(CLONE_THREAD), unshare(CLONE_FILES));
	printf("an unknown flag: %d", unshare(1));
	printf(" %s\n", strerror(errno));
	printf("close_range: %d %d, open %d\n", close_range(50, 60, CLOSE_RANGE_UNSHARE), fcntl(other, F_GETFD), fcntl(fd, F_GETFD));
	close(fd);
}

/* Descriptors that are shared with a process that calls execve(2) stay open in the other. */
static int executes(void *arg)
{
	char *argv[] = { arg, "executed", NULL };

	execv("/proc/self/exe", argv);
	_exit(1);
}

static void across_exec(void)
{
	char *stack = mmap(NULL, STACK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	const int fd = fcntl(1, F_DUPFD_CLOEXEC, 30);
	struct sigaction action;
	int status = -1;
	pid_t pid;

	signal(SIGUSR1, handler);
	fflush(stdout);
	pid = clone(executes, stack + STACK_BYTES, CLONE_VM | CLONE_FILES | CLONE_SIGHAND | CLONE_FS | SIGCHLD, "sharing");
	if (pid > 0)
		waitpid(pid, &status, 0);
	sigaction(SIGUSR1, NULL, &action);
	printf("after execve of the other: status %d, open %d, handler %d\n", WEXITSTATUS(status), fcntl(fd, F_GETFD) >= 0,
	     action.sa_handler == handler);
	close(fd);
}

/* Locks belong to the descriptors that are shared, not to the process. */
static int locks(void *arg)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 10 };
	const int fd = *(int *)arg;

	syscall(SYS_exit, syscall(SYS_fcntl, fd, F_SETLK, &lock) ? 1 : 0);
	return 0;
}

static void locks_of_files(void)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 5 };
	int fd = open("locked", O_RDWR | O_CREAT, 0600), status[2] = { -1, -1 };
	char *stack = mmap(NULL, STACK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	fcntl(fd, F_SETLK, &lock);
	for (int shared = 0; shared < 2; shared++) {
		pid_t pid = clone(locks, stack + STACK_BYTES, CLONE_VM | (shared ? CLONE_FILES : 0) | SIGCHLD, &fd);

		waitpid(pid, &status[shared], 0);
	}
	printf("locks: own descriptors %d, shared %d\n", WEXITSTATUS(status[0]), WEXITSTATUS(status[1]));
	unlink("locked");
	close(fd);
}

/* CLONE_PARENT: the new process is a sibling. */
static void siblings(void)
{
	int status = -1, pids[2];
	pid_t child;

	if (pipe(pids))
		return;
	fflush(stdout);
	child = fork();
	if (!child) {
		pid_t sibling = (pid_t)syscall(SYS_clone, CLONE_PARENT, NULL, NULL, NULL, 0);

		if (!sibling)
			_exit(2);
		if (write(pids[1], &sibling, sizeof(sibling)) < 0)
			_exit(1);
		_exit(waitpid(sibling, NULL, 0) < 0 ? 3 : 4);
	}
	waitpid(child, &status, 0);
	if (read(pids[0], &child, sizeof(child)) < 0)
		return;
	printf("child %d, ", WEXITSTATUS(status));
	printf("sibling is mine %d, ", waitpid(child, &status, 0) == child);
	printf("status %d\n", WEXITSTATUS(status));
	close(pids[0]);
	close(pids[1]);
}

int main(int argc, char **argv)
{
	if (argc > 1 && !strcmp(argv[1], "executed"))
		return fcntl(30, F_GETFD) < 0 ? 5 : 6;
	setvbuf(stdout, NULL, _IONBF, 0);
	mixtures();
	unshares();
	across_exec();
	locks_of_files();
	siblings();
	return 0;
}
