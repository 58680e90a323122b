/* SPDX-License-Identifier: MIT */
/*
 * tests/diff/enumerate.c - the enumerating pass: each flag of each call by itself and with each other flag, and wrong
 * arguments in pairs, on a fixture of VMAs of each kind.
 *
 * A flag is a bit of the argument, known or not. The plan is a list of episodes.
 */
#include <stdlib.h>

#include "tests/diff/enumerate.h"

#define AT(page) (BASE + (page) * PAGE)

/* The fixture. Each VMA has room for mistakes behind it. */
enum {
	PRIVATE = 0,		/* private anonymous, stored to */
	SHARED = 6,		/* an object */
	READ_ONLY = 12,		/* an object opened for reading, shared */
	PRIVATE_FILE = 18,
	DISK = 24,		/* a file on a disk, shared */
	ANON_SHARED = 30,
	STACK = 36,		/* MAP_GROWSDOWN */
	LOCKED = 42,
	NOWHERE = 47,
	DROPPABLE = 56,
	PAGES = 4,		/* of each */
};
static const unsigned places[] = { PRIVATE, SHARED, READ_ONLY, PRIVATE_FILE, DISK, ANON_SHARED, STACK, LOCKED, NOWHERE,
				   DROPPABLE };
#define NR_PLACES (sizeof(places) / sizeof(places[0]))

static void begin(struct plan *p)
{
	if (p->nr_episodes == PLAN_EPISODES)
		abort();
	p->first[p->nr_episodes++] = p->nr;
}

static void add(struct plan *p, const char *kind, struct op op)
{
	if (p->nr - p->first[p->nr_episodes - 1] == EPISODE_MAX)
		abort();
	if (p->nr == p->room) {
		p->room = p->room ? 2 * p->room : 1024;
		p->op = realloc(p->op, p->room * sizeof(*p->op));
	}
	op.kind = (uint16_t)kind_named(kind);
	p->op[p->nr++] = op;
}

/* --- bits --- */

enum field { ADDR, LEN, TO, NEW_LEN, PROT, FLAGS, OBJECT, ACCESS, VAL };

static void set(struct op *op, enum field field, uint64_t value)
{
	switch (field) {
	case ADDR: op->addr = value; break;
	case LEN: op->len = value; break;
	case TO: op->to = value; break;
	case NEW_LEN: op->new_len = value; break;
	case PROT: op->prot = (uint32_t)value; break;
	case FLAGS: op->flags = (uint32_t)value; break;
	case OBJECT: op->object = (uint32_t)value; break;
	case ACCESS: op->access = (uint32_t)value; break;
	case VAL: op->val = value; break;
	}
}

typedef void (*add_fn)(struct plan *p, const char *kind, struct op op);

/* No bit of [low, high), each bit, and each pair; with @always. */
static void each_pair(struct plan *p, const char *kind, struct op op, enum field field, uint64_t always, unsigned low,
		      unsigned high, add_fn fn)
{
	set(&op, field, always);
	fn(p, kind, op);
	for (unsigned i = low; i < high; i++)
		for (unsigned k = low; k <= i; k++) {
			set(&op, field, always | 1ull << i | 1ull << k);
			fn(p, kind, op);
		}
}

static void each_bit(struct plan *p, const char *kind, struct op op, enum field field, uint64_t always, unsigned low,
		     unsigned high, add_fn fn)
{
	for (unsigned i = low; i < high; i++) {
		set(&op, field, always | 1ull << i);
		fn(p, kind, op);
	}
}

/* --- wrong arguments --- */

struct choice {
	enum field field;
	unsigned nr;
	uint64_t value[16];	/* the first one is right */
};

/* All right, and each way in which up to @wrong arguments, from the choice @from on, are another. */
static void each_mistake(struct plan *p, const char *kind, struct op op, const struct choice *choices, unsigned nr,
			 unsigned from, unsigned wrong, add_fn fn)
{
	for (unsigned i = from; i < nr; i++)
		set(&op, choices[i].field, choices[i].value[0]);
	fn(p, kind, op);
	for (unsigned i = from; wrong && i < nr; i++)
		for (unsigned k = 1; k < choices[i].nr; k++) {
			struct op changed = op;

			set(&changed, choices[i].field, choices[i].value[k]);
			each_mistake(p, kind, changed, choices, nr, i + 1, wrong - 1, fn);
		}
}

