/* SPDX-License-Identifier: MIT */
/*
 * abi/task.h - processes as the system calls see them. A process is one thread (of the host too):
 * clone(2) with CLONE_THREAD is not supported in this version.
 *
 * Locks, outermost first: kernel->lock (process table, signals, waits), cpu pool, file table refs
 * (atomic). None is held while a system call blocks or the program runs.
 */
#ifndef ABI_TASK_H
#define ABI_TASK_H

#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/types.h>

#include "abi/abi.h"
#include "vellum/access.h"

#define NR_SIGNALS	64
#define MAX_FDS		1024
#define MAX_TASKS	4096		/* processes, zombies too */
#define NS_PER_SEC	1000000000l
#define USER_HZ		100		/* clock ticks a second, as programs see them: times(2), AT_CLKTCK */
#define TASK_COMM_LEN	16		/* with the NUL: prctl(2), PR_SET_NAME */
#define SIGSET_BYTES	8		/* of the kernel's sigset_t: bit n - 1 is signal n */
#define ARG_OVERHEAD	9		/* of each string that execve(2) passes: its NUL and its pointer */
#define KICK_SIGNAL	SIGURG		/* to a thread that blocks in the host; does nothing else */

/* What a system call returns to be started again after a signal, as in the kernel. */
#define ERESTARTSYS	512
#define ERESTARTNOINTR	513		/* whatever the handler's flags say */

struct file {			/* an open file description; several descriptors may share it */
	struct kernel *kernel;
	uint32_t refs;		/* atomic */
	int fd;			/* the host's */
	bool regular;		/* a regular file */
	bool waits;		/* the host may keep us waiting for it: anything but a disk's file or memory */
	bool direct;		/* O_DIRECT */
	dev_t dev;
	ino_t ino;
	struct unread *unread;	/* kernel->unread_lock; NULL or not is read without it */
	struct memfd *memfd;	/* the file's account, referenced; NULL: it is none of memfd_create(2) */
};

struct fd_entry {
	struct file *file;
	bool cloexec;
};

struct sig_action {		/* as in rt_sigaction(2)'s structure */
	uint64_t handler, flags, restorer, mask;
};

struct sig_info {
	int signo, code;
	int pid;		/* sender, or child */
	int status;		/* of the child */
	uint64_t addr;
};

enum task_state { TASK_RUNNING, TASK_STOPPED, TASK_ZOMBIE };

struct task {
	struct kernel *kernel;
	struct task *next;		/* kernel->tasks */
	int pid;
	int ppid, pgid, sid;		/* kernel->lock */
	bool has_execed;		/* kernel->lock: since its fork */
	pthread_t thread;
	enum task_state state;		/* kernel->lock */
	int exit_status;		/* as wait4(2) gives it */
	bool stop_reported;
	int stop_signal;
	struct guest_mm *gmm;
	struct task *vfork_parent;	/* waits until we exec or exit */
	bool vfork_done;
	struct vcpu_state st;
	int cpu;			/* that we hold, or -1 */
	int last_cpu;			/* that may still hold our FPU state, or -1 */
	uint32_t load;			/* VCPU_LOAD_* for the next run */
	bool lost;			/* its FPU state went with a machine that ended; the pool's lock */
	/* files */
	struct fd_entry fds[MAX_FDS];
	int cwd;			/* host descriptor */
	mode_t umask;
	char comm[TASK_COMM_LEN];
	/* signals: kernel->lock for pending; the rest is the task's own */
	uint64_t pending, blocked, saved_blocked;
	bool forking;			/* kernel->lock: sets fork_pending aside, for the child too */
	uint64_t fork_pending;		/* kernel->lock: came to several at once meanwhile */
	bool restore_blocked;		/* sigsuspend: saved_blocked comes back after the handler */
	struct sig_info info[NR_SIGNALS + 1];
	struct sig_action action[NR_SIGNALS + 1];
	uint64_t alt_sp, alt_size;
	uint32_t alt_flags;
	uint64_t clear_child_tid;
	uint64_t alarm_at, alarm_interval;	/* ns, CLOCK_MONOTONIC; kernel->lock */
	bool in_host;			/* may block in a host call: a signal reaches it; atomic */
	struct rlimit rlimits[RLIM_NLIMITS];	/* kernel->lock; its own thread reads them without */
	bool limits_changed;		/* atomic: the address space is to learn of it */
	uint64_t nr_syscalls;
	int64_t syscall_nr;		/* for restart */
	int copy_error;			/* of the last copy that failed: what an EFAULT really is */
};

