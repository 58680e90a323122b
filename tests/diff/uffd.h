/* SPDX-License-Identifier: MIT */
/* tests/diff/uffd.h - shared by the calls of both sides. */
#ifndef TESTS_DIFF_UFFD_H
#define TESTS_DIFF_UFFD_H

#include "tests/diff/reader.h"

/* Features that Linux has and the library does not. */
#define UFFD_HUGETLB_FEATURES (1ull << 4 | 1ull << 9)
#define UFFD_NO_ANSWER 0x5eull		/* value of an answer before the call */

enum { UFFD_OPEN_USER_ONLY = 1, UFFD_OPEN_ONLY = 2 };	/* op.flags; ONLY: without UFFDIO_API */

/* The bytes to copy; they depend only on the operation. */
const void *uffd_bytes(const struct op *op);
void vellum_context_opened(struct reader *reader, unsigned context);

#endif
