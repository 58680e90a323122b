/* SPDX-License-Identifier: MIT */
/* abi/repeat_place.c - where the program is to be frozen: functions of its file, addresses. See repeat.h. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <gelf.h>
#include <libelf.h>
#include <string.h>
#include <unistd.h>

#include "abi/repeat.h"

#define START_BYTES 64		/* of _start, in which main is an argument */

/* What is added to an address of the file. */
static uint64_t bias_of(const struct task *t, const GElf_Ehdr *eh)
{
	uint64_t entry = 0;

	for (unsigned i = 0; i + 1 < t->gmm->auxv_bytes / sizeof(t->gmm->auxv[0]); i += 2)
		if (t->gmm->auxv[i] == AT_ENTRY)
			entry = t->gmm->auxv[i + 1];
	return entry - eh->e_entry;
}

static bool find_in_section(Elf *elf, Elf_Scn *section, const GElf_Shdr *sh, const char *name, uint64_t *value)
{
	Elf_Data *data = elf_getdata(section, NULL);
	GElf_Sym sym;

	for (size_t i = 0; data && sh->sh_entsize && i < sh->sh_size / sh->sh_entsize; i++) {
		const char *s;

		if (!gelf_getsym(data, (int)i, &sym) || sym.st_shndx == SHN_UNDEF)
			continue;
		s = elf_strptr(elf, sh->sh_link, sym.st_name);
		if (s && !strcmp(s, name)) {
			*value = sym.st_value;
			return true;
		}
	}
	return false;
}

static bool find_symbol(Elf *elf, const char *name, uint64_t *value)
{
	Elf_Scn *section = NULL;
	GElf_Shdr sh;

	while ((section = elf_nextscn(elf, section)))
		if (gelf_getshdr(section, &sh) && (sh.sh_type == SHT_SYMTAB || sh.sh_type == SHT_DYNSYM) &&
		    find_in_section(elf, section, &sh, name, value))
			return true;
	return false;
}

/* The file's ELF header, and with @name the value of that symbol. False: none. */
static bool read_file(const struct task *t, const char *name, GElf_Ehdr *eh, uint64_t *value)
{
	int fd = open(t->gmm->exe, O_RDONLY | O_CLOEXEC);
	Elf *elf;
	bool found;

	if (fd < 0)
		return false;
	elf_version(EV_CURRENT);
	elf = elf_begin(fd, ELF_C_READ, NULL);
	found = elf && gelf_getehdr(elf, eh) && (!name || find_symbol(elf, name, value));
	elf_end(elf);
	close(fd);
	return found;
}

/*
 * In a file without symbols: _start passes main to __libc_start_main() in rdi, as the first argument. It is an address
 * relative to the instruction behind it, or an absolute one.
 */
static bool find_main(struct task *t, uint64_t entry, uint64_t *addr)
{
	static const uint8_t lea[] = { 0x48, 0x8d, 0x3d }, mov[] = { 0x48, 0xc7, 0xc7 };	/* and 4 bytes */
	uint8_t code[START_BYTES];
	uint64_t n = user_read_some(t, code, entry, sizeof(code));
	int32_t value;

	for (uint64_t i = 0; i + sizeof(lea) + sizeof(value) <= n; i++) {
		memcpy(&value, code + i + sizeof(lea), sizeof(value));
		if (!memcmp(code + i, lea, sizeof(lea)))
			*addr = entry + i + sizeof(lea) + sizeof(value) + (uint64_t)(int64_t)value;
		else if (!memcmp(code + i, mov, sizeof(mov)))
			*addr = (uint32_t)value;
		else
			continue;
		return true;
	}
	return false;
}

bool repeat_find_function(struct task *t, const char *name, uint64_t *addr)
{
	GElf_Ehdr eh;
	uint64_t value;

	if (read_file(t, name, &eh, &value)) {
		*addr = value + bias_of(t, &eh);
		return true;
	}
	return !strcmp(name, "main") && read_file(t, NULL, &eh, NULL) && find_main(t, eh.e_entry + bias_of(t, &eh), addr);
}

uint64_t repeat_place_address(struct task *t, uint64_t addr)
{
	GElf_Ehdr eh;

	if (read_file(t, NULL, &eh, NULL) && eh.e_type == ET_DYN && addr < bias_of(t, &eh))
		return addr + bias_of(t, &eh);
	return addr;
}
