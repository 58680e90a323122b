/* SPDX-License-Identifier: MIT */
/*
 * examples/programs/phases.c FILE - a program for `vellum run --report`: it works like a small database, in phases
 * that store to memory in different ways. Ordinary C for Linux, linked statically, independent of Vellum.
 *
 *   load    fill a heap of records, front to back
 *   sort    order them by key: stores everywhere, again and again
 *   index   a large, sparse hash index: few stores, far apart
 *   table   write them to a shared mapping of FILE in batches, each synced by msync(2)
 *   report  read everything, change nothing; a forked child counts in its private memory
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define NR_RECORDS (1u << 17)
#define INDEX_SLOTS (1u << 23)	/* 64 MiB, of which few pages are used */
#define NR_BATCHES 16

struct record {
	uint64_t key;
	uint64_t payload[15];
};

static double seconds(void)
{
	static struct timespec first;
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	if (!first.tv_sec)
		first = ts;
	return (double)(ts.tv_sec - first.tv_sec) + (double)(ts.tv_nsec - first.tv_nsec) / 1e9;
}

static void say(const char *phase)
{
	printf("%6.2f s  %s\n", seconds(), phase);
	fflush(stdout);
}

static void *map(size_t bytes, int flags, int fd)
{
	void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, flags, fd, 0);

	if (at == MAP_FAILED) {
		perror("mmap");
		exit(1);
	}
	return at;
}

static int by_key(const void *a, const void *b)
{
	const struct record *x = a, *y = b;

	return (x->key > y->key) - (x->key < y->key);
}

/* Sort in place, one stretch after the other. A sorted stretch is not stored to again. */
static void sort_records(struct record *records)
{
	const unsigned stretch = NR_RECORDS / 8;

	for (unsigned i = 0; i < NR_RECORDS; i += stretch)
		qsort(records + i, stretch, sizeof(*records), by_key);
}

static void write_table(const struct record *records, const char *path)
{
	size_t bytes = NR_RECORDS * sizeof(*records), batch = bytes / NR_BATCHES;
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0644);
	char *table;

	if (fd < 0 || ftruncate(fd, (off_t)bytes)) {
		perror(path);
		exit(1);
	}
	table = map(bytes, MAP_SHARED, fd);
	for (unsigned i = 0; i < NR_BATCHES; i++) {
		for (size_t at = 0; at < batch; at += sizeof(uint64_t))
			*(uint64_t *)(table + i * batch + at) =
				*(const uint64_t *)((const char *)records + i * batch + at);
		if (msync(table + i * batch, batch, MS_SYNC)) {
			perror("msync");
			exit(1);
		}
	}
	munmap(table, bytes);
	close(fd);
}

static void count_in_a_child(const struct record *records)
{
	uint64_t *counts = map(1 << 20, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	pid_t pid = fork();

	if (pid == 0) {
		for (unsigned round = 0; round < 24; round++)
			for (unsigned i = 0; i < NR_RECORDS; i++)
				counts[records[i].key % (1 << 17)]++;
		_exit(0);
	}
	waitpid(pid, NULL, 0);
}

int main(int argc, char **argv)
{
	struct record *records = map(NR_RECORDS * sizeof(*records), MAP_PRIVATE | MAP_ANONYMOUS, -1);
	uint64_t *slots = map(INDEX_SLOTS * sizeof(*slots), MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1);
	uint64_t sum = 0;

	if (argc != 2) {
		fprintf(stderr, "usage: phases FILE\n");
		return 2;
	}
	say("load");
	for (unsigned i = 0; i < NR_RECORDS; i++)
		for (unsigned j = 0; j < 15; j++) {
			records[i].key = i * 2654435761u;
			records[i].payload[j] = i + j;
		}
	say("sort");
	for (uint64_t round = 1; round <= 6; round++) {
		sort_records(records);
		for (unsigned i = 0; i < NR_RECORDS; i++)	/* new keys, so that the next round sorts again */
			records[i].key = (records[i].key ^ round) * 0x9e3779b97f4a7c15ull >> 20;
	}
	say("index");
	for (unsigned round = 0; round < 24; round++)
		for (unsigned i = 0; i < NR_RECORDS; i++) {
			sum += records[i].key;
			if (i % 64 == round)
				slots[records[i].key % INDEX_SLOTS] = i;
		}
	say("table");
	write_table(records, argv[1]);
	say("report");
	count_in_a_child(records);
	for (unsigned round = 0; round < 80; round++)
		for (unsigned i = 0; i < NR_RECORDS; i++)
			sum += records[i].key ^ slots[i];
	printf("%6.2f s  done, checksum %llx\n", seconds(), (unsigned long long)sum);
	return 0;
}
