/* SPDX-License-Identifier: MIT */
/* abi/strace_signal.c - arguments of signal calls, poll(2) and select(2) for --strace. */
#define _GNU_SOURCE
#include <poll.h>
#include <sys/select.h>
#include <sys/syscall.h>
#include <ucontext.h>

#include "abi/strace_print.h"
#include "abi/task.h"

#define POLLFDS_SEARCHED 4096	/* for events that are reported */

/* --- signals --- */

/* The size of the set is the last size that a call gets. */
static bool is_sigset_size(const struct trace *tr)
{
	unsigned last = 5;

	while (last && tr->call->args[last] != FORMAT_z)
		last--;
	return tr->arg[last] == SIGSET_BYTES;
}

static void text_sigset_at(struct trace *tr, uint64_t addr)
{
	uint64_t set;

	if (addr && fetch(tr, &set, addr, sizeof(set)))
		text_sigset(tr, set);
	else
		text_address(tr, addr);
}

bool print_sigset(struct trace *tr, unsigned i)
{
	if (is_sigset_size(tr))
		text_sigset_at(tr, tr->arg[i]);
	else
		text_address(tr, tr->arg[i]);
	return true;
}

bool print_sigset_out(struct trace *tr, unsigned i)
{
	if (tr->leaving && !text_if_no_result(tr, tr->arg[i]))
		print_sigset(tr, i);
	return false;
}

/* pselect6(2) has a pointer to the set and its size. */
bool print_sigmask(struct trace *tr, unsigned i)
{
	uint64_t mask[2];

	if (!tr->arg[i] || !fetch(tr, mask, tr->arg[i], sizeof(mask))) {
		text_address(tr, tr->arg[i]);
		return true;
	}
	text(tr, "{sigmask=");
	if (mask[1] == SIGSET_BYTES)
		text_sigset_at(tr, mask[0]);
	else
		text_address(tr, mask[0]);
	text(tr, ", sigsetsize=%llu}", (unsigned long long)mask[1]);
	return true;
}

bool print_sigaction(struct trace *tr, unsigned i)
{
	static const char *const handlers[] = { "SIG_DFL", "SIG_IGN" };
	struct sig_action action;

	if (!tr->arg[i] || !is_sigset_size(tr) || !fetch(tr, &action, tr->arg[i], sizeof(action))) {
		text_address(tr, tr->arg[i]);
		return true;
	}
	text(tr, "{sa_handler=");
	if (action.handler < 2)
		text(tr, "%s", handlers[action.handler]);
	else
		text_address(tr, action.handler);
	text(tr, ", sa_mask=");
	text_sigset(tr, action.mask);
	text(tr, ", sa_flags=");
	text_flags(tr, &strace_names[FORMAT_sa_flags], action.flags);
	if (action.flags & 0x4000000)	/* SA_RESTORER */
		text(tr, ", sa_restorer=%#llx", (unsigned long long)action.restorer);
	text(tr, "}");
	return true;
}

bool print_sigaction_out(struct trace *tr, unsigned i)
{
	if (tr->leaving && !text_if_no_result(tr, tr->arg[i]))
		print_sigaction(tr, i);
	return false;
}

bool print_sigaltstack(struct trace *tr, unsigned i)
{
	stack_t stack;

	if (!tr->arg[i] || !fetch(tr, &stack, tr->arg[i], sizeof(stack))) {
		text_address(tr, tr->arg[i]);
		return true;
	}
	text(tr, "{ss_sp=");
	text_address(tr, (uint64_t)stack.ss_sp);
	text(tr, ", ss_flags=");
	text_flags(tr, &strace_names[FORMAT_ss_flags], (uint32_t)stack.ss_flags);
	text(tr, ", ss_size=%zu}", stack.ss_size);
	return true;
}

bool print_sigaltstack_out(struct trace *tr, unsigned i)
{
	if (tr->leaving && !text_if_no_result(tr, tr->arg[i]))
		print_sigaltstack(tr, i);
	return false;
}

/* rt_sigreturn(2) has no arguments, but a frame on the stack. */
void strace_sigreturn(struct trace *tr)
{
	const ucontext_t *frame = (const ucontext_t *)tr->task->st.regs.rsp;
	uint64_t mask;

	if (fetch(tr, &mask, (uint64_t)&frame->uc_sigmask, sizeof(mask))) {
		text(tr, "{mask=");
		text_sigset(tr, mask);
		text(tr, "}");
	}
}

