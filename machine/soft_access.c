/* SPDX-License-Identifier: MIT */
/*
 * machine/soft_access.c - the software MMU: accesses that the inline path does not serve.
 *
 * INV-SOFT-3: an access reads or stores no byte before all its pages are translated, and the translations remain
 *             valid until its last byte is read or stored.
 */
#include "machine/soft_cpu.h"

#include <string.h>

#include "arch/x86/entry.h"

/* The part of an access that lies in one page. */
struct part {
	uint64_t addr;
	unsigned size;
	char *host;		/* the page of the first byte */
};

struct access {
	struct vellum_soft_cpu *cpu;
	enum vellum_soft_access kind;
	vellum_soft_fn fn;
	void *arg;
	bool whole;		/* @fn is called on the bytes in memory; else on a copy */
	bool locked;		/* other CPUs must not access memory meanwhile */
	unsigned nr_parts;
	struct part part[2];
};

static bool stores(enum vellum_soft_access kind)
{
	return kind == VELLUM_SOFT_STORE || kind == VELLUM_SOFT_SHSTK_STORE;
}

/* @size is at most a page. */
static struct access access_of(struct vellum_soft_cpu *cpu, uint64_t addr, unsigned size,
			       enum vellum_soft_access kind)
{
	unsigned room = (unsigned)(PAGE_SIZE - (addr & ~PAGE_MASK)), first = size < room ? size : room;

	return (struct access){ .cpu = cpu, .kind = kind, .nr_parts = size > first ? 2 : 1,
				.part = { { addr, first, NULL }, { addr + first, size - first, NULL } } };
}

/* --- bytes of an access that is not aligned --- */

/*
 * A piece of 1, 2, 4 or 8 bytes at any address is accessed by one instruction, as on CPUs. C's atomics need alignment,
 * so these accesses are plain for the compiler. A data race here is one of the simulated program, and intended.
 */
typedef uint16_t __attribute__((aligned(1), may_alias)) any16;
typedef uint32_t __attribute__((aligned(1), may_alias)) any32;
typedef uint64_t __attribute__((aligned(1), may_alias)) any64;
typedef uint8_t any8;

#ifdef VELLUM_EXPLORE
#define PIECE_GET(bits, host) ((any##bits)vellum_explore_load(host, bits / 8))
#define PIECE_PUT(bits, host, val) vellum_explore_store(host, val, bits / 8)
#else
#define PIECE_GET(bits, host) (*(const volatile any##bits *)(host))
#define PIECE_PUT(bits, host, val) (*(volatile any##bits *)(host) = (val))
#endif
#define RACY __attribute__((no_sanitize("thread")))

struct bytes {
	char *at;
	unsigned size;
};

static unsigned largest_piece(unsigned left)
{
	return left >= 8 ? 8 : left >= 4 ? 4 : left >= 2 ? 2 : 1;
}

RACY static void get_piece(char *to, const char *host, unsigned size)
{
	switch (size) {
#define CASE(bits) case bits / 8: { any##bits v = PIECE_GET(bits, host); memcpy(to, &v, sizeof(v)); break; }
	VELLUM_SOFT_SIZES(CASE)
#undef CASE
	}
}

RACY static void put_piece(char *host, const char *from, unsigned size)
{
	switch (size) {
#define CASE(bits) case bits / 8: { any##bits v; memcpy(&v, from, sizeof(v)); PIECE_PUT(bits, host, v); break; }
	VELLUM_SOFT_SIZES(CASE)
#undef CASE
	}
}

static void get_bytes(char *host, void *arg)
{
	const struct bytes *b = arg;

	for (unsigned at = 0, piece; at < b->size; at += piece) {
		piece = largest_piece(b->size - at);
		sched_point(SCHED_MEMORY, host);
		get_piece(b->at + at, host + at, piece);
	}
}

static void put_bytes(char *host, void *arg)
{
	const struct bytes *b = arg;

	for (unsigned at = 0, piece; at < b->size; at += piece) {
		piece = largest_piece(b->size - at);
		sched_point(SCHED_MEMORY, host);
		put_piece(host + at, b->at + at, piece);
	}
}

/* --- one access --- */

static void on_part(const struct access *a, const struct part *part, bool write, vellum_soft_fn fn, void *arg)
{
	struct hostile *h = a->cpu->soft->hostile;

	if (unlikely(hostile_is(h, VELLUM_SOFT_VCACHE)))
		hostile_access(h, a->cpu, part->addr, part->host, write, fn, arg);
	else
		fn(part->host + (part->addr & ~PAGE_MASK), arg);
}

/* Every part is translated. */
static void do_access(const struct access *a)
{
	const bool write = stores(a->kind);
	_Alignas(16) char copy[SOFT_MAX_ACCESS] = { 0 };
	struct bytes second = { copy + a->part[0].size, a->part[1].size };
	struct bytes first = { copy, a->part[0].size };

	if (a->whole) {
		on_part(a, &a->part[0], write, a->fn, a->arg);
		return;
	}
	on_part(a, &a->part[0], false, get_bytes, &first);
	if (a->nr_parts == 2)
		on_part(a, &a->part[1], false, get_bytes, &second);
	a->fn(copy, a->arg);
	sched_locked();		/* the explorer's store buffers must not outlive @copy */
	if (!write)
		return;
	on_part(a, &a->part[0], true, put_bytes, &first);
	if (a->nr_parts == 2)
		on_part(a, &a->part[1], true, put_bytes, &second);
}

