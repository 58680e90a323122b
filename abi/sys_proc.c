/* SPDX-License-Identifier: MIT */
/* abi/sys_proc.c - processes: clone(2), execve(2), wait4(2), exit(2), uname(2). */
#define _GNU_SOURCE
#include <errno.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include "abi/path.h"
#include "abi/task.h"

#define MAX_STRING	131072

SYSCALL(fork)
{
	(void)a;
	return task_fork(t, SIGCHLD, 0, 0);
}

SYSCALL(vfork)
{
	(void)a;
	return task_fork(t, SIGCHLD | CLONE_VM | CLONE_VFORK, 0, 0);
}

SYSCALL(clone)
{
	const uint64_t allowed = 0xff | CLONE_VM | CLONE_VFORK | CLONE_CHILD_SETTID |
				 CLONE_CHILD_CLEARTID | CLONE_PARENT_SETTID;
	int64_t pid;
	uint32_t tid;

	/* Processes only: what shares memory must be a vfork. */
	if ((a[0] & ~allowed) || ((a[0] & CLONE_VM) && !(a[0] & CLONE_VFORK)))
		return -ENOSYS;
	pid = task_fork(t, a[0], a[1], a[3]);
	if (pid > 0 && (a[0] & CLONE_PARENT_SETTID)) {
		tid = (uint32_t)pid;
		user_write(t, a[2], &tid, sizeof(tid));
	}
	return pid;
}

/* --- execve --- */

static void free_strings(char **strings)
{
	for (size_t i = 0; strings && strings[i]; i++)
		free(strings[i]);
	free(strings);
}

/* A NULL-terminated array of strings, copied once. 0 or negative errno. */
static int read_strings(struct task *t, uint64_t addr, char ***out)
{
	char **strings = NULL, *buf = malloc(MAX_STRING);
	uint64_t ptr = 0, total = 0;
	size_t n = 0, max = 0;
	int err = buf ? 0 : -ENOMEM;

	for (; !err; n++) {
		if (n + 1 >= max) {
			max = max ? 2 * max : 32;
			char **more = realloc(strings, max * sizeof(*strings));

			if (!more) {
				err = -ENOMEM;
				break;
			}
			strings = more;
		}
		strings[n] = NULL;
		if (addr && user_read(t, &ptr, addr + 8 * n, 8))
			err = -EFAULT;
		if (err || !ptr)
			break;
		err = user_string(t, buf, MAX_STRING, ptr);
		if (err == -ENAMETOOLONG)
			err = -E2BIG;
		if (!err) {
			total += strlen(buf) + 9;
			strings[n] = strdup(buf);
			strings[n + 1] = NULL;
			if (!strings[n] || total > max_arg_bytes(t))
				err = strings[n] ? -E2BIG : -ENOMEM;
		}
	}
	free(buf);
	if (err)
		free_strings(strings);
	else
		*out = strings;
	return err;
}

SYSCALL(execve)
{
	char path[PATH_BYTES];
	char **argv = NULL, **envp = NULL;
	int err = user_string(t, path, sizeof(path), a[0]);

	if (!err)
		err = path[0] ? read_strings(t, a[1], &argv) : -ENOENT;
	if (!err)
		err = read_strings(t, a[2], &envp);
	if (!err)
		err = exec_load(t, path, argv, envp);
	free_strings(argv);
	free_strings(envp);
	/* On success the registers are the new program's; its rax starts as 0. */
	return err;
}

SYSCALL(exit)
{
	task_exit(t, (int)(a[0] & 0xff) << 8);
}

/* --- wait4 --- */

static bool wanted(const struct task *t, const struct task *child, int pid)
{
	if (child->ppid != t->pid)
		return false;
	return pid == -1 || (pid == 0 && child->pgid == t->pgid) || child->pid == pid ||
	       (pid < -1 && child->pgid == -(int64_t)pid);
}

/* kernel->lock held. Return: pid, 0: none ready, -ECHILD: none at all. */
static int reap(struct task *t, int pid, int options, int *status)
{
	struct kernel *k = t->kernel;
	bool any = false;

	for (struct task **at = &k->tasks; *at; at = &(*at)->next) {
		struct task *child = *at;

		if (!wanted(t, child, pid))
			continue;
		any = true;
		if (child->state == TASK_ZOMBIE) {
			int found = child->pid;

			*status = child->exit_status;
			*at = child->next;
			task_free(child);
			return found;
		}
		if ((options & WUNTRACED) && child->state == TASK_STOPPED && !child->stop_reported) {
			child->stop_reported = true;
			*status = child->stop_signal << 8 | 0x7f;
			return child->pid;
		}
	}
	return any ? 0 : -ECHILD;
}

