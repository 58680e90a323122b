/* SPDX-License-Identifier: MIT */
/*
 * abi/exec.c - load a static ELF program: segments, stack, auxiliary vector (elf(5), getauxval(3), execve(2)). The file
 * may be hostile: every number in it is checked before use.
 */
#define _GNU_SOURCE
#include <asm/hwcap2.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "abi/filemap.h"
#include "abi/path.h"
#include "abi/text.h"
#include "vellum/backing.h"

#define PAGE		VELLUM_PAGE_SIZE
#define MAX_PHDRS	64
#define MAX_SCRIPTS	4		/* nested: interpreters that are scripts */
#define STACK_TOP	0x7fffffff0000ull	/* the vDSO is above */
#define STACK_GAP	(1ull << 20)	/* bytes below the largest stack where mmap(2) chooses no address */
#define STACK_ROOM	(128ull << 10)	/* free bytes of the stack at the start; it grows */
#define MIN_MMAP_GAP	(128ull << 20)	/* mmap(2) chooses addresses that far below the top of the stack, or farther */
#define MAX_MMAP_GAP	(VELLUM_TASK_SIZE / 6 * 5)
#define HEAP_GAP	(64ull << 10)
#define MIN_ARG_BYTES	(128ull << 10)	/* bounds of a quarter of RLIMIT_STACK */
#define MAX_ARG_BYTES	(6ull << 20)
#define PIE_BASE	0x555555554000ull

#define STATUS_NOT_RUNNABLE 126	/* exit statuses of a shell */
#define STATUS_NOT_FOUND    127
#define SIGFRAME_BYTES	1024		/* at most, of a signal frame without the FPU state */
#ifndef AT_MINSIGSTKSZ
#define AT_MINSIGSTKSZ	51		/* of <linux/auxvec.h>; <elf.h> of older C libraries lacks it */
#endif

struct image {
	int fd;
	Elf64_Ehdr eh;
	Elf64_Phdr ph[MAX_PHDRS];
	uint64_t bias;			/* added to the file's addresses */
	uint64_t entry, phdr_addr, brk;
};

/* --- check that a file can be run --- */

static int reject(char *why, size_t size, const char *path, const char *what)
{
	snprintf(why, size, "%s: %s", path, what);
	return STATUS_NOT_RUNNABLE;
}

static bool read_at(int fd, void *buf, size_t len, uint64_t offset)
{
	return pread(fd, buf, len, (off_t)offset) == (ssize_t)len;
}

static int check_header(const struct image *im, ssize_t have, char *why, size_t size, const char *path)
{
	const Elf64_Ehdr *eh = &im->eh;

	if (have < SELFMAG || memcmp(eh->e_ident, ELFMAG, SELFMAG))
		return reject(why, size, path, "not a program: neither an ELF file nor a script with #!");
	if (have < EI_NIDENT || (eh->e_ident[EI_CLASS] == ELFCLASS64 && have < (ssize_t)sizeof(*eh)))
		return reject(why, size, path, "truncated ELF file; copy or build it again");
	if (eh->e_ident[EI_CLASS] == ELFCLASS32)
		return reject(why, size, path, "32-bit program, which is not supported; build it for 64 bits");
	if (eh->e_ident[EI_CLASS] != ELFCLASS64 || eh->e_ident[EI_DATA] != ELFDATA2LSB ||
	    eh->e_machine != EM_X86_64)
		return reject(why, size, path, "program for another machine; build it for x86-64");
	if (eh->e_type != ET_EXEC && eh->e_type != ET_DYN)
		return reject(why, size, path, "ELF file, but not a program; link it");
	if (eh->e_phentsize != sizeof(Elf64_Phdr) || eh->e_phnum == 0 || eh->e_phnum > MAX_PHDRS)
		return reject(why, size, path, "ELF file with bad program headers; copy or build it again");
	return 0;
}

/* The segment must lie within user addresses and its bytes within the file; no sum may wrap around. */
static bool is_valid_segment(const Elf64_Phdr *ph, uint64_t file_size)
{
	if (ph->p_filesz > ph->p_memsz || ph->p_memsz >= VELLUM_TASK_SIZE ||
	    ph->p_vaddr >= VELLUM_TASK_SIZE - ph->p_memsz)
		return false;
	if (ph->p_offset > file_size || ph->p_filesz > file_size - ph->p_offset)
		return false;
	return ph->p_offset % PAGE == ph->p_vaddr % PAGE;
}

