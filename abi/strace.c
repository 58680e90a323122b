/* SPDX-License-Identifier: MIT */
/* abi/strace.c - lines of --strace: numbers, strings, buffers, arrays and results; see strace.h. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>

#include "abi/strace_print.h"
#include "abi/task.h"

#include "syscall_names.h"	/* made from <asm/unistd_64.h> */

#define TAIL_BYTES	128	/* of a line, kept for the result */
#define STRING_COLUMNS	1500	/* of one string: a line has room for two */
#define MAX_PATH_SHOWN	1024
#define MAX_ERRNO	4095	/* a result from -MAX_ERRNO to -1 is an error */

const char *syscall_name(uint64_t nr)
{
	return nr < sizeof(syscall_names) / sizeof(syscall_names[0]) ? syscall_names[nr] : NULL;
}

void text(struct trace *tr, const char *format, ...)
{
	size_t room = tr->limit - tr->used;
	va_list ap;
	int n;

	va_start(ap, format);
	n = vsnprintf(tr->line + tr->used, room, format, ap);
	va_end(ap);
	if (n < 0)
		return;
	tr->cut |= (size_t)n >= room;
	tr->used += (size_t)n < room ? (size_t)n : room - 1;
}

/* --- the program's memory --- */

size_t peek(struct trace *tr, void *buf, uint64_t addr, size_t len)
{
	struct task *t = tr->task;
	int err = t->copy_error;
	size_t done;

	t->must_not_wait = true;	/* the program did not ask for this access */
	done = user_read_some(t, buf, addr, len);
	t->must_not_wait = false;
	t->copy_error = err;	/* a handler returns the error of its own copies only */
	return done;
}

bool fetch(struct trace *tr, void *buf, uint64_t addr, size_t len)
{
	return peek(tr, buf, addr, len) == len;
}

void text_address(struct trace *tr, uint64_t addr)
{
	if (addr)
		text(tr, "%#llx", (unsigned long long)addr);
	else
		text(tr, "NULL");
}

bool text_if_no_result(struct trace *tr, uint64_t addr)
{
	if (addr && tr->leaving && tr->result >= 0)
		return false;
	text_address(tr, addr);
	return true;
}

/* --- strings --- */

/* The letter of C's escape of @c, or 0. */
static char escape_letter(unsigned char c)
{
	static const char from[] = "\n\t\r\v\f\"\\", to[] = "ntrvf\"\\";
	const char *found = c ? strchr(from, c) : NULL;

	return found ? to[found - from] : 0;
}

void text_quoted(struct trace *tr, const void *bytes, size_t len, bool more)
{
	const unsigned char *s = bytes;
	size_t start = tr->used, i;

	text(tr, "\"");
	for (i = 0; i < len && tr->used - start < STRING_COLUMNS && tr->limit - tr->used > 16; i++) {
		bool digit_follows = i + 1 < len && s[i + 1] >= '0' && s[i + 1] <= '7';

		if (escape_letter(s[i]))
			text(tr, "\\%c", escape_letter(s[i]));
		else if (s[i] >= ' ' && s[i] < 0x7f)
			tr->line[tr->used++] = (char)s[i];	/* the loop's condition leaves room */
		else
			text(tr, digit_follows ? "\\%03o" : "\\%o", s[i]);
	}
	text(tr, more || i < len ? "\"..." : "\"");
}

void text_quoted_hex(struct trace *tr, const void *bytes, size_t len, bool more)
{
	const unsigned char *s = bytes;

	text(tr, "\"");
	for (size_t i = 0; i < len; i++)
		text(tr, "\\x%02x", s[i]);
	text(tr, more ? "\"..." : "\"");
}

void text_buffer(struct trace *tr, uint64_t addr, uint64_t len)
{
	size_t n = len < SHOWN_BYTES ? len : SHOWN_BYTES;
	char buf[SHOWN_BYTES];

	if (addr && fetch(tr, buf, addr, n))
		text_quoted(tr, buf, n, len > n);
	else
		text_address(tr, addr);
}

