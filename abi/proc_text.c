/* SPDX-License-Identifier: MIT */
/* abi/proc_text.c - contents of the smaller files of a process; see proc.h. Source: proc(5). */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "abi/access.h"
#include "abi/filemap.h"
#include "abi/ipc.h"
#include "abi/proc.h"
#include "abi/uffd.h"
#include "vellum/pagemap.h"

#define SHM_DEV_MINOR 1		/* of the kernel's own tmpfs, which has System V segments */
#define MAX_VMA_TEXT 8192	/* bytes of one VMA in smaps, with its path */
#define KIB 1024
#define MAX_OOM_ADJ 15		/* of the old oom_adj; -17 disables */
#define OOM_DISABLE (-17)
#define MAX_OOM_SCORE_ADJ 1000

/* --- strings that execve(2) got --- */

/* Print memory of the program, up to what cannot be read. */
static void print_memory(FILE *f, const struct proc_view *view, uint64_t start, uint64_t end)
{
	char buf[VELLUM_PAGE_SIZE];

	while (start < end) {
		uint64_t n = end - start < sizeof(buf) ? end - start : sizeof(buf), done = 0;

		vellum_copy_from_user(view->gmm->mm, buf, start, n, &done);
		fwrite(buf, 1, done, f);
		if (done < n)
			return;
		start += n;
	}
}

/* The last byte of the arguments, or 0 if it cannot be read. */
static char last_byte(const struct proc_view *view)
{
	char last = 0;

	vellum_copy_from_user(view->gmm->mm, &last, view->gmm->env_start - 1, 1, NULL);
	return last;
}

/* A program that wrote a title beyond its arguments has no NUL at their end: the title ends at one in the environment. */
void proc_print_cmdline(FILE *f, const struct proc_view *view)
{
	const struct guest_mm *gmm = view->gmm;
	char buf[VELLUM_PAGE_SIZE];
	uint64_t done = 0, len;

	if (!gmm || gmm->args_start >= gmm->env_start)
		return;
	if (!last_byte(view)) {
		print_memory(f, view, gmm->args_start, gmm->env_start);
		return;
	}
	len = gmm->env_end - gmm->args_start;
	vellum_copy_from_user(gmm->mm, buf, gmm->args_start, len < sizeof(buf) ? len : sizeof(buf), &done);
	len = strnlen(buf, done);
	fwrite(buf, 1, len < done ? len + 1 : len, f);
}

void proc_print_environ(FILE *f, const struct proc_view *view)
{
	if (view->gmm)
		print_memory(f, view, view->gmm->env_start, view->gmm->env_end);
}

void proc_print_auxv(FILE *f, const struct proc_view *view)
{
	if (view->gmm)
		fwrite(view->gmm->auxv, 1, view->gmm->auxv_bytes, f);
}

/* --- names --- */

void proc_print_comm(FILE *f, const struct proc_view *view)
{
	fprintf(f, "%s\n", view->comm);
}

/* Only a thread of the same process may set it. */
int proc_store_comm(struct task *writer, const struct proc_view *view, char *text)
{
	char name[TASK_COMM_LEN] = "";
	struct task *t;
	int err = -EINVAL;

	if (view->process != writer->process)
		return err;
	text[strcspn(text, "\n")] = 0;
	snprintf(name, sizeof(name), "%.*s", TASK_COMM_LEN - 1, text);
	pthread_mutex_lock(&view->kernel->lock);
	t = task_find(view->kernel, view->tid);
	if (t && t->process == writer->process) {
		memcpy(t->comm, name, sizeof(t->comm));
		err = 0;
	}
	pthread_mutex_unlock(&view->kernel->lock);
	return err;
}

void proc_print_children(FILE *f, const struct proc_view *view)
{
	if (view->tid != view->pid)	/* which thread created a child is not known: the first one has all */
		return;
	pthread_mutex_lock(&view->kernel->lock);
	for (const struct process *p = view->kernel->processes; p; p = p->next)
		if (p->ppid == view->pid)
			fprintf(f, "%d ", p->pid);
	pthread_mutex_unlock(&view->kernel->lock);
}

void proc_print_personality(FILE *f, const struct proc_view *view)
{
	fprintf(f, "%08x\n", view->personality);
}

void proc_print_wchan(FILE *f, const struct proc_view *view)
{
	(void)view;
	fputc('0', f);
}

