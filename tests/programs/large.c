/* SPDX-License-Identifier: MIT */
/*
 * tests/programs/large.c - mappings of 2^46 bytes with a few pages.
 *
 *   large calls          each call that faults no page in, and its result
 *   large maps           a PROT_NONE mapping, shared memory and a sparse file, a few stores to each
 *   large fill ADVICE    madvise(2) that faults in the whole range, until an alarm ends the program
 *   large lock           mlock(2), the same
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define LARGE (1ul << 46)
#define SPARSE (1ul << 40)

static char *map(size_t len, int prot, int flags, int fd)
{
	char *at = mmap(NULL, len, prot, flags | MAP_NORESERVE, fd, 0);

	if (at == MAP_FAILED) {
		perror("mmap");
		exit(1);
	}
	return at;
}

static void say(const char *what, long result)
{
	printf("%s: %s\n", what, result ? strerrorname_np(errno) : "ok");
}

static void store(char *m, size_t len)
{
	m[0] = 1;
	m[len / 2] = 2;
	m[len - 1] = 3;
}

static void advise(char *m)
{
	static const int advice[] = {
		MADV_NORMAL, MADV_RANDOM, MADV_SEQUENTIAL, MADV_WILLNEED, MADV_DONTFORK, MADV_DOFORK, MADV_DONTDUMP,
		MADV_DODUMP, MADV_WIPEONFORK, MADV_KEEPONFORK, MADV_COLD, MADV_PAGEOUT, MADV_HUGEPAGE,
		MADV_NOHUGEPAGE, MADV_FREE, MADV_DONTNEED, 24 /* DONTNEED_LOCKED */, 103 /* GUARD_REMOVE */,
	};
	char name[32];

	for (size_t i = 0; i < sizeof(advice) / sizeof(advice[0]); i++) {
		snprintf(name, sizeof(name), "advice %d", advice[i]);
		say(name, madvise(m, LARGE, advice[i]));
	}
	say("collapse", madvise(m, LARGE, 25));
}

static int calls(void)
{
	char *m = map(LARGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	unsigned char in[16];
	int status;

	store(m, LARGE);
	advise(m);
	store(m, LARGE);
	say("mprotect", mprotect(m, LARGE, PROT_READ));
	say("mprotect", mprotect(m, LARGE, PROT_READ | PROT_WRITE));
	say("mlock2", mlock2(m, LARGE, MLOCK_ONFAULT));
	say("munlock", munlock(m, LARGE));
	say("msync", msync(m, LARGE, MS_SYNC));
	say("mincore", mincore(m + LARGE / 2, 65536, in));
	if (fork() == 0)
		_exit(m[LARGE / 2]);
	wait(&status);
	printf("fork: %d\n", WEXITSTATUS(status));
	say("shrink", mremap(m, LARGE, LARGE / 4, 0) != m);
	m = mremap(m, LARGE / 4, LARGE / 4, MREMAP_MAYMOVE | MREMAP_FIXED, m + LARGE / 2);
	printf("move: %d\n", m[0]);
	say("munmap", munmap(m, LARGE / 4));
	return 0;
}

static int maps(void)
{
	int fd = memfd_create("sparse", 0), status;
	char *file, *shared;

	map(LARGE / 2, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	shared = map(LARGE / 8, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1);
	store(shared, LARGE / 8);
	if (ftruncate(fd, SPARSE) || pwrite(fd, "x", 1, 8192) != 1)
		return 1;
	file = map(SPARSE, PROT_READ | PROT_WRITE, MAP_SHARED, fd);
	store(file, SPARSE);
	if (fork() == 0) {
		file[SPARSE / 4] = 4;
		shared[LARGE / 16] = 5;
		_exit(0);
	}
	wait(&status);
	say("remove", madvise(file + SPARSE / 2, SPARSE / 4, MADV_REMOVE));
	say("dontneed", madvise(shared, LARGE / 8, MADV_DONTNEED));
	printf("%d %d %d %d %c\n", file[SPARSE / 2], file[SPARSE / 4], shared[LARGE / 16], shared[0], file[8192]);
	return 0;
}

int main(int argc, char **argv)
{
	const char *verb = argc > 1 ? argv[1] : "";
	char *m;

	if (!strcmp(verb, "calls"))
		return calls();
	if (!strcmp(verb, "maps"))
		return maps();
	m = map(LARGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	ualarm(300000, 0);
	if (!strcmp(verb, "fill") && argc > 2)
		say("fill", madvise(m, LARGE, atoi(argv[2])));
	else if (!strcmp(verb, "lock"))
		say("mlock", mlock(m, LARGE));
	pause();
	return 0;
}
