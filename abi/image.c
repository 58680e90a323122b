/* SPDX-License-Identifier: MIT */
/*
 * abi/image.c - a frozen process beside its memory: registers, descriptors with their offsets and flags, signals, working
 * directory, limits, IDs. See repeat.h.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "abi/access.h"
#include "abi/ipc.h"
#include "abi/mempolicy.h"
#include "abi/repeat.h"

struct open_file {
	struct file *file;		/* referenced */
	off_t offset;			/* -1: it has none */
	int flags;			/* O_*, as fcntl(2) sets them */
	uint64_t signal_mask;
};

struct image {
	struct process process;		/* a copy; which parts are used: restore_process() */
	struct task task;
	struct guest_mm gmm;
	struct sighand sighand;
	struct fd_entry fds[MAX_FDS];
	mode_t umask;
	struct guest_mm *mm;		/* the frozen one, referenced */
	struct placements *placements;
	struct open_file *files;	/* each open file of the table once */
	unsigned nr_files;
	int cwd;			/* a descriptor of the host */
	int next_pid;
	bool had_ipc;			/* System V objects: those of the run cannot be told from them */
	struct usage usage;		/* of the thread */
	int nice, no_new_privs;		/* of its thread of the host */
};

static bool has_ipc(const struct ipc *ipc)
{
	return ipc->nr_shm > ipc->nr_granted || ipc->sem.nr || ipc->msg.nr;
}

/* --- save --- */

static bool is_saved(const struct image *image, const struct file *file)
{
	for (unsigned i = 0; i < image->nr_files; i++)
		if (image->files[i].file == file)
			return true;
	return false;
}

static bool has_position(const struct file *file)
{
	struct stat st;

	return fstat(file->fd, &st) == 0 && (S_ISREG(st.st_mode) || S_ISDIR(st.st_mode)) && !file->proc;
}

static void save_file(struct image *image, struct file *file)
{
	struct open_file *of = &image->files[image->nr_files++];

	file_get(file);
	*of = (struct open_file){ .file = file, .offset = has_position(file) ? lseek(file->fd, 0, SEEK_CUR) : -1,
				  .flags = fcntl(file->fd, F_GETFL), .signal_mask = file->signal_mask };
}

static bool save_files(struct image *image, const struct task *t)
{
	const struct files *files = t->files;
	unsigned nr = 0;

	memcpy(image->fds, files->fds, sizeof(image->fds));
	for (int fd = 0; fd < MAX_FDS; fd++)
		nr += files->fds[fd].file != NULL;
	image->files = calloc(nr + 1, sizeof(image->files[0]));
	if (!image->files || !hostfd_reserve(1))
		return false;
	image->cwd = fcntl(t->fs->cwd, F_DUPFD_CLOEXEC, 0);
	if (image->cwd < 0) {
		hostfd_release(1);
		return false;
	}
	for (int fd = 0; fd < MAX_FDS; fd++)
		if (files->fds[fd].file && !is_saved(image, files->fds[fd].file))
			save_file(image, files->fds[fd].file);
	return true;
}

struct image *image_save(struct task *t)
{
	struct image *image = calloc(1, sizeof(*image));
	struct kernel *k = t->kernel;

	if (!image)
		return NULL;
	image->cwd = -1;
	if (!save_files(image, t)) {
		image_free(image);
		return NULL;
	}
	image->placements = placements_copy(t->gmm);
	image->nice = getpriority(PRIO_PROCESS, 0);
	image->no_new_privs = prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0);
	pthread_mutex_lock(&k->lock);
	image->process = *t->process;
	image->sighand = *t->process->sighand;
	image->umask = t->fs->umask;
	image->task = *t;
	image->gmm = *t->gmm;
	image->mm = t->gmm;
	__atomic_fetch_add(&t->gmm->refs, 1, __ATOMIC_RELAXED);
	image->next_pid = k->next_pid;
	image->had_ipc = has_ipc(k->ipc);
	usage_of_thread(t, &image->usage);
	pthread_mutex_unlock(&k->lock);
	return image;
}

/* After the last task: the address space has no other reference. */
void image_free(struct image *image)
{
	if (!image)
		return;
	for (unsigned i = 0; i < image->nr_files; i++)
		file_put(image->files[i].file);
	if (image->cwd >= 0) {
		close(image->cwd);
		hostfd_release(1);
	}
	image->task.process = &image->process;	/* the other one may be gone */
	if (image->mm)
		gmm_put(&image->task, image->mm);
	placements_free(image->placements);
	free(image->files);
	free(image);
}

