/* SPDX-License-Identifier: MIT */
/* abi/tty.c - terminals, their sessions and foreground groups; see tty.h. */
#define _GNU_SOURCE
#include "abi/tty.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/major.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <termios.h>
#include <unistd.h>

#include "abi/jobs.h"
#include "abi/path.h"
#include "abi/signals.h"
#include "abi/tty_state.h"

void ttys_start(struct kernel *k, struct process *first)
{
	int fd = open("/dev/tty", O_RDWR | O_NOCTTY | O_CLOEXEC);
	struct tty *tty = fd < 0 ? NULL : calloc(1, sizeof(*tty));

	if (fd >= 0)
		close(fd);
	if (!tty)
		return;
	tty->outer = true;
	tty->sid = first->sid;
	tty->pgid = first->pgid;
	first->tty = k->ttys = tty;
}

void ttys_free(struct kernel *k)
{
	while (k->ttys) {
		struct tty *tty = k->ttys;

		k->ttys = tty->next;
		free(tty);
	}
}

enum file_terminal tty_type(int host_fd)
{
	unsigned nr;

	if (!isatty(host_fd))
		return NO_TERMINAL;
	return ioctl(host_fd, TIOCGPTN, &nr) ? TERMINAL : PTY_MASTER;
}

int tty_outer_foreground(const struct kernel *k)
{
	const struct tty *tty = k->ttys;

	while (tty && !tty->outer)
		tty = tty->next;
	return tty ? tty->pgid : 0;
}

/* --- which terminal --- */

