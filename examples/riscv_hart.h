/* SPDX-License-Identifier: MIT */
/*
 * riscv_hart.h - a hart of RV64I, without privileged instructions. Source: The RISC-V Instruction Set Manual, volume I.
 *
 * It is written for any memory. The file that includes it defines HART(name), the names of its functions, and
 *
 *   HART_FETCH32(h, addr, to)			read an instruction
 *   HART_LOAD(h, bits, addr, to)		read 8, 16, 32 or 64 bits
 *   HART_STORE(h, bits, addr, value)		store as many
 *   HART_PAUSE(h)				called after each jump
 *
 * The first three are 0, or another number if the access fails: the hart then stops before the instruction.
 */
#include <stdbool.h>
#include <stdint.h>

#ifndef RISCV_HART_H
#define RISCV_HART_H

enum hart_stop { HART_ECALL = -1, HART_ILLEGAL = -2, HART_MISALIGNED = -3 };	/* or what a failed access returned */

struct hart {
	uint64_t x[32], pc;
	void *memory;
};

/* An atomic exchange, which TSan knows, unlike a fence. */
static inline void full_fence(void)
{
	volatile uint32_t word = 0;

	__atomic_exchange_n(&word, 1, __ATOMIC_SEQ_CST);
}

/* Bits @at to @at + @nr - 1. */
static inline uint32_t bits_of(uint32_t in, unsigned at, unsigned nr)
{
	return in >> at & ((1u << nr) - 1);
}

static inline int64_t imm_i(uint32_t in)
{
	return (int32_t)in >> 20;
}

static inline int64_t imm_s(uint32_t in)
{
	return ((int32_t)in >> 25) * 32 + (int32_t)bits_of(in, 7, 5);
}

static inline int64_t imm_b(uint32_t in)
{
	return ((int32_t)in >> 31) * 4096 + (int32_t)(bits_of(in, 7, 1) << 11 | bits_of(in, 25, 6) << 5 | bits_of(in, 8, 4) << 1);
}

static inline int64_t imm_u(uint32_t in)
{
	return (int32_t)(in & ~4095u);
}

static inline int64_t imm_j(uint32_t in)
{
	return ((int32_t)in >> 31) * 1048576 +
	       (int32_t)(bits_of(in, 12, 8) << 12 | bits_of(in, 20, 1) << 11 | bits_of(in, 21, 10) << 1);
}

/* Is the instruction, of an opcode that the hart has, one of RV64I? */
static inline bool is_legal(uint32_t in)
{
	uint32_t kind = bits_of(in, 12, 3), top = bits_of(in, 25, 7);
	bool shift = kind == 1 || kind == 5, plain = top == 0 || (top == 0x20 && (kind == 5 || kind == 0));

	switch (bits_of(in, 0, 7)) {
	case 0x67: return kind == 0;					/* JALR */
	case 0x63: return kind != 2 && kind != 3;			/* BRANCH */
	case 0x03: return kind != 7;					/* LOAD */
	case 0x23: return kind < 4;					/* STORE */
	case 0x13: return !shift || in >> 26 == 0 || (in >> 26 == 0x10 && kind == 5);	/* OP-IMM: shifts by up to 63 */
	case 0x1b: return kind == 0 || (shift && (top == 0 || (top == 0x20 && kind == 5)));
	case 0x33: return plain;
	case 0x3b: return plain && (kind == 0 || shift);
	default: return true;
	}
}

/* OP and OP-IMM. @alternate: SUB for ADD, SRA for SRL. */
static inline uint64_t alu(uint32_t kind, bool alternate, uint64_t a, uint64_t b)
{
	switch (kind) {
	case 0: return alternate ? a - b : a + b;
	case 1: return a << (b & 63);
	case 2: return (int64_t)a < (int64_t)b;
	case 3: return a < b;
	case 4: return a ^ b;
	case 5: return alternate ? (uint64_t)((int64_t)a >> (b & 63)) : a >> (b & 63);
	case 6: return a | b;
	default: return a & b;
	}
}

/* The same on words. */
static inline uint64_t alu_word(uint32_t kind, bool alternate, uint64_t a, uint64_t b)
{
	uint32_t x = (uint32_t)a, y = (uint32_t)b, result = alternate ? x - y : x + y;

	if (kind == 1)
		result = x << (y & 31);
	else if (kind == 5)
		result = alternate ? (uint32_t)((int32_t)x >> (y & 31)) : x >> (y & 31);
	return (uint64_t)(int64_t)(int32_t)result;
}

