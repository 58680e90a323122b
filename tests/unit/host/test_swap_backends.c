/* SPDX-License-Identifier: MIT */
/* Backends of swap areas: round trips; full, short and interrupted calls; many threads. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <zstd.h>

/* cmocka needs these first */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "vellum/errno.h"
#include "vellum/swap_backends.h"

#define OK(call) assert_int_equal(call, 0)
#define PAGE_BYTES 4096
#define SLOTS 4096
#define BATCH 512		/* as in host/swap_file.c */

/* --- system calls that fail on request; the linker redirects the backends' calls here --- */

enum trouble { NONE, SHORT, INTERRUPTED, FULL, QUOTA, BROKEN, STUCK };

static struct {
	enum trouble trouble;
	unsigned turns;		/* number of calls that fail */
	unsigned nr_holes;	/* calls of fallocate */
	int hole_errno;
	void (*in_hole)(void);
	bool no_contexts;
} sys;

ssize_t __real_pread(int fd, void *buf, size_t len, off_t at);
ssize_t __real_pwrite(int fd, const void *buf, size_t len, off_t at);
int __real_fallocate(int fd, int mode, off_t at, off_t len);
ZSTD_CCtx *__real_ZSTD_createCCtx(void);
ssize_t __wrap_pread(int fd, void *buf, size_t len, off_t at);
ssize_t __wrap_pwrite(int fd, const void *buf, size_t len, off_t at);
int __wrap_fallocate(int fd, int mode, off_t at, off_t len);
ZSTD_CCtx *__wrap_ZSTD_createCCtx(void);

/* True: the call ends here, with *@r. False: the call is made, perhaps with a shorter length. */
static bool in_trouble(ssize_t *r, size_t *len)
{
	static const int numbers[STUCK + 1] = {
		[INTERRUPTED] = EINTR, [FULL] = ENOSPC, [QUOTA] = EDQUOT, [BROKEN] = EIO,
	};

	if (sys.trouble == NONE || !sys.turns)
		return false;
	sys.turns--;
	if (sys.trouble == SHORT) {
		*len = *len / 3 + 1;
		return false;
	}
	*r = sys.trouble == STUCK ? 0 : -1;
	errno = numbers[sys.trouble];
	return true;
}

ssize_t __wrap_pread(int fd, void *buf, size_t len, off_t at)
{
	ssize_t r;

	return in_trouble(&r, &len) ? r : __real_pread(fd, buf, len, at);
}

ssize_t __wrap_pwrite(int fd, const void *buf, size_t len, off_t at)
{
	ssize_t r;

	return in_trouble(&r, &len) ? r : __real_pwrite(fd, buf, len, at);
}

int __wrap_fallocate(int fd, int mode, off_t at, off_t len)
{
	__atomic_fetch_add(&sys.nr_holes, 1, __ATOMIC_RELAXED);
	if (sys.hole_errno) {
		errno = sys.hole_errno;
		sys.hole_errno = errno == EINTR ? 0 : errno;
		return -1;
	}
	if (sys.in_hole)
		sys.in_hole();
	return __real_fallocate(fd, mode, at, len);
}

ZSTD_CCtx *__wrap_ZSTD_createCCtx(void)
{
	return sys.no_contexts ? NULL : __real_ZSTD_createCCtx();
}

static void trouble(enum trouble what, unsigned turns)
{
	sys.trouble = what;
	sys.turns = turns;
}

/* --- areas --- */

struct area {
	const struct vellum_swap_ops *ops;
	void *ctx;
	struct vellum_swap_file *file;
	struct vellum_swap_zstd *zstd;
	int memfd;
};

/* A file that supports holes and counts its blocks, whatever the disk's file system supports. */
static int memfd_setup(void **state)
{
	struct area *a = calloc(1, sizeof(*a));
	char path[64];

	memset(&sys, 0, sizeof(sys));
	a->memfd = memfd_create("swap", MFD_CLOEXEC);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", a->memfd);
	OK(vellum_swap_file_create(path, SLOTS, &a->file));
	a->ops = vellum_swap_file_ops();
	a->ctx = a->file;
	*state = a;
	return 0;
}

