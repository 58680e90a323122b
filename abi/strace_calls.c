/* SPDX-License-Identifier: MIT */
/* abi/strace_calls.c - arguments for --strace whose meaning another argument decides: a command, a flag. */
#define _GNU_SOURCE
#include <asm/prctl.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <linux/futex.h>
#include <linux/prctl.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "abi/strace_print.h"
#include "abi/task.h"

/* --- files --- */

/* The mode of open(2) matters only if a file is created. */
bool print_mode_create(struct trace *tr, unsigned i)
{
	if (tr->arg[i - 1] & (O_CREAT | (O_TMPFILE & ~O_DIRECTORY)))
		text(tr, "%#03o", (uint32_t)tr->arg[i]);
	return true;
}

/* openat2(2) with a structure that may have grown. */
bool print_open_how(struct trace *tr, unsigned i)
{
	struct open_how how;

	if (tr->arg[i + 1] < sizeof(how) || !fetch(tr, &how, tr->arg[i], sizeof(how))) {
		text_address(tr, tr->arg[i]);
		return true;
	}
	text(tr, "{flags=");
	text_open_flags(tr, (uint32_t)how.flags);
	if (how.flags >> 32)
		text(tr, "|%#llx", (unsigned long long)(how.flags >> 32 << 32));
	if (how.mode || (how.flags & (O_CREAT | (O_TMPFILE & ~O_DIRECTORY))))
		text(tr, ", mode=%#03llo", (unsigned long long)how.mode);
	text(tr, ", resolve=");
	text_flags(tr, &strace_names[FORMAT_resolve], how.resolve);
	text(tr, "%s}", tr->arg[i + 1] > sizeof(how) ? ", ..." : "");
	return true;
}

bool print_mode_file(struct trace *tr, unsigned i)
{
	text_mode(tr, (uint32_t)tr->arg[i]);
	return true;
}

bool print_dev_file(struct trace *tr, unsigned i)
{
	const dev_t dev = (uint32_t)tr->arg[i];

	if (S_ISCHR(tr->arg[i - 1]) || S_ISBLK(tr->arg[i - 1]))
		text(tr, "makedev(%#x, %#x)", major(dev), minor(dev));
	return true;
}

bool print_new_addr(struct trace *tr, unsigned i)
{
	if (tr->arg[i - 1] & (MREMAP_FIXED | MREMAP_DONTUNMAP))
		text_address(tr, tr->arg[i]);
	return true;
}

/* --- fcntl --- */

static bool print_lock(struct trace *tr, unsigned i, bool out)
{
	struct flock lock;

	if (out && !tr->leaving)
		return false;
	if (out && text_if_no_result(tr, tr->arg[i]))
		return true;
	if (!tr->arg[i] || !fetch(tr, &lock, tr->arg[i], sizeof(lock))) {
		text_address(tr, tr->arg[i]);
		return true;
	}
	text(tr, "{l_type=");
	text_enum(tr, &strace_names[FORMAT_lock_type], (uint16_t)lock.l_type);
	text(tr, ", l_whence=");
	text_enum(tr, &strace_names[FORMAT_whence], (uint16_t)lock.l_whence);
	text(tr, ", l_start=%lld, l_len=%lld", (long long)lock.l_start, (long long)lock.l_len);
	if (out)
		text(tr, ", l_pid=%d", lock.l_pid);
	text(tr, "}");
	return true;
}

