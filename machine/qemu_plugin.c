/* SPDX-License-Identifier: MIT */
/*
 * machine/qemu_plugin.c - a plugin of QEMU's TCG that counts edges: see coverage.h. It is a shared object of its own, which
 * QEMU loads.
 *
 * QEMU's packages have no header for plugins. What is declared here is from QEMU's documentation, "QEMU TCG Plugins".
 */
#include <stdbool.h>
#include <stddef.h>
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

extern void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t id, tb_trans_cb cb);
extern void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *tb, vcpu_exec_cb cb, int flags, void *userdata);
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
	uint64_t block;

	if (__builtin_expect(c->resumed == at, 0)) {
		c->resumed = 0;
		return;
	}
	block = (at * 0x9e3779b97f4a7c15ull) >> 48;
	coverage->map[(block ^ c->previous) % COVERAGE_MAP_SIZE]++;
	c->previous = block >> 1;
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
	for (uint64_t i = 0; i < coverage->nr_ranges && i < COVERAGE_MAX_RANGES; i++)
		if (at >= coverage->range[i].start && at < coverage->range[i].end && !repeats(tb)) {
			qemu_plugin_register_vcpu_tb_exec_cb(tb, count_edge, CB_NO_REGS, (void *)at);
			return;
		}
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
	qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
	return 0;
}
