/* SPDX-License-Identifier: MIT */
/* abi/elf.c - ELF programs: headers, segments, interpreter; see elf.h. */
#define _GNU_SOURCE
#include "abi/elf.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "abi/filemap.h"
#include "abi/path.h"
#include "vellum/backing.h"

#define PAGE		VELLUM_PAGE_SIZE
#define MAX_PHDR_BYTES	65536u
#define DYN_BASE	(VELLUM_TASK_SIZE / 3 * 2)	/* where Linux places position-independent programs */

static uint64_t page_down(uint64_t addr)
{
	return addr & ~(uint64_t)(PAGE - 1);
}

static uint64_t page_up(uint64_t addr)
{
	return page_down(addr + PAGE - 1);
}

static uint64_t in_page(uint64_t addr)
{
	return addr & (PAGE - 1);
}

/* --- check --- */

static int refuse(char why[ELF_WHY_BYTES], int err, const char *what)
{
	snprintf(why, ELF_WHY_BYTES, "%s", what);
	return err;
}

bool elf_is_executable(int fd)
{
	char name[FD_NAME_BYTES];
	struct stat st;

	return fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && access(path_fd_name(fd, name), X_OK) == 0;
}

/* 0, or a negative errno: EIO if the file is too short. */
static int read_at(int fd, void *buf, size_t len, uint64_t offset)
{
	ssize_t n = pread(fd, buf, len, (off_t)offset);

	return n < 0 ? -errno : n == (ssize_t)len ? 0 : -EIO;
}

/* Linux runs these, so ENOEXEC would be wrong: a shell would read the file as a script. */
static bool is_32_bit_program(const Elf64_Ehdr *eh)
{
	Elf32_Ehdr eh32;

	memcpy(&eh32, eh, sizeof(eh32));
	return eh32.e_machine == EM_386 && eh32.e_phentsize == sizeof(Elf32_Phdr) && eh32.e_phnum &&
	       (eh32.e_type == ET_EXEC || eh32.e_type == ET_DYN);
}

/*
 * Linux looks at the magic, e_type and e_machine, and ignores class, data and version. @bad: the error of a file that is
 * none, which is ENOEXEC for a program and ELIBBAD for an interpreter.
 */
static int check_header(const Elf64_Ehdr *eh, int bad, char why[ELF_WHY_BYTES])
{
	if (memcmp(eh->e_ident, ELFMAG, SELFMAG))
		return refuse(why, bad, "neither an ELF file nor a script with #!");
	if (bad == -ENOEXEC && is_32_bit_program(eh))
		return refuse(why, -EOPNOTSUPP, "32-bit program, which is not supported; build it for 64 bits");
	if (eh->e_machine != EM_X86_64)
		return refuse(why, bad, "program for another machine; build it for x86-64");
	/* An interpreter of another type fails when it is mapped. */
	if (bad == -ENOEXEC && eh->e_type != ET_EXEC && eh->e_type != ET_DYN)
		return refuse(why, bad, "ELF file, but not a program; link it");
	return 0;
}

static int read_headers(struct elf_file *f, int bad, char why[ELF_WHY_BYTES])
{
	ssize_t n = pread(f->fd, &f->eh, sizeof(f->eh), 0);	/* bytes that the file lacks are 0, as in Linux */
	uint64_t size;
	int err;

	if (n < 0)
		return refuse(why, -errno, strerror(errno));
	if (bad == -ELIBBAD && n < (ssize_t)sizeof(f->eh))
		return refuse(why, -EIO, "truncated ELF file; copy or build it again");
	err = check_header(&f->eh, bad, why);
	if (err)
		return err;
	size = f->eh.e_phnum * sizeof(Elf64_Phdr);
	if (f->eh.e_phentsize != sizeof(Elf64_Phdr) || !size || size > MAX_PHDR_BYTES)
		return refuse(why, bad, "ELF file with bad program headers; copy or build it again");
	f->ph = malloc(size);
	if (!f->ph)
		return refuse(why, -ENOMEM, "no memory for its program headers");
	if (read_at(f->fd, f->ph, size, f->eh.e_phoff))
		return refuse(why, bad, "truncated ELF file; copy or build it again");
	return 0;
}

/* Read the path in PT_INTERP. */
static int read_interp(const struct elf_file *f, const Elf64_Phdr *ph, char path[PATH_MAX], char why[ELF_WHY_BYTES])
{
	int err;

	if (ph->p_filesz > PATH_MAX || ph->p_filesz < 2)
		return refuse(why, -ENOEXEC, "ELF file with a bad name of its interpreter; link it again");
	err = read_at(f->fd, path, ph->p_filesz, ph->p_offset);
	if (err)
		return refuse(why, err, "truncated ELF file; copy or build it again");
	if (path[ph->p_filesz - 1])
		return refuse(why, -ENOEXEC, "ELF file with a bad name of its interpreter; link it again");
	return 0;
}

