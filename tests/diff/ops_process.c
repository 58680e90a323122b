/* SPDX-License-Identifier: MIT */
/* tests/diff/ops_process.c - fork and exit. The first process never exits. */
#include "tests/diff/reader.h"

static void gen_fork(struct generator *g, struct op *op)
{
	op->val = 1 + below(g, MAX_PROCS - 1);	/* number of the child; if it exists, nothing happens */
	if (!g->alive[op->val])
		g->alive[op->val] = true;
}

static void host_fork(const struct op *op, struct result *r)
{
	r->ret = agent_fork((unsigned)op->val);
}

static void vellum_fork_op(struct world *w, const struct op *op, struct result *r)
{
	struct reader *parent = w->reader[op->proc];

	r->ret = vellum_fork(w->mm[op->proc], &w->mm[op->val]);
	if (r->ret)
		return;
	vellum_soft_load_mm(w->cpu[op->val], w->mm[op->val]);
	reader_sync(parent);
	for (unsigned i = 0; i < NR_CONTEXTS; i++) {
		if (parent->context[i].child)
			reader_adopt(w->reader[op->val], i, parent->context[i].state, -1, parent->context[i].child);
		parent->context[i].child = NULL;
	}
}

static void gen_exit(struct generator *g, struct op *op)
{
	if (op->proc)
		g->alive[op->proc] = false;
}

static void host_exit(const struct op *op, struct result *r)
{
	(void)op, (void)r;
	agent_exit();
}

static void vellum_exit(struct world *w, const struct op *op, struct result *r)
{
	(void)r;
	reader_stop(w->reader[op->proc]);
	vellum_soft_load_mm(w->cpu[op->proc], NULL);
	vellum_mm_put(w->mm[op->proc]);
	w->mm[op->proc] = NULL;
}

const struct kind process_kinds[] = {
	{ "fork", 4, true, gen_fork, host_fork, vellum_fork_op, NULL },
	{ "exit", 4, true, gen_exit, host_exit, vellum_exit, NULL },
};
const unsigned nr_process_kinds = sizeof(process_kinds) / sizeof(process_kinds[0]);
