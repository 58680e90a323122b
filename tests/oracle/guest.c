/* SPDX-License-Identifier: MIT */
/*
 * tests/oracle/guest.c - Linux as a world: the first program of a kernel in QEMU. It loads the modules
 * that /modules lists, runs /scenarios, writes the results to a virtio-serial port, and switches the machine off.
 *
 * Each process of a scenario waits for operations on a pipe. All are children of the first process
 * (CLONE_PARENT), so that it can wait until a process has ended. They access the region only in operations.
 */
#define _GNU_SOURCE
#include "world.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define NR_OBJECTS (sizeof(OBJECTS) - 1)
#define AT(page) ((void *)page_at(page))

/* Descriptors of the object that the helpers walk, and of its twin, read-write and read-only. */
static struct {
	int main, twin, twin_ro;
} objects[NR_OBJECTS];
static int requests[NR_PROCS][2], replies[2], bytes[2];
static pid_t pids[NR_PROCS];

struct reply {
	struct answer answer;
	pid_t child;		/* of a fork */
};

static void die(const char *what)
{
	fprintf(stderr, "oracle: %s: %s\n", what, strerror(errno));
	sync();
	reboot(RB_POWER_OFF);
}

static int checked(int result, const char *what)
{
	if (result < 0)
		die(what);
	return result;
}

/* --- in a process of the scenario --- */

static sigjmp_buf after_signal;

static void on_signal(int sig, siginfo_t *info, void *context)
{
	(void)context;
	siglongjmp(after_signal, sig << 8 | info->si_code);
}

static const char *signal_name(int what)
{
	if (what >> 8 == SIGBUS)
		return "SIGBUS";
	return (what & 255) == SEGV_MAPERR ? "SIGSEGV MAPERR" : "SIGSEGV ACCERR";
}

static void access_page(const struct op *op, struct answer *a)
{
	volatile uint64_t *at = AT(op->arg[0]);
	int what = sigsetjmp(after_signal, 1);

	if (what) {
		a->type = ANSWER_SIGNAL;
		a->signal = signal_name(what);
	} else if (op->kind == OP_STORE) {
		*at = op->arg[1];
	} else {
		a->type = ANSWER_VALUE;
		a->value = *at;
	}
}

static void set_code(struct answer *a, int64_t result)
{
	a->code = result < 0 ? -errno : 0;
}

/* Read and write a pipe: these system calls only copy. */
static void copy_by_kernel(const struct op *op, struct answer *a)
{
	uint64_t word = op->arg[1];

	if (op->kind == OP_PUT) {
		checked((int)write(bytes[1], &word, sizeof(word)), "pipe");
		set_code(a, read(bytes[0], AT(op->arg[0]), sizeof(word)));
		if (a->code)
			checked((int)read(bytes[0], &word, sizeof(word)), "pipe");
		return;
	}
	set_code(a, write(bytes[1], AT(op->arg[0]), sizeof(word)));
	if (a->code)
		return;
	checked((int)read(bytes[0], &word, sizeof(word)), "pipe");
	a->type = ANSWER_VALUE;
	a->value = word;
}

static int prot_of(uint64_t rights)
{
	return (rights & PROT_R ? PROT_READ : 0) | (rights & PROT_W ? PROT_WRITE : 0) |
	       (rights & PROT_X ? PROT_EXEC : 0);
}

static unsigned object_index(uint64_t letter)
{
	return (unsigned)(strchr(OBJECTS, (int)letter) - OBJECTS);
}

/* VMAs that the helpers must skip are mapped through the twin: differences.c, "walk-ends". */
static int descriptor(const struct op *op)
{
	unsigned i = object_index(op->arg[0]);

	if (op->kind == OP_MAPRO)
		return objects[i].twin_ro;
	return op->arg[1] ? objects[i].main : objects[i].twin;
}

static void map_object(const struct op *op, struct answer *a)
{
	const void *at = mmap(AT(op->arg[3]), range_len(op->arg[3], op->arg[4]), prot_of(op->arg[2]),
			      MAP_FIXED | (op->arg[1] ? MAP_SHARED : MAP_PRIVATE), descriptor(op),
			      (off_t)(op->arg[5] * PAGE));

	set_code(a, at == MAP_FAILED ? -1 : 0);
}

static void map_anon(const struct op *op, struct answer *a)
{
	const void *at = mmap(AT(op->arg[2]), range_len(op->arg[2], op->arg[3]), prot_of(op->arg[1]),
			      MAP_FIXED | MAP_ANONYMOUS | (op->arg[0] ? MAP_SHARED : MAP_PRIVATE), -1, 0);

	set_code(a, at == MAP_FAILED ? -1 : 0);
}

static void remap(const struct op *op, struct answer *a)
{
	int flags = op->kind == OP_MOVE ? MREMAP_MAYMOVE | MREMAP_FIXED : 0;
	uint64_t new_len = range_len(op->arg[op->kind == OP_MOVE ? 3 : 0], op->arg[2]);
	const void *at = mremap(AT(op->arg[0]), range_len(op->arg[0], op->arg[1]), new_len, flags,
				AT(op->arg[3]));

	set_code(a, at == MAP_FAILED ? -1 : 0);
}

