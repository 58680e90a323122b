#!/bin/sh
# SPDX-License-Identifier: MIT
# run.sh: build every mutant of the table and see the test that is named for it fail. TAP.
set -u
top=$(cd "$(dirname "$0")/../.." && pwd)
cd "$top" || exit 1
. ./tests/mutants/sources.sh
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
failed=0 last=

say() {
	[ "$1" = ok ] || failed=1
	echo "$1 - mutant $2"
}

# The mutated file in a tree of links, so that includes find it.
mutate() {	# file, expression
	rm -rf "$tmp/tree"
	mkdir "$tmp/tree"
	cp -r arch bench include lib mm machine abi cli host tests tools Makefile sources.mk "$tmp/tree"
	sed "$2" "$1" >"$tmp/tree/$1"
	! cmp -s "$1" "$tmp/tree/$1"
}

caught_by_explorer() {	# scenario
	(cd "$tmp/tree" && explorer_build "$tmp/explorer") >"$tmp/log" 2>&1 || { cat "$tmp/log"; return 2; }
	! timeout 300 "$tmp/explorer" "$1" >"$tmp/log" 2>&1 && grep -q "^not ok - explore $1:" "$tmp/log"
}

caught_by_unit() {	# program
	make -s -j2 -C "$tmp/tree" "build/unit/$1" >"$tmp/log" 2>&1 || { cat "$tmp/log"; return 2; }
	! timeout 120 "$tmp/tree/build/unit/$1" >"$tmp/log" 2>&1
}

caught_by_verify() {	# method
	make -s -j2 -C "$tmp/tree" build/vellum >"$tmp/log" 2>&1 || { cat "$tmp/log"; return 2; }
	# A store is only lost if it falls into the window: a busy program and many collections.
	timeout 120 "$tmp/tree/build/vellum" run --track="$1" --verify --interval=1ms \
		"$top/build/guest/storm" >"$tmp/log" 2>&1
	[ $? = 125 ] && grep -q 'differs from the replica' "$tmp/log"
}

while IFS='	' read -r name file expression test; do
	case $name in '#'* | '') continue ;; esac
	if [ "$name" != "$last" ] && ! mutate "$file" "$expression"; then
		say 'not ok' "$name: the expression changes nothing in $file"
		continue
	fi
	last=$name
	kind=${test%% *} what=${test#* }
	case $kind in
	explore) caught_by_explorer "$what" ;;
	unit) caught_by_unit "$what" ;;
	verify) caught_by_verify "$what" ;;
	esac
	case $? in
	0) say ok "$name is caught by $test" ;;
	2) say 'not ok' "$name does not build" ;;
	*) say 'not ok' "$name survives $test"; sed 's/^/# /' "$tmp/log" | tail -n 5 ;;
	esac
done <tests/mutants/table
exit $failed
