/* SPDX-License-Identifier: MIT */
/*
 * tests/diff/diff.c [--seed N] [--ops M] [--episode N] [--validate K] [--any-kernel] [--replay FILE]
 *
 * Runs random operations on the host's kernel and on Vellum, and compares both after each. An episode is a list of
 * operations on new processes and objects; episode i of a run has the seed N + i. An episode that fails is shortened as
 * far as possible and printed: put its lines into a file for --replay. TAP: a test for the enumerating pass
 * (enumerate.c), which is part of the M operations, and one for each tenth of the others.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "tests/diff/enumerate.h"
#include "tests/diff/reader.h"

#define TESTS 10u

struct episode {
	unsigned nr;
	struct op op[EPISODE_MAX];
};

struct failure {
	bool failed;
	unsigned at;		/* index of the operation */
	char why[512];
};

static unsigned validate_every = 4;

/* --- one episode --- */

struct run {
	struct world world;
	struct view host[MAX_PROCS], vellum[MAX_PROCS];
	bool alive[MAX_PROCS], may_be_locked[MAX_PROCS];
	unsigned done;
	struct failure *failure;
};

static bool fail(struct run *run, const char *why)
{
	run->failure->failed = true;
	snprintf(run->failure->why, sizeof(run->failure->why), "%s", why);
	return false;
}

static bool compare_process(struct run *run, unsigned proc, bool look)
{
	char why[400], line[480];

	world_view(&run->world, proc, look, &run->vellum[proc]);
	if (same_view(&run->host[proc], &run->vellum[proc], why, sizeof(why)))
		return true;
	snprintf(line, sizeof(line), "process %u: %s", proc, why);
	return fail(run, line);
}

/* Does the operation's process exist? A shortened list may have operations of processes that do not. */
static bool can_run(const struct run *run, const struct op *op)
{
	if (!run->alive[op->proc])
		return false;
	if (is(op, "fork"))
		return op->val < MAX_PROCS && !run->alive[op->val];
	return op->proc || !is(op, "exit");
}

static void note_locks(struct run *run, const struct op *op)
{
	if (is(op, "mlock") || is(op, "fixture") || is(op, "mlockall") || (is(op, "mmap") && (op->flags & VELLUM_MAP_LOCKED)))
		run->may_be_locked[op->proc] = true;
	if (is(op, "munlockall"))
		run->may_be_locked[op->proc] = false;
	if (is(op, "fork"))
		run->may_be_locked[op->val] = false;
}

/*
 * fork does not copy exactly the same entries on both sides (compare.c), and a userfaultfd context of the child would
 * notice the difference. If the entries differ, close the child's contexts.
 */
static bool settle_child(struct run *run, unsigned child)
{
	struct op close = { .kind = (uint16_t)kind_named("uffd_close"), .proc = (uint8_t)child };
	struct result result;

	if (!agent_view(child, false, &run->host[child]))
		return fail(run, "the host's process died");
	world_view(&run->world, child, false, &run->vellum[child]);
	if (memcmp(run->host[child].word, run->vellum[child].word, sizeof(run->host[child].word)) == 0)
		return true;
	for (close.object = 0; close.object < NR_CONTEXTS; close.object++) {
		if (!agent_run(&close, &result, &run->host[child]))
			return fail(run, "the host's process died");
		kind_at(close.kind)->run_vellum(&run->world, &close, &result);
	}
	return true;
}

static bool compare_others(struct run *run, const struct op *op)
{
	for (unsigned i = 0; i < MAX_PROCS; i++) {
		bool look = op->look || (is(op, "fork") && i == op->val);

		if (i == op->proc || !run->alive[i])
			continue;
		if (!agent_view(i, look, &run->host[i]))
			return fail(run, "the host's process died");
		if (!compare_process(run, i, look))
			return false;
	}
	return true;
}

static bool validate(struct run *run)
{
	const char *why = NULL;

	if (run->world.host.bugs)
		return fail(run, run->world.host.last_bug);
	if (validate_every && ++run->done % validate_every == 0 && vellum_validate(run->world.memory, &why))
		return fail(run, why ? why : "vellum_validate()");
	return true;
}

static bool run_op(struct run *run, const struct op *op)
{
	const struct before before = { &run->host[op->proc], &run->vellum[op->proc],
				       run->may_be_locked[op->proc],
				       reader_is_running(run->world.reader[op->proc]) };
	struct result host, vellum;
	char why[400];

	if (!can_run(run, op) || not_compared(op, &before))
		return true;
	memset(&vellum, 0, sizeof(vellum));
	if (!agent_run(op, &host, &run->host[op->proc]))
		return fail(run, "the host's process died");
	reader_begin(run->world.reader[op->proc], op);
	kind_at(op->kind)->run_vellum(&run->world, op, &vellum);
	if (!same_result(op, &host, &vellum, why, sizeof(why)))
		return fail(run, why);
	note_locks(run, op);
	if (is(op, "fork"))
		run->alive[op->val] = true;
	if (is(op, "exit"))
		run->alive[op->proc] = false;
	else if (!compare_process(run, op->proc, op->look))
		return false;
	if (is(op, "fork") && !settle_child(run, (unsigned)op->val))
		return false;
	if ((op->look || (kind_at(op->kind)->everybody && run->done % 8 == 0) || is(op, "fork")) &&
	    !compare_others(run, op))
		return false;
	return validate(run);
}

