/* SPDX-License-Identifier: MIT */
/*
 * tests/programs/sysv.c - System V semaphores and message queues: semget(2), semop(2), semctl(2), msgget(2), msgsnd(2),
 * msgrcv(2), msgctl(2). Its output is the same on the host's kernel. It removes what it makes: the host's would stay.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "show.h"

static void *volatile bad = (void *)1;	/* volatile: the compiler would find the error */
static const int no_id = 0x7fffffff;

static void show_child(pid_t child)
{
	int status = 0;

	waitpid(child, &status, 0);
	printf("child: %x\n", status);
}

static long op(int id, int num, int value, int flags)
{
	struct sembuf b = { (unsigned short)num, (short)value, (short)flags };

	return semop(id, &b, 1);
}

static int value(int id, int num)
{
	return semctl(id, num, GETVAL);
}

static const char *pid_name(int pid)
{
	return pid == 0 ? "0" : pid == getpid() ? "own" : "other";
}

static void show_set(int id)
{
	unsigned short values[8] = { 0 };
	struct semid_ds s;

	memset(&s, 0xee, sizeof(s));
	if (semctl(id, 0, IPC_STAT, &s)) {
		printf("set: %s\n", strerrorname_np(errno));
		return;
	}
	semctl(id, 0, GETALL, values);
	printf("set: mode %o own %d %d otime %d ctime %d:", s.sem_perm.mode, s.sem_perm.uid == geteuid(),
	       s.sem_perm.cgid == getegid(), s.sem_otime != 0, s.sem_ctime != 0);
	for (unsigned i = 0; i < s.sem_nsems; i++)
		printf(" %d by %s", values[i], pid_name(semctl(id, (int)i, GETPID)));
	printf("\n");
}

/* --- semaphores --- */

static void sem_keys(void)
{
	key_t key = 0x58000000 | (getpid() & 0xffff);
	int id = semget(key, 3, IPC_CREAT | IPC_EXCL | 0640);

	SHOW(semget(key, 3, 0) == id);
	SHOW(semget(key, 0, IPC_CREAT) == id);
	SHOW(semget(key, 4, 0));
	SHOW(semget(key, -1, 0));
	SHOW(semget(key, 3, IPC_CREAT | IPC_EXCL));
	show_set(id);
	SHOW(semctl(id, 0, IPC_RMID));
	SHOW(semctl(id, 0, IPC_RMID));
	SHOW(semget(key, 0, 0));
	SHOW(semget(key, 0, IPC_CREAT));
	SHOW(semget(IPC_PRIVATE, 0, 0600));
	SHOW(semget(IPC_PRIVATE, -1, 0600));
	SHOW(semget(IPC_PRIVATE, 32001, 0600));
	show_set(id);
}

static void sem_control(void)
{
	unsigned short values[3] = { 1, 2, 40000 };
	int id = semget(IPC_PRIVATE, 3, 0600);
	struct semid_ds s;

	SHOW(semctl(id, -1, GETVAL));
	SHOW(semctl(id, 3, GETVAL));
	SHOW(semctl(id, 0, SETVAL, 5));
	SHOW(semctl(id, 3, SETVAL, 5));
	SHOW(semctl(id, 0, SETVAL, -1));
	SHOW(semctl(id, 0, SETVAL, 32768));
	SHOW(semctl(no_id, 0, SETVAL, 32768));
	SHOW(semctl(-1, 0, SETVAL, 32768));
	SHOW(value(id, 0));
	SHOW(semctl(id, 1, GETNCNT));
	SHOW(semctl(id, 1, GETZCNT));
	SHOW(semctl(id, 3, GETZCNT));
	SHOW(semctl(id, 0, 99));
	SHOW(semctl(id, 0, GETVAL | 0x100));
	SHOW(semctl(-1, 0, 99));
	SHOW(semctl(no_id, 0, GETVAL));
	SHOW(semctl(id, 0, GETALL, bad));
	SHOW(semctl(id, 0, SETALL, bad));
	SHOW(semctl(no_id, 0, SETALL, bad));
	SHOW(semctl(id, 0, SETALL, values));
	values[2] = 3;
	SHOW(semctl(id, 99, SETALL, values));
	show_set(id);
	SHOW(semctl(id, 0, IPC_STAT, bad));
	SHOW(semctl(id, 0, IPC_SET, bad));
	SHOW(semctl(-1, 0, IPC_SET, bad));
	SHOW(semctl(no_id, 0, IPC_SET, bad));
	SHOW(semctl(0, 0, IPC_INFO, bad));
	SHOW(semctl(-1, 0, SEM_STAT, &s));
	SHOW(semctl(0x7ff0, 0, SEM_STAT, &s));
	SHOW(semctl(id & 0x7fff, 0, SEM_STAT, &s) == id);
	s.sem_perm.mode = 0777777;
	SHOW(semctl(id, 0, IPC_SET, &s));
	show_set(id);
	s.sem_perm.gid = (gid_t)-1;
	SHOW(semctl(id, 0, IPC_SET, &s));
	SHOW(semctl(id, 0, IPC_RMID));
}

