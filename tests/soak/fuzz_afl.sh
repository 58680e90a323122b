#!/bin/bash
# SPDX-License-Identifier: MIT
#
# fuzz_afl.sh [SERVERS]: `vellum fuzz` as a fuzzer uses it. AFL++'s afl-fuzz -Q finds a bug that is planted behind four
# bytes, and what it saved crashes natively and in `vellum run`. The edges of 1,000 random inputs are the same in one
# server and in a new one for each of SERVERS inputs (1,000). A parser of Debian as it is, readelf, is fuzzed for two minutes:
# its edges grow, nothing crashes, and the edges of the queue are those of new servers. From the environment: VELLUM.
# Prints TAP.
set -u
. "$(dirname "$0")/../cli/lib.sh"

VELLUM=$(readlink -f "$VELLUM")
servers=${1:-1000}
tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT
cat >"$tmp/target.c" <<'END_OF_C'
#include <stdlib.h>
#include <unistd.h>
static char memory[256][4096];
/* A state machine, so that inputs differ in their edges and in the pages that they touch. */
int main(void)
{
	unsigned char b[64] = "";
	ssize_t n = read(0, b, sizeof(b));
	unsigned state = 0;

	for (ssize_t i = 0; i < n; i++) {
		memory[b[i]][i]++;
		switch (b[i] & 7) {
		case 0: state += 3; break;
		case 1: state *= 5; break;
		case 2: state ^= b[i]; break;
		case 3: if (state & 1) state >>= 1; else state += memory[state & 255][0]; break;
		case 4: if (state > 100) state -= 100; break;
		case 5: for (unsigned k = 0; k < (state & 7); k++) state += k; break;
		default: state += memory[b[i]][i];
		}
	}
	if (n > 3 && b[0] == 'B' && b[1] == 'U' && b[2] == 'G' && b[3] == '!')
		abort();
	return state & 1;
}
END_OF_C
gcc -O1 -o "$tmp/target" "$tmp/target.c" || bail "gcc"

for covers in edges blocks; do
	differ=$(cd "$tmp" && python3 "$here/../soak/fuzz_edges.py" 1000 "$servers" "$VELLUM" fuzz --coverage=$covers -- ./target 2>err || cat err)
	result "the $covers of 1000 inputs: in one server and in $servers new ones" "$differ"
	servers=$((servers / 5))
done

if ! command -v afl-fuzz >/dev/null; then
	skip "afl-fuzz finds a planted bug" "there is no afl-fuzz: apt-get install afl++"
	finish
	exit
fi
mkdir "$tmp/afl" "$tmp/in" && ln -s "$VELLUM" "$tmp/afl/afl-qemu-trace" && echo hello >"$tmp/in/a"
(cd "$tmp" && AFL_PATH=$tmp/afl AFL_NO_UI=1 AFL_I_DONT_CARE_ABOUT_MISSING_CRASHES=1 AFL_SKIP_CPUFREQ=1 AFL_NO_AFFINITY=1 \
	AFL_BENCH_UNTIL_CRASH=1 timeout -k 5 900 afl-fuzz -Q -V 800 -i in -o out -- ./target) >"$tmp/log" 2>&1
crash=$(ls "$tmp"/out/default/crashes/id* 2>/dev/null | head -n 1)
result "afl-fuzz finds a planted bug" "$([ -n "$crash" ] || tail -n 20 "$tmp/log")"
result "its stability is 100 %" "$(grep -q 'stability *: 100.00%' "$tmp/out/default/fuzzer_stats" || cat "$tmp/out/default/fuzzer_stats")"
(exec "$tmp/target" <"${crash:-/dev/null}") 2>/dev/null
result "the saved input crashes natively" "$(status=$?; [ $status = 134 ] || echo "status $status")"
"$VELLUM" run -- "$tmp/target" <"${crash:-/dev/null}" 2>/dev/null
result "and in vellum run" "$(status=$?; [ $status = 134 ] || echo "status $status")"

# stat NAME: of the run in $tmp/elf
stat() { awk -v name="$1" '$1 == name { print $3 }' "$tmp/elf/default/fuzzer_stats"; }

mkdir "$tmp/elves" && gcc -nostdlib -static -Wl,-e,0 -Wl,--build-id=none -o "$tmp/elves/a" -xc - <<<'int f(int x) { return x; }'
cp "$(command -v readelf)" "$tmp/readelf"
(cd "$tmp" && AFL_PATH=$tmp/afl AFL_NO_UI=1 AFL_I_DONT_CARE_ABOUT_MISSING_CRASHES=1 AFL_SKIP_CPUFREQ=1 AFL_NO_AFFINITY=1 \
	timeout -k 5 300 afl-fuzz -Q -V 120 -i elves -o elf -- ./readelf -a @@) >"$tmp/log" 2>&1
echo "# readelf: $(stat execs_done) runs, $(stat execs_per_sec) a second, $(stat corpus_found) inputs with new edges, $(stat edges_found) edges"
result "readelf: its edges grow" "$([ "$(stat corpus_found)" -gt 10 ] || tail -n 20 "$tmp/log")"
result "readelf: nothing crashes" "$([ "$(stat saved_crashes)" = 0 ] || ls "$tmp/elf/default/crashes")"
result "readelf: its stability is 100 %" "$([ "$(stat stability)" = 100.00% ] || stat stability)"
differ=$(cd "$tmp" && python3 "$here/../soak/fuzz_edges.py" "elf/default/queue" 40 "$VELLUM" fuzz -- ./readelf -a @@ 2>err || cat err)
result "readelf: the edges of its queue, in one server and in new ones" "$differ"
finish
