/* SPDX-License-Identifier: MIT */
/* abi/sockaddr.c - socket addresses of programs; see sockaddr.h. */
#define _GNU_SOURCE
#include "abi/sockaddr.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "abi/path.h"
#include "abi/socket.h"

#define PATH_OFFSET	offsetof(struct sockaddr_un, sun_path)
#define SUN_PATH_BYTES	sizeof(((struct sockaddr_un *)0)->sun_path)

/* --- names of bound sockets --- */

struct bound {
	struct bound *next;
	bool in_use;
	char host[SUN_PATH_BYTES + 1];	/* with which the host's socket is bound */
	char name[SUN_PATH_BYTES + 1];	/* that the program passed */
};

/* A name outlives its socket: accepted sockets and queued messages have it, too. */
#define PRUNE_AT	512u		/* names */

static struct {
	pthread_mutex_t lock;	/* a leaf */
	struct bound *first;
	unsigned nr, prune_at;
} names = { .lock = PTHREAD_MUTEX_INITIALIZER, .prune_at = PRUNE_AT };

/* names.lock held. */
static struct bound **find_name(const char *host)
{
	struct bound **at = &names.first;

	while (*at && strcmp((*at)->host, host))
		at = &(*at)->next;
	return at;
}

static void remove_name(struct bound **at)
{
	struct bound *b = *at;

	*at = b->next;
	names.nr--;
	free(b);
}

/* Remove the names that no socket of the host has. names.lock held. */
static void prune_names(void)
{
	char line[512], *path;
	FILE *f = fopen("/proc/net/unix", "re");

	for (struct bound *b = names.first; b; b = b->next)
		b->in_use = !f;
	while (f && fgets(line, sizeof(line), f)) {
		line[strcspn(line, "\n")] = 0;
		path = strchr(line, '/');
		if (path && *find_name(path))
			(*find_name(path))->in_use = true;
	}
	if (f)
		fclose(f);
	for (struct bound **at = &names.first; *at;) {
		if ((*at)->in_use)
			at = &(*at)->next;
		else
			remove_name(at);
	}
	names.prune_at = 2 * names.nr > PRUNE_AT ? 2 * names.nr : PRUNE_AT;
}

/* One of 16 spellings of the path. False: it is too long. */
static bool spell(char host[SUN_PATH_BYTES + 1], unsigned spelling, int dir, const char *name)
{
	size_t len = strlen(name);
	int n = snprintf(host, SUN_PATH_BYTES + 1, "/proc%s/self%s/fd%s/%d%s/", spelling & 1 ? "/" : "",
			 spelling & 2 ? "/" : "", spelling & 4 ? "/" : "", dir, spelling & 8 ? "/" : "");

	if (n < 0 || (size_t)n + len > SUN_PATH_BYTES)
		return false;
	memcpy(host + n, name, len + 1);
	return true;
}

/*
 * Choose the host's path for @name in @dir, and remember that it means @bound_as. Numbers of directories are used
 * again, so a path that another socket has is spelled with more slashes. 0 or a negative errno.
 */
static int add_name(char host[SUN_PATH_BYTES + 1], int dir, const char *name, const char *bound_as)
{
	struct bound *b;
	unsigned spelling = 0;

	if (!spell(host, 0, dir, name))
		return -ENAMETOOLONG;
	b = malloc(sizeof(*b));
	if (!b)
		return -ENOMEM;
	pthread_mutex_lock(&names.lock);
	if (names.nr >= names.prune_at)
		prune_names();
	while (spelling < 16 && (!spell(host, spelling, dir, name) || *find_name(host)))
		spelling++;
	if (spelling == 16) {
		spell(host, 0, dir, name);
		remove_name(find_name(host));
	}
	snprintf(b->host, sizeof(b->host), "%s", host);
	snprintf(b->name, sizeof(b->name), "%s", bound_as);
	b->next = names.first;
	names.first = b;
	names.nr++;
	pthread_mutex_unlock(&names.lock);
	return 0;
}

static void forget_name(const char *host)
{
	struct bound **at;

	pthread_mutex_lock(&names.lock);
	at = find_name(host);
	if (*at)
		remove_name(at);
	pthread_mutex_unlock(&names.lock);
}

/* --- from the program --- */

int sockaddr_read(struct task *t, struct host_addr *a, uint64_t addr, int len)
{
	memset(a, 0, sizeof(*a));
	a->fd = -1;
	if (len < 0 || (size_t)len > sizeof(a->storage))
		return -EINVAL;
	a->len = (socklen_t)len;
	return user_read(t, &a->storage, addr, (uint64_t)len);
}

void sockaddr_fini(struct host_addr *a)
{
	if (a->fd >= 0)
		close(a->fd);
	a->fd = -1;
}

