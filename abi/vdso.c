/* SPDX-License-Identifier: MIT */
/* abi/vdso.c - placeholder until the time page is written below. */
#define _GNU_SOURCE
#include "abi/task.h"

uint64_t vdso_map(struct task *t, struct guest_mm *gmm)
{
	(void)t, (void)gmm;
	return 0;
}

void vdso_tick(struct kernel *k)
{
	(void)k;
}

int vdso_init(struct kernel *k)
{
	(void)k;
	return 0;
}

void vdso_fini(void)
{
}
