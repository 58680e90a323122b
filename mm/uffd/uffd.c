/* SPDX-License-Identifier: MIT */
/* mm/uffd/uffd.c - userfaultfd contexts: handshake, register and unregister ranges, close. */
#include "mm/space/space.h"
#include "mm/table/tlb.h"
#include "mm/uffd/uffd.h"
#include "mm/vma.h"

#define KNOWN_FEATURES 0x1fdefull	/* bits 0 to 16 without MISSING_HUGETLBFS and MINOR_HUGETLBFS */
#define KNOWN_MODES (VELLUM_UFFD_MISSING | VELLUM_UFFD_WP | VELLUM_UFFD_MINOR)
#define BIT(n) (1ull << (n))

int uffd_new(struct vellum_mm *mm, uint32_t flags, struct vellum_uffd **out)
{
	struct vellum_memory *m = mm->memory;
	struct vellum_uffd *uffd = host_alloc(&m->host, sizeof(*uffd));

	if (!uffd)
		return -ENOMEM;
	uffd->memory = m;
	uffd->refs = uffd->users = 1;
	uffd->flags = flags;
	mutex_lock(&m->uffd_lock, &m->host);
	uffd->mm = mm;
	uffd->next = mm->uffds;
	if (uffd->next)
		uffd->next->prev = uffd;
	__atomic_store_n(&mm->uffds, uffd, __ATOMIC_RELAXED);
	mutex_unlock(&m->uffd_lock, &m->host);
	*out = uffd;
	return 0;
}

void uffd_ref_get(struct vellum_uffd *uffd)
{
	__atomic_fetch_add(&uffd->refs, 1, __ATOMIC_RELAXED);
}

static void leave_mm(struct vellum_memory *m, struct vellum_uffd *uffd) HOLDS(&m->uffd_lock)
{
	mutex_assert_held(&m->uffd_lock);
	if (!uffd->mm)
		return;
	if (uffd->next)
		uffd->next->prev = uffd->prev;
	if (uffd->prev)
		uffd->prev->next = uffd->next;
	else
		__atomic_store_n(&uffd->mm->uffds, uffd->next, __ATOMIC_RELAXED);
	uffd->mm = NULL;
}

void uffd_ref_put(struct vellum_uffd *uffd)
{
	struct vellum_memory *m;

	if (!uffd || __atomic_sub_fetch(&uffd->refs, 1, __ATOMIC_ACQ_REL))
		return;
	m = uffd->memory;
	mutex_lock(&m->uffd_lock, &m->host);
	leave_mm(m, uffd);
	mutex_unlock(&m->uffd_lock, &m->host);
	host_free(&m->host, uffd, sizeof(*uffd));
}

struct vellum_mm *uffd_get_mm(struct vellum_uffd *uffd)
{
	struct vellum_memory *m = uffd->memory;
	struct vellum_mm *mm;

	mutex_lock(&m->uffd_lock, &m->host);
	mm = uffd->mm;
	if (mm && !ref_try_get(&mm->refs))
		mm = NULL;
	mutex_unlock(&m->uffd_lock, &m->host);
	return mm;
}

void uffd_detach_mm(struct vellum_mm *mm)
{
	struct vellum_memory *m = mm->memory;

	mutex_lock(&m->uffd_lock, &m->host);
	while (mm->uffds)
		leave_mm(m, mm->uffds);
	mutex_unlock(&m->uffd_lock, &m->host);
}

bool uffd_ready(const struct vellum_uffd *uffd)
{
	return __atomic_load_n(&uffd->api_done, __ATOMIC_ACQUIRE) &&
	       !__atomic_load_n(&uffd->released, __ATOMIC_ACQUIRE);
}

bool uffd_changing(const struct vellum_uffd *uffd)
{
	return __atomic_load_n(&uffd->mmap_changing, __ATOMIC_SEQ_CST) != 0;
}

