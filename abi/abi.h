/* SPDX-License-Identifier: MIT */
/*
 * abi/abi.h - the Linux ABI for programs, as the command sees it: start a program with everything it
 * starts, watch its address spaces, learn how it ended.
 */
#ifndef ABI_ABI_H
#define ABI_ABI_H

#include <stdbool.h>
#include <stdint.h>

#include "machine/machine.h"
#include "vellum/host.h"
#include "vellum/mm.h"

#define ABI_MAX_NAME 256

/*
 * One program image in memory: what exec made, or fork copied. Shared by a vfork child until it
 * execs. @observer_data is the observer's.
 */
struct guest_mm {
	struct kernel *kernel;
	struct vellum_mm *mm;
	uint32_t refs;
	int pid;			/* of the process it was made for */
	uint64_t stack_start, stack_end;
	uint64_t brk_start;
	uint64_t vdso;			/* 0: none */
	bool loaded;			/* a program has run in it */
	char exe[4096];
	void *observer_data;
};

/*
 * Told of what happens to address spaces, by the thread of the process concerned, which is not in
 * the program meanwhile. Any may be NULL.
 */
struct abi_observer {
	void *arg;
	/* An empty address space, before a program is loaded into it. Not 0: no memory for it. */
	int (*mm_new)(void *arg, struct guest_mm *gmm);
	/* The program was loaded; its first instruction has not run. */
	void (*mm_start)(void *arg, struct guest_mm *gmm);
	/* Around fork. */
	void (*before_fork)(void *arg, struct guest_mm *parent);
	int (*after_fork)(void *arg, struct guest_mm *parent, struct guest_mm *child);
	/* [start, end) is about to lose what is mapped there; has lost it. */
	void (*before_unmap)(void *arg, struct guest_mm *gmm, uint64_t start, uint64_t end);
	void (*after_unmap)(void *arg, struct guest_mm *gmm, uint64_t start, uint64_t end);
	/* [start, end) was mapped. */
	void (*mapped)(void *arg, struct guest_mm *gmm, uint64_t start, uint64_t end);
	/* The last process left it; it still stands. */
	void (*mm_end)(void *arg, struct guest_mm *gmm);
};

/*
 * Shown the address space of a process that gets somewhere, by that process's own thread, which is not in
 * the program and holds no CPU meanwhile. Any may be NULL.
 */
struct abi_inspector {
	void *arg;
	/* Before a system call. */
	void (*at_syscall)(void *arg, const struct guest_mm *gmm, int pid, uint64_t nr);
	/* Before a signal is delivered, or kills; not for one that is ignored. */
	void (*at_signal)(void *arg, const struct guest_mm *gmm, int pid, int signo);
	/* At the end of the process. */
	void (*at_exit)(void *arg, const struct guest_mm *gmm, int pid);
};

struct abi_args {
	struct machine *machine;
	struct vellum_memory *memory;
	const char *path;		/* program, found already */
	char *const *argv;
	char *const *envp;
	bool strace;
	const struct rlimit *limits;	/* all RLIM_NLIMITS, as the program shall find them */
	unsigned closed_fds;		/* bit i: descriptor i was closed when Vellum started */
	const struct abi_observer *observer;
	const struct abi_inspector *inspector;	/* NULL: none */
	/*
	 * The run was to end, and a process does not come back from a call of the host: report what is known.
	 * Return: the exit status. Its threads are still there, so nothing may be freed.
	 */
	int (*abandoned)(void *arg);
	void *abandoned_arg;
};

#define ABI_MAX_SYSCALL 1024		/* numbers from here on are one: no kernel knows them */

struct abi_result {
	int code;			/* exit status, or -1 */
	int signal;			/* that killed it, or 0 */
	uint64_t nr_syscalls;
	/* System calls that were asked for and are not supported: a bit per number. Atomic during the run. */
	uint64_t unsupported[ABI_MAX_SYSCALL / 64 + 1];
	bool started;			/* the program ran: there is something to report, with an error too */
	char error[256];		/* not empty: Vellum's own failure, one line */
};

/*
 * Why a file cannot be run, before anything is started: 0, or a status for exit (126, 127) with one
 * line in @why.
 */
int abi_check_program(const char *path, char *why, size_t why_size);

/* Hooks for the memory that programs run in: a long call of theirs ends when a signal does. Call before any thread. */
const struct vellum_host_ops *abi_host(void);

/* Call before any thread is made: signals to Vellum are the program's. */
void abi_block_signals(void);

/*
 * Run @args->path to its end; with it, all processes that it started are killed. SIGTERM and SIGINT are the
 * program's the first time, and end the run the second time.
 */
void abi_run(const struct abi_args *args, struct abi_result *result);

/* Names of the system calls that programs can use, one at a time; NULL at the end. */
const char *abi_supported(unsigned i);

/* The number of a system call that programs can use, or -1. */
int abi_syscall_number(const char *name);

/* Names of system calls that were asked for and are not supported, one at a time; NULL at the end. */
const char *abi_unsupported(const struct abi_result *result, unsigned i);

/* What a mapping is called in a report: a path, "[heap]", "[stack]", "[vdso]" or "". */
void abi_mapping_name(const struct guest_mm *gmm, const struct vellum_vma_info *info,
		      char name[ABI_MAX_NAME]);

/* A host file, not memory shared by processes. */
bool abi_is_file(const struct guest_mm *gmm, const struct vellum_vma_info *info);

/*
 * The first run of pages of an object from @*first on that may hold other bytes than zeros: up to @*end.
 * False: none.
 */
bool abi_next_data(const struct guest_mm *gmm, const struct vellum_vma_info *info, uint64_t *first, uint64_t *end);

/* The bytes of a page that is mapped but in no page table. */
void abi_absent_page(const struct guest_mm *gmm, const struct vellum_vma_info *info, uint64_t addr, void *buf);

#endif