/* --- the fixture --- */

#define ANON (VELLUM_MAP_PRIVATE | VELLUM_MAP_ANONYMOUS)

static const struct {
	unsigned page;
	uint32_t flags, prot, object, access;
} fixture[] = {
	{ PRIVATE, ANON, 3, 0, 0 },
	{ SHARED, VELLUM_MAP_SHARED, 3, 1, 0 },
	{ READ_ONLY, VELLUM_MAP_SHARED, 1, 2, 1 },
	{ PRIVATE_FILE, VELLUM_MAP_PRIVATE, 3, 3, 1 },
	{ DISK, VELLUM_MAP_SHARED, 3, FILE_OBJECT, 0 },
	{ ANON_SHARED, VELLUM_MAP_SHARED | VELLUM_MAP_ANONYMOUS, 3, 0, 0 },
	{ STACK, ANON | VELLUM_MAP_GROWSDOWN, 3, 0, 0 },
	{ LOCKED, ANON | VELLUM_MAP_LOCKED, 3, 0, 0 },
	{ DROPPABLE, VELLUM_MAP_DROPPABLE | VELLUM_MAP_ANONYMOUS, 3, 0, 0 },
};
static const unsigned stored[] = { PRIVATE, SHARED, PRIVATE_FILE, ANON_SHARED, STACK, DROPPABLE };
#define NR_FIXTURE (sizeof(fixture) / sizeof(fixture[0]))
#define NR_STORED (sizeof(stored) / sizeof(stored[0]))

/* The operations that build the fixture. False: there are no more. */
static bool fixture_op(unsigned i, struct op *op)
{
	if (i == 0) {
		*op = (struct op){ .addr = FIRST, .len = SEEN * PAGE };
		op->kind = (uint16_t)kind_named("munmap");
	} else if (i <= NR_FIXTURE) {
		*op = (struct op){ .addr = AT(fixture[i - 1].page), .len = PAGES * PAGE, .prot = fixture[i - 1].prot,
				   .flags = fixture[i - 1].flags | VELLUM_MAP_FIXED, .object = fixture[i - 1].object,
				   .access = fixture[i - 1].access };
		op->kind = (uint16_t)kind_named("mmap");
	} else if (i <= NR_FIXTURE + NR_STORED) {
		*op = (struct op){ .addr = AT(stored[i - NR_FIXTURE - 1]), .val = (uint64_t)i << 8 | 0xc3 };
		op->kind = (uint16_t)kind_named("store");
	} else {
		return false;
	}
	return true;
}

static void gen_nothing(struct generator *g, struct op *op)
{
	(void)g, (void)op;
}

static void host_fixture(const struct op *op, struct result *r)
{
	struct op part;

	for (unsigned i = 0; fixture_op(i, &part); i++) {
		struct result one = { .ret = 0 };

		part.proc = op->proc;
		kind_at(part.kind)->run_host(&part, &one);
		r->ret = r->ret ? r->ret : one.ret;
	}
}

static void vellum_fixture(struct world *w, const struct op *op, struct result *r)
{
	struct op part;

	for (unsigned i = 0; fixture_op(i, &part); i++) {
		struct result one = { .ret = 0 };

		part.proc = op->proc;
		kind_at(part.kind)->run_vellum(w, &part, &one);
		r->ret = r->ret ? r->ret : one.ret;
	}
}

const struct kind enumerate_kinds[] = {
	{ "fixture", 0, false, gen_nothing, host_fixture, vellum_fixture, NULL },
};
const unsigned nr_enumerate_kinds = 1;

static void clear(struct plan *p)
{
	add(p, "munmap", (struct op){ .addr = FIRST, .len = SEEN * PAGE });
}

static void build(struct plan *p)
{
	add(p, "fixture", (struct op){ .len = 0 });
}

