/* SPDX-License-Identifier: MIT */
/*
 * tests/fuzz/elf.c - executes programs that are valid, odd or broken: headers, program headers, sizes and addresses
 * that overlap, overflow or exceed the file, interpreters, scripts, noise. Each program is written to a file, and a
 * child executes it with odd arguments. See fuzz.h for the arguments of the fuzzer; run.sh starts it.
 *
 * A program that works adds up the bytes of its segments and exits with the sum. Any exit, signal or error of execve(2)
 * is allowed here; only run.sh reports findings. The files depend only on seed and group. With "v", each case's result is
 * printed, so that elf_native.sh can compare it with the host's kernel's.
 */
#include "fuzz.h"

#define MAX_FILE	(6 * PAGE)
#define MAX_PHDRS	6
#define RUN_MS		400
#define MAX_SUMMED	(4 * PAGE)	/* a larger segment is not added up */
#define CODE_BYTES	512

enum { RAN_WELL = 1, KILLED, REFUSED };

struct elf_header {
	u8 ident[16];
	u16 type, machine;
	u32 version;
	u64 entry, phoff, shoff;
	u32 flags;
	u16 ehsize, phentsize, phnum, shentsize, shnum, shstrndx;
};

struct program_header {
	u32 type, flags;
	u64 offset, vaddr, paddr, filesz, memsz, align;
};

static u8 file[MAX_FILE + 4096] __attribute__((aligned(16)));
static u64 file_len;
static long empty_word;

static u8 code[CODE_BYTES];
static u64 code_len;

/* --- values --- */

static u64 odd_size(void)
{
	static const u64 sizes[] = { 0, 1, 8, 0x100, 0xfff, 0x1000, 0x1001, 0x2000, 0x5000, 1 << 20, 2 << 20, 1 << 30,
				     1ul << 40, 1ul << 46, 1ul << 47, (1ul << 47) - 4096, 1ul << 62, 1ul << 63, ~0ul,
				     ~0ul - 4095 };

	return chance(4) ? below(MAX_FILE) : PICK(sizes);
}

static u64 odd_place(void)
{
	static const u64 places[] = { 0, 0x1000, 0xf000, 0x10000, 0x400000, 0x401000, 0x402000, 0x40000000,
				      0x555555554000, 0x7ffff7fff000, 0x7fffff000000, 0x7fffff7ef000, 0x7fffff7f0000,
				      0x7ffffffef000, 0x7fffffff0000, 0x7fffffffe000, 0x7ffffffff000, 0x800000000000,
				      0xffff800000000000, 0xffffffff80000000, ~0ul - 4095 };

	return PICK(places) + (chance(4) ? below(PAGE) : 0);
}

/* --- files --- */

static void make_segment(struct program_header *ph, u64 i)
{
	static const u32 types[] = { 1, 1, 1, 1, 1, 0, 2, 4, 5, 6, 7, 0x6474e550, 0x6474e551, 0x6474e552, 0x6474e553 };
	static const u64 aligns[] = { 0x1000, 0x1000, 0x1000, 0, 1, 3, 8, 0x10000, 0x200000, 1 << 30, 1ul << 47, ~0ul };

	*ph = (struct program_header){ .type = i ? PICK(types) : 1, .flags = i ? (u32)below(8) : 5, .align = PICK(aligns) };
	ph->offset = i ? below(6) * PAGE : 0;
	ph->vaddr = i ? (chance(3) ? odd_place() : 0x400000 + below(8) * PAGE) : 0x400000;
	ph->filesz = i ? (chance(3) ? odd_size() : below(2 * PAGE)) : PAGE;
	ph->memsz = chance(3) ? odd_size() : ph->filesz + (chance(2) ? below(3 * PAGE) : 0);
	if (i && chance(2)) {
		u64 skew = below(PAGE);		/* offset and address agree */

		ph->offset += skew;
		ph->vaddr = (ph->vaddr & ~4095ul) + skew;
	}
	if (i == 0 && !chance(4))
		ph->memsz = ph->filesz;
	if (i == 0)
		ph->align = 0x1000;
	ph->paddr = ph->vaddr;
}

/* --- the program's code --- */

static void emit(const u8 *bytes, u64 n)
{
	memcpy(code + code_len, bytes, n);
	code_len += n;
}

#define EMIT(...) emit((const u8[]){ __VA_ARGS__ }, sizeof((const u8[]){ __VA_ARGS__ }))

static void emit_word(u64 word)
{
	emit((const u8 *)&word, sizeof(word));
}

