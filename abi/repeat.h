/* SPDX-License-Identifier: MIT */
/*
 * abi/repeat.h - run a program again and again from one snapshot: freeze it at a point, and when a run has ended, reset its
 * memory and its process. abi_args.repeat asks for it.
 *
 * The frozen process is the first one. The thread that comes to the place is the frozen thread, whose host thread does all
 * this. It outlives the runs: when the thread exits, or another thread executes a program, it waits until its process has
 * no thread left. The process's other threads park while it is frozen (repeat_threads.c).
 * What a run made is ended as at any exit, and then the process gets back what image.c saved.
 *
 * Locks: kernel->lock protects what other threads see, as nr_threads of the process.
 */
#ifndef ABI_REPEAT_H
#define ABI_REPEAT_H

#include "abi/task.h"

struct repeat;

struct repeat *repeat_create(struct kernel *k);		/* NULL: no memory */
void repeat_destroy(struct repeat *r);
/* The first program is loaded: find out where it is to be frozen. False: it cannot, and the run has failed. */
bool repeat_begin(struct task *t);
/* An int3 instruction ended before rip: if it is ours, freeze the process. True: it was, and the program goes on. */
bool repeat_at_breakpoint(struct task *t);
/* Before a system call, whose number and arguments the registers have: freeze the process if it is the place. */
void repeat_at_syscall(struct task *t);
/* fork(2): is it the one that makes no process? */
bool repeat_takes_fork(struct task *t);
/* The process stops itself: is it the end of the run? */
bool repeat_ends_at_stop(const struct process *p);
/* Is the process the frozen one? Is the thread? */
bool repeat_has(const struct process *p);
bool repeat_is_frozen(const struct task *t);
/* Kill the processes that the frozen one made. kernel->lock held. */
void repeat_kill_others(const struct task *t);
/*
 * The frozen thread has left its process, which no thread is in any more. Does not return, unless no run follows: then
 * the process ends.
 */
void repeat_end_run(struct task *t);

/* --- repeat_place.c --- */

/* Where the function @name of the program is in memory; "main" is found without symbols, too. False: not found. */
bool repeat_find_function(struct task *t, const char *name, uint64_t *addr);
/* An address of a position-independent program's file is one in memory, too. */
uint64_t repeat_place_address(struct task *t, uint64_t addr);

/* --- repeat_threads.c: the other threads of the frozen process --- */

struct parked;		/* freed with free(3) */

/*
 * Let the others park. False: @why says which does not, or is "": @t is to end. Either way, threads_go_on() follows. @t holds
 * no CPU.
 */
bool threads_park(struct task *t, char *why, size_t size);
void threads_go_on(struct task *t);
struct parked *threads_save(const struct task *t);	/* after threads_park(). NULL: no memory */
/* They have ended with a run, and @t has been reset: start them as they were saved. 0 or a negative errno. */
int threads_start_again(const struct parked *parked, struct task *t);

/* --- image.c: the process beside its memory --- */

struct image;

struct image *image_save(struct task *t);	/* NULL: no memory or descriptors */
/* 0, or -1: @why says what cannot be undone. No other thread or process is left, and @t holds no CPU. */
int image_restore(struct image *image, struct task *t, const char **why);
void image_restore_task(const struct task *was, struct task *t);	/* a thread. kernel->lock held */
void image_free(struct image *image);
/* What a reset will not undo, of what the process has now: a list in words, or "". */
void image_limits(const struct task *t, char *text, size_t size);

#endif
