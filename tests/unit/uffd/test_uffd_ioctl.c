/* SPDX-License-Identifier: MIT */
/* userfaultfd: handshake, messages, and the errors of registering. */
#include "uffd_support.h"

#define BIT(n)   (1ull << (n))

/* --- handshake --- */

static void handshake(void **state)
{
	struct world *w = *state;
	struct vellum_uffd *u;
	uint64_t features = 0, ioctls = 0;

	assert_int_equal(vellum_uffd_create(w->mm, 4, &u), -EINVAL);
	OK(vellum_uffd_create(w->mm, 0, &u));
	assert_int_equal(vellum_uffd_api(u, 0xab, 0, &features, &ioctls), -EINVAL);
	assert_int_equal(vellum_uffd_api(u, VELLUM_UFFD_API, BIT(17), &features, &ioctls), -EINVAL);
	assert_int_equal(vellum_uffd_api(u, VELLUM_UFFD_API, VELLUM_UFFD_FEATURE_EVENT_FORK, &features,
					 &ioctls),
			 -EPERM);
	assert_int_equal(features | ioctls, 0);
	OK(vellum_uffd_api(u, VELLUM_UFFD_API, VELLUM_UFFD_FEATURE_SIGBUS, &features, &ioctls));
	assert_int_equal(features, 0x1fdef); /* all features except those of hugetlbfs */
	assert_int_equal(ioctls, BIT(VELLUM_UFFDIO_API) | BIT(VELLUM_UFFDIO_REGISTER) |
					 BIT(VELLUM_UFFDIO_UNREGISTER));
	assert_int_equal(vellum_uffd_api(u, VELLUM_UFFD_API, 0, &features, &ioctls), -EINVAL);
	vellum_uffd_put(u);
}

static void ioctls_need_the_handshake(void **state)
{
	struct world *w = *state;
	struct vellum_uffd_msg msg;
	struct vellum_uffd *u;
	char page[PAGE_SIZE] = {0};
	int64_t done;
	uint32_t got;

	map_at(w->mm, 0, 4, RW, ANON);
	OK(vellum_uffd_create(w->mm, 0, &u));
	assert_int_equal(vellum_uffd_register(u, PAGE(0), BYTES(4), MISSING, NULL), -EINVAL);
	assert_int_equal(vellum_uffd_unregister(u, PAGE(0), BYTES(4)), -EINVAL);
	assert_int_equal(vellum_uffd_wake(u, PAGE(0), BYTES(4)), -EINVAL);
	assert_int_equal(vellum_uffd_copy(u, PAGE(0), 0, page, PAGE_SIZE, 0, &done), -EINVAL);
	assert_int_equal(zero_in(u, 0), -EINVAL);
	assert_int_equal(continue_in(u, 0, 0), -EINVAL);
	assert_int_equal(poison_in(u, 0), -EINVAL);
	assert_int_equal(move_in(u, 0, 1, 1, 0), -EINVAL);
	assert_int_equal(vellum_uffd_writeprotect(u, PAGE(0), BYTES(4), 0), -EINVAL);
	assert_int_equal(vellum_uffd_read(u, &msg, 1, false, &got), -EINVAL);
	assert_int_equal(vellum_uffd_poll(u), -EINVAL);
	vellum_uffd_put(u);
}

/* --- errors of register and unregister --- */

static int try_register(struct world *w, struct vellum_uffd *u, unsigned at, unsigned pages, uint64_t modes)
{
	unsigned before = nr_vmas(w->mm);
	int err = vellum_uffd_register(u, PAGE(at), BYTES(pages), modes, NULL);

	check_world(w);
	if (err)
		assert_int_equal(nr_vmas(w->mm), before);
	return err;
}

