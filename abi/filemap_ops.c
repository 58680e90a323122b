/* SPDX-License-Identifier: MIT */
/* abi/filemap_ops.c - the backing of a mapped file. The core calls it with page locks held; see filemap.h. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "abi/filemap.h"
#include "abi/memfd.h"

#define PAGE	 VELLUM_PAGE_SIZE

/* Read from the host's file. Beyond its end @buf is not changed. 0 or an errno. */
static int read_fully(int fd, char *buf, size_t len, uint64_t offset)
{
	while (len) {
		ssize_t n = pread(fd, buf, len, (off_t)offset);

		if (n < 0 && errno != EINTR)
			return errno;
		if (n == 0)
			return 0;
		if (n > 0) {
			buf += n;
			len -= (size_t)n;
			offset += (uint64_t)n;
		}
	}
	return 0;
}

static int write_fully(int fd, const char *buf, size_t len, uint64_t offset)
{
	while (len) {
		ssize_t n = pwrite(fd, buf, len, (off_t)offset);

		if (n < 0 && errno != EINTR)
			return errno;
		if (n > 0) {
			buf += n;
			len -= (size_t)n;
			offset += (uint64_t)n;
		}
	}
	return 0;
}

static int fault_hook(void *ctx, struct vellum_vmf *vmf)
{
	struct filemap *fm = ctx;
	int err;

	pthread_mutex_lock(&fm->io_lock);
	err = read_fully(fm->fd, vmf->page, PAGE, vmf->pgoff * PAGE);
	pthread_mutex_unlock(&fm->io_lock);
	return err ? VELLUM_VMF_SIGBUS : VELLUM_VMF_OK;
}

/* How many of the @len bytes of a page lie in the file. io_lock held. */
static size_t length_in_file(const struct filemap *fm, uint64_t pgoff, size_t len)
{
	uint64_t offset = pgoff * PAGE;

	if (offset >= fm->limit)
		return 0;
	return fm->limit - offset < len ? (size_t)(fm->limit - offset) : len;
}

/*
 * Allocate blocks before the first store to a page. A full disk is SIGBUS now, instead of lost data at writeback. Where
 * the file system has no fallocate(2), writing the unchanged page allocates them.
 */
static int mkwrite_hook(void *ctx, struct vellum_vmf *vmf)
{
	static const struct timespec modified_now[2] = { { .tv_nsec = UTIME_OMIT }, { .tv_nsec = UTIME_NOW } };
	struct filemap *fm = ctx;
	bool unchanged, reserved;
	size_t len;
	int err;

	pthread_mutex_lock(&fm->io_lock);
	unchanged = filemap_note_begin(fm);
	len = length_in_file(fm, vmf->pgoff, PAGE);
	reserved = filemap_reserve(fm->owner, fm->memfd, PAGE);
	err = reserved ? 0 : ENOSPC;
	while (!err && len && fallocate(fm->write_fd, FALLOC_FL_KEEP_SIZE, (off_t)(vmf->pgoff * PAGE), (off_t)len)) {
		err = errno;
		if (err == EOPNOTSUPP || err == ENOSYS)
			err = write_fully(fm->write_fd, vmf->page, len, vmf->pgoff * PAGE);
		if (err != EINTR && !(err == ENOSPC && filemaps_drop_unlinked(fm->owner)))
			break;
		err = 0;
	}
	if (!err)
		futimens(fm->write_fd, modified_now);	/* as Linux at the first store; data do not depend on it */
	if (reserved)
		memfd_settle(fm->memfd, fm->fd, PAGE);
	filemap_note_end(fm, unchanged);
	pthread_mutex_unlock(&fm->io_lock);
	return err ? VELLUM_VMF_SIGBUS : VELLUM_VMF_OK;
}

/*
 * Let the host's kernel copy to a mapping of the file. If another process has truncated the file, the copy fails, while
 * a store would raise SIGBUS. 0 or an errno.
 */
static int copy_to_mapped_file(void *to, const void *from, size_t len)
{
	struct iovec source = { (void *)(uintptr_t)from, len }, target = { to, len };
	ssize_t n = process_vm_writev(getpid(), &source, 1, &target, 1, 0);

	return n == (ssize_t)len ? 0 : n < 0 ? errno : EFAULT;
}

