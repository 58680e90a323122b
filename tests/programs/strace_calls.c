/* SPDX-License-Identifier: MIT */
/*
 * tests/programs/strace_calls.c - system calls for --strace, after close(-100).
 *
 *   strace_calls           calls with flags, strings and structures whose lines are the same on the host's kernel
 *   strace_calls hostile   every system call with bad addresses, in children; only as process 1, thus not natively
 */
#define _GNU_SOURCE
#include <asm/prctl.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <linux/openat2.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define CALL(name, ...) syscall(SYS_##name, __VA_ARGS__)
#define AREA	  ((char *)0x10000000)
#ifndef SYS_process_madvise
#define SYS_process_madvise 440
#endif
#define MAX_CALLS 470	/* more numbers than there are calls */

static char buf[4096];

static void test_files(void)
{
	int fd;

	CALL(openat, AT_FDCWD, "strace.tmp", O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0640);
	CALL(openat, AT_FDCWD, "strace.tmp", O_RDONLY | 0x40000000, 0640);
	CALL(openat, -1, "x\n\t\\\"\033\177\200\3031", O_WRONLY | O_APPEND | O_DSYNC | O_DIRECTORY);
	CALL(open, "missing/x", O_WRONLY | O_TRUNC | O_SYNC | O_NOFOLLOW | O_TMPFILE, 07);
	CALL(openat, -1, "x", O_NONBLOCK | O_DIRECTORY | O_CLOEXEC);
	CALL(openat, -1, NULL, O_PATH);
	CALL(openat, -1, (char *)1, O_RDWR);
	fd = (int)CALL(openat, AT_FDCWD, "strace.tmp", O_RDWR);
	CALL(write, fd, "a string of thirty-two bytes ...", 32l);
	CALL(write, fd, "a string of thirty-three bytes ..", 33l);
	CALL(write, fd, "\0001\0a\1\33[31m\200\377\r\v\f\b\"", 19l);
	CALL(write, fd, (char *)1, 5l);
	CALL(write, fd, NULL, 0l);
	CALL(lseek, fd, 0l, SEEK_SET);
	CALL(lseek, fd, -1l, SEEK_END);
	CALL(lseek, fd, 0l, 99);
	CALL(pread64, fd, buf, 6l, 2l);
	CALL(pread64, fd, buf, 100l, 32l);
	CALL(read, -1, buf, 5l);
	CALL(newfstatat, AT_FDCWD, "strace.tmp", buf, AT_SYMLINK_NOFOLLOW);
	CALL(newfstatat, AT_FDCWD, "missing", buf, 0);
	CALL(newfstatat, AT_FDCWD, "/dev/null", buf, AT_NO_AUTOMOUNT);
	CALL(stat, "missing", NULL);
	CALL(fallocate, fd, FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE, 0l, 4l);
	CALL(fallocate, -1, 0, 0l, 4l);
	CALL(flock, fd, LOCK_EX | LOCK_NB);
	CALL(flock, fd, LOCK_UN);
	CALL(fadvise64, fd, 0l, 0l, POSIX_FADV_WILLNEED);
	CALL(access, "strace.tmp", R_OK | W_OK);
	CALL(access, "missing", F_OK);
	CALL(faccessat, AT_FDCWD, "strace.tmp", R_OK);
	CALL(faccessat2, -1, "x", X_OK, AT_EACCESS);
	CALL(ioctl, fd, TCGETS, buf);
	CALL(ioctl, -1, TIOCGWINSZ, buf);
	CALL(ioctl, -1, 0x12345678, 0l);
}

