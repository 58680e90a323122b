/* SPDX-License-Identifier: MIT */
/*
 * abi/sys_shm.c - System V shared memory: shmget(2), shmat(2), shmdt(2), shmctl(2).
 *
 * A segment is shared memory of the core, so stores are tracked as those to any shared mapping. The VMAs that map a
 * segment are its attachments. A segment that was removed (IPC_RMID) exists until no VMA maps it.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "abi/ipc.h"
#include "vellum/backing.h"
#include "vellum/swap.h"

#include "syscalls.h"	/* made from syscall.tbl */

#define PAGE		VELLUM_PAGE_SIZE
#define LIMIT		(~0ul - (1ul << 24))	/* shmmax and shmall, as in Linux */
#define MAX_PAGES	(1ull << 40)		/* of a mapping of the core */
#ifndef SHM_STAT_ANY
#define SHM_STAT_ANY	15
#endif
#ifndef SHM_DEST
#define SHM_DEST	01000
#define SHM_LOCKED	02000
#endif

/* shm_lock of struct ipc protects all. */
struct segment {
	struct ipc_object o;
	struct vellum_mapping *mapping;
	uint64_t bytes;
	uint32_t name_key;	/* that it was made with */
	unsigned nr_attaching;	/* calls of shmat(2) in progress */
	uint64_t nr_attached;	/* when it was counted last */
	int64_t atime, dtime, ctime;
	int cpid, lpid;
};

static uint64_t page_up(uint64_t bytes)
{
	return (bytes + PAGE - 1) & ~(uint64_t)(PAGE - 1);
}

static struct segment *segment_of(struct ipc_object *o)
{
	return (struct segment *)o;
}

static void lock(struct kernel *k)
{
	pthread_mutex_lock(&k->ipc->shm_lock);
}

static void unlock(struct kernel *k)
{
	pthread_mutex_unlock(&k->ipc->shm_lock);
}

static void count_segments(struct ipc *ipc)
{
	__atomic_store_n(&ipc->nr_shm, ipc->shm.nr, __ATOMIC_RELEASE);
}

/* --- attachments --- */

static uint64_t nr_attached(const struct segment *s)
{
	struct vellum_mapping_info info = { .size = sizeof(info) };

	vellum_mapping_info(s->mapping, &info);
	return info.nr_mapped;
}

/* Note attachments and detachments since the last call as those of process @pid. shm_lock held. */
static void note_attached(struct segment *s, int pid)
{
	uint64_t now = nr_attached(s);

	if (now == s->nr_attached)
		return;
	*(now > s->nr_attached ? &s->atime : &s->dtime) = time(NULL);
	s->lpid = pid;
	s->nr_attached = now;
}

/* Remove a segment that was marked, if no VMA maps it. True: the caller drops its mapping, and frees it. shm_lock held. */
static bool remove_if_unused(struct ipc *ipc, struct segment *s)
{
	if (!(s->o.mode & SHM_DEST) || s->o.granted || s->nr_attaching || nr_attached(s))
		return false;
	ipc_remove(&ipc->shm, &s->o);
	count_segments(ipc);
	return true;
}

static void free_segment(struct segment *s)
{
	vellum_mapping_put(s->mapping);
	free(s);
}

void shm_vmas_changed(struct kernel *k, int pid)
{
	struct segment *gone[16];
	unsigned n;

	do {
		n = 0;
		if (!k->ipc || !__atomic_load_n(&k->ipc->nr_shm, __ATOMIC_ACQUIRE))
			return;
		lock(k);
		for (int i = 0; i < IPC_MAX_OBJECTS && n < 16; i++) {
			struct segment *s = segment_of(k->ipc->shm.at[i]);

			if (!s)
				continue;
			note_attached(s, pid);
			if (remove_if_unused(k->ipc, s))
				gone[n++] = s;
		}
		unlock(k);
		for (unsigned i = 0; i < n; i++)
			free_segment(gone[i]);
	} while (n == 16);
}

void shm_destroy_all(struct ipc *ipc, bool granted)
{
	for (int i = 0; i < IPC_MAX_OBJECTS; i++) {
		struct segment *s = segment_of(ipc->shm.at[i]);

		if (!s || (s->o.granted && !granted))
			continue;
		ipc_remove(&ipc->shm, &s->o);
		free_segment(s);
	}
	ipc->shm.next = ipc->nr_granted;
	ipc->shm.seq = 0;
	count_segments(ipc);
}

