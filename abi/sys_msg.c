/* SPDX-License-Identifier: MIT */
/*
 * abi/sys_msg.c - System V message queues: msgget(2), msgsnd(2), msgrcv(2), msgctl(2). kernel->lock protects them. A call
 * that waits looks its queue up again whenever the queue changed, as it may have been removed.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/msg.h>
#include <time.h>

#include "abi/access.h"
#include "abi/ipc.h"

#include "syscalls.h"	/* made from syscall.tbl */

/* Limits of Linux: sysctl kernel.msgmax, msgmnb. */
#define MAX_BYTES	8192	/* of a message */
#define QUEUE_BYTES	16384	/* of the messages of a queue, and their number */
#define MAX_MEMORY	(64u << 20)	/* bytes of a run's messages, with what belongs to them */
#ifndef MSG_STAT_ANY
#define MSG_STAT_ANY	13
#endif
#ifndef MSG_COPY
#define MSG_COPY	040000
#endif

struct message {
	struct message *next;
	int64_t type;
	size_t len;
	char bytes[];
};

struct queue {
	struct ipc_object o;
	struct message *first, **end;
	uint64_t bytes, nr, max_bytes;
	int64_t stime, rtime, ctime;
	int lspid, lrpid;
	unsigned nr_waiting;
};

static struct queue *queue_of(struct ipc_object *o)
{
	return (struct queue *)o;
}

static struct queue *find_queue(const struct kernel *k, int id)
{
	return queue_of(ipc_find(&k->ipc->msg, id));
}

static void wake(struct kernel *k, const struct queue *q)
{
	if (q->nr_waiting)
		pthread_cond_broadcast(&k->changed);
}

/* Sleep until something changed. *@q: NULL if it was removed. 0, or -ERESTARTNOHAND for a signal. kernel->lock held. */
static int wait_for_change(struct task *t, struct queue **q)
{
	int id = (*q)->o.id;

	if (signal_pending(t))
		return -ERESTARTNOHAND;
	(*q)->nr_waiting++;
	pthread_cond_wait(&t->kernel->changed, &t->kernel->lock);
	*q = find_queue(t->kernel, id);
	if (*q)
		(*q)->nr_waiting--;
	return *q ? 0 : -EIDRM;
}

/* --- msgget(2) --- */

/* kernel->lock held. The ID or a negative errno. */
static int make_queue(struct kernel *k, int32_t key, int flags)
{
	struct queue *q = calloc(1, sizeof(*q));
	int err;

	if (!q)
		return -ENOMEM;
	err = ipc_add(&k->ipc->msg, &q->o, key, (uint32_t)flags);
	if (err) {
		free(q);
		return err;
	}
	q->end = &q->first;
	q->max_bytes = QUEUE_BYTES;
	q->ctime = time(NULL);
	return q->o.id;
}

int64_t sys_msgget(struct task *t, int key, int flags)
{
	struct kernel *k = t->kernel;
	const struct ipc_object *o;
	int result;

	pthread_mutex_lock(&k->lock);
	o = ipc_get(&k->ipc->msg, key, flags, &result);
	if (o && !result)
		result = ipc_check_access(o, (uint32_t)flags);
	if (!result)
		result = o ? o->id : make_queue(k, key, flags);
	pthread_mutex_unlock(&k->lock);
	return result;
}

/* --- msgsnd(2) --- */

static bool has_room(const struct queue *q, size_t len)
{
	return q->bytes + len <= q->max_bytes && q->nr + 1 <= q->max_bytes;
}

/* kernel->lock held. On success the queue has @m. */
static int send_message(struct task *t, int id, struct message *m, int flags)
{
	struct kernel *k = t->kernel;
	struct queue *q = find_queue(k, id);
	int err = q ? 0 : -EINVAL;

	while (!err) {
		err = ipc_check_access(&q->o, MAY_WRITE);
		if (err || has_room(q, m->len))
			break;
		err = flags & IPC_NOWAIT ? -EAGAIN : wait_for_change(t, &q);
	}
	if (!err && k->ipc->msg_bytes + sizeof(*m) + m->len > MAX_MEMORY)
		err = -ENOMEM;
	if (err)
		return err;
	k->ipc->msg_bytes += sizeof(*m) + m->len;
	*q->end = m;
	q->end = &m->next;
	q->bytes += m->len;
	q->nr++;
	q->lspid = t->process->pid;
	q->stime = time(NULL);
	wake(k, q);
	return 0;
}

