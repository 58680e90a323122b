/* SPDX-License-Identifier: MIT */
/*
 * abi/exec.c - execve(2): scripts, the new address space, the stack with the auxiliary vector (getauxval(3)). The files
 * themselves are abi/elf.c's.
 */
#define _GNU_SOURCE
#include <asm/hwcap2.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "abi/access.h"
#include "abi/elf.h"
#include "abi/path.h"
#include "abi/text.h"

#define PAGE		VELLUM_PAGE_SIZE
#define MAX_SCRIPTS	5		/* nested: interpreters that are scripts */
#define SCRIPT_HEAD	256		/* bytes of a script that Linux looks at */
#define STACK_TOP	0x7fffffff0000ull	/* the vDSO is above */
#define STACK_GAP	(1ull << 20)	/* bytes below the largest stack where mmap(2) chooses no address */
#define STACK_ROOM	(128ull << 10)	/* free bytes of the stack at the start; it grows */
#define MIN_MMAP_GAP	(128ull << 20)	/* mmap(2) chooses addresses that far below the top of the stack, or farther */
#define MAX_MMAP_GAP	(VELLUM_TASK_SIZE / 6 * 5)
#define HEAP_GAP	(64ull << 10)	/* keeps the heap and the program's data from being merged into one VMA */
#define MIN_ARG_BYTES	(128ull << 10)	/* bounds of a quarter of RLIMIT_STACK */
#define MAX_ARG_BYTES	(6ull << 20)

#define STATUS_NOT_RUNNABLE 126	/* exit statuses of a shell */
#define STATUS_NOT_FOUND    127
#define SIGFRAME_BYTES	1024		/* at most, of a signal frame without the FPU state */
#ifndef AT_MINSIGSTKSZ
#define AT_MINSIGSTKSZ	51		/* of <linux/auxvec.h>; <elf.h> of older C libraries lacks it */
#endif

/* --- scripts --- */

struct shebang {
	char interp[SCRIPT_HEAD], arg[SCRIPT_HEAD];
	bool has_arg;			/* @arg is one even if it is empty, behind a blank and before a NUL */
};

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

/*
 * Parse "#!interpreter [one argument]". 0; 1: the file is not a script; -ENOEXEC: it is one, but without an interpreter,
 * or the name may be cut off where Linux stops reading.
 */
static int read_shebang(int fd, struct shebang *sb)
{
	char head[SCRIPT_HEAD] = "";
	size_t at = 2, end, name;

	if (pread(fd, head, sizeof(head), 0) < 2 || head[0] != '#' || head[1] != '!')
		return 1;
	for (end = 0; end < sizeof(head) && head[end] != '\n'; end++)
		;
	while (at < sizeof(head) - 1 && is_blank(head[at]))
		at++;
	if (end == sizeof(head)) {	/* no end of line: the name must end all the same */
		for (name = at; name < sizeof(head) && head[name] && !is_blank(head[name]); name++)
			;
		if (name == sizeof(head))
			return -ENOEXEC;
		end--;
	}
	while (end > at && is_blank(head[end - 1]))
		end--;
	if (at >= end)
		return -ENOEXEC;
	for (name = at; at < end && head[at] && !is_blank(head[at]); at++)
		;
	snprintf(sb->interp, sizeof(sb->interp), "%.*s", (int)(at - name), &head[name]);
	sb->has_arg = is_blank(head[at]);
	while (at < end && is_blank(head[at]))
		at++;
	sb->has_arg = sb->has_arg && at < end;
	snprintf(sb->arg, sizeof(sb->arg), "%.*s", (int)(end - at), &head[at]);
	return 0;
}

/* --- check a program before anything is started --- */

static int open_on_host(void *arg, const char *path)
{
	int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);

	(void)arg;
	return fd < 0 ? -errno : fd;
}

static int fail_check(char *why, size_t size, const char *path, int err, const char *reason)
{
	snprintf(why, size, "%s: %s", path, reason);
	return err == -ENOENT ? STATUS_NOT_FOUND : STATUS_NOT_RUNNABLE;
}

