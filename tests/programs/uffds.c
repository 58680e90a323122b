/* SPDX-License-Identifier: MIT */
/*
 * tests/programs/uffds.c - userfaultfd(2): the descriptor, the ioctls, faults of the program and of its system calls. Its
 * output is the same on the host's kernel.
 */
#define _GNU_SOURCE
#include "uffd.h"

#include <setjmp.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/sendfile.h>
#include <sys/stat.h>

static void *volatile bad = (void *)1;	/* volatile: the compiler would find the error */

static void show_epoll(const char *what, int ep)
{
	struct epoll_event ev[4];
	int n = epoll_wait(ep, ev, 4, 0);

	printf("%s: epoll %d", what, n);
	for (int i = 0; i < n; i++)
		printf(" %x", ev[i].events);
	printf("\n");
}

/* --- the descriptor --- */

static void show_handshake(int fd, uint64_t api, uint64_t features)
{
	struct uffdio_api a = { api, features, 5 };
	int n = ioctl(fd, UFFDIO_API, &a);

	printf("handshake: %s api %llx features %llx ioctls %llx\n", n ? strerrorname_np(errno) : "0",
	       (unsigned long long)a.api, (unsigned long long)(a.features & ~HUGETLB_FEATURES), (unsigned long long)a.ioctls);
}

static void show_fdinfo(int fd)
{
	char name[64], line[128], link[64] = "";
	FILE *f;

	snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
	printf("link: %zd %s\n", readlink(name, link, sizeof(link) - 1), link);
	SHOW(open(name, O_RDONLY));
	snprintf(name, sizeof(name), "/proc/self/fdinfo/%d", fd);
	f = fopen(name, "r");
	while (f && fgets(line, sizeof(line), f))
		if (strncmp(line, "mnt_id", 6) && strncmp(line, "ino", 3))
			fputs(line, stdout);
	if (f)
		fclose(f);
}

/* Calls for files of other kinds. */
static void of_other_files(int fd, int ep)
{
	struct epoll_event want = { .events = EPOLLIN };
	int file = memfd_create("bytes", MFD_CLOEXEC);
	off_t at = 0;

	if (ftruncate(file, 8))
		exit(1);
	SHOW(sendfile(fd, file, &at, 8));	/* it could fill a counter */
	SHOW(epoll_ctl(fd, EPOLL_CTL_ADD, ep, &want));
	SHOW(epoll_wait(fd, &want, 1, 0));
	SHOW(ioctl(fd, FIONCLEX));
	printf("cloexec %d\n", fcntl(fd, F_GETFD));
	SHOW(ioctl(fd, FIOCLEX));
	close(file);
}

/* Before the handshake, nearly everything is EINVAL. */
static void descriptor(void)
{
	int fd, copy, ep = epoll_create1(0), on = 1, off = 0, n = 0;
	struct epoll_event want = { .events = EPOLLIN | EPOLLOUT };
	struct uffdio_range range = { (uint64_t)mem, PAGE };
	char buf[64];
	struct stat st;

	SHOW(uffd(4));
	fd = OPEN(uffd(O_CLOEXEC));
	printf("flags %o cloexec %d\n", fcntl(fd, F_GETFL), fcntl(fd, F_GETFD));
	SHOW(fstat(fd, &st));
	printf("mode %o size %ld\n", st.st_mode, (long)st.st_size);
	SHOW(read(fd, buf, sizeof(buf)));
	SHOW(read(fd, buf, 0));
	SHOW(write(fd, buf, 8));
	SHOW(write(fd, buf, 0));
	of_other_files(fd, ep);
	SHOW(pread(fd, buf, 32, 0));
	SHOW(lseek(fd, 5, SEEK_SET));
	SHOW(mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, fd, 0) == MAP_FAILED ? -1 : 0);
	SHOW(ioctl(fd, FIONREAD, &n));
	SHOW(ioctl(fd, FIOASYNC, &on));
	SHOW(ioctl(fd, TCGETS, buf));
	SHOW(ioctl(fd, 12345, buf));
	SHOW(ioctl(fd, UFFDIO_WAKE, &range));
	SHOW(ioctl(fd, UFFDIO_REGISTER, bad));
	SHOW(ioctl(fd, UFFDIO_API, bad));
	show_poll("new", fd);
	SHOW(epoll_ctl(ep, EPOLL_CTL_ADD, fd, &want));
	show_epoll("new", ep);
	show_handshake(fd, UFFD_API + 1, 0);
	show_handshake(fd, UFFD_API, 1ull << 40);
	show_handshake(fd, UFFD_API, 0);
	show_handshake(fd, UFFD_API, 0);
	show_poll("blocking", fd);
	show_epoll("blocking", ep);
	SHOW(ioctl(fd, FIONBIO, &on));
	show_poll("empty", fd);
	show_epoll("empty", ep);
	SHOW(ioctl(fd, FIONBIO, &off));
	show_poll("blocking again", fd);
	SHOW(fcntl(fd, F_SETFL, O_NONBLOCK));
	SHOW(read(fd, buf, 64));
	SHOW(read(fd, buf, 31));
	SHOW(read(fd, buf, 0));
	SHOW(pread(fd, buf, 32, 0));
	SHOW(ioctl(fd, UFFDIO_REGISTER, bad));
	SHOW(ioctl(fd, UFFDIO_COPY, bad));
	SHOW(ioctl(fd, UFFDIO_WAKE, &range));
	range.len = 0;
	SHOW(ioctl(fd, UFFDIO_WAKE, &range));
	show_fdinfo(fd);
	copy = dup(fd);
	SHOW(close(fd));
	SHOW(read(copy, buf, 64));
	show_epoll("the copy", ep);
	SHOW(close(copy));
	show_epoll("closed", ep);
	close(ep);
}

