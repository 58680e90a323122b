/* SPDX-License-Identifier: MIT */
/*
 * abi/bounce.h - buffers of the host for the read and write calls of programs.
 *
 * If a part of the program's buffer cannot be accessed, the host's buffer is a mirror: the same part of it cannot be
 * accessed either. So the host's kernel decides how many bytes such a call transfers, and which stay in the pipe. A
 * mirror also has the same alignment within a page as the program's buffer, which O_DIRECT requires.
 */
#ifndef ABI_BOUNCE_H
#define ABI_BOUNCE_H

#include <sys/uio.h>

#include "abi/task.h"

/* An iovec array with addresses of the program, and the position up to which it is done. */
struct user_vector {
	const struct iovec *iov;
	size_t nr;
	size_t offset;		/* in iov[0]: bytes before it are done */
};

enum direction { IN, OUT };	/* read, write */

struct bounce {
	char *bytes;		/* one buffer of @size bytes */
	size_t size;
	struct iovec *iov;	/* for the host call: @bytes, or the mirror */
	int nr;
	/* The mirror: for each segment as many pages as the segment touches in the program. NULL: none. */
	char *mirror;
	size_t mirror_len;
	struct iovec plain;
	int flags;		/* RWF_* of preadv2(2) */
};

/* 0 or -ENOMEM. @size must be at least 1. Call bounce_fini() also after a failure. */
int bounce_init(struct bounce *b, size_t size);
void bounce_fini(struct bounce *b);

/* Let the host call use the first @len bytes of @bytes. */
void bounce_plain(struct bounce *b, size_t len);
/* Let the host call use a mirror of the vector's next @len bytes, of which @accessible are. 0 or -ENOMEM. */
int bounce_mirror(struct bounce *b, const struct user_vector *v, size_t len, size_t accessible);
/* Copy @len bytes from the mirror to @bytes, or from @bytes to the mirror. No mirror: do nothing. */
void bounce_gather(const struct bounce *b, void *bytes, size_t len);
void bounce_scatter(struct bounce *b, size_t len);
/* Let the host call use only the first @len bytes. */
void bounce_shorten(struct bounce *b, size_t len);
/* The host call; may block. @offset -1: at the file position. Return: bytes, or a negative errno. */
int64_t bounce_io(int fd, const struct bounce *b, int64_t offset, enum direction dir);

/*
 * sys_io.c: copy and check @nr elements of an iovec array, of at most IOV_MAX. @len: the bytes of all, cut to what
 * Linux transfers at once. 0, -EFAULT or -EINVAL.
 */
int user_vector_read(struct task *t, struct iovec *iov, uint64_t addr, uint64_t nr, uint64_t *len);
/* How many of the vector's next @len bytes are writable. */
size_t vector_storable(struct task *t, const struct user_vector *v, size_t len);
/*
 * Copy between @buf and the vector's next @len bytes, and advance the vector. Return: the bytes copied, fewer if the
 * rest cannot be accessed.
 */
size_t vector_store(struct task *t, struct user_vector *v, const void *buf, size_t len);
size_t vector_load(struct task *t, struct user_vector *v, void *buf, size_t len);
void vector_skip(struct user_vector *v, size_t len);

#endif