static void test_directories(void)
{
	CALL(fchmod, -1, 0);
	CALL(chmod, "missing", 04755);
	CALL(fchownat, AT_FDCWD, "missing", -1, 5, AT_SYMLINK_NOFOLLOW);
	CALL(mkdirat, AT_FDCWD, "missing/x", 0755);
	CALL(mknodat, AT_FDCWD, "missing/x", S_IFIFO | 0644, 0);
	CALL(symlink, "strace.tmp", "strace.link");
	CALL(readlink, "strace.link", buf, 100l);
	CALL(readlink, "strace.link", buf, 3l);
	CALL(renameat2, AT_FDCWD, "missing", AT_FDCWD, "x", RENAME_NOREPLACE);
	CALL(linkat, AT_FDCWD, "missing", -1, "x", AT_SYMLINK_FOLLOW);
	CALL(statx, AT_FDCWD, "missing", AT_STATX_DONT_SYNC | AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS, buf);
	CALL(unlinkat, AT_FDCWD, "strace.link", 0);
	CALL(unlinkat, AT_FDCWD, "strace.tmp", 0);
	CALL(unlinkat, AT_FDCWD, "missing", AT_REMOVEDIR);
	CALL(utimensat, AT_FDCWD, "missing", ((struct timespec[]){ { 0, UTIME_NOW }, { 0, UTIME_OMIT } }), 0);
	CALL(setxattr, "missing", "user.a", "value", 5l, 1);
	CALL(umask, 022);
	CALL(umask, 0);
}

static void test_descriptors(void)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 1, .l_len = 2 };
	struct iovec out[2] = { { "hello", 5 }, { NULL, 0 } }, in[2] = { { buf, 3 }, { buf + 10, 100 } };
	fd_set set;
	int fds[2];

	CALL(pipe2, fds, O_CLOEXEC | O_NONBLOCK);
	CALL(writev, fds[1], out, 2l);
	CALL(readv, fds[0], in, 2l);
	CALL(readv, -1, in, 2l);
	CALL(writev, -1, (char *)1, 2l);
	CALL(write, fds[1], "x", 1l);
	CALL(poll, ((struct pollfd[]){ { fds[0], POLLIN | POLLPRI, 0 }, { -1, POLLOUT, 0 } }), 2, 100);
	CALL(poll, NULL, 0, 0);
	FD_ZERO(&set);
	FD_SET(fds[0], &set);
	CALL(select, fds[0] + 1, &set, NULL, NULL, NULL);
	CALL(fcntl, fds[0], F_GETFD);
	CALL(fcntl, fds[0], F_SETFD, 0);
	CALL(fcntl, fds[0], F_SETFD, FD_CLOEXEC);
	CALL(fcntl, fds[0], F_GETFL);
	CALL(fcntl, fds[0], F_SETFL, O_NONBLOCK);
	CALL(fcntl, fds[0], F_DUPFD_CLOEXEC, 10);
	CALL(fcntl, -1, F_SETLK, &lock);
	CALL(fcntl, -1, 99, 1l);
	CALL(dup3, fds[0], 12, O_CLOEXEC);
	CALL(close_range, 10, 13, 0);
	CALL(close_range, 11, 10, 4);
	CALL(memfd_create, "name", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	CALL(fcntl, fds[1] + 1, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW);
	CALL(fcntl, fds[1] + 1, F_GET_SEALS);
	CALL(getrandom, NULL, 5l, 0x40);
	CALL(sendto, -1, "abc", 3l, MSG_DONTWAIT | MSG_NOSIGNAL, NULL, 0);
}

static void test_userfaultfd(void)
{
	uint64_t words[5] = { UFFD_API + 1, UFFD_FEATURE_SIGBUS | 1ull << 40 };
	int fd = (int)CALL(userfaultfd, O_CLOEXEC | O_NONBLOCK | 1);

	CALL(userfaultfd, 4);
	CALL(ioctl, fd, UFFDIO_API, words);
	CALL(ioctl, fd, UFFDIO_API, NULL);
	CALL(ioctl, fd, UFFDIO_API, 1l);
	memcpy(words, (uint64_t[]){ 0x1000, 0x2000, 5, 7, 0 }, sizeof(words));
	CALL(ioctl, -1, UFFDIO_REGISTER, words);
	CALL(ioctl, -1, UFFDIO_UNREGISTER, words);
	CALL(ioctl, -1, UFFDIO_WAKE, words);
	CALL(ioctl, -1, UFFDIO_COPY, words);
	CALL(ioctl, -1, UFFDIO_ZEROPAGE, words);
	words[0] = UFFD_API;
	words[1] = 0;
	CALL(ioctl, fd, UFFDIO_API, words);
	words[0] = (uint64_t)AREA;
	words[1] = 4096;
	words[2] = UFFDIO_REGISTER_MODE_MISSING;
	mmap(AREA, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED | MAP_ANONYMOUS, -1, 0);
	CALL(ioctl, fd, UFFDIO_REGISTER, words);
	words[2] = 0;
	CALL(ioctl, fd, UFFDIO_ZEROPAGE, words);
	CALL(ioctl, fd, UFFDIO_ZEROPAGE, words);
	CALL(close, fd);
	munmap(AREA, 4096);
}

