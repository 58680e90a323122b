/* SPDX-License-Identifier: MIT */
/*
 * bench/programs/fuzzed.c - a target for afl-fuzz, built with MIB of memory, of which each run changes PAGES pages.
 * MIB 0: it only reads its input.
 */
#include <string.h>
#include <unistd.h>

#if MIB
static char memory[MIB << 20];
#endif

/* Where it is frozen. */
int run(void);
__attribute__((noinline)) int run(void)
{
	char input[64];
	ssize_t n = read(0, input, sizeof(input));

#if MIB
	/* Not at distances of a power of two: such pages share one place in a TLB that is indexed by the address. */
	for (unsigned i = 0; i < PAGES; i++)
		memory[i * (sizeof(memory) / PAGES - 4096)] += input[0];
#endif
	if (n > 3 && input[0] == 'B' && input[1] == 'U' && input[2] == 'G')
		return 2;
	return n <= 0;
}

int main(void)
{
#if MIB
	memset(memory, 1, sizeof(memory));
#endif
#ifdef __AFL_HAVE_MANUAL_CONTROL
	__AFL_INIT();
#endif
	return run();
}
