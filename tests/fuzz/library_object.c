/* SPDX-License-Identifier: MIT */
/* tests/fuzz/library_object.c - calls on mappings and their hooks, the helpers, trackers, notifiers. */
#include "tests/fuzz/library.h"

typedef unsigned long long ull;

/* --- hooks that sometimes refuse --- */

static int any_answer(int usual)
{
	static const int answers[] = { VELLUM_VMF_OOM, VELLUM_VMF_SIGBUS, VELLUM_VMF_NOPAGE, VELLUM_VMF_FALLBACK,
				       VELLUM_VMF_LOCKED, 77, -1 };

	return one_in(12) ? answers[below(sizeof(answers) / sizeof(*answers))] : usual;
}

static int any_error(void)
{
	static const int errors[] = { -VELLUM_EIO, -VELLUM_ENOSPC, -VELLUM_ENOMEM };

	return one_in(10) ? errors[below(3)] : 0;
}

static int hook_fill(void *ctx, struct vellum_vmf *vmf)
{
	(void)ctx;
	if (vmf->page)
		memset(vmf->page, (int)vmf->pgoff, one_in(2) ? PAGE : 8);
	return any_answer(VELLUM_VMF_OK);
}

static int hook_raw(void *ctx, struct vellum_vmf *vmf)
{
	(void)ctx;
	vmf->pfn = RAW_PFN + vmf->pgoff % RAW_PAGES;
	return any_answer(VELLUM_VMF_OK);
}

static int hook_huge(void *ctx, struct vellum_vmf *vmf)
{
	(void)ctx;
	if (vmf->order != 9 || one_in(4))
		return VELLUM_VMF_FALLBACK;
	vmf->pfn = RAW_PFN + (vmf->pgoff & ~511ull) % RAW_PAGES;
	return any_answer(VELLUM_VMF_OK);
}

static int hook_mixed(void *ctx, struct vellum_vmf *vmf)
{
	if (vmf->pgoff / 4 % 2)
		return VELLUM_VMF_FALLBACK;
	return hook_raw(ctx, vmf);
}

static int hook_allow(void *ctx, struct vellum_vmf *vmf)
{
	(void)ctx, (void)vmf;
	return any_answer(one_in(2) ? VELLUM_VMF_OK : VELLUM_VMF_LOCKED);
}

static void hook_dirt(void *ctx, uint64_t pgoff)
{
	(void)ctx, (void)pgoff;
}

static int hook_write(void *ctx, uint64_t pgoff, const void *page, uint32_t len)
{
	(void)ctx, (void)pgoff;
	if (!len || len > PAGE)
		wrong("writepage() is told of %u bytes", len);
	memcpy(f.buffer, page, len);
	return any_error();
}

static int hook_sync(void *ctx)
{
	(void)ctx;
	return any_error();
}

static int hook_punch(void *ctx, uint64_t offset, uint64_t len)
{
	(void)ctx, (void)offset, (void)len;
	return any_error();
}

static const struct vellum_backing_ops cache_ops = {
	.size = sizeof(cache_ops), .fault = hook_fill, .page_mkwrite = hook_allow, .writepage = hook_write,
	.sync = hook_sync, .punch = hook_punch, .dirt = hook_dirt };
static const struct vellum_backing_ops file_ops = {
	.size = sizeof(file_ops), .fault = hook_fill, .writepage = hook_write };
static const struct vellum_backing_ops raw_ops = {
	.size = sizeof(raw_ops), .fault = hook_raw, .dirt = hook_dirt };
static const struct vellum_backing_ops huge_ops = {
	.size = sizeof(huge_ops), .fault = hook_raw, .pfn_mkwrite = hook_allow, .dirt = hook_dirt,
	.huge_fault = hook_huge };
static const struct vellum_backing_ops mixed_ops = {
	.size = sizeof(mixed_ops), .fault = hook_fill, .pfn_fault = hook_mixed, .page_mkwrite = hook_allow,
	.pfn_mkwrite = hook_allow };

/* --- creation and release --- */

static int create_kind(struct vellum_mapping **out)
{
	const uint64_t pages = one_in(30) ? any64() : 1 + below(MANY);
	const uint32_t odd = one_in(8) ? any_flags(0x7f) : 0;

	switch (below(8)) {
	case 0:
		return vellum_mapping_create(f.memory, &cache_ops, NULL, pages, VELLUM_MAPPING_WRITEBACK | odd, out);
	case 1:
		return vellum_mapping_create(f.memory, &file_ops, NULL, pages, VELLUM_MAPPING_WRITEBACK | odd, out);
	case 2:
		return vellum_mapping_create(f.memory, &raw_ops, NULL, pages, VELLUM_MAPPING_PFN | odd, out);
	case 3:
		return vellum_mapping_create(f.memory, &huge_ops, NULL, pages, VELLUM_MAPPING_PFN | odd, out);
	case 4:
		return vellum_mapping_create(f.memory, &mixed_ops, NULL, pages, VELLUM_MAPPING_MIXED | odd, out);
	default:
		return vellum_mapping_create(f.memory, NULL, NULL, pages, odd & VELLUM_MAPPING_READ_FIRST, out);
	}
}