static void serve(int me) __attribute__((noreturn));

static void fork_to(int child, struct reply *r)
{
	r->child = (pid_t)syscall(SYS_clone, CLONE_PARENT | SIGCHLD, NULL, NULL, NULL, NULL);
	if (r->child == 0)
		serve(child);
	set_code(&r->answer, r->child);
}

static void pin(const struct op *op, struct answer *a)
{
	struct oracle_pin p = { .slot = (uint32_t)op->arg[0],
				.addr = page_at(op->arg[1]),
				.nr = (uint32_t)op->arg[2],
				.flags = (uint32_t)op->arg[3] };
	int nr = ioctl(objects[0].main, ORACLE_PIN, &p);

	a->code = nr < 0 ? -errno : nr;
}

static void do_op(const struct op *op, struct reply *r)
{
	const uint64_t *arg = op->arg;
	struct answer *a = &r->answer;

	switch (op->kind) {
	case OP_MAP:
	case OP_MAPRO:
		map_object(op, a);
		break;
	case OP_ANON:
		map_anon(op, a);
		break;
	case OP_LOAD:
	case OP_STORE:
		access_page(op, a);
		break;
	case OP_GET:
	case OP_PUT:
		copy_by_kernel(op, a);
		break;
	case OP_FORK:
		fork_to((int)arg[0], r);
		break;
	case OP_PROTECT:
		set_code(a, mprotect(AT(arg[0]), range_len(arg[0], arg[1]), prot_of(arg[2])));
		break;
	case OP_UNMAP:
		set_code(a, munmap(AT(arg[0]), range_len(arg[0], arg[1])));
		break;
	case OP_MOVE:
	case OP_RESIZE:
		remap(op, a);
		break;
	case OP_DROP:
		set_code(a, madvise(AT(arg[0]), range_len(arg[0], arg[1]), MADV_DONTNEED));
		break;
	case OP_POPULATE:
		set_code(a, madvise(AT(arg[0]), range_len(arg[0], arg[1]), arg[2] & PROT_W ? 23 : 22));
		break;
	case OP_PIN:
		pin(op, a);
		break;
	default:
		a->code = -ENOSYS;
	}
}

static void serve(int me)
{
	struct op op;

	while (read(requests[me][0], &op, sizeof(op)) == sizeof(op)) {
		struct reply r;

		if (op.kind == OP_EXIT)
			break;
		memset(&r, 0, sizeof(r));
		do_op(&op, &r);
		if (write(replies[1], &r, sizeof(r)) != sizeof(r))
			break;
	}
	_exit(0);
}

/* --- in the first process --- */

void world_begin(void)
{
	unsigned f = object_index('F');
	char path[32];

	checked(ioctl(objects[0].main, ORACLE_RESET), "reset");
	objects[f].main = objects[f].twin = checked(memfd_create("F", 0), "memfd");
	checked(ftruncate(objects[f].main, ORACLE_PAGES * PAGE), "ftruncate");
	snprintf(path, sizeof(path), "/proc/self/fd/%d", objects[f].main);
	objects[f].twin_ro = checked(open(path, O_RDONLY), path);
	pids[0] = checked(fork(), "fork");
	if (pids[0] == 0)
		serve(0);
}

static void end_process(int proc)
{
	struct op op = { .kind = OP_EXIT };

	checked((int)write(requests[proc][1], &op, sizeof(op)), "request");
	checked(waitpid(pids[proc], NULL, 0), "waitpid");
	pids[proc] = 0;
}

void world_end(void)
{
	unsigned f = object_index('F');

	for (int p = 0; p < NR_PROCS; p++)
		if (pids[p])
			end_process(p);
	close(objects[f].main);
	close(objects[f].twin_ro);
}

static void call_helper(const struct op *op, struct answer *a)
{
	static const unsigned long request[NR_OP_KINDS] = {
		[OP_WP] = ORACLE_WP,
		[OP_CLEAN] = ORACLE_CLEAN,
		[OP_ZAP] = ORACLE_ZAP,
	};
	unsigned i = object_index(op->arg[0]);
	struct oracle_walk w = { .first = op->arg[1], .nr = op->arg[2], .start = 64 };

	checked(ioctl(objects[i].main, request[op->kind], &w), "helper");
	a->type = op->kind == OP_ZAP ? ANSWER_CODE : ANSWER_WALK;
	a->walk = w;
	if (op->kind == OP_ZAP)
		checked(ioctl(objects[i].twin, ORACLE_ZAP, &w), "zap");
}

