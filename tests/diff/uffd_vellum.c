/* SPDX-License-Identifier: MIT */
/* tests/diff/uffd_vellum.c - userfaultfd on Vellum's side. */
#define _GNU_SOURCE
#include "tests/diff/uffd.h"

static void kick(void *reader)
{
	reader_kick(reader);
}

void vellum_context_opened(struct reader *reader, unsigned context)
{
	vellum_uffd_on_activity(reader->context[context].uffd, kick, reader);
}

static void call_api(struct reader *reader, const struct op *op, struct result *r)
{
	r->ret = vellum_uffd_api(reader->context[op->object].uffd, op->len, op->to, &r->val, &r->addr);
	if (!r->ret)
		reader->context[op->object].ready = true;
}

static void open_context(struct reader *reader, const struct op *op, struct result *r)
{
	uint32_t flags = VELLUM_UFFD_MAY_FORK |
			 (op->flags & UFFD_OPEN_USER_ONLY ? (uint32_t)VELLUM_UFFD_USER_MODE_ONLY : 0);

	r->ret = vellum_uffd_create(reader->world->mm[reader->proc], flags, &reader->context[op->object].uffd);
	if (r->ret)
		return;
	vellum_context_opened(reader, op->object);
	if (!(op->flags & UFFD_OPEN_ONLY))
		call_api(reader, op, r);
}

static void call_range(struct vellum_uffd *uffd, enum uffd_call call, const struct op *op, struct result *r)
{
	int64_t done = (int64_t)UFFD_NO_ANSWER;

	if (call == CALL_COPY)
		r->ret = vellum_uffd_copy(uffd, op->addr, op->to, op->to ? NULL : uffd_bytes(op), op->len, op->flags,
					  &done);
	else if (call == CALL_ZEROPAGE)
		r->ret = vellum_uffd_zeropage(uffd, op->addr, op->len, op->flags, &done);
	else if (call == CALL_CONTINUE)
		r->ret = vellum_uffd_continue(uffd, op->addr, op->len, op->flags, &done);
	else if (call == CALL_POISON)
		r->ret = vellum_uffd_poison(uffd, op->addr, op->len, op->flags, &done);
	else
		r->ret = vellum_uffd_move(uffd, op->addr, op->to, op->len, op->flags, &done);
	r->val = (uint64_t)done;
}

static void call_other(struct vellum_uffd *uffd, enum uffd_call call, const struct op *op, struct result *r)
{
	if (call == CALL_REGISTER) {
		r->val = UFFD_NO_ANSWER;
		r->ret = vellum_uffd_register(uffd, op->addr, op->len, op->flags, &r->val);
	} else if (call == CALL_UNREGISTER) {
		r->ret = vellum_uffd_unregister(uffd, op->addr, op->len);
	} else if (call == CALL_WAKE) {
		r->ret = vellum_uffd_wake(uffd, op->addr, op->len);
	} else if (call == CALL_WRITEPROTECT) {
		r->ret = vellum_uffd_writeprotect(uffd, op->addr, op->len, op->flags);
	} else {
		call_range(uffd, call, op, r);
	}
}

static void vellum_call(struct reader *reader, enum uffd_call call, const struct op *op, struct result *r)
{
	struct vellum_uffd **uffd = &reader->context[op->object].uffd;

	if (!*uffd == (call != CALL_OPEN)) {
		r->ret = -VELLUM_EBADF;
	} else if (call == CALL_OPEN) {
		open_context(reader, op, r);
	} else if (call == CALL_CLOSE) {
		vellum_uffd_put(*uffd);
		*uffd = NULL;
		reader->context[op->object].ready = false;
	} else if (call == CALL_API) {
		call_api(reader, op, r);
	} else {
		call_other(*uffd, call, op, r);
	}
}

static bool vellum_take(struct reader *reader, unsigned context, struct message *msg)
{
	struct vellum_uffd *uffd = reader->context[context].uffd;
	struct vellum_uffd_msg m;
	uint32_t got;

	if (!uffd || !reader->context[context].ready || vellum_uffd_read(uffd, &m, 1, false, &got))
		return false;
	*msg = (struct message){ .event = m.event };
	if (m.event == VELLUM_UFFD_EVENT_FORK) {
		reader->context[context].child = m.arg.fork.child;
		return true;
	}
	msg->word[0] = m.arg.pagefault.flags;	/* other events: from, start */
	msg->word[1] = m.arg.pagefault.address;
	if (m.event == VELLUM_UFFD_EVENT_REMAP)
		msg->word[2] = m.arg.remap.len;
	return true;
}

static unsigned vellum_add_fds(struct reader *reader, struct pollfd *fds)
{
	(void)reader, (void)fds;
	return 0;
}

const struct side vellum_side = { vellum_call, vellum_take, vellum_add_fds };
