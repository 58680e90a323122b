/* SPDX-License-Identifier: MIT */
/* abi/tty_input.c - signals of control characters that programs write to masters of pseudoterminals; see tty.h. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "abi/signals.h"
#include "abi/tty.h"
#include "abi/tty_state.h"

#define FLUSH_STEP_US	1000
#define FLUSH_STEPS	1000

static int signal_of_key(const struct termios *tio, unsigned char c)
{
	static const struct {
		int index, signo;
	} keys[] = { { VINTR, SIGINT }, { VQUIT, SIGQUIT }, { VSUSP, SIGTSTP } };

	if (c == _POSIX_VDISABLE || !(tio->c_lflag & ISIG))
		return 0;
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
		if (c == tio->c_cc[keys[i].index])
			return keys[i].signo;
	return 0;
}

/* The signal of a character that the host's line discipline gets, or 0. kernel->lock held. */
static int signal_of(struct tty *tty, const struct termios *tio, unsigned char c)
{
	int signo = tty->literal ? 0 : signal_of_key(tio, c);

	tty->literal = !tty->literal && !signo && c != _POSIX_VDISABLE && (tio->c_lflag & ICANON) &&
		       (tio->c_lflag & IEXTEN) && c == tio->c_cc[VLNEXT];
	return signo;
}

/* Advance *@at over the bytes up to the next signal, and return it. 0: none. Takes kernel->lock. */
static int next_signal(struct kernel *k, const struct tty_id *id, const struct termios *tio, const char **at,
		       const char *end)
{
	struct tty *tty;
	int signo = 0;

	pthread_mutex_lock(&k->lock);
	tty = tty_find(k, id);
	while (tty && *at < end && !signo)
		signo = signal_of(tty, tio, (unsigned char)*(*at)++);
	pthread_mutex_unlock(&k->lock);
	return signo;
}

/*
 * Wait until the host's line discipline has processed a control character, which was the last byte that was written to
 * the master. The write only queued it. The character discards all input, so there is no input afterwards. If there is
 * none, poll(2) processes the queue and then looks again. Another writer may have added input, so the wait is limited.
 */
static void wait_for_flush(struct task *t, const struct file *master)
{
	struct pollfd peer = { .events = POLLIN };

	cpu_release(t);
	peer.fd = ioctl(master->fd, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (peer.fd < 0)
		return;
	for (int i = 0; i < FLUSH_STEPS && poll(&peer, 1, 0) > 0 && (peer.revents & POLLIN) && !signal_pending(t); i++)
		usleep(FLUSH_STEP_US);
	close(peer.fd);
}

size_t tty_input_part(struct file *master, const char *bytes, size_t len)
{
	struct termios tio;
	size_t part = 0;

	if (!tty_identify_master(master) || tcgetattr(master->fd, &tio))
		return len;
	while (part < len && !signal_of_key(&tio, (unsigned char)bytes[part]))
		part++;
	return part < len ? part + 1 : len;
}

/*
 * The host's line discipline knows no group to send the signals to. Without NOFLSH, a control character also discards
 * output. What processes write when they have the signal must be kept, so the signal is sent after that.
 */
void tty_input(struct task *t, struct file *master, const char *bytes, size_t len)
{
	const char *at = bytes, *end = bytes + len;
	struct tty_id id;
	struct termios tio;
	int signo;

	if (!tty_identify_master(master) || tcgetattr(master->fd, &tio))
		return;
	id = tty_identify(master);
	while ((signo = next_signal(t->kernel, &id, &tio, &at, end))) {
		if (!(tio.c_lflag & NOFLSH))
			wait_for_flush(t, master);
		tty_signal_foreground(t, &id, signo);
	}
}
