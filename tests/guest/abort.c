/* SPDX-License-Identifier: MIT */
/* tests/guest/abort.c HOW - an instruction that ends QEMU 7.2: it must end this program only. */
#include "guest.h"

static int same(const char *a, const char *b)
{
	while (*a && *a == *b) {
		a++;
		b++;
	}
	return *a == *b;
}

int guest_main(int argc, char **argv, char **envp)
{
	const char *how = argc > 1 ? argv[1] : "";

	(void)envp;

	if (same(how, "lock-bt"))	/* lock bt %ecx,%eax: undefined on a CPU */
		__asm__ volatile(".byte 0xf0,0x0f,0xa3,0xc8" ::: "memory");
	else if (same(how, "lock-bts"))
		__asm__ volatile(".byte 0xf0,0x0f,0xab,0xc8" ::: "memory", "eax");
	else if (same(how, "vpinsrw"))
		__asm__ volatile(".byte 0xc5,0xf9,0xc4,0xc0,0x01" ::: "memory");
	else if (same(how, "vroundss"))
		__asm__ volatile(".byte 0xc4,0xe3,0x79,0x0a,0xc0,0x01" ::: "memory");
	else if (same(how, "three-byte"))
		__asm__ volatile(".byte 0x0f,0x38,0x0c,0xc0" ::: "memory");
	return 0;
}
