/* SPDX-License-Identifier: MIT */
/*
 * tests/programs/terminal.c - pseudoterminals, sessions and foreground groups, and what these do to reads, writes and
 * signals. Prints the same natively and under `vellum run`.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "show.h"

static int master, slave;	/* descriptors of one pseudoterminal */

static void open_pair(void)
{
	const char *name;

	master = opened("posix_openpt", posix_openpt(O_RDWR | O_NOCTTY));
	SHOW(grantpt(master));
	SHOW(unlockpt(master));
	name = ptsname(master);
	printf("name: %d\n", name && !strncmp(name, "/dev/pts/", 9));
	slave = opened("the terminal", open(name, O_RDWR | O_NOCTTY));
}

/* Print how a child ends or stops. */
static void show_wait(const char *what, pid_t pid, int options)
{
	int status = 0;
	pid_t found = waitpid(pid, &status, options);

	fflush(stdout);
	if (found != pid)
		printf("%s: %s\n", what, strerrorname_np(errno));
	else if (WIFSTOPPED(status))
		printf("%s: stopped by %s\n", what, sigabbrev_np(WSTOPSIG(status)));
	else if (WIFCONTINUED(status))
		printf("%s: continued\n", what);
	else if (WIFSIGNALED(status))
		printf("%s: killed by %s\n", what, sigabbrev_np(WTERMSIG(status)));
	else
		printf("%s: status %d\n", what, WEXITSTATUS(status));
	fflush(stdout);
}

/* Run it as the leader of a session with the terminal, which has closed the master. */
static void in_session(const char *what, void (*run)(void))
{
	pid_t pid;

	printf("--- %s\n", what);
	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		setsid();
		if (ioctl(slave, TIOCSCTTY, 0))
			SHOW(-1);
		run();
		fflush(stdout);
		_exit(0);
	}
	show_wait("session leader", pid, 0);
}

/* Run it in a group of its own, in the background unless the caller brings it to the foreground. */
static pid_t start_job(void (*run)(void))
{
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		setpgid(0, 0);
		run();
		fflush(stdout);
		_exit(7);
	}
	setpgid(pid, pid);
	return pid;
}

static void end_job(pid_t pid)
{
	kill(pid, SIGKILL);
	kill(pid, SIGCONT);
	waitpid(pid, NULL, 0);
}

static void wait_forever(void)
{
	for (;;)
		pause();
}

/* --- requests --- */

static void requests(void)
{
	pid_t pid = start_job(wait_forever);
	int other;

	printf("own session: %d\n", tcgetsid(slave) == getpid());
	printf("own group: %d\n", tcgetpgrp(slave) == getpid());
	printf("of the master: %d\n", tcgetpgrp(master) == getpid());
	SHOW(tcsetpgrp(slave, pid) == 0 && tcgetpgrp(slave) == pid);
	signal(SIGTTOU, SIG_IGN);
	SHOW(tcsetpgrp(slave, getpid()));
	SHOW(tcsetpgrp(slave, -1));
	SHOW(tcsetpgrp(slave, 1 << 29));
	SHOW(tcsetpgrp(slave, getppid()));
	SHOW(ioctl(slave, TIOCSCTTY, 0));
	other = opened("/dev/tty", open("/dev/tty", O_RDWR));
	printf("the same: %d\n", tcgetsid(other) == getpid());
	signal(SIGHUP, SIG_IGN);
	SHOW(ioctl(slave, TIOCNOTTY) == 0 && tcgetsid(slave) < 0);
	opened("/dev/tty", open("/dev/tty", O_RDWR));
	SHOW(tcgetpgrp(slave));
	SHOW(tcgetpgrp(master));
	SHOW(ioctl(slave, TIOCSCTTY, 0));
	end_job(pid);
	opened("another", open(ptsname(master), O_RDWR));
}

