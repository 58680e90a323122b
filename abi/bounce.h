/* SPDX-License-Identifier: MIT */
/*
 * abi/bounce.h - host memory that stands for a program's in one call of the host.
 *
 * Where the program's memory cannot be accessed, neither can the host's that stands for it. So the host's kernel
 * itself decides what a call does with a buffer of which only a part is good: how many bytes it moves, and what stays
 * in the pipe. The same memory has the program's alignment within a page, which O_DIRECT asks for.
 */
#ifndef ABI_BOUNCE_H
#define ABI_BOUNCE_H

#include <sys/uio.h>

#include "abi/task.h"

/* A list of stretches of the program's memory, and how far it has been worked through. */
struct user_vector {
	const struct iovec *iov;
	size_t nr;
	size_t offset;		/* in iov[0] */
};

enum direction { IN, OUT };

struct bounce {
	char *bytes;		/* in order; room for @size */
	size_t size;
	struct iovec *iov;	/* what the host gets: @bytes, or the mirror */
	int nr;
	/* The mirror: a region for each stretch, pages for pages. NULL: none */
	char *mirror;
	size_t mirror_len;
	struct iovec plain;
};

/* 0 or -ENOMEM; @size at least 1. bounce_fini() also after a failure. */
int bounce_init(struct bounce *b, size_t size);
void bounce_fini(struct bounce *b);

/* For @len bytes of host memory as it comes. */
void bounce_plain(struct bounce *b, size_t len);
/* For the vector's next @len bytes, of which the first @good can be accessed. 0 or -ENOMEM */
int bounce_mirror(struct bounce *b, const struct user_vector *v, size_t len, size_t good);
/* Between @bytes and the mirror, if there is one: the first @len bytes. */
void bounce_gather(const struct bounce *b, void *bytes, size_t len);
void bounce_scatter(struct bounce *b, size_t len);
/* The host gets the first @len bytes only. */
void bounce_shorten(struct bounce *b, size_t len);
/* The host's call. @offset -1: at the file's own position. Return: bytes, or a negative errno. */
int64_t bounce_io(int fd, const struct bounce *b, int64_t offset, enum direction dir);

/* How many of the vector's next @len bytes can be stored to. */
size_t vector_storable(struct task *t, const struct user_vector *v, size_t len);
/*
 * Copy between @buf and the vector's next @len bytes, and go on behind them. Return: how many; less where memory
 * is bad.
 */
size_t vector_store(struct task *t, struct user_vector *v, const void *buf, size_t len);
size_t vector_load(struct task *t, struct user_vector *v, void *buf, size_t len);
void vector_skip(struct user_vector *v, size_t len);

#endif
