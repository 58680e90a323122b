/* SPDX-License-Identifier: MIT */
/*
 * tests/programs/thread_exits.c - processes whose threads all end at the same time, in several ways. When wait(2)
 * returns, all that the threads stored to a shared file is in the file. With an argument, only the first process: it
 * ends with the status 5. The output is the same on the host's kernel.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define NR_THREADS 6	/* with the first one */
#define ROUNDS	   60
#define PAGE	   4096

enum way { EACH_ENDS, ONE_ENDS_ALL, ONE_EXECS, NR_WAYS };

static pthread_barrier_t together;
static char *file_map;
static enum way way;
static unsigned char mark;
static const char *program;

static void *store_and_end(void *arg)
{
	uintptr_t nr = (uintptr_t)arg;

	memset(file_map + nr * PAGE, mark, PAGE);
	pthread_barrier_wait(&together);
	if (way == ONE_ENDS_ALL && nr == mark % NR_THREADS)
		_exit(5);
	if (way == ONE_EXECS && nr == mark % NR_THREADS)
		execl(program, program, "execed", (char *)NULL);
	syscall(SYS_exit, way == EACH_ENDS ? 5 : 6);
	return NULL;
}

static void child(int fd)
{
	pthread_t t;

	file_map = mmap(NULL, NR_THREADS * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (file_map == MAP_FAILED)
		_exit(1);
	pthread_barrier_init(&together, NULL, NR_THREADS);
	for (uintptr_t i = 1; i < NR_THREADS; i++)
		if (pthread_create(&t, NULL, store_and_end, (void *)i))
			_exit(2);
	store_and_end(NULL);
}

/* The bytes of the file that differ from @mark. */
static long wrong_bytes(int fd)
{
	static unsigned char bytes[NR_THREADS * PAGE];
	long wrong = 0;

	if (pread(fd, bytes, sizeof(bytes), 0) != sizeof(bytes))
		return -1;
	for (size_t i = 0; i < sizeof(bytes); i++)
		wrong += bytes[i] != mark;
	return wrong;
}

int main(int argc, char **argv)
{
	long wrong = 0, statuses = 0;
	int fd, status;

	program = argv[0];
	if (argc > 1 && !strcmp(argv[1], "execed"))
		return 5;
	fd = open("shared", O_RDWR | O_CREAT | O_TRUNC, 0600);
	if (fd < 0 || ftruncate(fd, NR_THREADS * PAGE))
		return 1;
	if (argc > 1)
		child(fd);
	for (int round = 0; round < ROUNDS; round++) {
		pid_t pid;

		way = (enum way)(round % NR_WAYS);
		mark = (unsigned char)(round + 1);
		pid = fork();
		if (!pid)
			child(fd);
		waitpid(pid, &status, 0);
		statuses += WIFEXITED(status) && WEXITSTATUS(status) == 5;
		wrong += wrong_bytes(fd);
	}
	printf("%d processes, %ld of them with the status 5, %ld wrong bytes\n", ROUNDS, statuses, wrong);
	return 0;
}
