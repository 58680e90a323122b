#!/bin/bash
# SPDX-License-Identifier: MIT
#
# elf_native.sh [--files N] [--seed N]: generated ELF files and scripts, valid, odd and broken (elf.c): execve(2) has the
# same result on the host's kernel, in a box, as under `vellum run`: the error, the signal, or the sum of the bytes of its
# memory. Differences that are meant are in `meant` below, with reasons. From the environment: VELLUM, FUZZ_DIR. Prints TAP.
set -u
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
VELLUM=$(readlink -f "${VELLUM:-$root/build/vellum}")
FUZZ_DIR=$(readlink -f "${FUZZ_DIR:-$root/build/fuzz}")
files=2000 seed=1 per_group=100
while [ $# -gt 1 ]; do
	case $1 in
	--files) files=$2 ;;
	--seed) seed=$2 ;;
	*) exit 2 ;;
	esac
	shift 2
done
groups=$(((files + per_group - 1) / per_group))

tmp=$(mktemp -d) || exit 1
trap 'kill $(jobs -p) 2>/dev/null; wait; rm -rf "$tmp"' EXIT
trap 'exit 1' HUP INT TERM
mkdir "$tmp/host" "$tmp/here"
sh "$here/box.sh" "$tmp/host" true >"$tmp/out" 2>&1 || {
	echo "ok 1 - generated ELF files # SKIP no box can be made here: $(tail -n 1 "$tmp/out")"
	echo "1..1"
	exit 0
}

start() { # WHERE COMMAND...
	local where=$1 first=

	shift
	[ "$where" = host ] && first=--first
	# shellcheck disable=SC2086 # no words or one
	exec timeout -k 5 1800 sh "$here/box.sh" $first "$tmp/$where" "$@" </dev/null >"$tmp/$where.out" 2>"$tmp/$where.err"
}
# Both refuse private memory that is larger than RAM and swap. Vellum places nothing at random, so Linux shall not either.
ram=$(awk '/^(Mem|Swap)Total:/ { sum += $2 } END { print sum "K" }' /proc/meminfo)
start host setarch "$(uname -m)" -R "$FUZZ_DIR/elf" "$seed" 0 "$groups" "$per_group" v &
start here "$VELLUM" run --ram="$ram" -- "$FUZZ_DIR/elf" "$seed" 0 "$groups" "$per_group" v &
wait
for where in host here; do
	grep -a '^result ' "$tmp/$where.out" >"$tmp/$where.results"	# a line for each file
done

# Results that may differ, for one of these reasons:
# "high": a segment is in the highest 4 GiB, where Linux's and Vellum's stacks and mmap(2) areas are, 60 KiB apart.
# "entry": the entry of a position-independent file is outside of its segments, so in what happens to be beside them.
meant='^result [0-9]* (high|entry): '

paste -d '|' "$tmp/host.results" "$tmp/here.results" | sed 's/|/ | /' | awk -F ' [|] ' '$1 != $2' >"$tmp/all"
grep -vE "$meant" "$tmp/all" >"$tmp/differ"
n=$(wc -l <"$tmp/here.results")
if [ "$n" -ge "$files" ] && [ "$(wc -l <"$tmp/host.results")" = "$n" ] && [ ! -s "$tmp/differ" ]; then
	echo "ok 1 - $n generated ELF files: as on the host's kernel"
	echo "# $(grep -cE "$meant" "$tmp/host.results") of them where the two may differ, $(wc -l <"$tmp/all") of which do"
	status=0
else
	echo "not ok 1 - $n generated ELF files, $(wc -l <"$tmp/differ") differ: as on the host's kernel (--seed $seed)"
	head -n 20 "$tmp/differ" | sed 's/^/# host | here: /'
	head -n 6 "$tmp/differ" | sed 's/^result \([0-9]*\).*/\1/' | while read -r i; do
		grep -a "^$i: [0-9]* bytes: " "$tmp/here.out" | cut -c1-1300 | sed 's/^/# file /'
		echo "# again: elf $seed $i 1 1 v"
	done
	status=1
fi
echo "1..1"
exit $status
