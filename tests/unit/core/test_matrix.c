/* SPDX-License-Identifier: MIT */
/*
 * T-pte-01: each kind of last-level entry, and each operation on it, with each combination of bits, compared
 * with the matrix. Another CPU stores by its translation in the flush window.
 *
 * tests/explore covers bits that a CPU sets between the load of an entry and its change.
 */
#include <pthread.h>

#include "matrix_support.h"
#include "vellum/dirty.h"

/* --- one cell --- */

struct cell {
	struct world *w;
	struct gpu *gpu;
	struct vellum_mapping *obj;
	struct counting raw_counts;
	struct vellum_uffd *uffd;
	struct vellum_uffd_msg msg;
	struct vellum_mm *child;
	struct folio *moving;	/* of a migration entry that the test wrote */
	pthread_t reader;
	enum kind kind;
	enum op op;
	unsigned bits, stores;
	bool cached;		/* the CPU may store without a walk */
	bool reading;
	int err;
};

static bool is_present_kind(enum kind kind)
{
	return kind >= ANON_PAGE && kind <= SPECIAL;
}

static bool has_private_page(enum kind kind)
{
	return kind == ANON_PAGE || kind == COW_PAGE || kind == SWAP_A || kind == SWAP_COW ||
	       kind == MIGR_A || kind == DEV_PRIVATE || kind == DEV_EXCL;
}

/* Combinations that are impossible, or the same as another. */
static bool variant_ok(enum kind kind, unsigned bits)
{
	bool page = has_private_page(kind), object = kind == SHMEM_PAGE || kind == MIGR_S || kind == SPECIAL;

	if (kind == POISONED || kind >= WP_S || kind <= NONE_S)
		return !bits;				/* such entries have no other bits */
	if ((bits & BIT_X) && !page)
		return false;				/* only private pages have X */
	if (kind == DEV_EXCL && !(bits & BIT_X))
		return false;				/* the process is the sole owner of such a page */
	if ((bits & BIT_W) && (((bits & BIT_X) == 0 && !object) || (bits & BIT_U)))
		return false;				/* INV-FAULT-1, INV-UFFD-1 */
	if ((bits & BIT_U) && kind == SPECIAL)
		return false;				/* cannot be registered */
	if ((bits & BIT_D) && (kind == ZERO_PAGE || kind == PRIVATE_FILE))
		return false;				/* no store is possible */
	return is_present_kind(kind) || kind == MIGR_A || kind == MIGR_S || !(bits & (BIT_D | BIT_A));
}

static void map_cell(struct cell *c)
{
	struct world *w = c->w;

	switch (vma_type_of(c->kind)) {
	case PRIVATE_ANON:
		map_at(w->mm, 0, 2, RW, ANON);
		break;
	case PRIVATE_OBJECT:
		map_object(w->mm, 0, 2, RW, VELLUM_MAP_PRIVATE, c->obj, 0, RO);
		break;
	case SHARED_OBJECT:
	case RAW:
		map_object(w->mm, 0, 2, RW, VELLUM_MAP_SHARED, c->obj, 0, RW);
		break;
	}
	store(w->cpu[0], PAGE(1), 1);	/* allocates a table and an anon_vma */
}

static void register_cell(struct cell *c)
{
	uint64_t features = VELLUM_UFFD_FEATURE_WP_HUGETLBFS_SHMEM;

	if (c->op == FORK_EVENT)
		features |= VELLUM_UFFD_FEATURE_EVENT_FORK;
	if (c->op == REMAP_EVENT)
		features |= VELLUM_UFFD_FEATURE_EVENT_REMAP;
	if (c->kind == WP_A)
		features |= VELLUM_UFFD_FEATURE_WP_UNPOPULATED;
	c->uffd = vma_type_of(c->kind) == RAW ? NULL : register_wp(c->w->mm, 0, 2, features);
}

static void set_page_bits(struct cell *c)
{
	pte_t pte = entry_at(c->w->mm, PAGE(0));

	assert_true(pte_present(pte));
	set_entry_at(c->w->mm, PAGE(0), with_bits(pte, c->bits));
	vellum_soft_load_mm(c->w->cpu[0], c->w->mm);	/* flush its TLB */
}