static void opened_by_leader(void)
{
	char *name = ptsname(master);

	signal(SIGHUP, SIG_IGN);
	SHOW(ioctl(slave, TIOCNOTTY));
	opened("the terminal", open(name, O_WRONLY));
	printf("by a write-only open: %d\n", tcgetsid(slave) == getpid());
	opened("the terminal", open(name, O_RDWR | O_NOCTTY));
	printf("with O_NOCTTY: %d\n", tcgetsid(slave) == getpid());
	opened("the terminal", open(name, O_RDWR));
	printf("by an open: %d\n", tcgetsid(slave) == getpid());
}

static void not_the_leader(void)
{
	pid_t pid = fork();

	if (pid == 0) {
		SHOW(ioctl(slave, TIOCNOTTY));
		SHOW(tcgetpgrp(slave));
		SHOW(ioctl(slave, TIOCSCTTY, 0));
		fflush(stdout);
		_exit(0);
	}
	show_wait("child", pid, 0);
	printf("of the leader: %d\n", tcgetsid(slave) == getpid());
}

/* --- the background --- */

static void read_terminal(void)
{
	char c;

	SHOW(read(slave, &c, 1));
}

static void set_terminal(void)
{
	struct termios tio;

	SHOW(tcgetattr(slave, &tio));
	SHOW(tcsetattr(slave, TCSANOW, &tio));
}

static void write_terminal(void)
{
	SHOW(write(slave, "x", 1));
}

static void take_terminal(void)
{
	SHOW(tcsetpgrp(slave, getpid()));
}

static void flush_terminal(void)
{
	SHOW(tcflush(slave, TCIFLUSH));
}

static void deafly(void (*run)(void))
{
	signal(SIGTTIN, SIG_IGN);
	signal(SIGTTOU, SIG_IGN);
	run();
}

static void read_deafly(void)
{
	deafly(read_terminal);
}

static void write_deafly(void)
{
	deafly(write_terminal);
}

static void set_deafly(void)
{
	deafly(set_terminal);
}

static void on_signal(int signo)
{
	(void)signo;
}

static void read_with_handler(void)
{
	struct sigaction act = { .sa_handler = on_signal };

	sigaction(SIGTTIN, &act, NULL);
	read_terminal();
}

static void background(void)
{
	static void (*const runs[])(void) = { read_terminal, set_terminal, write_terminal, take_terminal, flush_terminal,
					      read_deafly, write_deafly, set_deafly, read_with_handler };

	for (size_t i = 0; i < sizeof(runs) / sizeof(runs[0]); i++) {
		pid_t pid = start_job(runs[i]);

		printf("job %zu\n", i);
		show_wait("job", pid, WUNTRACED);
		end_job(pid);
	}
}

static void background_tostop(void)
{
	struct termios tio;

	tcgetattr(slave, &tio);
	tio.c_lflag |= TOSTOP;
	tcsetattr(slave, TCSANOW, &tio);
	background();
	tio.c_lflag &= ~(tcflag_t)TOSTOP;
	tcsetattr(slave, TCSANOW, &tio);
}

/* A stopped reader continues in the foreground. */
static void continued(void)
{
	pid_t pid = start_job(read_terminal);

	show_wait("reader", pid, WUNTRACED);
	SHOW(tcsetpgrp(slave, pid));
	SHOW(kill(-pid, SIGCONT));
	show_wait("reader", pid, WCONTINUED);
	SHOW(write(master, "z\n", 2));
	show_wait("reader", pid, WUNTRACED);
}

/* --- orphaned groups --- */

/* Print the signals that arrive, in the order of their numbers, until none is left. */
static void collect_signals(const char *what, const sigset_t *set)
{
	const struct timespec soon = { .tv_nsec = 300000000 };
	int signo, more;

	signo = sigtimedwait(set, NULL, &(struct timespec){ .tv_sec = 20 });
	more = sigtimedwait(set, NULL, &soon);
	printf("%s: %s%s%s\n", what, signo > 0 ? sigabbrev_np(signo) : "none", more > 0 ? " " : "",
	       more > 0 ? sigabbrev_np(more) : "");
	fflush(stdout);
}

static sigset_t end_signals;	/* of the end of a session */

static void block_end_signals(void)
{
	sigemptyset(&end_signals);
	sigaddset(&end_signals, SIGHUP);
	sigaddset(&end_signals, SIGCONT);
	sigprocmask(SIG_BLOCK, &end_signals, NULL);
}

