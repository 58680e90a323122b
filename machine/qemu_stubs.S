/* SPDX-License-Identifier: MIT */
/*
 * machine/qemu_stubs.S - the code that QEMU runs besides the program: 16-bit start, ring-0 stubs.
 *
 * The host copies the two blobs into guest memory. A CPU finds its mailbox page by its APIC id. An exception from
 * ring 3 pushes its frame into mailbox.regs, as RSP0 points to its end. So a stub computes the mailbox's address from
 * rsp, without changing the program's GS.
 *
 * QEMU's TCG checks some far transfers of ring 3 with supervisor rights. So the GDT has no user code descriptor and
 * the LDT is empty. The stubs enter ring 3 by sysret, which needs no descriptor.
 */
#include "machine/qemu_layout.h"

	.section .rodata.stubs, "a", @progbits

/* --- 16-bit start: at the reset vector's 64 KiB (CS = f000), and at AP_ADDR --- */
	.code16
	.balign 16
	.globl vellum_qemu_start16, vellum_qemu_start16_end
	.hidden vellum_qemu_start16, vellum_qemu_start16_end
vellum_qemu_start16:
	cli
	lgdtl	%cs:(1f - vellum_qemu_start16)
	movl	$0x150e20, %eax		/* PAE OSFXSR OSXMMEXCPT UMIP FSGSBASE OSXSAVE SMEP */
	movl	%eax, %cr4
	movl	$BOOT_PML4, %eax
	movl	%eax, %cr3
	movl	$0xc0000080, %ecx	/* EFER: SCE LME NXE */
	rdmsr
	orl	$0x901, %eax
	wrmsr
	movl	$0x80050033, %eax	/* PG AM WP NE ET MP PE */
	movl	%eax, %cr0
	ljmpl	$SEL_CODE0, $CODE_ADDR
1:	.word	SEL_TSS + 16 * MAX_VCPUS - 1
	.long	GDT_ADDR
vellum_qemu_start16_end:

/* --- ring 0, 64 bit, copied to CODE_ADDR --- */
	.code64
	.balign 16
	.globl vellum_qemu_code, vellum_qemu_vectors
	.hidden vellum_qemu_code, vellum_qemu_vectors
vellum_qemu_code:
	movabsq	$(STUB_VA + CODE_ADDR + (high - vellum_qemu_code)), %rax
	jmp	*%rax