static long timed(int id, int num, int change, long sec, long nsec)
{
	struct sembuf b = { (unsigned short)num, (short)change, 0 };

	return semtimedop(id, &b, 1, &(struct timespec){ sec, nsec });
}

static void sem_operations(void)
{
	int id = semget(IPC_PRIVATE, 3, 0600);
	struct sembuf b[3] = { { 0, 1, 0 }, { 0, -1, 0 }, { 0, -1, IPC_NOWAIT } }, zero = { 1, 0, 0 };

	SHOW(semop(id, b, 0));
	SHOW(semop(id, b, 501));
	SHOW(semop(-1, b, 501));
	SHOW(semop(-1, b, 0));
	SHOW(semop(-1, bad, 1));
	SHOW(semop(id, bad, 1));
	SHOW(semop(-1, b, 1));
	SHOW(semop(no_id, b, 1));
	SHOW(op(id, 3, 1, 0));
	SHOW(op(id, 0, 32767, 0));
	SHOW(op(id, 0, 1, 0));
	SHOW(op(id, 0, -32767, IPC_NOWAIT));
	SHOW(op(id, 0, -1, IPC_NOWAIT));
	SHOW(op(id, 0, 0, IPC_NOWAIT));
	SHOW(semop(id, &zero, 1));
	SHOW(semop(id, b, 3));
	show_set(id);
	SHOW(semop(id, b, 2));
	show_set(id);
	SHOW(timed(id, 0, -1, 0, 1000000));
	SHOW(timed(id, 0, -1, 0, 0));
	SHOW(timed(id, 0, -1, 0, -1));
	SHOW(timed(id, 0, -1, -1, 0));
	SHOW(timed(no_id, 0, -1, -1, 0));
	SHOW(semtimedop(-1, b, 0, bad));
	SHOW(op(id, 1, 5, 0));
	b[0] = (struct sembuf){ 1, -2, 0 };
	b[1] = (struct sembuf){ 2, 2, 0 };
	b[2] = (struct sembuf){ 1, -4, IPC_NOWAIT };
	SHOW(semop(id, b, 3));
	b[2].sem_op = -3;
	SHOW(semop(id, b, 3));
	show_set(id);
	SHOW(semctl(id, 0, IPC_RMID));
}

/* A child of the child undoes nothing at its end, and execve(2) undoes nothing. */
static void not_inherited(int id)
{
	pid_t child;

	op(id, 0, 2, SEM_UNDO);
	child = fork();
	if (!child)
		_exit(0);
	waitpid(child, NULL, 0);
	if (value(id, 0) != 5)
		_exit(1);
	execl("/proc/self/exe", "sysv", "exec", NULL);
	_exit(2);
}

/* What a child with SEM_UNDO leaves. */
static void undo(void)
{
	int id = semget(IPC_PRIVATE, 2, 0600);
	pid_t child = fork();

	if (!child)
		_exit(op(id, 0, 5, SEM_UNDO) || op(id, 0, -2, SEM_UNDO) || op(id, 1, 3, SEM_UNDO) || op(id, 1, 4, 0));
	show_child(child);
	show_set(id);
	child = fork();
	if (!child)
		_exit(op(id, 0, 7, SEM_UNDO) || op(id, 0, -7, 0));
	show_child(child);
	show_set(id);
	semctl(id, 0, SETVAL, 3);
	child = fork();
	if (!child)
		_exit(op(id, 0, -2, SEM_UNDO) || semctl(id, 0, SETVAL, 32767));
	show_child(child);
	show_set(id);
	semctl(id, 0, SETVAL, 3);
	child = fork();
	if (!child)
		not_inherited(id);
	show_child(child);
	show_set(id);
	fflush(stdout);
	child = fork();
	if (!child) {
		semctl(id, 0, SETVAL, 0);
		SHOW(op(id, 0, 32767, SEM_UNDO));
		SHOW(op(id, 0, -32767, 0));
		SHOW(op(id, 0, 1, SEM_UNDO));
		SHOW(op(id, 0, 1, SEM_UNDO));
		SHOW(value(id, 0));
		fflush(stdout);
		_exit(0);
	}
	show_child(child);
	show_set(id);
	SHOW(semctl(id, 0, IPC_RMID));
}

