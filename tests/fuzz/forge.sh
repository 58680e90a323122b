#!/bin/bash
# SPDX-License-Identifier: MIT
#
# forge.sh [--seed N] [--runs N]: forge page-table entries in runs that fork, map and exit. Each run gets one forged
# entry after the other until the run ends. It must end with status 125 and one line about the entry, or as a program
# ends that loses its memory. Vellum must not crash or hang, and no sanitizer may report an error. Prints TAP.
set -u
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
VELLUM=${VELLUM:-$root/build/vellum} FUZZ_DIR=${FUZZ_DIR:-$root/build/fuzz}
seed=1 runs=10
while [ $# -gt 0 ]; do
	case $1 in
	--seed) seed=$2 ;;
	--runs) runs=$2 ;;
	*) exit 2 ;;
	esac
	shift 2
done
if [ "$(id -u)" != 0 ]; then
	echo "ok 1 - forged entries # SKIP only root can open QEMU's memory"
	echo 1..1
	exit 0
fi
busybox=$(command -v busybox)
tmp=$(mktemp -d)
trap '[ "$BASHPID" != $$ ] || rm -rf "$tmp"' EXIT
# shellcheck disable=SC2016 # the program's shell expands it
work='while :; do seq 1 200 | sort -r | tail -n 1; sleep 0.01; done'
found=0 ended=0

# one SEED: one run. Returns 0, or sets $why to a finding.
one() {
	local s=$1 i status vellum qemu

	"$VELLUM" run --ram=64M --swap=32M,zstd --track=clean -- "$busybox" sh -c "$work" >/dev/null 2>"$tmp/err" &
	vellum=$!
	for ((i = 0; i < 100; i++)); do
		qemu=$(pgrep -P $vellum qemu-system | head -n 1)
		[ -z "$qemu" ] || break
		sleep 0.05
	done
	sleep 0.4
	for ((i = 0; i < 60; i++)); do
		qemu=$(pgrep -P $vellum qemu-system | head -n 1)
		[ -n "$qemu" ] && "$FUZZ_DIR/forge" "$qemu" $((s * 1000 + i)) >>"$tmp/forged" 2>&1
		kill -0 $vellum 2>/dev/null || break
		sleep 0.05
	done
	(sleep 30; kill -KILL $vellum) 2>/dev/null &
	local watchdog=$!
	kill -TERM $vellum 2>/dev/null
	sleep 0.2
	kill -TERM $vellum 2>/dev/null
	wait $vellum
	status=$?
	kill $watchdog 2>/dev/null
	if grep -qE 'ERROR: AddressSanitizer|runtime error' "$tmp/err"; then
		why="a sanitizer's report"
	elif [ $status = 137 ]; then
		why="it does not end"
	elif [ $status = 134 ] || [ $status = 139 ] || [ $status = 135 ] || [ $status = 133 ]; then
		why="Vellum crashed: status $status"
	elif [ $status = 125 ] && [ "$(grep -c 'did not write the page-table entry' "$tmp/err")" != 1 ]; then
		why="status 125 without the line"
	else
		[ $status != 125 ] || ended=$((ended + 1))
		return 0
	fi
	return 1
}

for ((n = 0; n < runs; n++)); do
	: >"$tmp/forged"
	if one $((seed + n)); then
		echo "ok $((n + 1)) - forged entries, seed $((seed + n))"
	else
		found=1
		echo "not ok $((n + 1)) - forged entries: $why; again: $0 --seed $((seed + n)) --runs 1"
		tail -n 20 "$tmp/err" "$tmp/forged" | cut -c 1-200 | sed 's/^/# /'
	fi
done
echo "# $ended of $runs runs ended at a forged entry"
echo "1..$runs"
exit $found
