/* SPDX-License-Identifier: MIT */
/*
 * abi/sys_epoll.c - epoll(7), by epoll of the host.
 *
 * Linux registers a descriptor number together with its open file description. Descriptors of a program that are copies
 * of each other share one descriptor of the host. So the second one that is registered gets a descriptor of the host
 * for itself, which is closed with the item.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "abi/events.h"
#include "abi/uffd.h"

#include "syscalls.h"	/* made from syscall.tbl */

#define MAX_EVENTS 512		/* of one call; more are returned by the next one */

struct epoll_item {
	struct epoll_item *next_in_epoll, *next_of_target;
	struct file *epoll, *target;
	int fd;			/* of the program */
	int host;		/* target->fd, one that belongs to the item, or the descriptor of @signals */
	bool has_error;		/* of a userfaultfd: @host is always in error, as the target is */
	struct signal_watch *signals;	/* of a signalfd; else NULL */
	struct epoll_event event;
	bool armed;		/* was not reported since epoll_ctl(2) because of unread bytes */
};

/* Protects all items. Only kernel->lock and locks of unread bytes are taken with it. */
static pthread_mutex_t items_lock = PTHREAD_MUTEX_INITIALIZER;

/* --- items: items_lock held --- */

static struct epoll_item *find_item(const struct file *epoll, const struct file *target, int fd)
{
	struct epoll_item *item = epoll->epoll_items;

	while (item && (item->target != target || item->fd != fd))
		item = item->next_in_epoll;
	return item;
}

static bool uses_host_fd(const struct file *epoll, const struct file *target)
{
	const struct epoll_item *item = epoll->epoll_items;

	while (item && (item->target != target || item->host != target->fd))
		item = item->next_in_epoll;
	return item != NULL;
}

static void add_item(struct epoll_item *item)
{
	item->next_in_epoll = item->epoll->epoll_items;
	item->epoll->epoll_items = item;
	item->next_of_target = item->target->watches;
	item->target->watches = item;
}

static void close_host_fd(const struct file *target, int host, struct signal_watch *signals)
{
	if (signals) {
		signal_watch_close(signals);
	} else if (host != target->fd) {
		close(host);
		hostfd_release(1);
	}
}

static void remove_item(struct epoll_item *item)
{
	struct epoll_item **at = &item->epoll->epoll_items;

	while (*at != item)
		at = &(*at)->next_in_epoll;
	*at = item->next_in_epoll;
	at = &item->target->watches;
	while (*at != item)
		at = &(*at)->next_of_target;
	*at = item->next_of_target;
	close_host_fd(item->target, item->host, item->signals);
	free(item);
}

void epoll_forget(struct file *file)
{
	pthread_mutex_lock(&items_lock);
	while (file->epoll_items)
		remove_item(file->epoll_items);
	while (file->watches)
		remove_item(file->watches);
	pthread_mutex_unlock(&items_lock);
}

/* A descriptor of the host for which EPOLLERR is reported: the end of a pipe whose reader is gone. */
static int open_in_error(void)
{
	int ends[2];

	if (!hostfd_reserve(1))
		return -ENOMEM;
	if (pipe2(ends, O_CLOEXEC)) {
		hostfd_release(1);
		return -ENOMEM;
	}
	close(ends[0]);
	return ends[1];
}

/*
 * The host's descriptor for an item, or a negative errno. *@signals: for a new item of a signalfd. *@has_error: the new
 * item's descriptor is in error for ever, as its userfaultfd is now.
 */
static int host_fd_for(struct task *t, const struct epoll_item *item, const struct file *epoll,
		       const struct file *target, struct signal_watch **signals, bool *has_error)
{
	int host;

	*signals = NULL;
	*has_error = false;
	if (item)
		return item->host;
	if (target->is_signalfd) {
		*signals = signal_watch_open(t, target);
		return *signals ? signal_watch_fd(*signals) : -ENOMEM;
	}
	*has_error = target->uffd && uffd_has_poll_error(target);
	if (*has_error)
		return open_in_error();
	if (!uses_host_fd(epoll, target))
		return target->fd;
	if (!hostfd_reserve(1))
		return -ENOMEM;
	host = fcntl(target->fd, F_DUPFD_CLOEXEC, 0);
	if (host < 0)
		hostfd_release(1);
	return host < 0 ? -ENOMEM : host;
}

/* --- epoll_create(2), epoll_ctl(2) --- */

int64_t sys_epoll_create1(struct task *t, uint32_t flags)
{
	int err = fd_check_room(t, 1), host;

	if (flags & ~(uint32_t)EPOLL_CLOEXEC)
		return -EINVAL;
	if (err)
		return err;
	host = epoll_create1(EPOLL_CLOEXEC);
	return host < 0 ? -errno : fd_install(t, file_open(t->kernel, host), 0, flags & EPOLL_CLOEXEC);
}

