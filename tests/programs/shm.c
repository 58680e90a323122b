/* SPDX-License-Identifier: MIT */
/*
 * tests/programs/shm.c - System V shared memory: shmget(2), shmat(2), shmdt(2), shmctl(2), with fork(2), execve(2) and
 * threads. Its output is the same on the host's kernel. It removes each segment soon: the host's would stay.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "show.h"

#define PAGE  4096l
#define PLACE ((char *)0x200000000)	/* where nothing is mapped */
#ifndef SHM_DEST
#define SHM_DEST 01000
#endif

static void *volatile bad = (void *)1;	/* volatile: the compiler would find the error */

/* An address differs between runs. */
static void show_at(const char *what, const void *addr)
{
	printf("%s: %s\n", what, addr == (void *)-1 ? strerrorname_np(errno) : addr == PLACE ? "the place" : "attached");
}

#define ATTACH(call) attached(#call, call)

static char *attached(const char *what, void *addr)
{
	show_at(what, addr);
	return addr;
}

static const char *pid_name(pid_t pid)
{
	return pid == 0 ? "0" : pid == getpid() ? "own" : pid == getppid() ? "parent" : "other";
}

static void show_status(int id)
{
	struct shmid_ds s;

	memset(&s, 0xee, sizeof(s));
	if (shmctl(id, IPC_STAT, &s)) {
		printf("status: %s\n", strerrorname_np(errno));
		return;
	}
	printf("status: mode %o own %d %d %d %d bytes %zu atime %d dtime %d ctime %d cpid %s lpid %s attached %lu\n",
	       s.shm_perm.mode, s.shm_perm.uid == geteuid(), s.shm_perm.gid == getegid(), s.shm_perm.cuid == geteuid(),
	       s.shm_perm.cgid == getegid(), s.shm_segsz, s.shm_atime != 0, s.shm_dtime != 0, s.shm_ctime != 0,
	       pid_name(s.shm_cpid), pid_name(s.shm_lpid), s.shm_nattch);
}

/* The segments in /proc/self/maps, without addresses and inode numbers. */
static void show_maps(void)
{
	FILE *f = fopen("/proc/self/maps", "r");
	char line[512], rights[8], dev[8], name[128];
	unsigned long start, end, offset, inode;

	while (f && fgets(line, sizeof(line), f))
		if (strstr(line, "/SYSV") && sscanf(line, "%lx-%lx %7s %lx %7s %lu %127[^\n]", &start, &end, rights, &offset, dev,
						    &inode, name) == 7)
			printf("%lx bytes %s %lx %s\n", end - start, rights, offset, name);
	if (f)
		fclose(f);
}

static int make(size_t bytes)
{
	return shmget(IPC_PRIVATE, bytes, 0600);
}

/* --- keys and limits --- */

static void keys(void)
{
	key_t key = 0x56000000 | (getpid() & 0xffff);
	int id = shmget(key, 5000, IPC_CREAT | IPC_EXCL | 0640);

	printf("made %d\n", id >= 0);
	SHOW(shmget(key, 5000, 0) == id);
	SHOW(shmget(key, 0, 0) == id);
	SHOW(shmget(key, 1, IPC_CREAT | 0777) == id);
	SHOW(shmget(key, 0, IPC_EXCL) == id);
	SHOW(shmget(key, 5001, 0));
	SHOW(shmget(key, (size_t)-1, IPC_CREAT));
	SHOW(shmget(key, 5001, IPC_CREAT | IPC_EXCL));
	show_status(id);
	SHOW(shmctl(id, IPC_RMID, NULL));
	SHOW(shmctl(id, IPC_RMID, NULL));
	SHOW(shmget(key, 0, 0));
	SHOW(shmget(key, 0, IPC_CREAT | 0600));
	SHOW(shmget(IPC_PRIVATE, 0, 0600));
	SHOW(shmget(IPC_PRIVATE, (size_t)-1, 0600));
	SHOW(shmget(IPC_PRIVATE, ~0ul - (1ul << 24), 0600));
	SHOW(shmget(IPC_PRIVATE, 1ul << 60, 0600));
	SHOW(shmget(IPC_PRIVATE, 1ul << 44, 0600));
	id = shmget(IPC_PRIVATE, 1ul << 40, 0600 | SHM_NORESERVE);
	SHOW(shmctl(id, IPC_RMID, NULL));
	show_status(id);
}

