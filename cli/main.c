/* SPDX-License-Identifier: MIT */
/* cli/main.c - the command's own options and its subcommands. */
#define _GNU_SOURCE
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"

static const char help[] =
	"usage: vellum run [OPTION...] [--] PROGRAM [ARG...]\n"
	"       vellum repeat [OPTION...] [--] PROGRAM [ARG...]\n"
	"                               run it again and again from one snapshot, and compare the runs\n"
	"       vellum fuzz [OPTION...] [--] PROGRAM [ARG...]\n"
	"                               be the target of AFL++'s afl-fuzz: each run is a reset, not a fork\n"
	"       vellum report FILE.json -o FILE.html\n"
	"                               make an HTML page from a report that run --json wrote\n"
	"       vellum syscalls         list the system calls that programs can use\n"
	"\n"
	"Runs an unmodified x86-64 Linux program, and all processes it starts, on Vellum's own\n"
	"memory manager, and reports which pages of memory they changed.\n"
	"\n"
	"  --machine=auto|qemu     what runs the program's instructions (auto: qemu)\n"
	"  --track=none|wp|clean|auto  find changed pages by write-protecting, by cleaning dirty bits, or by\n"
	"                          the method that costs less, range by range\n"
	"  --interval=10ms         time between collections (100us to 1 hour)\n"
	"  --verify                rebuild memory from the collections alone and compare it with memory\n"
	"  --json=FILE|fd:N|-      write the report as JSON\n"
	"  --report=FILE.html      write the report as a page with heat maps over time\n"
	"  --ram=1G                RAM for all processes\n"
	"  --swap=SIZE[,FILE|,zstd]  swap to a file (without a name: to a temporary file), or to\n"
	"                          compressed memory\n"
	"  --inspect=WHEN[,text|,json][,FILE|,-]  show a process's address space at: exit, signal:SEGV\n"
	"                          (before the signal), syscall:mmap:3 (before the 3rd such call)\n"
	"  --cpus=2                CPUs of the machine\n"
	"  --no-isolation          run although this QEMU lets programs reach beyond their memory\n"
	"  --strace                print every system call, as strace does\n"
	"\n"
	"vellum repeat takes --ram, --swap, --cpus, --no-isolation, and:\n"
	"\n"
	"  -n 1000                 runs\n"
	"  --check[=K]             compare memory with the snapshot after each reset; all of it every Kth time\n"
	"  --at=main               where the snapshot is made: a function, 0xADDRESS, or first-read\n"
	"  --json=FILE             write the figures as JSON\n"
	"\n"
	"vellum fuzz takes --ram, --swap, --no-isolation and --at, and\n"
	"  --coverage=edges        what is counted: edges between blocks of code, or blocks, which is faster\n"
	"Called afl-qemu-trace, vellum is vellum fuzz.\n"
	"\n"
	"stdin, stdout, stderr and the exit status (128+signal) are the program's. Status 125: Vellum itself\n"
	"failed. 126: the program cannot be run. 127: the program is not found.\n";

int print_help(void)
{
	fputs(help, stdout);
	return 0;
}

static const char *base_name(const char *path)
{
	const char *slash = path ? strrchr(path, '/') : NULL;

	return slash ? slash + 1 : path ? path : "";
}

int main(int argc, char **argv)
{
	if (!strcmp(base_name(argv[0]), "afl-qemu-trace"))	/* as afl-fuzz -Q runs it */
		return cmd_fuzz(argc, argv);
	if (argc < 2)
		return fail("no command; see vellum --help");
	if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "help"))
		return print_help();
	if (!strcmp(argv[1], "--version")) {
		puts("vellum " VERSION);
		return 0;
	}
	if (!strcmp(argv[1], "syscalls")) {
		for (unsigned i = 0; abi_supported(i); i++)
			puts(abi_supported(i));
		return 0;
	}
	if (!strcmp(argv[1], "report"))
		return cmd_report(argc - 1, argv + 1);
	if (!strcmp(argv[1], "repeat"))
		return argc > 2 && !strcmp(argv[2], "--help") ? print_help() : cmd_repeat(argc - 1, argv + 1);
	if (!strcmp(argv[1], "fuzz"))
		return argc > 2 && !strcmp(argv[2], "--help") ? print_help() : cmd_fuzz(argc - 1, argv + 1);
	if (strcmp(argv[1], "run"))
		return fail("%s: unknown command; see vellum --help", argv[1]);
	if (argc > 2 && !strcmp(argv[2], "--help"))
		return print_help();
	return cmd_run(argc - 1, argv + 1);
}
