/* SPDX-License-Identifier: MIT */
/*
 * tests/programs/proc.c - /proc of the process itself, its threads, children and zombies. It prints names, types,
 * relations and errors. Its output is the same on the host's kernel.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysinfo.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "show.h"

#define PAGE 4096

static void check(const char *what, int ok)
{
	printf("%s: %s\n", what, ok ? "yes" : "NO");
}

/* Read a file as a whole. Its length, or -1. */
static long slurp(const char *path, char *buf, size_t size)
{
	int fd = open(path, O_RDONLY);
	long n = 0, more;

	if (fd < 0)
		return -1;
	while ((more = read(fd, buf + n, size - 1 - (size_t)n)) > 0)
		n += more;
	close(fd);
	buf[n] = 0;
	return more < 0 ? -1 : n;
}

/* The text behind "@key:" in a file of such lines; "?" if there is none. */
static const char *value(const char *path, const char *key)
{
	static char text[65536];
	static const char none[] = "?";
	char *at = text, *end;
	size_t len = strlen(key);

	if (slurp(path, text, sizeof(text)) < 0)
		return none;
	while (at && *at) {
		if (!strncmp(at, key, len) && at[len] == ':') {
			end = strchr(at, '\n');
			if (end)
				*end = 0;
			return at + len + 1 + strspn(at + len + 1, " \t");
		}
		at = strchr(at, '\n');
		at = at ? at + 1 : NULL;
	}
	return none;
}

static long long number(const char *path, const char *key)
{
	return atoll(value(path, key));
}

/* Field @n of a stat file, counted from 1. */
static long long field(const char *path, int n)
{
	char text[4096];
	const char *at;

	if (slurp(path, text, sizeof(text)) < 0)
		return -1;
	if (n == 1)
		return atoll(text);
	at = strrchr(text, ')') + 1;
	for (int i = 2; i < n - 1; i++)
		at = strchr(at + 1, ' ');
	return n == 3 ? at[1] : atoll(at);
}

static int nr_names(const char *path)
{
	DIR *d = opendir(path);
	int n = 0;

	while (d && readdir(d))
		n++;
	if (d)
		closedir(d);
	return d ? n - 2 : -1;
}

static int is_listed(const char *path, const char *name)
{
	DIR *d = opendir(path);
	const struct dirent *e;
	int found = 0;

	while (d && !found && (e = readdir(d)))
		found = !strcmp(e->d_name, name);
	if (d)
		closedir(d);
	return found;
}

/* --- names --- */

static void show_name(const char *dir, const char *name)
{
	char path[300];
	struct stat st;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	if (lstat(path, &st)) {
		printf("%s: %s\n", path, strerrorname_np(errno));
		return;
	}
	printf("%s: %o, size %ld, %s\n", path, st.st_mode, (long)st.st_size, is_listed(dir, name) ? "listed" : "NOT LISTED");
}

static void names(void)
{
	static const char *const root[] = { "self", "thread-self", "mounts", "net", "stat", "meminfo", "uptime", "loadavg",
					    "swaps", "cpuinfo", "sys", "version", "filesystems" };
	static const char *const own[] = { "auxv", "cgroup", "clear_refs", "cmdline", "comm", "cwd", "environ", "exe", "fd",
					   "fdinfo", "io", "limits", "loginuid", "maps", "mem", "mountinfo", "mounts", "net",
					   "oom_adj", "oom_score", "oom_score_adj", "pagemap", "personality", "root",
					   "sessionid", "smaps", "smaps_rollup", "stat", "statm", "status", "wchan" };
	struct statfs fs;
	struct stat a, b;

	for (size_t i = 0; i < sizeof(root) / sizeof(root[0]); i++)
		show_name("/proc", root[i]);
	for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++)
		if (strcmp(own[i], "fd"))	/* its size is the number of descriptors */
			show_name("/proc/self", own[i]);
	for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++)
		if (strcmp(own[i], "fd"))
			show_name("/proc/thread-self", own[i]);
	show_name("/proc/self", "task");
	show_name("/proc/thread-self", "task");
	show_name("/proc/thread-self", "children");
	show_name("/proc/self", "children");
	SHOW(statfs("/proc/self/stat", &fs));
	check("procfs", fs.f_type == PROC_SUPER_MAGIC);
	check("one device", !stat("/proc", &a) && !stat("/proc/self/maps", &b) && a.st_dev == b.st_dev);
	check("owner", b.st_uid == geteuid() && b.st_gid == getegid());
}

