/* SPDX-License-Identifier: MIT */
/* abi/proc_memory.c - mem, pagemap and clear_refs of a process, PAGEMAP_SCAN; see proc.h. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "abi/proc.h"
#include "vellum/gup.h"
#include "vellum/mmu.h"
#include "vellum/pagemap.h"

#define PAGE VELLUM_PAGE_SIZE
#define WORD sizeof(uint64_t)
#define MAX_WORDS 16384		/* of one read(2) */
#define MAX_REGIONS 65536	/* of one PAGEMAP_SCAN */
#define RESET_PEAK 5		/* of clear_refs: VmHWM begins anew. It does not, as getrusage(2) needs it */

/* --- mem --- */

/*
 * Read or write a part of a page by the rights that its VMA may get, as a debugger does. For a write to a private
 * mapping, the process gets a page of its own. False: not possible.
 */
static bool access_forced(struct vellum_mm *mm, uint64_t addr, void *buf, size_t len, bool write)
{
	uint32_t flags = VELLUM_GUP_FORCE | (write ? VELLUM_GUP_WRITE : 0);
	struct vellum_memory *memory = vellum_mm_memory(mm);
	uint64_t pfn, pinned;
	char *page;

	if (vellum_pin_pages(mm, addr & ~(PAGE - 1ull), 1, flags, &pfn, &pinned))
		return false;
	page = vellum_frame_host(memory, pfn);
	if (write) {
		memcpy(page + addr % PAGE, buf, len);
		vellum_unpin_pages_dirty(memory, &pfn, 1);
	} else {
		memcpy(buf, page + addr % PAGE, len);
		vellum_unpin_pages(memory, &pfn, 1);
	}
	return true;
}

/* The bytes from @at on that lie in one page, at most @len. */
static uint64_t in_page(uint64_t at, uint64_t len)
{
	return len < PAGE - at % PAGE ? len : PAGE - at % PAGE;
}

int64_t proc_mem_read(const struct proc_view *view, uint64_t offset, void *buf, size_t len)
{
	size_t done = 0;

	if (!view->gmm)
		return 0;
	while (done < len) {
		uint64_t at = offset + done, n = in_page(at, len - done), copied = 0;

		if (at >= VELLUM_TASK_SIZE)
			break;
		vellum_copy_from_user(view->gmm->mm, (char *)buf + done, at, n, &copied);
		if (copied < n && !access_forced(view->gmm->mm, at, (char *)buf + done, n, false))
			break;
		done += n;
	}
	return done || !len ? (int64_t)done : -EIO;
}

/* Also where the process may not write. */
int64_t proc_mem_write(struct task *writer, const struct proc_view *view, uint64_t offset, const void *buf, size_t len)
{
	struct guest_mm *gmm = view->gmm;
	bool outside = gmm != writer->gmm || !writer->inside;
	uint64_t done = 0;

	if (!gmm)
		return 0;
	if (outside)
		gmm_gate_enter(gmm, writer);
	while (done < len && offset + done < VELLUM_TASK_SIZE) {
		uint64_t at = offset + done, n = in_page(at, len - done), copied = 0;

		vellum_copy_to_user(gmm->mm, at, (const char *)buf + done, n, &copied);
		if (copied < n && !access_forced(gmm->mm, at, (char *)(uintptr_t)buf + done, n, true))
			break;
		done += n;
	}
	if (outside)
		gmm_gate_leave(gmm, writer);
	return done || !len ? (int64_t)done : -EIO;
}

/* --- pagemap --- */

int64_t proc_pagemap_read(const struct proc_view *view, uint64_t offset, void *buf, size_t len)
{
	uint64_t *words, nr = len / WORD, first = offset / WORD, end = VELLUM_TASK_SIZE / PAGE;

	if (!view->gmm)
		return 0;
	if (offset % WORD || len % WORD)
		return -EINVAL;
	if (first >= end || !nr)
		return 0;
	if (nr > end - first)
		nr = end - first;
	if (nr > MAX_WORDS)
		nr = MAX_WORDS;
	words = malloc(nr * WORD);
	if (!words)
		return -ENOMEM;
	if (vellum_pagemap_read(view->gmm->mm, first * PAGE, nr, 0, words)) {
		free(words);
		return -EINVAL;
	}
	memcpy(buf, words, nr * WORD);
	free(words);
	return (int64_t)(nr * WORD);
}

/* struct pm_scan_arg of <linux/fs.h> has the layout of struct vellum_scan_args; older headers lack it. */
_Static_assert(sizeof(struct vellum_scan_args) == 96 && sizeof(struct vellum_page_region) == 24, "as in <linux/fs.h>");

/* Scan, with the regions in memory of Vellum, and store them. 0 or a negative errno. */
static int scan(struct task *t, struct guest_mm *gmm, struct vellum_scan_args *arg, uint64_t *nr)
{
	struct vellum_scan_args args = *arg;
	int err;

	if (args.vec_len > MAX_REGIONS)
		args.vec_len = MAX_REGIONS;
	args.vec = args.vec_len ? calloc(args.vec_len, sizeof(*args.vec)) : NULL;
	if (args.vec_len && !args.vec)
		return -ENOMEM;
	err = vellum_pagemap_scan(gmm->mm, &args, nr);
	if (!err && *nr && user_write(t, (uint64_t)arg->vec, args.vec, *nr * sizeof(*args.vec)))
		err = -EFAULT;
	free(args.vec);
	arg->walk_end = args.walk_end;
	return err;
}

int64_t proc_pagemap_scan(struct task *t, const struct proc_view *view, uint64_t addr)
{
	struct vellum_scan_args arg;
	uint64_t nr = 0;
	int err;

	if (user_read(t, &arg, addr, sizeof(arg)))
		return -EFAULT;
	if (arg.size != sizeof(arg) || (arg.vec_len && !arg.vec))
		return -EINVAL;
	if (!view->gmm)
		return -ESRCH;
	err = scan(t, view->gmm, &arg, &nr);
	if (user_write(t, addr, &arg, sizeof(arg)) && !err)
		err = -EFAULT;
	return err ? err : (int64_t)nr;
}

/* --- clear_refs --- */

int proc_store_clear_refs(struct task *writer, const struct proc_view *view, char *text)
{
	long what;

	(void)writer;
	if (!proc_parse_number(text, 10, &what) || what < VELLUM_CLEAR_REFS_ALL)
		return -EINVAL;
	if (what > VELLUM_CLEAR_REFS_SOFT_DIRTY)
		return what == RESET_PEAK ? 0 : -EINVAL;
	return view->gmm && vellum_clear_refs(view->gmm->mm, (int)what) ? -EINVAL : 0;
}
