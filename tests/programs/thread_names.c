/* SPDX-License-Identifier: MIT */
/*
 * tests/programs/thread_names.c - two threads with names and numbers of system calls of their own, one after the other.
 * Then the program executes itself, with an argument.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

struct worker {
	const char *name;
	int nr_calls;
};

static void *work(void *arg)
{
	const struct worker *worker = arg;

	prctl(PR_SET_NAME, worker->name);
	for (int i = 0; i < worker->nr_calls; i++)
		syscall(SYS_getppid);
	return NULL;
}

static int run(struct worker worker)
{
	pthread_t thread;

	return pthread_create(&thread, NULL, work, &worker) || pthread_join(thread, NULL);
}

int main(int argc, char **argv)
{
	if (argc > 1) {
		prctl(PR_SET_NAME, "a \"new\" name");
		return 0;
	}
	if (run((struct worker){ "reader", 10 }) || run((struct worker){ "writer", 110 }))
		return 1;
	execl(argv[0], argv[0], "again", NULL);
	return 1;
}