static void bad_ranges(void **state)
{
	struct world *w = *state;
	struct vellum_uffd *u = new_uffd(w, 0);
	static const struct {
		uint64_t start, len;
	} bad[] = {{PAGE(0) + 8, PAGE_SIZE},
		   {PAGE(0), PAGE_SIZE + 8},
		   {PAGE(0), 0},
		   {PAGE(0), 0 - BYTES(1)},
		   {PAGE(0), TASK_SIZE},
		   {TASK_SIZE, PAGE_SIZE},
		   {0 - BYTES(1), BYTES(2)}};

	map_at(w->mm, 0, 4, RW, ANON);
	enrol(w, u, 2, 1, MISSING | WP);
	for (unsigned i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		int64_t done;
		char page[PAGE_SIZE] = {0};
		uint64_t at = bad[i].start, len = bad[i].len;

		assert_int_equal(vellum_uffd_register(u, at, len, MISSING, NULL), -EINVAL);
		assert_int_equal(vellum_uffd_unregister(u, at, len), -EINVAL);
		assert_int_equal(vellum_uffd_wake(u, at, len), -EINVAL);
		assert_int_equal(vellum_uffd_copy(u, at, 0, page, len, 0, &done), -EINVAL);
		assert_int_equal(vellum_uffd_zeropage(u, at, len, 0, &done), -EINVAL);
		assert_int_equal(vellum_uffd_continue(u, at, len, 0, &done), -EINVAL);
		assert_int_equal(vellum_uffd_poison(u, at, len, 0, &done), -EINVAL);
		assert_int_equal(vellum_uffd_move(u, at, PAGE(2), len, 0, &done), -EINVAL);
		assert_int_equal(vellum_uffd_move(u, PAGE(2), at, len, 0, &done), -EINVAL);
		assert_int_equal(vellum_uffd_writeprotect(u, at, len, VELLUM_UFFD_WRITEPROTECT_WP), -EINVAL);
	}
	check_world(w);
	vellum_uffd_put(u);
}

static void register_errors(void **state)
{
	struct world *w = *state;
	struct vellum_uffd *u = new_uffd(w, 0), *other = new_uffd(w, 0);
	struct vellum_mapping *mapping = new_shmem(w, 4);
	uint64_t stack = PAGE(40);

	map_at(w->mm, 0, 8, RW, ANON);
	assert_int_equal(try_register(w, u, 0, 4, 0), -EINVAL);
	assert_int_equal(try_register(w, u, 0, 4, 8 | MISSING), -EINVAL);
	assert_int_equal(try_register(w, u, 100, 4, MISSING), -EINVAL); /* no VMA */
	assert_int_equal(try_register(w, u, 0, 4, MINOR), -EINVAL);
	OK(vellum_map_shadow_stack(w->mm, &stack, BYTES(2)));
	assert_int_equal(try_register(w, u, 40, 1, MISSING), -EINVAL);
	assert_int_equal(try_register(w, u, 40, 1, WP), -EINVAL);
	map_object(w->mm, 20, 4, RO, VELLUM_MAP_SHARED, mapping, 0, RO);
	assert_int_equal(try_register(w, u, 20, 4, WP), -EPERM);
	map_object(w->mm, 30, 4, RO, VELLUM_MAP_SHARED, mapping, 0, RW);
	OK(try_register(w, u, 30, 4, MISSING | WP | MINOR)); /* mprotect may make it writable */
	enrol(w, other, 6, 2, MISSING);
	assert_int_equal(try_register(w, u, 4, 4, MISSING), -EBUSY);
	/* VMA by VMA, in the order of addresses. After an error, no VMA is registered. */
	assert_int_equal(try_register(w, u, 0, 24, MISSING), -EBUSY);
	assert_int_equal(try_register(w, u, 20, 24, MISSING), -EPERM);
	assert_int_equal(try_register(w, other, 30, 12, MISSING), -EBUSY);
	assert_int_equal(try_register(w, other, 31, 12, MISSING | 8), -EINVAL);
	OK(try_register(w, other, 0, 8, MISSING));
	unmap(w->mm, 0, 64);
	vellum_mapping_put(mapping);
	vellum_uffd_put(u);
	vellum_uffd_put(other);
}

/* Files can be registered only for asynchronous protection, device memory not at all. */
static void files_and_devices(void **state)
{
	struct world *w = *state;
	struct vellum_uffd *sync = new_uffd(w, 0), *async = new_uffd(w, ASYNC);
	struct counting device;
	struct file f;
	struct vellum_mapping *pfns;

	memset(&device, 0, sizeof(device));
	pfns = new_pfn_object(w, &device, 4);
	file_create(&f, w, 4);
	map_shared(w->mm, 0, 4, &f, 0);
	map_private(w->mm, 8, 4, &f, 0);
	map_object(w->mm, 16, 4, RW, VELLUM_MAP_SHARED, pfns, 0, RW);
	for (unsigned at = 0; at <= 16; at += 8) {
		assert_int_equal(try_register(w, sync, at, 4, MISSING), -EINVAL);
		assert_int_equal(try_register(w, sync, at, 4, WP), -EINVAL);
		assert_int_equal(try_register(w, async, at, 4, MISSING | WP), -EINVAL);
		assert_int_equal(try_register(w, async, at, 4, MINOR), -EINVAL);
		assert_int_equal(vellum_uffd_unregister(sync, PAGE(at), BYTES(4)), -EINVAL);
		assert_int_equal(try_register(w, async, at, 4, WP), at == 16 ? -EINVAL : 0);
	}
	assert_int_equal(copy_in(async, 0, 1, 0), -EINVAL);
	assert_int_equal(zero_in(async, 0), -EINVAL);
	assert_int_equal(continue_in(async, 0, 0), -EINVAL);
	guard_writes(w, async, 0, 12);
	assert_word(w, 1, IS_WP_NONE);
	store_passes(w, async, 1, 5);
	store_passes(w, async, 9, 6);
	assert_word(w, 0, IS_WP_NONE);
	assert_int_equal(load(w->cpu[0], PAGE(1)), 5);
	assert_int_equal(f.mkwrites, 1);
	withdraw(w, async, 0, 12);
	unmap(w->mm, 0, 20);
	vellum_memory_free_device(w->memory, device.first_pfn, 4);
	vellum_mapping_put(pfns);
	file_destroy(&f);
	vellum_uffd_put(sync);
	vellum_uffd_put(async);
}

