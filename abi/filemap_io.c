/* SPDX-License-Identifier: MIT */
/*
 * abi/filemap_io.c - read(2), write(2), truncate(2) and fallocate(2) on files that may be mapped.
 *
 * For a file without a filemap, the host call is all. No filemap is created during a call that changes the file. For a
 * file with a filemap, the host call and the update of the cached pages are made under io_lock. So a page is read in or
 * written back before or after both, never between them. What a read returns is overlaid with the cached pages.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "abi/filemap.h"
#include "abi/memfd.h"

static int64_t host_write(const struct file *file, const struct bounce *b, int64_t offset)
{
	int64_t n;

	do
		n = bounce_io(file->fd, b, offset, OUT);
	while (n == -ENOSPC && filemaps_drop_unlinked(file->kernel->filemaps));
	return n;
}

/* The result is in @b->bytes, also if the host call used the mirror. */
static int64_t host_read(int fd, struct bounce *b, int64_t offset)
{
	int64_t n = bounce_io(fd, b, offset, IN);

	if (n > 0)
		bounce_gather(b, b->bytes, (size_t)n);
	return n;
}

int64_t filemap_read(const struct file *file, struct bounce *b, int64_t offset)
{
	struct filemap *fm = filemap_find(file);
	int64_t start, n;

	if (!fm)
		return host_read(file->fd, b, offset);
	pthread_mutex_lock(&fm->io_lock);
	start = offset >= 0 ? offset : lseek(file->fd, 0, SEEK_CUR);
	n = host_read(file->fd, b, offset);
	if (n > 0 && start >= 0)
		vellum_mapping_overlay(fm->mapping, (uint64_t)start, b->bytes, (uint64_t)n);
	pthread_mutex_unlock(&fm->io_lock);
	filemap_put(fm);
	return n;
}

/* The offset at which a write begins. size_lock held, so no program changes the size. */
static int64_t write_start(const struct file *file, int64_t offset)
{
	int flags = fcntl(file->fd, F_GETFL);
	struct stat st;

	if (flags >= 0 && (flags & O_APPEND))	/* also for pwrite(2): see BUGS in its man page */
		return fstat(file->fd, &st) ? -1 : st.st_size;
	return offset >= 0 ? offset : lseek(file->fd, 0, SEEK_CUR);
}

static void raise_limit(struct filemap *fm, uint64_t end)
{
	if (end > fm->limit)
		fm->limit = end;
}

/*
 * The mapping must be enlarged before the file is, so that its cached pages can be updated. If fewer bytes are written,
 * its size is set to what was reached.
 */
static int64_t write_mapped(struct filemap *fm, const struct file *file, const struct bounce *b, size_t len,
			    int64_t offset)
{
	uint64_t size = vellum_mapping_size(fm->mapping);
	int64_t start = write_start(file, offset), n;
	bool grows = start >= 0 && len && (uint64_t)start + len > size, unchanged;

	if (grows)
		vellum_mapping_set_size(fm->mapping, (uint64_t)start + len);
	pthread_mutex_lock(&fm->io_lock);
	unchanged = filemap_note_begin(fm);
	n = host_write(file, b, offset);
	filemap_note_end(fm, unchanged);
	if (n > 0 && start >= 0) {
		raise_limit(fm, (uint64_t)start + (uint64_t)n);
		vellum_mapping_update(fm->mapping, (uint64_t)start, b->bytes, (uint64_t)n);
	}
	pthread_mutex_unlock(&fm->io_lock);
	if (grows && n < (int64_t)len) {
		uint64_t end = n > 0 ? (uint64_t)start + (uint64_t)n : 0;

		vellum_mapping_set_size(fm->mapping, end > size ? end : size);
	}
	return n;
}

int64_t filemap_write(const struct file *file, const struct bounce *b, size_t len, int64_t offset)
{
	struct filemap *fm;
	int64_t n;

	/* A write to a full pipe blocks, and its reader may be about to map a file: no lock may be held. */
	if (!file->regular)
		return bounce_io(file->fd, b, offset, OUT);
	if (!filemap_reserve(file->kernel->filemaps, file->memfd, len))
		return -ENOSPC;
	fm = filemap_begin_change(file);
	if (!fm) {
		n = host_write(file, b, offset);
	} else {
		pthread_mutex_lock(&fm->size_lock);
		n = write_mapped(fm, file, b, len, offset);
		pthread_mutex_unlock(&fm->size_lock);
	}
	filemap_end_change(file, fm);
	memfd_settle(file->memfd, file->fd, len);
	return n;
}

/* [@start, @end) contains zeros now: update the cached pages. Trackers record the whole range. io_lock held. */
static void update_zeros(struct filemap *fm, uint64_t start, uint64_t end)
{
	if (start < end)
		vellum_mapping_update(fm->mapping, start, NULL, end - start);
}

