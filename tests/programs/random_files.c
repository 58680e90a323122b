/* SPDX-License-Identifier: MIT */
/*
 * tests/programs/random_files.c SEED STEPS DIR [memfd] - random operations on two mapped files.
 *
 * Keeps a shadow of the files and of each private page in anonymous memory, and compares. If mmap(2) and the other
 * calls do what Linux does, the status is 0, and there is no output. The test runs the program natively first.
 *
 * The shadow of the files is shared with children, that of private pages is not. The program does not store behind
 * the end of a file through a shared mapping, as the fate of such bytes depends on the file system.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE 4096l
#define MAX_PAGES 24l
#define MAX_SIZE (MAX_PAGES * PAGE)
#define NR_FILES 2
#define NR_MAPS 6	/* three of each file */

struct file {
	int fd;
	char path[512];		/* "" for a memfd */
	long size;
	long lowest;		/* smallest number of pages since a child was started */
	unsigned char bytes[MAX_SIZE];	/* 0 behind the end */
};

struct map {
	unsigned char *addr;	/* NULL: not mapped */
	struct file *file;
	long pgoff, nr;
	bool shared;
	int prot;
	bool copied[MAX_PAGES];	/* private pages that were copied */
	unsigned char copy[MAX_SIZE];
};

static struct file *files;
static struct map maps[NR_MAPS];
static uint64_t random_state;
static long seed, step;
static const char *operation = "start";
static bool is_child;
static unsigned char scratch[MAX_SIZE], expected[MAX_SIZE];

__attribute__((noreturn, format(printf, 1, 2))) static void die(const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	fprintf(stderr, "seed %ld step %ld%s %s: ", seed, step, is_child ? " (child)" : "", operation);
	vfprintf(stderr, format, ap);
	fprintf(stderr, "\n");
	va_end(ap);
	_exit(1);
}

static long below(long n)
{
	random_state = random_state * 6364136223846793005ull + 1442695040888963407ull;
	return n > 0 ? (long)((random_state >> 33) % (uint64_t)n) : 0;
}

static long pages_of(long size)
{
	return (size + PAGE - 1) / PAGE;
}

static void fill(unsigned char *at, long len)
{
	for (long i = 0; i < len; i++)
		at[i] = (unsigned char)(1 + below(255));
}

/* --- faults on purpose --- */

static sigjmp_buf out;
static volatile sig_atomic_t fault_allowed;
static volatile sig_atomic_t fault_signal, fault_code;

static void on_fault(int sig, siginfo_t *info, void *context)
{
	(void)context;
	if (!fault_allowed)
		die("signal %d at %p", sig, info->si_addr);
	fault_signal = sig;
	fault_code = info->si_code;
	siglongjmp(out, 1);
}

/* The signal that one access gets; 0: none. */
static int access_signal(volatile unsigned char *at, bool write)
{
	fault_signal = 0;
	fault_allowed = 1;
	if (sigsetjmp(out, 1) == 0) {
		if (write)
			*at = 0;
		else
			(void)*at;
	}
	fault_allowed = 0;
	return fault_signal;
}

/* --- the shadow --- */

static long map_page_offset(const struct map *m, long page)
{
	return (m->pgoff + page) * PAGE;
}

/* The number of the mapping's pages that are in the file. */
static long valid_pages(const struct map *m)
{
	long n = pages_of(m->file->size) - m->pgoff;

	return n < 0 ? 0 : n < m->nr ? n : m->nr;
}

static const unsigned char *shadow_page(const struct map *m, long page)
{
	return m->copied[page] ? m->copy + page * PAGE : m->file->bytes + map_page_offset(m, page);
}

static void shadow_resize(struct file *f, long size)
{
	if (size < f->size)
		memset(f->bytes + size, 0, (size_t)(f->size - size));
	f->size = size;
	if (pages_of(size) < f->lowest)
		f->lowest = pages_of(size);
	for (struct map *m = maps; m < maps + NR_MAPS; m++)
		for (long p = 0; m->addr && m->file == f && p < m->nr; p++)
			if (m->pgoff + p >= pages_of(size))
				m->copied[p] = false;
}

