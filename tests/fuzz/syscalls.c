/* SPDX-License-Identifier: MIT */
/*
 * tests/fuzz/syscalls.c - random system calls with arguments that are likely to be handled wrongly: pointers to
 * every kind of memory and to its edges, descriptors of every kind, odd flags, lengths that overflow. Processes
 * fork, map, unmap, get signals and die. See fuzz.h for the arguments; run.sh starts it.
 *
 * Runs only inside Vellum and in a box (box.sh): elsewhere, random calls harm the machine.
 */
#include "fuzz.h"

#define ARENA		((u8 *)0x1000000000ul)
#define KIND_PAGES	16		/* of each kind of memory, followed by as many unmapped pages */
#define KIND(i)		(ARENA + (i) * 2 * KIND_PAGES * PAGE)
#define NR_KINDS	10
#define STRUCTS		KIND(0)		/* readable and writable: filled with structures */
#define BLOCK		256
#define NR_BLOCKS	(KIND_PAGES * PAGE / BLOCK)
#define NR_FDS		30
#define CHILD_CALLS	40
#define MAX_DEPTH	3
#define OUT_FD		900		/* a descriptor that random calls do not use */

enum { AT_FDCWD_ = -100, O_CREAT_ = 0100, ENOSYS_ = 38, EROFS_ = 30 };

struct call {
	u16 nr;
	const char *args;
};

static const struct call calls[] = {
#include "fuzz_calls.h"
};

/* Relative, so that files are in the scratch directory. Few, so that calls often use the same file. */
#define NR_RELATIVE 17
static const char *const names[] = {
	"a", "b", "c", "d", "dir/a", "dir/sub", "dir", "link", "fifo", "a/", "dir/", ".", "", "loop", "missing/a",
	"script", "elf", "/dev/null", "/dev/zero", "/proc/self/exe", "/proc/self/fd/3", "/proc/self/mem",
	"/proc/self/maps", "/proc/self/fd", "/proc/self", "/proc/1/mem", "/proc/thread-self/mem",
};

static u64 depth, left;
static void *recovery[5];
static u8 signal_stack[16384];

/* --- values --- */

static u64 random_size(void)
{
	static const u64 sizes[] = { 0, 1, 2, 3, 7, 8, 16, 100, 128, 4095, 4096, 4097, 8192, 65535, 65536, 1 << 20,
				     2 << 20, 1ul << 30, 1ul << 31, (1ul << 31) - 1, 0xfffffffful, 1ul << 32,
				     1ul << 46, 1ul << 47, 1ul << 62, 1ul << 63, ~0ul >> 1, ~0ul, ~0ul - 4095,
				     1024, 1025, 0xffffful };

	return PICK(sizes) + (chance(8) ? below(5) - 2 : 0);
}

static u64 random_pointer(void)
{
	static const u64 odd[] = { 0, 1, 4095, 4096, 0x10000, 0x400000, 0x7fffffffefff, 0x7fffffffffff,
				   0x7ffffffff000, 0x800000000000, 0xffff800000000000, 0xffffffff80000000,
				   0xffffffff80020000, 0xffffff8000000000, 0xffffffffff600000, ~0ul, ~0ul - 7,
				   1ul << 63 };
	u8 *kind = KIND(below(NR_KINDS));

	switch (below(8)) {
	case 0:
		return PICK(odd);
	case 1:	/* the edges of a kind */
		return (u64)kind + KIND_PAGES * PAGE - below(70);
	case 2:
		return (u64)kind + below(KIND_PAGES) * PAGE - below(3) * 8;
	case 3:
		return (u64)kind + below(KIND_PAGES) * PAGE;
	default:
		return (u64)STRUCTS + below(NR_BLOCKS) * BLOCK + (chance(16) ? below(8) : 0);
	}
}

static u64 random_fd(void)
{
	static const u64 odd[] = { 1023, 1024, 1022, ~0ul, AT_FDCWD_, 0x7fffffff, 0x80000000ul, 1ul << 32, ~0ul - 3 };

	return chance(10) ? PICK(odd) : below(NR_FDS);
}

static u64 random_flags(void)
{
	u64 flags = 0;

	for (u64 n = below(5); n; n--)
		flags |= 1ul << below(chance(10) ? 64 : 24);
	return flags;
}

static u64 random_name(void)
{
	return chance(12) ? random_pointer() : (u64)PICK(names);
}