static int ended[2];	/* a pipe: end of file when the last process of a session has ended */

static void wait_for_end(void)
{
	char c;

	close(ended[1]);
	SHOW(read(ended[0], &c, 1));
}

/* The parent ends, so no process of the session could continue the group. */
static void orphan(void)
{
	pid_t parent = getpid(), pid = fork();

	if (pid)
		return;
	setpgid(0, 0);
	while (getppid() == parent)
		usleep(1000);
	SHOW(raise(SIGTSTP));
	read_terminal();
	take_terminal();
	flush_terminal();
	fflush(stdout);
}

static void make_orphan(void)
{
	pid_t pid;

	fflush(stdout);
	if (pipe(ended))
		_exit(1);
	pid = fork();
	if (pid == 0) {
		orphan();
		_exit(0);
	}
	waitpid(pid, NULL, 0);
	wait_for_end();
}

static void stopped_orphan(void)
{
	pid_t pid;

	block_end_signals();
	pid = fork();
	if (pid == 0) {
		setpgid(0, 0);
		raise(SIGSTOP);
		collect_signals("orphan", &end_signals);
		return;
	}
	show_wait("orphan", pid, WUNTRACED);
}

static void make_stopped_orphan(void)
{
	pid_t pid;

	fflush(stdout);
	if (pipe(ended))
		_exit(1);
	pid = fork();
	if (pid == 0) {
		stopped_orphan();
		_exit(0);
	}
	waitpid(pid, NULL, 0);
	wait_for_end();
}

/* --- control characters --- */

/* The leader makes the job the foreground group. Then the character comes. */
static void control(char c, void (*run)(void))
{
	pid_t pid = start_job(run);

	SHOW(tcsetpgrp(slave, pid));
	SHOW(write(master, &c, 1));
	printf("character %d\n", c);
	show_wait("job", pid, WUNTRACED);
	end_job(pid);
	signal(SIGTTOU, SIG_IGN);
	tcsetpgrp(slave, getpid());
}

static void control_characters(void)
{
	struct termios tio;
	pid_t pid;

	signal(SIGTTOU, SIG_IGN);
	control(3, wait_forever);
	control(28, wait_forever);
	control(26, wait_forever);
	tcgetattr(slave, &tio);
	tio.c_cc[VINTR] = 'q';
	tcsetattr(slave, TCSANOW, &tio);
	control('q', wait_forever);
	pid = start_job(wait_forever);
	SHOW(tcsetpgrp(slave, pid));
	SHOW(write(master, "\x16q\x03", 3));	/* a literal q, and what is no control character any more */
	usleep(100000);
	SHOW(waitpid(pid, NULL, WNOHANG | WUNTRACED));
	tio.c_lflag &= ~(tcflag_t)ISIG;
	tcsetattr(slave, TCSANOW, &tio);
	SHOW(write(master, "q", 1));
	usleep(100000);
	SHOW(waitpid(pid, NULL, WNOHANG | WUNTRACED));
	SHOW(ioctl(master, TIOCSIG, SIGQUIT));
	SHOW(ioctl(master, TIOCSIG, SIGTERM));
	SHOW(ioctl(slave, TIOCSIG, SIGQUIT));
	show_wait("job", pid, 0);
}

#define ANSWERS 500	/* enough that a race shows in most runs */

/* Each SIGINT is answered with a character on the terminal. */
static void answer(void)
{
	sigset_t set;
	int signo;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigprocmask(SIG_BLOCK, &set, NULL);
	do {
		write(slave, "!", 1);
		sigwait(&set, &signo);
	} while (signo == SIGINT);
}

/* Read from the master until the character comes. False: it does not come. */
static bool read_answer(void)
{
	struct pollfd poller = { .fd = master, .events = POLLIN };
	char bytes[64];
	ssize_t n;

	do {
		n = poll(&poller, 1, 10000) > 0 ? read(master, bytes, sizeof(bytes)) : 0;
	} while (n > 0 && !memchr(bytes, '!', (size_t)n));
	return n > 0;
}

