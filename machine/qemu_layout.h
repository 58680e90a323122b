/* SPDX-License-Identifier: MIT */
/*
 * machine/qemu_layout.h - the first 2 MiB of RAM, shared by QEMU's stubs and the host; for C and
 * assembly. Addresses are guest-physical; the stubs see them at STUB_VA + address.
 */
#ifndef MACHINE_QEMU_LAYOUT_H
#define MACHINE_QEMU_LAYOUT_H

#define MAX_VCPUS	16

#define BOOT_PML4	0x2000	/* boot and idle: identity and upper half */
#define BOOT_PDPT	0x3000	/* identity */
#define BOOT_PD		0x4000
#define HIGH_PDPT	0x5000	/* upper half, in every address space: direct map and stubs */
#define STUB_PD		0x6000	/* 2 MiB of stubs, then the pages of IOAPIC and local APIC */
#define GDT_ADDR	0x7000
#define AP_ADDR		0x8000	/* trampoline of the other CPUs: SIPI vector 8 */
#define IDT_ADDR	0x9000
#define TSS_ADDR	0xa000	/* MAX_VCPUS of 0x80 bytes */
#define CODE_ADDR	0x10000
#define MAILBOX_ADDR	0x20000	/* MAX_VCPUS of MAILBOX_SIZE */
#define MAILBOX_SIZE	0x2000

#define DIRECT_VA	0xffffff8000000000	/* physical 0 and up, 1 GiB pages */
#define STUB_VA		0xffffffff80000000
#define IOAPIC_VA	(STUB_VA + 0x200000)	/* maps 0xfec00000 */
#define LAPIC_VA	(STUB_VA + 0x400000)	/* maps 0xfee00000 */

#define SEL_CODE0	0x08
#define SEL_DATA0	0x10
#define SEL_DATA3	0x2b
#define SEL_CODE3	0x33
#define SEL_TSS		0x40	/* 16 bytes a CPU */

/* Mailbox: struct mailbox in qemu.c must agree. */
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
#define MB_REGS		0x350	/* struct vcpu_regs; the ring-0 stack is below */
#define MB_RSP0_AT	0x400	/* where an exception pushes: the end of regs */
#define MB_FPU		0x400
#define MB_SCRUB	0x1000	/* physical addresses of pages */
#define MAX_SCRUB	512

#define REGS_VECTOR	(15 * 8)

#define CMD_RUN		1
#define CMD_SAVE_FPU	2
#define CMD_IDLE	3	/* leave the address space: load the boot tables */
#define CMD_SCRUB	4
#define CMD_TSC		5	/* read the time-stamp counter */

#define STATE_BOOTING	0
#define STATE_IDLE	1	/* waits for a command, in ring 0 */
#define STATE_GUEST	2	/* in the program, or on the way */
#define STATE_COMMANDED	3	/* set by the host with a command */

#define LOAD_CR3	1	/* beside VCPU_LOAD_* of machine.h */
#define LOAD_SEGMENTS	2
#define LOAD_FPU	4

#define KICK_VECTOR	0x40
#define SYSCALL_VECTOR	0x100

#define SERIAL_PORT	0x3f8
#define SERIAL_GSI	4

#endif
