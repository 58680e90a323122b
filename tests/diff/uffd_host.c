/* SPDX-License-Identifier: MIT */
/* tests/diff/uffd_host.c - userfaultfd(2). Uses numbers, as the headers may be older than the kernel. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/diff/uffd.h"

#define NR_WORDS 5u

/* An ioctl. Its argument consists of words; the last word is the answer if it has one. */
struct layout {
	unsigned nr, words;
	bool answers;
	enum { NONE, ADDR, LEN, SRC, MODE } word[NR_WORDS];
};

static const struct layout layouts[] = {
	[CALL_REGISTER] = { VELLUM_UFFDIO_REGISTER, 4, true, { ADDR, LEN, MODE } },
	[CALL_UNREGISTER] = { VELLUM_UFFDIO_UNREGISTER, 2, false, { ADDR, LEN } },
	[CALL_WAKE] = { VELLUM_UFFDIO_WAKE, 2, false, { ADDR, LEN } },
	[CALL_COPY] = { VELLUM_UFFDIO_COPY, 5, true, { ADDR, SRC, LEN, MODE } },
	[CALL_ZEROPAGE] = { VELLUM_UFFDIO_ZEROPAGE, 4, true, { ADDR, LEN, MODE } },
	[CALL_CONTINUE] = { VELLUM_UFFDIO_CONTINUE, 4, true, { ADDR, LEN, MODE } },
	[CALL_POISON] = { VELLUM_UFFDIO_POISON, 4, true, { ADDR, LEN, MODE } },
	[CALL_WRITEPROTECT] = { VELLUM_UFFDIO_WRITEPROTECT, 3, false, { ADDR, LEN, MODE } },
	[CALL_MOVE] = { VELLUM_UFFDIO_MOVE, 5, true, { ADDR, SRC, LEN, MODE } },
};

static unsigned long number_of(const struct layout *l)
{
	unsigned dir = l->nr == VELLUM_UFFDIO_UNREGISTER || l->nr == VELLUM_UFFDIO_WAKE ? _IOC_READ :
										      _IOC_READ | _IOC_WRITE;

	return _IOC(dir, 0xaau, l->nr, l->words * 8);
}

static uint64_t word_of(enum uffd_call call, const struct op *op, int what)
{
	switch (what) {
	case ADDR:
		return op->addr;
	case LEN:
		return op->len;
	case SRC:
		return op->to || call == CALL_MOVE ? op->to : (uint64_t)(uintptr_t)uffd_bytes(op);
	case MODE:
		return op->flags;
	}
	return UFFD_NO_ANSWER;
}

static void call_range(int fd, enum uffd_call call, const struct op *op, struct result *r)
{
	const struct layout *l = &layouts[call];
	uint64_t words[NR_WORDS];

	for (unsigned i = 0; i < l->words; i++)
		words[i] = word_of(call, op, l->word[i]);
	r->ret = host_error(ioctl(fd, number_of(l), words));
	if (l->answers)
		r->val = words[l->words - 1];
}

static void call_api(struct reader *reader, const struct op *op, struct result *r)
{
	uint64_t words[3] = { op->len, op->to, 0 };

	r->ret = host_error(ioctl(reader->context[op->object].fd, _IOC(_IOC_READ | _IOC_WRITE, 0xaau, 0x3fu, 24),
				  words));
	if (r->ret)
		return;
	r->val = words[1] & ~UFFD_HUGETLB_FEATURES;
	r->addr = words[2];
	reader->context[op->object].ready = true;
}

static void open_context(struct reader *reader, const struct op *op, struct result *r)
{
	long fd = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | (op->flags & UFFD_OPEN_USER_ONLY ? 1 : 0));

	r->ret = host_error(fd < 0 ? fd : 0);
	if (fd < 0)
		return;
	reader->context[op->object].fd = (int)fd;
	if (!(op->flags & UFFD_OPEN_ONLY))
		call_api(reader, op, r);
}

static void host_call(struct reader *reader, enum uffd_call call, const struct op *op, struct result *r)
{
	int *fd = &reader->context[op->object].fd;

	if ((*fd >= 0) == (call == CALL_OPEN)) {
		r->ret = -VELLUM_EBADF;
	} else if (call == CALL_OPEN) {
		open_context(reader, op, r);
	} else if (call == CALL_CLOSE) {
		close(*fd);
		*fd = -1;
		reader->context[op->object].ready = false;
	} else if (call == CALL_API) {
		call_api(reader, op, r);
	} else {
		call_range(*fd, call, op, r);
	}
}

static bool host_take(struct reader *reader, unsigned context, struct message *msg)
{
	struct uffd_msg m;
	int fd = reader->context[context].fd;

	if (fd < 0 || !reader->context[context].ready || read(fd, &m, sizeof(m)) != sizeof(m))
		return false;
	*msg = (struct message){ .event = m.event };
	if (m.event == UFFD_EVENT_FORK) {
		reader->context[context].child_fd = (int)m.arg.fork.ufd;
		return true;
	}
	msg->word[0] = m.arg.pagefault.flags;	/* other events: from, start */
	msg->word[1] = m.arg.pagefault.address;
	if (m.event == UFFD_EVENT_REMAP)
		msg->word[2] = m.arg.remap.len;
	return true;
}

static unsigned host_add_fds(struct reader *reader, struct pollfd *fds)
{
	unsigned nr = 0;

	for (unsigned i = 0; i < NR_CONTEXTS; i++)
		if (reader->context[i].ready)
			fds[nr++] = (struct pollfd){ .fd = reader->context[i].fd, .events = POLLIN };
	return nr;
}

const struct side host_side = { host_call, host_take, host_add_fds };
