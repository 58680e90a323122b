/* SPDX-License-Identifier: MIT */
/*
 * tests/programs/populated.c - private pages that MAP_POPULATE copied from a file keep the bytes when the file changes.
 * The output is the same on the host's kernel. Under --verify, such a page is no missed store.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "show.h"

#define PAGE 4096

int main(void)
{
	int fd = open("populated", O_RDWR | O_CREAT, 0600);
	char *shared, *copied, *read_only;

	if (fd < 0 || ftruncate(fd, 4 * PAGE))
		return 1;
	shared = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	memset(shared, 'a', 4 * PAGE);
	copied = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_POPULATE, fd, 0);
	read_only = mmap(NULL, 4 * PAGE, PROT_READ, MAP_PRIVATE | MAP_POPULATE, fd, 0);
	copied[PAGE] = 'c';
	memset(shared, 'b', 4 * PAGE);
	for (int i = 0; i < 4; i++)
		printf("%c%c%c%c ", copied[i * PAGE], copied[i * PAGE + 1], read_only[i * PAGE], shared[i * PAGE]);
	SHOW(munmap(shared, PAGE));
	return 0;
}
