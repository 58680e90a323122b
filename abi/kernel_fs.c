/* SPDX-License-Identifier: MIT */
/* abi/kernel_fs.c - which files of the host kernel's file systems a program may open; see kernel_fs.h. */
#define _GNU_SOURCE
#include "abi/kernel_fs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/major.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "abi/path.h"

#define PROC "/proc"
#define CONFIGFS_MAGIC 0x62656570	/* not in <linux/magic.h> */

/* Minor numbers of MEM_MAJOR: mem(4). */
enum { MEM_MINOR = 1, KMEM_MINOR = 2, PORT_MINOR = 4 };

enum access { ANY, READ_ONLY, BY_NAME, NONE };

/* --- by type --- */

static enum access access_of_type(long type)
{
	static const struct {
		long type;
		enum access access;
	} types[] = {
		{ PROC_SUPER_MAGIC, BY_NAME },
		{ SYSFS_MAGIC, READ_ONLY },
		{ CGROUP_SUPER_MAGIC, READ_ONLY },
		{ CGROUP2_SUPER_MAGIC, READ_ONLY },
		{ SECURITYFS_MAGIC, READ_ONLY },
		{ SELINUX_MAGIC, READ_ONLY },
		{ EFIVARFS_MAGIC, READ_ONLY },
		{ PSTOREFS_MAGIC, READ_ONLY },
		{ BINFMTFS_MAGIC, READ_ONLY },
		{ DEBUGFS_MAGIC, NONE },
		{ TRACEFS_MAGIC, NONE },
		{ BPF_FS_MAGIC, NONE },
		{ CONFIGFS_MAGIC, NONE },
		{ NSFS_MAGIC, NONE },
	};

	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		if (types[i].type == type)
			return types[i].access;
	return ANY;
}

/* --- by name, in procfs --- */

/*
 * Below /proc. A name that ends in a slash allows the directory and all that is below it. What proc_names.c has is not
 * among them: it would describe the host.
 */
static const char *const proc_names[] = {
	"buddyinfo", "cgroups", "cmdline", "consoles", "cpuinfo", "devices", "diskstats", "execdomains", "fb",
	"filesystems", "interrupts", "locks", "misc", "modules", "partitions", "pressure/", "softirqs", "sys/", "tty",
	"tty/drivers", "version", "vmstat", "zoneinfo",
};

/* Below /proc/PID of Vellum. These files are the same for the program, which is in the same namespaces. */
static const char *const own_names[] = {
	"cgroup", "gid_map", "loginuid", "mountinfo", "mounts", "net/", "sessionid", "setgroups", "uid_map",
};

static bool is_named(const char *name, const char *const *names, size_t nr)
{
	for (size_t i = 0; i < nr; i++) {
		size_t len = strlen(names[i]);

		if (!strcmp(name, names[i]))
			return true;
		if (len && names[i][len - 1] == '/' && !strncmp(name, names[i], len - 1) &&
		    (name[len - 1] == '/' || !name[len - 1]))
			return true;
	}
	return false;
}

bool kernel_fs_has_proc_name(const char *name)
{
	return is_named(name, proc_names, sizeof(proc_names) / sizeof(proc_names[0]));
}

/* @path: of the opened file, as the host names it. Nothing is allowed in another mount of procfs. */
static bool may_open_in_proc(const char *path)
{
	size_t len = strlen(PROC);
	char own[32];
	size_t n;

	if (strncmp(path, PROC, len) || (path[len] && path[len] != '/'))
		return false;
	path += len + (path[len] == '/');
	n = (size_t)snprintf(own, sizeof(own), "%d/", getpid());
	if (!strncmp(path, own, n))
		return is_named(path + n, own_names, sizeof(own_names) / sizeof(own_names[0]));
	return kernel_fs_has_proc_name(path);
}

/* The path of an opened file on the host. False: there is none, or it is too long. */
static bool host_path(int fd, char *name, size_t size)
{
	char link[FD_NAME_BYTES];
	ssize_t n = readlink(path_fd_name(fd, link), name, size - 1);

	name[n > 0 ? n : 0] = 0;
	return n > 0 && (size_t)n < size - 1;
}

/* --- the checks --- */

static enum access access_of(int fd)
{
	struct statfs fs;

	return fstatfs(fd, &fs) ? ANY : access_of_type((long)fs.f_type);
}

static bool is_memory_device(int fd)
{
	struct stat st;

	/* The host's memory and I/O ports, to which the memory of QEMU and Vellum belongs. */
	return fstat(fd, &st) == 0 && S_ISCHR(st.st_mode) && major(st.st_rdev) == MEM_MAJOR &&
	       (minor(st.st_rdev) == MEM_MINOR || minor(st.st_rdev) == KMEM_MINOR || minor(st.st_rdev) == PORT_MINOR);
}

int kernel_fs_check(int fd, int flags)
{
	bool writes = !(flags & O_PATH) && ((flags & O_ACCMODE) != O_RDONLY || (flags & O_TRUNC));
	enum access access = access_of(fd);
	char name[PATH_BYTES];

	if (access == NONE || (is_memory_device(fd) && !(flags & O_PATH)))
		return -EACCES;
	if (access == BY_NAME && (!host_path(fd, name, sizeof(name)) || !may_open_in_proc(name)))
		return -ENOENT;
	return access != ANY && writes ? -EACCES : 0;
}

int kernel_fs_check_change(int fd)
{
	return access_of(fd) == ANY ? 0 : -EACCES;
}

struct dirent_head {		/* of getdents64(2), before the name */
	uint64_t ino, off;
	uint16_t len;
	uint8_t type;
} __attribute__((packed));

long kernel_fs_filter_names(int fd, char *buf, long bytes)
{
	char path[PATH_BYTES + 256 + 2];
	long kept = 0;
	size_t dir;

	if (bytes <= 0 || access_of(fd) != BY_NAME)
		return bytes;
	if (!host_path(fd, path, PATH_BYTES))
		return 0;
	dir = strlen(path);
	for (long at = 0; at < bytes;) {
		struct dirent_head head;
		const char *name = buf + at + sizeof(head);

		memcpy(&head, buf + at, sizeof(head));
		snprintf(path + dir, sizeof(path) - dir, "/%s", name);
		if (!strcmp(name, ".") || !strcmp(name, "..") || may_open_in_proc(path)) {
			memmove(buf + kept, buf + at, head.len);
			kept += head.len;
		}
		at += head.len;
	}
	return kept;
}
