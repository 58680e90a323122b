/* SPDX-License-Identifier: MIT */
/* lib/tree.c - AVL tree and interval tree; see tree.h. */
#include "lib/tree.h"

static int height(const struct tree_node *node)
{
	return node ? node->height : 0;
}

static void update(struct tree *tree, struct tree_node *node)
{
	int l = height(node->left), r = height(node->right);

	node->height = (l > r ? l : r) + 1;
	if (tree->augment)
		tree->augment(node);
}

static void replace_child(struct tree *tree, struct tree_node *parent, struct tree_node *old,
			  struct tree_node *new)
{
	if (!parent)
		tree->root = new;
	else if (parent->left == old)
		parent->left = new;
	else
		parent->right = new;
	if (new)
		new->parent = parent;
}

static struct tree_node *rotate_left(struct tree *tree, struct tree_node *a)
{
	struct tree_node *b = a->right;

	replace_child(tree, a->parent, a, b);
	a->right = b->left;
	if (a->right)
		a->right->parent = a;
	b->left = a;
	a->parent = b;
	update(tree, a);
	update(tree, b);
	return b;
}

static struct tree_node *rotate_right(struct tree *tree, struct tree_node *a)
{
	struct tree_node *b = a->left;

	replace_child(tree, a->parent, a, b);
	a->left = b->right;
	if (a->left)
		a->left->parent = a;
	b->right = a;
	a->parent = b;
	update(tree, a);
	update(tree, b);
	return b;
}

static void rebalance_up(struct tree *tree, struct tree_node *node)
{
	while (node) {
		int balance = height(node->left) - height(node->right);

		update(tree, node);
		if (balance > 1) {
			if (height(node->left->left) < height(node->left->right))
				rotate_left(tree, node->left);
			node = rotate_right(tree, node);
		} else if (balance < -1) {
			if (height(node->right->right) < height(node->right->left))
				rotate_right(tree, node->right);
			node = rotate_left(tree, node);
		}
		node = node->parent;
	}
}

void tree_insert(struct tree *tree, struct tree_node *node, struct tree_node *parent,
		 struct tree_node **link)
{
	node->left = node->right = NULL;
	node->parent = parent;
	*link = node;
	rebalance_up(tree, node);
}

void tree_erase(struct tree *tree, struct tree_node *node)
{
	struct tree_node *fix;

	if (node->left && node->right) {
		struct tree_node *next = node->right;

		while (next->left)
			next = next->left;
		fix = next->parent == node ? next : next->parent;
		replace_child(tree, next->parent, next, next->right);
		next->left = node->left;
		next->right = node->right;
		next->left->parent = next;
		if (next->right)
			next->right->parent = next;
		replace_child(tree, node->parent, node, next);
	} else {
		fix = node->parent;
		replace_child(tree, node->parent, node, node->left ? node->left : node->right);
	}
	rebalance_up(tree, fix);
}

void tree_augment_up(struct tree *tree, struct tree_node *node)
{
	for (; node; node = node->parent)
		update(tree, node);
}

struct tree_node *tree_first(const struct tree *tree)
{
	struct tree_node *node = tree->root;

	while (node && node->left)
		node = node->left;
	return node;
}

struct tree_node *tree_next(const struct tree_node *node)
{
	if (node->right) {
		node = node->right;
		while (node->left)
			node = node->left;
		return (struct tree_node *)node;
	}
	while (node->parent && node->parent->right == node)
		node = node->parent;
	return node->parent;
}

struct tree_node *tree_prev(const struct tree_node *node)
{
	if (node->left) {
		node = node->left;
		while (node->right)
			node = node->right;
		return (struct tree_node *)node;
	}
	while (node->parent && node->parent->left == node)
		node = node->parent;
	return node->parent;
}

static struct interval *to_interval(struct tree_node *node)
{
	return node ? container_of(node, struct interval, node) : NULL;
}

void interval_augment(struct tree_node *node)
{
	struct interval *iv = to_interval(node);

	iv->max_last = iv->last;
	if (node->left)
		iv->max_last = max_u64(iv->max_last, to_interval(node->left)->max_last);
	if (node->right)
		iv->max_last = max_u64(iv->max_last, to_interval(node->right)->max_last);
}

void interval_insert(struct tree *tree, struct interval *iv)
{
	struct tree_node **link = &tree->root, *parent = NULL;

	while (*link) {
		parent = *link;
		link = iv->start < to_interval(parent)->start ? &parent->left : &parent->right;
	}
	tree_insert(tree, &iv->node, parent, link);
}

/* Leftmost overlap in the subtree of @iv, or NULL. */
static struct interval *first_below(struct interval *iv, uint64_t start, uint64_t last)
{
	while (iv && iv->max_last >= start) {
		struct interval *left = to_interval(iv->node.left);

		if (left && left->max_last >= start) {
			iv = left;	/* an overlap is there, or none exists: starts only grow */
			continue;
		}
		if (iv->start > last)
			return NULL;
		if (iv->last >= start)
			return iv;
		iv = to_interval(iv->node.right);
	}
	return NULL;
}

struct interval *interval_first(const struct tree *tree, uint64_t start, uint64_t last)
{
	return first_below(to_interval(tree->root), start, last);
}

struct interval *interval_next(struct interval *iv, uint64_t start, uint64_t last)
{
	for (;;) {
		struct interval *found = first_below(to_interval(iv->node.right), start, last);
		struct tree_node *child;

		if (found)
			return found;
		do {		/* up to the first parent of which this is the left child */
			child = &iv->node;
			if (!child->parent)
				return NULL;
			iv = to_interval(child->parent);
		} while (iv->node.right == child);
		if (iv->start > last)
			return NULL;
		if (iv->last >= start)
			return iv;
	}
}