/* The terminal at the other end. The host opens it only if the program has unlocked it. */
static bool identify_peer(struct file *master)
{
	struct stat st;
	int peer;

	if (master->peer_ino)
		return true;
	peer = ioctl(master->fd, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (peer < 0)
		return false;
	if (fstat(peer, &st) == 0) {
		master->peer_dev = st.st_dev;
		master->peer_ino = st.st_ino;
	}
	close(peer);
	return master->peer_ino != 0;
}

/* The host answers TIOCGSID only of Vellum's own controlling terminal, and of masters. */
struct tty_id tty_identify(const struct file *file)
{
	pid_t sid;

	if (file->terminal == PTY_MASTER)
		return (struct tty_id){ .dev = file->peer_dev, .ino = file->peer_ino };
	return (struct tty_id){ .outer = ioctl(file->fd, TIOCGSID, &sid) == 0, .dev = file->dev, .ino = file->ino };
}

/* kernel->lock held. NULL: it never controlled a session. */
struct tty *tty_find(const struct kernel *k, const struct tty_id *id)
{
	struct tty *tty = k->ttys;

	while (tty && (tty->outer != id->outer || (!id->outer && (tty->dev != id->dev || tty->ino != id->ino))))
		tty = tty->next;
	return tty;
}

/* True: a pseudoterminal controls a session. kernel->lock held. */
static bool any_pty(const struct kernel *k)
{
	const struct tty *tty = k->ttys;

	while (tty && (tty->outer || !tty->sid))
		tty = tty->next;
	return tty != NULL;
}

/*
 * The file of the other end is opened for a moment, which its users may notice. So this is done only if a pseudoterminal
 * controls a session. Takes kernel->lock.
 */
bool tty_identify_master(struct file *master)
{
	struct kernel *k = master->kernel;
	bool any;

	pthread_mutex_lock(&k->lock);
	any = any_pty(k);
	pthread_mutex_unlock(&k->lock);
	return any && identify_peer(master);
}

static bool controls(const struct tty *tty, const struct process *p)
{
	return tty && p->tty == tty && tty->sid == p->sid;
}

/* --- access from the background --- */

/* kernel->lock held. 0, or a negative errno. */
static int64_t signal_background(struct task *t, int signo)
{
	struct process *p = t->process;
	bool deaf = (t->blocked & sig_bit(signo)) || handler_of(p, signo) == HANDLER_IGNORE;

	if (deaf)
		return signo == SIGTTIN ? -EIO : 0;
	if (group_is_orphaned(t->kernel, p->pgid))
		return -EIO;
	group_send(t->kernel, p->pgid, signo);
	return -ERESTARTSYS;
}

static int64_t check_access(struct task *t, const struct tty_id *id, int signo)
{
	const struct process *p = t->process;
	const struct tty *tty;
	int64_t err = 0;

	pthread_mutex_lock(&t->kernel->lock);
	tty = tty_find(t->kernel, id);
	if (controls(tty, p) && tty->pgid && tty->pgid != p->pgid)
		err = signal_background(t, signo);
	pthread_mutex_unlock(&t->kernel->lock);
	return err;
}

static int64_t check_file(struct task *t, const struct file *file, int signo)
{
	struct tty_id id;

	if (file->terminal == NO_TERMINAL)
		return 0;
	id = tty_identify(file);
	return check_access(t, &id, signo);
}

int64_t tty_check_read(struct task *t, const struct file *file)
{
	return file->terminal == TERMINAL ? check_file(t, file, SIGTTIN) : 0;
}

int64_t tty_check_write(struct task *t, const struct file *file)
{
	struct termios tio;

	if (file->terminal != TERMINAL || tcgetattr(file->fd, &tio) || !(tio.c_lflag & TOSTOP))
		return 0;
	return check_file(t, file, SIGTTOU);
}

int64_t tty_check_change(struct task *t, const struct file *file)
{
	return check_file(t, file, SIGTTOU);
}

/* --- sessions --- */

/* The session loses its terminal. kernel->lock held. */
static void end_session(struct kernel *k, struct tty *tty)
{
	for (struct process *p = k->processes; p; p = p->next)
		if (p->tty == tty)
			p->tty = NULL;
	tty->sid = tty->pgid = 0;
}

/* The other end was closed. The leader gets SIGHUP now, the foreground group when the leader ends. kernel->lock held. */
static void hang_up(struct kernel *k, struct tty *tty)
{
	struct process *leader = tty->sid ? process_find(k, tty->sid) : NULL;

	if (leader) {
		leader->hung_up_pgid = tty->pgid;
		process_signal(leader, SIGHUP);
		process_signal(leader, SIGCONT);
	}
	end_session(k, tty);
}

void tty_close_master(struct file *file)
{
	bool known = tty_identify_master(file);
	const struct tty_id id = tty_identify(file);
	struct tty *tty;

	close(file->fd);
	if (!known)
		return;
	pthread_mutex_lock(&file->kernel->lock);
	tty = tty_find(file->kernel, &id);
	if (tty)
		hang_up(file->kernel, tty);
	pthread_mutex_unlock(&file->kernel->lock);
}

void tty_leave_session(struct process *p)
{
	struct tty *tty = p->tty;

	if (p->hung_up_pgid) {
		group_send(p->kernel, p->hung_up_pgid, SIGHUP);
		group_send(p->kernel, p->hung_up_pgid, SIGCONT);
	}
	if (!controls(tty, p) || p->pid != p->sid)
		return;
	group_send(p->kernel, tty->pgid, SIGHUP);
	end_session(p->kernel, tty);
}

/* The terminal of @file, which is not the outer one, known from now on. kernel->lock held. NULL: no memory. */
static struct tty *add_tty(struct kernel *k, const struct file *file)
{
	struct tty *tty = calloc(1, sizeof(*tty));
	char link[FD_NAME_BYTES];

	if (!tty)
		return NULL;
	tty->dev = file->dev;
	tty->ino = file->ino;
	if (readlink(path_fd_name(file->fd, link), tty->path, sizeof(tty->path) - 1) < 0)
		tty->path[0] = 0;
	tty->next = k->ttys;
	k->ttys = tty;
	return tty;
}

/* The terminal becomes that of the session that the caller leads. kernel->lock held. 0 or a negative errno. */
static int acquire(struct task *t, const struct file *file, const struct tty_id *id, bool steal)
{
	struct process *p = t->process;
	struct tty *tty = tty_find(t->kernel, id);

	if (controls(tty, p) && p->pid == p->sid)
		return 0;
	if (p->pid != p->sid || p->tty)
		return -EPERM;
	if (tty && tty->sid && (!steal || geteuid()))
		return -EPERM;
	if (!tty)
		tty = add_tty(t->kernel, file);
	if (!tty)
		return -ENOMEM;
	if (tty->sid)
		end_session(t->kernel, tty);
	tty->sid = p->sid;
	tty->pgid = p->pgid;
	tty->literal = false;
	p->tty = tty;
	return 0;
}

void tty_opened(struct task *t, const struct file *file, int flags)
{
	struct tty_id id;

	if (file->terminal != TERMINAL || (flags & (O_NOCTTY | O_PATH)) || (flags & O_ACCMODE) == O_WRONLY)
		return;
	id = tty_identify(file);
	pthread_mutex_lock(&t->kernel->lock);
	if (t->process->pid == t->process->sid && !t->process->tty)
		acquire(t, file, &id, false);
	pthread_mutex_unlock(&t->kernel->lock);
}

static bool is_dev_tty(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 && S_ISCHR(st.st_mode) && st.st_rdev == makedev(TTYAUX_MAJOR, 0);
}

/* Open the controlling terminal, which is not the outer one. */
static int open_by_path(const char path[TTY_PATH_BYTES], const struct tty_id *id, int flags)
{
	const int kept = O_ACCMODE | O_NONBLOCK | O_APPEND;
	int fd = open(path, (flags & kept) | O_NOCTTY | O_CLOEXEC);
	struct stat st;

	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) == 0 && st.st_dev == id->dev && st.st_ino == id->ino)
		return fd;
	close(fd);
	return -ENXIO;
}

