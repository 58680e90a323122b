/* SPDX-License-Identifier: MIT */
/* tests/diff/ops_advice.c - madvise, the mlock family, msync, mincore. */
#define _GNU_SOURCE
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/diff/diff.h"

/* --- madvise --- */

static void gen_madvise(struct generator *g, struct op *op)
{
	static const uint32_t often[] = { 4, 4, 4, 24, 8, 9, 18, 10, 11, 19, 22, 23, 102, 102, 103 };

	some_range(g, op);
	op->flags = one_in(g, 2) ? often[below(g, sizeof(often) / sizeof(often[0]))] : below(g, 26);
	if (one_in(g, 64))
		op->flags = 26 + below(g, 70);
	if (one_in(g, 128))
		op->flags |= some_bit(g, 1, 7, 32);
}

static void host_madvise(const struct op *op, struct result *r)
{
	/* On the host, COLD has the same errors as PAGEOUT, and reclaims nothing. */
	int advice = op->flags == MADV_PAGEOUT ? MADV_COLD : (int)op->flags;

	r->ret = host_error(syscall(SYS_madvise, op->addr, op->len, advice));
}

static void vellum_madvise_op(struct world *w, const struct op *op, struct result *r)
{
	int advice = op->flags == VELLUM_MADV_PAGEOUT && w->may_lose ? VELLUM_MADV_COLD : (int)op->flags;

	r->ret = vellum_madvise(w->mm[op->proc], op->addr, op->len, advice);
	w->may_lose |= op->flags == VELLUM_MADV_FREE;
}

/* --- mlock --- */

static void gen_mlock(struct generator *g, struct op *op)
{
	some_range(g, op);
	op->flags = below(g, 2) | some_bit(g, 32, 0, 32);
}

static void host_mlock(const struct op *op, struct result *r)
{
	r->ret = host_error(syscall(SYS_mlock2, op->addr, op->len, op->flags));
}

static void vellum_mlock_op(struct world *w, const struct op *op, struct result *r)
{
	r->ret = vellum_mlock(w->mm[op->proc], op->addr, op->len, op->flags);
}

static void host_munlock(const struct op *op, struct result *r)
{
	r->ret = host_error(syscall(SYS_munlock, op->addr, op->len));
}

static void vellum_munlock_op(struct world *w, const struct op *op, struct result *r)
{
	r->ret = vellum_munlock(w->mm[op->proc], op->addr, op->len);
}

static void gen_mlockall(struct generator *g, struct op *op)
{
	op->flags = below(g, 8) | some_bit(g, 16, 0, 32);
}

static void host_mlockall(const struct op *op, struct result *r)
{
	r->ret = host_error(syscall(SYS_mlockall, op->flags));
}

static void vellum_mlockall_op(struct world *w, const struct op *op, struct result *r)
{
	r->ret = vellum_mlockall(w->mm[op->proc], op->flags);
}

static void gen_munlockall(struct generator *g, struct op *op)
{
	(void)g, (void)op;
}

static void host_munlockall(const struct op *op, struct result *r)
{
	(void)op;
	r->ret = host_error(syscall(SYS_munlockall));
}

static void vellum_munlockall_op(struct world *w, const struct op *op, struct result *r)
{
	r->ret = vellum_munlockall(w->mm[op->proc]);
}

/* --- msync, mincore --- */

static void gen_msync(struct generator *g, struct op *op)
{
	some_range(g, op);
	op->flags = below(g, 8) | some_bit(g, 16, 0, 32);
}

static void host_msync(const struct op *op, struct result *r)
{
	r->ret = host_error(syscall(SYS_msync, op->addr, op->len, op->flags));
}

static void vellum_msync_op(struct world *w, const struct op *op, struct result *r)
{
	r->ret = vellum_msync(w->mm[op->proc], op->addr, op->len, (int)op->flags);
}

static void gen_mincore(struct generator *g, struct op *op)
{
	some_range(g, op);
}

/* If the range has a hole, the bytes are undefined. */
static void host_mincore(const struct op *op, struct result *r)
{
	r->ret = host_error(syscall(SYS_mincore, op->addr, op->len, r->vec));
	if (r->ret)
		memset(r->vec, 0, sizeof(r->vec));
}

static void vellum_mincore_op(struct world *w, const struct op *op, struct result *r)
{
	r->ret = vellum_mincore(w->mm[op->proc], op->addr, op->len, r->vec);
	if (r->ret)
		memset(r->vec, 0, sizeof(r->vec));
}

const struct kind advice_kinds[] = {
	{ "madvise", 14, true, gen_madvise, host_madvise, vellum_madvise_op, NULL },
	{ "mlock", 2, false, gen_mlock, host_mlock, vellum_mlock_op, NULL },
	{ "munlock", 3, false, gen_mincore, host_munlock, vellum_munlock_op, NULL },
	{ "mlockall", 1, false, gen_mlockall, host_mlockall, vellum_mlockall_op, NULL },
	{ "munlockall", 1, false, gen_munlockall, host_munlockall, vellum_munlockall_op, NULL },
	{ "msync", 2, false, gen_msync, host_msync, vellum_msync_op, NULL },
	{ "mincore", 1, false, gen_mincore, host_mincore, vellum_mincore_op, NULL },
};
const unsigned nr_advice_kinds = sizeof(advice_kinds) / sizeof(advice_kinds[0]);