/* The entry during a migration, as migrate.c writes it. */
static void build_migration(struct cell *c)
{
	struct world *w = c->w;
	pte_t pte = entry_at(w->mm, PAGE(0)), new;
	unsigned type = c->bits & BIT_W ? SWP_MIGRATION_WRITE :
		  c->bits & BIT_X	? SWP_MIGRATION_READ_EXCL : SWP_MIGRATION_READ;

	assert_true(pte_present(pte));
	c->moving = pfn_folio(w->memory, pte_pfn(pte));
	folio_get(c->moving);
	new = swp_entry_pte(type, pte_pfn(pte) | (c->bits & BIT_A ? MIGRATION_YOUNG : 0) |
					  (c->bits & BIT_D ? MIGRATION_DIRTY : 0));
	new = c->bits & BIT_S ? pte_swp_mksoft_dirty(new) : new;
	set_entry_at(w->mm, PAGE(0), c->bits & BIT_U ? pte_swp_mkuffd_wp(new) : new);
	folio_put_count(w->memory, c->moving, FOLIO_ONE_MAPPING);
	mm_add_rss(w->mm, -1);
}

static void build_exclusive(struct cell *c)
{
	pte_t pte;

	make_exclusive(c->gpu, c->w->mm, 0);
	pte = pte_swp_with_type(entry_at(c->w->mm, PAGE(0)),
				c->bits & BIT_W ? SWP_DEVICE_EXCL_WRITE : SWP_DEVICE_EXCL_READ);
	pte = c->bits & BIT_S ? pte_swp_mksoft_dirty(pte) : pte_swp_clear_soft_dirty(pte);
	set_entry_at(c->w->mm, PAGE(0), c->bits & BIT_U ? pte_swp_mkuffd_wp(pte) : pte);
}

static void build_marker(struct cell *c)
{
	int64_t done;

	if (c->kind == WP_S || c->kind == WP_A)
		wp(c->uffd, 0, 1);
	else if (c->kind == GUARD)
		OK(vellum_madvise(c->w->mm, PAGE(0), BYTES(1), VELLUM_MADV_GUARD_INSTALL));
	else if (c->kind == POISONED)
		set_entry_at(c->w->mm, PAGE(0), swp_entry_pte(SWP_HWPOISON, 5));
	else
		OK(vellum_uffd_poison(c->uffd, PAGE(0), BYTES(1), 0, &done));
}

/* Make the entry by real operations, and set its bits. */
static void build(struct cell *c)
{
	struct world *w = c->w;

	if (has_private_page(c->kind) || c->kind == SHMEM_PAGE || c->kind == MIGR_S || c->kind == SPECIAL)
		store(w->cpu[0], PAGE(0), 5);
	else if (c->kind == PRIVATE_FILE || c->kind == ZERO_PAGE)
		load(w->cpu[0], PAGE(0));
	if (has_private_page(c->kind) && !(c->bits & BIT_X))
		end_child(fork_on(w->mm, w->cpu[1]), w->cpu[1]);
	register_cell(c);
	if (c->kind != DEV_EXCL &&
	    (has_private_page(c->kind) || is_present_kind(c->kind) || c->kind == MIGR_S))
		set_page_bits(c);
	if (c->kind == SWAP_A || c->kind == SWAP_COW)
		pageout(w->mm, 0, 1);
	else if (c->kind == MIGR_A || c->kind == MIGR_S)
		build_migration(c);
	else if (c->kind == DEV_PRIVATE)
		assert_int_equal(to_gpu(c->gpu, w->mm, 0, 1), 1);
	else if (c->kind == DEV_EXCL)
		build_exclusive(c);
	else if (c->kind > DEV_EXCL)
		build_marker(c);
	c->cached = is_present_kind(c->kind) &&
		    (c->bits & (BIT_W | BIT_D | BIT_A)) == (BIT_W | BIT_D | BIT_A) && (c->bits & BIT_S);
	if (c->cached)
		store(w->cpu[0], PAGE(0), 6);
}

static void store_in_window(void *arg)
{
	struct cell *c = arg;

	if (c->cached && !c->stores++)
		store(c->w->cpu[0], PAGE(0), 0x77);
}

static void *read_event(void *arg)
{
	struct cell *c = arg;
	uint32_t got;

	c->err = vellum_uffd_read(c->uffd, &c->msg, 1, true, &got);
	return NULL;
}

static int remap_cell(struct cell *c)
{
	uint64_t to = PAGE(600);

	return vellum_mremap(c->w->mm, PAGE(0), BYTES(2), BYTES(2),
			     VELLUM_MREMAP_MAYMOVE | VELLUM_MREMAP_FIXED, &to);
}

