#!/bin/sh
# SPDX-License-Identifier: MIT
# run.sh [-j WORKERS] [-s] [-h] [NAME...]: build the mutants of the table, all or the named ones, and check that the test
# named for each fails. -s: only the first test of each mutant. -h: half of the mutants, another half when the core
# changes. TAP.
#
# Each worker has a copy of the tree, with the objects of the unmutated code. Objects that a mutation makes stale are
# put aside, rebuilt, and restored afterwards.
set -u
top=$(cd "$(dirname "$0")/../.." && pwd)
cd "$top" || exit 1
table=tests/mutants/table
workers=$(nproc) short= half=
while getopts j:sh opt; do
	case $opt in
	j) workers=$OPTARG ;;
	s) short=1 ;;
	h) half=$(cat mm/*/*.c | cksum | cut -d' ' -f1) half=$((half % 2)) ;;
	*) exit 2 ;;
	esac
done
shift $((OPTIND - 1))
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

# The lines to run, with those of one mutant adjacent.
[ -z "$half" ] || echo "# half $half; make soak runs all"
awk -F '\t' -v names=" $* " -v short="$short" -v half="$half" '
	/^#/ || /^$/ { next }
	names !~ /^ *$/ && index(names, " " $1 " ") == 0 { next }
	!($1 in number) { number[$1] = nr++ }
	half != "" && number[$1] % 2 != half { next }
	short && seen[$1]++ { next }
	{ print }' "$table" >"$tmp/lines"
if [ ! -s "$tmp/lines" ]; then
	echo "not ok - no mutant is called $*"
	exit 1
fi

make -s -j"$workers" build/explore/explore unit-build guests build/vellum >"$tmp/log" 2>&1 || {
	sed 's/^/# /' "$tmp/log"
	echo 'not ok - the unmutated code does not build'
	exit 1
}

# A copy with the times of the original, so that make finds its objects up to date.
make_tree() {	# folder
	mkdir -p "$1/build/unit"
	cp -rp abi arch bench cli examples host include lib libvellum.map machine mm proc tests tools Makefile sources.mk "$1"
	for f in obj gen explore; do cp -rp "build/$f" "$1/build"; done
	cp -p build/unit/*.d "$1/build/unit"
}

# Put aside the objects made from the file $1, and mutate the file. False: the expression changes nothing.
mutate() {	# file, expression
	mkdir -p "$tree/aside/$(dirname "$1")"
	cp -p "$top/$1" "$tree/aside/$1"
	sed "$2" "$top/$1" >"$tree/$1"
	! cmp -s "$top/$1" "$tree/$1" || return 1
	(
		cd "$tree" || exit
		grep -rlE --include='*.d' "(^| )$1( |:|\$)" build | while read -r d; do
			mkdir -p "aside/${d%/*}"
			[ ! -e "${d%.d}.o" ] || mv "${d%.d}.o" "aside/${d%.d}.o"
		done
	)
}

restore() {
	rm -f "$tree/build/explore/explore" "$tree/build/vellum"
	find "$tree/build/unit" -type f ! -name '*.d' -delete
	(cd "$tree/aside" && find . -type f) | while read -r f; do mv "$tree/aside/$f" "$tree/$f"; done
}

build() {	# target
	make -s -C "$tree" WARNINGS=-w "$1" >"$tree/log" 2>&1	# a mutation may leave code unused
}

# 0: the test fails, as it should. 1: it passes. 2: the mutant does not build.
caught() {	# kind, what
	case $1 in
	explore)
		build build/explore/explore || return 2
		timeout 120 "$tree/build/explore/explore" "$2" >"$tree/log" 2>&1
		status=$?	# 132: SIGILL, an assertion that a lock is held
		[ $status = 132 ] || { [ $status != 0 ] && grep -q "^not ok - explore $2:" "$tree/log"; }
		;;
	unit)
		build "build/unit/$2" || return 2
		! timeout 20 "$tree/build/unit/$2" >"$tree/log" 2>&1	# a thread may wait for ever
		;;
	verify)
		build build/vellum || return 2
		# A store is lost only in a short window, so this needs a busy program and many collections.
		timeout 120 "$tree/build/vellum" run --track="$2" --verify --interval=1ms \
			"$top/build/guest/storm" >"$tree/log" 2>&1
		[ $? = 125 ] && grep -q 'differs from the replica' "$tree/log"
		;;
	contract)	# clang's analysis of lock contracts
		! timeout 120 clang -std=c11 -fsyntax-only -I"$tree" -I"$tree/include" -Wthread-safety -Werror \
			"$tree/$file" >"$tree/log" 2>&1 && grep -q 'Wthread-safety' "$tree/log"
		;;
	start)	# the self-test of the machine, at every start
		build build/vellum || return 2
		timeout 120 "$tree/build/vellum" run "$top/build/guest/crash" ill >"$tree/log" 2>&1
		[ $? = 125 ] && grep -q 'not isolated' "$tree/log"
		;;
	esac
}

worker() {	# number
	tree=$tmp/tree$1 last=
	make_tree "$tree"
	awk -F '\t' -v n="$workers" -v w="$1" '$1 != last { i++; last = $1 } i % n == w' "$tmp/lines" >"$tree/lines"
	while IFS='	' read -r name file expression test <&3; do
		if [ "$name" != "$last" ]; then
			[ -z "$last" ] || restore
			last=$name
			changed=1
			mutate "$file" "$expression" || changed=
		fi
		if [ -z "$changed" ]; then
			echo "not ok - mutant $name: the expression changes nothing in $file"
			continue
		fi
		caught "${test%% *}" "${test#* }"
		case $? in
		0) echo "ok - mutant $name is caught by $test" ;;
		2) echo "not ok - mutant $name does not build"; sed 's/^/# /' "$tree/log" | tail -n 5 ;;
		*) echo "not ok - mutant $name survives $test"; sed 's/^/# /' "$tree/log" | tail -n 5 ;;
		esac
	done 3<"$tree/lines" >"$tmp/out$1"
}

n=0
while [ "$n" -lt "$workers" ]; do
	worker "$n" &
	n=$((n + 1))
done
wait
cat "$tmp"/out*
! grep -q '^not ok' "$tmp"/out*