/* shm_lock held. */
static struct segment *find_mapping(const struct ipc *ipc, const struct vellum_mapping *mapping)
{
	for (int i = 0; i < IPC_MAX_OBJECTS; i++) {
		struct segment *s = segment_of(ipc->shm.at[i]);

		if (s && s->mapping == mapping)
			return s;
	}
	return NULL;
}

void shm_before_unmap(struct task *t, uint64_t start, uint64_t len)
{
	struct vellum_vma_info info = { .size = sizeof(info) };
	struct ipc *ipc = t->kernel->ipc;
	struct segment *s;

	if (!__atomic_load_n(&ipc->nr_shm, __ATOMIC_ACQUIRE))
		return;
	for (uint64_t at = start; vellum_vma_next(t->gmm->mm, at, &info) == 0 && info.start < start + len; at = info.end) {
		if (!info.mapping)
			continue;
		lock(t->kernel);
		s = find_mapping(ipc, info.mapping);
		if (s) {
			s->dtime = time(NULL);
			s->lpid = t->process->pid;
		}
		unlock(t->kernel);
	}
}

int shm_mapping_name(struct kernel *k, const struct vellum_mapping *mapping, char name[ABI_MAX_NAME])
{
	const struct segment *s;
	int id = -1;

	if (!mapping || !k->ipc || !__atomic_load_n(&k->ipc->nr_shm, __ATOMIC_ACQUIRE))
		return -1;
	lock(k);
	s = find_mapping(k->ipc, mapping);
	if (s) {
		id = s->o.id;
		snprintf(name, ABI_MAX_NAME, "/SYSV%08x (deleted)", s->name_key);
	}
	unlock(k);
	return id;
}

/* --- shmget(2) --- */

/* More than all memory is refused, as for private memory. */
static bool fits_into_memory(struct kernel *k, uint64_t bytes)
{
	struct vellum_memory_info memory = { .size = sizeof(memory) };
	struct vellum_swap_info swap = { .size = sizeof(swap) };

	vellum_memory_info(k->args->memory, &memory);
	vellum_swap_info(k->args->memory, &swap);
	return bytes / PAGE <= memory.nr_frames + swap.nr_slots;
}

/* shm_lock held. The ID or a negative errno. */
static int make_segment(struct task *t, int32_t key, uint64_t bytes, int flags)
{
	struct kernel *k = t->kernel;
	struct segment *s;
	int err;

	if (!bytes || bytes > INT64_MAX)
		return -EINVAL;
	if (k->ipc->shm.nr == IPC_MAX_OBJECTS)
		return -ENOSPC;
	if ((flags & SHM_HUGETLB) || (!(flags & SHM_NORESERVE) && !fits_into_memory(k, page_up(bytes))) ||
	    page_up(bytes) / PAGE > MAX_PAGES)
		return -ENOMEM;
	s = calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	err = vellum_mapping_create(k->args->memory, NULL, NULL, page_up(bytes) / PAGE, 0, &s->mapping);
	if (!err)
		err = ipc_add(&k->ipc->shm, &s->o, key, (uint32_t)flags);
	if (err) {
		vellum_mapping_put(s->mapping);
		free(s);
		return err;
	}
	count_segments(k->ipc);
	s->bytes = bytes;
	s->name_key = (uint32_t)key;
	s->ctime = time(NULL);
	s->cpid = t->process->pid;
	return s->o.id;
}

int shm_grant(struct task *t, uint64_t bytes, struct vellum_mapping **mapping)
{
	struct ipc *ipc = t->kernel->ipc;
	int id;

	lock(t->kernel);
	id = make_segment(t, IPC_PRIVATE, bytes, 0600);
	if (id >= 0) {
		struct segment *s = segment_of(ipc_find(&ipc->shm, id));

		s->o.granted = true;
		ipc->nr_granted++;
		*mapping = s->mapping;
	}
	unlock(t->kernel);
	return id;
}

int64_t sys_shmget(struct task *t, int key, uint64_t size, int flags)
{
	struct ipc_object *o;
	int result;

	lock(t->kernel);
	o = ipc_get(&t->kernel->ipc->shm, key, flags, &result);
	if (o && !result && segment_of(o)->bytes < size)
		result = -EINVAL;
	if (o && !result)
		result = ipc_check_access(o, (uint32_t)flags);
	if (!result)
		result = o ? o->id : make_segment(t, key, size, flags);
	unlock(t->kernel);
	return result;
}

/* --- shmat(2), shmdt(2) --- */

static bool is_mapped(struct task *t, uint64_t start, uint64_t len)
{
	struct vellum_vma_info info = { .size = sizeof(info) };

	return vellum_vma_next(t->gmm->mm, start, &info) == 0 && info.start < start + len;
}

