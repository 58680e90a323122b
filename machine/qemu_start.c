/* SPDX-License-Identifier: MIT */
/*
 * machine/qemu_start.c - starts and ends QEMU's process, reads its error messages, and measures its TSC.
 */
#define _GNU_SOURCE
#include "machine/qemu.h"

#define FAULT_NS	5500	/* a fault, with exit to the host and entry; measured, see ARCHITECTURE.md */

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <x86intrin.h>

#include "arch/x86/pgtable.h"
#include "machine/coverage.h"

#define MAX_STARTS	3	/* of a QEMU that ended before */
#define MIN_QEMU_MAJOR	7
#define START_TIMEOUT_NS 10000000000ull
#define LOW_RAM_MAX	 0xc0000000ull	/* microvm: RAM above this appears at 4 GiB */
#define VERSION_TIMEOUT_MS 2000
#define ENDED		 "ended"	/* value of why until explain_end() finds the reason */

/* --- starting QEMU --- */

struct start {
	const struct vellum_host_ram *ram;
	int rom, sock, err;	/* err: QEMU's stderr, for its error message */
};

static void keep_fd(int fd)
{
	fcntl(fd, F_SETFD, 0);
}

/* Search $PATH. */
static bool find_qemu(char *path, size_t size)
{
	const char *dirs = getenv("PATH");

	for (const char *dir = dirs ? dirs : "/usr/bin:/bin", *end; dir; dir = *end ? end + 1 : NULL) {
		end = strchrnul(dir, ':');
		snprintf(path, size, "%.*s%s%s", (int)(end - dir), dir, end > dir ? "/" : "", QEMU_PROGRAM);
		if (access(path, X_OK) == 0)
			return true;
	}
	return false;
}

/* Send the seccomp filter's listener, or without it one byte, before any other byte on the line. */
static void send_listener(int sock, int listener)
{
	char byte = 0, control[CMSG_SPACE(sizeof(int))] = "";
	struct iovec iov = { &byte, 1 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	struct cmsghdr *c;

	if (listener >= 0) {
		msg.msg_control = control;
		msg.msg_controllen = sizeof(control);
		c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(c), &listener, sizeof(int));
	}
	sendmsg(sock, &msg, MSG_NOSIGNAL);
	if (listener >= 0)
		close(listener);
}

/* Receive what send_listener() in the child sends; waits for it. -1: no listener. */
static int receive_listener(int sock)
{
	char byte, control[CMSG_SPACE(sizeof(int))];
	struct iovec iov = { &byte, 1 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control,
			      .msg_controllen = sizeof(control) };
	struct cmsghdr *c;
	int listener = -1;

	if (recvmsg(sock, &msg, MSG_CMSG_CLOEXEC) != 1)
		return -1;
	c = CMSG_FIRSTHDR(&msg);
	if (c && c->cmsg_type == SCM_RIGHTS)
		memcpy(&listener, CMSG_DATA(c), sizeof(int));
	return listener;
}

