// SPDX-License-Identifier: GPL-2.0
/*
 * oracle.c - objects to map, the helpers for shared mappings, and raw page-table entries.
 *
 * Objects, by letter:
 *   M  managed pages, page_mkwrite		Q  managed pages, no notification of writes
 *   P  raw frames, pfn_mkwrite			R  raw frames, no notification
 *   G  as P, with huge entries			H  as R, with huge entries
 *
 * H and G are the same GiB. The kernel's command line excludes it, so that its frames have no struct page, as for a
 * device's memory.
 *
 * Each object has two devices: /dev/oracleM, and /dev/oracleM-twin with the same pages but another address_space
 * (differences.c says why).
 */
#include <linux/fs.h>
#include <linux/highmem.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/io.h>
#include <linux/pagemap.h>
#include <linux/pfn_t.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/swap.h>
#include <linux/swapops.h>
#include <linux/uaccess.h>
#include <linux/version.h>

#include "oracle.h"

#define NR_OBJECTS 6
#define MAX_ENTRIES 64

struct object {
	char letter;
	bool raw, told, huge;
	unsigned long grain;	/* ORACLE_GRAIN */
	struct page *page[ORACLE_PAGES];
	unsigned int mkwrites;	/* that permitted the store */
	bool refuse;
	struct miscdevice dev[2];
	char name[2][16];
};

static struct object objects[NR_OBJECTS] = {
	{ .letter = 'M', .told = true },
	{ .letter = 'Q' },
	{ .letter = 'P', .told = true, .raw = true },
	{ .letter = 'R', .raw = true },
	{ .letter = 'H', .raw = true, .huge = true },
	{ .letter = 'G', .raw = true, .huge = true, .told = true },
};

static u8 *huge_memory;

static struct pin {
	struct page *page[ORACLE_MAX_PIN];
	int nr;
	bool write;
} pins[ORACLE_PINS];

static const struct file_operations oracle_fops;

/* --- faults --- */

static vm_fault_t oracle_fault(struct vm_fault *vmf)
{
	struct object *obj = vmf->vma->vm_private_data;

	if (vmf->pgoff >= (obj->huge ? ORACLE_HUGE_PAGES : ORACLE_PAGES))
		return VM_FAULT_SIGBUS;
	if (obj->huge)
		return vmf_insert_pfn(vmf->vma, vmf->address, ORACLE_HUGE_PFN + vmf->pgoff);
	if (obj->raw)
		return vmf_insert_pfn(vmf->vma, vmf->address, page_to_pfn(obj->page[vmf->pgoff]));
	vmf->page = obj->page[vmf->pgoff];
	get_page(vmf->page);
	return 0;
}

static bool refused(struct object *obj)
{
	if (!obj->refuse)
		obj->mkwrites++;
	return obj->refuse;
}

static vm_fault_t oracle_page_mkwrite(struct vm_fault *vmf)
{
	if (refused(vmf->vma->vm_private_data))
		return VM_FAULT_SIGBUS;
	lock_page(vmf->page);
	return VM_FAULT_LOCKED;
}

static vm_fault_t oracle_pfn_mkwrite(struct vm_fault *vmf)
{
	return refused(vmf->vma->vm_private_data) ? VM_FAULT_SIGBUS : 0;
}

/* Does the VMA map the whole huge page around the address, with frames of the same alignment? */
static bool fits(const struct vm_fault *vmf, unsigned int order)
{
	unsigned long size = PAGE_SIZE << order, start = vmf->address & ~(size - 1);
	unsigned long pgoff = linear_page_index(vmf->vma, start);

	return start >= vmf->vma->vm_start && vmf->vma->vm_end - start >= size && !(pgoff & ((1ul << order) - 1)) &&
	       pgoff + (1ul << order) <= ORACLE_HUGE_PAGES;
}