/* A thread waits forever. The test cannot continue, so print the operations and exit. */
static const struct episode *running;
static const struct failure *running_at;

static void on_alarm(int sig)
{
	(void)sig;
	printf("Bail out! Hangs in operation %u of these:\n", running_at->at);
	for (unsigned i = 0; i <= running_at->at; i++) {
		printf("#\t");
		print_op(&running->op[i]);
	}
	fflush(stdout);
	_exit(3);
}

static void watch(const struct episode *e, const struct failure *failure)
{
	running = e;
	running_at = failure;
	signal(SIGALRM, on_alarm);
	alarm(60);
}

static void run_episode(const struct episode *e, struct failure *failure)
{
	struct run *run = calloc(1, sizeof(*run));
	const char *wrong;

	*failure = (struct failure){ .failed = false };
	run->failure = failure;
	watch(e, failure);
	world_open(&run->world);
	run->alive[0] = agents_open();
	for (unsigned i = 0; i < e->nr && !failure->failed; i++) {
		failure->at = i;
		run_op(run, &e->op[i]);
	}
	agents_close();
	wrong = world_close(&run->world);
	if (wrong && !failure->failed)
		fail(run, wrong);
	free(run);
}

static void generate_episode(struct episode *e, uint64_t seed, unsigned nr)
{
	struct generator g = { .state = seed * 0x9e3779b97f4a7c15ull + 1, .alive = { true } };

	e->nr = nr;
	for (unsigned i = 0; i < nr; i++)
		generate(&g, &e->op[i]);
}

/* --- shortening a failing episode --- */

/* Run @candidate. If it fails, it replaces @best. Return: true if it fails. */
static bool still_fails(struct episode *best, struct episode *candidate, struct failure *failure)
{
	struct failure f;

	run_episode(candidate, &f);
	if (!f.failed)
		return false;
	if (f.at + 1 < candidate->nr)
		candidate->nr = f.at + 1;
	*best = *candidate;
	*failure = f;
	return true;
}

static void remove_ops(struct episode *out, const struct episode *e, unsigned at, unsigned nr)
{
	if (nr > e->nr - at)
		nr = e->nr - at;
	memcpy(out->op, e->op, at * sizeof(e->op[0]));
	memcpy(out->op + at, e->op + at + nr, (e->nr - at - nr) * sizeof(e->op[0]));
	out->nr = e->nr - nr;
}

static void remove_looks(struct episode *e, struct episode *candidate, struct failure *failure)
{
	for (unsigned i = 0; i < e->nr; i++) {
		if (!e->op[i].look)
			continue;
		*candidate = *e;
		candidate->op[i].look = 0;
		still_fails(e, candidate, failure);
	}
}

static void shrink(struct episode *e, struct failure *failure)
{
	struct episode *candidate = malloc(sizeof(*candidate));

	if (failure->at + 1 < e->nr)
		e->nr = failure->at + 1;
	for (unsigned step = e->nr / 2; step; step = step == 1 ? 0 : (step + 1) / 2) {
		bool again;

		do {
			again = false;
			for (unsigned at = 0; at < e->nr;) {
				remove_ops(candidate, e, at, step);
				if (candidate->nr && still_fails(e, candidate, failure))
					again = step == 1;
				else
					at += step;
			}
		} while (again);
	}
	remove_looks(e, candidate, failure);
	free(candidate);
}

static void report(struct episode *e, struct failure *failure, const char *what, uint64_t number)
{
	unsigned usual = validate_every;

	printf("# %s %llu: %s\n", what, (unsigned long long)number, failure->why);
	validate_every = usual ? 1 : 0;	/* else the number of operations would change when it validates */
	shrink(e, failure);
	validate_every = usual;
	printf("# shortened to %u operations: %s\n", e->nr, failure->why);
	for (unsigned i = 0; i < e->nr; i++) {
		printf("#\t");
		print_op(&e->op[i]);
	}
	fflush(stdout);
}

/* --- the program --- */

static int replay(const char *path)
{
	struct episode *e = calloc(1, sizeof(*e));
	FILE *file = fopen(path, "r");
	struct failure failure;
	char line[400];

	if (!file) {
		perror(path);
		return 2;
	}
	while (e->nr < EPISODE_MAX && fgets(line, sizeof(line), file))
		if (parse_op(line + strspn(line, "# \t"), &e->op[e->nr]))
			e->nr++;
	fclose(file);
	validate_every = 1;
	run_episode(e, &failure);
	printf("1..1\n%s 1 - replay of %u operations\n", failure.failed ? "not ok" : "ok", e->nr);
	if (failure.failed) {
		printf("# operation %u: %s\n# ", failure.at, failure.why);
		print_op(&e->op[failure.at]);
	}
	free(e);
	return failure.failed;
}

