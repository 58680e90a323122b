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
	serve -m yes a abcd BUGx a abcd BUGx BUGx abcd a 'BUG!' a -- "$VELLUM" fuzz -- "./$target"
	mapfile -t lines < <(tail -n +2 <<<"$output")
	same=
	for pair in '0 3' '0 8' '0 10' '1 4' '1 7' '2 5' '2 6'; do
		[ "${lines[${pair% *}]-x}" = "${lines[${pair#* }]-y}" ] || same+="runs $pair: ${lines[${pair% *}]-} and ${lines[${pair#* }]-}"$'\n'
	done
	result "$target: the edges of an input are the same in each run" "$same"
	result "$target: another path has other edges" "$([ "${lines[1]}" != "${lines[2]}" ] &&
		[ "$(wc -w <<<"${lines[0]}")" -gt 4 ] || echo "$output")"
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