static void wrong_control(void)
{
	struct shminfo limits;
	struct shmid_ds s;
	int id = make(1);

	SHOW(shmctl(-1, IPC_STAT, &s));
	SHOW(shmctl(-1, IPC_RMID, NULL));
	SHOW(shmctl(0x7fffffff, IPC_STAT, &s));
	SHOW(shmctl(id, 99, &s));
	SHOW(shmctl(id, -1, &s));
	SHOW(shmctl(id, IPC_STAT, bad));
	SHOW(shmctl(id, IPC_SET, bad));
	SHOW(shmctl(-1, IPC_SET, bad));
	SHOW(shmctl(0x7fffffff, IPC_SET, bad));
	SHOW(shmctl(-1, IPC_INFO, &s));
	SHOW(shmctl(0, IPC_INFO, bad));
	SHOW(shmctl(0, SHM_INFO, bad));
	SHOW(shmctl(-1, SHM_STAT, &s));
	SHOW(shmctl(0x7fff, SHM_STAT, &s));
	SHOW(shmctl(0x7fff, SHM_LOCK, NULL));
	SHOW(shmctl(0, IPC_INFO, (struct shmid_ds *)(void *)&limits) >= 0);
	printf("min %lu\n", limits.shmmin);
	SHOW(shmctl(id & 0x7fff, SHM_STAT, &s) == id);
	printf("%zu bytes\n", s.shm_segsz);
	SHOW(shmctl(id, SHM_LOCK, NULL));
	show_status(id);
	SHOW(shmctl(id, SHM_UNLOCK, NULL));
	show_status(id);
	s.shm_perm.mode = 0777777;
	SHOW(shmctl(id, IPC_SET, &s));
	show_status(id);
	s.shm_perm.uid = (uid_t)-1;
	SHOW(shmctl(id, IPC_SET, &s));
	SHOW(shmctl(id, IPC_RMID, NULL));
}

/* --- attaching --- */

static void addresses(void)
{
	int id = make(5000);
	char *p;

	SHOW(shmctl(id, IPC_RMID, NULL) + 0);
	ATTACH(shmat(id, NULL, 0));
	id = make(5000);
	p = ATTACH(shmat(id, PLACE, 0));
	show_maps();
	show_status(id);
	ATTACH(shmat(id, PLACE, 0));
	ATTACH(shmat(id, PLACE + PAGE, 0));
	ATTACH(shmat(id, PLACE - PAGE, 0));
	ATTACH(shmat(id, PLACE + 1, 0));
	ATTACH(shmat(id, PLACE + 1, SHM_RND));
	ATTACH(shmat(id, PLACE + 1, SHM_RND | SHM_REMAP));
	ATTACH(shmat(id, NULL, SHM_REMAP));
	ATTACH(shmat(id, (void *)5, SHM_REMAP | SHM_RND));
	ATTACH(shmat(id, (void *)-PAGE, 0));
	ATTACH(shmat(id, (void *)0x7ffffffff000, 0));
	ATTACH(shmat(id, (void *)(1l << 50), 0));
	ATTACH(shmat(-1, NULL, 0));
	ATTACH(shmat(0x7fffffff, NULL, 0));
	ATTACH(shmat(-1, PLACE + 1, 0));
	show_status(id);
	p[0] = 'a';
	p[2 * PAGE - 1] = 'z';
	SHOW(shmdt(p + 1));
	SHOW(shmdt(p + PAGE));
	SHOW(shmdt(p));
	SHOW(shmdt(p));
	show_status(id);
	p = ATTACH(shmat(id, NULL, SHM_RDONLY));
	printf("%c %c\n", p[0], p[2 * PAGE - 1]);
	SHOW(mprotect(p, PAGE, PROT_READ | PROT_WRITE));
	SHOW(syscall(SYS_getrandom, p, 4l, 0));
	SHOW(shmdt(p));
	p = ATTACH(shmat(id, PLACE, SHM_EXEC));
	show_maps();
	SHOW(shmdt(p));
	SHOW(shmctl(id, IPC_RMID, NULL));
	show_status(id);
}

