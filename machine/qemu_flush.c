/* SPDX-License-Identifier: MIT */
/* machine/qemu_flush.c - flushes of the CPUs' TLBs; see INV-QEMU-1 in qemu.c. */
#define _GNU_SOURCE
#include <string.h>
#include <unistd.h>

#include "machine/qemu.h"
#include "vellum/mm.h"

#define HANG_TIMEOUT_NS	10000000000ull
#define POLL_US		20

bool qemu_is_exhausted(struct qemu_patience *p)
{
	uint64_t now = qemu_now_ns(), step = p->last ? now - p->last : 0;

	p->last = now;
	p->waited += step < 2 * QEMU_WATCH_NS ? step : 2 * QEMU_WATCH_NS;
	return p->waited > HANG_TIMEOUT_NS;
}

/*
 * List the pages of the batch. False: too many: flush everything. If the batch names tables only, any page will do, as
 * invlpg also drops what the CPU knows of tables (Intel SDM, "Operations that Invalidate TLBs and Paging-Structure
 * Caches").
 */
static bool list_pages(const struct vellum_flush_batch *batch, uint64_t addr[MAX_FLUSH_PAGES], uint32_t *nr)
{
	*nr = 0;
	if (!batch || batch->full)
		return false;
	if (!batch->nr_ranges)
		addr[(*nr)++] = 0;
	for (unsigned i = 0; i < batch->nr_ranges; i++)
		for (uint64_t at = batch->range[i].start; at < batch->range[i].end; at += VELLUM_PAGE_SIZE) {
			if (*nr == MAX_FLUSH_PAGES)
				return false;
			addr[(*nr)++] = at;
		}
	return true;
}

uint64_t qemu_request_flush(struct qemu_vcpu *v, const struct vellum_flush_batch *batch)
{
	struct mailbox *mb = v->mb;
	uint64_t addr[MAX_FLUSH_PAGES], req;
	uint32_t nr;
	bool few = list_pages(batch, addr, &nr);

	pthread_mutex_lock(&v->flush_lock);
	if (few && __atomic_load_n(&mb->flush_ack, __ATOMIC_SEQ_CST) == mb->flush_req) {
		memcpy(mb->flush_addr, addr, nr * sizeof(addr[0]));
		__atomic_store_n(&mb->flush_nr, nr, __ATOMIC_RELEASE);
	} else {
		__atomic_store_n(&mb->flush_nr, MAX_FLUSH_PAGES + 1, __ATOMIC_RELEASE);
	}
	req = __atomic_add_fetch(&mb->flush_req, 1, __ATOMIC_SEQ_CST);
	pthread_mutex_unlock(&v->flush_lock);
	return req;
}

/* Sleep after a short spin: QEMU's threads need a processor to answer. */
static void relax(uint64_t waited_ns)
{
	if (waited_ns < QEMU_SPIN_NS)
		__builtin_ia32_pause();
	else
		usleep(POLL_US);
}

static void ask_flush(struct qemu_machine *q, uint64_t cpus, const struct vellum_flush_batch *batch)
{
	struct qemu_patience patience = { 0, 0 };
	uint64_t want[MAX_VCPUS], start;
	bool kicked = false;

	for (uint64_t mask = cpus; mask; mask &= mask - 1) {
		unsigned cpu = (unsigned)__builtin_ctzll(mask);

		want[cpu] = qemu_request_flush(&q->vcpu[cpu], batch);
	}
	start = qemu_now_ns();
	for (uint64_t mask = cpus; mask; mask &= mask - 1) {
		const struct mailbox *mb = q->vcpu[__builtin_ctzll(mask)].mb;

		while (qemu_state(mb) == STATE_GUEST &&
		       __atomic_load_n(&mb->flush_ack, __ATOMIC_SEQ_CST) < want[__builtin_ctzll(mask)]) {
			if (qemu_is_down(q))
				return;
			if (!kicked)
				qemu_send_kick(q);
			kicked = true;
			if (qemu_is_exhausted(&patience) && qemu_state(mb) == STATE_GUEST)
				qemu_declare_down(q, QEMU_PROGRAM " stopped answering");
			relax(qemu_now_ns() - start);
		}
	}
}

void qemu_flush_mm(void *machine, struct vellum_mm *mm)
{
	ask_flush(machine, vellum_mm_cpumask(mm), NULL);
}

/* Flush a few pages one by one, so that the program keeps the rest of its TLB; else flush all. */
void qemu_flush(void *machine, struct vellum_mm *mm, const struct vellum_flush_batch *batch)
{
	ask_flush(machine, vellum_mm_cpumask(mm), batch);
}

/*
 * QEMU chooses the size of its TLB when it flushes all of it. Without this, a program that causes no such flush keeps the
 * first size, which covers 1 MiB of memory, and its other accesses miss the TLB.
 */
void qemu_refresh(struct machine *m)
{
	struct qemu_machine *q = to_qemu(m);
	bool any = false;

	for (unsigned i = 0; i < m->nr_cpus; i++)
		if (qemu_state(q->vcpu[i].mb) == STATE_GUEST) {
			qemu_request_flush(&q->vcpu[i], NULL);
			any = true;
		}
	if (any)
		qemu_send_kick(q);
}