void text_string(struct trace *tr, uint64_t addr, size_t max)
{
	char buf[MAX_PATH_SHOWN + 1];
	int err = tr->task->copy_error, missing;

	/* One byte more: a string of @max bytes is complete. */
	missing = addr ? user_string(tr->task, buf, max + 1, addr) : -EFAULT;
	tr->task->copy_error = err;
	if (missing == -EFAULT)
		text_address(tr, addr);
	else
		text_quoted(tr, buf, strnlen(buf, max), missing);
}

bool print_path(struct trace *tr, unsigned i)
{
	text_string(tr, tr->arg[i], MAX_PATH_SHOWN);
	return true;
}

bool print_string(struct trace *tr, unsigned i)
{
	text_string(tr, tr->arg[i], SHOWN_BYTES);
	return true;
}

bool print_in(struct trace *tr, unsigned i)
{
	text_buffer(tr, tr->arg[i], tr->arg[i + 1]);
	return true;
}

static uint64_t stored_bytes(const struct trace *tr, unsigned i)
{
	return (uint64_t)tr->result < tr->arg[i + 1] ? (uint64_t)tr->result : tr->arg[i + 1];
}

bool print_out(struct trace *tr, unsigned i)
{
	if (!tr->leaving)
		return false;
	if (!text_if_no_result(tr, tr->arg[i]))
		text_buffer(tr, tr->arg[i], stored_bytes(tr, i));
	return true;
}

bool print_out_random(struct trace *tr, unsigned i)
{
	char buf[SHOWN_BYTES];
	uint64_t n;

	if (!tr->leaving)
		return false;
	if (text_if_no_result(tr, tr->arg[i]))
		return true;
	n = stored_bytes(tr, i);
	if (fetch(tr, buf, tr->arg[i], n < SHOWN_BYTES ? n : SHOWN_BYTES))
		text_quoted_hex(tr, buf, n < SHOWN_BYTES ? n : SHOWN_BYTES, n > SHOWN_BYTES);
	else
		text_address(tr, tr->arg[i]);
	return true;
}

bool print_out_path(struct trace *tr, unsigned i)
{
	if (!tr->leaving)
		return false;
	if (!text_if_no_result(tr, tr->arg[i]))
		text_string(tr, tr->arg[i], MAX_PATH_SHOWN);
	return true;
}

void text_array(struct trace *tr, uint64_t addr, uint64_t count, size_t size,
		void (*element)(struct trace *tr, const void *element, void *arg), void *arg)
{
	_Alignas(8) char buf[64];
	uint64_t i;

	if (!addr || (count && !fetch(tr, buf, addr, size))) {
		text_address(tr, addr);
		return;
	}
	text(tr, "[");
	for (i = 0; i < count && i < SHOWN_ELEMENTS; i++) {
		text(tr, i ? ", " : "");
		if (!fetch(tr, buf, addr + i * size, size)) {
			text(tr, "... /* %#llx */", (unsigned long long)(addr + i * size));
			break;
		}
		element(tr, buf, arg);
	}
	text(tr, i == SHOWN_ELEMENTS && i < count ? ", ...]" : "]");
}

/* --- numbers --- */

bool print_int(struct trace *tr, unsigned i)
{
	text(tr, "%d", (int)tr->arg[i]);
	return true;
}

bool print_unsigned(struct trace *tr, unsigned i)
{
	text(tr, "%u", (uint32_t)tr->arg[i]);
	return true;
}

bool print_long(struct trace *tr, unsigned i)
{
	text(tr, "%lld", (long long)tr->arg[i]);
	return true;
}

bool print_size(struct trace *tr, unsigned i)
{
	text(tr, "%llu", (unsigned long long)tr->arg[i]);
	return true;
}

bool print_hex32(struct trace *tr, unsigned i)
{
	text(tr, "%#x", (uint32_t)tr->arg[i]);
	return true;
}

bool print_hex(struct trace *tr, unsigned i)
{
	text(tr, "%#llx", (unsigned long long)tr->arg[i]);
	return true;
}

bool print_octal(struct trace *tr, unsigned i)
{
	text(tr, "%#03o", (uint16_t)tr->arg[i]);	/* mode_t of the kernel */
	return true;
}