/* A number that may be a descriptor, a signal, a process, a length, a position. */
static u64 random_number(int first)
{
	if (first && !chance(5))
		return random_fd();
	switch (below(5)) {
	case 0: return random_fd();
	case 1: return below(70);
	case 2: return -below(70);
	case 3: return random_flags();
	default: return random_size();
	}
}

static u64 random_argument(char kind, int at)
{
	if (chance(20))
		kind = "dxops"[below(5)];
	switch (kind) {
	case 'd': return random_number(at == 0);
	case 'o': return below(4096);
	case 'p': return random_pointer();
	case 's': return random_name();
	default: return chance(3) ? random_pointer() & ~4095ul : chance(2) ? random_flags() : random_size();
	}
}

/* --- memory that pointers point to --- */

enum { AF_UNIX_ = 1, AF_INET_ = 2, SOCK_STREAM_ = 1, SOCK_DGRAM_ = 2, SOL_SOCKET_ = 1, SCM_RIGHTS_ = 1, SCM_CREDENTIALS_ = 2 };

/* What calls of sockets take: a header of messages, a control message, an address. */
static void fill_socket_block(u64 *block)
{
	const char *path = PICK(names);
	u8 *bytes = (u8 *)block;

	for (u64 i = 0; i < BLOCK / 8; i++)
		block[i] = 0;
	switch (below(4)) {
	case 0:	/* struct msghdr; also the first of several */
		block[0] = chance(2) ? random_pointer() : 0;
		block[1] = below(130);
		block[2] = random_pointer();
		block[3] = below(20);
		block[4] = chance(2) ? random_pointer() : 0;
		block[5] = chance(3) ? random_size() : below(100);
		break;
	case 1:	/* struct cmsghdr */
		block[0] = chance(3) ? random_size() : 16 + below(60);
		block[1] = SOL_SOCKET_ | (u64)(chance(3) ? below(40) : chance(2) ? SCM_RIGHTS_ : SCM_CREDENTIALS_) << 32;
		for (u64 i = 2; i < 10; i++)
			block[i] = random_fd() | random_fd() << 32;
		break;
	case 2:
		bytes[0] = AF_UNIX_;
		for (u64 i = 0; i < 100 && path[i]; i++)
			bytes[2 + i] = (u8)path[i];
		break;
	default:
		block[0] = AF_INET_ | below(65536) << 16 | 0x0100007ful << 32;
	}
}

/* Words of a block: pairs of pointer and length, small numbers, descriptors with flags, or noise. */
static void fill_block(u64 *block)
{
	u64 kind = below(7);

	if (chance(4)) {
		fill_socket_block(block);
		return;
	}
	for (u64 i = 0; i < BLOCK / 8; i++)
		switch (kind) {
		case 0: block[i] = i & 1 ? random_size() : random_pointer(); break;	/* iovec */
		case 1: block[i] = i & 1 ? below(2000000) : 0; break;			/* timespec, timeval */
		case 2: block[i] = random_fd() | below(64) << 32; break;		/* pollfd */
		case 3: block[i] = random_name(); break;				/* argv, envp */
		case 4: block[i] = 0; break;
		case 5: block[i] = random_flags(); break;				/* sets */
		default: block[i] = chance(2) ? random64() : random_size(); break;
		}
	if (kind == 3)
		block[1 + below(BLOCK / 8 - 1)] = 0;
}

static void ignore_signal(int signo, void *info, void *context)
{
	(void)signo, (void)info, (void)context;
}

static void recover(int signo, void *info, void *context)
{
	(void)signo, (void)info, (void)context;
	__builtin_longjmp(recovery, 1);
}

/* Restore the signal mask and the timer, so that a sleep ends. */
static void stay_awake(void)
{
	const u64 none = 0;

	SYS(NR_rt_sigprocmask, 2, &none, 0, 8);
	on_signal(SIG_ALRM, ignore_signal, 0);
	tick_every(3);
}

/* Catch signals, so that a fault of the fuzzer, or a signal that a case sends, does not kill it. */
static void stay_alive(void)
{
	const u64 stack[] = { (u64)signal_stack, 0, sizeof(signal_stack) };

	SYS(NR_sigaltstack, stack, 0);
	for (int signo = 1; signo <= 64; signo++)
		on_signal(signo, ignore_signal, 0);
	on_signal(SIG_SEGV, recover, FUZZ_SA_NODEFER | FUZZ_SA_ONSTACK);
	on_signal(SIG_BUS, recover, FUZZ_SA_NODEFER | FUZZ_SA_ONSTACK);
}

/* --- the world of a group --- */