struct kernel {
	const struct abi_args *args;
	pthread_mutex_t lock;
	pthread_cond_t changed;		/* a task changed state, or a signal came */
	struct task *tasks;
	int next_pid;
	unsigned nr_tasks, nr_live;	/* with and without zombies */
	bool dying;			/* the machine is gone, or we are told to end: everybody leaves */
	bool first_exited;		/* lock: process 1 has ended, and all others are killed */
	unsigned asked_to_end;		/* lock: bit per signal that asked for it */
	int ended_by;			/* lock: the signal that the run ends by, or 0 */
	uint64_t shutdown_at;		/* lock: when the next step towards the end is due, or 0 */
	bool abandoned;			/* lock: tasks that have not left by now are left behind */
	struct abi_result *result;
	pthread_t ticker;
	bool ticker_stop;
	struct cpu_pool *pool;
	struct vdso *vdso;
	struct filemaps *filemaps;	/* filemap.h */
	pthread_mutex_t unread_lock;	/* a leaf: struct file's unread */
};

/* task.c */
struct task *task_create(struct kernel *k, uint64_t max);	/* of @max in all; NULL: errno says why */
struct task *task_find(struct kernel *k, int pid);		/* kernel->lock held */
void task_unlink(struct kernel *k, struct task *t);		/* kernel->lock held */
void task_free(struct task *t);				/* kernel->lock held */
void *task_main(void *arg);
void task_exit_thread(void) __attribute__((noreturn));	/* the thread's end */
void kernel_fail(struct kernel *k, const char *why);
uint64_t clock_ns(clockid_t clock);

/* fork.c */
int task_start(struct task *t, struct task *parent);	/* it is complete: others see it, and it runs */
void task_discard(struct task *t);		/* it never ran and is in no list */
int task_fork(struct task *parent, uint64_t flags, uint64_t stack, uint64_t child_tid);

/* exit.c */
void task_exit(struct task *t, int status) __attribute__((noreturn));
void task_out_of_memory(struct task *t) __attribute__((noreturn));	/* says so, and kills it */
void task_wake_vfork_parent(struct task *t);

/* task.c: address spaces */
struct guest_mm *gmm_create(struct task *t);
void gmm_put(struct task *t, struct guest_mm *gmm);

/* cpu.c: CPUs are borrowed */
struct cpu_pool *pool_create(struct machine *m);
void pool_destroy(struct cpu_pool *pool);
void cpu_acquire(struct task *t);	/* blocks until there is one; loads what must be */
void cpu_release(struct task *t);	/* before anything that may block */
bool cpu_has_waiters(struct cpu_pool *pool);	/* somebody waits for one */
void cpu_save_fpu(struct task *t);	/* st.fpu becomes current */
void cpu_kick(struct task *t);		/* out of the program, if it is there; any thread */
void pool_drop_task(struct cpu_pool *pool, struct task *t);
void pool_drop_mm(struct cpu_pool *pool, struct vellum_mm *mm);
void pool_kick_all(struct cpu_pool *pool);

/* signal.c */
void signal_send(struct kernel *k, struct task *t, const struct sig_info *info);	/* lock held */
void signal_send_group(struct kernel *k, struct task *t, const struct sig_info *info);	/* ... one of many */
bool signal_has_handler(const struct task *t, int signo);	/* by a handler, the last one taken; lock held */
void signal_fault(struct task *t, int signo, int code, uint64_t addr);	/* of its own instruction */
bool signal_pending(struct task *t);
bool signal_fatal_pending(const struct task *t);	/* a signal that ends the task is pending */
void signal_deliver(struct task *t);	/* before it returns to the program; may end it */
int64_t signal_return(struct task *t);	/* rt_sigreturn(2) */
void signal_reset_for_exec(struct task *t);
void signal_set_blocked(struct task *t, uint64_t set);