bool print_pointer(struct trace *tr, unsigned i)
{
	text_address(tr, tr->arg[i]);
	return true;
}

bool print_id(struct trace *tr, unsigned i)
{
	if ((uint32_t)tr->arg[i] == UINT32_MAX)	/* leaves it as it is */
		text(tr, "-1");
	else
		text(tr, "%u", (uint32_t)tr->arg[i]);
	return true;
}

bool print_none(struct trace *tr, unsigned i)
{
	(void)tr, (void)i;
	return true;
}

/* --- the line --- */

static print_fn *const printers[NR_FORMATS] = {
#define X(name, print) [FORMAT_##name] = print,
	STRACE_FORMATS
#undef X
};

static const struct strace_call unsupported = { NULL, { FORMAT_x, FORMAT_x, FORMAT_x, FORMAT_x, FORMAT_x, FORMAT_x },
						FORMAT_l };

static void print_args(struct trace *tr)
{
	for (; tr->next < 6 && tr->call->args[tr->next] != FORMAT_END; tr->next++) {
		size_t mark = tr->used, start;
		bool done;

		if (tr->next && !tr->partly)
			text(tr, ", ");
		start = tr->used;
		done = printers[tr->call->args[tr->next]](tr, tr->next);
		if (tr->used == start && !tr->partly)
			tr->used = mark;	/* the format prints nothing for this value */
		tr->partly = !done && !tr->leaving && tr->used > start;
		if (!done && !tr->leaving)
			return;
	}
}

static void write_line(struct trace *tr)
{
	tr->line[tr->used] = '\n';
	fwrite(tr->line, 1, tr->used + 1, stderr);
}

void strace_enter(struct trace *tr, struct task *t, uint64_t nr, const uint64_t arg[6], const struct strace_call *call)
{
	const char *name = call ? call->name : syscall_name(nr);

	tr->task = t;
	tr->call = call ? call : &unsupported;
	tr->arg = arg;
	tr->nr = nr;
	tr->leaving = tr->partly = tr->cut = false;
	tr->result = 0;
	tr->next = 0;
	tr->used = 0;
	tr->limit = STRACE_LINE - TAIL_BYTES;
	text(tr, "vellum: [%d] ", t->tid);
	if (name)
		text(tr, "%s(", name);
	else
		text(tr, "syscall_%#llx(", (unsigned long long)nr);
	print_args(tr);
	if (nr == SYS_rt_sigreturn)
		strace_sigreturn(tr);
	if (nr == SYS_exit || nr == SYS_exit_group) {
		text(tr, ") = ?");
		write_line(tr);
	}
}

static void print_error(struct trace *tr, int err)
{
	const char *name = strerrorname_np(err);

	if (err == ERESTARTSYS)
		text(tr, "? ERESTARTSYS (To be restarted if SA_RESTART is set)");
	else if (err == ERESTARTNOINTR)
		text(tr, "? ERESTARTNOINTR (To be restarted)");
	else if (err == ERESTARTNOHAND)
		text(tr, "? ERESTARTNOHAND (To be restarted if no handler)");
	else if (name)
		text(tr, "-1 %s (%s)", name, strerrordesc_np(err));
	else
		text(tr, "-1 (errno %d)", err);
}

static void print_result(struct trace *tr)
{
	const uint64_t result[6] = { (uint64_t)tr->result };
	const uint64_t *arg = tr->arg;

	if (tr->nr == SYS_fcntl && strace_fcntl_result(tr))
		return;
	tr->arg = result;
	printers[tr->call->result](tr, 0);
	tr->arg = arg;
	strace_result_suffix(tr);
}

void strace_leave(struct trace *tr, int64_t result)
{
	tr->leaving = true;
	tr->result = result;
	print_args(tr);
	tr->limit = STRACE_LINE;
	text(tr, tr->cut ? "...) = " : ") = ");
	if (result < 0 && result >= -MAX_ERRNO)
		print_error(tr, (int)-result);
	else
		print_result(tr);
	write_line(tr);
}
