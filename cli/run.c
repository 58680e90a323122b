/* SPDX-License-Identifier: MIT */
/* cli/run.c - vellum run: options, the machine, the program, the report. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "abi/text.h"
#include "cli/cli.h"

#define MIN_RAM (4ull << 20)
#define MAX_RAM (256ull << 30)
#define MAX_CPUS 16
#define SCAN_NS 600	/* to read a table of 512 entries that is not in the CPU's caches; measured */

extern char **environ;

uint64_t monotonic_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

int fail(const char *format, ...)
{
	char line[1024], text[PRINTABLE_BYTES(sizeof(line))];
	va_list ap;

	va_start(ap, format);
	vsnprintf(line, sizeof(line), format, ap);
	va_end(ap);
	fprintf(stderr, "vellum: %s\n", printable(line, text, sizeof(text)));
	return EXIT_VELLUM;
}

int fail_no_memory(const char *what)
{
	return fail("the host has no memory for %s; free some, or use a smaller --ram", what);
}

/* --- options --- */

/* Parse a number with a unit. False if @text is anything else. */
static bool parse_scaled(const char *text, const char *const *units, const double *scales, double *out)
{
	char *end;
	double value = strtod(text, &end);

	if (end == text || !(value >= 0) || text[0] == '-' || text[0] == '+')
		return false;
	for (size_t i = 0; units[i]; i++)
		if (!strcmp(end, units[i])) {
			*out = value * scales[i];
			return true;
		}
	return false;
}

static bool parse_interval(const char *text, uint64_t *ns)
{
	static const char *const units[] = { "us", "ms", "s", NULL };
	static const double scales[] = { 1e3, 1e6, 1e9 };
	double value;

	if (!parse_scaled(text, units, scales, &value) || value < 1e5 || value > 3.6e12)
		return false;
	*ns = (uint64_t)value;
	return true;
}

bool parse_size(const char *text, uint64_t *bytes)
{
	static const char *const units[] = { "", "K", "M", "G", NULL };
	static const double scales[] = { 1, 1024, 1024.0 * 1024, 1024.0 * 1024 * 1024 };
	double value;

	if (!parse_scaled(text, units, scales, &value) || value > 1e15)
		return false;
	*bytes = (uint64_t)value;
	return true;
}

static bool parse_track(const char *text, enum track_mode *track)
{
	static const enum track_mode modes[] = { TRACK_NONE, TRACK_WP, TRACK_CLEAN, TRACK_AUTO };

	for (size_t i = 0; i < 4; i++)
		if (!strcmp(text, track_name(modes[i]))) {
			*track = modes[i];
			return true;
		}
	return false;
}

static const struct option long_options[] = {
	{ "machine", required_argument, NULL, OPT_MACHINE }, { "track", required_argument, NULL, OPT_TRACK },
	{ "interval", required_argument, NULL, OPT_INTERVAL }, { "verify", no_argument, NULL, OPT_VERIFY },
	{ "json", required_argument, NULL, OPT_JSON }, { "report", required_argument, NULL, OPT_REPORT },
	{ "ram", required_argument, NULL, OPT_RAM },
	{ "cpus", required_argument, NULL, OPT_CPUS },	     { "strace", no_argument, NULL, OPT_STRACE },
	{ "swap", required_argument, NULL, OPT_SWAP },	     { "inspect", required_argument, NULL, OPT_INSPECT },
	{ "no-isolation", no_argument, NULL, OPT_NO_ISOLATION },
	{ NULL, 0, NULL, 0 },
};

static int parse_ram(const char *text, uint64_t *ram)
{
	if (!parse_size(text, ram))
		return fail("--ram=%s: not a size; write for example --ram=512M", text);
	if (*ram < MIN_RAM || *ram > MAX_RAM)
		return fail("--ram=%s: out of range; use 4M to 256G", text);
	*ram = (*ram + (2 << 20) - 1) & ~((2ull << 20) - 1);
	return 0;
}

static int parse_cpus(const char *text, unsigned *cpus)
{
	char *end;
	unsigned long n = strtoul(text, &end, 10);

	if (*end || end == text || n < 1 || n > MAX_CPUS || text[0] == '-')
		return fail("--cpus=%s: not a number of CPUs; use 1 to %d", text, MAX_CPUS);
	*cpus = (unsigned)n;
	return 0;
}

