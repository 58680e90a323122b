/* SPDX-License-Identifier: MIT */
/*
 * vellum/uffd.h - userfaultfd(2): another thread or process resolves the faults of an address space.
 *
 * A context belongs to one address space. Ranges are registered with it in modes: missing pages, pages that a mapping
 * has and the entry lacks (minor), write-protected pages. A fault there queues a message and waits, with no lock held.
 * The reader of the message fills in a page or removes the protection, and wakes the faulting thread.
 *
 * Numbers and layouts are those of linux/userfaultfd.h, so that an embedder can pass them through.
 * Source: userfaultfd(2), ioctl_userfaultfd(2), the kernel's admin-guide/mm/userfaultfd.rst.
 */
#ifndef VELLUM_UFFD_H
#define VELLUM_UFFD_H

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct vellum_mm;
struct vellum_uffd;

#define VELLUM_UFFD_API 0xaa

enum {	/* features, a bit each */
	VELLUM_UFFD_FEATURE_PAGEFAULT_FLAG_WP = 1 << 0,
	VELLUM_UFFD_FEATURE_EVENT_FORK = 1 << 1,
	VELLUM_UFFD_FEATURE_EVENT_REMAP = 1 << 2,
	VELLUM_UFFD_FEATURE_EVENT_REMOVE = 1 << 3,
	VELLUM_UFFD_FEATURE_MISSING_SHMEM = 1 << 5,
	VELLUM_UFFD_FEATURE_EVENT_UNMAP = 1 << 6,
	VELLUM_UFFD_FEATURE_SIGBUS = 1 << 7,
	VELLUM_UFFD_FEATURE_THREAD_ID = 1 << 8,
	VELLUM_UFFD_FEATURE_MINOR_SHMEM = 1 << 10,
	VELLUM_UFFD_FEATURE_EXACT_ADDRESS = 1 << 11,
	VELLUM_UFFD_FEATURE_WP_HUGETLBFS_SHMEM = 1 << 12,
	VELLUM_UFFD_FEATURE_WP_UNPOPULATED = 1 << 13,
	VELLUM_UFFD_FEATURE_POISON = 1 << 14,
	VELLUM_UFFD_FEATURE_WP_ASYNC = 1 << 15,
	VELLUM_UFFD_FEATURE_MOVE = 1 << 16,
};

enum {	/* modes of a registration */
	VELLUM_UFFD_MISSING = 1 << 0,
	VELLUM_UFFD_WP = 1 << 1,
	VELLUM_UFFD_MINOR = 1 << 2,
};

enum {	/* numbers of the ioctls: bit positions in the masks of vellum_uffd_api() and vellum_uffd_register() */
	VELLUM_UFFDIO_REGISTER = 0x00,
	VELLUM_UFFDIO_UNREGISTER = 0x01,
	VELLUM_UFFDIO_WAKE = 0x02,
	VELLUM_UFFDIO_COPY = 0x03,
	VELLUM_UFFDIO_ZEROPAGE = 0x04,
	VELLUM_UFFDIO_MOVE = 0x05,
	VELLUM_UFFDIO_WRITEPROTECT = 0x06,
	VELLUM_UFFDIO_CONTINUE = 0x07,
	VELLUM_UFFDIO_POISON = 0x08,
	VELLUM_UFFDIO_API = 0x3f,
};

enum {	/* mode of vellum_uffd_copy(); DONTWAKE also of vellum_uffd_zeropage() and vellum_uffd_poison() */
	VELLUM_UFFD_COPY_DONTWAKE = 1 << 0,
	VELLUM_UFFD_COPY_WP = 1 << 1,
};

enum {	/* mode of vellum_uffd_continue() */
	VELLUM_UFFD_CONTINUE_DONTWAKE = 1 << 0,
	VELLUM_UFFD_CONTINUE_WP = 1 << 1,
};

enum {	/* mode of vellum_uffd_move() */
	VELLUM_UFFD_MOVE_DONTWAKE = 1 << 0,
	VELLUM_UFFD_MOVE_ALLOW_SRC_HOLES = 1 << 1,
};

