/* SPDX-License-Identifier: MIT */
/* abi/sys_mempolicy.c - mbind(2), set_mempolicy(2), get_mempolicy(2), migrate_pages(2), move_pages(2); see mempolicy.h. */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/capability.h>
#include <linux/mempolicy.h>
#include <string.h>

#include "abi/access.h"
#include "abi/mempolicy.h"
#include "vellum/pagemap.h"

#include "syscalls.h"	/* made from syscall.tbl */

#define MODE_WEIGHTED_INTERLEAVE 6	/* since Linux 6.9 */
#define MAX_MODE	MODE_WEIGHTED_INTERLEAVE
#define MODE_FLAGS	(MPOL_F_STATIC_NODES | MPOL_F_RELATIVE_NODES | MPOL_F_NUMA_BALANCING)
#define MAX_NODES	1024u		/* as in most distributions' kernels; only node 0 exists */
#define MASK_BITS	64u
#define MAX_MASK_BITS	(VELLUM_PAGE_SIZE * 8)
#define ALLOWED_NODES	1ull
#define MOVE_FLAGS	(MPOL_MF_MOVE | MPOL_MF_MOVE_ALL)

/* --- masks of nodes --- */

/* As in Linux, @maxnode is one more than the number of bits. Nodes beyond the first 64 do not exist. */
static int read_nodes(struct task *t, uint64_t addr, uint64_t maxnode, uint64_t *nodes)
{
	uint64_t bits = maxnode - 1, word;

	*nodes = 0;
	if (!maxnode || !addr || !bits)
		return 0;
	if (bits > MAX_MASK_BITS)
		return -EINVAL;
	for (uint64_t at = 0; at < bits; at += MASK_BITS) {
		if (user_read(t, &word, addr + at / 8, sizeof(word)))
			return -EFAULT;
		if (bits - at < MASK_BITS)
			word &= (1ull << (bits - at)) - 1;
		if (at >= MAX_NODES && word)
			return -EINVAL;
		if (!at)
			*nodes = word;
	}
	return 0;
}

static int write_nodes(struct task *t, uint64_t addr, uint64_t maxnode, uint64_t nodes)
{
	const uint64_t bits = maxnode - 1, words = (bits + MASK_BITS - 1) / MASK_BITS, none = 0;

	if (bits > MAX_MASK_BITS)
		return -EINVAL;
	for (uint64_t i = 0; i < words; i++)
		if (user_write(t, addr + 8 * i, i ? &none : &nodes, sizeof(nodes)))
			return -EFAULT;
	return 0;
}

/* --- policies --- */

/* set_mempolicy(2), mbind(2). 0 or -EINVAL. */
static int make_policy(int mode, uint64_t nodes, struct mempolicy *out)
{
	const int flags = mode & MODE_FLAGS, base = mode & ~MODE_FLAGS;

	if (base < 0 || base > MAX_MODE || (flags & MPOL_F_STATIC_NODES && flags & MPOL_F_RELATIVE_NODES))
		return -EINVAL;
	if ((flags & MPOL_F_NUMA_BALANCING) && base != MPOL_BIND && base != MPOL_PREFERRED_MANY)
		return -EINVAL;
	*out = (struct mempolicy){ .mode = base, .flags = flags, .nodes = nodes & ALLOWED_NODES, .given = nodes };
	switch (base) {
	case MPOL_DEFAULT:
		out->flags = 0;
		return nodes ? -EINVAL : 0;
	case MPOL_LOCAL:
		return nodes || (flags & (MPOL_F_STATIC_NODES | MPOL_F_RELATIVE_NODES)) ? -EINVAL : 0;
	case MPOL_PREFERRED:
		if (nodes)
			break;
		out->mode = MPOL_LOCAL;
		return flags & (MPOL_F_STATIC_NODES | MPOL_F_RELATIVE_NODES) ? -EINVAL : 0;
	default:
		break;
	}
	if (flags & MPOL_F_RELATIVE_NODES)	/* they are counted modulo the number of allowed nodes */
		out->nodes = nodes ? ALLOWED_NODES : 0;
	return out->nodes ? 0 : -EINVAL;
}

