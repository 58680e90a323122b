/* SPDX-License-Identifier: MIT */
/*
 * vellum/host.h - what an embedder supplies: the only door from the core to an operating system.
 *
 * The core has no globals and calls nothing but these hooks (and memcpy, memmove, memset,
 * memcmp). A port for POSIX is in the library: vellum_host_posix(). A single-threaded port may
 * make wait() call bug() (it is never reached without a second thread) and leave out the
 * optional hooks.
 */
#ifndef VELLUM_HOST_H
#define VELLUM_HOST_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What the hook interrupted() returns. */
#define VELLUM_INTERRUPTED	1
#define VELLUM_KILLED		2

/**
 * struct vellum_host_ops - hooks into the host; const, shared by any number of instances
 * @size:    sizeof(struct vellum_host_ops) as the embedder compiled it.
 * @alloc:   @size bytes, zeroed, aligned to @align (a power of two, 8 to 4096). NULL when there is
 *           no memory: the calling operation then fails with -VELLUM_ENOMEM and changes nothing
 *           but what its docstring says. May be called with core locks held; must not call back.
 * @free:    give back what @alloc returned, with the same @size. Never called with NULL.
 * @wait:    return when *@word is no longer @value, or at any time before (spurious returns are
 *           allowed, as with futex(2) FUTEX_WAIT). Callers re-check.
 * @wake:    wake threads that are in @wait on @word, all of them.
 * @commit:  optional. The @len bytes of RAM at @offset (both multiples of 2 MiB, or the rest of
 *           RAM) are about to be used for the first time or for the first time since @discard:
 *           make sure they can be touched. 0, or -VELLUM_ENOMEM: the frames are then not used.
 * @discard: optional. Nothing is kept any more in these bytes of RAM; after it they must read as
 *           zero or be committed again before use.
 * @thread_id: optional. A number of the calling thread, as programs know it: goes into messages about its
 *           faults.
 * @interrupted: optional. VELLUM_INTERRUPTED: a signal has come for the calling thread, which should not go on
 *           waiting for its fault to be resolved. VELLUM_KILLED: the signal will end the process, so a call that has
 *           much to do should not go on either; it returns -VELLUM_EINTR. 0: neither. Called whenever wait() returns,
 *           and page by page in long calls, with core locks held; must not call back.
 * @forged:  optional. A page-table entry has the value @entry, which the core has not written: @what says why not.
 *           Called only where tables are exposed (VELLUM_MMU_TABLES_EXPOSED), before anything is accessed through the
 *           entry. Must not return: core locks are held, and nothing in this RAM can be relied on any more.
 *           Without it, or if it returns, the core calls @bug and then traps.
 * @bug:     the core found itself or its caller in a state that must not be; @what says which.
 *           May return: the operation then goes on as best it can.
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
};

/**
 * struct vellum_host_ram - a range of host memory that serves as RAM
 * @base: host address, aligned to 4096.
 * @size: bytes.
 * @fd:   memory file behind it (memfd_create(2)), for a machine that shares it.
 */
struct vellum_host_ram {
	void *base;
	uint64_t size;
	int fd;
};

/** vellum_host_posix - hooks for POSIX hosts with Linux's futex(2); pass a struct vellum_host_ram
 * (or NULL, if RAM need not be committed or discarded) as the host context. */
const struct vellum_host_ops *vellum_host_posix(void);

/**
 * vellum_host_ram_create - sparse shared host memory for RAM
 * @size: bytes, multiple of 2 MiB.
 * @ram:  out, filled on success.
 *
 * Return: 0, -VELLUM_EINVAL for a bad size, -VELLUM_ENOMEM.
 */
int vellum_host_ram_create(uint64_t size, struct vellum_host_ram *ram);

/** vellum_host_ram_destroy - unmap and close what vellum_host_ram_create() made. */
void vellum_host_ram_destroy(struct vellum_host_ram *ram);

#ifdef __cplusplus
}
#endif
#endif
