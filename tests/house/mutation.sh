#!/bin/sh
# SPDX-License-Identifier: MIT
# The mutants of a small program are the expected ones, all of them compile, and the tests kill those that they should.
. "$(dirname "$0")/tap"

/usr/bin/python3 -c 'import clang.cindex as c; c.Index.create()' 2>/dev/null || {
	echo "ok - mutants of a small program # SKIP no python3-clang-14"
	exit 0
}
expected=tests/mutation/selftest/tiny.expected
check "the mutants of a small program are the expected ones" tests/mutation/selftest/selftest.py $expected

sed 's/survived$/killed/' $expected >"$tmp/expected"
caught "planted: a mutant that should be killed" "missing: " tests/mutation/selftest/selftest.py "$tmp/expected"
grep -v early $expected >"$tmp/expected"
caught "planted: a mutant that nothing expects" "not expected: " tests/mutation/selftest/selftest.py "$tmp/expected"

# With the list as it is, no entry is stale.
equivalents() { # LIST
	cp "$1" "$tmp/equivalents"
	(cd tests/mutation && /usr/bin/python3 -B - "$tmp/equivalents" <<-'END'
		import pathlib, sys
		import schemata, sources, state
		import os
		os.chdir(sources.TOP)
		files = sources.core_files()
		mutants, _ = schemata.generate(files, files + sources.headers())
		state.EQUIVALENTS = pathlib.Path(sys.argv[1])
		print(len(state.equivalents(mutants)), "of", len(mutants))
	END
	)
}
check "every entry of the list of equivalent mutants matches one" equivalents tests/mutation/equivalents
{ cat tests/mutation/equivalents; printf 'mm/no.c\tno\ttrue\ta => 1\t1\tplanted\n'; } >"$tmp/list"
caught "planted: an entry that matches no mutant" "matches no mutant" equivalents "$tmp/list"
exit $bad