static void paths(void)
{
	char link[300], own[64], text[4096];
	long n = readlink("/proc/self", link, sizeof(link) - 1);
	int fd;

	link[n > 0 ? n : 0] = 0;
	check("self is the PID", atoi(link) == getpid());
	snprintf(own, sizeof(own), "%d/task/%d", getpid(), gettid());
	n = readlink("/proc/thread-self", link, sizeof(link) - 1);
	link[n > 0 ? n : 0] = 0;
	check("thread-self", !strcmp(link, own));
	check("in the listing", is_listed("/proc", strtok(own, "/")));
	fd = OPEN(open("/proc/self", O_RDONLY | O_DIRECTORY));
	n = openat(fd, "status", O_RDONLY);
	check("relative to a directory", n >= 0 && read((int)n, text, sizeof(text)) > 0);
	close((int)n);
	SHOW(faccessat(fd, "../self/task/../stat", R_OK, 0));
	SHOW(fchdir(fd));
	snprintf(own, sizeof(own), "/proc/%d", getpid());
	check("getcwd", getcwd(link, sizeof(link)) && !strcmp(link, own));
	check("a relative path", slurp("status", text, sizeof(text)) > 0 && slurp("../uptime", text, sizeof(text)) > 0);
	n = readlink("cwd", link, sizeof(link) - 1);
	link[n > 0 ? n : 0] = 0;
	check("the link cwd", !strcmp(link, own));
	check("through it", slurp("cwd/cwd/statm", text, sizeof(text)) > 0);
	SHOW(chdir("root"));
	check("the root", getcwd(link, sizeof(link)) && !strcmp(link, "/"));
	close(fd);
	OPEN(open("/proc/self/nosuch", O_RDONLY));
	OPEN(open("/proc/self/status/x", O_RDONLY));
	OPEN(open("/proc/self/status/", O_RDONLY));
	OPEN(open("/proc/self/status", O_RDONLY | O_DIRECTORY));
	OPEN(open("/proc/self", O_WRONLY));
	OPEN(open("/proc/self/exe", O_RDONLY | O_NOFOLLOW));
	OPEN(open("/proc/self", O_RDONLY | O_NOFOLLOW));
	OPEN(open("/proc/4194000/stat", O_RDONLY));
	OPEN(open("/proc/self/task/4194000/stat", O_RDONLY));
	OPEN(open("/proc/self/fd/900", O_RDONLY));
	OPEN(open("/proc/self/fd/x", O_RDONLY));
	OPEN(open("/proc/self/comm", O_RDWR | O_CREAT | O_EXCL, 0600));
	OPEN(open("/proc/self/root/nosuch", O_RDONLY));
	OPEN(open("/proc/self/../../proc/self/exe/x", O_RDONLY));
	SHOW(readlink("/proc/self/stat", link, sizeof(link)));
	SHOW(readlink("/proc/self/fd", link, sizeof(link)));
	fd = open("/proc/self/stat", O_RDONLY);
	SHOW(mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, fd, 0) == MAP_FAILED ? -1 : 0);
	SHOW(getdents64(fd, text, sizeof(text)));
	close(fd);
}

/* --- a process --- */

