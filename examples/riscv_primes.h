/* SPDX-License-Identifier: MIT */
/* riscv_primes.h - a compiled program for the hart of riscv_hart.h. */
#ifndef RISCV_PRIMES_H
#define RISCV_PRIMES_H

#include <stdint.h>

/*
 * clang --target=riscv64 -march=rv64i -mabi=lp64 -O1 of
 *
 *   unsigned long primes(unsigned char *composite, unsigned long n)
 *   {
 *   	unsigned long count = 0;
 *   	for (unsigned long i = 2; i < n; i++) {
 *   		if (composite[i])
 *   			continue;
 *   		count++;
 *   		for (unsigned long j = i + i; j < n; j += i)
 *   			composite[j] = 1;
 *   	}
 *   	return count;
 *   }
 *
 * and an ECALL, to which it returns.
 */
static const uint32_t primes_code[] = {
	0x00300613, 0x04c5e463, 0x00000613, 0x00200693, 0x00100713, 0x00c0006f, 0x00168693, 0x02b68a63,
	0x00d507b3, 0x0007c783, 0xfe0798e3, 0x00169793, 0x00160613, 0xfeb7f2e3, 0x00f50833, 0x00d787b3,
	0x00e80023, 0xfeb7eae3, 0xfd1ff06f, 0x00000613, 0x00060513, 0x00008067, 0x00000073,
};

#define PRIMES_ECALL_AT (sizeof(primes_code) - sizeof(primes_code[0]))

#endif