/* Exit with the sum of the bytes of all pages of the segments. */
static void make_code(const struct elf_header *eh, const struct program_header *ph)
{
	code_len = 0;
	EMIT(0x4c, 0x8d, 0x25, 0xf9, 0xff, 0xff, 0xff);		/* lea r12, [rip - 7]: where the entry is */
	EMIT(0x48, 0xb8);					/* mov rax, entry */
	emit_word(eh->entry);
	EMIT(0x49, 0x29, 0xc4, 0x31, 0xc0);			/* sub r12, rax; xor eax, eax */
	for (u64 i = 0; i < eh->phnum; i++) {
		u64 start = ph[i].vaddr & ~(PAGE - 1ul), end = (ph[i].vaddr + ph[i].memsz + PAGE - 1) & ~(PAGE - 1ul);

		if (ph[i].type != 1 || !ph[i].memsz || end <= start || end - start > MAX_SUMMED)
			continue;
		EMIT(0x48, 0xbe);				/* mov rsi, start */
		emit_word(start);
		EMIT(0x4c, 0x01, 0xe6, 0x48, 0xb9);		/* add rsi, r12; mov rcx, length */
		emit_word(end - start);
		EMIT(0x6b, 0xc0, 0x21, 0x0f, 0xb6, 0x16);	/* imul eax, eax, 33; movzx edx, byte [rsi] */
		EMIT(0x01, 0xd0, 0x48, 0xff, 0xc6);		/* add eax, edx; inc rsi */
		EMIT(0x48, 0xff, 0xc9, 0x75, 0xf0);		/* dec rcx; jnz to imul */
	}
	EMIT(0x89, 0xc7, 0xb8, 60, 0, 0, 0, 0x0f, 0x05);	/* mov edi, eax; mov eax, 60; syscall */
}

static void make_valid(struct elf_header *eh, struct program_header *ph)
{
	static const u8 ident[16] = { 0x7f, 'E', 'L', 'F', 2, 1, 1 };
	u64 nr = 1 + below(MAX_PHDRS);

	file_len = chance(3) ? PAGE + below(MAX_FILE - PAGE) : MAX_FILE;
	for (u64 i = 0; i < sizeof(file); i++)
		file[i] = 0;
	memcpy(eh->ident, ident, sizeof(ident));
	eh->type = chance(4) ? 3 : 2;
	eh->machine = 62;
	eh->version = 1;
	eh->phoff = sizeof(*eh);
	eh->ehsize = sizeof(*eh);
	eh->phentsize = sizeof(*ph);
	eh->phnum = (u16)nr;
	eh->entry = 0x400800;
	for (u64 i = 0; i < nr; i++)
		make_segment(&ph[i], i);
	if (eh->type == 3) {
		eh->entry = 0x800;
		ph[0].vaddr = 0;
	}
	make_code(eh, ph);
	for (u64 i = 0; i < sizeof(file) - 0x1000; i += 8)
		if (i >= 0x400)
			file[i] = (u8)(i >> 4);
	for (u64 at = 0x800; at + code_len <= file_len; at += 0x800)
		memcpy(file + at, code, code_len);
}

/* The path of an interpreter: this file, another file, no file, or a path without a terminating zero. */
static void add_interpreter(struct elf_header *eh, struct program_header *ph)
{
	static const char *const paths[] = { "program", "other", "missing", "", "/dev/null", "." };
	const char *path = PICK(paths);
	u64 i = below(eh->phnum), len = 0;

	while (path[len])
		len++;
	ph[i] = (struct program_header){ .type = 3, .flags = 4, .offset = 0x700, .filesz = len + 1, .memsz = len + 1 };
	memcpy(file + 0x700, path, len);
	file[0x700 + len] = chance(4) ? 'x' : 0;
	if (chance(4))
		ph[i].filesz = odd_size();
	if (chance(4))
		ph[i].offset = odd_size();
}

static void mutate_field(struct elf_header *eh, struct program_header *ph)
{
	static const u16 halves[] = { 0, 1, 2, 3, 4, 56, 55, 57, 64, 62, 3, 63, 65, 100, 0x7fff, 0xffff };
	struct program_header *p = ph + below(eh->phnum <= MAX_PHDRS && eh->phnum ? eh->phnum : 1);
	u16 *half[] = { &eh->type, &eh->machine, &eh->phentsize, &eh->phnum, &eh->shnum, &eh->shentsize, &eh->ehsize };
	u64 *word[] = { &eh->entry, &eh->phoff, &eh->shoff, &p->offset, &p->vaddr, &p->filesz, &p->memsz, &p->align };
	u32 *middle[] = { &eh->version, &eh->flags, &p->type, &p->flags };

	switch (below(6)) {
	case 0: *PICK(half) = PICK(halves); break;
	case 1: case 2: *PICK(word) = chance(2) ? odd_size() : odd_place(); break;
	case 3: *PICK(middle) = chance(2) ? (u32)below(10) : (u32)random64(); break;
	case 4: eh->ident[below(16)] = (u8)below(4); break;
	default: file[below(64 + 56 * MAX_PHDRS)] = random64();
	}
}