int64_t sys_set_mempolicy(struct task *t, int mode, uint64_t nmask, uint64_t maxnode)
{
	struct mempolicy policy;
	uint64_t nodes;
	int err = (mode & ~MODE_FLAGS) < 0 || (mode & ~MODE_FLAGS) > MAX_MODE ? -EINVAL : read_nodes(t, nmask, maxnode, &nodes);

	if (!err)
		err = make_policy(mode, nodes, &policy);
	if (!err)
		t->mempolicy = policy;
	return err;
}

/* Is all of the range mapped? */
static bool is_mapped(struct task *t, uint64_t start, uint64_t end)
{
	struct vellum_vma_info info = { .size = sizeof(info) };

	while (start < end) {
		if (vellum_vma_next(t->gmm->mm, start, &info) || info.start > start)
			return false;
		start = info.end;
	}
	return true;
}

/* All pages are on node 0 already: there is nothing to move. */
int64_t sys_mbind(struct task *t, uint64_t start, uint64_t len, uint64_t mode, uint64_t nmask, uint64_t maxnode,
		  uint32_t flags)
{
	const uint64_t end = start + ((len + VELLUM_PAGE_SIZE - 1) & -(uint64_t)VELLUM_PAGE_SIZE);
	struct mempolicy policy;
	uint64_t nodes;
	int err;

	if (mode >> 32)
		return -EINVAL;
	err = ((int)mode & ~MODE_FLAGS) > MAX_MODE || (int)mode < 0 ? -EINVAL : read_nodes(t, nmask, maxnode, &nodes);
	if (err)
		return err;
	if (flags & ~(uint32_t)(MPOL_MF_STRICT | MOVE_FLAGS))
		return -EINVAL;
	if ((flags & MPOL_MF_MOVE_ALL) && !has_capability(CAP_SYS_NICE))
		return -EPERM;
	if ((start & (VELLUM_PAGE_SIZE - 1)) || end < start)
		return -EINVAL;
	if (end == start)
		return 0;
	err = make_policy((int)mode, nodes, &policy);
	if (err)
		return err;
	if (policy.mode != MPOL_DEFAULT && !is_mapped(t, start, end))
		return -EFAULT;
	return placements_set(t->gmm, start, end, &policy);
}

/* The node of a page, which is brought in. */
static int64_t node_at(struct task *t, uint64_t addr)
{
	uint8_t byte;

	return user_read(t, &byte, addr, 1) ? -EFAULT : 0;
}

static int64_t look(struct task *t, uint64_t addr, uint64_t flags, struct mempolicy *policy, int *mode)
{
	*policy = t->mempolicy;
	if (flags & MPOL_F_ADDR) {
		if (!is_mapped(t, addr & -(uint64_t)VELLUM_PAGE_SIZE, (addr & -(uint64_t)VELLUM_PAGE_SIZE) + 1))
			return -EFAULT;
		*policy = placements_get(t->gmm, addr, &t->mempolicy);
	} else if (addr) {
		return -EINVAL;
	}
	*mode = policy->mode | policy->flags;
	if (!(flags & MPOL_F_NODE))
		return 0;
	*mode = 0;			/* the only node */
	if (flags & MPOL_F_ADDR)
		return node_at(t, addr);
	return policy->mode == MPOL_INTERLEAVE || policy->mode == MODE_WEIGHTED_INTERLEAVE ? 0 : -EINVAL;
}

int64_t sys_get_mempolicy(struct task *t, uint64_t policy, uint64_t nmask, uint64_t maxnode, uint64_t addr, uint64_t flags)
{
	struct mempolicy found = { .mode = MPOL_DEFAULT };
	uint64_t nodes = ALLOWED_NODES;
	int mode = 0;
	int64_t err;

	if (nmask && !maxnode)
		return -EINVAL;
	if (flags & ~(uint64_t)(MPOL_F_NODE | MPOL_F_ADDR | MPOL_F_MEMS_ALLOWED))
		return -EINVAL;
	if (flags & MPOL_F_MEMS_ALLOWED) {
		if (flags & (MPOL_F_NODE | MPOL_F_ADDR))
			return -EINVAL;
	} else {
		err = look(t, addr, flags, &found, &mode);
		if (err)
			return err;
		nodes = found.flags ? found.given : found.nodes;
	}
	if (policy && user_write(t, policy, &mode, sizeof(mode)))
		return -EFAULT;
	return nmask ? write_nodes(t, nmask, maxnode, nodes) : 0;
}

