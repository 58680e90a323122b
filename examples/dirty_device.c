/* SPDX-License-Identifier: MIT */
/*
 * dirty_device.c - a device driver that keeps a copy of shared memory up to date.
 *
 * Programs map an object and store to it. upload() copies the pages that changed since the last
 * upload to the device. The driver finds these pages by one of two methods:
 *
 * PAGETABLE: entries stay writable, and a scan collects their dirty bits. There are no faults, but a
 *            scan reads every entry. This is cheaper if many pages are written.
 * MKWRITE:   entries are read-only, so the first store to a page calls the mkwrite hook, which
 *            records it. There is a fault per page, but no scan. This is cheaper if few pages are written.
 *
 * The driver switches the method by density, when several scans in a row favour the other method.
 *
 * Locks: dev->lock is taken before the locks of the helpers. Hooks may take it, except dirt(): it runs
 * under a page-table lock, and a helper that was called with dev->lock held may be waiting for that lock.
 */
#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vellum/backing.h"
#include "vellum/dirty.h"
#include "vellum/host.h"
#include "vellum/mm.h"
#include "vellum/soft.h"

#define PAGE_SIZE	VELLUM_PAGE_SIZE
#define RAM_SIZE	(32ull << 20)
#define BASE		0x100000000ull		/* where programs map the object */
#define MAX_PAGES	512u
#define WORDS		(MAX_PAGES / 64)
#define VRAM_PAGES	256u
#define VRAM_PFN	(1ull << 20)		/* 4 GiB: far above RAM */

#define LARGE		512u	/* pages; a device of this size starts with MKWRITE, as a scan is expensive */
#define DENSE		10u	/* percent of pages written between scans: more is dense */
#define SPARSE		2u	/* percent: less is sparse */
#define PATIENCE	3u	/* scans in a row that must favour the other method */

enum kind { MANAGED, DEVICE_IN_RAM, DEVICE_OUTSIDE };
enum method { PAGETABLE, MKWRITE };

static const char *const kind_name[] = { "managed pages", "device memory in RAM",
					 "device memory outside RAM" };
static const char *const method_name[] = { "PAGETABLE", "MKWRITE" };

static _Alignas(4096) char vram[VRAM_PAGES * PAGE_SIZE];

struct stats {
	uint64_t uploads, faults, cleaned, protected, pages, switches;
};

struct device {
	enum kind kind;
	struct vellum_memory *memory;
	struct vellum_mapping *mapping;
	uint64_t nr_pages, pfn;
	char *copy;			/* the device's copy */
	uint64_t left[WORDS];		/* pages that dirt() reported; atomic, see "Locks" */

	pthread_mutex_t lock;		/* protects all below */
	pthread_cond_t gate;		/* signalled when at_gate or closed changes */
	bool closed;			/* the mkwrite hook waits */
	unsigned at_gate;
	enum method method;
	unsigned streak;		/* scans in a row that favoured the other method */
	uint64_t dirty[WORDS];		/* pages to upload; all within [start, end) */
	uint64_t start, end;
	struct stats stats;
};

/* The programs: two address spaces, each with a CPU. */
struct world {
	struct vellum_host_ram ram;
	struct vellum_soft *soft;
	struct vellum_memory *memory;
	struct vellum_mm *mm[2];
	struct vellum_soft_cpu *cpu[2];
	uint64_t serial;		/* each store uses a new value */
};

static unsigned nr_failed;

static void must(int err, const char *what)
{
	if (err) {
		printf("Bail out! %s: %s\n", what, vellum_strerror(err));
		exit(1);
	}
}

__attribute__((format(printf, 3, 4)))
static void check(const struct device *dev, bool good, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	printf("%sok - %s: ", good ? "" : "not ", kind_name[dev->kind]);
	vprintf(format, args);
	printf("\n");
	va_end(args);
	nr_failed += !good;
}

/* --- hooks --- */

