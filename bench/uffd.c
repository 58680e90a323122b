/* SPDX-License-Identifier: MIT */
/* bench/uffd.c - userfaultfd write-protection, resolved by another thread or by the kernel (async); PAGEMAP_SCAN. */
#define _GNU_SOURCE
#include "bench/bench.h"
#include "vellum/pagemap.h"
#include "vellum/uffd.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

/* --- a fault that another thread resolves --- */

struct vellum_side {
	struct world *w;
	struct vellum_uffd *uffd;
	uint64_t at, pages;
};

static void *vellum_manager(void *arg)
{
	const struct vellum_side *s = arg;

	for (uint64_t done = 0; done < s->pages; done++) {
		struct vellum_uffd_msg msg;
		uint32_t got;

		must(!vellum_uffd_read(s->uffd, &msg, 1, true, &got), "vellum_uffd_read");
		must(!vellum_uffd_writeprotect(s->uffd, msg.arg.pagefault.address, PAGE, 0), "resolve");
	}
	return NULL;
}

static double vellum_sync(struct vellum_side *s, uint64_t value)
{
	pthread_t manager;
	double ns;

	must(!vellum_uffd_writeprotect(s->uffd, s->at, s->pages * PAGE, VELLUM_UFFD_WRITEPROTECT_WP), "protect");
	must(!pthread_create(&manager, NULL, vellum_manager, s), "no thread");
	ns = store_vellum(s->w->cpu[0], s->at, s->pages, 1, value);
	pthread_join(manager, NULL);
	return ns;
}

struct host_side {
	int fd;
	char *at;
	uint64_t pages;
};

static void *host_manager(void *arg)
{
	const struct host_side *s = arg;

	for (uint64_t done = 0; done < s->pages; done++) {
		struct uffdio_writeprotect wp = { .mode = 0 };
		struct uffd_msg msg;

		must(read(s->fd, &msg, sizeof(msg)) == sizeof(msg), "userfaultfd: %s", strerror(errno));
		wp.range.start = msg.arg.pagefault.address & ~(PAGE - 1ull);
		wp.range.len = PAGE;
		must(!ioctl(s->fd, UFFDIO_WRITEPROTECT, &wp), "UFFDIO_WRITEPROTECT: %s", strerror(errno));
	}
	return NULL;
}

static double host_sync(struct host_side *s, uint64_t value)
{
	struct uffdio_writeprotect wp = { .range = { (uintptr_t)s->at, s->pages * PAGE },
					  .mode = UFFDIO_WRITEPROTECT_MODE_WP };
	pthread_t manager;
	double ns;

	must(!ioctl(s->fd, UFFDIO_WRITEPROTECT, &wp), "UFFDIO_WRITEPROTECT: %s", strerror(errno));
	must(!pthread_create(&manager, NULL, host_manager, s), "no thread");
	ns = store_host(s->at, s->pages, 1, value);
	pthread_join(manager, NULL);
	return ns;
}

static bool host_open(struct host_side *s)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register reg = { .range = { (uintptr_t)s->at, s->pages * PAGE }, .mode = UFFDIO_REGISTER_MODE_WP };

	s->fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | 1 /* UFFD_USER_MODE_ONLY */);
	return s->fd >= 0 && !ioctl(s->fd, UFFDIO_API, &api) && !ioctl(s->fd, UFFDIO_REGISTER, &reg);
}

static struct vellum_uffd *register_vellum(struct world *w, uint64_t at, uint64_t pages, uint64_t features)
{
	struct vellum_uffd *uffd;

	must(!vellum_uffd_create(w->mm, 0, &uffd) &&
		     !vellum_uffd_api(uffd, VELLUM_UFFD_API, features, NULL, NULL) &&
		     !vellum_uffd_register(uffd, at, pages * PAGE, VELLUM_UFFD_WP, NULL),
	     "vellum_uffd");
	return uffd;
}

static void sync_faults(struct row *row)
{
	uint64_t pages = amount(4096, 128);
	struct host_side host = { .pages = pages, .at = map_host(pages, MAP_PRIVATE) };
	struct vellum_side ours = { .pages = pages };
	struct world w;
	bool has_host = host_open(&host);

	world_open(&w, pages);
	ours.w = &w;
	ours.at = map_vellum(w.mm, pages, ANON);
	store_vellum(w.cpu[0], ours.at, pages, 1, 1);
	store_host(host.at, pages, 1, 1);
	ours.uffd = register_vellum(&w, ours.at, pages, 0);
	row_note(row, "a store waits until another thread has read the message and lifted the protection");
	for (unsigned i = 0; i < amount(15, 2); i++) {
		double v = vellum_sync(&ours, i), h = has_host ? host_sync(&host, i) : NAN;

		row_sample(row, v / (double)pages, h / (double)pages);
	}
	vellum_uffd_put(ours.uffd);
	world_close(&w);
	if (host.fd >= 0)
		close(host.fd);
	unmap_host(host.at, pages);
}

