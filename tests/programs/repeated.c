/* SPDX-License-Identifier: MIT */
/*
 * tests/programs/repeated.c - a program for `vellum repeat`: each mode prints what it finds, and then changes that, as a
 * program may in any run. After a reset it finds the same.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int counter;
static int *volatile nowhere = (int *)16;
static char buffer[1 << 20];

static int memory(void)
{
	char *p = malloc(3000000), *map = mmap(NULL, 1 << 16, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	printf("counter %d buffer %d heap %p map %p brk %p\n", counter++, buffer[5000]++, (void *)p, (void *)map, sbrk(0));
	memset(buffer, 1, sizeof(buffer));
	memset(p, 1, 3000000);
	sbrk(1 << 20);
	mprotect(buffer, 4096, PROT_READ);
	madvise(buffer + 8192, 8192, MADV_DONTNEED);
	munmap((void *)((unsigned long)&buffer[1 << 19] & ~4095ul), 65536);
	return 0;
}

static int descriptors(void)
{
	struct stat st;
	char dir[100], line[8] = "";
	int fd;

	for (int i = 0; i < 32; i++)
		if (fcntl(i, F_GETFD) >= 0)
			printf("%d ", i);
	printf("%s umask %o at %ld ", getcwd(dir, sizeof(dir)), umask(0777), (long)lseek(0, 0, SEEK_CUR));
	if (read(0, line, 4) != 4)
		return 1;
	printf("%s flags %x\n", line, fcntl(0, F_GETFL) & O_APPEND);
	fcntl(0, F_SETFL, O_APPEND);
	fflush(stdout);
	fd = open("/dev/null", O_RDWR);
	dup2(fd, 20);
	dup2(0, 198);
	close(0);
	close(2);
	dup2(fd, 1);
	fcntl(1, F_SETFD, FD_CLOEXEC);
	return chdir("/tmp") || fstat(1, &st) || syscall(436 /* close_range */, 3, ~0u, 0);
}

static void handler(int signo)
{
	(void)signo;
}

static int signals(void)
{
	struct sigaction action, old;
	struct itimerval timer = { .it_value = { 1000, 0 } }, was;
	stack_t stack = { .ss_sp = buffer, .ss_size = 65536 }, old_stack;
	sigset_t set, blocked, pending;
	timer_t id;

	memset(&action, 0, sizeof(action));
	action.sa_handler = handler;
	sigaction(SIGUSR1, &action, &old);
	sigfillset(&set);
	sigprocmask(SIG_BLOCK, &set, &blocked);
	sigpending(&pending);
	sigaltstack(&stack, &old_stack);
	setitimer(ITIMER_REAL, &timer, &was);
	timer_create(CLOCK_MONOTONIC, NULL, &id);
	printf("handler %d blocked %d pending %d stack %d timer %ld id %ld\n", old.sa_handler != SIG_DFL,
	       sigismember(&blocked, SIGUSR2), sigismember(&pending, SIGUSR2), old_stack.ss_flags, was.it_value.tv_sec, (long)id);
	raise(SIGUSR2);
	kill(getpid(), SIGTERM);
	return 0;
}

static int limits(void)
{
	struct rlimit lim = { 1000000, 2000000 }, was;
	volatile char deep[1500000];	/* below the limit of the stack that a run sets */
	cpu_set_t cpus;
	char name[16];

	deep[0] = 1;
	prctl(PR_GET_NAME, name);
	getrlimit(RLIMIT_FSIZE, &was);
	sched_getaffinity(0, sizeof(cpus), &cpus);
	printf("fsize %lx cpus %d name %s group %d nice %d personality %lx\n", (long)was.rlim_cur, CPU_COUNT(&cpus), name,
	       getpgrp() == getpid(), getpriority(PRIO_PROCESS, 0), (long)personality(0xffffffff));
	setrlimit(RLIMIT_FSIZE, &lim);
	setrlimit(RLIMIT_STACK, &lim);
	prctl(PR_SET_NAME, "other");
	CPU_ZERO(&cpus);
	CPU_SET(0, &cpus);
	sched_setaffinity(0, sizeof(cpus), &cpus);
	personality(ADDR_NO_RANDOMIZE);
	return deep[0] != 1;
}

static int raises_nice(void)
{
	printf("nice %d\n", getpriority(PRIO_PROCESS, 0));
	return setpriority(PRIO_PROCESS, 0, 3);
}

static int sets_no_new_privs(void)
{
	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
}

