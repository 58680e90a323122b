/* SPDX-License-Identifier: MIT */
/* tests/explore/explore.c - coroutines, and the choice of the next step; see engine.h. */
#define _GNU_SOURCE
#include "engine.h"

#include <setjmp.h>
#include <signal.h>
#include <ucontext.h>
#include <unistd.h>

#define STACK_BYTES (256 << 10)

struct coroutine {
	jmp_buf ctx;
	ucontext_t start;
	void *stack;
	bool started, done;
	bool waits;		/* cannot run until another actor made a step */
	enum sched_kind kind;	/* of the point at which it stopped */
	const volatile void *where;
};

struct choice {
	uint8_t taken, options;	/* index among the actors that can run; how many of them may be tried */
};

const struct scenario *scenario;
int running = -1;
bool buffers_on = true;

static struct coroutine threads[MAX_THREADS];
static unsigned nr_threads;
static jmp_buf scheduler;
static unsigned made[MAX_ACTORS];	/* steps of each actor in this run */
static struct choice path[MAX_STEPS];
static unsigned path_len;	/* number of choices that the next run repeats */
static struct schedule taken;	/* the switches of this run so far */
static const char *violation;	/* found in the middle of a step */

/* --- coroutines --- */

static void to_scheduler(struct coroutine *self)
{
	if (!_setjmp(self->ctx))
		_longjmp(scheduler, 1);
}

void violated(const char *what)
{
	violation = what;
	if (running < 0)
		return;		/* in a check, which continues */
	threads[running].done = true;
	_longjmp(scheduler, 1);
}

void vellum_explore_point(enum sched_kind kind, const volatile void *where)
{
	const char *why;
	struct coroutine *self;

	if (running < 0)
		return;		/* in setup or in a check */
	self = &threads[running];
	self->kind = kind;
	self->where = where;
	self->waits = kind == SCHED_WAIT;
	to_scheduler(self);
	why = check_access(kind, where);
	if (why)
		violated(why);
}

static void thread_main(int i)
{
	scenario->thread[i].run();
	threads[i].done = true;
	_longjmp(scheduler, 1);
}

static void make_threads(void)
{
	nr_threads = 0;
	while (nr_threads < MAX_THREADS && scenario->thread[nr_threads].run) {
		struct coroutine *t = &threads[nr_threads++];
		void *stack = t->stack ? t->stack : malloc(STACK_BYTES);

		t->stack = stack;
		t->started = t->done = t->waits = false;
		t->kind = SCHED_WAIT;
		t->where = NULL;
	}
}

static void run_thread(int i)
{
	struct coroutine *t = &threads[i];

	running = i;
	if (_setjmp(scheduler) == 0) {
		if (t->started)
			_longjmp(t->ctx, 1);
		t->started = true;
		getcontext(&t->start);
		t->start.uc_stack.ss_sp = t->stack;
		t->start.uc_stack.ss_size = STACK_BYTES;
		makecontext(&t->start, (void (*)(void))thread_main, 1, i);
		setcontext(&t->start);
	}
	running = -1;
}

static void step(int actor)
{
	made[actor]++;
	if (actor >= MAX_THREADS) {
		buffer_drain_one(actor - MAX_THREADS);
	} else {
		const struct coroutine *t = &threads[actor];
		bool waited = t->started && t->kind == SCHED_WAIT, pending = !buffer_empty(actor);
		const volatile void *where = t->where;

		run_thread(actor);
		if (pending && buffer_empty(actor))
			waited = false;		/* its stores became visible: other threads may run again */
		if (waited && t->waits && t->where == where)
			return;		/* it still waits, and changed nothing that others wait for */
	}
	for (int i = 0; i < (int)nr_threads; i++)
		if (i != actor)
			threads[i].waits = false;	/* the step may have done what they wait for */
}

/* --- actors that can run --- */

static bool thread_can_go(int i)
{
	return i >= 0 && i < (int)nr_threads && !threads[i].done && !threads[i].waits;
}

/*
 * Append the store buffers that can make a step, @first as the first. @but: the only thread that can run, or -1. A step
 * of its buffer makes no difference, as no other thread can read memory before it runs.
 */
static unsigned add_buffers(int first, int but, int *out, unsigned n)
{
	if (first >= MAX_THREADS && !buffer_empty(first - MAX_THREADS) && first != MAX_THREADS + but)
		out[n++] = first;
	for (int i = 0; i < (int)nr_threads; i++)
		if (i != but && MAX_THREADS + i != first && !buffer_empty(i))
			out[n++] = MAX_THREADS + i;
	return n;
}

/*
 * List the actors that can make the next step, the default first. @runner: the thread that ran last. After a step of a
 * store buffer, the default is @runner; if the buffer is that of @runner, it is another thread.
 * @nr_free: the first @nr_free actors are no preemptions: other threads if @runner cannot run, and a further step of
 * the buffer that made the last step. All others count as preemptions.
 */
