/* SPDX-License-Identifier: MIT */
/*
 * tests/diff/agent.c - the host's side: processes (agents) that run operations, which they get by shared memory.
 *
 * Agents and their driver run on one CPU, so that a hand-over is a context switch, not the wake-up of another CPU.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/diff/reader.h"

enum { IDLE, RUN, LOOK, QUIT };

struct slot {
	uint32_t turn;		/* IDLE: the driver's turn; else the agent's, and what to do */
	pid_t pid;		/* 0: no process serves the slot */
	struct op op;
	struct result result;
	struct view view;
	struct {		/* contexts that the parent's fork made for this process */
		int fd;		/* descriptor in the parent; -1: none */
		uint64_t state;
	} context[NR_CONTEXTS];
	uint32_t offered;	/* 1: the parent filled context[]; 2: the child took them */
};

struct agent agent;
const uint32_t access_prot[3] = { VELLUM_PROT_READ | VELLUM_PROT_WRITE, VELLUM_PROT_READ, VELLUM_PROT_WRITE };
static struct slot *slots;
static pid_t driver;

static void must(bool ok, const char *what)
{
	if (!ok) {
		perror(what);
		_exit(3);
	}
}

/* --- handing over --- */

static void hand_over(uint32_t *word, uint32_t value)
{
	__atomic_store_n(word, value, __ATOMIC_SEQ_CST);
	syscall(SYS_futex, word, FUTEX_WAKE, 1, NULL, NULL, 0);
}

static void wait_while(uint32_t *word, uint32_t value)
{
	const struct timespec second = { .tv_sec = 1 };

	syscall(SYS_futex, word, FUTEX_WAIT, value, &second, NULL, 0);
}

/* --- accesses --- */

static sigjmp_buf out_of_access;
static volatile sig_atomic_t in_access;
static volatile int caught_sig, caught_code;

static void on_signal(int sig, siginfo_t *info, void *context)
{
	(void)context;
	if (!in_access)
		_exit(4);
	caught_sig = sig;
	caught_code = info->si_code;
	siglongjmp(out_of_access, 1);
}

void guarded(void (*fn)(uint64_t addr, uint64_t *val), uint64_t addr, uint64_t *val, struct result *r)
{
	in_access = 1;
	caught_sig = caught_code = 0;
	if (sigsetjmp(out_of_access, 0) == 0)
		fn(addr, val);
	in_access = 0;
	r->sig = caught_sig;
	r->code = caught_code;
}

static void catch_signals(void)
{
	struct sigaction action = { .sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_NODEFER };

	sigaction(SIGSEGV, &action, NULL);
	sigaction(SIGBUS, &action, NULL);
	sigaction(SIGILL, &action, NULL);
	signal(SIGCHLD, SIG_IGN);
}

/* --- views --- */

static uint64_t inode_of[NR_OBJECTS];

static uint64_t object_number(uint64_t inode, uint64_t *others, uint64_t *nr)
{
	uint64_t i;

	if (!inode)
		return 0;
	for (i = 0; i < NR_OBJECTS; i++)
		if (inode_of[i] == inode)
			return i + 1;
	for (i = 0; i < *nr && others[i] != inode; i++)
		;
	if (i == *nr)
		others[(*nr)++] = inode;
	return NR_OBJECTS + 1 + i;
}

/* Read the lines of maps, up to HIGH: the lowest addresses come first. Return: length. */
static size_t read_maps(char *buf, size_t size)
{
	size_t len = 0;
	ssize_t n;

	lseek(agent.maps, 0, SEEK_SET);
	while (len < size - 1 && (n = read(agent.maps, buf + len, size - 1 - len)) > 0) {
		const char *last;

		len += (size_t)n;
		buf[len - 1] = 0;
		last = strrchr(buf, '\n');
		buf[len - 1] = '\n';
		if (strtoull(last ? last + 1 : buf, NULL, 16) >= HIGH)
			break;
	}
	buf[len] = 0;
	return len;
}