static void make_file(const char *name, const char *text, u64 len)
{
	long fd = SYS(NR_open, name, O_CREAT_ | O_NONBLOCK | 2, 0755);	/* O_NONBLOCK: the file may be a FIFO */

	SYS(NR_write, fd, text, len);
	SYS(NR_close, fd);
}

/* Remove the files that the last group left. */
static void remove_files(void)
{
	for (int round = 0; round < 2; round++)
		for (u64 i = 0; i < NR_RELATIVE; i++) {
			SYS(87 /* unlink */, names[i]);
			SYS(84 /* rmdir */, names[i]);
		}
}

static void make_files(void)
{
	static const char elf[64] = "\177ELF\2\1\1\0\0\0\0\0\0\0\0\0\2\0\76\0\1";

	SYS(83 /* mkdir */, "dir", 0755);
	SYS(83, "dir/sub", 0755);
	make_file("a", names[0], 200);
	make_file("b", (char *)calls, 5000);
	make_file("dir/a", names[1], 1);
	make_file("script", "#! ./script x\n", 14);
	make_file("elf", elf, sizeof(elf));
	SYS(88 /* symlink */, "a", "link");
	SYS(88, "loop", "loop");
	SYS(133 /* mknod */, "fifo", 0010644, 0);
}

/* Sockets and epoll. The listening socket has no address: the kernel chooses one. */
static void open_sockets(void)
{
	long ep, fd;

	SYS(53 /* socketpair */, AF_UNIX_, SOCK_STREAM_, 0, STRUCTS);
	SYS(53, AF_UNIX_, SOCK_DGRAM_, 0, STRUCTS);
	SYS(50 /* listen */, SYS(41 /* socket */, AF_INET_, SOCK_STREAM_ | O_NONBLOCK, 0), 3);
	SYS(41, AF_INET_, SOCK_DGRAM_, 0);
	ep = SYS(291 /* epoll_create1 */, 0);
	fd = SYS(290 /* eventfd2 */, 1, 0);
	SYS(233 /* epoll_ctl */, ep, 1, fd, STRUCTS);
	SYS(294 /* inotify_init1 */, 0);
}

/* --- userfaultfd --- */

static u64 uffd;		/* its descriptor, the last one that make_world() opens */
enum { NR_ioctl = 16, NR_userfaultfd = 323 };

/*
 * The features have no events, and faults do not wait: no reader would end that. What is registered gives SIGBUS where no
 * page is.
 */
static void handshake(u64 fd, u64 *block)
{
	static const u64 features[] = { 0, 1 << 0, 1 << 5, 1 << 8, 1 << 10, 1 << 11, 1 << 13, 1 << 14, 1 << 15, 1 << 16 };

	block[0] = 0xaa;
	block[1] = 1 << 7 | PICK(features) | PICK(features);
	SYS(NR_ioctl, fd, 0xc018aa3f /* UFFDIO_API */, block);
}

/*
 * An ioctl of a userfaultfd with likely arguments: some pages of a kind, a mode, and for two of them a source. Not of
 * STRUCTS: the fuzzer would get a signal each time that it fills a block.
 */
static void prepare_uffd_ioctl(u64 a[6])
{
	static const u64 requests[] = { 0xc020aa00, 0xc020aa00, 0x8010aa01, 0x8010aa02, 0xc028aa03, 0xc020aa04,
					0xc028aa05, 0xc018aa06, 0xc020aa07, 0xc020aa08 };
	u64 *block = (u64 *)(STRUCTS + below(NR_BLOCKS) * BLOCK);
	static const u64 likely_kinds[] = { 4, 5, 8 };	/* private, shared, a file in memory */
	u64 i = 0, request = PICK(requests);

	a[0] = chance(4) ? random_fd() : uffd;
	a[1] = request;
	a[2] = (u64)block;
	block[i++] = (u64)KIND(chance(2) ? PICK(likely_kinds) : 1 + below(NR_KINDS - 1)) + below(KIND_PAGES) * PAGE;
	if (request == 0xc028aa03 || request == 0xc028aa05)
		block[i++] = chance(4) ? random_pointer() : (u64)KIND(below(NR_KINDS)) + below(KIND_PAGES) * PAGE;
	block[i++] = chance(8) ? random_size() : (1 + below(chance(3) ? KIND_PAGES : 3)) * PAGE;
	block[i] = below(chance(8) ? 64 : 4);
}