EXPORT int vellum_uffd_create(struct vellum_mm *mm, uint32_t flags, struct vellum_uffd **out)
{
	if (!mm || !out || (flags & ~(uint32_t)(VELLUM_UFFD_USER_MODE_ONLY | VELLUM_UFFD_MAY_FORK)))
		return -EINVAL;
	return uffd_new(mm, flags, out);
}

EXPORT bool vellum_uffd_is_for(struct vellum_uffd *uffd, const struct vellum_mm *mm)
{
	struct vellum_memory *m = uffd->memory;
	bool is;

	mutex_lock(&m->uffd_lock, &m->host);
	is = uffd->mm == mm;
	mutex_unlock(&m->uffd_lock, &m->host);
	return is;
}

EXPORT void vellum_uffd_get(struct vellum_uffd *uffd)
{
	__atomic_fetch_add(&uffd->users, 1, __ATOMIC_RELAXED);
}

EXPORT void vellum_uffd_put(struct vellum_uffd *uffd)
{
	if (!uffd || __atomic_sub_fetch(&uffd->users, 1, __ATOMIC_ACQ_REL))
		return;
	vellum_uffd_close(uffd);
	uffd_ref_put(uffd);
}

EXPORT int vellum_uffd_api(struct vellum_uffd *uffd, uint64_t api, uint64_t features, uint64_t *supported,
			   uint64_t *ioctls)
{
	struct vellum_memory *m = uffd->memory;
	int err = 0;

	if (api != VELLUM_UFFD_API || (features & ~KNOWN_FEATURES))
		return -EINVAL;
	if ((features & VELLUM_UFFD_FEATURE_EVENT_FORK) && !(uffd->flags & VELLUM_UFFD_MAY_FORK))
		return -EPERM;
	if (features & VELLUM_UFFD_FEATURE_WP_ASYNC)
		features |= VELLUM_UFFD_FEATURE_WP_UNPOPULATED;
	mutex_lock(&uffd->lock, &m->host);
	if (uffd->api_done || uffd->released) {
		err = -EINVAL;
	} else {
		__atomic_store_n(&uffd->features, features, __ATOMIC_RELAXED);
		__atomic_store_n(&uffd->api_done, 1, __ATOMIC_RELEASE);
	}
	mutex_unlock(&uffd->lock, &m->host);
	if (!err && supported)
		*supported = KNOWN_FEATURES;
	if (!err && ioctls)
		*ioctls = BIT(VELLUM_UFFDIO_REGISTER) | BIT(VELLUM_UFFDIO_UNREGISTER) | BIT(VELLUM_UFFDIO_API);
	return err;
}

/* --- ranges --- */

static uint64_t vm_of_modes(uint64_t modes)
{
	return (modes & VELLUM_UFFD_MISSING ? VM_UFFD_MISSING : 0) | (modes & VELLUM_UFFD_WP ? VM_UFFD_WP : 0) |
	       (modes & VELLUM_UFFD_MINOR ? VM_UFFD_MINOR : 0);
}

static uint64_t modes_of_vm(uint64_t flags)
{
	return (flags & VM_UFFD_MISSING ? VELLUM_UFFD_MISSING : 0) | (flags & VM_UFFD_WP ? VELLUM_UFFD_WP : 0) |
	       (flags & VM_UFFD_MINOR ? VELLUM_UFFD_MINOR : 0);
}

void vma_set_uffd(struct vma *vma, struct vellum_uffd *uffd, uint64_t modes)
{
	struct vellum_uffd *old = vma->uffd;

	mmap_assert_write_held(vma->mm);
	if (uffd)
		uffd_ref_get(uffd);
	vma->uffd = uffd;
	__atomic_store_n(&vma->flags, (vma->flags & ~VM_UFFD) | modes, __ATOMIC_RELAXED);
	vma_update_prot(vma);
	uffd_ref_put(old);
}

/* May the VMA be registered in these modes? */
static bool is_eligible(const struct vellum_uffd *uffd, const struct vma *vma, uint64_t modes)
{
	bool shared = vma->mapping && mapping_has_missing(vma->mapping);

	if (vma->flags & (VM_SHADOW_STACK | VM_SPECIAL | VM_DROPPABLE))
		return false;
	if ((modes & VELLUM_UFFD_MINOR) && !shared)
		return false;
	if (modes == VELLUM_UFFD_WP && uffd_has(uffd, VELLUM_UFFD_FEATURE_WP_ASYNC))
		return true;
	return !vma->mapping || shared;
}

