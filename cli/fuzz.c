/* SPDX-License-Identifier: MIT */
/*
 * cli/fuzz.c - vellum fuzz: the target of afl-fuzz. It speaks the protocol of AFL++'s fork server, but a run is not a fork:
 * it is the frozen program, which is reset after each run.
 *
 * Commands are words of 4 bytes in the host's order, read from descriptor 198; answers go to 199. The server says hello,
 * and then for each run: it reads a word, answers with a process ID, runs, and answers with a status of wait4(2). To end a
 * run that takes too long, afl-fuzz kills that process: so it is one that waits for nothing else, and its end ends the run.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/fuzz_server.h"
#include "machine/coverage.h"

#define TELL_AFTER_NS	1000000
#define ALL_USER_ADDRESSES (1ull << 47)

struct fuzz {
	struct abi_repeat want;
	struct run_options *options;
	bool place_given;		/* where to freeze it */
	enum machine_coverage covers;	/* of a program without a map of its own */
	struct fuzz_server server;	/* of the program, if it has one; afl-fuzz's map */
	int status;			/* of the run that has ended */
	enum { NOT_ANSWERED, ANSWERED, UNHEARD } answer;	/* has afl-fuzz got it? UNHEARD: afl-fuzz has ended */
	struct repeat *run;
	cpu_set_t bound;		/* with is_bound: the CPU that afl-fuzz has chosen */
	bool is_bound;
	pthread_t watcher;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	/* lock: */
	pid_t placeholder;		/* what afl-fuzz kills; 0: none */
	bool running, ending;
	pid_t owed;			/* not told to afl-fuzz yet; 0: none */
	uint64_t nr_runs;
	pthread_t teller;
};

/* --- the placeholder, and the thread that waits for its end --- */

/* In a child of a process with threads: only calls that are safe in a signal handler. */
static void be_placeholder(pid_t parent)
{
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);	/* afl-fuzz may choose another signal than SIGKILL */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	close_range(0, ~0u, 0);
	while (getppid() == parent)
		pause();
	_exit(0);
}

static void *watch(void *arg)
{
	struct fuzz *f = arg;

	pthread_mutex_lock(&f->lock);
	while (!f->ending) {
		pid_t pid = f->placeholder;

		if (!pid) {
			pthread_cond_wait(&f->changed, &f->lock);
			continue;
		}
		pthread_mutex_unlock(&f->lock);
		while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
			;
		pthread_mutex_lock(&f->lock);
		f->placeholder = 0;
		if (f->running && !f->ending)
			abi_repeat_kill(f->run);
		pthread_cond_broadcast(&f->changed);
	}
	pthread_mutex_unlock(&f->lock);
	return NULL;
}

/* Has it ended, though watch() may not have noticed it yet? lock held. */
static bool has_gone(const struct fuzz *f)
{
	siginfo_t info = { .si_pid = 0 };

	return waitid(P_PID, (id_t)f->placeholder, &info, WEXITED | WNOHANG | WNOWAIT) || info.si_pid;
}

/* A living placeholder for the next run, or -1. @killed: afl-fuzz has killed the last one, which may still be ending. */
static pid_t get_placeholder(struct fuzz *f, bool killed)
{
	const pid_t parent = getpid();
	pid_t pid;

	pthread_mutex_lock(&f->lock);
	if (killed && f->placeholder)
		kill(f->placeholder, SIGKILL);
	while (f->placeholder && (killed || has_gone(f)))
		pthread_cond_wait(&f->changed, &f->lock);
	if (!f->placeholder) {
		pid = fork();
		if (pid == 0)
			be_placeholder(parent);
		f->placeholder = pid > 0 ? pid : 0;
		pthread_cond_broadcast(&f->changed);
	}
	pid = f->placeholder ? f->placeholder : -1;
	f->running = pid > 0;
	pthread_mutex_unlock(&f->lock);
	return pid;
}

/* --- coverage --- */

static struct coverage *coverage_of(const struct fuzz *f)
{
	return f->options->machine->coverage;
}

static void add_range(struct coverage *c, uint64_t start, uint64_t end)
{
	if (c->nr_ranges == COVERAGE_MAX_RANGES)
		return;
	c->range[c->nr_ranges].start = start;
	c->range[c->nr_ranges].end = end;
	c->nr_ranges++;
}

/* "0x1000-0x2000,0x5000-0x6000" */
static void add_ranges(struct coverage *c, const char *text)
{
	while (text && *text) {
		char *end;
		uint64_t first = strtoull(text, &end, 16), last = *end == '-' ? strtoull(end + 1, &end, 16) : 0;

		if (last > first)
			add_range(c, first, last);
		text = *end == ',' ? end + 1 : NULL;
	}
}

