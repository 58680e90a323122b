/* SPDX-License-Identifier: MIT */
/*
 * machine/qemu_plugin.c - a plugin of QEMU's TCG that counts edges or blocks: see coverage.h. It is a shared object of its own, which
 * QEMU loads.
 *
 * QEMU's packages have no header for plugins. What is declared here is from QEMU's documentation, "QEMU TCG Plugins".
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "machine/coverage.h"

typedef uint64_t qemu_plugin_id_t;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
typedef void (*tb_trans_cb)(qemu_plugin_id_t id, struct qemu_plugin_tb *tb);
typedef void (*vcpu_exec_cb)(unsigned int vcpu_index, void *userdata);

enum { CB_NO_REGS };
enum { INLINE_ADD_U64 };

extern void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t id, tb_trans_cb cb);
extern void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *tb, vcpu_exec_cb cb, int flags, void *userdata);
extern void qemu_plugin_register_vcpu_tb_exec_inline(struct qemu_plugin_tb *tb, int op, void *ptr, uint64_t imm)
	__attribute__((weak));
extern uint64_t qemu_plugin_tb_vaddr(const struct qemu_plugin_tb *tb);
extern struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *tb, size_t i);
extern const void *qemu_plugin_insn_data(const struct qemu_plugin_insn *insn);
extern size_t qemu_plugin_insn_size(const struct qemu_plugin_insn *insn);

__attribute__((visibility("default"))) int qemu_plugin_version = 1;
int qemu_plugin_install(qemu_plugin_id_t id, const void *info, int argc, char **argv);

static struct coverage *coverage;

/* @userdata: the block's address. Programs are in the lower half, so it fits a pointer. */
static void count_edge(unsigned int cpu, void *userdata)
{
	const uint64_t at = (uint64_t)userdata;
	struct coverage_cpu *c = &coverage->cpu[cpu % COVERAGE_MAX_CPUS];
	uint64_t block, edge;

	if (__builtin_expect(c->resumed == at, 0)) {
		c->resumed = 0;
		return;
	}
	block = coverage_hash(at);
	edge = (block ^ c->previous) % COVERAGE_MAP_SIZE;
	coverage->map[edge]++;
	coverage->counted[edge / COVERAGE_LINE] = 1;
	c->previous = block >> 1;
}

/* A repeated string instruction runs again: it is not counted, but the host has taken one off. */
static void count_back(unsigned int cpu, void *userdata)
{
	const uint64_t at = (uint64_t)userdata;
	struct coverage_cpu *c = &coverage->cpu[cpu % COVERAGE_MAX_CPUS];

	if (c->resumed != at)
		return;
	c->resumed = 0;
	coverage_add(coverage, at, 1);
}

/*
 * Does the block begin with a repeated string instruction? QEMU runs each repetition as a run of such a block: memset(3)
 * would have an edge for each byte.
 */
static bool repeats(const struct qemu_plugin_tb *tb)
{
	const struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, 0);
	const uint8_t *bytes = qemu_plugin_insn_data(insn);
	const size_t size = qemu_plugin_insn_size(insn);
	bool prefix = false;
	size_t i = 0;

	while (i < size && (bytes[i] == 0xf2 || bytes[i] == 0xf3 || bytes[i] == 0x66 || bytes[i] == 0x67)) {
		prefix |= (bytes[i] & 0xfe) == 0xf2;
		i++;
	}
	i += i < size && (bytes[i] & 0xf0) == 0x40;	/* REX */
	return prefix && i < size && ((bytes[i] & 0xfc) == 0xa4 || (bytes[i] & 0xfe) == 0xaa ||
				      (bytes[i] & 0xfc) == 0xac);	/* movs, cmps; stos; lods, scas */
}

static void translated(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
	const uint64_t at = qemu_plugin_tb_vaddr(tb);

	(void)id;
	if (!coverage_has(coverage, at))
		return;
	if (!coverage->blocks && !repeats(tb))
		qemu_plugin_register_vcpu_tb_exec_cb(tb, count_edge, CB_NO_REGS, (void *)at);
	else if (coverage->blocks && repeats(tb))
		qemu_plugin_register_vcpu_tb_exec_cb(tb, count_back, CB_NO_REGS, (void *)at);
	else if (coverage->blocks)
		qemu_plugin_register_vcpu_tb_exec_inline(tb, INLINE_ADD_U64, coverage_block(coverage, at), 1);
}

/* Argument: "map=N", the descriptor of the shared memory. */
__attribute__((visibility("default"))) int qemu_plugin_install(qemu_plugin_id_t id, const void *info, int argc, char **argv)
{
	(void)info;
	if (argc != 1 || strncmp(argv[0], "map=", 4) != 0)
		return -1;
	coverage = mmap(NULL, sizeof(*coverage), PROT_READ | PROT_WRITE, MAP_SHARED, atoi(argv[0] + 4), 0);
	if (coverage == MAP_FAILED)
		return -1;
	if (coverage->blocks && !qemu_plugin_register_vcpu_tb_exec_inline) {
		fprintf(stderr, "this QEMU's plugins cannot count blocks; leave out --coverage=blocks\n");
		return -1;
	}
	qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
	return 0;
}
