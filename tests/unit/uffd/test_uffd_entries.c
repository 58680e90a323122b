/* SPDX-License-Identifier: MIT */
/*
 * userfaultfd: what COPY, ZEROPAGE, CONTINUE, POISON and MOVE do to each kind of marker, and the exact entries that they
 * install, before and after the end of a table.
 */
#include "uffd_support.h"

#define AT 1024	/* the first page of a table; the pages before and behind it are filled */

enum memory { PRIVATE_ANON, SHARED_MEMORY, PRIVATE_OF_SHARED, NR_MEMORIES };
enum ioctl { COPY, COPY_WP, ZEROPAGE, CONTINUE, CONTINUE_WP, POISON, NR_IOCTLS };

struct place {
	struct world *w;
	struct vellum_uffd *u;
	struct vellum_mapping *shm;	/* page i + 2 is mapped at AT + i */
	enum memory memory;
	enum ioctl ioctl;
	bool writable;
};

static bool is_shared(const struct place *p)
{
	return p->memory == SHARED_MEMORY;
}

/* Four pages, two before the table's end. Shared memory has the pages already, if CONTINUE is to find them. */
static void map_place(struct place *p)
{
	bool filled = p->ioctl == CONTINUE || p->ioctl == CONTINUE_WP;

	OK(vellum_mapping_create(p->w->memory, NULL, NULL, 4, 0, &p->shm));
	for (uint64_t i = 0; filled && i < 4; i++)
		OK(vellum_mapping_write(p->shm, BYTES(i), &(uint64_t){ 100 + i }, 8));
	if (p->memory == PRIVATE_ANON)
		map_at(p->w->mm, AT - 2, 4, RW, ANON);
	else
		map_object(p->w->mm, AT - 2, 4, RW, is_shared(p) ? VELLUM_MAP_SHARED : VELLUM_MAP_PRIVATE, p->shm, 0, RW);
	/* Both tables exist, and the VMA may have private pages. */
	for (unsigned i = AT - 1; i < AT + 1 && !is_shared(p); i++)
		store(p->w->cpu[0], PAGE(i), 1);
	for (unsigned i = AT - 1; i < AT + 1 && is_shared(p); i++)
		if (filled)
			load(p->w->cpu[0], PAGE(i));
		else
			OK(vellum_madvise(p->w->mm, PAGE(i), BYTES(1), VELLUM_MADV_POPULATE_READ));
	dontneed(p->w->mm, AT - 2, 4);
	if (!filled && is_shared(p))
		OK(vellum_mapping_punch_hole(p->shm, 0, BYTES(4)));
	if (!p->writable)
		protect(p->w->mm, AT - 2, 4, RO);
	OK(vellum_uffd_register(p->u, PAGE(AT - 2), BYTES(4),
				WP | MISSING | (p->memory == PRIVATE_ANON ? 0 : MINOR), NULL));
}

static int run(const struct place *p, unsigned pages, int64_t *done)
{
	static uint64_t bytes[2 * 512];
	uint64_t start = PAGE(AT - 1), len = BYTES(pages);

	bytes[0] = 7;
	bytes[512] = 8;
	switch (p->ioctl) {
	case COPY:
	case COPY_WP:
		return vellum_uffd_copy(p->u, start, 0, bytes, len, p->ioctl == COPY ? 0 : VELLUM_UFFD_COPY_WP, done);
	case ZEROPAGE:
		return vellum_uffd_zeropage(p->u, start, len, 0, done);
	case CONTINUE:
	case CONTINUE_WP:
		return vellum_uffd_continue(p->u, start, len, p->ioctl == CONTINUE ? 0 : VELLUM_UFFD_CONTINUE_WP, done);
	default:
		return vellum_uffd_poison(p->u, start, len, 0, done);
	}
}

