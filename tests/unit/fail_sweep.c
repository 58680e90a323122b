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
#define EACH_UP_TO 64	/* then in steps that grow: a test of ten thousand allocations makes the same again and again */

/* In the process of one failure; @w is NULL in any other. */
static struct {
	struct world *w;
	uint64_t allocation;	/* this one fails, of all that the host made; 0: none */
	uint64_t first_frame;	/* this one and all after it fail; 0: none */
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
	return n > 3;	/* ".", ".." and this one */
}

static void must_be_valid(const char *when)
{
	const char *why = NULL;

	if (vellum_validate(now.w->memory, &why))
		broken(when, why);
	if (now.w->host.bugs)
		broken(when, now.w->host.last_bug);
}

/* The test has failed, on its own stack and with everything as it was: cmocka aborts where it is told to. */
static void test_failed(int signal)
{
	(void)signal;
	if (!was_reached())	/* it failed in a process of the test's own, or the test fails without */
		_exit(NOT_REACHED);
	now.first_frame = 0;
	now.w->host.fail_at = 0;
	now.w->host.interrupted = 1;	/* nobody takes its events */
	/* Its other threads go on; or it put an entry where, for want of memory, there was another than it thinks. */
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

/* What @status says; a test that failed has said so in the way of an assertion. */
static enum ending ending_of(int status, const char *said)
{
	if (!WIFEXITED(status) || strstr(said, "exception"))
		return BROKEN;
	if (WEXITSTATUS(status) == TEST_FAILED && !strstr(said, "error: Failure!"))
		return BROKEN;
	return WEXITSTATUS(status) <= TEST_FAILED ? (enum ending)WEXITSTATUS(status) : BROKEN;
}

static unsigned endings[BROKEN + 1];

/* True: in the new process. */
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

	if (!what || now.w || endings[BROKEN])	/* a crash may leave locks that others hang on: one is enough */
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
