#!/bin/bash
# SPDX-License-Identifier: MIT
#
# fuzzing.sh VELLUM [SECONDS] [TURNS]: runs per second with afl-fuzz: `vellum fuzz` (edges by its plugin; the program's own
# instrumentation), AFL++'s own fork server on the same program, and a server that does nothing; in turns, medians. Then two
# instances beside each other, against one. Says so and ends if there is no afl-fuzz.
set -u
vellum=$(readlink -f "$1") seconds=${2:-8} turns=${3:-3}
programs=$(cd "$(dirname "$0")" && pwd)/programs
tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT
if ! command -v afl-fuzz >/dev/null; then
	echo "fuzzing: not measured: there is no afl-fuzz; apt-get install afl++"
	exit
fi
mkdir "$tmp/afl" "$tmp/in" && ln -s "$vellum" "$tmp/afl/afl-qemu-trace" && echo hello >"$tmp/in/a" && cd "$tmp" || exit 1
export AFL_PATH=$tmp/afl AFL_NO_UI=1 AFL_I_DONT_CARE_ABOUT_MISSING_CRASHES=1 AFL_SKIP_CPUFREQ=1
gcc -O1 -o empty "$programs/empty_server.c" || exit 1
for size in "tiny 0 0" "small 1 8" "large 64 64"; do
	# shellcheck disable=SC2086 # words
	set -- $size
	gcc -O1 -static -DMIB="$2ul" -DPAGES="$3ul" -o "$1" "$programs/fuzzed.c" || exit 1
	AFL_QUIET=1 AFL_PATH='' afl-clang-fast -O1 -DMIB="$2ul" -DPAGES="$3ul" -o "$1-instrumented" "$programs/fuzzed.c" \
		>/dev/null 2>&1 || exit 1
done

# fuzz OUT ARGUMENT...: runs a second
fuzz() {
	local out=$1

	shift
	rm -rf "$out"
	timeout -k 5 $((seconds * 4 + 20)) afl-fuzz -t 10000 -V "$seconds" -i in -o "$out" "$@" >"$tmp/log" 2>&1
	awk '$1 == "execs_per_sec" { print $3 }' "$out"/*/fuzzer_stats
	awk '$1 == "stability" && $3 != "100.00%" { print "stability " $3 > "/dev/stderr" }' "$out"/*/fuzzer_stats
}

median() { sort -g "$1" | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }

sample() { # NAME ARGUMENT...
	local name=$1

	shift
	fuzz out "$@" >>"rate.$name"
}

for _ in $(seq "$turns"); do
	sample empty -- ./empty
	for name in tiny small large; do
		AFL_ENTRYPOINT=0x$(nm "$name" | awk '$3 == "run" { print $1 }') sample "$name.plugin" -Q -- "./$name"
		sample "$name.instrumented" -- "$vellum" fuzz -- "./$name-instrumented"
		sample "$name.fork" -- "./$name-instrumented"
	done
done
empty=$(median rate.empty)
printf '%-36s %10s %12s %12s\n' "afl-fuzz, execs a second" runs/s "of empty" "of forking"
printf '%-36s %10.0f\n' "a server that does nothing" "$empty"
for name in tiny small large; do
	fork=$(median rate.$name.fork)
	for how in plugin instrumented fork; do
		rate=$(median rate.$name.$how)
		awk -v n="$name, $how" -v r="$rate" -v e="$empty" -v f="$fork" 'BEGIN {
			printf "%-36s %10.0f %12.2f %11.1fx\n", n, r, r / e, r / f }'
	done
done

# Two instances, and one.
for _ in $(seq "$turns"); do
	fuzz one -Q -M a -- ./tiny >>rate.one
	fuzz two -Q -S b -- ./tiny >rate.second & fuzz both -Q -M a -- ./tiny >rate.first; wait
	cat rate.first rate.second | awk '{ s += $1 } END { print s }' >>rate.two
done
awk -v one="$(median rate.one)" -v two="$(median rate.two)" 'BEGIN {
	printf "%-36s %10.0f %11.2fx of one (%.0f)\n", "tiny, plugin: two instances", two, two / one, one }'