static void do_outside(const struct op *op, struct answer *a)
{
	struct oracle_pin p = { .slot = (uint32_t)op->arg[0] };
	int result;

	switch (op->kind) {
	case OP_REFUSE:
		checked(ioctl(objects[object_index(op->arg[0])].main, ORACLE_REFUSE, op->arg[1]), "refuse");
		break;
	case OP_GRAIN:
		checked(ioctl(objects[object_index(op->arg[0])].main, ORACLE_GRAIN, op->arg[1]), "grain");
		break;
	case OP_UNPIN:
		p.dirty = op->arg[1] != 0;
		a->code = checked(ioctl(objects[0].main, ORACLE_UNPIN, &p), "unpin");
		break;
	case OP_POKE:
		p.index = (uint32_t)op->arg[1];
		p.word = op->arg[2];
		result = ioctl(objects[0].main, ORACLE_POKE, &p);
		a->code = result < 0 ? -errno : 0;
		break;
	default:
		call_helper(op, a);
	}
}

void world_do(const struct op *op, struct answer *a)
{
	struct reply r;

	if (op->proc == NOBODY) {
		do_outside(op, a);
		return;
	}
	if (op->kind == OP_EXIT) {
		end_process(op->proc);
		return;
	}
	checked((int)write(requests[op->proc][1], op, sizeof(*op)), "request");
	checked(read(replies[0], &r, sizeof(r)) == sizeof(r) ? 0 : -1, "reply");
	if (op->kind == OP_FORK && r.child > 0)
		pids[op->arg[0]] = r.child;
	*a = r.answer;
}

bool world_alive(int proc)
{
	return pids[proc] != 0;
}

void world_entries(int proc, struct oracle_entry entry[NR_PAGES])
{
	uint64_t at[NR_PAGES];
	struct oracle_entries req = { .pid = (uint32_t)pids[proc], .nr = NR_PAGES, .at = (uintptr_t)at,
				      .out = (uintptr_t)entry };

	for (unsigned i = 0; i < NR_PAGES; i++)
		at[i] = page_at(i);
	checked(ioctl(objects[0].main, ORACLE_GET_ENTRIES, &req), "entries");
}

unsigned world_vmas(int proc, struct oracle_vma vma[], unsigned max)
{
	struct oracle_vmas req = { .pid = (uint32_t)pids[proc], .nr = max, .start = REGION,
				   .end = REGION_END, .out = (uintptr_t)vma };

	checked(ioctl(objects[0].main, ORACLE_GET_VMAS, &req), "mappings");
	return req.nr;
}

unsigned world_mkwrites(char letter)
{
	unsigned i = object_index((unsigned char)letter);

	return letter == 'F' ? 0 : (unsigned)checked(ioctl(objects[i].main, ORACLE_MKWRITES), "mkwrites");
}

unsigned world_pins(unsigned slot, struct oracle_entry page[ORACLE_MAX_PIN])
{
	struct oracle_pin p = { .slot = slot, .out = (uintptr_t)page };

	checked(ioctl(objects[0].main, ORACLE_GET_PINS, &p), "pins");
	return p.nr;
}

/* --- the machine --- */

static void load_modules(void)
{
	char path[256];
	FILE *list = fopen("/modules", "r");

	if (!list)
		die("/modules");
	while (fgets(path, sizeof(path), list)) {
		int fd;

		path[strcspn(path, "\n")] = 0;
		fd = checked(open(path, O_RDONLY | O_CLOEXEC), path);
		checked((int)syscall(SYS_finit_module, fd, "", 0), path);
		close(fd);
	}
	fclose(list);
}

static void open_objects(void)
{
	char path[32];

	for (unsigned i = 0; OBJECTS[i] != 'F'; i++) {
		snprintf(path, sizeof(path), "/dev/oracle%c", OBJECTS[i]);
		objects[i].main = checked(open(path, O_RDWR), path);
		snprintf(path, sizeof(path), "/dev/oracle%c-twin", OBJECTS[i]);
		objects[i].twin = checked(open(path, O_RDWR), path);
		objects[i].twin_ro = checked(open(path, O_RDONLY), path);
	}
}

static FILE *open_port(void)
{
	glob_t found;
	FILE *out;

	if (glob("/dev/vport*", 0, NULL, &found))
		die("/dev/vport*");
	out = fopen(found.gl_pathv[0], "w");
	if (!out)
		die(found.gl_pathv[0]);
	setvbuf(out, NULL, _IOFBF, 1 << 16);
	return out;
}

/* Open everything; children inherit it. */
static void set_up(void)
{
	struct sigaction sa = { .sa_sigaction = on_signal, .sa_flags = SA_SIGINFO };

	checked(mount("dev", "/dev", "devtmpfs", 0, NULL), "/dev");
	checked(mount("proc", "/proc", "proc", 0, NULL), "/proc");
	load_modules();
	open_objects();
	for (int p = 0; p < NR_PROCS; p++)
		checked(pipe(requests[p]), "pipe");
	checked(pipe(replies), "pipe");
	checked(pipe(bytes), "pipe");
	sigaction(SIGSEGV, &sa, NULL);
	sigaction(SIGBUS, &sa, NULL);
}

int main(void)
{
	FILE *in, *out;

	set_up();
	in = fopen("/scenarios", "r");
	out = open_port();
	if (!in || drive(in, out) || fclose(out))
		die("scenarios");
	reboot(RB_POWER_OFF);
	return 1;
}
