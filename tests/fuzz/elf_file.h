/* SPDX-License-Identifier: MIT */
/*
 * tests/fuzz/elf_file.h - elf.c's files: ELF files whose headers, segments, interpreters and alignments are valid, odd or
 * broken, and scripts. Each is made in `file`.
 *
 * The program in an ELF file adds up the bytes of its segments, its arguments, its environment and parts of the auxiliary
 * vector, and exits with the sum. It also stores to its segments, and runs an instruction on its stack.
 */
#ifndef TESTS_FUZZ_ELF_FILE_H
#define TESTS_FUZZ_ELF_FILE_H

#include "fuzz.h"

#define MAX_LAID_OUT	(6 * PAGE)	/* bytes that segments are made of; many program headers are behind them */
#define FEW_PHDRS	6
#define MANY_PHDRS	1300		/* Linux takes 64 KiB of them, 1170 */
#define INTERP_AT	0x640		/* in the file: the path of the interpreter */
#define NOTE_AT		0x740
#define MAX_SUMMED	(4 * PAGE)	/* a larger segment is not added up */
#define CODE_BYTES	768
#define TASK_END	0x7ffffffff000ul

/* Pages where Linux and Vellum have the stack and what mmap(2) places, each at addresses of its own. */
#define PLACED_FROM	0x7fff00000000ul

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

static u8 file[MAX_LAID_OUT + MANY_PHDRS * sizeof(struct program_header)] __attribute__((aligned(16)));
static u64 file_len;

static u8 code[CODE_BYTES];
static u64 code_len;

/* A page of a segment is where Vellum differs on purpose. */
static const char *differs;

/* --- values --- */

static u64 odd_size(void)
{
	static const u64 sizes[] = { 0, 1, 8, 0x100, 0xfff, 0x1000, 0x1001, 0x2000, 0x5000, 1 << 20, 2 << 20, 1 << 30,
				     1ul << 40, 1ul << 46, 1ul << 47, (1ul << 47) - 4096, 1ul << 62, 1ul << 63, ~0ul,
				     ~0ul - 4095 };

	return chance(4) ? below(MAX_LAID_OUT) : PICK(sizes);
}

static u64 odd_place(void)
{
	static const u64 places[] = { 0, 0x1000, 0xf000, 0x10000, 0x11000, 0x400000, 0x401000, 0x402000, 0x40000000,
				      0x100000000, 0x2aaaaaaaa000, 0x400000000000, 0x555555554000, 0x7ffe00000000,
				      0x7ffeffff0000, 0x7ffff7fff000, 0x7fffff7f0000, 0x7fffffff0000, 0x7fffffffe000,
				      0x7ffffffff000, 0x800000000000, 0xffff800000000000, 0xffffffff80000000, ~0ul - 4095 };

	return PICK(places) + (chance(4) ? below(PAGE) : 0);
}

static u64 odd_align(void)
{
	static const u64 aligns[] = { 0, 1, 2, 3, 8, 16, 0x800, 0x1001, 0x1800, 0x2000, 0x3000, 0x10000, 0x200000, 0x200000,
				      0x400000, 0x600000, 1 << 30, 1ul << 32, 1ul << 40, 1ul << 46, 1ul << 47, 1ul << 48,
				      1ul << 62, 1ul << 63, ~0ul };

	return chance(8) ? random64() >> below(64) : PICK(aligns);
}

/* --- segments --- */

/* More bytes in memory than in the file, fewer, or as many; the end is often next to the end of a page. */
static u64 memory_size(const struct program_header *ph)
{
	u64 end = ph->vaddr + ph->filesz;

	switch (below(9)) {
	case 0: return odd_size();
	case 1: return ph->filesz - (ph->filesz ? below(ph->filesz) : 0);
	case 2: return ph->filesz + below(3 * PAGE);
	case 3: return ph->filesz + (-end & (PAGE - 1));
	case 4: return ph->filesz + (-end & (PAGE - 1)) + PAGE * below(3) + below(3) - 1;
	case 5: return ph->filesz + 1 + below(16);
	default: return ph->filesz;
	}
}