int64_t sys_msgsnd(struct task *t, int msqid, uint64_t msgp, uint64_t size, int flags)
{
	struct message *m;
	int64_t type;
	int err;

	if (user_read(t, &type, msgp, sizeof(type)))
		return -EFAULT;
	if (size > MAX_BYTES || msqid < 0 || type < 1)
		return -EINVAL;
	m = malloc(sizeof(*m) + size);
	if (!m)
		return -ENOMEM;
	*m = (struct message){ .type = type, .len = size };
	if (user_read(t, m->bytes, msgp + sizeof(type), size)) {
		free(m);
		return -EFAULT;
	}
	cpu_release(t);
	pthread_mutex_lock(&t->kernel->lock);
	err = send_message(t, msqid, m, flags);
	pthread_mutex_unlock(&t->kernel->lock);
	if (err)
		free(m);
	return err;
}

/* --- msgrcv(2) --- */

/* The pointer to the message that a call with @type takes; it is NULL if there is none. MSG_COPY: @type is its position. */
static struct message **find_message(struct queue *q, int64_t type, int flags)
{
	struct message **at = &q->first, **lowest = NULL;
	int64_t most = type == INT64_MIN ? INT64_MAX : -type;

	if (flags & MSG_COPY) {
		for (; *at && type > 0; type--)
			at = &(*at)->next;
		return at;
	}
	if (type < 0) {
		for (; *at; at = &(*at)->next)
			if ((*at)->type <= most && (!lowest || (*at)->type < (*lowest)->type))
				lowest = at;
		return lowest ? lowest : at;
	}
	while (*at && type && ((*at)->type == type) == !!(flags & MSG_EXCEPT))
		at = &(*at)->next;
	return at;
}

/* kernel->lock held. */
static void take_message(struct task *t, struct queue *q, struct message **at)
{
	struct message *m = *at;

	*at = m->next;
	if (!*at)
		q->end = at;
	q->bytes -= m->len;
	q->nr--;
	q->lrpid = t->process->pid;
	q->rtime = time(NULL);
	t->kernel->ipc->msg_bytes -= sizeof(*m) + m->len;
	wake(t->kernel, q);
}

static struct message *copy_message(const struct message *m)
{
	struct message *copy = malloc(sizeof(*copy) + m->len);

	if (copy)
		memcpy(copy, m, sizeof(*m) + m->len);
	return copy;
}

/* kernel->lock held. *@out: the message, which is no longer in the queue, or a copy. 0 or a negative errno. */
static int receive_message(struct task *t, int id, size_t size, int64_t type, int flags, struct message **out)
{
	struct queue *q = find_queue(t->kernel, id);
	struct message **at = NULL;
	int err = q ? 0 : -EINVAL;

	while (!err) {
		err = ipc_check_access(&q->o, MAY_READ);
		if (err)
			break;
		at = find_message(q, type, flags);
		if (*at)
			break;
		err = flags & IPC_NOWAIT ? -ENOMSG : wait_for_change(t, &q);
	}
	if (!err && (*at)->len > size && !(flags & MSG_NOERROR))
		err = -E2BIG;
	if (err)
		return err;
	*out = flags & MSG_COPY ? copy_message(*at) : *at;
	if (!(flags & MSG_COPY))
		take_message(t, q, at);
	return *out ? 0 : -ENOMEM;
}

int64_t sys_msgrcv(struct task *t, int msqid, uint64_t msgp, uint64_t size, int64_t type, int flags)
{
	struct message *m = NULL;
	int64_t result;

	if (msqid < 0 || (int64_t)size < 0)
		return -EINVAL;
	if ((flags & MSG_COPY) && ((flags & MSG_EXCEPT) || !(flags & IPC_NOWAIT)))
		return -EINVAL;
	cpu_release(t);
	pthread_mutex_lock(&t->kernel->lock);
	result = receive_message(t, msqid, size, type, flags, &m);
	pthread_mutex_unlock(&t->kernel->lock);
	if (result)
		return result;
	/* The message is lost if it cannot be stored, as in Linux. */
	result = (int64_t)(m->len < size ? m->len : size);
	if (user_write(t, msgp, &m->type, sizeof(m->type)) ||
	    user_write(t, msgp + sizeof(m->type), m->bytes, (uint64_t)result))
		result = -EFAULT;
	free(m);
	return result;
}

/* --- msgctl(2) --- */

