/* SPDX-License-Identifier: MIT */
/* tests/soak/snapshot_ops.c - random operations of the whole library, as a run makes them. */
#define _GNU_SOURCE
#include "tests/soak/snapshot.h"

#include <stdio.h>
#include <string.h>

#include "vellum/access.h"
#include "vellum/dirty.h"
#include "vellum/gup.h"
#include "vellum/mmu.h"
#include "vellum/pagemap.h"
#include "vellum/swap.h"
#include "vellum/uffd.h"

uint64_t any_addr(void)
{
	return zone_page((unsigned)below(NR_ZONES), below(ZONE_PAGES));
}

uint64_t any_len(void)
{
	return (1 + below(one_in(8) ? 200 : 12)) * PAGE;
}

#define TRACE(...) (w.trace ? (void)fprintf(stderr, __VA_ARGS__) : (void)0)
#define LL(x) ((unsigned long long)(x))

static void store_some(unsigned i)
{
	uint64_t addr = any_addr(), nr = 1 + below(16);

	TRACE("# mm%u store %#llx + %llu\n", i, LL(addr), LL(nr));
	for (; nr; nr--, addr += PAGE)
		vellum_soft_store64(w.cpu[i], addr + 8 * below(512), any64());
}

static void load_some(unsigned i)
{
	uint64_t addr = any_addr(), val;

	TRACE("# mm%u load %#llx\n", i, LL(addr));
	for (unsigned n = 0; n < 8; n++)
		vellum_soft_load64(w.cpu[i], addr + n * PAGE, &val);
}

static void copy_some(unsigned i)
{
	static char buf[5 * PAGE];
	uint64_t addr = any_addr() + below(PAGE), len = below(sizeof(buf));

	TRACE("# mm%u copy_to_user %#llx + %#llx\n", i, LL(addr), LL(len));
	memset(buf, (int)below(256), sizeof(buf));
	vellum_copy_to_user(w.mm[i], addr, buf, len, NULL);
}

static void map_some(unsigned i)
{
	struct vellum_map_args a = { .size = sizeof(a), .addr = any_addr(), .len = any_len(), .prot = RW, .file_prot = RW,
				     .flags = VELLUM_MAP_FIXED };
	uint64_t at;

	switch (below(6)) {
	case 0:
		a.flags |= VELLUM_MAP_SHARED;
		a.mapping = w.shared[below(NR_SHARED)];
		break;
	case 1:
		a.flags |= VELLUM_MAP_PRIVATE;
		a.mapping = w.shared[below(NR_SHARED)];
		break;
	case 2:
		a.flags |= VELLUM_MAP_PRIVATE;
		a.mapping = w.file;
		break;
	default:
		a.flags |= VELLUM_MAP_PRIVATE | VELLUM_MAP_ANONYMOUS;
		if (one_in(8))
			a.flags |= VELLUM_MAP_POPULATE;
		if (one_in(8))
			a.flags |= VELLUM_MAP_GROWSDOWN;
		break;
	}
	if (a.mapping)
		a.pgoff = below(32);
	if (one_in(8))
		a.prot = VELLUM_PROT_READ;
	TRACE("# mm%u mmap %#llx + %#llx flags %#x pgoff %llu\n", i, LL(a.addr), LL(a.len), a.flags, LL(a.pgoff));
	vellum_mmap(w.mm[i], &a, &at);
}

static void unmap_some(unsigned i)
{
	uint64_t addr = any_addr(), len = any_len();

	TRACE("# mm%u munmap %#llx + %#llx\n", i, LL(addr), LL(len));
	vellum_munmap(w.mm[i], addr, len);
}

static void protect_some(unsigned i)
{
	uint64_t addr = any_addr(), len = any_len();
	uint32_t prot = one_in(3) ? (uint32_t)below(8) : RW;

	TRACE("# mm%u mprotect %#llx + %#llx %u\n", i, LL(addr), LL(len), prot);
	vellum_mprotect(w.mm[i], addr, len, prot);
}