/* Where shmat(2) attaches: @addr, rounded. 0 or -EINVAL. */
static int check_address(uint64_t *addr, int flags)
{
	if (*addr & (PAGE - 1)) {
		if (!(flags & SHM_RND))
			return -EINVAL;
		*addr &= ~(uint64_t)(PAGE - 1);
	}
	return (flags & SHM_REMAP) && !*addr ? -EINVAL : 0;
}

/* Without a lock, but nr_attaching is raised. */
static int64_t attach(struct task *t, const struct segment *s, uint64_t addr, bool fixed, int flags)
{
	struct vellum_map_args args = { .size = sizeof(args), .addr = addr, .len = page_up(s->bytes),
					.prot = VELLUM_PROT_READ, .flags = VELLUM_MAP_SHARED, .mapping = s->mapping,
					.file_prot = VELLUM_PROT_READ };
	int err;

	if (!(flags & SHM_RDONLY)) {
		args.prot |= VELLUM_PROT_WRITE;
		args.file_prot |= VELLUM_PROT_WRITE;
	}
	if (flags & SHM_EXEC)
		args.prot |= VELLUM_PROT_EXEC;
	if (fixed) {
		args.flags |= VELLUM_MAP_FIXED;
		if (addr + s->bytes < addr || (!(flags & SHM_REMAP) && is_mapped(t, addr, args.len)))
			return -EINVAL;
	}
	err = user_map(t, &args, &addr);
	return err ? err : (int64_t)addr;
}

int64_t sys_shmat(struct task *t, int shmid, uint64_t addr, int flags)
{
	uint32_t access = flags & SHM_RDONLY ? MAY_READ : MAY_READ | MAY_WRITE;
	struct kernel *k = t->kernel;
	bool fixed = addr != 0, unused;
	int64_t result = check_address(&addr, flags);
	struct segment *s;

	if (result)
		return result;
	lock(k);
	s = segment_of(ipc_find(&k->ipc->shm, shmid));
	result = s ? ipc_check_access(&s->o, flags & SHM_EXEC ? access | MAY_EXECUTE : access) : -EINVAL;
	if (!result)
		s->nr_attaching++;
	unlock(k);
	if (result)
		return result;
	result = attach(t, s, addr, fixed, flags);
	lock(k);
	s->nr_attaching--;
	unused = !nr_attached(s);	/* it failed, or another thread has unmapped it: a segment that is marked goes */
	if (result >= 0) {
		s->nr_attached = nr_attached(s);
		s->atime = time(NULL);
		s->lpid = t->process->pid;
	}
	unlock(k);
	if (unused)
		shm_vmas_changed(k, t->process->pid);
	return result;
}

/* Is the VMA a part of an attachment at @addr? *@bytes: of the segment. */
static bool is_attached_at(struct task *t, const struct vellum_vma_info *info, uint64_t addr, uint64_t *bytes)
{
	const struct segment *s;

	if (!info->mapping || (info->start - addr) / PAGE != info->pgoff)
		return false;
	lock(t->kernel);
	s = find_mapping(t->kernel->ipc, info->mapping);
	*bytes = s ? page_up(s->bytes) : 0;
	unlock(t->kernel);
	return s != NULL;
}

/* The first part decides which segment it is: the program may have unmapped some, or changed their rights. */
int64_t sys_shmdt(struct task *t, uint64_t addr)
{
	struct vellum_vma_info info = { .size = sizeof(info) };
	const struct vellum_mapping *mapping = NULL;
	uint64_t at = addr, bytes = 0, other;

	if (addr & (PAGE - 1))
		return -EINVAL;
	for (; vellum_vma_next(t->gmm->mm, at, &info) == 0; at = info.end) {
		if (info.start < addr || (mapping && info.end - addr > bytes))
			continue;
		if (mapping ? info.mapping != mapping : !is_attached_at(t, &info, addr, &bytes))
			continue;
		if (!is_attached_at(t, &info, addr, &other))
			continue;
		mapping = info.mapping;
		user_unmap(t, info.start, info.end - info.start);
	}
	return mapping ? 0 : -EINVAL;
}

/* --- shmctl(2) --- */

static void fill_status(struct shmid_ds *out, const struct segment *s)
{
	memset(out, 0, sizeof(*out));
	ipc_fill_perm(&out->shm_perm, &s->o);
	out->shm_segsz = s->bytes;
	out->shm_atime = s->atime;
	out->shm_dtime = s->dtime;
	out->shm_ctime = s->ctime;
	out->shm_cpid = s->cpid;
	out->shm_lpid = s->lpid;
	out->shm_nattch = nr_attached(s);
}