/* In the child. */
static void exec_qemu(const struct qemu_machine *q, const struct start *s, pid_t parent)
{
	char mem[96], size[32], smp[16], rom[40], chardev[48], plugin[64];
	static char *const no_env[] = { NULL };
	char *argv[] = { (char *)QEMU_PROGRAM, (char *)"-accel", (char *)"tcg,thread=multi", (char *)"-M",
			       (char *)"microvm,memory-backend=ram,pit=off,pic=off,rtc=off,"
				       "x-option-roms=off,auto-kernel-cmdline=off,ioapic2=off",
			       (char *)"-cpu", (char *)"max,-la57", (char *)"-smp", smp, (char *)"-m", size,
			       (char *)"-object", mem, (char *)"-bios", rom, (char *)"-chardev", chardev,
			       (char *)"-serial", (char *)"chardev:line", (char *)"-display", (char *)"none",
			       (char *)"-monitor", (char *)"none", (char *)"-nodefaults",
			       (char *)"-no-user-config", (char *)"-no-reboot",
			       NULL, NULL, NULL, NULL, NULL };	/* room for the plugin and the sandbox */
	char **more = argv;
	char program[4096];

	setsid();	/* QEMU must not get the terminal's signals */
	snprintf(mem, sizeof(mem), "memory-backend-file,id=ram,share=on,mem-path=/proc/self/fd/%d,size=%llu",
		 s->ram->fd, (unsigned long long)s->ram->len);
	snprintf(size, sizeof(size), "%lluM", (unsigned long long)(s->ram->len >> 20));
	snprintf(smp, sizeof(smp), "%u", q->nr_vcpus);
	snprintf(rom, sizeof(rom), "/proc/self/fd/%d", s->rom);
	snprintf(chardev, sizeof(chardev), "socket,id=line,fd=%d", s->sock);
	snprintf(plugin, sizeof(plugin), "file=/proc/self/fd/%d,map=%d", q->plugin, q->map);
	while (*more)
		more++;
	if (q->plugin >= 0) {
		keep_fd(q->plugin);
		keep_fd(q->map);
		*more++ = (char *)"-plugin";
		*more++ = plugin;
	}
	if (q->confined) {
		*more++ = (char *)"-sandbox";
		*more++ = (char *)"on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny";
	}
	keep_fd(s->ram->fd);
	keep_fd(s->rom);
	keep_fd(s->sock);
	dup2(open("/dev/null", O_RDWR), 0);
	dup2(s->err, 1);	/* non-blocking: a full pipe must not stop QEMU */
	dup2(s->err, 2);
	if (!find_qemu(program, sizeof(program))) {
		dprintf(2, "cannot run %s: %s\n", QEMU_PROGRAM, strerror(ENOENT));
		_exit(127);
	}
	if (q->confined)
		qemu_confine();
	prctl(PR_SET_PDEATHSIG, SIGKILL);	/* after the change of user, which clears it */
	if (getppid() != parent)
		_exit(127);
	send_listener(s->sock, qemu_crash_filter());
	execve(program, argv, no_env);
	dprintf(2, "cannot run %s: %s\n", QEMU_PROGRAM, strerror(errno));
	_exit(127);
}

/* The first line that QEMU printed, or nothing. */
static void read_words(int fd, char *words, size_t size)
{
	ssize_t n = read(fd, words, size - 1);

	words[n > 0 ? n : 0] = 0;
	words[strcspn(words, "\n")] = 0;
}

static void read_complaint(int fd, char *why, size_t size)
{
	read_words(fd, why, size);
	if (!why[0])
		snprintf(why, size, "%s ended at once without an error message", QEMU_PROGRAM);
}

static bool all_booted(const struct qemu_machine *q)
{
	for (unsigned i = 0; i < q->nr_vcpus; i++)
		if (qemu_state(q->vcpu[i].mb) != STATE_IDLE)
			return false;
	return true;
}

static bool wait_booted(struct qemu_machine *q, int err_fd, char *why, size_t why_size)
{
	uint64_t start = qemu_now_ns();
	int status;

	while (!all_booted(q)) {
		pid_t ended = waitpid(q->pid, &status, WNOHANG);

		/* ECHILD: SIGCHLD is ignored, and the ended child is already reaped. */
		if (ended == q->pid || (ended < 0 && errno == ECHILD)) {
			read_complaint(err_fd, why, why_size);
			q->pid = -1;
			return false;
		}
		if (qemu_now_ns() - start > START_TIMEOUT_NS) {
			snprintf(why, why_size, "%s does not start: no answer in %llu s", QEMU_PROGRAM,
				 START_TIMEOUT_NS / 1000000000u);
			return false;
		}
		usleep(500);
	}
	return true;
}

/* Run QEMU with --version and read its output into @text, for at most VERSION_TIMEOUT_MS. */
static void ask_version(char *text, size_t size)
{
	struct pollfd answer = { .events = POLLIN };
	int fd[2];
	ssize_t n = 0;
	pid_t pid;

	text[0] = 0;
	if (pipe2(fd, O_CLOEXEC))
		return;
	pid = fork();
	if (pid == 0) {
		dup2(open("/dev/null", O_RDWR), 0);
		dup2(fd[1], 1);
		dup2(open("/dev/null", O_RDWR), 2);
		execlp(QEMU_PROGRAM, QEMU_PROGRAM, "--version", (char *)NULL);
		_exit(127);
	}
	close(fd[1]);
	answer.fd = fd[0];
	if (pid > 0 && poll(&answer, 1, VERSION_TIMEOUT_MS) == 1)
		n = read(fd[0], text, size - 1);
	text[n > 0 ? n : 0] = 0;
	close(fd[0]);
	if (pid > 0) {
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
	}
}

/* "QEMU emulator version 7.2.22 (Debian ...)": the major number, or -1. */
static int qemu_major_version(void)
{
	char text[128];
	int major;

	ask_version(text, sizeof(text));
	return sscanf(text, "QEMU emulator version %d", &major) == 1 ? major : -1;
}