int abi_check_program(const char *path, char *why, size_t why_size)
{
	char reason[ELF_WHY_BYTES] = "";
	struct elf_program program;
	struct shebang sb[2];
	int fd, err;

	for (int depth = 0;; depth++) {
		struct stat st;

		fd = open_on_host(NULL, path);
		if (fd < 0)
			return fail_check(why, why_size, path, fd, strerror(-fd));
		err = elf_is_executable(fd) ? read_shebang(fd, &sb[depth & 1]) : -EACCES;
		if (!err && depth < MAX_SCRIPTS) {
			close(fd);
			path = sb[depth & 1].interp;
			continue;
		}
		if (err == -EACCES)
			snprintf(reason, sizeof(reason), "%s", fstat(fd, &st) == 0 && S_ISDIR(st.st_mode) ?
				 "is a directory" : "permission denied: not an executable file; see chmod(1)");
		else if (err <= 0)
			snprintf(reason, sizeof(reason), "%s", err ? "script without an interpreter in its first line" :
				 "scripts nested too deep");
		if (reason[0]) {
			close(fd);
			return fail_check(why, why_size, path, -EACCES, reason);
		}
		break;
	}
	err = elf_open(&program, fd, open_on_host, NULL, reason);
	elf_close(&program);
	return err ? fail_check(why, why_size, path, err, reason) : 0;
}

/* --- the stack, from the top down, as Linux has it: path, envp, argv, platform, random bytes; then the words --- */

struct stack {
	struct guest_mm *gmm;
	uint64_t sp;
	uint64_t *words;	/* argc, argv, envp and auxv, for below the strings */
	size_t nr, max;
	int err;
};

static uint64_t push_bytes(struct stack *s, const void *bytes, size_t len)
{
	s->sp -= len;
	if (!s->err && vellum_copy_to_user(s->gmm->mm, s->sp, bytes, len, NULL))
		s->err = -ENOMEM;
	return s->sp;
}

static void append_word(struct stack *s, uint64_t value)
{
	if (s->nr < s->max)
		s->words[s->nr++] = value;
	else
		s->err = -E2BIG;
}

static size_t count_strings(char *const *strings)
{
	size_t n = 0;

	while (strings[n])
		n++;
	return n;
}

static uint64_t string_bytes(char *const *strings)
{
	uint64_t n = 0;

	for (size_t i = 0; strings[i]; i++)
		n += strlen(strings[i]) + 1;
	return n;
}

/* The pointers go to the words. The strings are at @at, one behind the other in their order: programs rely on that. */
static void put_strings(struct stack *s, uint64_t at, char *const *strings)
{
	for (size_t i = 0; strings[i]; i++) {
		size_t len = strlen(strings[i]) + 1;

		append_word(s, at);
		if (!s->err && vellum_copy_to_user(s->gmm->mm, at, strings[i], len, NULL))
			s->err = -ENOMEM;
		at += len;
	}
	append_word(s, 0);
}

static void push_auxv(struct stack *s, const struct elf_program *program, uint64_t random, uint64_t execfn,
		      uint64_t platform, const struct machine *machine)
{
	const uint64_t aux[][2] = {
		{ s->gmm->vdso ? AT_SYSINFO_EHDR : AT_IGNORE, s->gmm->vdso },
		{ AT_MINSIGSTKSZ, SIGFRAME_BYTES + machine->fpu_size }, { AT_HWCAP, machine->cpu_features },
		{ AT_PAGESZ, PAGE }, { AT_CLKTCK, USER_HZ }, { AT_PHDR, program->phdr_addr },
		{ AT_PHENT, sizeof(Elf64_Phdr) }, { AT_PHNUM, program->exe.eh.e_phnum }, { AT_BASE, program->interp_base },
		{ AT_FLAGS, 0 }, { AT_ENTRY, program->entry }, { AT_UID, getuid() }, { AT_EUID, geteuid() },
		{ AT_GID, getgid() }, { AT_EGID, getegid() }, { AT_SECURE, 0 }, { AT_RANDOM, random },
		{ AT_HWCAP2, HWCAP2_FSGSBASE }, { AT_EXECFN, execfn }, { AT_PLATFORM, platform }, { AT_NULL, 0 },
	};

	for (size_t i = 0; i < sizeof(aux) / sizeof(aux[0]); i++) {
		append_word(s, aux[i][0]);
		append_word(s, aux[i][1]);
	}
	_Static_assert(sizeof(aux) <= sizeof(s->gmm->auxv), "auxv is too small");
	memcpy(s->gmm->auxv, aux, sizeof(aux));
	s->gmm->auxv_bytes = sizeof(aux);
}

