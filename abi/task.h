/* SPDX-License-Identifier: MIT */
/*
 * abi/task.h - processes and their threads. A process (struct process) has what its threads share: descriptors, signal
 * handlers, limits, children. A thread (struct task) has registers, a signal mask, and a thread of the host. All threads of
 * a process use one address space.
 *
 * Locks, outermost first: files->lock, kernel->lock (process table, signals, waits), the lock of the CPU pool. No
 * lock is held while a system call blocks or the program runs.
 */
#ifndef ABI_TASK_H
#define ABI_TASK_H

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/types.h>
#include <time.h>

#include "abi/abi.h"
#include "abi/usage.h"
#include "vellum/access.h"

#define NR_SIGNALS	64
#define FIRST_RT_SIGNAL	32		/* of the kernel; the C library uses some itself */
#define MAX_FDS		1024
#define MAX_TASKS	4096		/* zombies included */
#define NS_PER_SEC	1000000000l
#define NS_PER_US	1000
#define USER_HZ		100		/* clock ticks a second, as programs see them: times(2), AT_CLKTCK */
#define TASK_COMM_LEN	ABI_THREAD_NAME_BYTES
#define SIGSET_BYTES	8		/* of the kernel's sigset_t: bit n - 1 is signal n */
#define ARG_OVERHEAD	9		/* of each string that execve(2) passes: its NUL and its pointer */
#define KICK_SIGNAL	SIGURG		/* interrupts a host call of a thread; its handler does nothing */

/* Results by which a system call asks to be restarted after a signal. */
#define ERESTARTSYS	512
#define ERESTARTNOINTR	513		/* even if the handler has no SA_RESTART */
#define ERESTARTNOHAND	514		/* only if there is no handler */

enum file_terminal { NO_TERMINAL, TERMINAL, PTY_MASTER };

struct file {			/* an open file description; several descriptors may share it */
	struct kernel *kernel;
	uint32_t refs;		/* atomic */
	int fd;			/* of the host */
	bool regular;
	bool may_block;		/* a host call on it may block: not a file of a disk or memory */
	bool direct;		/* O_DIRECT */
	bool is_stdout;		/* descriptor 1 of Vellum */
	enum file_terminal terminal;
	dev_t dev;
	ino_t ino;
	dev_t peer_dev;		/* PTY_MASTER: the terminal at the other end; inode 0: not known yet */
	ino_t peer_ino;
	struct unread *unread;	/* kernel->unread_lock; compared with NULL without the lock */
	struct memfd *memfd;	/* the file's account, referenced; NULL: memfd_create(2) did not make the file */
	bool is_signalfd;	/* sys_signalfd.c; fd is a signalfd of the host without signals */
	uint64_t signal_mask;	/* of a signalfd; atomic, written with kernel->lock held */
	struct pidfd *pidfd;	/* sys_pidfd.c; NULL: the file is no pidfd */
	struct uffd *uffd;	/* uffd.c; NULL: the file is no userfaultfd */
	/* sys_epoll.c: the items of an epoll file; the items that watch this file */
	struct epoll_item *epoll_items, *watches;
	struct proc_file *proc;		/* a file of /proc; NULL: another one */
	struct async *async;		/* async.c; kernel->async_lock; NULL: never used */
	bool used;			/* atomic: a system call has named it; cleared by image.c */
};

struct fd_entry {
	struct file *file;
	bool cloexec;
};

struct sig_action {		/* the layout of rt_sigaction(2) */
	uint64_t handler, flags, restorer, mask;
};

struct sig_info {
	int signo, code;
	int pid, uid;		/* of the sender, or of the child for SIGCHLD */
	int status;		/* of the child */
	uint64_t addr;		/* of a fault */
	uint64_t value;		/* sigqueue(3) */
};

struct sig_node;

/* Signals that were sent and not delivered. kernel->lock protects it; set is also read without the lock. */
struct sig_pending {
	uint64_t set;
	struct sig_info info[FIRST_RT_SIGNAL];	/* of a signal below FIRST_RT_SIGNAL: the first one */
	struct sig_node *first;		/* real-time signals, each with its information, in the order of sending */
};

struct id_set {
	uint32_t real, effective, saved;
};

