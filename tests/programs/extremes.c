/* SPDX-License-Identifier: MIT */
/*
 * tests/programs/extremes.c - system calls with the largest, smallest and oddest numbers. Prints their results,
 * which must be the same natively and under `vellum run`.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define COUNT(list) (sizeof(list) / sizeof((list)[0]))

static const int64_t numbers[] = { 0, 1, -1, 999, 4096, INT_MAX, INT_MIN, UINT_MAX, 1ll << 32, (1ll << 32) + 1, 1ll << 46,
				   1ll << 47, INT64_MAX, INT64_MAX - 4095, INT64_MIN, INT64_MIN + 1, -4096 };
static int ready[2];	/* a pipe with a byte in it */

static void say(const char *what, int64_t a, int64_t b, long result)
{
	if (result == -1)
		printf("%s %lld %lld: %s\n", what, (long long)a, (long long)b, strerrorname_np(errno));
	else
		printf("%s %lld %lld: %ld\n", what, (long long)a, (long long)b, result);
}

/* Addresses differ between runs: print only whether the call succeeded. */
static void say_address(const char *what, int64_t a, int64_t b, long result)
{
	say(what, a, b, result == -1 ? -1 : 0);
}

static void on_alarm(int signo)
{
	(void)signo;
}

/* --- calls that wait: until a descriptor is ready, or an alarm --- */

static void waits(int64_t a, int64_t b)
{
	struct timeval tv = { a, b };
	struct timespec ts = { a, b };
	struct pollfd fd = { .fd = ready[0], .events = POLLIN };
	fd_set set;

	FD_ZERO(&set);
	FD_SET(ready[0], &set);
	say("select", a, b, syscall(SYS_select, ready[0] + 1, &set, NULL, NULL, &tv));
	FD_SET(ready[0], &set);
	ts = (struct timespec){ a, b };
	say("pselect", a, b, syscall(SYS_pselect6, ready[0] + 1, &set, NULL, NULL, &ts, NULL));
	ts = (struct timespec){ a, b };
	say("ppoll", a, b, syscall(SYS_ppoll, &fd, 1, &ts, NULL, 8));
}

static void sleeps(int64_t a, int64_t b)
{
	struct timespec ts = { a, b }, rest = { -7, -7 };

	if (a > 0 && b >= 0 && b <= 999999999)
		ualarm(5000, 5000);
	say("nanosleep", a, b, syscall(SYS_nanosleep, &ts, &rest));
	printf("rest %d\n", rest.tv_sec == -7 ? -7 : rest.tv_sec > 1000000000);
	if (a > 1 && b >= 0 && b <= 999999999)
		ualarm(5000, 5000);
	if (a > 999 || a < 1)
		say("clock_nanosleep", a, b, syscall(SYS_clock_nanosleep, CLOCK_REALTIME, TIMER_ABSTIME, &ts, &rest));
	ualarm(0, 0);
}

static void timers(int64_t a, int64_t b)
{
	struct itimerval it = { .it_value = { a, b } }, old = { .it_value = { -7, -7 } };

	say("setitimer", a, b, syscall(SYS_setitimer, ITIMER_REAL, &it, NULL));
	it = (struct itimerval){ .it_interval = { a, b }, .it_value = { 100, 0 } };
	say("setitimer", a, b, syscall(SYS_setitimer, ITIMER_REAL, &it, &old));
	printf("value %lld\n", old.it_value.tv_sec > 1000000000 ? -1ll :
	       (long long)old.it_value.tv_sec + (old.it_value.tv_usec > 500000));
	say("getitimer", a, b, syscall(SYS_getitimer, ITIMER_REAL, &old));
	printf("interval %lld %lld\n", (long long)old.it_interval.tv_sec, (long long)old.it_interval.tv_usec);
	memset(&it, 0, sizeof(it));
	setitimer(ITIMER_REAL, &it, NULL);
}