static void move_some(unsigned i)
{
	uint64_t from = any_addr(), len = any_len(), to = any_addr(), new_len = one_in(2) ? len : any_len(), at = to;
	uint32_t flags = (uint32_t)below(8);

	TRACE("# mm%u mremap %#llx + %#llx to %#llx + %#llx flags %u\n", i, LL(from), LL(len), LL(to), LL(new_len), flags);
	vellum_mremap(w.mm[i], from, len, new_len, flags, &at);
}

static void advise_some(unsigned i)
{
	static const int advice[] = {
		VELLUM_MADV_DONTNEED, VELLUM_MADV_FREE, VELLUM_MADV_PAGEOUT, VELLUM_MADV_COLD, VELLUM_MADV_HUGEPAGE,
		VELLUM_MADV_NOHUGEPAGE, VELLUM_MADV_COLLAPSE, VELLUM_MADV_DONTFORK, VELLUM_MADV_DOFORK,
		VELLUM_MADV_WIPEONFORK, VELLUM_MADV_KEEPONFORK, VELLUM_MADV_POPULATE_READ, VELLUM_MADV_POPULATE_WRITE,
		VELLUM_MADV_GUARD_INSTALL, VELLUM_MADV_GUARD_REMOVE, VELLUM_MADV_REMOVE, VELLUM_MADV_WILLNEED,
		VELLUM_MADV_DONTDUMP, VELLUM_MADV_RANDOM, VELLUM_MADV_SEQUENTIAL, VELLUM_MADV_NORMAL,
		VELLUM_MADV_DONTNEED_LOCKED, VELLUM_MADV_DONTNEED, VELLUM_MADV_PAGEOUT, VELLUM_MADV_FREE,
	};
	int what = advice[below(sizeof(advice) / sizeof(*advice))];
	uint64_t addr = any_addr(), len = any_len();

	if (what == VELLUM_MADV_COLLAPSE || what == VELLUM_MADV_HUGEPAGE)
		len = ZONE_PAGES * PAGE;
	TRACE("# mm%u madvise %#llx + %#llx %d\n", i, LL(addr), LL(len), what);
	vellum_madvise(w.mm[i], addr, len, what);
}

static void lock_some(unsigned i)
{
	uint64_t addr = any_addr(), len = any_len();
	unsigned what = (unsigned)below(8);

	TRACE("# mm%u lock %u %#llx + %#llx\n", i, what, LL(addr), LL(len));
	if (what < 3)
		vellum_mlock(w.mm[i], addr, len, what == 2 ? VELLUM_MLOCK_ONFAULT : 0);
	else if (what < 6)
		vellum_munlock(w.mm[i], addr, len);
	else if (what == 6 && one_in(4))
		vellum_mlockall(w.mm[i], VELLUM_MCL_FUTURE | VELLUM_MCL_ONFAULT);
	else
		vellum_munlockall(w.mm[i]);
}

static void change_break(unsigned i)
{
	uint64_t brk = zone_page(NR_ZONES, below(200));

	TRACE("# mm%u brk %#llx\n", i, LL(brk));
	vellum_brk(w.mm[i], brk);
	vellum_soft_store64(w.cpu[i], brk - PAGE * (1 + below(8)), any64());
	if (one_in(8))
		vellum_set_limits(w.mm[i], (1 + below(8)) << 22, (1 + below(8)) << 20);
}

/* --- processes --- */

static uint64_t hash_page(struct vellum_mm *mm, uint64_t addr)
{
	char buf[PAGE] = { 0 };
	int found = peek_page(mm, addr, buf);

	return found < 0 ? 0 : hash_bytes(1, buf, PAGE);
}

/* The first private page of the child from @addr on, or 0. */
static uint64_t private_page(struct vellum_mm *mm, uint64_t addr)
{
	struct vellum_vma_info vma = { .size = sizeof(vma) };

	for (; !vellum_vma_next(mm, addr, &vma); addr = vma.end)
		if (!vma.shared && !vma.mapping)
			return addr > vma.start ? addr : vma.start;
	return 0;
}

