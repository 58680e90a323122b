/* SPDX-License-Identifier: MIT */
/* machine/vcpu.c - the CPU state that a new program starts with, on any machine. */
#include <string.h>

#include "machine/machine.h"

/* An XSAVE area of which all components are initial. */
void vcpu_fpu_init(struct vcpu_state *st)
{
	memset(st->fpu, 0, sizeof(st->fpu));
	*(uint16_t *)&st->fpu[0] = 0x37f;	/* x87 control word and MXCSR as Linux starts a program */
	*(uint32_t *)&st->fpu[VCPU_FPU_MXCSR] = 0x1f80;
}

void vcpu_state_init(struct vcpu_state *st, uint64_t rip, uint64_t rsp)
{
	memset(st, 0, sizeof(*st));
	vcpu_fpu_init(st);
	st->regs.rip = rip;
	st->regs.rsp = rsp;
	st->regs.cs = VCPU_USER_CS;
	st->regs.ss = VCPU_USER_SS;
	st->regs.rflags = VCPU_RFLAGS_IF | 2;
}