enum {	/* mode of vellum_uffd_writeprotect() */
	VELLUM_UFFD_WRITEPROTECT_WP = 1 << 0,
	VELLUM_UFFD_WRITEPROTECT_DONTWAKE = 1 << 1,
};

enum {
	VELLUM_UFFD_EVENT_PAGEFAULT = 0x12,
	VELLUM_UFFD_EVENT_FORK = 0x13,
	VELLUM_UFFD_EVENT_REMAP = 0x14,
	VELLUM_UFFD_EVENT_REMOVE = 0x15,
	VELLUM_UFFD_EVENT_UNMAP = 0x16,
};

enum {	/* flags of a page fault */
	VELLUM_UFFD_FLAG_WRITE = 1 << 0,
	VELLUM_UFFD_FLAG_WP = 1 << 1,
	VELLUM_UFFD_FLAG_MINOR = 1 << 2,
};

/**
 * struct vellum_uffd_msg - a message for the reader
 * @event: VELLUM_UFFD_EVENT_*.
 * @pagefault: @address in bytes, rounded down to a page unless EXACT_ADDRESS; @ptid with THREAD_ID, else 0.
 * @fork:   the child's context; the reader owns a reference to it.
 * @remap:  @len bytes moved.
 * @remove: also the range of EVENT_UNMAP: [@start, @end).
 */
struct vellum_uffd_msg {
	uint8_t event;
	union {
		struct {
			uint64_t flags, address;
			uint32_t ptid;
		} pagefault;
		struct {
			struct vellum_uffd *child;
		} fork;
		struct {
			uint64_t from, to, len;
		} remap;
		struct {
			uint64_t start, end;
		} remove;
	} arg;
};

enum {
	VELLUM_UFFD_USER_MODE_ONLY = 1 << 0,	/* only faults of CPUs; other accesses fail with -EFAULT */
	VELLUM_UFFD_MAY_FORK = 1 << 1,		/* EVENT_FORK is allowed (Linux: CAP_SYS_PTRACE) */
};

/**
 * vellum_uffd_create - create a context for an address space, with one reference
 * @flags: VELLUM_UFFD_USER_MODE_ONLY, VELLUM_UFFD_MAY_FORK.
 *
 * When the last reference is dropped, the context is closed, as by vellum_uffd_close().
 * Return: 0; -VELLUM_EINVAL; -VELLUM_ENOMEM.
 * Source: userfaultfd(2).
 */
int vellum_uffd_create(struct vellum_mm *mm, uint32_t flags, struct vellum_uffd **out);
void vellum_uffd_get(struct vellum_uffd *uffd);
void vellum_uffd_put(struct vellum_uffd *uffd);

/** vellum_uffd_is_for - does the context belong to this address space? */
bool vellum_uffd_is_for(struct vellum_uffd *uffd, const struct vellum_mm *mm);

/**
 * vellum_uffd_close - unregister all ranges, and wake all waiting faults
 *
 * Write protection and wp markers are removed; poison stays. Undelivered events are dropped. Later calls for the
 * context return -VELLUM_EINVAL.
 * Context: takes the mmap lock for writing.
 */
void vellum_uffd_close(struct vellum_uffd *uffd);

/**
 * vellum_uffd_on_activity - call @fn when there may be a message to read; NULL ends it
 *
 * For an embedder's poll(2). @fn is called with locks of the core held, the mmap lock among them: it must not call the
 * core, nor wait.
 */
void vellum_uffd_on_activity(struct vellum_uffd *uffd, void (*fn)(void *arg), void *arg);

/**
 * vellum_uffd_api - the handshake: once, before any other call
 * @api:      VELLUM_UFFD_API.
 * @features: the wanted VELLUM_UFFD_FEATURE_*.
 * @supported: out, may be NULL: all features.
 * @ioctls:   out, may be NULL: mask of the ioctls on the context.
 *
 * Return: 0; -VELLUM_EINVAL (@api, unknown feature, second call, closed); -VELLUM_EPERM (EVENT_FORK without
 *   VELLUM_UFFD_MAY_FORK).
 */