static void end_child(struct child *child)
{
	if (child->addr && hash_page(child->mm, child->addr) != child->hash)
		fail("a child's page at %#llx changed", LL(child->addr));
	vellum_mm_put(child->mm);
	child->mm = NULL;
}

void check_children(void)
{
	for (unsigned i = 0; i < MAX_CHILDREN; i++)
		if (w.children[i].mm && w.children[i].addr &&
		    hash_page(w.children[i].mm, w.children[i].addr) != w.children[i].hash)
			fail("a restore changed a child's page at %#llx", LL(w.children[i].addr));
}

void end_children(void)
{
	for (unsigned i = 0; i < MAX_CHILDREN; i++)
		if (w.children[i].mm)
			end_child(&w.children[i]);
}

static void fork_some(unsigned i)
{
	struct child *child = &w.children[below(MAX_CHILDREN)];

	TRACE("# mm%u fork, or the end of a child\n", i);
	if (child->mm) {
		end_child(child);
		return;
	}
	if (vellum_fork(w.mm[i], &child->mm)) {
		child->mm = NULL;
		return;
	}
	child->addr = private_page(child->mm, any_addr());
	vellum_soft_load_mm(vellum_soft_cpu(w.soft, NR_MMS), child->mm);
	if (child->addr)
		vellum_soft_store64(vellum_soft_cpu(w.soft, NR_MMS), child->addr, any64());
	vellum_soft_load_mm(vellum_soft_cpu(w.soft, NR_MMS), NULL);
	child->hash = child->addr ? hash_page(child->mm, child->addr) : 0;
}

/* --- userfaultfd --- */

static void register_some(unsigned i)
{
	uint64_t addr = any_addr(), len = any_len();
	bool missing = one_in(2);
	struct vellum_uffd *uffd = missing ? w.missing[i] : w.async[i];

	TRACE("# mm%u uffd %s %#llx + %#llx\n", i, missing ? "missing" : "async", LL(addr), LL(len));
	if (one_in(3))
		vellum_uffd_unregister(uffd, addr, len);
	else
		vellum_uffd_register(uffd, addr, len, missing ? VELLUM_UFFD_MISSING | VELLUM_UFFD_WP : VELLUM_UFFD_WP, NULL);
}

static void fill_some(unsigned i)
{
	static char buf[8 * PAGE];
	uint64_t addr = any_addr(), len = (1 + below(8)) * PAGE;
	struct vellum_uffd *uffd = one_in(2) ? w.missing[i] : w.async[i];
	int64_t done;

	memset(buf, (int)below(256), sizeof(buf));
	TRACE("# mm%u uffd fill %#llx + %#llx\n", i, LL(addr), LL(len));
	switch (below(6)) {
	case 0:
		vellum_uffd_copy(uffd, addr, 0, buf, len, one_in(2) ? VELLUM_UFFD_COPY_WP : 0, &done);
		break;
	case 1:
		vellum_uffd_zeropage(uffd, addr, len, 0, &done);
		break;
	case 2:
		vellum_uffd_move(uffd, addr, any_addr(), len, VELLUM_UFFD_MOVE_ALLOW_SRC_HOLES, &done);
		break;
	case 3:
		vellum_uffd_poison(uffd, addr, len, 0, &done);
		break;
	default:
		vellum_uffd_writeprotect(uffd, addr, len, one_in(3) ? 0 : VELLUM_UFFD_WRITEPROTECT_WP);
		break;
	}
}

/* --- swap, trackers, pins, shared memory --- */

static void reclaim_some(unsigned i)
{
	(void)i;
	TRACE("# reclaim\n");
	vellum_reclaim(w.memory, 1 + below(64));
}

static int ignore(void *arg, uint64_t first, uint64_t nr)
{
	(void)arg, (void)first, (void)nr;
	return 0;
}