/* Return: the number of failed episodes. The first few are shortened. */
static unsigned run_many(uint64_t *seed, uint64_t episodes, unsigned nr, unsigned *reported)
{
	struct episode *e = malloc(sizeof(*e));
	struct failure failure;
	unsigned failed = 0;

	for (uint64_t i = 0; i < episodes; i++, ++*seed) {
		generate_episode(e, *seed, nr);
		run_episode(e, &failure);
		if (!failure.failed)
			continue;
		failed++;
		if (++*reported <= 5)
			report(e, &failure, "seed", *seed);
	}
	free(e);
	return failed;
}

/* Return: the number of failed episodes of the enumerating pass. */
static unsigned run_plan(const struct plan *plan, unsigned *reported)
{
	struct episode *e = malloc(sizeof(*e));
	struct failure failure;
	unsigned failed = 0;

	for (unsigned i = 0; i < plan->nr_episodes; i++) {
		unsigned first = plan->first[i];
		unsigned end = i + 1 < plan->nr_episodes ? plan->first[i + 1] : plan->nr;

		e->nr = end - first;
		memcpy(e->op, plan->op + first, e->nr * sizeof(e->op[0]));
		run_episode(e, &failure);
		if (!failure.failed)
			continue;
		failed++;
		if (++*reported <= 5)
			report(e, &failure, "enumerated episode", i);
	}
	free(e);
	return failed;
}

struct options {
	uint64_t seed, ops, episode;
	bool any_kernel;
	const char *replay;
};

/* False: after printing what is wrong. */
static bool parse_option(struct options *o, const char *name, const char *value)
{
	if (strcmp(name, "--any-kernel") == 0)
		o->any_kernel = true;
	else if (!value)
		return false;
	else if (strcmp(name, "--replay") == 0)
		o->replay = value;
	else if (strcmp(name, "--seed") == 0)
		o->seed = strtoull(value, NULL, 10);
	else if (strcmp(name, "--ops") == 0)
		o->ops = strtoull(value, NULL, 10);
	else if (strcmp(name, "--episode") == 0)
		o->episode = strtoull(value, NULL, 10);
	else if (strcmp(name, "--validate") == 0)
		validate_every = (unsigned)strtoul(value, NULL, 10);
	else
		return false;
	return true;
}

/* Kernels differ, mostly in errors. The table of differences is for one kernel. */
static bool is_known_kernel(void)
{
	unsigned major = 0, minor = 0;
	struct utsname name;

	uname(&name);
	sscanf(name.release, "%u.%u", &major, &minor);
	return strcmp(name.machine, "x86_64") == 0 && (major > 6 || (major == 6 && minor >= 18));
}

static int run_all(const struct options *o)
{
	uint64_t seed = o->seed, episodes;
	unsigned failed, reported = 0;
	struct plan plan;

	printf("1..%u\n", TESTS + 1);
	plan_all(&plan);
	episodes = o->ops > plan.nr ? (o->ops - plan.nr + o->episode - 1) / o->episode : 0;
	failed = run_plan(&plan, &reported);
	printf("%s 1 - the host's kernel and Vellum: %u operations, all flags\n", failed ? "not ok" : "ok", plan.nr);
	free(plan.op);
	for (unsigned t = 0; t < TESTS; t++) {
		uint64_t first = seed, nr = episodes * (t + 1) / TESTS - episodes * t / TESTS;
		unsigned bad = run_many(&seed, nr, (unsigned)o->episode, &reported);

		printf("%s %u - the host's kernel and Vellum: %llu operations, seeds from %llu\n",
		       bad ? "not ok" : "ok", t + 2, (unsigned long long)(nr * o->episode),
		       (unsigned long long)first);
		fflush(stdout);
		failed += bad;
	}
	print_intended();
	return failed != 0;
}

int main(int argc, char **argv)
{
	struct options o = { .seed = 1, .ops = 40000, .episode = 500 };

	for (int i = 1; i < argc; i += strcmp(argv[i], "--any-kernel") ? 2 : 1)
		if (!parse_option(&o, argv[i], i + 1 < argc ? argv[i + 1] : NULL)) {
			fprintf(stderr, "usage: diff [--seed N] [--ops M] [--episode N] [--validate K] "
					"[--any-kernel] [--replay FILE]\n");
			return 2;
		}
	if (!o.any_kernel && !is_known_kernel()) {
		printf("1..1\nok 1 - the host's kernel and Vellum # SKIP a Linux older than 6.18, or none\n");
		return 0;
	}
	if (o.replay)
		return replay(o.replay);
	if (!o.episode || o.episode > EPISODE_MAX)
		o.episode = EPISODE_MAX;
	return run_all(&o);
}