static int open_interpreter(struct elf_program *p, const Elf64_Phdr *ph,
			    int (*open_interp)(void *arg, const char *path), void *arg, char why[ELF_WHY_BYTES])
{
	char path[PATH_MAX], reason[ELF_WHY_BYTES];
	int err = read_interp(&p->exe, ph, path, why);

	if (err)
		return err;
	p->interp.fd = path[0] ? open_interp(arg, path) : -EACCES;	/* an empty path is the working directory */
	if (p->interp.fd < 0)
		err = p->interp.fd;
	else if (!elf_is_executable(p->interp.fd))
		err = -EACCES;
	if (err) {
		snprintf(why, ELF_WHY_BYTES, "its interpreter %.60s: %s", path, strerror(-err));
		return err;
	}
	err = read_headers(&p->interp, -ELIBBAD, reason);
	if (err)
		snprintf(why, ELF_WHY_BYTES, "its interpreter %.40s: %.80s", path, reason);
	return err;
}

int elf_open(struct elf_program *p, int fd, int (*open_interp)(void *arg, const char *path), void *arg,
	     char why[ELF_WHY_BYTES])
{
	int err;

	memset(p, 0, sizeof(*p));
	p->exe.fd = fd;
	p->interp.fd = -1;
	err = read_headers(&p->exe, -ENOEXEC, why);
	for (unsigned i = 0; !err && i < p->exe.eh.e_phnum; i++) {
		const Elf64_Phdr *ph = &p->exe.ph[i];

		if (ph->p_type == PT_INTERP && p->interp.fd < 0)
			err = open_interpreter(p, ph, open_interp, arg, why);
		else if (ph->p_type == PT_GNU_STACK)
			p->exec_stack = ph->p_flags & PF_X;
	}
	return err;
}

void elf_close(struct elf_program *p)
{
	for (struct elf_file *f = &p->exe; f; f = f == &p->exe ? &p->interp : NULL) {
		if (f->fd >= 0)
			close(f->fd);
		f->fd = -1;
		free(f->ph);
		f->ph = NULL;
	}
}

/* --- map --- */

struct loader {
	struct guest_mm *gmm;
	const struct elf_file *file;
	struct vellum_mapping *mapping;
	uint64_t bias;			/* added to the file's addresses */
	uint32_t flags;			/* of the next segment: VELLUM_MAP_FIXED after the first */
	uint64_t brk, phdr_addr;
	bool is_interp;
};

static uint32_t segment_prot(const Elf64_Phdr *ph)
{
	return (ph->p_flags & PF_R ? VELLUM_PROT_READ : 0) | (ph->p_flags & PF_W ? VELLUM_PROT_WRITE : 0) |
	       (ph->p_flags & PF_X ? VELLUM_PROT_EXEC : 0);
}

/* The bytes from the first page of the first segment to the end of the last. 0: no segment. */
static uint64_t total_size(const struct elf_file *f)
{
	uint64_t low = ~0ull, high = 0;
	bool any = false;

	for (unsigned i = 0; i < f->eh.e_phnum; i++) {
		const Elf64_Phdr *ph = &f->ph[i];

		if (ph->p_type != PT_LOAD)
			continue;
		any = true;
		if (page_down(ph->p_vaddr) < low)
			low = page_down(ph->p_vaddr);
		if (ph->p_vaddr + ph->p_memsz > high)
			high = ph->p_vaddr + ph->p_memsz;
	}
	return any ? high - low : 0;
}

/* The largest alignment that is a power of two. */
static uint64_t max_alignment(const struct elf_file *f)
{
	uint64_t max = PAGE;

	for (unsigned i = 0; i < f->eh.e_phnum; i++) {
		uint64_t align = f->ph[i].p_align;

		if (f->ph[i].p_type == PT_LOAD && align > max && !(align & (align - 1)))
			max = align;
	}
	return max;
}

