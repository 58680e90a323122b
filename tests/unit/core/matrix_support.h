/* SPDX-License-Identifier: MIT */
/* tests/unit/core/matrix_support.h - the matrix of entries and operations as a table, and decoded entries. */
#ifndef TESTS_UNIT_MATRIX_SUPPORT_H
#define TESTS_UNIT_MATRIX_SUPPORT_H

#include "device_support.h"

enum kind {
	NONE_A,
	NONE_S,
	ANON_PAGE,
	COW_PAGE,
	SHMEM_PAGE,
	PRIVATE_FILE,
	ZERO_PAGE,
	SPECIAL,
	SWAP_A,
	SWAP_COW,
	MIGR_A,
	MIGR_S,
	DEV_PRIVATE,
	DEV_EXCL,
	POISONED,
	WP_S,
	WP_A,
	POISON_A,
	POISON_F,
	GUARD,
	NR_KINDS
};

static const char *const kind_name[NR_KINDS] = {"none, private",
						"none, shared",
						"private page",
						"copied page",
						"shared page",
						"object's page, private",
						"zero page",
						"raw frame",
						"swap",
						"swap of a copy",
						"migration",
						"migration, shared",
						"device-private",
						"device-exclusive",
						"hwpoison",
						"wp marker, shared",
						"wp marker, private",
						"poison",
						"poison, file",
						"guard"};

enum vma_type { PRIVATE_ANON, PRIVATE_OBJECT, SHARED_OBJECT, RAW };

static inline enum vma_type vma_type_of(enum kind kind)
{
	switch (kind) {
	case NONE_S: case SHMEM_PAGE: case MIGR_S: case WP_S:
		return SHARED_OBJECT;
	case COW_PAGE: case PRIVATE_FILE: case SWAP_COW: case POISON_F:
		return PRIVATE_OBJECT;
	case SPECIAL:
		return RAW;
	default:
		return PRIVATE_ANON;
	}
}

enum op {
	DROP,
	TAKE_BACK,
	UNMAP,
	FORK,
	FORK_EVENT,
	PROTECT,
	WP_SET,
	WP_CLEAR,
	REMAP_EVENT,
	REMAP,
	WP_HELPER,
	CLEAN_HELPER,
	SOFT_CLEAR,
	FREE,
	NR_OPS
};

static const char *const op_name[NR_OPS] = {"DONTNEED",
					    "unmap_mapping_range",
					    "munmap",
					    "fork",
					    "fork with event",
					    "mprotect",
					    "wp set",
					    "wp clear",
					    "mremap with event",
					    "mremap",
					    "wp helper",
					    "clean helper",
					    "soft-dirty clear",
					    "MADV_FREE"};

/*
 * The entry after the operation:
 *   =  unchanged			0  none			!  -EINVAL, and unchanged
 *   M  wp marker if it had U, else none			m  wp marker
 *   w  W removed			k  D removed		f  A and D removed
 *   u  U set, W removed		v  U removed, W may be set
 *   d  S removed, W too if present	s  S set, U removed	S  S set
 *   r  write entry becomes read entry	R  the same; keeps E
 *   t  r and U			T  R and U		x  U removed, nothing else
 *   y  r and S removed		Y  R and S removed
 *   E  E removed			P  mapped again, then w
 *   -  impossible: RAW cannot be registered; TAKE_BACK and the helpers need a mapping; a hwpoison entry is not
 *      protected
 */
static const char *const after[NR_OPS] = {
	/*		  none	an co sh pf ze ra  swap  migr  devs  hw  wp  poi  gu */
	[DROP] =	 "=="  "0MMM0!" "0M"  "0M"  "00"  "0" "=0" "00" "=",
	[TAKE_BACK] =	 "-="  "-=MM-0" "-="  "-M"  "--"  "-" "=-" "-=" "-",
	[UNMAP] =	 "00"  "000000" "00"  "00"  "00"  "0" "00" "00" "0",
	[FORK] =	 "=="  "ww===="  "EE"  "r="  "rP"  "=" "==" "==" "=",
	[FORK_EVENT] =	 "=="  "ww===-"  "EE"  "r="  "rP"  "=" "==" "==" "=",
	[PROTECT] =	 "=="  "www==w"  "=="  "Rr"  "rr"  "=" "==" "==" "=",
	[WP_SET] =	 "=m"  "uuuuu-"  "tt"  "Tt"  "tt"  "-" "==" "==" "=",
	[WP_CLEAR] =	 "=="  "vvvvv-"  "xx"  "xx"  "xx"  "-" "00" "==" "=",
	[REMAP_EVENT] =	 "=="  "SSSSS-"  "SS"  "SS"  "SS"  "-" "==" "==" "=",
	[REMAP] =	 "=="  "sssssS"  "ss"  "ss"  "ss"  "-" "00" "==" "=",
	[WP_HELPER] =	 "-="  "-=w=-w"  "-="  "-="  "--"  "-" "=-" "-=" "-",
	[CLEAN_HELPER] = "-="  "-=k=-k"  "-="  "-="  "--"  "-" "=-" "-=" "-",
	[SOFT_CLEAR] =	 "=="  "ddddd="  "dd"  "Yy"  "yy"  "-" "==" "==" "=",
	[FREE] =	 "=!"  "f!!!=!"  "0!"  "=!"  "=="  "0" "!=" "0!" "=",
};

