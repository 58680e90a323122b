/* SPDX-License-Identifier: MIT */
/* abi/jobs.c - process groups as jobs of a shell; see jobs.h. */
#define _GNU_SOURCE
#include "abi/jobs.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "abi/tty.h"

void process_signal(struct process *p, int signo)
{
	signal_send(p, &(struct sig_info){ .signo = signo, .code = SI_KERNEL }, true);
}

void group_send(struct kernel *k, int pgid, int signo)
{
	for (struct process *p = k->processes; p; p = p->next)
		if (p->pgid == pgid)
			process_signal(p, signo);
}

bool group_exists(const struct kernel *k, int pgid, int sid)
{
	const struct process *p = k->processes;

	while (p && (p->pgid != pgid || (sid && p->sid != sid)))
		p = p->next;
	return p != NULL;
}

/* --- orphaned groups --- */

/* Read IDs of a process of the host. False: it has ended, or /proc is not mounted. */
static bool read_ids(pid_t pid, pid_t *ppid, pid_t *pgid, pid_t *sid)
{
	char path[32], text[512] = "";
	const char *after;
	size_t n;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	f = fopen(path, "re");
	if (!f)
		return false;
	n = fread(text, 1, sizeof(text) - 1, f);
	fclose(f);
	text[n] = 0;
	after = strrchr(text, ')');	/* the name, in parentheses, may contain any character */
	return after && sscanf(after, ") %*c %d %d %d", ppid, pgid, sid) == 3;
}

/* Is Vellum's own group orphaned? Its parents in the group have the same parents outside it. */
static bool is_outer_orphaned(void)
{
	const pid_t own_pgid = getpgrp(), own_sid = getsid(0);
	pid_t parent = getppid(), next, pgid, sid;

	while (parent > 0 && read_ids(parent, &next, &pgid, &sid)) {
		if (sid != own_sid)
			return true;
		if (pgid != own_pgid)
			return false;
		parent = next;
	}
	return true;
}

/* Can the parent of @p, if it is a shell, continue the group of @p? The parent of process 1 is Vellum's. */
static bool has_parent_outside(struct kernel *k, const struct process *p)
{
	const struct process *parent = p->ppid ? process_find(k, p->ppid) : NULL;

	if (p->pid == 1)
		return !is_outer_orphaned();
	return parent && parent->state != PROCESS_ZOMBIE && parent->pgid != p->pgid && parent->sid == p->sid;
}

bool group_is_orphaned(struct kernel *k, int pgid)
{
	for (const struct process *p = k->processes; p; p = p->next)
		if (p->pgid == pgid && p->state != PROCESS_ZOMBIE && has_parent_outside(k, p))
			return false;
	return true;
}

static bool has_stopped(const struct kernel *k, int pgid)
{
	const struct process *p = k->processes;

	while (p && (p->pgid != pgid || p->state != PROCESS_STOPPED))
		p = p->next;
	return p != NULL;
}

void jobs_left(struct kernel *k, int pgid)
{
	if (!has_stopped(k, pgid) || !group_is_orphaned(k, pgid))
		return;
	group_send(k, pgid, SIGHUP);
	group_send(k, pgid, SIGCONT);
}

/* --- stops of Vellum --- */

static bool is_running(const struct kernel *k)
{
	const struct process *p = k->processes;

	while (p && p->state != PROCESS_RUNNING)
		p = p->next;
	return p != NULL;
}

/*
 * A process inside may have stopped process 1, and may continue it. Then Vellum goes on while any process runs. A stop by
 * process 1 itself, or by a signal from outside, is meant for a shell outside, if there is a terminal.
 */
int jobs_stop_signal(struct kernel *k)
{
	const struct process *first = process_find(k, 1);
	bool meant;

	if (!first || first->state != PROCESS_STOPPED) {
		k->stop_raised = false;
		return 0;
	}
	meant = tty_outer_foreground(k) && first->stopped_by <= 1;
	if (k->stop_raised || (!meant && is_running(k)))
		return 0;
	k->stop_raised = true;
	return first->stop_signal;
}

void jobs_stop(int signo)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, signo);
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	pthread_kill(pthread_self(), signo);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
}