/* --- maps --- */

static void name_vma(const struct guest_mm *gmm, const struct vellum_vma_info *info, char path[ABI_MAX_NAME],
		     struct vellum_vma_name *name)
{
	struct filemap *fm = info->mapping ? filemap_of_mapping(gmm->kernel->filemaps, info->mapping) : NULL;
	int id = fm ? -1 : shm_mapping_name(gmm->kernel, info->mapping, path);

	abi_mapping_name(gmm, info, path);
	*name = (struct vellum_vma_name){ .size = sizeof(*name), .name = path };
	if (fm) {
		name->dev_major = major(fm->dev);
		name->dev_minor = minor(fm->dev);
		name->inode = fm->ino;
	} else if (id >= 0) {
		name->dev_minor = SHM_DEV_MINOR;
		name->inode = (uint64_t)id;
	}
	filemap_put(fm);
}

static void print_vma(FILE *f, const struct guest_mm *gmm, const struct vellum_vma_info *info, bool smaps)
{
	struct vellum_vma_usage usage = { .size = sizeof(usage) };
	struct vellum_vma_info same = { .size = sizeof(same) };
	char text[MAX_VMA_TEXT], path[ABI_MAX_NAME];
	struct vellum_vma_name name;
	int n;

	name_vma(gmm, info, path, &name);
	if (smaps && vellum_vma_usage(gmm->mm, info->start, &same, &usage))
		return;
	n = smaps ? vellum_smaps_text(info, &usage, &name, text, sizeof(text)) :
		    vellum_maps_line(info, &name, text, sizeof(text));
	fwrite(text, 1, (size_t)n < sizeof(text) ? (size_t)n : sizeof(text) - 1, f);
}

static void print_vmas(FILE *f, const struct proc_view *view, bool smaps)
{
	struct vellum_vma_info info = { .size = sizeof(info) };

	if (!view->gmm)
		return;
	for (uint64_t at = 0; vellum_vma_next(view->gmm->mm, at, &info) == 0; at = info.end)
		print_vma(f, view->gmm, &info, smaps);
}

void proc_print_maps(FILE *f, const struct proc_view *view)
{
	print_vmas(f, view, false);
}

void proc_print_smaps(FILE *f, const struct proc_view *view)
{
	print_vmas(f, view, true);
}

struct rollup {
	struct vellum_vma_usage sum;
	uint64_t start, end;
	uint64_t pss_anon, pss_file, pss_shmem;
};

static void add_to_rollup(struct rollup *r, const struct guest_mm *gmm, const struct vellum_vma_info *info,
			  const struct vellum_vma_usage *u)
{
	struct vellum_vma_usage *sum = &r->sum;
	uint64_t *pss = !info->mapping || u->anonymous ? &r->pss_anon : abi_is_file(gmm, info) ? &r->pss_file :
										 &r->pss_shmem;

	r->end = info->end;
	*pss += u->pss;
	sum->rss += u->rss;
	sum->pss += u->pss;
	sum->pss_dirty += u->pss_dirty;
	sum->shared_clean += u->shared_clean;
	sum->shared_dirty += u->shared_dirty;
	sum->private_clean += u->private_clean;
	sum->private_dirty += u->private_dirty;
	sum->referenced += u->referenced;
	sum->anonymous += u->anonymous;
	sum->lazyfree += u->lazyfree;
	sum->anon_huge += u->anon_huge;
	sum->shmem_huge += u->shmem_huge;
	sum->swap += u->swap;
	sum->swap_pss += u->swap_pss;
	sum->locked += u->locked;
}