struct credentials {		/* credentials(7) */
	struct id_set user, group;
	uint32_t file_user, file_group;		/* for files: setfsuid(2) */
	uint64_t permitted, effective;	/* capabilities */
};

/* What a thread shares with others if clone(2) was asked to. See sharing.c. */
struct files {			/* CLONE_FILES */
	struct kernel *kernel;
	uint32_t users;			/* atomic: threads; the last one closes all */
	uint32_t refs;			/* atomic, for the memory: the users together, and looks from /proc */
	pthread_mutex_t lock;
	struct fd_entry fds[MAX_FDS];	/* lock */
	bool changed;			/* lock: fds changed since image.c cleared it */
	struct lock_file *lock_files;	/* lock.c; kernel->lock */
};

struct fs {			/* CLONE_FS */
	uint32_t refs;			/* atomic */
	int cwd;			/* host descriptor; always the same number: chdir(2) replaces what it refers to */
	bool moved;			/* atomic: the directory changed since the program was frozen (image.c) */
	mode_t umask;			/* atomic */
};

struct sighand {		/* CLONE_SIGHAND; kernel->lock */
	unsigned refs;			/* processes: its threads always share them */
	struct sig_action action[NR_SIGNALS + 1];	/* the handlers are also read without the lock */
};

enum process_state { PROCESS_RUNNING, PROCESS_STOPPED, PROCESS_ZOMBIE };

struct cpu_timer {		/* ITIMER_VIRTUAL, ITIMER_PROF; kernel->lock */
	uint64_t at, interval;	/* ns of the process's CPU time; at 0: disarmed */
};

struct process {
	struct kernel *kernel;
	struct process *next;		/* kernel->processes */
	int pid;
	uint64_t start_ns;		/* CLOCK_BOOTTIME */
	char comm[TASK_COMM_LEN];	/* kernel->lock: of the thread that ended last */
	struct credentials credentials;	/* kernel->lock: of the first thread */
	int oom_score_adj, oom_score_adj_min;	/* kernel->lock: proc_pid_oom_score_adj(5) */
	int ppid, pgid, sid;		/* kernel->lock */
	int parent_tid;			/* kernel->lock: the thread of the parent that made it, or one that still lives */
	bool adopts_orphans;		/* atomic: PR_SET_CHILD_SUBREAPER of prctl(2) */
	int exit_signal;		/* to the parent when it ends; 0: none */
	bool has_execed;		/* kernel->lock: execve(2) succeeded after the fork */
	struct task *threads;		/* kernel->lock */
	unsigned nr_threads;		/* kernel->lock; also read without it, by is_single() */
	unsigned nr_leaving;		/* kernel->lock: of these, threads that are in task_exit() */
	enum process_state state;	/* kernel->lock */
	bool exiting;			/* kernel->lock; also read without it: every thread ends */
	struct task *survivor;		/* kernel->lock: of execve(2): every other thread ends */
	struct task *freezer;		/* kernel->lock; also read without it: every other thread parks (repeat.h) */
	int exit_status;		/* as wait4(2) returns it */
	struct pidfd *pidfds;		/* kernel->lock; sys_pidfd.c */
	struct sem_undo *sem_undos;	/* kernel->lock; sys_sem.c */
	unsigned pins;			/* kernel->lock: others that use it without the lock: it is not freed meanwhile */
	bool reaped;			/* kernel->lock: the last pin frees it */
	enum { NOT_CHANGED, HAS_STOPPED, HAS_CONTINUED } job_change;	/* kernel->lock: not reported by wait4(2) yet */
	int stop_signal;
	int stopped_by;			/* PID of the sender of stop_signal; 0: the kernel, or from outside */
	struct tty *tty;		/* kernel->lock: the controlling terminal, or NULL */
	int hung_up_pgid;		/* kernel->lock: the foreground group of the terminal that its session lost, or 0 */
	struct task *vfork_parent;	/* kernel->lock: waits until this process calls execve(2) or exits */
	/* signals: kernel->lock */
	struct sig_pending pending;
	struct task *forking;		/* it forks: signals to the group are in fork_pending, too, for the child */
	struct sig_pending fork_pending;
	struct signal_watch *signal_watches;	/* sys_signalfd.c */
	unsigned nr_signal_readers;	/* threads that wait in read(2) of a signalfd */
	struct sighand *sighand;	/* changed by execve(2) with the lock held */
	uint64_t alarm_at, alarm_interval;	/* ns, CLOCK_MONOTONIC */
	struct timer *timers;		/* sys_timer.c */
	unsigned nr_timers;
	int next_timer;			/* the ID of the next one */
	struct cpu_timer virtual_timer, prof_timer;
	struct usage ended;		/* kernel->lock: of threads that have ended */
	struct usage children;		/* kernel->lock: of children that were waited for, and of theirs */
	uint64_t max_rss;		/* atomic; bytes */
	uint64_t next_xcpu;		/* kernel->lock: seconds of CPU time: the next SIGXCPU */
	struct rlimit rlimits[RLIM_NLIMITS];	/* kernel->lock; its own threads read them without the lock */
	uint64_t nr_syscalls;		/* of threads that have ended */
	uint64_t unsupported[ABI_UNSUPPORTED_WORDS];	/* atomic: calls of this program that failed with ENOSYS */
};

