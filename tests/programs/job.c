/* SPDX-License-Identifier: MIT */
/*
 * tests/programs/job.c - a job for tests/cli/terminal.sh: prints when it runs and when it continues. An argument is the
 * status with which SIGINT ends it.
 */
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

static int status;

static void on_signal(int signo)
{
	static const char text[] = "continued\n";

	if (signo == SIGINT)
		_exit(status);
	if (write(STDOUT_FILENO, text, sizeof(text) - 1) < 0)
		_exit(1);
}

int main(int argc, char **argv)
{
	signal(SIGCONT, on_signal);
	if (argc > 1) {
		status = atoi(argv[1]);
		signal(SIGINT, on_signal);
	}
	if (write(STDOUT_FILENO, "running\n", 8) < 0)
		return 1;
	for (;;)
		pause();
}