/* Two attachments of one process have the same bytes. A part is unmapped, another moved. */
static void parts(void)
{
	int id = make(4 * PAGE);
	char *a = shmat(id, PLACE, 0), *b = shmat(id, PLACE + 16 * PAGE, 0);

	SHOW(shmctl(id, IPC_RMID, NULL));
	show_status(id);
	strcpy(a + PAGE, "both");
	puts(b + PAGE);
	SHOW(munmap(a + PAGE, PAGE));
	show_maps();
	show_status(id);
	SHOW(mprotect(b, PAGE, PROT_READ));
	show_status(id);
	SHOW(mmap(b + 2 * PAGE, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == b + 2 * PAGE);
	show_maps();
	show_status(id);
	SHOW(shmdt(b + PAGE));
	SHOW(mremap(b + 3 * PAGE, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, b + 9 * PAGE) == b + 9 * PAGE);
	show_maps();
	SHOW(shmdt(b));
	show_maps();
	show_status(id);
	SHOW(shmdt(a));
	show_maps();
	show_status(id);
	SHOW(munmap(b + 9 * PAGE, PAGE));
	show_status(id);
	SHOW(munmap(b + 2 * PAGE, PAGE));
}

static volatile sig_atomic_t bus_errors;

static void on_bus(int signo)
{
	struct sigaction act = { .sa_handler = SIG_DFL };

	(void)signo;
	bus_errors++;
	if (bus_errors > 1)
		sigaction(SIGBUS, &act, NULL);
	mprotect(PLACE + 2 * PAGE, PAGE, PROT_NONE);
	mmap(PLACE + 2 * PAGE, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
}

/* Beyond the segment, which mremap(2) allows to map. */
static void beyond(void)
{
	int id = make(PAGE + 1);
	char *p = shmat(id, PLACE, 0);

	SHOW(shmctl(id, IPC_RMID, NULL));
	signal(SIGBUS, on_bus);
	SHOW(mremap(p, 2 * PAGE, 3 * PAGE, 0) == p);
	p[2 * PAGE - 1] = 1;
	p[2 * PAGE] = 1;
	printf("SIGBUS %d\n", (int)bus_errors);
	SHOW(shmdt(p));
	show_status(id);
	SHOW(munmap(p, 3 * PAGE));
	signal(SIGBUS, SIG_DFL);
}

/* --- processes --- */

static void show_child(pid_t child)
{
	int status;

	waitpid(child, &status, 0);
	printf("child: %x\n", status);
}

static void processes(void)
{
	int id = make(2 * PAGE);
	char *p = shmat(id, NULL, 0), *ro = shmat(id, NULL, SHM_RDONLY), text[16];
	pid_t child;

	fflush(stdout);
	child = fork();
	if (!child) {
		show_status(id);
		strcpy(p, "from the child");
		SHOW(shmdt(ro));
		show_status(id);
		fflush(stdout);
		_exit(0);
	}
	show_child(child);
	show_status(id);
	puts(ro);
	child = fork();
	if (!child) {
		char *own = shmat(id, NULL, 0);

		strcpy(own, "attached by the child");
		_exit(0);
	}
	show_child(child);
	puts(ro);
	show_status(id);
	snprintf(text, sizeof(text), "%d", id);
	child = fork();
	if (!child) {
		execl("/proc/self/exe", "shm", text, NULL);
		_exit(1);
	}
	show_child(child);
	puts(p);
	child = fork();
	if (!child) {
		ro[0] = 1;
		_exit(1);
	}
	show_child(child);
	SHOW(shmctl(id, IPC_RMID, NULL));
	show_status(id);
	ATTACH(shmat(id, PLACE, 0));
	SHOW(shmdt(PLACE));
	SHOW(shmdt(p));
	show_status(id);
	child = fork();
	if (!child) {
		while (ro[PAGE] != 1)
			usleep(1000);
		_exit(0);
	}
	SHOW(shmdt(ro));
	show_status(id);
	p = shmat(id, NULL, 0);		/* as long as the child has it */
	p[PAGE] = 1;
	show_child(child);
	SHOW(shmdt(p));
	show_status(id);
}

/* After execve(2): nothing is attached. */
static void after_exec(int id)
{
	char *p;

	show_maps();
	show_status(id);
	p = ATTACH(shmat(id, NULL, 0));
	puts(p);
	strcpy(p, "by a new program");
}

/* Rights, for a process that is neither owner nor root. */
static void rights(void)
{
	key_t key = 0x57000000 | (getpid() & 0xffff);
	int id = shmget(key, PAGE, IPC_CREAT | IPC_EXCL | 0640), other = shmget(IPC_PRIVATE, PAGE, 0604);
	struct shmid_ds s;
	pid_t child;

	fflush(stdout);
	child = fork();
	if (!child) {
		if (syscall(SYS_setresgid, 65534, 65534, 65534) || syscall(SYS_setgroups, 0, NULL) ||
		    syscall(SYS_setresuid, 65534, 65534, 65534))
			_exit(1);
		SHOW(shmget(key, 0, 0) >= 0);
		SHOW(shmget(key, 0, 0400));
		SHOW(shmget(key, 0, 0004));
		SHOW(shmget(key, PAGE + 1, 0400));
		ATTACH(shmat(id, NULL, 0));
		ATTACH(shmat(id, NULL, SHM_RDONLY));
		ATTACH(shmat(other, NULL, 0));
		ATTACH(shmat(other, NULL, SHM_RDONLY));
		ATTACH(shmat(other, NULL, SHM_RDONLY | SHM_EXEC));
		SHOW(shmctl(id, IPC_STAT, &s));
		SHOW(shmctl(other, IPC_STAT, &s));
		SHOW(shmctl(other, IPC_SET, &s));
		SHOW(shmctl(other, SHM_LOCK, NULL));
		SHOW(shmctl(other, IPC_RMID, NULL));
		fflush(stdout);
		_exit(0);
	}
	show_child(child);
	SHOW(shmctl(id, IPC_RMID, NULL));
	SHOW(shmctl(other, IPC_RMID, NULL));
}

/* A process that waits for room in a pipe lets others map files. */
static void full_pipe(void)
{
	int ends[2], fd = open("mapped", O_RDWR | O_CREAT, 0600);
	char block[4096] = "";
	pid_t child;

	if (pipe(ends) || ftruncate(fd, PAGE))
		exit(1);
	child = fork();
	if (!child) {
		for (int i = 0; i < 40; i++)
			if (write(ends[1], block, sizeof(block)) != sizeof(block))
				_exit(1);
		_exit(0);
	}
	usleep(50000);
	SHOW(munmap(mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 0), PAGE));
	for (size_t n = 0; n < 40 * sizeof(block); n += (size_t)read(ends[0], block, sizeof(block)))
		;
	show_child(child);
	close(fd);
	close(ends[0]);
	close(ends[1]);
}

/* --- threads --- */

static void *attach_and_detach(void *arg)
{
	int id = *(int *)arg;

	for (int i = 0; i < 100; i++) {
		char *p = shmat(id, NULL, 0);

		__atomic_fetch_add((int *)(void *)p, 1, __ATOMIC_RELAXED);
		shmdt(p);
	}
	return NULL;
}

static void threads(void)
{
	int id = make(PAGE);
	pthread_t thread[4];
	char *p = shmat(id, NULL, 0);

	SHOW(shmctl(id, IPC_RMID, NULL));
	for (int i = 0; i < 4; i++)
		pthread_create(&thread[i], NULL, attach_and_detach, &id);
	for (int i = 0; i < 4; i++)
		pthread_join(thread[i], NULL);
	printf("count %d\n", *(int *)(void *)p);
	show_status(id);
	SHOW(shmdt(p));
	show_status(id);
}

int main(int argc, char **argv)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc > 1) {
		after_exec(atoi(argv[1]));
		return 0;
	}
	keys();
	wrong_control();
	addresses();
	parts();
	beyond();
	processes();
	if (geteuid() == 0)
		rights();
	full_pipe();
	threads();
	return 0;
}