static const char *kind_of(const struct file *file)
{
	struct stat st;

	if (file->uffd)
		return "userfaultfds";
	if (file->epoll_items)
		return "epoll sets";
	if (fstat(file->fd, &st))
		return NULL;
	return S_ISFIFO(st.st_mode) ? "pipes" : S_ISSOCK(st.st_mode) ? "sockets" : file->terminal ? "the terminal" : NULL;
}

static void add_words(char *text, size_t size, const char *words)
{
	size_t len = strlen(text);

	if (words && !strstr(text, words))
		snprintf(text + len, size - len, "%s%s", len ? ", " : "", words);
}

/* Vellum is at the other end, and no run uses it. */
static bool is_of_server(const struct task *t, int fd)
{
	return t->kernel->args->repeat->serves && (fd == ABI_SERVER_FD || fd == ABI_SERVER_FD + 1);
}

void image_limits(const struct task *t, char *text, size_t size)
{
	const struct process *p = t->process;
	const struct ipc *ipc = t->kernel->ipc;

	text[0] = 0;
	for (int fd = 0; fd < MAX_FDS; fd++)
		if (t->files->fds[fd].file && !is_of_server(t, fd))
			add_words(text, size, kind_of(t->files->fds[fd].file));
	if (p->timers || p->alarm_at || p->virtual_timer.at || p->prof_timer.at)
		add_words(text, size, "timers");
	if (t->files->lock_files)
		add_words(text, size, "locks of files");
	if (has_ipc(ipc))
		add_words(text, size, "System V objects");
	for (const struct task *any = p->threads; any; any = any->next)
		if (p->pending.set || any->pending.set)
			add_words(text, size, "pending signals");
}

/* --- restore --- */

static void restore_descriptors(const struct image *image, struct files *files)
{
	if (!files->changed)
		return;
	for (int fd = 0; fd < MAX_FDS; fd++) {
		const struct fd_entry *was = &image->fds[fd];
		struct file *old = files->fds[fd].file;

		if (old != was->file) {
			if (was->file)
				file_get(was->file);
			pthread_mutex_lock(&files->lock);
			files->fds[fd].file = was->file;
			pthread_mutex_unlock(&files->lock);
			if (old)
				file_put(old);
		}
		files->fds[fd].cloexec = was->cloexec;
	}
	files->changed = false;
}

/*
 * Offsets and flags are the open files', which descriptors of the run may have shared. A run gets at an open file only by
 * a system call that names a descriptor of it; one that came through a socket is of an open file that is not known.
 */
static void restore_files(const struct image *image, struct kernel *k)
{
	const bool all = __atomic_exchange_n(&k->received_files, false, __ATOMIC_RELAXED);

	for (unsigned i = 0; i < image->nr_files; i++) {
		const struct open_file *of = &image->files[i];

		if (!__atomic_exchange_n(&of->file->used, false, __ATOMIC_RELAXED) && !all)
			continue;
		if (of->offset >= 0)
			lseek(of->file->fd, of->offset, SEEK_SET);
		if (fcntl(of->file->fd, F_GETFL) != of->flags) {
			fcntl(of->file->fd, F_SETFL, of->flags);
			file_update_flags(of->file);
		}
		__atomic_store_n(&of->file->signal_mask, of->signal_mask, __ATOMIC_RELAXED);
	}
}

/* kernel->lock held. */
static void restore_signals(const struct image *image, struct process *p)
{
	signal_drop_pending(&p->pending);
	signal_drop_pending(&p->fork_pending);
	p->forking = NULL;
	memcpy(p->sighand->action, image->sighand.action, sizeof(p->sighand->action));
	timers_drop_all(p);
	p->next_timer = image->process.next_timer;
	p->alarm_at = p->alarm_interval = 0;
	p->virtual_timer = p->prof_timer = (struct cpu_timer){ 0 };
}

/* kernel->lock held. */
static void restore_process(const struct process *was, struct process *p)
{
	memcpy(p->comm, was->comm, sizeof(p->comm));
	p->oom_score_adj = was->oom_score_adj;
	p->oom_score_adj_min = was->oom_score_adj_min;
	p->ppid = was->ppid;
	p->pgid = was->pgid;
	p->sid = was->sid;
	p->tty = was->tty;
	__atomic_store_n(&p->adopts_orphans, was->adopts_orphans, __ATOMIC_RELAXED);
	p->has_execed = was->has_execed;
	p->state = PROCESS_RUNNING;
	__atomic_store_n(&p->exiting, false, __ATOMIC_RELAXED);
	p->exit_status = 0;
	p->job_change = was->job_change;
	p->stop_signal = was->stop_signal;
	p->stopped_by = was->stopped_by;
	p->ended = was->ended;
	p->children = was->children;
	p->next_xcpu = was->next_xcpu;
	memcpy(p->rlimits, was->rlimits, sizeof(p->rlimits));
	memcpy(p->unsupported, was->unsupported, sizeof(p->unsupported));
}

