/* SPDX-License-Identifier: MIT */
/* abi/tty_state.h - the terminals that tty.c knows, for tty_input.c. */
#ifndef ABI_TTY_STATE_H
#define ABI_TTY_STATE_H

#include <sys/types.h>

#include "abi/task.h"

#define TTY_PATH_BYTES 64	/* of /dev/pts/N, wherever devpts is mounted */

/* A terminal that controls or controlled a session. kernel->lock protects it. It is freed at the end of the run. */
struct tty {
	struct tty *next;
	bool outer;
	dev_t dev;			/* of the terminal's file in devpts, but for the outer one */
	ino_t ino;
	char path[TTY_PATH_BYTES];
	bool literal;			/* the next character is not a control character (VLNEXT) */
	int sid;			/* of the session that it controls, or 0 */
	int pgid;			/* the foreground group, or 0 */
};

/* Which terminal a file is. */
struct tty_id {
	bool outer;
	dev_t dev;
	ino_t ino;
};

struct tty_id tty_identify(const struct file *file);	/* of a master: after tty_identify_master() */
/* kernel->lock held. NULL: it never controlled a session. */
struct tty *tty_find(const struct kernel *k, const struct tty_id *id);
/* False: no pseudoterminal controls a session, or the one of @master is not known. Takes kernel->lock. */
bool tty_identify_master(struct file *master);
void tty_signal_foreground(struct task *t, const struct tty_id *id, int signo);	/* takes kernel->lock */

#endif