static struct op one_page(unsigned page)
{
	return (struct op){ .addr = AT(page + 1), .len = PAGE };
}

/* --- mmap, mprotect, munmap --- */

/* Each call has an address of its own, until the window is full. */
static void add_mmap(struct plan *p, const char *kind, struct op op)
{
	static unsigned at;

	if (at + 2 > SEEN || (op.flags & VELLUM_MAP_GROWSDOWN)) {
		clear(p);
		at = 0;
	}
	op.addr += FIRST + at * PAGE;
	at += 2;
	add(p, kind, op);
}

static void plan_mmap(struct plan *p)
{
	static const uint32_t types[] = { 1, 2, 3, 8 };
	struct op op = { .len = PAGE, .prot = 3 };

	for (unsigned type = 0; type < 16; type++) {
		begin(p);
		each_bit(p, "mmap", op, FLAGS, type, 4, 32, add_mmap);
		each_bit(p, "mmap", op, FLAGS, type | VELLUM_MAP_ANONYMOUS, 4, 32, add_mmap);
	}
	for (unsigned i = 0; i < 4; i++) {
		begin(p);
		each_pair(p, "mmap", op, FLAGS, types[i], 4, 32, add_mmap);
		each_pair(p, "mmap", op, FLAGS, types[i] | VELLUM_MAP_ANONYMOUS, 4, 32, add_mmap);
		op.flags = types[i];
		each_pair(p, "mmap", op, PROT, 0, 0, 32, add_mmap);
		op.flags = types[i] | VELLUM_MAP_ANONYMOUS;
		each_bit(p, "mmap", op, PROT, 0, 0, 32, add_mmap);
	}
}

/* With mlockall(MCL_FUTURE), and MCL_ONFAULT. */
static void plan_future(struct plan *p)
{
	struct op op = { .len = PAGE, .prot = 3 };

	for (unsigned onfault = 0; onfault < 2; onfault++) {
		begin(p);
		add(p, "mlockall", (struct op){ .flags = VELLUM_MCL_FUTURE | (onfault ? VELLUM_MCL_ONFAULT : 0) });
		for (unsigned type = 0; type < 10; type++) {
			each_bit(p, "mmap", op, FLAGS, type, 4, 32, add_mmap);
			each_bit(p, "mmap", op, FLAGS, type | VELLUM_MAP_ANONYMOUS, 4, 32, add_mmap);
		}
	}
}

/* The encoded sizes of MAP_HUGETLB. */
static void plan_huge(struct plan *p)
{
	begin(p);
	for (uint32_t size = 0; size < 64; size++)
		for (unsigned i = 0; i < 4; i++)
			add_mmap(p, "mmap", (struct op){ .len = i & 1 ? PAGE : 2 << 20, .prot = 3,
							 .flags = VELLUM_MAP_PRIVATE | VELLUM_MAP_HUGETLB | size << 26 |
								  (i & 2 ? 0 : VELLUM_MAP_ANONYMOUS) });
}

static void add_on_fixture(struct plan *p, const char *kind, struct op op)
{
	build(p);
	add(p, kind, op);
}

static void plan_wrong_mmap(struct plan *p)
{
	const struct choice choices[] = {
		{ ADDR, 8, { AT(PRIVATE + 1), AT(PRIVATE + 1) + 5, AT(PRIVATE + 4), AT(PRIVATE + 4) + 5, 0,
			     0x7fffffffe000, 0x7ffffffff001, ~0xfffull } },
		{ LEN, 7, { PAGE, 0, 1, 1ull << 47, ~0ull, ~0xfffull, 1ull << 63 } },
		{ FLAGS, 16, { 0x12, 2, 0x100002, 0x11, 0x13, 0x10, 0x14, 0x200013, 0x32, 0x22, 0x31, 0x33, 0x30,
			       0x112, 0x111, 0x2012 } },
		{ PROT, 2, { 1, 3 } },
		{ ACCESS, 3, { 0, 1, 2 } },
		{ VAL, 2, { 0, NO_DESCRIPTOR } },
		{ TO, 4, { 0, 1ull << 51, (1ull << 52) - 1, 1ull << 40 } },
	};

	begin(p);
	build(p);
	each_mistake(p, "mmap", (struct op){ .object = 1 }, choices, 7, 0, 2, add);
}