static void times_of_file(const char *path, int64_t a, int64_t b)
{
	struct timespec ts[2] = { { a, b }, { a, b } };
	struct stat st;

	say("utimensat", a, b, syscall(SYS_utimensat, AT_FDCWD, path, ts, 0));
	if (stat(path, &st) == 0 && b != UTIME_NOW)
		printf("mtime %lld %lld\n", (long long)st.st_mtim.tv_sec, (long long)st.st_mtim.tv_nsec);
	ts[0] = ts[1] = (struct timespec){ 1000, 5 };
	utimensat(AT_FDCWD, path, ts, 0);
}

/* --- positions and sizes --- */

static void positions(const char *path, int64_t a)
{
	int fd = open(path, O_RDWR), zero = open("/dev/zero", O_RDONLY), out = memfd_create("out", 0);
	char buf[64] = "";
	int64_t at;

	lseek(fd, 10, SEEK_SET);
	for (int whence = 0; whence < 5; whence++) {
		lseek(fd, 10, SEEK_SET);
		say("lseek", a, whence, syscall(SYS_lseek, fd, a, whence));
	}
	say("pread", a, 0, syscall(SYS_pread64, fd, buf, 64, a));
	say("pread of zeros", a, 0, syscall(SYS_pread64, zero, buf, 64, a));
	say("pread of a pipe", a, 0, syscall(SYS_pread64, ready[0], buf, 64, a));
	if (a < 0 || a > 1ll << 47)
		say("pwrite", a, 0, syscall(SYS_pwrite64, fd, buf, 64, a));
	if (a < 0)
		say("ftruncate", a, 0, syscall(SYS_ftruncate, fd, a));
	say("fallocate", a, 0, syscall(SYS_fallocate, fd, 3, a, 4096));
	say("fallocate", 0, a, syscall(SYS_fallocate, fd, 3, 4096, a));
	say("readahead", a, 0, syscall(SYS_readahead, fd, a, 4096));
	at = a < 0 ? a : 5;
	say("sendfile", a, 0, syscall(SYS_sendfile, out, fd, &at, 64));
	printf("at %lld\n", (long long)at);
	close(fd);
	close(zero);
	close(out);
}

static void readlinks(int64_t a)
{
	char buf[64];

	if (a <= 64 || a > INT_MAX)
		say("readlink", a, 0, syscall(SYS_readlink, "/proc/self", buf, (int)a > 64 ? 64 : a) > 0 ? 1 : -1);
}