static int check_segments(const struct image *im, char *why, size_t size, const char *path)
{
	struct stat st;
	bool any = false;

	if (fstat(im->fd, &st))
		return reject(why, size, path, strerror(errno));
	for (unsigned i = 0; i < im->eh.e_phnum; i++) {
		if (im->ph[i].p_type == PT_INTERP)
			return reject(why, size, path, "dynamic program, which is not supported; link it with -static");
		if (im->ph[i].p_type != PT_LOAD)
			continue;
		if (!is_valid_segment(&im->ph[i], (uint64_t)st.st_size))
			return reject(why, size, path, "truncated or malformed ELF file; copy or build it again");
		any = true;
	}
	return any ? 0 : reject(why, size, path, "ELF file without loadable segments; link it again");
}

/* A regular file, with the right to execute it. */
static bool is_executable(int fd)
{
	char name[FD_NAME_BYTES];
	struct stat st;

	return fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && access(path_fd_name(fd, name), X_OK) == 0;
}

/* Read and check the headers of the open file @im->fd. 0, or STATUS_NOT_RUNNABLE with the reason in @why. */
static int read_image(struct image *im, const char *path, char *why, size_t size)
{
	struct stat st;
	ssize_t have;
	int status;

	if (!is_executable(im->fd))
		return reject(why, size, path,
			      fstat(im->fd, &st) == 0 && S_ISDIR(st.st_mode) ? "is a directory" :
			      "permission denied: not an executable file; see chmod(1)");
	have = pread(im->fd, &im->eh, sizeof(im->eh), 0);
	status = check_header(im, have, why, size, path);
	if (!status && !read_at(im->fd, im->ph, im->eh.e_phnum * sizeof(im->ph[0]), im->eh.e_phoff))
		status = reject(why, size, path, "truncated ELF file; copy or build it again");
	return status ? status : check_segments(im, why, size, path);
}

/* Parse "#!interpreter [one argument]". False: the file is not a script. */
static bool read_shebang(int fd, char interp[256], char arg[256])
{
	char line[256];
	ssize_t n = is_executable(fd) ? pread(fd, line, sizeof(line) - 1, 0) : -1;
	char *at, *end;

	if (n < 3 || line[0] != '#' || line[1] != '!')
		return false;
	line[n] = 0;
	line[strcspn(line, "\n")] = 0;
	at = line + 2 + strspn(line + 2, " \t");
	end = at + strcspn(at, " \t");
	snprintf(interp, 256, "%.*s", (int)(end - at), at);
	end += strspn(end, " \t");
	snprintf(arg, 256, "%s", end);
	for (size_t len = strlen(arg); len && strchr(" \t\r", arg[len - 1]); len--)
		arg[len - 1] = 0;
	return interp[0] != 0;
}

int abi_check_program(const char *path, char *why, size_t why_size)
{
	char interp[256], arg[256];
	struct image im;
	int status;

	memset(&im, 0, sizeof(im));
	for (int depth = 0;; depth++) {
		im.fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
		if (im.fd < 0) {
			status = errno == ENOENT ? STATUS_NOT_FOUND : STATUS_NOT_RUNNABLE;
			snprintf(why, why_size, "%s: %s", path, strerror(errno));
			return status;
		}
		if (depth == MAX_SCRIPTS || !read_shebang(im.fd, interp, arg))
			break;
		close(im.fd);
		path = interp;
	}
	status = read_image(&im, path, why, why_size);
	close(im.fd);
	return status;
}

/* --- loading --- */

static uint32_t segment_prot(const Elf64_Phdr *ph)
{
	return (ph->p_flags & PF_R ? VELLUM_PROT_READ : 0) | (ph->p_flags & PF_W ? VELLUM_PROT_WRITE : 0) |
	       (ph->p_flags & PF_X ? VELLUM_PROT_EXEC : 0);
}