static int64_t get_status(struct task *t, int id, int cmd, uint64_t addr)
{
	const struct ipc_table *table = &t->kernel->ipc->shm;
	struct shmid_ds status;
	const struct segment *s;
	int64_t result = -EINVAL;

	lock(t->kernel);
	s = segment_of(cmd == IPC_STAT ? ipc_find(table, id) : ipc_at(table, id));
	if (s)
		result = cmd == SHM_STAT_ANY ? 0 : ipc_check_access(&s->o, MAY_READ);
	if (!result) {
		fill_status(&status, s);
		result = cmd == IPC_STAT ? 0 : s->o.id;
	}
	unlock(t->kernel);
	return result >= 0 && user_write(t, addr, &status, sizeof(status)) ? -EFAULT : result;
}

static int64_t get_limits(struct task *t, uint64_t addr)
{
	const struct shminfo limits = { .shmmax = LIMIT, .shmmin = 1, .shmmni = IPC_MAX_OBJECTS,
					.shmseg = IPC_MAX_OBJECTS, .shmall = LIMIT };
	int max;

	lock(t->kernel);
	max = ipc_max_index(&t->kernel->ipc->shm);
	unlock(t->kernel);
	return user_write(t, addr, &limits, sizeof(limits)) ? -EFAULT : max;
}

static int64_t get_usage(struct task *t, uint64_t addr)
{
	const struct ipc_table *table = &t->kernel->ipc->shm;
	struct shm_info usage = { .used_ids = 0 };
	int max;

	lock(t->kernel);
	usage.used_ids = (int)table->nr;
	for (int i = 0; i < IPC_MAX_OBJECTS; i++) {
		struct vellum_mapping_info info = { .size = sizeof(info) };
		const struct segment *s = segment_of(table->at[i]);

		if (!s)
			continue;
		vellum_mapping_info(s->mapping, &info);
		usage.shm_tot += page_up(s->bytes) / PAGE;
		usage.shm_rss += info.nr_cached;
	}
	max = ipc_max_index(table);
	unlock(t->kernel);
	return user_write(t, addr, &usage, sizeof(usage)) ? -EFAULT : max;
}

/* Mark the segment: it has no key any more, and is destroyed after the last detachment. shm_lock held. */
static int mark_removed(struct segment *s)
{
	int err = ipc_check_owner(&s->o);

	if (err)
		return err;
	s->o.mode |= SHM_DEST;
	s->o.key = IPC_PRIVATE;
	return 0;
}

/* Pages of locked segments are swapped out all the same. shm_lock held. */
static int set_locked(struct segment *s, int cmd)
{
	int err = ipc_check_owner(&s->o);

	if (err)
		return err;
	s->o.mode = cmd == SHM_LOCK ? s->o.mode | SHM_LOCKED : s->o.mode & ~(uint32_t)SHM_LOCKED;
	return 0;
}

static int64_t change(struct task *t, int id, int cmd, uint64_t addr)
{
	struct shmid_ds new;
	struct segment *s;
	int err = -EINVAL;

	if (cmd == IPC_SET && user_read(t, &new, addr, sizeof(new)))
		return -EFAULT;
	lock(t->kernel);
	s = segment_of(ipc_find(&t->kernel->ipc->shm, id));
	if (s && cmd == IPC_SET) {
		err = ipc_set_perm(&s->o, &new.shm_perm);
		s->ctime = err ? s->ctime : time(NULL);
	} else if (s) {
		err = cmd == IPC_RMID ? mark_removed(s) : set_locked(s, cmd);
	}
	unlock(t->kernel);
	if (cmd == IPC_RMID)
		shm_vmas_changed(t->kernel, t->process->pid);
	return err;
}

int64_t sys_shmctl(struct task *t, int shmid, int cmd, uint64_t buf)
{
	if (cmd < 0 || shmid < 0)
		return -EINVAL;
	switch (cmd) {
	case IPC_STAT: case SHM_STAT: case SHM_STAT_ANY: return get_status(t, shmid, cmd, buf);
	case IPC_INFO: return get_limits(t, buf);
	case SHM_INFO: return get_usage(t, buf);
	case IPC_SET: case IPC_RMID: case SHM_LOCK: case SHM_UNLOCK: return change(t, shmid, cmd, buf);
	default: return -EINVAL;
	}
}
