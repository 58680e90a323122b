/* SPDX-License-Identifier: MIT */
/*
 * tests/programs/records.c - records that a returned msync(2) or fsync(2) covers are in the file after any crash.
 *
 *   records write FILE PROCESSES   stores numbered records all over FILE through shared mappings,
 *                                  syncs now and then, and prints the records that are synced
 *   records check FILE             reads that output, and looks for these records in FILE
 *
 * Each record has a place of its own, so a record that is incomplete at the crash destroys no other. Many records
 * share a page, so pages are stored to and written back again and again.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE 4096ul
#define FILE_SIZE (4ul << 20)
#define NR_PAGES (FILE_SIZE / PAGE)
#define NR_RECORDS (FILE_SIZE / sizeof(struct record))

struct record {
	uint64_t number;	/* from 1; 0: no record here */
	uint64_t text[6];
	uint64_t sum;
};

enum how { MSYNC_ALL, FSYNC, FDATASYNC, MSYNC_RANGE, MSYNC_TWICE, NR_HOWS };

static uint64_t random_state = 1;

static uint64_t below(uint64_t n)
{
	random_state = random_state * 6364136223846793005ull + 1442695040888963407ull;
	return (random_state >> 33) % n;
}

static void die(const char *what)
{
	fprintf(stderr, "records: %s: %s\n", what, strerror(errno));
	_exit(2);
}

/* A permutation of places. */
static uint64_t place_of(uint64_t number)
{
	return number * 40503 % NR_RECORDS;
}

static struct record make_record(uint64_t number)
{
	struct record r = { .number = number, .sum = number };

	for (int i = 0; i < 6; i++) {
		r.text[i] = (number + (uint64_t)i) * 0x9e3779b97f4a7c15ull;
		r.sum ^= r.text[i] << i;
	}
	return r;
}

static uint64_t page_of(uint64_t number)
{
	return place_of(number) * sizeof(struct record) / PAGE;
}

/* All records of this process up to @number in the pages [first, first + nr) are synced. */
static void say(unsigned process, unsigned processes, uint64_t number, uint64_t first, uint64_t nr)
{
	char line[100];
	int len = snprintf(line, sizeof(line), "%u %u %llu %llu %llu\n", process, processes,
			   (unsigned long long)number, (unsigned long long)first, (unsigned long long)nr);

	if (write(1, line, (size_t)len) != len)
		die("stdout");
}

static void sync_some(int fd, char *m, unsigned process, unsigned processes, uint64_t number)
{
	enum how how = below(NR_HOWS);
	uint64_t first = 0, nr = NR_PAGES;
	int err;

	if (how == MSYNC_RANGE || how == MSYNC_TWICE) {
		first = below(NR_PAGES);
		nr = 1 + below(NR_PAGES - first);
	}
	if (how == FSYNC)
		err = fsync(fd);
	else if (how == FDATASYNC)
		err = fdatasync(fd);
	else
		err = msync(m + first * PAGE, nr * PAGE, MS_SYNC);
	if (err)
		die("sync");
	say(process, processes, number, first, nr);
	if (how != MSYNC_TWICE)
		return;
	if (msync(m, FILE_SIZE, MS_SYNC))
		die("msync");
	say(process, processes, number, 0, NR_PAGES);
}

static void write_records(int fd, unsigned process, unsigned processes)
{
	char *m = mmap(NULL, FILE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	struct record *records = (struct record *)m;
	uint64_t number = process ? process : processes, left = 1;

	if (m == MAP_FAILED)
		die("mmap");
	random_state = process + 1 + (uint64_t)getppid() * 7919;
	for (; number < NR_RECORDS; number += processes) {
		records[place_of(number)] = make_record(number);
		if (--left == 0) {
			sync_some(fd, m, process, processes, number);
			left = 1 + below(60);
		}
	}
	if (msync(m, FILE_SIZE, MS_SYNC))
		die("msync");
	say(process, processes, number, 0, NR_PAGES);
}

static int write_all(const char *path, unsigned processes)
{
	int fd = open(path, O_RDWR | O_CREAT, 0600), status, failed = 0;

	if (fd < 0 || ftruncate(fd, FILE_SIZE))
		die(path);
	for (unsigned i = 1; i < processes; i++)
		if (fork() == 0) {
			write_records(fd, i, processes);
			_exit(0);
		}
	write_records(fd, 0, processes);
	while (wait(&status) > 0)
		failed |= status;
	return failed != 0;
}

static int check(const char *path)
{
	static bool synced[NR_RECORDS];
	unsigned long long number, first, nr, lines = 0, expected = 0, missing = 0;
	unsigned process, processes;
	int fd = open(path, O_RDONLY);
	struct record *records = mmap(NULL, FILE_SIZE, PROT_READ, MAP_PRIVATE, fd, 0);
	struct stat st;

	if (records == MAP_FAILED || fstat(fd, &st))
		die(path);
	if (st.st_size != FILE_SIZE) {
		printf("the file has %lld bytes\n", (long long)st.st_size);
		return 1;
	}
	/* An incomplete last line does not count. */
	while (scanf("%u %u %llu %llu %llu", &process, &processes, &number, &first, &nr) == 5 && getchar() == '\n') {
		lines++;
		for (uint64_t i = process ? process : processes; i <= number && i < NR_RECORDS; i += processes)
			if (page_of(i) >= first && page_of(i) < first + nr)
				synced[i] = true;
	}
	for (uint64_t i = 1; i < NR_RECORDS; i++) {
		struct record r = make_record(i);

		if (!synced[i])
			continue;
		expected++;
		if (memcmp(&records[place_of(i)], &r, sizeof(r)) == 0)
			continue;
		if (missing++ == 0)
			printf("record %llu at byte %llu: found %llu\n", (unsigned long long)i,
			       (unsigned long long)(place_of(i) * sizeof(r)),
			       (unsigned long long)records[place_of(i)].number);
	}
	fprintf(stderr, "%llu syncs, %llu records\n", lines, expected);
	if (missing)
		printf("%llu of %llu synced records are not in the file\n", missing, expected);
	return missing != 0;
}

int main(int argc, char **argv)
{
	if (argc == 4 && !strcmp(argv[1], "write"))
		return write_all(argv[2], (unsigned)atoi(argv[3]));
	if (argc == 3 && !strcmp(argv[1], "check"))
		return check(argv[2]);
	fprintf(stderr, "usage: records write FILE PROCESSES | check FILE\n");
	return 2;
}
