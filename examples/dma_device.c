/* SPDX-License-Identifier: MIT */
/*
 * examples/dma_device.c - a device that reads and writes a program's memory by frames.
 *
 * The device pins buffers of the program and then uses only their frames, as a DMA engine behind an IOMMU does. The
 * example shows:
 * - Program and device see each other's stores, also after the program has forked and stored.
 * - A file that is written back cannot be pinned long-term.
 * - When the device unpins the pages, trackers report them as changed.
 */
#include <stdio.h>
#include <string.h>
#include <vellum/backing.h>
#include <vellum/dirty.h>
#include <vellum/gup.h>
#include <vellum/host.h>
#include <vellum/mm.h>
#include <vellum/soft.h>

#define PAGES 8u
#define PAGE VELLUM_PAGE_SIZE

static int failed;

static void check(int ok, const char *what)
{
	printf("# %s: %s\n", what, ok ? "yes" : "NO");
	failed |= !ok;
}

/* --- the device: it has a list of frames, each a buffer of one page --- */

struct device {
	struct vellum_memory *memory;
	uint64_t pfn[PAGES], nr;
};

static int device_take(struct device *d, struct vellum_mm *mm, uint64_t addr, uint64_t pages)
{
	return vellum_pin_pages(mm, addr, pages, VELLUM_GUP_WRITE | VELLUM_GUP_LONGTERM, d->pfn, &d->nr);
}

/* The device received a packet, and stores it in a buffer. */
static void device_receive(struct device *d, unsigned buffer, const char *packet)
{
	char *page = vellum_frame_host(d->memory, d->pfn[buffer]);

	snprintf(page, PAGE, "%s", packet);
}

static void device_release(struct device *d)
{
	vellum_unpin_pages_dirty(d->memory, d->pfn, d->nr);
	d->nr = 0;
}

/* --- the program's side --- */

static int reads(struct vellum_soft_cpu *cpu, uint64_t addr, const char *text)
{
	char seen[16] = "";

	for (unsigned i = 0; i < sizeof(seen) - 1; i++)
		if (vellum_soft_load8(cpu, addr + i, (uint8_t *)&seen[i]) != VELLUM_FAULT_OK)
			return 0;
	return !strcmp(seen, text);
}

static int note_run(void *arg, uint64_t page, uint64_t nr)
{
	uint64_t *pages = arg;

	(void)page;
	*pages += nr;
	return 0;
}

static int no_write(void *ctx, uint64_t pgoff, const void *page, uint32_t len)
{
	(void)ctx, (void)pgoff, (void)page, (void)len;
	return 0;
}

static const struct vellum_backing_ops file_ops = { .size = sizeof(file_ops), .writepage = no_write };

static uint64_t map(struct vellum_mm *mm, struct vellum_mapping *object)
{
	struct vellum_map_args a = { .size = sizeof(a), .len = PAGES * PAGE, .prot = VELLUM_PROT_READ | VELLUM_PROT_WRITE,
				     .flags = object ? VELLUM_MAP_SHARED : VELLUM_MAP_PRIVATE | VELLUM_MAP_ANONYMOUS,
				     .mapping = object, .file_prot = VELLUM_PROT_READ | VELLUM_PROT_WRITE };
	uint64_t addr = 0;

	return vellum_mmap(mm, &a, &addr) ? 0 : addr;
}

static void run(struct vellum_memory *memory, struct vellum_mm *mm, struct vellum_soft_cpu *cpu)
{
	struct device device = { .memory = memory };
	uint64_t buffers = map(mm, NULL), mapped_file, changed = 0;
	struct vellum_tracker *tracker;
	struct vellum_mapping *file;
	struct vellum_mm *child;

	check(!device_take(&device, mm, buffers, PAGES) && device.nr == PAGES, "never accessed buffers are pinned");
	device_receive(&device, 3, "first");
	check(reads(cpu, buffers + 3 * PAGE, "first"), "the program sees what the device stores");

	/* fork copies pinned pages for the child at once. Parent and device keep sharing the original pages. */
	check(!vellum_fork(mm, &child), "fork");
	vellum_soft_store8(cpu, buffers + 3 * PAGE, 'F');
	device_receive(&device, 4, "second");
	check(*(char *)vellum_frame_host(memory, device.pfn[3]) == 'F', "the device sees what the program stores");
	check(reads(cpu, buffers + 4 * PAGE, "second"), "the program sees what the device stores after a fork");
	vellum_soft_load_mm(cpu, child);
	check(reads(cpu, buffers + 3 * PAGE, "first") && reads(cpu, buffers + 4 * PAGE, ""), "the child has copies");
	vellum_soft_load_mm(cpu, mm);
	vellum_mm_put(child);

	if (!vellum_track_mm(mm, buffers, buffers + PAGES * PAGE, VELLUM_TRACK_CLEAN, &tracker)) {
		device_receive(&device, 5, "third");
		device_release(&device);
		vellum_tracker_collect(tracker, 0, ~0ull, note_run, &changed);
		vellum_tracker_destroy(tracker);
	}
	check(changed == PAGES, "trackers report all pages that the device may have stored to");

	if (vellum_mapping_create(memory, &file_ops, NULL, PAGES, VELLUM_MAPPING_WRITEBACK, &file))
		return;
	mapped_file = map(mm, file);
	check(device_take(&device, mm, mapped_file, PAGES) == -VELLUM_EFAULT,
	      "a file that is written back cannot be pinned long-term");
	vellum_munmap(mm, mapped_file, PAGES * PAGE);
	vellum_mapping_put(file);
}

int main(void)
{
	struct vellum_host_ram ram = { .size = sizeof(ram) };
	struct vellum_soft *soft;
	struct vellum_memory *memory;
	struct vellum_mm *mm;

	if (vellum_host_ram_create(64 << 20, &ram) || vellum_soft_create(1, &soft) ||
	    vellum_memory_create(&(struct vellum_memory_args){ .size = sizeof(struct vellum_memory_args),
							       .host = vellum_host_posix(),
							       .mmu = vellum_soft_mmu_ops(),
							       .machine = soft,
							       .ram = ram.base,
							       .ram_size = ram.len },
				 &memory) ||
	    vellum_mm_create(memory, &mm))
		return 1;
	vellum_soft_load_mm(vellum_soft_cpu(soft, 0), mm);
	run(memory, mm, vellum_soft_cpu(soft, 0));
	vellum_soft_load_mm(vellum_soft_cpu(soft, 0), NULL);
	vellum_mm_put(mm);
	vellum_memory_destroy(memory);
	vellum_soft_destroy(soft);
	vellum_host_ram_destroy(&ram);
	return failed;
}
