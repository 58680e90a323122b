/* SPDX-License-Identifier: MIT */
/*
 * machine/qemu_confine.c - takes rights from QEMU's process, so that a program that takes QEMU over can use only the
 * files that QEMU has open.
 *
 * QEMU's own -sandbox denies new processes and privileges by seccomp. The steps here must happen before QEMU runs:
 * change the user if the caller is root, deny gaining rights, deny writing by path, limit descriptors. Each step is
 * best effort: if a kernel or a container lacks one, the others still apply.
 */
#define _GNU_SOURCE
#include "machine/qemu.h"

#include <grp.h>
#include <linux/landlock.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#define NOBODY	 65534
#define MAX_OPEN 64

static void limit(int what, rlim_t most)
{
	const struct rlimit lim = { most, most };

	setrlimit(what, &lim);
}

/* Landlock (landlock(7)): handle every right to change a file tree, and grant none. */
static void deny_writing_by_path(void)
{
	const struct landlock_ruleset_attr attr = {
		.handled_access_fs = LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_REMOVE_DIR |
				     LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_MAKE_CHAR |
				     LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_MAKE_REG |
				     LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_MAKE_FIFO |
				     LANDLOCK_ACCESS_FS_MAKE_BLOCK | LANDLOCK_ACCESS_FS_MAKE_SYM,
	};
	int fd = (int)syscall(SYS_landlock_create_ruleset, &attr, sizeof(attr), 0);

	if (fd < 0)
		return;
	syscall(SYS_landlock_restrict_self, fd, 0);
	close(fd);
}

void qemu_confine(void)
{
	int err = chdir("/");

	limit(RLIMIT_CORE, 0);
	limit(RLIMIT_NOFILE, MAX_OPEN);
	if (geteuid() == 0 && !setgroups(0, NULL) && !setresgid(NOBODY, NOBODY, NOBODY))
		err |= setresuid(NOBODY, NOBODY, NOBODY);
	(void)err;	/* best effort, as said above */
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	deny_writing_by_path();
}
