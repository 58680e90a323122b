/* SPDX-License-Identifier: MIT */
/* proc/maps_text.c - VMAs as text, as in /proc/PID/maps and smaps. Uses the public headers and stdio(3) only. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "vellum/mm.h"
#include "vellum/pagemap.h"

#define EXPORT __attribute__((visibility("default")))
#define NAME_COLUMN 73

struct text {
	char *buf;
	uint64_t size, len;	/* @len: length of the whole text; may exceed @size */
};

static void put(struct text *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void put(struct text *t, const char *format, ...)
{
	uint64_t room = t->len < t->size ? t->size - t->len : 0;
	va_list ap;
	int n;

	va_start(ap, format);
	n = vsnprintf(room ? t->buf + t->len : NULL, room, format, ap);
	va_end(ap);
	t->len += n > 0 ? (uint64_t)n : 0;
}

static void put_line(struct text *t, const struct vellum_vma_info *i, const struct vellum_vma_name *name)
{
	uint64_t start = t->len, offset = i->mapping ? i->pgoff * VELLUM_PAGE_SIZE : 0;

	put(t, "%08llx-%08llx %c%c%c%c %08llx %02x:%02x %llu", (unsigned long long)i->start,
	    (unsigned long long)i->end, i->prot & VELLUM_PROT_READ ? 'r' : '-', i->prot & VELLUM_PROT_WRITE ? 'w' : '-',
	    i->prot & VELLUM_PROT_EXEC ? 'x' : '-', i->shared ? 's' : 'p', (unsigned long long)offset, name->dev_major,
	    name->dev_minor, (unsigned long long)name->inode);
	if (name->name && name->name[0]) {
		uint64_t pad = t->len - start < NAME_COLUMN ? NAME_COLUMN - (t->len - start) : 1;

		put(t, "%*s", (int)pad, "");
		for (const char *c = name->name; *c; c++)	/* as in Linux, a name cannot end the line */
			put(t, *c == '\n' ? "\\012" : "%c", *c);
	}
	put(t, "\n");
}

EXPORT int vellum_maps_line(const struct vellum_vma_info *info, const struct vellum_vma_name *name, char *buf,
			    uint64_t size)
{
	struct text t = { buf, size, 0 };

	put_line(&t, info, name);
	return (int)t.len;
}

static void put_kb(struct text *t, const char *what, uint64_t bytes)
{
	put(t, "%-16s%8llu kB\n", what, (unsigned long long)(bytes / 1024));
}

EXPORT int vellum_smaps_text(const struct vellum_vma_info *info, const struct vellum_vma_usage *u,
			     const struct vellum_vma_name *name, char *buf, uint64_t size)
{
	const struct {
		const char *what;
		uint64_t bytes;
	} rows[] = {
		{ "Size:", u->len }, { "KernelPageSize:", VELLUM_PAGE_SIZE }, { "MMUPageSize:", VELLUM_PAGE_SIZE },
		{ "Rss:", u->rss }, { "Pss:", u->pss }, { "Pss_Dirty:", u->pss_dirty },
		{ "Shared_Clean:", u->shared_clean }, { "Shared_Dirty:", u->shared_dirty },
		{ "Private_Clean:", u->private_clean }, { "Private_Dirty:", u->private_dirty },
		{ "Referenced:", u->referenced }, { "Anonymous:", u->anonymous }, { "KSM:", 0 },
		{ "LazyFree:", u->lazyfree }, { "AnonHugePages:", u->anon_huge }, { "ShmemPmdMapped:", u->shmem_huge },
		{ "FilePmdMapped:", 0 }, { "Shared_Hugetlb:", 0 }, { "Private_Hugetlb:", 0 }, { "Swap:", u->swap },
		{ "SwapPss:", u->swap_pss }, { "Locked:", u->locked },
	};
	struct text t = { buf, size, 0 };

	put_line(&t, info, name);
	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		put_kb(&t, rows[i].what, rows[i].bytes);
	put(&t, "THPeligible:    %8d\n", !!strstr(u->vm_flags, "hg "));
	put(&t, "VmFlags: %s\n", u->vm_flags);
	return (int)t.len;
}
