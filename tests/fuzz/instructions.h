/* SPDX-License-Identifier: MIT */
/* tests/fuzz/instructions.h - the bytes of random instructions. */
#ifndef TESTS_FUZZ_INSTRUCTIONS_H
#define TESTS_FUZZ_INSTRUCTIONS_H

#include "fuzz.h"

#define MAX_CODE 48

struct code {
	u8 bytes[MAX_CODE];
	u64 len;
};

static void put_byte(struct code *c, u64 byte)
{
	if (c->len < MAX_CODE)
		c->bytes[c->len++] = (u8)byte;
}

static void put_text(struct code *c, const char *bytes, u64 len)
{
	for (u64 i = 0; i < len; i++)
		put_byte(c, (u8)bytes[i]);
}

static void put_random(struct code *c, u64 n)
{
	while (n--)
		put_byte(c, random64());
}

/* A displacement or an immediate: small ones reach the arena. */
static void put_offset(struct code *c, u64 size)
{
	u64 value = chance(3) ? random64() : chance(2) ? below(256) : -below(256);

	for (u64 i = 0; i < size; i++)
		put_byte(c, value >> 8 * i);
}

/* ModRM, with the SIB byte and displacement that it needs. */
static void put_operand(struct code *c, u64 modrm)
{
	u64 mod = modrm >> 6 & 3, rm = modrm & 7;

	put_byte(c, modrm);
	if (mod == 3)
		return;
	if (rm == 4) {
		u64 sib = random64() & 0xff;

		put_byte(c, sib);
		if (mod == 0 && (sib & 7) == 5)
			put_offset(c, 4);
	}
	if (mod == 1)
		put_offset(c, 1);
	else if (mod == 2 || rm == 5)
		put_offset(c, 4);
}

static void put_prefixes(struct code *c)
{
	static const u8 prefixes[] = { 0x66, 0x67, 0xf0, 0xf2, 0xf3, 0x2e, 0x36, 0x3e, 0x26, 0x64, 0x65 };

	while (chance(3))
		put_byte(c, PICK(prefixes));
	if (chance(2))
		put_byte(c, 0x40 + below(16));
}

/* An immediate. Most instructions have none; surplus bytes are then the next instruction. */
static void put_tail(struct code *c)
{
	put_operand(c, random64() & 0xff);
	if (chance(2))
		put_offset(c, chance(2) ? 1 : 4);
}

static void put_vex(struct code *c)
{
	if (chance(3)) {
		put_byte(c, 0xc5);
		put_byte(c, random64());
	} else {
		put_byte(c, 0xc4);
		put_byte(c, (random64() & 0xe0) | (chance(10) ? below(32) : 1 + below(3)));
		put_byte(c, random64());
	}
	put_byte(c, random64());
	put_tail(c);
}

static void put_evex(struct code *c)
{
	put_byte(c, 0x62);
	put_byte(c, (random64() & 0xf0) | below(8));
	put_byte(c, random64() | 4);
	put_byte(c, random64());
	put_byte(c, random64());
	put_tail(c);
}