int vellum_uffd_api(struct vellum_uffd *uffd, uint64_t api, uint64_t features, uint64_t *supported,
		    uint64_t *ioctls);

/**
 * vellum_uffd_register - register a range: its faults go to this context
 * @start, @len: bytes, page aligned.
 * @modes: VELLUM_UFFD_MISSING, _WP, _MINOR. They replace the modes of a VMA that is registered already, unless those
 *         include them.
 * @ioctls: out, may be NULL: mask of the ioctls for the range.
 *
 * Holes are no error.
 * Context: takes the mmap lock for writing.
 * Return: 0;
 *   -VELLUM_EINVAL: modes, alignment, no VMA, or a VMA that cannot be registered: device memory, shadow stacks, files
 *   without has_page() (except for WP alone with WP_ASYNC), MINOR of anonymous memory;
 *   -VELLUM_EPERM: a VMA that may never be written;
 *   -VELLUM_EBUSY: registered with another context;
 *   -VELLUM_ENOMEM: also if the address space is gone. VMAs before the one that needed memory are registered.
 */
int vellum_uffd_register(struct vellum_uffd *uffd, uint64_t start, uint64_t len, uint64_t modes,
			 uint64_t *ioctls);

/**
 * vellum_uffd_unregister - unregister a range, remove its write protection, and wake the faults that wait in it
 * Return: 0; -VELLUM_EINVAL (range, a VMA that could not be registered, another context's); -VELLUM_ENOMEM (VMAs
 *   before the one that needed memory are unregistered).
 */
int vellum_uffd_unregister(struct vellum_uffd *uffd, uint64_t start, uint64_t len);

/** vellum_uffd_wake - wake the faults that wait in a range: they retry. 0; -VELLUM_EINVAL (range; @len 0). */
int vellum_uffd_wake(struct vellum_uffd *uffd, uint64_t start, uint64_t len);

/**
 * vellum_uffd_copy - fill in pages with given bytes
 * @dst, @len: page aligned, in one VMA.
 * @src:    address in the context's own address space; not used with @bytes.
 * @bytes:  the bytes, in host memory; NULL: at @src.
 * @mode:   VELLUM_UFFD_COPY_*.
 * @done:   out, may be NULL: bytes done, or a negative error number if none were.
 *
 * Wakes the faults that wait for the filled pages, unless DONTWAKE.
 * Context: takes the mmap lock for reading. Reading @src may fault, and wait for another context.
 * Return: 0 if all was done; -VELLUM_EAGAIN (a part was done, or an event is not read yet); -VELLUM_EINVAL (range,
 *   mode, WP without registration for it); -VELLUM_ENOENT (not inside one registered VMA); -VELLUM_EEXIST (a page is
 *   there);
 *   -VELLUM_EFAULT (@src, or beyond the mapping's end); -VELLUM_ENOMEM (also: page_mkwrite() refused);
 *   -VELLUM_ESRCH (the address space is gone);
 *   -VELLUM_EINTR (the host's interrupted() hook).
 */
int vellum_uffd_copy(struct vellum_uffd *uffd, uint64_t dst, uint64_t src, const void *bytes, uint64_t len,
		     uint64_t mode, int64_t *done);

/**
 * vellum_uffd_copy_from - fill in pages with bytes of another address space
 * @from: the address space of @src. ioctl_userfaultfd(2) means that of the caller, which may be another than the
 *        context's.
 *
 * Otherwise as vellum_uffd_copy() with @src.
 */
int vellum_uffd_copy_from(struct vellum_uffd *uffd, uint64_t dst, struct vellum_mm *from, uint64_t src, uint64_t len,
			  uint64_t mode, int64_t *done);

/**
 * vellum_uffd_zeropage - fill in zeros
 *
 * Private memory gets the zero page; a wp marker or poison there is -VELLUM_EEXIST too.
 * Return: as vellum_uffd_copy().
 */