static void plan_mprotect(struct plan *p)
{
	const struct choice choices[] = {
		{ ADDR, 9, { AT(PRIVATE + 1), AT(PRIVATE + 1) + 5, AT(NOWHERE), AT(PRIVATE + 4), AT(STACK + 1),
			     AT(STACK) - PAGE, 0x7fffffffe000, 0x7ffffffff000, ~0xfffull } },
		{ LEN, 8, { PAGE, 0, 1, 3 * PAGE, 6 * PAGE, ~0ull, ~0xfffull, 1ull << 63 } },
		{ PROT, 11, { 1, 3, 0, 8, 0x10, 0x80, 0x01000000, 0x02000000, 0x03000000, 0x01000001, 0x02000001 } },
	};

	for (unsigned i = 0; i < NR_PLACES; i++) {
		begin(p);
		build(p);
		if (places[i] == PRIVATE || places[i] == STACK || places[i] == READ_ONLY)
			each_pair(p, "mprotect", one_page(places[i]), PROT, 0, 0, 32, add);
		else
			each_bit(p, "mprotect", one_page(places[i]), PROT, 0, 0, 32, add);
	}
	begin(p);
	build(p);
	each_mistake(p, "mprotect", (struct op){ .len = 0 }, choices, 3, 0, 3, add);
	begin(p);
	each_mistake(p, "munmap", (struct op){ .len = 0 }, choices, 2, 0, 2, add_on_fixture);
}

/* --- mremap --- */

static void plan_mremap(struct plan *p)
{
	const struct choice choices[] = {
		{ ADDR, 7, { AT(PRIVATE), AT(PRIVATE) + 5, AT(NOWHERE), AT(SHARED), AT(PRIVATE + 2), AT(LOCKED),
			     0x7ffffffff000 } },
		{ LEN, 6, { 2 * PAGE, 0, PAGE, 6 * PAGE, 1ull << 47, 1ull << 63 } },
		{ NEW_LEN, 6, { 2 * PAGE, 0, PAGE, 5 * PAGE, 1ull << 47, ~0ull } },
		{ FLAGS, 8, { 3, 0, 1, 2, 4, 5, 7, 8 } },
		{ TO, 6, { AT(NOWHERE) + PAGE, AT(PRIVATE + 1), AT(SHARED), AT(NOWHERE) + 5, 0x7ffffffff000, ~0xfffull } },
	};
	struct op op = { .addr = AT(PRIVATE), .len = 2 * PAGE, .new_len = 2 * PAGE, .to = AT(NOWHERE), .val = AT(NOWHERE) };

	begin(p);
	build(p);
	each_pair(p, "mremap", op, FLAGS, 8, 0, 32, add);
	each_pair(p, "mremap", op, FLAGS, 0, 3, 32, add);
	for (unsigned i = 0; i < NR_PLACES; i++) {
		begin(p);
		op.addr = AT(places[i]);
		each_pair(p, "mremap", op, FLAGS, 0, 0, 4, add_on_fixture);
	}
	op.addr = 0;
	for (unsigned i = 0; i < 3; i++) {
		begin(p);
		op.val = AT(NOWHERE) + PAGE;
		each_mistake(p, "mremap", op, choices, 5, 0, i == 0 ? 2 : 0, add_on_fixture);
	}
}

/* --- madvise, mlock, msync, mincore --- */

static bool harms_the_host(uint32_t advice)	/* MADV_HWPOISON, MADV_SOFT_OFFLINE */
{
	return advice == 100 || advice == 101;
}