static void device(void)
{
	int dev = OPEN(open("/dev/userfaultfd", O_RDWR | O_CLOEXEC)), fd;

	if (dev < 0)
		return;
	SHOW(ioctl(dev, USERFAULTFD_IOC_NEW, 4));
	fd = OPEN(ioctl(dev, USERFAULTFD_IOC_NEW, O_CLOEXEC | O_NONBLOCK));
	printf("flags %o cloexec %d\n", fcntl(fd, F_GETFL), fcntl(fd, F_GETFD));
	show_handshake(fd, UFFD_API, UFFD_FEATURE_EVENT_FORK);
	close(fd);
	close(dev);
}

/* --- the program's own faults --- */

static void missing(void)
{
	int fd = ready_uffd(0, UFFD_FEATURE_THREAD_ID | UFFD_FEATURE_EXACT_ADDRESS), ep = epoll_create1(0);
	struct epoll_event want = { .events = EPOLLIN | EPOLLOUT | EPOLLET };
	struct uffdio_zeropage zero = { { (uint64_t)mem + 2 * PAGE, PAGE }, 0, 77 };
	struct uffdio_range range = { (uint64_t)mem, NR_PAGES * PAGE };
	struct uffd_msg msg;
	struct access a, b;

	epoll_ctl(ep, EPOLL_CTL_ADD, fd, &want);
	enrol(fd, mem, NR_PAGES, UFFDIO_REGISTER_MODE_MISSING);
	begin(&a, mem + 5, -1);
	wait_readable(fd);
	show_poll("a fault", fd);
	show_epoll("a fault", ep);
	show_epoll("the same fault", ep);
	show_fdinfo(fd);
	msg = next_message(fd);
	show_poll("read", fd);
	show_fdinfo(fd);
	fill(fd, mem, 65);
	end(&a);
	printf("the thread's ID: %d\n", (int)msg.arg.pagefault.feat.ptid == a.tid);
	begin(&a, mem + PAGE, 66);
	next_message(fd);
	begin(&b, mem + 2 * PAGE, -1);
	next_message(fd);
	fill(fd, mem + PAGE, 0);
	end(&a);
	SHOW(ioctl(fd, UFFDIO_ZEROPAGE, &zero));
	printf("zeroed %lld\n", (long long)zero.zeropage);
	end(&b);
	/* Resolved before it was read: the message is gone. */
	begin(&a, mem + 3 * PAGE, -1);
	wait_readable(fd);
	fill(fd, mem + 3 * PAGE, 67);
	end(&a);
	show_poll("resolved", fd);
	show_epoll("resolved", ep);
	/* Errors of the copy, and partial ones. */
	fill(fd, mem, 1);
	show_copy(fd, mem + 4 * PAGE, page, PAGE + 1, 0);
	show_copy(fd, mem + 4 * PAGE, page, 0, 0);
	show_copy(fd, mem + 4 * PAGE, page, PAGE, 99);
	show_copy(fd, mem + 4 * PAGE, bad, PAGE, 0);
	show_copy(fd, mem + 4 * PAGE, page, PAGE, UFFDIO_COPY_MODE_WP);
	show_copy(fd, mem + (NR_PAGES - 1) * PAGE, mem, 2 * PAGE, 0);
	fill(fd, mem + 5 * PAGE, 1);
	show_copy(fd, mem + 4 * PAGE, mem, 2 * PAGE, 0);
	show_copy(fd, mem + 6 * PAGE, mem, 2 * PAGE, UFFDIO_COPY_MODE_DONTWAKE);
	SHOW(ioctl(fd, UFFDIO_UNREGISTER, &range));
	SHOW(ioctl(fd, UFFDIO_UNREGISTER, bad));
	printf("not registered: %d\n", mem[8 * PAGE]);
	close(ep);
	close(fd);
}