/* Instructions of system software, descriptors, far transfers and extended state. */
static void put_system(struct code *c)
{
	static const struct {
		char len, operand;	/* bytes of the opcode; its ModRM's reg field, 8: any, 9: none */
		char bytes[4];
	} table[] = {
		{ 2, 8, "\x0f\x00" }, { 2, 8, "\x0f\x01" }, { 2, 8, "\x0f\x02" }, { 2, 8, "\x0f\x03" },
		{ 2, 9, "\x0f\x06" }, { 2, 9, "\x0f\x07" }, { 2, 9, "\x0f\x08" }, { 2, 9, "\x0f\x09" },
		{ 2, 9, "\x0f\x0b" }, { 2, 8, "\x0f\x0d" }, { 2, 8, "\x0f\x18" }, { 2, 8, "\x0f\x1a" },
		{ 2, 8, "\x0f\x1e" }, { 2, 8, "\x0f\x20" }, { 2, 8, "\x0f\x21" }, { 2, 8, "\x0f\x22" },
		{ 2, 8, "\x0f\x23" }, { 2, 9, "\x0f\x30" }, { 2, 9, "\x0f\x31" }, { 2, 9, "\x0f\x32" },
		{ 2, 9, "\x0f\x33" }, { 2, 9, "\x0f\x35" }, { 2, 9, "\x0f\x37" }, { 2, 9, "\x0f\x77" },
		{ 2, 8, "\x0f\x78" }, { 2, 8, "\x0f\x79" }, { 2, 9, "\x0f\xa2" }, { 2, 9, "\x0f\xaa" },
		{ 2, 8, "\x0f\xae" }, { 3, 8, "\xf3\x0f\xae" }, { 3, 8, "\x66\x0f\xae" }, { 3, 8, "\x48\x0f\xae" },
		{ 2, 8, "\x0f\xc7" }, { 3, 8, "\x48\x0f\xc7" }, { 2, 8, "\x0f\xb2" }, { 2, 8, "\x0f\xb4" },
		{ 2, 8, "\x0f\xb5" }, { 2, 9, "\x0f\xa0" }, { 2, 9, "\x0f\xa1" }, { 2, 9, "\x0f\xa8" },
		{ 2, 9, "\x0f\xa9" }, { 1, 8, "\x8e" }, { 1, 8, "\x8c" }, { 1, 9, "\x9c" }, { 1, 9, "\x9d" },
		{ 1, 9, "\x9b" }, { 1, 3, "\xff" }, { 1, 5, "\xff" }, { 2, 3, "\x48\xff" }, { 2, 5, "\x48\xff" },
		{ 2, 3, "\x66\xff" }, { 1, 9, "\xca" }, { 1, 9, "\xcb" }, { 2, 9, "\x48\xcb" }, { 1, 9, "\xcc" },
		{ 1, 9, "\xcd" }, { 1, 9, "\xce" }, { 1, 9, "\xcf" }, { 2, 9, "\x48\xcf" }, { 2, 9, "\x66\xcf" },
		{ 1, 9, "\xc8" }, { 1, 9, "\xc9" }, { 1, 9, "\xe4" }, { 1, 9, "\xe5" }, { 1, 9, "\xe6" },
		{ 1, 9, "\xe7" }, { 1, 9, "\xec" }, { 1, 9, "\xed" }, { 1, 9, "\xee" }, { 1, 9, "\xef" },
		{ 1, 9, "\x6c" }, { 1, 9, "\x6d" }, { 1, 9, "\x6e" }, { 1, 9, "\x6f" }, { 1, 9, "\xf1" },
		{ 1, 9, "\xf4" }, { 1, 9, "\xfa" }, { 1, 9, "\xfb" }, { 3, 9, "\x0f\x01\xf8" }, { 3, 9, "\x0f\x01\xd0" },
		{ 3, 9, "\x0f\x01\xd1" }, { 3, 9, "\x0f\x01\xf9" }, { 3, 9, "\x0f\x01\xca" }, { 3, 9, "\x0f\x01\xcb" },
		{ 3, 9, "\x0f\x01\xc1" }, { 3, 9, "\x0f\x01\xd9" }, { 3, 9, "\x0f\x01\xc8" }, { 3, 9, "\x0f\x01\xc9" },
		{ 3, 9, "\x0f\x01\xef" }, { 3, 9, "\x0f\x01\xee" }, { 2, 9, "\xc6\xf8" }, { 2, 9, "\xc7\xf8" },
		{ 3, 8, "\x0f\x38\x80" }, { 3, 8, "\x0f\x38\x82" }, { 3, 8, "\x0f\x38\xf6" },
	};
	u64 i = below(sizeof(table) / sizeof(table[0]));

	put_prefixes(c);
	put_text(c, table[i].bytes, (u64)table[i].len);
	if (table[i].operand < 9)
		put_operand(c, table[i].operand == 8 ? random64() & 0xff :
				       (random64() & 0xc7) | (u64)table[i].operand << 3);
	else
		put_offset(c, 1);
}