static void record(struct device *dev, uint64_t page)
{
	bool empty = dev->start >= dev->end;

	dev->dirty[page / 64] |= 1ull << page % 64;
	if (empty || page < dev->start)
		dev->start = page;
	if (empty || page >= dev->end)
		dev->end = page + 1;
}

static int device_fault(void *ctx, struct vellum_vmf *vmf)
{
	struct device *dev = ctx;

	vmf->pfn = dev->pfn + vmf->pgoff;
	return VELLUM_VMF_OK;
}

/*
 * A page is about to become writable and dirty. It is recorded with both methods: a scan by PAGETABLE
 * would miss the dirty bit if the page is unmapped first.
 */
static int device_mkwrite(void *ctx, struct vellum_vmf *vmf)
{
	struct device *dev = ctx;

	pthread_mutex_lock(&dev->lock);
	dev->at_gate++;
	pthread_cond_broadcast(&dev->gate);
	while (dev->closed)
		pthread_cond_wait(&dev->gate, &dev->lock);
	dev->at_gate--;
	dev->stats.faults++;
	record(dev, vmf->pgoff);
	pthread_mutex_unlock(&dev->lock);
	return VELLUM_VMF_OK;
}

static void device_dirt(void *ctx, uint64_t page)
{
	struct device *dev = ctx;

	__atomic_fetch_or(&dev->left[page / 64], 1ull << page % 64, __ATOMIC_RELEASE);
}

static const struct vellum_backing_ops managed_ops = {
	.size = sizeof(managed_ops),
	.page_mkwrite = device_mkwrite,
};

static const struct vellum_backing_ops pfn_ops = {
	.size = sizeof(pfn_ops),
	.fault = device_fault,
	.pfn_mkwrite = device_mkwrite,
	.dirt = device_dirt,
};

/* --- finding dirty pages; dev->lock held --- */

/* When this returns, stores to the range call the mkwrite hook. */
static uint64_t protect(struct device *dev, uint64_t first, uint64_t nr)
{
	uint64_t count;

	must(vellum_wp_shared_mapping_range(dev->mapping, first, nr, &count), "protect");
	dev->stats.protected += count;
	return count;
}

/* When this returns, the bitmap has all pages of the range that were stored to before. */
static uint64_t collect(struct device *dev, uint64_t first, uint64_t nr)
{
	uint64_t count;

	must(vellum_clean_record_shared_mapping_range(dev->mapping, first, nr, 0, dev->dirty,
						      &dev->start, &dev->end, &count), "collect");
	dev->stats.cleaned += count;
	return count;
}

/*
 * Call this before collect(). dirt() is called before the flush, so a CPU may still store then. The caller
 * of dirt() holds the page-table lock until after the flush, and collect() waits for that lock.
 */
static void collect_left(struct device *dev)
{
	for (unsigned i = 0; i < WORDS; i++) {
		uint64_t word = __atomic_exchange_n(&dev->left[i], 0, __ATOMIC_ACQUIRE);

		for (; word; word &= word - 1)
			record(dev, i * 64 + (uint64_t)__builtin_ctzll(word));
	}
}

/*
 * To MKWRITE: protect first. If collect() came first, a store between the two would leave an entry
 * writable and dirty, and no hook is called for such an entry.
 */
static void switch_method(struct device *dev, enum method method)
{
	if (method == MKWRITE)
		protect(dev, 0, dev->nr_pages);
	collect(dev, 0, dev->nr_pages);
	dev->method = method;
	dev->streak = 0;
	dev->stats.switches++;
}

static void consider(struct device *dev, bool wants_other, enum method other)
{
	dev->streak = wants_other ? dev->streak + 1 : 0;
	if (dev->streak == PATIENCE)
		switch_method(dev, other);
}

static void scan_pagetable(struct device *dev)
{
	uint64_t count = collect(dev, 0, dev->nr_pages);

	consider(dev, 100 * count / dev->nr_pages < SPARSE, MKWRITE);
}

