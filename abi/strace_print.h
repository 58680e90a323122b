/* SPDX-License-Identifier: MIT */
/*
 * abi/strace_print.h - the parts of --strace. All that a program passes is untrusted: addresses may be bad, and lengths
 * and counts are bounded. Every byte of a line is printable ASCII.
 *
 * A function print_X(tr, i) prints argument @i. It returns false if it needs the call's results; it is called again
 * when the call is left, and its return value does not matter then.
 */
#ifndef ABI_STRACE_PRINT_H
#define ABI_STRACE_PRINT_H

#include "abi/strace.h"
#include "abi/strace_formats.h"

#define SHOWN_BYTES	32	/* of a string or buffer */
#define SHOWN_ELEMENTS	32	/* of an array */

struct value_name {
	uint64_t value;
	const char *name;
};

struct value_names {
	const char *unknown;	/* printed in a comment after a value without a name */
	size_t nr;
	const struct value_name *values;
};

extern const struct value_names strace_names[];	/* for enum strace_format */

/* strace.c */
void text(struct trace *tr, const char *format, ...) __attribute__((format(printf, 2, 3)));
size_t peek(struct trace *tr, void *buf, uint64_t addr, size_t len);	/* bytes copied */
bool fetch(struct trace *tr, void *buf, uint64_t addr, size_t len);	/* all of them */
void text_address(struct trace *tr, uint64_t addr);
void text_quoted(struct trace *tr, const void *bytes, size_t len, bool more);
void text_quoted_hex(struct trace *tr, const void *bytes, size_t len, bool more);
void text_buffer(struct trace *tr, uint64_t addr, uint64_t len);
void text_string(struct trace *tr, uint64_t addr, size_t max);
/* Print an array of @count elements. @element prints one; @arg is passed to it. */
void text_array(struct trace *tr, uint64_t addr, uint64_t count, size_t size,
		void (*element)(struct trace *tr, const void *element, void *arg), void *arg);
/* Print the address and return true, if the structure at @addr cannot be printed now or ever. */
bool text_if_no_result(struct trace *tr, uint64_t addr);

/* strace_names.c */
const char *name_of(const struct value_names *names, uint64_t value);	/* or NULL */
void text_enum(struct trace *tr, const struct value_names *names, uint64_t value);
void text_flags(struct trace *tr, const struct value_names *names, uint64_t value);
void text_open_flags(struct trace *tr, uint32_t flags);
void text_mode(struct trace *tr, uint32_t mode);	/* with the file's type */
void text_signal(struct trace *tr, int signo);
void text_sigset(struct trace *tr, uint64_t set);

/* strace_structs.c */
void text_timespec(struct trace *tr, uint64_t addr);
void text_timeval(struct trace *tr, uint64_t addr);

/* strace_signal.c */
void strace_result_suffix(struct trace *tr);	/* what poll(2) and select(2) found */
void strace_sigreturn(struct trace *tr);	/* the frame of rt_sigreturn(2) */

/* strace_uffd.c */
bool is_uffd_request(uint32_t request);
bool print_uffd_request(struct trace *tr, unsigned i);

/* strace_calls.c */
bool strace_fcntl_result(struct trace *tr);	/* true: it was printed */

typedef bool print_fn(struct trace *tr, unsigned i);
#define X(name, print) print_fn print;
STRACE_FORMATS
#undef X

#endif