/* The program's own code, unless the environment names other code, as for AFL++'s QEMU mode. */
static void choose_code(void *arg, const struct guest_mm *gmm)
{
	struct fuzz *f = arg;
	struct coverage *c = coverage_of(f);
	const char *ranges = getenv("AFL_QEMU_INST_RANGES"), *start = getenv("AFL_CODE_START"), *end = getenv("AFL_CODE_END");
	struct vellum_vma_info info = { .size = sizeof(info) };
	char name[ABI_MAX_NAME];

	if (ranges)
		add_ranges(c, ranges);
	else if (start && end)
		add_range(c, strtoull(start, NULL, 0), strtoull(end, NULL, 0));
	else if (getenv("AFL_INST_LIBS"))
		add_range(c, 0, ALL_USER_ADDRESSES);
	for (uint64_t at = 0; !c->nr_ranges && !vellum_vma_next(gmm->mm, at, &info); at = info.end) {
		abi_mapping_name(gmm, &info, name);
		if ((info.prot & VELLUM_PROT_EXEC) && !strcmp(name, gmm->exe))
			add_range(c, info.start, info.end);
	}
}

/* A run begins without a block before its first one. */
static void forget_previous(struct coverage *c)
{
	for (unsigned i = 0; i < COVERAGE_MAX_CPUS; i++)
		c->cpu[i].previous = 0;
}

/* Edges before the runs do not count. */
static void clear_map(struct coverage *c)
{
	memset(c->map, 0, sizeof(c->map));
	memset(c->counted, 0, sizeof(c->counted));
	forget_previous(c);
}

static bool is_zero(const uint8_t *bytes)
{
	uint64_t words[COVERAGE_LINE / sizeof(uint64_t)], any = 0;

	memcpy(words, bytes, sizeof(words));
	for (unsigned i = 0; i < COVERAGE_LINE / sizeof(uint64_t); i++)
		any |= words[i];
	return !any;
}

/*
 * Which lines of the map have counters that are not 0. Return: how many. The lines are in the cache of the CPU that ran
 * the program: they are asked for here, all before the first one is read.
 */
static unsigned find_counted(struct coverage *c, uint16_t lines[COVERAGE_LINES])
{
	unsigned nr = 0;

	for (unsigned i = 0; i < COVERAGE_LINES; i++) {
		if (!c->blocks && i % COVERAGE_LINE == 0 && is_zero(&c->counted[i])) {
			i += COVERAGE_LINE - 1;
		} else if (c->blocks ? !is_zero(&c->map[i * COVERAGE_LINE]) : c->counted[i]) {
			__builtin_prefetch(&c->map[i * COVERAGE_LINE], 1);
			c->counted[i] = 0;
			lines[nr++] = (uint16_t)i;
		}
	}
	return nr;
}

/* Move what was counted to afl-fuzz's map, which it has cleared. */
static void move_map(const struct fuzz *f)
{
	const struct shared *map = &f->server.map;
	struct coverage *c = coverage_of(f);
	const size_t bytes = !map->at ? 0 : map->bytes < COVERAGE_MAP_SIZE ? map->bytes : COVERAGE_MAP_SIZE;
	uint16_t lines[COVERAGE_LINES];
	const unsigned nr = find_counted(c, lines);

	for (unsigned i = 0; i < nr; i++) {
		const size_t at = (size_t)lines[i] * COVERAGE_LINE;

		if (at < bytes)
			memcpy((uint8_t *)map->at + at, &c->map[at], bytes - at < COVERAGE_LINE ? bytes - at : COVERAGE_LINE);
		memset(&c->map[at], 0, COVERAGE_LINE);
	}
	forget_previous(c);
}

/* --- the protocol --- */

static bool answer(const uint32_t *words, size_t nr)
{
	const ssize_t len = (ssize_t)(nr * sizeof(words[0]));
	ssize_t n;

	do
		n = write(ANSWER_FD, words, (size_t)len);
	while (n < 0 && errno == EINTR);
	return n == len;
}

/*
 * afl-fuzz needs the process ID to end the run. Most runs end before: their ID goes out with the status, so afl-fuzz wakes
 * up once. This thread tells the ID of a run that takes longer.
 */
static void *tell_owed(void *arg)
{
	struct fuzz *f = arg;
	uint64_t seen = 0;

	pthread_mutex_lock(&f->lock);
	while (!f->ending) {
		pthread_mutex_unlock(&f->lock);
		nanosleep(&(struct timespec){ .tv_nsec = TELL_AFTER_NS }, NULL);
		pthread_mutex_lock(&f->lock);
		if (f->owed && seen == f->nr_runs) {
			answer(&(uint32_t){ (uint32_t)f->owed }, 1);
			f->owed = 0;
		}
		seen = f->nr_runs;
	}
	pthread_mutex_unlock(&f->lock);
	return NULL;
}