static void make_segment(struct program_header *ph, u64 base)
{
	static const u32 types[] = { 1, 1, 1, 1, 1, 1, 0, 2, 4, 5, 6, 7, 7, 0x6474e550, 0x6474e551, 0x6474e551, 0x6474e552,
				     0x6474e553 };

	*ph = (struct program_header){ .type = PICK(types), .flags = (u32)below(8), .align = PAGE };
	ph->offset = below(8) * PAGE;
	ph->vaddr = chance(5) ? odd_place() : base + below(8) * PAGE;
	ph->filesz = chance(5) ? odd_size() : chance(4) ? 0 : below(2 * PAGE);
	if (chance(2)) {
		u64 skew = below(PAGE);		/* offset and address agree */

		ph->offset += skew;
		ph->vaddr = (ph->vaddr & ~4095ul) + skew;
	}
	if (!ph->filesz && chance(2))
		ph->offset = random64() >> below(64);
	if (chance(4))		/* the end of the bytes is next to the end of a page */
		ph->filesz = (-ph->vaddr & (PAGE - 1)) + PAGE * below(3) + below(3) - 1;
	ph->memsz = memory_size(ph);
	if (chance(2))
		ph->align = odd_align();
	ph->paddr = ph->vaddr;
	if (ph->type == 0x6474e553 || ph->type == 4) {
		ph->offset = NOTE_AT + (chance(8) ? below(16) : 0);
		ph->filesz = chance(2) ? 32 : below(64);
	}
}

/* The first segment has the headers and the code. */
static void make_code_segment(struct program_header *ph, u64 base)
{
	*ph = (struct program_header){ .type = 1, .flags = chance(6) ? 7 : 5, .vaddr = base, .paddr = base, .align = PAGE };
	ph->filesz = PAGE;
	ph->memsz = chance(8) ? memory_size(ph) : PAGE;
	if (chance(4))
		ph->align = odd_align();
}

/* --- the program's code --- */

/* rbx: where argc is. Adds to eax. Neither depends on where the program or its stack is. */
extern const u8 hash_start[], hash_start_end[], run_stack[], run_stack_end[];
__asm__(".section .rodata\n"
	"hash_start:\n"
	"	mov (%rbx), %rcx\n"
	"	imul $33, %eax, %eax\n"
	"	add %ecx, %eax\n"
	"	lea 8(%rbx), %rdi\n"
	"	call 5f\n"
	"	call 5f\n"
	"1:	mov (%rdi), %rcx\n"
	"	mov 8(%rdi), %rdx\n"
	"	add $16, %rdi\n"
	"	cmp $3, %ecx\n"			/* AT_PHDR */
	"	cmove %rdx, %r8\n"
	"	cmp $9, %ecx\n"			/* AT_ENTRY */
	"	cmove %rdx, %r9\n"
	"	cmp $5, %ecx\n"			/* AT_PHNUM */
	"	cmove %rdx, %r10\n"
	"	cmp $31, %ecx\n"		/* AT_EXECFN */
	"	cmove %rdx, %rsi\n"
	"	cmp $7, %ecx\n"			/* AT_BASE: 0 or not */
	"	cmove %rdx, %r13\n"
	"	test %ecx, %ecx\n"
	"	jnz 1b\n"
	"	sub %r9, %r8\n"
	"	add %r8d, %eax\n"
	"	shr $12, %r8\n"
	"	add %r8d, %eax\n"
	"	add %r9d, %eax\n"		/* the place within a page, or more: only the lowest byte is in the status */
	"	add %r10d, %eax\n"
	"	cmp $1, %r13\n"
	"	sbb $0, %eax\n"
	"	call 6f\n"
	"	sub $16, %rsp\n"
	"	mov %eax, %r14d\n"
	"	mov $16, %edi\n"		/* PR_GET_NAME */
	"	mov %rsp, %rsi\n"
	"	mov $157, %eax\n"
	"	syscall\n"
	"	mov %r14d, %eax\n"
	"	call 6f\n"
	"	jmp 9f\n"
	"5:	mov (%rdi), %rsi\n"		/* a list of strings */
	"	add $8, %rdi\n"
	"	test %rsi, %rsi\n"
	"	jz 7f\n"
	"	call 6f\n"
	"	jmp 5b\n"
	"6:	movzbl (%rsi), %edx\n"		/* a string */
	"	inc %rsi\n"
	"	imul $33, %eax, %eax\n"
	"	add %edx, %eax\n"
	"	test %edx, %edx\n"
	"	jnz 6b\n"
	"7:	ret\n"
	"9:\n"
	"hash_start_end:\n"
	"run_stack:\n"
	"	push $-0x3d\n"			/* ret */
	"	call *%rsp\n"
	"	pop %rcx\n"
	"	add $7, %eax\n"
	"run_stack_end:\n"
	".text\n");

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