static void put_instruction(struct code *c)
{
	switch (below(12)) {
	case 0:
		put_random(c, 1 + below(15));
		break;
	case 1: case 2:
		put_prefixes(c);
		put_byte(c, random64());
		put_tail(c);
		break;
	case 3: case 4:
		put_prefixes(c);
		put_byte(c, 0x0f);
		put_byte(c, random64());
		put_tail(c);
		break;
	case 5: case 6:
		put_prefixes(c);
		put_byte(c, 0x0f);
		put_byte(c, chance(2) ? 0x38 : 0x3a);
		put_byte(c, random64());
		put_tail(c);
		break;
	case 7: case 8:
		put_vex(c);
		break;
	case 9:
		put_evex(c);
		break;
	case 10:
		put_prefixes(c);
		put_byte(c, 0xd8 + below(8));
		put_operand(c, random64() & 0xff);
		break;
	default:
		put_system(c);
	}
}

static void put_sequence(struct code *c)
{
	for (u64 n = 1 + below(3); n; n--)
		put_instruction(c);
}

/* One load or store at an address in any register but rax, rcx and rdx. */
static void put_access_above(struct code *c)
{
#define ONE(text) { sizeof(text) - 1, text }
	static const struct {
		u8 len;
		char bytes[8];
	} table[] = {
		ONE("\x8b\x03"), ONE("\x8a\x03"), ONE("\x89\x03"), ONE("\x88\x03"), ONE("\x48\x8b\x03"), ONE("\x48\x89\x03"),
		ONE("\xff\x33"), ONE("\x8f\x03"), ONE("\x50"), ONE("\x58"), ONE("\xc3"), ONE("\xcb"), ONE("\x48\xcb"),
		ONE("\xc9"), ONE("\xc8\x10\x00\x00"), ONE("\xc8\x10\x00\x02"), ONE("\x9c"), ONE("\x9d"), ONE("\x48\xcf"),
		ONE("\xff\x13"), ONE("\xff\x23"), ONE("\xff\x1b"), ONE("\xff\x2b"), ONE("\x48\xff\x1b"), ONE("\x48\xff\x2b"),
		ONE("\xff\xd2"), ONE("\xff\x1a"), ONE("\x48\xff\x1a"), ONE("\x66\xff\x1a"), ONE("\xe8\x00\x00\x00\x00"),
		ONE("\xa4"), ONE("\xa5"), ONE("\x48\xa5"), ONE("\xa6"), ONE("\xaa"), ONE("\xab"), ONE("\xac"), ONE("\xae"),
		ONE("\xf3\xa4"), ONE("\xf3\xaa"), ONE("\xf3\x48\xab"), ONE("\xf2\xae"), ONE("\xd7"), ONE("\xf0\x01\x03"),
		ONE("\x87\x03"), ONE("\x0f\xb1\x03"), ONE("\x0f\xc1\x03"), ONE("\x0f\xc7\x0b"), ONE("\x48\x0f\xc7\x0b"),
		ONE("\x0f\xa3\x0b"), ONE("\x0f\xab\x0b"), ONE("\x0f\xc3\x03"), ONE("\x0f\xbe\x03"), ONE("\x48\x63\x03"),
		ONE("\x0f\x10\x03"), ONE("\x0f\x11\x03"), ONE("\x0f\x28\x03"), ONE("\x0f\x2b\x03"), ONE("\x0f\x6f\x03"),
		ONE("\x0f\xe7\x03"), ONE("\xc5\xfc\x10\x03"), ONE("\xc5\xfc\x11\x03"), ONE("\x0f\xae\x03"),
		ONE("\x0f\xae\x0b"), ONE("\x0f\xae\x13"), ONE("\x0f\xae\x1b"), ONE("\x0f\xae\x23"), ONE("\x0f\xae\x2b"),
		ONE("\x48\x0f\xae\x03"), ONE("\xd9\x03"), ONE("\xd9\x1b"), ONE("\xdb\x2b"), ONE("\xdb\x3b"), ONE("\xd9\x23"),
		ONE("\xd9\x33"), ONE("\xdd\x23"), ONE("\xdd\x33"), ONE("\xd9\x2b"), ONE("\xd9\x3b"), ONE("\x0f\x01\x03"),
		ONE("\x0f\x01\x0b"), ONE("\x0f\x01\x23"), ONE("\x0f\x00\x03"), ONE("\x0f\x00\x0b"), ONE("\x8c\x1b"),
		ONE("\x8e\x1b"), ONE("\x0f\x00\x23"), ONE("\x0f\x02\x03"), ONE("\x0f\x03\x03"), ONE("\x0f\xb2\x03"),
		ONE("\x0f\xb4\x03"), ONE("\x48\x0f\xb5\x03"), ONE("\x0f\xa0"), ONE("\x0f\xa1"), ONE("\x0f\xa8"),
		ONE("\xff\xe3"), ONE("\xff\xd3"), ONE("\x0f\x38\xf0\x03"), ONE("\x0f\x38\xf1\x03"), ONE("\xff\x03"),
		ONE("\xf7\x13"), ONE("\xd1\x03"), ONE("\x0f\x90\x03"), ONE("\xc6\x03\x01"), ONE("\x83\x03\x01"),
	};
#undef ONE
	u64 i = below(sizeof(table) / sizeof(table[0]));

	put_text(c, table[i].bytes, table[i].len);
}

