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
 * Copy a structure from the caller to @ours. Fields that the caller does not know are 0. 0; -EINVAL: @theirs_size has
 * no room for itself; -E2BIG: the caller's structure is larger, and a byte that is unknown here is not 0, or it is
 * larger than a page, which no version is.
 */
static inline int sized_from_caller(void *ours, uint64_t ours_size, const void *theirs, uint64_t theirs_size)
{
	const unsigned char *bytes = theirs;

	if (theirs_size < sizeof(uint32_t))
		return -EINVAL;
	if (theirs_size > PAGE_SIZE)
		return -E2BIG;
	for (uint64_t i = ours_size; i < theirs_size; i++)
		if (bytes[i])
			return -E2BIG;
	memset(ours, 0, ours_size);
	memcpy(ours, theirs, min_u64(ours_size, theirs_size));
	return 0;
}

/* Copy @ours to the caller, as far as it fits. Fields unknown here become 0; the size stays. 0, -EINVAL or -E2BIG. */
static inline int sized_to_caller(void *theirs, uint64_t theirs_size, const void *ours, uint64_t ours_size)
{
	const uint64_t head = sizeof(uint32_t);

	if (theirs_size < head)
		return -EINVAL;
	if (theirs_size > PAGE_SIZE)
		return -E2BIG;
	memset((char *)theirs + head, 0, theirs_size - head);
	memcpy((char *)theirs + head, (const char *)ours + head, min_u64(ours_size, theirs_size) - head);
	return 0;
}

/* For structures whose first member is `uint32_t size`. */
#define FROM_CALLER(ours, theirs) sized_from_caller(ours, sizeof(*(ours)), theirs, (theirs)->size)
#define TO_CALLER(theirs, ours) sized_to_caller(theirs, (theirs)->size, ours, sizeof(*(ours)))

#endif