/* Install a leaf where there is no entry, or make an existing leaf writable for a store. */
static vm_fault_t insert_huge(struct vm_fault *vmf, unsigned int order, bool write)
{
	unsigned long start = vmf->address & ~((PAGE_SIZE << order) - 1);
	pfn_t pfn = pfn_to_pfn_t(ORACLE_HUGE_PFN + linear_page_index(vmf->vma, start));

	return order == 9 ? vmf_insert_pfn_pmd_prot(vmf, pfn, vmf->vma->vm_page_prot, write) :
			    vmf_insert_pfn_pud_prot(vmf, pfn, vmf->vma->vm_page_prot, write);
}

static vm_fault_t huge_fault(struct vm_fault *vmf, unsigned int order)
{
	struct object *obj = vmf->vma->vm_private_data;
	bool there = order == 9 ? !pmd_none(*vmf->pmd) : !pud_none(*vmf->pud);

	if (obj->grain < (order == 9 ? 1 : 2) || !fits(vmf, order))
		return VM_FAULT_FALLBACK;
	if (there && obj->told && refused(obj))
		return VM_FAULT_SIGBUS;
	return insert_huge(vmf, order, there);
}

#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 6, 0)
static vm_fault_t oracle_huge_fault(struct vm_fault *vmf, unsigned int order)
{
	return order ? huge_fault(vmf, order) : VM_FAULT_FALLBACK;
}
#else
static vm_fault_t oracle_huge_fault(struct vm_fault *vmf, enum page_entry_size size)
{
	return size == PE_SIZE_PTE ? VM_FAULT_FALLBACK : huge_fault(vmf, size == PE_SIZE_PMD ? 9 : 18);
}
#endif

static const struct vm_operations_struct quiet_ops = { .fault = oracle_fault };
static const struct vm_operations_struct page_ops = {
	.fault = oracle_fault,
	.page_mkwrite = oracle_page_mkwrite,
};
static const struct vm_operations_struct pfn_ops = {
	.fault = oracle_fault,
	.pfn_mkwrite = oracle_pfn_mkwrite,
};
static const struct vm_operations_struct huge_quiet_ops = {
	.fault = oracle_fault,
	.huge_fault = oracle_huge_fault,
};
static const struct vm_operations_struct huge_told_ops = {
	.fault = oracle_fault,
	.huge_fault = oracle_huge_fault,
	.pfn_mkwrite = oracle_pfn_mkwrite,
};

static const struct vm_operations_struct *ops_of(const struct object *obj)
{
	if (obj->huge)
		return obj->told ? &huge_told_ops : &huge_quiet_ops;
	return !obj->told ? &quiet_ops : obj->raw ? &pfn_ops : &page_ops;
}

static void add_flags(struct vm_area_struct *vma, unsigned long flags)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 3, 0)
	vm_flags_set(vma, flags);
#else
	vma->vm_flags |= flags;
#endif
}

static int oracle_mmap(struct file *file, struct vm_area_struct *vma)
{
	struct object *obj = file->private_data;

	if (obj->raw && (vma->vm_flags & (VM_SHARED | VM_MAYWRITE)) == VM_MAYWRITE)
		return -EINVAL;		/* vmf_insert_pfn() is not for copy-on-write mappings */
	if (obj->raw)
		add_flags(vma, VM_PFNMAP | VM_IO | VM_DONTEXPAND | VM_DONTDUMP);
	vma->vm_private_data = obj;
	vma->vm_ops = ops_of(obj);
	return 0;
}

/* --- entries --- */

static unsigned long page_word(struct page *page)
{
	unsigned long *at = kmap_local_page(page), word = READ_ONCE(*at);

	kunmap_local(at);
	return word;
}

static bool find_in_objects(struct page *page, struct oracle_entry *e)
{
	for (int o = 0; o < NR_OBJECTS; o++) {
		for (int i = 0; i < ORACLE_PAGES; i++) {
			if (objects[o].page[i] != page)
				continue;
			e->kind = ORACLE_OBJECT;
			e->owner = objects[o].letter;
			e->index = i;
			return true;
		}
	}
	return false;
}

