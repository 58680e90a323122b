/* SPDX-License-Identifier: MIT */
/*
 * abi/elf.h - ELF programs: check and map them by Linux's rules (elf(5), execve(2), and the host's kernel as the oracle).
 *
 * Every number of the file may be hostile. The file is checked before an address space exists, with an error that
 * execve(2) returns. After that Linux cannot return to the caller: a segment that cannot be mapped ends the program
 * with SIGSEGV.
 */
#ifndef ABI_ELF_H
#define ABI_ELF_H

#include <elf.h>

#include "abi/task.h"

struct elf_file {
	int fd;				/* -1: none */
	Elf64_Ehdr eh;
	Elf64_Phdr *ph;			/* eh.e_phnum of them */
};

struct elf_program {
	struct elf_file exe, interp;	/* the interpreter of PT_INTERP, which links the program at run time */
	bool exec_stack;		/* PT_GNU_STACK asks for it */
	/* Set by elf_load(): */
	uint64_t entry;			/* the program's own: AT_ENTRY */
	uint64_t start;			/* where the first instruction is: the interpreter's entry, or the program's */
	uint64_t interp_base;		/* AT_BASE */
	uint64_t phdr_addr;		/* AT_PHDR */
	uint64_t brk;			/* the heap starts here, page aligned */
};

#define ELF_WHY_BYTES 160

/*
 * Take over @fd and check the program. @open_interp opens the interpreter, as execve(2) finds it. 0, or a negative
 * errno and the reason in @why; elf_close() in both cases.
 */
int elf_open(struct elf_program *p, int fd, int (*open_interp)(void *arg, const char *path), void *arg,
	     char why[ELF_WHY_BYTES]);
void elf_close(struct elf_program *p);

/* Map the program and its interpreter. The stack is mapped, and mmap_top is set. 0 or a negative errno. */
int elf_load(struct task *t, struct guest_mm *gmm, struct elf_program *p);

/* A regular file, with the right to execute it. */
bool elf_is_executable(int fd);

#endif
