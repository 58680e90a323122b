/* SPDX-License-Identifier: MIT */
/*
 * abi/lock.c - locks of fcntl(2). Those without OFD belong to a process: they conflict between parent and child, also on
 * one open file description, and any close(2) of the file drops them.
 *
 * One process of the host runs all programs, so its own such locks would never conflict. Each process has an open file
 * description of its own for every file that it has locked, and a lock of it is an OFD lock of the host on that one. Locks
 * of other processes of the host conflict, too.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "abi/path.h"

struct lock_file {
	struct lock_file *next;		/* files->lock_files; kernel->lock */
	uint32_t refs;			/* atomic: the list, and calls that use it */
	dev_t dev;
	ino_t ino;
	int fd;				/* of the host */
	bool writable;
};

/* kernel->lock held. */
static struct lock_file **find(struct files *files, const struct file *file)
{
	struct lock_file **at = &files->lock_files;

	while (*at && ((*at)->dev != file->dev || (*at)->ino != file->ino))
		at = &(*at)->next;
	return at;
}

/* The description for the locks of the process on @file, referenced; NULL: there is none. */
static struct lock_file *find_get(struct files *files, const struct file *file)
{
	struct lock_file *lf;

	pthread_mutex_lock(&files->kernel->lock);
	lf = *find(files, file);
	if (lf)
		__atomic_fetch_add(&lf->refs, 1, __ATOMIC_RELAXED);
	pthread_mutex_unlock(&files->kernel->lock);
	return lf;
}

static void put(struct lock_file *lf)
{
	if (!lf || __atomic_sub_fetch(&lf->refs, 1, __ATOMIC_ACQ_REL))
		return;
	close(lf->fd);
	hostfd_release(1);
	free(lf);
}

void locks_drop(struct files *files, const struct file *file)
{
	struct lock_file **at, *lf;

	if (!__atomic_load_n(&files->lock_files, __ATOMIC_RELAXED))
		return;
	pthread_mutex_lock(&files->kernel->lock);
	at = find(files, file);
	lf = *at;
	if (lf)
		*at = lf->next;
	pthread_mutex_unlock(&files->kernel->lock);
	put(lf);
}

void locks_drop_all(struct files *files)
{
	pthread_mutex_lock(&files->kernel->lock);
	while (files->lock_files) {
		struct lock_file *lf = files->lock_files;

		files->lock_files = lf->next;
		put(lf);
	}
	pthread_mutex_unlock(&files->kernel->lock);
}

/* The description must allow every lock that a descriptor of the process allows. */
static bool may_write(struct files *files, const struct file *file)
{
	bool writable = false;

	pthread_mutex_lock(&files->lock);
	for (int fd = 0; fd < MAX_FDS && !writable; fd++) {
		const struct file *f = files->fds[fd].file;

		writable = f && f->dev == file->dev && f->ino == file->ino &&
			   (fcntl(f->fd, F_GETFL) & O_ACCMODE) != O_RDONLY;
	}
	pthread_mutex_unlock(&files->lock);
	return writable;
}

static int open_for_locks(struct lock_file *lf, const struct file *file)
{
	lf->fd = fd_reopen(file->fd, lf->writable ? O_RDWR : O_RDONLY);
	if (lf->fd < 0 && lf->writable)		/* the file can be written to, but not read */
		lf->fd = fd_reopen(file->fd, O_WRONLY);
	return lf->fd;
}

/* NULL: no descriptor or memory. */
static struct lock_file *create(struct files *files, const struct file *file)
{
	struct lock_file *lf = hostfd_reserve(1) ? calloc(1, sizeof(*lf)) : NULL;

	if (!lf)
		return NULL;
	lf->refs = 2;			/* the list's and the caller's */
	lf->dev = file->dev;
	lf->ino = file->ino;
	lf->writable = may_write(files, file);
	if (open_for_locks(lf, file) < 0) {
		hostfd_release(1);
		free(lf);
		return NULL;
	}
	return lf;
}

/* Find or open the description for the locks of the process on @file. *@out is referenced. 0 or -ENOLCK. */
static int get(struct files *files, const struct file *file, bool for_writing, struct lock_file **out)
{
	struct lock_file *lf = find_get(files, file), *new;

	if (!lf) {
		new = create(files, file);
		if (!new)
			return -ENOLCK;
		lf = find_get(files, file);		/* another thread may have been faster */
		if (lf) {
			new->refs = 1;
			put(new);
		} else {
			pthread_mutex_lock(&files->kernel->lock);
			new->next = files->lock_files;
			files->lock_files = lf = new;
			pthread_mutex_unlock(&files->kernel->lock);
		}
	}
	if (for_writing && !lf->writable) {
		put(lf);
		return -ENOLCK;
	}
	*out = lf;
	return 0;
}

