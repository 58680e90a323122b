/* SPDX-License-Identifier: MIT */
/* host/posix.c - the host's hooks on POSIX with Linux's futex(2) and memfd_create(2). */
#define _GNU_SOURCE
#include "vellum/host.h"

#include <fcntl.h>
#include <linux/futex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "vellum/errno.h"

#define EXPORT __attribute__((visibility("default")))
#define HUGE_PAGE (2u << 20)

static void *posix_alloc(void *host, size_t size, size_t align)
{
	void *ptr;

	(void)host;
	if (size >= HUGE_PAGE) {	/* sparse, as frame metadata of unused RAM stays untouched */
		ptr = mmap(NULL, size, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		if (ptr == MAP_FAILED)
			return NULL;
		madvise(ptr, size, MADV_HUGEPAGE);	/* fork and collections read it sequentially */
		return ptr;
	}
	if (posix_memalign(&ptr, align < sizeof(void *) ? sizeof(void *) : align, size))
		return NULL;
	memset(ptr, 0, size);
	return ptr;
}

static void posix_free(void *host, void *ptr, size_t size)
{
	(void)host;
	if (size >= HUGE_PAGE)
		munmap(ptr, size);
	else
		free(ptr);
}

static void posix_wait(void *host, uint32_t *word, uint32_t value)
{
	(void)host;
	syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0);
}

static void posix_wake(void *host, uint32_t *word)
{
	(void)host;
	syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 0x7fffffff, NULL, NULL, 0);
}

/* Allocate the RAM now: if the host is out of memory, a later access would raise SIGBUS. */
static int posix_commit(void *host, uint64_t offset, uint64_t len)
{
	const struct vellum_host_ram *ram = host;

	if (!ram || ram->fd < 0)
		return 0;
	return fallocate(ram->fd, 0, (off_t)offset, (off_t)len) ? -VELLUM_ENOMEM : 0;
}

static void posix_discard(void *host, uint64_t offset, uint64_t len)
{
	const struct vellum_host_ram *ram = host;

	if (!ram || ram->fd < 0 ||
	    fallocate(ram->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset, (off_t)len))
		if (ram)
			memset((char *)ram->base + offset, 0, len);	/* discarded memory must read as zeros */
}

static void posix_bug(void *host, const char *what, const char *file, int line)
{
	(void)host;
	fprintf(stderr, "vellum: bug: %s (%s:%d)\n", what, file, line);
	abort();
}

EXPORT const struct vellum_host_ops *vellum_host_posix(void)
{
	static const struct vellum_host_ops ops = {
		.size = sizeof(ops),
		.alloc = posix_alloc,
		.free = posix_free,
		.wait = posix_wait,
		.wake = posix_wake,
		.commit = posix_commit,
		.discard = posix_discard,
		.bug = posix_bug,
	};

	return &ops;
}

EXPORT int vellum_host_ram_create(uint64_t len, struct vellum_host_ram *ram)
{
	if (!ram || ram->size < sizeof(*ram) || !len || len % HUGE_PAGE)
		return -VELLUM_EINVAL;
	ram->len = len;
	ram->fd = memfd_create("vellum-ram", MFD_CLOEXEC);
	if (ram->fd < 0)
		return -VELLUM_ENOMEM;
	ram->base = MAP_FAILED;
	if (ftruncate(ram->fd, (off_t)len) == 0)
		ram->base = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, ram->fd, 0);
	if (ram->base == MAP_FAILED) {
		close(ram->fd);
		return -VELLUM_ENOMEM;
	}
	return 0;
}

EXPORT void vellum_host_ram_destroy(struct vellum_host_ram *ram)
{
	munmap(ram->base, ram->len);
	close(ram->fd);
}