static void unregister_errors(void **state)
{
	struct world *w = *state;
	struct vellum_uffd *u = new_uffd(w, 0), *other = new_uffd(w, 0);

	map_at(w->mm, 0, 8, RW, ANON);
	enrol(w, u, 0, 2, MISSING);
	enrol(w, other, 4, 2, MISSING);
	assert_int_equal(vellum_uffd_unregister(u, PAGE(100), BYTES(1)), -EINVAL);
	assert_int_equal(vellum_uffd_unregister(u, PAGE(0), BYTES(8)), -EINVAL); /* another context has a part */
	assert_int_equal(try_register(w, other, 0, 1, MISSING), -EBUSY);	 /* no VMA was unregistered */
	withdraw(w, u, 0, 4);
	withdraw(w, u, 0, 4); /* not registered: no error */
	OK(try_register(w, other, 0, 1, MISSING));
	vellum_uffd_put(u);
	vellum_uffd_put(other);
}

static void register_returns_the_ioctls(void **state)
{
	const uint64_t all = BIT(VELLUM_UFFDIO_WAKE) | BIT(VELLUM_UFFDIO_COPY) | BIT(VELLUM_UFFDIO_ZEROPAGE) |
			     BIT(VELLUM_UFFDIO_MOVE) | BIT(VELLUM_UFFDIO_POISON);
	struct world *w = *state;
	struct vellum_uffd *u = new_uffd(w, 0);
	uint64_t ioctls = 0;

	map_at(w->mm, 0, 4, RW, SHANON);
	OK(vellum_uffd_register(u, PAGE(0), PAGE_SIZE, MISSING, &ioctls));
	assert_int_equal(ioctls, all);
	OK(vellum_uffd_register(u, PAGE(1), PAGE_SIZE, WP, &ioctls));
	assert_int_equal(ioctls, all | BIT(VELLUM_UFFDIO_WRITEPROTECT));
	OK(vellum_uffd_register(u, PAGE(2), PAGE_SIZE, MINOR, &ioctls));
	assert_int_equal(ioctls, all | BIT(VELLUM_UFFDIO_CONTINUE));
	check_world(w);
	vellum_uffd_put(u);
}

/* --- messages --- */

static void flags_of_messages(void **state)
{
	struct world *w = *state;
	struct vellum_uffd *u = new_uffd(w, 0);
	struct vellum_mapping *mapping = new_shmem(w, 4);
	struct job job;

	map_at(w->mm, 0, 4, RW, ANON);
	map_object(w->mm, 8, 4, RW, VELLUM_MAP_SHARED, mapping, 0, RW);
	enrol(w, u, 0, 4, MISSING | WP);
	enrol(w, u, 8, 4, MINOR);
	start_load(w, &job, PAGE(0) + 16);
	says_fault(u, &job, PAGE(0), 0);
	OK(zero_in(u, 0));
	ends(&job);
	start_store(w, &job, PAGE(1) + 16, 5);
	says_fault(u, &job, PAGE(1), VELLUM_UFFD_FLAG_WRITE);
	OK(copy_in(u, 1, 1, 0));
	ends(&job);
	guard_writes(w, u, 0, 4);
	store_waits(w, u, 1, 6);
	store_waits(w, u, 0, 7); /* the zero page */
	start_load(w, &job, PAGE(8));
	says_fault(u, &job, PAGE(8), VELLUM_UFFD_FLAG_MINOR);
	OK(continue_in(u, 8, 0));
	ends(&job);
	assert_int_equal(job.val, 100);
	start_store(w, &job, PAGE(9), 7);
	says_fault(u, &job, PAGE(9), VELLUM_UFFD_FLAG_MINOR | VELLUM_UFFD_FLAG_WRITE);
	OK(continue_in(u, 9, 0));
	ends(&job);
	unmap(w->mm, 0, 12);
	vellum_mapping_put(mapping);
	vellum_uffd_put(u);
}