/* A waiting thread goes on when the descriptor is closed, or the range unregistered. */
static void closing(void)
{
	int fd = ready_uffd(0, 0);
	struct uffdio_range range = { (uint64_t)mem, NR_PAGES * PAGE };
	struct access a;

	madvise(mem, NR_PAGES * PAGE, MADV_DONTNEED);
	enrol(fd, mem, NR_PAGES, UFFDIO_REGISTER_MODE_MISSING);
	begin(&a, mem, -1);
	next_message(fd);
	SHOW(ioctl(fd, UFFDIO_UNREGISTER, &range));
	end(&a);
	enrol(fd, mem, NR_PAGES, UFFDIO_REGISTER_MODE_MISSING);
	begin(&a, mem + PAGE, 5);
	wait_readable(fd);
	SHOW(close(fd));
	end(&a);
}

/* Wait until so many messages can be read. */
static void until_pending(int fd, int nr)
{
	char name[64], line[128];
	int pending = 0;

	snprintf(name, sizeof(name), "/proc/self/fdinfo/%d", fd);
	for (int i = 0; i < 10000 && pending != nr; i++) {
		FILE *f = fopen(name, "r");

		while (f && fgets(line, sizeof(line), f))
			sscanf(line, "pending: %d", &pending);
		if (f)
			fclose(f);
		usleep(1000);
	}
}

static void several(void)
{
	int fd = ready_uffd(0, 0);
	struct uffd_msg msg[4];
	struct access a[3];

	madvise(mem, NR_PAGES * PAGE, MADV_DONTNEED);
	enrol(fd, mem, NR_PAGES, UFFDIO_REGISTER_MODE_MISSING);
	for (int i = 0; i < 3; i++) {
		begin(&a[i], mem + (unsigned)i * PAGE, -1);
		until_pending(fd, i + 1);
	}
	SHOW(read(fd, msg, 2 * sizeof(msg[0]) + 5) / (ssize_t)sizeof(msg[0]));
	SHOW(read(fd, msg, sizeof(msg)) / (ssize_t)sizeof(msg[0]));
	SHOW(read(fd, msg, sizeof(msg)));
	memset(page, 9, PAGE);
	for (unsigned i = 0; i < 3; i++) {
		fill(fd, mem + i * PAGE, 9);
		end(&a[i]);
	}
	begin(&a[0], mem + 3 * PAGE, -1);
	wait_readable(fd);
	SHOW(read(fd, bad, sizeof(msg)));
	fill(fd, mem + 3 * PAGE, 10);
	end(&a[0]);
	close(fd);
}

/* --- write protection, minor faults, poison, move --- */

static sigjmp_buf out_of_fault;

static void on_fault(int signo, siginfo_t *info, void *context)
{
	(void)context;
	printf("signal %d at %lx\n", signo, (unsigned long)((char *)info->si_addr - mem));
	siglongjmp(out_of_fault, 1);
}

static void show_load(char *at)
{
	const struct sigaction sa = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO };

	sigaction(SIGBUS, &sa, NULL);
	if (!sigsetjmp(out_of_fault, 1))
		printf("load: %d\n", *(volatile char *)at);
}

