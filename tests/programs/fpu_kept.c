/* SPDX-License-Identifier: MIT */
/* tests/programs/fpu_kept.c - a read(2) that waits keeps the FPU state. Prints "ready", then "kept" or "lost". */
#include <stdint.h>
#include <string.h>
#include <unistd.h>

int main(void)
{
	static uint64_t in[4] = { 0x1122334455667788, 0x99aabbccddeeff00, 0x0123456789abcdef, 0x1032547698badcfe }, out[4];
	const uint32_t mxcsr = 0x3f80;	/* exceptions masked, rounding down */
	uint32_t seen;
	char byte;
	long n;

	if (write(1, "ready\n", 6) != 6)
		return 1;
	__asm__ volatile("ldmxcsr %[mxcsr]\n\t"
			 "movups (%[in]), %%xmm7\n\t"
			 "movups 16(%[in]), %%xmm15\n\t"
			 "syscall\n\t"
			 "movups %%xmm7, (%[out])\n\t"
			 "movups %%xmm15, 16(%[out])\n\t"
			 "stmxcsr %[seen]"
			 : "=a"(n), [seen] "=m"(seen)
			 : "0"(0L), "D"(0L), "S"(&byte), "d"(1L), [in] "r"(in), [out] "r"(out), [mxcsr] "m"(mxcsr)
			 : "rcx", "r11", "xmm7", "xmm15", "memory");
	if (n == 1 && seen == mxcsr && memcmp(in, out, sizeof(in)) == 0)
		return write(1, "kept\n", 5) != 5;
	return write(1, "lost\n", 5) == 5;
}
