#!/bin/bash
# SPDX-License-Identifier: MIT
#
# Run a fuzzer's program on `vellum run`, in a box (box.sh). Prints TAP.
#
#   run.sh [OPTION...] FUZZER     syscalls, instructions, elf, sigreturn or threads; see tests/fuzz/FUZZER.c
#     --seed N      default 1           --first N    the first group, default 0
#     --groups N    default 4           --cases N    per group, default: the fuzzer's
#     --batch N     groups per `vellum run`, default 50
#     --limit S     seconds until a run counts as hanging, default 300
#     --verbose     print each case before it runs
#     --aborts      instructions: include those that are known to abort QEMU
#     --option=X    pass X to `vellum run`; may be repeated
#     --native      run on the host's kernel instead; not for syscalls
#
# From the environment: VELLUM, FUZZ_DIR (the programs). For a finding, prints the command that replays it, and where
# the output is.
#
# Findings: a run that does not end in time, or ends with a status other than 0; a report of a sanitizer; a line of
# vellum that is not expected for such programs; a line FINDING of the fuzzer; a process outside that ended, or a
# file outside that changed. Restarts of QEMU, after it aborted at an instruction, are counted, and are not findings.
set -u
export LC_ALL=C

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
VELLUM=$(readlink -f "${VELLUM:-$root/build/vellum}")
FUZZ_DIR=$(readlink -f "${FUZZ_DIR:-$root/build/fuzz}")
seed=1 first=0 groups=4 cases='' batch=50 limit=300 verbose='' aborts='' native='' options=()

# Lines that vellum may print about such programs.
expected='^vellum: (a program failed after system calls that are not supported: .*'
expected+='|process [0-9]+ \(.*\) made a 32-bit system call .*'
expected+='|out of memory: process [0-9]+ \(.*\) killed.*'
expected+='|[^:]*: (not a program|truncated|32-bit program|program for another|ELF file|its interpreter|neither an ELF file|script).*'
expected+='|[^:]*: (is a directory|permission denied).*)$'
# The summary of a tracked run.
expected+='|^vellum: ( *pid .*| *[0-9]+ .*|and [0-9]+ more .*|faults: .*|tracked by .*|verified: .*)$'
restarted='^vellum: process [0-9]+ \(.*\) is killed with SIGILL: '

usage() {
	sed -n '3,/^$/s/^# \{0,1\}//p' "$0" >&2
	exit 2
}

while [ $# -gt 0 ]; do
	case $1 in
	--seed) seed=$2 && shift ;;
	--first) first=$2 && shift ;;
	--groups) groups=$2 && shift ;;
	--cases) cases=$2 && shift ;;
	--batch) batch=$2 && shift ;;
	--limit) limit=$2 && shift ;;
	--verbose) verbose=v ;;
	--aborts) aborts=a ;;
	--option=*) options+=("${1#--option=}") ;;
	--native) native=1 ;;
	-*) usage ;;
	*) break ;;
	esac
	shift
done
[ $# -eq 1 ] || usage
fuzzer=$1
case $fuzzer in
syscalls | instructions | sigreturn | threads) : "${cases:=2000}" ;;
elf) : "${cases:=200}" ;;
*) usage ;;
esac
[ -z "$native" ] || [ "$fuzzer" != syscalls ] || usage

tmp=$(mktemp -d) || exit 1
keep=''
trap '[ -n "$keep" ] || rm -rf "$tmp"' EXIT
pid=''
# Pass the signal to the box.
trap '[ -z "$pid" ] || { kill "$pid" && wait "$pid"; }; exit 1' HUP INT TERM
mkdir "$tmp/scratch"

sh "$here/box.sh" "$tmp/scratch" true >"$tmp/out" 2>&1
status=$?
if [ $status -ne 0 ] && [ $status -ne 121 ]; then
	echo "ok 1 - $fuzzer # SKIP no box can be made here: $(tail -n 1 "$tmp/out")"
	echo "1..1"
	exit 0
fi

