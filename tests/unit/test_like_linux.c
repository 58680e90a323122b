/* SPDX-License-Identifier: MIT */
/* What tests/diff found to differ from the host's kernel, each in a few lines. */
#include "more_support.h"

static int map_hint(struct world *w, uint64_t hint, uint32_t flags, uint64_t *addr)
{
	struct vellum_map_args args = {
		.size = sizeof(args), .addr = hint, .len = 4096, .prot = RW, .flags = flags};

	return vellum_mmap(w->mm, &args, addr);
}

static void hints_are_rounded_down(void **state) /* T-sys-01 */
{
	struct world *w = *state;
	uint64_t addr;

	OK(map_hint(w, PAGE(5) + 4095, ANON, &addr));
	assert_int_equal(addr, PAGE(5));
}

static void hints_keep_clear_of_stacks(void **state) /* T-sys-01 */
{
	struct world *w = *state;
	uint64_t addr;

	map_at(w->mm, 1000, 4, RW, ANON | VELLUM_MAP_GROWSDOWN);
	OK(map_hint(w, PAGE(1000 - 256), ANON, &addr));
	assert_int_not_equal(addr, PAGE(1000 - 256));
	OK(map_hint(w, PAGE(1000 - 257), ANON, &addr));
	assert_int_equal(addr, PAGE(1000 - 257));
	OK(map_hint(w, PAGE(1004), ANON, &addr));
	assert_int_equal(addr, PAGE(1004));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WORLD_TEST(hints_are_rounded_down),
		WORLD_TEST(hints_keep_clear_of_stacks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
