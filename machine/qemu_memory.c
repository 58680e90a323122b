/* SPDX-License-Identifier: MIT */
/* machine/qemu_memory.c - fills the part of RAM that the stubs use: tables, descriptors, code, trampolines. */
#define _GNU_SOURCE
#include "machine/qemu.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "arch/x86/pgtable.h"

#define ROM_SIZE 0x10000
#define LEAF	 (X86_PRESENT | X86_RW | X86_ACCESSED | X86_DIRTY)
#define READ_ONLY (X86_PRESENT | X86_ACCESSED)
#define TABLE	 (X86_TABLE & ~X86_USER)	/* for the upper half: without the user bit at every level */

extern const char vellum_qemu_start16[], vellum_qemu_start16_end[];
extern const char vellum_qemu_code[], vellum_qemu_vectors[];

static uint64_t *at(struct qemu_machine *q, uint64_t addr)
{
	return (uint64_t *)(q->ram + addr);
}

static void lay_boot_tables(struct qemu_machine *q)
{
	at(q, BOOT_PML4)[0] = BOOT_PDPT | TABLE;
	at(q, BOOT_PML4)[511] = BOOT_HIGH_PDPT | TABLE;
	at(q, BOOT_PDPT)[0] = BOOT_PD | TABLE;
	at(q, BOOT_PD)[0] = 0 | LEAF | X86_PSE;
	for (uint64_t i = 0; i < 510; i++)
		at(q, BOOT_HIGH_PDPT)[i] = i << PUD_SHIFT | LEAF | X86_PSE | X86_NX;
	at(q, BOOT_HIGH_PDPT)[510] = BOOT_HIGH_PD | TABLE;
	at(q, BOOT_HIGH_PD)[0] = 0 | LEAF | X86_PSE;
	/* Both APICs are in the last 32 MiB below 4 GiB. Map them uncached. */
	at(q, BOOT_HIGH_PD)[1] = APIC_PT | TABLE;
	at(q, BOOT_HIGH_PD)[2] = 0xfec00000 | LEAF | X86_PSE | X86_PCD | X86_NX;
	at(q, APIC_PT)[0] = 0xfee00000 | LEAF | X86_PCD | X86_NX;
}

/* Map a page of the stubs, at the address that it has in the boot tables. */
static void map_stub(struct qemu_machine *q, uint64_t addr, uint64_t bits)
{
	at(q, STUB_PT)[addr >> PAGE_SHIFT] = addr | bits;
}

static void lay_program_tables(struct qemu_machine *q)
{
	at(q, HIGH_PDPT)[510] = HIGH_PD | TABLE;
	at(q, HIGH_PD)[0] = STUB_PT | TABLE;
	at(q, HIGH_PD)[1] = APIC_PT | TABLE;
	map_stub(q, CODE_ADDR, READ_ONLY);
	map_stub(q, GDT_ADDR, READ_ONLY | X86_NX);
	map_stub(q, IDT_ADDR, READ_ONLY | X86_NX);
	map_stub(q, TSS_ADDR, READ_ONLY | X86_NX);
	for (unsigned i = 0; i < q->nr_vcpus; i++)
		map_stub(q, MAILBOX_ADDR + MAILBOX_SIZE * i, LEAF | X86_NX);
}

static void lay_tss(struct qemu_machine *q, unsigned cpu)
{
	uint64_t tss = STUB_VA + TSS_ADDR + 0x80 * cpu;
	uint64_t *desc = at(q, GDT_ADDR + SEL_TSS + 16 * cpu);
	uint8_t *bytes = (uint8_t *)at(q, TSS_ADDR + 0x80 * cpu);
	uint64_t rsp0 = STUB_VA + MAILBOX_ADDR + (uint64_t)MAILBOX_SIZE * cpu + MB_RSP0_AT;
	uint16_t io_map = 104;		/* beyond the TSS's limit: no port for ring 3 */

	memset(bytes, 0, 0x80);
	memcpy(bytes + 4, &rsp0, sizeof(rsp0));
	memcpy(bytes + 102, &io_map, sizeof(io_map));
	desc[0] = 103 | (tss & 0xffffff) << 16 | 0x89ull << 40 | (tss >> 24 & 0xff) << 56;
	desc[1] = tss >> 32;
	q->vcpu[cpu].mb = (struct mailbox *)at(q, MAILBOX_ADDR + MAILBOX_SIZE * cpu);
	memset(q->vcpu[cpu].mb, 0, sizeof(struct mailbox));
	q->vcpu[cpu].mb->idle_spins = QEMU_IDLE_SPINS;
	q->vcpu[cpu].mb->rsp0 = rsp0;
}

