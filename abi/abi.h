/* SPDX-License-Identifier: MIT */
/*
 * abi/abi.h - the interface of the Linux ABI to the command: run a program and the processes that it forks, observe
 * their address spaces, return the program's exit status.
 */
#ifndef ABI_ABI_H
#define ABI_ABI_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "machine/machine.h"
#include "vellum/host.h"
#include "vellum/mm.h"

#define ABI_MAX_NAME 256
#define ABI_AUXV_WORDS 64
#define ABI_MAX_ARGS 256
#define ABI_THREAD_NAME_BYTES 16	/* with the NUL: prctl(2), PR_SET_NAME */

/*
 * The address space of a process and its threads, made by execve(2) or copied by fork(2). A vfork child shares its
 * parent's until the child's execve(2). @observer_data belongs to the observer.
 */
struct guest_mm {
	struct kernel *kernel;
	struct vellum_mm *mm;
	uint32_t refs;			/* atomic: threads that use it; 0: it ends */
	unsigned pins;			/* kernel->lock: others that use it: it is not freed meanwhile */
	int pid;			/* of the process that it was made for */
	uint64_t stack_start, stack_end;
	uint64_t brk_start;
	uint64_t vdso;			/* 0: none */
	uint64_t args_start, env_start, env_end;	/* the strings of execve(2): argv, then envp */
	uint64_t start_sp;		/* the stack pointer at the start */
	uint64_t auxv[ABI_AUXV_WORDS];
	uint64_t auxv_bytes;
	bool loaded;			/* the loader succeeded */
	bool not_dumpable;		/* atomic: prctl(2) */
	int membarrier_registrations;	/* atomic: MEMBARRIER_CMD_REGISTER_* */
	char exe[4096];
	char args[ABI_MAX_ARGS];	/* the first bytes of the arguments; an empty one follows the last */
	struct placements *placements;	/* mempolicy.c; NULL: none */
	void *observer_data;
	/* The gate (task.h). A thread that holds a CPU is inside. */
	pthread_mutex_t gate_lock;
	pthread_cond_t gate_changed;
	unsigned nr_inside;		/* gate_lock */
	struct task *closed_by;		/* gate_lock */
};

/*
 * The observer's functions are called when address spaces are created, changed or freed. The caller is the host
 * thread of the process, which executes no code of the program during the call. Each may be NULL.
 */
struct abi_observer {
	void *arg;
	/* Before a program is loaded into the empty address space. Return: 0; else exec fails with ENOMEM. */
	int (*mm_new)(void *arg, struct guest_mm *gmm);
	/* The program was loaded. Its first instruction has not been executed. */
	void (*mm_start)(void *arg, struct guest_mm *gmm);
	/* Before and after the copy of fork(2). after_fork returns 0; else fork fails with ENOMEM. */
	void (*before_fork)(void *arg, struct guest_mm *parent);
	int (*after_fork)(void *arg, struct guest_mm *parent, struct guest_mm *child);
	/* Before and after [start, end) is unmapped. If the unmap failed, after_unmap gets an empty range. */
	void (*before_unmap)(void *arg, struct guest_mm *gmm, uint64_t start, uint64_t end);
	void (*after_unmap)(void *arg, struct guest_mm *gmm, uint64_t start, uint64_t end);
	/* [start, end) was mapped. */
	void (*mapped)(void *arg, struct guest_mm *gmm, uint64_t start, uint64_t end);
	/*
	 * A thread of the process that the address space was made for ends, or executes a program. @nr_syscalls: its
	 * system calls there.
	 */
	void (*thread_end)(void *arg, struct guest_mm *gmm, int tid, const char *name, uint64_t nr_syscalls);
	/* The last thread has dropped its reference. The address space is not freed yet. */
	void (*mm_end)(void *arg, struct guest_mm *gmm);
};

/*
 * The inspector's functions are called at inspection points: system call, signal, exit. The caller is the host thread
 * of the process, which executes no code of the program and holds no CPU during the call. Each may be NULL.
 */
struct abi_inspector {
	void *arg;
	/* Before a system call. */
	void (*at_syscall)(void *arg, const struct guest_mm *gmm, int pid, uint64_t nr);
	/* Before a signal is delivered or kills the process. Not called for an ignored signal. */
	void (*at_signal)(void *arg, const struct guest_mm *gmm, int pid, int signo);
	/* When the process exits. */
	void (*at_exit)(void *arg, const struct guest_mm *gmm, int pid);
};

struct repeat;

/* A reset, in struct abi_repeat. */
struct abi_reset {
	uint64_t ns;			/* how long it took */
	uint64_t pages;			/* that the run had changed */
};

/* System V shared memory that the program finds by an environment variable, which has the ID. */
struct abi_segment {
	const char *variable;
	uint64_t bytes;
	struct vellum_mapping *mapping;	/* out: when the program is loaded, until the end of the run */
};

#define ABI_MAX_SEGMENTS 2
#define ABI_SERVER_FD	198		/* and the next one: of a fork server, for AFL++'s */

/*
 * Run the program again and again from one snapshot. The functions are called by the host thread of the program, which
 * executes no code of the program during the call.
 */