static void shadow_file_write(struct file *f, long offset, const unsigned char *from, long len)
{
	if (offset + len > f->size)
		f->size = offset + len;
	memcpy(f->bytes + offset, from, (size_t)len);
}

/* A private page is copied. */
static void shadow_copy(struct map *m, long page)
{
	if (m->shared || m->copied[page])
		return;
	memcpy(m->copy + page * PAGE, m->file->bytes + map_page_offset(m, page), PAGE);
	m->copied[page] = true;
}

static void shadow_store(struct map *m, long offset, const unsigned char *from, long len)
{
	while (len > 0) {
		long page = offset / PAGE, n = PAGE - offset % PAGE;

		n = n < len ? n : len;
		shadow_copy(m, page);
		if (m->shared)
			memcpy(m->file->bytes + m->pgoff * PAGE + offset, from, (size_t)n);
		else
			memcpy(m->copy + offset, from, (size_t)n);
		from += n;
		offset += n;
		len -= n;
	}
}

/* --- comparing --- */

static void compare(const char *where, long base, const unsigned char *got, const unsigned char *want, long len)
{
	long i = 0;

	if (memcmp(got, want, (size_t)len) == 0)
		return;
	while (got[i] == want[i])
		i++;
	die("%s: byte %ld (page %ld + %ld) is %02x, expected %02x", where, base + i, (base + i) / PAGE,
	    (base + i) % PAGE, got[i], want[i]);
}

static void compare_page(const struct map *m, long page)
{
	char where[64];

	snprintf(where, sizeof(where), "mapping %d (%s, file %d, pgoff %ld)", (int)(m - maps),
		 m->shared ? "shared" : "private", (int)(m->file - files), m->pgoff);
	compare(where, page * PAGE, m->addr + page * PAGE, shadow_page(m, page), PAGE);
}

static void compare_file(const struct file *f, long offset, long len)
{
	long want = offset >= f->size ? 0 : offset + len > f->size ? f->size - offset : len;
	long got = pread(f->fd, scratch, (size_t)len, offset);

	if (got != want)
		die("pread of %ld at %ld: %ld, expected %ld", len, offset, got, want);
	compare(f == files ? "file 0" : "file 1", offset, scratch, f->bytes + offset, got);
}

static void compare_all(void)
{
	for (struct map *m = maps; m < maps + NR_MAPS; m++)
		for (long p = 0; m->addr && (m->prot & PROT_READ) && p < valid_pages(m); p++)
			compare_page(m, p);
	for (struct file *f = files; f < files + NR_FILES; f++) {
		struct stat st;

		compare_file(f, 0, MAX_SIZE);
		if (fstat(f->fd, &st) || st.st_size != f->size)
			die("size %ld, expected %ld", (long)st.st_size, f->size);
	}
}

/* Compare a few places, so that the operation's changes to other pages stay untouched. */
static void compare_some(void)
{
	struct file *f = &files[below(NR_FILES)];

	for (int i = 0; i < 3; i++) {
		struct map *m = &maps[below(NR_MAPS)];

		if (m->addr && (m->prot & PROT_READ) && valid_pages(m))
			compare_page(m, below(valid_pages(m)));
	}
	compare_file(f, below(MAX_SIZE), 1 + below(2 * PAGE));
}

/* --- operations --- */

/* A random mapping with these rights, and with pages in the file; NULL if the choice has none. */
static struct map *some_map(int prot)
{
	struct map *m = &maps[below(NR_MAPS)];

	return m->addr && (m->prot & prot) == prot && valid_pages(m) ? m : NULL;
}