/* True: another process truncated the file before @offset. Linux discards stores to such pages, too. */
static bool is_truncated(const struct filemap *fm, uint64_t offset)
{
	struct stat st;

	return fstat(fm->fd, &st) == 0 && (uint64_t)st.st_size <= offset;
}

/* F_SEAL_FUTURE_WRITE and RLIMIT_FSIZE restrict write(2), but not stores through an existing mapping. */
static int write_through_mapping(struct filemap *fm, const char *page, size_t len, uint64_t offset)
{
	bool in_sealed = fm->sealed_map && offset + len <= fm->sealed_len;
	char *at = in_sealed ? fm->sealed_map + offset :
			       mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fm->write_fd, (off_t)offset);
	int err;

	if (at == MAP_FAILED)
		return errno;
	err = copy_to_mapped_file(at, page, len);
	if (err == EFAULT)
		err = is_truncated(fm, offset) ? 0 : EIO;
	if (!in_sealed)
		munmap(at, PAGE);
	return err;
}

/* io_lock held. 0 or an errno. */
static int write_page(struct filemap *fm, const char *page, size_t len, uint64_t offset)
{
	int err;

	if (!len)
		return 0;
	err = fm->sealed_map ? EPERM : write_fully(fm->write_fd, page, len, offset);
	return err == EPERM || err == EFBIG ? write_through_mapping(fm, page, len, offset) : err;
}

static int writepage_hook(void *ctx, uint64_t pgoff, const void *page, uint32_t len)
{
	struct filemap *fm = ctx;
	bool unchanged;
	int err;

	pthread_mutex_lock(&fm->io_lock);
	unchanged = filemap_note_begin(fm);
	err = write_page(fm, page, length_in_file(fm, pgoff, len), pgoff * PAGE);
	filemap_note_end(fm, unchanged);
	if (err) {
		fm->nr_failed++;
		fm->failure = err;
	}
	pthread_mutex_unlock(&fm->io_lock);
	return -err;
}

static int sync_hook(void *ctx)
{
	struct filemap *fm = ctx;

	return fm->write_fd >= 0 && fdatasync(fm->write_fd) ? -errno : 0;
}

static int punch_hook(void *ctx, uint64_t offset, uint64_t len)
{
	struct filemap *fm = ctx;
	bool unchanged;
	int err = 0;

	pthread_mutex_lock(&fm->io_lock);
	unchanged = filemap_note_begin(fm);
	if (fm->write_fd < 0)
		err = -EBADF;
	else if (fallocate(fm->write_fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset, (off_t)len))
		err = -errno;
	filemap_note_end(fm, unchanged);
	pthread_mutex_unlock(&fm->io_lock);
	return err;
}

/* All cached pages were freed. Dirty ones were written before, or the write failed. */
static void release_hook(void *ctx)
{
	struct filemap *fm = ctx;

	if (fm->write_fd >= 0) {
		close(fm->write_fd);
		hostfd_release(1);
		filemaps_count_writable(fm->owner, -1);
	}
	if (fm->sealed_map)
		munmap(fm->sealed_map, fm->sealed_len);
	close(fm->fd);
	hostfd_release(1);
	memfd_put(fm->memfd);
	pthread_mutex_destroy(&fm->io_lock);
	pthread_mutex_destroy(&fm->size_lock);
	filemaps_put(fm->owner);
	free(fm);
}

/* After fallocate(2) alone, the host reports a hole, which this cannot tell from one without memory. */
static int has_page_hook(void *ctx, uint64_t pgoff)
{
	struct filemap *fm = ctx;
	off_t data;

	pthread_mutex_lock(&fm->io_lock);
	data = lseek(fm->fd, (off_t)(pgoff * PAGE), SEEK_DATA);
	pthread_mutex_unlock(&fm->io_lock);
	return data >= 0 && (uint64_t)data / PAGE == pgoff;
}

#define FILE_OPS .size = sizeof(struct vellum_backing_ops), .fault = fault_hook, .page_mkwrite = mkwrite_hook, \
		 .release = release_hook, .writepage = writepage_hook, .sync = sync_hook, .punch = punch_hook

const struct vellum_backing_ops filemap_ops = { FILE_OPS };
const struct vellum_backing_ops filemap_memory_ops = { FILE_OPS, .has_page = has_page_hook };
