/* SPDX-License-Identifier: MIT */
/*
 * vellum/device.h - devices with memory of their own. Private pages move there, and return by faults. And pages of RAM
 * that only a device may use for some time.
 */
#ifndef VELLUM_DEVICE_H
#define VELLUM_DEVICE_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct vellum_memory;
struct vellum_mm;
struct vellum_device;

/**
 * struct vellum_device_ops - hooks that copy pages to and from the device's memory; const
 * @size: sizeof(struct vellum_device_ops).
 * @to_device: copy the 4096 bytes of @page into page @index of the device. Return 0 or a negative error number: the
 *         page then stays in RAM.
 * @to_ram: copy page @index of the device into @page. If it does not return 0, the access gets SIGBUS.
 * @exclusive: optional. The exclusive page at frame @pfn is about to be mapped for CPUs again. Every device of the
 *         memory is told, since the entry does not name its device: the hook ignores frames that are not its own.
 *         Called with a page-table lock and a leaf lock of the core held.
 *
 * @to_device and @to_ram are called with the lock of a page held, and with the mmap lock for reading. No hook may call
 * the core.
 */
struct vellum_device_ops {
	uint32_t size;
	int (*to_device)(void *ctx, uint64_t index, const void *page);
	int (*to_ram)(void *ctx, uint64_t index, void *page);
	void (*exclusive)(void *ctx, uint64_t pfn);
};

/**
 * vellum_device_create - create a device with @nr_pages of memory, 1 to 2^20
 * @ops: hooks; not copied. @to_device and @to_ram are required.
 *
 * Return: 0; -VELLUM_EINVAL; -VELLUM_ENOMEM.
 */
int vellum_device_create(struct vellum_memory *memory, const struct vellum_device_ops *ops, void *ctx,
			 uint64_t nr_pages, struct vellum_device **out);
/** vellum_device_destroy - destroy a device; NULL is allowed. 0, or -VELLUM_EBUSY while entries name its pages. */
int vellum_device_destroy(struct vellum_device *device);

/**
 * vellum_device_migrate - move private pages of a range into the device's memory
 * @addr:  page aligned.
 * @nr:    pages, at least 1.
 * @moved: out, may be NULL: pages that moved.
 *
 * A page stays if it is not present, in the swap cache, a mapping's, pinned, or in a locked VMA. Every process that
 * maps a page that moved has a device-private entry instead. The first access of a CPU moves it back for all of them.
 * Context: takes the mmap lock for reading, and page locks.
 * Return: 0 (also if the device is full); -VELLUM_EINVAL (range); -VELLUM_EFAULT (no VMA in the range).
 */
int vellum_device_migrate(struct vellum_device *device, struct vellum_mm *mm, uint64_t addr, uint64_t nr,
			  uint64_t *moved);

/**
 * vellum_device_make_exclusive - give the device exclusive use of a page in RAM
 * @addr: page aligned.
 * @pfn:  out: the frame of the page.
 *
 * The page is faulted in as for a store, so only this process maps it. Then its entry is replaced, and CPUs fault. The
 * next access of a CPU, or a fork, calls @exclusive and maps the page again.
 * Return: 0; -VELLUM_EINVAL; -VELLUM_EFAULT (not private memory that may be written, or the fault failed);
 *   -VELLUM_EBUSY (pinned, locked, or not exclusive to the process); -VELLUM_ENOMEM; -VELLUM_EINTR (a wait for a
 *   userfaultfd was interrupted).
 */
int vellum_device_make_exclusive(struct vellum_device *device, struct vellum_mm *mm, uint64_t addr, uint64_t *pfn);

/** vellum_device_used - pages of the device's memory in use. */
uint64_t vellum_device_used(const struct vellum_device *device);

/**
 * vellum_migrate_page - move the page at an address to another frame, for all processes that map it
 *
 * For compaction and for tests. Accesses to the page wait meanwhile.
 * Return: 0; -VELLUM_EFAULT (@addr unaligned, or no page there); -VELLUM_EBUSY (pinned, in the swap cache, being
 *   written back, or referenced by other than its entries); -VELLUM_ENOMEM.
 */
int vellum_migrate_page(struct vellum_mm *mm, uint64_t addr);

#ifdef __cplusplus
}
#endif
#endif