struct mempolicy {		/* numa(7) */
	int mode, flags;		/* MPOL_*; MPOL_F_* that belong to the mode */
	uint64_t nodes, given;		/* bit n: node n; as the program gave them */
};

struct task_policy {		/* sched(7) */
	int policy;			/* SCHED_* */
	int priority;			/* of a real-time policy: 1 to 99; else 0 */
	bool reset_on_fork;
};

struct task {
	struct kernel *kernel;
	struct process *process;
	struct task *next;		/* process->threads; kernel->lock */
	int tid;			/* of the first thread: the PID */
	pthread_t thread;
	pid_t host_tid;			/* kernel->lock; 0: it does not run yet */
	struct credentials credentials;	/* kernel->lock; its own thread reads them without the lock */
	struct guest_mm *gmm;		/* kernel->lock; its own thread reads it without the lock. NULL: @t ends */
	struct files *files;		/* the same */
	struct fs *fs;			/* the same */
	bool vfork_done;		/* kernel->lock */
	struct vcpu_state st;
	int cpu;			/* that the task holds, or -1 */
	int last_cpu;			/* that may still hold the task's FPU state, or -1 */
	struct usage_clock clock;
	/* Atomic; changed by its own thread: */
	uint64_t faults, voluntary, involuntary;
	uint64_t bytes_read, bytes_written, reads, writes;
	bool waits_for_cpu;
	int last_cpu_used;
	uint64_t start_ns;		/* CLOCK_BOOTTIME */
	uint32_t load;			/* VCPU_LOAD_* for the next run */
	uint64_t cpus;			/* atomic: bit n: it may run on CPU n */
	bool sets_nice;			/* kernel->lock: its host thread begins with start_nice */
	int start_nice;
	struct mempolicy mempolicy;
	struct task_policy policy;	/* kernel->lock and the pool's for changes, either to look */
	bool lost;			/* lock of the pool: its FPU state was lost when the machine ended */
	uint32_t personality;		/* atomic; changed by its own thread */
	char comm[TASK_COMM_LEN];	/* kernel->lock; its own thread reads it without the lock */
	/* signals: kernel->lock protects pending. Only the task's own thread changes the rest */
	struct sig_pending pending;
	bool stops;			/* kernel->lock: it took a stop signal, and no SIGCONT was sent since */
	bool parked;			/* kernel->lock: it waits for process->freezer, with all its state in this structure */
	bool woken;			/* atomic: it is to deliver a signal to the process */
	uint64_t waits_for;		/* sigtimedwait(2); kernel->lock */
	uint64_t polls_for;		/* poll(2) of signalfds; kernel->lock */
	int wake_fd;			/* an eventfd of the host that ends such a poll(2), or -1: not made yet */
	uint64_t blocked, saved_blocked;
	bool restore_blocked;		/* sigsuspend(2): saved_blocked is restored after the handler */
	uint64_t alt_sp, alt_size;	/* size 0: none */
	bool alt_autodisarm;		/* SS_AUTODISARM: a handler starts without an alternate stack */
	int parent_death_signal;	/* atomic: prctl(2) */
	uint64_t clear_child_tid;
	uint64_t robust_list;		/* address of the head, or 0 */
	bool left_locks;		/* atomic: futex_leave() gives its locks away, or has done so */
	bool inside;			/* it has passed the gate of its address space */
	bool must_not_wait;		/* for a userfaultfd: it ends, or --strace looks at its memory */
	bool interruptible;		/* a signal to it ends its wait for a userfaultfd; else only a fatal one */
	bool took_events;		/* of userfaultfds, while it had closed the gate */
	bool gives_up;			/* its wait for a userfaultfd fails, as no reader can run */
	struct guest_mm *other_gmm;	/* whose gate it has passed for a store, or NULL */
	bool in_host;			/* atomic: may block in a host call, so a signal must kick its thread */
	bool limits_changed;		/* atomic: they or the right to exceed them changed; rlimit_apply() is due */
	uint64_t nr_syscalls;
	int64_t syscall_nr;		/* of a system call that asks to be restarted, or -1 */
	int copy_error;			/* of the last failed copy: the result that replaces EFAULT */
	struct file **held;		/* references until the end of the system call; fd.c */
	unsigned nr_held, max_held;
};