static void plan_madvise(struct plan *p)
{
	const struct choice choices[] = {
		{ FLAGS, 16, { 4, 1000, 8, 9, 0, 14, 20, 22, 23, 102, 103, 3, 18, 25, 24, 12 } },
		{ ADDR, 6, { AT(PRIVATE + 1), AT(PRIVATE + 1) + 5, AT(NOWHERE), AT(PRIVATE + 3), AT(PRIVATE + 5), AT(LOCKED + 1) } },
		{ LEN, 7, { PAGE, 0, 1, 6 * PAGE, ~0ull, ~0xfffull, 1ull << 63 } },
	};

	for (unsigned i = 0; i < NR_PLACES; i++) {
		struct op op = one_page(places[i]);

		begin(p);
		build(p);
		for (op.flags = 0; op.flags < 128; op.flags++)
			if (!harms_the_host(op.flags))
				add(p, "madvise", op);
		each_bit(p, "madvise", op, FLAGS, 0, 7, 32, add);
		each_bit(p, "madvise", op, FLAGS, 4, 7, 32, add);
	}
	begin(p);
	build(p);
	each_mistake(p, "madvise", (struct op){ .len = 0 }, choices, 3, 0, 3, add);
}

static void add_mlockall(struct plan *p, const char *kind, struct op op)
{
	add(p, kind, op);
	if (op.flags < 8)
		add(p, "munlockall", (struct op){ .len = 0 });
}

static void plan_locks(struct plan *p)
{
	const struct choice choices[] = {
		{ ADDR, 5, { AT(PRIVATE + 1), AT(PRIVATE + 1) + 5, AT(NOWHERE), AT(PRIVATE + 3), 0x7fffffffe000 } },
		{ LEN, 7, { PAGE, 0, 1, 6 * PAGE, ~0ull, ~0xfffull, 1ull << 63 } },
		{ FLAGS, 8, { 0, 1, 2, 4, 8, 5, 3, 7 } },
	};
	static const char *const kinds[] = { "mlock", "munlock", "msync", "mincore" };

	for (unsigned i = 0; i < NR_PLACES; i++) {
		begin(p);
		build(p);
		each_pair(p, "mlock", one_page(places[i]), FLAGS, 0, 0, i ? 2 : 32, add);
		each_pair(p, "msync", one_page(places[i]), FLAGS, 0, 0, i ? 4 : 32, add);
		add(p, "munlock", one_page(places[i]));
		each_pair(p, "msync", one_page(places[i]), FLAGS, 0, 0, 4, add);
	}
	begin(p);
	build(p);
	each_pair(p, "mlockall", (struct op){ .len = 0 }, FLAGS, 0, 0, 32, add_mlockall);
	for (unsigned i = 0; i < 4; i++) {
		begin(p);
		build(p);
		each_mistake(p, kinds[i], (struct op){ .len = 0 }, choices, 3, 0, 3, add);
	}
}

/* --- objects --- */

static void plan_seals(struct plan *p)
{
	begin(p);
	each_pair(p, "seal", (struct op){ .object = 1 }, FLAGS, 0, 5, 32, add);
	each_bit(p, "seal", (struct op){ .object = 1 }, FLAGS, 1u << 31, 0, 32, add);
	for (unsigned i = 0; i < 5; i++)
		for (unsigned k = 0; k < 5; k++) {
			begin(p);
			build(p);
			for (unsigned object = 0; object < 3; object++)
				add(p, "seal", (struct op){ .object = object + 1, .flags = 1u << (object == 2 ? k : i) });
			add(p, "seal", (struct op){ .object = 1, .flags = 1u << k });
			add(p, "seal", (struct op){ .object = 1, .flags = 1u << 31 });
			add(p, "mmap", (struct op){ .addr = AT(PRIVATE), .len = PAGE, .prot = 3, .flags = 0x11, .object = 1 });
			add(p, "mmap", (struct op){ .addr = AT(PRIVATE), .len = PAGE, .prot = 1, .flags = 0x11, .object = 3 });
			add(p, "mprotect", (struct op){ .addr = AT(PRIVATE), .len = PAGE, .prot = 3 });
			add(p, "truncate", (struct op){ .object = 1, .len = 2 * PAGE });
			add(p, "truncate", (struct op){ .object = 2, .len = 20 * PAGE });
			add(p, "punch", (struct op){ .object = 3, .addr = PAGE, .len = 2 * PAGE });
			add(p, "madvise", (struct op){ .addr = AT(SHARED), .len = PAGE, .flags = 9 });
		}
}