/*
 * Also clean the entries of the pages that are uploaded. Otherwise their dirty bits would remain until
 * the switch to PAGETABLE. So a dirty entry outside [start, end) is one that the hook's record missed.
 *
 * A record can be missed: a fault may call its hook before this scan and install the writable entry
 * after it, when the record was already used. The store is not lost, as the entry is dirty: the next
 * collection of all pages, by snapshot_begin() or a switch of the method, finds it.
 */
static void scan_mkwrite(struct device *dev)
{
	uint64_t first = dev->start, nr = dev->end - dev->start, count;

	if (dev->start >= dev->end)
		return;
	count = protect(dev, first, nr);
	collect(dev, first, nr);
	consider(dev, 100 * count / dev->nr_pages > DENSE, PAGETABLE);
}

/* --- copying to the device --- */

static void read_page(const struct device *dev, uint64_t page, void *buf)
{
	if (dev->kind == MANAGED)
		must(vellum_mapping_read(dev->mapping, page * PAGE_SIZE, buf, PAGE_SIZE), "read");
	else
		memcpy(buf, vellum_frame_host(dev->memory, dev->pfn + page), PAGE_SIZE);
}

static uint64_t copy_dirty(struct device *dev)
{
	uint64_t nr = 0;

	for (uint64_t page = dev->start; page < dev->end; page++) {
		if (!(dev->dirty[page / 64] >> page % 64 & 1))
			continue;
		read_page(dev, page, dev->copy + page * PAGE_SIZE);
		nr++;
	}
	memset(dev->dirty, 0, sizeof(dev->dirty));
	dev->start = dev->end = 0;
	dev->stats.pages += nr;
	return nr;
}

/* Programs may store meanwhile: a page that is stored to while it is copied is in the next upload. */
static uint64_t upload(struct device *dev)
{
	uint64_t nr;

	pthread_mutex_lock(&dev->lock);
	collect_left(dev);
	if (dev->method == PAGETABLE)
		scan_pagetable(dev);
	else
		scan_mkwrite(dev);
	nr = copy_dirty(dev);
	dev->stats.uploads++;
	pthread_mutex_unlock(&dev->lock);
	return nr;
}

/*
 * Make the copy equal to memory while @nr_writers threads store to it. It stays equal until
 * snapshot_end(). A writer may have called its hook and not yet have installed its entry. So this waits
 * until all writers wait at the gate; then the second protect() finds that entry.
 */
static void snapshot_begin(struct device *dev, unsigned nr_writers)
{
	pthread_mutex_lock(&dev->lock);
	dev->closed = true;
	protect(dev, 0, dev->nr_pages);
	while (dev->at_gate < nr_writers)
		pthread_cond_wait(&dev->gate, &dev->lock);
	protect(dev, 0, dev->nr_pages);
	collect_left(dev);
	collect(dev, 0, dev->nr_pages);
	copy_dirty(dev);
	pthread_mutex_unlock(&dev->lock);
}

static void snapshot_end(struct device *dev)
{
	pthread_mutex_lock(&dev->lock);
	dev->closed = false;
	pthread_cond_broadcast(&dev->gate);
	pthread_mutex_unlock(&dev->lock);
}

/*
 * The caller is about to unmap the range, which removes the dirty bits. Managed pages have no dirt() hook, so
 * this also protects the range: a store between here and the unmap calls the mkwrite hook.
 */
static void before_unmap(struct device *dev, uint64_t first, uint64_t nr)
{
	pthread_mutex_lock(&dev->lock);
	protect(dev, first, nr);
	collect(dev, first, nr);
	pthread_mutex_unlock(&dev->lock);
}

