/* SPDX-License-Identifier: MIT */
/*
 * tests/programs/uffd_events.c - userfaultfd(2): events of fork, mremap, madvise and munmap; contexts of other processes;
 * ends of threads and processes that wait. Its output is the same on the host's kernel.
 */
#define _GNU_SOURCE
#include "uffd.h"

#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>

struct reader {
	pthread_t thread;
	int fd;
	int nr;			/* messages */
	int child;		/* the descriptor of a fork's message */
};

static void *read_events(void *arg)
{
	struct reader *r = arg;

	for (int i = 0; i < r->nr; i++) {
		struct uffd_msg msg = next_message(r->fd);

		if (msg.event == UFFD_EVENT_FORK)
			r->child = (int)msg.arg.fork.ufd;
	}
	return NULL;
}

static void expect(struct reader *r, int fd, int nr)
{
	*r = (struct reader){ .fd = fd, .nr = nr, .child = -1 };
	fflush(stdout);
	if (pthread_create(&r->thread, NULL, read_events, r))
		exit(1);
}

static void all_read(struct reader *r)
{
	pthread_join(r->thread, NULL);
}

static volatile int has_returned;

static void *unmap_last(void *arg)
{
	(void)arg;
	munmap(mem + 15 * PAGE, PAGE);
	has_returned = 1;
	return NULL;
}

/* munmap(2) returns when the event was read, not before. */
static void waits_for_the_reader(void)
{
	int fd = ready_uffd(0, UFFD_FEATURE_EVENT_UNMAP);
	pthread_t thread;

	munmap(mem, NR_PAGES * PAGE);
	mem = map_pages(MAP_PRIVATE);
	enrol(fd, mem, NR_PAGES, UFFDIO_REGISTER_MODE_MISSING);
	pthread_create(&thread, NULL, unmap_last, NULL);
	wait_readable(fd);
	usleep(50000);
	printf("returned: %d\n", has_returned);
	next_message(fd);
	pthread_join(thread, NULL);
	printf("returned: %d\n", has_returned);
	close(fd);
}

static void changes(void)
{
	int fd = ready_uffd(0, UFFD_FEATURE_EVENT_REMAP | UFFD_FEATURE_EVENT_REMOVE | UFFD_FEATURE_EVENT_UNMAP);
	char *hole = map_pages(MAP_PRIVATE), *moved;
	struct reader r;
	int n;

	munmap(mem, NR_PAGES * PAGE);
	mem = map_pages(MAP_PRIVATE);
	munmap(hole, NR_PAGES * PAGE);
	enrol(fd, mem, NR_PAGES, UFFDIO_REGISTER_MODE_MISSING);
	expect(&r, fd, 1);
	n = madvise(mem, 4 * PAGE, MADV_DONTNEED);
	all_read(&r);
	SHOW(n);
	expect(&r, fd, 1);
	n = munmap(mem + 12 * PAGE, 4 * PAGE);
	all_read(&r);
	SHOW(n);
	expect(&r, fd, 2);
	hole = map_pages(MAP_PRIVATE);
	munmap(hole, NR_PAGES * PAGE);
	moved = mremap(mem + 8 * PAGE, 2 * PAGE, 2 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, hole);
	all_read(&r);
	printf("moved: %d\n", moved == hole);
	/* The registration moved along. */
	memset(page, 3, PAGE);
	show_copy(fd, moved, page, PAGE, 0);
	printf("load: %d\n", moved[0]);
	close(fd);
	munmap(moved, 2 * PAGE);
}

/* The child uses the parent's descriptor: COPY takes the caller's bytes, MOVE is for the caller's own memory. */
static void of_another_process(void)
{
	int fd = ready_uffd(0, FEATURE_MOVE), status;
	struct uffd_msg msg;
	struct move m;
	pid_t pid;

	munmap(mem, NR_PAGES * PAGE);
	mem = map_pages(MAP_PRIVATE);
	m = (struct move){ (uint64_t)mem, (uint64_t)mem + 8 * PAGE, PAGE, 0, 77 };
	enrol(fd, mem, 4, UFFDIO_REGISTER_MODE_MISSING);
	memset(mem + 8 * PAGE, 30, PAGE);
	fflush(stdout);
	pid = fork();
	if (!pid) {
		SHOW(ioctl(fd, IOC_MOVE, &m));
		fill(fd, mem, 31);
		wait_readable(fd);
		printf("read %zd\n", read(fd, &msg, sizeof(msg)));
		fill(fd, mem + PAGE, 32);
		exit(0);
	}
	status = *(volatile char *)(mem + PAGE);
	printf("load: %d\n", status);
	printf("load: %d\n", *(volatile char *)mem);
	waitpid(pid, &status, 0);
	close(fd);
}