static int build_stack(struct task *t, struct guest_mm *gmm, const struct elf_program *program, const char *path,
		       char *const *argv, char *const *envp, uint64_t *sp)
{
	struct stack s = { .gmm = gmm, .sp = STACK_TOP - 8 };
	uint64_t random, execfn, platform, env_at, args_at, top;
	unsigned char bytes[16];

	s.max = count_strings(argv) + count_strings(envp) + 64;
	s.words = calloc(s.max, sizeof(*s.words));
	if (!s.words)
		return -ENOMEM;
	if (getrandom(bytes, sizeof(bytes), 0) != sizeof(bytes))
		memset(bytes, 0x5a, sizeof(bytes));
	execfn = push_bytes(&s, path, strlen(path) + 1);
	env_at = execfn - string_bytes(envp);
	args_at = env_at - string_bytes(argv);
	gmm->args_start = args_at;
	gmm->env_start = env_at;
	gmm->env_end = execfn;
	s.sp = args_at & ~15ull;
	platform = push_bytes(&s, "x86_64", 7);
	random = push_bytes(&s, bytes, sizeof(bytes));
	append_word(&s, count_strings(argv));
	put_strings(&s, args_at, argv);
	put_strings(&s, env_at, envp);
	push_auxv(&s, program, random, execfn, platform, t->kernel->args->machine);
	top = (s.sp & ~15ull) - ((s.nr * 8 + 15) & ~15ull);
	s.sp = top + s.nr * 8;
	push_bytes(&s, s.words, s.nr * 8);
	free(s.words);
	gmm->start_sp = top;
	*sp = top;
	return s.err;
}

/* The stack may grow to the RLIMIT_STACK that the process has at that time. */
static int map_stack(struct task *t, struct guest_mm *gmm, uint64_t args, bool executable)
{
	struct vellum_map_args map = { .size = sizeof(map),
				       .prot = VELLUM_PROT_READ | VELLUM_PROT_WRITE |
					       (executable ? VELLUM_PROT_EXEC : 0),
				       .flags = VELLUM_MAP_PRIVATE | VELLUM_MAP_ANONYMOUS | VELLUM_MAP_FIXED |
						VELLUM_MAP_GROWSDOWN };
	uint64_t at;
	uint64_t limit = rlimit_of(t, RLIMIT_STACK), gap = MAX_MMAP_GAP;
	uint64_t size = (args + STACK_ROOM + PAGE - 1) & ~(uint64_t)(PAGE - 1);

	if (limit < MAX_MMAP_GAP - STACK_GAP)
		gap = limit + STACK_GAP > MIN_MMAP_GAP ? limit + STACK_GAP : MIN_MMAP_GAP;
	if (size > limit)
		size = limit & ~(uint64_t)(PAGE - 1);
	vellum_set_mmap_top(gmm->mm, (STACK_TOP - gap) & ~(uint64_t)(PAGE - 1));
	gmm->stack_start = STACK_TOP - size;
	gmm->stack_end = STACK_TOP;
	if (!size)
		return -ENOMEM;
	map.addr = gmm->stack_start;
	map.len = size;
	return vellum_mmap(gmm->mm, &map, &at);
}

/* What the new program gets besides its address space. */
struct start {
	const char *path;		/* as execve(2) got it */
	const char *exe;		/* the path of the ELF file that runs */
	char *const *argv, *const *envp;
	uint64_t pointers;		/* to the strings that execve(2) got: what scripts add has none, as in Linux */
	uint64_t sp;
	bool broken;			/* a segment cannot be mapped: Linux starts such a program, and ends it at once */
};

/* What execve(2) counts: the path, the strings, with their ends, and the pointers. */
static uint64_t arg_bytes(const struct start *st)
{
	return strlen(st->path) + 1 + string_bytes(st->argv) + string_bytes(st->envp) + 8 * st->pointers;
}