static void emit_sum(u64 start, u64 len)
{
	EMIT(0x48, 0xbe);				/* mov rsi, start */
	emit_word(start);
	EMIT(0x4c, 0x01, 0xe6, 0x48, 0xb9);		/* add rsi, r12; mov rcx, length */
	emit_word(len);
	EMIT(0x6b, 0xc0, 0x21, 0x0f, 0xb6, 0x16);	/* imul eax, eax, 33; movzx edx, byte [rsi] */
	EMIT(0x01, 0xd0, 0x48, 0xff, 0xc6);		/* add eax, edx; inc rsi */
	EMIT(0x48, 0xff, 0xc9, 0x75, 0xf0);		/* dec rcx; jnz to imul */
}

static void emit_store(u64 at)
{
	EMIT(0x48, 0xbe);				/* mov rsi, at */
	emit_word(at);
	EMIT(0x42, 0xc6, 0x04, 0x26, 0x2a);		/* mov byte [rsi + r12], 42 */
}

/* A file may be its own interpreter. */
static int has_interpreter(const struct program_header *ph, u64 nr)
{
	for (u64 i = 0; i < nr; i++)
		if (ph[i].type == 3)
			return 1;
	return 0;
}

/* Add what the place of the program is modulo the largest alignment. Interpreters are not aligned. */
static void emit_alignment(const struct program_header *ph, u64 nr, int interp)
{
	u64 max = PAGE;

	for (u64 i = 0; i < nr && !interp; i++)
		if (ph[i].type == 1 && ph[i].align > max && !(ph[i].align & (ph[i].align - 1)))
			max = ph[i].align;
	EMIT(0x48, 0xb9);					/* mov rcx, max - 1 */
	emit_word(max - 1);
	EMIT(0x4c, 0x21, 0xe1, 0x48, 0xc1, 0xe9, 12, 0x01, 0xc8);	/* and rcx, r12; shr rcx, 12; add eax, ecx */
	EMIT(0x48, 0xc1, 0xe9, 8, 0x01, 0xc8);			/* shr rcx, 8; add eax, ecx */
}

