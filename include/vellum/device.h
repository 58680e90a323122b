/* SPDX-License-Identifier: MIT */
/*
 * vellum/device.h - devices that have memory of their own: private pages move there and come back by faults; and pages
 * of RAM that a device alone may use for a while.
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
 * struct vellum_device_ops - how bytes get in and out of the device's memory; const
 * @size: sizeof(struct vellum_device_ops).
 * @to_device: page @index of the device holds the 4096 bytes of @page from here on. 0 or a negative error number.
 * @to_ram: the other way. Not 0: an access gets SIGBUS.
 * @exclusive: optional. The page at frame @pfn, which the device had for itself, is mapped for CPUs again.
 *
 * Called with the page's lock held: they must not call into the core.
 */
struct vellum_device_ops {
	uint32_t size;
	int (*to_device)(void *ctx, uint64_t index, const void *page);
	int (*to_ram)(void *ctx, uint64_t index, void *page);
	void (*exclusive)(void *ctx, uint64_t pfn);
};

/**
 * vellum_device_create - a device with @nr_pages of memory, 1 to 2^20
 * Return: 0, -VELLUM_EINVAL, -VELLUM_ENOMEM.
 */
int vellum_device_create(struct vellum_memory *memory, const struct vellum_device_ops *ops, void *ctx,
			 uint64_t nr_pages, struct vellum_device **out);
/** vellum_device_destroy - 0, or -VELLUM_EBUSY while some address space has pages there. */
int vellum_device_destroy(struct vellum_device *device);

/**
 * vellum_device_migrate - move private pages of a range into the device's memory
 * @moved: out: pages that moved.
 *
 * What is not there, shared with an object, pinned, or locked in memory stays. Every process that maps a page has
 * a device-private entry for it then; the first access of a CPU brings it back for all of them.
 * Return: 0 (also if the device is full), -VELLUM_EINVAL (range), -VELLUM_EFAULT (nothing mapped there).
 */
int vellum_device_migrate(struct vellum_device *device, struct vellum_mm *mm, uint64_t addr, uint64_t nr,
			  uint64_t *moved);

/**
 * vellum_device_make_exclusive - a page in RAM that the device alone may use from here on
 * @addr: page aligned. @pfn: out: its frame.
 *
 * The page is brought in and made the process's own, as for a store. The next access of a CPU maps it again, after
 * @exclusive was called.
 * Return: 0; -VELLUM_EINVAL; -VELLUM_EFAULT (not private memory that may be written); -VELLUM_EBUSY
 *   (pinned, locked, shared); -VELLUM_ENOMEM.
 */
int vellum_device_make_exclusive(struct vellum_device *device, struct vellum_mm *mm, uint64_t addr, uint64_t *pfn);

/** vellum_device_used - pages of its memory in use. */
uint64_t vellum_device_used(const struct vellum_device *device);

/**
 * vellum_migrate_page - move the page at an address to another frame, for everybody who maps it
 *
 * For compaction, and to test with. Accesses wait meanwhile.
 * Return: 0; -VELLUM_EFAULT (no page there); -VELLUM_EBUSY (pinned, or in use by somebody who does not map it);
 *   -VELLUM_ENOMEM.
 */
int vellum_migrate_page(struct vellum_mm *mm, uint64_t addr);

#ifdef __cplusplus
}
#endif
#endif