struct kernel {
	const struct abi_args *args;
	pthread_mutex_t lock;
	pthread_cond_t changed;		/* a task changed its state, or a signal was sent */
	pthread_cond_t all_ended;	/* nr_live is 0, or abandoned is set. Not changed, which wakes its waiters very often */
	bool received_files;		/* atomic: descriptors came through a socket; cleared by image.c */
	bool attributes_changed;	/* atomic: a thread's nice value or attributes of prctl(2) changed; cleared by image.c */
	struct process *processes;
	int next_pid;
	unsigned nr_tasks;		/* threads, and processes without threads */
	unsigned nr_live;		/* processes without zombies */
	bool dying;			/* the machine failed, or a signal ended the run: every task exits */
	bool first_exited;		/* lock: process 1 has exited, and the others are killed */
	unsigned asked_to_end;		/* lock: bit n: signal n asked Vellum to end */
	int ended_by;			/* lock: the signal that ends the run, or 0 */
	uint64_t shutdown_at;		/* lock: ns, CLOCK_MONOTONIC: time of the next advance_shutdown(), or 0 */
	struct tty *ttys;		/* lock; tty.c */
	bool stop_raised;		/* lock: Vellum has stopped since process 1 stopped */
	bool abandoned;			/* lock: do not wait for the remaining tasks */
	struct abi_result *result;
	cpu_set_t host_cpus;		/* for each thread's host thread, wherever the one runs that makes it */
	pthread_t ticker;
	bool ticker_stop;
	struct cpu_pool *pool;
	struct usage_clock cpu_clocks[VELLUM_MAX_CPUS];	/* changed by the thread that holds the CPU */
	struct vdso *vdso;
	struct filemaps *filemaps;	/* filemap.h */
	struct futexes *futexes;	/* sys_futex.c */
	struct repeat *repeat;		/* repeat.h; NULL: the program runs once */
	struct proc_tree *proc;		/* proc.h */
	struct usage ended;		/* lock: of processes that have ended */
	uint64_t mmap_min_addr;		/* the host's */
	uint64_t nr_created;		/* lock: processes and threads, since the start */
	int last_id;			/* lock: the ID of the last one */
	double load[3];			/* lock: averages of 1, 5 and 15 minutes */
	uint64_t next_load;		/* ns, CLOCK_MONOTONIC: time of their next update */
	struct ipc *ipc;		/* ipc.h */
	struct uffd *uffds;		/* lock; uffd.c */
	pthread_mutex_t unread_lock;	/* a leaf; protects unread of struct file */
	pthread_mutex_t async_lock;	/* inside lock; protects async of struct file, and: */
	struct async *asyncs;
};