/* @ph has @nr headers, of which a few are summed up. */
static void make_code(const struct elf_header *eh, const struct program_header *ph, u64 nr, int interp)
{
	code_len = 0;
	EMIT(0x4c, 0x8d, 0x25, 0xf9, 0xff, 0xff, 0xff);		/* lea r12, [rip - 7]: where the entry is */
	EMIT(0x48, 0xb8);					/* mov rax, entry */
	emit_word(eh->entry);
	EMIT(0x49, 0x29, 0xc4, 0x31, 0xc0, 0x48, 0x89, 0xe3);	/* sub r12, rax; xor eax, eax; mov rbx, rsp */
	for (u64 i = 0; i < nr && code_len < CODE_BYTES / 2; i++) {
		u64 start = ph[i].vaddr & ~(PAGE - 1ul), end = (ph[i].vaddr + ph[i].memsz + PAGE - 1) & ~(PAGE - 1ul);

		if (ph[i].type != 1 || !ph[i].memsz)
			continue;
		if (end > start && end - start <= MAX_SUMMED)
			emit_sum(start, end - start);
		else
			emit_sum(start, PAGE);
		if (chance(8))
			emit_store(ph[i].vaddr + (chance(2) ? ph[i].memsz - 1 : ph[i].filesz));
	}
	emit_alignment(ph, nr, interp);
	emit(hash_start, (u64)(hash_start_end - hash_start));
	if (chance(3))
		emit(run_stack, (u64)(run_stack_end - run_stack));
	EMIT(0x89, 0xc7, 0xb8, 60, 0, 0, 0, 0x0f, 0x05);	/* mov edi, eax; mov eax, 60; syscall */
	check(code_len <= CODE_BYTES, "too much code");
}

/* --- ELF files --- */

/* .note.gnu.property with IBT and SHSTK. */
static void make_note(void)
{
	static const u32 words[] = { 4, 16, 5, 0x554e47, 0xc0000002, 4, 3, 0 };
	const u8 *from = (const u8 *)words;

	for (u64 i = 0; i < sizeof(words); i++)
		file[NOTE_AT + i] = from[i];
}

/* The path of an interpreter: this file, another file, no file, or a path without a terminating zero. */
static void make_interpreter(struct program_header *ph)
{
	static const char *const paths[] = { "other", "other", "other", "./other", "program", "missing", "", "/dev/null", ".",
					     "script", "other/", "/", "o" };
	static const u64 sizes[] = { 0, 1, 2, 3, 100, 255, 256, 4095, 4096, 4097, 8192 };
	const char *path = PICK(paths);
	u64 len = 0;

	while (path[len])
		len++;
	*ph = (struct program_header){ .type = 3, .flags = 4, .offset = INTERP_AT, .filesz = len + 1, .memsz = len + 1 };
	memcpy(file + INTERP_AT, path, len + 1);
	if (chance(8))
		file[INTERP_AT + len] = 'x';
	if (chance(6))
		ph->filesz = PICK(sizes);
	if (chance(8)) {	/* many zeros behind the path */
		ph->offset = 0x3000 - below(8);
		memcpy(file + ph->offset, path, len + 1);
		for (u64 i = len + 1; i < PAGE + 16; i++)
			file[ph->offset + i] = 0;
		ph->filesz = PAGE - 1 + below(3);
	}
	if (chance(8))
		ph->offset = chance(2) ? file_len - below(len + 3) : odd_size();
}

static u64 address_of_file(u64 type)
{
	static const u64 high[] = { 0x10000, 0x10000000, 0x400000, 0x400123000, 0x555555554000, 0x7ffe00000000 };

	return type == 2 ? 0x400000 : chance(3) ? PICK(high) : 0;
}

/* Move the program headers behind all else, and add to them. The number. */
static u64 add_many(struct elf_header *eh, struct program_header **ph, u64 nr)
{
	static const u64 numbers[] = { 7, 63, 64, 65, 66, 100, 128, 145, 146, 147, 1169, 1170, 1171, 1200 };
	static const u32 types[] = { 0, 4, 5, 6, 7, 0x6474e550, 0x6474e551, 0x70000001 };
	struct program_header *to = (void *)(file + MAX_LAID_OUT);
	u64 many = PICK(numbers);

	memcpy(to, *ph, nr * sizeof(*to));
	for (u64 i = nr; i < many; i++) {
		if (chance(40))
			make_segment(&to[i], to->vaddr);
		else
			to[i] = (struct program_header){ .type = PICK(types), .flags = (u32)below(8) };
	}
	eh->phoff = MAX_LAID_OUT;
	file_len = MAX_LAID_OUT + many * sizeof(*to);
	*ph = to;
	return many;
}

