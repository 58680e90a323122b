/* SPDX-License-Identifier: MIT */
/* abi/vdso/vvar.h - the time page: Vellum writes it, programs read it. It lies right below the vDSO. */
#ifndef ABI_VDSO_VVAR_H
#define ABI_VDSO_VVAR_H

#include <stdint.h>

#define VVAR_BYTES 4096

struct vvar {
	uint32_t seq;		/* odd while the other fields change */
	uint32_t valid;		/* 0: use system calls */
	uint64_t tsc;		/* of the program's counter at the time of ... */
	uint64_t mono_ns;	/* ... this CLOCK_MONOTONIC */
	int64_t real_offset_ns;	/* CLOCK_REALTIME minus CLOCK_MONOTONIC */
	uint64_t mult;		/* ns per tick, times 2^32 */
};

#endif
