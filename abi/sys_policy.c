/* SPDX-License-Identifier: MIT */
/*
 * abi/sys_policy.c - scheduling policies: sched(7). They order the threads of the run: the pool gives a CPU to the thread
 * with the highest rank (cpu.c). The host schedules Vellum as any process. There are no deadlines (SCHED_DEADLINE).
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/capability.h>
#include <sched.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "abi/access.h"

#include "syscalls.h"	/* made from syscall.tbl */

/* linux/sched.h, which does not go with the C library's sched.h */
#define FLAG_RESET_ON_FORK	0x01
#define FLAG_KEEP_POLICY	0x08
#define FLAG_KEEP_PARAMS	0x10
#define FLAGS_UTIL_CLAMP	0x60
#define KNOWN_FLAGS		0x7f	/* those of deadlines included */
#define POLICY_DEADLINE		6
#define POLICY_EXT		7

#define MAX_PRIORITY	99
#define RR_SLICE_NS	100000000	/* Linux's default of sched_rr_timeslice_ms */
#define NICE_LIMIT_BASE	20		/* RLIMIT_NICE of getrlimit(2) is 20 minus the nice value */

struct sched_attr {		/* sched_setattr(2); <linux/sched/types.h> does not go with <sched.h> */
	uint32_t size, sched_policy;
	uint64_t sched_flags;
	int32_t sched_nice;
	uint32_t sched_priority;
	uint64_t sched_runtime, sched_deadline, sched_period;
	uint32_t sched_util_min, sched_util_max;
};

#define SCHED_ATTR_SIZE_VER0 48

static bool is_real_time(int policy)
{
	return policy == SCHED_FIFO || policy == SCHED_RR;
}

static bool is_policy(int policy)
{
	return policy == SCHED_OTHER || policy == SCHED_BATCH || policy == SCHED_IDLE || is_real_time(policy);
}

/* The thread with @tid, or @t. NULL: there is none. kernel->lock held. */
static struct task *find(struct task *t, int tid)
{
	return tid ? task_find(t->kernel, tid) : t;
}

/* --- look --- */

static int64_t get(struct task *t, int tid, struct task_policy *policy, pid_t *host_tid)
{
	const struct task *other;

	if (tid < 0)
		return -EINVAL;
	pthread_mutex_lock(&t->kernel->lock);
	other = find(t, tid);
	if (other) {
		*policy = other->policy;
		*host_tid = other->host_tid;
	}
	pthread_mutex_unlock(&t->kernel->lock);
	return other ? 0 : -ESRCH;
}

int64_t sys_sched_getscheduler(struct task *t, int pid)
{
	struct task_policy p;
	pid_t host;
	int64_t err = get(t, pid, &p, &host);

	return err ? err : p.policy | (p.reset_on_fork ? SCHED_RESET_ON_FORK : 0);
}

int64_t sys_sched_getparam(struct task *t, int pid, uint64_t param)
{
	struct task_policy p;
	struct sched_param out;
	pid_t host;
	int64_t err = param ? get(t, pid, &p, &host) : -EINVAL;

	if (err)
		return err;
	out.sched_priority = p.priority;
	return user_write(t, param, &out, sizeof(out));
}

int64_t sys_sched_rr_get_interval(struct task *t, int pid, uint64_t tp)
{
	struct task_policy p;
	struct timespec ts = { 0 };
	pid_t host;
	int64_t err = get(t, pid, &p, &host);

	if (err)
		return err;
	if (p.policy == SCHED_RR)
		ts.tv_nsec = RR_SLICE_NS;
	else if (p.policy != SCHED_FIFO && sched_rr_get_interval(host, &ts))	/* 0: the caller's is the same */
		return -errno;
	return user_write(t, tp, &ts, sizeof(ts));
}

int64_t sys_sched_get_priority_max(struct task *t, int policy)
{
	int n = sched_get_priority_max(policy);

	return n < 0 ? -errno : n;
}

int64_t sys_sched_get_priority_min(struct task *t, int policy)
{
	int n = sched_get_priority_min(policy);

	return n < 0 ? -errno : n;
}

int64_t sys_sched_getattr(struct task *t, int pid, uint64_t uattr, uint32_t size, uint32_t flags)
{
	struct sched_attr attr;
	struct task_policy p;
	pid_t host;
	int64_t err;

	if (!uattr || pid < 0 || size > VELLUM_PAGE_SIZE || size < SCHED_ATTR_SIZE_VER0 || flags)
		return -EINVAL;
	err = get(t, pid, &p, &host);
	if (err)
		return err;
	memset(&attr, 0, sizeof(attr));
	if (host && syscall(SYS_sched_getattr, host, &attr, sizeof(attr), 0))	/* the nice value and others */
		return -errno;
	attr.size = size < sizeof(attr) ? size : sizeof(attr);
	attr.sched_policy = (uint32_t)p.policy;
	attr.sched_priority = (uint32_t)p.priority;
	attr.sched_flags = p.reset_on_fork ? FLAG_RESET_ON_FORK : 0;
	if (is_real_time(p.policy)) {
		attr.sched_nice = 0;
		attr.sched_runtime = 0;
	}
	return user_write(t, uattr, &attr, attr.size);
}

/* --- change --- */

static bool nice_is_allowed(const struct task *other)
{
	long n = syscall(SYS_getpriority, PRIO_PROCESS, other->host_tid);	/* 20 minus the nice value */

	return n > 0 && (rlim_t)n <= other->process->rlimits[RLIMIT_NICE].rlim_cur;
}

