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
/* 0 or -EINVAL. */
int wait_check_timeout(const struct timespec *timeout);

/* While a call waits, @mask is the set of blocked signals. NULL: no change. @interrupted: the call returns EINTR. */
void wait_mask_begin(struct task *t, const uint64_t *mask);
void wait_mask_end(struct task *t, const uint64_t *mask, bool interrupted);

#endif
