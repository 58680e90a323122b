/* SPDX-License-Identifier: MIT */
/* tests/explore/explore.c - see explore.h. */
#define _GNU_SOURCE
#include "explore.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

#include "host/test.h"

#define STACK_BYTES (256 << 10)
#define MAX_STEPS 20000
#define RAM_BYTES (4ull << 20)

struct coroutine {
	ucontext_t ctx;
	void *stack;
	bool done;
	bool waits;		/* cannot go on until somebody else made a step */
	enum sched_kind kind;	/* of the point it stands at */
};

struct choice {
	uint8_t taken, options;	/* index among the eligible threads; how many there were */
	uint8_t thread;
	uint8_t kind;
};

struct vellum_memory *memory;
struct vellum_mm *mm;
struct vellum_soft_cpu *cpu[2];

static struct vellum_soft *soft;
static struct test_host host;
static void *ram;
static struct coroutine threads[MAX_THREADS];
static struct coroutine *current;
static ucontext_t scheduler;
static struct choice path[MAX_STEPS];
static unsigned path_len;	/* choices that the next run must repeat */
static const struct scenario *scenario;

void vellum_explore_point(enum sched_kind kind, const volatile void *where)
{
	struct coroutine *self = current;

	(void)where;
	if (!self)
		return;		/* setting up or checking */
	self->kind = kind;
	self->waits = kind == SCHED_WAIT;
	swapcontext(&self->ctx, &scheduler);
}

/* The core's locks wait here: control goes to whoever holds them. */
static void explore_wait(void *ctx, uint32_t *word, uint32_t value)
{
	(void)ctx, (void)value;
	vellum_explore_point(SCHED_WAIT, word);
}

static void run_thread(int i)
{
	scenario->thread[i]();
	threads[i].done = true;
	current = NULL;
	setcontext(&scheduler);
}

static void make_world(void)
{
	static struct vellum_host_ops ops;
	static struct vellum_mmu_ops mmu;
	struct vellum_memory_args args = { .size = sizeof(args), .ram_size = RAM_BYTES };

	ops = *test_host_ops();
	ops.wait = explore_wait;
	memset(&host, 0, sizeof(host));
	if (!ram)
		ram = mmap(NULL, RAM_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	madvise(ram, RAM_BYTES, MADV_DONTNEED);
	vellum_soft_create(2, &soft);
	args.host = &ops;
	args.host_ctx = &host;
	mmu = *vellum_soft_mmu_ops();
	if (!scenario->stops_walks)
		mmu.stop_walks = mmu.resume_walks = NULL;
	args.mmu = &mmu;
	args.machine = soft;
	args.ram = ram;
	if (vellum_memory_create(&args, &memory) || vellum_mm_create(memory, &mm))
		abort();
	for (unsigned i = 0; i < 2; i++) {
		cpu[i] = vellum_soft_cpu(soft, i);
		vellum_soft_run(cpu[i], mm);
	}
	scenario->setup();
	for (unsigned i = 0; i < scenario->nr_threads; i++) {
		struct coroutine *t = &threads[i];
		void *stack = t->stack ? t->stack : malloc(STACK_BYTES);

		memset(t, 0, sizeof(*t));
		t->stack = stack;
		getcontext(&t->ctx);
		t->ctx.uc_stack.ss_sp = stack;
		t->ctx.uc_stack.ss_size = STACK_BYTES;
		makecontext(&t->ctx, (void (*)(void))run_thread, 1, (int)i);
	}
}

static void drop_world(void)
{
	if (scenario->teardown)
		scenario->teardown();
	for (unsigned i = 0; i < 2; i++)
		vellum_soft_run(cpu[i], NULL);
	vellum_mm_put(mm);
	vellum_memory_destroy(memory);
	vellum_soft_destroy(soft);
}

/* Threads that can make a step; the one that ran last comes first unless it waits. */
static unsigned eligible(int last, int out[MAX_THREADS])
{
	unsigned n = 0;

	if (last >= 0 && !threads[last].done && !threads[last].waits)
		out[n++] = last;
	for (int i = 0; i < (int)scenario->nr_threads; i++)
		if (i != last && !threads[i].done && !threads[i].waits)
			out[n++] = i;
	return n;
}

static void step(int i)
{
	for (unsigned j = 0; j < scenario->nr_threads; j++)
		if ((int)j != i)
			threads[j].waits = false;	/* what they wait for may be there after this */
	current = &threads[i];
	swapcontext(&scheduler, &threads[i].ctx);
	current = NULL;
}

static void print_trace(unsigned steps)
{
	static const char *const kinds[] = { "entry", "lock", "tlb", "memory", "wait" };

	printf("# schedule:");
	for (unsigned i = 0; i < steps; i++)
		if (i == 0 || path[i].thread != path[i - 1].thread)
			printf(" step %u: thread %u (at %s)", i, path[i].thread, kinds[path[i].kind]);
	printf("\n");
}

/* One run along path[0..path_len), then first choices. Return: NULL, or what was violated. */
static const char *run(unsigned preemptions, unsigned *steps)
{
	const char *why = NULL;
	int last = -1;

	for (*steps = 0; !why; ++*steps) {
		int who[MAX_THREADS];
		unsigned n = eligible(last, who);
		struct choice *c = &path[*steps];
		bool preempts = last >= 0 && !threads[last].done && !threads[last].waits;

		if (!n) {
			for (unsigned i = 0; i < scenario->nr_threads; i++)
				if (!threads[i].done)
					return "deadlock";
			break;
		}
		if (*steps == MAX_STEPS - 1)
			return "does not end";
		if (*steps >= path_len) {
			c->taken = 0;
			c->options = (uint8_t)(preempts && !preemptions ? 1 : n);
		}
		if (preempts && c->taken)
			preemptions--;
		last = who[c->taken];
		c->thread = (uint8_t)last;
		c->kind = (uint8_t)threads[last].kind;
		step(last);
		if (scenario->check_step)
			why = scenario->check_step();
	}
	return why ? why : scenario->check_end();
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

int explore(const struct scenario *s, unsigned preemptions)
{
	unsigned long nr = 0;
	unsigned steps = 0, longest = 0;
	const char *why;

	scenario = s;
	path_len = 0;
	do {
		make_world();
		why = run(preemptions, &steps);
		nr++;
		longest = steps > longest ? steps : longest;
		if (why) {
			printf("not ok - explore %s: %s\n", s->name, why);
			printf("# schedule %lu of at most %u preemptions\n", nr, preemptions);
			print_trace(steps);
			return 1;	/* the world is left as it is: threads stand in the middle of it */
		}
		drop_world();
	} while (advance(steps));
	printf("ok - explore %s: %lu schedules, at most %u preemptions, %u steps\n", s->name, nr, preemptions,
	       longest);
	return 0;
}