static bool parse_line(char *line, struct sight *s, uint64_t *inode)
{
	char *at = line;

	*s = (struct sight){ .start = strtoull(at, &at, 16) };
	s->end = strtoull(at + 1, &at, 16);
	at++;
	s->prot = (at[0] == 'r' ? 1u : 0) | (at[1] == 'w' ? 2u : 0) | (at[2] == 'x' ? 4u : 0);
	s->shared = at[3] == 's';
	s->pgoff = strtoull(at + 4, &at, 16) / PAGE;
	strtoull(at, &at, 16);		/* device number, in two parts */
	strtoull(at + 1, &at, 16);
	*inode = strtoull(at, NULL, 10);
	return s->start >= LOW && s->start < HIGH;
}

static void look_at_page(uint64_t addr, uint64_t *val)
{
	*val = hash_bytes((const void *)(uintptr_t)addr, PAGE);
}

/* The part of a VMA whose pages are in a view. Return: its length in bytes. */
static uint64_t seen_part(const struct sight *s, uint64_t *start)
{
	const uint64_t last = FIRST + SEEN * PAGE;
	uint64_t end = s->end < last ? s->end : last;

	*start = s->start > FIRST ? s->start : FIRST;
	return end > *start ? end - *start : 0;
}

static void ask_mincore(const struct sight *s, struct view *view)
{
	uint64_t start, len = seen_part(s, &start);

	if (len)
		syscall(SYS_mincore, start, len, &view->core[(start - FIRST) / PAGE]);
}

static void read_pagemap(uint64_t *word)
{
	const off_t at = (off_t)(FIRST / PAGE * 8);

	must(pread(agent.pagemap, word, SEEN * 8, at) == SEEN * 8, "/proc/self/pagemap");
	for (unsigned i = 0; i < SEEN; i++)
		word[i] &= WORD_BITS;
}

static void look_at_pages(const struct sight *s, struct view *view)
{
	uint64_t start, len = seen_part(s, &start);

	for (uint64_t at = start; at < start + len; at += PAGE) {
		unsigned i = (unsigned)((at - FIRST) / PAGE);
		struct result r = { .sig = 0 };

		guarded(look_at_page, at, &view->look[i].hash, &r);
		view->look[i].sig = r.sig;
		view->look[i].code = r.code;
	}
}

static void take_view(bool look, struct view *view)
{
	static char text[1 << 16];
	uint64_t others[MAX_VMAS], nr_others = 0, inode;
	char *next;

	memset(view, 0, sizeof(*view));
	memset(view->core, 0xff, sizeof(view->core));
	view->looked = look;
	view->child = agent.slot != 0;
	read_maps(text, sizeof(text));
	for (char *line = text; *line; line = next) {
		struct sight s;

		next = strchr(line, '\n');
		next = next ? next + 1 : line + strlen(line);
		if (!parse_line(line, &s, &inode))
			continue;
		must(view->nr < MAX_VMAS, "too many mappings");
		s.object = object_number(inode, others, &nr_others);
		view->vma[view->nr++] = s;
	}
	for (unsigned i = 0; i < view->nr; i++)
		ask_mincore(&view->vma[i], view);
	read_pagemap(view->word);
	for (unsigned i = 0; look && i < view->nr; i++)
		look_at_pages(&view->vma[i], view);
	read_pagemap(view->left);
	reader_tell(agent.reader, view);
	for (unsigned i = 0; i < NR_OBJECTS; i++) {
		struct stat st;

		fstat(agent.fd[i][0], &st);
		view->object[i].size = (uint64_t)st.st_size;
		view->object[i].seals = i == FILE_OBJECT ? 0 : (uint64_t)fcntl(agent.fd[i][0], F_GET_SEALS) & 0x1f;
	}
}

/* --- serving --- */

static void map_anchors(void)
{
	for (unsigned i = 0; i < 2; i++) {
		volatile char *page = mmap((void *)(uintptr_t)ANCHOR(i), PAGE, PROT_READ | PROT_WRITE,
					   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);

		must(page != MAP_FAILED, "mmap");
		*page = 1;
	}
}

static void start_serving(unsigned slot)
{
	agent.slot = slot;
	agent.maps = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
	agent.pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	must(agent.maps >= 0 && agent.pagemap >= 0, "/proc/self/maps and pagemap");
}