/* size_lock held. */
static int truncate_mapped(struct filemap *fm, int fd, off_t size)
{
	uint64_t page_end = ((uint64_t)size + VELLUM_PAGE_SIZE - 1) & ~(VELLUM_PAGE_SIZE - 1ull);
	bool unchanged;
	int err;

	/* io_lock and fm->limit keep writeback from enlarging the file again. */
	pthread_mutex_lock(&fm->io_lock);
	unchanged = filemap_note_begin(fm);
	err = ftruncate(fd, size) ? -errno : 0;
	filemap_note_end(fm, unchanged);
	if (!err) {
		fm->limit = (uint64_t)size;
		update_zeros(fm, (uint64_t)size, page_end);	/* if the file was shortened */
	}
	pthread_mutex_unlock(&fm->io_lock);
	return err ? err : vellum_mapping_set_size(fm->mapping, (uint64_t)size);
}

int filemap_truncate(const struct file *file, off_t size)
{
	struct filemap *fm = filemap_begin_change(file);
	int err;

	if (!fm) {
		err = ftruncate(file->fd, size) ? -errno : 0;
	} else {
		pthread_mutex_lock(&fm->size_lock);
		err = truncate_mapped(fm, file->fd, size);
		pthread_mutex_unlock(&fm->size_lock);
	}
	filemap_end_change(file, fm);
	memfd_settle(file->memfd, file->fd, 0);
	return err;
}

/* Bytes from @start on were moved: read cached pages again. Trackers record the whole range. size_lock held. */
static void update_from_host(struct filemap *fm, uint64_t start)
{
	uint64_t size = vellum_mapping_size(fm->mapping), page = start / VELLUM_PAGE_SIZE;
	char buf[VELLUM_PAGE_SIZE];

	pthread_mutex_lock(&fm->io_lock);
	while (start < size) {
		uint64_t at = size;
		ssize_t n = 0;

		if (vellum_mapping_next_cached(fm->mapping, &page) && page * VELLUM_PAGE_SIZE < size)
			at = page * VELLUM_PAGE_SIZE > start ? page * VELLUM_PAGE_SIZE : start;
		vellum_mapping_update(fm->mapping, start, NULL, at - start);	/* none is cached; for trackers */
		if (at < size)
			n = pread(fm->fd, buf, VELLUM_PAGE_SIZE - at % VELLUM_PAGE_SIZE, (off_t)at);
		if (n > 0)
			vellum_mapping_update(fm->mapping, at, buf, (uint64_t)n);
		start = ++page * VELLUM_PAGE_SIZE;
	}
	pthread_mutex_unlock(&fm->io_lock);
}

/*
 * Write back dirty pages, make the host call, update the cached pages. A store to the range at the same time may take
 * effect before or after the call. A hole in a file in memory has no pages: a userfaultfd may wait for them. size_lock
 * held.
 */
static int fallocate_mapped(struct filemap *fm, int fd, int mode, off_t offset, off_t len)
{
	int err = vellum_mapping_writeback(fm->mapping, 0, ~0ull, NULL);
	uint64_t end = (uint64_t)offset + (uint64_t)len;
	struct stat st;
	bool unchanged;

	if (err)
		return err;
	pthread_mutex_lock(&fm->io_lock);
	unchanged = filemap_note_begin(fm);
	err = fallocate(fd, mode, offset, len) ? -errno : 0;
	filemap_note_end(fm, unchanged);
	if (fstat(fd, &st) == 0)
		fm->limit = (uint64_t)st.st_size;
	if (!err && (mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE)))
		update_zeros(fm, (uint64_t)offset, end < fm->limit ? end : fm->limit);
	pthread_mutex_unlock(&fm->io_lock);
	if (err)
		return err;
	vellum_mapping_set_size(fm->mapping, fm->limit);
	if ((mode & FALLOC_FL_PUNCH_HOLE) && fm->in_memory && !filemap_open_for_writing(fm, fd))
		return vellum_mapping_punch_hole(fm->mapping, (uint64_t)offset, (uint64_t)len);
	if (mode & (FALLOC_FL_COLLAPSE_RANGE | FALLOC_FL_INSERT_RANGE))
		update_from_host(fm, (uint64_t)offset);
	return 0;
}

int filemap_fallocate(const struct file *file, int mode, off_t offset, off_t len)
{
	uint64_t more = mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_COLLAPSE_RANGE) || len < 0 ? 0 : (uint64_t)len;
	struct filemap *fm;
	int err;

	if (!(mode & ~FALLOC_FL_KEEP_SIZE) && offset >= 0 && len > 0 && file_system_is(file->fd, HUGETLBFS_MAGIC))
		return -ENOSPC;		/* inside, the pool of huge pages is empty */
	if (more && !filemap_reserve(file->kernel->filemaps, file->memfd, more))
		return -ENOSPC;
	fm = filemap_begin_change(file);
	if (!fm) {
		err = fallocate(file->fd, mode, offset, len) ? -errno : 0;
	} else {
		pthread_mutex_lock(&fm->size_lock);
		err = fallocate_mapped(fm, file->fd, mode, offset, len);
		pthread_mutex_unlock(&fm->size_lock);
	}
	filemap_end_change(file, fm);
	memfd_settle(file->memfd, file->fd, more);
	return err;
}