/* Map stack, program, heap and vDSO into a new address space. */
static int build_image(struct task *t, struct guest_mm *gmm, struct elf_program *program, struct start *st)
{
	int err = map_stack(t, gmm, arg_bytes(st), program->exec_stack);

	if (err)
		return err;
	st->broken = elf_load(t, gmm, program) != 0;
	gmm->brk_start = program->brk + HEAP_GAP;
	vellum_set_brk(gmm->mm, gmm->brk_start);
	gmm->vdso = vdso_map(t, gmm);
	return build_stack(t, gmm, program, st->path, st->argv, st->envp, &st->sp);
}

/* Replace the program of @t. execve(2) cannot fail from here on. */
static void commit_exec(struct task *t, struct guest_mm *gmm, const struct elf_program *program,
			const struct start *st)
{
	struct guest_mm *old = t->gmm;
	const char *slash = strrchr(st->path, '/');

	if (old) {
		futex_leave(t);
		credentials_exec(t, gmm);
	}
	cpu_release(t);			/* through the gate of the old address space */
	if (old)
		task_end_in_memory(t);
	pthread_mutex_lock(&t->kernel->lock);
	t->gmm = gmm;
	snprintf(t->comm, sizeof(t->comm), "%s", slash ? slash + 1 : st->path);
	pthread_mutex_unlock(&t->kernel->lock);
	if (old) {
		gmm_put(t, old);
		task_wake_vfork_parent(t);
	}
	pool_drop_task(t->kernel->pool, t);
	t->last_cpu = -1;
	fds_close_on_exec(t);
	signal_reset_for_exec(t);
	t->clear_child_tid = t->robust_list = 0;
	__atomic_store_n(&t->left_locks, false, __ATOMIC_SEQ_CST);
	memset(t->process->unsupported, 0, sizeof(t->process->unsupported));
	vcpu_state_init(&t->st, program->start, st->sp);
	t->load = VCPU_LOAD_FPU | VCPU_LOAD_SEGMENTS;
	if (st->broken)
		signal_fault(t, SIGSEGV, SI_KERNEL, 0);
}

/* Keep the first bytes of the arguments for reports. */
static void note_args(struct guest_mm *gmm, char *const *argv)
{
	size_t used = 0;

	for (size_t i = 0; argv[i] && used < sizeof(gmm->args) - 2; i++) {
		size_t room = sizeof(gmm->args) - 1 - used, len = strlen(argv[i]);

		snprintf(gmm->args + used, room, "%s", argv[i][0] ? argv[i] : "''");
		used += len < room ? (argv[i][0] ? len : 2) + 1 : room;
	}
}

static int load_image(struct task *t, struct elf_program *program, struct start *st)
{
	const struct abi_observer *ob = t->kernel->args->observer;
	struct guest_mm *gmm = gmm_create(t);
	int err;

	if (!gmm)
		return -ENOMEM;
	snprintf(gmm->exe, sizeof(gmm->exe), "%s", st->exe);
	note_args(gmm, st->argv);
	if (ob && ob->mm_new && ob->mm_new(ob->arg, gmm))
		err = -ENOMEM;
	else
		err = build_image(t, gmm, program, st);
	if (err) {
		gmm->loaded = false;
		gmm_put(t, gmm);
		return err;
	}
	if (!process_become_single(t)) {	/* the process ends meanwhile */
		gmm_put(t, gmm);
		return -EINTR;
	}
	err = sharing_unshare(t, CLONE_FILES | CLONE_SIGHAND);
	if (err) {
		gmm_put(t, gmm);
		return err;
	}
	gmm->loaded = true;
	if (ob && ob->mm_start)
		ob->mm_start(ob->arg, gmm);
	commit_exec(t, gmm, program, st);
	return 0;
}

static void free_argv(char **argv)
{
	for (size_t i = 0; argv && argv[i]; i++)
		free(argv[i]);
	free(argv);
}