static void create_device(struct device *dev, struct vellum_memory *memory, enum kind kind)
{
	*dev = (struct device){ .kind = kind, .memory = memory };
	dev->nr_pages = kind == MANAGED ? MAX_PAGES : VRAM_PAGES;
	if (kind == DEVICE_IN_RAM) {
		must(vellum_memory_alloc_device(memory, dev->nr_pages, &dev->pfn), "frames");
	} else if (kind == DEVICE_OUTSIDE) {
		dev->pfn = VRAM_PFN;
		must(vellum_memory_add_device(memory, dev->pfn, dev->nr_pages, vram), "VRAM");
	}
	must(vellum_mapping_create(memory, kind == MANAGED ? &managed_ops : &pfn_ops, dev,
				   dev->nr_pages, kind == MANAGED ? 0 : VELLUM_MAPPING_PFN,
				   &dev->mapping), "mapping");
	dev->copy = calloc(dev->nr_pages, PAGE_SIZE);
	must(dev->copy ? 0 : -VELLUM_ENOMEM, "copy");
	pthread_mutex_init(&dev->lock, NULL);
	pthread_cond_init(&dev->gate, NULL);
	dev->method = dev->nr_pages >= LARGE ? MKWRITE : PAGETABLE; /* no program maps it yet */
}

static void destroy_device(struct device *dev)
{
	vellum_mapping_put(dev->mapping);
	if (dev->kind == DEVICE_IN_RAM)
		vellum_memory_free_device(dev->memory, dev->pfn, dev->nr_pages);
	pthread_cond_destroy(&dev->gate);
	pthread_mutex_destroy(&dev->lock);
	free(dev->copy);
}

/* --- programs --- */

static void create_world(struct world *w)
{
	struct vellum_memory_args args = { .size = sizeof(args), .host = vellum_host_posix(),
					   .host_ctx = &w->ram, .mmu = vellum_soft_mmu_ops() };

	*w = (struct world){ .ram.size = sizeof(w->ram) };
	must(vellum_host_ram_create(RAM_SIZE, &w->ram), "RAM");
	must(vellum_soft_create(2, &w->soft), "CPUs");
	args.machine = w->soft;
	args.ram = w->ram.base;
	args.ram_size = w->ram.len;
	must(vellum_memory_create(&args, &w->memory), "memory");
	must(vellum_mm_create(w->memory, &w->mm[0]), "address space");
	w->cpu[0] = vellum_soft_cpu(w->soft, 0);
	w->cpu[1] = vellum_soft_cpu(w->soft, 1);
	vellum_soft_load_mm(w->cpu[0], w->mm[0]);
}

static void destroy_world(struct world *w)
{
	must(vellum_memory_destroy(w->memory), "end of memory");
	vellum_soft_destroy(w->soft);
	vellum_host_ram_destroy(&w->ram);
}

static void end_programs(struct world *w)
{
	for (unsigned i = 0; i < 2; i++) {
		vellum_soft_load_mm(w->cpu[i], NULL);
		vellum_mm_put(w->mm[i]);	/* unmaps the rest */
	}
}

static void map_object(struct vellum_mm *mm, struct device *dev)
{
	struct vellum_map_args args = {
		.size = sizeof(args),
		.addr = BASE,
		.len = dev->nr_pages * PAGE_SIZE,
		.prot = VELLUM_PROT_READ | VELLUM_PROT_WRITE,
		.flags = VELLUM_MAP_SHARED | VELLUM_MAP_FIXED,
		.mapping = dev->mapping,
		.file_prot = VELLUM_PROT_READ | VELLUM_PROT_WRITE,
	};
	uint64_t addr;

	must(vellum_mmap(mm, &args, &addr), "mmap");
}

static void unmap_object(struct vellum_mm *mm, const struct device *dev)
{
	must(vellum_munmap(mm, BASE, dev->nr_pages * PAGE_SIZE), "munmap");
}

static void store(struct world *w, unsigned who, uint64_t page, uint64_t val)
{
	/* Each program has its own word, so that two can store to one page. */
	uint64_t addr = BASE + page * PAGE_SIZE + who * sizeof(val);

	must(vellum_soft_store64(w->cpu[who], addr, val) ? -VELLUM_EFAULT : 0, "store");
}