int64_t sys_epoll_create(struct task *t, int size)
{
	return size <= 0 ? -EINVAL : sys_epoll_create1(t, 0);
}

/* items_lock held. @new: for EPOLL_CTL_ADD; NULL afterwards if it is used. */
static int control(struct task *t, struct file *epoll, int op, int fd, struct file *target,
		   const struct epoll_event *event, struct epoll_item **new)
{
	struct epoll_item *item = find_item(epoll, target, fd);
	struct signal_watch *signals;
	bool has_error;
	int host = host_fd_for(t, item, epoll, target, &signals, &has_error), err;
	struct epoll_event copy = *event;

	if (host < 0)
		return host;
	copy.events &= ~(uint32_t)EPOLLWAKEUP;
	if (target->is_signalfd || target->uffd)
		copy.events &= ~(uint32_t)EPOLLOUT;	/* an eventfd is always writable */
	err = epoll_ctl(epoll->fd, op, host, &copy) ? -errno : 0;
	if (!item && (err || op != EPOLL_CTL_ADD))
		close_host_fd(target, host, signals);
	if (err)
		return err;
	if (op == EPOLL_CTL_ADD) {
		item = *new;
		*new = NULL;
		*item = (struct epoll_item){ .epoll = epoll, .target = target, .fd = fd, .host = host,
					     .signals = signals, .has_error = has_error };
		add_item(item);
	}
	if (op == EPOLL_CTL_DEL && item) {
		remove_item(item);
	} else if (item) {
		item->event = *event;
		item->armed = true;
	}
	return 0;
}

int64_t sys_epoll_ctl(struct task *t, int epfd, int op, int fd, uint64_t event)
{
	struct file *epoll = fd_file(t, (uint64_t)epfd), *target = fd_file(t, (uint64_t)fd);
	struct epoll_event ev = { 0 };
	struct epoll_item *new = NULL;
	int err;

	if (op != EPOLL_CTL_DEL && user_read(t, &ev, event, sizeof(ev)))
		return -EFAULT;
	if (!epoll || !target)
		return -EBADF;
	if (epoll->uffd)		/* an epoll set of the host, for its own event alone */
		return -EINVAL;
	if (op == EPOLL_CTL_ADD) {
		new = malloc(sizeof(*new));
		if (!new)
			return -ENOMEM;
	}
	pthread_mutex_lock(&items_lock);
	err = control(t, epoll, op, fd, target, &ev, &new);
	pthread_mutex_unlock(&items_lock);
	free(new);
	return err;
}

/* --- epoll_wait(2) --- */

/* A handshake, or O_NONBLOCK, may have ended the error of a userfaultfd. Without memory, it stays as it was. */
static void update_uffd(struct task *t, struct epoll_item *item)
{
	struct epoll_event event = item->event;
	struct signal_watch *none;
	bool has_error;
	int host;

	uffd_update(item->target);
	if (!item->has_error || uffd_has_poll_error(item->target))
		return;
	host = host_fd_for(t, NULL, item->epoll, item->target, &none, &has_error);
	if (host < 0 || has_error) {
		if (host >= 0)
			close_host_fd(item->target, host, NULL);
		return;
	}
	event.events &= ~(uint32_t)(EPOLLOUT | EPOLLWAKEUP);
	if (epoll_ctl(item->epoll->fd, EPOLL_CTL_ADD, host, &event)) {
		close_host_fd(item->target, host, NULL);
		return;
	}
	close_host_fd(item->target, item->host, NULL);	/* this removes it from the host's set, too */
	item->host = host;
	item->has_error = false;
}

/* Signals that are sent to the thread itself count, not those of other threads. */
static void prepare_items(struct task *t, const struct file *epoll)
{
	pthread_mutex_lock(&items_lock);
	for (struct epoll_item *item = epoll->epoll_items; item; item = item->next_in_epoll) {
		if (item->signals)
			signal_watch_use(item->signals, t);
		else if (item->target->uffd)
			update_uffd(t, item);
	}
	pthread_mutex_unlock(&items_lock);
}

/* The events of descriptors whose bytes file_put_unread() kept: the host does not know of these. */
static int unread_events(const struct file *epoll, struct epoll_event *events, int max)
{
	struct epoll_item *item;
	int n = 0;

	pthread_mutex_lock(&items_lock);
	for (item = epoll->epoll_items; item && n < max; item = item->next_in_epoll) {
		const uint32_t wanted = item->event.events & (EPOLLIN | EPOLLRDNORM);
		bool once = item->event.events & (EPOLLET | EPOLLONESHOT);

		if (!wanted || (once && !item->armed) || !file_nr_unread(item->target))
			continue;
		events[n++] = (struct epoll_event){ .events = wanted, .data = item->event.data };
		item->armed = !once;
	}
	pthread_mutex_unlock(&items_lock);
	return n;
}