/* Make argv for the interpreter of a script: interpreter, its argument, the script, the script's arguments. */
static char **script_argv(const struct shebang *sb, const char *script, char *const *argv)
{
	size_t n = count_strings(argv), at = 0;
	const char **from = calloc(n + 4, sizeof(*from));
	char **out = calloc(n + 4, sizeof(*out));

	if (from && out) {
		from[at++] = sb->interp;
		if (sb->has_arg)
			from[at++] = sb->arg;
		from[at++] = script;
		for (size_t i = 1; i < n; i++)
			from[at++] = argv[i];
		for (size_t i = 0; i < at; i++) {
			out[i] = strdup(from[i]);
			if (!out[i]) {
				free_argv(out);
				out = NULL;
				break;
			}
		}
	}
	free(from);
	return out;
}

static int open_program(void *task, const char *path)
{
	return path_open(task, AT_FDCWD, path, O_RDONLY | O_NONBLOCK, 0);
}

int exec_open(struct task *t, const char *path)
{
	int fd = path[0] ? open_program(t, path) : -ENOENT;

	if (fd < 0 || elf_is_executable(fd))
		return fd;
	close(fd);
	return -EACCES;
}

/* Load the program from @fd, and close @fd. @name: of the file, for messages. */
static int load_file(struct task *t, int fd, const char *name, struct start *st)
{
	char why[ELF_WHY_BYTES] = "", text[PRINTABLE_BYTES(sizeof(why))], fd_name[FD_NAME_BYTES];
	char exe[sizeof(((struct guest_mm *)0)->exe)];
	struct elf_program program;
	ssize_t n;
	int err;

	n = readlink(path_fd_name(fd, fd_name), exe, sizeof(exe) - 1);
	exe[n > 0 ? n : 0] = 0;
	st->exe = exe;
	err = elf_open(&program, fd, open_program, t, why);
	if (err == -EOPNOTSUPP)		/* Linux would run it */
		fprintf(stderr, "vellum: %s: %s\n", printable(name, text, sizeof(text)), why);
	if (!err)
		err = load_image(t, &program, st);
	elf_close(&program);
	return err;
}

uint64_t max_arg_bytes(const struct task *t)
{
	uint64_t max = rlimit_of(t, RLIMIT_STACK) / 4;

	return max < MIN_ARG_BYTES ? MIN_ARG_BYTES : max < MAX_ARG_BYTES ? max : MAX_ARG_BYTES;
}

static bool args_fit(const struct task *t, const struct start *st)
{
	return arg_bytes(st) <= max_arg_bytes(t);
}

/*
 * Follow the interpreters of scripts from @fd on, and close it. st->argv becomes the last argv: *@script, to be freed,
 * unless it is NULL. @name: of the program. The descriptor of the program, or -errno.
 */
static int open_past_scripts(struct task *t, int fd, struct start *st, char name[PATH_BYTES], char ***script)
{
	struct shebang sb;

	snprintf(name, PATH_BYTES, "%s", st->path);
	for (int depth = 0;; depth++) {
		int err = depth > MAX_SCRIPTS ? -ELOOP : args_fit(t, st) ? read_shebang(fd, &sb) : -E2BIG;
		char **next;

		if (err > 0)
			return fd;
		close(fd);
		if (err)
			return err;
		next = script_argv(&sb, name, st->argv);
		free_argv(*script);
		*script = next;
		if (!next)
			return -ENOMEM;
		st->argv = next;
		if (!args_fit(t, st))
			return -E2BIG;
		fd = sb.interp[0] ? exec_open(t, sb.interp) : -EACCES;	/* an empty path is the working directory */
		if (fd < 0)
			return fd;
		snprintf(name, PATH_BYTES, "%s", sb.interp);
	}
}

int exec_load(struct task *t, int fd, const char *path, char *const *argv, char *const *envp)
{
	static char *const no_arguments[] = { (char *)"", NULL };
	char name[PATH_BYTES], **script = NULL;
	struct start st = { .path = path, .argv = argv[0] ? argv : no_arguments, .envp = envp };
	int err;

	st.pointers = count_strings(st.argv) + count_strings(envp);
	fd = open_past_scripts(t, fd, &st, name, &script);
	err = fd < 0 ? fd : load_file(t, fd, name, &st);
	free_argv(script);
	return err;
}
