/* SPDX-License-Identifier: MIT */
/* tests/diff/vellum.c - Vellum's side: memory, one CPU for each process, and views. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/mman.h>

#include "tests/diff/reader.h"

#define RAM (8ull << 20)

static void must(bool ok)
{
	if (!ok)
		abort();
}

static void map_anchors(struct world *w)
{
	struct vellum_map_args args = { .size = sizeof(args), .len = PAGE, .prot = 3,
					.flags = VELLUM_MAP_PRIVATE | VELLUM_MAP_ANONYMOUS | VELLUM_MAP_FIXED };
	uint64_t addr;

	for (unsigned i = 0; i < 2; i++) {
		args.addr = ANCHOR(i);
		must(vellum_mmap(w->mm[0], &args, &addr) == 0 &&
		     vellum_soft_store64(w->cpu[0], addr, 1) == VELLUM_FAULT_OK);
	}
}

void world_open(struct world *w)
{
	struct vellum_memory_args args = { .size = sizeof(args), .host = test_host_ops(), .host_ctx = &w->host,
					   .mmu = vellum_soft_mmu_ops(), .ram_size = RAM };

	memset(w, 0, sizeof(*w));
	w->ram = mmap(NULL, RAM, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	must(w->ram != MAP_FAILED && vellum_soft_create(MAX_PROCS, &w->soft) == 0);
	args.ram = w->ram;
	args.machine = w->soft;
	must(vellum_memory_create(&args, &w->memory) == 0 && vellum_mm_create(w->memory, &w->mm[0]) == 0);
	for (unsigned i = 0; i < MAX_PROCS; i++) {
		w->cpu[i] = vellum_soft_cpu(w->soft, i);
		w->reader[i] = malloc(sizeof(*w->reader[i]));
		reader_init(w->reader[i], &vellum_side, w, i);
	}
	vellum_soft_load_mm(w->cpu[0], w->mm[0]);
	map_anchors(w);
	for (unsigned i = 0; i < NR_OBJECTS; i++)
		must(vellum_mapping_create(w->memory, i == FILE_OBJECT ? &disk_ops : NULL, NULL, OBJECT_PAGES,
					   i == FILE_OBJECT ? VELLUM_MAPPING_WRITEBACK : 0, &w->object[i]) == 0);
	disk_cut(0);
}

const char *world_close(struct world *w)
{
	struct vellum_memory_info info = { .size = sizeof(info) };
	const char *wrong = NULL;

	for (unsigned i = 0; i < MAX_PROCS; i++) {
		reader_stop(w->reader[i]);
		free(w->reader[i]);
		vellum_soft_load_mm(w->cpu[i], NULL);
		vellum_mm_put(w->mm[i]);
	}
	for (unsigned i = 0; i < NR_OBJECTS; i++)
		vellum_mapping_put(w->object[i]);
	vellum_memory_info(w->memory, &info);
	if (info.nr_free != info.nr_frames - 2)		/* the reserved page and the zero page */
		wrong = "frames were not given back";
	if (vellum_memory_destroy(w->memory))
		return "objects live on in the memory";
	vellum_soft_destroy(w->soft);
	munmap(w->ram, RAM);
	if (w->host.live || w->host.live_bytes)
		wrong = "allocations were not given back";
	return w->host.bugs ? w->host.last_bug : wrong;
}

void set_fault(struct result *r, enum vellum_fault_result fault)
{
	static const struct {
		int sig, code;
	} signal_of[] = {
		[VELLUM_FAULT_OK] = { 0, 0 },
		[VELLUM_FAULT_SIGSEGV_MAPERR] = { 11, 1 },
		[VELLUM_FAULT_SIGSEGV_ACCERR] = { 11, 2 },
		[VELLUM_FAULT_SIGBUS] = { 7, 2 },
		[VELLUM_FAULT_OOM] = { 9, 0 },
		[VELLUM_FAULT_HWPOISON] = { 7, 2 },	/* as on kernels without memory failure handling: BUS_ADRERR */
	};

	r->sig = signal_of[fault].sig;
	r->code = signal_of[fault].code;
}

static uint64_t object_number(const struct world *w, const struct vellum_mapping *mapping,
			      const struct vellum_mapping **others, uint64_t *nr)
{
	uint64_t i;

	if (!mapping)
		return 0;
	for (i = 0; i < NR_OBJECTS; i++)
		if (w->object[i] == mapping)
			return i + 1;
	for (i = 0; i < *nr && others[i] != mapping; i++)
		;
	if (i == *nr)
		others[(*nr)++] = mapping;
	return NR_OBJECTS + 1 + i;
}

static void look_at_page(struct world *w, unsigned proc, unsigned i, struct view *view)
{
	char page[PAGE];
	uint64_t val;
	struct result r;

	set_fault(&r, vellum_soft_load64(w->cpu[proc], FIRST + i * PAGE, &val));
	view->look[i].sig = r.sig;
	view->look[i].code = r.code;
	if (!r.sig && vellum_copy_from_user(w->mm[proc], page, FIRST + i * PAGE, PAGE, NULL) == 0)
		view->look[i].hash = hash_bytes(page, PAGE);
}

static void read_pagemap(struct world *w, unsigned proc, uint64_t *word)
{
	must(vellum_pagemap_read(w->mm[proc], FIRST, SEEN, 0, word) == 0);
	for (unsigned i = 0; i < SEEN; i++)
		word[i] &= WORD_BITS;
}

static bool may_protect(struct world *w, unsigned proc, uint64_t addr)
{
	struct vellum_vma_info info = { .size = sizeof(info) };
	struct vellum_vma_usage usage = { .size = sizeof(usage) };

	must(vellum_vma_usage(w->mm[proc], addr, &info, &usage) == 0);
	return strstr(usage.vm_flags, "uw ");
}

void world_view(struct world *w, unsigned proc, bool look, struct view *view)
{
	const struct vellum_mapping *others[MAX_VMAS];
	uint64_t nr_others = 0;
	struct vellum_vma_info info = { .size = sizeof(info) };

	memset(view, 0, sizeof(*view));
	memset(view->core, 0xff, sizeof(view->core));
	view->looked = look;
	for (uint64_t at = LOW; vellum_vma_next(w->mm[proc], at, &info) == 0 && info.start < HIGH; at = info.end) {
		must(view->nr < MAX_VMAS);
		struct sight *s = &view->vma[view->nr++];

		*s = (struct sight){ .start = info.start, .end = info.end, .prot = info.prot,
				     .shared = info.shared != 0, .pgoff = info.mapping ? info.pgoff : 0,
				     .object = object_number(w, info.mapping, others, &nr_others) };
		const bool wp = may_protect(w, proc, info.start);

		for (unsigned i = 0; i < SEEN; i++) {
			uint64_t page = FIRST + i * PAGE;

			if (page < s->start || page >= s->end)
				continue;
			view->uffd_wp[i] = wp;
			must(vellum_mincore(w->mm[proc], page, PAGE, &view->core[i]) == 0);
		}
	}
	read_pagemap(w, proc, view->word);
	/* After all of mincore: a load may fault in pages that other VMAs map too. */
	for (unsigned i = 0; look && i < SEEN; i++)
		if (view->core[i] != 0xff)
			look_at_page(w, proc, i, view);
	read_pagemap(w, proc, view->left);
	reader_tell(w->reader[proc], view);
	for (unsigned i = 0; i < NR_OBJECTS; i++) {
		view->object[i].size = vellum_mapping_size(w->object[i]);
		view->object[i].seals = vellum_mapping_seals(w->object[i]);
	}
}
