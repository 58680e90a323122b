/* SPDX-License-Identifier: MIT */
/*
 * bench/wp_async.c - the host's dirty tracking: userfaultfd write-protection in async mode, where the kernel resolves
 * faults by itself, and PAGEMAP_SCAN, which lists written pages and protects them again.
 *
 * Linux has both since 6.7. The constants are defined here because the headers of distributions may lack them.
 */
#define _GNU_SOURCE
#include "bench/bench.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

struct uffd_api {
	uint64_t api, features, ioctls;
};

struct uffd_register {
	uint64_t start, len, mode, ioctls;
};

struct uffd_writeprotect {
	uint64_t start, len, mode;
};

struct scan_region {
	uint64_t start, end, categories;
};

struct scan_arg {
	uint64_t size, flags, start, end, walk_end, vec, vec_len, max_pages;
	uint64_t category_inverted, category_mask, category_anyof_mask, return_mask;
};

#define UFFD_API_IOCTL _IOWR(0xAA, 0x3F, struct uffd_api)
#define UFFD_REGISTER _IOWR(0xAA, 0x00, struct uffd_register)
#define UFFD_WRITEPROTECT _IOWR(0xAA, 0x06, struct uffd_writeprotect)
#define SCAN_IOCTL _IOWR('f', 16, struct scan_arg)

enum {
	API_NUMBER = 0xAA,
	FEATURE_WP_SHMEM = 1 << 12,
	FEATURE_WP_UNPOPULATED = 1 << 13,
	FEATURE_WP_ASYNC = 1 << 15,
	REGISTER_MODE_WP = 2,
	WRITEPROTECT_SET = 1,
	USER_MODE_ONLY = 1,
	PAGE_IS_WRITTEN = 2,
	SCAN_WP_MATCHING = 1,
	SCAN_CHECK_WPASYNC = 2,
};

static int open_uffd(void)
{
	struct uffd_api api = { API_NUMBER,
				FEATURE_WP_SHMEM | FEATURE_WP_UNPOPULATED | FEATURE_WP_ASYNC, 0 };
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | USER_MODE_ONLY);

	if (fd >= 0 && ioctl(fd, UFFD_API_IOCTL, &api)) {
		close(fd);
		fd = -1;
	}
	return fd;
}

/* Scan the whole range. One call may stop early, as in Linux 6.18 with more than 512 regions. */
static bool scan(struct wp_async *w, uint64_t flags, uint64_t *nr)
{
	struct scan_arg arg = {
		.size = sizeof(arg),
		.flags = flags,
		.walk_end = (uintptr_t)w->at,
		.end = (uintptr_t)w->at + w->pages * PAGE,
		.category_mask = PAGE_IS_WRITTEN,
		.return_mask = PAGE_IS_WRITTEN,
	};

	*nr = 0;
	do {
		long got;

		arg.start = arg.walk_end;
		arg.vec = (uintptr_t)((struct scan_region *)w->regions + *nr);
		arg.vec_len = w->pages - *nr;
		got = ioctl(w->pagemap, SCAN_IOCTL, &arg);
		if (got < 0)
			return false;
		*nr += (uint64_t)got;
	} while (arg.walk_end < arg.end && arg.walk_end > arg.start);
	return arg.walk_end == arg.end;
}

const char *wp_async_open(struct wp_async *w, char *at, uint64_t pages)
{
	struct uffd_register reg = { (uintptr_t)at, pages * PAGE, REGISTER_MODE_WP, 0 };
	const char *why = NULL;
	uint64_t nr;

	*w = (struct wp_async){ open_uffd(), open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC), at, pages,
				calloc(pages, sizeof(struct scan_region)) };
	must(w->regions, "no memory");
	memset(w->regions, 0, pages * sizeof(struct scan_region));	/* so that scans do not fault on it */
	if (w->uffd < 0)
		why = "no userfaultfd with WP_ASYNC: kernel before 6.7, or no right";
	else if (ioctl(w->uffd, UFFD_REGISTER, &reg))
		why = "userfaultfd does not take this memory";
	else if (w->pagemap < 0 || !scan(w, SCAN_WP_MATCHING | SCAN_CHECK_WPASYNC, &nr))
		why = "no PAGEMAP_SCAN: kernel before 6.7";
	if (why)
		wp_async_close(w);
	return why;
}

void wp_async_close(struct wp_async *w)
{
	if (w->uffd >= 0)
		close(w->uffd);
	if (w->pagemap >= 0)
		close(w->pagemap);
	free(w->regions);
}

uint64_t wp_async_written(struct wp_async *w, bool arm)
{
	const struct scan_region *region = w->regions;
	uint64_t bytes = 0, nr;

	must(scan(w, arm ? SCAN_WP_MATCHING | SCAN_CHECK_WPASYNC : 0, &nr), "PAGEMAP_SCAN: %s",
	     strerror(errno));
	for (uint64_t i = 0; i < nr; i++)
		bytes += region[i].end - region[i].start;
	return bytes / PAGE;
}

void wp_async_protect(struct wp_async *w)
{
	struct uffd_writeprotect arg = { (uintptr_t)w->at, w->pages * PAGE, WRITEPROTECT_SET };

	must(!ioctl(w->uffd, UFFD_WRITEPROTECT, &arg), "UFFDIO_WRITEPROTECT: %s", strerror(errno));
}