/* The rights stay permitted. */
static int drops_capabilities(void)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct caps[_LINUX_CAPABILITY_U32S_3];

	if (syscall(SYS_capget, &head, caps))
		return 1;
	caps[0].effective = 0;
	return syscall(SYS_capset, &head, caps) != 0;
}

static void *spin(void *arg)
{
	for (;;)
		counter++;
	return arg;
}

static void *sleeper(void *arg)
{
	pause();
	return arg;
}

static int threads(void)
{
	pthread_t thread;

	printf("counter %d\n", counter);
	for (int i = 0; i < 3; i++)
		if (pthread_create(&thread, NULL, i ? sleeper : spin, NULL))
			return 1;
	usleep(2000);
	return 3;
}

static void *end_process(void *arg)
{
	usleep(1000);
	printf("last thread\n");
	exit((int)(long)arg);
}

/* The first thread ends before the last one. */
static int leaves(void)
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, end_process, (void *)5l))
		return 1;
	pthread_exit(NULL);
}

static void *execute(void *arg)
{
	char *const argv[] = { (char *)"echo", (char *)"from the shell", NULL };

	execv("/bin/echo", argv);
	return arg;
}

static int executes(void)
{
	fflush(stdout);
	execute(NULL);
	return 1;
}

static int thread_executes(void)
{
	pthread_t thread;

	pthread_create(&thread, NULL, execute, NULL);
	pause();
	return 1;
}

static int processes(void)
{
	int status = 0;
	pid_t pid = fork();

	if (!pid) {
		if (fork() == 0)
			for (;;)
				pause();
		memset(buffer, 2, sizeof(buffer));
		_exit(4);
	}
	waitpid(pid, &status, 0);
	printf("pid %d child %d status %x\n", getpid(), pid, status);
	if (fork() == 0)
		for (;;)
			counter++;
	if (fork() == 0)
		raise(SIGSTOP);
	return 0;
}

static int ipc(void)
{
	int shm = shmget(0x1234, 8192, IPC_CREAT | 0600), sem = semget(0x1234, 2, IPC_CREAT | 0600);
	int msg = msgget(0x1234, IPC_CREAT | 0600);
	struct { long type; char text[8]; } m = { 1, "text" };
	char *at = shmat(shm, NULL, 0);
	struct sembuf up = { 0, 1, SEM_UNDO };
	struct msqid_ds ds;

	msgctl(msg, IPC_STAT, &ds);
	printf("ids %d %d %d bytes %d value %d messages %ld\n", shm, sem, msg, at[0], semctl(sem, 0, GETVAL), (long)ds.msg_qnum);
	at[0] = 9;
	semop(sem, &up, 1);
	msgsnd(msg, &m, sizeof(m.text), 0);
	return 0;
}

static int crash(void)
{
	printf("counter %d\n", counter++);
	fflush(stdout);
	*nowhere = 1;
	return 0;
}

static int eats_memory(void)
{
	for (long n = 0;; n++) {
		char *p = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

		if (p == MAP_FAILED || n == 20)
			return 0;
		memset(p, 1, 1 << 20);
	}
}

static int floating_point(void)
{
	unsigned control = 0x1f80 | 0x6000;
	double a = 1, b = 3;
	unsigned now;

	__asm__ volatile("stmxcsr %0" : "=m"(now));
	printf("mxcsr %x %.20f\n", now, a / b);
	__asm__ volatile("ldmxcsr %0" : : "m"(control));
	return 0;
}

/* The second run finds another time. */
static int differs(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	printf("%ld.%09ld\n", (long)now.tv_sec, now.tv_nsec);
	return 0;
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		int (*run)(void);
	} modes[] = {
		{ "memory", memory }, { "descriptors", descriptors }, { "signals", signals }, { "limits", limits },
		{ "threads", threads }, { "leaves", leaves }, { "executes", executes },
		{ "thread_executes", thread_executes }, { "processes", processes }, { "ipc", ipc }, { "crash", crash },
		{ "eats_memory", eats_memory }, { "floating_point", floating_point }, { "differs", differs },
		{ "raises_nice", raises_nice }, { "sets_no_new_privs", sets_no_new_privs },
		{ "drops_capabilities", drops_capabilities },
	};

	for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++)
		if (argc > 1 && !strcmp(argv[1], modes[i].name))
			return modes[i].run();
	for (size_t i = 0; argc == 1 && i < sizeof(modes) / sizeof(modes[0]); i++)
		puts(modes[i].name);
	return argc > 1;
}