int run_take_option(int opt, const char *arg, struct run_options *o)
{
	switch (opt) {
	case OPT_MACHINE:
		return !strcmp(arg, "auto") || !strcmp(arg, "qemu") ? 0 :
		       fail("--machine=%s: unknown machine; use auto or qemu", arg);
	case OPT_TRACK:
		return parse_track(arg, &o->track) ? 0 :
		       fail("--track=%s: unknown method; use none, wp, clean or auto", arg);
	case OPT_INTERVAL:
		return parse_interval(arg, &o->interval_ns) ? 0 :
		       fail("--interval=%s: not a time from 100us to 1 hour; write for example --interval=10ms", arg);
	case OPT_VERIFY:
		o->verify = true;
		return 0;
	case OPT_JSON:
		o->json = arg;
		return arg[0] ? 0 : fail("--json=: no file name; write --json=FILE, or --json=- for stdout");
	case OPT_REPORT:
		o->html = arg;
		return arg[0] ? 0 : fail("--report=: no file name; write --report=FILE.html");
	case OPT_RAM:
		return parse_ram(arg, &o->ram);
	case OPT_CPUS:
		return parse_cpus(arg, &o->cpus);
	case OPT_SWAP:
		return swap_parse(arg, &o->swap);
	case OPT_INSPECT:
		return inspect_parse(arg, o);
	case OPT_NO_ISOLATION:
		o->no_isolation = true;
		return 0;
	case OPT_STRACE:
		o->strace = true;
		return 0;
	default:
		return EXIT_VELLUM;
	}
}

static int parse_options(int argc, char **argv, struct run_options *o)
{
	int opt, err;

	opterr = 0;
	while ((opt = getopt_long(argc, argv, "+:", long_options, NULL)) != -1) {
		if (opt == '?' || opt == ':')
			return fail("%s: %s; see vellum --help", argv[optind - 1],
				    opt == ':' ? "needs a value" : "unknown option");
		err = run_take_option(opt, optarg, o);
		if (err)
			return err;
	}
	if (optind >= argc)
		return fail("no program to run; see vellum --help");
	if (o->verify && o->track == TRACK_NONE)
		return fail("--verify: pages are not tracked; add --track=wp, --track=clean or --track=auto");
	o->argv = &argv[optind];
	return 0;
}

/* --- the program --- */

/* Search $PATH as execvp(3) does. */
bool run_find_program(const char *name, char path[PROGRAM_PATH_BYTES])
{
	const char *dirs = getenv("PATH");
	struct stat st;

	if (strchr(name, '/') || !name[0]) {
		snprintf(path, PROGRAM_PATH_BYTES, "%s", name);
		return true;
	}
	for (const char *at = dirs ? dirs : "/usr/bin:/bin"; *at; at += strspn(at, ":")) {
		int len = (int)strcspn(at, ":");

		snprintf(path, PROGRAM_PATH_BYTES, "%.*s/%s", len, at, name);
		if (stat(path, &st) == 0 && S_ISREG(st.st_mode) && access(path, X_OK) == 0)
			return true;
		at += len;
	}
	return false;
}

struct run {
	struct run_options opt;
	char path[PROGRAM_PATH_BYTES];
	struct vellum_host_ram ram;
	struct vellum_host_ops host_ops;	/* abi_host(), with forged() */
	struct machine *machine;
	struct vellum_memory *memory;
	struct swap_area *swap;
	struct track *track;
	struct inspect *inspect;
	struct abi_result result;
	uint64_t start_ns, run_ns;
	unsigned closed_fds;
	struct rlimit limits[RLIM_NLIMITS];	/* at the start, before raise_limits() */
};

/*
 * The core calls this with its locks held, and a program that broke out of its memory can do it again: exit at
 * once. Several threads may find an entry at the same time: the first one speaks.
 */
static void end_forged(void *host, uint64_t entry, const char *what)
{
	static bool ending;

	(void)host;
	while (__atomic_exchange_n(&ending, true, __ATOMIC_RELAXED))
		pause();
	fail("Vellum did not write the page-table entry 0x%llx, %s. The run ends, as the program may have written "
	     "outside its memory", (unsigned long long)entry, what);
	_exit(EXIT_VELLUM);
}

