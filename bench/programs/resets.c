/* SPDX-License-Identifier: MIT */
/*
 * bench/programs/resets.c - a target of a fuzzer: 64 MiB of memory, of which a run changes some pages.
 *
 * resets PAGES: one run, for `vellum repeat --at=run`. resets PAGES SECONDS: a fork server, which prints its runs per second.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MEMORY (64ul << 20)
#define PAGE 4096ul

static char *memory;
static unsigned long nr_pages;

/* The pages are apart from each other. */
void run(void);		/* not static: --at=run finds it */

__attribute__((noinline)) void run(void)
{
	const unsigned long step = MEMORY / PAGE / nr_pages;

	for (unsigned long i = 0; i < nr_pages; i++)
		memory[i * step * PAGE]++;
	__asm__ volatile("" : : "r"(memory) : "memory");
}

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static void serve(double seconds)
{
	const double start = now();
	unsigned long n = 0;

	while (now() - start < seconds) {
		pid_t pid = fork();

		if (pid == 0) {
			run();
			_exit(0);
		}
		if (pid < 0 || waitpid(pid, NULL, 0) != pid)
			exit(1);
		n++;
	}
	printf("%.1f\n", (double)n / (now() - start));
}

int main(int argc, char **argv)
{
	nr_pages = argc > 1 ? strtoul(argv[1], NULL, 10) : 0;
	if (!nr_pages || nr_pages > MEMORY / PAGE)
		return 2;
	memory = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (memory == MAP_FAILED)
		return 1;
	memset(memory, 1, MEMORY);
	if (argc > 2)
		serve(strtod(argv[2], NULL));
	else
		run();
	return 0;
}