/* The part that has no translation, or NULL. */
static const struct part *translate_parts(struct access *a, uint32_t *error)
{
	for (unsigned i = 0; i < a->nr_parts; i++) {
		const struct vellum_soft_tlbe *e = NULL;

		if (a->part[i].addr < TASK_SIZE)
			e = soft_translate(a->cpu, a->part[i].addr, a->kind, error);
		if (!e)
			return &a->part[i];
		a->part[i].host = e->host;
	}
	return NULL;
}

static void hold_others(struct vellum_soft_cpu *cpu)
{
	struct vellum_soft *soft = cpu->soft;

	soft_lock(&soft->bus_lock);
	for (unsigned i = 0; i < soft->nr_cpus; i++)
		if (i != cpu->id)
			soft_hold(&soft->cpus[i]);
}

static void release_others(struct vellum_soft_cpu *cpu)
{
	struct vellum_soft *soft = cpu->soft;

	sched_locked();
	for (unsigned i = 0; i < soft->nr_cpus; i++)
		if (i != cpu->id)
			soft_release(&soft->cpus[i]);
	pthread_mutex_unlock(&soft->bus_lock);
}

/* Do the access if all parts have a translation. Return: the part that has none, or NULL. */
static const struct part *try_access(struct access *a, uint32_t *error)
{
	const struct part *missing;

	if (unlikely(a->locked))
		hold_others(a->cpu);
	soft_enter(a->cpu);
	missing = translate_parts(a, error);
	if (!missing)
		do_access(a);
	vellum_soft_leave(a->cpu);
	if (unlikely(a->locked))
		release_others(a->cpu);
	return missing;
}

static enum vellum_fault_result fault(const struct access *a, uint64_t addr, uint32_t error)
{
	if (!a->cpu->mm || addr >= TASK_SIZE)
		return VELLUM_FAULT_SIGSEGV_MAPERR;
	return error ? vellum_handle_fault(a->cpu->mm, addr, error) : VELLUM_FAULT_SIGBUS;
}

/* With RAM for one page only, an access to two pages would fault forever: each fault swaps out the other page. */
#define MAX_FAULTS 10000

static enum vellum_fault_result run_access(struct access *a)
{
	enum vellum_fault_result result = VELLUM_FAULT_OK;

	for (unsigned nr = 0; result == VELLUM_FAULT_OK; nr++) {
		uint32_t error = 0;
		const struct part *missing = a->cpu->mm ? try_access(a, &error) : &a->part[0];

		if (!missing)
			break;
		a->cpu->fault_addr = missing->addr;
		result = nr < MAX_FAULTS ? fault(a, missing->addr, error) : VELLUM_FAULT_OOM;
	}
	return result;
}

enum vellum_fault_result soft_access(struct vellum_soft_cpu *cpu, uint64_t addr, unsigned size,
				     enum vellum_soft_access kind, vellum_soft_fn fn, void *arg, enum soft_lock_kind lock)
{
	struct access a = access_of(cpu, addr, size, kind);

	a.fn = fn;
	a.arg = arg;
	a.whole = !(addr & (size - 1));
	a.locked = lock == SOFT_LOCK_ALWAYS || (lock == SOFT_LOCK_SPLIT && !a.whole);
	return run_access(&a);
}

EXPORT enum vellum_fault_result vellum_soft_access_slow(struct vellum_soft_cpu *cpu, uint64_t addr,
							unsigned size, enum vellum_soft_access kind,
							vellum_soft_fn fn, void *arg)
{
	return soft_access(cpu, addr, size, kind, fn, arg, SOFT_LOCK_NEVER);
}

EXPORT enum vellum_fault_result vellum_soft_batch_slow(struct vellum_soft_cpu *cpu, uint64_t addr, unsigned size,
						       enum vellum_soft_access kind, vellum_soft_fn fn, void *arg)
{
	enum vellum_fault_result result;

	vellum_soft_leave(cpu);
	result = vellum_soft_access_slow(cpu, addr, size, kind, fn, arg);
	soft_enter(cpu);
	return result;
}

EXPORT uint64_t vellum_soft_fault_addr(const struct vellum_soft_cpu *cpu)
{
	return cpu->fault_addr;
}

/* --- the kinds that have no inline path --- */

struct fetch {
	void *buf;
	size_t len;
};

static void do_fetch(char *host, void *arg)
{
	const struct fetch *f = arg;

	sched_point(SCHED_MEMORY, host);
	memcpy(f->buf, host, f->len);
}

/* Page by page: CPUs may read instructions ahead, and a read changes nothing. */
EXPORT enum vellum_fault_result vellum_soft_fetch(struct vellum_soft_cpu *cpu, uint64_t addr,
						  void *buf, size_t len)
{
	enum vellum_fault_result result;
	size_t done = 0;

	do {
		size_t room = PAGE_SIZE - ((addr + done) & ~PAGE_MASK);
		struct fetch f = { (char *)buf + done, len - done < room ? len - done : room };
		struct access a = access_of(cpu, addr + done, (unsigned)f.len, VELLUM_SOFT_FETCH);

		a.fn = do_fetch;
		a.arg = &f;
		a.whole = true;
		result = run_access(&a);
		done += f.len;
	} while (result == VELLUM_FAULT_OK && done < len);
	return result;
}

EXPORT enum vellum_fault_result vellum_soft_shstk_load64(struct vellum_soft_cpu *cpu, uint64_t addr,
							 uint64_t *val)
{
	return vellum_soft_access_slow(cpu, addr, 8, VELLUM_SOFT_SHSTK_LOAD, vellum_soft_do_load64, val);
}

EXPORT enum vellum_fault_result vellum_soft_shstk_store64(struct vellum_soft_cpu *cpu, uint64_t addr,
							  uint64_t val)
{
	return vellum_soft_access_slow(cpu, addr, 8, VELLUM_SOFT_SHSTK_STORE, vellum_soft_do_store64, &val);
}