static void describe_frame(unsigned long pfn, struct oracle_entry *e)
{
	struct page *page;

	e->kind = ORACLE_OTHER;
	e->owner = pfn;
	if (is_zero_pfn(pfn)) {
		e->kind = ORACLE_ZERO;
		return;
	}
	if (pfn - ORACLE_HUGE_PFN < ORACLE_HUGE_PAGES) {
		e->kind = ORACLE_OBJECT;
		e->owner = 'H';
		e->index = pfn - ORACLE_HUGE_PFN;
		e->word = *(u64 *)(huge_memory + e->index * PAGE_SIZE);
		return;
	}
	if (!pfn_valid(pfn))
		return;
	page = pfn_to_page(pfn);
	e->word = page_word(page);
	e->pinned = page_maybe_dma_pinned(page);
	if (find_in_objects(page, e))
		return;
	if (PageAnon(page)) {
		e->kind = ORACLE_ANON;
	} else if (page->mapping && page->mapping->host) {
		e->kind = ORACLE_FILE;
		e->owner = page->mapping->host->i_ino;
		e->index = page->index;
	}
}

static void describe_pte(pte_t pte, struct oracle_entry *e)
{
	swp_entry_t swp;

	e->level = 1;
	e->raw = pte_val(pte);
	if (pte_none(pte))
		return;
	if (pte_present(pte)) {
		describe_frame(pte_pfn(pte), e);
		return;
	}
	swp = pte_to_swp_entry(pte);
	e->kind = ORACLE_SWAP;
	e->owner = swp_type(swp);
	if (is_pte_marker_entry(swp)) {
		e->kind = ORACLE_MARKER;
		e->index = pte_marker_get(swp);
	}
}

/* mmap lock held, so that tables are not freed. */
static void describe(struct mm_struct *mm, unsigned long addr, struct oracle_entry *e)
{
	pgd_t *pgd = pgd_offset(mm, addr);
	p4d_t *p4d;
	pud_t *pud;
	pmd_t *pmd;

	if (pgd_none(*pgd))
		return;
	p4d = p4d_offset(pgd, addr);
	if (p4d_none(*p4d))
		return;
	pud = pud_offset(p4d, addr);
	if (pud_none(*pud))
		return;
	if (pud_leaf(*pud)) {
		e->level = 3;
		e->raw = pud_val(*pud);
		describe_frame(pud_pfn(*pud) + (addr & ~PUD_MASK) / PAGE_SIZE, e);
		return;
	}
	pmd = pmd_offset(pud, addr);
	if (pmd_none(*pmd))
		return;
	if (pmd_leaf(*pmd)) {
		e->level = 2;
		e->raw = pmd_val(*pmd);
		describe_frame(pmd_pfn(*pmd) + (addr & ~PMD_MASK) / PAGE_SIZE, e);
		return;
	}
	describe_pte(READ_ONCE(*pte_offset_kernel(pmd, addr)), e);
}

static struct mm_struct *mm_of(u32 nr)
{
	struct pid *pid = find_get_pid(nr);
	struct task_struct *task = get_pid_task(pid, PIDTYPE_PID);
	struct mm_struct *mm = task ? get_task_mm(task) : NULL;

	if (task)
		put_task_struct(task);
	put_pid(pid);
	return mm;
}

static long get_entries(void __user *arg)
{
	struct oracle_entries req;
	struct oracle_entry *out;
	struct mm_struct *mm;
	u64 at[MAX_ENTRIES];
	long err = 0;

	if (copy_from_user(&req, arg, sizeof(req)))
		return -EFAULT;
	if (!req.nr || req.nr > MAX_ENTRIES)
		return -EINVAL;
	if (copy_from_user(at, u64_to_user_ptr(req.at), req.nr * sizeof(*at)))
		return -EFAULT;
	out = kcalloc(req.nr, sizeof(*out), GFP_KERNEL);
	if (!out)
		return -ENOMEM;
	mm = mm_of(req.pid);
	if (mm) {
		mmap_read_lock(mm);
		for (u32 i = 0; i < req.nr; i++)
			describe(mm, at[i], &out[i]);
		mmap_read_unlock(mm);
		mmput(mm);
		if (copy_to_user(u64_to_user_ptr(req.out), out, req.nr * sizeof(*out)))
			err = -EFAULT;
	} else {
		err = -ESRCH;
	}
	kfree(out);
	return err;
}