/* Map @size bytes of the file; the first segment of a position-independent file reserves @total bytes. */
static int map_file_part(struct loader *l, const Elf64_Phdr *ph, uint64_t addr, uint64_t total, uint64_t *at)
{
	uint64_t size = page_up(ph->p_filesz + in_page(ph->p_vaddr)), offset = ph->p_offset - in_page(ph->p_vaddr);
	struct vellum_map_args args = { .size = sizeof(args),
					.addr = page_down(addr),
					.len = total ? page_up(total) : size,
					.prot = segment_prot(ph),
					.flags = l->flags | VELLUM_MAP_PRIVATE,
					.mapping = l->mapping,
					.pgoff = offset / PAGE,
					.file_prot = VELLUM_PROT_READ };
	int err;

	if (!size) {
		*at = page_down(addr);
		return 0;
	}
	if (in_page(offset) || offset + args.len < offset)
		return -EINVAL;
	err = vellum_mmap(l->gmm->mm, &args, at);
	if (!err && total && args.len > size)
		vellum_munmap(l->gmm->mm, *at + size, args.len - size);
	return err;
}

/* Clear the rest of the page from @addr on. Only pages that the program may write are cleared. */
static int clear_rest_of_page(struct loader *l, uint64_t addr, uint32_t prot)
{
	static const char zeros[PAGE];

	if (!in_page(addr) || !(prot & VELLUM_PROT_WRITE))
		return 0;
	return vellum_copy_to_user(l->gmm->mm, addr, zeros, PAGE - in_page(addr), NULL);
}

/* Pages without bytes in the file: readable and writable, whatever the segment says, as Linux maps them. */
static int map_zeros(struct loader *l, uint64_t start, uint64_t end, uint32_t prot)
{
	struct vellum_map_args args = { .size = sizeof(args),
					.addr = page_up(start),
					.len = page_up(end) - page_up(start),
					.prot = VELLUM_PROT_READ | VELLUM_PROT_WRITE | (prot & VELLUM_PROT_EXEC),
					.flags = VELLUM_MAP_PRIVATE | VELLUM_MAP_ANONYMOUS | VELLUM_MAP_FIXED };
	uint64_t at;

	return args.len ? vellum_mmap(l->gmm->mm, &args, &at) : 0;
}

static int map_segment(struct loader *l, const Elf64_Phdr *ph, uint64_t addr, uint64_t total, uint64_t *at)
{
	uint64_t zeros;
	int err = 0;

	*at = page_down(addr);
	zeros = *at;
	if (ph->p_filesz) {
		err = map_file_part(l, ph, addr, total, at);
		zeros = *at + in_page(ph->p_vaddr) + ph->p_filesz;
		if (!err && ph->p_memsz > ph->p_filesz)
			err = clear_rest_of_page(l, zeros, segment_prot(ph));
	}
	if (err || ph->p_memsz <= ph->p_filesz)
		return err;
	return map_zeros(l, zeros, *at + in_page(ph->p_vaddr) + ph->p_memsz, segment_prot(ph));
}

/* The segment that has just been mapped lies within user addresses. */
static bool range_ok(const Elf64_Phdr *ph, uint64_t bias)
{
	uint64_t addr = ph->p_vaddr + bias;

	return addr < VELLUM_TASK_SIZE && ph->p_filesz <= ph->p_memsz && ph->p_memsz <= VELLUM_TASK_SIZE &&
	       VELLUM_TASK_SIZE - ph->p_memsz >= addr;
}

static void note_segment(struct loader *l, const Elf64_Phdr *ph)
{
	const Elf64_Ehdr *eh = &l->file->eh;

	if (ph->p_offset <= eh->e_phoff && eh->e_phoff - ph->p_offset < ph->p_filesz)
		l->phdr_addr = eh->e_phoff - ph->p_offset + ph->p_vaddr;
	if (ph->p_vaddr + ph->p_memsz > l->brk)
		l->brk = ph->p_vaddr + ph->p_memsz;
}

/* Map all segments. l->bias and l->flags are for the first; with @total, its place decides the bias of the rest. */
static int map_segments(struct loader *l, uint64_t total)
{
	bool first = true;

	for (unsigned i = 0; i < l->file->eh.e_phnum; i++) {
		const Elf64_Phdr *ph = &l->file->ph[i];
		uint64_t addr, at;
		int err;

		if (ph->p_type != PT_LOAD)
			continue;
		addr = l->bias + ph->p_vaddr;
		err = map_segment(l, ph, addr, first ? total : 0, &at);
		if (err || at >= VELLUM_TASK_SIZE)	/* an empty one is not mapped, and its address is checked all the same */
			return err ? err : -EINVAL;
		if (first && total)
			l->bias += at - page_down(addr);
		first = false;
		l->flags = VELLUM_MAP_FIXED;
		/* Linux looks at the program's own addresses, and at those of an interpreter where they are mapped. */
		if (!range_ok(ph, l->is_interp ? l->bias : 0))
			return -EINVAL;
		note_segment(l, ph);
	}
	return 0;
}