/* Tell the status, and the ID before it, if afl-fuzz does not have it yet. */
static bool answer_status(struct fuzz *f)
{
	uint32_t words[2] = { (uint32_t)f->status };
	size_t nr = 1;
	bool ok;

	pthread_mutex_lock(&f->lock);
	if (f->owed) {
		words[nr++] = words[0];
		words[0] = (uint32_t)f->owed;
		f->owed = 0;
	}
	ok = answer(words, nr);
	pthread_mutex_unlock(&f->lock);
	return ok;
}

/* Prepare a run. @killed: afl-fuzz has killed the last one. False: there is no memory for a process. */
static bool begin_run(struct fuzz *f, bool killed)
{
	pid_t pid = get_placeholder(f, killed);

	if (f->server.present)
		fuzz_server_take_input(&f->server);
	pthread_mutex_lock(&f->lock);
	f->owed = pid;
	f->nr_runs++;
	pthread_mutex_unlock(&f->lock);
	return pid > 0;
}

/* Wait for the command to run. False: afl-fuzz has ended. */
static bool next_run(struct fuzz *f)
{
	uint32_t word;
	ssize_t n;

	do
		n = read(COMMAND_FD, &word, sizeof(word));
	while (n < 0 && errno == EINTR);
	return n == (ssize_t)sizeof(word) && begin_run(f, word != 0);
}

static void is_freezing(void *arg)
{
	struct fuzz *f = arg;

	if (f->server.present) {
		fuzz_server_stop(&f->server);
		fuzz_server_clear_map(&f->server);
	} else {
		clear_map(coverage_of(f));
	}
}

static void is_frozen(void *arg, const char *limits, struct repeat *run)
{
	struct fuzz *f = arg;
	bool runs;

	f->run = run;
	if (f->is_bound)
		sched_setaffinity(0, sizeof(f->bound), &f->bound);
	if (limits[0])
		fprintf(stderr, "vellum: a reset does not undo what a run does to: %s\n", limits);
	if (f->server.present && !f->server.hello)
		runs = !fail("the program is frozen before its own fork server has begun; leave out --at");
	else if (f->server.present)	/* its server has said hello and got the command */
		runs = begin_run(f, false);
	else
		runs = answer(&(uint32_t){ HELLO | HELLO_MAP_SIZE | (COVERAGE_MAP_SIZE - 1) << 1 }, 1) && next_run(f);
	if (!runs)
		abi_repeat_kill(run);		/* before anything of a run */
}

static bool has_ended(void *arg, int status)
{
	struct fuzz *f = arg;

	pthread_mutex_lock(&f->lock);
	f->running = false;
	pthread_mutex_unlock(&f->lock);
	if (f->server.present)
		fuzz_server_give_map(&f->server);
	else
		move_map(f);
	f->status = status;
	return true;
}

/* The run that goes on, if any, is the last one: watch() must not use it any more. */
static void has_finished(void *arg)
{
	struct fuzz *f = arg;

	pthread_mutex_lock(&f->lock);
	f->running = false;
	pthread_mutex_unlock(&f->lock);
}

/* afl-fuzz writes the next input while memory is reset. Not earlier: the position in the input's file has moved. */
static void is_undone(void *arg)
{
	struct fuzz *f = arg;

	f->answer = answer_status(f) ? ANSWERED : UNHEARD;
}

static bool was_reset(void *arg, const struct abi_reset *reset)
{
	struct fuzz *f = arg;
	bool heard = f->answer == NOT_ANSWERED ? answer_status(f) : f->answer == ANSWERED;

	(void)reset;
	f->answer = NOT_ANSWERED;
	return heard && next_run(f);
}

/* --- options --- */

static const struct option long_options[] = {
	{ "ram", required_argument, NULL, OPT_RAM }, { "swap", required_argument, NULL, OPT_SWAP },
	{ "no-isolation", no_argument, NULL, OPT_NO_ISOLATION }, { "at", required_argument, NULL, OPT_AT },
	{ "coverage", required_argument, NULL, OPT_COVERAGE },
	{ NULL, 0, NULL, 0 },
};

static int parse_coverage(const char *text, struct fuzz *f)
{
	if (strcmp(text, "edges") && strcmp(text, "blocks"))
		return fail("--coverage=%s: want edges or blocks", text);
	f->covers = text[0] == 'b' ? COVERAGE_BLOCKS : COVERAGE_EDGES;
	return 0;
}

static int parse_option(int opt, struct fuzz *f, struct run_options *o)
{
	switch (opt) {
	case OPT_AT:
		f->place_given = true;
		return repeat_parse_place(optarg, &f->want);
	case OPT_COVERAGE:
		return parse_coverage(optarg, f);
	default:
		return run_take_option(opt, optarg, o);
	}
}

