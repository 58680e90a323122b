/* SPDX-License-Identifier: MIT */
/*
 * vellum/uffd.h - userfaultfd(2): somebody else resolves the faults of an address space.
 *
 * A context belongs to one address space. Ranges are registered with it in modes: missing pages, pages that
 * an object has and the entry lacks (minor), write-protected pages. A fault there queues a message and
 * waits; who reads the message puts a page in or lifts the protection, and wakes the waiter.
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

enum {	/* numbers of the ioctls: bit positions in the masks that api() and register() give */
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

enum {	/* mode of vellum_uffd_copy(); DONTWAKE also of zeropage(), continue() and poison() */
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
 * struct vellum_uffd_msg - what a reader gets
 * @event: VELLUM_UFFD_EVENT_*.
 * @pagefault: @address in bytes, to a page unless EXACT_ADDRESS; @ptid with THREAD_ID, else 0.
 * @fork:  the child's context, with a reference that is the reader's.
 * @remap: @len bytes moved. @remove: also of an unmapping: [@start, @end).
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
	VELLUM_UFFD_USER_MODE_ONLY = 1 << 0,	/* only faults of CPUs; accesses for the program are EFAULT */
	VELLUM_UFFD_MAY_FORK = 1 << 1,		/* EVENT_FORK may be asked for (Linux: CAP_SYS_PTRACE) */
};

/**
 * vellum_uffd_create - a context for an address space, with one reference
 * @flags: VELLUM_UFFD_USER_MODE_ONLY, VELLUM_UFFD_MAY_FORK.
 *
 * The last reference's end closes it, as vellum_uffd_close() does.
 * Return: 0, -VELLUM_EINVAL, -VELLUM_ENOMEM. Source: userfaultfd(2).
 */
int vellum_uffd_create(struct vellum_mm *mm, uint32_t flags, struct vellum_uffd **out);
void vellum_uffd_get(struct vellum_uffd *uffd);
void vellum_uffd_put(struct vellum_uffd *uffd);

/**
 * vellum_uffd_close - nothing is registered with it any more, who waits goes on
 *
 * Protection and wp markers of its ranges go, poison stays. Events on their way are dropped. Further
 * calls return -VELLUM_EINVAL.
 */
void vellum_uffd_close(struct vellum_uffd *uffd);

/**
 * vellum_uffd_on_activity - call @fn when there may be something to read; no lock of the core is held but
 * leaves: it must not call back. NULL ends it. For an embedder's poll(2).
 */
void vellum_uffd_on_activity(struct vellum_uffd *uffd, void (*fn)(void *arg), void *arg);

/**
 * vellum_uffd_api - the handshake, once, before anything else
 * @features: wanted. @supported, @ioctls: out: all there are, as masks.
 *
 * Return: 0; -VELLUM_EINVAL (@api is not VELLUM_UFFD_API, unknown feature, second call); -VELLUM_EPERM
 *   (EVENT_FORK without VELLUM_UFFD_MAY_FORK).
 */
int vellum_uffd_api(struct vellum_uffd *uffd, uint64_t api, uint64_t features, uint64_t *supported,
		    uint64_t *ioctls);

/**
 * vellum_uffd_register - faults of a range go to this context
 * @modes: VELLUM_UFFD_MISSING, _WP, _MINOR. Of mappings that are registered already they replace the old ones,
 *         unless those contain them. @ioctls: out, a mask.
 *
 * Gaps are no error. Return: 0; -VELLUM_EINVAL (modes, alignment, nothing mapped, a mapping that cannot:
 *   device memory, shadow stacks, files but for WP alone with WP_ASYNC, MINOR of what is no shared-memory
 *   object); -VELLUM_EPERM (may never be written); -VELLUM_EBUSY (another context's); -VELLUM_ENOMEM.
 *   Nothing has changed then.
 */
int vellum_uffd_register(struct vellum_uffd *uffd, uint64_t start, uint64_t len, uint64_t modes,
			 uint64_t *ioctls);

/**
 * vellum_uffd_unregister - and no longer; who waits in the range goes on
 * Return: 0; -VELLUM_EINVAL (range, a mapping that could not be registered, another context's);
 *   -VELLUM_ENOMEM.
 */
