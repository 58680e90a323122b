/* SPDX-License-Identifier: MIT */
/* bench/run.c - whole programs: native, and under `vellum run` without and with tracking. */
#define _GNU_SOURCE
#include "bench/bench.h"

#include <fcntl.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define MAX_ARGS 16
#define MAX_MODES 4

extern char **environ;

static const char by_vellum[] = "vellum run (QEMU TCG)", by_host[] = "native";

/* --- one process --- */

/* Run a program with @out as stdout. Return: its time in ns; NAN if its status is not 0. */
static double spawn(const char *const argv[], int out)
{
	posix_spawn_file_actions_t actions;
	double start = now_ns();
	int status, err;
	pid_t pid;

	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_adddup2(&actions, out, 1);
	posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
	err = posix_spawnp(&pid, argv[0], &actions, NULL, (char **)argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	must(!err, "%s: %s", argv[0], strerror(err));
	must(waitpid(pid, &status, 0) == pid, "waitpid");
	return status ? NAN : now_ns() - start;
}

static int new_output(void)
{
	int fd = memfd_create("bench-output", MFD_CLOEXEC);

	must(fd >= 0, "memfd_create");
	return fd;
}

/* The contents of a file, as a string. */
static char *text_of(int fd)
{
	off_t size = lseek(fd, 0, SEEK_END);
	char *text = calloc(1, (size_t)size + 1);

	must(text && pread(fd, text, (size_t)size, 0) == size, "output cannot be read");
	return text;
}

static bool same_output(int a, int b)
{
	off_t size = lseek(a, 0, SEEK_END);
	char *x = text_of(a), *y = text_of(b);
	bool same = lseek(b, 0, SEEK_END) == size && !memcmp(x, y, (size_t)size);

	free(x);
	free(y);
	return same;
}

/* argv of `COMMAND run --track=MODE -- PROGRAM...`. */
static void under(const char *command, const char *out[MAX_ARGS + 5], const char *mode, const char *const argv[])
{
	unsigned n = 0;

	out[n++] = command;
	out[n++] = "run";
	out[n++] = mode;
	out[n++] = "--";
	for (; *argv && n < MAX_ARGS + 4; argv++)
		out[n++] = *argv;
	out[n] = NULL;
}

static void under_vellum(const char *out[MAX_ARGS + 5], const char *mode, const char *const argv[])
{
	under(options.command, out, mode, argv);
}

/* --- programs --- */

struct program {
	const char *name;
	const char *argv[MAX_ARGS];
	const char *says;	/* the output may differ from the native run's, but must contain this */
};

static double run_native(const struct program *p, int out)
{
	double ns = spawn(p->argv, out);

	must(!isnan(ns), "%s: fails natively", p->name);
	return ns;
}

static void check_output(const struct program *p, int out, int native)
{
	char *text = p->says ? text_of(out) : NULL;

	must(text ? strstr(text, p->says) != NULL : same_output(out, native),
	     "%s: other output than native", p->name);
	free(text);
}

static double run_by(const char *command, const struct program *p, const char *mode, int native)
{
	const char *argv[MAX_ARGS + 5];
	int out = new_output();
	double ns;

	under(command, argv, mode, p->argv);
	ns = spawn(argv, out);
	must(!isnan(ns), "%s: fails under %s run %s", p->name, command, mode);
	check_output(p, out, native);
	close(out);
	return ns;
}

static void bench_program(const struct program *p, const char *const modes[], unsigned rounds)
{
	struct row *rows[MAX_MODES];
	char name[48];

	for (unsigned i = 0; modes[i]; i++) {
		snprintf(name, sizeof(name), "run.%s.%s", p->name, strchr(modes[i], '=') + 1);
		rows[i] = row_add(name, "ms", by_vellum, by_host);
	}
	while (rounds--) {
		int out = new_output();
		double native = run_native(p, out);

		for (unsigned i = 0; modes[i]; i++)
			row_sample(rows[i], run_by(options.command, p, modes[i], out) / 1e6, native / 1e6);
		close(out);
	}
}

/* Lines of words and numbers, as input for gzip and sort. */
static void write_lines(const char *path, size_t size)
{
	FILE *f = fopen(path, "w");
	uint64_t x = 1;
	size_t done = 0;

	must(f, "%s: cannot be written", path);
	while (done < size) {
		char line[64];
		size_t len;

		x = x * 6364136223846793005u + 1442695040888963407u;
		len = (size_t)snprintf(line, sizeof(line), "%08x some line of %s text %u\n",
				       (unsigned)(x >> 32), x >> 61 ? "plain" : "other", (unsigned)(x >> 50));
		len = len < size - done ? len : size - done;
		must(fwrite(line, 1, len, f) == len, "%s: cannot be written", path);
		done += len;
	}
	must(!fclose(f), "%s: cannot be written", path);
}

static bool takes(const char *mode)
{
	const char *argv[MAX_ARGS + 5], *const program[] = { "busybox", "true", NULL };
	int out = new_output();
	bool good;

	under_vellum(argv, mode, program);
	good = !isnan(spawn(argv, out));
	close(out);
	return good;
}

static char folder[] = "/tmp/vellum-bench.XXXXXX";
static char big[64], small[64];

static void remove_inputs(void)
{
	unlink(big);
	unlink(small);
	rmdir(folder);
}

static void make_inputs(void)
{
	must(mkdtemp(folder), "%s: cannot be made", folder);
	snprintf(big, sizeof(big), "%s/big", folder);
	snprintf(small, sizeof(small), "%s/small", folder);
	atexit(remove_inputs);
	write_lines(big, amount(10, 1) * MIB);
	write_lines(small, amount(2000000, 200000));
}

void bench_run(void)
{
	static const char loop[] = "i=0; while [ $i -lt 50 ]; do (:); i=$((i+1)); done; echo $i";
	const char *modes[MAX_MODES + 1] = { "--track=none", "--track=wp", "--track=clean" };
	const struct program busybox[] = {
		{ "start", { "busybox", "true" }, NULL },
		{ "sha256sum", { "busybox", "sha256sum", big }, NULL },
		{ "sort", { "busybox", "sort", small }, NULL },
		{ "gzip", { "busybox", "gzip", "-c", big }, NULL },
		{ "50-forks", { "busybox", "sh", "-c", loop }, NULL },
	};
	static const struct {
		const char *name, *says;
	} guests[] = { { "anon", "DONE" }, { "churn", "DONE" }, { "forks", "DONE" }, { "storm", NULL } };

	make_inputs();
	must(takes(modes[0]), "%s run busybox true: fails", options.command);
	if (takes("--track=auto"))
		modes[3] = "--track=auto";
	for (unsigned i = 0; i < sizeof(busybox) / sizeof(busybox[0]); i++)
		bench_program(&busybox[i], modes, amount(i ? 5 : 15, 1));
	for (unsigned i = 0; i < sizeof(guests) / sizeof(guests[0]); i++) {
		char path[256];
		struct program p = { guests[i].name, { path }, guests[i].says };

		snprintf(path, sizeof(path), "%s/guest/%s", options.guests, guests[i].name);
		bench_program(&p, modes, amount(5, 1));
	}
}

/*
 * The cost of not trusting page tables that a program may have written: the command, which checks each entry that it
 * reads (VELLUM_MMU_TABLES_EXPOSED), against one built without the checks. The programs fault and fork a lot.
 */
void bench_checks(void)
{
	static const struct {
		const char *name, *says;
	} guests[] = { { "storm", NULL }, { "forks", "DONE" }, { "churn", "DONE" } };

	for (unsigned i = 0; i < sizeof(guests) / sizeof(guests[0]); i++) {
		char path[256], name[48];
		struct program p = { guests[i].name, { path }, guests[i].says };
		struct row *row;
		int out = new_output();

		snprintf(path, sizeof(path), "%s/guest/%s", options.guests, guests[i].name);
		snprintf(name, sizeof(name), "checks.%s", guests[i].name);
		row = row_add(name, "ms", "vellum run", "vellum run, tables trusted");
		run_native(&p, out);
		for (unsigned round = amount(15, 1); round--;) {
			double checked = run_by(options.command, &p, "--track=none", out);

			row_sample(row, checked / 1e6, run_by(options.unchecked, &p, "--track=none", out) / 1e6);
		}
		close(out);
	}
}

/* --- times that a program measures inside --- */

struct ops {
	double getppid, touch;
};

static struct ops run_ops(const char *const argv[])
{
	int out = new_output();
	bool good = !isnan(spawn(argv, out));
	char *text = text_of(out);
	struct ops ops;

	must(good && sscanf(text, "getppid %lf touch %lf", &ops.getppid, &ops.touch) == 2,
	     "%s: fails under %s", "ops", argv[0]);
	free(text);
	close(out);
	return (struct ops){ ops.getppid / 1000, ops.touch / 1000 };
}

void bench_guest(void)
{
	struct row *getppid = row_add("guest.getppid", "ns/op", by_vellum, by_host);
	struct row *touch = row_add("guest.first-touch", "ns/page", by_vellum, by_host);
	const char *argv[MAX_ARGS + 5], *native[] = { NULL, NULL };
	char path[256];

	snprintf(path, sizeof(path), "%s/bench/guest/ops", options.guests);
	native[0] = path;
	under_vellum(argv, "--track=none", native);
	row_note(getppid, "measured by the program itself: the way out of the CPU, the call, and back");
	for (unsigned i = amount(15, 1); i--;) {
		struct ops v = run_ops(argv), h = run_ops(native);

		row_sample(getppid, v.getppid, h.getppid);
		row_sample(touch, v.touch, h.touch);
	}
}
