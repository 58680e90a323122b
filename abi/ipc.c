/* SPDX-License-Identifier: MIT */
/* abi/ipc.c - keys, IDs and rights of System V objects; see ipc.h. */
#define _GNU_SOURCE
#include "abi/ipc.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "abi/access.h"

#define INDEX_BITS	15	/* of an ID, as in Linux */
#define MAX_SEQ		0xffff
#define MAX_GROUPS	256

struct ipc *ipc_create(void)
{
	struct ipc *ipc = calloc(1, sizeof(*ipc));

	if (ipc)
		pthread_mutex_init(&ipc->shm_lock, NULL);
	return ipc;
}

void ipc_destroy(struct ipc *ipc)
{
	if (!ipc)
		return;
	ipc_clear(ipc);
	shm_destroy_all(ipc, true);
	pthread_mutex_destroy(&ipc->shm_lock);
	free(ipc);
}

void ipc_clear(struct ipc *ipc)
{
	shm_destroy_all(ipc, false);
	sems_destroy_all(ipc);
	msgs_destroy_all(ipc);
	memset(&ipc->sem, 0, sizeof(ipc->sem));
	memset(&ipc->msg, 0, sizeof(ipc->msg));
	ipc->nr_sems = ipc->nr_undos = 0;
	ipc->msg_bytes = 0;
}

static unsigned index_of(int id)
{
	return (unsigned)id & ((1u << INDEX_BITS) - 1);
}

int ipc_add(struct ipc_table *table, struct ipc_object *o, int32_t key, uint32_t mode)
{
	if (table->nr == IPC_MAX_OBJECTS)
		return -ENOSPC;
	do {
		if (table->next == IPC_MAX_OBJECTS) {
			table->next = 0;
			table->seq = (table->seq + 1) & MAX_SEQ;
		}
	} while (table->at[table->next++]);
	*o = (struct ipc_object){ .id = (int)(table->seq << INDEX_BITS | (table->next - 1)), .key = key,
				  .uid = geteuid(), .gid = getegid(), .cuid = geteuid(), .cgid = getegid(),
				  .mode = mode & ACCESSPERMS };
	table->at[table->next - 1] = o;
	table->nr++;
	return 0;
}

void ipc_remove(struct ipc_table *table, struct ipc_object *o)
{
	table->at[index_of(o->id)] = NULL;
	table->nr--;
}

struct ipc_object *ipc_at(const struct ipc_table *table, int index)
{
	return index >= 0 && index < IPC_MAX_OBJECTS ? table->at[index] : NULL;
}

struct ipc_object *ipc_find(const struct ipc_table *table, int id)
{
	struct ipc_object *o = id < 0 ? NULL : ipc_at(table, (int)index_of(id));

	return o && o->id == id ? o : NULL;
}

struct ipc_object *ipc_find_key(const struct ipc_table *table, int32_t key)
{
	if (key == IPC_PRIVATE)
		return NULL;
	for (int i = 0; i < IPC_MAX_OBJECTS && table->nr; i++)
		if (table->at[i] && table->at[i]->key == key)
			return table->at[i];
	return NULL;
}

int ipc_max_index(const struct ipc_table *table)
{
	int i = IPC_MAX_OBJECTS - 1;

	while (i > 0 && !table->at[i])
		i--;
	return i;
}

struct ipc_object *ipc_get(const struct ipc_table *table, int32_t key, int flags, int *err)
{
	struct ipc_object *o = ipc_find_key(table, key);

	*err = 0;
	if (!o)
		*err = key == IPC_PRIVATE || (flags & IPC_CREAT) ? 0 : -ENOENT;
	else if ((flags & IPC_CREAT) && (flags & IPC_EXCL))
		*err = -EEXIST;
	return o;
}

static bool is_in_group(uint32_t gid)
{
	gid_t groups[MAX_GROUPS];
	int n = getgroups(MAX_GROUPS, groups);

	if (getegid() == gid)
		return true;
	for (int i = 0; i < n; i++)
		if (groups[i] == gid)
			return true;
	return false;
}

int ipc_check_access(const struct ipc_object *o, uint32_t mode)
{
	uint32_t wanted = (mode >> 6 | mode >> 3 | mode) & S_IRWXO, granted = o->mode, uid = geteuid();

	if (uid == o->uid || uid == o->cuid)
		granted >>= 6;
	else if (is_in_group(o->gid) || is_in_group(o->cgid))
		granted >>= 3;
	return (wanted & ~granted) && !has_capability(CAP_IPC_OWNER) ? -EACCES : 0;
}

int ipc_check_owner(const struct ipc_object *o)
{
	uint32_t uid = geteuid();

	return uid == o->uid || uid == o->cuid || has_capability(CAP_SYS_ADMIN) ? 0 : -EPERM;
}

void ipc_fill_perm(struct ipc_perm *perm, const struct ipc_object *o)
{
	memset(perm, 0, sizeof(*perm));
	perm->__key = o->key;
	perm->uid = o->uid;
	perm->gid = o->gid;
	perm->cuid = o->cuid;
	perm->cgid = o->cgid;
	perm->mode = (mode_t)o->mode;
	perm->__seq = (unsigned short)((unsigned)o->id >> INDEX_BITS);
}

int ipc_set_perm(struct ipc_object *o, const struct ipc_perm *perm)
{
	int err = ipc_check_owner(o);

	if (err)
		return err;
	if (perm->uid == (uid_t)-1 || perm->gid == (gid_t)-1)
		return -EINVAL;
	o->uid = perm->uid;
	o->gid = perm->gid;
	o->mode = (o->mode & ~(uint32_t)ACCESSPERMS) | (perm->mode & ACCESSPERMS);
	return 0;
}
