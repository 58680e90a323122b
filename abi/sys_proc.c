/* SPDX-License-Identifier: MIT */
/* abi/sys_proc.c - clone(2), unshare(2), execve(2), exit(2), prctl(2), uname(2), getrandom(2) and others. */
#define _GNU_SOURCE
#include <asm/prctl.h>
#include <errno.h>
#include <limits.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include "abi/path.h"
#include "abi/task.h"

#include "syscalls.h"	/* made from syscall.tbl */

#define MAX_STRING	131072		/* bytes of one argument of execve(2) */
#define MAX_RANDOM	(1u << 20)	/* bytes of one getrandom(2) */

int64_t sys_fork(struct task *t)
{
	return task_clone(t, &(struct clone_request){ .exit_signal = SIGCHLD });
}

int64_t sys_vfork(struct task *t)
{
	return task_clone(t, &(struct clone_request){ .exit_signal = SIGCHLD, .flags = CLONE_VM | CLONE_VFORK });
}

int64_t sys_clone(struct task *t, uint64_t flags, uint64_t stack, uint64_t parent_tid, uint64_t child_tid,
		  uint64_t tls)
{
	const struct clone_request rq = { .flags = flags & ~(uint64_t)CSIGNAL, .exit_signal = (int)(flags & CSIGNAL),
					  .stack = stack, .parent_tid = parent_tid, .child_tid = child_tid, .tls = tls,
					  .pidfd = parent_tid };

	if ((flags & CLONE_PIDFD) && (flags & (CLONE_PARENT_SETTID | CLONE_DETACHED)))
		return -EINVAL;
	return rq.exit_signal > NR_SIGNALS ? -EINVAL : task_clone(t, &rq);
}

int64_t sys_clone3(struct task *t, uint64_t cl_args, uint64_t size)
{
	struct clone_request rq;
	struct clone_args args;
	int err;

	if (size > VELLUM_PAGE_SIZE)
		return -E2BIG;
	if (size < CLONE_ARGS_SIZE_VER0)
		return -EINVAL;
	err = user_read_sized(t, &args, sizeof(args), cl_args, size);
	if (err)
		return err;
	if ((args.flags & (CLONE_DETACHED | CSIGNAL)) || args.exit_signal > NR_SIGNALS || !args.stack != !args.stack_size)
		return -EINVAL;
	if ((args.flags & CLONE_PIDFD) && (args.flags & CLONE_PARENT_SETTID) && args.pidfd == args.parent_tid)
		return -EINVAL;
	if (args.set_tid || args.set_tid_size)
		return args.set_tid && args.set_tid_size ? -EPERM : -EINVAL;
	if ((args.flags & (CLONE_THREAD | CLONE_PARENT)) && args.exit_signal)
		return -EINVAL;
	rq = (struct clone_request){ .flags = args.flags, .exit_signal = (int)args.exit_signal,
				     .stack = args.stack + args.stack_size, .parent_tid = args.parent_tid,
				     .child_tid = args.child_tid, .tls = args.tls, .pidfd = args.pidfd };
	return task_clone(t, &rq);
}

/* --- unshare(2) --- */

/* Is the memory or are the handlers shared with another process? */
static bool shares_memory(const struct task *t, uint64_t flags)
{
	bool shared = !is_single(t->process);

	pthread_mutex_lock(&t->kernel->lock);
	if (flags & (CLONE_SIGHAND | CLONE_VM))
		shared |= t->process->sighand->refs > 1;
	for (const struct process *p = t->kernel->processes; p && (flags & CLONE_VM); p = p->next)
		for (const struct task *other = p->threads; other; other = other->next)
			shared |= other != t && other->gmm == t->gmm;
	pthread_mutex_unlock(&t->kernel->lock);
	return shared;
}

int64_t sys_unshare(struct task *t, uint64_t flags)
{
	const uint64_t namespaces = CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET |
				    CLONE_NEWCGROUP | CLONE_NEWTIME;
	const uint64_t alone = CLONE_THREAD | CLONE_SIGHAND | CLONE_VM;

	if (flags & ~(namespaces | alone | CLONE_FILES | CLONE_FS | CLONE_SYSVSEM))
		return -EINVAL;
	if ((flags & alone) && shares_memory(t, flags))
		return -EINVAL;
	if (flags & namespaces)
		return -ENOSYS;
	return sharing_unshare(t, flags & (CLONE_FILES | CLONE_FS));
}