static void print_rollup(FILE *f, const struct rollup *r)
{
	const struct vellum_vma_usage *u = &r->sum;
	const struct {
		const char *name;
		uint64_t bytes;
	} lines[] = {
		{ "Rss:", u->rss }, { "Pss:", u->pss }, { "Pss_Dirty:", u->pss_dirty }, { "Pss_Anon:", r->pss_anon },
		{ "Pss_File:", r->pss_file }, { "Pss_Shmem:", r->pss_shmem }, { "Shared_Clean:", u->shared_clean },
		{ "Shared_Dirty:", u->shared_dirty }, { "Private_Clean:", u->private_clean },
		{ "Private_Dirty:", u->private_dirty }, { "Referenced:", u->referenced }, { "Anonymous:", u->anonymous },
		{ "KSM:", 0 }, { "LazyFree:", u->lazyfree }, { "AnonHugePages:", u->anon_huge },
		{ "ShmemPmdMapped:", u->shmem_huge }, { "FilePmdMapped:", 0 }, { "Shared_Hugetlb:", 0 },
		{ "Private_Hugetlb:", 0 }, { "Swap:", u->swap }, { "SwapPss:", u->swap_pss }, { "Locked:", u->locked },
	};

	fprintf(f, "%08llx-%08llx ---p 00000000 00:00 0                          [rollup]\n",
		(unsigned long long)r->start, (unsigned long long)r->end);
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
		fprintf(f, "%-16s%8llu kB\n", lines[i].name, (unsigned long long)lines[i].bytes / KIB);
}

void proc_print_smaps_rollup(FILE *f, const struct proc_view *view)
{
	struct vellum_vma_info info = { .size = sizeof(info) }, same = { .size = sizeof(same) };
	struct rollup r = { .start = UINT64_MAX };

	if (!view->gmm)
		return;
	for (uint64_t at = 0; vellum_vma_next(view->gmm->mm, at, &info) == 0; at = info.end) {
		struct vellum_vma_usage usage = { .size = sizeof(usage) };

		if (info.start < r.start)
			r.start = info.start;
		if (!vellum_vma_usage(view->gmm->mm, info.start, &same, &usage))
			add_to_rollup(&r, view->gmm, &info, &usage);
	}
	print_rollup(f, &r);
}

/* --- limits --- */

static void print_limit(FILE *f, rlim_t value)
{
	if (value == RLIM_INFINITY)
		fprintf(f, "%-20s ", "unlimited");
	else
		fprintf(f, "%-20llu ", (unsigned long long)value);
}

void proc_print_limits(FILE *f, const struct proc_view *view)
{
	static const struct {
		const char *name, *unit;
	} rows[RLIM_NLIMITS] = {
		[RLIMIT_CPU] = { "Max cpu time", "seconds" }, [RLIMIT_FSIZE] = { "Max file size", "bytes" },
		[RLIMIT_DATA] = { "Max data size", "bytes" }, [RLIMIT_STACK] = { "Max stack size", "bytes" },
		[RLIMIT_CORE] = { "Max core file size", "bytes" }, [RLIMIT_RSS] = { "Max resident set", "bytes" },
		[RLIMIT_NPROC] = { "Max processes", "processes" }, [RLIMIT_NOFILE] = { "Max open files", "files" },
		[RLIMIT_MEMLOCK] = { "Max locked memory", "bytes" }, [RLIMIT_AS] = { "Max address space", "bytes" },
		[RLIMIT_LOCKS] = { "Max file locks", "locks" }, [RLIMIT_SIGPENDING] = { "Max pending signals", "signals" },
		[RLIMIT_MSGQUEUE] = { "Max msgqueue size", "bytes" }, [RLIMIT_NICE] = { "Max nice priority", "" },
		[RLIMIT_RTPRIO] = { "Max realtime priority", "" }, [RLIMIT_RTTIME] = { "Max realtime timeout", "us" },
	};

	fprintf(f, "%-25s %-20s %-20s %-10s\n", "Limit", "Soft Limit", "Hard Limit", "Units");
	for (size_t i = 0; i < RLIM_NLIMITS; i++) {
		fprintf(f, "%-25s ", rows[i].name);
		print_limit(f, view->limits[i].rlim_cur);
		print_limit(f, view->limits[i].rlim_max);
		fprintf(f, rows[i].unit[0] ? "%-10s\n" : "\n", rows[i].unit);
	}
}

/* --- input and output --- */

void proc_print_io(FILE *f, const struct proc_view *view)
{
	const struct usage *u = &view->used;

	/* What the host's disks did is not known. */
	fprintf(f, "rchar: %llu\nwchar: %llu\nsyscr: %llu\nsyscw: %llu\nread_bytes: 0\nwrite_bytes: 0\n"
		"cancelled_write_bytes: 0\n", (unsigned long long)u->bytes_read, (unsigned long long)u->bytes_written,
		(unsigned long long)u->reads, (unsigned long long)u->writes);
}

