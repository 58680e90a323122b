/* SPDX-License-Identifier: MIT */
/* lib/radix.c - radix tree; see radix.h. */
#include "lib/errnum.h"
#include "lib/radix.h"

#define RADIX_BITS	6
#define RADIX_SLOTS	(1u << RADIX_BITS)

struct radix_node {
	uint64_t used;			/* bit i: slot i is not NULL */
	void *slot[RADIX_SLOTS];	/* children, or values in the lowest level */
};

static unsigned slot_of(uint64_t index, unsigned level)
{
	return index >> (level * RADIX_BITS) & (RADIX_SLOTS - 1);
}

/* Does a tree of @levels levels have @index? */
static bool covers(unsigned levels, uint64_t index)
{
	return levels * RADIX_BITS >= 64 || index >> (levels * RADIX_BITS) == 0;
}

void *radix_get(const struct radix *radix, uint64_t index)
{
	struct radix_node *node = radix->root;

	if (!covers(radix->levels, index))
		return NULL;
	for (unsigned level = radix->levels; level-- > 1 && node;)
		node = node->slot[slot_of(index, level)];
	return node ? node->slot[slot_of(index, 0)] : NULL;
}

static struct radix_node *new_node(const struct host *host)
{
	return host_alloc(host, sizeof(struct radix_node));
}

static void fill_slot(struct radix_node *node, unsigned slot, void *value)
{
	node->slot[slot] = value;
	node->used |= 1ull << slot;
}

/* An empty tree gets a root that is high enough for @index; another one roots on top until it has @index. */
static int grow(struct radix *radix, uint64_t index, const struct host *host)
{
	if (!radix->root) {
		radix->root = new_node(host);
		if (!radix->root)
			return -ENOMEM;
		for (radix->levels = 1; !covers(radix->levels, index);)
			radix->levels++;
		return 0;
	}
	while (!covers(radix->levels, index)) {
		struct radix_node *node = new_node(host);

		if (!node)
			return -ENOMEM;
		fill_slot(node, 0, radix->root);
		radix->root = node;
		radix->levels++;
	}
	return 0;
}

int radix_set(struct radix *radix, uint64_t index, void *value, const struct host *host)
{
	struct radix_node *node;

	if (grow(radix, index, host))
		return -ENOMEM;	/* empty nodes stay; they have no effect */
	node = radix->root;
	for (unsigned level = radix->levels; level-- > 1;) {
		struct radix_node *child = node->slot[slot_of(index, level)];

		if (!child) {
			child = new_node(host);
			if (!child)
				return -ENOMEM;
			fill_slot(node, slot_of(index, level), child);
		}
		node = child;
	}
	fill_slot(node, slot_of(index, 0), value);
	return 0;
}

static void *delete_below(struct radix_node *node, unsigned level, uint64_t index,
			  const struct host *host)
{
	unsigned slot = slot_of(index, level);
	void *value = node->slot[slot];

	if (value && level) {
		struct radix_node *child = value;

		value = delete_below(child, level - 1, index, host);
		if (child->used)
			return value;
		host_free(host, child, sizeof(*child));
	}
	node->slot[slot] = NULL;
	node->used &= ~(1ull << slot);
	return value;
}

void *radix_delete(struct radix *radix, uint64_t index, const struct host *host)
{
	void *value;

	if (!radix->root || !covers(radix->levels, index))
		return NULL;
	value = delete_below(radix->root, radix->levels - 1, index, host);
	if (!radix->root->used) {
		host_free(host, radix->root, sizeof(*radix->root));
		radix->root = NULL;
		radix->levels = 0;
	}
	return value;
}

static void *next_below(const struct radix_node *node, unsigned level, uint64_t *index)
{
	uint64_t step = 1ull << (level * RADIX_BITS);

	for (;;) {
		unsigned from = slot_of(*index, level);
		uint64_t rest = node->used & (~0ull << from);
		unsigned slot;
		void *value;

		if (!rest)
			return NULL;
		slot = (unsigned)__builtin_ctzll(rest);
		if (slot != from)
			*index = (*index & ~(step * RADIX_SLOTS - 1)) | slot * step;
		value = node->slot[slot];
		if (level)
			value = next_below(value, level - 1, index);
		if (value)
			return value;
		if (slot == RADIX_SLOTS - 1)
			return NULL;
		*index = (*index & ~(step * RADIX_SLOTS - 1)) | (slot + 1) * step;
		if (!*index)
			return NULL;	/* the index has wrapped */
	}
}

void *radix_next(const struct radix *radix, uint64_t *index)
{
	if (!radix->root || !covers(radix->levels, *index))
		return NULL;
	return next_below(radix->root, radix->levels - 1, index);
}

static void destroy_below(struct radix_node *node, unsigned level, const struct host *host)
{
	for (uint64_t rest = level ? node->used : 0; rest; rest &= rest - 1)
		destroy_below(node->slot[__builtin_ctzll(rest)], level - 1, host);
	host_free(host, node, sizeof(*node));
}

void radix_destroy(struct radix *radix, const struct host *host)
{
	if (radix->root)
		destroy_below(radix->root, radix->levels - 1, host);
	radix->root = NULL;
	radix->levels = 0;
}
