/* SPDX-License-Identifier: MIT */
/*
 * lib/sized.h - structures that cross the library's border. Each begins with the size, in bytes, that the caller's
 * compiler gave it, so that later versions can add fields at the end. As copy_struct_from_user() of Linux does it.
 */
#ifndef LIB_SIZED_H
#define LIB_SIZED_H

#include "lib/errnum.h"
#include "lib/types.h"

/*
 * The size of every version is a multiple of this, and fields of 8 bytes start at one, so that a smaller structure lacks
 * whole fields. A size between would keep half of a pointer.
 */
#define SIZED_UNIT 8

/* 0; -EINVAL: @theirs has no room for itself or ends within a field; -E2BIG: larger than a page, as no version is. */
static inline int sized_check(uint64_t ours, uint64_t theirs)
{
	if (theirs < SIZED_UNIT || (theirs < ours && theirs % SIZED_UNIT))
		return -EINVAL;
	return theirs > PAGE_SIZE ? -E2BIG : 0;
}

/*
 * Copy a structure from the caller to @ours. Fields that the caller does not know are 0. 0, or sized_check()'s error, or
 * -E2BIG: the caller's structure is larger, and a byte that is unknown here is not 0.
 */
static inline int sized_from_caller(void *ours, uint64_t ours_size, const void *theirs, uint64_t theirs_size)
{
	const unsigned char *bytes = theirs;
	int err = sized_check(ours_size, theirs_size);

	if (err)
		return err;
	for (uint64_t i = ours_size; i < theirs_size; i++)
		if (bytes[i])
			return -E2BIG;
	memset(ours, 0, ours_size);
	memcpy(ours, theirs, min_u64(ours_size, theirs_size));
	return 0;
}

/* Copy @ours to the caller, as far as it fits. Fields unknown here become 0; the size stays. 0, or sized_check()'s error. */
static inline int sized_to_caller(void *theirs, uint64_t theirs_size, const void *ours, uint64_t ours_size)
{
	const uint64_t head = sizeof(uint32_t);
	int err = sized_check(ours_size, theirs_size);

	if (err)
		return err;
	memset((char *)theirs + head, 0, theirs_size - head);
	memcpy((char *)theirs + head, (const char *)ours + head, min_u64(ours_size, theirs_size) - head);
	return 0;
}

/* sizeof(*@ours), or an error of the compiler if it is no multiple of SIZED_UNIT. */
#define SIZED_SIZE(ours) (sizeof(*(ours)) + 0 * sizeof(char[1 - 2 * (sizeof(*(ours)) % SIZED_UNIT != 0)]))

/* For structures whose first member is `uint32_t size`. */
#define FROM_CALLER(ours, theirs) sized_from_caller(ours, SIZED_SIZE(ours), theirs, (theirs)->size)
#define TO_CALLER(theirs, ours) sized_to_caller(theirs, (theirs)->size, ours, SIZED_SIZE(ours))

#endif
