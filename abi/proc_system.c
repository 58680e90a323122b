/* SPDX-License-Identifier: MIT */
/* abi/proc_system.c - meminfo, stat, loadavg and the like, and sysinfo(2); see proc.h. Source: proc(5). */
#define _GNU_SOURCE
#include <string.h>
#include <sys/sysinfo.h>

#include "abi/filemap.h"
#include "abi/proc.h"
#include "vellum/swap.h"

#include "syscalls.h"	/* made from syscall.tbl */

#define KIB 1024
#define PAGE VELLUM_PAGE_SIZE
#define LOAD_PERIOD_NS (5 * NS_PER_SEC)
#define LOAD_SHIFT SI_LOAD_SHIFT

/* --- memory --- */

struct memory {			/* bytes */
	uint64_t total, free, cached, dirty, mapped;
	uint64_t swap_total, swap_free;
};

static void add_file(void *arg, const struct filemap *fm)
{
	struct vellum_mapping_info info = { .size = sizeof(info) };
	struct memory *m = arg;

	if (vellum_mapping_info(fm->mapping, &info))
		return;
	m->cached += info.nr_cached * PAGE;
	m->dirty += info.nr_dirty * PAGE;
	if (info.nr_mapped)
		m->mapped += info.nr_cached * PAGE;
}

static void look_at_memory(struct kernel *k, struct memory *m)
{
	struct vellum_memory_info memory = { .size = sizeof(memory) };
	struct vellum_swap_info swap = { .size = sizeof(swap) };

	memset(m, 0, sizeof(*m));
	filemaps_for_each(k->filemaps, add_file, m);
	vellum_memory_info(k->args->memory, &memory);
	vellum_swap_info(k->args->memory, &swap);
	m->total = memory.nr_frames * PAGE;
	m->free = memory.nr_free * PAGE;
	if (m->cached > m->total - m->free)	/* pages that were read meanwhile */
		m->cached = m->total - m->free;
	m->swap_total = swap.nr_slots * PAGE;
	m->swap_free = (swap.nr_slots - swap.nr_used) * PAGE;
}

/* Used frames without a page of a file are counted as anonymous: pages of programs, and the tables that map them. */
void proc_print_meminfo(FILE *f, const struct proc_view *view)
{
	struct memory m;
	uint64_t anon;

	look_at_memory(view->kernel, &m);
	anon = m.total - m.free - m.cached;
	const struct {
		const char *name;
		uint64_t bytes;
	} lines[] = {
		{ "MemTotal:", m.total }, { "MemFree:", m.free }, { "MemAvailable:", m.free + m.cached - m.dirty },
		{ "Buffers:", 0 }, { "Cached:", m.cached }, { "SwapCached:", 0 }, { "Active:", anon },
		{ "Inactive:", m.cached }, { "Active(anon):", anon }, { "Inactive(anon):", 0 }, { "Active(file):", 0 },
		{ "Inactive(file):", m.cached }, { "Unevictable:", 0 }, { "Mlocked:", 0 },
		{ "SwapTotal:", m.swap_total }, { "SwapFree:", m.swap_free }, { "Dirty:", m.dirty }, { "Writeback:", 0 },
		{ "AnonPages:", anon }, { "Mapped:", m.mapped }, { "Shmem:", 0 }, { "KReclaimable:", 0 },
		{ "Slab:", 0 }, { "SReclaimable:", 0 }, { "SUnreclaim:", 0 }, { "KernelStack:", 0 }, { "PageTables:", 0 },
		{ "NFS_Unstable:", 0 }, { "Bounce:", 0 }, { "WritebackTmp:", 0 },
		{ "CommitLimit:", m.total + m.swap_total }, { "Committed_AS:", anon + m.swap_total - m.swap_free },
		{ "VmallocTotal:", 0 }, { "VmallocUsed:", 0 }, { "VmallocChunk:", 0 }, { "Percpu:", 0 },
		{ "AnonHugePages:", 0 }, { "ShmemHugePages:", 0 }, { "ShmemPmdMapped:", 0 },
	};

	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
		fprintf(f, "%-16s%8llu kB\n", lines[i].name, (unsigned long long)(lines[i].bytes / KIB));
	fputs("HugePages_Total:       0\nHugePages_Free:        0\nHugePages_Rsvd:        0\nHugePages_Surp:        0\n"
	      "Hugepagesize:       2048 kB\nHugetlb:               0 kB\n", f);
}

/* All areas of the run are one. */
void proc_print_swaps(FILE *f, const struct proc_view *view)
{
	struct memory m;

	look_at_memory(view->kernel, &m);
	fputs("Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n", f);
	if (m.swap_total)
		fprintf(f, "%-40sfile\t\t%llu\t\t%llu\t\t-2\n", "swap", (unsigned long long)(m.swap_total / KIB),
			(unsigned long long)((m.swap_total - m.swap_free) / KIB));
}

int64_t sys_sysinfo(struct task *t, uint64_t info)
{
	struct kernel *k = t->kernel;
	struct sysinfo si;
	struct memory m;

	sysinfo(&si);			/* the uptime is the host's */
	look_at_memory(k, &m);
	si.mem_unit = 1;
	si.totalram = m.total;
	si.freeram = m.free;
	si.sharedram = si.bufferram = si.totalhigh = si.freehigh = 0;
	si.totalswap = m.swap_total;
	si.freeswap = m.swap_free;
	pthread_mutex_lock(&k->lock);
	si.procs = (unsigned short)(k->nr_tasks < UINT16_MAX ? k->nr_tasks : UINT16_MAX);
	for (unsigned i = 0; i < 3; i++)
		si.loads[i] = (unsigned long)(k->load[i] * (1 << LOAD_SHIFT));
	pthread_mutex_unlock(&k->lock);
	return user_write(t, info, &si, sizeof(si));
}