static unsigned eligible(int last, int runner, int out[MAX_ACTORS], unsigned *nr_free)
{
	bool own = last == MAX_THREADS + runner;
	unsigned n = 0;

	if (thread_can_go(runner) && !own)
		out[n++] = runner;
	*nr_free = n;
	if (last < MAX_THREADS || own || !n)
		for (int i = 0; i < (int)nr_threads; i++)
			if (i != runner && thread_can_go(i))
				out[n++] = i;
	if (!*nr_free || last >= MAX_THREADS)
		*nr_free = n;
	n = add_buffers(last, n == 1 && out[0] == runner ? runner : -1, out, n);
	if (last >= MAX_THREADS && *nr_free < n && out[*nr_free] == last)
		++*nr_free;
	if (!n && thread_can_go(runner))
		out[n++] = runner;
	if (!*nr_free && n)
		*nr_free = 1;
	return n;
}

static bool all_done(void)
{
	for (unsigned i = 0; i < nr_threads; i++)
		if (!threads[i].done)
			return false;
	return true;
}

/* --- one run --- */

typedef unsigned (*choose_fn)(void *arg, int last, const int *who, unsigned n, unsigned nr_free);

static const char *after_step(void)
{
	const char *why = violation ? violation : check_world_step();

	return why || !scenario->check_step ? why : scenario->check_step();
}

static void note_switch(int from, int to)
{
	if (taken.nr < MAX_SWITCHES)
		taken.at[taken.nr++] = (struct sched_switch){ from, from < 0 ? 0 : made[from], to };
}

/* Return: NULL, or what was violated. */
static const char *run(choose_fn choose, void *arg, bool traced, unsigned *steps)
{
	int last = -1, runner = -1, who[MAX_ACTORS];
	const char *why = NULL;

	memset(made, 0, sizeof(made));
	taken.nr = 0;
	violation = NULL;
	buffers_clear();
	make_threads();
	for (*steps = 0; !why; ++*steps) {
		unsigned nr_free, n = eligible(last, runner, who, &nr_free), c;

		if (!n) {
			why = all_done() ? NULL : "deadlock";
			for (int i = 0; traced && i < (int)nr_threads; i++)
				if (!threads[i].done)
					trace_stuck(i, threads[i].kind, threads[i].where);
			break;
		}
		if (*steps == MAX_STEPS - 1)
			return "does not end";
		c = choose(arg, last, who, n, nr_free);
		if (c)
			note_switch(last, who[c]);
		last = who[c];
		runner = last < MAX_THREADS ? last : runner;
		if (traced)
			trace_step(last, threads[last % MAX_THREADS].kind, threads[last % MAX_THREADS].where);
		step(last);
		why = after_step();
	}
	if (!why && scenario->check_end)
		why = scenario->check_end();
	if (!why)
		why = violation;
	return why ? why : check_world_end();
}

/* --- depth first, up to a number of preemptions --- */

struct dfs {
	unsigned at, preemptions;
};

static unsigned choose_dfs(void *arg, int last, const int *who, unsigned n, unsigned nr_free)
{
	struct dfs *d = arg;
	struct choice *c = &path[d->at++];

	(void)last, (void)who;
	if (d->at > path_len) {
		c->taken = 0;
		c->options = (uint8_t)(d->preemptions ? n : nr_free);
	}
	if (c->taken >= nr_free)
		d->preemptions--;
	return c->taken;
}

/* The next path in depth-first order. */
static bool advance(unsigned steps)
{
	while (steps && path[steps - 1].taken + 1 >= path[steps - 1].options)
		steps--;
	if (!steps)
		return false;
	path[steps - 1].taken++;
	path_len = steps;
	return true;
}

/* --- at random --- */

struct random {
	uint64_t state;
	unsigned rarely;	/* steps per preemption, on average */
};

static uint64_t next_random(struct random *r)
{
	uint64_t z = r->state += 0x9e3779b97f4a7c15ull;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return z ^ z >> 31;
}

static unsigned choose_random(void *arg, int last, const int *who, unsigned n, unsigned nr_free)
{
	struct random *r = arg;

	(void)last, (void)who;
	if (nr_free < n && next_random(r) % r->rarely)
		return (unsigned)(next_random(r) % nr_free);
	return (unsigned)(next_random(r) % n);
}

static const char *run_random(uint64_t seed, unsigned *steps)
{
	struct random r = { .state = seed };

	r.rarely = 1u << (1 + next_random(&r) % 5);
	return run(choose_random, &r, false, steps);
}

/* --- a given schedule --- */

static unsigned choose_given(void *arg, int last, const int *who, unsigned n, unsigned nr_free)
{
	const struct schedule *s = arg;
	unsigned after = last < 0 ? 0 : made[last];

	(void)nr_free;
	for (unsigned i = 0; i < s->nr; i++)
		if (s->at[i].from == last && s->at[i].after == after)
			for (unsigned c = 0; c < n; c++)
				if (who[c] == s->at[i].to)
					return c;
	return 0;
}