static int create_memory(struct run *r)
{
	struct vellum_memory_args args = {
		.size = sizeof(args),
		.host = &r->host_ops,
		.host_ctx = &r->ram,
		.mmu = r->machine->mmu,
		.machine = r->machine,
		.ram = r->ram.base,
		.ram_size = r->ram.len,
		.reserved = r->machine->reserved,
		.hole_start = r->machine->hole_start,
		.hole_size = r->machine->hole_size,
	};
	int err;

	r->host_ops = *abi_host();
	r->host_ops.forged = end_forged;
	err = vellum_memory_create(&args, &r->memory);
	return err ? fail("cannot set up %llu MiB of RAM: %s; use a smaller --ram",
			  (unsigned long long)(r->ram.len >> 20), vellum_strerror(err)) :
		     0;
}

static int set_up(struct run *r)
{
	char why[256] = "";

	r->ram.size = sizeof(r->ram);
	if (vellum_host_ram_create(r->opt.ram, &r->ram))
		return fail("cannot reserve %llu MiB of RAM: %s; use a smaller --ram%s",
			    (unsigned long long)(r->opt.ram >> 20), strerror(errno),
			    errno == EFBIG ? ", or raise the limit of file sizes (ulimit -f)" :
			    errno == ENOMEM ? ", or raise the limit of memory (ulimit -v)" : "");
	r->machine = machine_qemu_create(&r->ram, r->opt.cpus, !r->opt.no_isolation, r->opt.covers, why, sizeof(why));
	if (!r->machine)
		return fail("%s", why);
	r->machine->short_waits = r->opt.repeat;
	if (r->machine->leak[0] && !r->opt.no_isolation)
		return fail("programs are not isolated: %s; use another QEMU, or --no-isolation if you trust the "
			    "program", r->machine->leak);
	if (r->machine->leak[0])
		fail("the program is not isolated (--no-isolation): %s", r->machine->leak);
	if (create_memory(r))
		return EXIT_VELLUM;
	if (r->opt.swap.size) {
		r->swap = swap_area_create(&r->opt.swap, r->memory);
		if (!r->swap)
			return EXIT_VELLUM;
	}
	r->inspect = inspect_create(&r->opt);
	if (!r->inspect)
		return EXIT_VELLUM;
	r->opt.fault_ns = r->machine->fault_ns;
	r->opt.scan_ns = SCAN_NS;
	r->track = track_create(&r->opt);
	return r->track ? 0 : fail_no_memory("--track");
}

static void tear_down(struct run *r)
{
	if (r->track)
		track_destroy(r->track);
	if (r->inspect)
		inspect_destroy(r->inspect);
	if (r->memory)
		vellum_memory_destroy(r->memory);
	if (r->swap)
		swap_area_destroy(r->swap);
	if (r->machine)
		r->machine->ops->destroy(r->machine);
	if (r->ram.base)
		vellum_host_ram_destroy(&r->ram);
}

static int report(struct run *r);

/* Report what is known so far. The threads of the run still exist. */
static int report_abandoned(void *arg)
{
	struct run *r = arg;

	track_abandon(r->track);
	r->run_ns = monotonic_ns() - r->start_ns;
	return report(r);
}

static void run_program(struct run *r)
{
	const struct abi_args args = { .machine = r->machine, .memory = r->memory, .path = r->path,
				       .argv = r->opt.argv, .envp = environ, .strace = r->opt.strace,
				       .closed_fds = r->closed_fds, .limits = r->limits,
				       .repeat = r->opt.repeat, .observer = track_observer(r->track),
				       .inspector = inspect_inspector(r->inspect),
				       .abandoned = report_abandoned, .abandoned_arg = r };

	r->start_ns = monotonic_ns();
	track_start(r->track);
	abi_run(&args, &r->result);
	track_stop(r->track);
	r->run_ns = monotonic_ns() - r->start_ns;
}

static int exit_status(const struct run *r)
{
	if (r->result.error[0])
		return fail("%s", r->result.error);
	if (track_get_result(r->track)->nr_differences || inspect_failed(r->inspect))
		return EXIT_VELLUM;
	return r->result.signal ? 128 + r->result.signal : r->result.code;
}

static int report(struct run *r)
{
	struct vellum_swap_info swap = { .size = sizeof(swap) };
	const struct run_report rep = { .opt = &r->opt, .result = &r->result, .swap = &swap,
					.track = track_get_result(r->track), .machine = "qemu",
					.nr_exits = r->machine->nr_exits, .run_ns = r->run_ns };
	int status = exit_status(r);

	vellum_swap_info(r->memory, &swap);
	if (!r->result.started)
		return status;
	print_summary(&rep);
	if (r->opt.json && !strcmp(r->opt.json, "-") && r->result.wrote_stdout)
		fprintf(stderr, "vellum: --json=-: the report in stdout follows what the program wrote there; "
				"to have it apart, write --json=fd:3 and 3>FILE\n");
	if ((r->opt.json && json_write(&rep)) || (r->opt.html && html_report(&rep)))
		return EXIT_VELLUM;
	return status;
}