static void exact_address_and_thread(void **state)
{
	struct world *w = *state;
	struct vellum_uffd *u =
		new_uffd(w, VELLUM_UFFD_FEATURE_EXACT_ADDRESS | VELLUM_UFFD_FEATURE_THREAD_ID);
	struct vellum_uffd_msg msg;
	struct job job;

	map_at(w->mm, 0, 4, RW, ANON);
	enrol(w, u, 0, 4, MISSING);
	start_store(w, &job, PAGE(1) + 40, 5);
	msg = message(u, &job);
	assert_int_equal(msg.event, VELLUM_UFFD_EVENT_PAGEFAULT);
	assert_int_equal(msg.arg.pagefault.address, PAGE(1) + 40);
	assert_int_equal(msg.arg.pagefault.flags, VELLUM_UFFD_FLAG_WRITE);
	OK(copy_in(u, 1, 1, 0));
	ends(&job);
	assert_int_equal(msg.arg.pagefault.ptid, job.tid);
	vellum_uffd_put(u);
}

/* As many messages as there is room for: faults in their order, then events. */
static void one_read_returns_several_messages(void **state)
{
	struct world *w = *state;
	struct vellum_uffd *u = new_uffd(w, VELLUM_UFFD_FEATURE_EVENT_REMOVE);
	struct vellum_uffd_msg msg[4];
	struct job first, second, removal;
	uint32_t got;

	map_at(w->mm, 0, 4, RW, ANON);
	map_at(w->mm, 8, 4, RW, ANON);
	enrol(w, u, 0, 12, MISSING);
	assert_int_equal(vellum_uffd_read(u, msg, 0, false, &got), -EINVAL);
	assert_int_equal(vellum_uffd_read(u, msg, 4, false, &got), -EAGAIN);
	start_madvise(w, &removal, 8, 4, VELLUM_MADV_DONTNEED);
	wait_for_message(u, &removal);
	start_access(w, &first, 1, job_load, PAGE(2), 0);
	wait_for_nr(w, u, 1, &first);
	start_access(w, &second, 2, job_load, PAGE(1), 0);
	wait_for_nr(w, u, 2, &second);
	OK(vellum_uffd_read(u, msg, 4, false, &got));
	assert_int_equal(got, 3);
	assert_int_equal(msg[0].arg.pagefault.address, PAGE(2));
	assert_int_equal(msg[1].arg.pagefault.address, PAGE(1));
	assert_int_equal(msg[2].event, VELLUM_UFFD_EVENT_REMOVE);
	assert_int_equal(pthread_join(removal.thread, NULL), 0);
	says_nothing(u);
	assert_int_equal(nr_waiting(w, u), 2);
	OK(zero_in(u, 2));
	OK(zero_in(u, 1));
	assert_int_equal(pthread_join(first.thread, NULL), 0);
	ends(&second);
	vellum_uffd_put(u);
}

static void count_call(void *arg)
{
	__atomic_fetch_add((unsigned *)arg, 1, __ATOMIC_RELAXED);
}

static void on_activity_is_called(void **state)
{
	struct world *w = *state;
	struct vellum_uffd *u = new_uffd(w, 0);
	unsigned calls = 0;
	struct job job;

	map_at(w->mm, 0, 4, RW, ANON);
	enrol(w, u, 0, 4, MISSING);
	vellum_uffd_on_activity(u, count_call, &calls);
	start_load(w, &job, PAGE(0));
	says_fault(u, &job, PAGE(0), 0);
	assert_true(__atomic_load_n(&calls, __ATOMIC_RELAXED) >= 1);
	OK(zero_in(u, 0));
	ends(&job);
	vellum_uffd_on_activity(u, NULL, NULL);
	calls = 0;
	start_load(w, &job, PAGE(1));
	says_fault(u, &job, PAGE(1), 0);
	OK(zero_in(u, 1));
	ends(&job);
	assert_int_equal(calls, 0);
	vellum_uffd_put(u);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WORLD_TEST(handshake),
		WORLD_TEST(ioctls_need_the_handshake),
		WORLD_TEST(bad_ranges),
		WORLD_TEST(register_errors),
		WORLD_TEST(files_and_devices),
		WORLD_TEST(unregister_errors),
		WORLD_TEST(register_returns_the_ioctls),
		WORLD_TEST(flags_of_messages),
		WORLD_TEST(exact_address_and_thread),
		WORLD_TEST(one_read_returns_several_messages),
		WORLD_TEST(on_activity_is_called),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
