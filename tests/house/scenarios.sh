#!/bin/sh
# SPDX-License-Identifier: MIT
# docs/scenarios.md is what gen-scenarios makes of the tests, and every number in the tests is in the list.
. "$(dirname "$0")/tap"

current() { # DIR: docs/scenarios.md is what gen-scenarios makes of these tests
	tools/gen-scenarios "$1" >"$tmp/scenarios.md" || return 1
	cmp -s docs/scenarios.md "$tmp/scenarios.md" || {
		echo "docs/scenarios.md is not what the tests say: run tools/gen-scenarios > docs/scenarios.md"
		diff docs/scenarios.md "$tmp/scenarios.md" | head -n 20
		return 1
	}
}
listed() { # DIR
	tools/gen-scenarios "$1" >"$tmp/scenarios.md" || return 1
	! grep '^Not in the list' "$tmp/scenarios.md"
}
check "docs/scenarios.md is made from the tests as they are" current tests
check "every number that a test carries is in the list" listed tests

cp -R tests "$tmp/tests"
# The number is put together here, so that this file does not contain it.
kind=wpc
echo "static void planted(void **state) /* T-$kind-01 */" >>"$tmp/tests/unit/track/test_dirty.c"
caught "planted: one more test" "run tools/gen-scenarios > docs/scenarios.md" current "$tmp/tests"
echo "/* T-$kind-99 */" >>"$tmp/tests/unit/track/test_dirty.c"
caught "planted: a number that nobody knows" "Not in the list: T-$kind-99" listed "$tmp/tests"
exit $bad