/* sched(7), privileges and resource limits. 0 or -EPERM. kernel->lock held. */
static int check_rights(const struct task *t, const struct task *other, const struct task_policy *new)
{
	const rlim_t allowed = other->process->rlimits[RLIMIT_RTPRIO].rlim_cur;
	const int limit = allowed < MAX_PRIORITY ? (int)allowed : MAX_PRIORITY;
	const struct task_policy *old = &other->policy;

	if (has_capability(CAP_SYS_NICE))
		return 0;
	if (is_real_time(new->policy)) {
		if (new->policy != old->policy && !limit)
			return -EPERM;
		if (new->priority > old->priority && new->priority > limit)
			return -EPERM;
	}
	if (old->policy == SCHED_IDLE && new->policy != SCHED_IDLE && !nice_is_allowed(other))
		return -EPERM;
	if (old->reset_on_fork && !new->reset_on_fork)
		return -EPERM;
	return access_check_schedule(t, other);
}

/* A thread that does not run yet has it from its start on. kernel->lock held. */
static int set_nice(struct task *other, int nice)
{
	int err;

	if (!other->host_tid) {
		other->sets_nice = true;
		other->start_nice = nice;
		return 0;
	}
	err = host_set_nice(other, nice);
	return err == -EACCES ? -EPERM : err;
}

/* -1: as it was, of the policy; @keep_priority: of the priority. 0 or a negative errno. */
static int set(struct task *t, int tid, struct task_policy new, bool keep_priority, const int *nice)
{
	struct task *other;
	int err = 0;

	pthread_mutex_lock(&t->kernel->lock);
	other = find(t, tid);
	if (!other)
		err = -ESRCH;
	if (other && new.policy < 0) {
		new.policy = other->policy.policy;
		new.reset_on_fork |= other->policy.reset_on_fork;
	}
	if (other && keep_priority)
		new.priority = other->policy.priority;
	if (!err && (!is_policy(new.policy) || new.priority < 0 || new.priority > MAX_PRIORITY ||
		     is_real_time(new.policy) != (new.priority != 0)))
		err = new.policy == POLICY_DEADLINE || new.policy == POLICY_EXT ? -EPERM : -EINVAL;
	if (!err)
		err = check_rights(t, other, &new);
	if (!err && nice && !is_real_time(new.policy))
		err = set_nice(other, *nice);
	if (!err)
		cpu_set_policy(other, &new);
	pthread_mutex_unlock(&t->kernel->lock);
	return err;
}

int64_t sys_sched_setscheduler(struct task *t, int pid, int policy, uint64_t addr)
{
	struct sched_param param;

	if (policy < 0 || pid < 0 || !addr)
		return -EINVAL;
	if (user_read(t, &param, addr, sizeof(param)))
		return -EFAULT;
	return set(t, pid, (struct task_policy){ .policy = policy & ~SCHED_RESET_ON_FORK, .priority = param.sched_priority,
						 .reset_on_fork = policy & SCHED_RESET_ON_FORK }, false, NULL);
}

int64_t sys_sched_setparam(struct task *t, int pid, uint64_t addr)
{
	struct sched_param param;

	if (pid < 0 || !addr)
		return -EINVAL;
	if (user_read(t, &param, addr, sizeof(param)))
		return -EFAULT;
	return set(t, pid, (struct task_policy){ .policy = -1, .priority = param.sched_priority }, false, NULL);
}

/* As sched_setattr(2) tells which size it knows. */
static int read_attr(struct task *t, struct sched_attr *attr, uint64_t uattr)
{
	const uint32_t known = sizeof(*attr);
	uint32_t size;
	int err;

	if (user_read(t, &size, uattr, sizeof(size)))
		return -EFAULT;
	if (!size)
		size = SCHED_ATTR_SIZE_VER0;
	err = size < SCHED_ATTR_SIZE_VER0 || size > VELLUM_PAGE_SIZE ? -E2BIG :
	      user_read_sized(t, attr, sizeof(*attr), uattr, size);
	if (err == -E2BIG && user_write(t, uattr, &known, sizeof(known)))
		return -EFAULT;
	return err;
}

int64_t sys_sched_setattr(struct task *t, int pid, uint64_t uattr, uint32_t flags)
{
	struct task_policy new = { .policy = -1 };
	struct sched_attr attr;
	int err, nice;

	if (!uattr || pid < 0 || flags)
		return -EINVAL;
	err = read_attr(t, &attr, uattr);
	if (err)
		return err;
	if ((int)attr.sched_policy < 0 || (attr.sched_flags & ~(uint64_t)KNOWN_FLAGS))
		return -EINVAL;
	if (attr.sched_flags & FLAGS_UTIL_CLAMP)
		return -EOPNOTSUPP;
	nice = attr.sched_nice < -20 ? -20 : attr.sched_nice > 19 ? 19 : attr.sched_nice;
	if (!(attr.sched_flags & FLAG_KEEP_POLICY))
		new.policy = (int)attr.sched_policy;
	new.priority = attr.sched_priority > MAX_PRIORITY ? MAX_PRIORITY + 1 : (int)attr.sched_priority;
	new.reset_on_fork = attr.sched_flags & FLAG_RESET_ON_FORK;
	return set(t, pid, new, attr.sched_flags & FLAG_KEEP_PARAMS, attr.sched_flags & FLAG_KEEP_PARAMS ? NULL : &nice);
}

void policy_fork(struct task *child, const struct task *parent)
{
	struct task_policy p;

	pthread_mutex_lock(&parent->kernel->lock);
	p = parent->policy;
	pthread_mutex_unlock(&parent->kernel->lock);
	if (p.reset_on_fork) {
		child->sets_nice = is_real_time(p.policy) || getpriority(PRIO_PROCESS, 0) < 0;	/* to 0 */
		p = (struct task_policy){ .policy = is_real_time(p.policy) ? SCHED_OTHER : p.policy };
	}
	cpu_set_policy(child, &p);
}
