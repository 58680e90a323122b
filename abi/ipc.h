/* SPDX-License-Identifier: MIT */
/*
 * abi/ipc.h - System V shared memory, semaphores and message queues: sysvipc(7). Each run has its own, as a new IPC
 * namespace has: no key or ID meets one of the host.
 */
#ifndef ABI_IPC_H
#define ABI_IPC_H

#include <sys/ipc.h>

#include "abi/task.h"

#define IPC_MAX_OBJECTS 4096	/* of a kind */

/* What the objects of all kinds have; the first member of each. */
struct ipc_object {
	int id;			/* index and sequence number */
	int32_t key;		/* IPC_PRIVATE: none, or it was removed */
	uint32_t uid, gid, cuid, cgid;
	uint32_t mode;		/* rights, and flags of the kind */
	bool granted;		/* by Vellum's caller: it outlives ipc_clear() */
};

/* The objects of a kind. The lock of the kind protects them. */
struct ipc_table {
	struct ipc_object *at[IPC_MAX_OBJECTS];
	unsigned nr;
	unsigned next, seq;	/* indexes are used in turn, so that old IDs stay invalid */
};

struct ipc {
	pthread_mutex_t shm_lock;	/* shared memory. Only locks of the core are taken with it */
	struct ipc_table shm;
	unsigned nr_granted;		/* of them */
	unsigned nr_shm;		/* atomic: shm.nr, also read without the lock */
	/* kernel->lock: */
	struct ipc_table sem, msg;
	unsigned nr_sems, nr_undos;	/* semaphores of all sets; undos of all processes */
	uint64_t msg_bytes;		/* memory of all messages */
};

struct ipc *ipc_create(void);		/* NULL: no memory */
void ipc_destroy(struct ipc *ipc);	/* no process is left */
void ipc_clear(struct ipc *ipc);	/* as if the run began: no process uses an object; kernel->lock held */

/* --- ipc.c; the lock of the table held --- */

/* Give @o an ID, and the caller's credentials. 0 or -ENOSPC. */
int ipc_add(struct ipc_table *table, struct ipc_object *o, int32_t key, uint32_t mode);
void ipc_remove(struct ipc_table *table, struct ipc_object *o);
/* NULL: there is none, EINVAL. */
struct ipc_object *ipc_find(const struct ipc_table *table, int id);
struct ipc_object *ipc_find_key(const struct ipc_table *table, int32_t key);
struct ipc_object *ipc_at(const struct ipc_table *table, int index);	/* NULL: none */
int ipc_max_index(const struct ipc_table *table);			/* 0 if there is none */
/*
 * As shmget(2) and its kin for a key. The object that exists, or NULL: make one if *@err is 0. An object and *@err: it
 * exists and may not be used.
 */
struct ipc_object *ipc_get(const struct ipc_table *table, int32_t key, int flags, int *err);

#define MAY_READ	0444
#define MAY_WRITE	0222
#define MAY_EXECUTE	0111
/* May the caller access the object as @mode says, MAY_READ and so on? 0 or -EACCES. */
int ipc_check_access(const struct ipc_object *o, uint32_t mode);
/* May the caller change or remove it? 0 or -EPERM. */
int ipc_check_owner(const struct ipc_object *o);
/* struct ipc64_perm of the kernel, which is that of the C library on x86-64. */
void ipc_fill_perm(struct ipc_perm *perm, const struct ipc_object *o);
/* For IPC_SET. 0, -EPERM or -EINVAL. */
int ipc_set_perm(struct ipc_object *o, const struct ipc_perm *perm);

/* --- sys_shm.c --- */

/* Before VMAs of @t are removed or moved: note that its process detaches segments, maybe a part of an attachment. */
void shm_before_unmap(struct task *t, uint64_t start, uint64_t len);
/* After VMAs were removed or made: segments that are marked and not attached any more are destroyed. */
void shm_vmas_changed(struct kernel *k, int pid);
/* Write the name of a segment, and return its ID. -1: the mapping is none. */
int shm_mapping_name(struct kernel *k, const struct vellum_mapping *mapping, char name[ABI_MAX_NAME]);
/* Make a segment that Vellum's caller uses, too. Its ID or a negative errno; *@mapping belongs to the segment. */
int shm_grant(struct task *t, uint64_t bytes, struct vellum_mapping **mapping);
void shm_destroy_all(struct ipc *ipc, bool granted);

/* --- sys_sem.c, sys_msg.c --- */

void sems_exit(struct process *p);	/* undo what a process did that ends; kernel->lock held */
void sems_destroy_all(struct ipc *ipc);
void msgs_destroy_all(struct ipc *ipc);

#endif
