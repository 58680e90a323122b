/* SPDX-License-Identifier: MIT */
/*
 * tests/programs/uffd_files.c - userfaultfd(2) with files in memory: memfd_create(2) and shm_open(3). Its output is the same
 * on the host's kernel.
 */
#define _GNU_SOURCE
#include "uffd.h"

#include <sys/stat.h>

#define ALL_MODES (UFFDIO_REGISTER_MODE_MISSING | UFFDIO_REGISTER_MODE_MINOR | UFFDIO_REGISTER_MODE_WP)

static int file;

static char *map_file(int type, int fd)
{
	char *p = mmap(NULL, NR_PAGES * PAGE, PROT_READ | PROT_WRITE, type, fd, 0);

	if (p == MAP_FAILED)
		exit(1);
	return p;
}

static void show_continue(int fd, char *at, uint64_t mode)
{
	struct uffdio_continue c = { { (uint64_t)at, PAGE }, mode, 77 };
	int n = ioctl(fd, UFFDIO_CONTINUE, &c);

	printf("continue: %s, mapped %lld\n", n ? strerrorname_np(errno) : "0", (long long)c.mapped);
}

/* The access of one page, its message, and the answer. */
static void missing(int fd, unsigned at, int byte)
{
	struct access a;

	begin(&a, mem + at * PAGE, -1);
	next_message(fd);
	show_continue(fd, mem + at * PAGE, 0);
	fill(fd, mem + at * PAGE, byte);
	end(&a);
}

static void minor(int fd, unsigned at, int byte)
{
	struct access a;

	begin(&a, mem + at * PAGE, byte);
	next_message(fd);
	fill(fd, mem + at * PAGE, 99);
	show_continue(fd, mem + at * PAGE, 0);
	end(&a);
}

static void show_file(const char *when)
{
	unsigned char bytes[NR_PAGES];
	off_t at = 0, data;

	printf("%s:", when);
	for (unsigned i = 0; i < NR_PAGES; i++)
		if (pread(file, bytes + i, 1, (off_t)(i * PAGE)) != 1)
			bytes[i] = 255;
	for (unsigned i = 0; i < NR_PAGES; i++)
		printf(" %d", bytes[i]);
	printf("; data at");
	while ((data = lseek(file, at, SEEK_DATA)) >= 0) {
		at = lseek(file, data, SEEK_HOLE);
		printf(" %lx-%lx", (long)data, (long)at);
	}
	printf("\n");
}

/* How pages get into the file, and out of it. */
static void pages_of_the_file(void)
{
	int fd = ready_uffd(0, UFFD_FEATURE_MISSING_SHMEM | UFFD_FEATURE_MINOR_SHMEM);
	char *other = map_file(MAP_SHARED, file);

	mem = map_file(MAP_SHARED, file);
	SHOW(pwrite(file, "\5", 1, PAGE + 100));
	other[2 * PAGE] = 6;
	enrol(fd, mem, NR_PAGES, ALL_MODES);
	missing(fd, 0, 7);
	minor(fd, 1, 8);
	minor(fd, 2, -1);
	show_file("filled");
	SHOW(pwrite(file, "\11", 1, 3 * PAGE));
	minor(fd, 3, -1);
	SHOW(fallocate(file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, PAGE, 2 * PAGE));
	missing(fd, 1, 10);
	SHOW(madvise(mem + 3 * PAGE, PAGE, MADV_REMOVE));
	missing(fd, 3, 11);
	SHOW(madvise(mem + 3 * PAGE, PAGE, MADV_DONTNEED));
	minor(fd, 3, 12);
	SHOW(ftruncate(file, 2 * PAGE));
	SHOW(ftruncate(file, NR_PAGES * PAGE));
	show_file("truncated");
	missing(fd, 3, 13);
	fill(fd, mem + 4 * PAGE, 14);
	show_file("at the end");
	SHOW(munmap(mem, NR_PAGES * PAGE));
	SHOW(munmap(other, NR_PAGES * PAGE));
	close(fd);
}

static void private_pages(void)
{
	int fd = ready_uffd(0, UFFD_FEATURE_MISSING_SHMEM | UFFD_FEATURE_MINOR_SHMEM);

	mem = map_file(MAP_PRIVATE, file);
	enrol(fd, mem, NR_PAGES, UFFDIO_REGISTER_MODE_MISSING | UFFDIO_REGISTER_MODE_WP);
	missing(fd, 6, 20);
	printf("present: %d\n", mem[0]);
	show_protect(fd, mem + 6 * PAGE, 1, UFFDIO_WRITEPROTECT_MODE_WP);
	show_file("private copies");
	SHOW(munmap(mem, NR_PAGES * PAGE));
	close(fd);
}

/* The protection of a page of a file outlives its entry. */
static void protected_pages(void)
{
	int fd = ready_uffd(0, UFFD_FEATURE_PAGEFAULT_FLAG_WP | UFFD_FEATURE_WP_HUGETLBFS_SHMEM);
	struct access a;

	mem = map_file(MAP_SHARED, file);
	mem[PAGE] = 30;
	enrol(fd, mem, NR_PAGES, UFFDIO_REGISTER_MODE_WP);
	show_protect(fd, mem, 8, UFFDIO_WRITEPROTECT_MODE_WP);
	SHOW(madvise(mem, 8 * PAGE, MADV_DONTNEED));
	SHOW(pwrite(file, "\37", 1, PAGE));
	printf("read: %d\n", mem[PAGE]);
	for (unsigned i = 1; i < 3; i++) {
		begin(&a, mem + i * PAGE, 32);
		next_message(fd);
		show_protect(fd, mem + i * PAGE, 1, 0);
		end(&a);
	}
	show_file("protected");
	SHOW(munmap(mem, NR_PAGES * PAGE));
	close(fd);
}

static void with_file(const char *what, int fd)
{
	printf("--- %s\n", what);
	file = fd;
	SHOW(ftruncate(file, NR_PAGES * PAGE));
	pages_of_the_file();
	private_pages();
	protected_pages();
	close(file);
}

int main(void)
{
	char name[64];

	with_file("memfd_create", memfd_create("a file", MFD_CLOEXEC));
	snprintf(name, sizeof(name), "/uffd_files.%d", getpid());
	file = shm_open(name, O_RDWR | O_CREAT | O_EXCL, 0600);
	shm_unlink(name);
	with_file("shm_open", file);
	return 0;
}
