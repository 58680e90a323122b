/* SPDX-License-Identifier: MIT */
/* lib/: trees compared with a simple model, locks with threads, error texts. */
#include "more_support.h"

#include <pthread.h>

/* --- AVL and interval tree --- */

#define NODES 200

struct forest {
	struct tree tree;
	struct interval iv[NODES];
	bool in[NODES];
};

static struct interval *iv_of(struct tree_node *node)
{
	return container_of(node, struct interval, node);
}

/* Height of the subtree. Checks order, links, balance and augmentation. */
static int check_subtree(struct tree_node *node, struct tree_node *parent, uint64_t *max_last)
{
	uint64_t left_max = 0, right_max = 0;
	int l, r;

	*max_last = 0;
	if (!node)
		return 0;
	assert_ptr_equal(node->parent, parent);
	l = check_subtree(node->left, node, &left_max);
	r = check_subtree(node->right, node, &right_max);
	assert_in_range(l - r + 1, 0, 2);
	assert_int_equal(node->height, (l > r ? l : r) + 1);
	assert_true(!node->left || iv_of(node->left)->start <= iv_of(node)->start);
	assert_true(!node->right || iv_of(node->right)->start >= iv_of(node)->start);
	*max_last = max_u64(iv_of(node)->last, max_u64(left_max, right_max));
	assert_int_equal(iv_of(node)->max_last, *max_last);
	return node->height;
}

static void check_order(struct forest *f)
{
	unsigned want = 0, forward = 0, backward = 0;
	struct tree_node *node, *last = NULL;

	for (unsigned i = 0; i < NODES; i++)
		want += f->in[i];
	for (node = tree_first(&f->tree); node; last = node, node = tree_next(node)) {
		assert_true(!last || iv_of(last)->start <= iv_of(node)->start);
		forward++;
	}
	for (node = last; node; node = tree_prev(node))
		backward++;
	assert_int_equal(forward, want);
	assert_int_equal(backward, want);
}

/* Each overlap is visited once, in the order of starts. */
static void check_query(struct forest *f, uint64_t start, uint64_t last)
{
	bool seen[NODES] = {false};
	uint64_t before = 0;

	for (struct interval *iv = interval_first(&f->tree, start, last); iv;
	     iv = interval_next(iv, start, last)) {
		unsigned i = (unsigned)(iv - f->iv);

		assert_false(seen[i]);
		seen[i] = true;
		assert_true(iv->start >= before);
		before = iv->start;
	}
	for (unsigned i = 0; i < NODES; i++)
		assert_int_equal(seen[i],
				 f->in[i] && f->iv[i].start <= last && f->iv[i].last >= start);
}

static void toggle(struct forest *f, unsigned i, uint64_t *seed)
{
	if (f->in[i]) {
		tree_erase(&f->tree, &f->iv[i].node);
	} else {
		f->iv[i].start = random_below(seed, 300);
		f->iv[i].last = f->iv[i].start + random_below(seed, 40);
		interval_insert(&f->tree, &f->iv[i]);
	}
	f->in[i] = !f->in[i];
}

static void trees_match_a_model(void **state)
{
	static struct forest f;
	uint64_t seed = 42, max;

	(void)state;
	f.tree = (struct tree)INTERVAL_TREE_INIT;
	for (unsigned round = 0; round < 5000; round++) {
		uint64_t start = random_below(&seed, 320);

		toggle(&f, random_below(&seed, NODES), &seed);
		check_query(&f, start, start + random_below(&seed, 20));
		if (round % 16 == 0) {
			check_subtree(f.tree.root, NULL, &max);
			check_order(&f);
		}
	}
	check_query(&f, 0, ~0ull);
	for (unsigned i = 0; i < NODES; i++)
		if (f.in[i])
			toggle(&f, i, &seed);
	assert_null(f.tree.root);
	assert_null(tree_first(&f.tree));
	assert_null(interval_first(&f.tree, 0, ~0ull));
}

/* Sorted input is the worst case of an unbalanced tree. */
static void sorted_insertion_stays_flat(void **state)
{
	static struct interval iv[1000];
	struct tree tree = INTERVAL_TREE_INIT;
	uint64_t max;

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(iv); i++) {
		iv[i].start = iv[i].last = i;
		interval_insert(&tree, &iv[i]);
	}
	assert_in_range(check_subtree(tree.root, NULL, &max), 10, 14);
	assert_int_equal(max, 999);
}

