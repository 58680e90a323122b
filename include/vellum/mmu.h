/* SPDX-License-Identifier: MIT */
/*
 * vellum/mmu.h - the hooks that a machine supplies. A machine runs CPUs that walk the page tables and cache
 * translations.
 *
 * The core changes page tables, and tells the machine what to flush. The machine tells the core which faults its CPUs
 * took.
 */
#ifndef VELLUM_MMU_H
#define VELLUM_MMU_H

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct vellum_mm;
struct vellum_memory;

#define VELLUM_MAX_CPUS 64

/*
 * Kinds of change in a flush batch.
 */
enum {
	VELLUM_FLUSH_RIGHTS = 1 << 0,	/* W, D or the user bit was cleared, or NX was set */
	VELLUM_FLUSH_ACCESSED = 1 << 1,	/* A was cleared */
	VELLUM_FLUSH_UNMAP = 1 << 2,	/* an entry was removed or its frame replaced */
	VELLUM_FLUSH_TABLES = 1 << 3,	/* a table was unlinked, or its entry lost A: paging-structure caches too */
};

#define VELLUM_FLUSH_RANGES 8
#define VELLUM_FLUSH_FRAMES 64

/**
 * struct vellum_flush_batch - entries of an address space that were removed or lost rights
 * @size:      sizeof(struct vellum_flush_batch) as the core was compiled.
 * @kinds:     VELLUM_FLUSH_*.
 * @nr_ranges: number of elements of @range in use.
 * @nr_frames: number of elements of @frame in use.
 * @full:      @range has too few elements. The core's own: it then calls flush_mm() instead of flush().
 * @all_frames: @frame has too few elements: an entry of any frame may have changed.
 * @range:     [start, end) in bytes, page aligned: what a CPU that walks the tables must forget. None, with
 *             VELLUM_FLUSH_TABLES in @kinds: only what it cached of the tables' own entries.
 * @frame:     guest frame numbers whose entries changed: what a machine that shadows the tables must forget.
 */
struct vellum_flush_batch {
	uint32_t size;		/* sizeof the structure */
	uint32_t kinds;
	uint16_t nr_ranges;
	uint16_t nr_frames;
	bool full;
	bool all_frames;
	struct {
		uint64_t start, end;
	} range[VELLUM_FLUSH_RANGES];
	uint64_t frame[VELLUM_FLUSH_FRAMES];
};

/*
 * Capabilities of a machine.
 */
enum {
	/* A CPU that was deactivated may still use its translations when it is activated again, so address spaces
	 * without an active CPU are flushed too. */
	VELLUM_MMU_SURVIVES_DEACTIVATION = 1 << 0,
	/* Before a present entry loses rights or D, the core clears it and flushes its page. For CPUs that write
	 * a cached copy back to a present entry, and so would set the bit again. One flush for each page; walks
	 * are not stopped. */
	VELLUM_MMU_CLEAR_FLUSH = 1 << 1,
	/* A program may be able to write the tables, since RAM is shared with an untrusted process. The core then
	 * checks each entry that it follows; see vellum_host_ops.forged. */
	VELLUM_MMU_TABLES_EXPOSED = 1 << 2,
};

/**
 * struct vellum_mmu_ops - the hooks of a machine
 * @size: sizeof(struct vellum_mmu_ops).
 * @caps: VELLUM_MMU_*.
 * @flush: when it returns, no CPU holds a translation that @batch names, and every access through one has finished.
 *         May wait for CPUs. A CPU must not need a core lock to finish its access: a CPU inside a fault counts as
 *         finished. Called with a page-table lock held, with a lock of a mapping, or with none.
 * @flush_mm: the same for all translations of the address space.
 * @flush_cache_range: optional. For virtually indexed caches: when the flush that follows returns, they hold no bytes
 *         of [start, end), nor any bytes that are stored there in between. Called before a collection or a helper for
 *         shared mappings changes entries.
 * @activate: optional. @cpu was added to @mm's cpumask; the frame of its top-level table is @pgd.
 * @deactivate: optional. @cpu is about to be removed from @mm's cpumask.
 * @init_pgd: optional. Fill the upper 256 entries of a new top-level table. They belong to the machine.
 * @machine_page: optional. Every address space gets a page of the machine at VELLUM_MACHINE_PAGE. @bytes are its 4096
 *         zeroed bytes, for the machine to fill; vellum_mm_machine_page() returns them later. Programs can read and
 *         execute the page, but not write it. It is in no VMA, and stays until the address space is destroyed. Called
 *         while the address space is created, with no lock held.
 * @sync_icache: optional. The host changed the bytes of frame @pfn: when it returns, no CPU executes instructions that
 *         it decoded from the old bytes. For machines that cache translated code.
 * @stop_walks, @resume_walks: optional, both or none. Between the return of the first and the call of the second, no
 *         CPU reads or changes entries of @mm's tables; CPUs may use cached translations. Called with a page-table
 *         lock held, for a few hundred instructions. Calls of several threads may overlap. The core then changes
 *         entries without locked instructions. Leave them out where CPUs walk by themselves, as hardware does.
 * All take the machine context given at vellum_memory_create().
 */