int filemap_writeback(const struct file *file)
{
	struct filemap *fm = filemap_find(file);
	int err = 0;

	if (fm) {
		err = vellum_mapping_writeback(fm->mapping, 0, ~0ull, NULL);
		filemap_put(fm);
	}
	return err;
}

int filemap_fsync(const struct file *file, bool data_only)
{
	struct filemap *fm = filemap_find(file);
	int err = fm ? vellum_mapping_sync(fm->mapping, 0, ~0ull) : 0;

	if (fm)
		filemap_put(fm);
	if ((data_only ? fdatasync(file->fd) : fsync(file->fd)) && !err)
		err = -errno;
	return err;
}

#define SEAL_EXEC 0x20u		/* F_SEAL_EXEC of <linux/fcntl.h>, since Linux 6.3 */
#define HOST_SEALS (CORE_SEALS | SEAL_EXEC)
#define MAX_SEALED_BYTES (1ull << 40)

/*
 * Existing writable mappings stay writable after F_SEAL_FUTURE_WRITE, so their pages must still be written back. The
 * host then allows neither write(2) nor a new writable mapping. So map the file before. Mappings of programs may extend
 * beyond the end of the file, which may grow, so map as much as there are addresses for. 0 or a negative errno.
 */
static int map_for_writeback(struct filemap *fm)
{
	uint64_t least = (fm->limit | (VELLUM_PAGE_SIZE - 1)) + 1, len = MAX_SEALED_BYTES;
	void *at = MAP_FAILED;

	pthread_mutex_lock(&fm->io_lock);
	if (fm->write_fd < 0 || fm->sealed_map) {
		pthread_mutex_unlock(&fm->io_lock);
		return 0;
	}
	for (; len >= least && at == MAP_FAILED; len /= 16) {
		at = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fm->write_fd, 0);
		fm->sealed_len = len;
	}
	fm->sealed_map = at == MAP_FAILED ? NULL : at;
	pthread_mutex_unlock(&fm->io_lock);
	return at == MAP_FAILED ? -ENOMEM : 0;
}

/* For F_SEAL_WRITE: no page is dirty, and the host refuses the seal while a writable mapping exists. */
static void unmap_for_writeback(struct filemap *fm)
{
	pthread_mutex_lock(&fm->io_lock);
	if (fm->sealed_map)
		munmap(fm->sealed_map, fm->sealed_len);
	fm->sealed_map = NULL;
	pthread_mutex_unlock(&fm->io_lock);
}

/*
 * Add the seals to the core's mapping, before the host's file: the core refuses F_SEAL_WRITE if a program has a
 * writable mapping. Seals cannot be removed, so a call that the host would refuse must fail here first.
 */
static int add_core_seals(struct filemap *fm, const struct file *file, unsigned seals)
{
	int flags = fcntl(file->fd, F_GETFL), err = 0;

	if (fcntl(file->fd, F_GET_SEALS) < 0)
		return 0;
	if (flags < 0 || (flags & O_ACCMODE) == O_RDONLY)
		return -EPERM;
	if (seals & ~HOST_SEALS)
		return -EINVAL;
	if (seals & VELLUM_SEAL_FUTURE_WRITE)
		err = map_for_writeback(fm);
	if (!err)
		err = vellum_mapping_add_seals(fm->mapping, seals & CORE_SEALS);
	if (!err)
		err = vellum_mapping_writeback(fm->mapping, 0, ~0ull, NULL);
	if (!err && (seals & VELLUM_SEAL_WRITE))
		unmap_for_writeback(fm);
	return err;
}

int filemap_add_seals(const struct file *file, unsigned seals)
{
	struct filemap *fm = filemap_find(file);
	int err = fm ? add_core_seals(fm, file, seals) : 0;

	if (!err && fcntl(file->fd, F_ADD_SEALS, seals))
		err = -errno;
	filemap_put(fm);
	return err;
}

void filemap_read_page(struct filemap *fm, uint64_t pgoff, void *buf)
{
	uint64_t offset = pgoff * VELLUM_PAGE_SIZE;
	ssize_t n;

	memset(buf, 0, VELLUM_PAGE_SIZE);
	pthread_mutex_lock(&fm->io_lock);
	n = pread(fm->fd, buf, VELLUM_PAGE_SIZE, (off_t)offset);
	(void)n;		/* bytes that cannot be read stay zero */
	vellum_mapping_overlay(fm->mapping, offset, buf, VELLUM_PAGE_SIZE);
	pthread_mutex_unlock(&fm->io_lock);
}