/* --- moves --- */

/* The process that a call moves pages of, 0 for the caller. 0 or a negative errno. */
static int check_target(struct task *t, int pid)
{
	const struct task *other;
	int err;

	pthread_mutex_lock(&t->kernel->lock);
	other = pid ? task_find(t->kernel, pid) : t;
	err = !other ? -ESRCH : other == t ? 0 : access_check(t, other->process, ACCESS_REAL);
	pthread_mutex_unlock(&t->kernel->lock);
	return err;
}

int64_t sys_migrate_pages(struct task *t, int pid, uint64_t maxnode, uint64_t old_nodes, uint64_t new_nodes)
{
	uint64_t old, new;
	int err = read_nodes(t, old_nodes, maxnode, &old);

	if (!err)
		err = read_nodes(t, new_nodes, maxnode, &new);
	if (!err)
		err = check_target(t, pid);
	if (err)
		return err;
	if ((new & ~ALLOWED_NODES) && !has_capability(CAP_SYS_NICE))
		return -EPERM;
	return new & ALLOWED_NODES ? 0 : -EINVAL;
}

/* The address space of a process, pinned. NULL: it has none, or the process is gone. */
static struct guest_mm *pin_memory(struct task *t, int pid)
{
	struct guest_mm *gmm = NULL;
	const struct task *other;

	pthread_mutex_lock(&t->kernel->lock);
	other = pid ? task_find(t->kernel, pid) : t;
	if (other)
		gmm = other->gmm;
	if (gmm)
		gmm_pin(gmm);
	pthread_mutex_unlock(&t->kernel->lock);
	return gmm;
}

/* For vellum_walk_entries(): what the only entry says. */
static int note_status(void *arg, const struct vellum_entry *entry)
{
	*(int *)arg = entry->kind == VELLUM_ENTRY_PAGE ? 0 : entry->kind == VELLUM_ENTRY_ZERO ? -EFAULT : -ENOENT;
	return 0;
}

/* What move_pages(2) stores for a page: its node, or an error. The zero page is -EFAULT. */
static int page_status(struct guest_mm *gmm, uint64_t addr)
{
	struct vellum_vma_info info = { .size = sizeof(info) };
	int status = -ENOENT;

	addr &= -(uint64_t)VELLUM_PAGE_SIZE;
	if (vellum_vma_next(gmm->mm, addr, &info) || info.start > addr)
		return -EFAULT;
	vellum_walk_entries(gmm->mm, addr, addr + VELLUM_PAGE_SIZE, note_status, &status);
	return status;
}

int64_t sys_move_pages(struct task *t, int pid, uint64_t count, uint64_t pages, uint64_t nodes, uint64_t status, int flags)
{
	struct guest_mm *gmm;
	int64_t result = 0;
	int err;

	if (flags & ~MOVE_FLAGS)
		return -EINVAL;
	if ((flags & MPOL_MF_MOVE_ALL) && !has_capability(CAP_SYS_NICE))
		return -EPERM;
	err = check_target(t, pid);
	if (err)
		return err;
	cpu_release(t);			/* there may be many pages */
	for (uint64_t i = 0; i < count && !result; i++) {
		uint64_t addr;
		int node = 0, st;

		if (user_read(t, &addr, pages + 8 * i, sizeof(addr)) ||
		    (nodes && user_read(t, &node, nodes + 4 * i, sizeof(node))))
			result = -EFAULT;
		else if (node)
			result = -ENODEV;
		gmm = result ? NULL : pin_memory(t, pid);
		if (!result && !gmm)
			result = -EINVAL;
		st = result ? 0 : page_status(gmm, addr);
		if (gmm)
			gmm_unpin(gmm);
		if (!result && status && user_write(t, status + 4 * i, &st, sizeof(st)))
			result = -EFAULT;
		if (signal_fatal_pending(t))
			break;
	}
	return result;
}
