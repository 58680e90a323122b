/* SPDX-License-Identifier: MIT */
/*
 * vellum/mmu.h - what a machine supplies: who walks the tables, who may hold translations.
 *
 * The core changes page tables; a machine runs CPUs that use them. The core tells the machine
 * what to forget; the machine tells the core which faults its CPUs took.
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

/* Kinds of change a flush batch has seen. */
enum {
	VELLUM_FLUSH_RIGHTS = 1 << 0,	/* W, D, NX or the user bit was taken away */
	VELLUM_FLUSH_ACCESSED = 1 << 1,	/* A was cleared */
	VELLUM_FLUSH_UNMAP = 1 << 2,	/* an entry was removed or its frame replaced */
	VELLUM_FLUSH_TABLES = 1 << 3,	/* a table was unlinked: paging-structure caches too */
};

#define VELLUM_FLUSH_RANGES 8
#define VELLUM_FLUSH_FRAMES 64

/**
 * struct vellum_flush_batch - what was taken away from an address space
 * @kinds:     VELLUM_FLUSH_* seen.
 * @nr_ranges: entries of @range in use. 0 with @full unset: no address was touched.
 * @nr_frames: entries of @frame in use.
 * @full:      more than @range holds: everything of the address space.
 * @all_frames: more than @frame holds: any frame may be concerned.
 * @range:     [start, end) in bytes, page aligned: what a CPU that walks the tables forgets.
 * @frame:     guest page frame numbers whose entries changed: what a machine that shadows the
 *             tables forgets.
 */