const char *run_schedule(const struct schedule *schedule, bool traced)
{
	struct schedule copy = *schedule;
	const char *why;
	unsigned steps;

	make_world();
	if (traced)
		trace_begin();
	why = run(choose_given, &copy, traced, &steps);
	if (traced)
		trace_end();
	if (why)
		abandon_world();
	else
		drop_world();
	return why;
}

/* Leave out every switch without which the schedule still fails. */
static void shorten(struct schedule *s)
{
	bool again = true;

	while (again) {
		again = false;
		for (unsigned i = s->nr; i-- > 0;) {
			struct schedule without = *s;

			memmove(&without.at[i], &without.at[i + 1], (s->nr - i - 1) * sizeof(s->at[0]));
			without.nr--;
			if (run_schedule(&without, false)) {
				*s = without;
				again = true;
			}
		}
	}
}

/* --- reports --- */

const char *actor_name(int actor)
{
	return scenario->thread[actor % MAX_THREADS].name;
}

static int failed(const char *why)
{
	struct schedule s = taken;
	const char *short_why;

	abandon_world();
	printf("not ok - explore %s: %s\n", scenario->name, why);
	fflush(stdout);
	shorten(&s);
	short_why = run_schedule(&s, true);
	if (short_why && strcmp(short_why, why))
		printf("# shortened: %s\n", short_why);
	printf("# replay: explore %s --replay ", scenario->name);
	schedule_print(&s);
	printf("\n");
	return 1;
}

/* The core accessed memory that is freed. */
static void crashed(int sig)
{
	printf("not ok - explore %s: signal %d in %s\n# replay: explore %s --replay ", scenario->name, sig,
	       running < 0 ? "a check" : actor_name(running), scenario->name);
	schedule_print(&taken);
	printf("\n");
	fflush(stdout);
	_exit(1);
}

static void catch_crashes(void)
{
	static char stack[64 << 10];
	const stack_t alt = { .ss_sp = stack, .ss_size = sizeof(stack) };
	struct sigaction sa = { .sa_handler = crashed, .sa_flags = (int)(SA_ONSTACK | SA_RESETHAND) };

	sigaltstack(&alt, NULL);
	sigaction(SIGSEGV, &sa, NULL);
	sigaction(SIGBUS, &sa, NULL);
	sigaction(SIGABRT, &sa, NULL);
}

static void print_ok(const char *how, unsigned long nr, unsigned long states, unsigned longest)
{
	printf("ok - explore %s: %s; %lu schedules, %lu states, %u steps, %u threads\n", scenario->name, how, nr,
	       states, longest, nr_threads);
	fflush(stdout);
}

static int explore_all(unsigned preemptions, unsigned long most)
{
	unsigned long nr = 0, states = 0;
	unsigned steps, longest = 0, repeated;
	bool more;
	char how[64];

	path_len = 0;
	do {
		struct dfs d = { .preemptions = preemptions };
		const char *why;

		repeated = path_len ? path_len - 1 : 0;
		make_world();
		why = run(choose_dfs, &d, false, &steps);
		if (why)
			return failed(why);
		drop_world();
		nr++;
		states += steps - repeated;
		longest = steps > longest ? steps : longest;
		more = advance(steps);
	} while (more && nr != most);
	snprintf(how, sizeof(how), "at most %u preemptions%s", preemptions, more ? ", not all" : "");
	print_ok(how, nr, states, longest);
	return 0;
}

static int explore_random(unsigned long runs, uint64_t seed)
{
	unsigned long states = 0;
	unsigned steps, longest = 0;
	char how[64];

	for (unsigned long i = 0; i < runs; i++) {
		const char *why;

		make_world();
		why = run_random(seed + i, &steps);
		if (why) {
			int result = failed(why);

			printf("# or: --seed %llu --random 1\n", (unsigned long long)(seed + i));
			return result;
		}
		drop_world();
		states += steps;
		longest = steps > longest ? steps : longest;
	}
	snprintf(how, sizeof(how), "random, seeds from %llu", (unsigned long long)seed);
	print_ok(how, runs, states, longest);
	return 0;
}

static int replay(const char *text)
{
	struct schedule s;
	const char *why;

	if (!schedule_parse(text, &s)) {
		fprintf(stderr, "explore: bad schedule: %s\n", text);
		return 2;
	}
	why = run_schedule(&s, true);
	printf("%sok - explore %s: %s\n", why ? "not " : "", scenario->name, why ? why : "replayed");
	return why != NULL;
}

int explore(const struct scenario *s, const struct options *opt)
{
	unsigned bound = opt->bound >= 0 ? (unsigned)opt->bound : (s->bound ? s->bound : 2) + opt->more;

	scenario = s;
	buffers_on = !opt->sc;
	catch_crashes();
	if (opt->replay)
		return replay(opt->replay);
	if (opt->nr_random || (scenario->random && !opt->more && opt->bound < 0))
		return explore_random(opt->nr_random ? opt->nr_random : scenario->random, opt->seed);
	return explore_all(bound, opt->most);
}
