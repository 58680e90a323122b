/* SPDX-License-Identifier: MIT */
/* tests/diff/ops_process.c - processes come and go. The first one stays. */
#include "tests/diff/diff.h"

static void gen_fork(struct generator *g, struct op *op)
{
	op->val = 1 + below(g, MAX_PROCS - 1);	/* who the child is; nothing happens if it lives */
	if (!g->alive[op->val])
		g->alive[op->val] = true;
}

static void host_fork(const struct op *op, struct result *r)
{
	r->ret = agent_fork((unsigned)op->val);
}

static void vellum_fork_op(struct world *w, const struct op *op, struct result *r)
{
	r->ret = vellum_fork(w->mm[op->proc], &w->mm[op->val]);
	if (r->ret == 0)
		vellum_soft_run(w->cpu[op->val], w->mm[op->val]);
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
	vellum_soft_run(w->cpu[op->proc], NULL);
	vellum_mm_put(w->mm[op->proc]);
	w->mm[op->proc] = NULL;
}

const struct kind process_kinds[] = {
	{ "fork", 4, true, gen_fork, host_fork, vellum_fork_op, NULL },
	{ "exit", 4, true, gen_exit, host_exit, vellum_exit, NULL },
};
const unsigned nr_process_kinds = sizeof(process_kinds) / sizeof(process_kinds[0]);