# replay GROUP: print the command that repeats one group.
replay() {
	echo "VELLUM=$VELLUM bash tests/fuzz/run.sh --seed $seed --first $1 --groups 1 --cases $cases" \
		"${options[@]/#/--option=}" ${native:+--native} ${aborts:+--aborts} --verbose "$fuzzer"
}

# judge STATUS: print what is wrong with a run that ended with STATUS. Its output is in $tmp/out, vellum's in $tmp/err.
judge() {
	case $1 in
	0) ;;
	120 | 121) echo "the box cannot be made or leaks: status $1" ;;
	122) echo "a process outside was ended" ;;
	123) echo "a file outside was changed" ;;
	124 | 137) echo "no end within $limit s, or killed: status $1" ;;
	*) echo "status $1" ;;
	esac
	grep -aq '^DONE ' "$tmp/out" || echo "the program did not come to its end"
	grep -a '^FINDING \|^FAIL ' "$tmp/out"
	grep -a 'Sanitizer\|runtime error:' "$tmp/err"
	grep -a '^vellum: ' "$tmp/err" | grep -avE "$restarted|$expected" | sort -u
}

# run_groups FIRST COUNT
run_groups() {
	local command=("$FUZZ_DIR/$fuzzer" "$seed" "$1" "$2" "$cases") way=() status

	[ -z "$verbose" ] || command+=(v)
	[ -z "$aborts" ] || command+=(a)
	if [ -n "$native" ]; then
		way=(--first)
	else
		command=("$VELLUM" run --ram=512M "${options[@]}" -- "${command[@]}")
	fi
	: >"$tmp/out"
	: >"$tmp/err"
	timeout -k 5 "$limit" sh "$here/box.sh" "${way[@]}" "$tmp/scratch" "${command[@]}" \
		</dev/null >"$tmp/out" 2>"$tmp/err" &
	pid=$!
	wait "$pid"
	status=$?
	pid=''
	# Vellum killed process 1 because memory was exhausted: its groups end here.
	if [ $status -eq 137 ] && grep -aq '^vellum: out of memory: process 1 ' "$tmp/err"; then
		echo "DONE cases 0" >>"$tmp/out"
		status=0
	fi
	judge $status
}

restarts=0 number=0 bad=0
: >"$tmp/totals"
for ((at = first; at < first + groups; at += count)); do
	count=$((first + groups - at < batch ? first + groups - at : batch))
	number=$((number + 1))
	run_groups "$at" "$count" >"$tmp/what"
	what=$(cat "$tmp/what")
	restarts=$((restarts + $(grep -acE "$restarted" "$tmp/err")))
	grep -a '^DONE cases [0-9]*,' "$tmp/out" >>"$tmp/totals"
	# A run that ended early ended in the group that was printed last: continue after it.
	stopped=$(sed -n 's/^group \([0-9]*\)$/\1/p' "$tmp/out" | tail -n 1)
	stopped=$((${stopped:-at}))
	grep -aq '^DONE cases [0-9]*,' "$tmp/out" || count=$((stopped - at + 1))
	if [ -z "$what" ]; then
		echo "ok $number - $fuzzer, seed $seed, groups $at to $((at + count - 1))"
		continue
	fi
	bad=1 keep=1
	cp "$tmp/out" "$tmp/out.$number"
	cp "$tmp/err" "$tmp/err.$number"
	echo "not ok $number - $fuzzer, seed $seed, group $stopped"
	printf '%s\n' "$what" | head -n 20 | cut -c 1-200 | sed 's/^/# /'
	echo "# output: $tmp/out.$number $tmp/err.$number"
	echo "# $(replay "$stopped")"
done
# All lines have the same words: add up the numbers.
awk '{ for (i = 2; i <= NF; i++) if ($i ~ /^[0-9]+,?$/) sum[i] += $i; else word[i] = $i; n = NF }
	END { printf "#"; for (i = 2; i <= n; i++) printf " %s", i in sum ? sum[i] (i < n ? "," : "") : word[i]; print "" }' \
	"$tmp/totals"
echo "# $fuzzer: seed $seed, groups $first to $((first + groups - 1)), $cases cases each;" \
	"QEMU was started anew $restarts times"
echo "1..$number"
exit $bad
