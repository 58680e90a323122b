/* SPDX-License-Identifier: MIT */
/* abi/sys_prctl.c - prctl(2). */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/prctl.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "abi/task.h"

#include "syscalls.h"	/* made from syscall.tbl */

#ifndef PR_SET_MDWE	/* of <linux/prctl.h>, which older systems do not have */
#define PR_SET_MDWE 65
#define PR_GET_MDWE 66
#endif

static int64_t write_int(struct task *t, uint64_t addr, int value)
{
	return user_write(t, addr, &value, sizeof(value));
}

static int64_t set_name(struct task *t, uint64_t addr)
{
	char name[TASK_COMM_LEN] = "";

	if (user_string(t, name, sizeof(name), addr) == -EFAULT)
		return -EFAULT;
	name[sizeof(name) - 1] = 0;
	task_set_comm(t, name);
	return 0;
}

/* Each thread is one of the host, which has these attributes by itself and hands them on to threads that it makes. */
static int64_t host_attribute(struct task *t, int option, uint64_t arg2, uint64_t arg3, uint64_t arg4, uint64_t arg5)
{
	long result = syscall(SYS_prctl, option, arg2, arg3, arg4, arg5);

	__atomic_store_n(&t->kernel->attributes_changed, true, __ATOMIC_RELAXED);
	return result < 0 ? -errno : result;
}

int64_t sys_prctl(struct task *t, int option, uint64_t arg2, uint64_t arg3, uint64_t arg4, uint64_t arg5)
{
	char name[TASK_COMM_LEN];

	switch (option) {
	case PR_SET_NAME:
		return set_name(t, arg2);
	case PR_GET_NAME:
		task_get_comm(t, name);
		return user_write(t, arg2, name, sizeof(name));
	case PR_SET_PDEATHSIG:
		if (arg2 > NR_SIGNALS)
			return -EINVAL;
		__atomic_store_n(&t->parent_death_signal, (int)arg2, __ATOMIC_RELAXED);
		return 0;
	case PR_GET_PDEATHSIG:
		return write_int(t, arg2, t->parent_death_signal);
	case PR_SET_DUMPABLE:
		if (arg2 > 1)
			return -EINVAL;
		__atomic_store_n(&t->gmm->not_dumpable, !arg2, __ATOMIC_RELAXED);
		return 0;
	case PR_GET_DUMPABLE:
		return !__atomic_load_n(&t->gmm->not_dumpable, __ATOMIC_RELAXED);
	case PR_SET_CHILD_SUBREAPER:
		__atomic_store_n(&t->process->adopts_orphans, arg2 != 0, __ATOMIC_RELAXED);
		return 0;
	case PR_GET_CHILD_SUBREAPER:
		return write_int(t, arg2, __atomic_load_n(&t->process->adopts_orphans, __ATOMIC_RELAXED));
	case PR_GET_TSC:
		return write_int(t, arg2, PR_TSC_ENABLE);
	case PR_SET_TSC:
		return arg2 == PR_TSC_ENABLE ? 0 : -EINVAL;
	case PR_SET_MDWE:
		return arg3 || arg4 || arg5 || arg2 >> 32 ? -EINVAL : vellum_set_mdwe(t->gmm->mm, (uint32_t)arg2);
	case PR_GET_MDWE:
		return arg2 || arg3 || arg4 || arg5 ? -EINVAL : (int)vellum_get_mdwe(t->gmm->mm);
	case PR_GET_TIMING:
	case PR_GET_SECCOMP:
		return 0;
	case PR_SET_TIMING:
		return arg2 == PR_TIMING_STATISTICAL ? 0 : -EINVAL;
	case PR_CAPBSET_READ:
	case PR_CAPBSET_DROP:
	case PR_CAP_AMBIENT:
	case PR_GET_KEEPCAPS:
	case PR_SET_KEEPCAPS:
	case PR_GET_SECUREBITS:
	case PR_SET_SECUREBITS:
	case PR_GET_NO_NEW_PRIVS:
	case PR_SET_NO_NEW_PRIVS:
	case PR_GET_TIMERSLACK:
	case PR_SET_TIMERSLACK:
		return host_attribute(t, option, arg2, arg3, arg4, arg5);
	default:
		return -EINVAL;
	}
}
