/* SPDX-License-Identifier: MIT */
/* tests/diff/reader.c - see reader.h. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "tests/diff/uffd.h"

/* --- notes --- */

static void note(struct reader *r, const struct note *n)
{
	if (r->nr_notes < MAX_NOTES)
		r->note[r->nr_notes] = *n;
	r->nr_notes++;
	r->notes_hash = r->notes_hash * 31 + hash_bytes(n, sizeof(*n));
}

void reader_tell(struct reader *r, struct view *view)
{
	reader_sync(r);
	view->nr_notes = r->nr_notes;
	view->notes_hash = r->notes_hash;
	memset(view->note, 0, sizeof(view->note));
	memcpy(view->note, r->note, sizeof(r->note[0]) * (r->nr_notes < MAX_NOTES ? r->nr_notes : MAX_NOTES));
	r->nr_notes = 0;
	r->notes_hash = 0;
}

/* --- answers --- */

static uint64_t next_random(uint64_t *state)
{
	*state = *state * 6364136223846793005ull + 1442695040888963407ull;
	return *state >> 33;
}

static enum uffd_call choose(struct reader *r, unsigned context, const struct message *msg, struct op *op)
{
	static const enum uffd_call calls[] = { CALL_COPY, CALL_COPY, CALL_COPY, CALL_ZEROPAGE, CALL_ZEROPAGE,
						CALL_CONTINUE, CALL_WRITEPROTECT, CALL_WAKE, CALL_POISON };
	uint64_t *state = &r->context[context].state;
	unsigned repeats = r->context[context].repeats;

	op->val = next_random(state);
	if (repeats > 7 && !r->holds_context)
		return CALL_CLOSE;
	if (repeats > 4 || op->val % 32 == 0)
		return CALL_UNREGISTER;
	if (op->val % 256 == 1 && !r->holds_context)
		return CALL_CLOSE;
	if ((msg->word[0] & VELLUM_UFFD_FLAG_WP) && op->val % 8) {
		if (op->val % 4 == 1) {	/* more pages than the one that faulted */
			op->addr -= 2 * PAGE;
			op->len += 3 * PAGE;
		}
		return CALL_WRITEPROTECT;
	}
	if ((msg->word[0] & VELLUM_UFFD_FLAG_MINOR) && op->val % 4)
		return CALL_CONTINUE;
	return calls[op->val / 32 % (sizeof(calls) / sizeof(calls[0]))];
}

/* Choose the modes: write-protected, or without a wake-up, which then is a separate call. */
static void choose_mode(struct reader *r, unsigned context, enum uffd_call call, struct op *op)
{
	uint64_t val = next_random(&r->context[context].state);

	if ((call == CALL_COPY || call == CALL_CONTINUE) && val % 4 == 0)
		op->flags |= VELLUM_UFFD_COPY_WP;
	if (call <= CALL_POISON && call >= CALL_COPY && val % 7 == 0)
		op->flags |= VELLUM_UFFD_COPY_DONTWAKE;
	if (call == CALL_WRITEPROTECT && val % 7 == 0)
		op->flags |= VELLUM_UFFD_WRITEPROTECT_DONTWAKE;
}

static bool woke(enum uffd_call call, const struct op *op, const struct result *result)
{
	if (call == CALL_CLOSE || call == CALL_WAKE)
		return true;
	if (call == CALL_UNREGISTER || result->ret)
		return false;
	return !(op->flags & (call == CALL_WRITEPROTECT ? VELLUM_UFFD_WRITEPROTECT_DONTWAKE :
							  VELLUM_UFFD_COPY_DONTWAKE));
}

/* Wake exactly once: a second wake-up could wake the next fault before its message is read. */
static void answer(struct reader *r, unsigned context, const struct message *msg, struct note *n)
{
	uint64_t page = msg->word[1] & ~(PAGE - 1);
	struct op op = { .object = context, .addr = page, .len = PAGE };
	struct result result = { .ret = 0 };
	enum uffd_call call;

	r->context[context].repeats = page == r->context[context].last ? r->context[context].repeats + 1 : 0;
	r->context[context].last = page;
	call = choose(r, context, msg, &op);
	choose_mode(r, context, call, &op);
	r->side->call(r, call, &op, &result);
	n->call = (uint32_t)call;
	n->ret = result.ret;
	n->val = result.val;
	if (woke(call, &op, &result))
		return;
	op = (struct op){ .object = context, .addr = page, .len = PAGE };
	r->side->call(r, CALL_WAKE, &op, &result);
}