/* @fd: what the open of /dev/tty returned. The outer terminal is left as it is. */
static int open_controlling(struct task *t, int fd, int flags)
{
	char path[TTY_PATH_BYTES] = "";
	struct tty_id id = { .outer = false };
	const struct tty *tty;

	pthread_mutex_lock(&t->kernel->lock);
	tty = t->process->tty;
	if (tty) {
		id = (struct tty_id){ tty->outer, tty->dev, tty->ino };
		memcpy(path, tty->path, sizeof(path));
	}
	pthread_mutex_unlock(&t->kernel->lock);
	if (id.outer)
		return fd;
	if (fd >= 0)
		close(fd);
	return tty ? open_by_path(path, &id, flags) : -ENXIO;
}

int tty_open_own(struct task *t, int fd, int64_t dirfd, const char *path, int flags)
{
	int object = fd;
	bool own;

	if ((flags & O_PATH) || (fd < 0 && fd != -ENXIO))
		return fd;
	if (fd < 0)	/* Vellum has no terminal, but the process may have one */
		object = path_open(t, dirfd, path, O_PATH, 0);
	own = object >= 0 && is_dev_tty(object);
	if (object >= 0 && object != fd)
		close(object);
	return own ? open_controlling(t, fd, flags) : fd;
}

/* --- requests --- */

/* TIOCGPGRP and TIOCGSID. A master answers for the terminal at its other end. */
static int64_t get_id(struct task *t, const struct file *file, const struct tty_id *id, uint32_t request, uint64_t arg)
{
	const struct tty *tty;
	int value = 0;
	bool ok;

	pthread_mutex_lock(&t->kernel->lock);
	tty = tty_find(t->kernel, id);
	ok = controls(tty, t->process) || (file->terminal == PTY_MASTER && (request == TIOCGPGRP || (tty && tty->sid)));
	if (ok && tty)
		value = request == TIOCGPGRP ? tty->pgid : tty->sid;
	pthread_mutex_unlock(&t->kernel->lock);
	return ok ? user_write(t, arg, &value, sizeof(value)) : -ENOTTY;
}

static int64_t set_foreground(struct task *t, const struct tty_id *id, uint64_t arg)
{
	struct kernel *k = t->kernel;
	struct process *p = t->process;
	int64_t err = check_access(t, id, SIGTTOU);
	struct tty *tty;
	int pgid;

	if (err)
		return err == -EIO ? -ENOTTY : err;
	if (user_read(t, &pgid, arg, sizeof(pgid)))
		return -EFAULT;
	pthread_mutex_lock(&k->lock);
	tty = tty_find(k, id);
	if (!controls(tty, p))
		err = -ENOTTY;
	else if (pgid < 0)
		err = -EINVAL;
	else if (!group_exists(k, pgid, 0))
		err = -ESRCH;
	else if (!group_exists(k, pgid, p->sid))
		err = -EPERM;
	else
		tty->pgid = pgid;
	pthread_mutex_unlock(&k->lock);
	return err;
}

