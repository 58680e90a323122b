/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/* The module's interface: shared by oracle.c and the program inside the guest. */
#ifndef ORACLE_MODULE_H
#define ORACLE_MODULE_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define ORACLE_PAGES 16		/* pages of each object except H and G */
#define ORACLE_HUGE_PFN 0x40000ull	/* frames of H and G: 1 GiB without struct pages */
#define ORACLE_HUGE_PAGES 0x40000ull
#define ORACLE_HUGE_TOLD 4200	/* so many first pages, and the last, begin with ORACLE_WORD */
#define ORACLE_BITMAP 66	/* words */
#define ORACLE_PINS 4		/* slots */
#define ORACLE_MAX_PIN 32	/* pages in a slot */

/* What an entry maps. */
enum oracle_kind {
	ORACLE_NOTHING,		/* an empty entry, or no table */
	ORACLE_ZERO,		/* the zero page */
	ORACLE_ANON,		/* @owner: the frame */
	ORACLE_OBJECT,		/* @owner: the object's letter, @index: its page */
	ORACLE_FILE,		/* @owner: the inode, @index: its page */
	ORACLE_OTHER,		/* @owner: the frame */
	ORACLE_MARKER,		/* @index: its bits */
	ORACLE_SWAP,		/* not present, anything else */
};

struct oracle_entry {
	__u64 raw;
	__u64 word;		/* the first 8 bytes of the page */
	__u64 owner;
	__u32 index;
	__u16 kind;
	__u16 level;		/* 1: a page-table entry; 2: a PMD that is a leaf; 3: a PUD */
	__u32 pinned;		/* the page's count says that it may be pinned */
	__u32 unused;
};

struct oracle_entries {
	__u32 pid, nr;
	__u64 at;		/* __u64[nr]: addresses */
	__u64 out;		/* struct oracle_entry[nr] */
};

struct oracle_vma {
	__u64 start, end, pgoff;
	__u32 flags;		/* ORACLE_VMA_* */
	__u32 owner;		/* the object's letter; F: a memfd; 0: none, or shared memory without a name */
};

#define ORACLE_VMA_READ		0x1
#define ORACLE_VMA_WRITE	0x2
#define ORACLE_VMA_SHARED	0x8	/* VM_MAYSHARE, which /proc/PID/maps shows as s */

struct oracle_vmas {
	__u32 pid, nr;		/* nr: in: size of @out; out: number of VMAs */
	__u64 start, end;
	__u64 out;		/* struct oracle_vma[nr] */
};

/* bit 0 of the bitmap is page 0; a long bitmap is replaced by its oracle_fold() */
struct oracle_walk {
	__u64 first, nr;
	__u64 bitmap, start, end;
	__u64 count;
};

#define ORACLE_PIN_WRITE	0x1
#define ORACLE_PIN_FORCE	0x2
#define ORACLE_PIN_LONGTERM	0x4
#define ORACLE_PIN_SLOW		0x8	/* with the mmap lock, not by the fast path */
#define ORACLE_PIN_REMOTE	0x10	/* the same, by the function for pages of other processes */

struct oracle_pin {
	__u64 addr;		/* PIN */
	__u64 word;		/* POKE */
	__u64 out;		/* GET_PINS: struct oracle_entry[ORACLE_MAX_PIN] without @raw and @level */
	__u32 nr, slot;		/* PIN; GET_PINS: out */
	__u32 flags;		/* PIN: ORACLE_PIN_* */
	__u32 dirty;		/* UNPIN: the pages were stored to */
	__u32 index;		/* POKE: which page of the slot */
	__u32 unused;
};

#define ORACLE_GET_ENTRIES _IOW('O', 1, struct oracle_entries)
#define ORACLE_GET_VMAS	_IOWR('O', 2, struct oracle_vmas)
#define ORACLE_WP	_IOWR('O', 3, struct oracle_walk)
#define ORACLE_CLEAN	_IOWR('O', 4, struct oracle_walk)
#define ORACLE_RESET	_IO('O', 5)	/* reset all objects, counters and pins */
#define ORACLE_MKWRITES	_IO('O', 6)	/* mkwrites of this object that permitted the store, since the reset */
#define ORACLE_REFUSE	_IO('O', 7)	/* mkwrites of this object fail, if @arg */
#define ORACLE_PIN	_IOW('O', 8, struct oracle_pin)
#define ORACLE_UNPIN	_IOW('O', 9, struct oracle_pin)
#define ORACLE_ZAP	_IOW('O', 10, struct oracle_walk)	/* unmap_mapping_range() */
#define ORACLE_GET_PINS	_IOWR('O', 11, struct oracle_pin)
#define ORACLE_POKE	_IOW('O', 12, struct oracle_pin)	/* store through the frame, as a device does */

#define ORACLE_GRAIN	_IO('O', 13)	/* entries of H or G: 0: small; 1: up to 2 MiB; 2: up to 1 GiB */

static inline __u64 oracle_fold(const __u64 *word, unsigned int nr)
{
	__u64 fold = 0;

	for (unsigned int i = 0; i < nr; i++)
		fold = (fold << 7 | fold >> 57) ^ word[nr - 1 - i];
	return fold;
}

/* The first word of page @index of object @letter. */
#define ORACLE_WORD(letter, index) ((__u64)(letter) << 32 | 0x1000u | (index))

#endif
