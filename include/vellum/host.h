/* SPDX-License-Identifier: MIT */
/*
 * vellum/host.h - the hooks that an embedder supplies. The core has no other connection to an operating system.
 *
 * The core has no globals, and calls nothing but these hooks and memcpy(), memmove(), memset(), memcmp(). The library
 * has a port for POSIX: vellum_host_posix(). In a single-threaded port wait() may call bug(), since it is never
 * reached without a second thread, and the optional hooks may be absent.
 */
#ifndef VELLUM_HOST_H
#define VELLUM_HOST_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * What the hook interrupted() returns.
 */
#define VELLUM_INTERRUPTED	1
#define VELLUM_KILLED		2

/**
 * struct vellum_host_ops - hooks into the host; the core copies them
 * @size:    sizeof(struct vellum_host_ops) as the embedder compiled it.
 * @alloc:   allocate @size bytes, zeroed, aligned to @align (a power of two, 8 to 4096). NULL: no memory. The calling
 *           operation then fails with -VELLUM_ENOMEM, unless its description says otherwise. May be called with core
 *           locks held; must not call the core.
 * @free:    free what @alloc returned, with the same @size. Never called with NULL.
 * @wait:    return when *@word is not @value, or at any earlier time, as futex(2) FUTEX_WAIT. The core checks again.
 * @wake:    wake all threads that are in @wait on @word.
 * @commit:  optional. Make the @len bytes of RAM at @offset accessible. Both are multiples of 2 MiB. Called before
 *           their first use, and before the first use after @discard. Return 0, or -VELLUM_ENOMEM: the frames are then
 *           not used.
 * @discard: optional. These bytes of RAM hold nothing any more. From here on they read as zero, or @commit makes them
 *           zero before they are used.
 * @thread_id: optional. The number of the calling thread, as programs know it: for the fault messages of a
 * userfaultfd.
 * @interrupted: optional. VELLUM_INTERRUPTED: a signal is pending, so the calling thread should stop waiting for a
 *           userfaultfd. VELLUM_KILLED: the signal ends the process, so a long call should stop too; it then returns
 *           -VELLUM_EINTR. 0: neither. Called before each sleep in a wait for a userfaultfd or for its messages, and
 *           page by page in long calls. Core locks may be held; must not call the core.
 * @wait_for_user: optional. As @wait; called instead of it in a wait for user space: for the resolution of a
 *           userfaultfd's fault, for its messages, or for a message to be read. No core lock is held. An embedder whose
 *           thread holds what user space needs to run, such as a CPU, gives it up here. May call the core.
 * @forged:  optional. A page-table entry has the value @entry, which the core did not write; @what is the reason.
 *           Called only if a program may write the tables (VELLUM_MMU_TABLES_EXPOSED), before memory is accessed
 *           through the entry. Must not return: core locks are held, and this RAM cannot be trusted any more. If the
 *           hook is absent or returns, the core calls @bug and then traps.
 * @bug:     the core or its caller is in a state that must not occur; @what describes it. May return: the operation
 *           then continues as well as it can.
 */
struct vellum_host_ops {
	uint32_t size;
	void *(*alloc)(void *host, size_t size, size_t align);
	void (*free)(void *host, void *ptr, size_t size);
	void (*wait)(void *host, uint32_t *word, uint32_t value);
	void (*wake)(void *host, uint32_t *word);
	int (*commit)(void *host, uint64_t offset, uint64_t len);
	void (*discard)(void *host, uint64_t offset, uint64_t len);
	void (*bug)(void *host, const char *what, const char *file, int line);
	uint32_t (*thread_id)(void *host);
	int (*interrupted)(void *host);
	void (*forged)(void *host, uint64_t entry, const char *what);
	void (*wait_for_user)(void *host, uint32_t *word, uint32_t value);
};

/**
 * struct vellum_host_ram - host memory that serves as RAM
 * @size: sizeof(struct vellum_host_ram).
 * @base: host address, aligned to 4096.
 * @len:  bytes.
 * @fd:   the memory file behind it (memfd_create(2)), for a machine that shares it. Below 0: none, so @commit does
 *        nothing and @discard zeroes the bytes.
 */
struct vellum_host_ram {
	uint32_t size;
	int fd;
	void *base;
	uint64_t len;
};

/**
 * vellum_host_posix - the hooks for POSIX hosts that have Linux's futex(2)
 *
 * Their context is a struct vellum_host_ram, or NULL if RAM need not be committed or discarded. It has no thread_id(),
 * interrupted() and forged(); bug() prints the reason and aborts.
 */
const struct vellum_host_ops *vellum_host_posix(void);

/**
 * vellum_host_ram_create - create sparse shared host memory for RAM
 * @len: bytes, a multiple of 2 MiB, not 0.
 * @ram: the caller has set @size; the rest is filled on success.
 *
 * Return: 0; -VELLUM_EINVAL (@len, @ram->size); -VELLUM_ENOMEM (memfd_create(2), ftruncate(2) or mmap(2) failed).
 */
int vellum_host_ram_create(uint64_t len, struct vellum_host_ram *ram);

/** vellum_host_ram_destroy - unmap and close what vellum_host_ram_create() created. */
void vellum_host_ram_destroy(struct vellum_host_ram *ram);

#ifdef __cplusplus
}
#endif
#endif
