/* SPDX-License-Identifier: MIT */
/* tests/diff/ops_map.c - mmap, munmap, mprotect, mremap. */
#define _GNU_SOURCE
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/diff/diff.h"

/* --- mmap --- */

static void gen_mmap(struct generator *g, struct op *op)
{
	static const uint32_t types[] = { 2, 2, 2, 1, 1, 3, 0 };
	static const uint32_t extras[] = { 0x2000, 0x4000, 0x8000, 0x8000, 0x8000, 0x100, 0x20000, 0x10000 };

	some_range(g, op);
	op->prot = some_prot(g) | some_bit(g, 64, 3, 32);
	op->flags = types[below(g, one_in(g, 32) ? 7 : 6)];
	op->object = below(g, NR_OBJECTS);
	op->access = one_in(g, 2) ? 0 : one_in(g, 8) ? 2 : 1;
	op->to = below(g, OBJECT_PAGES + 4);		/* first page of the object */
	if (one_in(g, 2))
		op->flags |= VELLUM_MAP_ANONYMOUS;
	op->flags |= one_in(g, 8) ? VELLUM_MAP_FIXED_NOREPLACE : one_in(g, 16) ? 0 : VELLUM_MAP_FIXED;
	if (one_in(g, 8))
		op->flags |= extras[below(g, 8)];
	op->flags |= some_bit(g, 32, 0, 32);
	if (one_in(g, 64))
		op->val = NO_DESCRIPTOR;
	if (one_in(g, 128))
		op->to = 1ull << (one_in(g, 2) ? 51 : 40);
}

static void host_mmap(const struct op *op, struct result *r)
{
	bool anon = op->flags & VELLUM_MAP_ANONYMOUS;
	int fd = anon || op->val == NO_DESCRIPTOR ? -1 : agent.fd[op->object][op->access];

	int64_t addr = host_error(syscall(SYS_mmap, op->addr, op->len, op->prot, op->flags, fd,
					  anon ? 0 : op->to * PAGE));

	if (addr < 0) {
		r->ret = addr;
		return;
	}
	r->addr = canonical((uint64_t)addr);
	if (r->addr == ELSEWHERE)
		syscall(SYS_munmap, addr, op->len);
}

static void vellum_mmap_op(struct world *w, const struct op *op, struct result *r)
{
	struct vellum_map_args args = { .size = sizeof(args), .addr = op->addr, .len = op->len, .prot = op->prot,
					.flags = op->flags, .pgoff = op->to,
					.file_prot = access_prot[op->access] };
	uint64_t addr;

	if (op->flags & VELLUM_MAP_ANONYMOUS)
		args.pgoff = 0;
	else if (op->val != NO_DESCRIPTOR)
		args.mapping = w->object[op->object];
	r->ret = vellum_mmap(w->mm[op->proc], &args, &addr);
	if (r->ret)
		return;
	r->addr = canonical(addr);
	if (r->addr == ELSEWHERE)
		vellum_munmap(w->mm[op->proc], addr, op->len);
}

/* --- munmap, mprotect --- */

static void gen_munmap(struct generator *g, struct op *op)
{
	some_range(g, op);
}

static void host_munmap(const struct op *op, struct result *r)
{
	r->ret = host_error(syscall(SYS_munmap, op->addr, op->len));
}

static void vellum_munmap_op(struct world *w, const struct op *op, struct result *r)
{
	r->ret = vellum_munmap(w->mm[op->proc], op->addr, op->len);
}

static void gen_mprotect(struct generator *g, struct op *op)
{
	some_range(g, op);
	op->prot = some_prot(g) | some_bit(g, 32, 3, 32);
	if (one_in(g, 32))
		op->prot |= one_in(g, 4) ? VELLUM_PROT_GROWSUP : VELLUM_PROT_GROWSDOWN;
}

static void host_mprotect(const struct op *op, struct result *r)
{
	r->ret = host_error(syscall(SYS_mprotect, op->addr, op->len, op->prot));
}

static void vellum_mprotect_op(struct world *w, const struct op *op, struct result *r)
{
	r->ret = vellum_mprotect(w->mm[op->proc], op->addr, op->len, op->prot);
}

/* --- mremap --- */

static void gen_mremap(struct generator *g, struct op *op)
{
	static const uint32_t flags[] = { 0, 1, 1, 3, 3, 3, 5, 7 };

	some_range(g, op);
	op->new_len = one_in(g, 2) ? op->len : some_pages(g);
	op->flags = flags[below(g, 8)];
	op->to = some_page(g);
	if (one_in(g, 64))
		op->flags = below(g, 16) | some_bit(g, 2, 0, 32);
	if (one_in(g, 64))
		op->to += below(g, PAGE);
	if (one_in(g, 64))
		op->new_len = one_in(g, 2) ? 0 : ~0ull << 11;
	if (one_in(g, 32))
		op->len = 0;
	op->val = some_page(g);		/* the address to which it is moved back */
}

/* If the VMA moved outside the window, move it back, so that it can be compared and used. */
static void host_mremap(const struct op *op, struct result *r)
{
	int64_t addr = host_error(syscall(SYS_mremap, op->addr, op->len, op->new_len, op->flags, op->to));

	if (addr < 0) {
		r->ret = addr;
		return;
	}
	r->addr = canonical((uint64_t)addr);
	if (r->addr == ELSEWHERE)
		r->ret = host_error(syscall(SYS_mremap, addr, op->new_len, op->new_len, 3, op->val)) < 0;
}

static void vellum_mremap_op(struct world *w, const struct op *op, struct result *r)
{
	struct vellum_mm *mm = w->mm[op->proc];
	uint64_t addr = op->to, back = op->val;

	r->ret = vellum_mremap(mm, op->addr, op->len, op->new_len, op->flags, &addr);
	if (r->ret)
		return;
	r->addr = canonical(addr);
	if (r->addr == ELSEWHERE)
		r->ret = vellum_mremap(mm, addr, op->new_len, op->new_len, 3, &back) < 0;
}

const struct kind map_kinds[] = {
	{ "mmap", 16, false, gen_mmap, host_mmap, vellum_mmap_op, NULL },
	{ "munmap", 4, false, gen_munmap, host_munmap, vellum_munmap_op, NULL },
	{ "mprotect", 10, false, gen_mprotect, host_mprotect, vellum_mprotect_op, NULL },
	{ "mremap", 10, false, gen_mremap, host_mremap, vellum_mremap_op, NULL },
};
const unsigned nr_map_kinds = sizeof(map_kinds) / sizeof(map_kinds[0]);