struct vellum_mmu_ops {
	uint32_t size;
	uint32_t caps;
	void (*flush)(void *machine, struct vellum_mm *mm, const struct vellum_flush_batch *batch);
	void (*flush_mm)(void *machine, struct vellum_mm *mm);
	void (*flush_cache_range)(void *machine, struct vellum_mm *mm, uint64_t start, uint64_t end);
	void (*activate)(void *machine, unsigned cpu, struct vellum_mm *mm, uint64_t pgd);
	void (*deactivate)(void *machine, unsigned cpu, struct vellum_mm *mm);
	void (*init_pgd)(void *machine, uint64_t *upper);
	void (*machine_page)(void *machine, void *bytes);
	void (*sync_icache)(void *machine, uint64_t pfn);
	void (*stop_walks)(void *machine, struct vellum_mm *mm);
	void (*resume_walks)(void *machine, struct vellum_mm *mm);
};

/**
 * vellum_mm_activate - add a CPU to the address space that it is about to run in
 * @cpu: 0 to VELLUM_MAX_CPUS - 1. It must be active in no address space.
 *
 * Context: takes no lock; callable from any thread. Calls mmu_ops->activate().
 */
void vellum_mm_activate(struct vellum_mm *mm, unsigned cpu);

/** vellum_mm_deactivate - remove a CPU from the address space; calls mmu_ops->deactivate(). */
void vellum_mm_deactivate(struct vellum_mm *mm, unsigned cpu);

/** vellum_mm_cpumask - bit i: CPU i is active in @mm. A flush must reach these CPUs. */
uint64_t vellum_mm_cpumask(const struct vellum_mm *mm);

/** vellum_mm_pgd - frame number of the top-level table; times 4096 it is the value for CR3. */
uint64_t vellum_mm_pgd(const struct vellum_mm *mm);

/*
 * The last page of the lower half, above VELLUM_TASK_SIZE: no program can map anything there.
 */
#define VELLUM_MACHINE_PAGE 0x7ffffffff000ull

/** vellum_mm_machine_page - host address of the page at VELLUM_MACHINE_PAGE; NULL: the machine has none. */
void *vellum_mm_machine_page(const struct vellum_mm *mm);

/** vellum_mm_memory - the memory of the address space. */
struct vellum_memory *vellum_mm_memory(const struct vellum_mm *mm);

/**
 * vellum_frame_host - host address of a guest frame
 *
 * Return: the address of the frame's 4096 bytes, for RAM and for device memory that vellum_memory_add_device() added;
 * NULL for any other number.
 */
void *vellum_frame_host(struct vellum_memory *memory, uint64_t pfn);

/*
 * Error bits of a fault; the hardware's (Intel SDM, "Page-Fault Exceptions").
 */
enum {
	VELLUM_FAULT_PRESENT = 1 << 0,
	VELLUM_FAULT_WRITE = 1 << 1,
	VELLUM_FAULT_USER = 1 << 2,
	VELLUM_FAULT_INSTR = 1 << 4,
	VELLUM_FAULT_SHSTK = 1 << 6,
};

enum vellum_fault_result {
	VELLUM_FAULT_OK = 0,		/* the CPU runs the instruction again */
	VELLUM_FAULT_SIGSEGV_MAPERR,	/* no VMA there */
	VELLUM_FAULT_SIGSEGV_ACCERR,	/* the VMA does not allow this access */
	VELLUM_FAULT_SIGBUS,		/* beyond the mapping's end, or its backing failed */
	VELLUM_FAULT_OOM,		/* no memory; nothing changed */
	VELLUM_FAULT_HWPOISON,		/* SIGBUS with BUS_MCEERR_AR: the page is poisoned */
	VELLUM_FAULT_INTERRUPTED,	/* the host ended a wait: deliver the signal, then retry */
};

/**
 * vellum_handle_fault - resolve a page fault that a CPU took
 * @mm:    address space of the CPU.
 * @addr:  faulting byte address (CR2).
 * @error: VELLUM_FAULT_* bits.
 *
 * A fault for an access that the entry allows (a spurious fault) is normal and cheap.
 *
 * Context: takes the mmap lock for reading, or for writing while a stack grows. May call backing hooks and swap areas.
 *          May sleep: on page locks with the mmap lock held, and for a userfaultfd with no lock held. The CPU must use
 *          no translation meanwhile.
 * Return: VELLUM_FAULT_OK, or the signal that the access gets.
 * Source: semantics as Linux's, in SPEC.md "Faults".
 */
enum vellum_fault_result vellum_handle_fault(struct vellum_mm *mm, uint64_t addr, uint32_t error);

/** vellum_fault_result_name - the name of a result, such as "SIGBUS"; constant. NULL for an unknown result. */
const char *vellum_fault_result_name(enum vellum_fault_result result);

#ifdef __cplusplus
}
#endif
#endif