/* A random range of the mapping that is in the file, in bytes from the mapping's start. */
static void some_stretch(const struct map *m, long *offset, long *len)
{
	long end = valid_pages(m) * PAGE, in_file = m->file->size - m->pgoff * PAGE;

	if (m->shared && end > in_file)
		end = in_file;
	*offset = below(end);
	*len = 1 + below(below(2) ? 64 : 3 * PAGE);
	if (*offset + *len > end)
		*len = end - *offset;
}

static void op_store(void)
{
	struct map *m = some_map(PROT_READ | PROT_WRITE);
	long offset, len;

	if (!m)
		return;
	some_stretch(m, &offset, &len);
	fill(scratch, len);
	memcpy(m->addr + offset, scratch, (size_t)len);
	shadow_store(m, offset, scratch, len);
}

static void op_load(void)
{
	struct map *m = some_map(PROT_READ);

	if (m)
		compare_page(m, below(valid_pages(m)));
}

static void op_write(void)
{
	struct file *f = &files[below(NR_FILES)];
	long offset = below(below(4) ? f->size + 1 : MAX_SIZE), len = 1 + below(below(2) ? 100 : 3 * PAGE), n;

	if (offset + len > MAX_SIZE)
		len = MAX_SIZE - offset;
	fill(scratch, len);
	if (below(2)) {
		n = pwrite(f->fd, scratch, (size_t)len, offset);
	} else {
		if (lseek(f->fd, offset, SEEK_SET) != offset)
			die("lseek: %s", strerror(errno));
		n = write(f->fd, scratch, (size_t)len);
	}
	if (n != len)
		die("%ld of %ld bytes at %ld: %s", n, len, offset, strerror(errno));
	shadow_file_write(f, offset, scratch, len);
}

/* The buffer is in a mapping, perhaps of the same file. */
static void op_write_from_mapping(void)
{
	struct map *m = some_map(PROT_READ);
	struct file *f = &files[below(NR_FILES)];
	long offset, len, to;

	if (!m)
		return;
	some_stretch(m, &offset, &len);
	to = below(MAX_SIZE - len);
	/* If source and target overlap, the result is not defined. */
	if (f == m->file && to < m->pgoff * PAGE + offset + len && m->pgoff * PAGE + offset < to + len)
		return;
	for (long i = 0; i < len; i++)
		expected[i] = shadow_page(m, (offset + i) / PAGE)[(offset + i) % PAGE];
	if (pwrite(f->fd, m->addr + offset, (size_t)len, to) != len)
		die("%ld bytes at %ld: %s", len, to, strerror(errno));
	shadow_file_write(f, to, expected, len);
}

static void op_read_into_mapping(void)
{
	struct map *m = some_map(PROT_READ | PROT_WRITE);
	struct file *f = &files[below(NR_FILES)];
	long offset, len, from, want, got;

	if (!m)
		return;
	some_stretch(m, &offset, &len);
	from = below(f->size + 1);
	if (f == m->file && m->shared && from < m->pgoff * PAGE + offset + len &&
	    m->pgoff * PAGE + offset < from + len)
		return;
	want = from + len > f->size ? f->size - from : len;
	memcpy(expected, f->bytes + from, (size_t)want);
	got = pread(f->fd, m->addr + offset, (size_t)len, from);
	if (got != want)
		die("%ld bytes from %ld: %ld: %s", len, from, got, strerror(errno));
	shadow_store(m, offset, expected, want);
}

