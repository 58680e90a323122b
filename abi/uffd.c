/* SPDX-License-Identifier: MIT */
/* abi/uffd.c - descriptors of userfaultfd(2): messages and readiness; see uffd.h. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "abi/bounce.h"
#include "abi/uffd.h"

_Static_assert((int)UFFD_EVENT_PAGEFAULT == (int)VELLUM_UFFD_EVENT_PAGEFAULT &&
	       (int)UFFD_EVENT_UNMAP == (int)VELLUM_UFFD_EVENT_UNMAP, "the library has the kernel's numbers");

/* In /proc/PID/fdinfo, as Linux: the bit of a feature that it sets itself, and all ioctls together. */
#define SHOWN_READY	(1u << 31)
#define SHOWN_IOCTLS	(1ull << VELLUM_UFFDIO_API | ((2ull << VELLUM_UFFDIO_POISON) - 1))

/* An event that its sender took in place of the reader. */
struct taken {
	struct taken *next;
	struct vellum_uffd_msg msg;
	const struct task *sender;	/* waits until it is read; NULL: none */
};

struct uffd {
	struct kernel *kernel;
	struct uffd *next;		/* kernel->uffds; kernel->lock */
	struct vellum_uffd *context;
	uint32_t flags;			/* of userfaultfd(2); the descriptors of children get them, too */
	uint64_t features;		/* atomic; of the handshake */
	int event;			/* an eventfd of the host, which no program can write to */
	struct taken *taken;		/* kernel->lock; also compared with NULL without the lock */
};

struct vellum_uffd *uffd_context(const struct file *file)
{
	return file->uffd->context;
}

/* --- readiness --- */

/*
 * The file's descriptor is an epoll set of the host that has the eventfd alone: a program, or a process that gets it in a
 * message, can wait for it and nothing else. The write does not block. Locks of the core are held.
 */
static void raise_event(void *arg)
{
	const struct uffd *u = arg;
	const uint64_t one = 1;
	ssize_t n = write(u->event, &one, sizeof(one));

	(void)n;
}

static void drain_event(const struct uffd *u)
{
	uint64_t count;
	ssize_t n = read(u->event, &count, sizeof(count));

	(void)n;
}

static bool has_message(const struct uffd *u)
{
	return __atomic_load_n(&u->taken, __ATOMIC_ACQUIRE) || vellum_uffd_poll(u->context) > 0;
}

static bool is_raised(const struct uffd *u)
{
	struct pollfd event = { .fd = u->event, .events = POLLIN };

	return poll(&event, 1, 0) == 1;
}

bool uffd_update(const struct file *file)
{
	struct uffd *u = file->uffd;

	if (!has_message(u)) {
		drain_event(u);
		if (!has_message(u))	/* one that arrived before the event was drained */
			return false;
	}
	if (!is_raised(u))	/* once: EPOLLET. It is not for a message that came before link_uffd() */
		raise_event(u);
	return true;
}

static bool may_block(const struct file *file)
{
	return !(fcntl(file->fd, F_GETFL) & O_NONBLOCK);
}

bool uffd_has_poll_error(const struct file *file)
{
	return vellum_uffd_poll(file->uffd->context) < 0 || may_block(file);
}

/* --- the file --- */

static uint64_t features_of(const struct uffd *u)
{
	return __atomic_load_n(&u->features, __ATOMIC_RELAXED);
}

void uffd_set_features(const struct file *file, uint64_t features)
{
	__atomic_store_n(&file->uffd->features, features, __ATOMIC_RELAXED);
}

void uffd_print_fdinfo(FILE *f, const struct file *file)
{
	bool ready = vellum_uffd_poll(file->uffd->context) >= 0;
	uint64_t pending, total;

	vellum_uffd_count(file->uffd->context, &pending, &total);
	fprintf(f, "pending:\t%llu\ntotal:\t%llu\nAPI:\t%x:%llx:%llx\n", (unsigned long long)pending,
		(unsigned long long)total, VELLUM_UFFD_API,
		(unsigned long long)features_of(file->uffd) | (ready ? SHOWN_READY : 0), SHOWN_IOCTLS);
}

/* The two descriptors of the host: the eventfd, and the file's. *@event: -1 if the call fails. */
static int open_event(uint32_t flags, int *event)
{
	struct epoll_event readable = { .events = EPOLLIN };
	int fd = -1;

	*event = hostfd_reserve(1) ? eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK) : -1;
	if (*event >= 0)
		fd = epoll_create1(EPOLL_CLOEXEC);
	if (fd >= 0 && (epoll_ctl(fd, EPOLL_CTL_ADD, *event, &readable) ||
			((flags & O_NONBLOCK) && fcntl(fd, F_SETFL, O_NONBLOCK)))) {
		close(fd);
		fd = -1;
	}
	return fd;
}