static void protected(void)
{
	int fd = ready_uffd(0, 0);
	struct uffdio_range range = { 0, 8 * PAGE };
	struct access a;

	madvise(mem, NR_PAGES * PAGE, MADV_DONTNEED);
	memset(mem, 1, 4 * PAGE);
	enrol(fd, mem, NR_PAGES, UFFDIO_REGISTER_MODE_WP | UFFDIO_REGISTER_MODE_MISSING);
	show_protect(fd, mem, 4, UFFDIO_WRITEPROTECT_MODE_WP);
	begin(&a, mem + PAGE, 3);
	next_message(fd);
	show_protect(fd, mem + PAGE, 1, 0);
	end(&a);
	show_protect(fd, mem, 1, UFFDIO_WRITEPROTECT_MODE_WP | UFFDIO_WRITEPROTECT_MODE_DONTWAKE);
	range.start = (uint64_t)mem + 8 * PAGE;
	SHOW(ioctl(fd, UFFDIO_UNREGISTER, &range));
	show_protect(fd, mem + 7 * PAGE, 2, UFFDIO_WRITEPROTECT_MODE_WP);
	memset(page, 4, PAGE);
	show_copy(fd, mem + 5 * PAGE, page, PAGE, UFFDIO_COPY_MODE_WP);
	begin(&a, mem + 5 * PAGE, 5);
	next_message(fd);
	show_protect(fd, mem + 5 * PAGE, 1, 0);
	end(&a);
	close(fd);
}

