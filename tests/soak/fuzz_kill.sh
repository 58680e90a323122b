#!/bin/bash
# SPDX-License-Identifier: MIT
#
# fuzz_kill.sh [TIMES]: kill -9 of `vellum fuzz`, of QEMU below it, or of what speaks with it, at any moment from its start
# on, TIMES each (40): no process, System V segment or file of Vellum is left. From the environment: VELLUM. Prints TAP.
set -u
. "$(dirname "$0")/../cli/lib.sh"

VELLUM=$(readlink -f "$VELLUM")
times=${1:-40}
tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT
cp "$VELLUM" "$tmp/vellum-killed" || exit 1	# so that its processes can be told from others
gcc -O1 -static -o "$tmp/target" -xc - <<<'#include <unistd.h>
int main(void) { char c = 0; return read(0, &c, 1) + c; }' || bail "gcc"

processes() { pgrep -f "$tmp/" | grep -vx $$; }
segments() { ipcs -m | awk '$1 ~ /^0x/ && $6 == 0 { print $2 }' | sort; }	# that nothing has attached
files() { find /dev/shm "${TMPDIR:-/tmp}" -maxdepth 1 -name 'vellum-*' | sort; }

before_segments=$(segments) before_files=$(files)
for whom in server client qemu; do
	wrong=
	for ((i = 0; i < times; i++)); do
		(cd "$tmp" && exec setsid python3 "$here/forkserver.py" -t 30 -n 1000000 -m yes a b -- "$tmp/vellum-killed" fuzz -- "$tmp/target") \
			>/dev/null 2>&1 &
		client=$!
		sleep "$(awk -v r=$RANDOM 'BEGIN { printf "%.3f", 0.05 + r / 32768 * 1.5 }')"
		server=$(pgrep -P $client | head -n 1)
		case $whom in
		server) kill -KILL "${server:-$client}" 2>/dev/null ;;
		client) kill -KILL $client ;;
		qemu) pkill -KILL -P "${server:-$client}" qemu-system 2>/dev/null || kill -KILL $client ;;
		esac
		for _ in {1..60}; do
			[ "$whom" = client ] || kill -0 $client 2>/dev/null || break
			[ -n "$(processes)" ] || break
			sleep 0.1
		done
		kill -KILL $client 2>/dev/null
		wait $client 2>/dev/null
		for _ in {1..60}; do
			[ -n "$(processes)" ] || break
			sleep 0.1
		done
		wrong+=$(processes | xargs -r ps -o pid,ppid,args -p)
		[ -z "$wrong" ] || break
	done
	result "kill -9 of the $whom $times times: no process is left" "$wrong"
done
result "no shared memory is left" "$(comm -13 <(echo "$before_segments") <(segments))"
result "no file is left" "$(comm -13 <(echo "$before_files") <(files))"
finish
