/* SPDX-License-Identifier: MIT */
/* abi/proc_status.c - stat, statm and status of a process; see proc.h. Source: proc_pid_stat(5), proc_pid_status(5). */
#define _GNU_SOURCE
#include <linux/capability.h>
#include <sched.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "abi/proc.h"

#define KIB 1024
#define FIRST_SESSION 1		/* of the first process: it has Vellum's terminal */
#define DEFAULT_PRIORITY 20	/* with nice value 0 */
#define FDS_OF_A_WORD 64

/* The memory of a process; zeros for a zombie. */
static void look_at_memory(const struct proc_view *view, struct proc_memory *m)
{
	memset(m, 0, sizeof(*m));
	if (view->gmm)
		proc_memory_sums(view->gmm, m);
}

/* --- stat --- */

/* The number of Vellum's terminal, and 0 if it has none. */
static int host_terminal(void)
{
	FILE *f = fopen("/proc/self/stat", "re");
	char line[1024];
	int tty = 0;
	const char *end;

	if (f && fgets(line, sizeof(line), f)) {
		end = strrchr(line, ')');
		if (!end || sscanf(end, ") %*c %*d %*d %*d %d", &tty) != 1)
			tty = 0;
	}
	if (f)
		fclose(f);
	return tty;
}

static int nice_value(const struct proc_view *view)
{
	/* The kernel's call returns 20 minus the nice value. */
	long n = view->host_tid ? syscall(SYS_getpriority, PRIO_PROCESS, view->host_tid) : DEFAULT_PRIORITY;

	return n < 0 ? 0 : DEFAULT_PRIORITY - (int)n;
}

static void print_numbers(FILE *f, const uint64_t *n, size_t nr)
{
	for (size_t i = 0; i < nr; i++)
		fprintf(f, " %llu", (unsigned long long)n[i]);
}

void proc_print_stat(FILE *f, const struct proc_view *view)
{
	const struct guest_mm *gmm = view->gmm;
	const uint32_t signals = 0x7fffffff;	/* those that are not real-time signals */
	int tty = view->sid == FIRST_SESSION ? host_terminal() : 0, nice = nice_value(view);
	struct proc_memory m;
	struct usage used = view->used;

	look_at_memory(view, &m);
	fprintf(f, "%d (%s) %c %d %d %d %d %d %u", view->tid, view->comm, view->state, view->ppid, view->pgid, view->sid,
		tty, tty ? view->pgid : -1, 0u);
	print_numbers(f, (const uint64_t[]){ used.faults, view->children.faults, 0, 0, usage_ticks(used.user_ns),
					     usage_ticks(used.system_ns), usage_ticks(view->children.user_ns),
					     usage_ticks(view->children.system_ns) }, 8);
	fprintf(f, " %d %d %u 0 %llu", view->policy.priority ? -1 - view->policy.priority : DEFAULT_PRIORITY + nice, nice, view->nr_threads,
		(unsigned long long)usage_ticks(view->start_ns));
	print_numbers(f, (const uint64_t[]){ m.size, m.rss / VELLUM_PAGE_SIZE, view->limits[RLIMIT_RSS].rlim_cur, 0, 0,
					     gmm ? gmm->start_sp : 0, 0, 0, (view->pending | view->shared_pending) & signals,
					     view->blocked & signals, view->ignored & signals, view->caught & signals,
					     0, 0, 0 }, 15);
	fprintf(f, " %d %d %d %d 0 0 0 0 0", view->exit_signal, view->cpu, view->policy.priority, view->policy.policy);
	print_numbers(f, (const uint64_t[]){ gmm ? gmm->brk_start : 0, gmm ? gmm->args_start : 0, gmm ? gmm->env_start : 0,
					     gmm ? gmm->env_start : 0, gmm ? gmm->env_end : 0 }, 5);
	fprintf(f, " %d\n", view->exit_status);
}

void proc_print_statm(FILE *f, const struct proc_view *view)
{
	const uint64_t page = VELLUM_PAGE_SIZE;
	struct proc_memory m;

	look_at_memory(view, &m);
	fprintf(f, "%llu %llu %llu %llu 0 %llu 0\n", (unsigned long long)(m.size / page),
		(unsigned long long)(m.rss / page), (unsigned long long)((m.file + m.shmem) / page),
		(unsigned long long)(m.exe / page), (unsigned long long)((m.data + m.stack) / page));
}

/* --- status --- */

static void print_kib(FILE *f, const char *name, uint64_t bytes)
{
	fprintf(f, "%s:\t%8llu kB\n", name, (unsigned long long)(bytes / KIB));
}

static void print_name(FILE *f, const char *name)
{
	fputs("Name:\t", f);
	for (; *name; name++) {
		if (*name == '\n' || *name == '\\')
			fputs(*name == '\n' ? "\\n" : "\\\\", f);
		else
			fputc(*name, f);
	}
	fputc('\n', f);
}

static const char *state_name(char state)
{
	switch (state) {
	case 'R': return "R (running)";
	case 'T': return "T (stopped)";
	case 'Z': return "Z (zombie)";
	default:  return "S (sleeping)";
	}
}