/* task.c */
/* Create a process with one thread, unless there are @max threads. NULL: errno is set. */
struct task *process_create(struct kernel *k, uint64_t max);
/* Create a thread of @p that is not in its list yet. NULL: errno is set. */
struct task *thread_create(struct process *p, uint64_t max);
struct task *thread_create_again(struct process *p, int tid);	/* with the ID of one that has ended */
struct process *process_find(struct kernel *k, int pid);	/* kernel->lock held */
struct task *task_find(struct kernel *k, int tid);		/* a thread; kernel->lock held */
void task_set_comm(struct task *t, const char name[TASK_COMM_LEN]);
void task_get_comm(const struct task *t, char name[TASK_COMM_LEN]);
/* @t leaves its address space: tell the observer, and count its system calls with the process. Takes kernel->lock. */
void task_end_in_memory(struct task *t);
bool task_is_running(const struct task *t);			/* has a CPU, or waits for one */
void process_unlink(struct kernel *k, struct process *p);	/* kernel->lock held */
void process_free(struct process *p);				/* without threads; kernel->lock held */
/* Keep a process that is found until process_unpin(), though it may end and be reaped. kernel->lock held. */
void process_pin(struct process *p);
void process_unpin(struct process *p);				/* kernel->lock held */
void thread_uncount(struct task *t);				/* before it is freed; kernel->lock held */
void task_free(struct task *t);					/* kernel->lock held */
void *task_main(void *arg);
struct task *task_current(void);	/* of the calling thread; NULL: the thread belongs to no task */
void task_exit_thread(void) __attribute__((noreturn));	/* end the calling thread */
void task_run_again(void) __attribute__((noreturn));	/* go on with the program, whose registers were changed */
void kernel_fail(struct kernel *k, const char *why);	/* end the run with this error */
uint64_t clock_ns(clockid_t clock);
/* Sleep until kernel->changed is signalled, for @ns at most. kernel->lock held. */
void kernel_wait(struct kernel *k, uint64_t ns);

/* fork.c */
/* Put it into the process table, start its first thread. @creator: NULL for process 1; @flags: CLONE_PARENT. */
int process_start(struct task *t, struct task *creator, uint64_t flags);
void process_discard(struct task *t);		/* free a process that was not started */
int thread_start(struct task *t);		/* the same for a thread. kernel->lock held. 0 or -EAGAIN */
void thread_discard(struct task *t);		/* free a thread that was not started */
struct clone_request {		/* clone(2), clone3(2) */
	uint64_t flags;		/* without the signal */
	int exit_signal;
	uint64_t stack;		/* its top; 0: the parent's */
	uint64_t parent_tid, child_tid, tls;
	uint64_t pidfd;		/* address for CLONE_PIDFD */
};
int64_t task_clone(struct task *parent, const struct clone_request *rq);	/* the new PID or TID, or a negative errno */

/* Called by a thread of the process: is it the only one? */
static inline bool is_single(const struct process *p)
{
	return __atomic_load_n(&p->nr_threads, __ATOMIC_ACQUIRE) == 1;
}

/* exit.c */
/* End the thread, and with the last one the process: with @status, unless another thread has set one. */
void task_exit(struct task *t, int status) __attribute__((noreturn));
/* End all threads of the process. */
void process_exit(struct task *t, int status) __attribute__((noreturn));
/* For execve(2): end all other threads. Then @t is the first thread. False: the process ends. */
bool process_become_single(struct task *t);
void task_out_of_memory(struct task *t) __attribute__((noreturn));	/* kill it, with a message */
void task_wake_vfork_parent(struct task *t);

/* task.c: address spaces */
struct guest_mm *gmm_create(struct task *t);
struct guest_mm *gmm_copy(struct guest_mm *from, int pid);	/* without the memory; NULL: no memory */
void gmm_describe(struct guest_mm *gmm, const struct guest_mm *from);	/* copy what is known of the program */
/*
 * Drop the reference of @t. The last one waits until no pin is left: after the end of a process, its shared mappings
 * have been written to their files. No lock and no CPU held.
 */
void gmm_put(struct task *t, struct guest_mm *gmm);
/* For another thread's address space: use it until gmm_unpin(), for a short time. kernel->lock held. */
void gmm_pin(struct guest_mm *gmm);
void gmm_unpin(struct guest_mm *gmm);		/* takes kernel->lock */
bool gmm_is_ending(const struct guest_mm *gmm);	/* a thread waits for the pins */

/*
 * gate.c: a thread passes the gate of its address space before it runs its program or copies to its memory. While the gate
 * is closed, only the thread that closed it stores to the memory.
 */