static void lay_descriptors(struct qemu_machine *q)
{
	uint64_t vectors = STUB_VA + CODE_ADDR + (uint64_t)(vellum_qemu_vectors - vellum_qemu_code);

	at(q, GDT_ADDR)[SEL_CODE0 / 8] = 0x00af9b000000ffff;
	at(q, GDT_ADDR)[SEL_DATA0 / 8] = 0x00cf93000000ffff;
	at(q, GDT_ADDR)[SEL_DATA3 / 8] = 0x00cff3000000ffff;
	for (unsigned i = 0; i <= 32; i++) {
		unsigned vector = i == 32 ? KICK_VECTOR : i;
		uint64_t entry = vectors + 16 * i;
		uint64_t type = vector == 3 || vector == 4 ? 0xee : 0x8e;	/* int3, into: ring 3 may use these */
		uint64_t *desc = at(q, IDT_ADDR + 16 * vector);

		desc[0] = (entry & 0xffff) | SEL_CODE0 << 16 | type << 40 | (entry >> 16 & 0xffff) << 48;
		desc[1] = entry >> 32;
	}
}

void qemu_lay_memory(struct qemu_machine *q)
{
	memset(q->ram, 0, MAILBOX_ADDR);
	lay_boot_tables(q);
	lay_program_tables(q);
	lay_descriptors(q);
	for (unsigned i = 0; i < q->nr_vcpus; i++)
		lay_tss(q, i);
	memcpy(at(q, CODE_ADDR), vellum_qemu_code, CODE_MAX);
	memcpy(at(q, AP_ADDR), vellum_qemu_start16,
	       (size_t)(vellum_qemu_start16_end - vellum_qemu_start16));
}

/* Make the image at the reset vector: the 16-bit stub, and at the vector a far jump to it. */
int qemu_make_rom(void)
{
	static const uint8_t jump[] = { 0xea, 0x00, 0x00, 0x00, 0xf0 };
	int fd = memfd_create("vellum-rom", MFD_CLOEXEC);

	if (fd < 0)
		return -1;
	if (ftruncate(fd, ROM_SIZE) ||
	    pwrite(fd, vellum_qemu_start16, (size_t)(vellum_qemu_start16_end - vellum_qemu_start16), 0) < 0 ||
	    pwrite(fd, jump, sizeof(jump), ROM_SIZE - 16) < 0) {
		close(fd);
		return -1;
	}
	return fd;
}

void qemu_init_pgd(void *machine, uint64_t *upper)
{
	(void)machine;
	upper[255] = HIGH_PDPT | TABLE;
}

/* mov rcx_slot(%rip),%rcx; mov r11_slot(%rip),%r11; jmp *rip_slot(%rip). set_entry() writes the slots. */
void qemu_machine_page(void *machine, void *bytes)
{
	static const struct {
		uint8_t opcode[3], length;
		uint16_t slot;
	} parts[] = {
		{ { 0x48, 0x8b, 0x0d }, 3, offsetof(struct trampoline_slot, rcx) },
		{ { 0x4c, 0x8b, 0x1d }, 3, offsetof(struct trampoline_slot, r11) },
		{ { 0xff, 0x25 }, 2, offsetof(struct trampoline_slot, rip) },
	};
	uint8_t *page = bytes;

	(void)machine;
	for (unsigned cpu = 0; cpu < MAX_VCPUS; cpu++) {
		uint32_t code = cpu * TRAMPOLINE_SIZE;
		uint32_t slot = TRAMPOLINE_SLOTS + cpu * sizeof(struct trampoline_slot);

		for (unsigned i = 0; i < 3; i++) {
			uint32_t distance = slot + parts[i].slot - (code + parts[i].length + 4);

			memcpy(page + code, parts[i].opcode, parts[i].length);
			memcpy(page + code + parts[i].length, &distance, 4);
			code += parts[i].length + 4u;
		}
	}
}
