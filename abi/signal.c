/* SPDX-License-Identifier: MIT */
/*
 * abi/signal.c - send and deliver signals, and return from handlers: signal(7), sigreturn(2), sigaltstack(2). Signal
 * frames have the layout of Linux on x86-64.
 */
#define _GNU_SOURCE
#include <asm/processor-flags.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "abi/signals.h"

#ifndef SA_RESTORER
#define SA_RESTORER	0x04000000	/* of <asm/signal.h>; <signal.h> keeps it for the C library */
#endif

#define PAGE_SHIFT	12
#define RED_ZONE	128	/* bytes below the stack pointer that the ABI lets a leaf function use */
#define SYSCALL_BYTES	2	/* of the instruction */

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
		struct { uint64_t addr; int16_t addr_lsb; } fault;
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

#define UNBLOCKABLE (sig_bit(SIGKILL) | sig_bit(SIGSTOP))

/* The task's own thread writes the mask. Senders of signals read it. */
static uint64_t read_blocked(const struct task *t)
{
	return __atomic_load_n(&t->blocked, __ATOMIC_RELAXED);
}

void signal_set_blocked(struct task *t, uint64_t set)
{
	__atomic_store_n(&t->blocked, set & ~UNBLOCKABLE, __ATOMIC_RELAXED);
}

static bool default_stops(int signo)
{
	return signo == SIGSTOP || signo == SIGTSTP || signo == SIGTTIN || signo == SIGTTOU;
}

/* --- sending --- */

static void wake_task(struct task *t)
{
	pthread_cond_broadcast(&t->kernel->changed);
	if (__atomic_load_n(&t->in_host, __ATOMIC_SEQ_CST))
		pthread_kill(t->thread, KICK_SIGNAL);
	cpu_kick(t);
}

/* Tell the parent that @t stopped or continues. kernel->lock held. */
static void report_job_change(struct task *t, int change, int code, int signo)
{
	struct task *parent = task_find(t->kernel, t->ppid);

	t->job_change = change;
	if (parent && !(parent->action[SIGCHLD].flags & SA_NOCLDSTOP))
		signal_send(t->kernel, parent, &(struct sig_info){ .signo = SIGCHLD, .code = code, .pid = t->pid,
								   .status = signo });
}

static void continue_task(struct task *t)
{
	clear_pending(t, sig_bit(SIGSTOP) | sig_bit(SIGTSTP) | sig_bit(SIGTTIN) | sig_bit(SIGTTOU));
	if (t->state != TASK_STOPPED)
		return;
	t->state = TASK_RUNNING;
	report_job_change(t, HAS_CONTINUED, CLD_CONTINUED, SIGCONT);
}

void signal_send(struct kernel *k, struct task *t, const struct sig_info *info)
{
	int signo = info->signo;

	(void)k;
	if (t->state == TASK_ZOMBIE)
		return;
	if (signo == SIGCONT || signo == SIGKILL)
		continue_task(t);
	if (default_stops(signo))
		clear_pending(t, sig_bit(SIGCONT));
	if (is_ignored(t, signo) && !(read_blocked(t) & sig_bit(signo))) {
		pthread_cond_broadcast(&t->kernel->changed);
		return;
	}
	if (!(t->pending & sig_bit(signo))) {
		t->info[signo] = *info;
		__atomic_fetch_or(&t->pending, sig_bit(signo), __ATOMIC_RELEASE);
	}
	wake_task(t);
}

/* The child of a fork in progress belongs to the group, so it gets the signal, too. */
void signal_send_group(struct kernel *k, struct task *t, const struct sig_info *info)
{
	signal_send(k, t, info);
	if (t->forking)
		t->fork_pending |= sig_bit(info->signo);
}

static uint64_t deliverable_signals(const struct task *t)
{
	return __atomic_load_n(&t->pending, __ATOMIC_ACQUIRE) & (~read_blocked(t) | UNBLOCKABLE);
}

bool signal_pending(struct task *t)
{
	return deliverable_signals(t) != 0 || __atomic_load_n(&t->kernel->dying, __ATOMIC_RELAXED);
}

bool signal_has_handler(const struct task *t, int signo)
{
	return t->action[signo].handler > HANDLER_IGNORE && !(t->pending & sig_bit(signo));
}

bool signal_fatal_pending(const struct task *t)
{
	uint64_t pending = deliverable_signals(t);
	bool kills = __atomic_load_n(&t->kernel->dying, __ATOMIC_RELAXED);

	for (; pending && !kills; pending &= pending - 1) {
		int signo = __builtin_ctzll(pending) + 1;

		kills = t->action[signo].handler == HANDLER_DEFAULT && !default_ignores(signo) && !default_stops(signo);
	}
	return kills;
}

/* A blocked or ignored signal that the task's own instruction causes kills the task. */
void signal_fault(struct task *t, int signo, int code, uint64_t addr)
{
	const struct sig_info info = { .signo = signo, .code = code, .addr = addr };

	pthread_mutex_lock(&t->kernel->lock);
	if ((t->blocked & sig_bit(signo)) || t->action[signo].handler == HANDLER_IGNORE) {
		t->action[signo].handler = HANDLER_DEFAULT;
		signal_set_blocked(t, t->blocked & ~sig_bit(signo));
	}
	t->info[signo] = info;
	__atomic_fetch_or(&t->pending, sig_bit(signo), __ATOMIC_RELEASE);
	pthread_mutex_unlock(&t->kernel->lock);
}