/*
 * True: @lock, which the host found, belongs to @files. The host names only locks of other descriptions: if it names @lock
 * here, too, it belongs to another process. Equal locks of two readers cannot be told apart. kernel->lock held.
 */
static bool owns(struct files *files, const struct file *file, const struct flock *lock)
{
	const struct lock_file *lf = *find(files, file);
	struct flock own = *lock;

	if (!lf)
		return false;
	own.l_type = F_WRLCK;
	own.l_pid = 0;
	return fcntl(lf->fd, F_OFD_GETLK, &own) == 0 &&
	       (own.l_type == F_UNLCK || own.l_start != lock->l_start || own.l_len != lock->l_len);
}

static int owner_of(struct task *t, const struct file *file, const struct flock *lock)
{
	int pid = -1;		/* as for a lock of another PID namespace, or an OFD lock */

	pthread_mutex_lock(&t->kernel->lock);
	for (const struct process *p = t->kernel->processes; p && pid < 0; p = p->next)
		for (const struct task *other = p->threads; other && pid < 0; other = other->next)
			if (other->files && other->files != t->files && owns(other->files, file, lock))
				pid = p->pid;
	pthread_mutex_unlock(&t->kernel->lock);
	return pid;
}

static int64_t host_lock(struct task *t, int fd, int cmd, struct flock *lock)
{
	int err;

	host_call_begin(t);
	err = fcntl(fd, cmd, lock) ? errno : 0;
	host_call_end(t);
	return err == EINTR ? -ERESTARTSYS : -err;
}

static int64_t ofd_lock(struct task *t, const struct file *file, int cmd, uint64_t addr, struct flock *lock)
{
	int64_t err = host_lock(t, file->fd, cmd, lock);

	if (err || cmd != F_OFD_GETLK)
		return err;
	if (lock->l_type != F_UNLCK)
		lock->l_pid = owner_of(t, file, lock);
	return user_write(t, addr, lock, sizeof(*lock));
}

/* F_GETLK changes nothing but the type if there is no lock that conflicts. */
static int64_t get_lock(struct task *t, const struct file *file, uint64_t addr, struct flock *lock)
{
	struct lock_file *lf = find_get(t->files, file);
	const pid_t pid = lock->l_pid;
	int64_t err;

	lock->l_pid = 0;
	err = host_lock(t, lf ? lf->fd : file->fd, F_OFD_GETLK, lock);
	put(lf);
	if (err)
		return err;
	lock->l_pid = lock->l_type == F_UNLCK ? pid : owner_of(t, file, lock);
	return user_write(t, addr, lock, sizeof(*lock));
}

/* The position of @file, to which SEEK_CUR refers, is not that of the description for locks. */
static int resolve_start(const struct file *file, struct flock *lock)
{
	off_t at;

	if (lock->l_whence != SEEK_CUR)
		return 0;
	at = lseek(file->fd, 0, SEEK_CUR);
	if (at < 0)
		return 0;
	if (__builtin_add_overflow(lock->l_start, at, &lock->l_start))
		return -EOVERFLOW;
	lock->l_whence = SEEK_SET;
	return lock->l_start < 0 ? -EINVAL : 0;
}

static int64_t set_lock(struct task *t, const struct file *file, int cmd, struct flock *lock)
{
	int access = fcntl(file->fd, F_GETFL) & (O_ACCMODE | O_PATH);
	struct lock_file *lf = NULL;
	int64_t err;

	if ((lock->l_type == F_RDLCK && access == O_WRONLY) || (lock->l_type == F_WRLCK && access == O_RDONLY))
		return -EBADF;
	lock->l_pid = 0;
	if (lock->l_type == F_UNLCK) {
		lf = find_get(t->files, file);
		if (!lf)	/* nothing to unlock, but the arguments are checked */
			return host_lock(t, file->fd, F_OFD_SETLK, lock);
	} else {
		err = get(t->files, file, lock->l_type == F_WRLCK, &lf);
		if (err)
			return err;
	}
	err = host_lock(t, lf->fd, cmd == F_SETLK ? F_OFD_SETLK : F_OFD_SETLKW, lock);
	put(lf);
	return err;
}

int64_t lock_call(struct task *t, const struct file *file, int cmd, uint64_t addr)
{
	struct flock lock;
	int err;

	if (user_read(t, &lock, addr, sizeof(lock)))
		return -EFAULT;
	if (cmd == F_OFD_GETLK || cmd == F_OFD_SETLK || cmd == F_OFD_SETLKW)
		return ofd_lock(t, file, cmd, addr, &lock);
	if (cmd == F_GETLK && lock.l_type != F_RDLCK && lock.l_type != F_WRLCK)
		return -EINVAL;
	err = resolve_start(file, &lock);
	if (err)
		return err;
	return cmd == F_GETLK ? get_lock(t, file, addr, &lock) : set_lock(t, file, cmd, &lock);
}