static void hear(struct reader *r, unsigned context, const struct message *msg)
{
	struct note n = { .context = context, .event = msg->event };

	memcpy(n.word, msg->word, sizeof(n.word));
	if (msg->event == VELLUM_UFFD_EVENT_PAGEFAULT) {
		n.word[1] = canonical(r->exact ? n.word[1] : n.word[1] & ~(PAGE - 1));
		answer(r, context, msg, &n);
	} else if (msg->event == VELLUM_UFFD_EVENT_REMAP) {
		n.word[0] = canonical(n.word[0]);
		n.word[1] = canonical(n.word[1]);
	} else if (msg->event != VELLUM_UFFD_EVENT_FORK) {
		n.word[1] -= n.word[0];
		n.word[0] = canonical(n.word[0]);
	}
	note(r, &n);
}

/* --- the thread --- */

static void hear_all(struct reader *r)
{
	struct message msg;
	bool any;

	do {
		any = false;
		for (unsigned i = 0; i < NR_CONTEXTS; i++)
			while (r->side->take(r, i, &msg)) {
				hear(r, i, &msg);
				any = true;
			}
	} while (any);
}

static void close_all(struct reader *r)
{
	struct result result;

	for (unsigned i = 0; i < NR_CONTEXTS; i++)
		r->side->call(r, CALL_CLOSE, &(struct op){ .object = i }, &result);
}

static void *read_all(void *arg)
{
	struct reader *r = arg;
	bool quit = false;
	uint64_t count;

	while (!quit) {
		struct pollfd fds[1 + NR_CONTEXTS] = { { .fd = r->kick, .events = POLLIN } };
		unsigned nr = 1 + r->side->add_fds(r, &fds[1]);
		bool asked;

		poll(fds, nr, -1);
		if (fds[0].revents && read(r->kick, &count, sizeof(count)) != sizeof(count))
			abort();
		asked = __atomic_load_n(&r->asked, __ATOMIC_ACQUIRE);
		hear_all(r);
		if (!asked)
			continue;
		__atomic_store_n(&r->asked, false, __ATOMIC_RELAXED);
		if (r->op)
			r->side->call(r, r->call, r->op, r->result);
		quit = r->quit;
		if (quit)
			close_all(r);
		sem_post(&r->done);
	}
	return NULL;
}

void reader_kick(struct reader *r)
{
	const uint64_t one = 1;

	if (write(r->kick, &one, sizeof(one)) != sizeof(one))
		abort();
}

static void ask(struct reader *r)
{
	__atomic_store_n(&r->asked, true, __ATOMIC_RELEASE);
	reader_kick(r);
	while (sem_wait(&r->done))
		;
}

void reader_init(struct reader *r, const struct side *side, struct world *world, unsigned proc)
{
	memset(r, 0, sizeof(*r));
	r->side = side;
	r->world = world;
	r->proc = proc;
	r->kick = -1;
	for (unsigned i = 0; i < NR_CONTEXTS; i++)
		r->context[i].fd = r->context[i].child_fd = -1;
}

static void start(struct reader *r)
{
	r->kick = eventfd(0, EFD_CLOEXEC);
	sem_init(&r->done, 0, 0);
	if (r->kick < 0 || pthread_create(&r->thread, NULL, read_all, r))
		abort();
	r->running = true;
}

void reader_ask(struct reader *r, enum uffd_call call, const struct op *op, struct result *result)
{
	if (!r->running)
		start(r);
	if (call == CALL_OPEN && !r->context[op->object].ready) {
		r->context[op->object].state = op->val;
		r->context[op->object].last = r->context[op->object].repeats = 0;
	}
	r->call = call;
	r->op = op;
	r->result = result;
	ask(r);
}

void reader_adopt(struct reader *to, unsigned context, uint64_t state, int fd, struct vellum_uffd *uffd)
{
	if (!to->running)
		start(to);
	to->context[context].state = state;
	to->context[context].fd = fd;
	to->context[context].uffd = uffd;
	if (uffd)
		vellum_context_opened(to, context);
	__atomic_store_n(&to->context[context].ready, true, __ATOMIC_RELEASE);
	reader_sync(to);
}

void reader_sync(struct reader *r)
{
	r->op = NULL;
	if (r->running)
		ask(r);
}

bool reader_is_running(const struct reader *r)
{
	return r && r->running;
}

void reader_stop(struct reader *r)
{
	if (!r->running)
		return;
	r->op = NULL;
	r->quit = true;
	ask(r);
	pthread_join(r->thread, NULL);
	close(r->kick);
	reader_init(r, r->side, r->world, r->proc);
}

void reader_begin(struct reader *r, const struct op *op)
{
	const char *name = kind_at(op->kind)->name;

	r->holds_context = strncmp(name, "uffd", 4) == 0;
	r->exact = strcmp(name, "load") == 0 || strcmp(name, "store") == 0 || strcmp(name, "cmpxchg") == 0;
}
