/* SPDX-License-Identifier: MIT */
/*
 * abi/access.c - access checks; see access.h. The credentials of a thread are those of its thread of the host, so /proc
 * has those of the other process.
 */
#define _GNU_SOURCE
#include "abi/access.h"

#include <errno.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

struct ids {
	unsigned real, effective, saved;
};

static bool are_all(const struct ids *ids, unsigned id)
{
	return ids->real == id && ids->effective == id && ids->saved == id;
}

/* False: they are unknown. */
static bool read_ids(pid_t host_tid, struct ids *uid, struct ids *gid)
{
	char path[64], line[256];
	bool has_uid = false, has_gid = false;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/task/%d/status", host_tid);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f)) {
		has_uid |= sscanf(line, "Uid: %u %u %u", &uid->real, &uid->effective, &uid->saved) == 3;
		has_gid |= sscanf(line, "Gid: %u %u %u", &gid->real, &gid->effective, &gid->saved) == 3;
	}
	if (f)
		fclose(f);
	return has_uid && has_gid;
}

int access_check(const struct task *t, const struct process *p)
{
	struct ids uid, gid;

	if (p == t->process || geteuid() == 0)
		return 0;
	/* An invalid ID changes nothing: the call returns the present one. */
	if (p->threads && read_ids(p->threads->host_tid, &uid, &gid) && are_all(&uid, (unsigned)syscall(SYS_setfsuid, -1)) &&
	    are_all(&gid, (unsigned)syscall(SYS_setfsgid, -1)))
		return 0;
	return -EPERM;
}