int vellum_uffd_zeropage(struct vellum_uffd *uffd, uint64_t start, uint64_t len, uint64_t mode, int64_t *done);

/**
 * vellum_uffd_continue - map the pages that a shared-memory mapping has
 *
 * Return: as vellum_uffd_copy(); -VELLUM_EFAULT: the mapping has no page; -VELLUM_EINVAL: beyond its end.
 */
int vellum_uffd_continue(struct vellum_uffd *uffd, uint64_t start, uint64_t len, uint64_t mode, int64_t *done);

/**
 * vellum_uffd_poison - poison empty entries: an access is VELLUM_FAULT_HWPOISON until a page is filled in
 *
 * Return: as vellum_uffd_copy().
 */
int vellum_uffd_poison(struct vellum_uffd *uffd, uint64_t start, uint64_t len, uint64_t mode, int64_t *done);

/**
 * vellum_uffd_writeprotect - write-protect a range, or remove the protection and wake its faults
 * @mode: VELLUM_UFFD_WRITEPROTECT_*. DONTWAKE is for removing only.
 *
 * In VMAs of a mapping, and with WP_UNPOPULATED in all, an entry that is none gets a marker, so it is protected too.
 * Context: takes the mmap lock for reading; flushes.
 * Return: 0; -VELLUM_EINVAL; -VELLUM_ENOENT (no VMA, or one that is not registered for WP: VMAs before it have
 * changed);
 *   -VELLUM_EAGAIN (an event is not read yet); -VELLUM_ENOMEM (a part has changed); -VELLUM_ESRCH, -VELLUM_EINTR: as
 *   vellum_uffd_copy().
 */
int vellum_uffd_writeprotect(struct vellum_uffd *uffd, uint64_t start, uint64_t len, uint64_t mode);

/**
 * vellum_uffd_move - move pages of private memory, without a copy
 * @dst, @src, @len: page aligned. The target lies in one VMA that is registered with this context.
 * @mode: VELLUM_UFFD_MOVE_*.
 * @done: as vellum_uffd_copy().
 *
 * Each range lies in one private anonymous VMA. Both are writable, and have the same rights and the same VM_LOCKED.
 * Huge pages of the source are split.
 * Return: as vellum_uffd_copy(); -VELLUM_ENOENT (no VMA, or a hole in the source without ALLOW_SRC_HOLES);
 *   -VELLUM_EBUSY (a page is pinned, or other processes may have it).
 */
int vellum_uffd_move(struct vellum_uffd *uffd, uint64_t dst, uint64_t src, uint64_t len, uint64_t mode,
		     int64_t *done);

/**
 * vellum_uffd_read - take messages: page faults first, in order, then events
 * @nr:   room in @msg.
 * @got:  out: messages taken.
 * @wait: wait for a message if there is none.
 *
 * Return: 0; -VELLUM_EAGAIN (none); -VELLUM_EINVAL (before the handshake, closed, @nr 0); -VELLUM_EINTR (the host's
 *   interrupted() hook).
 */
int vellum_uffd_read(struct vellum_uffd *uffd, struct vellum_uffd_msg *msg, uint32_t nr, bool wait,
		     uint32_t *got);

/**
 * vellum_uffd_take_event - take an event in place of the reader, so that its sender goes on
 * @word: of the host's wait_for_user(), in which the sender of the event is.
 *
 * For an embedder that has stopped the program during the operation that sends the event: no reader can run.
 *
 * Return: 0; -VELLUM_ENOENT: the context has no such event.
 */
int vellum_uffd_take_event(struct vellum_uffd *uffd, const uint32_t *word, struct vellum_uffd_msg *msg);

/** vellum_uffd_poll - 1: there is a message to read; 0: none; -VELLUM_EINVAL before the handshake, or closed. */
int vellum_uffd_poll(struct vellum_uffd *uffd);

/** vellum_uffd_count - how many faults wait: those whose message is not read, and all together */
void vellum_uffd_count(struct vellum_uffd *uffd, uint64_t *pending, uint64_t *total);

#ifdef __cplusplus
}
#endif
#endif