static inline bool branches(uint32_t kind, uint64_t a, uint64_t b)
{
	switch (kind) {
	case 0: return a == b;
	case 1: return a != b;
	case 4: return (int64_t)a < (int64_t)b;
	case 5: return (int64_t)a >= (int64_t)b;
	case 6: return a < b;
	default: return a >= b;
	}
}
#endif

/* A load into @to. 0, or why it failed. */
static inline int HART(load)(struct hart *h, uint32_t kind, uint64_t addr, uint64_t *to)
{
	uint64_t v64 = 0;
	uint32_t v32 = 0;
	uint16_t v16 = 0;
	uint8_t v8 = 0;
	int failed;

	switch (kind & 3) {
	case 0:
		failed = (int)HART_LOAD(h, 8, addr, &v8);
		*to = kind & 4 ? v8 : (uint64_t)(int8_t)v8;
		return failed;
	case 1:
		failed = (int)HART_LOAD(h, 16, addr, &v16);
		*to = kind & 4 ? v16 : (uint64_t)(int16_t)v16;
		return failed;
	case 2:
		failed = (int)HART_LOAD(h, 32, addr, &v32);
		*to = kind & 4 ? v32 : (uint64_t)(int32_t)v32;
		return failed;
	default:
		failed = (int)HART_LOAD(h, 64, addr, &v64);
		*to = v64;
		return failed;
	}
}

static inline int HART(store)(struct hart *h, uint32_t kind, uint64_t addr, uint64_t value)
{
	switch (kind & 3) {
	case 0: return (int)HART_STORE(h, 8, addr, (uint8_t)value);
	case 1: return (int)HART_STORE(h, 16, addr, (uint16_t)value);
	case 2: return (int)HART_STORE(h, 32, addr, (uint32_t)value);
	default: return (int)HART_STORE(h, 64, addr, value);
	}
}

/* Run until ECALL, an illegal instruction or a failed access, at h->pc. */
static int HART(run)(struct hart *h)
{
	uint64_t *x = h->x, value = 0;
	uint32_t in = 0;
	int stop = 0;

	while (!stop) {
		uint64_t next = h->pc + 4;

		stop = (int)HART_FETCH32(h, h->pc, &in);
		if (stop)
			break;
		uint32_t rd = bits_of(in, 7, 5), kind = bits_of(in, 12, 3);
		uint64_t a = x[bits_of(in, 15, 5)], b = x[bits_of(in, 20, 5)];
		bool alternate = bits_of(in, 30, 1);

		if (!is_legal(in)) {
			stop = HART_ILLEGAL;
			break;
		}
		switch (bits_of(in, 0, 7)) {
		case 0x37: value = (uint64_t)imm_u(in); break;							/* LUI */
		case 0x17: value = h->pc + (uint64_t)imm_u(in); break;						/* AUIPC */
		case 0x6f: value = next; next = h->pc + (uint64_t)imm_j(in); break;				/* JAL */
		case 0x67: value = next; next = (a + (uint64_t)imm_i(in)) & ~1ull; break;			/* JALR */
		case 0x63: rd = 0; next = branches(kind, a, b) ? h->pc + (uint64_t)imm_b(in) : next; break;	/* BRANCH */
		case 0x03: stop = HART(load)(h, kind, a + (uint64_t)imm_i(in), &value); break;			/* LOAD */
		case 0x23: rd = 0; stop = HART(store)(h, kind, a + (uint64_t)imm_s(in), b); break;		/* STORE */
		case 0x13: value = alu(kind, kind == 5 && alternate, a, (uint64_t)imm_i(in)); break;		/* OP-IMM */
		case 0x33: value = alu(kind, alternate, a, b); break;						/* OP */
		case 0x1b: value = alu_word(kind, kind == 5 && alternate, a, (uint64_t)imm_i(in)); break;	/* OP-IMM-32 */
		case 0x3b: value = alu_word(kind, alternate, a, b); break;					/* OP-32 */
		case 0x0f: rd = 0; full_fence(); break;								/* FENCE */
		case 0x73: stop = in == 0x73 ? HART_ECALL : HART_ILLEGAL; break;
		default: stop = HART_ILLEGAL; break;
		}
		if (!stop && (next & 3))
			stop = HART_MISALIGNED;
		if (stop)
			break;
		if (rd)
			x[rd] = value;
		if (next != h->pc + 4)
			HART_PAUSE(h);
		h->pc = next;
	}
	return stop;
}
