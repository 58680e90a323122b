/* SPDX-License-Identifier: MIT */
/*
 * tests/diff/reader.h - a thread that reads the userfaultfds of a process, on either side.
 *
 * Each process with a userfaultfd has such a thread. Its answers to page faults depend only on the context's seed and
 * the messages so far, so that both sides get the same answers to the same faults. It only notes events. It also opens
 * and closes contexts, as a context that another thread polls would not be freed.
 */
#ifndef TESTS_DIFF_READER_H
#define TESTS_DIFF_READER_H

#include <poll.h>
#include <pthread.h>
#include <semaphore.h>

#include "tests/diff/diff.h"
#include "vellum/uffd.h"

enum uffd_call {	/* calls on op.object, a context */
	CALL_OPEN, CALL_CLOSE, CALL_API, CALL_REGISTER, CALL_UNREGISTER, CALL_WAKE, CALL_COPY, CALL_ZEROPAGE,
	CALL_CONTINUE, CALL_POISON, CALL_WRITEPROTECT, CALL_MOVE,
};

struct message {
	uint32_t event;
	uint64_t word[3];	/* by event: flags, address; from, to, length; start, end */
};

struct reader;

struct side {
	void (*call)(struct reader *r, enum uffd_call call, const struct op *op, struct result *result);
	bool (*take)(struct reader *r, unsigned context, struct message *msg);	/* false: no message; does not wait */
	unsigned (*add_fds)(struct reader *r, struct pollfd *fds);
};

struct reader {
	const struct side *side;
	struct world *world;		/* on Vellum's side */
	unsigned proc;
	bool running, quit;
	bool holds_context;		/* the operation holds a reference to a context */
	bool exact;			/* the operation accesses one address */
	pthread_t thread;
	int kick;			/* eventfd */
	sem_t done;
	bool asked;			/* atomic: call, op and result are a request */
	enum uffd_call call;
	const struct op *op;		/* NULL: only read all messages */
	struct result *result;
	struct {
		uint64_t state, last;
		unsigned repeats;
		bool ready;			/* after the handshake */
		int fd;				/* the host's, or -1 */
		struct vellum_uffd *uffd;	/* Vellum's */
		int child_fd;			/* context of the last fork, until the child takes it */
		struct vellum_uffd *child;
	} context[NR_CONTEXTS];
	uint32_t nr_notes;
	uint64_t notes_hash;
	struct note note[MAX_NOTES];
};

void reader_init(struct reader *r, const struct side *side, struct world *world, unsigned proc);
/* Let the reader do the call. Starts the thread if it does not run. */
void reader_ask(struct reader *r, enum uffd_call call, const struct op *op, struct result *result);
/* Return when all messages sent so far are read and noted. */
void reader_sync(struct reader *r);
bool reader_is_running(const struct reader *r);
void reader_stop(struct reader *r);	/* closes all contexts */
/* Give @to, which has no such context yet, a context that a fork made for it. */
void reader_adopt(struct reader *to, unsigned context, uint64_t state, int fd, struct vellum_uffd *uffd);
/* Call this before an operation: it decides how faults may be answered meanwhile. */
void reader_begin(struct reader *r, const struct op *op);
/* Move the notes to @view. */
void reader_tell(struct reader *r, struct view *view);
void reader_kick(struct reader *r);

extern const struct side host_side, vellum_side;

#endif