static void track_some(unsigned i)
{
	static const enum vellum_track_method methods[] = { VELLUM_TRACK_WP, VELLUM_TRACK_CLEAN, VELLUM_TRACK_AUTO };

	TRACE("# mm%u tracker\n", i);
	if (!w.tracker) {
		vellum_track_mm(w.mm[i], zone_page(0, 0), zone_page(1, ZONE_PAGES), methods[below(3)], &w.tracker);
	} else if (one_in(4)) {
		vellum_tracker_destroy(w.tracker);
		w.tracker = NULL;
	} else {
		vellum_tracker_collect(w.tracker, 0, ~0ull, ignore, NULL);
	}
}

static void clear_some(unsigned i)
{
	static const int what[] = { VELLUM_CLEAR_REFS_SOFT_DIRTY, VELLUM_CLEAR_REFS_ALL };
	uint64_t bitmap[4] = { 0 }, start = 0, end = 0;

	TRACE("# mm%u clear_refs or a helper\n", i);
	if (one_in(2))
		vellum_clear_refs(w.mm[i], what[below(2)]);
	else if (one_in(2))
		vellum_wp_shared_mapping_range(w.shared[below(NR_SHARED)], 0, SHARED_PAGES, NULL);
	else
		vellum_clean_record_shared_mapping_range(w.shared[below(NR_SHARED)], 0, SHARED_PAGES, 0, bitmap, &start, &end,
							 NULL);
}

static void unpin(unsigned i)
{
	struct pin pin = w.pins[i];

	w.pins[i] = w.pins[--w.nr_pins];
	if (one_in(2))
		vellum_unpin_pages_dirty(w.memory, &pin.pfn, 1);
	else
		vellum_unpin_pages(w.memory, &pin.pfn, 1);
}

void release_pins(void)
{
	while (w.nr_pins)
		unpin(0);
}

/* Stores through pins leave no trace in entries. */
static void pin_some(unsigned i)
{
	struct pin pin = { .mm = i, .addr = any_addr() };
	uint64_t nr;

	TRACE("# mm%u pin %#llx\n", i, LL(pin.addr));
	if (w.nr_pins && one_in(3)) {
		unpin((unsigned)below(w.nr_pins));
	} else if (w.nr_pins < MAX_PINS &&
		   !vellum_pin_pages(w.mm[i], pin.addr, 1, VELLUM_GUP_WRITE, &pin.pfn, &nr) && nr == 1) {
		w.pins[w.nr_pins++] = pin;
	}
	for (unsigned n = 0; n < w.nr_pins; n++)
		if (one_in(2))
			*(uint64_t *)vellum_frame_host(w.memory, w.pins[n].pfn) = any64();
}

static void change_shared(unsigned i)
{
	struct vellum_mapping *mapping = w.shared[below(NR_SHARED)];
	uint64_t val = any64(), at = below(SHARED_PAGES) * PAGE + 8 * below(512);

	(void)i;
	TRACE("# shared memory\n");
	switch (below(6)) {
	case 0:
		vellum_mapping_set_size(mapping, below(SHARED_PAGES + 8) * PAGE + 8 * below(512));
		break;
	case 1:
		vellum_mapping_punch_hole(mapping, at, below(8) * PAGE);
		break;
	case 2:
		if (one_in(16))
			vellum_mapping_add_seals(mapping, 1u << below(5));
		break;
	default:
		vellum_mapping_write(mapping, at, &val, sizeof(val));
		break;
	}
}

void random_operation(void)
{
	static void (*const ops[])(unsigned) = {
		store_some, store_some, store_some, store_some, load_some, copy_some, map_some, unmap_some, protect_some,
		move_some, advise_some, advise_some, lock_some, change_break, fork_some, register_some, fill_some,
		reclaim_some, track_some, clear_some, pin_some, change_shared, more_operation, more_operation, more_operation,
	};

	ops[below(sizeof(ops) / sizeof(*ops))]((unsigned)below(NR_MMS));
}