static int64_t set_controlling(struct task *t, const struct file *file, const struct tty_id *id, uint64_t arg)
{
	int64_t err;

	if (file->terminal != TERMINAL)
		return -ENOTTY;
	pthread_mutex_lock(&t->kernel->lock);
	err = acquire(t, file, id, arg == 1);
	pthread_mutex_unlock(&t->kernel->lock);
	return err;
}

/* TIOCNOTTY. If the session leader gives the terminal up, its session loses it. */
static int64_t give_up(struct task *t, const struct tty_id *id)
{
	struct kernel *k = t->kernel;
	struct process *p = t->process;
	struct tty *tty;
	int64_t err = 0;

	pthread_mutex_lock(&k->lock);
	tty = tty_find(k, id);
	if (!tty || p->tty != tty) {
		err = -ENOTTY;
	} else if (p->pid == p->sid) {
		int pgid = tty->pgid;

		end_session(k, tty);
		group_send(k, pgid, SIGHUP);
		group_send(k, pgid, SIGCONT);
	} else {
		p->tty = NULL;
	}
	pthread_mutex_unlock(&k->lock);
	return err;
}

void tty_signal_foreground(struct task *t, const struct tty_id *id, int signo)
{
	const struct tty *tty;

	pthread_mutex_lock(&t->kernel->lock);
	tty = tty_find(t->kernel, id);
	if (tty && tty->pgid)
		group_send(t->kernel, tty->pgid, signo);
	pthread_mutex_unlock(&t->kernel->lock);
}

static int64_t set_size(struct task *t, const struct file *file, const struct tty_id *id, uint64_t arg)
{
	struct winsize old, new;

	if (user_read(t, &new, arg, sizeof(new)))
		return -EFAULT;
	if (ioctl(file->fd, TIOCGWINSZ, &old) || ioctl(file->fd, TIOCSWINSZ, &new))
		return -errno;
	if (!id->outer && memcmp(&old, &new, sizeof(new)))
		tty_signal_foreground(t, id, SIGWINCH);
	return 0;
}

static int64_t send_signal(struct task *t, const struct file *file, const struct tty_id *id, uint64_t arg)
{
	if (file->terminal != PTY_MASTER)
		return -ENOTTY;
	if (arg != SIGINT && arg != SIGQUIT && arg != SIGTSTP)
		return -EINVAL;
	tty_signal_foreground(t, id, (int)arg);
	return 0;
}

static int64_t open_peer(struct task *t, const struct file *file, uint64_t arg)
{
	const int flags = (int)arg & (O_ACCMODE | O_NONBLOCK), cloexec = (int)arg & O_CLOEXEC;
	struct file *peer;
	int err = fd_check_room(t, 1), fd;

	if (err)
		return err;
	fd = ioctl(file->fd, TIOCGPTPEER, flags | O_NOCTTY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	peer = file_open(t->kernel, fd);
	if (peer)
		tty_opened(t, peer, (int)arg);
	return fd_install(t, peer, 0, cloexec);
}

bool tty_ioctl(struct task *t, struct file *file, uint32_t request, uint64_t arg, int64_t *result)
{
	static const uint32_t known[] = { TIOCGPGRP, TIOCGSID, TIOCSPGRP, TIOCSCTTY, TIOCNOTTY, TIOCSWINSZ, TIOCSIG,
					  TIOCGPTPEER };
	struct tty_id id;
	size_t i = 0;

	while (i < sizeof(known) / sizeof(known[0]) && known[i] != request)
		i++;
	if (i == sizeof(known) / sizeof(known[0]))
		return false;
	*result = -ENOTTY;
	if (file->terminal == NO_TERMINAL)
		return true;
	if (file->terminal == PTY_MASTER)
		tty_identify_master(file);
	id = tty_identify(file);
	switch (request) {
	case TIOCGPGRP:
	case TIOCGSID:	  *result = get_id(t, file, &id, request, arg); break;
	case TIOCSPGRP:	  *result = set_foreground(t, &id, arg); break;
	case TIOCSCTTY:	  *result = set_controlling(t, file, &id, arg); break;
	case TIOCNOTTY:	  *result = give_up(t, &id); break;
	case TIOCSWINSZ:  *result = set_size(t, file, &id, arg); break;
	case TIOCSIG:	  *result = send_signal(t, file, &id, arg); break;
	case TIOCGPTPEER: *result = open_peer(t, file, arg); break;
	}
	return true;
}