high:
	movl	$SEL_DATA0, %eax
	movl	%eax, %ss
	movl	%eax, %ds
	movl	%eax, %es
	movabsq	$LAPIC_VA, %rsi
	movl	0x20(%rsi), %ecx	/* APIC id */
	shrl	$24, %ecx
	movl	%ecx, %edi
	imull	$MAILBOX_SIZE, %edi
	movabsq	$(STUB_VA + MAILBOX_ADDR), %rbx
	addq	%rdi, %rbx		/* rbx: mailbox */
	movl	%ecx, MB_ID(%rbx)
	leaq	MB_REGS(%rbx), %rsp
	lgdt	gdtr(%rip)
	lidt	idtr(%rip)
	shll	$4, %ecx
	addl	$SEL_TSS, %ecx
	ltr	%cx
	xorl	%eax, %eax
	lldt	%ax			/* at reset, the LDT is 64 KiB at address 0, where a program's memory is */
	movl	%eax, %ds
	movl	%eax, %es
	/* syscall and sysret: selectors, entry, flags to clear (TF IF DF NT AC) */
	movl	$0xc0000081, %ecx
	movl	$((SEL_CODE3 - 16) << 16 | SEL_CODE0), %edx
	wrmsr
	movl	$0xc0000082, %ecx
	leaq	syscall_entry(%rip), %rax
	movq	%rax, %rdx
	shrq	$32, %rdx
	wrmsr
	movl	$0xc0000084, %ecx
	movl	$0x47700, %eax
	xorl	%edx, %edx
	wrmsr
	movl	$0xc0000102, %ecx	/* KERNEL_GS_BASE: the mailbox, for syscall_entry */
	movq	%rbx, %rax
	movq	%rbx, %rdx
	shrq	$32, %rdx
	wrmsr
	/* XCR0: x87, SSE, and AVX if the CPU has it */
	movl	$0xd, %eax
	xorl	%ecx, %ecx
	pushq	%rbx
	cpuid
	popq	%rbx
	andl	$7, %eax
	xorl	%edx, %edx
	xorl	%ecx, %ecx
	xsetbv
	movl	$0xd, %eax
	pushq	%rbx
	cpuid
	movl	%ebx, %eax
	popq	%rbx
	movl	%eax, MB_FPU_SIZE(%rbx)
	movl	$1, %eax
	pushq	%rbx
	cpuid
	popq	%rbx
	movl	%edx, MB_CPU_FEATURES(%rbx)
	/* local APIC on */
	movl	$0, 0x80(%rsi)
	movl	$0x1ff, 0xf0(%rsi)
	cmpl	$0, MB_ID(%rbx)
	jne	booted
	/* first CPU: route the serial line to all CPUs by the IOAPIC; start the others */
	movabsq	$IOAPIC_VA, %rdi
	movl	$(0x10 + 2 * SERIAL_GSI), (%rdi)
	movl	$KICK_VECTOR, 0x10(%rdi)	/* fixed, physical, edge */
	movl	$(0x11 + 2 * SERIAL_GSI), (%rdi)
	movl	$0xff000000, 0x10(%rdi)		/* all CPUs */
	movl	$(SERIAL_PORT + 2), %edx
	movb	$0x07, %al
	outb	%al, %dx			/* FIFO on, empty */
	movl	$(SERIAL_PORT + 4), %edx
	movb	$0x0b, %al
	outb	%al, %dx			/* interrupt line on */
	movl	$(SERIAL_PORT + 1), %edx
	movb	$0x01, %al
	outb	%al, %dx			/* interrupt on receive */
	movl	$0x000c4500, 0x300(%rsi)	/* INIT, all but self */
	movl	$0x000c4600 | (AP_ADDR >> 12), 0x300(%rsi)	/* SIPI */
booted:

/* Become idle, wake the host if it sleeps, then wait for a command. rbx: mailbox; rsp: at regs. */
exit_to_host:
	movl	$STATE_IDLE, %eax
	xchgl	%eax, MB_STATE(%rbx)		/* full fence before the flag is read */
	cmpl	$0, MB_HOST_SLEEPS(%rbx)
	je	wait_command
	movl	MB_ID(%rbx), %eax
	incl	%eax
	movl	$SERIAL_PORT, %edx
	outb	%al, %dx
/*
 * A CPU that waits longer than an exit usually takes saves its FPU state in the mailbox, in case QEMU ends.
 */
wait_command:
	movl	MB_IDLE_SPINS(%rbx), %ecx
	leal	-1000(%rcx), %edx
1:	cmpl	$0, MB_CMD(%rbx)
	jne	command
	subl	$1, %ecx	/* not decl: it keeps CF, which QEMU would compute each time */
	jz	3f
	cmpl	%edx, %ecx
	jne	1b
	cmpl	$0, MB_IDLE_SAVED(%rbx)
	jne	1b
	movl	$-1, %eax
	movl	$-1, %edx
	xsave64	MB_IDLE_FPU(%rbx)
	movl	$1, MB_IDLE_SAVED(%rbx)
	jmp	1b
3:
	movl	$1, %eax
	xchgl	%eax, MB_SLEEPING(%rbx)
4:	cmpl	$0, MB_CMD(%rbx)
	jne	2f
	sti
	hlt
	cli
	jmp	4b			/* the interrupt may be for another CPU: sleep again at once */
2:	movl	$0, MB_SLEEPING(%rbx)
	jmp	wait_command

