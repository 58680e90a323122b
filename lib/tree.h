/* SPDX-License-Identifier: MIT */
/*
 * lib/tree.h - intrusive AVL tree with augmentation, and an interval tree on it.
 *
 * Not locked: the owner's lock protects the tree. To insert a node, the caller searches for its place and calls
 * tree_insert(), which links the node there.
 */
#ifndef LIB_TREE_H
#define LIB_TREE_H

#include "lib/types.h"

struct tree_node {
	struct tree_node *left, *right, *parent;
	int height;
};

/* Recompute the data that @node stores about its subtree, from itself and its two children. */
typedef void (*tree_augment_fn)(struct tree_node *node);

struct tree {
	struct tree_node *root;
	tree_augment_fn augment;	/* may be NULL */
};

/* Link @node below @parent at *@link (which is NULL) and rebalance. */
void tree_insert(struct tree *tree, struct tree_node *node, struct tree_node *parent,
		 struct tree_node **link);
void tree_erase(struct tree *tree, struct tree_node *node);
/* @node's own data changed: update its ancestors. */
void tree_augment_up(struct tree *tree, struct tree_node *node);

struct tree_node *tree_first(const struct tree *tree);
struct tree_node *tree_next(const struct tree_node *node);
struct tree_node *tree_prev(const struct tree_node *node);

/* An interval [start, last], both inclusive, in a tree of intervals. */
struct interval {
	struct tree_node node;
	uint64_t start, last;
	uint64_t max_last;	/* largest last in the subtree */
};

#define INTERVAL_TREE_INIT { .root = NULL, .augment = interval_augment }
void interval_augment(struct tree_node *node);
void interval_insert(struct tree *tree, struct interval *iv);
/* The first interval by start that overlaps [start, last]; then the next one. */
struct interval *interval_first(const struct tree *tree, uint64_t start, uint64_t last);
struct interval *interval_next(struct interval *iv, uint64_t start, uint64_t last);

#endif