static int apply(struct cell *c)
{
	struct vellum_mm *mm = c->w->mm;
	uint64_t bitmap = 0, start = 0, end = 0;

	switch (c->op) {
	case DROP:
		return vellum_madvise(mm, PAGE(0), BYTES(1), VELLUM_MADV_DONTNEED);
	case TAKE_BACK:
		vellum_unmap_mapping_range(c->obj, 0, 1);
		return 0;
	case UNMAP:
		return vellum_munmap(mm, PAGE(0), BYTES(1));
	case FORK: case FORK_EVENT:
		return vellum_fork(mm, &c->child);
	case PROTECT:
		return vellum_mprotect(mm, PAGE(0), BYTES(2), RO);
	case WP_SET: case WP_CLEAR:
		return vellum_uffd_writeprotect(c->uffd, PAGE(0), BYTES(1),
						c->op == WP_SET ? VELLUM_UFFD_WRITEPROTECT_WP : 0);
	case REMAP: case REMAP_EVENT:
		return remap_cell(c);
	case WP_HELPER:
		return vellum_wp_shared_mapping_range(c->obj, 0, 1, NULL);
	case CLEAN_HELPER:
		return vellum_clean_record_shared_mapping_range(c->obj, 0, 1, 0, &bitmap, &start, &end, NULL);
	case SOFT_CLEAR:
		return vellum_clear_refs(mm, VELLUM_CLEAR_REFS_SOFT_DIRTY);
	default:
		return vellum_madvise(mm, PAGE(0), BYTES(1), VELLUM_MADV_FREE);
	}
}

static int apply_with_reader(struct cell *c)
{
	int err;

	c->reading = c->op == FORK_EVENT || c->op == REMAP_EVENT;
	if (c->reading)
		assert_int_equal(pthread_create(&c->reader, NULL, read_event, c), 0);
	vellum_soft_set_flush_hook(c->w->soft, store_in_window, c);
	err = apply(c);
	vellum_soft_set_flush_hook(c->w->soft, NULL, NULL);
	if (c->reading && err)	/* there may be no event */
		__atomic_store_n(&c->w->host.interrupted, 1, __ATOMIC_RELEASE);
	if (c->reading)
		pthread_join(c->reader, NULL);
	c->w->host.interrupted = 0;
	return err;
}

/* Remove an entry that the test wrote. */
static void clear_if_moving(struct vellum_mm *mm, uint64_t addr)
{
	if (mm && pte_is_migration(entry_at(mm, addr)))
		set_entry_at(mm, addr, pte_make(0));
}

static void clean_up(struct cell *c)
{
	if (c->moving) {
		clear_if_moving(c->w->mm, PAGE(0));
		clear_if_moving(c->w->mm, PAGE(600));
		clear_if_moving(c->child, PAGE(0));
		folio_put(c->w->memory, c->moving);
	}
	if (c->child)
		vellum_mm_put(c->child);
	if (c->reading && c->op == FORK_EVENT)
		vellum_uffd_put(c->msg.arg.fork.child);
	OK(vellum_munmap(c->w->mm, PAGE(0), BYTES(1024)));
	if (c->uffd)
		vellum_uffd_put(c->uffd);
	check_world(c->w);
	assert_int_equal(slots_used(c->w), 0);
	assert_int_equal(vellum_device_used(c->gpu->dev), 0);
}

static bool report(const struct cell *c, const char *whose, char code, pte_t before, pte_t now)
{
	bool ok = as_expected(code, expected(code, image_of(before)), image_of(now));

	if (!ok)
		print_message("%s: %s, W%d D%d A%d S%d U%d X%d, %s: %#llx, then %#llx, should be '%c'\n",
			      op_name[c->op], kind_name[c->kind], c->bits & 1, c->bits >> 1 & 1,
			      c->bits >> 2 & 1, c->bits >> 3 & 1, c->bits >> 4 & 1, c->bits >> 5 & 1, whose,
			      (unsigned long long)before.val, (unsigned long long)now.val, code);
	return ok;
}