static void op_object_life(void)
{
	unsigned i = (unsigned)below(NR_OBJECTS);

	calling("the object %u comes or goes", i);
	if (!f.object[i]) {
		result(create_kind(&f.object[i]));
		return;
	}
	vellum_mapping_get(f.object[i]);
	vellum_mapping_put(f.object[i]);
	if (one_in(4)) {
		vellum_mapping_put(f.object[i]);
		f.object[i] = NULL;
	}
}

/* --- bytes --- */

static uint64_t any_offset(const struct vellum_mapping *o)
{
	uint64_t size = vellum_mapping_size(o);

	return one_in(20) || !size ? any_index() * PAGE + below(PAGE) : below(size);
}

static void op_object_bytes(void)
{
	struct vellum_mapping *o = any_object();
	uint64_t offset, len = one_in(4) ? below(BUFFER + 1) : below(3 * PAGE);

	if (!o)
		return;
	offset = any_offset(o);
	calling("bytes of an object %#llx+%#llx", (ull)offset, (ull)len);
	switch (below(5)) {
	case 0:
		result(vellum_mapping_read(o, offset, f.buffer, len));
		return;
	case 1:
		result(vellum_mapping_write(o, offset, f.buffer, len));
		return;
	case 2:
		vellum_mapping_update(o, offset, one_in(2) ? NULL : f.buffer, len);
		return;
	case 3:
		vellum_mapping_overlay(o, offset, f.buffer, len);
		return;
	default:
		result(vellum_mapping_punch_hole(o, offset, one_in(20) ? any64() : len * (1 + below(40))));
	}
}

static void op_object_size(void)
{
	struct vellum_mapping *o = any_object();
	uint64_t size = one_in(30) ? any64() >> below(64) : below(MANY * PAGE);

	if (!o)
		return;
	calling("set_size %#llx", (ull)size);
	result(vellum_mapping_set_size(o, one_in(3) ? size & ~(PAGE - 1ull) : size));
}

static void op_object_sync(void)
{
	struct vellum_mapping *o = any_object();
	struct vellum_mapping_info info = { .size = sizeof(info) };
	uint64_t first = any_index(), nr = any_index(), written;

	if (!o)
		return;
	calling("writeback %#llx+%#llx", (ull)first, (ull)nr);
	switch (below(7)) {
	case 0:
		result(vellum_mapping_writeback(o, first, nr, one_in(2) ? &written : NULL));
		return;
	case 1:
		result(vellum_mapping_writeback_unmapped(o));
		return;
	case 2:
		result(vellum_mapping_sync(o, first, nr));
		return;
	case 3:
		vellum_mapping_invalidate(o);
		return;
	case 4:
		vellum_writeback_step(f.memory, below(64));
		return;
	case 5:
		vellum_reclaim(f.memory, one_in(10) ? any64() : below(200));
		return;
	default:
		vellum_mapping_info(o, &info);
		if (info.nr_writable > info.nr_mapped || info.nr_mapped > info.nr_refs)
			wrong("the counts of an object do not fit");
	}
}

/* A seal cannot be removed. So this is rare, and for mappings that are released again. */
static void op_object_seal(void)
{
	struct vellum_mapping *o = any_object();

	if (!o)
		return;
	calling("add_seals");
	result(vellum_mapping_add_seals(o, one_in(2) ? any_flags(0x1f) : 0));
	vellum_mapping_seals(o);
}

static void op_raw(void)
{
	struct vellum_mm *mm = any_mm();
	uint64_t addr = any_addr(mm), pfn = RAW_PFN + below(RAW_PAGES), len = any_len();
	struct vellum_mapping *o = any_object();

	if (one_in(2))
		pfn &= ~511ull;
	if (one_in(30))
		pfn = any64();
	calling("remap_pfn_range %#llx+%#llx pfn %#llx", (ull)addr, (ull)len, (ull)pfn);
	/* Map only frames that have memory behind them, as programs may access them. */
	if (pfn >= RAW_PFN && pfn < RAW_PFN + RAW_PAGES && len / PAGE > RAW_PFN + RAW_PAGES - pfn && len < 1ull << 40)
		len = (RAW_PFN + RAW_PAGES - pfn) * PAGE;
	if (one_in(2))
		result(vellum_remap_pfn_range(mm, addr, pfn, len));
	else if (o)
		vellum_unmap_mapping_range(o, any_index(), 1 + below(one_in(10) ? ~0ull : 600));
}

/* --- helpers and trackers --- */

