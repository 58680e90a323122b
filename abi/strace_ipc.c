/* SPDX-License-Identifier: MIT */
/* abi/strace_ipc.c - arguments of System V IPC for --strace. */
#define _GNU_SOURCE
#include <sys/ipc.h>
#include <sys/stat.h>

#include "abi/strace_print.h"

bool print_ipc_key(struct trace *tr, unsigned i)
{
	if ((uint32_t)tr->arg[i] == IPC_PRIVATE)
		text(tr, "IPC_PRIVATE");
	else
		text(tr, "0x%x", (uint32_t)tr->arg[i]);
	return true;
}

static bool print_get(struct trace *tr, unsigned i, enum strace_format names)
{
	const uint32_t flags = (uint32_t)tr->arg[i];

	if (flags & ~(uint32_t)ACCESSPERMS) {
		text_flags(tr, &strace_names[names], flags & ~(uint32_t)ACCESSPERMS);
		text(tr, "|");
	}
	text(tr, "%#03o", flags & ACCESSPERMS);
	return true;
}

bool print_shmget(struct trace *tr, unsigned i)
{
	return print_get(tr, i, FORMAT_shmget);
}