static void open_uffd(void)
{
	uffd = (u64)SYS(NR_userfaultfd, 1 /* UFFD_USER_MODE_ONLY */ | O_NONBLOCK);
	handshake(uffd, (u64 *)STRUCTS);
	for (u64 i = 4; i < 6; i++) {	/* private memory: missing pages and protection; shared: minor faults, too */
		u64 *block = (u64 *)STRUCTS;

		block[0] = (u64)KIND(i);
		block[1] = KIND_PAGES * PAGE;
		block[2] = i == 4 ? 6 : 3;
		SYS(NR_ioctl, uffd, 0xc020aa00 /* UFFDIO_REGISTER */, block);
	}
}

/* Descriptors 0 to 28 of every kind; the rest are closed. */
static void open_files(void)
{
	static const struct {
		const char *name;
		u32 flags;
	} files[] = {
		{ "a", 2 }, { "b", 0 }, { "c", O_CREAT_ | 2 }, { "a", 1 }, { "b", 02000 | 2 }, { "dir", 0200000 },
		{ ".", 0200000 }, { "fifo", 2 }, { "/dev/null", 2 }, { "/dev/zero", 2 },
		{ "a", 010000000 }, { "dir", 010000000 }, { "b", 02000000 | 2 },
	};

	for (u64 fd = 0; fd < NR_FDS; fd++)
		SYS(NR_close, fd);
	for (u64 i = 0; i < sizeof(files) / sizeof(files[0]); i++)
		SYS(NR_open, files[i].name, files[i].flags | O_NONBLOCK, 0666);
	SYS(NR_pipe2, STRUCTS, 0);
	SYS(NR_pipe2, STRUCTS, O_NONBLOCK);
	SYS(319 /* memfd_create */, "m", 2);
	SYS(77 /* ftruncate */, 17, 70000);
	SYS(32 /* dup */, 0);
	open_sockets();
	open_uffd();
}

static void map_kind(u64 i, int prot, int flags, int fd)
{
	SYS(NR_mmap, KIND(i), KIND_PAGES * PAGE, prot, flags | MAP_FIXED | (fd < 0 ? MAP_ANON : 0), fd, 0);
}

static void map_memory(void)
{
	const int rw = PROT_READ | PROT_WRITE;

	SYS(NR_munmap, ARENA, NR_KINDS * 2 * KIND_PAGES * PAGE);
	map_kind(0, rw, MAP_PRIVATE, -1);
	map_kind(1, PROT_READ, MAP_PRIVATE, -1);
	map_kind(2, 0, MAP_PRIVATE, -1);
	map_kind(3, PROT_WRITE, MAP_PRIVATE, -1);
	map_kind(4, rw, MAP_SHARED, -1);
	map_kind(5, rw | PROT_EXEC, MAP_PRIVATE, -1);
	map_kind(6, rw, MAP_PRIVATE | 0x100 /* MAP_GROWSDOWN */, -1);
}

/* Call this after open_files(). Maps files, with pages beyond their ends. */
static void map_files(void)
{
	map_kind(7, PROT_READ | PROT_WRITE, MAP_SHARED, 0);
	map_kind(8, PROT_READ | PROT_WRITE, MAP_SHARED, 17);
	map_kind(9, PROT_READ | PROT_WRITE, MAP_PRIVATE, 1);
}

static void make_world(void)
{
	make_files();
	map_memory();
	open_files();
	map_files();
	for (u64 i = 0; i < NR_BLOCKS; i++)
		fill_block((u64 *)(STRUCTS + i * BLOCK));
}

/* --- calls --- */

enum { NR_clone_ = 56, NR_tkill = 200, NR_tgkill = 234, NR_exit_group = 231, NR_fallocate = 285, NR_sync = 162,
       NR_sync_fs = 306, NR_getdents = 217, NR_wait = 61, NR_prlimit = 302, NR_writev_other = 311,
       NR_queue = 129, NR_queue_thread = 297, NR_pidfd_open = 434 };

static int is_fork(u64 nr)
{
	return nr == NR_fork || nr == NR_vfork || nr == NR_clone_;
}

static u64 pick_number(const char **args)
{
	const struct call *call = &PICK(calls);

	*args = call->args;
	if (!chance(12))
		return call->nr;
	*args = "xpsdxp";
	switch (below(3)) {
	case 0: return random_size();
	case 1: return random64();
	default: return below(1100);
	}
}

