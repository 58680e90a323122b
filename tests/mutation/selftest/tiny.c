/* SPDX-License-Identifier: MIT */
/*
 * tests/mutation/selftest/tiny.c - a program whose mutants are known: selftest.py compares them with tiny.expected.
 *
 * The program tests itself. What main() does not check survives.
 */
#include <stdbool.h>
#include <stdint.h>

#define FLAG_A 1u
#define FLAG_B 2u
#define FLAG_C 4u
#define EINVAL 22
#define unlikely(x) __builtin_expect(!!(x), 0)
#define assert_locked(condition) do { if (!(condition)) __builtin_trap(); } while (0)
#define TWICE_DEFINED(name, bit)                                        \
	static inline bool name##_has(uint32_t flags)                   \
	{                                                               \
		return (flags & bit) != 0;                              \
	}
TWICE_DEFINED(a, FLAG_A)
TWICE_DEFINED(b, FLAG_B)

struct box {
	uint32_t flags;
	int nr;
};

enum { FIRST = 1 + 1 };
_Static_assert(FIRST + 1 == 3, "no mutant in a constant");

static void touch(struct box *box)
{
	box->nr++;
}

static int clamp(int v, int limit)
{
	static const int offset = FIRST + 0;

	assert_locked(limit > 0);
	if (unlikely(v < 0))
		return -EINVAL;
	return v > limit ? limit : v + offset - FIRST;
}

static bool both(bool a, bool b)
{
	return a && b;
}

static void fill(struct box *box, uint32_t old)
{
	int sum = 0;

	box->flags = FLAG_A | FLAG_B | FLAG_C;
	box->flags &= ~FLAG_C;
	for (int i = 0; i < 3; i++)
		sum += i;
	box->nr = sum;
	touch(box);
	box->flags |= old & FLAG_C;
}

int main(void)
{
	struct box box = { .nr = 0 };
	bool ok;

	fill(&box, 0);
	ok = box.flags == 3 && box.nr == 4;
	ok = ok && clamp(-1, 5) == -EINVAL && clamp(7, 5) == 5 && clamp(3, 5) == 3;
	ok = ok && both(true, true) && !both(true, false);
	ok = ok && a_has(1) && !a_has(2) && b_has(2);
	return ok ? 0 : 1;
}