/* --- what must hold --- */

static bool copy_is_memory(const struct device *dev)
{
	char buf[PAGE_SIZE];

	for (uint64_t page = 0; page < dev->nr_pages; page++) {
		read_page(dev, page, buf);
		if (memcmp(buf, dev->copy + page * PAGE_SIZE, PAGE_SIZE))
			return false;
	}
	return true;
}

static void report(const struct device *dev, const char *phase, const struct stats *was)
{
	const struct stats *now = &dev->stats;

	printf("# %s, %s: %lu uploads, %lu pages uploaded, %lu write faults, %lu entries cleaned, "
	       "%lu protected, %lu switches, now %s\n", kind_name[dev->kind], phase,
	       now->uploads - was->uploads, now->pages - was->pages, now->faults - was->faults,
	       now->cleaned - was->cleaned, now->protected - was->protected,
	       now->switches - was->switches, method_name[dev->method]);
}

/* The parent stores to every @stride-th page, the child to every second one of those. */
static uint64_t burst(struct world *w, const struct device *dev, uint64_t stride, uint64_t *nr_stores)
{
	uint64_t nr = 0;

	for (uint64_t page = 0; page < dev->nr_pages; page += stride, nr++) {
		store(w, 0, page, ++w->serial);
		if (nr % 2 == 0)
			store(w, 1, page, ++w->serial);
	}
	*nr_stores = nr + (nr + 1) / 2;
	return nr;
}

/* No program stores during an upload, so each must be exact. At the end, the method must be @method. */
static void run_phase(struct world *w, struct device *dev, const char *phase, uint64_t stride,
		      enum method method)
{
	struct stats was = dev->stats;
	uint64_t faults = 0, nr_stores = 0;
	bool equal = true, exact = true;

	for (unsigned i = 0; i < 2 * PATIENCE; i++) {
		faults = dev->stats.faults;
		uint64_t nr_pages = burst(w, dev, stride, &nr_stores);

		exact &= upload(dev) == nr_pages;
		equal &= copy_is_memory(dev);
	}
	faults = dev->stats.faults - faults;
	report(dev, phase, &was);
	check(dev, equal, "%s: the copy equals memory after each upload", phase);
	check(dev, exact, "%s: each upload has the pages stored to and no others", phase);
	check(dev, dev->method == method && faults == (method == MKWRITE ? nr_stores : 0),
	      "%s: ends with %s and %lu faults for %lu stores", phase, method_name[method], faults,
	      nr_stores);
}

/* A page that the parent stored to before the fork is uploaded once, and so is a page that the child stores to. */
static void run_fork(struct world *w, struct device *dev)
{
	struct stats was = dev->stats;

	for (uint64_t page = 0; page < 5; page++)
		store(w, 0, page, ++w->serial);
	must(vellum_fork(w->mm[0], &w->mm[1]), "fork");
	vellum_soft_load_mm(w->cpu[1], w->mm[1]);
	store(w, 1, 4, ++w->serial);
	store(w, 1, 5, ++w->serial);
	check(dev, upload(dev) == 6 && copy_is_memory(dev), "fork: six pages of two programs");
	report(dev, "fork", &was);
}

/* --- uploads and snapshots while programs run --- */

struct writer {
	struct world *w;
	unsigned who;
	uint64_t nr_hot;	/* number of pages that it stores to */
	uint64_t nr_stores;	/* atomic */
	uint32_t stop;		/* atomic */
	pthread_t thread;
};

/*
 * One writer uses even pages, the other odd pages. If both stored to one managed page, one of them would
 * wait for the folio lock and not at the gate, and snapshot_begin() would wait for it forever.
 */