/* --- CPUs --- */

/* Times of a CPU since the host started, as the uptime counts. */
static void cpu_times(struct kernel *k, unsigned cpu, uint64_t *user, uint64_t *system, uint64_t *idle)
{
	uint64_t passed = clock_ns(CLOCK_BOOTTIME);

	usage_clock_read(&k->cpu_clocks[cpu], user, system);
	*idle = passed > *user + *system ? passed - *user - *system : 0;
}

static void print_cpu(FILE *f, const char *name, uint64_t user, uint64_t system, uint64_t idle)
{
	fprintf(f, "%s %llu 0 %llu %llu 0 0 0 0 0 0\n", name, (unsigned long long)usage_ticks(user),
		(unsigned long long)usage_ticks(system), (unsigned long long)usage_ticks(idle));
}

static void print_cpus(FILE *f, struct kernel *k)
{
	uint64_t user[VELLUM_MAX_CPUS], system[VELLUM_MAX_CPUS], idle[VELLUM_MAX_CPUS], sum[3] = { 0 };
	unsigned n = k->args->machine->nr_cpus;
	char name[16];

	for (unsigned i = 0; i < n; i++) {
		cpu_times(k, i, &user[i], &system[i], &idle[i]);
		sum[0] += user[i];
		sum[1] += system[i];
		sum[2] += idle[i];
	}
	print_cpu(f, "cpu ", sum[0], sum[1], sum[2]);
	for (unsigned i = 0; i < n; i++) {
		snprintf(name, sizeof(name), "cpu%u", i);
		print_cpu(f, name, user[i], system[i], idle[i]);
	}
}

/* kernel->lock held. */
static unsigned count_running(const struct kernel *k, unsigned *total)
{
	unsigned n = 0;

	*total = 0;
	for (const struct process *p = k->processes; p; p = p->next)
		for (const struct task *t = p->threads; t; t = t->next) {
			n += p->state == PROCESS_RUNNING && task_is_running(t);
			(*total)++;
		}
	return n;
}

/* As count_running(), with the thread that asks: it has released its CPU. */
static unsigned count_with_reader(const struct proc_view *view, unsigned *total)
{
	return count_running(view->kernel, total) + !task_is_running(view->reader);
}

void proc_print_system_stat(FILE *f, const struct proc_view *view)
{
	struct kernel *k = view->kernel;
	uint64_t boot = (clock_ns(CLOCK_REALTIME) - clock_ns(CLOCK_BOOTTIME)) / NS_PER_SEC, created;
	unsigned running, total;
	struct usage sum, one;

	print_cpus(f, k);
	pthread_mutex_lock(&k->lock);
	running = count_with_reader(view, &total);
	created = k->nr_created;
	sum = k->ended;
	for (const struct process *p = k->processes; p; p = p->next)
		if (p->state != PROCESS_ZOMBIE) {
			usage_of_process(p, &one);
			usage_add(&sum, &one);
		}
	pthread_mutex_unlock(&k->lock);
	fprintf(f, "intr 0\nctxt %llu\nbtime %llu\nprocesses %llu\nprocs_running %u\nprocs_blocked 0\n"
		"softirq 0 0 0 0 0 0 0 0 0 0 0\n", (unsigned long long)(sum.voluntary + sum.involuntary),
		(unsigned long long)boot, (unsigned long long)created, running);
}

void proc_print_uptime(FILE *f, const struct proc_view *view)
{
	uint64_t up = clock_ns(CLOCK_BOOTTIME), user, system, idle, sum = 0;
	const uint64_t hundredth = NS_PER_SEC / 100;

	for (unsigned i = 0; i < view->kernel->args->machine->nr_cpus; i++) {
		cpu_times(view->kernel, i, &user, &system, &idle);
		sum += idle;
	}
	fprintf(f, "%llu.%02u %llu.%02u\n", (unsigned long long)(up / NS_PER_SEC), (unsigned)(up % NS_PER_SEC / hundredth),
		(unsigned long long)(sum / NS_PER_SEC), (unsigned)(sum % NS_PER_SEC / hundredth));
}

/* --- load --- */

void proc_print_loadavg(FILE *f, const struct proc_view *view)
{
	struct kernel *k = view->kernel;
	unsigned running, total;

	pthread_mutex_lock(&k->lock);
	running = count_with_reader(view, &total);
	fprintf(f, "%.2f %.2f %.2f %u/%u %d\n", k->load[0], k->load[1], k->load[2], running, total, k->last_id);
	pthread_mutex_unlock(&k->lock);
}

/* The averages lose 1 - e^(-5/60), e^(-5/300) and e^(-5/900) in 5 seconds. */
void load_tick(struct kernel *k, uint64_t now)
{
	static const double kept[3] = { 0.920044, 0.983471, 0.994460 };
	unsigned total, running;

	if (now < k->next_load)
		return;
	k->next_load = now + LOAD_PERIOD_NS;
	running = count_running(k, &total);
	for (unsigned i = 0; i < 3; i++)
		k->load[i] = k->load[i] * kept[i] + running * (1 - kept[i]);
}
