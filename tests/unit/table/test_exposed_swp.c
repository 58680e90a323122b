/* SPDX-License-Identifier: MIT */
/*
 * Entries that are neither none nor present, on a machine whose tables are exposed: which of them the core may have
 * written. A forged one ends the process in the host's forged() hook.
 */
#define _GNU_SOURCE
#include <sys/wait.h>
#include <unistd.h>

#include "device_support.h"

#define FORGED_STATUS 125

static void end_forged(void *host, uint64_t entry, const char *what)
{
	(void)host, (void)entry, (void)what;
	_exit(FORGED_STATUS);
}

struct scene {
	struct swap_world sw;
	struct vellum_mmu_ops mmu;
	struct vellum_host_ops host;
	struct gpu *gpu;
};

static struct scene *create(void)
{
	struct scene *s = calloc(1, sizeof(*s));
	struct world *w = &s->sw.w;

	world_create(w, 16 << 20);
	s->mmu = *vellum_soft_mmu_ops();
	s->mmu.caps |= VELLUM_MMU_TABLES_EXPOSED;
	s->host = *test_host_ops();
	s->host.forged = end_forged;
	world_remake(w, &s->mmu, &s->host);
	vellum_soft_load_mm(w->cpu[0], w->mm);
	disk_create(&s->sw.disk, w, DISK_SLOTS);
	s->gpu = gpu_create(w, 8);
	map_at(w->mm, 0, 8, RW, ANON);
	for (unsigned i = 0; i < 8; i++)
		store(w->cpu[0], PAGE(i), i);
	return s;
}

static void destroy(struct scene *s)
{
	unmap(s->sw.w.mm, 0, 8);
	gpu_destroy(s->gpu);
	swap_world_destroy(&s->sw);
	free(s);
}

/* Check the entry in a process of its own, as the check may end it. */
static bool is_forged(struct scene *s, uint64_t entry)
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		alarm(20);
		check_swp_entry(s->sw.w.memory, pte_make(entry));
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status) && (WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == FORGED_STATUS));
	return WEXITSTATUS(status) == FORGED_STATUS;
}

static bool type_is_forged(struct scene *s, unsigned type, uint64_t offset)
{
	return is_forged(s, swp_entry_pte(type, offset).val);
}

static void markers(void **state)
{
	struct scene *s = create();

	(void)state;
	for (unsigned bits = 0; bits < 18; bits++)
		assert_int_equal(type_is_forged(s, SWP_MARKER, bits), bits == 0 || bits > 7);
	assert_false(is_forged(s, pte_marker(MARKER_POISON).val | SWP_SOFT_DIRTY | SWP_UFFD_WP));
	assert_true(type_is_forged(s, SWP_MARKER, 1ull << 40 | 1));
	destroy(s);
}

/* A slot is in use, or not, or its area does not exist. Poisoned frames may have any number. */
static void slots_and_poison(void **state)
{
	struct scene *s = create();
	struct world *w = &s->sw.w;
	pte_t swapped;

	(void)state;
	OK(vellum_madvise(w->mm, PAGE(1), BYTES(1), VELLUM_MADV_PAGEOUT));
	swapped = entry_at(w->mm, PAGE(1));
	assert_true(pte_is_genuine_swap(swapped));
	assert_false(is_forged(s, swapped.val));
	assert_true(type_is_forged(s, pte_swp_type(swapped), pte_swp_offset(swapped) + 1));
	assert_true(type_is_forged(s, pte_swp_type(swapped) + 1, pte_swp_offset(swapped)));
	load(w->cpu[0], PAGE(1));
	assert_true(is_forged(s, swapped.val));
	assert_false(type_is_forged(s, SWP_HWPOISON, pte_pfn(entry_at(w->mm, PAGE(0)))));
	assert_false(type_is_forged(s, SWP_HWPOISON, 1ull << 39));
	destroy(s);
}

static void device_entries(void **state)
{
	struct scene *s = create();
	struct world *w = &s->sw.w;
	pfn_t pfn;

	(void)state;
	assert_int_equal(to_gpu(s->gpu, w->mm, 2, 1), 1);
	pfn = pte_swp_pfn(entry_at(w->mm, PAGE(2)));
	for (unsigned type = SWP_DEVICE_WRITE; type <= SWP_DEVICE_READ; type++) {
		assert_false(type_is_forged(s, type, pfn));
		assert_true(type_is_forged(s, type, pfn + 1));
		assert_true(type_is_forged(s, type, pfn + 8));
		assert_true(type_is_forged(s, type, pte_pfn(entry_at(w->mm, PAGE(0)))));
	}
	load(w->cpu[0], PAGE(2));
	assert_true(type_is_forged(s, SWP_DEVICE_READ, pfn));
	destroy(s);
}

static pfn_t table_pfn(struct world *w)
{
	struct mutex *ptl;
	pte_t *ptep = pte_lookup(w->mm, PAGE(0), &ptl);

	return ((uintptr_t)ptep - (uintptr_t)w->ram) >> PAGE_SHIFT;
}

static void must_be_forged(struct scene *s, unsigned type, pfn_t device)
{
	assert_true(type_is_forged(s, type, device));
	assert_true(type_is_forged(s, type, table_pfn(&s->sw.w)));
	assert_true(type_is_forged(s, type, s->sw.w.memory->nr_frames + 1));
}

/* A page in use that is locked, as a migration does; exclusive access of a device needs no lock. */
static void migration_and_exclusive_entries(void **state)
{
	struct scene *s = create();
	struct world *w = &s->sw.w;
	pfn_t pfn = pte_pfn(entry_at(w->mm, PAGE(3)));
	uint64_t device;

	(void)state;
	OK(vellum_memory_alloc_device(w->memory, 1, &device));
	for (unsigned type = SWP_MIGRATION_READ; type <= SWP_DEVICE_EXCL_READ; type++) {
		bool migrates = type <= SWP_MIGRATION_WRITE;

		if (type == SWP_DEVICE_WRITE || type == SWP_DEVICE_READ)
			continue;
		assert_int_equal(type_is_forged(s, type, pfn), migrates);
		must_be_forged(s, type, device);
		mutex_lock(&pfn_folio(w->memory, pfn)->lock, mm_host(w->mm));
		mutex_lock(&pfn_folio(w->memory, device)->lock, mm_host(w->mm));
		mutex_lock(&pfn_folio(w->memory, table_pfn(w))->lock, mm_host(w->mm));
		assert_false(type_is_forged(s, type, pfn));
		assert_false(type_is_forged(s, type, pfn | MIGRATION_YOUNG | MIGRATION_DIRTY));
		must_be_forged(s, type, device);
		mutex_unlock(&pfn_folio(w->memory, table_pfn(w))->lock, mm_host(w->mm));
		mutex_unlock(&pfn_folio(w->memory, device)->lock, mm_host(w->mm));
		mutex_unlock(&pfn_folio(w->memory, pfn)->lock, mm_host(w->mm));
	}
	vellum_memory_free_device(w->memory, device, 1);
	mutex_lock(&pfn_folio(w->memory, device)->lock, mm_host(w->mm));
	assert_true(type_is_forged(s, SWP_MIGRATION_READ, device));
	mutex_unlock(&pfn_folio(w->memory, device)->lock, mm_host(w->mm));
	destroy(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(markers),
		cmocka_unit_test(slots_and_poison),
		cmocka_unit_test(device_entries),
		cmocka_unit_test(migration_and_exclusive_entries),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
