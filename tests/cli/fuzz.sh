#!/bin/bash
# SPDX-License-Identifier: MIT
#
# vellum fuzz: AFL++'s fork server, with forkserver.py as afl-fuzz. How runs end, timeouts, edges, and what is left when a
# side is killed. From the environment: VELLUM. Prints TAP.
set -u
. "$(dirname "$0")/lib.sh"

VELLUM=$(readlink -f "$VELLUM")
tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT
cat >"$tmp/target.c" <<'END'
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
static char memory[1 << 20];
int main(void)
{
	char b[64] = "";
	ssize_t n = read(0, b, sizeof(b) - 1);

	if (n > 3 && b[0] == 'B' && b[1] == 'U' && b[2] == 'G' && b[3] == '!')
		abort();
	if (!strcmp(b, "hang"))
		for (;;)
			;
	for (ssize_t i = 0; i < n; i++)
		memory[4096 * i] += b[i];
	return n + memory[0] - b[0];
}
END
gcc -O1 -o "$tmp/target" "$tmp/target.c" || bail "gcc"
gcc -O1 -static -o "$tmp/static" "$tmp/target.c" || bail "gcc -static"

serve() { # ARGUMENT... of forkserver.py; $output
	output=$(cd "$tmp" && timeout -k 5 120 python3 "$here/forkserver.py" "$@" 2>/dev/null)
}

for target in target static; do
	serve -t 0.5 a bb hang ccc 'BUG!' dddd hang hang e -- "$VELLUM" fuzz -- "./$target"
	result "$target: runs end as the program does" "$([ "$(tr '\n' , <<<"$output")" = \
		"hello c001ffff,status 1,status 2,timed out,status 3,signal 6,status 4,timed out,timed out,status 1," ] || echo "$output")"
	for covers in edges blocks; do
		serve -m yes a abcd BUGx a abcd BUGx BUGx abcd a 'BUG!' a -- "$VELLUM" fuzz --coverage=$covers -- "./$target"
		mapfile -t lines < <(tail -n +2 <<<"$output")
		same=
		for pair in '0 3' '0 8' '0 10' '1 4' '1 7' '2 5' '2 6'; do
			[ "${lines[${pair% *}]-x}" = "${lines[${pair#* }]-y}" ] ||
				same+="runs $pair: ${lines[${pair% *}]-} and ${lines[${pair#* }]-}"$'\n'
		done
		result "$target: the $covers of an input are the same in each run" "$same"
		result "$target: another path has other $covers" "$([ "${lines[1]}" != "${lines[2]}" ] &&
			[ "$(wc -w <<<"${lines[0]}")" -gt 4 ] || echo "$output")"
	done
done

# The input in a file that a run maps: what afl-fuzz writes next is what the next run finds, and no store of a run gets there.
cat >"$tmp/maps.c" <<'END'
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
int main(int argc, char **argv)
{
	const int shared = !strcmp(argv[1], "shared");
	int fd = open(argv[2], O_RDWR), sum = 0;
	struct stat st;
	char *at;

	if (fd < 0 || fstat(fd, &st) || argc < 3)
		return 1;
	at = mmap(NULL, 4096, PROT_READ | PROT_WRITE, shared ? MAP_SHARED : MAP_PRIVATE, fd, 0);
	if (at == MAP_FAILED)
		return 2;
	for (int i = 0; i < st.st_size; i++)
		sum += at[i] - 'a' + 1;
	memset(at, 'z', 1);
	return 10 + sum;
}
END
gcc -O1 -o "$tmp/maps" "$tmp/maps.c" || bail "gcc"
for kind in shared private; do
	serve -f "$tmp/input" a b c aa ba cb a a b -- "$VELLUM" fuzz -- ./maps "$kind" "$tmp/input"
	result "a file that is mapped $kind has the next input" "$([ "$(tail -n +2 <<<"$output" | tr '\n' ,)" = \
		"status 11,status 12,status 13,status 12,status 13,status 15,status 11,status 11,status 12," ] || echo "$output")"
done

# What a run may do to its process, and to the server's descriptors, which it does not have.
cat >"$tmp/wild.c" <<'END'
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>
static int runs;
static void *spin(void *arg) { for (;;) ; return arg; }
int main(void)
{
	struct rlimit none = { 0, 0 };
	pthread_t thread;
	char c = 0;

	if (read(0, &c, 1) != 1 || runs++)
		return 99;
	switch (c) {
	case 'f':
		for (int i = 0; i < 3; i++)
			if (fork() == 0)
				spin(NULL);
		return 1;
	case 't':
		for (int i = 0; i < 3; i++)
			pthread_create(&thread, NULL, spin, NULL);
		return 2;
	case 'c':
		for (int i = 0; i < 300; i++)
			close(i);
		setrlimit(RLIMIT_NOFILE, &none);
		setrlimit(RLIMIT_FSIZE, &none);
		return 3;
	case 's': raise(SIGSTOP); return 4;
	case 'b': pause(); return 5;
	case 'k': kill(0, SIGKILL); return 6;
	case 'x': execlp("sh", "sh", "-c", "exit 7", NULL); return 8;
	case 'm':
		for (;;)
			memset(mmap(NULL, 1 << 24, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0), 1, 1 << 24);
	}
	return 0;
}
END
gcc -O1 -o "$tmp/wild" "$tmp/wild.c" -pthread || bail "gcc wild.c"
serve -t 2 f z t z c z s z b z k z x z -- "$VELLUM" fuzz --ram=64M -- ./wild
result "whatever a run does, the next one begins anew" "$([ "$(tail -n +2 <<<"$output" | tr '\n' ,)" = \
	"status 1,status 0,status 2,status 0,status 3,status 0,timed out,status 0,timed out,status 0,signal 9,status 0,status 7,status 0," ] || echo "$output")"

