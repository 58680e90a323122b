#!/bin/sh
# SPDX-License-Identifier: MIT
# unit.sh N: the threaded and random core tests N times over: races show with repetition. TAP.
cd "$(dirname "$0")/../.." || exit 1
log=$(mktemp) || exit 1
trap 'rm -f "$log"' EXIT
failed=0
for name in test_stress test_tracker_random test_dirty test_tlb test_gup_races test_swap_stress test_cache_stress; do
	bad=0
	for i in $(seq "${1:-10}"); do
		build/unit/$name >"$log" 2>&1 || { bad=$((bad + 1)); tail -n 5 "$log" | sed 's/^/# /'; }
	done
	[ $bad = 0 ] && echo "ok - $name, ${1:-10} times" || { echo "not ok - $name: $bad of ${1:-10} runs failed"; failed=1; }
done
exit $failed
