/* SPDX-License-Identifier: MIT */
/*
 * abi/signal_frame.c - signal frames, with the layout of Linux on x86-64: sigreturn(2); siginfo_t; the alternate stack of
 * sigaltstack(2).
 */
#define _GNU_SOURCE
#include <asm/processor-flags.h>
#include <errno.h>
#include <string.h>

#include "abi/signals.h"

#ifndef SA_RESTORER
#define SA_RESTORER	0x04000000	/* of <asm/signal.h>; <signal.h> keeps it for the C library */
#endif

#define PAGE_SHIFT	12
#define RED_ZONE	128	/* bytes below the stack pointer that the ABI lets a leaf function use */

/* What rt_sigreturn(2) takes from the frame; the other flags keep their values. */
#define SIGRETURN_FLAGS	(X86_EFLAGS_CF | X86_EFLAGS_PF | X86_EFLAGS_AF | X86_EFLAGS_ZF | X86_EFLAGS_SF | \
			 X86_EFLAGS_TF | X86_EFLAGS_DF | X86_EFLAGS_OF | X86_EFLAGS_RF | X86_EFLAGS_AC)

struct guest_sigcontext {
	uint64_t r8, r9, r10, r11, r12, r13, r14, r15, rdi, rsi, rbp, rbx, rdx, rax, rcx, rsp, rip;
	uint64_t eflags;
	uint16_t cs, gs, fs, ss;
	uint64_t err, trapno, oldmask, cr2;
	uint64_t fpstate;
	uint64_t reserved[8];
};

struct guest_ucontext {
	uint64_t flags, link;
	struct guest_stack stack;
	struct guest_sigcontext mcontext;
	uint64_t sigmask;
};

struct guest_siginfo {
	int32_t signo, err, code, pad;
	union {
		struct {
			int32_t pid, uid, status;
		} child;
		struct {
			int32_t pid, uid;
			uint64_t value;
		} queued;
		struct { uint64_t addr; int16_t addr_lsb; } fault;
		struct { int64_t band; int32_t fd; } poll;
		uint8_t bytes[112];
	};
};

struct sig_frame {
	uint64_t restorer;
	struct guest_ucontext uc;
	struct guest_siginfo info;
};

/* What Linux writes to the bytes of the XSAVE area that are reserved for software. */
struct fp_sw_bytes {
	uint32_t magic1, extended_size;
	uint64_t xfeatures;
	uint32_t xstate_size, padding[7];
};
#define FP_SW_OFFSET	464

/* The XSAVE area: offsets of what a program must not set freely, and what it may set. */
#define XSTATE_BV_OFFSET 512
#define XCOMP_BV_OFFSET	520	/* with the reserved bytes up to the end of the header */
#define XCOMP_BV_BYTES	56
#define XSAVE_ALIGN	64u
#define XFEATURES	7u	/* x87, SSE, AVX */
#define MXCSR_BITS	0xffffu

#define FP_MAGIC1	0x46505853u
#define FP_MAGIC2	0x46505845u	/* behind the area */
#define FP_MAGIC2_BYTES	4
#define UC_FP_XSTATE	1u
#define UC_SIGCONTEXT_SS 2u
#define UC_STRICT_RESTORE_SS 4u

void disable_alt_stack(struct task *t)
{
	t->alt_sp = t->alt_size = 0;
	t->alt_autodisarm = false;
}

/* --- the alternate stack --- */

int set_alt_stack(struct task *t, const struct guest_stack *stack)
{
	uint32_t mode = stack->flags & ~ALT_AUTODISARM;

	if (on_alt_stack(t))
		return -EPERM;
	if (mode != 0 && mode != ALT_ONSTACK && mode != ALT_DISABLE)
		return -EINVAL;
	if (mode != ALT_DISABLE && stack->size < MIN_ALT_STACK)
		return -ENOMEM;
	t->alt_sp = mode == ALT_DISABLE ? 0 : stack->sp;
	t->alt_size = mode == ALT_DISABLE ? 0 : stack->size;
	t->alt_autodisarm = stack->flags & ALT_AUTODISARM;
	return 0;
}