static void texts(char **argv, char **envp)
{
	char text[65536];
	long n = slurp("/proc/self/cmdline", text, sizeof(text)), len = 0;
	const char *last = argv[0];
	int fd;

	for (int i = 0; argv[i]; i++)
		last = argv[i], len += (long)strlen(argv[i]) + 1;
	check("cmdline", n == len && !strcmp(text, argv[0]) && !strcmp(text + n - strlen(last) - 1, last));
	n = slurp("/proc/self/environ", text, sizeof(text));
	for (len = 0; *envp; envp++)
		len += (long)strlen(*envp) + 1;
	check("environ", n == len);
	n = slurp("/proc/self/auxv", text, sizeof(text));
	check("auxv", n > 0 && n % 16 == 0 && !*(long *)(text + n - 16));
	fd = open("/proc/self/comm", O_RDWR);
	check("comm", read(fd, text, sizeof(text)) == 5 && !memcmp(text, "proc\n", 5));
	prctl(PR_SET_NAME, "renamed(1) x");
	check("after PR_SET_NAME", pread(fd, text, sizeof(text), 0) == 13 && !memcmp(text, "renamed(1) x\n", 13));
	SHOW(write(fd, "by a very long text\n", 20));
	prctl(PR_GET_NAME, text);
	printf("comm: %s, in status: %s\n", text, value("/proc/self/status", "Name"));
	check("read again from the start", lseek(fd, 0, SEEK_SET) == 0 && read(fd, text, sizeof(text)) == 16);
	check("then the end", read(fd, text, sizeof(text)) == 0);
	close(fd);
	prctl(PR_SET_NAME, "proc");
	fd = open("/proc/self/oom_score_adj", O_RDWR);
	SHOW(write(fd, "500", 3));
	SHOW(write(fd, "1001", 4));
	SHOW(write(fd, "x", 1));
	SHOW(pread(fd, text, sizeof(text), 0));
	printf("oom_score_adj: %.4s", text);
	close(fd);
	slurp("/proc/self/oom_adj", text, sizeof(text));
	printf("oom_adj: %s", text);
	slurp("/proc/self/wchan", text, sizeof(text));
	printf("wchan: %s\n", text);
	slurp("/proc/self/personality", text, sizeof(text));
	printf("personality: %s", text);
}

static void limits(void)
{
	struct rlimit lim = { 77, 88 };
	char text[4096], *at, *end;

	setrlimit(RLIMIT_NOFILE, &lim);
	slurp("/proc/self/limits", text, sizeof(text));
	at = strstr(text, "Max open files");
	end = at ? strchr(at, '\n') : NULL;
	printf("%.*s|\n", (int)(end - at), at);
	end = strchr(text, '\n');
	printf("%.*s|\n", (int)(end - text), text);
}

static void stat_fields(void)
{
	char text[4096];
	long n, spaces = 0;
	struct sysinfo si;

	n = slurp("/proc/self/stat", text, sizeof(text));
	for (long i = 0; i < n; i++)
		spaces += text[i] == ' ';
	printf("fields: %ld\n", spaces + 1);
	check("IDs", field("/proc/self/stat", 1) == getpid() && field("/proc/self/stat", 4) == getppid() &&
	      field("/proc/self/stat", 5) == getpgrp() && field("/proc/self/stat", 6) == getsid(0));
	printf("state: %c\n", (char)field("/proc/self/stat", 3));
	printf("priority %lld nice %lld threads %lld\n", field("/proc/self/stat", 18), field("/proc/self/stat", 19),
	       field("/proc/self/stat", 20));
	sysinfo(&si);
	check("started since the boot", field("/proc/self/stat", 22) > 0 && field("/proc/self/stat", 22) <= (si.uptime + 2) * 100);
	check("sizes", field("/proc/self/stat", 23) > 0 && field("/proc/self/stat", 24) > 0);
	printf("exit signal %lld, exit code %lld\n", field("/proc/self/stat", 38), field("/proc/self/stat", 52));
	check("stack", field("/proc/self/stat", 28) > 0x7f0000000000);
	check("arguments", field("/proc/self/stat", 48) < field("/proc/self/stat", 49) &&
	      field("/proc/self/stat", 49) <= field("/proc/self/stat", 50));
}

static void do_nothing(int signo)
{
	(void)signo;
}