static void *keep_storing(void *arg)
{
	struct writer *wr = arg;

	for (uint64_t i = 1; !__atomic_load_n(&wr->stop, __ATOMIC_ACQUIRE); i++) {
		store(wr->w, wr->who, i % wr->nr_hot * 2 + wr->who, i);
		__atomic_store_n(&wr->nr_stores, i, __ATOMIC_RELEASE);
	}
	return NULL;
}

static void wait_for_stores(const struct writer *wr)
{
	uint64_t was = __atomic_load_n(&wr->nr_stores, __ATOMIC_ACQUIRE);

	while (__atomic_load_n(&wr->nr_stores, __ATOMIC_ACQUIRE) < was + 10)
		sched_yield();
}

static void run_race(struct world *w, struct device *dev, const char *phase, uint64_t nr_hot)
{
	struct writer writer[2] = { { .w = w, .nr_hot = nr_hot, .who = 0 },
				    { .w = w, .nr_hot = nr_hot, .who = 1 } };
	struct stats was = dev->stats;
	bool equal = true;

	for (unsigned i = 0; i < 2; i++)
		must(pthread_create(&writer[i].thread, NULL, keep_storing, &writer[i]), "thread");
	for (unsigned i = 0; i < 40; i++) {
		wait_for_stores(&writer[i % 2]);
		upload(dev);
		if (i % 8 == 7) {
			snapshot_begin(dev, 2);
			equal &= copy_is_memory(dev);
			snapshot_end(dev);
		}
	}
	for (unsigned i = 0; i < 2; i++) {
		__atomic_store_n(&writer[i].stop, 1, __ATOMIC_RELEASE);
		pthread_join(writer[i].thread, NULL);
	}
	upload(dev);
	report(dev, phase, &was);
	check(dev, equal, "%s: each snapshot of running programs equals memory", phase);
	check(dev, copy_is_memory(dev), "%s: the copy equals memory when the programs have ended", phase);
}

/* --- dirty pages that are unmapped --- */

/* Runs after a phase that ended with PAGETABLE: the entries of every third page are writable and clean. */
static void run_unmap(struct world *w, struct device *dev)
{
	struct stats was = dev->stats;

	if (dev->kind != MANAGED) {
		store(w, 0, 3, ++w->serial);
		store(w, 0, 6, ++w->serial);
		unmap_object(w->mm[0], dev);
		check(dev, upload(dev) == 2 && copy_is_memory(dev), "unmap: dirt() reported the pages");
	}
	for (uint64_t page = 0; page < 18; page += 6)
		store(w, 1, page, ++w->serial);
	before_unmap(dev, 0, dev->nr_pages);
	unmap_object(w->mm[1], dev);
	check(dev, upload(dev) == 3 && copy_is_memory(dev), "unmap: the pages were collected before");
	check(dev, dev->stats.faults == was.faults, "unmap: both without a fault");
	report(dev, "unmap", &was);
}

static void run_device(enum kind kind)
{
	const char *why = NULL;
	struct device dev;
	struct world w;

	create_world(&w);
	create_device(&dev, w.memory, kind);
	map_object(w.mm[0], &dev);
	run_fork(&w, &dev);
	run_phase(&w, &dev, "sparse", dev.nr_pages / 2, MKWRITE);
	run_phase(&w, &dev, "dense", 3, PAGETABLE);
	run_phase(&w, &dev, "sparse again", dev.nr_pages / 2, MKWRITE);
	run_race(&w, &dev, "few pages at once", 2);
	run_race(&w, &dev, "many pages at once", dev.nr_pages / 2);
	run_phase(&w, &dev, "dense again", 3, PAGETABLE);
	run_unmap(&w, &dev);
	check(&dev, vellum_validate(w.memory, &why) == 0, "all invariants hold%s%s",
	      why ? ", but for " : "", why ? why : "");
	end_programs(&w);
	destroy_device(&dev);
	destroy_world(&w);
}

int main(void)
{
	run_device(MANAGED);
	run_device(DEVICE_IN_RAM);
	run_device(DEVICE_OUTSIDE);
	return nr_failed != 0;
}
