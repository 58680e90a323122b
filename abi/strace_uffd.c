/* SPDX-License-Identifier: MIT */
/* abi/strace_uffd.c - --strace prints the arguments of ioctl_userfaultfd(2). */
#define _GNU_SOURCE
#include <sys/ioctl.h>

#include "abi/strace_print.h"
#include "abi/uffd.h"

#define MAX_WORDS 5

/* The structures consist of 64-bit words: two or three of a range, the mode, the result. */
struct uffd_request {
	uint32_t request;
	enum { AN_API, A_RANGE, A_RANGE_AND_MODE, A_COPY } kind;
	enum strace_format mode;
	const char *result;	/* NULL: none */
};

#define REQUEST(dir, nr, words) UFFD_IOC(dir, VELLUM_UFFDIO_##nr, words)
#define RW (_IOC_READ | _IOC_WRITE)

static const struct uffd_request requests[] = {
	{ REQUEST(RW, API, 3), AN_API, FORMAT_uffd_features, NULL },
	{ REQUEST(RW, REGISTER, 4), A_RANGE_AND_MODE, FORMAT_uffd_register, "ioctls" },
	{ REQUEST(_IOC_READ, UNREGISTER, 2), A_RANGE, FORMAT_END, NULL },
	{ REQUEST(_IOC_READ, WAKE, 2), A_RANGE, FORMAT_END, NULL },
	{ REQUEST(RW, COPY, 5), A_COPY, FORMAT_uffd_copy, "copy" },
	{ REQUEST(RW, ZEROPAGE, 4), A_RANGE_AND_MODE, FORMAT_uffd_zeropage, "zeropage" },
	{ REQUEST(RW, MOVE, 5), A_COPY, FORMAT_uffd_move, "move" },
	{ REQUEST(RW, WRITEPROTECT, 3), A_RANGE_AND_MODE, FORMAT_uffd_writeprotect, NULL },
	{ REQUEST(RW, CONTINUE, 4), A_RANGE_AND_MODE, FORMAT_uffd_continue, "mapped" },
	{ REQUEST(RW, POISON, 4), A_RANGE_AND_MODE, FORMAT_uffd_poison, "updated" },
};

static const struct uffd_request *find(uint32_t request)
{
	for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++)
		if (requests[i].request == request)
			return &requests[i];
	return NULL;
}

bool is_uffd_request(uint32_t request)
{
	return find(request) != NULL;
}

static void text_range(struct trace *tr, const uint64_t *a)
{
	text(tr, "{start=%#llx, len=%#llx}", (unsigned long long)a[0], (unsigned long long)a[1]);
}

/* What the call reads, and what it has stored. Without the closing brace. Return: the words that it reads. */
static unsigned text_words(struct trace *tr, const struct uffd_request *r, const uint64_t *a)
{
	if (r->kind == AN_API) {
		text(tr, "{api=%#llx, features=", (unsigned long long)a[0]);
		text_flags(tr, &strace_names[r->mode], a[1]);
		return 2;
	}
	if (r->kind == A_COPY) {
		text(tr, "{dst=%#llx, src=%#llx, len=%#llx, mode=", (unsigned long long)a[0], (unsigned long long)a[1],
		     (unsigned long long)a[2]);
		text_flags(tr, &strace_names[r->mode], a[3]);
		return 4;
	}
	text(tr, "{range=");
	text_range(tr, a);
	text(tr, ", mode=");
	text_flags(tr, &strace_names[r->mode], a[2]);
	return 3;
}

static void text_results(struct trace *tr, const struct uffd_request *r, uint64_t addr, unsigned in)
{
	uint64_t a[2];

	if (r->kind == AN_API && fetch(tr, a, addr + 8, 16)) {
		text(tr, " => features=");
		text_flags(tr, &strace_names[FORMAT_uffd_features], a[0]);
		text(tr, ", ioctls=");
		text_flags(tr, &strace_names[FORMAT_uffd_ioctls], a[1]);
	} else if (r->result && fetch(tr, a, addr + 8ull * in, 8)) {
		text(tr, ", %s=", r->result);
		if (r->mode == FORMAT_uffd_register)
			text_flags(tr, &strace_names[FORMAT_uffd_ioctls], a[0]);
		else
			text(tr, "%#llx", (unsigned long long)a[0]);
	}
}

/* The handshake overwrites what it has read: the rest is printed when the call is left. */
bool print_uffd_request(struct trace *tr, unsigned i)
{
	const struct uffd_request *r = find((uint32_t)tr->arg[i - 1]);
	const uint64_t addr = tr->arg[i];
	uint64_t a[MAX_WORDS] = { 0 };
	unsigned in = r->kind == AN_API || r->kind == A_RANGE ? 2 : r->kind == A_COPY ? 4 : 3;

	if (!tr->leaving) {
		if (!addr || !fetch(tr, a, addr, in * 8)) {
			text_address(tr, addr);
			return true;
		}
		if (r->kind == A_RANGE) {
			text_range(tr, a);
			return true;
		}
		text_words(tr, r, a);
		return false;
	}
	if (tr->result >= 0)
		text_results(tr, r, addr, in);
	text(tr, "}");
	return true;
}