int vellum_uffd_unregister(struct vellum_uffd *uffd, uint64_t start, uint64_t len);

/** vellum_uffd_wake - who waits in the range tries again. 0; -VELLUM_EINVAL (range; @len 0). */
int vellum_uffd_wake(struct vellum_uffd *uffd, uint64_t start, uint64_t len);

/**
 * vellum_uffd_copy - put pages in, with these bytes
 * @dst, @len: page aligned, in one mapping. @src: address in the context's own address space, unless @bytes.
 * @bytes:  the bytes, in host memory; NULL: from @src.
 * @mode:   VELLUM_UFFD_COPY_*.
 * @done:   out: bytes done, or a negative error number if none were.
 *
 * Waiters of what was done go on, unless DONTWAKE.
 * Return: 0 if all was done; -VELLUM_EAGAIN (a part, or an event is on its way); -VELLUM_EINVAL,
 *   -VELLUM_ENOENT (not inside one registered mapping), -VELLUM_EEXIST (a page is there),
 *   -VELLUM_EFAULT (bytes, or beyond the object's end), -VELLUM_ENOMEM.
 */
int vellum_uffd_copy(struct vellum_uffd *uffd, uint64_t dst, uint64_t src, const void *bytes, uint64_t len,
		     uint64_t mode, int64_t *done);

/**
 * vellum_uffd_zeropage - the same with zeros
 *
 * Private memory gets the shared page of zeros; there a marker is -VELLUM_EEXIST too.
 */
int vellum_uffd_zeropage(struct vellum_uffd *uffd, uint64_t start, uint64_t len, uint64_t mode, int64_t *done);

/**
 * vellum_uffd_continue - map what the object has there already
 *
 * Return: as vellum_uffd_copy(); -VELLUM_EFAULT: it has nothing; -VELLUM_EINVAL: beyond its end.
 */
int vellum_uffd_continue(struct vellum_uffd *uffd, uint64_t start, uint64_t len, uint64_t mode, int64_t *done);

/** vellum_uffd_poison - accesses are VELLUM_FAULT_HWPOISON from here on, until something else is put in. */
int vellum_uffd_poison(struct vellum_uffd *uffd, uint64_t start, uint64_t len, uint64_t mode, int64_t *done);

/**
 * vellum_uffd_writeprotect - write-protect a range, or resolve
 * @mode: VELLUM_UFFD_WRITEPROTECT_*.
 *
 * Where a page can come from an object, and with WP_UNPOPULATED everywhere, what is not there is protected too.
 * Return: 0; -VELLUM_EINVAL; -VELLUM_ENOENT (a mapping is not registered so: what is before it has changed);
 *   -VELLUM_EAGAIN (an event is on its way); -VELLUM_ENOMEM.
 */
int vellum_uffd_writeprotect(struct vellum_uffd *uffd, uint64_t start, uint64_t len, uint64_t mode);

/**
 * vellum_uffd_move - move pages of private memory, without a copy
 * @mode: VELLUM_UFFD_MOVE_*.
 *
 * Both ranges lie in one private anonymous mapping each, alike and writable.
 * Return: as vellum_uffd_copy(); -VELLUM_ENOENT (no mapping, or a hole in the source), -VELLUM_EBUSY (a page is
 *   pinned, or not the process's own).
 */
int vellum_uffd_move(struct vellum_uffd *uffd, uint64_t dst, uint64_t src, uint64_t len, uint64_t mode,
		     int64_t *done);

/**
 * vellum_uffd_read - take messages: page faults first, in order, then events
 * @nr: room in @msg. @got: out. @wait: wait for one if there is none.
 *
 * Return: 0; -VELLUM_EAGAIN (none); -VELLUM_EINVAL (before the handshake, @nr 0); -VELLUM_EINTR (the host's
 *   interrupted() says so).
 */
int vellum_uffd_read(struct vellum_uffd *uffd, struct vellum_uffd_msg *msg, uint32_t nr, bool wait,
		     uint32_t *got);

/** vellum_uffd_poll - there is something to read; 1, 0, or -VELLUM_EINVAL before the handshake. */
int vellum_uffd_poll(struct vellum_uffd *uffd);

#ifdef __cplusplus
}
#endif
#endif
