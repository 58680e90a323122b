/* SPDX-License-Identifier: MIT */
/* tests/diff/ops_object.c - objects: a memfd on the host, a vellum_mapping without hooks on Vellum. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/diff/diff.h"

static int rw(const struct op *op)
{
	return agent.fd[op->object][0];
}

static void gen_truncate(struct generator *g, struct op *op)
{
	op->object = below(g, NR_OBJECTS);
	op->len = below(g, OBJECT_PAGES + 8) * PAGE;
	if (one_in(g, 4))
		op->len += below(g, PAGE);
}

static uint64_t host_size(const struct op *op)
{
	struct stat st;

	return fstat(rw(op), &st) ? 0 : (uint64_t)st.st_size;
}

/* Bytes that were stored beyond the end, in the last page, are not part of the object; but tmpfs keeps them. */
static void host_truncate(const struct op *op, struct result *r)
{
	uint64_t old = host_size(op), part = old & (PAGE - 1);

	r->ret = host_error(ftruncate(rw(op), (off_t)op->len));
	if (!r->ret && op->len > old && part)
		fallocate(rw(op), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)old, (off_t)(PAGE - part));
}

static void vellum_truncate(struct world *w, const struct op *op, struct result *r)
{
	r->ret = vellum_mapping_set_size(w->object[op->object], op->len);
	if (!r->ret && op->object == FILE_OBJECT)
		disk_cut(op->len);
}

static void gen_punch(struct generator *g, struct op *op)
{
	op->object = below(g, NR_OBJECTS);
	op->addr = below(g, OBJECT_PAGES) * PAGE;
	op->len = some_pages(g);
	if (one_in(g, 2)) {
		op->addr += below(g, PAGE);
		op->len -= below(g, PAGE);
	}
}

static void host_punch(const struct op *op, struct result *r)
{
	r->ret = host_error(fallocate(rw(op), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)op->addr,
				      (off_t)op->len));
}

static void vellum_punch(struct world *w, const struct op *op, struct result *r)
{
	r->ret = vellum_mapping_punch_hole(w->object[op->object], op->addr, op->len);
}

/* --- reads and writes: within the object's size, as the library requires --- */

static void gen_io(struct generator *g, struct op *op)
{
	op->object = below(g, NR_OBJECTS);
	op->addr = below(g, OBJECT_PAGES) * PAGE + below(g, (unsigned)PAGE);
	op->len = 1 + below(g, (unsigned)(2 * PAGE));
	op->val = ++g->stores << 8 | 0xc3;
}

static uint64_t within(const struct op *op, uint64_t size)
{
	uint64_t left = op->addr < size ? size - op->addr : 0;

	return op->len < left ? op->len : left;
}

static void bytes_to_write(const struct op *op, unsigned char *buf)
{
	for (uint64_t i = 0; i < op->len; i++)
		buf[i] = (unsigned char)(op->val >> (op->addr + i) % 8 * 8);
}

static void host_write(const struct op *op, struct result *r)
{
	unsigned char buf[2 * PAGE];
	uint64_t len = within(op, host_size(op));
	ssize_t n;

	bytes_to_write(op, buf);
	n = len ? pwrite(rw(op), buf, len, (off_t)op->addr) : 0;
	r->ret = n < 0 ? -errno : n != (ssize_t)len;
}

static void vellum_write(struct world *w, const struct op *op, struct result *r)
{
	struct vellum_mapping *object = w->object[op->object];
	unsigned char buf[2 * PAGE];
	uint64_t len = within(op, vellum_mapping_size(object));

	bytes_to_write(op, buf);
	r->ret = len ? vellum_mapping_write(object, op->addr, buf, len) : 0;
}

static void host_read(const struct op *op, struct result *r)
{
	unsigned char buf[2 * PAGE] = { 0 };
	uint64_t len = within(op, host_size(op));

	r->ret = pread(rw(op), buf, len, (off_t)op->addr) != (ssize_t)len;
	r->val = hash_bytes(buf, sizeof(buf));
}

static void vellum_read(struct world *w, const struct op *op, struct result *r)
{
	struct vellum_mapping *object = w->object[op->object];
	unsigned char buf[2 * PAGE] = { 0 };
	uint64_t len = within(op, vellum_mapping_size(object));

	r->ret = len ? vellum_mapping_read(object, op->addr, buf, len) : 0;
	r->val = hash_bytes(buf, sizeof(buf));
}

/* --- seals: rare, as they cannot be removed --- */

static void gen_seal(struct generator *g, struct op *op)
{
	op->object = 1 + below(g, FILE_OBJECT - 1);
	op->flags = 1u << below(g, 5);
	if (op->flags == VELLUM_SEAL_SEAL && !one_in(g, 4))
		op->flags = VELLUM_SEAL_WRITE;
	if (one_in(g, 4))
		op->flags |= 1u << below(g, 5);
}

static void host_seal(const struct op *op, struct result *r)
{
	r->ret = host_error(fcntl(rw(op), F_ADD_SEALS, op->flags));
}

static void vellum_seal(struct world *w, const struct op *op, struct result *r)
{
	r->ret = vellum_mapping_add_seals(w->object[op->object], op->flags);
}

const struct kind object_kinds[] = {
	{ "truncate", 3, true, gen_truncate, host_truncate, vellum_truncate, NULL },
	{ "punch", 3, true, gen_punch, host_punch, vellum_punch, NULL },
	{ "write", 3, true, gen_io, host_write, vellum_write, NULL },
	{ "read", 2, true, gen_io, host_read, vellum_read, NULL },
	{ "seal", 1, true, gen_seal, host_seal, vellum_seal, NULL },
};
const unsigned nr_object_kinds = sizeof(object_kinds) / sizeof(object_kinds[0]);
