/* SPDX-License-Identifier: MIT */
/* abi/vdso/vvar.h - the time page: written by the host, read by programs, one page below the vDSO. */
#ifndef ABI_VDSO_VVAR_H
#define ABI_VDSO_VVAR_H

#include <stdint.h>

#define VVAR_BYTES 4096

struct vvar {
	uint32_t seq;		/* odd while the rest changes */
	uint32_t valid;		/* 0: ask the kernel */
	uint64_t tsc;		/* the program's counter when ... */
	uint64_t mono_ns;	/* ... CLOCK_MONOTONIC was this */
	int64_t real_offset_ns;	/* CLOCK_REALTIME minus CLOCK_MONOTONIC */
	uint64_t mult;		/* ns per tick, times 2^32 */
};

#endif