/*
 * The child's entry, from the parent's entry before the fork:
 *   0  none	=  the same	c  without W, A and U	C  without W and A	h  without D and A
 *   q  read entry without U, E	Q  read entry without E	p  mapped again, without W, U and A	o  the same with U
 */
static const char *const childs[2] = {
	"00"  "cc0cch" "qq"  "q0"  "qp"  "=" "00" "==" "=",
	"00"  "CChCC-" "QQ"  "Q="  "Qo"  "=" "==" "==" "=",
};

/* --- decoded entries --- */

struct image {
	int present, special, w, d, a, s, u, e, type;
	unsigned marker;
	uint64_t where;		/* frame, or offset without flags */
};

static inline struct image image_of(pte_t pte)
{
	struct image im = { .type = -1 };

	if (pte_none(pte))
		return im;
	if (pte_present(pte))
		return (struct image){ 1, pte_special(pte), pte_write(pte), pte_dirty(pte), pte_young(pte),
				       pte_soft_dirty(pte), pte_uffd_wp(pte), 0, -1, 0, pte_pfn(pte) };
	if (pte_is_marker(pte))		/* S of a moved marker has no meaning */
		return (struct image){ .type = SWP_MARKER, .marker = pte_marker_bits(pte) };
	im = (struct image){.type = (int)pte_swp_type(pte),
			    .s = pte_swp_soft_dirty(pte),
			    .u = pte_swp_uffd_wp(pte),
			    .e = pte_swp_exclusive(pte),
			    .where = pte_swp_offset(pte)};
	return im;
}

static const struct image none = { .type = -1 };

static inline struct image to_read(struct image im, int exclusive)
{
	if (im.type == SWP_MIGRATION_WRITE)
		im.type = exclusive ? SWP_MIGRATION_READ_EXCL : SWP_MIGRATION_READ;
	else if (im.type == SWP_MIGRATION_READ_EXCL && !exclusive)
		im.type = SWP_MIGRATION_READ;
	else if (im.type == SWP_DEVICE_WRITE || im.type == SWP_DEVICE_EXCL_WRITE)
		im.type++;
	return im;
}

static inline struct image present_again(struct image im)
{
	return (struct image){ .present = 1, .s = im.s, .u = im.u, .type = -1, .where = im.where };
}

static inline struct image expected(char code, struct image im)
{
	static const struct image marker = { .type = SWP_MARKER, .marker = MARKER_UFFD_WP };
	const struct image before = im;

	switch (code) {
	case '0':
		return none;
	case 'm':
		return marker;
	case 'M':
		return before.u ? marker : none;
	case 'C': case 'c':
		im.a = 0;
		/* fall through */
	case 'w': case 'u': case 'd':
		im.w = 0;
		break;
	case 'h': case 'f':
		im.a = 0;
		/* fall through */
	case 'k':
		im.d = 0;
		break;
	case 'r': case 't': case 'q': case 'Q': case 'y':
		im = to_read(im, 0);
		break;
	case 'R': case 'T': case 'Y':
		im = to_read(im, 1);
		break;
	case 'P': case 'p': case 'o':
		im = present_again(im);
		break;
	default:
		break;
	}
	if (strchr("utT", code))
		im.u = 1;
	if (strchr("vxscqp", code))
		im.u = 0;
	if (strchr("sS", code))
		im.s = 1;
	if (strchr("dyY", code))
		im.s = 0;
	if (strchr("EqQ", code))
		im.e = 0;
	return im;
}

/* After 'v', W may be set or not. When a page is mapped again, its A, D and S are not part of the row. */
static inline bool as_expected(char code, struct image want, struct image got)
{
	if (code == 'v' || code == 'P' || code == 'p' || code == 'o')
		got.w = want.w;
	if (code == 'P' || code == 'p' || code == 'o') {
		got.a = want.a;
		got.d = want.d;
		got.s = want.s;
	}
	return !memcmp(&want, &got, sizeof(got));
}

#endif