static void on_signal(int signo)
{
	(void)signo;
}

static void wait_for(int id, int num, int cmd, int count)
{
	while (semctl(id, num, cmd) != count)
		usleep(1000);
}

static pid_t waiter(int id, int num, int change)
{
	pid_t child = fork();

	if (!child) {
		struct sigaction act = { .sa_handler = on_signal, .sa_flags = SA_RESTART };

		sigaction(SIGUSR1, &act, NULL);
		_exit(op(id, num, change, 0) ? errno : 0);
	}
	return child;
}

static void sem_waits(void)
{
	int id = semget(IPC_PRIVATE, 2, 0600);
	pid_t down = waiter(id, 0, -2), zero;

	wait_for(id, 0, GETNCNT, 1);
	op(id, 1, 1, 0);
	zero = waiter(id, 1, 0);
	wait_for(id, 1, GETZCNT, 1);
	SHOW(semctl(id, 1, GETNCNT));
	op(id, 0, 1, 0);
	wait_for(id, 0, GETNCNT, 1);
	op(id, 0, 2, 0);
	show_child(down);
	show_set(id);
	op(id, 1, -1, 0);
	show_child(zero);
	down = waiter(id, 0, -9);
	wait_for(id, 0, GETNCNT, 1);
	kill(down, SIGUSR1);
	show_child(down);
	SHOW(semctl(id, 0, GETNCNT));
	down = waiter(id, 0, -9);
	wait_for(id, 0, GETNCNT, 1);
	SHOW(semctl(id, 0, SETVAL, 9));
	show_child(down);
	down = waiter(id, 0, -9);
	zero = waiter(id, 0, -9);
	wait_for(id, 0, GETNCNT, 2);
	SHOW(semctl(id, 0, IPC_RMID));
	show_child(down);
	show_child(zero);
}

/* --- a mutex of processes and threads --- */

static int mutex;
static volatile int *shared;

static void *count(void *arg)
{
	for (int i = 0; i < 100; i++) {
		struct sembuf b = { 0, -1, SEM_UNDO };

		if (semop(mutex, &b, 1))
			return NULL;
		shared[0] = shared[0] + 1;
		b.sem_op = 1;
		if (semop(mutex, &b, 1))
			return NULL;
	}
	return arg;
}

static void exclusion(void)
{
	mutex = semget(IPC_PRIVATE, 1, 0600);
	shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	semctl(mutex, 0, SETVAL, 1);
	for (int i = 0; i < 3; i++)
		if (!fork()) {
			pthread_t thread;

			pthread_create(&thread, NULL, count, NULL);
			count(NULL);
			pthread_join(thread, NULL);
			_exit(0);
		}
	while (wait(NULL) > 0)
		;
	printf("count %d\n", shared[0]);
	show_set(mutex);
	SHOW(semctl(mutex, 0, IPC_RMID));
}

/* --- messages --- */

struct text {
	long type;
	char bytes[10000];
};

static long put(int id, long type, const char *text, size_t len, int flags)
{
	struct text m = { .type = type };

	snprintf(m.bytes, sizeof(m.bytes), "%s", text);
	return msgsnd(id, &m, len, flags);
}

static void show_receive(int id, size_t size, long type, int flags)
{
	struct text m = { .type = 0 };
	long n = msgrcv(id, &m, size, type, flags);

	if (n < 0)
		printf("received: %s\n", strerrorname_np(errno));
	else
		printf("received: %ld bytes of type %ld: %.20s\n", n, m.type, m.bytes);
}