/* --- userfaultfd and PAGEMAP_SCAN --- */

static void add_open(struct plan *p, const char *kind, struct op op)
{
	op.len = VELLUM_UFFD_API;
	add(p, kind, op);
	add(p, "uffd_close", (struct op){ .object = 0 });
}

static void plan_uffd_api(struct plan *p)
{
	begin(p);
	each_pair(p, "uffd_open", (struct op){ .len = 0 }, TO, 0, 0, 20, add_open);
	each_bit(p, "uffd_open", (struct op){ .len = 0 }, TO, 0, 20, 64, add_open);
	add(p, "uffd_open", (struct op){ .flags = 2 });
	for (unsigned i = 0; i < 64; i++)
		add(p, "uffd_api", (struct op){ .len = 1ull << i });
	for (unsigned i = 0; i < 64; i++)
		add(p, "uffd_api", (struct op){ .len = 1ull << i | 0xaa, .to = 1ull << 40 });
	add(p, "uffd_register", (struct op){ .addr = AT(PRIVATE), .len = PAGE, .flags = 1 });
	add(p, "uffd_api", (struct op){ .len = VELLUM_UFFD_API });
	add(p, "uffd_api", (struct op){ .len = VELLUM_UFFD_API });
}

static const uint64_t all_features = VELLUM_UFFD_FEATURE_WP_UNPOPULATED | VELLUM_UFFD_FEATURE_SIGBUS |
	VELLUM_UFFD_FEATURE_PAGEFAULT_FLAG_WP | VELLUM_UFFD_FEATURE_WP_HUGETLBFS_SHMEM | VELLUM_UFFD_FEATURE_MOVE |
	VELLUM_UFFD_FEATURE_MISSING_SHMEM | VELLUM_UFFD_FEATURE_MINOR_SHMEM | VELLUM_UFFD_FEATURE_POISON;

static void open_context(struct plan *p, uint64_t features)
{
	begin(p);
	build(p);
	add(p, "uffd_open", (struct op){ .len = VELLUM_UFFD_API, .to = features });
}

static bool is_registered_file(unsigned place)
{
	return place == PRIVATE_FILE || place == DISK;
}

static void plan_uffd_calls(struct plan *p, uint64_t features)
{
	static const char *const fill[] = { "uffd_copy", "uffd_zeropage", "uffd_continue", "uffd_poison",
					    "uffd_writeprotect", "uffd_move" };

	for (unsigned i = 0; i < NR_PLACES; i++) {
		struct op op = { .addr = AT(places[i]), .len = PAGE, .val = 1 };

		if (is_registered_file(places[i]))
			continue;
		open_context(p, features);
		each_pair(p, "uffd_register", op, FLAGS, 0, 0, 8, add);
		each_bit(p, "uffd_register", op, FLAGS, 1, 8, 32, add);
		op.flags = 0;
		for (unsigned k = 0; k < 6; k++) {
			op.to = k == 5 ? AT(PRIVATE + 2) : 0;
			op.addr += k ? PAGE / 2 : 0;
			op.addr &= ~(PAGE - 1);
			each_pair(p, fill[k], op, FLAGS, 0, 0, 8, add);
			each_bit(p, fill[k], op, FLAGS, 0, 8, 32, add);
		}
		add(p, "uffd_unregister", op);
		add(p, "uffd_wake", op);
	}
}

