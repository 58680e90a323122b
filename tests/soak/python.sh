#!/bin/bash
# SPDX-License-Identifier: MIT
#
# python.sh [MODULE...]: Python's own tests of threads, signals, processes and mapped files have the results under
# `vellum run` that they have natively in the same run: plain, and tracked with --track=auto --verify. Needs Debian's
# libpython3-testsuite. From the environment: VELLUM. Prints TAP.
set -u
. "$(dirname "$0")/../cli/lib.sh"

python=/usr/bin/python3
[ $# -gt 0 ] || set -- test_mmap test_thread test_threading test_signal test_os test_posix test_fork1 test_queue \
	test_subprocess test_select test_selectors test_epoll test_poll test_socket test_socketserver test_asyncore \
	test_pty test_resource test_time test_tempfile test_concurrent_futures
VELLUM=$(readlink -f "$VELLUM")
tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT

# A PID namespace: the tests send signals.
boxed() {
	if [ "$(id -u)" = 0 ]; then
		unshare --pid --fork --kill-child --mount --mount-proc "$@"
	else
		"$@"
	fi
}

# tests MODULE NAME COMMAND...: run the module by COMMAND, and write "TEST RESULT" lines to $tmp/NAME.
tests() {
	local module=$1 name=$2

	shift 2
	rm -rf "$tmp/cwd" && mkdir "$tmp/cwd"
	(cd "$tmp/cwd" && boxed timeout -k 5 1200 "$@" "$python" -m test -v -u all,-largefile,-gui,-urlfetch \
		--junit-xml "$tmp/$name.xml" "$module") >"$tmp/$name.out" 2>&1 </dev/null
	echo "status $?" >"$tmp/$name"
	"$python" - "$tmp/$name.xml" >>"$tmp/$name" <<'END'
import sys, xml.etree.ElementTree as xml
for case in sorted(xml.parse(sys.argv[1]).iter('testcase'), key=lambda c: c.get('name')):
    print(case.get('name'), *([c.tag for c in case if c.tag not in ('system-out', 'system-err')] or [case.get('status')]))
END
}

"$python" -c 'import test.test_fork1' 2>/dev/null || { skip "Python's tests" "no libpython3-testsuite"; finish; exit; }
for module; do
	tests "$module" host env
	for options in "" "--track=auto --verify"; do
		# shellcheck disable=SC2086 # several words
		tests "$module" here "$VELLUM" run $options --
		# One test sets the host's clock, which programs may not, and is skipped then.
		result "$module${options:+, $options}: $(($(wc -l <"$tmp/host") - 1)) tests as natively" \
			"$(diff <(grep -v test_monotonic_settime "$tmp/host") <(grep -v test_monotonic_settime "$tmp/here") && ! grep -a 'vellum: .*differ' "$tmp/here.out")"
	done
done
finish
