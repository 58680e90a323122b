/* SPDX-License-Identifier: MIT */
/*
 * mm/outside/device.h - entries of pages in a device's memory, and of pages in RAM that a device uses exclusively.
 *
 * Locking: the functions on an entry or a device page are called with the entry's page-table lock held, and take
 * memory->lock. device_exclusive_restore() calls the exclusive() hooks of all devices with both held. The two faults
 * are called as do_swap_page() (mm/fault/fault.h): mmap_lock is held, and no page-table lock. device_private_fault()
 * takes the device page's lock, calls to_ram() with it held, and takes anon_vma->lock and page-table locks inside.
 */
#ifndef MM_OUTSIDE_DEVICE_H
#define MM_OUTSIDE_DEVICE_H

#include "mm/mm.h"
#include "vellum/device.h"

struct fault;

void device_page_put(struct vellum_memory *m, pfn_t pfn);	/* an entry for it was removed; ptl held */
void device_page_share(struct vellum_memory *m, pfn_t pfn);	/* fork copied an entry for it */
bool device_page_exists(struct vellum_memory *m, pfn_t pfn);	/* entries may name it: mm/table/exposed.h */
enum vm_fault device_private_fault(struct fault *f);
enum vm_fault device_exclusive_fault(struct fault *f);
/* Replace a device-exclusive entry by one that maps the page. ptl held. */
void device_exclusive_restore(struct vma *vma, gva_t addr, pte_t *ptep);

#endif