/* Improve the message of a failed start. Only here QEMU is asked for its version: that costs a start of QEMU. */
static void explain(char *why, size_t size)
{
	char reason[120];
	int major = qemu_major_version();

	snprintf(reason, sizeof(reason), "%.119s", why);
	if (strstr(reason, "cannot run"))
		snprintf(why, size, "%s not found; install it (Debian: apt install qemu-system-x86)",
			 QEMU_PROGRAM);
	else if (major >= 0 && major < MIN_QEMU_MAJOR)
		snprintf(why, size, "%s is too old: version %d; install version %d or later", QEMU_PROGRAM, major,
			 MIN_QEMU_MAJOR);
	else
		snprintf(why, size, "cannot start %s: %s", QEMU_PROGRAM, reason);
}

/* Measure the program's counter minus the host's. Of eight tries, takes the one with the smallest error. */
static bool measure_tsc(struct qemu_machine *q, int64_t *offset, uint64_t *error)
{
	*error = ~0ull;
	for (int i = 0; i < 8; i++) {
		uint64_t before = __rdtsc(), after;

		if (qemu_command(q, &q->vcpu[0], CMD_TSC))
			return false;
		after = __rdtsc();
		if (after - before < *error) {
			*error = after - before;
			*offset = (int64_t)(q->vcpu[0].mb->tsc - before - (after - before) / 2);
		}
	}
	return true;
}

/* If the offset is constant, programs may read clocks through the vDSO without a system call. */
static void learn_tsc(struct qemu_machine *q)
{
	int64_t first, second;
	uint64_t e1, e2;

	if (!measure_tsc(q, &first, &e1))
		return;
	usleep(1000);
	if (!measure_tsc(q, &second, &e2))
		return;
	q->base.tsc_offset = second;
	q->base.has_tsc = (uint64_t)llabs(second - first) <= e1 + e2;
}

static void close_pair(const int fd[2])
{
	for (int i = 0; i < 2; i++)
		if (fd[i] >= 0)
			close(fd[i]);
}

/* Start QEMU on the RAM that qemu_lay_memory() filled, and wait until all CPUs are idle. */
static bool start_qemu(struct qemu_machine *q, char *why, size_t size)
{
	int line[2] = { -1, -1 }, err[2] = { -1, -1 };
	struct start s = { .ram = &q->ram_file, .rom = qemu_make_rom() };
	pid_t parent = getpid(), pid;
	bool ok = false;

	if (s.rom < 0 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, line) ||
	    pipe2(err, O_CLOEXEC | O_NONBLOCK)) {
		snprintf(why, size, "cannot create a pipe, a socket or a file for QEMU: %s", strerror(errno));
		goto out;
	}
	s.sock = line[1];
	s.err = err[1];
	pid = fork();
	if (pid == 0)
		exec_qemu(q, &s, parent);
	if (pid < 0) {
		snprintf(why, size, "cannot create a process for QEMU: %s", strerror(errno));
		goto out;
	}
	pthread_mutex_lock(&q->why_lock);
	q->pid = pid;
	q->sock = line[0];
	q->err = err[0];
	pthread_mutex_unlock(&q->why_lock);
	line[0] = err[0] = -1;
	close(err[1]);		/* so that read(2) finds the end of QEMU's output */
	close(line[1]);
	err[1] = line[1] = -1;
	qemu_crash_start(&q->crash, pid, receive_listener(q->sock));
	ok = wait_booted(q, q->err, why, size);
out:
	if (s.rom >= 0)
		close(s.rom);
	close_pair(line);
	close_pair(err);
	return ok;
}

/* Reap the process and close this end of its files. why_lock: else kill(2) could hit a reused process number. */
static void end_qemu(struct qemu_machine *q, int *status)
{
	*status = 0;
	pthread_mutex_lock(&q->why_lock);
	if (q->pid > 0) {
		kill(q->pid, SIGKILL);
		while (waitpid(q->pid, status, 0) < 0 && errno == EINTR)
			;
	}
	q->pid = -1;
	qemu_crash_end(&q->crash);
	if (q->sock >= 0)
		close(q->sock);
	if (q->err >= 0)
		close(q->err);
	q->sock = q->err = -1;
	pthread_mutex_unlock(&q->why_lock);
}

