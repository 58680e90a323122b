/* SPDX-License-Identifier: MIT */
/* mm/outside/device.h - pages in a device's memory, as entries name them; and pages that a device has for itself. */
#ifndef MM_OUTSIDE_DEVICE_H
#define MM_OUTSIDE_DEVICE_H

#include "mm/mm.h"
#include "vellum/device.h"

struct fault;

void device_page_put(struct vellum_memory *m, pfn_t pfn);	/* an entry for it went; ptl held */
void device_page_share(struct vellum_memory *m, pfn_t pfn);	/* another one came, by fork */
bool device_page_exists(struct vellum_memory *m, pfn_t pfn);	/* entries may name it: mm/table/exposed.h */
int device_private_fault(struct fault *f);
int device_exclusive_fault(struct fault *f);
/* The device has it no longer: the entry maps the page again. ptl held. */
void device_exclusive_restore(struct vma *vma, gva_t addr, pte_t *ptep);

#endif