/* 0, or the error of a registration. */
static int check_register(const struct vellum_uffd *uffd, struct vellum_mm *mm, gva_t start, gva_t end,
			  uint64_t modes) HOLDS_SHARED(&mm->mmap_lock)
{
	const struct vma *vma = find_vma_intersection(mm, start, end);

	if (!vma)
		return -EINVAL;
	for (; vma && vma->start < end; vma = vma_next(vma)) {
		if (!is_eligible(uffd, vma, modes))
			return -EINVAL;
		if (!(vma->flags & VM_MAYWRITE))
			return -EPERM;
		if (vma->uffd && vma->uffd != uffd)
			return -EBUSY;
	}
	return 0;
}

/*
 * Set the context of a part of one VMA, after a split if needed. Return: the VMA, merged with its neighbours; NULL: no
 * memory.
 */
static struct vma *change_part(struct vma *vma, gva_t start, gva_t end, struct vellum_uffd *uffd, uint64_t modes)
{
	struct vellum_mm *mm = vma->mm;

	mmap_assert_write_held(mm);
	if (vma->start < start || vma->end > end) {
		if (vma_split_range(mm, start, end))
			return NULL;
		vma = find_vma(mm, start);
	}
	vma_set_uffd(vma, uffd, modes);
	return vma_merge(vma);
}

/* The next part of [*@start, @end) that one VMA covers: [*@start, *@next). NULL: none is left. */
static struct vma *next_part(struct vellum_mm *mm, gva_t *start, gva_t end, gva_t *next)
{
	struct vma *vma = *start < end ? find_vma_intersection(mm, *start, end) : NULL;

	if (vma) {
		*start = max_u64(*start, vma->start);
		*next = min_u64(vma->end, end);
	}
	return vma;
}

static int register_range(struct vellum_uffd *uffd, struct vellum_mm *mm, gva_t start, gva_t end, uint64_t modes)
	HOLDS(&mm->mmap_lock)
{
	uint64_t vm = vm_of_modes(modes);
	int err = check_register(uffd, mm, start, end, modes);
	struct vma *vma;
	gva_t next;

	for (; !err && (vma = next_part(mm, &start, end, &next)); start = next) {
		/* A registration that includes these modes stays. */
		if (!(vma->uffd == uffd && (vma->flags & vm) == vm) && !change_part(vma, start, next, uffd, vm))
			err = -ENOMEM;
	}
	return err;
}

static bool range_valid(uint64_t start, uint64_t len)
{
	return !((start | len) & ~PAGE_MASK) && is_user_range(start, len);
}

static uint64_t ioctls_of(uint64_t modes)
{
	return BIT(VELLUM_UFFDIO_WAKE) | BIT(VELLUM_UFFDIO_COPY) | BIT(VELLUM_UFFDIO_ZEROPAGE) |
	       BIT(VELLUM_UFFDIO_MOVE) | BIT(VELLUM_UFFDIO_POISON) |
	       (modes & VELLUM_UFFD_WP ? BIT(VELLUM_UFFDIO_WRITEPROTECT) : 0) |
	       (modes & VELLUM_UFFD_MINOR ? BIT(VELLUM_UFFDIO_CONTINUE) : 0);
}

EXPORT int vellum_uffd_register(struct vellum_uffd *uffd, uint64_t start, uint64_t len, uint64_t modes,
				uint64_t *ioctls)
{
	struct vellum_mm *mm;
	int err;

	if (!uffd_ready(uffd) || !modes || (modes & ~(uint64_t)KNOWN_MODES) || !range_valid(start, len))
		return -EINVAL;
	mm = uffd_get_mm(uffd);
	if (!mm)
		return -ENOMEM;
	write_lock(&mm->mmap_lock, mm_host(mm));
	err = uffd_ready(uffd) ? register_range(uffd, mm, start, start + len, modes) : -EINVAL;
	write_unlock(&mm->mmap_lock, mm_host(mm));
	vellum_mm_put(mm);
	if (!err && ioctls)
		*ioctls = ioctls_of(modes);
	return err;
}

