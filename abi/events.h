/* SPDX-License-Identifier: MIT */
/* abi/events.h - what poll(2), select(2) and epoll(7) share. */
#ifndef ABI_EVENTS_H
#define ABI_EVENTS_H

#include <time.h>

#include "abi/task.h"

#define NEVER (~0ull)

/* When a timeout that begins now expires: ns, CLOCK_MONOTONIC. NEVER: not, or @timeout is NULL. */
uint64_t wait_deadline(const struct timespec *timeout);
struct timespec wait_left(uint64_t deadline);

/* While a call waits, @mask is the set of blocked signals. NULL: no change. @interrupted: the call returns EINTR. */
void wait_mask_begin(struct task *t, const uint64_t *mask);
void wait_mask_end(struct task *t, const uint64_t *mask, bool interrupted);

/* --- sys_signalfd.c --- */

struct signal_watch;
struct user_vector;

uint64_t signalfd_set(const struct file *file);
/* The signals of a signalfd that are pending for the thread or its process. */
uint64_t signalfd_ready(const struct task *t, const struct file *file);
/* read(2) of @len bytes. Bytes, or a negative errno. */
int64_t signalfd_read(struct task *t, const struct file *file, struct user_vector *v, uint64_t len);
/* While the thread polls, a signal of @set that becomes pending makes t->wake_fd readable. 0 or -ENOMEM. */
int signalfd_begin_poll(struct task *t, uint64_t set);
void signalfd_poll_again(struct task *t);	/* after t->wake_fd became readable */
void signalfd_end_poll(struct task *t);
/*
 * For an item of an epoll set: a descriptor that is readable while signals of @file are pending for the process, or for
 * the thread of it that used the set last. NULL: no memory. The watch must be closed before @file is freed.
 */
struct signal_watch *signal_watch_open(struct task *t, const struct file *file);
int signal_watch_fd(const struct signal_watch *w);
void signal_watch_use(struct signal_watch *w, const struct task *t);	/* the thread is about to wait */
void signal_watch_close(struct signal_watch *w);

#endif