/* A control character discards output. What a process writes when it has the signal comes after that, so it stays. */
static void answered(void)
{
	pid_t pid = start_job(answer);
	int nr = 0;

	signal(SIGTTOU, SIG_IGN);
	SHOW(tcsetpgrp(slave, pid));
	while (read_answer() && ++nr < ANSWERS)
		if (write(master, "before\n\x03" "after\n", 14) != 14)
			break;
	printf("answers: %d\n", nr);
	end_job(pid);
}

static void wait_for_size(void)
{
	sigset_t set;
	int signo = 0;

	sigemptyset(&set);
	sigaddset(&set, SIGWINCH);
	sigprocmask(SIG_BLOCK, &set, NULL);
	kill(getppid(), SIGUSR1);
	sigwait(&set, &signo);
	printf("signal: %s\n", sigabbrev_np(signo));
}

static void new_size(void)
{
	struct winsize ws = { .ws_row = 30, .ws_col = 90 };
	sigset_t set;
	pid_t pid;
	int signo;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGTTOU, SIG_IGN);
	pid = start_job(wait_for_size);
	SHOW(tcsetpgrp(slave, pid));
	sigwait(&set, &signo);
	SHOW(ioctl(master, TIOCSWINSZ, &ws));
	show_wait("job", pid, 0);
	memset(&ws, 0, sizeof(ws));
	SHOW(ioctl(slave, TIOCGWINSZ, &ws));
	printf("%d rows, %d columns\n", ws.ws_row, ws.ws_col);
}

/* --- the end of sessions --- */

static void foreground_job(void)
{
	collect_signals("foreground", &end_signals);
	opened("/dev/tty", open("/dev/tty", O_RDWR));
}

static pid_t start_foreground(void)
{
	pid_t pid;

	block_end_signals();
	signal(SIGTTOU, SIG_IGN);
	pid = start_job(foreground_job);
	SHOW(tcsetpgrp(slave, pid));
	return pid;
}

static void given_up(void)
{
	pid_t pid = start_foreground();

	SHOW(ioctl(slave, TIOCNOTTY));
	show_wait("job", pid, 0);
}

static void leader_ends(void)
{
	pid_t pid = start_foreground();

	printf("started: %d\n", pid > 0);
}

static int ready[2];	/* a pipe: the foreground job runs */

static void hung_up(void)
{
	pid_t pid;
	char c = 0;

	close(master);
	pid = start_foreground();
	SHOW(write(ready[1], &c, 1));
	collect_signals("leader", &end_signals);
	SHOW(waitpid(pid, NULL, WNOHANG));
	SHOW(read(slave, &c, 1));
	SHOW(write(slave, &c, 1));
	opened("/dev/tty", open("/dev/tty", O_RDWR));
}

/* A process of its own has the only descriptor of the master. */
static void closed_master(void)
{
	pid_t pid;
	char c;

	printf("--- the master is closed\n");
	open_pair();
	fflush(stdout);
	if (pipe(ready) || pipe(ended))
		_exit(1);
	pid = fork();
	if (pid == 0) {
		setsid();
		SHOW(ioctl(slave, TIOCSCTTY, 0));
		hung_up();
		fflush(stdout);
		_exit(0);
	}
	read(ready[0], &c, 1);
	close(master);
	waitpid(pid, NULL, 0);
	wait_for_end();
}

int main(void)
{
	setvbuf(stdout, NULL, _IOFBF, 1 << 16);
	open_pair();
	in_session("requests", requests);
	in_session("opened by a leader", opened_by_leader);
	in_session("not the leader", not_the_leader);
	in_session("the background", background);
	in_session("the background, TOSTOP", background_tostop);
	in_session("continued", continued);
	in_session("answers to control characters", answered);
	in_session("control characters", control_characters);
	in_session("a new size", new_size);
	in_session("given up", given_up);
	in_session("an orphaned group", make_orphan);
	in_session("a stopped, orphaned group", make_stopped_orphan);
	if (pipe(ended))
		return 1;
	in_session("the leader ends", leader_ends);
	wait_for_end();
	close(master);
	close(slave);
	closed_master();
	return 0;
}