/* Open /dev/null as each of descriptors 0 to 2 that is closed, so that no file of Vellum gets its number. */
static unsigned fill_closed_fds(void)
{
	unsigned closed = 0;

	for (int fd = 0; fd <= 2; fd++)
		if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) == fd)
			closed |= 1u << fd;
	return closed;
}

/*
 * A limit that the user set is meant for the program: each process inside gets the limits returned here. Vellum
 * raises its own to the maximum.
 */
static void raise_limits(struct rlimit limits[RLIM_NLIMITS])
{
	static const struct rlimit none = { RLIM_INFINITY, RLIM_INFINITY };
	static const int raised[] = { RLIMIT_NOFILE, RLIMIT_FSIZE, RLIMIT_AS, RLIMIT_DATA, RLIMIT_NPROC };

	for (int i = 0; i < (int)RLIM_NLIMITS; i++)
		if (getrlimit(i, &limits[i]))
			limits[i] = (struct rlimit){ RLIM_INFINITY, RLIM_INFINITY };
	for (size_t i = 0; i < sizeof(raised) / sizeof(raised[0]); i++) {
		struct rlimit lim = limits[raised[i]];

		lim.rlim_cur = lim.rlim_max;
		/* RAM and reports are not the program's files: no limit on their size, if the process may lift it. */
		if (raised[i] != RLIMIT_FSIZE || setrlimit(RLIMIT_FSIZE, &none))
			setrlimit(raised[i], &lim);
	}
	signal(SIGXFSZ, SIG_IGN);	/* write(2) then fails with EFBIG instead */
}

static bool uses_stdout(const struct run_options *o)
{
	bool uses = o->json && !strcmp(o->json, "-");

	for (unsigned i = 0; i < o->nr_inspections; i++)
		uses |= o->inspections[i].file && !strcmp(o->inspections[i].file, "-");
	return uses;
}

static int prepare_outputs(const struct run_options *o, unsigned closed_fds, int *json_fd)
{
	char why[256];

	if ((closed_fds & 2) && uses_stdout(o))
		return fail("stdout is closed; name a file for --json and --inspect instead of -");
	if (o->json && json_open_fd(o->json, json_fd))
		return EXIT_VELLUM;
	if (o->json && *json_fd < 0 && json_check_writable(o->json, why, sizeof(why)))
		return fail("cannot write the report: %s", why);
	if (o->html && json_check_writable(o->html, why, sizeof(why)))
		return fail("cannot write the report: %s", why);
	return 0;
}

int run_command(struct run_options *o)
{
	struct run r = { .opt = *o };
	char why[4352];
	int status;

	r.closed_fds = fill_closed_fds();
	if (!run_find_program(r.opt.argv[0], r.path)) {
		fail("%s: no such program in PATH; write its path", r.opt.argv[0]);
		return 127;
	}
	status = abi_check_program(r.path, why, sizeof(why));
	if (status) {
		fail("%s", why);
		return status;
	}
	if (prepare_outputs(&r.opt, r.closed_fds, &r.opt.json_fd))
		return EXIT_VELLUM;
	prctl(PR_SET_DUMPABLE, 0);	/* the program cannot open Vellum's /proc/PID/mem */
	raise_limits(r.limits);
	abi_block_signals();
	signal(SIGCHLD, SIG_DFL);	/* waitpid(2) for QEMU fails if SIGCHLD is ignored */
	status = set_up(&r);
	if (!status) {
		o->machine = r.machine;
		run_program(&r);
		o->ran = r.result.started;
		status = r.opt.repeat ? exit_status(&r) : report(&r);
	}
	tear_down(&r);
	return status;
}

void run_defaults(struct run_options *o)
{
	*o = (struct run_options){ .interval_ns = 10000000, .ram = 1ull << 30, .cpus = 2, .json_fd = -1 };
}

int cmd_run(int argc, char **argv)
{
	struct run_options o;
	int status;

	run_defaults(&o);
	status = parse_options(argc, argv, &o);
	return status ? status : run_command(&o);
}
