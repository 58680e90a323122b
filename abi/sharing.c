/* SPDX-License-Identifier: MIT */
/*
 * abi/sharing.c - what threads and processes may share apart from memory: descriptors, the current directory and umask,
 * signal handlers.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "abi/signals.h"

/* --- descriptors --- */

static struct files *files_create(struct kernel *k)
{
	struct files *files = calloc(1, sizeof(*files));

	if (!files)
		return NULL;
	files->kernel = k;
	files->users = files->refs = 1;
	files->changed = true;
	pthread_mutex_init(&files->lock, NULL);
	return files;
}

static struct files *files_copy(struct files *from)
{
	struct files *files = files_create(from->kernel);

	if (!files)
		return NULL;
	pthread_mutex_lock(&from->lock);
	memcpy(files->fds, from->fds, sizeof(files->fds));
	for (int fd = 0; fd < MAX_FDS; fd++)
		if (files->fds[fd].file)
			file_get(files->fds[fd].file);
	pthread_mutex_unlock(&from->lock);
	return files;
}

void files_get(struct files *files)
{
	__atomic_fetch_add(&files->refs, 1, __ATOMIC_RELAXED);
}

void files_put(struct files *files)
{
	if (!files || __atomic_sub_fetch(&files->refs, 1, __ATOMIC_ACQ_REL))
		return;
	pthread_mutex_destroy(&files->lock);
	free(files);
}

/* A thread does not use them any more. May block. */
static void leave_files(struct files *files)
{
	if (!files || __atomic_sub_fetch(&files->users, 1, __ATOMIC_ACQ_REL))
		return;
	fds_close_all(files);
	files_put(files);
}

/* --- the current directory and umask --- */

/* NULL: errno is set. Consumes @cwd, a descriptor of the host or -1. */
static struct fs *fs_create(int cwd, mode_t umask)
{
	const bool reserved = cwd >= 0 && hostfd_reserve_directory();
	struct fs *fs = reserved ? calloc(1, sizeof(*fs)) : NULL;

	if (!fs) {
		if (reserved)
			hostfd_release_directory();
		if (cwd >= 0)
			close(cwd);
		errno = EAGAIN;
		return NULL;
	}
	fs->refs = 1;
	fs->cwd = cwd;
	fs->umask = umask;
	return fs;
}

static struct fs *fs_copy(const struct fs *from)
{
	struct fs *fs = fs_create(fcntl(from->cwd, F_DUPFD_CLOEXEC, 0), __atomic_load_n(&from->umask, __ATOMIC_RELAXED));

	if (fs)
		fs->moved = true;	/* perhaps */
	return fs;
}

void fs_get(struct fs *fs)
{
	__atomic_fetch_add(&fs->refs, 1, __ATOMIC_RELAXED);
}

void fs_put(struct fs *fs)
{
	if (!fs || __atomic_sub_fetch(&fs->refs, 1, __ATOMIC_ACQ_REL))
		return;
	close(fs->cwd);
	hostfd_release_directory();
	free(fs);
}

/* --- signal handlers --- */

/* @from NULL: all have their defaults. NULL: no memory. kernel->lock held, if there is a @from. */
static struct sighand *sighand_copy(const struct sighand *from)
{
	struct sighand *sighand = calloc(1, sizeof(*sighand));

	if (!sighand)
		return NULL;
	if (from)
		*sighand = *from;
	sighand->refs = 1;
	return sighand;
}

void sighand_put(struct sighand *sighand)
{
	if (sighand && !--sighand->refs)
		free(sighand);
}

static void clear_handlers(struct sighand *sighand)
{
	for (int signo = 1; signo <= NR_SIGNALS; signo++)
		if (sighand->action[signo].handler > HANDLER_IGNORE)
			memset(&sighand->action[signo], 0, sizeof(sighand->action[signo]));
}

/* kernel->lock held. */
static struct sighand *sighand_clone(struct sighand *from, uint64_t flags)
{
	struct sighand *sighand = from;

	if (flags & CLONE_SIGHAND) {
		from->refs++;
	} else {
		sighand = sighand_copy(from);
		if (sighand && (flags & CLONE_CLEAR_SIGHAND))
			clear_handlers(sighand);
	}
	return sighand;
}

/* --- all of a thread --- */

int sharing_start(struct task *t)
{
	t->process->sighand = sighand_copy(NULL);
	t->files = files_create(t->kernel);
	/* The umask of Vellum stays 0: each program has its own. */
	t->fs = fs_create(open(".", O_PATH | O_DIRECTORY | O_CLOEXEC), umask(0));
	return t->process->sighand && t->files && t->fs ? 0 : -EAGAIN;
}

int sharing_clone(struct task *child, struct task *parent, uint64_t flags)
{
	struct process *p = child->process;

	child->files = flags & CLONE_FILES ? parent->files : files_copy(parent->files);
	if (flags & CLONE_FILES)
		__atomic_fetch_add(&child->files->users, 1, __ATOMIC_RELAXED);
	child->fs = flags & CLONE_FS ? parent->fs : fs_copy(parent->fs);
	if (flags & CLONE_FS)
		fs_get(child->fs);
	if (p != parent->process) {
		pthread_mutex_lock(&parent->kernel->lock);
		p->sighand = sighand_clone(parent->process->sighand, flags);
		pthread_mutex_unlock(&parent->kernel->lock);
	}
	return !child->files || !p->sighand ? -ENOMEM : !child->fs ? -EAGAIN : 0;
}

static void replace(struct task *t, struct files *files, struct fs *fs)
{
	struct files *old_files = t->files;
	struct fs *old_fs = t->fs;

	pthread_mutex_lock(&t->kernel->lock);
	t->files = files;
	t->fs = fs;
	pthread_mutex_unlock(&t->kernel->lock);
	if (files != old_files) {
		fds_put_held(t);
		leave_files(old_files);
	}
	if (fs != old_fs)
		fs_put(old_fs);
}

void sharing_leave(struct task *t)
{
	replace(t, NULL, NULL);
}

static int unshare_handlers(struct process *p)
{
	struct sighand *copy;
	int err = 0;

	pthread_mutex_lock(&p->kernel->lock);
	if (p->sighand->refs > 1) {
		copy = sighand_copy(p->sighand);
		err = copy ? 0 : -ENOMEM;
		if (copy) {
			p->sighand->refs--;
			p->sighand = copy;
		}
	}
	pthread_mutex_unlock(&p->kernel->lock);
	return err;
}

int sharing_unshare(struct task *t, uint64_t flags)
{
	struct files *files = t->files;
	struct fs *fs = t->fs;

	if ((flags & CLONE_FILES) && __atomic_load_n(&files->users, __ATOMIC_ACQUIRE) > 1)
		files = files_copy(files);
	if (!files)
		return -ENOMEM;
	if ((flags & CLONE_FS) && __atomic_load_n(&fs->refs, __ATOMIC_ACQUIRE) > 1)
		fs = fs_copy(fs);
	if (!fs) {
		if (files != t->files)
			leave_files(files);
		return -ENOMEM;
	}
	replace(t, files, fs);
	return flags & CLONE_SIGHAND ? unshare_handlers(t->process) : 0;
}
