/* SPDX-License-Identifier: MIT */
/* abi/strace_ipc.c - arguments of System V IPC for --strace. */
#define _GNU_SOURCE
#include <sys/ipc.h>
#include <sys/sem.h>
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

bool print_ipcget(struct trace *tr, unsigned i)
{
	return print_get(tr, i, FORMAT_ipcget);
}

static void text_sembuf(struct trace *tr, const void *element, void *arg)
{
	const struct sembuf *op = element;

	(void)arg;
	text(tr, "{sem_num=%u, sem_op=%d, sem_flg=", op->sem_num, op->sem_op);
	text_flags(tr, &strace_names[FORMAT_sem_flags], (uint16_t)op->sem_flg);
	text(tr, "}");
}

bool print_sembufs(struct trace *tr, unsigned i)
{
	text_array(tr, tr->arg[i], (uint32_t)tr->arg[i + 1], sizeof(struct sembuf), text_sembuf, NULL);
	return true;
}

static void text_message(struct trace *tr, uint64_t addr, uint64_t len)
{
	int64_t type;

	if (!fetch(tr, &type, addr, sizeof(type))) {
		text_address(tr, addr);
		return;
	}
	text(tr, "{mtype=%lld, mtext=", (long long)type);
	text_buffer(tr, addr + sizeof(type), len);
	text(tr, "}");
}

bool print_msgbuf(struct trace *tr, unsigned i)
{
	text_message(tr, tr->arg[i], tr->arg[i + 1]);
	return true;
}

bool print_msgbuf_out(struct trace *tr, unsigned i)
{
	if (tr->leaving && !text_if_no_result(tr, tr->arg[i]))
		text_message(tr, tr->arg[i], (uint64_t)tr->result);
	return false;
}