static int temporary_setup(void **state)
{
	struct area *a = calloc(1, sizeof(*a));

	memset(&sys, 0, sizeof(sys));
	a->memfd = -1;
	OK(vellum_swap_file_create(NULL, SLOTS, &a->file));
	a->ops = vellum_swap_file_ops();
	a->ctx = a->file;
	*state = a;
	return 0;
}

static int zstd_setup_limited(void **state, uint64_t max_bytes)
{
	struct area *a = calloc(1, sizeof(*a));

	memset(&sys, 0, sizeof(sys));
	OK(vellum_swap_zstd_create(SLOTS, max_bytes, &a->zstd));
	a->ops = vellum_swap_zstd_ops();
	a->ctx = a->zstd;
	*state = a;
	return 0;
}

static int zstd_setup(void **state)
{
	return zstd_setup_limited(state, 0);
}

#define LIMIT 20000u
static int limited_setup(void **state)
{
	return zstd_setup_limited(state, LIMIT);
}

static int area_teardown(void **state)
{
	struct area *a = *state;

	if (a->file) {
		vellum_swap_file_destroy(a->file);
		if (a->memfd >= 0)
			close(a->memfd);
	} else {
		vellum_swap_zstd_destroy(a->zstd);
	}
	free(a);
	return 0;
}

static struct vellum_swap_zstd_info info_of(const struct area *a)
{
	struct vellum_swap_zstd_info info;

	vellum_swap_zstd_info(a->zstd, &info);
	return info;
}

/* --- pages --- */

static uint64_t random_u64(uint64_t *seed)	/* xorshift64* */
{
	*seed ^= *seed >> 12;
	*seed ^= *seed << 25;
	*seed ^= *seed >> 27;
	return *seed * 0x2545f4914f6cdd1dull;
}

enum content { ZERO, ONES, VALUE, ALMOST, TEXT, HALF, NOISE, NR_CONTENTS };

static void make_page(unsigned char *page, enum content content, uint64_t seed)
{
	static const uint64_t value = 0xa5c3000000000123;

	seed = seed * 2 + 1;
	memset(page, content == ONES ? 0xff : 0, PAGE_BYTES);
	for (size_t at = 0; at < PAGE_BYTES; at += 8) {
		uint64_t random = random_u64(&seed);
		uint64_t word = content == VALUE || content == ALMOST ? value : random;

		if (content == TEXT)	/* a few letters */
			word = (random & 0x0303030303030303) + 0x6161616161616161;
		if (content == HALF && at >= PAGE_BYTES / 2)
			word = 0;
		if (content >= VALUE)
			memcpy(page + at, &word, 8);
	}
	if (content == ALMOST)
		page[PAGE_BYTES - 1] ^= 1;
}

static int put(const struct area *a, uint64_t slot, enum content content, uint64_t seed)
{
	unsigned char page[PAGE_BYTES];

	make_page(page, content, seed);
	return a->ops->write(a->ctx, slot, page);
}

static bool holds(const struct area *a, uint64_t slot, enum content content, uint64_t seed)
{
	unsigned char want[PAGE_BYTES], got[PAGE_BYTES];

	make_page(want, content, seed);
	memset(got, 0x5a, sizeof(got));
	return a->ops->read(a->ctx, slot, got) == 0 && !memcmp(want, got, sizeof(got));
}

static void free_slots(const struct area *a, uint64_t first, uint64_t nr)
{
	for (uint64_t slot = first; slot < first + nr; slot++)
		a->ops->free(a->ctx, slot);
}

/* --- any backend --- */