static u32 owner_of(struct vm_area_struct *vma)
{
	if (!vma->vm_file)
		return 0;
	if (vma->vm_file->f_op == &oracle_fops)
		return ((struct object *)vma->vm_private_data)->letter;
	return strncmp(vma->vm_file->f_path.dentry->d_name.name, "memfd:", 6) ? 0 : 'F';
}

static void describe_vma(struct vm_area_struct *vma, struct oracle_vma *out)
{
	out->start = vma->vm_start;
	out->end = vma->vm_end;
	out->pgoff = vma->vm_pgoff;
	out->owner = owner_of(vma);
	out->flags = (vma->vm_flags & VM_READ ? ORACLE_VMA_READ : 0) |
		     (vma->vm_flags & VM_WRITE ? ORACLE_VMA_WRITE : 0) |
		     (vma->vm_flags & VM_MAYSHARE ? ORACLE_VMA_SHARED : 0);
}

static long get_vmas(void __user *arg)
{
	struct oracle_vmas req;
	struct oracle_vma *out;
	struct vm_area_struct *vma;
	struct mm_struct *mm;
	long err = 0;
	u32 nr = 0;

	if (copy_from_user(&req, arg, sizeof(req)))
		return -EFAULT;
	if (!req.nr || req.nr > 512)
		return -EINVAL;
	out = kcalloc(req.nr, sizeof(*out), GFP_KERNEL);
	if (!out)
		return -ENOMEM;
	mm = mm_of(req.pid);
	if (mm) {
		mmap_read_lock(mm);
		for (vma = find_vma(mm, req.start); vma && vma->vm_start < req.end && nr < req.nr;
		     vma = find_vma(mm, vma->vm_end))
			describe_vma(vma, &out[nr++]);
		mmap_read_unlock(mm);
		mmput(mm);
		req.nr = nr;
		if (copy_to_user(u64_to_user_ptr(req.out), out, nr * sizeof(*out)) ||
		    copy_to_user(arg, &req, sizeof(req)))
			err = -EFAULT;
	} else {
		err = -ESRCH;
	}
	kfree(out);
	return err;
}

/* --- the kernel's helpers --- */

static long walk(struct file *file, unsigned int cmd, void __user *arg)
{
	struct oracle_walk req;
	unsigned long bitmap[ORACLE_BITMAP] = { 0 };
	pgoff_t start, end;

	if (copy_from_user(&req, arg, sizeof(req)))
		return -EFAULT;
	if (cmd == ORACLE_CLEAN && (req.first >= ORACLE_BITMAP * 64 || req.nr > ORACLE_BITMAP * 64 - req.first))
		return -EINVAL;
	start = req.start;
	end = req.end;
	switch (cmd) {
	case ORACLE_WP:
		req.count = wp_shared_mapping_range(file->f_mapping, req.first, req.nr);
		break;
	case ORACLE_CLEAN:
		req.count = clean_record_shared_mapping_range(file->f_mapping, req.first, req.nr, 0,
							      bitmap, &start, &end);
		break;
	case ORACLE_ZAP:
		unmap_mapping_range(file->f_mapping, (loff_t)req.first << PAGE_SHIFT,
				    (loff_t)req.nr << PAGE_SHIFT, 0);
		break;
	}
	req.bitmap = oracle_fold((const __u64 *)bitmap, ORACLE_BITMAP);
	req.start = start;
	req.end = end;
	return copy_to_user(arg, &req, sizeof(req)) ? -EFAULT : 0;
}