static void op_copy(void)
{
	struct file *from = &files[below(NR_FILES)], *to = from == files ? files + 1 : files;
	off_t in = below(from->size + 1), at = below(to->size + 1);
	long len = 1 + below(2 * PAGE), n;

	if (at + len > MAX_SIZE)
		len = MAX_SIZE - at;
	if (below(2)) {
		off_t i = in, o = at;

		n = copy_file_range(from->fd, &i, to->fd, &o, (size_t)len, 0);
		if (n >= 0 && (i != in + n || o != at + n))
			die("positions %ld %ld after %ld bytes", (long)(i - in), (long)(o - at), n);
		if (n < 0 && (errno == EXDEV || errno == EOPNOTSUPP))
			return;
	} else {
		off_t i = in;

		if (lseek(to->fd, at, SEEK_SET) != at)
			die("lseek: %s", strerror(errno));
		n = sendfile(to->fd, from->fd, &i, (size_t)len);
	}
	if (n < 0 || n > len || (n == 0 && in < from->size) || (n > 0 && in + n > from->size))
		die("%ld of %ld bytes from %ld of %ld: %s", n, len, (long)in, from->size, strerror(errno));
	shadow_file_write(to, at, from->bytes + in, n);
}

static void op_truncate(void)
{
	struct file *f = &files[below(NR_FILES)];
	long size = below(3) ? below(MAX_SIZE) : below(MAX_PAGES) * PAGE;
	int fd = -1, err;

	switch (below(f->path[0] ? 8 : 6)) {
	case 6:
		err = truncate(f->path, size);
		break;
	case 7:
		fd = open(f->path, O_RDWR | O_TRUNC);
		err = fd < 0;
		size = 0;
		break;
	default:
		err = ftruncate(f->fd, size);
	}
	if (err)
		die("to %ld: %s", size, strerror(errno));
	if (fd >= 0)
		close(fd);
	shadow_resize(f, size);
}

static void op_fallocate(void)
{
	static const int modes[] = { 0, FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				     FALLOC_FL_ZERO_RANGE, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE };
	struct file *f = &files[below(NR_FILES)];
	int mode = modes[below(5)];
	long offset = below(2) ? below(MAX_SIZE) : below(MAX_PAGES) * PAGE, end;
	long len = below(2) ? 1 + below(3 * PAGE) : (1 + below(4)) * PAGE;

	if (offset + len > MAX_SIZE)
		len = MAX_SIZE - offset;
	if (fallocate(f->fd, mode, offset, len)) {
		if (errno == EOPNOTSUPP)
			return;
		die("mode %d, %ld + %ld: %s", mode, offset, len, strerror(errno));
	}
	end = offset + len < f->size ? offset + len : f->size;
	if ((mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE)) && offset < end)
		memset(f->bytes + offset, 0, (size_t)(end - offset));
	if (!(mode & FALLOC_FL_KEEP_SIZE) && offset + len > f->size)
		f->size = offset + len;
}

/* Remove or insert pages. Not done if the file has private mappings, as their copies would not move. */
static void op_move(void)
{
	struct file *f = &files[below(NR_FILES)];
	long offset = below(MAX_PAGES) * PAGE, len = (1 + below(4)) * PAGE, rest = f->size - offset;
	bool insert = below(2);

	for (struct map *m = maps; m < maps + NR_MAPS; m++)
		if (is_child || (m->addr && m->file == f && !m->shared))
			return;
	if (insert ? rest <= 0 || f->size + len > MAX_SIZE : rest <= len)
		return;
	if (fallocate(f->fd, insert ? FALLOC_FL_INSERT_RANGE : FALLOC_FL_COLLAPSE_RANGE, offset, len)) {
		if (errno == EOPNOTSUPP)
			return;
		die("%ld + %ld: %s", offset, len, strerror(errno));
	}
	if (insert) {
		memmove(f->bytes + offset + len, f->bytes + offset, (size_t)rest);
		memset(f->bytes + offset, 0, (size_t)len);
		f->size += len;
	} else {
		memmove(f->bytes + offset, f->bytes + offset + len, (size_t)(rest - len));
		memset(f->bytes + f->size - len, 0, (size_t)len);
		f->size -= len;
	}
}

/* Pages [first, first + nr) of a mapping. */
static struct map *some_pages(long *first, long *nr)
{
	struct map *m = &maps[below(NR_MAPS)];

	if (!m->addr)
		return NULL;
	*first = below(m->nr);
	*nr = 1 + below(m->nr - *first);
	return m;
}

