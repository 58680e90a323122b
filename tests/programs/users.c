/* SPDX-License-Identifier: MIT */
/*
 * tests/programs/users.c - what processes of different users may do to each other: signals, /proc, memory, limits,
 * CPUs. Run by root: others cannot change their user. Its output is the same on the host's kernel.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "show.h"

#define USER 65534
#define PROCESS_GROUP 4		/* flag of pidfd_send_signal(2) */

static int ready[2];

static void put(void)
{
	if (write(ready[1], "x", 1) != 1)
		exit(1);
}

static void get(void)
{
	char byte;

	if (read(ready[0], &byte, 1) != 1)
		exit(1);
}

static void become(int real, int effective, int saved)
{
	if (setresgid(real, effective, saved) || setresuid(real, effective, saved))
		exit(1);
}

/* A child that sleeps, with these IDs. */
static int sleeper(int real, int effective, int saved, bool own_session, bool dumpable)
{
	int pid = fork();

	if (pid == 0) {
		become(real, effective, saved);
		if (own_session)
			setsid();
		if (dumpable)
			prctl(PR_SET_DUMPABLE, 1);
		put();
		for (;;)
			pause();
	}
	get();
	return pid;
}

static void end(int pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

/* --- what a process may do to another one --- */

static void open_file(int pid, const char *name)
{
	int flags = strcmp(name, "clear_refs") ? O_RDONLY : O_WRONLY, fd;
	struct stat st;
	char path[64], byte;

	snprintf(path, sizeof(path), "/proc/%d/%s", pid, name);
	if (lstat(path, &st)) {
		printf("%s: lstat: %s\n", name, strerrorname_np(errno));
		return;
	}
	printf("%s: %o, of %u:%u, ", name, st.st_mode, st.st_uid, st.st_gid);
	fd = open(path, flags | O_NONBLOCK);
	printf("%s", fd < 0 ? strerrorname_np(errno) : "opened");
	if (fd >= 0 && flags == O_RDONLY && S_ISREG(st.st_mode) && read(fd, &byte, 1) < 0)
		printf(", read: %s", strerrorname_np(errno));
	putchar('\n');
	if (fd >= 0)
		close(fd);
}

static void open_files(int pid)
{
	static const char *const names[] = { "auxv", "clear_refs", "cmdline", "cwd", "environ", "exe", "fd", "fdinfo",
					     "io", "limits", "maps", "mem", "oom_score_adj", "pagemap", "personality", "root",
					     "smaps", "smaps_rollup", "stat", "status", "task" };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		open_file(pid, names[i]);
}

static void queue_signal(int pid, int signo)
{
	siginfo_t info = { .si_code = SI_QUEUE };

	SHOW(syscall(SYS_rt_sigqueueinfo, pid, signo, &info));
	SHOW(syscall(SYS_rt_tgsigqueueinfo, pid, pid, signo, &info));
}

static void send_signals(int pid)
{
	int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);

	SHOW(kill(pid, 0));
	SHOW(kill(pid, SIGCONT));
	SHOW(kill(pid, 100));
	SHOW(kill(pid, -1));
	SHOW(kill(-pid, 0));
	SHOW(syscall(SYS_tkill, pid, 0));
	SHOW(syscall(SYS_tgkill, pid, pid, SIGWINCH));
	SHOW(syscall(SYS_tgkill, pid, pid, 100));
	queue_signal(pid, 0);
	queue_signal(pid, SIGWINCH);
	queue_signal(pid, 100);
	SHOW(syscall(SYS_pidfd_send_signal, pidfd, 0, NULL, 0));
	SHOW(syscall(SYS_pidfd_send_signal, pidfd, SIGCONT, NULL, 0));
	SHOW(syscall(SYS_pidfd_send_signal, pidfd, 100, NULL, 0));
	SHOW(syscall(SYS_pidfd_send_signal, pidfd, 0, NULL, PROCESS_GROUP));
	OPEN((int)syscall(SYS_pidfd_getfd, pidfd, 0, 0));
	close(pidfd);
}

static void other_calls(int pid)
{
	struct rlimit limit;
	cpu_set_t cpus;
	char byte = 0;
	struct iovec v = { &byte, 1 };

	SHOW(process_vm_readv(pid, &v, 1, &v, 1, 0));
	SHOW(process_vm_writev(pid, &v, 1, &v, 1, 0));
	getrlimit(RLIMIT_NOFILE, &limit);
	SHOW(prlimit(pid, RLIMIT_NOFILE, NULL, &limit));
	SHOW(prlimit(pid, RLIMIT_NOFILE, &limit, NULL));
	SHOW(sched_getaffinity(pid, sizeof(cpus), &cpus));
	SHOW(sched_setaffinity(pid, sizeof(cpus), &cpus));
	SHOW(setpriority(PRIO_PROCESS, (id_t)pid, 0));
}

