/* SPDX-License-Identifier: MIT */
/*
 * vellum/access.h - read and write a program's memory from outside, as a system call does.
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
 * @addr: guest address. @len: bytes. @done: out, may be NULL: bytes stored, also on failure.
 *
 * Faults pages in as a store by the program would; exactly the pages that bytes arrived in
 * become dirty. Each page's bytes are stored while its entry cannot be cleaned, so no collector
 * can miss them.
 *
 * Context: takes the mmap lock for reading and page-table locks.
 * Return: 0, or -VELLUM_EFAULT (the first *@done bytes are stored), -VELLUM_ENOMEM (the same).
 */
int vellum_copy_to_user(struct vellum_mm *mm, uint64_t addr, const void *buf, uint64_t len,
			uint64_t *done);

/** vellum_copy_from_user - load bytes; as vellum_copy_to_user(), other way. */
int vellum_copy_from_user(struct vellum_mm *mm, void *buf, uint64_t addr, uint64_t len,
			  uint64_t *done);

/**
 * vellum_storable - how much of a range vellum_copy_to_user() would reach
 * @addr: guest address. @len: bytes.
 *
 * For a caller that takes its bytes from where they are gone afterwards, and so has to ask before. The rights of
 * mappings, the ends of objects, guards and poison decide; no page is faulted in and no bit changes, but a stack
 * grows. A copy stops earlier where a fault fails: without memory, or if a page cannot be read in or made writable.
 *
 * Context: takes the mmap lock and page-table locks.
 * Return: bytes from @addr on, at most @len.
 */
uint64_t vellum_storable(struct vellum_mm *mm, uint64_t addr, uint64_t len);

/**
 * vellum_peek - what a page holds, without touching it
 * @addr: page aligned. @buf: 4096 bytes.
 *
 * Unlike vellum_copy_from_user() it ignores access rights, maps nothing and sets no bit.
 *
 * Return: 1 and the bytes, if a page is there, or swapped out; 0, if nothing is in the page table (private memory
 *         then holds zeros or the object's bytes); -VELLUM_EFAULT, if nothing is mapped; -VELLUM_EBUSY, if the page
 *         is with a device or on its way; -VELLUM_ENOMEM, -VELLUM_EIO, if it cannot be read back.
 */
int vellum_peek(struct vellum_mm *mm, uint64_t addr, void *buf);

#ifdef __cplusplus
}
#endif
#endif