serve -t 60 m z m z -- "$VELLUM" fuzz --ram=32M -- ./wild
result "a run that uses up memory is killed" "$([ "$(tail -n +2 <<<"$output" | tr '\n' ,)" = "signal 9,status 0,signal 9,status 0," ] || echo "$output")"

# A program with a fork server of its own, as afl-cc's. It writes to the map and may take its input from shared memory.
cat >"$tmp/served.c" <<'END'
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/shm.h>
#include <sys/wait.h>
#include <unistd.h>
#ifdef STOPS		/* the marks that afl-fuzz looks for; what they mean is told by the environment */
const char *mark = "##SIG_AFL_PERSISTENT##";
#endif
const char *looked_for = "__AFL_DEFER_FORKSRV";
static uint8_t *map, *input;
static int runs;
static void serve(void)
{
	uint32_t hello = 0x80000001u | 0x40000000u | 0x01000000u | 999 << 1, word = 0;
	char *id = getenv("__AFL_SHM_ID");
	int status;
	pid_t pid;
	if (id)
		map = shmat(atoi(id), NULL, 0);
	map[5] = 77;		/* before the runs */
	if (write(199, &hello, 4) != 4)
		return;
	if (read(198, &word, 4) != 4)
		_exit(1);
	if (word & 0x01000000u)
		input = shmat(atoi(getenv("__AFL_SHM_FUZZ_ID")), NULL, 0);
	while (read(198, &word, 4) == 4) {
		pid = fork();
		if (!pid) {
			close(198);
			close(199);
			return;
		}
		if (write(199, &pid, 4) != 4 || waitpid(pid, &status, 0) < 0 || write(199, &status, 4) != 4)
			break;
	}
	_exit(1);
}
int main(void)
{
	char b[64] = "";
	uint32_t n = 0;
	serve();
	if (input)
		memcpy(b, input + 4, n = *(uint32_t *)input);
	else
		n = read(0, b, sizeof(b) - 1);
	map[100 + b[0]]++;
	map[900 + n]++;
	if (b[0] == 'f' && fork() == 0)
		_exit(map[0] = 9);	/* a child's store counts, too */
	wait(NULL);
#ifdef STOPS
	if (getenv("__AFL_PERSISTENT"))
		raise(SIGSTOP);
#endif
	if (b[0] == 'A')
		abort();
	return runs++ + n;
}
END
gcc -O1 -o "$tmp/served" "$tmp/served.c" || bail "gcc served.c"
gcc -O1 -DSTOPS -o "$tmp/stops" "$tmp/served.c" || bail "gcc served.c"
served='status 1 197=1 901=1,status 2 198=1 902=1,signal 6 165=1 903=1,status 2 0=9 202=1 902=1,status 1 197=1 901=1,'
for how in '' '-s yes'; do
	# shellcheck disable=SC2086 # words
	serve -m yes $how a bb AAA ff a -- "$VELLUM" fuzz -- ./served
	result "a program's own fork server and map ${how:+with shared inputs}" "$([ "$(tr '\n' , <<<"$output")" = \
		"hello c10007cf,$served" ] || echo "$output")"
	# shellcheck disable=SC2086 # words
	serve -m yes $how a bb AAA ff a -- ./served
	result "the same without Vellum ${how:+with shared inputs}" "$([ "$(tail -n +2 <<<"$output" | sed 's/ 5=77//' | tr '\n' ,)" = "$served" ] ||
		echo "$output")"
done
serve -m yes -s yes a bb AAA a -- "$VELLUM" fuzz -- ./stops
result "a run of persistent mode ends where the program stops" "$([ "$(tail -n +2 <<<"$output" | tr '\n' ,)" = \
	'status 0 197=1 901=1,status 0 198=1 902=1,status 0 165=1 903=1,status 0 197=1 901=1,' ] || echo "$output")"
output=$(cd "$tmp" && timeout -k 5 60 python3 "$here/forkserver.py" -m yes a -- "$VELLUM" fuzz --at=main -- ./stops 2>&1)
result "a program that is frozen before its own fork server" "$([[ $output = *"before its own fork server"*"--at"* ]] || echo "$output")"

# A run that goes on for ever, and then one side is killed: nothing is left.
left() { pgrep -f "$tmp/(static|target)" | grep -vx $$; }
for who in server client; do
	(cd "$tmp" && exec setsid python3 "$here/forkserver.py" -t 30 hang -- "$VELLUM" fuzz -- "$tmp/static") >/dev/null 2>&1 &
	client=$!
	for _ in 1 2 3 4 5 6 7 8 9 10; do
		sleep 0.3
		server=$(pgrep -P $client | head -n 1)
		[ "$(pgrep -P "${server:-$client}" | wc -l)" -lt 2 ] || break		# QEMU and the placeholder
	done
	sleep 0.3
	if [ $who = server ]; then kill -KILL "$server"; else kill -KILL $client; fi
	for _ in 1 2 3 4 5 6 7 8 9 10; do
		sleep 0.3
		[ -n "$(left)" ] || break
	done
	kill -KILL $client 2>/dev/null
	wait $client 2>/dev/null >&2
	result "nothing is left after kill -9 of the $who" "$(left | xargs -r ps -o pid,ppid,args -p)"
done

output=$(echo -n abc | "$VELLUM" fuzz -- "$tmp/target" 2>&1)
result "without a fork server, the program runs once" "$(status=$?; [ "$status" = 0 ] && [ -z "$output" ] || echo "$output")"
finish