static int64_t get_status(struct task *t, int id, int cmd, uint64_t addr)
{
	const struct ipc_table *table = &t->kernel->ipc->msg;
	struct msqid_ds status = { .msg_stime = 0 };
	const struct queue *q;
	int64_t result = -EINVAL;

	pthread_mutex_lock(&t->kernel->lock);
	q = queue_of(cmd == IPC_STAT ? ipc_find(table, id) : ipc_at(table, id));
	if (q)
		result = cmd == MSG_STAT_ANY ? 0 : ipc_check_access(&q->o, MAY_READ);
	if (!result) {
		ipc_fill_perm(&status.msg_perm, &q->o);
		status.msg_stime = q->stime;
		status.msg_rtime = q->rtime;
		status.msg_ctime = q->ctime;
		status.__msg_cbytes = q->bytes;
		status.msg_qnum = q->nr;
		status.msg_qbytes = q->max_bytes;
		status.msg_lspid = q->lspid;
		status.msg_lrpid = q->lrpid;
		result = cmd == IPC_STAT ? 0 : q->o.id;
	}
	pthread_mutex_unlock(&t->kernel->lock);
	return result >= 0 && user_write(t, addr, &status, sizeof(status)) ? -EFAULT : result;
}

/* MSG_INFO: the queues, messages and bytes that there are. */
static void count_messages(const struct ipc_table *table, struct msginfo *info)
{
	info->msgpool = (int)table->nr;
	info->msgmap = info->msgtql = 0;
	for (int i = 0; i < IPC_MAX_OBJECTS; i++) {
		const struct queue *q = queue_of(table->at[i]);

		info->msgmap += q ? (int)q->nr : 0;
		info->msgtql += q ? (int)q->bytes : 0;
	}
}

static int64_t get_info(struct task *t, int cmd, uint64_t addr)
{
	/* The values of Linux for what it does not limit. */
	struct msginfo info = { .msgpool = IPC_MAX_OBJECTS * QUEUE_BYTES / 1024, .msgmap = QUEUE_BYTES, .msgmax = MAX_BYTES,
				.msgmnb = QUEUE_BYTES, .msgmni = IPC_MAX_OBJECTS, .msgssz = 16, .msgtql = QUEUE_BYTES,
				.msgseg = 0xffff };
	int max;

	pthread_mutex_lock(&t->kernel->lock);
	if (cmd == MSG_INFO)
		count_messages(&t->kernel->ipc->msg, &info);
	max = ipc_max_index(&t->kernel->ipc->msg);
	pthread_mutex_unlock(&t->kernel->lock);
	return user_write(t, addr, &info, sizeof(info)) ? -EFAULT : max;
}

static void free_messages(struct message *m)
{
	while (m) {
		struct message *next = m->next;

		free(m);
		m = next;
	}
}

/* kernel->lock held. */
static int remove_queue(struct kernel *k, struct queue *q)
{
	int err = ipc_check_owner(&q->o);

	if (err)
		return err;
	ipc_remove(&k->ipc->msg, &q->o);
	k->ipc->msg_bytes -= q->bytes + q->nr * sizeof(struct message);
	wake(k, q);
	free_messages(q->first);
	free(q);
	return 0;
}

/* kernel->lock held. */
static int set_queue(struct kernel *k, struct queue *q, const struct msqid_ds *new)
{
	int err = ipc_check_owner(&q->o);

	if (!err && new->msg_qbytes > QUEUE_BYTES && !has_capability(CAP_SYS_RESOURCE))
		err = -EPERM;
	if (!err)
		err = ipc_set_perm(&q->o, &new->msg_perm);
	if (err)
		return err;
	q->max_bytes = new->msg_qbytes;
	q->ctime = time(NULL);
	wake(k, q);
	return 0;
}

static int64_t change(struct task *t, int id, int cmd, uint64_t addr)
{
	struct msqid_ds new;
	struct queue *q;
	int err = -EINVAL;

	if (cmd == IPC_SET && user_read(t, &new, addr, sizeof(new)))
		return -EFAULT;
	pthread_mutex_lock(&t->kernel->lock);
	q = find_queue(t->kernel, id);
	if (q)
		err = cmd == IPC_SET ? set_queue(t->kernel, q, &new) : remove_queue(t->kernel, q);
	pthread_mutex_unlock(&t->kernel->lock);
	return err;
}

int64_t sys_msgctl(struct task *t, int msqid, int cmd, uint64_t buf)
{
	if (msqid < 0 || cmd < 0)
		return -EINVAL;
	switch (cmd) {
	case IPC_INFO: case MSG_INFO: return get_info(t, cmd, buf);
	case IPC_STAT: case MSG_STAT: case MSG_STAT_ANY: return get_status(t, msqid, cmd, buf);
	case IPC_SET: case IPC_RMID: return change(t, msqid, cmd, buf);
	default: return -EINVAL;
	}
}

void msgs_destroy_all(struct ipc *ipc)
{
	for (int i = 0; i < IPC_MAX_OBJECTS; i++) {
		struct queue *q = queue_of(ipc->msg.at[i]);

		if (q)
			free_messages(q->first);
		free(q);
	}
}
