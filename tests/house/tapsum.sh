#!/bin/sh
# SPDX-License-Identifier: MIT
# tap-sum counts correctly, also when a command fails.
. "$(dirname "$0")/tap"

sums() { # STATUS LAST-LINE [-t N] COMMAND-LINE...
	want_status=$1 want=$2
	shift 2
	tests/tap-sum "$@" >"$tmp/out" 2>&1 </dev/null
	got_status=$?
	cat "$tmp/out"
	[ $got_status = "$want_status" ] && [ "$(tail -n 1 "$tmp/out")" = "$want" ]
}
listed() { # TEXT: the list of failures of the last run has the text
	sed -n '/^failed:$/,$p' "$tmp/out" | grep -F -e "$1"
}

check "all pass" sums 0 "3 passed, 0 failed" 'echo ok - a; echo ok - b' 'echo 1..1; echo ok 1 - c'
check "one fails" sums 1 "1 passed, 1 failed" 'echo ok 1 - a; echo not ok 2 - b; exit 1'
check "the failure is listed" listed ': b'
check "skipped tests" sums 0 "1 passed, 0 failed, 3 skipped" \
	'echo ok - a; echo "ok - b # SKIP no b"; echo "not ok 3 # SKIP c"' 'echo "1..0 # skip all"'
check "fails without a word" sums 1 "1 passed, 1 failed" 'echo ok - a; exit 3'
check "its name and status are listed" listed 'exit 3: exit status 3'
check "is killed" sums 1 "0 passed, 1 failed" 'kill -9 $$'
check "the signal is listed" listed 'killed by signal 9'
check "can't be run" sums 1 "0 passed, 1 failed" ./no-such-command
check "takes too long" sums 1 "2 passed, 1 failed" -t 1 'echo ok - a; sleep 100' 'echo ok - b'
check "the time is listed" listed 'timed out after 1 s'
check "says nothing" sums 1 "0 passed, 1 failed" true
check "stops before its plan's end" sums 1 "1 passed, 1 failed" 'echo 1..2; echo ok 1 - a'
check "dies after a failure" sums 1 "0 passed, 2 failed" 'echo not ok - a; kill -9 $$'
check "ends within a line, has CRs and NULs" sums 0 "3 passed, 0 failed" \
	'printf "ok - a\r\n\000\377\nok 2 - b\nok"'
check "words that only look like it" sums 1 "0 passed, 1 failed" 'echo okay; echo "  ok - sub"'
check "leaves a process behind" \
	timeout 50 tests/tap-sum 'sleep 60 & echo ok - a; echo $! >'"$tmp/pid"
kill "$(cat "$tmp/pid")" 2>/dev/null
check "no commands" sh -c '! tests/tap-sum'
exit $bad