/* Remove the write protection of a part, and its registration. 0 or -ENOMEM. */
static int unregister_part(struct tlb_gather *tlb, struct vma *vma, gva_t start, gva_t end)
{
	struct vellum_uffd *uffd = vma->uffd;
	int err = 0;

	uffd_ref_get(uffd);
	if (vma_uffd_wp(vma))
		err = uffd_wp_vma(tlb, vma, start, end, false);
	if (!err && !change_part(vma, start, end, NULL, 0))
		err = -ENOMEM;
	if (!err)
		uffd_wake_range(uffd, start, end);
	uffd_ref_put(uffd);
	return err;
}

/* VMAs of other contexts are skipped. */
static int unregister_range(struct vellum_mm *mm, struct vellum_uffd *uffd, gva_t start, gva_t end)
	HOLDS(&mm->mmap_lock)
{
	struct tlb_gather tlb;
	struct vma *vma;
	gva_t next;
	int err = 0;

	tlb_gather_begin(&tlb, mm);
	for (; !err && (vma = next_part(mm, &start, end, &next)); start = next)
		if (vma->uffd == uffd)
			err = unregister_part(&tlb, vma, start, next);
	tlb_gather_finish(&tlb);
	return err;
}

static int check_unregister(const struct vellum_uffd *uffd, struct vellum_mm *mm, gva_t start, gva_t end)
{
	const struct vma *vma = find_vma_intersection(mm, start, end);

	if (!vma)
		return -EINVAL;
	for (; vma && vma->start < end; vma = vma_next(vma)) {
		if (vma->uffd && vma->uffd != uffd)
			return -EINVAL;
		if (!is_eligible(uffd, vma, modes_of_vm(vma->flags)))
			return -EINVAL;
	}
	return 0;
}

EXPORT int vellum_uffd_unregister(struct vellum_uffd *uffd, uint64_t start, uint64_t len)
{
	struct vellum_mm *mm;
	int err;

	if (!uffd_ready(uffd) || !range_valid(start, len))
		return -EINVAL;
	mm = uffd_get_mm(uffd);
	if (!mm)
		return -ENOMEM;
	write_lock(&mm->mmap_lock, mm_host(mm));
	err = check_unregister(uffd, mm, start, start + len);
	if (!err)
		err = unregister_range(mm, uffd, start, start + len);
	write_unlock(&mm->mmap_lock, mm_host(mm));
	vellum_mm_put(mm);
	return err;
}

/*
 * Unregister all VMAs of a closed context, since it will resolve no fault. Whole VMAs, so nothing is split and no
 * memory is needed.
 */
static void forget_all(struct vellum_mm *mm, struct vellum_uffd *uffd)
{
	struct tlb_gather tlb;

	write_lock(&mm->mmap_lock, mm_host(mm));
	tlb_gather_begin(&tlb, mm);
	for (struct vma *vma = vma_first(mm); vma; vma = vma_next(vma)) {
		if (vma->uffd != uffd)
			continue;
		if (vma_uffd_wp(vma))
			uffd_wp_vma(&tlb, vma, vma->start, vma->end, false);	/* whole VMA: needs no memory */
		vma_set_uffd(vma, NULL, 0);
		vma = vma_merge(vma);
	}
	tlb_gather_finish(&tlb);
	write_unlock(&mm->mmap_lock, mm_host(mm));
}

EXPORT void vellum_uffd_close(struct vellum_uffd *uffd)
{
	struct vellum_mm *mm;

	if (__atomic_exchange_n(&uffd->released, 1, __ATOMIC_SEQ_CST))
		return;
	mm = uffd_get_mm(uffd);
	if (mm) {
		forget_all(mm, uffd);
		vellum_mm_put(mm);
	}
	uffd_drop_waits(uffd);
}