void agent_exit(void)
{
	struct slot *s = &slots[agent.slot];

	reader_stop(agent.reader);
	/* Unmap before the driver continues, as exit takes an unknown time. */
	munmap((void *)(uintptr_t)LOW, HIGH - LOW);
	s->pid = 0;
	hand_over(&s->turn, IDLE);
	_exit(0);
}

static void serve(void)
{
	for (;;) {
		struct slot *s = &slots[agent.slot];
		uint32_t turn = __atomic_load_n(&s->turn, __ATOMIC_SEQ_CST);

		if (turn == IDLE) {
			wait_while(&s->turn, IDLE);
			if (__atomic_load_n(&s->turn, __ATOMIC_SEQ_CST) == IDLE && kill(driver, 0))
				_exit(5);
			continue;
		}
		if (turn == QUIT)
			agent_exit();
		if (turn == RUN) {
			memset(&s->result, 0, sizeof(s->result));
			reader_begin(agent.reader, &s->op);
			kind_at(s->op.kind)->run_host(&s->op, &s->result);
			if (s != &slots[agent.slot])	/* this is the child of a fork */
				continue;
		}
		take_view(s->op.look, &s->view);
		hand_over(&s->turn, IDLE);
	}
}

/* --- forks --- */

/* Take the contexts that the parent's reader got for this process. */
static void take_contexts(struct slot *s)
{
	int pidfd = (int)syscall(SYS_pidfd_open, getppid(), 0);

	while (__atomic_load_n(&s->offered, __ATOMIC_ACQUIRE) != 1)
		wait_while(&s->offered, 0);
	for (unsigned i = 0; i < NR_CONTEXTS; i++) {
		if (s->context[i].fd < 0)
			continue;
		int fd = (int)syscall(SYS_pidfd_getfd, pidfd, s->context[i].fd, 0);

		must(fd >= 0, "pidfd_getfd");
		reader_adopt(agent.reader, i, s->context[i].state, fd, NULL);
	}
	close(pidfd);
	hand_over(&s->offered, 2);
}

static void offer_contexts(struct slot *s)
{
	struct reader *r = agent.reader;

	reader_sync(r);
	for (unsigned i = 0; i < NR_CONTEXTS; i++) {
		s->context[i].fd = r->context[i].child_fd;
		s->context[i].state = r->context[i].state;
	}
	hand_over(&s->offered, 1);
	while (__atomic_load_n(&s->offered, __ATOMIC_ACQUIRE) != 2)
		wait_while(&s->offered, 1);
	for (unsigned i = 0; i < NR_CONTEXTS; i++) {
		if (r->context[i].child_fd >= 0)
			close(r->context[i].child_fd);
		r->context[i].child_fd = -1;
	}
}

/* Close the inherited descriptors of the parent's contexts, or the contexts would live on. */
static void forget_contexts(void)
{
	struct reader *r = agent.reader;

	for (unsigned i = 0; i < NR_CONTEXTS; i++)
		if (r->context[i].fd >= 0)
			close(r->context[i].fd);
	if (r->running)
		close(r->kick);
	reader_init(r, &host_side, NULL, 0);
}

int agent_fork(unsigned slot)
{
	pid_t pid;

	slots[slot].turn = IDLE;
	slots[slot].offered = 0;
	pid = fork();
	if (pid == 0) {
		forget_contexts();
		take_contexts(&slots[slot]);
		close(agent.maps);
		close(agent.pagemap);
		start_serving(slot);
		return 0;
	}
	if (pid < 0)
		return -errno;
	slots[slot].pid = pid;
	offer_contexts(&slots[slot]);
	return 0;
}

/* --- driving --- */

static bool wait_for(struct slot *s)
{
	unsigned seconds = 0;
	uint32_t turn;

	while ((turn = __atomic_load_n(&s->turn, __ATOMIC_SEQ_CST)) != IDLE) {
		struct timespec before, after;

		clock_gettime(CLOCK_MONOTONIC, &before);
		wait_while(&s->turn, turn);
		clock_gettime(CLOCK_MONOTONIC, &after);
		if (after.tv_sec > before.tv_sec && (kill(s->pid, 0) || ++seconds > 10))
			return false;
	}
	return true;
}

