/* SPDX-License-Identifier: MIT */
/*
 * machine/qemu_test.c - tests, when the machine is created, that this QEMU keeps ring 3 out of the upper half.
 *
 * Each probe is one instruction in ring 3, followed by ud2, in an address space made for the test. It runs with rsp
 * and rdi at each page of the upper half. The instruction must fault, the upper half must keep its bytes, and the
 * exit must not reveal them.
 */
#define _GNU_SOURCE
#include "machine/qemu.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arch/x86/pgtable.h"

#define TEST_PGD	(TEST_ADDR + 0x0000)
#define TEST_PUD	(TEST_ADDR + 0x1000)
#define TEST_PMD	(TEST_ADDR + 0x2000)
#define TEST_PT		(TEST_ADDR + 0x3000)
#define TEST_CODE	(TEST_ADDR + 0x4000)
#define TEST_DATA	(TEST_ADDR + 0x5000)
#define TEST_PAGE	(TEST_ADDR + 0x6000)	/* used as the machine's page; no probe needs its contents */

#define CODE_VA		0x400000ull
#define DATA_VA		0x401000ull

#define CODE_STEP	16		/* bytes from one probe to the next */
#define WATCHED		(CODE_ADDR + CODE_MAX)	/* bytes from 0 on that no probe may change */

#define MARK		0x3333bbc8bbc8bbc8ull	/* as a selector, it names no descriptor */

enum operand {
	NONE,			/* rdi at user data */
	FAR_POINTER,		/* rdi at user data, which holds a far pointer to ud2 */
	UPPER,			/* rdi, like rsp, at the target */
};

struct probe {
	const char *name;
	uint8_t length, code[9];
	enum operand operand;
};

static const struct probe probes[] = {
	{ "far call", 3, { 0x48, 0xff, 0x1f }, FAR_POINTER },
	{ "far call, 32-bit", 2, { 0xff, 0x1f }, FAR_POINTER },
	{ "far jump", 3, { 0x48, 0xff, 0x2f }, FAR_POINTER },
	{ "far return", 2, { 0x48, 0xcb }, NONE },
	{ "far return, pop", 4, { 0x48, 0xca, 0x10, 0x00 }, NONE },
	{ "iret", 2, { 0x48, 0xcf }, NONE },
	{ "push", 1, { 0x50 }, NONE },
	{ "push from memory", 2, { 0xff, 0x37 }, NONE },
	{ "pop", 1, { 0x58 }, NONE },
	{ "pushf", 1, { 0x9c }, NONE },
	{ "popf", 1, { 0x9d }, NONE },
	{ "call", 5, { 0xe8, 0, 0, 0, 0 }, NONE },
	{ "return", 1, { 0xc3 }, NONE },
	{ "enter", 4, { 0xc8, 0x10, 0x00, 0x03 }, NONE },
	{ "store", 4, { 0x48, 0x89, 0x04, 0x24 }, NONE },
	{ "load", 3, { 0x48, 0x8b, 0x07 }, UPPER },
	{ "string store", 2, { 0x48, 0xab }, UPPER },
	{ "locked or", 4, { 0xf0, 0x48, 0x09, 0x07 }, UPPER },
	{ "cmpxchg16b", 5, { 0xf0, 0x48, 0x0f, 0xc7, 0x0f }, UPPER },
	{ "fxsave", 3, { 0x0f, 0xae, 0x07 }, UPPER },
	{ "fxrstor", 3, { 0x0f, 0xae, 0x0f }, UPPER },
	{ "xsave", 3, { 0x0f, 0xae, 0x27 }, UPPER },
	{ "fnstenv", 2, { 0xd9, 0x37 }, UPPER },
	{ "movups", 3, { 0x0f, 0x11, 0x07 }, UPPER },
	{ "lfs", 4, { 0x48, 0x0f, 0xb4, 0x07 }, UPPER },
	{ "sgdt", 3, { 0x0f, 0x01, 0x07 }, UPPER },
	{ "sgdt to user memory", 3, { 0x0f, 0x01, 0x07 }, NONE },
	{ "sidt to user memory", 3, { 0x0f, 0x01, 0x0f }, NONE },
	{ "smsw", 3, { 0x0f, 0x01, 0xe0 }, NONE },
	{ "str", 3, { 0x0f, 0x00, 0xc8 }, NONE },
	{ "lgdt", 3, { 0x0f, 0x01, 0x17 }, NONE },
	{ "lldt", 3, { 0x0f, 0x00, 0xd0 }, NONE },
	{ "mov to cr3", 3, { 0x0f, 0x22, 0xd8 }, NONE },
	{ "wrmsr", 2, { 0x0f, 0x30 }, NONE },
	{ "sysret", 3, { 0x48, 0x0f, 0x07 }, NONE },
	{ "sysenter", 2, { 0x0f, 0x34 }, NONE },
	{ "int 0x80", 2, { 0xcd, 0x80 }, NONE },
	{ "out", 1, { 0xee }, NONE },
	{ "cli", 1, { 0xfa }, NONE },
	{ "swapgs", 3, { 0x0f, 0x01, 0xf8 }, NONE },
};

#define NR_PROBES (sizeof(probes) / sizeof(probes[0]))

/* Selectors for the far pointer: those of the stubs and of sysret, two in the LDT, which must be empty, and zero. */
static const uint16_t selectors[] = { SEL_CODE3, SEL_CODE0, SEL_DATA3, SEL_TSS, 0x07, 0x37, 0 };