static void plan_wrong_uffd(struct plan *p)
{
	static const char *const all[] = { "uffd_register", "uffd_copy", "uffd_zeropage", "uffd_continue",
					   "uffd_poison", "uffd_writeprotect", "uffd_move", "uffd_wake",
					   "uffd_unregister" };
	const struct choice choices[] = {
		{ ADDR, 6, { AT(PRIVATE + 3), AT(PRIVATE + 3) + 5, AT(NOWHERE), AT(SHARED), AT(READ_ONLY), ~0xfffull } },
		{ LEN, 7, { PAGE, 0, 1, 4 * PAGE, 8 * PAGE, ~0xfffull, 1ull << 63 } },
		{ FLAGS, 6, { 1, 0, 2, 3, 4, 1u << 31 } },
		{ TO, 4, { AT(PRIVATE), AT(PRIVATE) + 5, AT(NOWHERE), 0 } },
	};

	for (unsigned i = 0; i < 9; i++) {
		open_context(p, all_features);
		add(p, "uffd_register", (struct op){ .addr = AT(PRIVATE), .len = PAGES * PAGE, .flags = 3 });
		add(p, "uffd_register", (struct op){ .addr = AT(SHARED), .len = PAGES * PAGE, .flags = 7 });
		each_mistake(p, all[i], (struct op){ .val = 7 }, choices, 4, 0, 2, add);
	}
}

static void plan_scan(struct plan *p)
{
	struct op op = { .addr = FIRST, .len = SEEN * PAGE, .new_len = 64 };
	const struct choice choices[] = {
		{ ADDR, 4, { FIRST, FIRST + 5, HIGH, 0x7ffffffff000 } },
		{ LEN, 5, { SEEN * PAGE, 0, 1, ~0ull, 1ull << 47 } },
		{ FLAGS, 5, { 0, 1, 2, 3, 4 } },
		{ NEW_LEN, 4, { 64, 0, 1, 3 } },
		{ TO, 3, { 0, 1, 5 } },
		{ ACCESS, 2, { 0, 1 } },
		{ VAL, 4, { 0xfffull << 36, 0, SCAN_BAD_SIZE, SCAN_UNKNOWN } },
	};

	for (unsigned k = 0; k < 2; k++) {
		open_context(p, all_features | (k ? (uint64_t)VELLUM_UFFD_FEATURE_WP_ASYNC : 0));
		add(p, "uffd_register", (struct op){ .addr = AT(PRIVATE), .len = PAGES * PAGE, .flags = 2 });
		add(p, "uffd_writeprotect", (struct op){ .addr = AT(PRIVATE), .len = 3 * PAGE, .flags = 1 });
		add(p, "load", (struct op){ .addr = AT(STACK + 1) });
		add(p, "load", (struct op){ .addr = AT(PRIVATE_FILE + 1) });
		add(p, "madvise", (struct op){ .addr = AT(STACK + 2), .len = 2 * PAGE, .flags = 102 });
		add(p, "madvise", (struct op){ .addr = AT(PRIVATE + 2), .len = PAGE, .flags = 102 });
		op.flags = 0;
		for (unsigned mask = 0; mask < 3; mask++)
			for (unsigned i = 0; i < 12; i++)
				for (unsigned j = 0; j <= i; j++) {
					op.val = (1ull << i | 1ull << j) << 12 * mask | 0x1ffull << 36;
					add(p, "scan", op);
				}
		for (unsigned i = 0; i < 12; i++) {	/* not the category; in the result, only it */
			op.val = (1ull << i) << 12 | 1ull << i | 1ull << (i + 36);
			add(p, "scan", op);
		}
		op.val = 0x1ffull << 36;
		each_pair(p, "scan", op, FLAGS, 0, 0, 32, add);
		each_mistake(p, "scan", (struct op){ .len = 0 }, choices, 7, 0, 2, add);
	}
}

void plan_all(struct plan *p)
{
	*p = (struct plan){ .nr = 0 };
	plan_mmap(p);
	plan_future(p);
	plan_huge(p);
	plan_wrong_mmap(p);
	plan_mprotect(p);
	plan_mremap(p);
	plan_madvise(p);
	plan_locks(p);
	plan_seals(p);
	plan_uffd_api(p);
	plan_uffd_calls(p, all_features);
	plan_uffd_calls(p, 0);
	plan_uffd_calls(p, all_features | (uint64_t)VELLUM_UFFD_FEATURE_WP_ASYNC);
	plan_wrong_uffd(p);
	plan_scan(p);
}