/* --- frames --- */

static void fill_context(const struct task *t, struct guest_sigcontext *c, uint64_t fpstate)
{
	const struct vcpu_regs *r = &t->st.regs;

	*c = (struct guest_sigcontext){
		.r8 = r->r8, .r9 = r->r9, .r10 = r->r10, .r11 = r->r11, .r12 = r->r12,
		.r13 = r->r13, .r14 = r->r14, .r15 = r->r15, .rdi = r->rdi, .rsi = r->rsi,
		.rbp = r->rbp, .rbx = r->rbx, .rdx = r->rdx, .rax = r->rax, .rcx = r->rcx,
		.rsp = r->rsp, .rip = r->rip, .eflags = r->rflags, .cs = VCPU_USER_CS,
		.ss = VCPU_USER_SS, .err = r->error, .trapno = r->vector, .oldmask = t->blocked,
		.cr2 = t->st.cr2, .fpstate = fpstate,
	};
}

static void restore_context(struct task *t, const struct guest_sigcontext *c)
{
	struct vcpu_regs *r = &t->st.regs;

	r->r8 = c->r8; r->r9 = c->r9; r->r10 = c->r10; r->r11 = c->r11;
	r->r12 = c->r12; r->r13 = c->r13; r->r14 = c->r14; r->r15 = c->r15;
	r->rdi = c->rdi; r->rsi = c->rsi; r->rbp = c->rbp; r->rbx = c->rbx;
	r->rdx = c->rdx; r->rax = c->rax; r->rcx = c->rcx; r->rsp = c->rsp;
	r->rip = c->rip;
	r->rflags = (r->rflags & ~SIGRETURN_FLAGS) | (c->eflags & SIGRETURN_FLAGS);
}

static uint64_t frame_top(const struct task *t, const struct sig_action *act)
{
	if ((act->flags & SA_ONSTACK) && t->alt_size && !on_alt_stack(t))
		return t->alt_sp + t->alt_size;
	return t->st.regs.rsp - RED_ZONE;
}

/* The FPU state, with the magic numbers by which programs recognise the XSAVE area. */
static int write_fpu(struct task *t, uint64_t addr)
{
	uint32_t size = t->kernel->args->machine->fpu_size, magic2 = FP_MAGIC2;
	const struct fp_sw_bytes sw = { .magic1 = FP_MAGIC1, .extended_size = size + FP_MAGIC2_BYTES,
					.xfeatures = XFEATURES, .xstate_size = size };

	cpu_save_fpu(t);
	memcpy(&t->st.fpu[FP_SW_OFFSET], &sw, sizeof(sw));
	if (user_write(t, addr, t->st.fpu, size))
		return -EFAULT;
	return user_write(t, addr + size, &magic2, sizeof(magic2));
}

static void fill_info(struct guest_siginfo *out, const struct sig_info *info)
{
	memset(out, 0, sizeof(*out));
	out->signo = info->signo;
	out->code = info->code;
	if (is_fault(info)) {
		out->fault.addr = info->addr;
		if (info->signo == SIGBUS && info->code == BUS_MCEERR_AR)
			out->fault.addr_lsb = PAGE_SHIFT;	/* the page is lost */
	} else if (is_of_file(info)) {
		out->poll.band = (int64_t)info->addr;
		out->poll.fd = info->status;
	} else if (info->code == SI_KERNEL) {
		;
	} else if (info->signo == SIGCHLD && info->code > 0) {
		out->child.pid = info->pid;
		out->child.uid = info->uid;
		out->child.status = info->status;
	} else {
		out->queued.pid = info->pid;
		out->queued.uid = info->uid;
		out->queued.value = info->value;
	}
}

int write_siginfo(struct task *t, uint64_t addr, const struct sig_info *info)
{
	struct guest_siginfo out;

	fill_info(&out, info);
	return user_write(t, addr, &out, sizeof(out));
}

