/* SPDX-License-Identifier: MIT */
/*
 * machine/qemu_layout.h - the first 2 MiB of RAM, shared by QEMU's stubs and the host; for C and
 * assembly. Addresses are guest-physical; the stubs see them at STUB_VA + address.
 *
 * There are two upper halves. The boot tables map all of RAM and both APICs. A CPU uses them only while it starts,
 * idles or scrubs. A program's tables map only what an exit needs, in 4 KiB pages without the user bit: the stubs'
 * code, GDT, IDT and TSS read-only, the first page of each CPU's mailbox and the local APIC writable.
 */
#ifndef MACHINE_QEMU_LAYOUT_H
#define MACHINE_QEMU_LAYOUT_H

#define MAX_VCPUS	17	/* with the service CPU (qemu.c) */

#define BOOT_PML4	0x2000	/* identity and boot upper half */
#define BOOT_PDPT	0x3000	/* identity */
#define BOOT_PD		0x4000
#define BOOT_HIGH_PDPT	0x5000	/* direct map and stubs */
#define BOOT_HIGH_PD	0x6000
#define GDT_ADDR	0x7000
#define AP_ADDR		0x8000	/* trampoline of the other CPUs: SIPI vector 8 */
#define IDT_ADDR	0x9000
#define TSS_ADDR	0xa000	/* MAX_VCPUS of 0x80 bytes */
#define HIGH_PDPT	0xb000	/* the upper half of every program's tables */
#define HIGH_PD		0xc000
#define STUB_PT		0xd000
#define APIC_PT		0xe000
#define CODE_ADDR	0x10000
#define CODE_MAX	0x1000
#define MAILBOX_ADDR	0x20000	/* MAX_VCPUS of MAILBOX_SIZE */
#define MAILBOX_SIZE	0x2000
#define TEST_ADDR	0x50000	/* the self-test's tables and pages */

#define DIRECT_VA	0xffffff8000000000	/* boot tables: physical 0 and up, 1 GiB pages */
#define STUB_VA		0xffffffff80000000
#define LAPIC_VA	(STUB_VA + 0x200000)	/* maps 0xfee00000 */
#define IOAPIC_VA	(STUB_VA + 0x400000)	/* boot tables: maps 0xfec00000 */

/*
 * Selectors. There is no descriptor of user code: if there were, QEMU's far call would push its return address with
 * supervisor rights. The stubs enter a program by sysret, which reads no descriptor.
 */
#define SEL_CODE0	0x08
#define SEL_DATA0	0x10
#define SEL_DATA3	0x2b
#define SEL_CODE3	0x33	/* loaded by sysret; has no descriptor */
#define SEL_TSS		0x40	/* 16 bytes for each CPU */

/* Mailbox: struct mailbox in qemu.h must agree. */
#define MB_CMD		0x00
#define MB_STATE	0x04
#define MB_SLEEPING	0x08
#define MB_FLAGS	0x0c
#define MB_HOST_SLEEPS	0x10
#define MB_EXIT_REQ	0x14
#define MB_FLUSH_REQ	0x18
#define MB_FLUSH_ACK	0x20
#define MB_CR3		0x28
#define MB_CR2		0x30
#define MB_FS_BASE	0x38
#define MB_GS_BASE	0x40
#define MB_USER_RSP	0x48
#define MB_RSP0		0x50
#define MB_NR_SCRUB	0x58
#define MB_ID		0x5c
#define MB_TSC		0x60
#define MB_FPU_SIZE	0x68
#define MB_FLUSH_NR	0x6c	/* pages in the list; more than MAX_FLUSH_PAGES: all */
#define MB_FLUSH_ADDR	0x70
#define MAX_FLUSH_PAGES	8
#define MB_ENTRY	0xb0	/* where sysret jumps: into the program or its trampoline */
#define MB_BROKEN	0xb8	/* STATE_BROKEN: vector and rip of the fault */
#define MB_IDLE_SAVED	0xc8	/* MB_IDLE_FPU equals the CPU's FPU state */
#define MB_CPU_FEATURES	0xcc	/* CPUID.1:EDX */
#define MB_IDLE_SPINS	0xd0	/* looks for a command before the CPU sleeps; above 1000 */
#define MB_REGS		0x350	/* struct vcpu_regs; the ring-0 stack is below */
#define MB_RSP0_AT	0x400	/* end of regs: an exception pushes its frame below */
#define MB_FPU		0x400	/* VCPU_FPU_MAX bytes: commands */
#define MB_IDLE_FPU	0xa00	/* VCPU_FPU_MAX bytes: saved while the CPU waits, in case QEMU ends */
#define MB_SCRUB	0x1000	/* physical addresses of pages; boot tables only */
#define MAX_SCRUB	512

#define REGS_VECTOR	(15 * 8)
#define REGS_RFLAGS	(19 * 8)
#define REGS_RSP	(20 * 8)

#define CMD_RUN		1
#define CMD_SAVE_FPU	2
#define CMD_IDLE	3	/* leave the address space: load the boot tables */
#define CMD_SCRUB	4
#define CMD_TSC		5	/* read the time-stamp counter */

#define STATE_BOOTING	0
#define STATE_IDLE	1	/* waits for a command, in ring 0 */
#define STATE_GUEST	2	/* in the program, or entering it */
#define STATE_COMMANDED	3	/* set by the host together with a command */
#define STATE_BROKEN	4	/* a stub faulted: the CPU has halted */

#define LOAD_CR3	1	/* in addition to VCPU_LOAD_* of machine.h */
#define LOAD_SEGMENTS	2
#define LOAD_FPU	4

#define KICK_VECTOR	0x40
#define SYSCALL_VECTOR	0x100

#define SERIAL_PORT	0x3f8
#define SERIAL_GSI	4

/*
 * The machine's page of an address space (VELLUM_MACHINE_PAGE) has a trampoline for each CPU, and its operands. It
 * loads rcx and r11, which sysret overwrites, and jumps into the program.
 */
#define TRAMPOLINE_SIZE	 32
#define TRAMPOLINE_SLOTS 0x800	/* MAX_VCPUS of struct trampoline_slot */

#endif