static void child_faults(void)
{
	printf("the child loads %d\n", *(volatile char *)(mem + PAGE));
	fflush(stdout);
	_exit(*(volatile char *)mem);
}

/* Without EVENT_FORK, the child's memory is not registered. */
static void forks(void)
{
	int fd = ready_uffd(0, 0), status;
	struct reader r;
	pid_t pid;

	munmap(mem, NR_PAGES * PAGE);
	mem = map_pages(MAP_PRIVATE);
	enrol(fd, mem, NR_PAGES, UFFDIO_REGISTER_MODE_MISSING);
	fill(fd, mem, 21);
	fflush(stdout);
	pid = fork();
	if (!pid)
		child_faults();
	waitpid(pid, &status, 0);
	printf("status %x\n", (unsigned)status);
	close(fd);
	fd = ready_uffd(0, UFFD_FEATURE_EVENT_FORK);
	enrol(fd, mem, NR_PAGES, UFFDIO_REGISTER_MODE_MISSING);
	expect(&r, fd, 1);
	pid = fork();
	if (!pid)
		child_faults();
	all_read(&r);
	printf("flags %o cloexec %d\n", fcntl(r.child, F_GETFL), fcntl(r.child, F_GETFD));
	next_message(r.child);
	fill(r.child, mem + PAGE, 22);
	waitpid(pid, &status, 0);
	printf("status %x\n", (unsigned)status);
	fill(fd, mem, 1);
	fill(r.child, mem + 2 * PAGE, 1);	/* its address space is gone */
	close(r.child);
	close(fd);
}

static void *fork_child(void *arg)
{
	int status;
	pid_t pid = fork();

	(void)arg;
	if (!pid)
		_exit(4);
	waitpid(pid, &status, 0);
	return NULL;
}

/* A reader without room for the child's descriptor gets an error, and the message later. */
static void no_room_for_the_child(void)
{
	int fd = ready_uffd(0, UFFD_FEATURE_EVENT_FORK);
	struct rlimit limit, none = { 0, 0 };
	struct uffd_msg msg;
	pthread_t thread;

	enrol(fd, mem, NR_PAGES, UFFDIO_REGISTER_MODE_MISSING);
	fflush(stdout);
	pthread_create(&thread, NULL, fork_child, NULL);
	wait_readable(fd);
	getrlimit(RLIMIT_NOFILE, &limit);
	none.rlim_max = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &none);
	SHOW(read(fd, &msg, sizeof(msg)));
	setrlimit(RLIMIT_NOFILE, &limit);
	SHOW(read(fd, &msg, sizeof(msg)));
	close((int)msg.arg.fork.ufd);
	pthread_join(thread, NULL);
	close(fd);
}

static void *unmap_and_fill(void *arg)
{
	int fd = *(int *)arg;

	wait_readable(fd);
	munmap(mem + 8 * PAGE, PAGE);
	fill(fd, mem, 41);
	return NULL;
}

/*
 * A fault that another process waits for. Its resolver unmaps something first, which must not wait for that process.
 */
static void faults_of_another_process(void)
{
	const char bytes[] = "from outside";
	struct iovec local = { (char *)bytes, sizeof(bytes) }, remote = { mem + 1, sizeof(bytes) };
	int to_parent[2], to_child[2];
	char c = 0;
	pid_t pid;

	fflush(stdout);
	if (pipe(to_parent) || pipe(to_child))
		exit(1);
	pid = fork();
	if (!pid) {
		int fd = ready_uffd(0, 0);
		pthread_t thread;

		madvise(mem, NR_PAGES * PAGE, MADV_DONTNEED);
		enrol(fd, mem, 4, UFFDIO_REGISTER_MODE_MISSING);
		pthread_create(&thread, NULL, unmap_and_fill, &fd);
		if (write(to_parent[1], &c, 1) != 1 || read(to_child[0], &c, 1) != 1)
			_exit(1);
		pthread_join(thread, NULL);
		printf("%d %s\n", mem[0], mem + 1);
		exit(0);
	}
	if (read(to_parent[0], &c, 1) != 1)
		exit(1);
	SHOW(process_vm_writev(pid, &local, 1, &remote, 1, 0));
	if (write(to_child[1], &c, 1) != 1)
		exit(1);
	waitpid(pid, NULL, 0);
	for (int i = 0; i < 2; i++) {
		close(to_parent[i]);
		close(to_child[i]);
	}
}