static int parse_options(int argc, char **argv, struct fuzz *f, struct run_options *o)
{
	const char *entry = getenv("AFL_ENTRYPOINT"), *coverage = getenv("VELLUM_COVERAGE");
	int opt, err = entry ? repeat_parse_place(entry, &f->want) : 0;

	f->place_given = entry != NULL;
	if (!err && coverage)
		err = parse_coverage(coverage, f);
	opterr = 0;
	while (!err && (opt = getopt_long(argc, argv, "+:", long_options, NULL)) != -1) {
		if (opt == '?' || opt == ':')
			return fail("%s: %s; see vellum --help", argv[optind - 1],
				    opt == ':' ? "needs a value" : "unknown option");
		err = parse_option(opt, f, o);
	}
	if (!err && optind >= argc)
		err = fail("no program to run; see vellum --help");
	o->argv = &argv[optind];
	return err;
}

static bool has_server(void)
{
	return fcntl(COMMAND_FD, F_GETFD) >= 0 && fcntl(ANSWER_FD, F_GETFD) >= 0;
}

/* Its own server and map, or the plugin that counts. */
static int prepare_program(struct fuzz *f, struct run_options *o)
{
	char path[PROGRAM_PATH_BYTES];

	f->server.present = run_find_program(o->argv[0], path) && fuzz_server_find(path);
	o->covers = f->server.present ? COVERAGE_NONE : f->covers;
	if (!f->server.present)
		return 0;
	f->want.loaded = NULL;
	if (!f->place_given)
		f->want.place = ABI_PLACE_FORK;
	return fuzz_server_start(&f->server, &f->want);
}

/*
 * afl-fuzz binds itself and what it starts to one CPU, as a fork server and its child never run at once. Vellum's thread
 * that speaks with afl-fuzz stays there, so that they hand over to each other without waking another CPU. QEMU, with which
 * Vellum hands over without sleeping, gets the others.
 */
static void share_cpus(struct fuzz *f)
{
	cpu_set_t all, others;

	f->is_bound = !sched_getaffinity(0, sizeof(f->bound), &f->bound) && CPU_COUNT(&f->bound) == 1;
	memset(&all, 0xff, sizeof(all));
	CPU_XOR(&others, &all, &f->bound);
	if (!f->is_bound || sched_setaffinity(0, sizeof(others), &others))	/* fails if there is only one */
		sched_setaffinity(0, sizeof(all), &all);
}

static int serve(struct fuzz *f, struct run_options *o)
{
	int status;

	share_cpus(f);
	fcntl(COMMAND_FD, F_SETFD, FD_CLOEXEC);
	fcntl(ANSWER_FD, F_SETFD, FD_CLOEXEC);
	lseek(STDIN_FILENO, 0, SEEK_SET);	/* afl-fuzz writes the next input there while a reset rewinds it */
	prctl(PR_SET_PDEATHSIG, SIGKILL);	/* afl-fuzz may be killed while a run goes on for ever */
	if (getppid() == 1)
		return fail("afl-fuzz has ended");
	o->repeat = &f->want;
	f->options = o;
	abi_block_signals();		/* in the other threads, too */
	if (fuzz_server_attach(&f->server) || prepare_program(f, o))
		return EXIT_VELLUM;
	if (pthread_create(&f->watcher, NULL, watch, f) || pthread_create(&f->teller, NULL, tell_owed, f))
		return fail("cannot create a thread: %s", strerror(errno));
	status = run_command(o);
	fuzz_server_stop(&f->server);
	pthread_mutex_lock(&f->lock);
	f->ending = true;
	if (f->placeholder)
		kill(f->placeholder, SIGKILL);
	pthread_cond_broadcast(&f->changed);
	pthread_mutex_unlock(&f->lock);
	pthread_join(f->watcher, NULL);
	pthread_join(f->teller, NULL);
	return status == EXIT_VELLUM ? status : 0;
}

int cmd_fuzz(int argc, char **argv)
{
	struct fuzz f = { .want = { .arg = &f, .place = ABI_PLACE_FUNCTION, .function = "main", .output = { 1, 2 },
				    .loaded = choose_code, .freezing = is_freezing, .frozen = is_frozen,
				    .ended = has_ended, .undone = is_undone, .was_reset = was_reset,
				    .finished = has_finished },
			  .covers = COVERAGE_EDGES, .lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER };
	struct run_options o;
	int status;

	run_defaults(&o);
	o.cpus = 1;
	status = parse_options(argc, argv, &f, &o);
	if (status)
		return status;
	return has_server() ? serve(&f, &o) : run_command(&o);
}