/* The host's lines about the descriptor, with the flags that the program sees. Others could name PIDs of the host. */
void proc_print_fdinfo(FILE *f, const struct proc_view *view)
{
	enum { NR_OF_ALL = 3 };		/* the first ones are of every file */
	static const char *const copied[] = { "pos:", "mnt_id:", "ino:", "eventfd-count:", "clockid:", "ticks:",
					      "settime flags:", "it_value:", "it_interval:" };
	char name[64], line[256];
	unsigned flags;
	bool cloexec;
	struct file *file = proc_view_file(view, view->fd, &cloexec);
	FILE *host;

	if (!file)
		return;
	snprintf(name, sizeof(name), "/proc/self/fdinfo/%d", file->fd);
	host = fopen(name, "re");
	while (host && fgets(line, sizeof(line), host)) {
		if (sscanf(line, "flags:%o", &flags) == 1)
			fprintf(f, "flags:\t0%o\n", (file_shown_flags(file, flags) & ~(unsigned)O_CLOEXEC) | (cloexec ? O_CLOEXEC : 0));
		for (size_t i = 0; i < sizeof(copied) / sizeof(copied[0]); i++)
			if (!strncmp(line, copied[i], strlen(copied[i])) && !(file->uffd && i >= NR_OF_ALL))
				fputs(line, f);
	}
	if (file->uffd)
		uffd_print_fdinfo(f, file);
	if (host)
		fclose(host);
	file_put(file);
}

/* --- OOM scores --- */

void proc_print_oom_score_adj(FILE *f, const struct proc_view *view)
{
	fprintf(f, "%d\n", view->oom_score_adj);
}

void proc_print_oom_adj(FILE *f, const struct proc_view *view)
{
	int adj = view->oom_score_adj;

	fprintf(f, "%d\n", adj == MAX_OOM_SCORE_ADJ ? MAX_OOM_ADJ : adj * -OOM_DISABLE / MAX_OOM_SCORE_ADJ);
}

/* Two thirds of 1000 for a process that uses no memory, and of 2000 for one that uses all. */
void proc_print_oom_score(FILE *f, const struct proc_view *view)
{
	struct vellum_memory_info memory = { .size = sizeof(memory) };
	int64_t used = 0;

	vellum_memory_info(view->kernel->args->memory, &memory);
	if (view->gmm)
		used = (int64_t)((vellum_mm_rss(view->gmm->mm) + vellum_mm_swapped(view->gmm->mm)) * MAX_OOM_SCORE_ADJ /
				 memory.nr_frames);
	used += view->oom_score_adj + MAX_OOM_SCORE_ADJ;
	fprintf(f, "%lld\n", (long long)(!view->gmm || view->oom_score_adj == -MAX_OOM_SCORE_ADJ ? 0 : used * 2 / 3));
}

bool proc_parse_number(const char *text, int base, long *n)
{
	char *end;

	errno = 0;
	*n = strtol(text, &end, base);
	return end != text && !end[strspn(end, " \n\t")] && !errno;
}

/* 0 or a negative errno. @old: as oom_adj. */
static int store_adj(const struct proc_view *view, char *text, bool old)
{
	const bool privileged = has_capability(CAP_SYS_RESOURCE);
	struct process *p = view->process;
	long adj;
	int err = 0;

	if (!proc_parse_number(text, 0, &adj))
		return -EINVAL;
	if (old ? (adj < OOM_DISABLE || adj > MAX_OOM_ADJ) : labs(adj) > MAX_OOM_SCORE_ADJ)
		return -EINVAL;
	if (old)
		adj = adj == MAX_OOM_ADJ ? MAX_OOM_SCORE_ADJ : adj * MAX_OOM_SCORE_ADJ / -OOM_DISABLE;
	pthread_mutex_lock(&view->kernel->lock);
	if (adj < p->oom_score_adj_min && !privileged)
		err = -EACCES;
	else
		p->oom_score_adj = (int)adj;
	if (!err && privileged)
		p->oom_score_adj_min = (int)adj;
	pthread_mutex_unlock(&view->kernel->lock);
	return err;
}

int proc_store_oom_adj(struct task *writer, const struct proc_view *view, char *text)
{
	(void)writer;
	return store_adj(view, text, true);
}

int proc_store_oom_score_adj(struct task *writer, const struct proc_view *view, char *text)
{
	(void)writer;
	return store_adj(view, text, false);
}