/* --- pins --- */

static void unpin(struct pin *pin, bool dirty)
{
	if (pin->nr)
		unpin_user_pages_dirty_lock(pin->page, pin->nr, dirty);
	pin->nr = 0;
}

/* Three functions that should have the same result. */
static long pin_pages(const struct oracle_pin *req, struct page **page)
{
	unsigned int flags = (req->flags & ORACLE_PIN_WRITE ? FOLL_WRITE : 0) |
			     (req->flags & ORACLE_PIN_FORCE ? FOLL_FORCE : 0) |
			     (req->flags & ORACLE_PIN_LONGTERM ? FOLL_LONGTERM : 0);
	long nr;

	if (!(req->flags & (ORACLE_PIN_SLOW | ORACLE_PIN_REMOTE)))
		return pin_user_pages_fast(req->addr, req->nr, flags, page);
	mmap_read_lock(current->mm);
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 5, 0)
	if (req->flags & ORACLE_PIN_REMOTE)
		nr = pin_user_pages_remote(current->mm, req->addr, req->nr, flags, page, NULL);
	else
		nr = pin_user_pages(req->addr, req->nr, flags, page);
#else
	if (req->flags & ORACLE_PIN_REMOTE)
		nr = pin_user_pages_remote(current->mm, req->addr, req->nr, flags, page, NULL, NULL);
	else
		nr = pin_user_pages(req->addr, req->nr, flags, page, NULL);
#endif
	mmap_read_unlock(current->mm);
	return nr;
}

static long get_pins(struct oracle_pin *req, struct pin *pin, void __user *arg)
{
	struct oracle_entry *out = kcalloc(ORACLE_MAX_PIN, sizeof(*out), GFP_KERNEL);
	long err = 0;

	if (!out)
		return -ENOMEM;
	for (int i = 0; i < pin->nr; i++)
		describe_frame(page_to_pfn(pin->page[i]), &out[i]);
	req->nr = pin->nr;
	if (copy_to_user(u64_to_user_ptr(req->out), out, pin->nr * sizeof(*out)) ||
	    copy_to_user(arg, req, sizeof(*req)))
		err = -EFAULT;
	kfree(out);
	return err;
}

/* Store as a device does, without any other effect on the page. */
static long poke(const struct oracle_pin *req, struct pin *pin)
{
	u64 *at;

	if (req->index >= pin->nr || !pin->write)
		return -EINVAL;
	at = kmap_local_page(pin->page[req->index]);
	WRITE_ONCE(*at, req->word);
	kunmap_local(at);
	return 0;
}

static long use_pins(unsigned int cmd, void __user *arg)
{
	struct oracle_pin req;
	struct pin *pin;
	int nr;

	if (copy_from_user(&req, arg, sizeof(req)))
		return -EFAULT;
	if (req.slot >= ORACLE_PINS || req.nr > ORACLE_MAX_PIN)
		return -EINVAL;
	pin = &pins[req.slot];
	switch (cmd) {
	case ORACLE_UNPIN:
		nr = pin->nr;
		unpin(pin, req.dirty);
		return nr;
	case ORACLE_GET_PINS:
		return get_pins(&req, pin, arg);
	case ORACLE_POKE:
		return poke(&req, pin);
	}
	if (pin->nr)
		return -EBUSY;
	nr = pin_pages(&req, pin->page);
	pin->nr = nr > 0 ? nr : 0;
	pin->write = req.flags & ORACLE_PIN_WRITE;
	return nr;
}

/* --- the device --- */

static void set_word(struct page *page, u64 word)
{
	void *at = kmap_local_page(page);

	memset(at, 0, PAGE_SIZE);
	*(u64 *)at = word;
	kunmap_local(at);
}

static void set_huge_words(void)
{
	for (u64 i = 0; i < ORACLE_HUGE_TOLD; i++)
		*(u64 *)(huge_memory + i * PAGE_SIZE) = ORACLE_WORD('H', i);
	*(u64 *)(huge_memory + (ORACLE_HUGE_PAGES - 1) * PAGE_SIZE) = ORACLE_WORD('H', ORACLE_HUGE_PAGES - 1);
}

