#!/bin/sh
# SPDX-License-Identifier: MIT
# fail_sweep.sh allocs|frames [TEST...]: each allocation of the unit tests made to fail, one at a time, in all tests or
# the named ones (tests/unit/fail_sweep.h); not in those that have allocations fail themselves. TAP, a line a test.
# UNIT: the folder of the tests, build/unit.
set -u
cd "$(dirname "$0")/../.." || exit 1
what=${1:?allocs or frames}
shift
[ $# -gt 0 ] || set -- $(ls tests/unit/*/test_*.c | sed 's|.*/||; s|\.c$||; /oom/d')
log=$(mktemp) || exit 1
trap 'rm -f "$log"' EXIT
for test; do
	if VELLUM_FAIL_SWEEP=$what CMOCKA_MESSAGE_OUTPUT=TAP timeout 3600 "${UNIT:-build/unit}/$test" >"$log" 2>&1; then
		echo "ok - $test, $what failing: $(sed -n 's/^# \([0-9]* failures\)/\1/p' "$log" | tail -n 1)"
	else
		echo "not ok - $test, $what failing"
		grep -A 3 -E '^(ERROR|not ok)' "$log" | sed 's/^/# /' | head -n 40
	fi
done