/* Make calls rare that end or stop the group, as they leave little to test. */
static int is_wanted(u64 nr, const u64 a[6])
{
	switch (nr) {
	case NR_exit: case NR_exit_group: return chance(depth ? 20 : 500);
	case NR_sigreturn: return chance(300);
	case NR_sync: case NR_sync_fs: return chance(200);
	case NR_fork: case NR_clone_: return depth < MAX_DEPTH && chance(8);
	case NR_vfork: return depth < MAX_DEPTH && chance(50);	/* shares depth and left with its parent */
	case NR_kill: case NR_tkill: case NR_queue: return (int)a[0] != 1 && chance(3);
	/* Process 1 may neither be killed by its descriptor nor have its memory changed. */
	case NR_pidfd_open: case NR_writev_other: return (int)a[0] != 1;
	case NR_tgkill: case NR_queue_thread: return (int)a[0] != 1 && (int)a[1] != 1 && chance(3);
	/* A low limit of process 1 rightly ends the run. */
	case NR_prlimit: return (int)a[0] != 1;
	case NR_munmap: case NR_mprotect: case NR_mmap: case NR_mremap:
		return a[0] - (u64)ARENA < 1ul << 32 || chance(30);
	default: return 1;
	}
}

/* Calls that may sleep for a random time. */
static int may_sleep(u64 nr)
{
	switch (nr) {
	case 0: case 7: case 19: case 23: case 34: case 35: case 61: case 72: case 73: case 130: case 202: case 230:
	case 270: case 271: case 42: case 43: case 44: case 45: case 46: case 47: case 232: case 281: case 288: case 299:
	case 307: case 441: case 65: case 69: case 70: case 220: case 247: case 278:
		return 1;
	default:
		return 0;
	}
}

/* Larger files would exhaust the host's memory, as memory files have no limit. */
static void bound_fallocate(u64 a[6])
{
	if ((long)a[3] > 1 << 20)
		a[3] = below(1 << 20);
}

static void say_call(u64 nr, const u64 a[6])
{
	put_number(SYS(NR_getpid, 0), 10);
	put(": call ");
	put_number(nr, 10);
	for (int i = 0; i < 6; i++) {
		put(i ? ", " : "(");
		put_number(a[i], 16);
	}
	put(")\n");
	flush_to_out();
}

static void one_call(void)
{
	const char *args;
	u64 nr = pick_number(&args), a[6];
	long ret;

	for (int i = 0, more = 1; i < 6; i++) {
		more = more && args[i] && args[i] != '-';
		a[i] = random_argument(more ? args[i] : 'x', i);
	}
	if (nr == NR_fallocate)
		bound_fallocate(a);
	if (chance(16)) {	/* a request that a userfaultfd takes is too unlikely otherwise */
		nr = NR_ioctl;
		prepare_uffd_ioctl(a);
	}
	if (!is_wanted(nr, a))
		return;
	if (may_sleep(nr) && !chance(50))
		stay_awake();
	if (fuzz_verbose)
		say_call(nr, a);
	fuzz_counts->cases++;
	ret = sys6((long)nr, a[0], a[1], a[2], a[3], a[4], a[5]);
	if (nr == NR_userfaultfd && ret > 0)
		handshake((u64)ret, (u64 *)STRUCTS);
	if (ret < 0 && ret > -4096) {
		fuzz_counts->extra[1]++;
	} else if (is_fork(nr)) {
		if (ret) {
			fuzz_counts->extra[2]++;
			return;
		}
		depth++;
		left = CHILD_CALLS;
		random_state += depth;
		stay_awake();	/* timers are not inherited */
	}
}

static void run_calls(u64 cases)
{
	left = cases;
	fuzz_out = (int)SYS(33 /* dup2 */, 1, OUT_FD);
	remove_files();
	make_world();
	stay_alive();
	if (__builtin_setjmp(recovery)) {
		fuzz_counts->extra[3]++;
		left -= left != 0;	/* skip the case: it may fault again */
		map_memory();
	}
	for (; left; left--) {
		if (left % 8 == 0)
			stay_awake();
		if (left % 64 == 0)
			stay_alive();
		if (left % 512 == 0)
			make_world();
		if (chance(4))
			fill_block((u64 *)(STRUCTS + below(NR_BLOCKS) * BLOCK));
		one_call();
	}
	SYS(NR_exit, 0);
}

int guest_main(int argc, char **argv, char **envp)
{
	static const char *const counted[] = { "errors", "forks", "faults", 0 };

	(void)envp;
	/* Vellum has no ptrace(2); each kernel has. */
	check(SYS(21 /* access */, "/dev", 2) == -EROFS_ && SYS(21, "/", 2) == -EROFS_, "not in a box");
	check(SYS(101 /* ptrace */, -1, -1, 0, 0) == -ENOSYS_, "not inside Vellum: random system calls harm the machine");
	return fuzz_main(argc, argv, counted, run_calls);
}