static void test_memory(void)
{
	CALL(mmap, AREA, 16384l, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED | MAP_ANONYMOUS | MAP_NORESERVE, -1,
	     0l);
	CALL(mmap, NULL, 4096l, PROT_NONE, MAP_SHARED, -1, 4096l);
	CALL(mmap, NULL, 0l, PROT_READ, MAP_PRIVATE | 0x200, -1, 0l);
	AREA[0] = 1;
	CALL(mincore, AREA, 5000l, buf);
	CALL(mincore, AREA, 4096l, NULL);
	CALL(mprotect, AREA, 4096l, PROT_READ);
	CALL(mprotect, 1l, 0l, PROT_NONE);
	CALL(mremap, AREA + 8192, 8192l, 4096l, MREMAP_MAYMOVE);
	CALL(mremap, AREA + 8192, 4096l, 4096l, MREMAP_MAYMOVE | MREMAP_FIXED, AREA + 0x10000);
	CALL(msync, AREA, 4096l, MS_SYNC | MS_INVALIDATE);
	CALL(madvise, AREA, 4096l, MADV_DONTNEED);
	CALL(madvise, AREA, 4096l, 99);
	CALL(mlockall, 0x40);
	CALL(munmap, AREA, 8192l);
	CALL(brk, 1l);
}

static void test_processes(void)
{
	char *const args[] = { "name", "a \"quoted\" argument of 33 bytes\n", NULL };
	char *const environment[] = { "A=1", "B=2", NULL };
	pid_t child;

	CALL(execve, "missing", args, environment);
	CALL(execve, "missing", NULL, environment + 2);
	child = (pid_t)CALL(clone, CLONE_CHILD_CLEARTID | CLONE_CHILD_SETTID | SIGCHLD, 0l, 0l, buf, 0l);
	if (!child)
		CALL(exit_group, 3);
	CALL(wait4, child, buf, 0, NULL);
	CALL(wait4, -1, buf, WNOHANG | __WALL, NULL);
	CALL(prctl, PR_SET_NAME, "a_name");
	CALL(prctl, PR_GET_NAME, buf);
	CALL(prctl, 999, 1l, 2l, 3l, 4l);
	CALL(arch_prctl, ARCH_SET_GS, 0l);
	CALL(arch_prctl, 0x9999, 1l);
	CALL(futex, buf, FUTEX_WAIT_PRIVATE, 77, NULL);
	CALL(futex, buf, FUTEX_WAKE_PRIVATE, 1);
	CALL(futex, buf, FUTEX_WAIT_BITSET | FUTEX_CLOCK_REALTIME, 77, NULL, NULL, FUTEX_BITSET_MATCH_ANY);
	CALL(getrlimit, 99, buf);
	CALL(prlimit64, 0, RLIMIT_CORE, &(struct rlimit){ 0, 0 }, NULL);
	CALL(prlimit64, 0, RLIMIT_CORE, NULL, buf);
	CALL(setrlimit, 99, &(struct rlimit){ 8192, RLIM_INFINITY });
	CALL(clock_gettime, 99, buf);
	CALL(clock_nanosleep, CLOCK_MONOTONIC, TIMER_ABSTIME, &(struct timespec){ 1, 5 }, NULL);
	CALL(nanosleep, &(struct timespec){ 0, 1 }, NULL);
	CALL(setitimer, ITIMER_REAL, &(struct itimerval){ { 0, 0 }, { 0, 0 } }, NULL);
	CALL(setreuid, -1, -1);
	syscall(9999, 1l, 2l, 3l, 4l, 5l, 6l);
}

