/* SPDX-License-Identifier: MIT */
/*
 * Entries that the core has not written (mm/table/exposed.h), of each kind, at each level, and each call that
 * finds them. Each case runs in a process of its own. This process must end in the host's forged() hook, before
 * the core accesses anything outside RAM.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "gup_support.h"
#include "mm/table/huge.h"
#include "vellum/access.h"
#include "vellum/gup.h"
#include "vellum/pagemap.h"
#include "vellum/swap.h"

#define FORGED_STATUS 125
#define SECONDS	      20

static void end_forged(void *host, uint64_t entry, const char *what)
{
	(void)host;
	fprintf(stderr, "# forged: %s (0x%llx)\n", what, (unsigned long long)entry);
	_exit(FORGED_STATUS);
}

struct exposed {
	struct world w;
	struct vellum_mmu_ops mmu;
	struct vellum_host_ops host;
};

static void exposed_create(struct exposed *x)
{
	world_create(&x->w, 16 << 20);
	x->mmu = *vellum_soft_mmu_ops();
	x->mmu.caps |= VELLUM_MMU_TABLES_EXPOSED;
	x->host = *test_host_ops();
	x->host.forged = end_forged;
	world_remake(&x->w, &x->mmu, &x->host);
}

/* --- forged entries --- */

static uint64_t *level_entry(struct vellum_mm *mm, unsigned shift)
{
	uint64_t *entry = &mm->pgd[table_index(PAGE(0), PGD_SHIFT)].val;

	for (unsigned at = PUD_SHIFT; at >= shift; at -= 9)
		entry = table_of(mm->memory, entry_load(entry)) + table_index(PAGE(0), at);
	return entry;
}

#define LEAF  (X86_PRESENT | X86_RW | X86_USER | X86_ACCESSED | X86_DIRTY | X86_NX | X86_SOFT_DIRTY)
#define LAST_RAM ((16ull << 20) >> PAGE_SHIFT)	/* the first frame above RAM */

struct forgery {
	const char *name;
	unsigned shift;		/* the level of the entry for PAGE(0) that is replaced */
	uint64_t value;		/* with @own_frame, a frame number is added */
	enum { FIXED, PGD_FRAME, PT_FRAME, FREE_FRAME } frame;
};