static void op_dontneed(void)
{
	long first, nr;
	struct map *m = some_pages(&first, &nr);

	if (!m)
		return;
	if (madvise(m->addr + first * PAGE, (size_t)(nr * PAGE), MADV_DONTNEED))
		die("%s", strerror(errno));
	for (long p = first; p < first + nr; p++)
		m->copied[p] = false;
}

static void op_remove(void)
{
	long first, nr, from, end;
	struct map *m = some_pages(&first, &nr);
	int err;

	if (!m)
		return;
	err = madvise(m->addr + first * PAGE, (size_t)(nr * PAGE), MADV_REMOVE) ? errno : 0;
	if (!m->shared) {
		if (err != EINVAL && err != EACCES)
			die("of a private mapping: %s", strerror(err));
		return;
	}
	if (err)
		die("%s", strerror(err));
	from = map_page_offset(m, first);
	end = from + nr * PAGE < m->file->size ? from + nr * PAGE : m->file->size;
	if (from < end)
		memset(m->file->bytes + from, 0, (size_t)(end - from));
}

/* Advice that changes no byte. */
static void op_advise(void)
{
	static const int advice[] = { MADV_WILLNEED, MADV_NORMAL, MADV_RANDOM, MADV_SEQUENTIAL, 20 /* COLD */,
				      21 /* PAGEOUT */, MADV_DONTDUMP, MADV_DODUMP };
	long first, nr;
	struct map *m = some_pages(&first, &nr);
	int what = advice[below(8)];

	if (m && what != MADV_WILLNEED && what != 20 && what != 21) {
		first = 0;	/* for the whole mapping, as mremap needs a single VMA */
		nr = m->nr;
	}
	if (m && madvise(m->addr + first * PAGE, (size_t)(nr * PAGE), what))
		die("advice %d: %s", what, strerror(errno));
}

/*
 * MADV_POPULATE_WRITE copied private pages, but changed no byte, so no tracker reports them, and --verify still
 * compares them with the file. A store makes the copy visible to trackers.
 */
static void own_pages(struct map *m, long first, long nr)
{
	for (long p = first; !m->shared && p < first + nr; p++) {
		scratch[0] = (unsigned char)(shadow_page(m, p)[0] + 1);
		m->addr[p * PAGE] = scratch[0];
		shadow_store(m, p * PAGE, scratch, 1);
	}
}

static void op_populate(void)
{
	struct map *m = some_map(PROT_READ);
	bool write = below(2);
	long first, nr;

	if (!m || (write && !(m->prot & PROT_WRITE)))
		return;
	first = below(valid_pages(m));
	nr = 1 + below(valid_pages(m) - first);
	if (madvise(m->addr + first * PAGE, (size_t)(nr * PAGE), write ? 23 : 22)) {
		if (errno == EINVAL)
			return;		/* an old kernel */
		die("%s: %s", write ? "write" : "read", strerror(errno));
	}
	if (write)
		own_pages(m, first, nr);
}

static void op_msync(void)
{
	static const int flags[] = { MS_SYNC, MS_ASYNC, MS_SYNC | MS_INVALIDATE };
	long first, nr;
	struct map *m = some_pages(&first, &nr);

	if (m && msync(m->addr + first * PAGE, (size_t)(nr * PAGE), flags[below(3)]))
		die("%s", strerror(errno));
}

static void op_fsync(void)
{
	struct file *f = &files[below(NR_FILES)];

	if (below(2) ? fsync(f->fd) : fdatasync(f->fd))
		die("%s", strerror(errno));
}

static void op_mprotect(void)
{
	static const int prots[] = { PROT_NONE, PROT_READ, PROT_READ, PROT_READ | PROT_WRITE,
				     PROT_READ | PROT_WRITE, PROT_READ | PROT_WRITE };
	struct map *m = &maps[below(NR_MAPS)];

	if (!m->addr)
		return;
	m->prot = prots[below(6)];
	if (mprotect(m->addr, (size_t)(m->nr * PAGE), m->prot))
		die("%d: %s", m->prot, strerror(errno));
}