/* Set q->lost to why QEMU ended: the declared reason, else QEMU's last error message, else the signal. */
static void explain_end(struct qemu_machine *q, const char *complaint, int status)
{
	char *text = q->lost;
	size_t size = sizeof(q->lost);

	if (strcmp(q->why, ENDED) != 0)
		snprintf(text, size, "%.190s", q->why);
	else if (complaint[0])
		snprintf(text, size, QEMU_PROGRAM " ended: %.150s", complaint);
	else if (WIFSIGNALED(status) && WTERMSIG(status) != SIGKILL)
		snprintf(text, size, QEMU_PROGRAM " ended: %s", strsignal(WTERMSIG(status)));
	else
		snprintf(text, size, QEMU_PROGRAM " was killed");
}

/* Keep the FPU states that the CPUs saved before QEMU ended. life is held for writing. */
static void keep_fpu(struct qemu_machine *q)
{
	for (unsigned i = 0; i < q->nr_vcpus; i++) {
		struct qemu_vcpu *v = &q->vcpu[i];

		if (v->fresh)
			continue;	/* has not run since the restart before: kept is still valid */
		v->fresh = true;
		v->has_kept = v->mb->idle_saved && (qemu_state(v->mb) == STATE_IDLE || qemu_not_begun(v->mb));
		if (v->has_kept)
			memcpy(v->kept, v->mb->idle_fpu, sizeof(v->kept));
	}
}

/* If the new QEMU ends while it starts, as the old one did, try once more. */
static bool start_again(struct qemu_machine *q, char *why, size_t why_size)
{
	int status;

	for (int tries = 0; tries < MAX_STARTS; tries++) {
		qemu_lay_memory(q);
		if (start_qemu(q, why, why_size))
			return true;
		if (q->pid > 0)		/* it hangs */
			break;
		end_qemu(q, &status);
	}
	return false;
}

/*
 * QEMU has ended: start it again on the same RAM and tables, which are all in shared memory. Only the registers of a
 * CPU that was in the program are lost. False: the machine is being destroyed, or QEMU cannot be started.
 */
static bool revive(struct qemu_machine *q)
{
	char complaint[160], why[100];
	bool ok = false, ending;
	int status;

	pthread_rwlock_wrlock(&q->life);
	read_words(q->err, complaint, sizeof(complaint));
	end_qemu(q, &status);
	pthread_mutex_lock(&q->why_lock);
	explain_end(q, complaint, status);
	ending = q->ending;
	pthread_mutex_unlock(&q->why_lock);
	if (!ending) {
		keep_fpu(q);
		pthread_mutex_lock(&q->scrub_lock);
		q->nr_scrub = 0;	/* a new QEMU has translated nothing */
		pthread_mutex_unlock(&q->scrub_lock);
		ok = start_again(q, why, sizeof(why));
		q->base.child_pid = q->pid;
		if (ok)
			qemu_crash_explain(q);
	}
	q->base.has_tsc = false;	/* the new QEMU's counter starts again */
	if (ok && q->base.restarted)
		q->base.restarted(q->base.restarted_arg);
	pthread_mutex_lock(&q->why_lock);
	q->gone = !ok;
	if (ok)
		__atomic_store_n(&q->down, 0, __ATOMIC_RELEASE);
	else if (!ending)
		snprintf(q->why, sizeof(q->why), "%.90s, and cannot be restarted: %.90s", q->lost, why);
	pthread_cond_broadcast(&q->changed);
	pthread_mutex_unlock(&q->why_lock);
	pthread_rwlock_unlock(&q->life);
	return ok;
}