/* --- poll --- */

static void text_pollfd(struct trace *tr, const void *element, void *arg)
{
	const struct pollfd *fd = element;

	(void)arg;
	text(tr, "{fd=%d", fd->fd);
	if (fd->fd >= 0) {
		text(tr, ", events=");
		text_flags(tr, &strace_names[FORMAT_poll_events], (uint16_t)fd->events);
	}
	text(tr, "}");
}

bool print_pollfds(struct trace *tr, unsigned i)
{
	text_array(tr, tr->arg[i], (uint32_t)tr->arg[i + 1], sizeof(struct pollfd), text_pollfd, NULL);
	return true;
}

static void text_revents(struct trace *tr, uint64_t addr, uint64_t nr)
{
	unsigned shown = 0;
	struct pollfd fd;

	text(tr, "[");
	for (uint64_t i = 0; i < nr && i < POLLFDS_SEARCHED; i++) {
		if (!fetch(tr, &fd, addr + i * sizeof(fd), sizeof(fd)))
			break;
		if (!fd.revents)
			continue;
		text(tr, shown ? ", " : "");
		if (shown++ == SHOWN_ELEMENTS) {
			text(tr, "...");
			break;
		}
		text(tr, "{fd=%d, revents=", fd.fd);
		text_flags(tr, &strace_names[FORMAT_poll_events], (uint16_t)fd.revents);
		text(tr, "}");
	}
	text(tr, "]");
}

/* --- select --- */

/* Print the descriptors of a set. Return false if there are none or the set cannot be read; it may be NULL. */
static bool text_fds(struct trace *tr, uint64_t addr, const char *before, const char *after)
{
	int nr = (int)tr->arg[0] < MAX_FDS ? (int)tr->arg[0] : MAX_FDS;
	uint64_t set[MAX_FDS / 64];
	const char *separator = before;

	if (!addr || nr < 0 || !fetch(tr, set, addr, ((size_t)nr + 63) / 64 * 8))
		return false;
	for (int fd = 0; fd < nr; fd++) {
		if (!(set[fd / 64] >> fd % 64 & 1))
			continue;
		text(tr, "%s%d", separator, fd);
		separator = " ";
	}
	if (separator != before)
		text(tr, "%s", after);
	return separator != before;
}

bool print_fds(struct trace *tr, unsigned i)
{
	int nr = (int)tr->arg[0] < MAX_FDS ? (int)tr->arg[0] : MAX_FDS;
	uint64_t set[MAX_FDS / 64];

	if (text_fds(tr, tr->arg[i], "[", "]"))
		return true;
	if (tr->arg[i] && nr >= 0 && fetch(tr, set, tr->arg[i], ((size_t)nr + 63) / 64 * 8))
		text(tr, "[]");
	else
		text_address(tr, tr->arg[i]);
	return true;
}

static void select_suffix(struct trace *tr, bool timeval)
{
	static const char *const names[] = { "in [", "out [", "except [" };
	const char *separator = " (";
	size_t start = tr->used;

	for (unsigned i = 1; i <= 3; i++) {
		size_t mark = tr->used;

		text(tr, "%s", separator);
		if (text_fds(tr, tr->arg[i], names[i - 1], "]"))
			separator = ", ";
		else
			tr->used = mark;
	}
	if (tr->arg[4]) {
		text(tr, "%sleft ", separator);
		if (timeval)
			text_timeval(tr, tr->arg[4]);
		else
			text_timespec(tr, tr->arg[4]);
	}
	if (tr->used > start)
		text(tr, ")");
}

void strace_result_suffix(struct trace *tr)
{
	bool is_poll = tr->nr == SYS_poll || tr->nr == SYS_ppoll;

	if (!is_poll && tr->nr != SYS_select && tr->nr != SYS_pselect6)
		return;
	if (!tr->result) {
		text(tr, " (Timeout)");
	} else if (is_poll) {
		text(tr, " (");
		text_revents(tr, tr->arg[0], (uint32_t)tr->arg[1]);
		if (tr->nr == SYS_ppoll && tr->arg[2]) {
			text(tr, ", left ");
			text_timespec(tr, tr->arg[2]);
		}
		text(tr, ")");
	} else {
		select_suffix(tr, tr->nr == SYS_select);
	}
}
