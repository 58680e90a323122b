/* SPDX-License-Identifier: MIT */
/* mm/fault/vm_fault.h - the result of a step of a page fault. An errno value is never one, nor the other way round. */
#ifndef MM_FAULT_VM_FAULT_H
#define MM_FAULT_VM_FAULT_H

#include "lib/errnum.h"
#include "vellum/backing.h"
#include "vellum/mmu.h"

enum vm_fault {
	/* The fault ended. The values are those of enum vellum_fault_result. */
	VM_FAULT_DONE = VELLUM_FAULT_OK,
	VM_FAULT_MAPERR = VELLUM_FAULT_SIGSEGV_MAPERR,
	VM_FAULT_ACCERR = VELLUM_FAULT_SIGSEGV_ACCERR,
	VM_FAULT_SIGBUS = VELLUM_FAULT_SIGBUS,
	VM_FAULT_OOM = VELLUM_FAULT_OOM,
	VM_FAULT_HWPOISON = VELLUM_FAULT_HWPOISON,
	VM_FAULT_INTERRUPTED = VELLUM_FAULT_INTERRUPTED,
	/* The fault goes on. handle_mm_fault() returns only WAIT of these. */
	VM_FAULT_AGAIN = 64,	/* the entry or the page changed meanwhile: read the entry anew, with the same locks */
	VM_FAULT_NOPAGE,	/* a hook has resolved the fault, or wants it repeated: the CPU runs the instruction again */
	VM_FAULT_FALLBACK,	/* no huge leaf, or no raw frame, here: try the next smaller kind of page */
	VM_FAULT_WAIT,		/* drop the mmap lock, call uffd_wait_resolved(), then repeat the fault */
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

/* The error for a library call that met @fault; @failure if it is neither lack of memory nor a change meanwhile. */
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