static void roundtrip(void **state)
{
	const struct area *a = *state;

	assert_int_equal(a->ops->size, sizeof(*a->ops));
	for (unsigned c = 0; c < NR_CONTENTS; c++) {
		OK(put(a, c, c, 1));
		OK(put(a, SLOTS - 1 - c, c, 2));
	}
	for (unsigned again = 0; again < 2; again++)
		for (unsigned c = 0; c < NR_CONTENTS; c++) {
			assert_true(holds(a, c, c, 1));
			assert_true(holds(a, SLOTS - 1 - c, c, 2));
		}
	assert_false(holds(a, NOISE, NOISE, 2));	/* checks holds() itself */
}

static void overwritten_slot_has_the_new_page(void **state)
{
	const struct area *a = *state;

	OK(put(a, 6, NOISE, 6));
	OK(put(a, 8, NOISE, 8));
	for (unsigned from = 0; from < NR_CONTENTS; from++)
		for (unsigned to = 0; to < NR_CONTENTS; to++) {
			OK(put(a, 7, from, from + 10));
			OK(put(a, 7, to, to + 20));
			assert_true(holds(a, 7, to, to + 20));
		}
	assert_true(holds(a, 6, NOISE, 6) && holds(a, 8, NOISE, 8));
}

static void free_then_reuse(void **state)
{
	const struct area *a = *state;

	a->ops->free(a->ctx, 3);	/* never written */
	for (unsigned c = 0; c < NR_CONTENTS; c++) {
		OK(put(a, 3, c, 1));
		a->ops->free(a->ctx, 3);
		a->ops->free(a->ctx, 3);
		OK(put(a, 3, NR_CONTENTS - 1 - c, 2));
		assert_true(holds(a, 3, NR_CONTENTS - 1 - c, 2));
	}
}

static void slots_beyond_the_area_are_refused(void **state)
{
	const struct area *a = *state;
	unsigned char page[PAGE_BYTES] = {0};

	for (unsigned i = 0; i < 2; i++) {
		uint64_t slot = i ? ~0ull : SLOTS;

		assert_int_equal(a->ops->write(a->ctx, slot, page), -VELLUM_EINVAL);
		assert_int_equal(a->ops->read(a->ctx, slot, page), -VELLUM_EINVAL);
		a->ops->free(a->ctx, slot);
	}
}

static void slot_that_was_never_written_is_zero(void **state)
{
	const struct area *a = *state;
	unsigned char page[PAGE_BYTES];

	assert_int_equal(a->ops->read(a->ctx, 5, page), -VELLUM_EIO);
}

static void wrong_sizes_are_refused(void **state)
{
	struct vellum_swap_file *file = NULL;
	struct vellum_swap_zstd *zstd = NULL;

	(void)state;
	assert_int_equal(vellum_swap_file_create(NULL, 0, &file), -VELLUM_EINVAL);
	assert_int_equal(vellum_swap_file_create(NULL, (1ull << 40) + 1, &file), -VELLUM_EINVAL);
	assert_int_equal(vellum_swap_file_create(NULL, 1, NULL), -VELLUM_EINVAL);
	assert_int_equal(vellum_swap_zstd_create(0, 0, &zstd), -VELLUM_EINVAL);
	assert_int_equal(vellum_swap_zstd_create((1ull << 40) + 1, 0, &zstd), -VELLUM_EINVAL);
	assert_int_equal(vellum_swap_zstd_create(1, 0, NULL), -VELLUM_EINVAL);
	assert_true(!file && !zstd);
}

/* --- many threads, with interleaved slots --- */

#define NR_THREADS 4
#define MINE 64	/* slots of each thread */
#define TURNS 3000
struct user {
	const struct area *area;
	unsigned id, bad;
};