/* True: the address names a file, and the call on @socket would resolve it. */
static bool is_path(int socket, const struct host_addr *a)
{
	return a->len > PATH_OFFSET && a->un.sun_family == AF_UNIX && a->un.sun_path[0] &&
	       socket_option(socket, SO_DOMAIN) == AF_UNIX;
}

/* The path need not end with a NUL. 0 or -EINVAL. */
static int copy_path(const struct host_addr *a, char path[SUN_PATH_BYTES + 1])
{
	size_t len = a->len - PATH_OFFSET;

	if (len > SUN_PATH_BYTES)
		return -EINVAL;
	memcpy(path, a->un.sun_path, len);
	path[len] = 0;
	return 0;
}

static void set_path(struct host_addr *a, const char *path)
{
	size_t len = strlen(path);

	memset(a->un.sun_path, 0, sizeof(a->storage) - PATH_OFFSET);
	memcpy(a->un.sun_path, path, len);
	a->len = (socklen_t)(PATH_OFFSET + len + 1);
}

int sockaddr_reach(struct task *t, int socket, struct host_addr *a)
{
	char path[SUN_PATH_BYTES + 1], link[FD_NAME_BYTES];
	int err;

	if (!is_path(socket, a))
		return 0;
	err = copy_path(a, path);
	if (err)
		return err;
	a->fd = path_open(t, AT_FDCWD, path, O_PATH, 0);
	if (a->fd < 0)
		return a->fd;
	set_path(a, path_fd_name(a->fd, link));
	return 0;
}

/* The host's umask is 0. The mode of a socket's file is the mode of the socket itself. */
static int bind_with_umask(struct task *t, int socket, const struct host_addr *a)
{
	struct stat st;
	int err;

	if (fstat(socket, &st) || fchmod(socket, st.st_mode & ALLPERMS & ~t->fs->umask))
		return -errno;
	err = bind(socket, &a->any, a->len) ? -errno : 0;
	fchmod(socket, st.st_mode & ALLPERMS);
	return err;
}

int64_t sockaddr_bind(struct task *t, int socket, struct host_addr *a)
{
	char path[SUN_PATH_BYTES + 1], host[SUN_PATH_BYTES + 1], name[PATH_BYTES];
	int err;

	if (!is_path(socket, a))
		return bind(socket, &a->any, a->len) ? -errno : 0;
	err = copy_path(a, path);
	if (err)
		return err;
	a->fd = path_parent_of(t, AT_FDCWD, path, name);
	err = a->fd < 0 ? a->fd : copy_path(a, path);
	if (!err)
		err = add_name(host, a->fd, name, path);
	if (err)
		return err;
	memset(a->un.sun_path, 0, sizeof(a->storage) - PATH_OFFSET);
	memcpy(a->un.sun_path, host, strlen(host));
	a->len = (socklen_t)(PATH_OFFSET + strlen(host));
	host_call_begin(t);
	err = bind_with_umask(t, socket, a);
	host_call_end(t);
	if (err)
		forget_name(host);
	return err == -EINTR ? -ERESTARTSYS : err;
}

/* --- to the program --- */

void sockaddr_expect(struct host_addr *a)
{
	memset(a, 0, sizeof(*a));
	a->len = sizeof(a->storage);
	a->fd = -1;
}

void sockaddr_from_host(struct host_addr *a)
{
	char path[SUN_PATH_BYTES + 1] = "", *name;
	struct bound *b;

	if (a->len > sizeof(a->storage))
		a->len = sizeof(a->storage);
	if (a->len <= PATH_OFFSET || a->any.sa_family != AF_UNIX)
		return;
	memcpy(path, a->un.sun_path,
	       a->len - PATH_OFFSET < SUN_PATH_BYTES ? a->len - PATH_OFFSET : SUN_PATH_BYTES);
	if (strncmp(path, "/proc/", 6))
		return;
	pthread_mutex_lock(&names.lock);
	b = *find_name(path);
	if (b)
		set_path(a, b->name);
	pthread_mutex_unlock(&names.lock);
	/* A socket of another run, or one whose name is forgotten: only the last component tells something. */
	name = strrchr(path, '/');
	if (!b && strstr(path, "/fd/") && name[1])
		set_path(a, name + 1);
}

int sockaddr_write(struct task *t, const struct host_addr *a, uint64_t addr, uint64_t len_addr)
{
	int len, full = (int)a->len;

	if (user_read(t, &len, len_addr, sizeof(len)))
		return -EFAULT;
	if (len < 0)
		return -EINVAL;
	if (user_write(t, addr, &a->storage, (uint64_t)(len < full ? len : full)))
		return -EFAULT;
	return user_write(t, len_addr, &full, sizeof(full));
}
