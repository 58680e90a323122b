/* SPDX-License-Identifier: MIT */
/*
 * vellum/access.h - read and write a program's memory from outside its CPUs, as a system call does.
 */
#ifndef VELLUM_ACCESS_H
#define VELLUM_ACCESS_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct vellum_mm;

/**
 * vellum_copy_to_user - store bytes into a program's memory
 * @addr: guest address.
 * @len:  bytes.
 * @done: out, may be NULL: bytes stored, also on failure.
 *
 * Pages are faulted in as by a store of the program. The entry of each page that gets bytes gets D; the entries of
 * other pages do not. The bytes of a page are stored under its page-table lock, so no collector can clean D and miss
 * them.
 *
 * Context: takes the mmap lock for reading and page-table locks. Drops them while it waits for a userfaultfd or
 * reclaims. A stack grows under the mmap lock for writing.
 * Return: 0; -VELLUM_EFAULT, -VELLUM_ENOMEM, -VELLUM_EINTR (a wait for a userfaultfd was interrupted): the first
 *   *@done bytes are stored.
 */
int vellum_copy_to_user(struct vellum_mm *mm, uint64_t addr, const void *buf, uint64_t len,
			uint64_t *done);

/** vellum_copy_from_user - load bytes from a program's memory; otherwise as vellum_copy_to_user(). */
int vellum_copy_from_user(struct vellum_mm *mm, void *buf, uint64_t addr, uint64_t len,
			  uint64_t *done);

/**
 * vellum_cmpxchg_user - compare and exchange a word of a program's memory, as futex(2) does
 * @addr:     guest address, a multiple of 4.
 * @expected: in: the value that the word must have; out: the value that it had.
 * @desired:  the new value, stored if the word had the value *@expected.
 *
 * Atomic with regard to atomic instructions of the program's CPUs and to other calls. Otherwise as a store of 4 bytes by
 * vellum_copy_to_user(): the entry gets D even if nothing is stored, as a CPU's cmpxchg sets it.
 *
 * Return: 0, also if the value differs; -VELLUM_EINVAL: @addr is unaligned; -VELLUM_EFAULT, -VELLUM_ENOMEM,
 *   -VELLUM_EINTR as vellum_copy_to_user().
 */
int vellum_cmpxchg_user(struct vellum_mm *mm, uint64_t addr, uint32_t *expected, uint32_t desired);

/**
 * vellum_storable - how many bytes of a range vellum_copy_to_user() could store
 * @addr: guest address.
 * @len:  bytes.
 *
 * For a caller whose source loses its bytes when they are read, such as a pipe. The rights of VMAs, the ends of
 * mappings, guards and poison decide. No page is faulted in and no bit changes, but a stack grows. A copy may still
 * stop earlier, if a fault fails: no memory, or a page that cannot be read in or made writable.
 *
 * Context: takes the mmap lock, for writing where a stack grows, and page-table locks.
 * Return: bytes from @addr on, at most @len.
 */
uint64_t vellum_storable(struct vellum_mm *mm, uint64_t addr, uint64_t len);

/**
 * vellum_peek - read a page without faulting it in
 * @addr: page aligned.
 * @buf:  4096 bytes.
 *
 * Unlike vellum_copy_from_user(), the call ignores access rights, maps nothing and sets no bit.
 *
 * Context: takes the mmap lock for reading; may read a swap area.
 * Return: 1 and the bytes, if the page is present or swapped out; 0, if the entry is none or a marker (private memory
 *         then holds zeros or the mapping's bytes) or maps a frame without host memory; -VELLUM_EFAULT, if @addr is
 *         unaligned or in no VMA; -VELLUM_EBUSY, if a device has the page, or it is migrating or poisoned;
 *         -VELLUM_ENOMEM, -VELLUM_EIO, if it cannot be swapped in.
 */
int vellum_peek(struct vellum_mm *mm, uint64_t addr, void *buf);

#ifdef __cplusplus
}
#endif
#endif