static void swap_headers(struct program_header *a, struct program_header *b)
{
	struct program_header copy = *a;

	*a = *b;
	*b = copy;
}

static void mutate_field(struct elf_header *eh, struct program_header *p)
{
	static const u16 halves[] = { 0, 1, 2, 3, 4, 56, 55, 57, 64, 62, 3, 6, 63, 65, 100, 32, 0x7fff, 0xffff };
	u16 *half[] = { &eh->type, &eh->machine, &eh->phentsize, &eh->phnum, &eh->shnum, &eh->shentsize, &eh->ehsize };
	u64 *word[] = { &eh->entry, &eh->phoff, &eh->shoff, &p->offset, &p->vaddr, &p->filesz, &p->memsz, &p->align };
	u32 *middle[] = { &eh->version, &eh->flags, &p->type, &p->flags };

	switch (below(7)) {
	case 0: *PICK(half) = PICK(halves); break;
	case 1: case 2: *PICK(word) = chance(2) ? odd_size() : odd_place(); break;
	case 3: *PICK(middle) = chance(2) ? (u32)below(10) : (u32)random64(); break;
	case 4: eh->ident[4 + below(12)] = (u8)below(4); break;
	case 5: eh->ident[below(16)] = (u8)random64(); break;
	default: file[below(64 + 56 * FEW_PHDRS)] = random64();
	}
}

static void fill_file(struct elf_header *eh)
{
	static const u8 ident[16] = { 0x7f, 'E', 'L', 'F', 2, 1, 1 };
	u64 *words = (void *)file;

	file_len = chance(3) ? PAGE + below(MAX_LAID_OUT - PAGE) : MAX_LAID_OUT;
	for (u64 i = 0; i < sizeof(file) / 8; i++)
		words[i] = i < 0x80 || i >= MAX_LAID_OUT / 8 ? 0 : ((i / 2 + i / 512 * 5 + 1) & 255) * 0x0101010101010101;
	memcpy(eh->ident, ident, sizeof(ident));
	eh->machine = 62;
	eh->version = 1;
	eh->phoff = sizeof(*eh);
	eh->ehsize = sizeof(*eh);
	eh->phentsize = sizeof(struct program_header);
	make_note();
}

/* Note if a segment of `file`, when it is @bias above its address, is where Vellum differs on purpose. */
static void note_place(const struct program_header *ph, u64 bias)
{
	u64 size = ph->memsz > ph->filesz ? ph->memsz : ph->filesz, start = ph->vaddr + bias;
	u64 end = start + size < start ? ~0ul : start + size;

	if (start < TASK_END && end > PLACED_FROM)
		differs = "high";
}

static void note_places(int interp)
{
	const struct elf_header *eh = (void *)file;
	const struct program_header *first = 0;
	int entered = eh->type == 2;

	for (u64 i = 0; i < eh->phnum; i++) {
		const struct program_header *ph = (void *)(file + eh->phoff + i * sizeof(*ph));

		if (eh->phoff > sizeof(file) || (u64)((const u8 *)(ph + 1) - file) > sizeof(file))
			break;
		if (ph->type != 1)
			continue;
		first = first ? first : ph;
		/* Linux chooses no place if the first segment has no bytes, or if an interpreter is linked at one. */
		if (eh->type == 2 || !first->filesz || (interp && first->vaddr / PAGE))
			note_place(ph, 0);
		if (eh->type != 2 && !first->filesz)
			note_place(ph, -(first->vaddr & ~4095ul));
		entered |= eh->entry >= (ph->vaddr & ~4095ul) && eh->entry - (ph->vaddr & ~4095ul) < ph->filesz;
	}
	if (first && !entered)
		differs = "entry";
}