/* Nodes of equal start stay in the order of insertion, as a child's VMA comes after its parent's. */
static void equal_starts_keep_their_order(void **state)
{
	static struct interval iv[50];
	struct tree tree = INTERVAL_TREE_INIT;
	unsigned nr = 0;

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(iv); i++) {
		iv[i].start = 7;
		iv[i].last = 7 + i;
		interval_insert(&tree, &iv[i]);
	}
	for (struct interval *at = interval_first(&tree, 0, 9); at; at = interval_next(at, 0, 9))
		assert_ptr_equal(at, &iv[nr++]);
	assert_int_equal(nr, ARRAY_SIZE(iv));
}

/* --- radix tree --- */

#define KEYS 300

static uint64_t random_key(uint64_t *seed)
{
	uint64_t key = random_u64(seed);
	unsigned shape = random_below(seed, 4);

	return shape == 0   ? key % 500
	       : shape == 1 ? key >> 8
	       : shape == 2 ? key % 500 << 30
			    : (1ull << 52) - key % 500;
}

struct radix_model {
	struct radix radix;
	uint64_t key[KEYS];
	void *val[KEYS]; /* NULL: not in the tree */
};

static void check_radix_next(const struct radix_model *m, uint64_t from)
{
	uint64_t best = 0, index = from;
	void *want = NULL;

	for (unsigned i = 0; i < KEYS; i++)
		if (m->val[i] && m->key[i] >= from && (!want || m->key[i] < best)) {
			want = m->val[i];
			best = m->key[i];
		}
	assert_ptr_equal(radix_next(&m->radix, &index), want);
	if (want)
		assert_int_equal(index, best);
}

static void radix_matches_a_model(void **state)
{
	static struct radix_model m;
	struct test_host th = {.nr_allocs = 0};
	const struct host host = {test_host_ops(), &th};
	uint64_t seed = 7;

	(void)state;
	for (unsigned i = 0; i < KEYS; i++)
		m.key[i] = random_key(&seed);
	for (unsigned round = 0; round < 20000; round++) {
		unsigned i = random_below(&seed, KEYS);
		bool twin = false;

		for (unsigned j = 0; j < KEYS; j++) /* keys may repeat: only the first is used */
			twin |= j < i && m.key[j] == m.key[i];
		if (twin)
			continue;
		assert_ptr_equal(radix_get(&m.radix, m.key[i]), m.val[i]);
		if (random_below(&seed, 2)) {
			m.val[i] = &m.val[random_below(&seed, KEYS)];
			OK(radix_set(&m.radix, m.key[i], m.val[i], &host));
		} else {
			assert_ptr_equal(radix_delete(&m.radix, m.key[i], &host), m.val[i]);
			m.val[i] = NULL;
		}
		check_radix_next(&m, random_key(&seed));
	}
	radix_destroy(&m.radix, &host);
	assert_int_equal(th.live, 0);
	assert_int_equal(th.live_bytes, 0);
}

/* A failed insertion changes nothing and leaks nothing. */
static void radix_insertion_fails_without_change(void **state)
{
	static const uint64_t keys[] = {0, 63, 64, 1ull << 40, 1ull << 52};
	struct test_host th = {.nr_allocs = 0};
	const struct host host = {test_host_ops(), &th};

	(void)state;
	for (unsigned k = 1; k < 40; k++) {
		struct radix r = {.root = NULL};
		uint64_t index = 0;
		unsigned stored = 0, seen = 0;

		th.fail_at = th.nr_allocs + k;
		for (unsigned i = 0; i < ARRAY_SIZE(keys); i++) {
			bool ok = radix_set(&r, keys[i], &th, &host) == 0;

			stored += ok;
			assert_ptr_equal(radix_get(&r, keys[i]), ok ? &th : NULL);
		}
		for (; radix_next(&r, &index) && seen < 10; index++)
			seen++;
		assert_int_equal(seen, stored);
		radix_destroy(&r, &host);
		assert_int_equal(th.live, 0);
	}
}

/* No key is found beyond the last one, even at the largest index. */
static void radix_ends_at_the_top(void **state)
{
	struct test_host th = {.nr_allocs = 0};
	const struct host host = {test_host_ops(), &th};
	struct radix r = {.root = NULL};
	uint64_t first = 6, beyond = ~0ull - 2;
	void *found, *nothing;

	(void)state;
	OK(radix_set(&r, 5, &th, &host));
	OK(radix_set(&r, ~0ull - 3, &th, &host));
	found = radix_next(&r, &first);
	nothing = radix_next(&r, &beyond);
	radix_destroy(&r, &host);
	assert_int_equal(th.live, 0);
	assert_ptr_equal(found, &th);
	assert_int_equal(first, ~0ull - 3);
	assert_null(nothing); /* not key 5 again */
}

