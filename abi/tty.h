/* SPDX-License-Identifier: MIT */
/*
 * abi/tty.h - terminals: the session that a terminal controls, its foreground group, and the signals that follow from
 * them.
 *
 * One process of the host runs all programs, so the host's kernel knows neither their sessions nor their groups. Vellum
 * keeps both for each terminal that controls a session of the run. One of these is the controlling terminal of Vellum
 * itself, the outer terminal: the host sends its signals to Vellum, which passes them on (kernel.c). The others are
 * pseudoterminals that programs opened: Vellum sends the signals of their control characters itself.
 */
#ifndef ABI_TTY_H
#define ABI_TTY_H

#include "abi/task.h"

/* The outer terminal becomes the controlling terminal of @first. Without memory, there is none. */
void ttys_start(struct kernel *k, struct process *first);
void ttys_free(struct kernel *k);

enum file_terminal tty_type(int host_fd);	/* of a character device */
int tty_outer_foreground(const struct kernel *k);	/* the group, or 0; kernel->lock held */

/* Before an access to a terminal. 0, or the error of a background group, which gets a signal. */
int64_t tty_check_read(struct task *t, const struct file *file);
int64_t tty_check_write(struct task *t, const struct file *file);
int64_t tty_check_change(struct task *t, const struct file *file);	/* of settings */

/*
 * tty_input.c: how many of the bytes to write to a master at once, so that a control character that sends a signal is
 * the last one. Then, when they were written: send the signals to the foreground group. It may sleep.
 */
size_t tty_input_part(struct file *master, const char *bytes, size_t len);
void tty_input(struct task *t, struct file *master, const char *bytes, size_t len);

/* Requests of sessions and groups. False: the request is another one. */
bool tty_ioctl(struct task *t, struct file *file, uint32_t request, uint64_t arg, int64_t *result);

/*
 * @fd is what path_open() returned for @path. If that is /dev/tty, open the controlling terminal of @t instead. Return: a
 * host descriptor or a negative errno.
 */
int tty_open_own(struct task *t, int fd, int64_t dirfd, const char *path, int flags);
/* After open(2) without O_NOCTTY: a session leader without a terminal gets this one. */
void tty_opened(struct task *t, const struct file *file, int flags);
void tty_close_master(struct file *file);	/* the last reference: close the descriptor, hang up */
void tty_leave_session(struct process *p);	/* @p ends: if it leads a session, that loses its terminal; kernel->lock held */

#endif