static void op_helper(void)
{
	struct vellum_mapping *o = any_object();
	uint64_t first = any_index(), nr = few_pages(), base, start = below(100), end = below(100), count;

	if (!o)
		return;
	base = one_in(3) ? first : 0;
	calling("a helper %#llx+%#llx", (ull)first, (ull)nr);
	if (one_in(2)) {
		result(vellum_wp_shared_mapping_range(o, first, one_in(20) ? any64() : nr, one_in(2) ? &count : NULL));
		return;
	}
	/* Only if the bitmap has room for all bits that the call may set. */
	if (first + nr - base > MANY || first + nr < first)
		return;
	result(vellum_clean_record_shared_mapping_range(o, first, nr, base, f.words, &start, &end,
							 one_in(2) ? &count : NULL));
}

static int look_at_run(void *arg, uint64_t first, uint64_t nr)
{
	if (!nr || first + nr < first)
		wrong("a collection has the run %llu+%llu", (ull)first, (ull)nr);
	return --*(int *)arg == 0 ? -VELLUM_EINTR : 0;
}

static void note_switch(void *arg, uint64_t first, uint64_t nr, enum vellum_track_method method)
{
	(void)arg, (void)first;
	if (!nr || (method != VELLUM_TRACK_WP && method != VELLUM_TRACK_CLEAN))
		wrong("a switch to method %d", (int)method);
}

static void op_tracker_life(void)
{
	unsigned i = (unsigned)below(NR_TRACKERS);
	enum vellum_track_method method = (enum vellum_track_method)below(one_in(30) ? 5 : 3);
	struct vellum_mapping *o = any_object();
	struct vellum_mm *mm = any_mm();
	uint64_t start = any_addr(mm), end = one_in(4) ? VELLUM_TASK_SIZE : any_addr(mm);

	calling("the tracker %u comes or goes, method %d, %#llx to %#llx", i, (int)method, (ull)start, (ull)end);
	if (f.tracker[i]) {
		vellum_tracker_destroy(f.tracker[i]);
		f.tracker[i] = NULL;
	} else if (one_in(2) && o) {
		result(vellum_track_mapping(o, any_index(), one_in(20) ? any64() : few_pages(), method, &f.tracker[i]));
	} else {
		result(vellum_track_mm(mm, start, end, method, &f.tracker[i]));
	}
}

static void op_collect(void)
{
	struct vellum_tracker *t = any_tracker();
	int left = one_in(3) ? (int)below(20) : -1;
	uint64_t start = one_in(2) ? 0 : BASE / PAGE + below(WINDOW), end = one_in(2) ? ~0ull : start + below(WINDOW);

	if (!t)
		return;
	calling("collect %#llx to %#llx", (ull)start, (ull)end);
	if (one_in(20))
		vellum_tracker_on_switch(t, note_switch, NULL);
	if (one_in(20))
		result(vellum_tracker_costs(t, one_in(4) ? any64() : 1 + below(100000), 1 + below(10000)));
	result(vellum_tracker_collect(t, start, end, look_at_run, &left));
}

/* --- notifiers --- */

static void note_start(void *ctx, enum vellum_notifier_event event, uint64_t start, uint64_t end)
{
	(void)ctx, (void)event;
	if (start >= end)
		wrong("a notifier is told of %#llx to %#llx", (ull)start, (ull)end);
	f.open_notifications++;
}

static void note_finish(void *ctx, enum vellum_notifier_event event, uint64_t start, uint64_t end)
{
	(void)ctx, (void)event, (void)start, (void)end;
	f.open_notifications--;
}

static void op_notifier(void)
{
	struct notifier *n = &f.notifier[below(NR_NOTIFIERS)];

	calling("a notifier comes or goes");
	if (n->mm) {
		vellum_notifier_unregister(n->mm, &n->notifier);
		n->mm = NULL;
	} else {
		n->notifier = (struct vellum_notifier){ .size = sizeof(struct vellum_notifier), .start = note_start, .finish = note_finish };
		n->mm = any_mm();
		if (vellum_notifier_register(n->mm, &n->notifier))
			n->mm = NULL;
	}
}

void give_back_objects(void)
{
	for (unsigned i = 0; i < NR_TRACKERS; i++) {
		vellum_tracker_destroy(f.tracker[i]);
		f.tracker[i] = NULL;
	}
	for (unsigned i = 0; i < NR_OBJECTS; i++)
		if (f.object[i]) {
			vellum_mapping_put(f.object[i]);
			f.object[i] = NULL;
		}
}

const struct op object_ops[] = {
	{ 15, op_object_life },
	{ 30, op_object_bytes },
	{ 10, op_object_size },
	{ 15, op_object_sync },
	{ 1, op_object_seal },
	{ 12, op_raw },
	{ 20, op_helper },
	{ 8, op_tracker_life },
	{ 25, op_collect },
	{ 2, op_notifier },
	{ 0, NULL },
};