/* Where rsp and rdi point: each kind of page in a program's upper half, and addresses that must not be mapped. */
static const uint64_t targets[] = {
	STUB_VA + CODE_ADDR + 0x800, STUB_VA + GDT_ADDR + 0x800, STUB_VA + IDT_ADDR + 0x800, STUB_VA + TSS_ADDR + 0xa00,
	STUB_VA + MAILBOX_ADDR + MB_FPU + 0x500, LAPIC_VA + 0x300, STUB_VA + GDT_ADDR + 0xffc,
	STUB_VA + TEST_DATA + 0x800, DIRECT_VA + TEST_DATA + 0x800, IOAPIC_VA + 0x10, ~0ull - 0xff,
};

static uint64_t *at(const struct qemu_machine *q, uint64_t addr)
{
	return (uint64_t *)(q->ram + addr);
}

static void lay_test(struct qemu_machine *q)
{
	const uint64_t page = X86_PRESENT | X86_USER | X86_ACCESSED | X86_DIRTY;

	memset(at(q, TEST_ADDR), 0, TEST_PAGE + PAGE_SIZE - TEST_ADDR);
	qemu_init_pgd(q, at(q, TEST_PGD) + USER_PGD_ENTRIES);
	at(q, TEST_PGD)[0] = TEST_PUD | X86_TABLE;
	at(q, TEST_PUD)[0] = TEST_PMD | X86_TABLE;
	at(q, TEST_PMD)[CODE_VA >> PMD_SHIFT] = TEST_PT | X86_TABLE;
	at(q, TEST_PT)[0] = TEST_CODE | page;
	at(q, TEST_PT)[1] = TEST_DATA | page | X86_RW | X86_NX;
	for (size_t i = 0; i < NR_PROBES; i++) {
		uint8_t *code = (uint8_t *)at(q, TEST_CODE) + i * CODE_STEP;

		memcpy(code, probes[i].code, probes[i].length);
		memcpy(code + probes[i].length, "\x0f\x0b", 2);
	}
}

/* The target's bytes in RAM, for a mark; NULL: not in RAM, or watched anyway. */
static uint64_t *marked_word(struct qemu_machine *q, uint64_t target)
{
	if (target >= STUB_VA + MAILBOX_ADDR && target < STUB_VA + TEST_PAGE)
		return at(q, target - STUB_VA);
	return target >= DIRECT_VA && target < DIRECT_VA + PMD_SIZE ? at(q, target - DIRECT_VA) : NULL;
}

/* Run one instruction once. @before: the watched bytes before. NULL: it was refused; else what it did. */
static const char *run_probe(struct qemu_machine *q, const struct probe *p, uint64_t target, uint16_t selector,
			     const void *before)
{
	const uint64_t rip = CODE_VA + (uint64_t)(p - probes) * CODE_STEP, ud2 = rip + p->length;
	uint8_t *data = (uint8_t *)at(q, TEST_DATA);
	uint64_t *mark = marked_word(q, target);
	struct vcpu_state st;

	memset(data, 0, 64);
	if (p->operand == FAR_POINTER) {
		memcpy(data, &ud2, 8);
		memcpy(data + (p->code[0] == 0x48 ? 8 : 4), &selector, 2);
	}
	for (int i = -2; mark && i < 6; i++)
		mark[i] = MARK;
	vcpu_state_init(&st, rip, target);
	st.regs.rcx = rip;		/* as after a system call, so that the trampoline is not used */
	st.regs.r11 = st.regs.rflags;
	st.regs.rdi = p->operand == UPPER ? target : DATA_VA;
	st.regs.rbp = target;
	do
		if (q->base.ops->run(&q->base, 0, &st, 0))
			return "ended QEMU";
	while (st.regs.vector == VCPU_VECTOR_KICK);
	if (st.regs.rip != rip || st.regs.vector >= 32)
		return "was executed";
	if (memcmp(q->ram, before, WATCHED) != 0)
		return "changed the machine's memory";
	for (int i = -2; mark && i < 6; i++)
		if (mark[i] != MARK)
			return "wrote to the machine's memory";
	if ((st.regs.error & 0xfff8) == (MARK & 0xfff8))
		return "revealed bytes of the machine's memory";
	return NULL;
}

static bool test_all(struct qemu_machine *q, const void *before, char *why, size_t why_size)
{
	const size_t nr_targets = sizeof(targets) / sizeof(targets[0]);
	const size_t nr_selectors = sizeof(selectors) / sizeof(selectors[0]);

	for (size_t i = 0; i < NR_PROBES; i++) {
		const struct probe *p = &probes[i];
		size_t variants = p->operand == FAR_POINTER ? nr_selectors : 1;

		for (size_t j = 0; j < nr_targets * variants; j++) {
			uint64_t target = targets[j / variants];
			const char *what = run_probe(q, p, target, selectors[j % variants], before);

			if (what) {
				snprintf(why, why_size, "%s: the instruction \"%s\" in ring 3, address 0x%llx, %s",
					 QEMU_PROGRAM, p->name, (unsigned long long)target, what);
				return false;
			}
		}
	}
	return true;
}

bool qemu_test_rings(struct qemu_machine *q, char *why, size_t why_size)
{
	struct qemu_vcpu *v = &q->vcpu[0];
	void *before = malloc(WATCHED);
	bool ok;

	if (!before) {
		snprintf(why, why_size, "the host has no memory for the test of " QEMU_PROGRAM);
		return false;
	}
	lay_test(q);
	memcpy(before, q->ram, WATCHED);
	v->page = (char *)at(q, TEST_PAGE);
	v->cr3 = TEST_PGD;
	v->load_cr3 = true;
	ok = test_all(q, before, why, why_size);
	free(before);
	v->page = NULL;
	return !qemu_command(q, v, CMD_IDLE) && ok;
}