struct vellum_flush_batch {
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

/* Capabilities of a machine. */
enum {
	/* A CPU that left an address space may still use its translations when it comes back:
	 * address spaces that no CPU runs must be flushed as well. */
	VELLUM_MMU_SURVIVES_DEACTIVATION = 1 << 0,
	/* Rights of a present entry (D is one of them) may only be lowered by clearing it, flushing that page,
	 * and writing the new value: for CPUs that write a cached copy of an entry back while the entry is
	 * present, and so would give it again what was taken. One flush for each page; walks are not stopped. */
	VELLUM_MMU_CLEAR_FLUSH = 1 << 1,
	/* A program may be able to write the tables, as RAM is shared with a process that is not trusted. The core
	 * then checks each entry that it follows; see vellum_host_ops.forged. */
	VELLUM_MMU_TABLES_EXPOSED = 1 << 2,
};

/**
 * struct vellum_mmu_ops - the machine's side of the contract
 * @size: sizeof(struct vellum_mmu_ops).
 * @caps: VELLUM_MMU_*.
 * @flush: on return no CPU holds or can still use what @batch took away, and no access begun
 *         before through it is unfinished. May wait for CPUs, which must not need a core lock to
 *         get there: a CPU inside a fault counts as outside. Called with a page-table lock or
 *         the mapping's lock held, or with none.
 * @flush_mm: the same for everything of the address space.
 * @flush_cache_range: optional. Virtually indexed caches hold nothing of [start, end); nor of what is stored
 *         there afterwards, on return of the flush that follows. Called before a collection or a
 *         helper for shared mappings changes entries.
 * @activate: optional. @cpu is now in @mm's cpumask; its tables are at frame @pgd.
 * @deactivate: optional. @cpu left @mm's cpumask.
 * @init_pgd: optional. Fill the upper 256 entries of a new top-level table, the machine's own.
 * @machine_page: optional. Every address space gets a page of the machine's at VELLUM_MACHINE_PAGE. @bytes are its
 *         4096 zeroed bytes, for the machine to fill; vellum_mm_machine_page() finds them again. Programs can
 *         read and execute the page, not write it; it is in no VMA, and only the end of the address space
 *         removes it. Called while the address space is made; takes no lock.
 * @sync_icache: optional. The bytes of frame @pfn were changed by the host: no CPU may execute
 *         instructions that it decoded from it before. For machines that cache translated code.
 * @stop_walks, @resume_walks: optional, both or none. From the return of the first to the call of the
 *         second no CPU reads or changes entries of @mm's tables; what it has cached it may go on
 *         using. Called with a page-table lock held and for a few hundred instructions; may overlap from
 *         several threads. The core then does without locked instructions. Leave them out where
 *         CPUs walk by themselves, as hardware does.
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
 * vellum_mm_activate - a CPU starts to run in an address space
 * @cpu: 0 to VELLUM_MAX_CPUS - 1. It must be in no address space.
 *
 * Context: takes no lock; may be called from any thread. Calls mmu_ops->activate().
 */
void vellum_mm_activate(struct vellum_mm *mm, unsigned cpu);

/** vellum_mm_deactivate - the CPU left it; see mmu_ops->deactivate(). */
void vellum_mm_deactivate(struct vellum_mm *mm, unsigned cpu);

/** vellum_mm_cpumask - bit i: CPU i is active in @mm. A flush must reach these. */
uint64_t vellum_mm_cpumask(const struct vellum_mm *mm);

/** vellum_mm_pgd - frame number of the top-level table: what goes to CR3, times 4096. */
uint64_t vellum_mm_pgd(const struct vellum_mm *mm);

/* The page above VELLUM_TASK_SIZE, the last of the lower half: no program can map anything there. */
#define VELLUM_MACHINE_PAGE 0x7ffffffff000ull

/** vellum_mm_machine_page - host address of the page at VELLUM_MACHINE_PAGE; NULL: the machine has none. */
void *vellum_mm_machine_page(const struct vellum_mm *mm);

/** vellum_mm_memory - the memory that the address space lives in. */
struct vellum_memory *vellum_mm_memory(const struct vellum_mm *mm);

/**
 * vellum_frame_host - host address of a guest frame
 *
 * Return: where the frame's 4096 bytes are, for RAM and for device memory that was added with a
 * host address; NULL for any other number.
 */
void *vellum_frame_host(struct vellum_memory *memory, uint64_t pfn);

/* Error bits of a fault, the hardware's (Intel SDM, "Page-Fault Exceptions"). */
enum {
	VELLUM_FAULT_PRESENT = 1 << 0,
	VELLUM_FAULT_WRITE = 1 << 1,
	VELLUM_FAULT_USER = 1 << 2,
	VELLUM_FAULT_INSTR = 1 << 4,
	VELLUM_FAULT_SHSTK = 1 << 6,
};

enum vellum_fault_result {
	VELLUM_FAULT_OK = 0,		/* run the instruction again */
	VELLUM_FAULT_SIGSEGV_MAPERR,	/* nothing mapped there */
	VELLUM_FAULT_SIGSEGV_ACCERR,	/* mapped, but not for this access */
	VELLUM_FAULT_SIGBUS,		/* beyond the object's end, or the backing failed */
	VELLUM_FAULT_OOM,		/* no memory; nothing changed */
	VELLUM_FAULT_HWPOISON,		/* SIGBUS with BUS_MCEERR_AR: the page is poisoned */
	VELLUM_FAULT_INTERRUPTED,	/* a wait was broken off by the host: deliver the signal, then try again */
};

/**
 * vellum_handle_fault - resolve a page fault that a CPU took
 * @mm:    address space of the CPU.
 * @addr:  faulting byte address (CR2).
 * @error: VELLUM_FAULT_* bits.
 *
 * A fault that the entry already allows (spurious) is normal and cheap.
 *
 * Context: takes the mmap lock for reading; may call backing hooks. The CPU must be outside
 *          any translation.
 * Return: VELLUM_FAULT_OK or what the access deserves.
 * Source: semantics as Linux's, in SPEC.md "Faults".
 */
enum vellum_fault_result vellum_handle_fault(struct vellum_mm *mm, uint64_t addr, uint32_t error);

#ifdef __cplusplus
}
#endif
#endif
