/* SPDX-License-Identifier: MIT */
/* tests/diff/ops_access.c - loads, stores, instruction fetches, and copies by system calls. */
#define _GNU_SOURCE
#include <errno.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/diff/diff.h"

#define RETURN_BYTE 0xc3	/* ret; every stored word begins with it */

static uint64_t some_word(struct generator *g)
{
	static const unsigned offsets[] = { 0, 8, 2048, 4088 };
	uint64_t page = one_in(g, 32) ? FIRST + below(g, SEEN) * PAGE : some_page(g);

	return page + offsets[below(g, 4)];
}

static void gen_store(struct generator *g, struct op *op)
{
	op->addr = some_word(g);
	op->val = ++g->stores << 8 | RETURN_BYTE;
}

static void do_store(uint64_t addr, uint64_t *val)
{
	*(volatile uint64_t *)(uintptr_t)addr = *val;
}

static void host_store(const struct op *op, struct result *r)
{
	uint64_t val = op->val;

	guarded(do_store, op->addr, &val, r);
}

static void vellum_store(struct world *w, const struct op *op, struct result *r)
{
	set_fault(r, vellum_soft_store64(w->cpu[op->proc], op->addr, op->val));
}

static void gen_load(struct generator *g, struct op *op)
{
	op->addr = some_word(g);
}

static void do_load(uint64_t addr, uint64_t *val)
{
	*val = *(volatile uint64_t *)(uintptr_t)addr;
}

static void host_load(const struct op *op, struct result *r)
{
	guarded(do_load, op->addr, &r->val, r);
}

static void vellum_load(struct world *w, const struct op *op, struct result *r)
{
	set_fault(r, vellum_soft_load64(w->cpu[op->proc], op->addr, &r->val));
}

/*
 * --- execute: only a page that begins with ret, or that cannot be read ---
 *
 * The load faults the page in first. Linux checks the right to execute only if the page is present, and a guard is
 * never present.
 */
static bool may_fetch(const struct result *r)
{
	return (r->sig == 11 && r->code == 2) || (!r->sig && (r->val & 0xff) == RETURN_BYTE);
}

static void do_call(uint64_t addr, uint64_t *val)
{
	(void)val;
	((void (*)(void))(uintptr_t)addr)();
}

static void host_exec(const struct op *op, struct result *r)
{
	host_load(op, r);
	if (may_fetch(r))
		guarded(do_call, op->addr, &r->val, r);
}

static void vellum_exec(struct world *w, const struct op *op, struct result *r)
{
	char byte;

	vellum_load(w, op, r);
	if (may_fetch(r))
		set_fault(r, vellum_soft_fetch(w->cpu[op->proc], op->addr, &byte, 1));
}

/* --- compare and exchange: needs the right to store even if it exchanges nothing --- */

static void do_cmpxchg(uint64_t addr, uint64_t *val)
{
	uint64_t expected = 0;

	__atomic_compare_exchange_n((uint64_t *)(uintptr_t)addr, &expected, *val, false, __ATOMIC_SEQ_CST,
				    __ATOMIC_SEQ_CST);
	*val = expected;
}

static void host_cmpxchg(const struct op *op, struct result *r)
{
	uint64_t val = op->val;

	guarded(do_cmpxchg, op->addr, &val, r);
	r->val = r->sig ? 0 : val;
}

static void vellum_cmpxchg(struct world *w, const struct op *op, struct result *r)
{
	uint64_t old = 0;
	bool swapped;

	set_fault(r, vellum_soft_cmpxchg64(w->cpu[op->proc], op->addr, &old, op->val, &swapped));
	r->val = r->sig ? 0 : old;
}

/* --- copies --- */

static void gen_copy(struct generator *g, struct op *op)
{
	op->addr = some_page(g) + (one_in(g, 2) ? 0 : below(g, PAGE) & ~7u);
	op->len = (1 + below(g, (unsigned)(3 * PAGE / 8))) * 8;
}

static void host_copy_to(const struct op *op, struct result *r)
{
	ssize_t n = pread(agent.scratch_in, (void *)(uintptr_t)op->addr, op->len, (off_t)(op->addr & (PAGE - 1)));

	r->ret = n < 0 ? -errno : n;
}

/* Copy the bytes of scratch_in, as agent.c fills it. */
static void vellum_copy_to(struct world *w, const struct op *op, struct result *r)
{
	static uint64_t words[64 * PAGE / 8];
	uint64_t done = 0;
	int err;

	for (unsigned i = 0; i < sizeof(words) / 8; i++)
		words[i] = ((uint64_t)(i / 512) << 32 | (i % 512) << 8) | RETURN_BYTE;
	err = vellum_copy_to_user(w->mm[op->proc], op->addr, (char *)words + (op->addr & (PAGE - 1)), op->len, &done);
	r->ret = done ? (int64_t)done : err;
}

static void host_copy_from(const struct op *op, struct result *r)
{
	char buf[4 * PAGE] = "";
	ssize_t n = pwrite(agent.scratch_out, (const void *)(uintptr_t)op->addr, op->len, 0);

	r->ret = n < 0 ? -errno : n;
	if (n > 0 && pread(agent.scratch_out, buf, (size_t)n, 0) == n)
		r->val = hash_bytes(buf, (uint64_t)n);
}

static void vellum_copy_from(struct world *w, const struct op *op, struct result *r)
{
	char buf[4 * PAGE];
	uint64_t done = 0;
	int err = vellum_copy_from_user(w->mm[op->proc], buf, op->addr, op->len, &done);

	r->ret = done ? (int64_t)done : err;
	if (done)
		r->val = hash_bytes(buf, done);
}

const struct kind access_kinds[] = {
	{ "store", 22, true, gen_store, host_store, vellum_store, NULL },
	{ "load", 10, true, gen_load, host_load, vellum_load, NULL },
	{ "exec", 2, true, gen_load, host_exec, vellum_exec, NULL },
	{ "cmpxchg", 2, true, gen_store, host_cmpxchg, vellum_cmpxchg, NULL },
	{ "copy_to", 2, true, gen_copy, host_copy_to, vellum_copy_to, NULL },
	{ "copy_from", 2, true, gen_copy, host_copy_from, vellum_copy_from, NULL },
};
const unsigned nr_access_kinds = sizeof(access_kinds) / sizeof(access_kinds[0]);