bool print_fcntl_arg(struct trace *tr, unsigned i)
{
	switch ((int)tr->arg[i - 1]) {
	case F_GETFD:
	case F_GETFL:
	case F_GETOWN:
	case F_GETSIG:
	case F_GETLEASE:
	case F_GETPIPE_SZ:
	case F_GET_SEALS:
		return true;
	case F_SETFD:
		text_flags(tr, &strace_names[FORMAT_fd_flags], (uint32_t)tr->arg[i]);
		return true;
	case F_SETFL:
		text_open_flags(tr, (uint32_t)tr->arg[i]);
		return true;
	case F_ADD_SEALS:
		text_flags(tr, &strace_names[FORMAT_seals], (uint32_t)tr->arg[i]);
		return true;
	case F_SETLEASE:
		text_enum(tr, &strace_names[FORMAT_lock_type], (uint32_t)tr->arg[i]);
		return true;
	case F_SETSIG:
		return print_signal(tr, i);
	case F_DUPFD:
	case F_DUPFD_CLOEXEC:
	case F_SETOWN:
	case F_SETPIPE_SZ:
		return print_int(tr, i);
	case F_SETLK:
	case F_SETLKW:
	case F_OFD_SETLK:
	case F_OFD_SETLKW:
		return print_lock(tr, i, false);
	case F_GETLK:
	case F_OFD_GETLK:
		return print_lock(tr, i, true);
	case F_SETOWN_EX:
	case F_GETOWN_EX:
		return print_pointer(tr, i);
	default:
		return print_hex(tr, i);
	}
}

bool strace_fcntl_result(struct trace *tr)
{
	const uint32_t flags = (uint32_t)tr->result;

	switch ((int)tr->arg[1]) {
	case F_GETFL:
		text(tr, "%#x (flags ", flags);
		text_open_flags(tr, flags);
		break;
	case F_GETFD:
		if (!flags)
			return false;
		text(tr, "%#x (flags ", flags);
		text_flags(tr, &strace_names[FORMAT_fd_flags], flags);
		break;
	case F_GET_SEALS:
		if (!flags)
			return false;
		text(tr, "%#x (seals ", flags);
		text_flags(tr, &strace_names[FORMAT_seals], flags);
		break;
	default:
		return false;
	}
	text(tr, ")");
	return true;
}

/* --- ioctl --- */

static bool print_winsize(struct trace *tr, unsigned i, bool out)
{
	struct winsize size;

	if (out && !tr->leaving)
		return false;
	if (out && text_if_no_result(tr, tr->arg[i]))
		return true;
	if (tr->arg[i] && fetch(tr, &size, tr->arg[i], sizeof(size)))
		text(tr, "{ws_row=%u, ws_col=%u, ws_xpixel=%u, ws_ypixel=%u}", size.ws_row, size.ws_col, size.ws_xpixel,
		     size.ws_ypixel);
	else
		text_address(tr, tr->arg[i]);
	return true;
}

bool print_ioctl_arg(struct trace *tr, unsigned i)
{
	bool known;
	int value;

	if (is_uffd_request((uint32_t)tr->arg[i - 1]))
		return print_uffd_request(tr, i);
	switch ((uint32_t)tr->arg[i - 1]) {
	case TIOCEXCL:
	case TIOCNXCL:
	case TIOCNOTTY:
	case TIOCCONS:
	case TIOCSBRK:
	case TIOCCBRK:
	case TIOCVHANGUP:
	case FIONCLEX:
	case FIOCLEX:
		return true;
	case TCSBRK:
	case TCSBRKP:
	case TIOCSCTTY:
		return print_long(tr, i);
	case FIONREAD:
	case TIOCOUTQ:
	case TIOCGPGRP:
	case TIOCGSID:
		return print_int_out(tr, i);
	case FIONBIO:
	case FIOASYNC:
	case TIOCSPGRP:
		if (tr->arg[i] && fetch(tr, &value, tr->arg[i], sizeof(value)))
			text(tr, "[%d]", value);
		else
			text_address(tr, tr->arg[i]);
		return true;
	case TIOCGWINSZ:
		return print_winsize(tr, i, true);
	case TIOCSWINSZ:
		return print_winsize(tr, i, false);
	default:
		known = name_of(&strace_names[FORMAT_ioctl], (uint32_t)tr->arg[i - 1]);
		return known ? print_pointer(tr, i) : print_hex(tr, i);
	}
}