/* Returns the number of wrong entries. */
static unsigned check_cell(struct cell *c, pte_t before, int err)
{
	bool moved = c->op == REMAP || c->op == REMAP_EVENT;
	char code = after[c->op][c->kind];
	pte_t now = entry_at(c->w->mm, moved ? PAGE(600) : PAGE(0));
	unsigned bad = 0;

	assert_int_equal(err, code == '!' ? -EINVAL : 0);
	assert_int_equal(c->err, 0);
	bad += !report(c, "entry", code, before, now);
	if (moved)
		assert_int_equal(entry_at(c->w->mm, PAGE(0)).val, 0);
	if (c->child)
		bad += !report(c, "child's", childs[c->op == FORK_EVENT][c->kind], before,
			       entry_at(c->child, PAGE(0)));
	if (c->stores && pte_present(now))	/* the store in the window must be there */
		assert_int_equal(*(uint64_t *)pfn_host(c->w->memory, pte_pfn(now)), 0x77);
	return bad;
}

static unsigned run_cell(struct cell *c)
{
	pte_t before;
	unsigned bad;
	int err;

	OK(vellum_soft_set_hostile(c->w->soft, VELLUM_SOFT_KEEP));
	map_cell(c);
	build(c);
	check_world(c->w);
	before = entry_at(c->w->mm, PAGE(0));
	err = apply_with_reader(c);
	check_world(c->w);
	bad = check_cell(c, before, err);
	clean_up(c);
	return bad;
}

static unsigned run_kind(struct swap_world *sw, enum op op, enum kind kind)
{
	struct cell proto = { .w = &sw->w, .kind = kind, .op = op };
	unsigned bad = 0;

	if (after[op][kind] == '-')
		return 0;
	proto.gpu = gpu_create(&sw->w, GPU_PAGES);
	if (vma_type_of(kind) == RAW)
		proto.obj = new_pfn_object(&sw->w, &proto.raw_counts, 2);
	else
		OK(vellum_mapping_create(sw->w.memory, NULL, NULL, 2, 0, &proto.obj));
	for (unsigned bits = 0; bits < NR_BITS; bits++) {
		struct cell c = proto;

		c.bits = bits;
		if (variant_ok(kind, bits))
			bad += run_cell(&c);
	}
	vellum_mapping_put(proto.obj);
	if (proto.raw_counts.first_pfn)
		vellum_memory_free_device(sw->w.memory, proto.raw_counts.first_pfn, 2);
	gpu_destroy(proto.gpu);
	return bad;
}

static void run_op(void **state, enum op op)
{
	unsigned bad = 0;

	assert_int_equal(strlen(after[op]), NR_KINDS);
	for (unsigned kind = 0; kind < NR_KINDS; kind++)
		bad += run_kind(*state, op, (enum kind)kind);
	assert_int_equal(bad, 0);
}

#define MATRIX_TEST(name, op)                     \
	static void T_pte_01_##name(void **state) \
	{                                         \
		run_op(state, op);                \
	}
MATRIX_TEST(dontneed, DROP)
MATRIX_TEST(object_takes_back, TAKE_BACK)
MATRIX_TEST(munmap, UNMAP)
MATRIX_TEST(fork, FORK)
MATRIX_TEST(fork_event, FORK_EVENT)
MATRIX_TEST(mprotect, PROTECT)
MATRIX_TEST(wp_set, WP_SET)
MATRIX_TEST(wp_clear, WP_CLEAR)
MATRIX_TEST(mremap_event, REMAP_EVENT)
MATRIX_TEST(mremap, REMAP)
MATRIX_TEST(wp_helper, WP_HELPER)
MATRIX_TEST(clean_helper, CLEAN_HELPER)
MATRIX_TEST(soft_dirty_clear, SOFT_CLEAR)
MATRIX_TEST(madv_free, FREE)

int main(void)
{
	const struct CMUnitTest tests[] = {
		SWAP_TEST(T_pte_01_dontneed),
		SWAP_TEST(T_pte_01_object_takes_back),
		SWAP_TEST(T_pte_01_munmap),
		SWAP_TEST(T_pte_01_fork),
		SWAP_TEST(T_pte_01_fork_event),
		SWAP_TEST(T_pte_01_mprotect),
		SWAP_TEST(T_pte_01_wp_set),
		SWAP_TEST(T_pte_01_wp_clear),
		SWAP_TEST(T_pte_01_mremap_event),
		SWAP_TEST(T_pte_01_mremap),
		SWAP_TEST(T_pte_01_wp_helper),
		SWAP_TEST(T_pte_01_clean_helper),
		SWAP_TEST(T_pte_01_soft_dirty_clear),
		SWAP_TEST(T_pte_01_madv_free),
	};

	return cmocka_run_group_tests_name("matrix", tests, NULL, NULL);
}
