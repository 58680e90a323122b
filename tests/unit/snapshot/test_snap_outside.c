/* SPDX-License-Identifier: MIT */
/* Snapshots and what no VMA covers: the page of the machine, and entries that a program has forged. */
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "snap_support.h"

/* --- the page of the machine --- */

static void fill_page(void *machine, void *bytes)
{
	(void)machine;
	memset(bytes, 0x5a, 16);
}

/* A stack in the table, and in the cache line, of the entry of the machine's page. */
#define STACK (TASK_SIZE - 4 * PAGE_SIZE)

static void must_have_page(struct vellum_mm *mm)
{
	assert_ptr_equal(vellum_frame_host(mm->memory, pte_pfn(entry_at(mm, VELLUM_MACHINE_PAGE))),
			 vellum_mm_machine_page(mm));
}

static void machine_page_is_left_alone(void **state) /* T-snap-15 */
{
	struct vellum_map_args a = { .size = sizeof(a), .addr = STACK, .len = 4 * PAGE_SIZE, .prot = RW,
				     .flags = ANON | VELLUM_MAP_FIXED };
	struct vellum_mmu_ops ops = *vellum_soft_mmu_ops();
	struct vellum_snapshot_args args = { .size = sizeof(args), .nr_mms = 1 };
	struct vellum_mm *mms[2], *branch;
	struct vellum_snapshot *snapshot;
	struct world w;
	uint64_t addr;

	(void)state;
	ops.machine_page = fill_page;
	world_create(&w, 16 << 20);
	world_remake(&w, &ops, test_host_ops());
	vellum_soft_load_mm(w.cpu[0], w.mm);
	OK(vellum_mmap(w.mm, &a, &addr));
	store(w.cpu[0], STACK, 1);
	mms[0] = w.mm;
	args.mms = mms;
	OK(vellum_snapshot_create(&args, &snapshot));
	for (unsigned i = 0; i < 3; i++) {
		store(w.cpu[0], STACK, 2);
		OK(vellum_snapshot_restore(snapshot));
		check_world(&w);
		must_have_page(w.mm);
		assert_int_equal(load(w.cpu[0], STACK), 1);
	}
	OK(vellum_snapshot_verify(snapshot, NULL));
	OK(vellum_snapshot_branch(snapshot, &branch, NULL));
	vellum_soft_load_mm(w.cpu[1], branch);
	assert_int_equal(load(w.cpu[1], STACK), 1);
	must_have_page(branch);
	assert_ptr_not_equal(vellum_mm_machine_page(branch), vellum_mm_machine_page(w.mm));
	check_world(&w);
	vellum_soft_load_mm(w.cpu[1], NULL);
	vellum_mm_put(branch);
	vellum_snapshot_destroy(snapshot);
	world_destroy(&w);
}

/* --- forged entries --- */

#define FORGED_STATUS 125

static void end_forged(void *host, uint64_t entry, const char *what)
{
	(void)host;
	fprintf(stderr, "# forged: %s (0x%llx)\n", what, (unsigned long long)entry);
	_exit(FORGED_STATUS);
}

/* Restore, with the entry @val for PAGE(@at), which no VMA covers. */
static void restore_forged(unsigned at, uint64_t val)
{
	struct vellum_mmu_ops ops = *vellum_soft_mmu_ops();
	struct vellum_host_ops host = *test_host_ops();
	struct vellum_snapshot_args args = { .size = sizeof(args), .nr_mms = 1 };
	struct vellum_snapshot *snapshot;
	struct world w;

	ops.caps |= VELLUM_MMU_TABLES_EXPOSED;
	host.forged = end_forged;
	world_create(&w, 16 << 20);
	world_remake(&w, &ops, &host);
	vellum_soft_load_mm(w.cpu[0], w.mm);
	map_at(w.mm, 4, 4, RW, ANON);
	store(w.cpu[0], PAGE(4), 1);
	args.mms = &w.mm;
	OK(vellum_snapshot_create(&args, &snapshot));
	store(w.cpu[0], PAGE(4), 2);
	set_entry_at(w.mm, PAGE(at), pte_make(val ? val : entry_at(w.mm, PAGE(4)).val));
	OK(vellum_snapshot_restore(snapshot));
	_exit(0);
}

static void must_find(unsigned at, uint64_t val)
{
	pid_t pid = fork();
	int status;

	if (pid == 0)
		restore_forged(at, val);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), FORGED_STATUS);
}

static void entries_outside_vmas_are_forged(void **state) /* T-snap-15 */
{
	(void)state;
	must_find(2, 0);	/* below a VMA */
	must_find(9, 0);	/* above all */
	must_find(9, pte_marker(MARKER_GUARD).val);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(machine_page_is_left_alone),
		cmocka_unit_test(entries_outside_vmas_are_forged),
	};

	return cmocka_run_group_tests_name("snap_outside", tests, NULL, NULL);
}