static int reset(void)
{
	set_huge_words();
	for (int i = 0; i < ORACLE_PINS; i++)
		unpin(&pins[i], false);
	for (int o = 0; o < NR_OBJECTS; o++) {
		struct object *obj = &objects[o];

		obj->mkwrites = 0;
		obj->refuse = false;
		obj->grain = 2;
		if (obj->huge)
			continue;
		for (int i = 0; i < ORACLE_PAGES; i++) {
			struct page *page = obj->page[i];

			/* A process that still maps a page after a scenario is a bug of the runner. */
			if (page_count(page) != 1)
				return -EBUSY;
			ClearPageDirty(page);
			set_word(page, ORACLE_WORD(obj->letter, i));
		}
	}
	return 0;
}

static long oracle_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct object *obj = file->private_data;
	void __user *user = (void __user *)arg;

	switch (cmd) {
	case ORACLE_GET_ENTRIES:
		return get_entries(user);
	case ORACLE_GET_VMAS:
		return get_vmas(user);
	case ORACLE_WP:
	case ORACLE_CLEAN:
	case ORACLE_ZAP:
		return walk(file, cmd, user);
	case ORACLE_PIN:
	case ORACLE_UNPIN:
	case ORACLE_GET_PINS:
	case ORACLE_POKE:
		return use_pins(cmd, user);
	case ORACLE_RESET:
		return reset();
	case ORACLE_MKWRITES:
		return obj->mkwrites;
	case ORACLE_REFUSE:
		obj->refuse = arg;
		return 0;
	case ORACLE_GRAIN:
		obj->grain = arg;
		return 0;
	}
	return -ENOTTY;
}

static int oracle_open(struct inode *inode, struct file *file)
{
	struct object *obj = NULL;

	for (int o = 0; o < NR_OBJECTS; o++)
		for (int t = 0; t < 2; t++)
			if (objects[o].dev[t].minor == iminor(inode))
				obj = file->private_data = &objects[o];
	/*
	 * Not every kernel calls huge_fault for mappings of files that are not DAX. The flag has no other effect here,
	 * as the file is on no file system.
	 */
	if (obj && obj->huge)
		inode->i_flags |= S_DAX;
	return 0;
}

static const struct file_operations oracle_fops = {
	.owner = THIS_MODULE,
	.open = oracle_open,
	.mmap = oracle_mmap,
	.unlocked_ioctl = oracle_ioctl,
};

static int add_object(struct object *obj)
{
	int err = 0;

	for (int i = 0; i < ORACLE_PAGES && !obj->huge; i++) {
		obj->page[i] = alloc_page(GFP_KERNEL | __GFP_ZERO);
		if (!obj->page[i])
			return -ENOMEM;
	}
	for (int t = 0; t < 2 && !err; t++) {
		snprintf(obj->name[t], sizeof(obj->name[t]), "oracle%c%s", obj->letter, t ? "-twin" : "");
		obj->dev[t].minor = MISC_DYNAMIC_MINOR;
		obj->dev[t].name = obj->name[t];
		obj->dev[t].fops = &oracle_fops;
		err = misc_register(&obj->dev[t]);
	}
	return err;
}

/* The machine runs one test and is switched off afterwards, so nothing is undone. */
static int __init oracle_init(void)
{
	int err = 0;

	huge_memory = memremap(ORACLE_HUGE_PFN << PAGE_SHIFT, ORACLE_HUGE_PAGES << PAGE_SHIFT, MEMREMAP_WB);
	if (!huge_memory)
		return -ENOMEM;
	for (int o = 0; o < NR_OBJECTS && !err; o++)
		err = add_object(&objects[o]);
	return err;
}
module_init(oracle_init);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("What the kernel does to page-table entries, for comparison");