static const struct forgery forgeries[] = {
	{ "top level: beyond RAM", PGD_SHIFT, (LAST_RAM << PAGE_SHIFT) | X86_TABLE, FIXED },
	{ "top level: far beyond", PGD_SHIFT, X86_PFN_MASK | X86_TABLE, FIXED },
	{ "top level: a leaf", PGD_SHIFT, X86_TABLE | X86_PSE, FIXED },
	{ "top level: rubbish", PGD_SHIFT, 0x7000, FIXED },
	{ "1 GiB: beyond RAM", PUD_SHIFT, (LAST_RAM << PAGE_SHIFT) | X86_TABLE, FIXED },
	{ "1 GiB: a free frame", PUD_SHIFT, X86_TABLE, FREE_FRAME },
	{ "1 GiB: rubbish", PUD_SHIFT, 0x123000, FIXED },
	{ "1 GiB: a leaf of folios", PUD_SHIFT, LEAF | X86_PSE, FIXED },
	{ "2 MiB: beyond RAM", PMD_SHIFT, (LAST_RAM << PAGE_SHIFT) | X86_TABLE, FIXED },
	{ "2 MiB: reserved frame", PMD_SHIFT, X86_TABLE, FIXED },
	{ "2 MiB: rubbish", PMD_SHIFT, X86_NX | 0x1000, FIXED },
	{ "2 MiB: a leaf beyond RAM", PMD_SHIFT, (LAST_RAM << PAGE_SHIFT) | LEAF | X86_PSE, FIXED },
	{ "2 MiB: a leaf of free frames", PMD_SHIFT, (8ull << 20) | LEAF | X86_PSE, FIXED },
	{ "page: beyond RAM", PAGE_SHIFT, (LAST_RAM << PAGE_SHIFT) | LEAF, FIXED },
	{ "page: far beyond", PAGE_SHIFT, X86_PFN_MASK | LEAF, FIXED },
	{ "page: the top-level table", PAGE_SHIFT, LEAF, PGD_FRAME },
	{ "page: its own table", PAGE_SHIFT, LEAF, PT_FRAME },
	{ "page: a free frame", PAGE_SHIFT, LEAF, FREE_FRAME },
	{ "swap: no such area", PAGE_SHIFT, ((uint64_t)SWP_GENUINE_MAX << SWP_TYPE_SHIFT) | 0x2000, FIXED },
	{ "swap: no such slot", PAGE_SHIFT, 0x1000, FIXED },
	{ "swap: a slot that is not in use", PAGE_SHIFT,
	  ((~7ull & ((1ull << SWP_OFFSET_BITS) - 1)) << SWP_OFFSET_SHIFT), FIXED },
	{ "migration: beyond RAM", PAGE_SHIFT, ((uint64_t)SWP_MIGRATION_WRITE << SWP_TYPE_SHIFT) | 0x200, FIXED },
	{ "device-private: no such page", PAGE_SHIFT, ((uint64_t)SWP_DEVICE_WRITE << SWP_TYPE_SHIFT) | 0x400, FIXED },
	{ "device-exclusive: beyond RAM", PAGE_SHIFT, ((uint64_t)SWP_DEVICE_EXCL_WRITE << SWP_TYPE_SHIFT) | 0x400,
	  FIXED },
	{ "marker: of nothing", PAGE_SHIFT,
	  ((uint64_t)SWP_MARKER << SWP_TYPE_SHIFT) | ((1ull << SWP_OFFSET_BITS) - 1) << SWP_OFFSET_SHIFT, FIXED },
	{ "marker: unknown", PAGE_SHIFT, ((uint64_t)SWP_MARKER << SWP_TYPE_SHIFT), FIXED },
};

static void forge(struct world *w, const struct forgery *f)
{
	uint64_t value = f->value, *entry = level_entry(w->mm, f->shift);

	if (f->frame == PGD_FRAME)
		value |= w->mm->pgd_pfn << PAGE_SHIFT;
	else if (f->frame == PT_FRAME)
		value |= x86_table_pfn(entry_load(level_entry(w->mm, PMD_SHIFT))) << PAGE_SHIFT;
	else if (f->frame == FREE_FRAME)
		value |= (LAST_RAM - 1) << PAGE_SHIFT;
	entry_store(entry, value);
}

/* --- the calls that find a forged entry --- */

static void call_fault(struct world *w)
{
	vellum_handle_fault(w->mm, PAGE(0), VELLUM_FAULT_WRITE | VELLUM_FAULT_USER);
	vellum_handle_fault(w->mm, PAGE(0), VELLUM_FAULT_WRITE | VELLUM_FAULT_USER | VELLUM_FAULT_PRESENT);
}

static void call_read(struct world *w)
{
	char buf[64];

	vellum_copy_from_user(w->mm, buf, PAGE(0), sizeof(buf), NULL);
}

static void call_write(struct world *w)
{
	char buf[64] = "x";

	vellum_copy_to_user(w->mm, PAGE(0), buf, sizeof(buf), NULL);
}

static void call_munmap(struct world *w)
{
	vellum_munmap(w->mm, PAGE(0), 4 * PAGE_SIZE);
}

static void call_mprotect(struct world *w)
{
	vellum_mprotect(w->mm, PAGE(0), 4 * PAGE_SIZE, RO);
	vellum_munmap(w->mm, PAGE(0), 4 * PAGE_SIZE);
}

static void call_mremap(struct world *w)
{
	uint64_t to = PAGE(4096);

	vellum_mremap(w->mm, PAGE(0), 4 * PAGE_SIZE, 4 * PAGE_SIZE, VELLUM_MREMAP_MAYMOVE | VELLUM_MREMAP_FIXED, &to);
	vellum_munmap(w->mm, to, 4 * PAGE_SIZE);
}