/* --- what is left out --- */

/* At any position, as a jump may go into the middle of an instruction. */
static int has_bytes(const struct code *c, u64 first, u64 second)
{
	for (u64 i = 0; i + 1 < c->len; i++)
		if (c->bytes[i] == first && c->bytes[i + 1] == second)
			return 1;
	return 0;
}

static int is_system_call(const struct code *c)
{
	return has_bytes(c, 0x0f, 0x05) || has_bytes(c, 0x0f, 0x34) || has_bytes(c, 0xcd, 0x80);
}

static int has_byte(const struct code *c, u64 from, u64 to, u64 byte)
{
	for (u64 i = from; i < to && i < c->len; i++)
		if (c->bytes[i] == byte)
			return 1;
	return 0;
}

/* Is an instruction at @at one that QEMU 7.2 aborts at? */
static int aborts_at(const struct code *c, u64 at)
{
	const u8 *b = c->bytes + at;
	u64 have = c->len - at;

	if (have >= 3 && b[0] == 0x0f && (b[1] & 0xe7) == 0xa3 && b[2] >= 0xc0)	/* lock bt and similar */
		return has_byte(c, 0, at, 0xf0);
	if (have >= 3 && b[0] == 0x0f && b[1] == 0xba && b[2] >= 0xc0)
		return has_byte(c, 0, at, 0xf0);
	if (have >= 3 && b[0] == 0x0f && b[1] == 0x38 && b[2] == 0x0c)
		return 1;
	if (have >= 4 && b[0] == 0xc5 && b[2] == 0x38)				/* the same, with a VEX prefix */
		return 1;
	if (have >= 4 && b[0] == 0xc4 && (b[3] == 0x38 || ((b[1] & 31) == 2 && b[3] == 0x0c)))
		return 1;
	if (have >= 3 && b[0] == 0xc5 && b[2] == 0xc4)				/* vpinsrw */
		return 1;
	if (have >= 4 && b[0] == 0xc4 && (b[1] & 31) == 1 && b[3] == 0xc4)
		return 1;
	return have >= 4 && b[0] == 0xc4 && (b[1] & 31) == 3 && (b[3] & 0xfc) == 8;	/* vround */
}

static int aborts_qemu_7(const struct code *c)
{
	for (u64 at = 0; at < c->len; at++)
		if (aborts_at(c, at))
			return 1;
	return 0;
}

#endif