struct abi_repeat {
	void *arg;
	/* Where it is frozen. FORK: before the first fork(2). */
	enum { ABI_PLACE_FUNCTION, ABI_PLACE_ADDRESS, ABI_PLACE_FIRST_READ, ABI_PLACE_FORK } place;
	const char *function;
	uint64_t address;		/* of the file, if it is position independent, or of memory */
	int output[2];			/* of the host: the program's descriptors 1 and 2; they may use no more than --ram */
	/*
	 * A program with a fork server in it: its descriptors ABI_SERVER_FD and the next are these of the host. Its first fork
	 * makes no process, but returns 0, so each run is the child. If it stops itself, the run ends with status 0.
	 */
	bool serves;
	int server[2];
	struct abi_segment *segments;
	unsigned nr_segments;
	uint64_t verify_every;		/* resets until all memory is compared with the frozen state, not only what they put back; 0: compare nothing */
	/* The program is loaded, and none of its code has run. May be NULL. */
	void (*loaded)(void *arg, const struct guest_mm *gmm);
	/* The program is about to be frozen. May be NULL. */
	void (*freezing)(void *arg);
	/* The program is frozen. @limits: what resets will not undo, in words, or "". @run: for abi_repeat_kill() */
	void (*frozen)(void *arg, const char *limits, struct repeat *run);
	/* A run has ended, with a status as of wait4(2). True: reset the program. */
	bool (*ended)(void *arg, int status);
	/*
	 * What the host can see of the run is undone, but not its memory: that is reset while the other side of a pipe, say,
	 * prepares the next run. Not called if a file is mapped shared and writable, as its pages may yet be written. May be
	 * NULL.
	 */
	void (*undone)(void *arg);
	/* It was reset. True: run it again. */
	bool (*was_reset)(void *arg, const struct abi_reset *reset);
	/* No run follows: abi_repeat_kill() must not be called after this. May be NULL. */
	void (*finished)(void *arg);
};

struct abi_args {
	struct machine *machine;
	struct vellum_memory *memory;
	const char *path;		/* of the program; PATH was searched by the caller */
	char *const *argv;
	char *const *envp;
	bool strace;
	const struct rlimit *limits;	/* RLIM_NLIMITS initial limits of the program */
	const struct abi_repeat *repeat;	/* NULL: run the program once */
	unsigned closed_fds;		/* bit i: descriptor i is closed, as it was when Vellum was started */
	const struct abi_observer *observer;
	const struct abi_inspector *inspector;	/* NULL: none */
	/*
	 * Called when the run must end although a process still waits in a host call. Reports what is known. The
	 * threads of such processes still run, so nothing may be freed. Return: Vellum's exit status.
	 */
	int (*abandoned)(void *arg);
	void *abandoned_arg;
};

#define ABI_MAX_SYSCALL 1024		/* greater numbers are recorded as this one: no kernel has such system calls */
#define ABI_UNSUPPORTED_WORDS (ABI_MAX_SYSCALL / 64 + 1)

struct abi_result {
	int code;			/* exit status, or -1 */
	int signal;			/* that killed the program, or 0 */
	uint64_t nr_syscalls;
	/* Unsupported system calls of programs that failed afterwards: a bit for each number. */
	uint64_t unsupported[ABI_UNSUPPORTED_WORDS];
	bool wrote_stdout;		/* atomic: a program wrote to descriptor 1 that Vellum was started with */
	bool started;			/* the program ran. A report is possible, even if @error is set */
	char error[256];		/* a failure of Vellum, one line; empty if there was none */
};

/*
 * Check that a file can be run, before anything is started. Return: 0, or an exit status of a shell (126, 127) with
 * the reason in @why, one line.
 */
int abi_check_program(const char *path, char *why, size_t why_size);

/*
 * The hooks of the host for the memory of programs. A pending signal interrupts long calls. Call before any thread is
 * made.
 */
const struct vellum_host_ops *abi_host(void);

/* Block the signals that abi_run() forwards to the program. Call before any thread is made. */
void abi_block_signals(void);

/*
 * Run @args->path until it exits. Then all other processes are killed. The first SIGTERM or SIGINT to Vellum is
 * forwarded to the program. A second one ends the run.
 */
void abi_run(const struct abi_args *args, struct abi_result *result);

/* End what the program does now, as kill(2) with SIGKILL. From any thread, until finished(). */
void abi_repeat_kill(struct repeat *run);

/* The name of the supported system call number @i, counted from 0; NULL: there are not so many. */
const char *abi_supported(unsigned i);

/* The number of a supported system call, or -1. */
int abi_syscall_number(const char *name);

/* The name of number @i, counted from 0, of @result->unsupported; NULL: there are not so many. */
const char *abi_unsupported(const struct abi_result *result, unsigned i);

/* The name of a VMA in a report: a path, "[heap]", "[stack]", "[vdso]", "[vvar]" or "". */
void abi_mapping_name(const struct guest_mm *gmm, const struct vellum_vma_info *info,
		      char name[ABI_MAX_NAME]);

/* True: the VMA maps a file of the host. */
bool abi_is_file(const struct guest_mm *gmm, const struct vellum_vma_info *info);

/*
 * Find the first pages of a mapping, not before page @*first, that may contain bytes other than zero: [@*first, @*end).
 * Return: false if there are none.
 */
bool abi_next_data(const struct guest_mm *gmm, const struct vellum_vma_info *info, uint64_t *first, uint64_t *end);

/* Read a page of a VMA, from its mapping or file. No entry needs to map the page. */
void abi_absent_page(const struct guest_mm *gmm, const struct vellum_vma_info *info, uint64_t addr, void *buf);

#endif
