/* SPDX-License-Identifier: MIT */
/*
 * abi/vdso.c - map the time page and the vDSO into every program, and update the page.
 *
 * The page is a frame of device memory that Vellum writes. It relates the program's time-stamp counter to the host's
 * clocks. If the machine has no usable counter, the vDSO makes system calls.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <x86intrin.h>

#include "abi/task.h"
#include "abi/vdso/vvar.h"
#include "vellum/backing.h"

extern const char vellum_vdso_blob[], vellum_vdso_blob_end[];

#define PAGE		VELLUM_PAGE_SIZE
#define SETTLE_NS	100000000u	/* in which the page's clock is slewed to the right time */

struct vdso {
	struct vellum_mapping *vvar_map, *code_map;
	uint64_t vvar_pfn;
	struct vvar *vvar;
	uint64_t first_tsc, first_ns;	/* of the calibration */
};

static uint64_t code_pages(void)
{
	return ((uint64_t)(vellum_vdso_blob_end - vellum_vdso_blob) + PAGE - 1) / PAGE;
}

static int vvar_fault(void *ctx, struct vellum_vmf *vmf)
{
	const struct vdso *v = ctx;

	vmf->pfn = v->vvar_pfn;
	return vmf->write ? VELLUM_VMF_SIGBUS : VELLUM_VMF_OK;
}

static int code_fault(void *ctx, struct vellum_vmf *vmf)
{
	size_t size = (size_t)(vellum_vdso_blob_end - vellum_vdso_blob), at = vmf->pgoff * PAGE;

	(void)ctx;
	memcpy(vmf->page, vellum_vdso_blob + at, size - at < PAGE ? size - at : PAGE);
	return VELLUM_VMF_OK;
}

static const struct vellum_backing_ops vvar_ops = { .size = sizeof(vvar_ops), .fault = vvar_fault };
static const struct vellum_backing_ops code_ops = { .size = sizeof(code_ops), .fault = code_fault };

static uint64_t guest_tsc(const struct kernel *k)
{
	return __rdtsc() + (uint64_t)k->args->machine->tsc_offset;
}

/* CLOCK_MONOTONIC at @tsc according to the page. */
static uint64_t predicted_ns(const struct vvar *v, uint64_t tsc)
{
	return v->mono_ns + (uint64_t)((unsigned __int128)(tsc - v->tsc) * v->mult >> 32);
}

static void update_vvar(struct vvar *v, uint64_t tsc, uint64_t mono, int64_t real_offset, uint64_t mult)
{
	__atomic_store_n(&v->seq, v->seq + 1, __ATOMIC_SEQ_CST);
	v->tsc = tsc;
	v->mono_ns = mono;
	v->real_offset_ns = real_offset;
	v->mult = mult;
	v->valid = 1;
	__atomic_store_n(&v->seq, v->seq + 1, __ATOMIC_SEQ_CST);
}

/*
 * Time never goes back: if the page's clock is ahead, it continues from its own time and runs slower.
 */
void vdso_update_clock(struct kernel *k)
{
	struct vdso *vd = k->vdso;
	uint64_t tsc, mono, rate, base, mult;
	int64_t real_offset;

	if (!vd || !k->args->machine->has_tsc)
		return;
	mono = clock_ns(CLOCK_MONOTONIC);
	tsc = guest_tsc(k);
	real_offset = (int64_t)(clock_ns(CLOCK_REALTIME) - mono);
	if (tsc <= vd->first_tsc || mono <= vd->first_ns)
		return;
	rate = (uint64_t)(((unsigned __int128)(mono - vd->first_ns) << 32) / (tsc - vd->first_tsc));
	base = mono;
	mult = rate;
	if (vd->vvar->valid && predicted_ns(vd->vvar, tsc) > mono) {
		base = predicted_ns(vd->vvar, tsc);
		/* The page's clock is right again after SETTLE_NS. */
		mult = base - mono < SETTLE_NS / 2 ? rate - (uint64_t)((unsigned __int128)rate *
							(base - mono) / SETTLE_NS) : rate / 2;
	}
	update_vvar(vd->vvar, tsc, base, real_offset, mult);
}

/* The program's counter was restarted: the vDSO makes system calls from now on. No CPU runs. */
static void invalidate_vvar(void *arg)
{
	struct vdso *vd = arg;

	__atomic_store_n(&vd->vvar->seq, vd->vvar->seq + 1, __ATOMIC_SEQ_CST);
	vd->vvar->valid = 0;
	__atomic_store_n(&vd->vvar->seq, vd->vvar->seq + 1, __ATOMIC_SEQ_CST);
}

static int create_objects(struct kernel *k, struct vdso *vd)
{
	struct vellum_memory *m = k->args->memory;

	if (vellum_memory_alloc_device(m, 1, &vd->vvar_pfn))
		return -ENOMEM;
	vd->vvar = vellum_frame_host(m, vd->vvar_pfn);
	if (vellum_mapping_create(m, &vvar_ops, vd, 1, VELLUM_MAPPING_PFN, &vd->vvar_map))
		return -ENOMEM;
	return vellum_mapping_create(m, &code_ops, vd, code_pages(), 0, &vd->code_map) ? -ENOMEM : 0;
}

/* If there is no memory, programs run without a vDSO. */
void vdso_init(struct kernel *k)
{
	struct vdso *vd = calloc(1, sizeof(*vd));

	if (!vd)
		return;
	k->vdso = vd;
	if (create_objects(k, vd)) {
		vdso_fini(k);
		return;
	}
	vd->first_ns = clock_ns(CLOCK_MONOTONIC);
	vd->first_tsc = guest_tsc(k);
	k->args->machine->restarted_arg = vd;
	k->args->machine->restarted = invalidate_vvar;
}

void vdso_fini(struct kernel *k)
{
	struct vdso *vd = k->vdso;

	if (!vd)
		return;
	k->args->machine->restarted = NULL;
	vellum_mapping_put(vd->vvar_map);
	vellum_mapping_put(vd->code_map);
	if (vd->vvar)
		vellum_memory_free_device(k->args->memory, vd->vvar_pfn, 1);
	free(vd);
	k->vdso = NULL;
}

static int map_object(struct guest_mm *gmm, struct vellum_mapping *mapping, uint64_t at, uint64_t pages,
		      uint32_t prot)
{
	const struct vellum_map_args args = { .size = sizeof(args), .addr = at, .len = pages * PAGE,
					      .prot = prot, .mapping = mapping,
					      .flags = VELLUM_MAP_PRIVATE | VELLUM_MAP_FIXED_NOREPLACE,
					      .file_prot = VELLUM_PROT_READ };
	uint64_t addr;

	return vellum_mmap(gmm->mm, &args, &addr);
}

uint64_t vdso_map(struct task *t, struct guest_mm *gmm)
{
	const struct vdso *vd = t->kernel->vdso;
	uint64_t code = gmm->stack_end + 2 * PAGE;	/* the time page is right below */

	if (!vd || map_object(gmm, vd->vvar_map, code - PAGE, 1, VELLUM_PROT_READ))
		return 0;
	if (map_object(gmm, vd->code_map, code, code_pages(), VELLUM_PROT_READ | VELLUM_PROT_EXEC))
		return 0;
	return code;
}