static void show_queue(int id)
{
	struct msqid_ds s;

	memset(&s, 0xee, sizeof(s));
	if (msgctl(id, IPC_STAT, &s)) {
		printf("queue: %s\n", strerrorname_np(errno));
		return;
	}
	printf("queue: mode %o own %d %d stime %d rtime %d ctime %d messages %lu bytes %lu of %lu lspid %s lrpid %s\n",
	       s.msg_perm.mode, s.msg_perm.uid == geteuid(), s.msg_perm.cgid == getegid(), s.msg_stime != 0,
	       s.msg_rtime != 0, s.msg_ctime != 0, s.msg_qnum, s.__msg_cbytes, s.msg_qbytes, pid_name(s.msg_lspid),
	       pid_name(s.msg_lrpid));
}

static void msg_arguments(void)
{
	key_t key = 0x59000000 | (getpid() & 0xffff);
	int id = msgget(key, IPC_CREAT | IPC_EXCL | 0640);
	struct msqid_ds s;
	struct text m = { .type = 1 };

	SHOW(msgget(key, 0) == id);
	SHOW(msgget(key, IPC_CREAT | IPC_EXCL));
	show_queue(id);
	SHOW(put(id, 0, "", 1, 0));
	SHOW(put(id, -1, "", 1, 0));
	SHOW(put(id, 1, "", 8193, 0));
	SHOW(put(id, 1, "", (size_t)-1, 0));
	SHOW(put(-1, 1, "", 1, 0));
	SHOW(put(no_id, 1, "", 1, 0));
	SHOW(msgsnd(no_id, bad, 1, 0));
	SHOW(msgsnd(-1, bad, 1, 0));
	SHOW(msgrcv(id, &m, (size_t)-1, 0, 0));
	SHOW(msgrcv(-1, &m, 1, 0, 0));
	SHOW(msgrcv(no_id, &m, 1, 0, 0));
	SHOW(msgrcv(id, &m, 1, 0, IPC_NOWAIT));
	SHOW(put(id, 4, "lost", 4, 0));
	SHOW(msgrcv(id, bad, 100, 0, 0));
	show_queue(id);
	SHOW(msgctl(id, 99, &s));
	SHOW(msgctl(id, -1, &s));
	SHOW(msgctl(-1, IPC_STAT, &s));
	SHOW(msgctl(id, IPC_STAT, bad));
	SHOW(msgctl(id, IPC_SET, bad));
	SHOW(msgctl(no_id, IPC_SET, bad));
	SHOW(msgctl(0, IPC_INFO, bad));
	SHOW(msgctl(0x7ff0, MSG_STAT, &s));
	SHOW(msgctl(id & 0x7fff, MSG_STAT, &s) == id);
	s.msg_qbytes = 20;
	s.msg_perm.mode = 0777777;
	SHOW(msgctl(id, IPC_SET, &s));
	show_queue(id);
	SHOW(put(id, 1, "x", 20, IPC_NOWAIT));
	SHOW(put(id, 1, "x", 1, IPC_NOWAIT));
	SHOW(put(id, 1, "x", 0, IPC_NOWAIT));
	show_queue(id);
	SHOW(msgctl(id, IPC_RMID, NULL));
	SHOW(msgctl(id, IPC_RMID, NULL));
	SHOW(msgget(key, 0));
	show_queue(id);
}

static void msg_types(void)
{
	int id = msgget(IPC_PRIVATE, 0600);

	for (long type = 1; type <= 5; type++)
		put(id, 6 - type, "first", 5, 0);
	for (long type = 1; type <= 5; type++)
		put(id, type, "second", 6, 0);
	show_receive(id, 100, 3, 0);
	show_receive(id, 100, 3, 0);
	show_receive(id, 100, 3, IPC_NOWAIT);
	show_receive(id, 100, -2, 0);
	show_receive(id, 100, -2, 0);
	show_receive(id, 100, -2, 0);
	show_receive(id, 100, 5, MSG_EXCEPT);
	show_receive(id, 2, 0, 0);
	show_receive(id, 2, 0, MSG_NOERROR);
	show_receive(id, 100, 1, MSG_COPY);
	show_receive(id, 100, 1, MSG_COPY | MSG_EXCEPT | IPC_NOWAIT);
	show_receive(id, 100, (long)(1ul << 63), 0);
	show_queue(id);
	while (msgrcv(id, &(struct text){ .type = 0 }, 100, 0, IPC_NOWAIT) >= 0)
		;
	SHOW(put(id, 1, "full", 8192, IPC_NOWAIT));
	SHOW(put(id, 1, "full", 8192, IPC_NOWAIT));
	SHOW(put(id, 1, "full", 1, IPC_NOWAIT));
	show_queue(id);
	SHOW(msgctl(id, IPC_RMID, NULL));
}

