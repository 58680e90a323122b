/* SPDX-License-Identifier: MIT */
/*
 * abi/sys_membarrier.c - membarrier(2).
 *
 * The CPUs' threads belong to another process of the host, so only its barrier of all threads reaches them. All
 * commands use it. It also serializes cores: the translation of instructions that a thread has changed is gone when the
 * store is done.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "abi/task.h"

#include "syscalls.h"	/* made from syscall.tbl */

#define GET_REGISTRATIONS (1 << 9)	/* since Linux 6.3 */
#define REGISTRATIONS (MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED | MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED | \
		       MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE)
#define BARRIERS (MEMBARRIER_CMD_GLOBAL | MEMBARRIER_CMD_GLOBAL_EXPEDITED | MEMBARRIER_CMD_PRIVATE_EXPEDITED | \
		  MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE)

static int64_t barrier(void)
{
	return syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0) ? -errno : 0;
}

/* Each private command is the bit below its registration. */
static int64_t private_barrier(const struct task *t, int cmd)
{
	return __atomic_load_n(&t->gmm->membarrier_registrations, __ATOMIC_RELAXED) & cmd << 1 ? barrier() : -EPERM;
}

int64_t sys_membarrier(struct task *t, int cmd, uint32_t flags, int cpu)
{
	if (flags)
		return -EINVAL;
	switch (cmd) {
	case MEMBARRIER_CMD_QUERY:
		return REGISTRATIONS | BARRIERS | GET_REGISTRATIONS;
	case MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED:
	case MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED:
	case MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE:
		__atomic_fetch_or(&t->gmm->membarrier_registrations, cmd, __ATOMIC_RELAXED);
		return 0;
	case MEMBARRIER_CMD_GLOBAL:
	case MEMBARRIER_CMD_GLOBAL_EXPEDITED:
		return barrier();
	case MEMBARRIER_CMD_PRIVATE_EXPEDITED:
	case MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE:
		return private_barrier(t, cmd);
	case GET_REGISTRATIONS:
		return __atomic_load_n(&t->gmm->membarrier_registrations, __ATOMIC_RELAXED);
	default:
		return -EINVAL;
	}
}