static void status(void)
{
	static const char *const keys[] = {
		"Name", "Umask", "State", "Tgid", "Ngid", "Pid", "PPid", "TracerPid", "Uid", "Gid", "FDSize", "Groups", "VmPeak",
		"VmSize", "VmLck", "VmHWM", "VmRSS", "RssAnon", "RssFile", "RssShmem", "VmData", "VmStk", "VmExe", "VmLib",
		"VmPTE", "VmSwap", "Threads", "SigQ", "SigPnd", "ShdPnd", "SigBlk", "SigIgn", "SigCgt", "CapInh", "CapPrm",
		"CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp", "Cpus_allowed", "Cpus_allowed_list", "Mems_allowed_list",
		"voluntary_ctxt_switches", "nonvoluntary_ctxt_switches" };
	static const char *const shown[] = { "Name", "Umask", "State", "TracerPid", "Uid", "Gid", "Threads", "SigPnd", "ShdPnd",
					     "SigBlk", "SigIgn", "SigCgt", "CapEff", "NoNewPrivs", "VmLck", "VmSwap" };
	static const char *const path = "/proc/self/status";
	char text[4096];
	long pages, rss, shared;
	sigset_t set;

	umask(027);
	signal(SIGUSR1, SIG_IGN);
	signal(SIGUSR2, do_nothing);
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGRTMIN + 3);
	sigprocmask(SIG_BLOCK, &set, NULL);
	kill(getpid(), SIGTERM);
	pthread_kill(pthread_self(), SIGRTMIN + 3);
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
		if (!strcmp(value(path, keys[i]), "?"))
			printf("no %s\n", keys[i]);
	for (size_t i = 0; i < sizeof(shown) / sizeof(shown[0]); i++)
		printf("%s: %s\n", shown[i], value(path, shown[i]));
	check("IDs", number(path, "Tgid") == getpid() && number(path, "Pid") == getpid() && number(path, "PPid") == getppid());
	slurp("/proc/self/statm", text, sizeof(text));
	check("statm", sscanf(text, "%ld %ld %ld", &pages, &rss, &shared) == 3 && pages > rss && rss > shared && shared > 0);
	check("its size is that of status", pages * 4 == number(path, "VmSize"));
	check("its pages, too", labs(rss * 4 - (long)number(path, "VmRSS")) < 256);
	check("parts of Rss", number(path, "VmRSS") == number(path, "RssAnon") + number(path, "RssFile") + number(path, "RssShmem"));
	check("greatest", number(path, "VmHWM") >= number(path, "VmRSS") && number(path, "VmPeak") >= number(path, "VmSize"));
	check("rollup", llabs(number("/proc/self/smaps_rollup", "Rss") - rss * 4) < 512);
	signal(SIGTERM, SIG_IGN);
	signal(SIGRTMIN + 3, SIG_IGN);
	sigprocmask(SIG_UNBLOCK, &set, NULL);
	umask(022);
}

/* --- descriptors --- */

static void show_fd(int fd)
{
	char path[64], link[300];
	struct stat st;
	long n;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	n = readlink(path, link, sizeof(link) - 1);
	link[n > 0 ? n : 0] = 0;
	for (char *at = link; *at; at++)	/* numbers of pipes and sockets */
		if (*at >= '0' && *at <= '9')
			*at = '#';
	lstat(path, &st);
	printf("%s: %o, size %ld\n", link, st.st_mode, (long)st.st_size);
	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	printf("pos: %lld\n", number(path, "pos"));
	printf("flags: %s\n", value(path, "flags"));
	check("mount", number(path, "mnt_id") > 0);
}