static void close_event(int event)
{
	if (event < 0)
		return;
	close(event);
	hostfd_release(1);
}

static void link_uffd(struct uffd *u)
{
	struct kernel *k = u->kernel;

	pthread_mutex_lock(&k->lock);
	u->next = k->uffds;
	k->uffds = u;
	pthread_mutex_unlock(&k->lock);
	vellum_uffd_on_activity(u->context, raise_event, u);
	if (has_message(u))
		raise_event(u);
}

int uffd_install(struct task *t, struct vellum_uffd *context, uint32_t flags, uint64_t features)
{
	struct uffd *u = calloc(1, sizeof(*u));
	int event = -1, fd = u ? open_event(flags, &event) : -1;
	struct file *file = fd < 0 ? NULL : file_open(t->kernel, fd);

	if (!file) {
		fd = fd < 0 ? -ENOMEM : -errno;
		close_event(event);
		free(u);
		vellum_uffd_put(context);
		return fd;
	}
	*u = (struct uffd){ .kernel = t->kernel, .context = context, .flags = flags,
			    .features = features, .event = event };
	file->uffd = u;
	link_uffd(u);
	return fd_install(t, file, 0, flags & O_CLOEXEC);
}

static void free_taken(struct taken *taken)
{
	struct taken *next;

	for (; taken; taken = next) {
		next = taken->next;
		if (taken->msg.event == VELLUM_UFFD_EVENT_FORK)
			vellum_uffd_put(taken->msg.arg.fork.child);
		free(taken);
	}
}

void uffd_put(struct uffd *u)
{
	struct kernel *k = u ? u->kernel : NULL;
	struct uffd **at;

	if (!u)
		return;
	pthread_mutex_lock(&k->lock);
	at = &k->uffds;
	while (*at != u)
		at = &(*at)->next;
	*at = u->next;
	pthread_cond_broadcast(&k->changed);
	pthread_mutex_unlock(&k->lock);
	free_taken(u->taken);
	vellum_uffd_on_activity(u->context, NULL, NULL);
	vellum_uffd_put(u->context);
	close_event(u->event);
	free(u);
}

/* --- events that their senders take --- */

/* kernel->lock held. */
static void append(struct uffd *u, struct taken *taken)
{
	struct taken **at = &u->taken;

	while (*at)
		at = &(*at)->next;
	__atomic_store_n(at, taken, __ATOMIC_RELEASE);
}

bool uffds_take_event(struct task *t, const uint32_t *word)
{
	struct kernel *k = t->kernel;
	struct taken *taken = calloc(1, sizeof(*taken));	/* first: an event cannot be put back */
	bool found = false;

	pthread_mutex_lock(&k->lock);
	for (struct uffd *u = k->uffds; taken && u && !found; u = u->next) {
		found = vellum_uffd_take_event(u->context, word, &taken->msg) == 0;
		if (!found)
			continue;
		taken->sender = t;
		append(u, taken);
		raise_event(u);
	}
	pthread_mutex_unlock(&k->lock);
	if (!found)
		free(taken);
	return found;
}

/* kernel->lock held. */
static bool is_read(const struct kernel *k, const struct task *t)
{
	for (const struct uffd *u = k->uffds; u; u = u->next)
		for (const struct taken *taken = u->taken; taken; taken = taken->next)
			if (taken->sender == t)
				return false;
	return true;
}

/* The sender dies: its events are dropped. Return: them. kernel->lock held. */
static struct taken *remove_events(struct kernel *k, const struct task *t)
{
	struct taken *removed = NULL;

	for (struct uffd *u = k->uffds; u; u = u->next) {
		struct taken **at = &u->taken, *taken;

		while ((taken = *at)) {
			if (taken->sender != t) {
				at = &taken->next;
				continue;
			}
			*at = taken->next;
			taken->next = removed;
			removed = taken;
		}
	}
	return removed;
}

void uffds_wait_until_read(struct task *t)
{
	struct kernel *k = t->kernel;
	struct taken *dropped;

	cpu_release(t);
	pthread_mutex_lock(&k->lock);
	while (!is_read(k, t) && !signal_fatal_pending(t))
		pthread_cond_wait(&k->changed, &k->lock);
	dropped = remove_events(k, t);
	pthread_mutex_unlock(&k->lock);
	free_taken(dropped);
}