static int map_range(struct guest_mm *gmm, uint64_t addr, uint64_t len, uint32_t prot,
		     struct vellum_mapping *mapping, uint64_t pgoff, uint32_t flags)
{
	struct vellum_map_args args = { .size = sizeof(args),
					.addr = addr,
					.len = len,
					.prot = prot,
					.flags = flags | VELLUM_MAP_PRIVATE | VELLUM_MAP_FIXED |
						 (mapping ? 0 : VELLUM_MAP_ANONYMOUS),
					.mapping = mapping,
					.pgoff = pgoff,
					.file_prot = VELLUM_PROT_READ };
	uint64_t at;

	return vellum_mmap(gmm->mm, &args, &at);
}

/* The last page of a segment's file bytes also contains bytes of the file that are not the segment's. Clear them. */
static int clear_tail(struct guest_mm *gmm, uint64_t from, uint64_t to, uint32_t prot)
{
	static const char zeros[PAGE];
	uint64_t page = from & ~(uint64_t)(PAGE - 1);
	int err = 0;

	if (from == to || !(prot & VELLUM_PROT_WRITE))
		return 0;
	err = vellum_copy_to_user(gmm->mm, from, zeros, to - from < page + PAGE - from ? to - from :
				  page + PAGE - from, NULL);
	return err;
}

static int load_segment(struct guest_mm *gmm, const struct image *im, const Elf64_Phdr *ph,
			struct vellum_mapping *mapping)
{
	uint64_t start = (ph->p_vaddr + im->bias) & ~(uint64_t)(PAGE - 1);
	uint64_t file_end = ph->p_vaddr + im->bias + ph->p_filesz;
	uint64_t mem_end = ph->p_vaddr + im->bias + ph->p_memsz;
	uint64_t file_top = (file_end + PAGE - 1) & ~(uint64_t)(PAGE - 1);
	uint64_t mem_top = (mem_end + PAGE - 1) & ~(uint64_t)(PAGE - 1);
	int err = 0;

	if (ph->p_filesz)
		err = map_range(gmm, start, file_top - start, segment_prot(ph), mapping, ph->p_offset / PAGE, 0);
	else
		file_top = start;
	if (!err && mem_top > file_top)
		err = map_range(gmm, file_top, mem_top - file_top, segment_prot(ph), NULL, 0, 0);
	if (!err && ph->p_filesz && mem_end > file_end)
		err = clear_tail(gmm, file_end, mem_end, segment_prot(ph));
	return err;
}

static int load_segments(struct task *t, struct guest_mm *gmm, struct image *im)
{
	struct vellum_mapping *mapping = NULL;
	int err = filemap_get(t->kernel, im->fd, false, &mapping);

	im->bias = im->eh.e_type == ET_DYN ? PIE_BASE : 0;
	im->entry = im->eh.e_entry + im->bias;
	for (unsigned i = 0; i < im->eh.e_phnum && !err; i++) {
		const Elf64_Phdr *ph = &im->ph[i];
		uint64_t end = ph->p_vaddr + im->bias + ph->p_memsz;

		if (ph->p_type != PT_LOAD || !ph->p_memsz)
			continue;
		err = load_segment(gmm, im, ph, mapping);
		if (end > im->brk)
			im->brk = end;
		if (im->eh.e_phoff - ph->p_offset < ph->p_filesz && im->eh.e_phoff >= ph->p_offset)
			im->phdr_addr = ph->p_vaddr + im->bias + (im->eh.e_phoff - ph->p_offset);
	}
	vellum_mapping_put(mapping);
	return err;
}

/* --- the stack, from the top down: strings, auxv, envp, argv, argc --- */

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

static void push_strings(struct stack *s, char *const *strings)
{
	for (size_t i = 0; strings[i]; i++)
		append_word(s, push_bytes(s, strings[i], strlen(strings[i]) + 1));
	append_word(s, 0);
}

static size_t count_strings(char *const *strings)
{
	size_t n = 0;

	while (strings[n])
		n++;
	return n;
}