static pid_t receiver(int id, long type)
{
	struct sigaction act = { .sa_handler = on_signal, .sa_flags = SA_RESTART };
	pid_t child = fork();
	struct text m;

	if (child)
		return child;
	sigaction(SIGUSR1, &act, NULL);
	_exit(msgrcv(id, &m, 100, type, 0) < 0 ? errno : (int)m.type);
}

static void msg_waits(void)
{
	int id = msgget(IPC_PRIVATE, 0600);
	pid_t child = receiver(id, 7), other = receiver(id, 8);

	put(id, 7, "", 1, 0);
	show_child(child);
	put(id, 8, "", 1, 0);
	show_child(other);
	child = receiver(id, 7);
	usleep(30000);
	kill(child, SIGSTOP);
	waitpid(child, NULL, WUNTRACED);
	kill(child, SIGCONT);
	usleep(30000);
	kill(child, SIGUSR1);
	show_child(child);
	put(id, 1, "", 8192, 0);
	put(id, 1, "", 8192, 0);
	child = fork();
	if (!child)
		_exit(put(id, 3, "", 100, 0) ? errno : 0);
	usleep(20000);
	show_receive(id, 8192, 1, 0);
	show_child(child);
	show_queue(id);
	child = receiver(id, 9);
	usleep(20000);
	SHOW(msgctl(id, IPC_RMID, NULL));
	show_child(child);
}

/* Three processes send, two receive. */
static void msg_many(void)
{
	int id = msgget(IPC_PRIVATE, 0600);
	long *sums = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	for (int i = 0; i < 5; i++)
		if (!fork()) {
			struct text m;

			for (long n = 1; i < 3 && n <= 200; n++)
				put(id, n, "some text", (size_t)(n % 50), 0);
			for (int n = 0; i >= 3 && n < 300; n++)
				sums[i] += msgrcv(id, &m, 100, 0, 0) + m.type;
			_exit(0);
		}
	while (wait(NULL) > 0)
		;
	printf("sum %ld\n", sums[3] + sums[4]);
	show_queue(id);
	SHOW(msgctl(id, IPC_RMID, NULL));
}

/* For a process that is neither owner nor root. */
static void rights(void)
{
	int sem = semget(IPC_PRIVATE, 1, 0604), queue = msgget(IPC_PRIVATE, 0602);
	struct semid_ds s;
	struct msqid_ds q;
	pid_t child;

	fflush(stdout);
	child = fork();
	if (!child) {
		if (syscall(SYS_setresgid, 65534, 65534, 65534) || syscall(SYS_setgroups, 0, NULL) ||
		    syscall(SYS_setresuid, 65534, 65534, 65534))
			_exit(1);
		SHOW(value(sem, 0));
		SHOW(semctl(sem, 0, SETVAL, 1));
		SHOW(semctl(sem, 5, SETVAL, 1));
		SHOW(op(sem, 0, 0, 0));
		SHOW(op(sem, 0, 1, 0));
		SHOW(op(sem, 5, 1, 0));
		SHOW(semctl(sem, 0, SETALL, bad));
		SHOW(semctl(sem, 0, IPC_STAT, &s));
		SHOW(semctl(sem, 0, IPC_SET, &s));
		SHOW(semctl(sem, 0, IPC_RMID));
		SHOW(put(queue, 1, "text", 4, 0));
		show_receive(queue, 10, 0, 0);
		SHOW(msgctl(queue, IPC_STAT, &q));
		SHOW(msgctl(queue, IPC_RMID, NULL));
		fflush(stdout);
		_exit(0);
	}
	show_child(child);
	SHOW(semctl(sem, 0, IPC_RMID));
	SHOW(msgctl(queue, IPC_RMID, NULL));
}

int main(int argc, char **argv)
{
	(void)argv;
	if (argc > 1)
		return 0;
	setvbuf(stdout, NULL, _IOLBF, 0);
	sem_keys();
	sem_control();
	sem_operations();
	undo();
	sem_waits();
	exclusion();
	msg_arguments();
	msg_types();
	msg_waits();
	msg_many();
	if (geteuid() == 0)
		rights();
	return 0;
}