command:
	movl	MB_CMD(%rbx), %eax
	movl	$0, MB_CMD(%rbx)
	cmpl	$CMD_RUN, %eax
	je	run
	cmpl	$CMD_SAVE_FPU, %eax
	je	save_fpu
	cmpl	$CMD_SCRUB, %eax
	je	scrub
	cmpl	$CMD_TSC, %eax
	je	read_tsc
	movl	$BOOT_PML4, %eax		/* CMD_IDLE */
	movq	%rax, %cr3
	jmp	exit_to_host
read_tsc:
	rdtsc
	shlq	$32, %rdx
	orq	%rdx, %rax
	movq	%rax, MB_TSC(%rbx)
	jmp	exit_to_host
save_fpu:
	movl	$-1, %eax
	movl	$-1, %edx
	xsave64	MB_FPU(%rbx)
	jmp	exit_to_host

/*
 * Rewrite the listed pages with their own bytes. QEMU did not notice that the host stored to them; a store by a CPU
 * makes it drop what it translated from the old contents.
 */
scrub:
	movq	%cr3, %r8
	movl	$BOOT_PML4, %eax		/* a program's tables do not map RAM in the upper half */
	movq	%rax, %cr3
	movl	MB_NR_SCRUB(%rbx), %ecx
	leaq	MB_SCRUB(%rbx), %rdi
1:	testl	%ecx, %ecx
	jz	3f
	movabsq	$DIRECT_VA, %rsi
	addq	(%rdi), %rsi
	movl	$512, %edx
2:	lock orq $0, (%rsi)	/* atomic: other CPUs may use the frame */
	addq	$8, %rsi
	decl	%edx
	jnz	2b
	addq	$8, %rdi
	decl	%ecx
	jmp	1b
3:	movq	%r8, %cr3
	jmp	exit_to_host

run:
	movl	$0, MB_IDLE_SAVED(%rbx)
	movl	MB_FLAGS(%rbx), %ecx
	testl	$LOAD_FPU, %ecx
	jz	1f
	movl	$-1, %eax
	movl	$-1, %edx
	xrstor64 MB_FPU(%rbx)
1:	testl	$LOAD_SEGMENTS, %ecx
	jz	2f
	xorl	%eax, %eax			/* selectors that another program left */
	movl	%eax, %ds
	movl	%eax, %es
	movl	%eax, %fs
	movl	%eax, %gs
	movq	MB_FS_BASE(%rbx), %rax
	wrfsbase %rax
	movq	MB_GS_BASE(%rbx), %rax
	wrgsbase %rax
2:	testl	$LOAD_CR3, %ecx
	jz	enter
	movq	MB_CR3(%rbx), %rax
	movq	%rax, %cr3
/*
 * Enter the program. The state is GUEST before the requests are read (full fence, INV-QEMU-1): either a request is
 * read here, or the thread that made it reads GUEST and sends a kick.
 */
enter:
	movl	$STATE_GUEST, %eax
	xchgl	%eax, MB_STATE(%rbx)
1:	movq	MB_FLUSH_REQ(%rbx), %rax
	cmpq	MB_FLUSH_ACK(%rbx), %rax
	je	2f
	movl	MB_FLUSH_NR(%rbx), %ecx
	cmpl	$MAX_FLUSH_PAGES, %ecx
	ja	5f
4:	testl	%ecx, %ecx
	jz	6f
	decl	%ecx
	movq	MB_FLUSH_ADDR(%rbx,%rcx,8), %rdx
	invlpg	(%rdx)
	jmp	4b
5:	movq	%cr3, %rcx
	movq	%rcx, %cr3
6:	movq	%rax, MB_FLUSH_ACK(%rbx)
	jmp	1b
2:	cmpl	$0, MB_EXIT_REQ(%rbx)
	jne	3f
	movq	MB_ENTRY(%rbx), %rcx
	movq	REGS_RFLAGS(%rsp), %r11
	popq	%r15
	popq	%r14
	popq	%r13
	popq	%r12
	popq	%rbp
	popq	%rbx
	addq	$8, %rsp		/* r11 */
	popq	%r10
	popq	%r9
	popq	%r8
	popq	%rax
	addq	$8, %rsp		/* rcx */
	popq	%rdx
	popq	%rsi
	popq	%rdi
	movq	(REGS_RSP - REGS_VECTOR)(%rsp), %rsp
	sysretq
