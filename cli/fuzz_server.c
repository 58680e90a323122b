/* SPDX-License-Identifier: MIT */
/* cli/fuzz_server.c - the fork server and the map of a program that afl-cc has built; see fuzz_server.h. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/fuzz_server.h"
#include "vellum/backing.h"

#define MAP_VARIABLE	"__AFL_SHM_ID"
#define INPUT_VARIABLE	"__AFL_SHM_FUZZ_ID"
#define DEFER_VARIABLE	"__AFL_DEFER_FORKSRV"
#define MAP_SIZE_OF(hello) ((((hello) & 0x00fffffeu) >> 1) + 1)

struct bytes {
	const char *at;
	size_t len;
};

/*
 * "##SIG_AFL_PERSISTENT##" and the like, of which @name is the middle: afl-fuzz looks for the whole marks in the command
 * that it starts, and must find none here.
 */
static bool has_mark(const struct bytes *file, const char *name)
{
	const size_t len = strlen(name);
	const char *at = file->at, *end = file->at + file->len;

	while ((at = memmem(at, (size_t)(end - at), name, len))) {
		if (at - file->at >= 2 && end - at >= (long)len + 2 && !memcmp(at - 2, "##", 2) && !memcmp(at + len, "##", 2))
			return true;
		at += len;
	}
	return false;
}

/* The program's server looks for the variable. */
static void tell(const char *variable, bool yes)
{
	if (yes)
		setenv(variable, "1", 1);
	else
		unsetenv(variable);
}

bool fuzz_server_find(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct bytes file;
	struct stat st;
	bool found;

	if (fd < 0)
		return false;
	file.at = fstat(fd, &st) || !st.st_size ? MAP_FAILED : mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	close(fd);
	if (file.at == MAP_FAILED)
		return false;
	file.len = (size_t)st.st_size;
	found = memmem(file.at, file.len, MAP_VARIABLE, strlen(MAP_VARIABLE)) &&
		memmem(file.at, file.len, DEFER_VARIABLE, strlen(DEFER_VARIABLE));
	tell(DEFER_VARIABLE, found && has_mark(&file, "SIG_AFL_DEFER_FORKSRV"));
	tell("__AFL_PERSISTENT", found && has_mark(&file, "SIG_AFL_PERSISTENT"));
	munmap((void *)file.at, file.len);
	return found;
}

static int attach(struct shared *s, const char *variable)
{
	const char *text = getenv(variable);
	const int id = text ? atoi(text) : -1;
	struct shmid_ds ds;
	void *at;

	if (!text)
		return 0;
	at = shmat(id, NULL, 0);
	if (at == (void *)-1 || shmctl(id, IPC_STAT, &ds))
		return fail("cannot attach afl-fuzz's shared memory (%s=%s): %s", variable, text, strerror(errno));
	s->at = at;
	s->bytes = ds.shm_segsz;
	unsetenv(variable);
	return 0;
}

int fuzz_server_attach(struct fuzz_server *s)
{
	int err = attach(&s->map, MAP_VARIABLE);

	return err ? err : attach(&s->input, INPUT_VARIABLE);
}

/* --- the conversation up to the first fork --- */

/* Pass on what is there. False: the other side has ended. */
static bool pass_on(struct fuzz_server *s, int from, int to)
{
	uint32_t words[1024];
	ssize_t n = read(from, words, sizeof(words));

	if (n < 0)
		return errno == EINTR || errno == EAGAIN;
	if (from == s->answers && !s->hello && n >= (ssize_t)sizeof(words[0]))
		s->hello = words[0];
	for (ssize_t done = 0, m; done < n; done += m) {
		m = write(to, (char *)words + done, (size_t)(n - done));
		if (m < 0 && errno != EINTR)
			return false;
		m = m < 0 ? 0 : m;
	}
	return n > 0;
}

static void *relay(void *arg)
{
	struct fuzz_server *s = arg;
	struct pollfd fds[3] = { { .fd = s->answers, .events = POLLIN }, { .fd = COMMAND_FD, .events = POLLIN },
				 { .fd = s->stop, .events = POLLIN } };
	bool goes_on = true;

	while (goes_on) {
		if (poll(fds, 3, -1) < 0 && errno != EINTR)
			break;
		if (fds[2].revents)
			break;
		if (fds[0].revents)
			goes_on = pass_on(s, s->answers, ANSWER_FD);
		if (goes_on && fds[1].revents)
			goes_on = pass_on(s, COMMAND_FD, s->commands);
	}
	return NULL;
}

int fuzz_server_start(struct fuzz_server *s, struct abi_repeat *want)
{
	int commands[2], answers[2];

	if (pipe2(commands, O_CLOEXEC) || pipe2(answers, O_CLOEXEC))
		return fail("cannot create a pipe: %s", strerror(errno));
	s->stop = eventfd(0, EFD_CLOEXEC);
	s->commands = commands[1];
	s->answers = answers[0];
	s->segments[0] = (struct abi_segment){ .variable = MAP_VARIABLE, .bytes = s->map.bytes };
	s->segments[1] = (struct abi_segment){ .variable = INPUT_VARIABLE, .bytes = s->input.bytes };
	want->serves = true;
	want->server[0] = commands[0];
	want->server[1] = answers[1];
	want->segments = s->segments;
	want->nr_segments = !s->map.at ? 0 : s->input.at ? 2 : 1;
	if (s->stop < 0 || pthread_create(&s->relay, NULL, relay, s))
		return fail("cannot create a thread: %s", strerror(errno));
	s->relays = true;
	return 0;
}

void fuzz_server_stop(struct fuzz_server *s)
{
	const uint64_t one = 1;

	if (!s->relays)
		return;
	while (write(s->stop, &one, sizeof(one)) < 0 && errno == EINTR)
		;
	pthread_join(s->relay, NULL);
	s->relays = false;
}

/* --- the segments --- */

static uint64_t map_bytes(const struct fuzz_server *s)
{
	const uint32_t wanted = HELLO | HELLO_MAP_SIZE;
	uint64_t n = (s->hello & wanted) == wanted ? MAP_SIZE_OF(s->hello) : s->map.bytes;

	return n < s->map.bytes ? n : s->map.bytes;
}

void fuzz_server_clear_map(struct fuzz_server *s)
{
	static const char zeros[4096];
	const uint64_t bytes = map_bytes(s);

	for (uint64_t at = 0; s->map.at && at < bytes; at += sizeof(zeros))
		vellum_mapping_write(s->segments[0].mapping, at, zeros, bytes - at < sizeof(zeros) ? bytes - at : sizeof(zeros));
}

void fuzz_server_give_map(const struct fuzz_server *s)
{
	if (s->map.at)
		vellum_mapping_read(s->segments[0].mapping, 0, s->map.at, map_bytes(s));
}

/* A length of 4 bytes, and the input. */
void fuzz_server_take_input(const struct fuzz_server *s)
{
	uint32_t len;

	if (!s->input.at || s->input.bytes < sizeof(len) || !(s->hello & HELLO_SHARED_INPUT))
		return;
	memcpy(&len, s->input.at, sizeof(len));
	if (len > s->input.bytes - sizeof(len))
		len = (uint32_t)(s->input.bytes - sizeof(len));
	vellum_mapping_write(s->segments[1].mapping, 0, s->input.at, sizeof(len) + len);
}