static void forget_map(struct map *m)
{
	m->addr = NULL;
	memset(m->copied, 0, sizeof(m->copied));
}

static void op_unmap(void)
{
	struct map *m = &maps[below(NR_MAPS)];

	if (!m->addr)
		return;
	if (munmap(m->addr, (size_t)(m->nr * PAGE)))
		die("%s", strerror(errno));
	forget_map(m);
}

static void op_map(void)
{
	struct map *m = &maps[below(NR_MAPS)];
	int flags;

	if (m->addr)
		return;
	m->file = &files[(m - maps) % NR_FILES];
	m->shared = below(3);
	m->pgoff = below(3) ? 0 : below(MAX_PAGES - 1);
	m->nr = below(3) ? MAX_PAGES - m->pgoff : 1 + below(MAX_PAGES - m->pgoff);
	m->prot = PROT_READ | PROT_WRITE;
	flags = (m->shared ? MAP_SHARED : MAP_PRIVATE) | (below(4) ? 0 : MAP_POPULATE);
	m->addr = mmap(NULL, (size_t)(m->nr * PAGE), m->prot, flags, m->file->fd, m->pgoff * PAGE);
	if (m->addr == MAP_FAILED)
		die("%ld pages: %s", m->nr, strerror(errno));
	if (flags & MAP_POPULATE)
		own_pages(m, 0, valid_pages(m));
}

