/* SPDX-License-Identifier: MIT */
/*
 * machine/qemu_crash.c - finds the program's instruction at which QEMU aborts.
 *
 * abort(3) calls tgkill(2). A seccomp filter makes the kernel notify this process first (seccomp_unotify(2)). While
 * QEMU's thread waits for the answer, QEMU's memory can be read. It contains the registers of each CPU. The control
 * registers have values that the stubs set, so a search finds them. The general registers and rip are at a fixed
 * distance from them, which is measured on a running QEMU; rip is that of the block being translated. The run can
 * continue without this: if a step fails, or QEMU ends by another signal, the program's last known address is where it
 * was entered.
 */
#define _GNU_SOURCE
#include "machine/qemu.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define CR0_VALUE	0x80050033ull	/* the values that the stubs set */
#define CR4_VALUE	0x150e20ull
#define NR_GPRS		16
#define RBX		3		/* numbers of registers in instructions */
#define RSP		4
#define MAX_REGION	(64ull << 20)	/* larger regions are RAM and translated code */
#define NEAR		CRASH_NEAR	/* bytes between the two kinds of registers, at most */

/* --- in the child --- */

/* Return: the listener, or -1. */
int qemu_crash_filter(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 0, 5),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_tgkill, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[2])),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SIGABRT, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	const struct sock_fprog program = { sizeof(code) / sizeof(code[0]), code };

	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &program);
}

/* --- looking into QEMU's memory --- */

struct search {
	int mem;			/* /proc/PID/mem */
	/* Called for each aligned word of private memory; not 0 ends the search. */
	int (*look)(struct search *s, uint64_t addr, const uint64_t *word, size_t left);
	void *arg;
};

static int search_region(struct search *s, uint64_t start, uint64_t end)
{
	const size_t size = end - start;
	uint64_t *words = malloc(size);
	int found = 0;

	if (words && pread(s->mem, words, size, (off_t)start) == (ssize_t)size)
		for (size_t i = 0; i < size / 8 && !found; i++)
			found = s->look(s, start + 8 * i, &words[i], size / 8 - i);
	free(words);
	return found;
}

static void search_process(pid_t pid, struct search *s)
{
	char path[64], line[512], rights[8];
	unsigned long start, end, inode;
	FILE *maps;

	snprintf(path, sizeof(path), "/proc/%d/maps", (int)pid);
	maps = fopen(path, "re");
	snprintf(path, sizeof(path), "/proc/%d/mem", (int)pid);
	s->mem = open(path, O_RDONLY | O_CLOEXEC);
	while (maps && s->mem >= 0 && fgets(line, sizeof(line), maps)) {
		if (sscanf(line, "%lx-%lx %7s %*s %*s %lu", &start, &end, rights, &inode) != 4 || inode ||
		    strncmp(rights, "rw-p", 4) != 0 || end - start > MAX_REGION)
			continue;
		if (search_region(s, start, end))
			break;
	}
	if (maps)
		fclose(maps);
	if (s->mem >= 0)
		close(s->mem);
}

/* Are these words cr0, (unknown), cr2, cr3, cr4? */
static bool is_control(const uint64_t *word, size_t left)
{
	return left >= 5 && word[0] == CR0_VALUE && word[4] == CR4_VALUE;
}

/* --- the distance, on a QEMU whose CPUs wait in their stubs --- */

struct distance {
	uint64_t control[MAX_VCPUS], general[MAX_VCPUS];
	unsigned nr_control, nr_general;
};

static int note_registers(struct search *s, uint64_t addr, const uint64_t *word, size_t left)
{
	const uint64_t first = STUB_VA + MAILBOX_ADDR, code = STUB_VA + CODE_ADDR;
	struct distance *d = s->arg;

	if (is_control(word, left) && d->nr_control < MAX_VCPUS)
		d->control[d->nr_control++] = addr;
	/* In a stub, rbx is the mailbox and rsp its registers. rip follows the last register, and is in the stubs. */
	if (left > NR_GPRS && d->nr_general < MAX_VCPUS && word[RBX] >= first &&
	    word[RBX] < first + MAX_VCPUS * MAILBOX_SIZE && word[RSP] == word[RBX] + MB_REGS &&
	    word[NR_GPRS] - code < CODE_MAX)
		d->general[d->nr_general++] = addr;
	return 0;
}

/* Bytes from the control registers to the general registers; 0: not found. */
static int64_t measure_distance(const struct qemu_machine *q)
{
	struct distance d = { .nr_control = 0 };
	struct search s = { .look = note_registers, .arg = &d };
	int64_t distance;

	search_process(q->pid, &s);
	for (unsigned i = 0; i < d.nr_general; i++)
		for (unsigned j = 0; j < d.nr_control; j++) {
			distance = (int64_t)(d.general[i] - d.control[j]);
			if (llabs(distance) < NEAR - 8 * (NR_GPRS + 1))	/* copy_around() then also copies rip */
				return distance;
		}
	return 0;
}

/* --- when QEMU aborts --- */

static int copy_around(struct search *s, uint64_t addr, const uint64_t *word, size_t left)
{
	struct qemu_crash *crash = s->arg;
	struct crash_registers *r = &crash->found[crash->nr];

	if (!is_control(word, left) || crash->nr == MAX_VCPUS)
		return 0;
	r->cr3 = word[3];
	if (pread(s->mem, r->around, sizeof(r->around), (off_t)(addr - NEAR)) == (ssize_t)sizeof(r->around))
		crash->nr++;
	return 0;
}

/* Thread: copies the CPUs' registers at each abort, until QEMU has ended. */
static void *watch(void *arg)
{
	struct qemu_crash *crash = arg;
	struct pollfd listener = { .fd = crash->listener, .events = POLLIN };
	struct seccomp_notif ask;
	struct seccomp_notif_resp answer = { .flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE };
	struct search s = { .look = copy_around, .arg = crash };

	while (poll(&listener, 1, -1) > 0 && (listener.revents & POLLIN)) {
		memset(&ask, 0, sizeof(ask));
		if (ioctl(crash->listener, SECCOMP_IOCTL_NOTIF_RECV, &ask))
			continue;
		crash->nr = 0;
		search_process(crash->pid, &s);
		answer.id = ask.id;
		ioctl(crash->listener, SECCOMP_IOCTL_NOTIF_SEND, &answer);
	}
	return NULL;
}

void qemu_crash_start(struct qemu_crash *crash, pid_t pid, int listener)
{
	crash->pid = pid;
	crash->listener = listener;
	crash->watching = listener >= 0 && pthread_create(&crash->thread, NULL, watch, crash) == 0;
}

void qemu_crash_end(struct qemu_crash *crash)
{
	if (crash->watching)
		pthread_join(crash->thread, NULL);	/* its poll ends with QEMU */
	crash->watching = false;
	if (crash->listener >= 0)
		close(crash->listener);
	crash->listener = -1;
}

void qemu_crash_explain(struct qemu_machine *q)
{
	struct qemu_crash *crash = &q->crash;
	int64_t distance = crash->nr ? measure_distance(q) : 0;

	for (unsigned i = 0; i < q->nr_vcpus; i++) {
		q->vcpu[i].lost_rip = 0;
		for (unsigned j = 0; distance && j < crash->nr; j++)
			if (crash->found[j].cr3 == q->vcpu[i].cr3)
				memcpy(&q->vcpu[i].lost_rip, crash->found[j].around + NEAR + distance + 8 * NR_GPRS, 8);
	}
	crash->nr = 0;
}
