/* SPDX-License-Identifier: MIT */
/* abi/proc_view.c - look at a process for its files in /proc; see proc.h. */
#define _GNU_SOURCE
#include <string.h>

#include "abi/access.h"
#include "abi/filemap.h"
#include "abi/proc.h"
#include "abi/signals.h"
#include "vellum/pagemap.h"

/* --- a view --- */

/* A thread of the process @p: with @tid, or the first one. kernel->lock held. */
static struct task *thread_of(const struct process *p, int tid)
{
	struct task *t = p->threads, *any = t;

	while (t && t->tid != (tid ? tid : p->pid))
		t = t->next;
	return t || tid ? t : any;	/* the first thread may end before the others */
}

static char state_of(const struct task *reader, const struct process *p, const struct task *t)
{
	if (!t || p->state == PROCESS_ZOMBIE)
		return 'Z';
	if (p->state == PROCESS_STOPPED)
		return 'T';
	return t == reader || task_is_running(t) ? 'R' : 'S';
}

/* The process runs if one of its threads does. kernel->lock held. */
static char process_state(const struct task *reader, const struct process *p)
{
	char state = state_of(reader, p, p->threads);

	for (const struct task *t = p->threads; t && state == 'S'; t = t->next)
		state = state_of(reader, p, t);
	return state;
}

static void look_at_signals(const struct process *p, const struct task *t, struct proc_view *view)
{
	view->shared_pending = p->pending.set;
	for (int signo = 1; signo <= NR_SIGNALS; signo++) {
		if (p->sighand->action[signo].handler == HANDLER_IGNORE)
			view->ignored |= 1ull << (signo - 1);
		else if (p->sighand->action[signo].handler != HANDLER_DEFAULT)
			view->caught |= 1ull << (signo - 1);
	}
	if (t) {
		view->pending = t->pending.set;
		view->blocked = __atomic_load_n(&t->blocked, __ATOMIC_RELAXED);
	}
	view->nr_pending = (unsigned)(__builtin_popcountll(view->pending) + __builtin_popcountll(view->shared_pending));
}

static void look_at_thread(const struct task *t, struct proc_view *view)
{
	memcpy(view->comm, t->comm, sizeof(view->comm));
	view->user = t->credentials.user.effective;
	view->group = t->credentials.group.effective;
	view->host_tid = t->host_tid;
	view->personality = __atomic_load_n(&t->personality, __ATOMIC_RELAXED);
	view->start_ns = t->start_ns;
	view->cpus = __atomic_load_n(&t->cpus, __ATOMIC_RELAXED);
	view->policy = t->policy;
	view->cpu = __atomic_load_n(&t->last_cpu_used, __ATOMIC_RELAXED);
	view->gmm = t->gmm;
	if (view->gmm)
		gmm_pin(view->gmm);
	view->files = t->files;
	if (view->files)
		files_get(view->files);
	view->fs = t->fs;
	if (view->fs) {
		fs_get(view->fs);
		view->umask = __atomic_load_n(&view->fs->umask, __ATOMIC_RELAXED);
	}
}

/* kernel->lock held. */
static void look(const struct task *reader, struct process *p, const struct task *t, struct proc_view *view)
{
	view->process = p;
	process_pin(p);
	view->ppid = p->ppid;
	view->pgid = p->pgid;
	view->sid = p->sid;
	view->exit_signal = p->exit_signal;
	view->exit_status = p->state == PROCESS_ZOMBIE ? p->exit_status : 0;
	view->nr_threads = p->nr_threads ? p->nr_threads : 1;	/* as Linux counts a zombie */
	view->children = p->children;
	view->oom_score_adj = p->oom_score_adj;
	view->cpus = cpu_all(p->kernel);
	view->guarded = access_check(reader, p, ACCESS_FILE);
	memcpy(view->limits, p->rlimits, sizeof(view->limits));
	view->user = p->credentials.user.effective;
	view->group = p->credentials.group.effective;
	memcpy(view->comm, p->comm, sizeof(view->comm));
	view->start_ns = p->start_ns;
	look_at_signals(p, t, view);
	if (t)
		look_at_thread(t, view);
	view->state = view->of_thread ? state_of(reader, p, t) : process_state(reader, p);
	if (view->of_thread && t)
		usage_of_thread(t, &view->used);
	else
		usage_of_process(p, &view->used);
}

bool proc_view_get(struct task *reader, int pid, int tid, struct proc_view *view)
{
	struct kernel *k = reader->kernel;
	struct process *p;
	const struct task *t;

	memset(view, 0, sizeof(*view));
	view->kernel = k;
	view->reader = reader;
	view->pid = pid;
	view->tid = tid ? tid : pid;
	view->of_thread = tid;
	view->fd = -1;
	if (!pid)
		return true;
	pthread_mutex_lock(&k->lock);
	p = process_find(k, pid);
	t = p ? thread_of(p, tid) : NULL;
	if (p && (t || !tid || (tid == pid && p->state == PROCESS_ZOMBIE)))
		look(reader, p, t, view);
	pthread_mutex_unlock(&k->lock);
	return view->process;
}

void proc_view_put(struct proc_view *view)
{
	if (view->gmm)
		gmm_unpin(view->gmm);
	files_put(view->files);
	fs_put(view->fs);
	if (!view->process)
		return;
	pthread_mutex_lock(&view->kernel->lock);
	process_unpin(view->process);
	pthread_mutex_unlock(&view->kernel->lock);
}

struct file *proc_view_file(const struct proc_view *view, int fd, bool *cloexec)
{
	return view->files && fd >= 0 ? files_find(view->files, (uint64_t)fd, cloexec) : NULL;
}

/* --- memory --- */

static void add_by_rights(const struct guest_mm *gmm, const struct vellum_vma_info *info, struct proc_memory *m)
{
	uint64_t len = info->end - info->start;
	char name[ABI_MAX_NAME];

	m->size += len;
	if (info->locked)
		m->locked += len;
	if (info->start < gmm->stack_end && info->end > gmm->stack_start)
		m->stack += len;
	else if ((info->prot & VELLUM_PROT_WRITE) && !info->shared)
		m->data += len;
	if (!(info->prot & VELLUM_PROT_EXEC) || (info->prot & VELLUM_PROT_WRITE) || !info->mapping)
		return;
	abi_mapping_name(gmm, info, name);
	if (!strcmp(name, gmm->exe))
		m->exe += len;
	else
		m->lib += len;
}

static void add_pages(const struct guest_mm *gmm, const struct vellum_vma_info *info, struct proc_memory *m)
{
	struct vellum_vma_usage usage = { .size = sizeof(usage) };
	struct vellum_vma_info same = { .size = sizeof(same) };

	if (vellum_vma_usage(gmm->mm, info->start, &same, &usage))
		return;
	m->anon += usage.anonymous;
	if (info->mapping && abi_is_file(gmm, info))
		m->file += usage.rss - usage.anonymous;
	else if (info->shared)			/* the vDSO is neither */
		m->shmem += usage.rss - usage.anonymous;
}

void proc_memory_sums(const struct guest_mm *gmm, struct proc_memory *m)
{
	struct vellum_vma_info info = { .size = sizeof(info) };

	memset(m, 0, sizeof(*m));
	for (uint64_t at = 0; vellum_vma_next(gmm->mm, at, &info) == 0; at = info.end) {
		add_by_rights(gmm, &info, m);
		add_pages(gmm, &info, m);
	}
	m->rss = m->anon + m->file + m->shmem;
}