static void *use_slots(void *arg)
{
	struct user *u = arg;
	uint64_t seed = u->id + 1, seeds[MINE] = {0};

	for (unsigned i = 0; i < TURNS; i++) {
		unsigned mine = random_u64(&seed) % MINE;
		uint64_t slot = mine * NR_THREADS + u->id;

		if (seeds[mine] && !holds(u->area, slot, seeds[mine] % NR_CONTENTS, seeds[mine]))
			u->bad++;
		if (seeds[mine] && i % 2) {
			u->area->ops->free(u->area->ctx, slot);
			seeds[mine] = 0;
		} else {
			seeds[mine] = random_u64(&seed) | 1;
			u->bad += put(u->area, slot, seeds[mine] % NR_CONTENTS, seeds[mine]) != 0;
		}
	}
	for (unsigned mine = 0; mine < MINE; mine++)
		u->area->ops->free(u->area->ctx, mine * NR_THREADS + u->id);
	return NULL;
}

static void threads(void **state)
{
	struct user users[NR_THREADS];
	pthread_t ids[NR_THREADS];

	for (unsigned i = 0; i < NR_THREADS; i++) {
		users[i] = (struct user){.area = *state, .id = i};
		OK(pthread_create(&ids[i], NULL, use_slots, &users[i]));
	}
	for (unsigned i = 0; i < NR_THREADS; i++)
		pthread_join(ids[i], NULL);
	for (unsigned i = 0; i < NR_THREADS; i++)
		assert_int_equal(users[i].bad, 0);
}

/* --- the file --- */

static void short_and_interrupted_calls_are_continued(void **state)
{
	static const enum trouble harmless[] = {SHORT, INTERRUPTED};
	const struct area *a = *state;

	for (unsigned i = 0; i < 2; i++) {
		trouble(harmless[i], 5);
		OK(put(a, i, NOISE, 3));
		assert_int_equal(sys.turns, 0);
		assert_true(holds(a, i, NOISE, 3));
		trouble(harmless[i], 5);
		assert_true(holds(a, i, NOISE, 3));
		assert_int_equal(sys.turns, 0);
	}
}

static void write_fails(void **state)
{
	static const struct { enum trouble trouble; int err; } table[] = {
		{FULL, -VELLUM_ENOSPC}, {QUOTA, -VELLUM_ENOSPC}, {BROKEN, -VELLUM_EIO}, {STUCK, -VELLUM_EIO},
	};
	const struct area *a = *state;

	OK(put(a, 1, NOISE, 1));
	for (unsigned i = 0; i < 4; i++) {
		trouble(table[i].trouble, 1);
		assert_int_equal(put(a, 2, NOISE, 2), table[i].err);
		assert_true(holds(a, 1, NOISE, 1));
		OK(put(a, 2, NOISE, 2));
		assert_true(holds(a, 2, NOISE, 2));
	}
}

static void read_fails(void **state)
{
	static const enum trouble table[] = {BROKEN, STUCK};
	const struct area *a = *state;
	unsigned char page[PAGE_BYTES];

	OK(put(a, 1, NOISE, 1));
	for (unsigned i = 0; i < 2; i++) {
		trouble(table[i], 1);
		assert_int_equal(a->ops->read(a->ctx, 1, page), -VELLUM_EIO);
		assert_true(holds(a, 1, NOISE, 1));
	}
}

/* A short write by the kernel: the limit is within a page. */
static void disk_full(void **state)
{
	const struct area *a = *state;
	void (*before)(int) = signal(SIGXFSZ, SIG_IGN);
	struct rlimit old, limit;
	int r[3];

	OK(getrlimit(RLIMIT_FSIZE, &old));
	limit = (struct rlimit){.rlim_cur = 2 * PAGE_BYTES + 100, .rlim_max = old.rlim_max};
	OK(setrlimit(RLIMIT_FSIZE, &limit));
	for (unsigned i = 0; i < 3; i++)
		r[i] = put(a, i, NOISE, i);
	OK(setrlimit(RLIMIT_FSIZE, &old));
	signal(SIGXFSZ, before);
	assert_true(r[0] == 0 && r[1] == 0);
	assert_int_equal(r[2], -VELLUM_ENOSPC);
	assert_true(holds(a, 0, NOISE, 0) && holds(a, 1, NOISE, 1));
	OK(put(a, 2, NOISE, 2));
	assert_true(holds(a, 2, NOISE, 2));
}