/* @interp: the file is more often such that it can be an interpreter. */
static void make_elf(int interp)
{
	struct elf_header *eh = (void *)file;
	struct program_header *ph = (void *)(file + sizeof(*eh));
	u64 nr = 1 + below(FEW_PHDRS), base;

	fill_file(eh);
	eh->type = below(4) < (interp ? 1 : 3) ? 2 : 3;
	base = address_of_file(eh->type);
	eh->entry = base + 0x800;
	make_code_segment(&ph[0], base);
	for (u64 i = 1; i < nr; i++)
		make_segment(&ph[i], base);
	if (!interp && chance(5))
		make_interpreter(&ph[1 + below(FEW_PHDRS - 1)]);
	if (!interp && chance(20))
		make_interpreter(&ph[1 + below(FEW_PHDRS - 1)]);
	for (u64 i = nr; i < FEW_PHDRS; i++)
		nr = ph[i].type ? i + 1 : nr;
	if (chance(4))
		swap_headers(&ph[0], &ph[below(nr)]);
	if (chance(40))
		for (u64 i = 0; i < nr; i++)
			ph[i].type = ph[i].type == 1 ? 0 : ph[i].type;
	if (chance(25))
		nr = add_many(eh, &ph, nr);
	eh->phnum = (u16)nr;
	for (u64 n = chance(2) ? 0 : below(4); n; n--)
		mutate_field(eh, &ph[below(nr < FEW_PHDRS ? nr : FEW_PHDRS)]);
	make_code(eh, ph, nr, interp || has_interpreter(ph, nr));
	for (u64 at = 0x800; at + code_len <= MAX_LAID_OUT; at += 0x800)
		if (file[at] | file[at + 16])		/* not into the zeros behind a path */
			memcpy(file + at, code, code_len);
	note_places(interp || has_interpreter(ph, nr));
	if (chance(16))
		for (u64 n = below(10); n; n--)
			file[below(64 + 56 * FEW_PHDRS)] = random64();
	note_places(interp || has_interpreter(ph, nr));
	if (chance(12))
		file_len = chance(2) ? below(64 + 56 * FEW_PHDRS) : below(file_len);
}

/* --- scripts --- */

static void add_text(const char *text)
{
	while (*text && file_len < PAGE)
		file[file_len++] = (u8)*text++;
}

static void add_blanks(void)
{
	for (u64 n = chance(3) ? below(4) : 0; n; n--)
		add_text(chance(3) ? "\t" : " ");
}

/* The line's length is often next to the 256 bytes that Linux reads. */
static void pad_line(const char *with)
{
	u64 to = chance(2) ? 248 + below(12) : below(300);

	while (file_len < to)
		add_text(with);
}

static void make_script(const char *interp)
{
	static const char *const strange[] = { "", "missing", ".", "/dev/null", "other", "script", "dir/", "/", "program/" };
	u64 where = chance(2) ? below(5) : 5;

	file_len = 0;
	add_text(chance(40) ? "#" : "#!");
	add_blanks();
	if (where == 0)
		pad_line(" ");
	if (where == 1)
		pad_line("./");
	add_text(chance(6) ? PICK(strange) : interp);
	if (where == 2)
		pad_line("x");
	add_blanks();
	if (where == 3)
		pad_line(" ");
	if (chance(2))
		add_text(chance(2) ? " an argument" : " -x");
	if (where == 4)
		pad_line(chance(2) ? "y" : "y ");
	add_blanks();
	if (!chance(6))
		add_text(chance(12) ? "\r\n" : "\n");
	if (chance(3))
		add_text("more\n");
	for (u64 n = chance(4) ? 1 + below(3) : 0; n; n--)
		file[below(file_len)] = (u8) "\0 \t\n\0\r"[below(6)];
	if (chance(10))
		file[below(file_len)] = random64();
	if (chance(10))
		file_len = below(file_len + 1);
}

#endif
