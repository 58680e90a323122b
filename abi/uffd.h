/* SPDX-License-Identifier: MIT */
/*
 * abi/uffd.h - descriptors of userfaultfd(2), on top of vellum/uffd.h.
 *
 * The host's descriptor is an eventfd. It is readable if there is a message, and sometimes if the message is gone: a
 * fault may be resolved before it was read. poll(2) and epoll(7) look again before they wait, and poll(2) before it
 * returns.
 *
 * The gate of a tracked address space is closed while its memory is unmapped or copied, so the reader of an event of
 * that operation cannot run. The operating thread then takes its event itself, and keeps it for the reader. It waits
 * for the reader when the gate is open again.
 */
#ifndef ABI_UFFD_H
#define ABI_UFFD_H

#include <stdio.h>

#include "abi/task.h"
#include "vellum/uffd.h"

struct user_vector;

#define UFFD_DEVICE_NAME "userfaultfd"	/* in /dev */

/*
 * Requests of ioctl(2): <linux/userfaultfd.h>, which older systems have in part. @nr: VELLUM_UFFDIO_*. @words: of the
 * structure, 64 bits each.
 */
#define UFFD_IOC_TYPE		0xaa
#define UFFD_IOC(dir, nr, words) _IOC(dir, UFFD_IOC_TYPE, nr, (words) * 8)
#define UFFD_IOC_NEW		_IO(UFFD_IOC_TYPE, 0)

/*
 * A descriptor of @context, whose reference is consumed, also on failure. @flags: of userfaultfd(2). @features: of the
 * context of a child.
 */
int uffd_install(struct task *t, struct vellum_uffd *context, uint32_t flags, uint64_t features);
struct vellum_uffd *uffd_context(const struct file *file);
/* read(2) of @len bytes. Bytes, or a negative errno. */
int64_t uffd_read(struct task *t, struct file *file, struct user_vector *v, uint64_t len);
/* poll(2) returns POLLERR: before the handshake, and if read(2) may block. */
bool uffd_has_poll_error(const struct file *file);
/* Is there a message? Afterwards the host's descriptor agrees, unless the answer has changed meanwhile. */
bool uffd_update(const struct file *file);
void uffd_set_features(const struct file *file, uint64_t features);	/* after the handshake */
void uffd_print_fdinfo(FILE *f, const struct file *file);

/* sys_userfaultfd.c */
bool uffd_ioctl(struct task *t, const struct file *file, uint32_t request, uint64_t arg, int64_t *result);

#endif