/* --- prctl --- */

/* How many arguments of an option have a meaning. */
static unsigned prctl_args(int option)
{
	switch (option) {
	case PR_GET_DUMPABLE:
	case PR_GET_KEEPCAPS:
	case PR_GET_SECCOMP:
	case PR_GET_SECUREBITS:
	case PR_GET_TIMERSLACK:
	case PR_GET_TIMING:
		return 0;
	case PR_SET_PDEATHSIG:
	case PR_GET_PDEATHSIG:
	case PR_SET_DUMPABLE:
	case PR_SET_KEEPCAPS:
	case PR_SET_NAME:
	case PR_GET_NAME:
	case PR_SET_TIMERSLACK:
	case PR_SET_CHILD_SUBREAPER:
	case PR_GET_CHILD_SUBREAPER:
	case PR_CAPBSET_READ:
	case PR_CAPBSET_DROP:
		return 1;
	default:
		return 4;
	}
}

static bool print_prctl_signal(struct trace *tr, uint64_t addr)
{
	int signo;

	if (!tr->leaving)
		return false;
	if (text_if_no_result(tr, addr))
		return true;
	if (!fetch(tr, &signo, addr, sizeof(signo))) {
		text_address(tr, addr);
		return true;
	}
	text(tr, "[");
	text_signal(tr, signo);
	text(tr, "]");
	return true;
}

static bool print_prctl_first(struct trace *tr, unsigned i)
{
	static const char *const dumpable[] = { "SUID_DUMP_DISABLE", "SUID_DUMP_USER", "SUID_DUMP_ROOT" };

	switch ((int)tr->arg[0]) {
	case PR_SET_NAME:
		text_string(tr, tr->arg[i], TASK_COMM_LEN - 1);
		return true;
	case PR_GET_NAME:
		if (tr->leaving && !text_if_no_result(tr, tr->arg[i]))
			text_string(tr, tr->arg[i], TASK_COMM_LEN);
		return false;
	case PR_SET_PDEATHSIG:
		return print_signal(tr, i);
	case PR_GET_PDEATHSIG:
		return print_prctl_signal(tr, tr->arg[i]);
	case PR_GET_CHILD_SUBREAPER:
		return print_int_out(tr, i);
	case PR_SET_DUMPABLE:
		if (tr->arg[i] < 3)
			text(tr, "%s", dumpable[tr->arg[i]]);
		else
			text(tr, "%#llx /* SUID_DUMP_??? */", (unsigned long long)tr->arg[i]);
		return true;
	case PR_SET_KEEPCAPS:
	case PR_SET_TIMERSLACK:
	case PR_SET_CHILD_SUBREAPER:
	case PR_SET_NO_NEW_PRIVS:
	case PR_SET_THP_DISABLE:
	case PR_CAPBSET_READ:
	case PR_CAPBSET_DROP:
		return print_long(tr, i);
	default:
		return print_hex(tr, i);
	}
}

bool print_prctl_arg(struct trace *tr, unsigned i)
{
	if (i > prctl_args((int)tr->arg[0]))
		return true;
	return i == 1 ? print_prctl_first(tr, i) : print_hex(tr, i);
}

bool print_arch_prctl_arg(struct trace *tr, unsigned i)
{
	uint64_t base;

	switch ((uint32_t)tr->arg[0]) {
	case ARCH_GET_FS:
	case ARCH_GET_GS:
		if (!tr->leaving)
			return false;
		if (text_if_no_result(tr, tr->arg[i]))
			return true;
		if (!fetch(tr, &base, tr->arg[i], sizeof(base)))
			return print_pointer(tr, i);
		text(tr, "[");
		text_address(tr, base);
		text(tr, "]");
		return true;
	case ARCH_GET_CPUID:
		return true;
	default:
		return print_hex(tr, i);
	}
}

/* --- futex --- */