/* --- ends --- */

static volatile int *tid_word;

static void *clear_in_missing(void *arg)
{
	(void)arg;
	syscall(SYS_set_tid_address, tid_word);
	syscall(SYS_exit, 0);
	return NULL;
}

/* The end of a thread does not wait, though it clears its ID in a missing page. */
static void thread_ends(void)
{
	char name[64];
	pthread_t thread;
	int left = 1;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (!pid) {
		int fd = ready_uffd(0, 0);

		madvise(mem, NR_PAGES * PAGE, MADV_DONTNEED);
		enrol(fd, mem, 4, UFFDIO_REGISTER_MODE_MISSING);
		tid_word = (volatile int *)mem;
		pthread_create(&thread, NULL, clear_in_missing, NULL);
		snprintf(name, sizeof(name), "/proc/%d/task", getpid());
		for (int i = 0; i < 5000 && left; i++) {
			struct stat st;

			usleep(1000);
			left = stat(name, &st) || st.st_nlink > 3;
		}
		printf("left: %d\n", left);
		fflush(stdout);
		_exit(0);
	}
	waitpid(pid, NULL, 0);
}

/* A process with threads that wait can be killed, and can exit. */
static void ends(int killed)
{
	int status;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (!pid) {
		int fd = ready_uffd(0, 0), pipe_ends[2];
		struct access a[2];
		struct call c;

		enrol(fd, mem + 4 * PAGE, 4, UFFDIO_REGISTER_MODE_MISSING);
		begin(&a[0], mem + 4 * PAGE, -1);
		begin(&a[1], mem + 5 * PAGE, 1);
		mem += 6 * PAGE;
		if (pipe(pipe_ends) || write(pipe_ends[1], "hello", 5) != 5)
			_exit(1);
		c = (struct call){ .fd = pipe_ends[0] };
		pthread_create(&c.thread, NULL, read_into_memory, &c);
		usleep(50000);
		fflush(stdout);
		if (killed)
			kill(getpid(), SIGKILL);
		exit(3);
	}
	waitpid(pid, &status, 0);
	printf("status %x\n", (unsigned)status);
}

/* execve(2) closes the descriptor, and ends the other threads. */
static void execs(void)
{
	int status;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (!pid) {
		int fd = ready_uffd(0, 0);
		struct access a;

		enrol(fd, mem + 4 * PAGE, 4, UFFDIO_REGISTER_MODE_MISSING);
		fcntl(fd, F_SETFD, 0);
		begin(&a, mem + 4 * PAGE, -1);
		usleep(20000);
		fflush(stdout);
		execl("/proc/self/exe", "uffd_events", "after-exec", NULL);
		_exit(1);
	}
	waitpid(pid, &status, 0);
	printf("status %x\n", (unsigned)status);
}

/* The descriptor that execve(2) left open belongs to an address space that is gone. */
static void after_exec(void)
{
	for (int fd = 3; fd < 20; fd++) {
		char name[64], link[64] = "";

		snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
		if (readlink(name, link, sizeof(link) - 1) > 0 && !strcmp(link, "anon_inode:[userfaultfd]")) {
			mem = map_pages(MAP_PRIVATE);
			enrol(fd, mem, 1, UFFDIO_REGISTER_MODE_MISSING);
			fill(fd, mem, 1);
			show_poll("after execve", fd);
		}
	}
}

int main(int argc, char **argv)
{
	if (argc > 1 && !strcmp(argv[1], "after-exec")) {
		after_exec();
		return 0;
	}
	mem = map_pages(MAP_PRIVATE);
	waits_for_the_reader();
	changes();
	of_another_process();
	forks();
	no_room_for_the_child();
	faults_of_another_process();
	thread_ends();
	ends(0);
	ends(1);
	execs();
	return 0;
}
