/* SPDX-License-Identifier: MIT */
/*
 * abi/access.c - access checks; see access.h. The credentials of a thread are those of its thread of the host. They are
 * also noted in struct task, for the other threads.
 */
#define _GNU_SOURCE
#include "abi/access.h"

#include <errno.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Those of the calling thread. */
static void read_capabilities(struct __user_cap_data_struct caps[_LINUX_CAPABILITY_U32S_3])
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };

	if (syscall(SYS_capget, &head, caps))
		memset(caps, 0, _LINUX_CAPABILITY_U32S_3 * sizeof(caps[0]));
}

bool has_capability(unsigned cap)
{
	struct __user_cap_data_struct caps[_LINUX_CAPABILITY_U32S_3];

	read_capabilities(caps);
	return caps[CAP_TO_INDEX(cap)].effective & CAP_TO_MASK(cap);
}

/* --- credentials --- */

void credentials_read(struct credentials *c)
{
	struct __user_cap_data_struct caps[_LINUX_CAPABILITY_U32S_3];

	read_capabilities(caps);
	c->permitted = caps[0].permitted | (uint64_t)caps[1].permitted << 32;
	c->effective = caps[0].effective | (uint64_t)caps[1].effective << 32;
	getresuid(&c->user.real, &c->user.effective, &c->user.saved);
	getresgid(&c->group.real, &c->group.effective, &c->group.saved);
	/* An invalid ID changes nothing: the call returns the present one. */
	c->file_user = (uint32_t)syscall(SYS_setfsuid, -1);
	c->file_group = (uint32_t)syscall(SYS_setfsgid, -1);
}

static bool has_other_rights(const struct credentials *a, const struct credentials *b)
{
	return a->user.effective != b->user.effective || a->group.effective != b->group.effective ||
	       a->file_user != b->file_user || a->file_group != b->file_group;
}

/* Note those of the calling thread, which is that of @t. */
static void note_credentials(struct task *t)
{
	struct credentials now;

	credentials_read(&now);
	pthread_mutex_lock(&t->kernel->lock);
	t->credentials = now;
	if (t->tid == t->process->pid)
		t->process->credentials = now;
	pthread_mutex_unlock(&t->kernel->lock);
}

void credentials_changed(struct task *t)
{
	const struct credentials old = t->credentials;

	note_credentials(t);
	__atomic_store_n(&t->limits_changed, true, __ATOMIC_RELEASE);	/* CAP_IPC_LOCK lifts RLIMIT_MEMLOCK */
	if (has_other_rights(&t->credentials, &old)) {
		__atomic_store_n(&t->gmm->not_dumpable, true, __ATOMIC_RELAXED);
		__atomic_store_n(&t->parent_death_signal, 0, __ATOMIC_RELAXED);
	}
}

void credentials_exec(struct task *t, struct guest_mm *gmm)
{
	struct credentials *c = &t->credentials;

	syscall(SYS_setresuid, -1, -1, c->user.effective);
	syscall(SYS_setresgid, -1, -1, c->group.effective);
	gmm->not_dumpable = c->user.real != c->user.effective || c->group.real != c->group.effective;
	note_credentials(t);
}

/* --- checks --- */

int access_check_signal(const struct task *t, const struct process *p, const struct credentials *c, int signo)
{
	const struct id_set *from = &t->credentials.user, *to = &c->user;

	if (signo < 0 || signo > NR_SIGNALS)
		return -EINVAL;
	if (p == t->process || from->effective == to->real || from->effective == to->saved || from->real == to->real ||
	    from->real == to->saved)
		return 0;
	if (signo == SIGCONT && p->sid == t->process->sid)
		return 0;
	return has_capability(CAP_KILL) ? 0 : -EPERM;
}

static bool are_all(const struct id_set *ids, uint32_t id)
{
	return ids->real == id && ids->effective == id && ids->saved == id;
}

static bool is_dumpable(const struct process *p)
{
	const struct task *t = p->threads;

	while (t && !t->gmm)
		t = t->next;
	return !t || !__atomic_load_n(&t->gmm->not_dumpable, __ATOMIC_RELAXED);
}

int access_check(const struct task *t, const struct process *p, enum access_ids ids)
{
	const struct credentials *own = &t->credentials, *c = &p->credentials;
	const uint32_t user = ids == ACCESS_REAL ? own->user.real : own->file_user;
	const uint32_t group = ids == ACCESS_REAL ? own->group.real : own->file_group;

	if (p == t->process || (are_all(&c->user, user) && are_all(&c->group, group) && is_dumpable(p) &&
				!(c->permitted & ~own->permitted)))
		return 0;
	return has_capability(CAP_SYS_PTRACE) ? 0 : -EPERM;
}

int access_check_limits(const struct task *t, const struct process *p)
{
	const struct credentials *own = &t->credentials, *c = &p->credentials;

	if (p == t->process || (are_all(&c->user, own->user.real) && are_all(&c->group, own->group.real)))
		return 0;
	return has_capability(CAP_SYS_RESOURCE) ? 0 : -EPERM;
}

int access_check_schedule(const struct task *t, const struct task *other)
{
	const struct credentials *own = &t->credentials, *c = &other->credentials;
	const uint32_t user = own->user.effective;

	if ((user == c->user.effective || user == c->user.real) && !(c->permitted & ~own->permitted))
		return 0;
	return has_capability(CAP_SYS_NICE) ? 0 : -EPERM;
}