static void make_script(void)
{
	static const char *const lines[] = { "#!program\n", "#! ./program  an argument \n", "#!", "#!\n", "#!./script", "#!   \t ",
					     "#!/dev/null\n", "#!missing\n", "#!.\n", "#!other", "#!dir/\n" };
	const char *line = PICK(lines);

	for (file_len = 0; line[file_len]; file_len++)
		file[file_len] = (u8)line[file_len];
	if (chance(4))		/* around the longest line that the kernel reads */
		for (u64 more = 100 + below(300); more; more--)
			file[file_len++] = chance(20) ? ' ' : 'x';
	if (chance(4))
		file[below(file_len + 1)] = random64();
}

static void make_file(void)
{
	struct elf_header *eh = (void *)file;
	struct program_header *ph = (void *)(file + sizeof(*eh));

	if (chance(20)) {
		make_script();
		return;
	}
	make_valid(eh, ph);
	if (chance(10))
		add_interpreter(eh, ph);
	for (u64 n = chance(3) ? 0 : below(4); n; n--)
		mutate_field(eh, ph);
	if (chance(12))
		for (u64 n = below(40); n; n--)
			file[below(file_len)] = random64();
	if (chance(12))
		file_len = chance(2) ? below(64 + 56 * MAX_PHDRS) : below(file_len);
}

/* --- running --- */

static void write_file(const char *name)
{
	long fd = SYS(NR_open, name, 01102 /* O_RDWR O_CREAT O_TRUNC */, 0755);

	check(fd >= 0, "open");
	SYS(NR_write, fd, file, file_len);
	SYS(NR_close, fd);
}

static void execute(const char *name, volatile long *refused)
{
	static char long_text[140000];
	const char *args[40] = { name, "argument" }, *environment[] = { "A=B", 0 };
	struct {
		long interval_s, interval_us, value_s, value_us;
	} timer = { 0, 0, 0, RUN_MS * 1000 };

	if (chance(16)) {
		for (u64 i = 0; i < sizeof(long_text) - 1; i++)
			long_text[i] = 'x';
		for (u64 i = 0, n = 1 + below(38); i < n; i++)
			args[i] = long_text + below(sizeof(long_text));
	}
	if (chance(16))
		args[0] = 0;
	SYS(NR_setitimer, 0, &timer, 0);
	*refused = SYS(NR_execve, name, args, chance(16) ? (const char **)&empty_word : environment);
	SYS(NR_exit, 1);
}

static int run_file(const char *name, volatile long *refused, int *result)
{
	int status = 0;
	long pid;

	*refused = 0;
	pid = SYS(NR_fork, 0);
	check(pid >= 0, "fork");
	if (pid == 0)
		execute(name, refused);
	while (SYS(NR_wait4, pid, &status, 0, 0) == -EINTR)
		;
	*result = *refused ? (int)*refused : status;
	return *refused ? REFUSED : status & 127 ? KILLED : RAN_WELL;
}

static void say_file(void)
{
	put_number(fuzz_counts->cases, 10);
	put(": ");
	put_number(file_len, 10);
	put(" bytes: ");
	put_bytes(file, 64 + 56 * MAX_PHDRS);
	put("\n");
	flush_text();
}

/* A segment lies where the host's setting of vm.mmap_min_addr, or the random place of its stack, decides. */
static int is_odd_place(void)
{
	const struct elf_header *eh = (void *)file;
	const struct program_header *ph = (void *)(file + eh->phoff);

	if (eh->phoff > sizeof(file) - 100 * sizeof(*ph))
		return 0;
	for (u64 i = 0; i < eh->phnum && i < 100; i++)
		if (ph[i].type == 1 && (ph[i].vaddr < 0x10000 || ph[i].vaddr + ph[i].memsz > 0x7f0000000000))
			return eh->type != 3;
	return 0;
}

static void say_result(int kind, int result)
{
	static const char *const kinds[] = { "", "status ", "status ", "error " };

	put("result ");
	put_number(fuzz_counts->cases - 1, 10);
	put(is_odd_place() ? " odd place: " : ": ");
	put(kinds[kind]);
	put_number((u64)(result < 0 ? -result : result), 10);
	put("\n");
	flush_text();
}

static void run_cases(u64 cases)
{
	volatile long *refused = (void *)SYS(NR_mmap, 0, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANON, -1, 0);

	for (u64 i = 0; i < cases; i++) {
		const char *name = chance(8) ? "other" : file[1] == '!' ? "script" : "program";

		make_file();
		if (fuzz_verbose)
			say_file();
		write_file(name);
		int kind, result;

		fuzz_counts->cases++;
		kind = run_file(name, refused, &result);
		fuzz_counts->extra[kind]++;
		if (fuzz_verbose)
			say_result(kind, result);
	}
}

int guest_main(int argc, char **argv, char **envp)
{
	static const char *const counted[] = { "exits", "signals", "refused", 0 };

	(void)envp;
	fuzz_limit_ms = 60000;
	return fuzz_main(argc, argv, counted, run_cases);
}