/* --- locks --- */

#define TURNS 20000

static struct {
	struct test_host th;
	struct host host;
	struct mutex mutex;
	struct rwlock rw;
	uint64_t a, b; /* equal unless a writer holds the lock */
	uint64_t torn; /* number of reads that differed; atomic */
} shared;

static void *mutex_user(void *arg)
{
	for (unsigned i = 0; i < TURNS; i++) {
		mutex_lock(&shared.mutex, &shared.host);
		shared.a++;
		mutex_unlock(&shared.mutex, &shared.host);
	}
	return arg;
}

static void *rw_writer(void *arg)
{
	for (unsigned i = 0; i < TURNS; i++) {
		write_lock(&shared.rw, &shared.host);
		shared.a++;
		shared.b++;
		write_unlock(&shared.rw, &shared.host);
	}
	return arg;
}

static void *rw_reader(void *arg)
{
	for (unsigned i = 0; i < TURNS; i++) {
		read_lock(&shared.rw, &shared.host);
		if (shared.a != shared.b)
			__atomic_fetch_add(&shared.torn, 1, __ATOMIC_RELAXED);
		read_unlock(&shared.rw, &shared.host);
	}
	return arg;
}

static void run_threads(void *(*const fns[])(void *), unsigned nr)
{
	pthread_t threads[8];

	shared.host = (struct host){test_host_ops(), &shared.th};
	shared.a = shared.b = 0;
	for (unsigned i = 0; i < nr; i++)
		OK(pthread_create(&threads[i], NULL, fns[i], NULL));
	for (unsigned i = 0; i < nr; i++)
		pthread_join(threads[i], NULL);
}

static void mutex_excludes(void **state)
{
	void *(*const fns[])(void *) = {mutex_user, mutex_user, mutex_user};

	(void)state;
	run_threads(fns, 3);
	assert_int_equal(shared.a, 3 * TURNS);
	assert_false(mutex_is_locked(&shared.mutex));
}

static void rwlock_excludes(void **state)
{
	void *(*const fns[])(void *) = {rw_writer, rw_reader, rw_writer, rw_reader};

	(void)state;
	run_threads(fns, 4);
	assert_int_equal(shared.a, 2 * TURNS);
	assert_int_equal(shared.b, 2 * TURNS);
	assert_int_equal(shared.torn, 0);
	assert_int_equal(shared.rw.word, 0);
}

/* Two readers at once, and a mutex that is free again after each. */
static void readers_share(void **state) NO_LOCK_ANALYSIS	/* one thread is both readers */
{
	(void)state;
	shared.host = (struct host){test_host_ops(), &shared.th};
	read_lock(&shared.rw, &shared.host);
	read_lock(&shared.rw, &shared.host);
	read_unlock(&shared.rw, &shared.host);
	read_unlock(&shared.rw, &shared.host);
	write_lock(&shared.rw, &shared.host);
	write_unlock(&shared.rw, &shared.host);
	assert_int_equal(shared.rw.word, 0);
}

/* --- error texts --- */

static void error_texts(void **state)
{
	static const int known[] = {0,	    EPERM, ENOENT, E2BIG,  EBADF,  EAGAIN, ENOMEM,    EACCES,
				    EFAULT, EBUSY, EEXIST, ENODEV, EINVAL, EOVERFLOW, EOPNOTSUPP};

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(known); i++) {
		const char *text = vellum_strerror(known[i]);

		assert_string_not_equal(text, "unknown error");
		assert_ptr_equal(vellum_strerror(-known[i]), text);
		for (unsigned j = 0; j < i; j++)
			assert_string_not_equal(text, vellum_strerror(known[j]));
	}
	assert_string_equal(vellum_strerror(6), "unknown error");
	assert_string_equal(vellum_strerror(-134), "unknown error");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(trees_match_a_model),
		cmocka_unit_test(sorted_insertion_stays_flat),
		cmocka_unit_test(equal_starts_keep_their_order),
		cmocka_unit_test(radix_matches_a_model),
		cmocka_unit_test(radix_insertion_fails_without_change),
		cmocka_unit_test(radix_ends_at_the_top),
		cmocka_unit_test(mutex_excludes),
		cmocka_unit_test(rwlock_excludes),
		cmocka_unit_test(readers_share),
		cmocka_unit_test(error_texts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
