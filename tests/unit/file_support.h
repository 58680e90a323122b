/* SPDX-License-Identifier: MIT */
/* tests/unit/file_support.h - a file: a backing that has bytes, and counters in its hooks. */
#ifndef TESTS_UNIT_FILE_SUPPORT_H
#define TESTS_UNIT_FILE_SUPPORT_H

#include "more_support.h"

/* At first, each byte of a page is the page number + 1, so no page is zero. The hooks count atomically. */
struct file {
	struct vellum_mapping *mapping;
	uint64_t pages; /* size of @bytes in pages; the mapping may be shorter */
	uint8_t *bytes;
	unsigned faults, mkwrites, writes, syncs, punches, releases;
	int fault_code, mkwrite_code, write_err, sync_err, punch_err;
	uint64_t bad_page;   /* writepage() fails with @write_err for this page; ~0: for all */
	uint64_t write_mask; /* a bit per page below 64 that was written */
	uint32_t last_len;   /* of the last writepage() */
	uint64_t punch_offset, punch_len;
};

static inline unsigned file_count(unsigned *counter)
{
	return __atomic_add_fetch(counter, 1, __ATOMIC_RELAXED);
}

static inline int file_fault(void *ctx, struct vellum_vmf *vmf)
{
	struct file *f = ctx;

	file_count(&f->faults);
	if (!f->fault_code && vmf->pgoff < f->pages)
		memcpy(vmf->page, f->bytes + BYTES(vmf->pgoff), PAGE_SIZE);
	return f->fault_code;
}

static inline int file_mkwrite(void *ctx, struct vellum_vmf *vmf)
{
	struct file *f = ctx;

	(void)vmf;
	file_count(&f->mkwrites);
	return f->mkwrite_code;
}

static inline int file_writepage(void *ctx, uint64_t pgoff, const void *page, uint32_t len)
{
	struct file *f = ctx;

	if (f->write_err && (f->bad_page == ~0ull || f->bad_page == pgoff))
		return f->write_err;
	file_count(&f->writes);
	__atomic_store_n(&f->last_len, len, __ATOMIC_RELAXED);
	if (pgoff < 64)
		__atomic_fetch_or(&f->write_mask, 1ull << pgoff, __ATOMIC_RELAXED);
	if (pgoff < f->pages)
		memcpy(f->bytes + BYTES(pgoff), page, len);
	return 0;
}

static inline int file_sync(void *ctx)
{
	struct file *f = ctx;

	file_count(&f->syncs);
	return f->sync_err;
}

static inline int file_punch(void *ctx, uint64_t offset, uint64_t len)
{
	struct file *f = ctx;

	file_count(&f->punches);
	f->punch_offset = offset;
	f->punch_len = len;
	if (f->punch_err)
		return f->punch_err;
	for (uint64_t i = offset; i < offset + len && i < BYTES(f->pages); i++)
		f->bytes[i] = 0;
	return 0;
}

static inline void file_release(void *ctx)
{
	file_count(&((struct file *)ctx)->releases);
}

static const struct vellum_backing_ops file_ops = {
	.size = sizeof(file_ops),
	.fault = file_fault,
	.page_mkwrite = file_mkwrite,
	.release = file_release,
	.writepage = file_writepage,
	.sync = file_sync,
	.punch = file_punch,
};

static inline void file_create_with(struct file *f, struct world *w, uint64_t pages,
				    const struct vellum_backing_ops *ops, uint32_t flags)
{
	memset(f, 0, sizeof(*f));
	f->pages = pages;
	f->bytes = malloc(BYTES(pages));
	f->bad_page = ~0ull;
	for (uint64_t i = 0; i < BYTES(pages); i++)
		f->bytes[i] = (uint8_t)(i / PAGE_SIZE + 1);
	OK(vellum_mapping_create(w->memory, ops, f, pages, flags, &f->mapping));
}

static inline void file_create(struct file *f, struct world *w, uint64_t pages)
{
	file_create_with(f, w, pages, &file_ops, VELLUM_MAPPING_WRITEBACK);
}

/* Drop the test's reference. No VMA may map the file any more. */
static inline void file_destroy(struct file *f)
{
	vellum_mapping_put(f->mapping);
	assert_int_equal(f->releases, 1);
	free(f->bytes);
}

/* The initial value of the 8 bytes at a page's start. */
static inline uint64_t file_initial(uint64_t page)
{
	return (uint8_t)(page + 1) * 0x0101010101010101ull;
}

static inline uint64_t file_word(const struct file *f, uint64_t offset)
{
	uint64_t val;

	memcpy(&val, f->bytes + offset, 8);
	return val;
}

static inline void map_shared(struct vellum_mm *mm, unsigned at, unsigned pages, struct file *f,
			      uint64_t pgoff)
{
	map_object(mm, at, pages, RW, VELLUM_MAP_SHARED, f->mapping, pgoff, RW);
}

static inline void map_private(struct vellum_mm *mm, unsigned at, unsigned pages, struct file *f,
			       uint64_t pgoff)
{
	map_object(mm, at, pages, RW, VELLUM_MAP_PRIVATE, f->mapping, pgoff, RO);
}

static inline struct vellum_mapping_info info_of(struct vellum_mapping *mapping)
{
	struct vellum_mapping_info info = { .size = sizeof(info) };

	vellum_mapping_info(mapping, &info);
	return info;
}

static inline uint64_t nr_dirty(const struct file *f)
{
	return info_of(f->mapping).nr_dirty;
}

static inline uint64_t nr_cached(const struct file *f)
{
	return info_of(f->mapping).nr_cached;
}

static inline bool is_there(struct vellum_mm *mm, uint64_t addr)
{
	return pte_present(entry_at(mm, addr));
}

#endif