bool print_futex_op(struct trace *tr, unsigned i)
{
	const uint32_t op = (uint32_t)tr->arg[i];
	const char *name = name_of(&strace_names[FORMAT_futex_names], op & FUTEX_CMD_MASK);

	if (!name) {
		text(tr, "%#x /* FUTEX_??? */", op);
		return true;
	}
	text(tr, "%s%s%s", name, op & FUTEX_PRIVATE_FLAG ? "_PRIVATE" : "",
	     op & FUTEX_CLOCK_REALTIME ? "|FUTEX_CLOCK_REALTIME" : "");
	return true;
}

/* For each operation: what the arguments 2 to 5 are: v number, t time, p pointer, b bits, - unused. */
bool print_futex(struct trace *tr, unsigned i)
{
	static const char kinds[][5] = {
		[FUTEX_WAIT] = "vt--", [FUTEX_WAKE] = "v---", [FUTEX_FD] = "v---", [FUTEX_REQUEUE] = "vvp-",
		[FUTEX_CMP_REQUEUE] = "vvpv", [FUTEX_WAKE_OP] = "vvpb", [FUTEX_LOCK_PI] = "-t--",
		[FUTEX_UNLOCK_PI] = "----", [FUTEX_TRYLOCK_PI] = "----",
		[FUTEX_WAIT_BITSET] = "vt-b", [FUTEX_WAKE_BITSET] = "v--b", [FUTEX_WAIT_REQUEUE_PI] = "vtp-",
		[FUTEX_CMP_REQUEUE_PI] = "vvpv", [13 /* FUTEX_LOCK_PI2 */] = "-t--",
	};
	const uint32_t op = (uint32_t)tr->arg[1] & FUTEX_CMD_MASK, value = (uint32_t)tr->arg[i];

	switch (op < sizeof(kinds) / sizeof(kinds[0]) ? kinds[op][i - 2] : "vtpb"[i - 2]) {
	case 'v': text(tr, "%u", value); break;
	case 't': text_timespec(tr, tr->arg[i]); break;
	case 'p': text_address(tr, tr->arg[i]); break;
	case 'b':
		if (value == FUTEX_BITSET_MATCH_ANY)
			text(tr, "FUTEX_BITSET_MATCH_ANY");
		else
			text(tr, "%#x", value);
		break;
	}
	return true;
}

/* --- clone --- */

static void text_clone_flags(struct trace *tr, uint64_t flags)
{
	const int signo = (int)(flags & CSIGNAL);

	if (flags & ~(uint64_t)CSIGNAL)
		text_flags(tr, &strace_names[FORMAT_clone_flags], flags & ~(uint64_t)CSIGNAL);
	if (signo || !flags) {
		text(tr, flags & ~(uint64_t)CSIGNAL ? "|" : "");
		text_signal(tr, signo);
	}
}

/* All arguments: strace(1) prints them with names, and those that the flags do not use not at all. */
bool print_clone(struct trace *tr, unsigned i)
{
	const uint64_t flags = tr->arg[i];
	int tid;

	if (flags & CLONE_PARENT_SETTID && !tr->leaving)
		return false;
	text(tr, "child_stack=");
	text_address(tr, tr->arg[1]);
	text(tr, ", flags=");
	text_clone_flags(tr, flags);
	if (flags & CLONE_PARENT_SETTID) {
		text(tr, ", parent_tid=");
		if (tr->result >= 0 && tr->arg[2] && fetch(tr, &tid, tr->arg[2], sizeof(tid)))
			text(tr, "[%d]", tid);
		else
			text_address(tr, tr->arg[2]);
	}
	if (flags & CLONE_SETTLS) {
		text(tr, ", tls=");
		text_address(tr, tr->arg[4]);
	}
	if (flags & (CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID)) {
		text(tr, ", child_tidptr=");
		text_address(tr, tr->arg[3]);
	}
	return true;
}