static void push_auxv(struct stack *s, const struct image *im, uint64_t random, uint64_t execfn,
		      uint64_t platform, uint32_t fpu_size)
{
	const uint64_t aux[][2] = {
		{ AT_PHDR, im->phdr_addr }, { AT_PHENT, sizeof(Elf64_Phdr) }, { AT_PHNUM, im->eh.e_phnum },
		{ AT_PAGESZ, PAGE }, { AT_BASE, 0 }, { AT_FLAGS, 0 }, { AT_ENTRY, im->entry },
		{ AT_UID, getuid() }, { AT_EUID, geteuid() }, { AT_GID, getgid() }, { AT_EGID, getegid() },
		{ AT_SECURE, 0 }, { AT_CLKTCK, USER_HZ }, { AT_HWCAP2, HWCAP2_FSGSBASE },
		{ AT_RANDOM, random }, { AT_EXECFN, execfn }, { AT_PLATFORM, platform },
		{ AT_MINSIGSTKSZ, SIGFRAME_BYTES + fpu_size },
		{ s->gmm->vdso ? AT_SYSINFO_EHDR : AT_IGNORE, s->gmm->vdso }, { AT_NULL, 0 },
	};

	for (size_t i = 0; i < sizeof(aux) / sizeof(aux[0]); i++) {
		append_word(s, aux[i][0]);
		append_word(s, aux[i][1]);
	}
}

static int build_stack(struct task *t, struct guest_mm *gmm, const struct image *im, const char *path,
		       char *const *argv, char *const *envp, uint64_t *sp)
{
	struct stack s = { .gmm = gmm, .sp = STACK_TOP - 16 };
	uint64_t random, execfn, platform, top;
	unsigned char bytes[16];

	s.max = count_strings(argv) + count_strings(envp) + 64;
	s.words = calloc(s.max, sizeof(*s.words));
	if (!s.words)
		return -ENOMEM;
	if (getrandom(bytes, sizeof(bytes), 0) != sizeof(bytes))
		memset(bytes, 0x5a, sizeof(bytes));
	random = push_bytes(&s, bytes, sizeof(bytes));
	execfn = push_bytes(&s, path, strlen(path) + 1);
	platform = push_bytes(&s, "x86_64", 7);
	append_word(&s, count_strings(argv));
	push_strings(&s, argv);
	push_strings(&s, envp);
	push_auxv(&s, im, random, execfn, platform, t->kernel->args->machine->fpu_size);
	top = (s.sp & ~15ull) - ((s.nr * 8 + 15) & ~15ull);
	s.sp = top + s.nr * 8;
	push_bytes(&s, s.words, s.nr * 8);
	free(s.words);
	*sp = top;
	return s.err;
}

static uint64_t arg_bytes(char *const *argv, char *const *envp)
{
	uint64_t n = 0;

	for (size_t i = 0; argv[i]; i++)
		n += strlen(argv[i]) + ARG_OVERHEAD;
	for (size_t i = 0; envp[i]; i++)
		n += strlen(envp[i]) + ARG_OVERHEAD;
	return n;
}

/* The stack may grow to the RLIMIT_STACK that the process has at that time. */
static int map_stack(struct task *t, struct guest_mm *gmm, uint64_t args)
{
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
	return map_range(gmm, gmm->stack_start, size, VELLUM_PROT_READ | VELLUM_PROT_WRITE, NULL, 0,
			 VELLUM_MAP_GROWSDOWN);
}

/* Map the program, heap, stack and vDSO into a new address space. */
static int build_image(struct task *t, struct guest_mm *gmm, struct image *im, const char *path,
		       char *const *argv, char *const *envp, uint64_t *sp)
{
	int err = load_segments(t, gmm, im);

	if (err)
		return err;
	/* A gap keeps the heap and the program's data from being merged into one VMA. */
	gmm->brk_start = ((im->brk + PAGE - 1) & ~(uint64_t)(PAGE - 1)) + HEAP_GAP;
	vellum_set_brk(gmm->mm, gmm->brk_start);
	err = map_stack(t, gmm, arg_bytes(argv, envp));
	if (err)
		return err;
	gmm->vdso = vdso_map(t, gmm);
	return build_stack(t, gmm, im, path, argv, envp, sp);
}

/* Replace the program of @t. execve(2) cannot fail from here on. */
static void commit_exec(struct task *t, struct guest_mm *gmm, const struct image *im, const char *path,
			uint64_t sp)
{
	struct guest_mm *old = t->gmm;
	const char *slash = strrchr(path, '/');

	t->gmm = gmm;
	if (old) {
		cpu_release(t);
		gmm_put(t, old);
		task_wake_vfork_parent(t);
	}
	pool_drop_task(t->kernel->pool, t);
	t->last_cpu = -1;
	fds_close_on_exec(t);
	signal_reset_for_exec(t);
	t->clear_child_tid = 0;
	snprintf(t->comm, sizeof(t->comm), "%s", slash ? slash + 1 : path);
	vcpu_state_init(&t->st, im->entry, sp);
	t->load = VCPU_LOAD_FPU | VCPU_LOAD_SEGMENTS;
}