static void descriptors(void)
{
	int fds[2], file, n = nr_names("/proc/self/fd"), again;
	char path[64], byte;

	pipe(fds);
	file = open("file", O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	check("three more", nr_names("/proc/self/fd") == n + 3 && nr_names("/proc/self/fdinfo") == n + 3);
	SHOW(write(file, "text", 4));
	show_fd(fds[0]);
	show_fd(fds[1]);
	printf("file: %s\n", (snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", file), value(path, "flags")));
	printf("pos: %lld\n", number(path, "pos"));
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fds[1]);
	again = open(path, O_WRONLY);
	check("a pipe again", again >= 0 && write(again, "p", 1) == 1 && read(fds[0], &byte, 1) == 1 && byte == 'p');
	close(again);
	unlink("file");
	snprintf(path, sizeof(path), "/proc/self/fd/%d", file);
	again = open(path, O_RDONLY);
	check("a removed file again", again >= 0 && read(again, &byte, 1) == 1 && byte == 't');
	close(again);
	snprintf(path, sizeof(path), "/proc/self/fd/%d/x", file);
	OPEN(open(path, O_RDONLY));
	close(fds[0]);
	close(fds[1]);
	close(file);
	check("closed", nr_names("/proc/self/fd") == n);
}

/* --- other processes and threads --- */

static void of(char *path, pid_t pid, const char *name)
{
	snprintf(path, 64, "/proc/%d/%s", pid, name);
}

static void wait_for_state(pid_t pid, char state)
{
	char path[64];

	of(path, pid, "stat");
	for (int i = 0; i < 5000 && field(path, 3) != state; i++)
		usleep(1000);
}

static void children(void)
{
	static volatile long shared_value = 1;
	char path[64], text[4096], name[16];
	long other = 5;
	pid_t pid;
	int fd, stat_fd;

	fflush(stdout);
	pid = fork();
	if (!pid) {
		shared_value = 77;
		raise(SIGSTOP);
		_exit(shared_value == 99 ? 3 : 4);
	}
	wait_for_state(pid, 'T');
	of(path, pid, "status");
	printf("stopped: %s\n", value(path, "State"));
	check("parent", number(path, "PPid") == getpid());
	snprintf(name, sizeof(name), "%d", pid);
	check("listed", is_listed("/proc", name));
	slurp("/proc/thread-self/children", text, sizeof(text));
	check("children", atoi(text) == pid);
	of(path, pid, "comm");
	fd = open(path, O_WRONLY);
	SHOW(write(fd, "x", 1));
	close(fd);
	of(path, pid, "mem");
	fd = open(path, O_RDWR);
	check("its memory", pread(fd, &other, sizeof(other), (off_t)(uintptr_t)&shared_value) == sizeof(other) && other == 77);
	other = 99;
	check("changed", pwrite(fd, &other, sizeof(other), (off_t)(uintptr_t)&shared_value) == sizeof(other));
	check("not the own", shared_value == 1);
	of(path, pid, "stat");
	stat_fd = open(path, O_RDONLY);
	kill(pid, SIGCONT);
	wait_for_state(pid, 'Z');
	check("an open file follows", pread(stat_fd, text, sizeof(text), 0) > 0 && strstr(text, ") Z "));
	SHOW(read(fd, text, 1));
	close(fd);
	of(path, pid, "status");
	printf("zombie: %s, threads %lld, VmRSS %s\n", value(path, "State"), number(path, "Threads"), value(path, "VmRSS"));
	of(path, pid, "cmdline");
	SHOW(slurp(path, text, sizeof(text)));
	of(path, pid, "maps");
	SHOW(slurp(path, text, sizeof(text)));
	of(path, pid, "exe");
	SHOW(readlink(path, text, sizeof(text)));
	of(path, pid, "statm");
	slurp(path, text, sizeof(text));
	printf("statm: %s", text);
	of(path, pid, "comm");
	slurp(path, text, sizeof(text));
	printf("comm: %s", text);
	waitpid(pid, &fd, 0);
	printf("status: %#x\n", (unsigned)fd);
	SHOW(pread(stat_fd, text, sizeof(text), 0));
	close(stat_fd);
	OPEN(open(path, O_RDONLY));
	check("not listed", !is_listed("/proc", name));
}

static pthread_barrier_t barrier;

static void *thread(void *arg)
{
	prctl(PR_SET_NAME, "the thread");
	*(pid_t *)arg = gettid();
	check("own directory", number("/proc/thread-self/status", "Pid") == gettid());
	pthread_barrier_wait(&barrier);
	pthread_barrier_wait(&barrier);
	return NULL;
}

static void threads(void)
{
	char path[64], text[64], name[16];
	pthread_t t;
	pid_t tid;

	pthread_barrier_init(&barrier, NULL, 2);
	pthread_create(&t, NULL, thread, &tid);
	pthread_barrier_wait(&barrier);
	printf("threads: %d, %lld\n", nr_names("/proc/self/task"), number("/proc/self/status", "Threads"));
	snprintf(path, sizeof(path), "/proc/self/task/%d/comm", tid);
	slurp(path, text, sizeof(text));
	printf("comm: %s", text);
	slurp("/proc/self/comm", text, sizeof(text));
	printf("of the process: %s", text);
	of(path, tid, "status");
	check("by its TID", number(path, "Pid") == tid && number(path, "Tgid") == getpid());
	snprintf(name, sizeof(name), "%d", tid);
	check("which is not listed", !is_listed("/proc", name));
	check("but as a task", is_listed("/proc/self/task", name));
	pthread_barrier_wait(&barrier);
	pthread_join(t, NULL);
	for (int i = 0; i < 5000 && nr_names("/proc/self/task") > 1; i++)	/* it may end after the join */
		usleep(1000);
	printf("threads: %d\n", nr_names("/proc/self/task"));
}

/* --- memory --- */

enum { SOFT_DIRTY = 55, PRESENT = 63 };

static uint64_t pagemap(int fd, const char *page)
{
	uint64_t word = 0;

	pread(fd, &word, sizeof(word), (off_t)((uintptr_t)page / PAGE * sizeof(word)));
	return word;
}

static void show_bits(int fd, const char *p, int bit)
{
	for (int i = 0; i < 8; i++)
		putchar(pagemap(fd, p + i * PAGE) >> bit & 1 ? '1' : '0');
	putchar('\n');
}

/* A debugger's accesses: to memory of each kind without the right. */
static void forbidden_memory(void)
{
	static const int rights[] = { PROT_NONE, PROT_READ, PROT_READ | PROT_EXEC };
	int file = open("accessed", O_RDWR | O_CREAT, 0600), fd = open("/proc/self/mem", O_RDWR);
	char bytes[2] = "..";

	if (write(file, "text", 4) != 4)
		abort();
	for (int kind = 0; kind < 4; kind++) {
		int flags = (kind & 1 ? MAP_SHARED : MAP_PRIVATE) | (kind & 2 ? 0 : MAP_ANONYMOUS);

		for (int i = 0; i < 6; i++) {
			char *p = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, flags, kind & 2 ? file : -1, 0);

			if (i >= 3)
				p[1] = 'b';
			mprotect(p, 2 * PAGE, rights[i % 3]);
			printf("kind %d, rights %d, %s\n", kind, rights[i % 3], i < 3 ? "untouched" : "stored to");
			SHOW(pread(fd, bytes, 2, (off_t)(uintptr_t)p));
			printf("%d %d\n", bytes[0], bytes[1]);
			SHOW(pwrite(fd, "XY", 2, (off_t)(uintptr_t)p));
			SHOW(pread(fd, bytes, 2, (off_t)(uintptr_t)p));
			printf("%d %d\n", bytes[0], bytes[1]);
			SHOW(pread(file, bytes, 2, 0));
			printf("%d %d\n", bytes[0], bytes[1]);
			mprotect(p, PAGE, PROT_READ | PROT_WRITE);
			SHOW(pwrite(fd, "Z", 1, (off_t)(uintptr_t)p));
			SHOW(p[0]);
			SHOW(p[1]);
			SHOW(pwrite(fd, "abc", 3, (off_t)(uintptr_t)(p + PAGE - 1)));
			munmap(p, 2 * PAGE);
		}
	}
	close(file);
	close(fd);
}

static void memory(void)
{
	char *p = mmap(NULL, 8 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), byte = 0, text[64];
	int fd = open("/proc/self/mem", O_RDWR), pages = open("/proc/self/pagemap", O_RDONLY), clear;
	struct {
		uint64_t start, end, categories;
	} region[4];
	struct {
		uint64_t size, flags, start, end, walk_end, vec, vec_len, max_pages, inverted, mask, anyof, returned;
	} scan = { .size = sizeof(scan), .start = (uintptr_t)p, .end = (uintptr_t)p + 8 * PAGE, .vec = (uintptr_t)region,
		   .vec_len = 4, .mask = 1 << 3, .returned = 1 << 3 };	/* PAGE_IS_PRESENT */

	madvise(p, 8 * PAGE, MADV_NOHUGEPAGE);
	p[1 * PAGE] = p[2 * PAGE] = p[5 * PAGE] = 'x';
	check("mem", pread(fd, &byte, 1, (off_t)(uintptr_t)(p + PAGE)) == 1 && byte == 'x');
	check("is written", pwrite(fd, "y", 1, (off_t)(uintptr_t)(p + PAGE)) == 1 && p[PAGE] == 'y');
	SHOW(pread(fd, text, 1, 0));
	SHOW(pwrite(fd, text, 1, 0));
	mprotect(p + PAGE, PAGE, PROT_NONE);
	check("a page without rights", pread(fd, &byte, 1, (off_t)(uintptr_t)(p + PAGE)) == 1 && byte == 'y');
	mprotect(p + PAGE, PAGE, PROT_READ | PROT_WRITE);
	printf("present:    ");
	show_bits(pages, p, PRESENT);
	SHOW(pread(pages, text, 7, 0));
	SHOW(pread(pages, text, 8, 4));
	SHOW(ioctl(pages, 0xc0606610, &scan));	/* PAGEMAP_SCAN */
	for (int i = 0; i < 2; i++)
		printf("region %d: pages %lu to %lu\n", i, (region[i].start - (uintptr_t)p) / PAGE, (region[i].end - (uintptr_t)p) / PAGE);
	scan.flags = 1 << 9;
	SHOW(ioctl(pages, 0xc0606610, &scan));
	SHOW(ioctl(pages, 0xc0606611, &scan));
	clear = open("/proc/self/clear_refs", O_WRONLY);
	SHOW(write(clear, "1\n", 2));
	SHOW(write(clear, "0", 1));
	SHOW(write(clear, "6", 1));
	SHOW(write(clear, "x", 1));
	SHOW(read(clear, text, 1));
	close(clear);
	close(pages);
	close(fd);
}

/* Not every kernel of a host has soft-dirty bits. */
static void soft_dirty(void)
{
	char *p = mmap(NULL, 8 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int pages = open("/proc/self/pagemap", O_RDONLY), clear = open("/proc/self/clear_refs", O_WRONLY);

	memset(p, 1, 8 * PAGE);
	SHOW(write(clear, "4", 1));
	p[2 * PAGE] = p[7 * PAGE] = 'z';
	printf("%d\n", *(volatile char *)(p + 5 * PAGE));
	show_bits(pages, p, SOFT_DIRTY);
	close(clear);
	close(pages);
}

/* --- the system --- */

static void machine(void)
{
	static const char *const keys[] = { "MemTotal", "MemFree", "MemAvailable", "Buffers", "Cached", "SwapCached", "Active",
					    "Inactive", "SwapTotal", "SwapFree", "Dirty", "AnonPages", "Mapped", "Shmem",
					    "Slab", "SReclaimable", "Committed_AS", "CommitLimit" };
	static const char *const path = "/proc/meminfo";
	char text[65536], *at;
	struct sysinfo si;
	double up, idle, load;
	int cpus = 0, running = 0, total = 0, last = 0;
	cpu_set_t set;

	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
		if (!strcmp(value(path, keys[i]), "?"))
			printf("no %s\n", keys[i]);
	sysinfo(&si);
	check("total", number(path, "MemTotal") == (long long)(si.totalram * si.mem_unit / 1024));
	check("swap", number(path, "SwapTotal") == (long long)(si.totalswap * si.mem_unit / 1024));
	check("sums", number(path, "MemTotal") >= number(path, "MemAvailable") && number(path, "MemFree") > 0);
	slurp("/proc/stat", text, sizeof(text));
	for (at = text; (at = strstr(at, "cpu")); at++)
		cpus += at[3] != ' ';
	sched_getaffinity(0, sizeof(set), &set);
	check("a line for each CPU", cpus == CPU_COUNT(&set));
	for (size_t i = 0; i < 5; i++) {
		static const char *const lines[] = { "\nctxt ", "\nbtime ", "\nprocesses ", "\nprocs_running ", "\nprocs_blocked " };

		at = strstr(text, lines[i]);
		check(lines[i] + 1, at && atoll(at + strlen(lines[i])) >= (i < 4));
	}
	slurp("/proc/uptime", text, sizeof(text));
	check("uptime", sscanf(text, "%lf %lf", &up, &idle) == 2 && up > 0 && up - (double)si.uptime < 5 && idle >= 0);
	slurp("/proc/loadavg", text, sizeof(text));
	check("loadavg", sscanf(text, "%lf %lf %lf %d/%d %d", &load, &load, &load, &running, &total, &last) == 6 &&
	      running >= 1 && total >= running && last > 0);
	check("swaps", slurp("/proc/swaps", text, sizeof(text)) > 0 && !strncmp(text, "Filename", 8));
}

/* What the caller ignores, a program of a run does not. By system calls: the C library refuses two signals. */
static void default_actions(void)
{
	static const uint64_t by_default[4];

	for (long signo = 1; signo <= 64; signo++)
		syscall(SYS_rt_sigaction, signo, by_default, NULL, 8l);
}

int main(int argc, char **argv, char **envp)
{
	char directory[4096];

	if (argc == 2 && !strcmp(argv[1], "soft-dirty")) {
		soft_dirty();
		return 0;
	}
	default_actions();
	getcwd(directory, sizeof(directory));
	names();
	paths();
	chdir(directory);
	texts(argv, envp);
	stat_fields();
	status();
	descriptors();
	children();
	threads();
	memory();
	forbidden_memory();
	machine();
	limits();
	return 0;
}