static void fill_slots(const struct area *a, uint64_t nr)
{
	for (uint64_t slot = 0; slot < nr; slot++)
		OK(put(a, slot, NOISE, slot));
}

static void holes_are_punched_in_batches(void **state)
{
	const struct area *a = *state;

	fill_slots(a, 4 * BATCH);
	assert_int_equal(vellum_swap_file_bytes(a->file), 4 * BATCH * PAGE_BYTES);
	free_slots(a, 0, BATCH - 1);
	free_slots(a, 0, BATCH - 1);	/* a slot that is freed twice counts once */
	assert_int_equal(sys.nr_holes, 0);
	free_slots(a, BATCH - 1, 1);
	assert_int_equal(sys.nr_holes, 1);	/* adjacent slots: one hole */
	assert_int_equal(vellum_swap_file_bytes(a->file), 3 * BATCH * PAGE_BYTES);
	for (unsigned i = BATCH; i > 0; i--)	/* from the end, every other slot */
		free_slots(a, BATCH + 2 * i - 2, 1);
	assert_int_equal(sys.nr_holes, 1 + BATCH);
	assert_int_equal(vellum_swap_file_bytes(a->file), 2 * BATCH * PAGE_BYTES);
	for (uint64_t slot = BATCH; slot < 4 * BATCH; slot++)
		assert_true(holds(a, slot, slot >= 3 * BATCH || slot % 2 ? NOISE : ZERO, slot));
}

/* A slot that was freed and then written is not in a hole, even if it is freed again in the same batch. */
static void slot_in_use_is_not_punched(void **state)
{
	const struct area *a = *state;

	fill_slots(a, 2 * BATCH);
	free_slots(a, 0, 10);
	OK(put(a, 4, TEXT, 99));
	OK(put(a, 5, TEXT, 99));
	free_slots(a, 5, 1);
	free_slots(a, 10, BATCH);
	assert_true(sys.nr_holes > 0);
	assert_true(holds(a, 4, TEXT, 99));
	for (uint64_t slot = 0; slot < 10; slot++)
		assert_true(slot == 4 || holds(a, slot, ZERO, 0));
	assert_true(holds(a, BATCH + 20, NOISE, BATCH + 20));
}

static struct {
	const struct area *area;
	pthread_t thread;
	int r;
} reuse;

static void *reuse_slot(void *arg)
{
	(void)arg;
	reuse.r = put(reuse.area, BATCH / 2, TEXT, 7);
	return NULL;
}

/* Gives a wrong thread time to write during the hole. A correct thread waits. */
static void reuse_in_hole(void)
{
	struct timespec ts = {.tv_nsec = 50000000};

	sys.in_hole = NULL;
	pthread_create(&reuse.thread, NULL, reuse_slot, NULL);
	nanosleep(&ts, NULL);
}

static void write_waits_for_hole(void **state)
{
	const struct area *a = *state;

	fill_slots(a, BATCH);
	reuse.area = a;
	sys.in_hole = reuse_in_hole;
	free_slots(a, 0, BATCH);
	pthread_join(reuse.thread, NULL);
	OK(reuse.r);
	assert_true(holds(a, BATCH / 2, TEXT, 7));
}

static void file_system_without_holes(void **state)
{
	const struct area *a = *state;

	fill_slots(a, 3 * BATCH);
	sys.hole_errno = EINTR;
	free_slots(a, 0, BATCH);
	assert_int_equal(sys.nr_holes, 2);
	assert_true(holds(a, 0, ZERO, 0));
	sys.hole_errno = EOPNOTSUPP;
	free_slots(a, BATCH, 2 * BATCH);
	assert_int_equal(sys.nr_holes, 3);	/* fallocate() is not called again */
	OK(put(a, BATCH, NOISE, 7));
	assert_true(holds(a, BATCH, NOISE, 7));
}

