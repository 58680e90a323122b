/* SPDX-License-Identifier: MIT */
/* lib/radix.c and lib/tree.c: nodes that are allocated and freed, and all orders of a few insertions and removals. */
#include "more_support.h"

/* --- radix tree --- */

#define STRIDE 64	/* values in a node of the lowest level */

struct trunk {
	struct test_host th;
	struct host host;
	struct radix radix;
};

static void trunk_init(struct trunk *t)
{
	*t = (struct trunk){ .th = { .nr_allocs = 0 } };
	t->host = (struct host){ test_host_ops(), &t->th };
}

static void set(struct trunk *t, uint64_t index)
{
	OK(radix_set(&t->radix, index, (void *)(uintptr_t)(index * 2 + 1), &t->host));
	assert_int_equal((uintptr_t)radix_get(&t->radix, index), index * 2 + 1);
}

static void delete(struct trunk *t, uint64_t index)
{
	assert_int_equal((uintptr_t)radix_delete(&t->radix, index, &t->host), index * 2 + 1);
	assert_null(radix_get(&t->radix, index));
	assert_null(radix_delete(&t->radix, index, &t->host));
}

/* A node is added where a value needs it, and freed with its last value. */
static void nodes_live_as_long_as_their_values(void **state)
{
	struct trunk t;

	(void)state;
	trunk_init(&t);
	assert_null(radix_delete(&t.radix, 0, &t.host));
	set(&t, 0);
	assert_int_equal(t.th.live, 1);
	set(&t, STRIDE - 1);
	assert_int_equal(t.th.live, 1);
	assert_null(radix_get(&t.radix, STRIDE));
	assert_null(radix_delete(&t.radix, STRIDE, &t.host));
	set(&t, STRIDE);		/* a root above, and a second node below */
	assert_int_equal(t.th.live, 3);
	assert_int_equal(t.radix.levels, 2);
	assert_null(radix_delete(&t.radix, 3 * STRIDE, &t.host));
	assert_null(radix_delete(&t.radix, 1ull << 40, &t.host));
	delete(&t, 0);
	assert_int_equal(t.th.live, 3);
	delete(&t, STRIDE - 1);
	assert_int_equal(t.th.live, 2);
	assert_int_equal((uintptr_t)radix_get(&t.radix, STRIDE), 2 * STRIDE + 1);
	delete(&t, STRIDE);
	assert_int_equal(t.th.live, 0);
	assert_null(t.radix.root);
	assert_int_equal(t.radix.levels, 0);
	set(&t, STRIDE * STRIDE);	/* from nothing: no node without a value below it */
	assert_int_equal(t.th.live, 3);
	assert_int_equal(t.radix.levels, 3);
	delete(&t, STRIDE * STRIDE);
	assert_int_equal(t.th.live, 0);
}

static void borders_of_nodes_are_visited_in_order(void **state)
{
	static const uint64_t keys[] = { 0, 1, 62, 63, 64, 127, 128, 4095, 4096, 4097, 262143, 262144, 1ull << 30,
					 (1ull << 60) - 1, 1ull << 60, ~0ull - 1, ~0ull };
	struct trunk t;
	uint64_t at = 0;

	(void)state;
	trunk_init(&t);
	for (unsigned i = 0; i < ARRAY_SIZE(keys); i++)
		set(&t, keys[i]);
	for (unsigned i = 0; i < ARRAY_SIZE(keys); i++, at++) {
		assert_int_equal((uintptr_t)radix_next(&t.radix, &at), keys[i] * 2 + 1);
		assert_int_equal(at, keys[i]);
	}
	for (unsigned i = 0; i < ARRAY_SIZE(keys); i++) {
		uint64_t next = keys[i] + 1;
		void *found = keys[i] == ~0ull ? NULL : radix_next(&t.radix, &next);

		assert_int_equal((uintptr_t)found, i + 1 < ARRAY_SIZE(keys) ? keys[i + 1] * 2 + 1 : 0);
		delete(&t, keys[i]);
	}
	assert_int_equal(t.th.live, 0);
	set(&t, 5);
	at = 64;
	assert_null(radix_next(&t.radix, &at));
	at = 6;
	assert_null(radix_next(&t.radix, &at));
	radix_destroy(&t.radix, &t.host);
	assert_int_equal(t.th.live, 0);
	assert_null(radix_get(&t.radix, 5));
	assert_int_equal(t.radix.levels, 0);
	radix_destroy(&t.radix, &t.host);	/* again: nothing is left */
	assert_int_equal(t.th.live, 0);
}

/* --- trees: all orders of seven nodes --- */