void mm_gate_init(struct guest_mm *gmm);
bool mm_gate_is_closed(const struct task *t);	/* by another thread: @t is to leave */
bool mm_gate_is_mine(const struct task *t);	/* @t has closed it */
void mm_gate_enter(struct task *t);
void mm_gate_leave(struct task *t);
/* For a store of @t, which holds no CPU, to another address space. */
void gmm_gate_enter(struct guest_mm *gmm, struct task *t);
void gmm_gate_leave(struct guest_mm *gmm, struct task *t);
void mm_gate_close(struct task *t);	/* waits until the other threads are outside; drops the CPU */
/* Then waits until the events of userfaultfds that the operation sent are read. */
void mm_gate_open(struct task *t);

/* cpu.c: a task holds a CPU while its program runs */
struct cpu_pool *pool_create(struct machine *m);
void pool_destroy(struct cpu_pool *pool);
void cpu_acquire(struct task *t);	/* may sleep until a CPU is free; loads the task's state */
void cpu_release(struct task *t);	/* must be called before anything that may block */
void cpu_preempt(struct task *t);	/* release the CPU that it holds, as its time slice is over */
bool cpu_has_waiters(struct cpu_pool *pool);	/* a task waits for a CPU */
bool cpu_must_yield(struct task *t);	/* its time slice is over: a task waits that is to run now */
void cpu_set_policy(struct task *t, const struct task_policy *policy);	/* kernel->lock held, if @t has started */
int host_set_nice(struct task *other, int nice);	/* sys_sched.c: of its thread of the host, which runs; 0 or a negative errno */
int task_rank(const struct task *t);	/* tasks with a higher one run first */
void cpu_save_fpu(struct task *t);	/* into st.fpu */
void cpu_kick(struct task *t);		/* make it leave the program, if it runs there; any thread */
/* Let it run on the CPUs of @cpus only, of which the machine has one at least; any thread. */
void cpu_set_affinity(struct task *t, uint64_t cpus);
bool cpu_must_move(struct task *t);	/* it holds a CPU that it may not use any more */
uint64_t cpu_all(const struct kernel *k);	/* bit n: CPU n exists */
void pool_drop_task(struct cpu_pool *pool, struct task *t);
void pool_drop_mm(struct cpu_pool *pool, struct vellum_mm *mm);
void pool_kick_all(struct cpu_pool *pool);

/* signal.c */
/* To a process: one of its threads delivers it. @group: the process is one of several receivers. kernel->lock held. */
int signal_send(struct process *p, const struct sig_info *info, bool group);	/* 0 or -EAGAIN */
int signal_send_task(struct task *t, const struct sig_info *info);	/* to this thread; kernel->lock held */
bool signal_has_handler(const struct process *p, int signo);	/* and @signo is not pending; kernel->lock held */
void signal_wake(struct task *t);		/* interrupt what it does; kernel->lock held */
void signal_wake_all(struct process *p);	/* the same for all threads */
void signal_leave(struct task *t);		/* @t ends: others deliver the process's signals; kernel->lock held */
void signal_drop_pending(struct sig_pending *pending);	/* kernel->lock held */
void signal_send_pending(struct process *p, struct sig_pending *from);	/* send them all; kernel->lock held */
/* Is @signo of timer @id pending? kernel->lock held. */
bool signal_has_timer(const struct sig_pending *pending, int signo, int id);
void signal_fault(struct task *t, int signo, int code, uint64_t addr);	/* caused by its own instruction */
bool signal_pending(struct task *t);		/* or another reason to leave a wait */
bool signal_only_parks(const struct task *t);	/* no signal is pending: another thread freezes the process */
bool signal_fatal_pending(const struct task *t);	/* a signal that ends the task is pending */
void signal_deliver(struct task *t);	/* before the task returns to the program; may end or stop the task */
int64_t signal_return(struct task *t);	/* rt_sigreturn(2) */
void signal_reset_for_exec(struct task *t);
void signal_set_blocked(struct task *t, uint64_t set);

/* sys_policy.c */
void policy_fork(struct task *child, const struct task *parent);

/* exec.c */
uint64_t max_arg_bytes(const struct task *t);	/* of argv and envp, strings and pointers; more is E2BIG */
int exec_open(struct task *t, const char *path);	/* of an executable file; or -errno */
int exec_load(struct task *t, int fd, const char *path, char *const *argv, char *const *envp);	/* closes @fd */

