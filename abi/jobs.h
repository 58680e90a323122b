/* SPDX-License-Identifier: MIT */
/* abi/jobs.h - process groups as jobs of a shell: signals to groups, orphaned groups, stops of Vellum itself. */
#ifndef ABI_JOBS_H
#define ABI_JOBS_H

#include "abi/task.h"

#define FIRST_GROUP 1	/* of process 1, whose parent is outside */

/* kernel->lock held, but for jobs_stop(). */
void process_signal(struct process *p, int signo);		/* as from the kernel */
void group_send(struct kernel *k, int pgid, int signo);		/* the same to each process of the group */
/* True: a process in group @pgid exists, and in session @sid if that is not 0. */
bool group_exists(const struct kernel *k, int pgid, int sid);
/* True: no process of the group has a parent in its session and outside the group that could continue it. */
bool group_is_orphaned(struct kernel *k, int pgid);
/* A process ended that could continue the group. If it is orphaned now and has a stopped process, it gets SIGHUP. */
void jobs_left(struct kernel *k, int pgid);

/* Process 1 has stopped: the signal that is to stop Vellum as well, so that the shell outside notices. 0: none. */
int jobs_stop_signal(struct kernel *k);
void jobs_stop(int signo);	/* stop Vellum; returns when it continues. The caller blocks @signo. */

#endif