/* --- the file's name --- */

struct names {
	char folder[32];
	char file[48];
};

static void names_create(struct names *n)
{
	memset(&sys, 0, sizeof(sys));
	strcpy(n->folder, "/tmp/swap-test-XXXXXX");
	assert_non_null(mkdtemp(n->folder));
	snprintf(n->file, sizeof(n->file), "%s/area", n->folder);
}

static void named_file(void **state)
{
	struct vellum_swap_file *file, *second;
	struct area a = {.ops = vellum_swap_file_ops()};
	struct names n;
	struct stat st;

	(void)state;
	names_create(&n);
	OK(vellum_swap_file_create(n.file, 8, &file));
	a.ctx = file;
	OK(put(&a, 2, NOISE, 1));
	OK(stat(n.file, &st));
	assert_true(S_ISREG(st.st_mode) && (st.st_mode & 077) == 0);	/* other users cannot read the file */
	assert_int_equal(st.st_size, 3 * PAGE_BYTES);
	assert_int_equal(vellum_swap_file_create(n.file, 8, &second), -VELLUM_EBUSY);
	assert_true(holds(&a, 2, NOISE, 1));
	vellum_swap_file_destroy(file);
	OK(stat(n.file, &st));
	assert_int_equal(st.st_size, 0);
	OK(truncate(n.file, 9 * PAGE_BYTES));	/* as after a crash */
	OK(vellum_swap_file_create(n.file, 8, &file));
	OK(stat(n.file, &st));
	assert_int_equal(st.st_size, 0);
	vellum_swap_file_destroy(file);
	OK(unlink(n.file));
	OK(rmdir(n.folder));
}

static void file_without_a_name(void **state)
{
	struct area a = {.ops = vellum_swap_file_ops()};
	struct vellum_swap_file *file;
	struct names n;

	(void)state;
	names_create(&n);
	OK(vellum_swap_file_create(n.folder, 8, &file));
	a.ctx = file;
	OK(rmdir(n.folder));	/* the folder is empty */
	OK(put(&a, 7, NOISE, 1));
	assert_true(holds(&a, 7, NOISE, 1));
	vellum_swap_file_destroy(file);
}

static void wrong_names_are_refused(void **state)
{
	struct vellum_swap_file *file;
	struct names n;

	(void)state;
	names_create(&n);
	assert_int_equal(vellum_swap_file_create("/dev/null", 8, &file), -VELLUM_EINVAL);
	OK(mkfifo(n.file, 0600));
	assert_int_equal(vellum_swap_file_create(n.file, 8, &file), -VELLUM_EINVAL);
	OK(unlink(n.file));
	OK(rmdir(n.folder));
	assert_int_equal(vellum_swap_file_create(n.file, 8, &file), -VELLUM_ENOENT);
}

/* --- compressed memory --- */

static void info_counts_pages_and_bytes(void **state)
{
	static const struct { enum content content; unsigned same, raw; uint64_t least, most; } table[] = {
		{ZERO, 1, 0, 8, 48}, {ONES, 1, 0, 8, 48}, {VALUE, 1, 0, 8, 48}, {ALMOST, 0, 0, 16, 200},
		{TEXT, 0, 0, 1024, 2048}, {HALF, 0, 0, 2048, 2300}, {NOISE, 0, 1, 4096, 4150},
	};
	const struct area *a = *state;

	for (unsigned i = 0; i < NR_CONTENTS; i++) {
		struct vellum_swap_zstd_info info;

		OK(put(a, 1, table[i].content, 5));
		info = info_of(a);
		assert_int_equal(info.nr_pages, 1);
		assert_int_equal(info.nr_same, table[i].same);
		assert_int_equal(info.nr_raw, table[i].raw);
		assert_in_range(info.bytes, table[i].least, table[i].most);
	}
	a->ops->free(a->ctx, 1);
	assert_true(info_of(a).nr_pages == 0 && info_of(a).nr_raw == 0 && info_of(a).bytes == 0);
	slot_that_was_never_written_is_zero(state);
	a->ops->free(a->ctx, 5);
	assert_int_equal(info_of(a).nr_pages, 0);
}