/* What a process with these IDs may do to @pid. */
static void act_as(const char *what, int real, int effective, int saved, int pid)
{
	printf("--- %s\n", what);
	fflush(stdout);
	if (fork() == 0) {
		become(real, effective, saved);
		send_signals(pid);
		other_calls(pid);
		open_files(pid);
		exit(0);
	}
	wait(NULL);
}

static void act_on_others(void)
{
	int root = sleeper(0, 0, 0, false, false), apart = sleeper(0, 0, 0, true, false);
	int same = sleeper(USER, USER, USER, true, true), secret = sleeper(USER, USER, USER, true, false);
	int mixed = sleeper(0, USER, 0, true, true), saved = sleeper(0, 0, USER, true, true);

	act_as("a user, on root", USER, USER, USER, root);
	act_as("a user, on root in another session", USER, USER, USER, apart);
	act_as("a user, on its own", USER, USER, USER, same);
	act_as("a user, on its own that is not dumpable", USER, USER, USER, secret);
	act_as("a user, on one with its effective ID", USER, USER, USER, mixed);
	act_as("a user, on one with its saved ID", USER, USER, USER, saved);
	act_as("root's real ID, on root", 0, USER, USER, root);
	act_as("root, on a user", 0, 0, 0, secret);
	end(root);
	end(apart);
	end(same);
	end(secret);
	end(mixed);
	end(saved);
}

/* A group of which some members may get the signal. */
static void groups(void)
{
	int user, group;

	printf("--- groups\n");
	fflush(stdout);
	group = fork();
	if (group == 0) {
		setsid();
		user = sleeper(USER, USER, USER, false, false);
		if (fork() == 0) {
			become(USER, USER, USER);
			SHOW(kill(0, 0));
			SHOW(kill(-getpgrp(), SIGWINCH) ? -1 : 0);
			exit(0);
		}
		waitpid(-1, NULL, 0);
		end(user);
		exit(0);
	}
	waitpid(group, NULL, 0);
}

/* --- the process that changes its user --- */

static void show_attributes(const char *what)
{
	int death = 0;

	prctl(PR_GET_PDEATHSIG, &death);
	printf("%s: dumpable %d, signal of the parent's death %d\n", what, prctl(PR_GET_DUMPABLE), death);
}

static void set_attributes(void)
{
	prctl(PR_SET_DUMPABLE, 1);
	prctl(PR_SET_PDEATHSIG, SIGUSR1);
}

static void change(const char *self)
{
	printf("--- changes\n");
	fflush(stdout);
	if (fork() == 0) {
		set_attributes();
		SHOW(setresuid(0, 0, USER));
		show_attributes("the saved ID");
		SHOW(setresuid(-1, USER, 0));
		show_attributes("the effective ID");
		open_files(getpid());
		SHOW(setresuid(0, 0, 0));
		set_attributes();
		SHOW(syscall(SYS_setfsuid, USER));
		show_attributes("that for files");
		syscall(SYS_setfsuid, 0);
		set_attributes();
		SHOW(setresgid(-1, USER, -1));
		show_attributes("the group");
		SHOW(setresuid(0, USER, 0));
		fflush(stdout);
		execl(self, self, "exec", NULL);
		exit(1);
	}
	wait(NULL);
}

static int after_exec(void)
{
	uid_t real, effective, saved;

	getresuid(&real, &effective, &saved);
	printf("after execve: users %u %u %u", real, effective, saved);
	getresgid(&real, &effective, &saved);
	printf(", groups %u %u %u\n", real, effective, saved);
	show_attributes("after execve");
	return 0;
}

/* A user may not lock memory beyond its limit; root may. */
static void lock_memory(void)
{
	const struct rlimit none = { 0, 0 };
	static char page[4096];

	fflush(stdout);
	if (fork() == 0) {
		SHOW(setrlimit(RLIMIT_MEMLOCK, &none));
		SHOW(mlock(page, sizeof(page)));
		SHOW(munlock(page, sizeof(page)));
		become(USER, USER, USER);
		SHOW(mlock(page, sizeof(page)));
		exit(0);
	}
	wait(NULL);
}

/* SIGCHLD and waitid(2) name the user of the child. */
static void user_of_child(void)
{
	siginfo_t info;
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_BLOCK, &set, NULL);
	if (fork() == 0) {
		become(USER, USER, USER);
		raise(SIGSTOP);
		exit(3);
	}
	sigwaitinfo(&set, &info);
	printf("stopped: of user %d\n", info.si_uid);
	kill(info.si_pid, SIGCONT);
	waitid(P_ALL, 0, &info, WEXITED | WNOWAIT);
	printf("waitid: of user %d\n", info.si_uid);
	waitid(P_ALL, 0, &info, WEXITED);
	sigprocmask(SIG_UNBLOCK, &set, NULL);
}

int main(int argc, char **argv)
{
	if (argc > 1)
		return after_exec();
	if (geteuid()) {
		puts("not root");
		return 0;
	}
	if (pipe(ready))
		return 1;
	act_on_others();
	groups();
	change(argv[0]);
	lock_memory();
	user_of_child();
	return 0;
}