/* --- execve --- */

static void free_strings(char **strings)
{
	for (size_t i = 0; strings && strings[i]; i++)
		free(strings[i]);
	free(strings);
}

/* Copy an array of strings that NULL terminates. 0 or a negative errno. */
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
			total += strlen(buf) + ARG_OVERHEAD;
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

int64_t sys_execve(struct task *t, uint64_t path, uint64_t argv, uint64_t envp)
{
	char name[PATH_BYTES];
	char **args = NULL, **env = NULL;
	int err = user_string(t, name, sizeof(name), path), fd;

	if (err)
		return err;
	fd = exec_open(t, name);
	if (fd < 0)
		return fd;
	err = read_strings(t, argv, &args);
	if (!err)
		err = read_strings(t, envp, &env);
	if (err)
		close(fd);
	else
		err = exec_load(t, fd, name, args, env);
	free_strings(args);
	free_strings(env);
	/* After a success the registers belong to the new program, whose rax is 0. */
	return err;
}

int64_t sys_exit(struct task *t, int status)
{
	task_exit(t, W_EXITCODE(status & 0xff, 0));
}

int64_t sys_exit_group(struct task *t, int status)
{
	process_exit(t, W_EXITCODE(status & 0xff, 0));
}

/* --- the rest --- */

int64_t sys_set_tid_address(struct task *t, uint64_t tidptr)
{
	t->clear_child_tid = tidptr;
	return t->tid;
}

int64_t sys_arch_prctl(struct task *t, uint32_t code, uint64_t addr)
{
	if ((code == ARCH_SET_GS || code == ARCH_SET_FS) && addr >= VELLUM_TASK_SIZE)
		return -EPERM;
	switch (code) {
	case ARCH_SET_GS: t->st.gs_base = addr; break;
	case ARCH_SET_FS: t->st.fs_base = addr; break;
	case ARCH_GET_FS: return user_write(t, addr, &t->st.fs_base, sizeof(t->st.fs_base));
	case ARCH_GET_GS: return user_write(t, addr, &t->st.gs_base, sizeof(t->st.gs_base));
	default: return -EINVAL;
	}
	t->load |= VCPU_LOAD_SEGMENTS;
	return 0;
}

int64_t sys_uname(struct task *t, uint64_t buf)
{
	struct utsname u;

	uname(&u);
	return user_write(t, buf, &u, sizeof(u));
}

int64_t sys_getrandom(struct task *t, uint64_t buf, uint64_t count, uint32_t flags)
{
	uint64_t done = 0, stored;
	char bytes[4096];

	if (flags & ~(uint32_t)(GRND_NONBLOCK | GRND_RANDOM | GRND_INSECURE))
		return -EINVAL;
	while (done < count && done < MAX_RANDOM) {
		size_t want = count - done < sizeof(bytes) ? count - done : sizeof(bytes);
		ssize_t n = getrandom(bytes, want, flags & ~(uint32_t)GRND_RANDOM);

		if (n < 0)
			return done ? (int64_t)done : -errno;
		stored = user_write_some(t, buf + done, bytes, (size_t)n);
		done += stored;
		if (stored < (uint64_t)n)
			return done ? (int64_t)done : -EFAULT;
	}
	return (int64_t)done;
}

int64_t sys_getrusage(struct task *t, int target, uint64_t usage)
{
	struct usage used = { 0 };
	struct rusage out;

	if (target != RUSAGE_SELF && target != RUSAGE_CHILDREN && target != RUSAGE_THREAD)
		return -EINVAL;
	usage_note_memory(t);
	pthread_mutex_lock(&t->kernel->lock);
	if (target == RUSAGE_SELF)
		usage_of_process(t->process, &used);
	else if (target == RUSAGE_THREAD)
		usage_of_thread(t, &used);
	else
		used = t->process->children;
	pthread_mutex_unlock(&t->kernel->lock);
	usage_to_rusage(&used, &out);
	return user_write(t, usage, &out, sizeof(out));
}

int64_t sys_sched_yield(struct task *t)
{
	cpu_release(t);
	sched_yield();
	return 0;
}