int signal_push_frame(struct task *t, const struct sig_action *act, const struct sig_info *info)
{
	uint32_t fpu_size = t->kernel->args->machine->fpu_size;
	uint64_t fpu = (frame_top(t, act) - fpu_size - FP_MAGIC2_BYTES) & ~(uint64_t)(XSAVE_ALIGN - 1);
	uint64_t at = ((fpu - sizeof(struct sig_frame)) & ~15ull) - 8;
	struct sig_frame frame = {
		.restorer = act->restorer,
		.uc = { .flags = UC_FP_XSTATE | UC_SIGCONTEXT_SS | UC_STRICT_RESTORE_SS,
			.stack = { .sp = t->alt_sp, .size = t->alt_size,
				   .flags = (t->alt_size ? 0 : ALT_DISABLE) |
					    (t->alt_autodisarm ? ALT_AUTODISARM : 0) },
			.sigmask = t->restore_blocked ? t->saved_blocked : t->blocked },
	};

	if (!(act->flags & SA_RESTORER))
		return -EFAULT;		/* x86-64 requires it: sigaction(2) */
	fill_context(t, &frame.uc.mcontext, fpu);
	fill_info(&frame.info, info);
	if (write_fpu(t, fpu) || user_write(t, at, &frame, sizeof(frame)))
		return -EFAULT;
	t->st.regs.rdi = (uint64_t)info->signo;
	t->st.regs.rsi = at + offsetof(struct sig_frame, info);
	t->st.regs.rdx = at + offsetof(struct sig_frame, uc);
	t->st.regs.rax = 0;
	t->st.regs.rsp = at;
	t->st.regs.rip = act->handler;
	t->st.regs.rflags &= ~(X86_EFLAGS_TF | X86_EFLAGS_DF | X86_EFLAGS_RF);
	vcpu_fpu_init(&t->st);		/* the interrupted state is in the frame */
	t->load |= VCPU_LOAD_FPU;
	if (t->alt_autodisarm)
		disable_alt_stack(t);
	return 0;
}

/* The signal frame cannot be read. */
static int64_t fault_on_frame(struct task *t, uint64_t addr)
{
	if (t->copy_error == -ENOMEM)
		task_out_of_memory(t);
	signal_fault(t, SIGSEGV, SEGV_MAPERR, addr);
	return 0;
}

int64_t signal_return(struct task *t)
{
	uint32_t fpu_size = t->kernel->args->machine->fpu_size;
	uint64_t at = t->st.regs.rsp - 8;	/* ret of the handler has popped the address of the restorer */
	uint8_t fpu[VCPU_FPU_MAX];
	struct sig_frame frame;

	if (user_read(t, &frame, at, sizeof(frame)))
		return fault_on_frame(t, at);
	/* Into a buffer first: if the copy fails, st.fpu must not be half changed. */
	if (frame.uc.mcontext.fpstate && user_read(t, fpu, frame.uc.mcontext.fpstate, fpu_size))
		return fault_on_frame(t, frame.uc.mcontext.fpstate);
	cpu_save_fpu(t);
	if (frame.uc.mcontext.fpstate)
		memcpy(t->st.fpu, fpu, fpu_size);
	/* The stub that loads the area must not fault: clear reserved bits of the header and of MXCSR. */
	*(uint64_t *)&t->st.fpu[XSTATE_BV_OFFSET] &= XFEATURES;
	memset(&t->st.fpu[XCOMP_BV_OFFSET], 0, XCOMP_BV_BYTES);
	*(uint32_t *)&t->st.fpu[VCPU_FPU_MXCSR] &= MXCSR_BITS;
	t->load |= VCPU_LOAD_FPU;
	restore_context(t, &frame.uc.mcontext);
	signal_set_blocked(t, frame.uc.sigmask);
	set_alt_stack(t, &frame.uc.stack);	/* an error is ignored, as in Linux */
	return (int64_t)t->st.regs.rax;
}