static void ignore(int signo)
{
	(void)signo;
}

static void test_signals(void)
{
	struct {
		void (*handler)(int);
		uint64_t flags, restorer, mask;
	} action = { ignore, SA_RESTART | SA_SIGINFO, 0, 1 << (SIGINT - 1) | 1 << (SIGCHLD - 1) };
	uint64_t all = ~0ull, some = 1 << (SIGHUP - 1) | 1ull << 63;
	struct sigaction real = { .sa_handler = ignore };
	pid_t self;

	CALL(rt_sigaction, SIGUSR1, &action, NULL, 8l);
	CALL(rt_sigaction, SIGUSR1, NULL, buf, 8l);
	CALL(rt_sigaction, 99, NULL, (char *)1, 8l);
	CALL(rt_sigprocmask, SIG_BLOCK, &some, NULL, 8l);
	CALL(rt_sigprocmask, SIG_UNBLOCK, &all, buf, 8l);
	CALL(rt_sigprocmask, 99, &some, NULL, 8l);
	CALL(kill, 0x7fffffff, SIGTERM);
	CALL(kill, 0x7fffffff, 0);
	CALL(tgkill, -1, 5, 33);
	CALL(sigaltstack, NULL, buf);
	sigaction(SIGUSR2, &real, NULL);
	self = (pid_t)syscall(SYS_getpid);
	CALL(tgkill, self, self, SIGUSR2);
}

/* System V IPC. No call makes an object: the host's would stay. */
static void test_ipc(void)
{
	struct sembuf ops[2] = { { 0, -1, SEM_UNDO | IPC_NOWAIT }, { 5, 3, 0x100 } };
	struct timespec ts = { 1, 5 };
	struct {
		long type;
		char bytes[8];
	} message = { 5, "abc\n" };

	CALL(shmget, 0x76543210, 5000l, IPC_EXCL | 0640);
	CALL(shmget, IPC_PRIVATE, 0l, SHM_HUGETLB | SHM_NORESERVE | 0x100000);
	CALL(shmat, -1, NULL, SHM_RDONLY | SHM_RND | 0x5);
	CALL(shmctl, -1, SHM_LOCK, NULL);
	CALL(shmctl, -1, IPC_STAT, AREA);
	CALL(shmctl, -1, 99, NULL);
	CALL(shmdt, 1l);
	CALL(semget, 0x76543210, 3, IPC_EXCL | 0600);
	CALL(semop, -1, ops, 2l);
	CALL(semop, -1, (char *)1, 2l);
	CALL(semtimedop, -1, ops, 1l, &ts);
	CALL(semtimedop, -1, ops, 0l, NULL);
	CALL(semctl, -1, 0, SETVAL, 5l);
	CALL(semctl, -1, 0, GETVAL, 0l);
	CALL(semctl, -1, 0, 99, 1l);
	CALL(msgget, 0x76543210, 0);
	CALL(msgsnd, -1, &message, 4l, IPC_NOWAIT | MSG_NOERROR | 0x8000);
	CALL(msgsnd, -1, (char *)1, 4l, 0);
	CALL(msgrcv, -1, AREA, 4l, -3l, MSG_EXCEPT | IPC_NOWAIT);
	CALL(msgctl, -1, IPC_RMID, NULL);
	CALL(msgctl, -1, 99, NULL);
}