static void disable_alt_stack(struct task *t)
{
	t->alt_sp = t->alt_size = 0;
	t->alt_autodisarm = false;
}

void signal_reset_for_exec(struct task *t)
{
	pthread_mutex_lock(&t->kernel->lock);
	t->has_execed = true;
	for (int signo = 1; signo <= NR_SIGNALS; signo++)
		if (t->action[signo].handler != HANDLER_IGNORE)
			memset(&t->action[signo], 0, sizeof(t->action[signo]));
	pthread_mutex_unlock(&t->kernel->lock);
	disable_alt_stack(t);
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
	if (info->signo == SIGSEGV || info->signo == SIGBUS || info->signo == SIGFPE ||
	    info->signo == SIGILL || info->signo == SIGTRAP) {
		out->fault.addr = info->addr;
		if (info->signo == SIGBUS && info->code == BUS_MCEERR_AR)
			out->fault.addr_lsb = PAGE_SHIFT;	/* the page is lost */
	} else {
		out->child.pid = info->pid;
		out->child.uid = (int32_t)getuid();
		out->child.status = info->status;
	}
}

static int push_frame(struct task *t, const struct sig_action *act, const struct sig_info *info)
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

/* --- delivery --- */

static void stop_task(struct task *t, int signo)
{
	struct kernel *k = t->kernel;

	cpu_release(t);
	pthread_mutex_lock(&k->lock);
	t->state = TASK_STOPPED;
	t->stop_signal = signo;
	report_job_change(t, HAS_STOPPED, CLD_STOPPED, signo);
	pthread_cond_broadcast(&k->changed);
	while (t->state == TASK_STOPPED && !k->dying)
		pthread_cond_wait(&k->changed, &k->lock);
	pthread_mutex_unlock(&k->lock);
}

/*
 * Prepare an interrupted system call to be executed again, or let it return EINTR. @handler: a handler with @flags is
 * called before.
 */
static void prepare_restart(struct task *t, bool handler, uint64_t flags)
{
	int64_t result = (int64_t)t->st.regs.rax;

	if ((result != -ERESTARTSYS && result != -ERESTARTNOINTR) || t->syscall_nr < 0)
		return;
	if (handler && result == -ERESTARTSYS && !(flags & SA_RESTART)) {
		t->st.regs.rax = (uint64_t)-EINTR;
	} else {
		t->st.regs.rax = (uint64_t)t->syscall_nr;
		t->st.regs.rip -= SYSCALL_BYTES;	/* execute the syscall instruction again */
	}
	t->syscall_nr = -1;
}

static void enter_handler(struct task *t, int signo, const struct sig_info *info)
{
	struct sig_action act = t->action[signo];

	prepare_restart(t, true, act.flags);
	t->copy_error = 0;
	if (push_frame(t, &act, info)) {
		if (t->copy_error == -ENOMEM)
			task_out_of_memory(t);
		/* As Linux: a handler of SIGSEGV gets the next chance, on the alternate stack; its own frame gets none. */
		if (signo == SIGSEGV) {
			pthread_mutex_lock(&t->kernel->lock);
			t->action[SIGSEGV].handler = HANDLER_DEFAULT;
			pthread_mutex_unlock(&t->kernel->lock);
		}
		signal_fault(t, SIGSEGV, SI_KERNEL, 0);
		return;
	}
	t->restore_blocked = false;
	signal_set_blocked(t, t->blocked | act.mask | (act.flags & SA_NODEFER ? 0 : sig_bit(signo)));
	if (act.flags & SA_RESETHAND) {
		pthread_mutex_lock(&t->kernel->lock);
		t->action[signo].handler = HANDLER_DEFAULT;
		pthread_mutex_unlock(&t->kernel->lock);
	}
}

/* Remove one pending signal. SIGKILL comes first, then signals that an instruction of the task caused. 0: none. */
static int dequeue_signal(struct task *t, struct sig_info *info)
{
	const uint64_t sync = sig_bit(SIGSEGV) | sig_bit(SIGBUS) | sig_bit(SIGILL) | sig_bit(SIGFPE) | sig_bit(SIGTRAP);
	uint64_t set;
	int signo = 0;

	pthread_mutex_lock(&t->kernel->lock);
	set = deliverable_signals(t);
	if (set & sig_bit(SIGKILL))
		signo = SIGKILL;
	else if (set)
		signo = __builtin_ctzll(set & sync ? set & sync : set) + 1;
	if (signo) {
		*info = t->info[signo];
		clear_pending(t, sig_bit(signo));
	}
	pthread_mutex_unlock(&t->kernel->lock);
	return signo;
}

void signal_deliver(struct task *t)
{
	struct sig_info info;
	int signo;

	while (signal_pending(t)) {
		if (t->kernel->dying)
			task_exit(t, SIGKILL);
		signo = dequeue_signal(t, &info);
		if (!signo)
			break;
		if (is_ignored(t, signo))
			continue;
		inspect_signal(t, signo);
		if (t->action[signo].handler > HANDLER_IGNORE)
			enter_handler(t, signo, &info);
		else if (default_stops(signo))
			stop_task(t, signo);
		else
			task_exit(t, signo);
	}
	prepare_restart(t, false, 0);
	if (t->restore_blocked) {
		signal_set_blocked(t, t->saved_blocked);
		t->restore_blocked = false;
	}
}