#define NODES 7

static struct interval nodes[NODES];

static struct interval *of(struct tree_node *node)
{
	return node ? container_of(node, struct interval, node) : NULL;
}

/* Height of the subtree. It is balanced, in order, and knows its largest end. */
static int check_subtree(struct tree_node *node, struct tree_node *parent)
{
	uint64_t max;
	int l, r;

	if (!node)
		return 0;
	assert_ptr_equal(node->parent, parent);
	l = check_subtree(node->left, node);
	r = check_subtree(node->right, node);
	assert_in_range(l - r + 1, 0, 2);
	assert_int_equal(node->height, (l > r ? l : r) + 1);
	max = of(node)->last;
	if (node->left)
		max = max_u64(max, of(node->left)->max_last);
	if (node->right)
		max = max_u64(max, of(node->right)->max_last);
	assert_int_equal(of(node)->max_last, max);
	return node->height;
}

/* @in: a bit for each node in the tree. Node i is [10 * i, 10 * i + length]. */
static void check_queries(struct tree *tree, unsigned in)
{
	check_subtree(tree->root, NULL);
	for (uint64_t start = 0; start < 10 * NODES; start += 5)
		for (uint64_t last = start; last < start + 30; last += 9) {
			struct interval *iv = interval_first(tree, start, last);

			for (unsigned i = 0; i < NODES; i++) {
				if (!(in >> i & 1) || nodes[i].start > last || nodes[i].last < start)
					continue;
				assert_ptr_equal(iv, &nodes[i]);
				iv = interval_next(iv, start, last);
			}
			assert_null(iv);
		}
}

static void check_walks(const struct tree *tree, unsigned in)
{
	struct tree_node *node = tree_first(tree), *last = NULL;

	for (unsigned i = 0; i < NODES; i++)
		if (in >> i & 1) {
			assert_ptr_equal(of(node), &nodes[i]);
			last = node;
			node = tree_next(node);
		}
	assert_null(node);
	for (unsigned i = NODES; i-- > 0;)
		if (in >> i & 1) {
			assert_ptr_equal(of(last), &nodes[i]);
			last = tree_prev(last);
		}
	assert_null(last);
}

/* The @nr-th order of the numbers below NODES. */
static void order_of(unsigned nr, unsigned *order)
{
	unsigned rest[NODES];

	for (unsigned i = 0; i < NODES; i++)
		rest[i] = i;
	for (unsigned i = NODES; i > 0; i--) {
		unsigned k = nr % i;

		nr /= i;
		order[NODES - i] = rest[k];
		rest[k] = rest[i - 1];
	}
}

static void one_order(unsigned nr, bool queries)
{
	struct tree tree = INTERVAL_TREE_INIT;
	unsigned order[NODES], in = 0;

	order_of(nr, order);
	for (unsigned i = 0; i < NODES; i++) {
		unsigned n = order[i];

		nodes[n].start = 10 * n;
		nodes[n].last = 10 * n + (n % 3 == 1 ? 25 : 4);
		interval_insert(&tree, &nodes[n]);
		in |= 1u << n;
		check_subtree(tree.root, NULL);
	}
	check_walks(&tree, in);
	order_of(nr * 31 % 5040, order);
	for (unsigned i = 0; i < NODES; i++) {
		if (queries)
			check_queries(&tree, in);
		tree_erase(&tree, &nodes[order[i]].node);
		in &= ~(1u << order[i]);
		check_subtree(tree.root, NULL);
		check_walks(&tree, in);
	}
	assert_null(tree.root);
}

static void all_orders_keep_a_tree_balanced(void **state)
{
	(void)state;
	for (unsigned nr = 0; nr < 5040; nr++)
		one_order(nr, nr % 16 == 0);
}

/* Without data of subtrees, a tree works too. */
static void tree_without_augmentation(void **state)
{
	struct tree tree = { .root = NULL };

	(void)state;
	for (unsigned i = 0; i < NODES; i++) {
		struct tree_node **link = &tree.root, *parent = NULL;

		for (; *link; link = &parent->right)
			parent = *link;
		tree_insert(&tree, &nodes[i].node, parent, link);
	}
	tree_augment_up(&tree, &nodes[3].node);
	assert_int_equal(tree.root->height, 3);
	check_walks(&tree, (1u << NODES) - 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nodes_live_as_long_as_their_values),
		cmocka_unit_test(borders_of_nodes_are_visited_in_order),
		cmocka_unit_test(all_orders_keep_a_tree_balanced),
		cmocka_unit_test(tree_without_augmentation),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
