/* SPDX-License-Identifier: MIT */
/*
 * tests/diff/reader.h - who reads a process's userfaultfds, on either side.
 *
 * A thread for each process that has any. It answers page faults in ways that depend on the context's seed and the
 * messages so far alone, so that both sides get the same answers to the same faults; events it only notes.
 * Contexts are opened and closed by it too: one that is being polled would live on.
 */
#ifndef TESTS_DIFF_READER_H
#define TESTS_DIFF_READER_H

#include <poll.h>
#include <pthread.h>
#include <semaphore.h>

#include "tests/diff/diff.h"
#include "vellum/uffd.h"

enum uffd_call {	/* what op.object, a context, is told */
	CALL_OPEN, CALL_CLOSE, CALL_API, CALL_REGISTER, CALL_UNREGISTER, CALL_WAKE, CALL_COPY, CALL_ZEROPAGE,
	CALL_CONTINUE, CALL_POISON, CALL_WRITEPROTECT, CALL_MOVE,
};

struct message {
	uint32_t event;
	uint64_t word[3];	/* flags, address; from, to, length; start, end */
};

struct reader;

struct side {
	void (*call)(struct reader *r, enum uffd_call call, const struct op *op, struct result *result);
	bool (*take)(struct reader *r, unsigned context, struct message *msg);	/* does not wait */
	unsigned (*add_fds)(struct reader *r, struct pollfd *fds);
};

struct reader {
	const struct side *side;
	struct world *world;		/* of Vellum's side */
	unsigned proc;
	bool running, quit;
	bool holds_context;		/* the operation would keep a context from closing */
	bool exact;			/* it accesses memory at one address */
	pthread_t thread;
	int kick;			/* eventfd */
	sem_t done;
	bool asked;			/* atomic: there is a request: */
	enum uffd_call call;
	const struct op *op;		/* NULL: nothing but to have read everything */
	struct result *result;
	struct {
		uint64_t state, last;
		unsigned repeats;
		bool ready;			/* after the handshake */
		int fd;				/* the host's, or -1 */
		struct vellum_uffd *uffd;	/* Vellum's */
		int child_fd;			/* of the last fork, not yet with the child */
		struct vellum_uffd *child;
	} context[NR_CONTEXTS];
	uint32_t nr_notes;
	uint64_t notes_hash;
	struct note note[MAX_NOTES];
};

void reader_init(struct reader *r, const struct side *side, struct world *world, unsigned proc);
/* Start it if need be, and let it do the call. */
void reader_ask(struct reader *r, enum uffd_call call, const struct op *op, struct result *result);
/* Everything that was sent so far has been read and noted. */
void reader_sync(struct reader *r);
bool reader_is_running(const struct reader *r);
void reader_stop(struct reader *r);	/* all contexts are closed */
/* A context that a fork has made for @to, which has none yet. */
void reader_adopt(struct reader *to, unsigned context, uint64_t state, int fd, struct vellum_uffd *uffd);
/* An operation begins: how faults may be answered meanwhile. */
void reader_begin(struct reader *r, const struct op *op);
/* To @view, and forget. */
void reader_tell(struct reader *r, struct view *view);
void reader_kick(struct reader *r);

extern const struct side host_side, vellum_side;

#endif