static void limit_is_enospc(void **state)
{
	const struct area *a = *state;
	uint64_t nr = 0;

	while (put(a, nr, NOISE, nr) == 0) {
		assert_in_range(info_of(a).bytes, 1, LIMIT);
		nr++;
	}
	assert_int_equal(nr, LIMIT / PAGE_BYTES);
	assert_int_equal(put(a, nr, NOISE, nr), -VELLUM_ENOSPC);
	assert_int_equal(info_of(a).nr_pages, nr);
	OK(put(a, nr, ZERO, 0));		/* a page of zeros needs no room */
	OK(put(a, 0, NOISE, 77));		/* replaces a page of the same size */
	assert_true(holds(a, 0, NOISE, 77) && holds(a, 1, NOISE, 1) && holds(a, nr, ZERO, 0));
	a->ops->free(a->ctx, 1);
	OK(put(a, nr + 1, NOISE, 5));
	assert_true(holds(a, nr + 1, NOISE, 5));
}

/* If only the first workspace can be allocated, threads share it. */
static void threads_share_one_context(void **state)
{
	struct area *a = *state;
	struct vellum_swap_zstd *other;

	sys.no_contexts = true;
	assert_int_equal(vellum_swap_zstd_create(1, 0, &other), -VELLUM_ENOMEM);
	threads(state);
	assert_int_equal(info_of(a).nr_pages, 0);
	assert_int_equal(info_of(a).bytes, 0);
}

#define MEMFD_TEST(fn) {"file: " #fn, fn, memfd_setup, area_teardown, NULL}
#define TEMPORARY_TEST(fn) {"temporary file: " #fn, fn, temporary_setup, area_teardown, NULL}
#define ZSTD_TEST(fn) {"zstd: " #fn, fn, zstd_setup, area_teardown, NULL}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(wrong_sizes_are_refused),
		MEMFD_TEST(roundtrip), TEMPORARY_TEST(roundtrip), ZSTD_TEST(roundtrip),
		MEMFD_TEST(overwritten_slot_has_the_new_page), ZSTD_TEST(overwritten_slot_has_the_new_page),
		MEMFD_TEST(free_then_reuse), ZSTD_TEST(free_then_reuse),
		MEMFD_TEST(slots_beyond_the_area_are_refused), ZSTD_TEST(slots_beyond_the_area_are_refused),
		MEMFD_TEST(slot_that_was_never_written_is_zero), ZSTD_TEST(slot_that_was_never_written_is_zero),
		MEMFD_TEST(threads), TEMPORARY_TEST(threads), ZSTD_TEST(threads),
		MEMFD_TEST(short_and_interrupted_calls_are_continued), MEMFD_TEST(write_fails), MEMFD_TEST(read_fails),
		MEMFD_TEST(disk_full), TEMPORARY_TEST(disk_full),
		MEMFD_TEST(holes_are_punched_in_batches), MEMFD_TEST(slot_in_use_is_not_punched),
		MEMFD_TEST(write_waits_for_hole), MEMFD_TEST(file_system_without_holes),
		cmocka_unit_test(named_file), cmocka_unit_test(file_without_a_name),
		cmocka_unit_test(wrong_names_are_refused),
		ZSTD_TEST(info_counts_pages_and_bytes),
		cmocka_unit_test_setup_teardown(limit_is_enospc, limited_setup, area_teardown),
		ZSTD_TEST(threads_share_one_context),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
