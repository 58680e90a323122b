/* SPDX-License-Identifier: MIT */
/* abi/bounce.c - buffers of the host for the read and write calls of programs; see bounce.h. */
#define _GNU_SOURCE
#include "abi/bounce.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAGE VELLUM_PAGE_SIZE

/* --- vectors: memory of the program --- */

/* The address of the vector's next bytes, and how many of @len lie in the same segment. */
static uint64_t current_segment(const struct user_vector *v, size_t len, size_t *n)
{
	size_t left = v->iov->iov_len - v->offset;

	*n = left < len ? left : len;
	return (uint64_t)v->iov->iov_base + v->offset;
}

static void advance(struct user_vector *v, size_t n)
{
	v->offset += n;
	if (v->offset == v->iov->iov_len) {
		v->iov++;
		v->nr--;
		v->offset = 0;
	}
}

size_t vector_storable(struct task *t, const struct user_vector *v, size_t len)
{
	struct user_vector at = *v;
	size_t total = 0;

	while (total < len && at.nr) {
		size_t n, accessible;
		uint64_t addr = current_segment(&at, len - total, &n);

		accessible = vellum_storable(t->gmm->mm, addr, n);
		total += accessible;
		if (accessible < n)
			break;
		advance(&at, n);
	}
	return total;
}

size_t vector_store(struct task *t, struct user_vector *v, const void *buf, size_t len)
{
	size_t total = 0, n, done;

	while (total < len && v->nr) {
		uint64_t addr = current_segment(v, len - total, &n);

		done = user_write_some(t, addr, (const char *)buf + total, n);
		total += done;
		advance(v, done);
		if (done < n)
			break;
	}
	return total;
}

size_t vector_load(struct task *t, struct user_vector *v, void *buf, size_t len)
{
	size_t total = 0, n, done;

	while (total < len && v->nr) {
		uint64_t addr = current_segment(v, len - total, &n);

		done = user_read_some(t, (char *)buf + total, addr, n);
		total += done;
		advance(v, done);
		if (done < n)
			break;
	}
	return total;
}

void vector_skip(struct user_vector *v, size_t len)
{
	size_t n;

	while (len && v->nr) {
		current_segment(v, len, &n);
		advance(v, n);
		len -= n;
	}
}

/* --- buffers of the host --- */

int bounce_init(struct bounce *b, size_t size)
{
	*b = (struct bounce){ .size = size };
	b->bytes = aligned_alloc(PAGE, (size + PAGE - 1) & ~(PAGE - 1ul));
	return b->bytes ? 0 : -ENOMEM;
}

static void free_mirror(struct bounce *b)
{
	if (b->mirror)
		munmap(b->mirror, b->mirror_len);
	if (b->iov != &b->plain)
		free(b->iov);
	b->mirror = NULL;
	b->iov = NULL;
	b->nr = 0;
}

void bounce_fini(struct bounce *b)
{
	free_mirror(b);
	free(b->bytes);
	b->bytes = NULL;
}

void bounce_plain(struct bounce *b, size_t len)
{
	free_mirror(b);
	b->plain = (struct iovec){ b->bytes, len };
	b->iov = &b->plain;
	b->nr = 1;
}

/* Set b->iov to offsets in the mirror, which is mapped when its length is known. Return: its length. */
static size_t lay_out_mirror(struct bounce *b, struct user_vector v, size_t len)
{
	size_t total = 0, n;

	while (len && v.nr) {
		uint64_t addr = current_segment(&v, len, &n);
		size_t in_page = addr & (PAGE - 1);

		if (n) {
			b->iov[b->nr++] = (struct iovec){ (void *)(total + in_page), n };
			total += (in_page + n + PAGE - 1) & ~(PAGE - 1ul);
		}
		advance(&v, n);
		len -= n;
	}
	return total;
}

/*
 * Protect all bytes of the mirror but the first @accessible. In the program, inaccessible memory starts at a page or at
 * a segment, so this is possible.
 */
static int protect_from(struct bounce *b, size_t accessible)
{
	for (int i = 0; i < b->nr; i++) {
		char *bad = (char *)b->iov[i].iov_base + accessible;

		if (accessible < b->iov[i].iov_len) {
			bad -= (uintptr_t)bad & (PAGE - 1);
			return mprotect(bad, (size_t)(b->mirror + b->mirror_len - bad), PROT_NONE) ? -ENOMEM : 0;
		}
		accessible -= b->iov[i].iov_len;
	}
	return 0;
}

int bounce_mirror(struct bounce *b, const struct user_vector *v, size_t len, size_t accessible)
{
	free_mirror(b);
	b->iov = calloc(v->nr + 1, sizeof(*b->iov));
	if (!b->iov)
		return -ENOMEM;
	b->mirror_len = lay_out_mirror(b, *v, len);
	b->mirror = mmap(NULL, b->mirror_len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
			 -1, 0);
	if (b->mirror == MAP_FAILED) {
		b->mirror = NULL;
		return -ENOMEM;
	}
	for (int i = 0; i < b->nr; i++)
		b->iov[i].iov_base = b->mirror + (uintptr_t)b->iov[i].iov_base;
	return protect_from(b, accessible);
}

void bounce_shorten(struct bounce *b, size_t len)
{
	for (int i = 0; i < b->nr; i++) {
		if (len < b->iov[i].iov_len) {
			b->iov[i].iov_len = len;
			b->nr = i + 1;
		}
		len -= b->iov[i].iov_len;
	}
}

void bounce_gather(const struct bounce *b, void *bytes, size_t len)
{
	size_t done = 0;

	for (int i = 0; b->mirror && i < b->nr && done < len; i++) {
		size_t n = len - done < b->iov[i].iov_len ? len - done : b->iov[i].iov_len;

		memcpy((char *)bytes + done, b->iov[i].iov_base, n);
		done += n;
	}
}

void bounce_scatter(struct bounce *b, size_t len)
{
	size_t done = 0;

	for (int i = 0; b->mirror && i < b->nr && done < len; i++) {
		size_t n = len - done < b->iov[i].iov_len ? len - done : b->iov[i].iov_len;

		memcpy(b->iov[i].iov_base, b->bytes + done, n);
		done += n;
	}
}

int64_t bounce_io(int fd, const struct bounce *b, int64_t offset, enum direction dir)
{
	const struct iovec *iov = b->iov;
	ssize_t n;

	if (b->flags)
		n = dir == IN ? preadv2(fd, iov, b->nr, offset, b->flags) : pwritev2(fd, iov, b->nr, offset, b->flags);
	else if (b->nr == 1 && offset < 0)
		n = dir == IN ? read(fd, iov->iov_base, iov->iov_len) : write(fd, iov->iov_base, iov->iov_len);
	else if (b->nr == 1)
		n = dir == IN ? pread(fd, iov->iov_base, iov->iov_len, offset) :
				pwrite(fd, iov->iov_base, iov->iov_len, offset);
	else if (offset < 0)
		n = dir == IN ? readv(fd, iov, b->nr) : writev(fd, iov, b->nr);
	else
		n = dir == IN ? preadv(fd, iov, b->nr, offset) : pwritev(fd, iov, b->nr, offset);
	return n < 0 ? -errno : n;
}
