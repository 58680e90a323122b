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
