/* SPDX-License-Identifier: MIT */
/* abi/sys_poll.c - pipe(2), poll(2), select(2) and their variants. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/select.h>
#include <time.h>
#include <unistd.h>

#include "abi/events.h"
#include "abi/uffd.h"

#include "syscalls.h"	/* made from syscall.tbl */

/* --- pipes --- */

int64_t sys_pipe2(struct task *t, uint64_t fds, uint32_t flags)
{
	int host[2], guest[2];
	bool cloexec = flags & O_CLOEXEC;
	int err;

	if (flags & ~(uint32_t)(O_CLOEXEC | O_NONBLOCK))
		return -EINVAL;
	err = fd_check_room(t, 2);
	if (err)
		return err;
	if (pipe2(host, O_CLOEXEC | (int)(flags & O_NONBLOCK)))
		return -errno;
	guest[0] = fd_install(t, file_open(t->kernel, host[0]), 0, cloexec);
	guest[1] = fd_install(t, file_open(t->kernel, host[1]), 0, cloexec);
	if (guest[0] >= 0 && guest[1] >= 0 && user_write(t, fds, guest, sizeof(guest)) == 0)
		return 0;
	for (int i = 0; i < 2; i++)
		if (guest[i] >= 0)
			sys_close(t, guest[i]);
	return guest[0] < 0 ? guest[0] : guest[1] < 0 ? guest[1] : -EFAULT;
}

int64_t sys_pipe(struct task *t, uint64_t fds)
{
	return sys_pipe2(t, fds, 0);
}

/* --- poll and select --- */

#define MAX_TIMEOUT_SECONDS (1l << 32)	/* a longer timeout never expires */

uint64_t wait_deadline(const struct timespec *timeout)
{
	if (!timeout || timeout->tv_sec >= MAX_TIMEOUT_SECONDS)
		return NEVER;
	return clock_ns(CLOCK_MONOTONIC) + (uint64_t)timeout->tv_sec * NS_PER_SEC + (uint64_t)timeout->tv_nsec;
}

struct timespec wait_left(uint64_t deadline)
{
	uint64_t now = clock_ns(CLOCK_MONOTONIC), left = deadline > now ? deadline - now : 0;

	return ns_timespec(left);
}

void wait_mask_begin(struct task *t, const uint64_t *mask)
{
	if (!mask)
		return;
	t->saved_blocked = t->blocked;
	t->restore_blocked = true;
	signal_set_blocked(t, *mask);
}

void wait_mask_end(struct task *t, const uint64_t *mask, bool interrupted)
{
	if (!mask || interrupted)	/* the handler runs first, with the mask of the call */
		return;
	signal_set_blocked(t, t->saved_blocked);
	t->restore_blocked = false;
}

static const struct timespec at_once;

struct poll_set {
	struct pollfd *fds;	/* of the host; there is room for one more */
	nfds_t nr;
	/* The file of a signalfd, whose fds[i].fd is -1, or of a userfaultfd. NULL: fds[i] is another file. */
	const struct file **files;
	uint64_t signals;	/* of all signalfds together */
};

/* @events: that the program asked for. A signalfd is never ready for others. */
static void set_signalfd(struct poll_set *set, nfds_t i, const struct file *file, short events)
{
	set->fds[i].fd = -1;
	set->files[i] = events & POLLIN ? file : NULL;
	if (events & POLLIN)
		set->signals |= signalfd_set(file);
}

/* An eventfd can be written; a userfaultfd cannot. */
static void set_uffd(struct poll_set *set, nfds_t i, const struct file *file)
{
	set->files[i] = file;
	set->fds[i].events &= POLLIN;
	if (uffd_has_poll_error(file))
		set->fds[i].fd = -1;
	else
		uffd_update(file);
}

static int count_signalfds(const struct task *t, struct poll_set *set)
{
	int n = 0;

	for (nfds_t i = 0; i < set->nr && set->signals; i++)
		if (set->files[i] && set->files[i]->is_signalfd) {
			set->fds[i].revents = signalfd_ready(t, set->files[i]) ? POLLIN : 0;
			n += set->fds[i].revents != 0;
		}
	return n;
}

/* The messages of the userfaultfds may be gone. Return: how many events are. */
static int drop_stale_events(struct poll_set *set)
{
	int n = 0;

	for (nfds_t i = 0; i < set->nr; i++)
		if (set->files[i] && set->files[i]->uffd && set->fds[i].revents && !uffd_update(set->files[i])) {
			set->fds[i].revents = 0;
			n++;
		}
	return n;
}

/*
 * ppoll(2) that blocked signals do not interrupt. As in Linux, events come before a pending signal. 0 or more, or a
 * negative errno.
 */