/* Credentials belong to the thread of the host: copy its lines from @first to @last. */
static void print_host_lines(FILE *f, const struct proc_view *view, const char *first, const char *last)
{
	char name[64], line[4096];
	bool in = false, end = false;
	FILE *host;

	if (view->host_tid)
		snprintf(name, sizeof(name), "/proc/self/task/%d/status", view->host_tid);
	else
		snprintf(name, sizeof(name), "/proc/self/status");
	host = fopen(name, "re");
	while (host && !end && fgets(line, sizeof(line), host)) {
		in = in || !strncmp(line, first, strlen(first));
		end = in && !strncmp(line, last, strlen(last));
		if (in)
			fputs(line, f);
	}
	if (host)
		fclose(host);
}

/* The size of the table, as Linux allocates it. */
static unsigned fd_table_size(const struct proc_view *view)
{
	unsigned highest = 0, size = FDS_OF_A_WORD;

	if (!view->files)
		return 0;
	pthread_mutex_lock(&view->files->lock);
	for (unsigned fd = 0; fd < MAX_FDS; fd++)
		if (view->files->fds[fd].file)
			highest = fd;
	pthread_mutex_unlock(&view->files->lock);
	while (size <= highest)
		size *= 2;
	return size;
}

static void print_ids(FILE *f, const struct proc_view *view)
{
	print_name(f, view->comm);
	if (view->fs)
		fprintf(f, "Umask:\t%04o\n", view->umask);
	fprintf(f, "State:\t%s\nTgid:\t%d\nNgid:\t0\nPid:\t%d\nPPid:\t%d\nTracerPid:\t0\n", state_name(view->state),
		view->pid, view->tid, view->ppid);
	print_host_lines(f, view, "Uid:", "Gid:");
	fprintf(f, "FDSize:\t%u\n", fd_table_size(view));
	print_host_lines(f, view, "Groups:", "Groups:");
	fprintf(f, "NStgid:\t%d\nNSpid:\t%d\nNSpgid:\t%d\nNSsid:\t%d\nKthread:\t0\n", view->pid, view->tid, view->pgid,
		view->sid);
}

static void print_sizes(FILE *f, const struct proc_view *view)
{
	struct proc_memory m;

	if (!view->gmm)
		return;
	look_at_memory(view, &m);
	print_kib(f, "VmPeak", m.size);		/* no greatest size is kept */
	print_kib(f, "VmSize", m.size);
	print_kib(f, "VmLck", m.locked);
	print_kib(f, "VmPin", 0);
	print_kib(f, "VmHWM", view->used.max_rss > m.rss ? view->used.max_rss : m.rss);
	print_kib(f, "VmRSS", m.rss);
	print_kib(f, "RssAnon", m.anon);
	print_kib(f, "RssFile", m.file);
	print_kib(f, "RssShmem", m.shmem);
	print_kib(f, "VmData", m.data);
	print_kib(f, "VmStk", m.stack);
	print_kib(f, "VmExe", m.exe);
	print_kib(f, "VmLib", m.lib);
	print_kib(f, "VmPTE", 0);		/* the core does not count tables */
	print_kib(f, "VmSwap", vellum_mm_swapped(view->gmm->mm) * VELLUM_PAGE_SIZE);
	print_kib(f, "HugetlbPages", 0);
	fputs("CoreDumping:\t0\nTHP_enabled:\t1\nuntag_mask:\t0xffffffffffffffff\n", f);
}

static void print_signals(FILE *f, const struct proc_view *view)
{
	const struct {
		const char *name;
		uint64_t set;
	} sets[] = {
		{ "SigPnd", view->pending }, { "ShdPnd", view->shared_pending }, { "SigBlk", view->blocked },
		{ "SigIgn", view->ignored }, { "SigCgt", view->caught },
	};

	fprintf(f, "Threads:\t%u\nSigQ:\t%u/%llu\n", view->nr_threads, view->nr_pending,
		(unsigned long long)view->limits[RLIMIT_SIGPENDING].rlim_cur);
	for (size_t i = 0; i < sizeof(sets) / sizeof(sets[0]); i++)
		fprintf(f, "%s:\t%016llx\n", sets[i].name, (unsigned long long)sets[i].set);
}

/* As ranges: "0-2,5". */
static void print_cpus(FILE *f, uint64_t cpus)
{
	const char *comma = "";

	fprintf(f, "Cpus_allowed:\t%llx\nCpus_allowed_list:\t", (unsigned long long)cpus);
	for (unsigned i = 0, end; i < VELLUM_MAX_CPUS; i = end + 1) {
		for (end = i; end < VELLUM_MAX_CPUS && (cpus >> end & 1); end++)
			;
		if (end == i)
			continue;
		fprintf(f, end - i > 1 ? "%s%u-%u" : "%s%u", comma, i, end - 1);
		comma = ",";
	}
	fputc('\n', f);
}

void proc_print_status(FILE *f, const struct proc_view *view)
{
	print_ids(f, view);
	print_sizes(f, view);
	print_signals(f, view);
	print_host_lines(f, view, "CapInh:", "NoNewPrivs:");
	fputs("Seccomp:\t0\nSeccomp_filters:\t0\n", f);
	print_host_lines(f, view, "Speculation_Store_Bypass:", "SpeculationIndirectBranch:");
	print_cpus(f, view->cpus);
	fputs("Mems_allowed:\t1\nMems_allowed_list:\t0\n", f);
	fprintf(f, "voluntary_ctxt_switches:\t%llu\nnonvoluntary_ctxt_switches:\t%llu\n",
		(unsigned long long)view->used.voluntary, (unsigned long long)view->used.involuntary);
}