/* --- write-protection in async mode, and scans for written pages --- */

static uint64_t scan_vellum(struct world *w, uint64_t at, uint64_t pages, struct vellum_page_region *vec)
{
	struct vellum_scan_args a = { .size = sizeof(a), .flags = VELLUM_SCAN_WP_MATCHING, .start = at,
				      .end = at + pages * PAGE, .vec = vec, .vec_len = pages,
				      .category_mask = VELLUM_PAGE_IS_WRITTEN, .return_mask = VELLUM_PAGE_IS_WRITTEN };
	uint64_t nr, found = 0;

	must(!vellum_pagemap_scan(w->mm, &a, &nr) && a.walk_end == a.end, "vellum_pagemap_scan");
	for (uint64_t i = 0; i < nr; i++)
		found += (vec[i].end - vec[i].start) / PAGE;
	return found;
}

struct async {
	struct world w;
	struct wp_async host;
	const char *why;		/* why the host lacks the feature, or NULL */
	char *host_at;
	uint64_t at, pages;
	struct vellum_uffd *uffd;
	struct vellum_page_region *vec;
};

/* On both sides, store to every @step-th page, then find these pages and protect them again. */
static void async_round(struct async *a, struct row *fault, struct row *scan, uint64_t step, uint64_t value)
{
	uint64_t stored = (a->pages + step - 1) / step;
	double v = store_vellum(a->w.cpu[0], a->at, a->pages, step, value), h = NAN;

	if (!a->why)
		h = store_host(a->host_at, a->pages, step, value);
	if (fault)
		row_sample(fault, v / (double)stored, h / (double)stored);
	v = now_ns();
	must(scan_vellum(&a->w, a->at, a->pages, a->vec) == stored, "scan: pages are missing");
	v = now_ns() - v;
	if (!a->why) {
		h = now_ns();
		must(wp_async_written(&a->host, true) == stored, "the host's scan: pages are missing");
		h = now_ns() - h;
	}
	row_sample(scan, v / (double)a->pages, h / (double)a->pages);
}

static void async_open(struct async *a)
{
	world_open(&a->w, a->pages);
	a->at = map_vellum(a->w.mm, a->pages, ANON);
	store_vellum(a->w.cpu[0], a->at, a->pages, 1, 1);
	a->uffd = register_vellum(&a->w, a->at, a->pages, VELLUM_UFFD_FEATURE_WP_ASYNC);
	a->vec = mmap(NULL, a->pages * sizeof(*a->vec), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE,
		      -1, 0);
	must(a->vec != MAP_FAILED, "no memory");
	scan_vellum(&a->w, a->at, a->pages, a->vec);
	a->host_at = map_host(a->pages, MAP_PRIVATE);
	store_host(a->host_at, a->pages, 1, 1);
	a->why = wp_async_open(&a->host, a->host_at, a->pages);
}

static void async_close(struct async *a)
{
	munmap(a->vec, a->pages * sizeof(*a->vec));
	vellum_uffd_put(a->uffd);
	world_close(&a->w);
	if (!a->why)
		wp_async_close(&a->host);
	unmap_host(a->host_at, a->pages);
}

void bench_uffd(void)
{
	static const char scan[] = "vellum_pagemap_scan(), protecting", host_scan[] = "PAGEMAP_SCAN with PM_SCAN_WP_MATCHING";
	struct row *sync = row_add("uffd.wp.fault", "ns/fault", "store, vellum_uffd_read(), _writeprotect()",
				   "store, read(2), UFFDIO_WRITEPROTECT");
	struct row *fault = row_add("uffd.wp-async.fault", "ns/fault", "store that lifts its own protection",
				    "store, WP_ASYNC");
	struct row *all = row_add("uffd.scan.all", "ns/page", scan, host_scan);
	struct row *few = row_add("uffd.scan.1%", "ns/page", scan, host_scan);
	struct async a = { .pages = amount(256, 4) * MIB / PAGE };

	sync_faults(sync);
	async_open(&a);
	row_note(all, "%llu MiB, all pages written since the last scan", (unsigned long long)(a.pages * PAGE / MIB));
	row_note(few, "every hundredth page written");
	if (a.why)
		row_note(fault, "host: %s", a.why);
	for (unsigned i = 0; i < amount(15, 2); i++) {
		async_round(&a, fault, all, 1, i);
		async_round(&a, NULL, few, 100, i);
	}
	async_close(&a);
}