/* exec.c */
uint64_t max_arg_bytes(const struct task *t);	/* strings and their pointers: E2BIG beyond */
int exec_load(struct task *t, const char *path, char *const *argv, char *const *envp);

/* fd.c */
struct file *file_open(struct kernel *k, int host_fd);	/* takes over the descriptor; NULL: errno says why */
void file_put(struct file *file);
void file_update_flags(struct file *file);	/* after F_SETFL */
/*
 * Bytes that were read from what cannot be read twice, and that the program's memory did not take after all: the
 * next read(2) gets them first.
 */
void file_put_unread(struct file *file, const void *bytes, size_t len);
size_t file_read_unread(struct file *file, void *bytes, size_t len);
size_t file_nr_unread(const struct file *file);
int fd_install(struct task *t, struct file *file, int from, bool cloexec);
int fd_check_room(struct task *t, unsigned nr);	/* 0, or why no file can be opened: before anything is done */
int fd_host(struct task *t, uint64_t fd);	/* or -EBADF */
struct file *fd_file(struct task *t, uint64_t fd);	/* NULL: EBADF */
int64_t fd_dup(struct task *t, uint64_t fd, int from, bool cloexec);
int fds_fork(struct task *child, const struct task *parent);
void fds_close_on_exec(struct task *t);
void fds_close_all(struct task *t);

/* hostfd.c */
int hostfd_init(char *why, size_t size);	/* 0, or -1 with one line */
bool hostfd_reserve(unsigned n);			/* false: Vellum needs the rest */
void hostfd_release(unsigned n);
bool hostfd_reserve_task(void);
void hostfd_release_task(void);

/* rlimit.c */
uint64_t rlimit_of(const struct task *t, int resource);
void rlimit_init(struct task *t, const struct rlimit *limits);
void rlimit_apply(struct task *t, struct vellum_mm *mm);
void rlimit_apply_changed(struct task *t);
uint64_t rlimit_nproc(const struct task *t);	/* processes that there may be for it to fork */
/* May @more bytes be mapped, where [start, end) is replaced? 0 or -ENOMEM. */
int rlimit_check_map(struct task *t, uint64_t start, uint64_t end, uint64_t more, uint32_t prot, bool shared);
/* How much of a write may be done, or -EFBIG. @offset -1: the file's own. */
int64_t rlimit_clip_write(struct task *t, const struct file *file, uint64_t len, int64_t offset);
int rlimit_check_size(struct task *t, const struct file *file, int64_t size);	/* 0, or -EFBIG and the signal is sent */

/* inspect.c: without a CPU, the inspector looks, if there is one for this */
void inspect_syscall(struct task *t, uint64_t nr);
void inspect_signal(struct task *t, int signo);
void inspect_exit(struct task *t);

/* usermem.c: a copy that fails leaves why in copy_error */
int user_read(struct task *t, void *buf, uint64_t addr, uint64_t len);	/* 0 or -EFAULT */
int user_write(struct task *t, uint64_t addr, const void *buf, uint64_t len);
uint64_t user_read_some(struct task *t, void *buf, uint64_t addr, uint64_t len);	/* how much */
uint64_t user_write_some(struct task *t, uint64_t addr, const void *buf, uint64_t len);
int user_string(struct task *t, char *buf, size_t size, uint64_t addr);	/* 0, -EFAULT, -ENAMETOOLONG */

/* sys_io.c: a host call that may block: without a CPU, and within reach of a kick */
void host_call_begin(struct task *t);
void host_call_end(struct task *t);
void signal_self(struct task *t, int signo);	/* for what its own system call met */

/* syscall.c */
int64_t syscall_dispatch(struct task *t);

/* vdso.c */
uint64_t vdso_map(struct task *t, struct guest_mm *gmm);	/* where, or 0 */
void vdso_update_clock(struct kernel *k);		/* keep the time page right */
void vdso_init(struct kernel *k);
void vdso_fini(struct kernel *k);

#endif