/* fd.c */
struct file *file_open(struct kernel *k, int host_fd);	/* consumes the descriptor; NULL: errno is set */
void file_get(struct file *file);	/* another reference */
void file_put(struct file *file);
void file_update_flags(struct file *file);	/* after F_SETFL */
/* sys_file.c: the flags of the host's descriptor as the program sees them. */
unsigned file_shown_flags(const struct file *file, unsigned flags);
/*
 * Bytes that were read from a pipe, a terminal or a stream socket but could not be stored in the program's memory.
 * The next read(2) returns them first.
 */
void file_put_unread(struct file *file, const void *bytes, size_t len);
size_t file_read_unread(struct file *file, void *bytes, size_t len);
size_t file_nr_unread(const struct file *file);
int fd_install(struct task *t, struct file *file, int from, bool cloexec);
int fd_check_room(struct task *t, unsigned nr);	/* 0, or the error if @nr more files cannot be opened */
/* Both are valid until the end of the system call, also if another thread closes the descriptor. */
int fd_host(struct task *t, uint64_t fd);	/* or -EBADF */
struct file *fd_file(struct task *t, uint64_t fd);	/* NULL: EBADF */
struct file *files_find(struct files *files, uint64_t fd, bool *cloexec);	/* referenced; NULL: EBADF. @cloexec may be NULL */
int fd_close(struct task *t, int fd);	/* 0 or -EBADF; may block */
int64_t fd_dup(struct task *t, uint64_t fd, int from, bool cloexec);
bool fd_cloexec(struct task *t, int fd);			/* of an open descriptor */
void fd_set_cloexec(struct task *t, int fd, bool cloexec);
void fds_put_held(struct task *t);	/* at the end of a system call: drop what fd_file() and fd_host() referenced */
void fds_close_on_exec(struct task *t);
void fds_close_all(struct files *files);

/* sharing.c; results are 0 or a negative errno */
void files_get(struct files *files);
void files_put(struct files *files);		/* NULL is allowed */
void fs_get(struct fs *fs);
void fs_put(struct fs *fs);			/* NULL is allowed */
void sighand_put(struct sighand *sighand);	/* kernel->lock held; NULL is allowed */
int sharing_start(struct task *t);	/* the first thread of a run: no descriptors, the current directory */
/* Give @child what @parent has, or a copy, as the CLONE_* in @flags say. */
int sharing_clone(struct task *child, struct task *parent, uint64_t flags);
int sharing_unshare(struct task *t, uint64_t flags);	/* CLONE_FILES, CLONE_FS, CLONE_SIGHAND */
void sharing_leave(struct task *t);	/* @t ends */

/* sys_futex.c */
struct futexes *futexes_create(void);	/* NULL: no memory */
void futexes_destroy(struct futexes *futexes);
unsigned futex_wake(struct task *t, uint64_t addr, unsigned max);	/* the waiters that were woken */
void futex_leave(struct task *t);	/* @t ends, or leaves its memory: release its mutexes */

/* sys_epoll.c: before @file is freed */
void epoll_forget(struct file *file);

/* sys_pidfd.c */
void pidfd_put(struct pidfd *pidfd);		/* its file is freed; NULL is allowed */
void pidfds_exit(struct process *p);		/* @p became a zombie; kernel->lock held */
void pidfds_reap(struct process *p);		/* @p is freed; kernel->lock held */

/* uffd.c */
void uffd_put(struct uffd *u);			/* its file is freed; NULL is allowed */
/* @t sends an event: take it in place of the reader. False: it waits on @word for something else. */
bool uffds_take_event(struct task *t, const uint32_t *word);
/* Wait until the events that uffds_take_event() took are read, or @t dies. No lock held; releases the CPU. */
void uffds_wait_until_read(struct task *t);

/* sys_signalfd.c */
/* Pending signals of @p changed. @arrived: the signal that was sent, or 0. kernel->lock held. */
void signalfd_notify(struct process *p, int arrived);
void signalfd_leave(struct process *p);	/* @p is freed; kernel->lock held */

/* lock.c */
int64_t lock_call(struct task *t, const struct file *file, int cmd, uint64_t addr);	/* fcntl(2) */
/* For close(2): drop the locks that threads with these descriptors have on the file. */
void locks_drop(struct files *files, const struct file *file);
void locks_drop_all(struct files *files);