static void wake_thread(struct qemu_machine *q, unsigned cpu)
{
	if (cpu >= q->nr_vcpus)
		return;
	__atomic_fetch_add(&q->vcpu[cpu].wake, 1, __ATOMIC_SEQ_CST);
	syscall(SYS_futex, &q->vcpu[cpu].wake, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

/* Thread: wakes a CPU's thread when the CPU sends a byte. At the end of the stream QEMU has ended: starts it again. */
static void *read_line(void *arg)
{
	struct qemu_machine *q = arg;
	unsigned char bytes[64];
	ssize_t n;

	do {
		while ((n = recv(q->sock, bytes, sizeof(bytes), 0)) > 0 || (n < 0 && errno == EINTR))
			for (ssize_t i = 0; i < n; i++)
				wake_thread(q, bytes[i] - 1u);
		qemu_declare_down(q, ENDED);
	} while (revive(q));
	return NULL;
}

void qemu_destroy(struct machine *m)
{
	struct qemu_machine *q = to_qemu(m);
	int status;

	pthread_mutex_lock(&q->why_lock);
	q->ending = true;
	if (q->pid > 0)
		kill(q->pid, SIGKILL);
	if (q->sock >= 0)
		shutdown(q->sock, SHUT_RDWR);
	pthread_mutex_unlock(&q->why_lock);
	if (q->has_reader)
		pthread_join(q->reader, NULL);
	end_qemu(q, &status);
	if (q->base.coverage)
		munmap(q->base.coverage, sizeof(*q->base.coverage));
	if (q->plugin >= 0)
		close(q->plugin);
	if (q->map >= 0)
		close(q->map);
	free(q->scrub);
	free(q);
}

extern const char plugin_blob[], plugin_blob_end[];	/* plugin_blob.S */

/* Files in memory for the plugin and what it counts, which QEMU gets by inheritance. */
static bool prepare_plugin(struct qemu_machine *q, enum machine_coverage covers)
{
	const size_t size = (size_t)(plugin_blob_end - plugin_blob);
	struct coverage *coverage;

	q->plugin = memfd_create("vellum-plugin", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	q->map = memfd_create("vellum-coverage", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (q->plugin < 0 || q->map < 0 || write(q->plugin, plugin_blob, size) != (ssize_t)size ||
	    ftruncate(q->map, sizeof(*coverage)))
		return false;
	/* A program that takes QEMU over cannot change the plugin, nor shorten what this process reads. */
	if (fcntl(q->plugin, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) ||
	    fcntl(q->map, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL))
		return false;
	coverage = mmap(NULL, sizeof(*coverage), PROT_READ | PROT_WRITE, MAP_SHARED, q->map, 0);
	if (coverage == MAP_FAILED)
		return false;
	coverage->blocks = covers == COVERAGE_BLOCKS;
	q->base.coverage = coverage;
	return true;
}

struct machine *machine_qemu_create(const struct vellum_host_ram *ram, unsigned nr_cpus, bool confined,
				    enum machine_coverage covers, char *why, size_t why_size)
{
	struct qemu_machine *q = calloc(1, sizeof(*q));

	if (!q) {
		snprintf(why, why_size, "the host has no memory for the machine");
		return NULL;
	}
	if (nr_cpus == 0 || nr_cpus > MAX_VCPUS - 1) {
		snprintf(why, why_size, "%u CPUs are not supported; use 1 to %d", nr_cpus, MAX_VCPUS - 1);
		free(q);
		return NULL;
	}
	q->ram = ram->base;
	q->sock = q->err = q->crash.listener = q->plugin = q->map = -1;
	q->confined = confined;
	q->ram_file = *ram;
	why[0] = 0;
	q->base = (struct machine){ .ops = &qemu_machine_ops, .mmu = &qemu_mmu_ops, .nr_cpus = nr_cpus,
				    .fault_ns = FAULT_NS,
				    .reserved = PMD_SIZE };
	q->nr_vcpus = nr_cpus > 1 ? nr_cpus + 1 : 1;
	if (ram->len > LOW_RAM_MAX) {
		q->base.hole_start = LOW_RAM_MAX;
		q->base.hole_size = (1ull << 32) - LOW_RAM_MAX;
	}
	pthread_mutex_init(&q->why_lock, NULL);
	pthread_cond_init(&q->changed, NULL);
	pthread_rwlock_init(&q->life, NULL);
	pthread_mutex_init(&q->scrub_lock, NULL);
	for (unsigned i = 0; i < q->nr_vcpus; i++)
		pthread_mutex_init(&q->vcpu[i].flush_lock, NULL);
	qemu_lay_memory(q);
	if (covers && !prepare_plugin(q, covers)) {
		snprintf(why, why_size, "the host has no memory for the plugin of QEMU that counts coverage");
		qemu_destroy(&q->base);
		return NULL;
	}
	if (!start_qemu(q, why, why_size)) {
		bool hung = strstr(why, "no answer") != NULL;

		qemu_destroy(&q->base);
		if (!hung)
			explain(why, why_size);
		return NULL;
	}
	q->base.child_pid = q->pid;
	q->base.cpu_features = q->vcpu[0].mb->cpu_features;
	q->base.fpu_size = q->vcpu[0].mb->fpu_size;
	if (q->base.fpu_size > VCPU_FPU_MAX)
		q->base.fpu_size = VCPU_FPU_MAX;
	if (pthread_create(&q->reader, NULL, read_line, q)) {
		snprintf(why, why_size, "cannot create a thread for QEMU");
		qemu_destroy(&q->base);
		return NULL;
	}
	q->has_reader = true;
	pthread_rwlock_rdlock(&q->life);
	learn_tsc(q);
	pthread_rwlock_unlock(&q->life);
	qemu_test_rings(q, q->base.leak, sizeof(q->base.leak));
	return &q->base;
}