static void ranges(int64_t a, int64_t b)
{
	static char *hole;	/* free space around the mapping, in case a call exceeds its range */
	unsigned char vec[16];
	char *m;

	if (b || (a > 1 << 20 && a <= 1ll << 46))	/* larger ranges would include other mappings */
		return;
	if (!hole) {
		hole = mmap(NULL, 1l << 30, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		munmap(hole, 1l << 30);
	}
	m = mmap(hole + (1 << 29), 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	say_address("mmap", a, b, syscall(SYS_mmap, NULL, a, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
	say("mprotect", a, b, syscall(SYS_mprotect, m, a, PROT_READ));
	if (a < 1ll << 47 && a > -(1 << 20))		/* others may reach kernel addresses */
		say("madvise", a, b, syscall(SYS_madvise, m, a, MADV_DONTNEED));
	say("msync", a, b, syscall(SYS_msync, m, a, MS_ASYNC));
	say("mlock", a, b, syscall(SYS_mlock, m, a));
	say("munlock", a, b, syscall(SYS_munlock, m, a));
	if (a <= 65536)
		say("mincore", a, b, syscall(SYS_mincore, m, a, vec));
	say_address("mremap", a, b, syscall(SYS_mremap, m, 4096, a, 0));
	say_address("mremap", b, a, syscall(SYS_mremap, m, a, 4096, 0));
	if (a < 0 || a > 1ll << 46)
		say_address("mremap to", a, b, syscall(SYS_mremap, m, 4096, 4096, 3, a));
	if (a < 0 || a > 1ll << 47)
		say("munmap", a, b, syscall(SYS_munmap, m, a));
	munmap(hole, 1l << 30);
}

static void file_ranges(const char *path, int64_t a)
{
	int fd = open(path, O_RDONLY);

	say_address("mmap of a file", a, 0, syscall(SYS_mmap, NULL, 4096, PROT_READ, MAP_PRIVATE, fd, a));
	say_address("mmap of a file", 0, a, syscall(SYS_mmap, NULL, 1 << 20, PROT_READ, MAP_SHARED, fd, a));
	close(fd);
}

/* --- numbers of processes, signals, descriptors, clocks --- */

static void ids(int64_t a)
{
	struct timespec ts;

	if ((int)a < -1 || (int)a > 4096) {
		say("kill", a, 0, syscall(SYS_kill, a, 0));
		say("wait4", a, 0, syscall(SYS_wait4, a, NULL, WNOHANG, NULL));
	}
	if ((int)a < 0 || (int)a > 4096)
		say("getpgid", a, 0, syscall(SYS_getpgid, a));
	say("signal", a, 0, (int)a == 0 ? 0 : syscall(SYS_rt_sigaction, a < 1 || a > 64 ? a : 0, NULL, NULL, 8));
	say("close", a, 0, (int)a >= 0 && (int)a < 8 ? 0 : syscall(SYS_close, a));
	say("dup2", a, 0, (int)a >= 0 && (int)a <= 4096 ? 0 : syscall(SYS_dup2, 0, a));
	say("dupfd", a, 0, (int)a >= 0 && (int)a <= 4096 ? 0 : syscall(SYS_fcntl, 0, F_DUPFD, a));
	if ((int)a < 0 || (int)a > 20)
		say("clock", a, 0, syscall(SYS_clock_gettime, a, &ts));
	say("getrlimit", a, 0, a == 0 || (int)a == 1 ? 0 : syscall(SYS_getrlimit, a, &ts));
}

static void polls(int64_t a)
{
	struct pollfd fd = { .fd = ready[0], .events = POLLIN };
	struct timeval now = { 0, 0 };

	say("poll", a, 0, syscall(SYS_poll, &fd, 1, a));
	if (a != (1ll << 32) + 1 && (int)a > 4096)
		say("poll of", a, 0, syscall(SYS_poll, &fd, a, 0));
	if ((int)a <= 0)
		say("select of", a, 0, syscall(SYS_select, a, NULL, NULL, NULL, &now));
}

int main(int argc, char **argv)
{
	struct sigaction act = { .sa_handler = on_alarm };
	const char *path = argc > 1 ? argv[1] : "extremes.file";
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);

	setvbuf(stdout, NULL, _IOFBF, 1 << 20);
	sigaction(SIGALRM, &act, NULL);
	if (pipe(ready) || write(ready[1], "x", 1) != 1 || fd < 0 || write(fd, "0123456789abcdef", 16) != 16)
		return 1;
	for (size_t i = 0; i < COUNT(numbers); i++) {
		static const int64_t parts[] = { 0, 1, -1, 999999, 1000000, -1000000, 999999999, 1000000000, INT64_MAX,
						 INT64_MIN, UTIME_NOW, UTIME_OMIT };

		for (size_t j = 0; j < COUNT(parts); j++) {
			waits(numbers[i], parts[j]);
			if (parts[j] != 1000000000 - 1 || numbers[i])
				sleeps(numbers[i], parts[j]);
			timers(numbers[i], parts[j]);
			times_of_file(path, numbers[i], parts[j]);
			ranges(numbers[i], parts[j]);
		}
		positions(path, numbers[i]);
		readlinks(numbers[i]);
		file_ranges(path, numbers[i]);
		ids(numbers[i]);
		polls(numbers[i]);
	}
	alarm(UINT_MAX);
	printf("alarm %u\n", alarm(10));
	printf("alarm %u\n", alarm(0));
	unlink(path);
	return 0;
}