bool agent_run(const struct op *op, struct result *r, struct view *view)
{
	struct slot *s = &slots[op->proc];

	s->op = *op;
	hand_over(&s->turn, RUN);
	if (!wait_for(s))
		return false;
	*r = s->result;
	*view = s->view;
	return true;
}

bool agent_view(unsigned slot, bool look, struct view *view)
{
	struct slot *s = &slots[slot];

	s->op.look = look;
	hand_over(&s->turn, LOOK);
	if (!wait_for(s))
		return false;
	*view = s->view;
	return true;
}

static int scratch(void)
{
	int fd = memfd_create("scratch", MFD_CLOEXEC);

	must(fd >= 0 && ftruncate(fd, 64 * PAGE) == 0, "memfd_create");
	return fd;
}

static void fill_scratch(int fd)
{
	uint64_t words[PAGE / 8];

	for (unsigned page = 0; page < 64; page++) {
		for (unsigned i = 0; i < PAGE / 8; i++)
			words[i] = ((uint64_t)page << 32 | i << 8) | 0xc3;
		must(pwrite(fd, words, PAGE, (off_t)(page * PAGE)) == (ssize_t)PAGE, "scratch file");
	}
}

static int open_object(unsigned i)
{
	char path[] = "/var/tmp/vellum-diff-XXXXXX";
	int fd;

	if (i != FILE_OBJECT)
		return memfd_create("object", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	fd = mkostemp(path, O_CLOEXEC);
	unlink(path);
	return fd;
}

static void open_objects(void)
{
	static const int how[3] = { O_RDWR, O_RDONLY, O_WRONLY };
	char path[64];
	struct stat st;

	for (unsigned i = 0; i < NR_OBJECTS; i++) {
		int fd = open_object(i);

		must(fd >= 0 && ftruncate(fd, OBJECT_PAGES * PAGE) == 0 && fstat(fd, &st) == 0, "memfd_create");
		inode_of[i] = st.st_ino;
		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		for (unsigned a = 0; a < 3; a++) {
			agent.fd[i][a] = a ? open(path, how[a] | O_CLOEXEC) : fd;
			must(agent.fd[i][a] >= 0, path);
		}
	}
}

static void stay_on_this_cpu(void)
{
	cpu_set_t set;
	int cpu = sched_getcpu();

	CPU_ZERO(&set);
	if (cpu >= 0)
		CPU_SET((unsigned)cpu, &set);
	sched_setaffinity(0, sizeof(set), &set);
}

bool agents_may_lock_all(void)
{
	static int may = -1;

	if (may < 0) {
		may = mlockall(MCL_CURRENT) == 0;
		munlockall();
	}
	return may;
}

bool agents_open(void)
{
	pid_t pid;

	if (!slots) {
		slots = mmap(NULL, MAX_PROCS * sizeof(*slots), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
			     -1, 0);
		must(slots != MAP_FAILED, "mmap");
		driver = getpid();
		stay_on_this_cpu();
		agent.scratch_in = scratch();
		agent.scratch_out = scratch();
		fill_scratch(agent.scratch_in);
	}
	memset(slots, 0, MAX_PROCS * sizeof(*slots));
	open_objects();
	pid = fork();
	if (pid == 0) {
		static struct reader reader;

		catch_signals();
		agent.reader = &reader;
		reader_init(&reader, &host_side, NULL, 0);
		map_anchors();
		start_serving(0);
		serve();
	}
	slots[0].pid = pid;
	return pid > 0;
}

void agents_close(void)
{
	pid_t first = 0;

	for (unsigned i = MAX_PROCS; i-- > 0;) {
		struct slot *s = &slots[i];
		pid_t pid = s->pid;

		if (!pid)
			continue;
		first = pid;
		hand_over(&s->turn, QUIT);
		if (!wait_for(s))
			kill(pid, SIGKILL);
	}
	if (first)
		waitpid(first, NULL, 0);
	for (unsigned i = 0; i < NR_OBJECTS; i++)
		for (unsigned a = 0; a < 3; a++)
			close(agent.fd[i][a]);
}