static int load_image(struct task *t, struct image *im, const char *path, const char *exe,
		      char *const *argv, char *const *envp)
{
	const struct abi_observer *ob = t->kernel->args->observer;
	struct guest_mm *gmm = gmm_create(t);
	uint64_t sp;
	int err;

	if (!gmm)
		return -ENOMEM;
	snprintf(gmm->exe, sizeof(gmm->exe), "%s", exe);
	if (ob && ob->mm_new && ob->mm_new(ob->arg, gmm))
		err = -ENOMEM;
	else
		err = build_image(t, gmm, im, path, argv, envp, &sp);
	if (err) {
		gmm->loaded = false;
		gmm_put(t, gmm);
		return err;
	}
	gmm->loaded = true;
	if (ob && ob->mm_start)
		ob->mm_start(ob->arg, gmm);
	commit_exec(t, gmm, im, path, sp);
	return 0;
}

static void free_argv(char **argv)
{
	for (size_t i = 0; argv && argv[i]; i++)
		free(argv[i]);
	free(argv);
}

/* Make argv for the interpreter of a script: interpreter, its argument, the script, the script's arguments. */
static char **script_argv(const char *interp, const char *arg, const char *script, char *const *argv)
{
	size_t n = count_strings(argv), at = 0;
	const char **from = calloc(n + 4, sizeof(*from));
	char **out = calloc(n + 4, sizeof(*out));

	if (from && out) {
		from[at++] = interp;
		if (arg[0])
			from[at++] = arg;
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

static int open_program(struct task *t, const char *path)
{
	return path_open(t, AT_FDCWD, path, O_RDONLY | O_NONBLOCK, 0);
}

/* Load the program from @fd, and close @fd. */
static int load_file(struct task *t, int fd, const char *path, char *const *argv, char *const *envp)
{
	char why[512], text[PRINTABLE_BYTES(sizeof(why))], name[FD_NAME_BYTES];
	struct image im;
	ssize_t n;
	int err;

	memset(&im, 0, sizeof(im));
	im.fd = fd;
	if (!is_executable(fd)) {
		err = -EACCES;
	} else if (read_image(&im, path, why, sizeof(why))) {
		/* The caller of execve(2) learns only ENOEXEC. */
		fprintf(stderr, "vellum: %s\n", printable(why, text, sizeof(text)));
		err = -ENOEXEC;
	} else {
		char exe[sizeof(((struct guest_mm *)0)->exe)];

		n = readlink(path_fd_name(fd, name), exe, sizeof(exe) - 1);
		exe[n > 0 ? n : 0] = 0;
		err = load_image(t, &im, path, exe, argv, envp);
	}
	close(fd);
	return err;
}

uint64_t max_arg_bytes(const struct task *t)
{
	uint64_t max = rlimit_of(t, RLIMIT_STACK) / 4;

	return max < MIN_ARG_BYTES ? MIN_ARG_BYTES : max < MAX_ARG_BYTES ? max : MAX_ARG_BYTES;
}

/* The file may be a script, and its interpreter again. */
int exec_load(struct task *t, const char *path, char *const *argv, char *const *envp)
{
	char interp[256], arg[256], script[PATH_BYTES];
	char **vector = NULL;
	int err = 0, fd = -1;

	if (arg_bytes(argv, envp) > max_arg_bytes(t))
		return -E2BIG;
	snprintf(script, sizeof(script), "%s", path);
	for (int depth = 0;; depth++) {
		fd = open_program(t, script);
		if (fd < 0 || !read_shebang(fd, interp, arg))
			break;
		close(fd);
		fd = -1;
		char **next = script_argv(interp, arg, script, vector ? vector : argv);

		free_argv(vector);
		vector = next;
		if (!vector || depth == MAX_SCRIPTS) {
			err = vector ? -ELOOP : -ENOMEM;
			break;
		}
		snprintf(script, sizeof(script), "%s", interp);
	}
	if (!err)
		err = fd < 0 ? fd : load_file(t, fd, script, vector ? vector : argv, envp);
	free_argv(vector);
	return err;
}