static void call_fork(struct world *w)
{
	struct vellum_mm *child;

	if (vellum_fork(w->mm, &child) == 0)
		vellum_mm_put(child);
}

static void call_dontneed(struct world *w)
{
	vellum_madvise(w->mm, PAGE(0), 4 * PAGE_SIZE, VELLUM_MADV_DONTNEED);
}

static void call_pageout(struct world *w)
{
	vellum_madvise(w->mm, PAGE(0), 4 * PAGE_SIZE, VELLUM_MADV_PAGEOUT);
	vellum_munmap(w->mm, PAGE(0), 4 * PAGE_SIZE);
}

static void call_pin(struct world *w)
{
	uint64_t pfn, got;

	vellum_pin_pages(w->mm, PAGE(0), 1, VELLUM_GUP_WRITE, &pfn, &got);
}

static void call_pagemap(struct world *w)
{
	uint64_t word[4];

	vellum_pagemap_read(w->mm, PAGE(0), 4, VELLUM_PAGEMAP_PFNS, word);
	vellum_munmap(w->mm, PAGE(0), 4 * PAGE_SIZE);
}

static void call_collect(struct world *w)
{
	struct vellum_tracker *t;

	if (vellum_track_mm(w->mm, 0, VELLUM_TASK_SIZE, VELLUM_TRACK_CLEAN, &t))
		return;
	collect(t, PAGE(0) >> PAGE_SHIFT);
	vellum_tracker_destroy(t);
	vellum_munmap(w->mm, PAGE(0), 4 * PAGE_SIZE);
}

static void call_exit(struct world *w)
{
	vellum_mm_put(w->mm);
}

static const struct {
	const char *name;
	void (*call)(struct world *w);
} calls[] = {
	{ "fault", call_fault }, { "copy from", call_read }, { "copy to", call_write }, { "munmap", call_munmap },
	{ "mprotect", call_mprotect }, { "mremap", call_mremap }, { "fork", call_fork }, { "DONTNEED", call_dontneed },
	{ "PAGEOUT", call_pageout }, { "pin", call_pin }, { "pagemap", call_pagemap }, { "collect", call_collect },
	{ "exit", call_exit },
};

/* Run one case in a process of its own. */
static void run_case(const struct forgery *f, void (*call)(struct world *w))
{
	static struct exposed x;

	exposed_create(&x);
	map_at(x.w.mm, 0, 4, RW, ANON);
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(vellum_copy_to_user(x.w.mm, PAGE(i), "data", 4, NULL), 0);
	forge(&x.w, f);
	alarm(SECONDS);
	call(&x.w);
	_exit(0);
}

static void forged_entries_end_in_the_hook(void **state)
{
	unsigned failures = 0;

	(void)state;
	for (size_t i = 0; i < sizeof(forgeries) / sizeof(forgeries[0]); i++)
		for (size_t j = 0; j < sizeof(calls) / sizeof(calls[0]); j++) {
			pid_t pid = fork();
			int status;

			if (pid == 0)
				run_case(&forgeries[i], calls[j].call);
			assert_int_equal(waitpid(pid, &status, 0), pid);
			if (WIFEXITED(status) && WEXITSTATUS(status) == FORGED_STATUS)
				continue;
			print_error("%s, found by %s: status 0x%x\n", forgeries[i].name, calls[j].name, status);
			failures++;
		}
	assert_int_equal(failures, 0);
}

/* If the machine does not expose tables, the core checks nothing and needs no forged() hook. */
static void tables_are_checked_if_the_machine_exposes_them(void **state)
{
	struct world w;

	(void)state;
	world_create(&w, 16 << 20);
	assert_false(w.memory->exposed);
	world_destroy(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(forged_entries_end_in_the_hook),
		cmocka_unit_test(tables_are_checked_if_the_machine_exposes_them),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