static void minor_faults(void)
{
	int fd = ready_uffd(0, UFFD_FEATURE_MINOR_SHMEM), file = memfd_create("minor", MFD_CLOEXEC);
	char *shared, *other;
	struct uffdio_continue c;
	char *private = mem;
	struct access a;

	if (ftruncate(file, NR_PAGES * PAGE))
		exit(1);
	shared = mmap(NULL, NR_PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	other = mremap(shared, 0, NR_PAGES * PAGE, MREMAP_MAYMOVE);
	other[0] = 7;
	enrol(fd, mem, 1, UFFDIO_REGISTER_MODE_MINOR);
	enrol(fd, shared, NR_PAGES, UFFDIO_REGISTER_MODE_MINOR);
	mem = shared;
	begin(&a, mem, -1);
	next_message(fd);
	c = (struct uffdio_continue){ { (uint64_t)mem, PAGE }, 0, 77 };
	SHOW(ioctl(fd, UFFDIO_CONTINUE, &c));
	printf("mapped %lld\n", (long long)c.mapped);
	end(&a);
	c = (struct uffdio_continue){ { (uint64_t)mem + PAGE, PAGE }, 0, 77 };
	SHOW(ioctl(fd, UFFDIO_CONTINUE, &c));
	printf("mapped %lld\n", (long long)c.mapped);
	munmap(shared, NR_PAGES * PAGE);
	munmap(other, NR_PAGES * PAGE);
	close(file);
	close(fd);
	mem = private;
}

static void poison_and_move(void)
{
	int fd = ready_uffd(0, FEATURE_POISON | FEATURE_MOVE);
	char *from = map_pages(MAP_PRIVATE);
	struct poison p = { (uint64_t)mem, PAGE, 0, 77 };
	struct move m = { (uint64_t)mem + PAGE, (uint64_t)from, 2 * PAGE, 0, 77 };
	struct access a;

	madvise(mem, NR_PAGES * PAGE, MADV_DONTNEED);
	memset(from, 8, PAGE);
	enrol(fd, mem, NR_PAGES, UFFDIO_REGISTER_MODE_MISSING);
	SHOW(ioctl(fd, IOC_POISON, &p));
	printf("poisoned %lld\n", (long long)p.poisoned);
	show_load(mem);
	begin(&a, mem + PAGE, -1);
	next_message(fd);
	SHOW(ioctl(fd, IOC_MOVE, &m));	/* the second page is a hole */
	printf("moved %lld\n", (long long)m.moved);
	end(&a);
	printf("left: %d\n", from[0]);
	munmap(from, NR_PAGES * PAGE);
	close(fd);
}

/* Resolved by no one: SIGBUS, or the protection is removed by the kernel. */
static void without_reader(void)
{
	int fd = ready_uffd(0, UFFD_FEATURE_SIGBUS);

	madvise(mem, NR_PAGES * PAGE, MADV_DONTNEED);
	enrol(fd, mem, NR_PAGES, UFFDIO_REGISTER_MODE_MISSING);
	show_load(mem + 123);
	SHOW(read(open("/dev/zero", O_RDONLY | O_CLOEXEC), mem, 1));
	fill(fd, mem, 1);
	show_load(mem);
	close(fd);
	fd = ready_uffd(0, FEATURE_WP_ASYNC);
	enrol(fd, mem, NR_PAGES, UFFDIO_REGISTER_MODE_WP);
	show_protect(fd, mem, NR_PAGES, UFFDIO_WRITEPROTECT_MODE_WP);
	mem[0] = 2;
	mem[PAGE] = 3;
	printf("stored %d %d\n", mem[0], mem[PAGE]);
	close(fd);
}

/* --- faults of system calls --- */

static volatile int nr_signals;

static void count_signal(int signo)
{
	(void)signo;
	nr_signals++;
}

/* A signal with a handler does not end the wait of a copy: it is delivered afterwards. */
static void of_system_calls(void)
{
	const struct sigaction sa = { .sa_handler = count_signal };
	int fd = ready_uffd(0, 0), only = ready_uffd(UFFD_USER_MODE_ONLY, 0), ends[2];
	struct uffd_msg msg;
	struct call c;

	madvise(mem, NR_PAGES * PAGE, MADV_DONTNEED);
	sigaction(SIGUSR1, &sa, NULL);
	if (pipe(ends) || write(ends[1], "hello", 5) != 5)
		exit(1);
	enrol(fd, mem, 8, UFFDIO_REGISTER_MODE_MISSING);
	SHOW(write(-1, mem + PAGE, 5));		/* looks at no memory, and --strace must not wait for it either */
	c = (struct call){ .fd = ends[0] };
	pthread_create(&c.thread, NULL, read_into_memory, &c);
	next_message(fd);
	pthread_kill(c.thread, SIGUSR1);
	usleep(50000);
	while (read(fd, &msg, sizeof(msg)) > 0)		/* Linux repeats the message */
		;
	fill(fd, mem, 'x');
	pthread_join(c.thread, NULL);
	printf("read %zd, signals %d, %.7s\n", c.n, nr_signals, mem + 9);
	enrol(only, mem + 8 * PAGE, 8, UFFDIO_REGISTER_MODE_MISSING);
	if (write(ends[1], "hello", 5) != 5)
		exit(1);
	SHOW(read(ends[0], mem + 8 * PAGE, 5));
	SHOW(read(ends[0], page, 5));
	close(only);
	close(fd);
	close(ends[0]);
	close(ends[1]);
}

static void *handle_one(void *arg)
{
	struct uffd_msg msg;
	int fd = *(int *)arg;

	printf("read %zd\n", read(fd, &msg, sizeof(msg)));
	fill(fd, mem, 11);
	return NULL;
}

/* A reader that waits in read(2), and one that a signal interrupts. */
static void blocking_read(void)
{
	const struct sigaction sa = { .sa_handler = count_signal };
	int fd = ready_uffd(0, 0);
	struct uffd_msg msg;
	pthread_t thread;
	int seen;

	madvise(mem, NR_PAGES * PAGE, MADV_DONTNEED);
	fcntl(fd, F_SETFL, 0);
	enrol(fd, mem, NR_PAGES, UFFDIO_REGISTER_MODE_MISSING);
	pthread_create(&thread, NULL, handle_one, &fd);
	seen = *(volatile char *)mem;
	pthread_join(thread, NULL);
	printf("load: %d\n", seen);
	sigaction(SIGALRM, &sa, NULL);
	ualarm(20000, 0);
	SHOW(read(fd, &msg, sizeof(msg)));
	close(fd);
}

/* The handler of a thread's own signal runs while it waits, and may resolve the fault. */
static int fd_of_handler;

static void resolve_in_handler(int signo)
{
	struct uffdio_copy c = { (uint64_t)mem, (uint64_t)page, PAGE, 0, 0 };

	(void)signo;
	ioctl(fd_of_handler, UFFDIO_COPY, &c);
}

static void resolved_by_a_handler(void)
{
	const struct sigaction sa = { .sa_handler = resolve_in_handler };

	fd_of_handler = ready_uffd(0, 0);
	madvise(mem, NR_PAGES * PAGE, MADV_DONTNEED);
	memset(page, 12, PAGE);
	enrol(fd_of_handler, mem, NR_PAGES, UFFDIO_REGISTER_MODE_MISSING);
	sigaction(SIGALRM, &sa, NULL);
	ualarm(20000, 0);
	printf("load: %d\n", *(volatile char *)mem);
	close(fd_of_handler);
}

int main(int argc, char **argv)
{
	if (argc > 1 && !strcmp(argv[1], "may"))	/* is the caller allowed to make one? */
		return uffd(O_CLOEXEC) < 0;
	mem = map_pages(MAP_PRIVATE);
	descriptor();
	device();
	missing();
	closing();
	several();
	protected();
	minor_faults();
	poison_and_move();
	without_reader();
	of_system_calls();
	blocking_read();
	resolved_by_a_handler();
	return 0;
}