/* COPY and CONTINUE replace poison and protection, but no guard. ZEROPAGE and POISON need an empty entry. */
static int answer(const struct place *p, unsigned bits)
{
	bool pages = p->ioctl != ZEROPAGE && p->ioctl != POISON;

	if ((p->ioctl == CONTINUE || p->ioctl == CONTINUE_WP) && p->memory == PRIVATE_ANON)
		return -EINVAL;
	/* The zeroed page of shared memory is installed as a copied page is. */
	if (p->ioctl == ZEROPAGE && is_shared(p))
		pages = true;
	return !bits || (pages && !(bits & MARKER_GUARD)) ? 0 : -EEXIST;
}

static void expect_entry(const struct place *p, unsigned i)
{
	bool wp = p->ioctl == COPY_WP || p->ioctl == CONTINUE_WP, zero = p->ioctl == ZEROPAGE && !is_shared(p);
	bool cached = p->ioctl == CONTINUE || p->ioctl == CONTINUE_WP;
	bool w = p->writable && !wp && !zero && (!cached || is_shared(p));
	pte_t pte = entry_at(p->w->mm, PAGE(AT - 1 + i));
	const uint64_t *bytes;

	if (p->ioctl == POISON) {
		assert_int_equal(pte.val, pte_marker(MARKER_POISON).val);
		return;
	}
	assert_true(pte_present(pte) && pte_young(pte) && !pte_exec(pte));
	assert_int_equal(pte_uffd_wp(pte), wp);
	assert_int_equal(pte_write(pte), w);
	assert_int_equal(pte_dirty(pte), !zero);
	assert_int_equal(pte_soft_dirty(pte), !zero);
	assert_int_equal(pte_special(pte), zero);
	bytes = vellum_frame_host(p->w->memory, pte_pfn(pte));
	assert_int_equal(bytes[0], p->ioctl == ZEROPAGE ? 0 : cached ? 101 + i : 7 + i);
	assert_int_equal(bytes[1], 0);
	if (zero)
		return;
	assert_true(folio_flags(pfn_folio(p->w->memory, pte_pfn(pte))) & PG_DIRTY);
	assert_int_equal(!(folio_flags(pfn_folio(p->w->memory, pte_pfn(pte))) & PG_ANON), cached || is_shared(p));
}

/* Both pages have the marker @bits. All of [AT - 1, AT + 1) is filled, or nothing. */
static void fill_one(struct place *p, unsigned bits, unsigned pages)
{
	uint64_t rss;
	int want = answer(p, bits);
	int64_t done = 99;

	map_place(p);
	rss = vellum_mm_rss(p->w->mm);
	for (unsigned i = AT - 2; i < AT + 2; i++)
		set_entry_at(p->w->mm, PAGE(i), bits ? pte_marker(bits) : pte_make(0));
	assert_int_equal(run(p, pages, &done), want);
	assert_int_equal(done, want ? want : (int64_t)BYTES(pages));
	for (unsigned i = 0; i < 2; i++)
		if (i < pages && !want)
			expect_entry(p, i);
		else
			assert_int_equal(entry_at(p->w->mm, PAGE(AT - 1 + i)).val, bits ? pte_marker(bits).val : 0);
	assert_int_equal(entry_at(p->w->mm, PAGE(AT - 2)).val, bits ? pte_marker(bits).val : 0);
	assert_int_equal(entry_at(p->w->mm, PAGE(AT + 1)).val, bits ? pte_marker(bits).val : 0);
	assert_int_equal(vellum_mm_rss(p->w->mm), rss + (want || p->ioctl == POISON ? 0 : pages));
	unmap(p->w->mm, AT - 2, 4);
	vellum_mapping_put(p->shm);
}

static void each_ioctl_over_each_marker(void **state)
{
	struct world *w = *state;
	struct place p = { .w = w, .u = new_uffd(w, VELLUM_UFFD_FEATURE_WP_UNPOPULATED) };

	for (unsigned bits = 0; bits < 8; bits++)
		for (unsigned how = 0; how < NR_MEMORIES * NR_IOCTLS * 4; how++) {
			p.memory = how % NR_MEMORIES;
			p.ioctl = how / NR_MEMORIES % NR_IOCTLS;
			p.writable = how / (NR_MEMORIES * NR_IOCTLS) % 2;
			fill_one(&p, bits, 1 + how / (NR_MEMORIES * NR_IOCTLS * 2));
		}
	check_world(w);
	vellum_uffd_put(p.u);
}

