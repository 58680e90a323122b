/* SPDX-License-Identifier: MIT */
/* mm/outside/device.h - device-private pages (in a device's memory) and device-exclusive pages (in RAM). */
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