static int poll_until(struct task *t, struct poll_set *set, const struct timespec *timeout)
{
	const uint64_t deadline = wait_deadline(timeout);
	struct pollfd *wake = &set->fds[set->nr];
	bool again, interrupted;
	int n, stale;

	*wake = (struct pollfd){ .fd = t->wake_fd, .events = POLLIN };
	do {
		struct timespec left = wait_left(deadline);

		interrupted = signal_pending(t);
		again = count_signalfds(t, set) > 0;
		if (again || interrupted)
			left = at_once;
		n = ppoll(set->fds, set->nr + (set->signals != 0),
			  deadline == NEVER && !again && !interrupted ? NULL : &left, NULL);
		if (n > 0 && set->signals && wake->revents) {
			signalfd_poll_again(t);
			again = true;
			n--;
		}
		if (n < 0) {
			again = errno == EINTR;
			continue;
		}
		stale = drop_stale_events(set);
		again |= stale > 0;
		n += count_signalfds(t, set) - stale;	/* now: another thread may have read the signals */
	} while (n <= 0 && again && !interrupted);
	return n > 0 ? n : interrupted ? -EINTR : n ? -errno : 0;
}

static int64_t wait_until_ready(struct task *t, struct poll_set *set, const struct timespec *timeout,
				const uint64_t *mask)
{
	int n = set->signals ? signalfd_begin_poll(t, set->signals) : 0;

	if (n)
		return n;
	wait_mask_begin(t, mask);
	host_call_begin(t);
	n = poll_until(t, set, timeout);
	host_call_end(t);
	wait_mask_end(t, mask, n < 0);
	if (set->signals)
		signalfd_end_poll(t);
	return n;
}

/* What is true of a descriptor, and the host does not know: the part of @events because of bytes that
 * file_put_unread() kept, the error of a userfaultfd. */
static short own_events(struct task *t, int fd, short events)
{
	const struct file *file = fd < 0 ? NULL : fd_file(t, (uint64_t)fd);

	if (file && file->uffd && uffd_has_poll_error(file))
		return POLLERR;
	return file && file_nr_unread(file) ? events & (POLLIN | POLLRDNORM) : 0;
}

/* Prepare the host's entry @i of a program's entry. False: the call does not wait, as it returns an event of the entry. */
static bool set_entry(struct task *t, struct poll_set *set, nfds_t i, const struct pollfd *entry)
{
	const struct file *file = entry->fd < 0 ? NULL : fd_file(t, (uint64_t)entry->fd);

	set->fds[i] = *entry;
	set->fds[i].fd = file ? file->fd : -1;
	if (file && file->is_signalfd)
		set_signalfd(set, i, file, entry->events);
	else if (file && file->uffd)
		set_uffd(set, i, file);
	return (file || entry->fd < 0) && !own_events(t, entry->fd, entry->events);
}

static int64_t do_poll(struct task *t, uint64_t addr, uint64_t nr, const struct timespec *timeout,
		       const uint64_t *mask)
{
	struct poll_set set = { .nr = nr };
	struct pollfd *fds;
	int64_t n;

	if (nr > MAX_FDS)
		return -EINVAL;
	fds = calloc(2 * nr + 1, sizeof(*fds) + sizeof(*set.files));
	if (!fds)
		return -ENOMEM;
	set.fds = fds + nr;
	set.files = (const struct file **)(void *)(fds + 2 * nr + 1);
	if (user_read(t, fds, addr, nr * sizeof(*fds))) {
		free(fds);
		return -EFAULT;
	}
	for (uint64_t i = 0; i < nr; i++)
		if (!set_entry(t, &set, i, &fds[i]))
			timeout = &at_once;
	n = wait_until_ready(t, &set, timeout, mask);
	for (uint64_t i = 0; i < nr && n >= 0; i++) {
		fds[i].revents = set.fds[i].revents | own_events(t, fds[i].fd, fds[i].events);
		n += fds[i].revents && !set.fds[i].revents;
		if (fds[i].fd >= 0 && fd_host(t, (uint64_t)fds[i].fd) < 0) {
			fds[i].revents = POLLNVAL;
			n++;
		}
	}
	if (n >= 0 && user_write(t, addr, fds, nr * sizeof(*fds)))
		n = -EFAULT;
	free(fds);
	return n;
}

int64_t sys_poll(struct task *t, uint64_t fds, uint32_t nfds, int timeout)
{
	struct timespec ts = { timeout / 1000, timeout % 1000 * 1000000l };

	return do_poll(t, fds, nfds, timeout < 0 ? NULL : &ts, NULL);
}

/* Copy and check the timeout of ppoll(2) or pselect6(2). */
static int read_timeout(struct task *t, uint64_t addr, struct timespec *ts)
{
	return user_read(t, ts, addr, sizeof(*ts)) ? -EFAULT : is_time(ts) ? 0 : -EINVAL;
}

/* Linux stores the time that is left, a timespec or timeval, and ignores an error. */
static void store_left(struct task *t, uint64_t addr, uint64_t deadline, bool microseconds)
{
	struct timespec left = wait_left(deadline);

	if (deadline == NEVER)
		return;
	if (microseconds)
		left.tv_nsec /= 1000;
	user_write(t, addr, &left, sizeof(left));
	t->copy_error = 0;
}