void image_restore_task(const struct task *was, struct task *t)
{
	t->st = was->st;
	t->load = VCPU_LOAD_FPU | VCPU_LOAD_SEGMENTS;
	__atomic_store_n(&t->cpus, was->cpus, __ATOMIC_RELAXED);
	cpu_set_policy(t, &was->policy);
	t->mempolicy = was->mempolicy;
	__atomic_store_n(&t->personality, was->personality, __ATOMIC_RELAXED);
	memcpy(t->comm, was->comm, sizeof(t->comm));
	signal_drop_pending(&t->pending);
	t->stops = false;
	__atomic_store_n(&t->woken, false, __ATOMIC_RELAXED);
	t->waits_for = t->polls_for = 0;
	t->blocked = was->blocked;
	t->saved_blocked = was->saved_blocked;
	t->restore_blocked = was->restore_blocked;
	t->alt_sp = was->alt_sp;
	t->alt_size = was->alt_size;
	t->alt_autodisarm = was->alt_autodisarm;
	__atomic_store_n(&t->parent_death_signal, was->parent_death_signal, __ATOMIC_RELAXED);
	t->clear_child_tid = was->clear_child_tid;
	t->robust_list = was->robust_list;
	__atomic_store_n(&t->left_locks, false, __ATOMIC_SEQ_CST);
	t->must_not_wait = t->interruptible = t->took_events = t->gives_up = false;
	__atomic_store_n(&t->limits_changed, was->limits_changed, __ATOMIC_RELAXED);	/* the snapshot has those of memory */
	t->lost = false;
	t->syscall_nr = was->syscall_nr;
	t->copy_error = 0;
}

/* The thread has another address space after execve(2). */
static void restore_mm(struct image *image, struct task *t)
{
	struct guest_mm *other = t->gmm, *gmm = image->mm;

	if (other != gmm) {
		__atomic_fetch_add(&gmm->refs, 1, __ATOMIC_RELAXED);
		pthread_mutex_lock(&t->kernel->lock);
		t->gmm = gmm;
		pthread_mutex_unlock(&t->kernel->lock);
		gmm_put(t, other);
	}
	gmm_describe(gmm, &image->gmm);
	placements_restore(gmm, image->placements);
}

/* Attributes of the thread of the host. NULL, or what cannot be undone. */
static const char *restore_attributes(const struct image *image)
{
	if (image->nice != getpriority(PRIO_PROCESS, 0) && setpriority(PRIO_PROCESS, 0, image->nice))
		return "the program raised its nice value";
	if (image->no_new_privs != prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0))
		return "the program set PR_SET_NO_NEW_PRIVS";
	return NULL;
}

int image_restore(struct image *image, struct task *t, const char **why)
{
	struct process *p = t->process;
	struct kernel *k = t->kernel;

	if (memcmp(&t->credentials, &image->task.credentials, sizeof(t->credentials))) {
		*why = "the program changed its user or group IDs, or its capabilities";
		return -1;
	}
	if (__atomic_exchange_n(&k->attributes_changed, false, __ATOMIC_RELAXED)) {
		*why = restore_attributes(image);
		if (*why)
			return -1;
	}
	restore_mm(image, t);
	pool_drop_task(k->pool, t);
	t->last_cpu = -1;
	locks_drop_all(t->files);
	restore_descriptors(image, t->files);
	restore_files(image, k);
	if (t->fs->moved && dup3(image->cwd, t->fs->cwd, O_CLOEXEC) < 0) {
		*why = "the program's working directory";
		return -1;
	}
	t->fs->moved = false;
	__atomic_store_n(&t->fs->umask, image->umask, __ATOMIC_RELAXED);
	pthread_mutex_lock(&k->lock);
	sems_exit(p);
	if (!image->had_ipc && has_ipc(k->ipc))
		ipc_clear(k->ipc);
	restore_signals(image, p);
	restore_process(&image->process, p);
	t->tid = image->task.tid;
	image_restore_task(&image->task, t);
	usage_restart(t, &image->usage);
	p->credentials = image->process.credentials;
	k->next_pid = image->next_pid;
	pthread_mutex_unlock(&k->lock);
	return 0;
}