3:	movl	$0, MB_EXIT_REQ(%rbx)
	movq	$KICK_VECTOR, REGS_VECTOR(%rsp)
	jmp	exit_to_host

syscall_entry:
	swapgs
	movq	%rsp, %gs:MB_USER_RSP
	movq	%gs:MB_RSP0, %rsp
	pushq	$SEL_DATA3
	pushq	%gs:MB_USER_RSP
	swapgs
	pushq	%r11
	pushq	$SEL_CODE3
	pushq	%rcx
	pushq	$0
	pushq	$SYSCALL_VECTOR
/* Stack: vector, error, rip, cs, rflags, rsp, ss */
common:
	testb	$3, 24(%rsp)
	jz	broken
	pushq	%rdi
	pushq	%rsi
	pushq	%rdx
	pushq	%rcx
	pushq	%rax
	pushq	%r8
	pushq	%r9
	pushq	%r10
	pushq	%r11
	pushq	%rbx
	pushq	%rbp
	pushq	%r12
	pushq	%r13
	pushq	%r14
	pushq	%r15
	cld
	leaq	-MB_REGS(%rsp), %rbx
	cmpq	$KICK_VECTOR, REGS_VECTOR(%rsp)
	jne	1f
	call	acknowledge
	movl	$0, MB_EXIT_REQ(%rbx)
1:	movq	%cr2, %rax
	movq	%rax, MB_CR2(%rbx)
	rdfsbase %rax
	movq	%rax, MB_FS_BASE(%rbx)
	rdgsbase %rax
	movq	%rax, MB_GS_BASE(%rbx)
	jmp	exit_to_host

/* A stub faulted; the registers may have any value. The host starts QEMU again. */
broken:
	swapgs
	popq	%gs:MB_BROKEN
	addq	$8, %rsp
	popq	%gs:(MB_BROKEN + 8)
	movl	$STATE_BROKEN, %gs:MB_STATE
	movl	%gs:MB_ID, %eax
	incl	%eax
	movl	$SERIAL_PORT, %edx
	outb	%al, %dx
1:	cli
	hlt
	jmp	1b

/* Empty the serial port and end the interrupt. Clobbers rax, rdx. */
acknowledge:
	movl	$(SERIAL_PORT + 5), %edx
	inb	%dx, %al
	testb	$1, %al
	jz	1f
	movl	$SERIAL_PORT, %edx
	inb	%dx, %al
	jmp	acknowledge
1:	movabsq	$LAPIC_VA, %rax
	movl	$0, 0xb0(%rax)
	ret

kick_entry:
	testb	$3, 8(%rsp)
	jz	1f
	pushq	$0
	pushq	$KICK_VECTOR
	jmp	common
1:	pushq	%rax			/* from ring 0: the CPU slept in wait_command */
	pushq	%rdx
	call	acknowledge
	popq	%rdx
	popq	%rax
	iretq

	.balign 16
gdtr:	.word	SEL_TSS + 16 * MAX_VCPUS - 1
	.quad	STUB_VA + GDT_ADDR
idtr:	.word	16 * (KICK_VECTOR + 1) - 1
	.quad	STUB_VA + IDT_ADDR

/* 32 exceptions and the kick, 16 bytes each. Exceptions without an error code push 0. */
	.balign 16
vellum_qemu_vectors:
	.set	vector, 0
	.rept	32
	.balign 16
	.if !((vector == 8) || (vector >= 10 && vector <= 14) || vector == 17 || vector == 21)
	pushq	$0
	.endif
	pushq	$vector
	jmp	common
	.set	vector, vector + 1
	.endr
	.balign 16
	jmp	kick_entry
	.org	vellum_qemu_code + CODE_MAX, 0xcc	/* the assembler fails if the code exceeds its page */

	.section .note.GNU-stack, "", @progbits