int64_t sys_ppoll(struct task *t, uint64_t fds, uint32_t nfds, uint64_t timeout, uint64_t sigmask,
		  uint64_t sigsetsize)
{
	uint64_t mask, deadline;
	struct timespec ts;
	int64_t n;
	int err;

	if (timeout) {
		err = read_timeout(t, timeout, &ts);
		if (err)
			return err;
	}
	if (sigmask && (sigsetsize != SIGSET_BYTES || user_read(t, &mask, sigmask, SIGSET_BYTES)))
		return sigsetsize != SIGSET_BYTES ? -EINVAL : -EFAULT;
	deadline = wait_deadline(timeout ? &ts : NULL);
	n = do_poll(t, fds, nfds, timeout ? &ts : NULL, sigmask ? &mask : NULL);
	if (timeout)
		store_left(t, timeout, deadline, false);
	return n;
}

static const short select_events[3] = { POLLIN | POLLHUP | POLLERR, POLLOUT | POLLERR, POLLPRI };

static bool is_in_set(const fd_set *set, int fd)
{
	return ((const uint64_t *)set)[fd / 64] >> (fd % 64) & 1;
}

static int64_t do_select(struct task *t, int nfds, const uint64_t addr[3], const struct timespec *timeout,
			 const uint64_t *mask)
{
	int nr = nfds > MAX_FDS ? MAX_FDS : nfds;
	size_t bytes = ((size_t)nr + 63) / 64 * 8;
	const struct file *files[MAX_FDS] = { NULL };
	struct pollfd fds[MAX_FDS + 1];
	struct poll_set set = { .fds = fds, .files = files };
	int number[MAX_FDS];
	fd_set sets[3], out[3];
	int64_t n, found = 0;

	if (nfds < 0)
		return -EINVAL;
	memset(sets, 0, sizeof(sets));
	memset(out, 0, sizeof(out));
	for (int s = 0; s < 3; s++)
		if (addr[s] && user_read(t, &sets[s], addr[s], bytes))
			return -EFAULT;
	for (int fd = 0; fd < nr; fd++) {
		short events = 0;

		for (int s = 0; s < 3; s++)
			events |= is_in_set(&sets[s], fd) ? select_events[s] : 0;
		if (!events)
			continue;
		if (fd_host(t, (uint64_t)fd) < 0)
			return -EBADF;
		if (!set_entry(t, &set, set.nr, &(struct pollfd){ .fd = fd, .events = events }))
			timeout = &at_once;
		number[set.nr++] = fd;
	}
	n = wait_until_ready(t, &set, timeout, mask);
	if (n < 0)
		return n;
	for (nfds_t i = 0; i < set.nr; i++) {
		fds[i].revents |= own_events(t, number[i], fds[i].events);
		for (int s = 0; s < 3; s++)
			if (is_in_set(&sets[s], number[i]) && (fds[i].revents & select_events[s])) {
				((uint64_t *)&out[s])[number[i] / 64] |= 1ull << (number[i] % 64);
				found++;
			}
	}
	for (int s = 0; s < 3; s++)
		if (addr[s] && user_write(t, addr[s], &out[s], bytes))
			return -EFAULT;
	return found;
}

int64_t sys_select(struct task *t, int nfds, uint64_t readfds, uint64_t writefds, uint64_t exceptfds,
		   uint64_t timeout)
{
	const uint64_t sets[3] = { readfds, writefds, exceptfds };
	struct timeval tv;
	struct timespec ts;
	uint64_t deadline;
	int64_t n;

	if (timeout) {
		if (user_read(t, &tv, timeout, sizeof(tv)))
			return -EFAULT;
		/* More than 999999 microseconds are allowed. The sum wraps, as in Linux. */
		ts.tv_sec = (time_t)((uint64_t)tv.tv_sec + (uint64_t)(tv.tv_usec / 1000000));
		ts.tv_nsec = tv.tv_usec % 1000000 * 1000;
		if (!is_time(&ts))
			return -EINVAL;
	}
	deadline = wait_deadline(timeout ? &ts : NULL);
	n = do_select(t, nfds, sets, timeout ? &ts : NULL, NULL);
	if (timeout)
		store_left(t, timeout, deadline, true);
	return n;
}

int64_t sys_pselect6(struct task *t, int nfds, uint64_t readfds, uint64_t writefds, uint64_t exceptfds,
		     uint64_t timeout, uint64_t sigmask)
{
	const uint64_t sets[3] = { readfds, writefds, exceptfds };
	uint64_t sigset[2] = { 0, 0 }, mask, deadline;
	struct timespec ts;
	int64_t n;
	int err;

	if (timeout) {
		err = read_timeout(t, timeout, &ts);
		if (err)
			return err;
	}
	if (sigmask && user_read(t, sigset, sigmask, sizeof(sigset)))
		return -EFAULT;
	if (sigset[0] && (sigset[1] != SIGSET_BYTES || user_read(t, &mask, sigset[0], SIGSET_BYTES)))
		return sigset[1] != SIGSET_BYTES ? -EINVAL : -EFAULT;
	deadline = wait_deadline(timeout ? &ts : NULL);
	n = do_select(t, nfds, sets, timeout ? &ts : NULL, sigset[0] ? &mask : NULL);
	if (timeout)
		store_left(t, timeout, deadline, false);
	return n;
}
