/* SPDX-License-Identifier: MIT */
/* tests/diff/uffd.h - what the calls of both sides have in common. */
#ifndef TESTS_DIFF_UFFD_H
#define TESTS_DIFF_UFFD_H

#include "tests/diff/reader.h"

/* Of what Linux supports and the library has none of. */
#define UFFD_HUGETLB_FEATURES (1ull << 4 | 1ull << 9)
#define UFFD_NO_ANSWER 0x5eull		/* what an answer is before the call */

enum { UFFD_OPEN_USER_ONLY = 1, UFFD_OPEN_ONLY = 2 };	/* op.flags; ONLY: no handshake */

/* Bytes to copy, the same for the same operation. */
const void *uffd_bytes(const struct op *op);
void vellum_context_opened(struct reader *reader, unsigned context);

#endif