/* As in Linux, events come before a pending signal. */
static int wait_for_events(struct task *t, int host, struct epoll_event *events, int max,
			   const struct timespec *timeout)
{
	const uint64_t deadline = wait_deadline(timeout);
	bool at_once = timeout && !timeout->tv_sec && !timeout->tv_nsec, pending;
	int n;

	do {
		struct timespec left = wait_left(deadline);

		pending = signal_pending(t);
		if (pending)
			left = (struct timespec){ 0, 0 };
		n = epoll_pwait2(host, events, max, deadline == NEVER && !pending ? NULL : &left, NULL);
	} while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n == 0 && pending && !at_once ? -EINTR : n;
}

/* The program's buffer cannot be written: no event may be taken from the host. */
static int wait_without_buffer(struct task *t, int host, const struct timespec *timeout)
{
	const uint64_t deadline = wait_deadline(timeout);
	struct pollfd ready = { .fd = host, .events = POLLIN };
	int n;

	do {
		struct timespec left = wait_left(deadline);

		if (signal_pending(t))
			return -EINTR;
		n = ppoll(&ready, 1, deadline == NEVER ? NULL : &left, NULL);
	} while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n ? -EFAULT : 0;
}

static int64_t do_wait(struct task *t, int epfd, uint64_t addr, int max, const struct timespec *timeout,
		       const uint64_t *mask)
{
	static const struct timespec at_once;
	struct epoll_event events[MAX_EVENTS];
	struct file *epoll = fd_file(t, (uint64_t)epfd);
	int n, unread, storable;

	if (max <= 0 || (size_t)max > INT_MAX / sizeof(events[0]))
		return -EINVAL;
	if (addr > VELLUM_TASK_SIZE || (uint64_t)max * sizeof(events[0]) > VELLUM_TASK_SIZE - addr)
		return -EFAULT;
	if (!epoll)
		return -EBADF;
	if (epoll->uffd)
		return -EINVAL;
	max = max < MAX_EVENTS ? max : MAX_EVENTS;
	storable = (int)(vellum_storable(t->gmm->mm, addr, (uint64_t)max * sizeof(events[0])) / sizeof(events[0]));
	prepare_items(t, epoll);
	unread = unread_events(epoll, events, storable);
	wait_mask_begin(t, mask);
	host_call_begin(t);
	if (!storable)
		n = wait_without_buffer(t, epoll->fd, timeout);
	else if (unread < storable)
		n = wait_for_events(t, epoll->fd, events + unread, storable - unread, unread ? &at_once : timeout);
	else
		n = 0;
	host_call_end(t);
	if (n >= 0)
		n += unread;
	wait_mask_end(t, mask, n == -EINTR);
	return n > 0 && user_write(t, addr, events, (uint64_t)n * sizeof(events[0])) ? -EFAULT : n;
}

static int64_t read_mask(struct task *t, uint64_t *mask, uint64_t addr, uint64_t size)
{
	if (addr && size != SIGSET_BYTES)
		return -EINVAL;
	return addr ? user_read(t, mask, addr, SIGSET_BYTES) : 0;
}

int64_t sys_epoll_pwait(struct task *t, int epfd, uint64_t events, int maxevents, int timeout, uint64_t sigmask,
			uint64_t sigsetsize)
{
	struct timespec ts = { timeout / 1000, timeout % 1000 * 1000000l };
	uint64_t mask;
	int64_t err = read_mask(t, &mask, sigmask, sigsetsize);

	return err ? err : do_wait(t, epfd, events, maxevents, timeout < 0 ? NULL : &ts, sigmask ? &mask : NULL);
}

int64_t sys_epoll_wait(struct task *t, int epfd, uint64_t events, int maxevents, int timeout)
{
	return sys_epoll_pwait(t, epfd, events, maxevents, timeout, 0, 0);
}

int64_t sys_epoll_pwait2(struct task *t, int epfd, uint64_t events, int maxevents, uint64_t timeout,
			 uint64_t sigmask, uint64_t sigsetsize)
{
	struct timespec ts;
	uint64_t mask;
	int64_t err;

	if (timeout && user_read(t, &ts, timeout, sizeof(ts)))
		return -EFAULT;
	if (timeout && !is_time(&ts))
		return -EINVAL;
	err = read_mask(t, &mask, sigmask, sigsetsize);
	return err ? err : do_wait(t, epfd, events, maxevents, timeout ? &ts : NULL, sigmask ? &mask : NULL);
}
