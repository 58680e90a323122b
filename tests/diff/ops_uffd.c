/* SPDX-License-Identifier: MIT */
/* tests/diff/ops_uffd.c - userfaultfd: op.object is the context, op.flags the modes, op.to the source. */
#define _GNU_SOURCE
#include "tests/diff/uffd.h"

#define BYTES_PAGES 128u

const void *uffd_bytes(const struct op *op)
{
	static _Thread_local uint64_t words[BYTES_PAGES * PAGE / 8];

	for (unsigned i = 0; i < BYTES_PAGES * PAGE / 8 && i < op->len / 8; i++)
		words[i] = op->val << 8 | 0xc3;
	return words;
}

/* --- drawing --- */

static uint64_t some_features(struct generator *g)
{
	/* A call that causes an event waits until the reader reads it. */
	static const struct {
		uint64_t feature;
		unsigned one_in;
	} wanted[] = {
		{ VELLUM_UFFD_FEATURE_SIGBUS, 2 },	   { VELLUM_UFFD_FEATURE_EXACT_ADDRESS, 2 },
		{ VELLUM_UFFD_FEATURE_WP_ASYNC, 3 },	   { VELLUM_UFFD_FEATURE_WP_UNPOPULATED, 3 },
		{ VELLUM_UFFD_FEATURE_EVENT_FORK, 4 },	   { VELLUM_UFFD_FEATURE_EVENT_REMAP, 4 },
		{ VELLUM_UFFD_FEATURE_EVENT_REMOVE, 4 },   { VELLUM_UFFD_FEATURE_EVENT_UNMAP, 4 },
		{ VELLUM_UFFD_FEATURE_MINOR_SHMEM, 2 },	   { VELLUM_UFFD_FEATURE_MISSING_SHMEM, 2 },
		{ VELLUM_UFFD_FEATURE_POISON, 2 },	   { VELLUM_UFFD_FEATURE_MOVE, 2 },
		{ VELLUM_UFFD_FEATURE_PAGEFAULT_FLAG_WP, 2 }, { VELLUM_UFFD_FEATURE_WP_HUGETLBFS_SHMEM, 2 },
		{ VELLUM_UFFD_FEATURE_THREAD_ID, 8 },	   { 1ull << 40, 128 }, { 1ull << 17, 128 },
	};
	uint64_t features = 0;

	for (unsigned i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++)
		if (one_in(g, wanted[i].one_in))
			features |= wanted[i].feature;
	return features;
}

static void gen_open(struct generator *g, struct op *op)
{
	op->object = below(g, NR_CONTEXTS);
	op->len = one_in(g, 64) ? 0xab : VELLUM_UFFD_API;
	op->to = some_features(g);
	op->val = draw(g);
	if (one_in(g, 8))
		op->flags |= UFFD_OPEN_USER_ONLY;
	if (one_in(g, 64))
		op->flags |= UFFD_OPEN_ONLY;
}

static void gen_context(struct generator *g, struct op *op)
{
	op->object = below(g, NR_CONTEXTS);
}

static void gen_range(struct generator *g, struct op *op)
{
	op->object = below(g, NR_CONTEXTS);
	some_range(g, op);
	if (!one_in(g, 8))
		op->len = (op->len + PAGE - 1) & ~(PAGE - 1);
}

static void gen_register(struct generator *g, struct op *op)
{
	static const uint32_t modes[] = { 1, 1, 2, 2, 2, 3, 3, 4, 5, 6, 7 };

	gen_range(g, op);
	op->flags = modes[below(g, sizeof(modes) / sizeof(modes[0]))];
	if (one_in(g, 64))
		op->flags = below(g, 16) | some_bit(g, 2, 0, 32);
	if (one_in(g, 4)) {	/* most of the window */
		op->addr = BASE;
		op->len = WINDOW * PAGE;
	}
}

static void gen_fill(struct generator *g, struct op *op)
{
	gen_range(g, op);
	if (one_in(g, 2))
		op->len = PAGE;
	op->flags = one_in(g, 4) ? below(g, 4) : 0;
	op->val = ++g->stores;
	if (one_in(g, 64))
		op->flags |= some_bit(g, 1, 0, 32);
}

static void gen_uffd_copy(struct generator *g, struct op *op)
{
	gen_fill(g, op);
	op->flags = one_in(g, 64) ? op->flags : one_in(g, 2) ? 0 : below(g, 4);
	if (op->len > WINDOW * PAGE || one_in(g, 4))
		op->to = some_page(g);
	if (op->to && one_in(g, 8))
		op->to += below(g, PAGE);
}

static void gen_protect(struct generator *g, struct op *op)
{
	gen_range(g, op);
	op->flags = one_in(g, 16) ? below(g, 4) : one_in(g, 3) ? 0 : VELLUM_UFFD_WRITEPROTECT_WP;
	op->flags |= some_bit(g, 64, 0, 32);
}

static void gen_move(struct generator *g, struct op *op)
{
	gen_fill(g, op);
	op->to = some_page(g);
	if (one_in(g, 64))
		op->to += below(g, PAGE);
	op->flags = below(g, 4) | some_bit(g, 64, 0, 32);
}

/* --- running --- */

static void run(struct reader *reader, enum uffd_call call, const struct op *op, struct result *r)
{
	if (call == CALL_OPEN || call == CALL_CLOSE || call == CALL_API)
		reader_ask(reader, call, op, r);
	else
		reader->side->call(reader, call, op, r);
}

#define RUN(name, call)								\
	static void host_##name(const struct op *op, struct result *r)			\
	{										\
		run(agent.reader, call, op, r);						\
	}										\
	static void vellum_##name(struct world *w, const struct op *op, struct result *r)	\
	{										\
		run(w->reader[op->proc], call, op, r);					\
	}
RUN(open, CALL_OPEN)
RUN(close, CALL_CLOSE)
RUN(api, CALL_API)
RUN(register, CALL_REGISTER)
RUN(unregister, CALL_UNREGISTER)
RUN(wake, CALL_WAKE)
RUN(copy, CALL_COPY)
RUN(zeropage, CALL_ZEROPAGE)
RUN(continue, CALL_CONTINUE)
RUN(poison, CALL_POISON)
RUN(protect, CALL_WRITEPROTECT)
RUN(move, CALL_MOVE)

const struct kind uffd_kinds[] = {
	{ "uffd_open", 5, false, gen_open, host_open, vellum_open, NULL },
	{ "uffd_close", 1, false, gen_context, host_close, vellum_close, NULL },
	{ "uffd_api", 1, false, gen_open, host_api, vellum_api, NULL },
	{ "uffd_register", 10, false, gen_register, host_register, vellum_register, NULL },
	{ "uffd_unregister", 2, false, gen_range, host_unregister, vellum_unregister, NULL },
	{ "uffd_wake", 1, false, gen_range, host_wake, vellum_wake, NULL },
	{ "uffd_copy", 6, true, gen_uffd_copy, host_copy, vellum_copy, NULL },
	{ "uffd_zeropage", 3, true, gen_fill, host_zeropage, vellum_zeropage, NULL },
	{ "uffd_continue", 3, true, gen_fill, host_continue, vellum_continue, NULL },
	{ "uffd_poison", 2, false, gen_fill, host_poison, vellum_poison, NULL },
	{ "uffd_writeprotect", 10, false, gen_protect, host_protect, vellum_protect, NULL },
	{ "uffd_move", 5, false, gen_move, host_move, vellum_move, NULL },
};
const unsigned nr_uffd_kinds = sizeof(uffd_kinds) / sizeof(uffd_kinds[0]);