/* hostfd.c */
int hostfd_init(char *why, size_t size);	/* 0, or -1 with a reason in @why */
bool hostfd_reserve(unsigned n);			/* false: the rest is reserved for Vellum */
void hostfd_release(unsigned n);
bool hostfd_reserve_process(void);
void hostfd_release_process(void);
bool hostfd_reserve_directory(void);		/* a current directory */
void hostfd_release_directory(void);

/* rlimit.c */
uint64_t rlimit_of(const struct task *t, int resource);
void rlimit_init(struct process *p, const struct rlimit *limits);
void rlimit_apply(struct task *t, struct vellum_mm *mm);	/* pass the limits that the core enforces */
void rlimit_apply_changed(struct task *t);	/* if another process changed them */
uint64_t rlimit_nproc(const struct task *t);	/* fork(2) fails if so many processes exist */
/* Check the limits before @more bytes are mapped and [start, end) is unmapped. 0 or -ENOMEM. */
int rlimit_check_map(struct task *t, uint64_t start, uint64_t end, uint64_t more, uint32_t prot, bool shared);
/* The bytes of a write that RLIMIT_FSIZE allows, or -EFBIG. @offset -1: at the file position. */
int64_t rlimit_clip_write(struct task *t, const struct file *file, uint64_t len, int64_t offset);
int rlimit_check_size(struct task *t, const struct file *file, int64_t size);	/* 0, or -EFBIG after sending SIGXFSZ */

/* inspect.c: call the inspector, if there is one. Release the CPU: the inspector may block. */
void inspect_syscall(struct task *t, uint64_t nr);
void inspect_signal(struct task *t, int signo);
void inspect_exit(struct task *t);

/* usermem.c: a failed copy sets t->copy_error */
int user_read(struct task *t, void *buf, uint64_t addr, uint64_t len);	/* 0 or -EFAULT */
int user_write(struct task *t, uint64_t addr, const void *buf, uint64_t len);
uint64_t user_read_some(struct task *t, void *buf, uint64_t addr, uint64_t len);	/* bytes copied */
uint64_t user_write_some(struct task *t, uint64_t addr, const void *buf, uint64_t len);
/* vellum_cmpxchg_user(): 0 or a negative errno. */
int user_cmpxchg(struct task *t, uint64_t addr, uint32_t *expected, uint32_t desired);
/*
 * Copy a structure that may grow, of at most a page: what this version does not know must be zero. 0, -EFAULT or -E2BIG.
 */
int user_read_sized(struct task *t, void *out, size_t known, uint64_t addr, uint64_t size);
int user_string(struct task *t, char *buf, size_t size, uint64_t addr);	/* 0, -EFAULT, -ENAMETOOLONG */

/* sys_io.c: around a host call that may block. Release the CPU, and let a signal interrupt the call. */
void host_call_begin(struct task *t);
void host_call_end(struct task *t);
void signal_self(struct task *t, int signo);	/* caused by its own system call */

/*
 * sys_mm.c: map and unmap with all that belongs to it: limits, the observer. @at: in: args->addr. 0 or a negative errno.
 */
/*
 * A fixed address below the host's vm.mmap_min_addr needs CAP_SYS_RAWIO. Before a call of the library with @addr, a fixed
 * address or 0.
 */
void user_check_low(const struct kernel *k, struct vellum_mm *mm, uint64_t addr);
int user_map(struct task *t, const struct vellum_map_args *args, uint64_t *at);
int user_unmap(struct task *t, uint64_t addr, uint64_t len);

/* sys_timer.c; kernel->lock held */
void timers_tick(struct process *p, uint64_t now);
void timers_drop_all(struct process *p);

/* sys_time.c */
bool is_time(const struct timespec *ts);		/* valid for a timeout */
uint64_t timespec_ns(const struct timespec *ts);	/* at most INT64_MAX */
struct timespec ns_timespec(uint64_t ns);
struct timeval ns_timeval(uint64_t ns);

/* syscall.c */
int64_t syscall_dispatch(struct task *t);

/* vdso.c */
uint64_t vdso_map(struct task *t, struct guest_mm *gmm);	/* address of the code, or 0 */
void vdso_update_clock(struct kernel *k);		/* called every TICK_NS */
void vdso_init(struct kernel *k);
void vdso_fini(struct kernel *k);

#endif