/* --- MOVE --- */

/* A target must be empty. A source that is a marker does not move, and is no hole. */
static void move_from_and_to_each_marker(void **state)
{
	struct world *w = *state;
	struct vellum_uffd *u = new_uffd(w, 0);
	pte_t page;

	map_at(w->mm, 0, 8, RW, ANON);
	map_at(w->mm, AT - 2, 4, RW, ANON);
	enrol(w, u, AT - 2, 4, MISSING | WP);
	OK(copy_in(u, AT - 2, 1, 0));
	OK(copy_in(u, AT + 1, 1, 0));
	store(w->cpu[0], PAGE(0), 5);
	page = entry_at(w->mm, PAGE(0));
	for (unsigned bits = 1; bits < 8; bits++)
		for (unsigned mode = 0; mode <= VELLUM_UFFD_MOVE_ALLOW_SRC_HOLES; mode++) {
			set_entry_at(w->mm, PAGE(AT), pte_marker(bits));
			assert_int_equal(move_in(u, AT, 0, 1, mode), -EEXIST);
			assert_int_equal(entry_at(w->mm, PAGE(AT)).val, pte_marker(bits).val);
			assert_int_equal(entry_at(w->mm, PAGE(0)).val, page.val);
			set_entry_at(w->mm, PAGE(AT), pte_make(0));
			set_entry_at(w->mm, PAGE(1), pte_marker(bits));
			assert_int_equal(move_in(u, AT, 1, 1, mode), -EFAULT);
			assert_int_equal(entry_at(w->mm, PAGE(AT)).val, 0);
			assert_int_equal(entry_at(w->mm, PAGE(1)).val, pte_marker(bits).val);
			set_entry_at(w->mm, PAGE(1), pte_make(0));
		}
	check_world(w);
	vellum_uffd_put(u);
}

/* Clean stays clean, old becomes young, W is granted, and protection and the old place are gone. */
static void moved_entries(void **state)
{
	struct world *w = *state;
	struct vellum_uffd *u = new_uffd(w, 0);

	map_at(w->mm, 0, 8, RW, ANON);
	map_at(w->mm, AT - 4, 8, RW, ANON);
	enrol(w, u, 0, 8, WP);
	enrol(w, u, AT - 4, 8, MISSING);
	for (unsigned how = 0; how < 8; how++) {
		bool dirty = how & 1, young = how & 2, protected = how & 4;
		pte_t pte, new;

		store(w->cpu[0], PAGE(how), how);
		pte = pte_clear_soft_dirty(entry_at(w->mm, PAGE(how)));
		pte = dirty ? pte : pte_mkclean(pte);
		pte = young ? pte : pte_mkold(pte);
		set_entry_at(w->mm, PAGE(how), protected ? pte_mkuffd_wp(pte) : pte);
		OK(move_in(u, AT - 4 + how, how, 1, 0));
		new = entry_at(w->mm, PAGE(AT - 4 + how));
		assert_int_equal(entry_at(w->mm, PAGE(how)).val, 0);
		assert_int_equal(pte_pfn(new), pte_pfn(pte));
		assert_true(pte_write(new) && pte_young(new) && pte_soft_dirty(new) && !pte_uffd_wp(new));
		assert_int_equal(pte_dirty(new), dirty);
		check_world(w);
		assert_int_equal(load(w->cpu[0], PAGE(AT - 4 + how)), how);
	}
	vellum_uffd_put(u);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WORLD_TEST(each_ioctl_over_each_marker),
		WORLD_TEST(move_from_and_to_each_marker),
		WORLD_TEST(moved_entries),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
