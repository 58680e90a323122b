/* SPDX-License-Identifier: MIT */
/* Faults on markers, alone and in combination: the result, and the entry afterwards. */
#include "uffd_support.h"

enum memory { PRIVATE_ANON, SHARED_MEMORY, PRIVATE_OF_SHARED, NR_MEMORIES };

struct place {
	struct world *w;
	struct vellum_mapping *shm;	/* page i holds i + 100 */
	enum memory memory;
	bool registered;		/* for asynchronous write protection */
};

/* Pages 0 to 3, with a table. */
static void map_place(struct place *p, struct vellum_uffd *u)
{
	struct world *w = p->w;

	if (p->memory == PRIVATE_ANON)
		map_at(w->mm, 0, 4, RW, ANON);
	else
		map_object(w->mm, 0, 4, RW, p->memory == SHARED_MEMORY ? VELLUM_MAP_SHARED : VELLUM_MAP_PRIVATE, p->shm, 0, RW);
	load(w->cpu[0], PAGE(0));
	dontneed(w->mm, 0, 4);
	if (p->registered)
		enrol(w, u, 0, 4, WP);
}

static enum vellum_fault_result result_of(unsigned bits)
{
	return bits & MARKER_POISON ? VELLUM_FAULT_HWPOISON :
	       bits & MARKER_GUARD ? VELLUM_FAULT_SIGSEGV_MAPERR : VELLUM_FAULT_OK;
}

/* A load of a page with a wp marker leaves the page protected. A store ends the protection, as it is asynchronous. */
static void access_marker(struct place *p, pte_t marker, bool writes)
{
	struct world *w = p->w;
	unsigned bits = pte_marker_bits(marker);
	enum vellum_fault_result want = result_of(bits);
	pte_t pte;

	set_entry_at(w->mm, PAGE(1), marker);
	set_entry_at(w->mm, PAGE(2), marker);
	assert_int_equal(writes ? try_store(w->cpu[0], PAGE(1), 7) : try_load(w->cpu[0], PAGE(1)), want);
	pte = entry_at(w->mm, PAGE(1));
	assert_int_equal(entry_at(w->mm, PAGE(2)).val, marker.val);
	if (want) {
		assert_int_equal(pte.val, marker.val);
	} else {
		assert_true(pte_present(pte));
		assert_int_equal(pte_uffd_wp(pte), p->registered && !writes);
		assert_int_equal(pte_write(pte), writes || (p->memory == SHARED_MEMORY && !p->registered));
		assert_int_equal(pte_dirty(pte), writes);
		assert_int_equal(load(w->cpu[0], PAGE(1)), writes ? 7 : p->memory == PRIVATE_ANON ? 0 : 101);
	}
	dontneed(w->mm, 1, 1);
	set_entry_at(w->mm, PAGE(1), pte_make(0));
	set_entry_at(w->mm, PAGE(2), pte_make(0));
	if (p->memory == SHARED_MEMORY)
		OK(vellum_mapping_write(p->shm, BYTES(1), &(uint64_t){ 101 }, 8));
}

static void faults_on_each_marker(void **state)
{
	struct world *w = *state;
	struct vellum_uffd *u = new_uffd(w, ASYNC);
	struct place p = { .w = w, .shm = new_shmem(w, 4) };

	for (unsigned how = 0; how < 2 * NR_MEMORIES; how++) {
		p.memory = how / 2;
		p.registered = how & 1;
		map_place(&p, u);
		for (unsigned bits = 1; bits < 8; bits++)
			for (unsigned flags = 0; flags < 8; flags++) {
				pte_t marker = pte_marker(bits);

				marker = flags & 2 ? pte_swp_mksoft_dirty(marker) : marker;
				marker = flags & 4 ? pte_swp_mkuffd_wp(marker) : marker;
				access_marker(&p, marker, flags & 1);
			}
		check_world(w);
		unmap(w->mm, 0, 4);
	}
	vellum_mapping_put(p.shm);
	vellum_uffd_put(u);
}

/* Pins and copies fail on poison and guards, also if the page is protected as well, and leave the marker. */
static void pins_and_copies_on_each_marker(void **state)
{
	struct world *w = *state;
	struct vellum_uffd *u = new_uffd(w, 0);
	struct place p = { .w = w, .shm = new_shmem(w, 4), .registered = true };
	uint64_t word, pfn, nr;

	for (p.memory = 0; p.memory < NR_MEMORIES; p.memory++) {
		map_place(&p, u);
		for (unsigned bits = MARKER_POISON; bits < 8; bits++) {
			int hw = bits & MARKER_POISON ? -EHWPOISON : -EFAULT;

			set_entry_at(w->mm, PAGE(1), pte_marker(bits));
			for (unsigned write = 0; write <= VELLUM_GUP_WRITE; write++) {
				assert_int_equal(vellum_pin_pages(w->mm, PAGE(1), 1, write, &pfn, &nr), -EFAULT);
				assert_int_equal(vellum_pin_pages(w->mm, PAGE(1), 1, write | VELLUM_GUP_HWPOISON, &pfn, &nr), hw);
			}
			assert_int_equal(vellum_copy_from_user(w->mm, &word, PAGE(1), 8, NULL), -EFAULT);
			assert_int_equal(vellum_copy_to_user(w->mm, PAGE(1), &word, 8, NULL), -EFAULT);
			assert_int_equal(entry_at(w->mm, PAGE(1)).val, pte_marker(bits).val);
		}
		set_entry_at(w->mm, PAGE(1), pte_make(0));
		check_world(w);
		unmap(w->mm, 0, 4);
	}
	says_nothing(u);
	vellum_mapping_put(p.shm);
	vellum_uffd_put(u);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WORLD_TEST(faults_on_each_marker),
		WORLD_TEST(pins_and_copies_on_each_marker),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
