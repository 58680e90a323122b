/* SPDX-License-Identifier: MIT */
/* The hart of examples/riscv_hart.h: what single instructions compute, and what is not RV64I. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four headers above */
#include <cmocka.h>

#define HART(name) flat_##name
#define HART_FETCH32(h, addr, to) (*(to) = *(const uint32_t *)(addr), 0)
#define HART_LOAD(h, bits, addr, to) ((void)(h), *(to) = *(const uint##bits##_t *)(addr), 0)
#define HART_STORE(h, bits, addr, value) ((void)(h), *(uint##bits##_t *)(addr) = (value), 0)
#define HART_PAUSE(h) ((void)(h))
#include "examples/riscv_hart.h"

#define UNTOUCHED 99

static uint64_t data[2] = { 0xfedcba9876543280, 0 };

/* Run one instruction with x5 = @a, x6 = @b. *@x7: its result. */
static int run_one(uint32_t in, uint64_t a, uint64_t b, uint64_t *x7)
{
	const uint32_t code[] = { in, 0x73, 0x73 };
	struct hart h = { .pc = (uintptr_t)code, .x = { [5] = a, [6] = b, [7] = UNTOUCHED } };
	int stop = flat_run(&h);

	*x7 = h.x[7];
	assert_int_equal(h.x[0], 0);
	assert_int_equal(h.pc, (uintptr_t)&code[stop == HART_ECALL ? 1 : 0]);
	return stop;
}

static void results(void **state)
{
	static const struct {
		uint32_t in;
		uint64_t a, b, x7;
	} cases[] = {
		{ 0x006283b3, 7, 6, 13 },			/* add */
		{ 0x406283b3, 6, 7, ~0ull },			/* sub */
		{ 0x0062a3b3, ~0ull, 1, 1 },			/* slt */
		{ 0x0062b3b3, ~0ull, 1, 0 },			/* sltu */
		{ 0x0062c3b3, 6, 3, 5 },			/* xor */
		{ 0x4062d3b3, -16ull, 2, -4ull },		/* sra */
		{ 0x0062d3b3, -16ull, 60, 15 },			/* srl */
		{ 0x006293b3, 1, 65, 2 },			/* sll: six bits count */
		{ 0x006283bb, 0x7fffffff, 1, 0xffffffff80000000 }, /* addw */
		{ 0x4062d3bb, 0x80000000, 4, 0xfffffffff8000000 }, /* sraw */
		{ 0xfff28393, 1, 0, 0 },			/* addi -1 */
		{ 0x43f2d393, 1ull << 63, 0, ~0ull },		/* srai 63 */
		{ 0x800003b7, 0, 0, 0xffffffff80000000 },	/* lui */
	};
	uint64_t x7;

	(void)state;
	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(run_one(cases[i].in, cases[i].a, cases[i].b, &x7), HART_ECALL);
		assert_int_equal(x7, cases[i].x7);
	}
}

static void loads_and_stores(void **state)
{
	const uint64_t at = (uintptr_t)data;
	uint64_t x7;

	(void)state;
	assert_int_equal(run_one(0x00028383, at, 0, &x7), HART_ECALL);	/* lb */
	assert_int_equal(x7, 0xffffffffffffff80);
	assert_int_equal(run_one(0x0002c383, at, 0, &x7), HART_ECALL);	/* lbu */
	assert_int_equal(x7, 0x80);
	assert_int_equal(run_one(0x0042a383, at, 0, &x7), HART_ECALL);	/* lw 4 */
	assert_int_equal(x7, 0xfffffffffedcba98);
	assert_int_equal(run_one(0x0002b383, at, 0, &x7), HART_ECALL);	/* ld */
	assert_int_equal(x7, data[0]);
	assert_int_equal(run_one(0x0062a423, at, 0x1122334455667788, &x7), HART_ECALL);	/* sw 8 */
	assert_int_equal(data[1], 0x55667788);
}

static void what_is_not_rv64i(void **state)
{
	static const uint32_t bad[] = {
		0x026283b3, 0x026283bb, 0x0262c3b3,	/* mul, mulw, div */
		0x0062c3bb, 0x0062a063, 0x0002f383,	/* OP-32 4, BRANCH 2, LOAD 7 */
		0x0062c423, 0x00029067, 0x4062c3b3,	/* STORE 4, JALR 1, xor with bit 30 */
		0x2002d393, 0x0202939b, 0x00100073,	/* srli with bit 29, slliw by 32, ebreak */
		0x30529073, 0x00000000, 0xffffffff,	/* csrrw */
	};
	uint64_t x7;

	(void)state;
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(run_one(bad[i], 7, 6, &x7), HART_ILLEGAL);
		assert_int_equal(x7, UNTOUCHED);
	}
	assert_int_equal(run_one(0x006003ef, 0, 0, &x7), HART_MISALIGNED);	/* jal x7, +6 */
	assert_int_equal(x7, UNTOUCHED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(results),
		cmocka_unit_test(loads_and_stores),
		cmocka_unit_test(what_is_not_rv64i),
	};

	return cmocka_run_group_tests_name("hart", tests, NULL, NULL);
}