static void test_other_processes(void)
{
	struct iovec local = { "abcdef", 6 }, remote = { (void *)0x1000, 10 };
	struct open_how how = { O_RDWR | O_CREAT, 0640, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | 0x100 };
	uint64_t set = 1 << (SIGUSR1 - 1);

	CALL(signalfd, -2, &set, 8l);
	CALL(signalfd4, -1, &set, 8l, SFD_CLOEXEC | 1);
	CALL(signalfd4, -1, &set, 4l, 0);
	CALL(signalfd4, -1, (char *)1, 8l, 0);
	CALL(pidfd_open, -1, O_NONBLOCK | 1);
	CALL(pidfd_send_signal, -1, SIGKILL, NULL, 0);
	CALL(pidfd_getfd, -1, 3, 5);
	CALL(process_vm_writev, -1, &local, 1l, &remote, 1l, 5l);
	CALL(process_vm_readv, -1, &remote, 1l, &local, 0l, 0l);
	CALL(vmsplice, -1, &local, 1l, SPLICE_F_GIFT | SPLICE_F_NONBLOCK | 0x100);
	CALL(process_madvise, -1, &remote, 1l, MADV_COLD, 1);
	CALL(openat2, -1, "x", &how, 24l);
	how = (struct open_how){ O_RDONLY, 0, 0 };
	CALL(openat2, AT_FDCWD, "missing", &how, 24l);
	CALL(openat2, AT_FDCWD, "missing", (char *)1, 24l);
}

/* --- hostile --- */

static long call(long nr, const uint64_t a[6])
{
	register uint64_t r10 __asm__("r10") = a[3], r8 __asm__("r8") = a[4], r9 __asm__("r9") = a[5];
	long result;

	/* The child of vfork(2) must not return from a function. */
	__asm__ volatile("syscall" : "=a"(result) : "a"(nr), "D"(a[0]), "S"(a[1]), "d"(a[2]), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return result;
}

/* One call with each kind of address in each argument, and in all. The other arguments are small numbers or @fd. */
static void make_calls(long nr, int fd)
{
	const uint64_t kinds[] = { 0, 1, ~0ull, 0x7ffffffff000, 0x800000000000, 0xffff800000000000, (uint64_t)AREA,
				   (uint64_t)AREA + 4096, (uint64_t)AREA + 8192 - 1, (uint64_t)AREA + 8192 - 40,
				   (uint64_t)AREA + 3 * 4096 };
	const pid_t self = getpid();

	for (size_t kind = 0; kind < sizeof(kinds) / sizeof(kinds[0]); kind++) {
		for (unsigned where = 0; where < 14; where++) {
			uint64_t a[6];

			for (unsigned i = 0; i < 6; i++)
				a[i] = where % 7 == i || where % 7 == 6 ? kinds[kind] : where < 7 ? 1 : 64;
			if (where == 13 && fd >= 0)
				a[0] = (uint64_t)fd;
			if (!call(nr, a) && (nr == SYS_fork || nr == SYS_vfork || nr == SYS_clone) && getpid() != self)
				_exit(0);
		}
	}
}

static int hostile(void)
{
	if (getpid() != 1)
		return 1;
	/* Readable bytes without a NUL before an unmapped page; memory without rights. */
	mmap(AREA, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED | MAP_ANONYMOUS, -1, 0);
	mmap(AREA + 3 * 4096, 4096, PROT_NONE, MAP_PRIVATE | MAP_FIXED | MAP_ANONYMOUS, -1, 0);
	memset(AREA, 0x9b, 8192);
	for (int i = 0; i < 200; i++)
		AREA[i] = (char)(i + 1 == '/' ? '.' : i + 1);
	AREA[200] = 0;
	for (int signo = 1; signo <= 64; signo++)
		signal(signo, SIG_IGN);
	signal(SIGCHLD, SIG_DFL);
	for (long nr = 0; nr < MAX_CALLS; nr++) {
		pid_t child = fork();

		if (child) {
			waitpid(child, NULL, 0);
			continue;
		}
		/* Numbers that are no addresses must not be files of the host. */
		close(0);
		close(1);
		signal(SIGALRM, SIG_DFL);
		alarm(2);
		make_calls(nr, memfd_create("m", 0));
		_exit(0);
	}
	return 0;
}

int main(int argc, char **argv)
{
	(void)argv;
	CALL(close_range, 3, 1023, 0);	/* descriptors that the test inherits */
	close(-100);
	if (argc > 1)
		return hostile();
	test_files();
	test_directories();
	test_descriptors();
	test_userfaultfd();
	test_memory();
	test_processes();
	test_signals();
	test_ipc();
	test_other_processes();
	return 0;
}
