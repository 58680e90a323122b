#!/bin/bash
# SPDX-License-Identifier: MIT
#
# vellum repeat: programs that change all that a process can change find the same in each run; runs that differ are
# reported; where a program is frozen; errors. From the environment: VELLUM. Prints TAP.
set -u
. "$(dirname "$0")/lib.sh"

VELLUM=$(readlink -f "$VELLUM")
program=$root/build/programs/repeated
runs=${RUNS:-25}
tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT
echo abcdefghijkl >"$tmp/in"

# repeat ARGUMENT...: $status, $output (the program's), $said (Vellum's)
repeat() {
	output=$(cd "$tmp" && timeout -k 5 120 "$VELLUM" repeat --ram=256M "$@" 2>"$tmp/said" <"$tmp/in")
	status=$?
	said=$(cat "$tmp/said")
}

all() { printf 'status %s\n%s\n%s\n' "$status" "$output" "$said"; }

alike() { # NAME END: all runs are alike, and end so
	result "$1" "$([ $status = 0 ] && [[ $said == *"$runs runs, $2, "*"all runs are alike, and memory"* ]] || all)"
}

for mode in $("$program"); do
	case $mode in
	differs | sets_no_new_privs | drops_capabilities) continue ;;
	raises_nice) [ "$(id -u)" = 0 ] || continue; end="status 0" ;;
	threads) end="status 3" ;;
	leaves) end="status 5" ;;
	crash) end="signal 11" ;;
	*) end="status 0" ;;
	esac
	repeat -n "$runs" --check -- "$program" $mode
	alike "after each run is undone: $mode" "$end"
	case $mode in
	memory) want='counter 0 buffer 0 *' ;;
	descriptors) want="0 1 2 $tmp umask 22 at 0 abcd flags 0" ;;
	signals) want='handler 0 blocked 0 pending 0 stack 2 timer 0 id 0' ;;
	executes) want='from the shell' ;;
	processes) want='pid 1 child 2 status 400' ;;
	*) continue ;;
	esac
	# shellcheck disable=SC2053 # a pattern
	result "$mode: what the first run wrote is shown" "$([[ $output == $want ]] || all)"
done

repeat -n 5 -- "$program" sets_no_new_privs
result "PR_SET_NO_NEW_PRIVS cannot be undone" "$([ $status = 125 ] && [[ $said == *"the program set PR_SET_NO_NEW_PRIVS"* ]] || all)"
if [ "$(id -u)" = 0 ]; then
	repeat -n 5 -- "$program" drops_capabilities
	result "nor can capabilities" "$([ $status = 125 ] && [[ $said == *"its capabilities"* ]] || all)"
fi

repeat -n 5 -- "$program" differs
result "runs that differ are reported" "$([ $status = 1 ] && [[ $said == *"4 runs differ from the first one; run 2: other output"* ]] || all)"

# Where it is frozen: the function is in the runs, and what is before it is not.
cat >"$tmp/places.c" <<'END'
#include <stdio.h>
#include <unistd.h>
static int before;
__attribute__((constructor)) static void start(void) { before++; write(2, "early\n", 6); }
__attribute__((noinline)) int later(int x) { printf("before %d\n", before++); return x; }
int main(int argc, char **argv)
{
	char c;

	before++;
	if (argc > 1 && read(0, &c, 1) != 1)
		return 1;
	return later(argc + 1) + !argv;
}
END
for kind in -static "-static-pie -fPIE" -pie -no-pie; do
	# shellcheck disable=SC2086 # words
	gcc -O1 $kind -o "$tmp/places" "$tmp/places.c" || continue
	repeat -n 5 "$tmp/places"
	result "gcc $kind: frozen at main" "$([ $status = 0 ] && [ "$output" = "before 2" ] && [[ $said == *alike* ]] || all)"
	repeat -n 5 --at=later "$tmp/places"
	result "gcc $kind: frozen in a function" "$([ $status = 0 ] && [ "$output" = "before 2" ] && [[ $said == *alike* ]] || all)"
	address=$(nm "$tmp/places" | awk '$3 == "later" { print $1 }')
	repeat -n 5 --at="0x$address" "$tmp/places"
	result "gcc $kind: frozen at an address" "$([ $status = 0 ] && [ "$output" = "before 2" ] && [[ $said == *alike* ]] || all)"
	strip "$tmp/places"
	repeat -n 5 "$tmp/places"
	result "gcc $kind: main is found without symbols" "$([ $status = 0 ] && [ "$output" = "before 2" ] && [[ $said == *alike* ]] || all)"
done
repeat -n 5 --at=first-read "$tmp/places" x
result "frozen at the first read of descriptor 0" "$([ $status = 0 ] && [ "$output" = "before 2" ] && [[ $said == *alike* ]] || all)"

# Other threads park, and wait again in each run. The frozen thread need not be the first one.
parked=$root/build/programs/parked
for mode in main other all; do
	repeat -n "$runs" --check --at=place -- "$parked" $mode
	alike "threads that wait where the program is frozen: $mode" "status 0"
	case $mode in
	all) want='8 threads came to the place' ;;
	*) want=$'cond 7 own 5\nread 120 own 5\npoll 1 own 5\nepoll 1 own 5\nsleep 1 own 5\nsigwait 12 own 5\nsuspend 1 own 5\ncompute 9 own 5' ;;
	esac
	result "$mode: what the first run wrote is shown" "$([ "$output" = "$want" ] || all)"
done
repeat -n 3 --at=place -- "$parked" apart
result "a thread with descriptors of its own" "$([ $status = 125 ] && [[ $said == "vellum: thread 2 (parked) of the program has descriptors"* ]] || all)"
repeat -n 3 --at=place -- "$parked" forks
result "other processes" "$([ $status = 125 ] && [[ $said == "vellum: the program has other processes where"* ]] || all)"

repeat -n 6 --at=place -- "$root/build/programs/sent_file" "$tmp/in"
result "an offset that moves by a received descriptor" "$([ $status = 0 ] && [[ $said == *alike* ]] || all)"

repeat -n 3 --at=missing "$tmp/places"
result "a function that there is not" "$([ $status = 125 ] && [ "$said" = "vellum: the program has no function missing; name another place, as --at=0xADDRESS or --at=first-read" ] || all)"
repeat -n 3 --at=first-read "$program" crash
result "a place that is not reached" "$([ $status != 0 ] && [[ $said == *"the program ended before it was at the place to freeze it"* ]] || all)"
for wrong in "-n 0" "-n x" "--check=0" "--at=0xyz" "--at=" "--track=wp"; do
	# shellcheck disable=SC2086 # words
	repeat $wrong "$program" crash
	result "refused: $wrong" "$([ $status = 125 ] && [ "$(wc -l <"$tmp/said")" = 1 ] || all)"
done

repeat -n 20 --json="$tmp/figures.json" -- "$program" memory
result "the figures as JSON" "$(jq -e '.runs == 20 and .different == 0 and .end == "status 0" and .pages_per_run > 200 and
	.reset_us_median > 0 and .reset_us_99_percent >= .reset_us_median and .runs_per_second > 0' "$tmp/figures.json" 2>&1 | grep -vx true)"

# Ctrl-C ends the run, and then there are no more.
timeout -k 5 --signal=INT 2 "$VELLUM" repeat -n 1000000000 -- "$program" floating_point >"$tmp/out" 2>"$tmp/said" <"$tmp/in"
status=$? output=$(cat "$tmp/out") said=$(cat "$tmp/said")
result "SIGINT ends the runs, and the figures are printed" "$([[ $said == *" runs, status 0, "* ]] || all)"
finish
