/* SPDX-License-Identifier: MIT */
/* bench/helper.c - processes that do the host's side in a separate address space. */
#define _GNU_SOURCE
#include "bench/bench.h"

#include <sys/wait.h>
#include <unistd.h>

#define STOP (-1)	/* a command, as a later helper inherits this pipe, and its end of file never comes */

void helper_start(struct helper *h, void (*serve)(void *arg, int command, struct answer *a), void *arg)
{
	int to[2], from[2], command;

	must(!pipe(to) && !pipe(from), "pipe");
	fflush(NULL);
	h->pid = fork();
	must(h->pid >= 0, "fork");
	if (!h->pid) {
		close(to[1]);
		while (read(to[0], &command, sizeof(command)) == sizeof(command) && command != STOP) {
			struct answer a = { .done = false };

			serve(arg, command, &a);
			if (write(from[1], &a, sizeof(a)) != sizeof(a))
				break;
		}
		_exit(0);
	}
	close(to[0]);
	close(from[1]);
	h->to = to[1];
	h->from = from[0];
}

struct answer helper_ask(struct helper *h, int command)
{
	struct answer a = { .done = false };

	must(write(h->to, &command, sizeof(command)) == sizeof(command) &&
		     read(h->from, &a, sizeof(a)) == sizeof(a) && a.done,
	     "the host's side: command %d was not done", command);
	return a;
}

void helper_stop(struct helper *h)
{
	int command = STOP;

	must(write(h->to, &command, sizeof(command)) == sizeof(command), "the host's side has ended");
	close(h->to);
	close(h->from);
	waitpid(h->pid, NULL, 0);
}
