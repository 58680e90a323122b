#!/bin/sh
# SPDX-License-Identifier: MIT
# Every line of the mutants' table changes its file and names a test that exists. So a change of the code that
# makes a line void is found here at once, and not only when the mutants are built.
. "$(dirname "$0")/tap"

known() { # TEST: as in the table
	case $1 in
	'unit '*) ls tests/unit/*/"${1#unit }.c" >/dev/null 2>&1 ;;
	'explore '*) grep -qF "\"${1#explore }\"" tests/explore/*.c ;;
	'verify '* | 'start rings' | 'contract clang') true ;;
	*) false ;;
	esac
}
valid() { # TABLE
	lines=0 void=0
	while IFS='	' read -r name file expression test; do
		case $name in
		'#'* | '') continue ;;
		esac
		lines=$((lines + 1))
		if ! sed "$expression" "$file" >"$tmp/mutated" || cmp -s "$tmp/mutated" "$file"; then
			echo "$name: the expression changes nothing in $file"
			void=1
		fi
		known "$test" || { echo "$name: no test is called $test"; void=1; }
	done <"$1"
	[ "$lines" -gt 0 ] && [ "$void" = 0 ]
}
check "every line of the mutants' table changes its file, for a test that there is" valid tests/mutants/table

printf 'planted\tmm/remap.c\ts/no such text//\tunit test_huge\n' >"$tmp/table"
caught "planted: an expression that finds nothing" "planted: the expression changes nothing" valid "$tmp/table"
printf 'planted\tmm/remap.c\ts/vma/amv/\tunit test_no_such\n' >"$tmp/table"
caught "planted: a test that there isn't" "planted: no test is called unit test_no_such" valid "$tmp/table"
exit $bad