/* --- read --- */

static bool pop_taken(struct uffd *u, struct vellum_uffd_msg *msg)
{
	struct kernel *k = u->kernel;
	struct taken *taken;

	if (!__atomic_load_n(&u->taken, __ATOMIC_ACQUIRE))
		return false;
	pthread_mutex_lock(&k->lock);
	taken = u->taken;
	if (taken) {
		*msg = taken->msg;
		__atomic_store_n(&u->taken, taken->next, __ATOMIC_RELEASE);
		pthread_cond_broadcast(&k->changed);
	}
	pthread_mutex_unlock(&k->lock);
	free(taken);
	return taken != NULL;
}

/* For a message of a fork without room for the child's descriptor: the next read returns it. */
static void push_back(struct uffd *u, const struct vellum_uffd_msg *msg)
{
	struct taken *taken = calloc(1, sizeof(*taken));

	if (!taken) {
		vellum_uffd_put(msg->arg.fork.child);
		return;
	}
	taken->msg = *msg;
	pthread_mutex_lock(&u->kernel->lock);
	taken->next = u->taken;
	__atomic_store_n(&u->taken, taken, __ATOMIC_RELEASE);
	pthread_mutex_unlock(&u->kernel->lock);
	raise_event(u);
}

/* Sleep until there may be a message. 0 or -ERESTARTSYS. */
static int wait_for_message(struct task *t, const struct file *file)
{
	struct pollfd ready = { .fd = file->fd, .events = POLLIN };
	int err = 0;

	if (uffd_update(file))
		return 0;
	host_call_begin(t);
	if (signal_pending(t))
		err = -ERESTARTSYS;
	else
		poll(&ready, 1, -1);
	host_call_end(t);
	return err;
}

static int take_message(struct task *t, const struct file *file, bool nonblock, struct vellum_uffd_msg *msg)
{
	struct uffd *u = file->uffd;
	uint32_t got;
	int err;

	for (;;) {
		if (pop_taken(u, msg))
			return 0;
		err = vellum_uffd_read(u->context, msg, 1, false, &got);
		if (err != -EAGAIN || nonblock)
			return err;
		err = wait_for_message(t, file);
		if (err)
			return err;
	}
}

/* Convert a message; that of a fork makes a descriptor of the child's context. 0 or a negative errno. */
static int convert(struct task *t, struct uffd *u, const struct vellum_uffd_msg *msg, struct uffd_msg *out)
{
	int fd, err;

	*out = (struct uffd_msg){ .event = msg->event };
	switch (msg->event) {
	case VELLUM_UFFD_EVENT_PAGEFAULT:
		out->arg.pagefault.flags = msg->arg.pagefault.flags;
		out->arg.pagefault.address = msg->arg.pagefault.address;
		out->arg.pagefault.feat.ptid = msg->arg.pagefault.ptid;
		return 0;
	case VELLUM_UFFD_EVENT_FORK:
		err = fd_check_room(t, 1);
		if (err) {
			push_back(u, msg);
			return err;
		}
		fd = uffd_install(t, msg->arg.fork.child, u->flags, features_of(u));
		out->arg.fork.ufd = (uint32_t)fd;
		return fd < 0 ? fd : 0;
	case VELLUM_UFFD_EVENT_REMAP:
		out->arg.remap.from = msg->arg.remap.from;
		out->arg.remap.to = msg->arg.remap.to;
		out->arg.remap.len = msg->arg.remap.len;
		return 0;
	default:
		out->arg.remove.start = msg->arg.remove.start;
		out->arg.remove.end = msg->arg.remove.end;
		return 0;
	}
}

int64_t uffd_read(struct task *t, struct file *file, struct user_vector *v, uint64_t len)
{
	bool nonblock = !may_block(file);
	struct vellum_uffd_msg msg;
	struct uffd_msg out;
	int64_t done = 0;
	int err = -EINVAL;

	if (vellum_uffd_poll(file->uffd->context) < 0)
		return -EINVAL;
	for (; len - (uint64_t)done >= sizeof(out); nonblock = true) {
		err = take_message(t, file, nonblock, &msg);
		if (!err)
			err = convert(t, file->uffd, &msg, &out);
		if (!err && vector_store(t, v, &out, sizeof(out)) < sizeof(out))	/* it is lost, as in Linux */
			err = -EFAULT;
		if (err)
			break;
		done += (int64_t)sizeof(out);
	}
	uffd_update(file);
	return done ? done : err;
}