/* A free aligned place for @total bytes, as mmap(2) chooses it; or 0. @hint: 0, or an address that is taken if it is free. */
static uint64_t find_place(struct guest_mm *gmm, uint64_t hint, uint64_t total, uint64_t align)
{
	struct vellum_map_args args = { .size = sizeof(args), .addr = hint,
					.len = page_up(total) + (align > PAGE ? align : 0),
					.flags = VELLUM_MAP_PRIVATE | VELLUM_MAP_ANONYMOUS };
	uint64_t at;

	if (total > VELLUM_TASK_SIZE || align > VELLUM_TASK_SIZE || vellum_mmap(gmm->mm, &args, &at))
		return 0;
	vellum_munmap(gmm->mm, at, args.len);
	return (at + align - 1) & ~(align - 1);
}

static const Elf64_Phdr *first_segment(const struct elf_file *f)
{
	for (unsigned i = 0; i < f->eh.e_phnum; i++)
		if (f->ph[i].p_type == PT_LOAD)
			return &f->ph[i];
	return NULL;
}

/*
 * Choose the place of a position-independent file. Linux's rules: a program with an interpreter has a base of its own. An
 * interpreter is placed where it is linked if the program is, too (@exe_bias), and if it is free there. mmap(2) chooses a
 * place for bytes of the file only: if the first segment has none, its page becomes the lowest page of all addresses, and
 * an interpreter remains where it is linked.
 */
static int place(struct loader *l, bool at_base, uint64_t exe_bias, uint64_t total, uint64_t align)
{
	const Elf64_Phdr *first = first_segment(l->file);
	uint64_t start, hint;

	if (!first || !total)
		return first ? -EINVAL : 0;
	if (!first->p_filesz && !at_base) {
		l->bias = l->is_interp ? 0 : 0 - page_down(first->p_vaddr);
		return 0;
	}
	hint = l->is_interp && !exe_bias ? page_down(first->p_vaddr) : 0;
	start = at_base ? DYN_BASE & ~(align - 1) : find_place(l->gmm, hint, total, align);
	if (!start)
		return -ENOMEM;
	l->bias = l->is_interp ? start - page_down(first->p_vaddr) : page_down(start - first->p_vaddr);
	l->flags = VELLUM_MAP_FIXED_NOREPLACE;
	return 0;
}

/*
 * An interpreter at fixed addresses replaces what is there, as in Linux, and its first segment does so for the size of
 * all segments. @exe_bias: of the program, for an interpreter. @align: a power of two, at least a page.
 */
static int load_file(struct task *t, struct loader *l, bool at_base, uint64_t exe_bias, uint64_t align)
{
	bool dyn = l->file->eh.e_type == ET_DYN;
	uint64_t total = dyn || l->is_interp ? total_size(l->file) : 0;
	int err = dyn || l->file->eh.e_type == ET_EXEC ? filemap_get(t->kernel, l->file->fd, false, &l->mapping) : -EINVAL;

	l->flags = l->is_interp ? VELLUM_MAP_FIXED : VELLUM_MAP_FIXED_NOREPLACE;
	if (!err && l->is_interp && !total)
		err = -EINVAL;
	if (!err && dyn)
		err = place(l, at_base, exe_bias, total, align);
	if (!err)
		err = map_segments(l, total);
	if (l->mapping)
		vellum_mapping_put(l->mapping);
	return err;
}

int elf_load(struct task *t, struct guest_mm *gmm, struct elf_program *p)
{
	struct loader exe = { .gmm = gmm, .file = &p->exe }, interp = { .gmm = gmm, .file = &p->interp, .is_interp = true };
	bool has_interp = p->interp.fd >= 0;
	int err = load_file(t, &exe, has_interp, 0, max_alignment(&p->exe));

	if (!err && has_interp)
		err = load_file(t, &interp, false, exe.bias, PAGE);
	if (err)
		return err;
	p->entry = p->exe.eh.e_entry + exe.bias;
	p->start = has_interp ? p->interp.eh.e_entry + interp.bias : p->entry;
	p->interp_base = has_interp ? interp.bias : 0;
	p->phdr_addr = exe.phdr_addr + exe.bias;
	/* The heap of a position-independent program without an interpreter is where others have the program. */
	p->brk = page_up(p->exe.eh.e_type == ET_DYN && !has_interp ? DYN_BASE : exe.brk + exe.bias);
	return p->start < VELLUM_TASK_SIZE ? 0 : -EINVAL;
}