SYSCALL(wait4)
{
	struct kernel *k = t->kernel;
	static const char no_usage[sizeof(struct rusage)];
	int pid, status = 0, options = (int)a[2];

	if (options & ~(WNOHANG | WUNTRACED | WCONTINUED | (int)(__WALL | __WNOTHREAD | __WCLONE)))
		return -EINVAL;
	if ((int)a[0] == INT_MIN)	/* no group has that number */
		return -ESRCH;
	pthread_mutex_lock(&k->lock);
	pid = reap(t, (int)a[0], options, &status);
	if (pid == 0 && !(options & WNOHANG)) {
		pthread_mutex_unlock(&k->lock);
		cpu_release(t);
		pthread_mutex_lock(&k->lock);
		while ((pid = reap(t, (int)a[0], options, &status)) == 0 && !signal_pending(t))
			pthread_cond_wait(&k->changed, &k->lock);
		if (pid == 0)
			pid = -ERESTARTSYS;
	}
	pthread_mutex_unlock(&k->lock);
	if (pid > 0 && a[1] && user_write(t, a[1], &status, sizeof(status)))
		return -EFAULT;
	if (pid > 0 && a[3] && user_write(t, a[3], no_usage, sizeof(no_usage)))
		return -EFAULT;
	return pid;
}

/* --- the rest --- */

SYSCALL(set_tid_address)
{
	t->clear_child_tid = a[0];
	return t->pid;
}

SYSCALL(set_robust_list)
{
	(void)t;
	return a[1] == 24 ? 0 : -EINVAL;	/* one thread: nobody could die holding a lock */
}

SYSCALL(arch_prctl)
{
	uint64_t value;

	if ((a[0] == 0x1001 || a[0] == 0x1002) && a[1] >= VELLUM_TASK_SIZE)
		return -EPERM;
	switch (a[0]) {
	case 0x1001: t->st.gs_base = a[1]; break;	/* ARCH_SET_GS */
	case 0x1002: t->st.fs_base = a[1]; break;	/* ARCH_SET_FS */
	case 0x1003: value = t->st.fs_base; return user_write(t, a[1], &value, 8);
	case 0x1004: value = t->st.gs_base; return user_write(t, a[1], &value, 8);
	default: return -EINVAL;
	}
	t->load |= VCPU_LOAD_SEGMENTS;
	return 0;
}

SYSCALL(prctl)
{
	char name[16] = "";

	switch (a[0]) {
	case 15:	/* PR_SET_NAME */
		if (user_string(t, name, sizeof(name), a[1]) == -EFAULT)
			return -EFAULT;
		name[15] = 0;
		memcpy(t->comm, name, sizeof(name));
		return 0;
	case 16:	/* PR_GET_NAME */
		return user_write(t, a[1], t->comm, 16);
	default:
		return -EINVAL;
	}
}

SYSCALL(uname)
{
	struct utsname u;

	uname(&u);
	return user_write(t, a[0], &u, sizeof(u));
}

SYSCALL(getrandom)
{
	uint64_t done = 0, stored;
	char buf[4096];

	if (a[2] & ~7ull)
		return -EINVAL;
	while (done < a[1] && done < 1 << 20) {
		size_t want = a[1] - done < sizeof(buf) ? a[1] - done : sizeof(buf);
		ssize_t n = getrandom(buf, want, (unsigned)a[2] & ~2u);

		if (n < 0)
			return done ? (int64_t)done : -errno;
		stored = user_write_some(t, a[0] + done, buf, (size_t)n);
		done += stored;
		if (stored < (uint64_t)n)
			return done ? (int64_t)done : -EFAULT;
	}
	return (int64_t)done;
}

SYSCALL(getrusage)
{
	static const char zeros[sizeof(struct rusage)];

	return user_write(t, a[1], zeros, sizeof(zeros));
}

SYSCALL(sysinfo)
{
	struct vellum_memory_info info;
	struct sysinfo si;

	sysinfo(&si);
	vellum_memory_info(t->kernel->args->memory, &info);
	si.totalram = info.nr_frames * VELLUM_PAGE_SIZE / si.mem_unit;
	si.freeram = info.nr_free * VELLUM_PAGE_SIZE / si.mem_unit;
	return user_write(t, a[0], &si, sizeof(si));
}

SYSCALL(sched_yield)
{
	(void)a;
	cpu_release(t);
	sched_yield();
	return 0;
}

SYSCALL(sched_getaffinity)
{
	uint64_t mask = t->kernel->args->machine->nr_cpus >= 64 ?
				~0ull :
				(1ull << t->kernel->args->machine->nr_cpus) - 1;

	if (a[1] < 8)
		return -EINVAL;
	return user_write(t, a[2], &mask, 8) ? -EFAULT : 8;
}

/* One thread a process: nobody wakes, nobody waits but in vain. */
SYSCALL(futex)
{
	uint32_t word;

	switch (a[1] & 127) {
	case 0:		/* FUTEX_WAIT */
	case 9:		/* FUTEX_WAIT_BITSET */
		if (user_read(t, &word, a[0], sizeof(word)))
			return -EFAULT;
		return word != (uint32_t)a[2] ? -EAGAIN : -EDEADLK;
	case 1:		/* FUTEX_WAKE */
	case 10:
		return 0;
	default:
		return -ENOSYS;
	}
}
