/* SPDX-License-Identifier: MIT */
/* tests/fuzz/library_uffd.c - calls on userfaultfd contexts. A fault that would wait for a reader returns instead. */
#include "tests/fuzz/library.h"

typedef unsigned long long ull;

static void note_activity(void *arg)
{
	++*(uint64_t *)arg;
}

static uint64_t activity;

void drop_uffd(unsigned i)
{
	if (one_in(2))
		vellum_uffd_close(f.uffd[i]);
	vellum_uffd_put(f.uffd[i]);
	f.uffd[i] = NULL;
}

static void op_uffd_life(void)
{
	unsigned i = (unsigned)below(NR_UFFDS);
	uint64_t features = any_flags(0x1fdef), supported, ioctls;

	calling("the context %u comes or goes, features %#llx", i, (ull)features);
	if (f.uffd[i]) {
		vellum_uffd_get(f.uffd[i]);
		vellum_uffd_put(f.uffd[i]);
		if (one_in(2))
			drop_uffd(i);
		return;
	}
	if (result(vellum_uffd_create(any_mm(), one_in(3) ? any_flags(3) : VELLUM_UFFD_MAY_FORK, &f.uffd[i]))) {
		f.uffd[i] = NULL;
		return;
	}
	if (!one_in(20))
		result(vellum_uffd_api(f.uffd[i], one_in(20) ? any64() : VELLUM_UFFD_API, features,
				       one_in(2) ? &supported : NULL, one_in(2) ? &ioctls : NULL));
	vellum_uffd_on_activity(f.uffd[i], one_in(3) ? NULL : note_activity, &activity);
}

static void op_register(void)
{
	struct vellum_uffd *u = any_uffd();
	uint64_t start = any_addr(any_mm()), len = any_len(), modes = any_flags(7), ioctls;

	if (!u)
		return;
	if (one_in(2))
		modes |= 1ull << below(3);
	calling("register %#llx+%#llx modes %#llx", (ull)start, (ull)len, (ull)modes);
	if (one_in(4))
		result(vellum_uffd_unregister(u, start, len));
	else
		result(vellum_uffd_register(u, start, len, modes, one_in(2) ? &ioctls : NULL));
}

static void check_done(int err, int64_t done, uint64_t len)
{
	result(err);
	if (done > 0 && (uint64_t)done > len)
		wrong("%lld of %llu bytes are done", (long long)done, (ull)len);
}

static void op_fill(void)
{
	struct vellum_uffd *u = any_uffd();
	uint64_t dst = any_addr(any_mm()), src = any_addr(any_mm()), len = any_len(), mode = any_flags(3);
	int64_t done = 0;

	if (!u)
		return;
	calling("fill %#llx+%#llx from %#llx mode %#llx", (ull)dst, (ull)len, (ull)src, (ull)mode);
	switch (below(6)) {
	case 0:
		if (len <= BUFFER)
			check_done(vellum_uffd_copy(u, dst, 0, f.buffer, len, mode, &done), done, len);
		return;
	case 1:
		check_done(vellum_uffd_copy(u, dst, src, NULL, len, mode, &done), done, len);
		return;
	case 2:
		check_done(vellum_uffd_zeropage(u, dst, len, mode, &done), done, len);
		return;
	case 3:
		check_done(vellum_uffd_continue(u, dst, len, mode, &done), done, len);
		return;
	case 4:
		check_done(vellum_uffd_poison(u, dst, len, mode, &done), done, len);
		return;
	default:
		check_done(vellum_uffd_move(u, dst, src, len, mode, &done), done, len);
	}
}

static void op_writeprotect(void)
{
	struct vellum_uffd *u = any_uffd();
	uint64_t start = any_addr(any_mm()), len = any_len();

	if (!u)
		return;
	calling("writeprotect, wake %#llx+%#llx", (ull)start, (ull)len);
	if (one_in(5))
		result(vellum_uffd_wake(u, start, len));
	else
		result(vellum_uffd_writeprotect(u, start, len, any_flags(3)));
}

/* The message of a fork has a new context. It replaces another one. */
static void keep_child(struct vellum_uffd *child)
{
	unsigned i = (unsigned)below(NR_UFFDS);

	if (f.uffd[i])
		vellum_uffd_put(f.uffd[i]);
	f.uffd[i] = child;
}

static void op_read(void)
{
	struct vellum_uffd *u = any_uffd();
	struct vellum_uffd_msg msg[4];
	uint32_t got = 0;

	if (!u)
		return;
	calling("uffd_read");
	vellum_uffd_poll(u);
	if (result(vellum_uffd_read(u, msg, one_in(20) ? 0 : 1 + (uint32_t)below(4), one_in(4), &got)))
		return;
	for (uint32_t i = 0; i < got; i++)
		if (msg[i].event == VELLUM_UFFD_EVENT_FORK)
			keep_child(msg[i].arg.fork.child);
}

const struct op uffd_ops[] = {
	{ 8, op_uffd_life },
	{ 25, op_register },
	{ 35, op_fill },
	{ 25, op_writeprotect },
	{ 15, op_read },
	{ 0, NULL },
};