static void op_mremap(void)
{
	struct map *m = &maps[below(NR_MAPS)];
	long nr;
	void *to;

	if (!m->addr)
		return;
	nr = below(2) ? m->nr : 1 + below(MAX_PAGES - m->pgoff);
	if (below(2)) {		/* to an address that was just free */
		void *room = mmap(NULL, (size_t)(nr * PAGE), PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		to = room == MAP_FAILED ? room :
		     mremap(m->addr, (size_t)(m->nr * PAGE), (size_t)(nr * PAGE), MREMAP_MAYMOVE | MREMAP_FIXED,
			    room);
	} else {
		to = mremap(m->addr, (size_t)(m->nr * PAGE), (size_t)(nr * PAGE), MREMAP_MAYMOVE);
	}
	if (to == MAP_FAILED)
		die("%ld to %ld pages: %s", m->nr, nr, strerror(errno));
	m->addr = to;
	for (long p = nr; p < m->nr; p++)
		m->copied[p] = false;
	m->nr = nr;
}

/* Accesses that must fail, with this signal. */
static void op_fault(void)
{
	struct map *m = &maps[below(NR_MAPS)];
	bool write = below(2);
	long page;
	int want, got;

	if (!m->addr)
		return;
	page = below(m->nr);
	want = page >= valid_pages(m) ? SIGBUS : 0;
	if (!(m->prot & PROT_READ) || (write && !(m->prot & PROT_WRITE)))
		want = SIGSEGV;
	got = access_signal(m->addr + page * PAGE + below(PAGE), write && want);
	if (got != want)
		die("%s of page %ld of mapping %d gets signal %d, expected %d", write ? "store" : "load", page,
		    (int)(m - maps), got, want);
	if (got == SIGBUS && fault_code != BUS_ADRERR)
		die("SIGBUS with code %d", (int)fault_code);
}

static void random_step(bool may_fork);

static void op_fork(void)
{
	int status;
	pid_t pid;

	for (int i = 0; i < NR_FILES; i++)
		files[i].lowest = pages_of(files[i].size);
	pid = fork();
	if (pid < 0)
		die("%s", strerror(errno));
	if (pid == 0) {
		is_child = true;
		random_state ^= 0x5555;
		for (long n = 1 + below(12); n; n--)
			random_step(false);
		compare_all();
		_exit(0);
	}
	if (waitpid(pid, &status, 0) != pid || status)
		die("child ended with %x", (unsigned)status);
	/* Pages that the child truncated lost their private copies here, too. */
	for (struct map *m = maps; m < maps + NR_MAPS; m++)
		for (long p = 0; m->addr && p < m->nr; p++)
			if (m->pgoff + p >= m->file->lowest)
				m->copied[p] = false;
	(void)below(2);
}

static const struct {
	const char *name;
	void (*run)(void);
	int weight;
} operations[] = {
	{ "store", op_store, 20 },	{ "load", op_load, 10 },	{ "write", op_write, 10 },
	{ "write from a mapping", op_write_from_mapping, 5 },
	{ "read into a mapping", op_read_into_mapping, 5 },
	{ "move", op_move, 2 },
	{ "copy", op_copy, 4 },		{ "truncate", op_truncate, 6 }, { "fallocate", op_fallocate, 6 },
	{ "dontneed", op_dontneed, 5 }, { "remove", op_remove, 4 },	{ "advise", op_advise, 3 },
	{ "populate", op_populate, 3 }, { "msync", op_msync, 5 },	{ "fsync", op_fsync, 2 },
	{ "mprotect", op_mprotect, 5 }, { "munmap", op_unmap, 3 },	{ "mmap", op_map, 10 },
	{ "mremap", op_mremap, 5 },	{ "fault", op_fault, 6 },	{ "fork", op_fork, 3 },
};
#define NR_OPERATIONS (sizeof(operations) / sizeof(operations[0]))

static void random_step(bool may_fork)
{
	long total = 0, at;

	for (size_t i = 0; i < NR_OPERATIONS; i++)
		total += operations[i].weight;
	at = below(total);
	for (size_t i = 0; i < NR_OPERATIONS; i++) {
		at -= operations[i].weight;
		if (at >= 0)
			continue;
		if (operations[i].run == op_fork && !may_fork)
			return;
		operation = operations[i].name;
		if (getenv("TRACE"))
			fprintf(stderr, "%ld %s %s\n", step, is_child ? "child" : "", operation);
		operations[i].run();
		break;
	}
	compare_some();
}

static void open_file(struct file *f, const char *dir, bool memfd)
{
	if (memfd) {
		f->fd = memfd_create("random", MFD_CLOEXEC);
	} else {
		snprintf(f->path, sizeof(f->path), "%s/random.%d", dir, (int)(f - files));
		f->fd = open(f->path, O_RDWR | O_CREAT | O_TRUNC, 0600);
	}
	if (f->fd < 0)
		die("%s: %s", f->path, strerror(errno));
	f->size = below(MAX_SIZE);
	fill(f->bytes, f->size);
	if (pwrite(f->fd, f->bytes, (size_t)f->size, 0) != f->size)
		die("%s", strerror(errno));
}

int main(int argc, char **argv)
{
	struct sigaction act = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO };
	long steps;

	if (argc < 4)
		return 2;
	seed = atol(argv[1]);
	steps = atol(argv[2]);
	random_state = (uint64_t)seed * 0x9e3779b97f4a7c15ull + 1;
	sigaction(SIGBUS, &act, NULL);
	sigaction(SIGSEGV, &act, NULL);
	files = mmap(NULL, NR_FILES * sizeof(*files), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (files == MAP_FAILED)
		die("mmap: %s", strerror(errno));
	for (int i = 0; i < NR_FILES; i++)
		open_file(&files[i], argv[3], argc > 4);
	for (step = 0; step < steps; step++) {
		random_step(true);
		if (step % 16 == 15)
			compare_all();
	}
	operation = "end";
	compare_all();
	/* The test also compares the files' final bytes from outside. */
	if (write(1, files[0].bytes, (size_t)files[0].size) != files[0].size ||
	    write(1, files[1].bytes, (size_t)files[1].size) != files[1].size)
		return 3;
	return 0;
}
