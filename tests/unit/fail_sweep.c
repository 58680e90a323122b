/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "fail_sweep.h"

#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support.h"

enum ending { ALL_WELL, NOT_REACHED, TEST_FAILED, BROKEN };

#define CHILD_SECONDS 40
#define EACH_UP_TO 64	/* beyond, steps grow: a test with thousands of allocations repeats itself */

/* State of the process of one failure. @w is NULL in all other processes. */
static struct {
	struct world *w;
	uint64_t allocation;	/* the host's allocation with this number fails; 0: none */
	uint64_t first_frame;	/* from this frame on, all allocations of frames fail; 0: none */
	uint64_t nr_frames;
	bool by_hand;
} now;

struct folio *__real_folio_alloc(struct vellum_memory *m, unsigned order);
struct folio *__wrap_folio_alloc(struct vellum_memory *m, unsigned order);
struct folio *__real_folio_alloc_raw(struct vellum_memory *m);
struct folio *__wrap_folio_alloc_raw(struct vellum_memory *m);

static bool no_frame(void)
{
	return now.first_frame && __atomic_add_fetch(&now.nr_frames, 1, __ATOMIC_RELAXED) >= now.first_frame;
}

struct folio *__wrap_folio_alloc(struct vellum_memory *m, unsigned order)
{
	return no_frame() ? NULL : __real_folio_alloc(m, order);
}

struct folio *__wrap_folio_alloc_raw(struct vellum_memory *m)
{
	return no_frame() ? NULL : __real_folio_alloc_raw(m);
}

static bool was_reached(void)
{
	return now.first_frame ? now.nr_frames >= now.first_frame : now.w->host.nr_allocs >= now.allocation;
}

static void broken(const char *what, const char *why)
{
	fprintf(stderr, "%s: %s\n", what, why ? why : "?");
	_exit(BROKEN);
}

static bool has_threads(void)
{
	DIR *tasks = opendir("/proc/self/task");
	unsigned n = 0;

	while (tasks && readdir(tasks))
		n++;
	if (tasks)
		closedir(tasks);
	return n > 3;	/* ".", ".." and this thread */
}

static void must_be_valid(const char *when)
{
	const char *why = NULL;

	if (vellum_validate(now.w->memory, &why))
		broken(when, why);
	if (now.w->host.bugs)
		broken(when, now.w->host.last_bug);
}

/* SIGABRT: the test failed. With CMOCKA_TEST_ABORT, cmocka aborts at the failed assertion. */
static void test_failed(int signal)
{
	(void)signal;
	if (!was_reached())	/* the test failed in a child that it forked, or it also fails without this failure */
		_exit(NOT_REACHED);
	now.first_frame = 0;
	now.w->host.fail_at = 0;
	now.w->host.interrupted = 1;	/* no thread reads its events: do not wait for that */
	/* The world cannot be checked if other threads still run, or if the test wrote an entry over another one. */
	if (has_threads() || now.by_hand)
		_exit(TEST_FAILED);
	must_be_valid("after the failed test");
	for (struct vellum_mm *mm = now.w->memory->mms; mm; mm = mm->next)
		if (vellum_munmap(mm, MMAP_MIN_ADDR, VELLUM_TASK_SIZE - MMAP_MIN_ADDR))
			broken("an address space", "cannot be emptied");
	must_be_valid("emptied, after the failed test");
	_exit(TEST_FAILED);
}

static void fail_nth(struct world *w, bool frames, uint64_t nth, int log)
{
	now.w = w;
	if (frames)
		now.first_frame = nth;
	else
		w->host.fail_at = now.allocation = w->host.nr_allocs + nth;
	if (log < 0)
		return;
	dup2(log, STDERR_FILENO);
	assert_non_null(freopen("/dev/null", "w", stdout));
	setenv("CMOCKA_TEST_ABORT", "1", 1);
	signal(SIGABRT, test_failed);
	alarm(CHILD_SECONDS);
}

/* How the process ended, by @status. If the test failed, @said has the message of an assertion; else it crashed. */
static enum ending ending_of(int status, const char *said)
{
	if (!WIFEXITED(status) || strstr(said, "exception"))
		return BROKEN;
	if (WEXITSTATUS(status) == TEST_FAILED && !strstr(said, "error: Failure!"))
		return BROKEN;
	return WEXITSTATUS(status) <= TEST_FAILED ? (enum ending)WEXITSTATUS(status) : BROKEN;
}

static unsigned endings[BROKEN + 1];

/* Fork a process in which the nth allocation fails. Returns true in that process. */
static bool try_nth(struct world *w, bool frames, uint64_t nth, enum ending *ending)
{
	int log = memfd_create("said", 0), status;
	char said[4096] = "";
	pid_t pid;

	assert_true(log >= 0);
	fflush(NULL);
	pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		fail_nth(w, frames, nth, log);
		close(log);
		return true;
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(pread(log, said, sizeof(said) - 1, 0) >= 0);
	close(log);
	*ending = ending_of(status, said);
	endings[*ending]++;
	if (*ending == BROKEN)
		fail_msg("without %s %llu: status %#x: %s", frames ? "frame" : "allocation", (unsigned long long)nth,
			 (unsigned)status, said);
	return false;
}

static void say_endings(void)
{
	if (!now.w)
		printf("# %u failures: %u made the test fail\n", endings[ALL_WELL] + endings[TEST_FAILED],
		       endings[TEST_FAILED]);
}

void fail_sweep_begin(struct world *w)
{
	const char *what = getenv("VELLUM_FAIL_SWEEP");
	enum ending ending = ALL_WELL;

	if (!what || now.w || endings[BROKEN])	/* after a crash, locks may be left held: stop */
		return;
	if (strchr(what, ':')) {
		fail_nth(w, *what == 'f', strtoull(strchr(what, ':') + 1, NULL, 10), -1);
		return;
	}
	if (!endings[NOT_REACHED])
		atexit(say_endings);
	for (uint64_t nth = 1; ending != NOT_REACHED; nth += 1 + nth / EACH_UP_TO)
		if (try_nth(w, *what == 'f', nth, &ending))
			return;
}

void fail_sweep_by_hand(void)
{
	now.by_hand = true;
}

void fail_sweep_end(struct world *w)
{
	if (now.w == w)
		_exit(was_reached() ? ALL_WELL : NOT_REACHED);
}
