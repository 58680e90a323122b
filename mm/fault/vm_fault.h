/* SPDX-License-Identifier: MIT */
/* mm/fault/vm_fault.h - the result of a page fault, or of a step of it. No errno value: vm_fault_errno() converts. */
#ifndef MM_FAULT_VM_FAULT_H
#define MM_FAULT_VM_FAULT_H

#include "lib/errnum.h"
#include "vellum/backing.h"
#include "vellum/mmu.h"

enum vm_fault {
	/* The fault ended. The values are those of enum vellum_fault_result. */
	VM_FAULT_DONE = VELLUM_FAULT_OK,	/* from a step: continue with the next one */
	VM_FAULT_MAPERR = VELLUM_FAULT_SIGSEGV_MAPERR,
	VM_FAULT_ACCERR = VELLUM_FAULT_SIGSEGV_ACCERR,
	VM_FAULT_SIGBUS = VELLUM_FAULT_SIGBUS,
	VM_FAULT_OOM = VELLUM_FAULT_OOM,
	VM_FAULT_HWPOISON = VELLUM_FAULT_HWPOISON,
	VM_FAULT_INTERRUPTED = VELLUM_FAULT_INTERRUPTED,
	/* The fault goes on. handle_mm_fault() returns only WAIT of these. */
	VM_FAULT_AGAIN = 64,	/* the entry or the page changed meanwhile: read the entry anew, with the same locks */
	VM_FAULT_NOPAGE,	/* a hook has resolved the fault, or wants it repeated: the CPU runs the instruction again */
	VM_FAULT_FALLBACK,	/* no huge leaf here: try a smaller one, or a table; no raw frame: use the page cache */
	VM_FAULT_WAIT,		/* drop the mmap lock, call uffd_wait_resolved(), retry (Linux: VM_FAULT_RETRY) */
};

/* The result for a hook's return value VELLUM_VMF_*. */
static inline enum vm_fault vm_fault_of_hook(int code)
{
	switch (code) {
	case VELLUM_VMF_OK:
	case VELLUM_VMF_LOCKED:
		return VM_FAULT_DONE;
	case VELLUM_VMF_NOPAGE:
		return VM_FAULT_NOPAGE;
	case VELLUM_VMF_OOM:
		return VM_FAULT_OOM;
	default:
		return VM_FAULT_SIGBUS;
	}
}

/* The same for a hook that answers with a raw frame: it has no page to lock, so LOCKED is an invalid answer. */
static inline enum vm_fault vm_fault_of_pfn_hook(int code)
{
	return code == VELLUM_VMF_LOCKED ? VM_FAULT_SIGBUS : vm_fault_of_hook(code);
}

/* The error for a library call whose page fault had the result @fault. @failure: for SIGSEGV, SIGBUS and HWPOISON. */
static inline int vm_fault_errno(enum vm_fault fault, int failure)
{
	switch (fault) {
	case VM_FAULT_DONE:
		return 0;
	case VM_FAULT_OOM:
		return -ENOMEM;
	case VM_FAULT_AGAIN:
		return -EAGAIN;
	case VM_FAULT_WAIT:
	case VM_FAULT_INTERRUPTED:
		return -EINTR;
	default:
		return failure;
	}
}

#endif
