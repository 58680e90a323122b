#!/bin/bash
# SPDX-License-Identifier: MIT
#
# `vellum run --inspect` of the known address space of tests/guest/space.c; and programs that need more memory than --ram,
# with and without --swap (tests/guest/swapped.c).
#
# From the environment: VELLUM, GUEST_DIR (see tests/guest). Prints TAP.
#
# shellcheck disable=SC2016 # jq and the shell under test expand these strings
set -u
. "$(dirname "$0")/lib.sh"

# --- one run ---

# run OPTION... -- PROGRAM [ARG...]: sets $status, $tmp/stdout and $tmp/stderr.
run() {
	timeout -k 5 120 "$VELLUM" run "$@" </dev/null >"$tmp/stdout" 2>"$tmp/stderr"
	status=$?
}

# ended STATUS: print what is wrong if the run ended otherwise.
ended() {
	[ "$status" -eq "$1" ] || { echo "status $status, expected $1"; head -n 5 "$tmp/stderr"; }
}

# holds FILE JQ-FILTER: the filter must be true for the array of all snapshots of the file.
holds() {
	jq -es "$jq_helpers $2" "$1" >"$tmp/jq" 2>&1 || { echo "false: $2"; head -n 5 "$tmp/jq"; }
}

# The mapping that starts at an address, and its entries without their frame numbers.
jq_helpers='
	def mapping($start): .mappings[] | select(.start == $start);
	def entries($start): [mapping($start).entries[] | [.start, .pages, .kind, (.flags | join(" "))]];
	def own: "writable dirty accessed soft-dirty anon exclusive";
	def shared_by_fork: "dirty accessed soft-dirty saved-dirty anon";'

space() {
	run "$@" -- "$GUEST_DIR/space" "$tmp/file"
}

# --- JSON ---

exits() {
	local out=$tmp/exits

	space --inspect="exit,json,$out"
	result "exit: the program runs to its end" "$(ended 0; cmp "$tmp/stdout" - <<<DONE)"
	result "exit: a snapshot for each process, in order" "$(holds "$out" \
		'map([.schema, .pid, .when]) == [["vellum-inspect/1", 2, "exit"], ["vellum-inspect/1", 1, "exit"]]')"
	result "exit: the program's name" "$(holds "$out" 'all(.[]; .name | endswith("/space"))')"
	result "exit: mappings have the members that SPEC.md lists" "$(holds "$out" 'all(.[].mappings[];
		keys == ["end", "entries", "name", "offset", "prot", "rss_pages", "shared", "start", "swapped_pages"])')"
	result "exit: the counts are those of the entries" "$(holds "$out" 'all(.[].mappings[]; . as $m |
		([.entries[] | select(.kind | IN("page", "zero", "raw")) | .pages] | add // 0) == $m.rss_pages
		and $m.swapped_pages == 0)')"
	result "a child that stored to one of its pages" "$(holds "$out" '.[0] | entries("0x100000000") == [
		["0x100000000", 1, "page", "dirty soft-dirty saved-dirty anon"], ["0x100001000", 1, "page", own],
		["0x100002000", 1, "page", "dirty soft-dirty saved-dirty anon"], ["0x100004000", 2, "zero", ""],
		["0x100008000", 1, "page", "dirty soft-dirty saved-dirty anon"]]')"
	result "its parent" "$(holds "$out" '.[1] | entries("0x100000000") == [["0x100000000", 3, "page", shared_by_fork],
		["0x100004000", 2, "zero", "accessed"], ["0x100008000", 1, "page", shared_by_fork]]')"
	result "a page that both still have, and one that the child copied" "$(holds "$out" '
		map([mapping("0x100000000").entries[] | range(.pages) as $i | .pfn + $i]) |
		.[0][0] == .[1][0] and .[0][1] != .[1][1]')"
	result "shared memory that the child did not touch" "$(holds "$out" '
		(.[0] | entries("0x104000000") == []) and (.[1] | mapping("0x104000000") |
		.shared and .prot == "rw-" and .rss_pages == 1)')"
}

moments() {
	space --inspect=syscall:getpid,json,- --inspect=syscall:getpid:2,json,"$tmp/second" \
		--inspect=signal:USR1,json,"$tmp/signal" --inspect=signal:SIGUSR1,json,"$tmp/signal" \
		--inspect=syscall:getpid:3,json,"$tmp/third"
	result "several at once" "$(ended 0)"
	grep -v DONE "$tmp/stdout" >"$tmp/first"
	result "before the first call: no page was stored to" "$(holds "$tmp/first" 'length == 1 and .[0].when ==
		"syscall:getpid" and (.[0] | mapping("0x100000000").rss_pages == 0)')"
	result "before the second call: all pages were stored to" "$(holds "$tmp/second" 'length == 1 and .[0].when == "syscall:getpid:2" and
		(.[0] | entries("0x100000000") == [["0x100000000", 3, "page", own], ["0x100004000", 2, "zero", "accessed"],
		["0x100008000", 1, "page", own]])')"
	result "a call that was not made: no snapshot" "$([ -e "$tmp/third" ] && [ ! -s "$tmp/third" ] || echo "a snapshot")"
	result "before the handler of a signal, for two options" "$(holds "$tmp/signal" \
		'map([.pid, .when]) == [[1, "signal:USR1"], [1, "signal:SIGUSR1"]]')"
	result "PROT_NONE" "$(holds "$tmp/second" '.[0] | (mapping("0x101000000").prot == "---") and
		(mapping("0x101000000").entries[0].flags | contains(["no-access", "saved-dirty"])) and
		(entries("0x101002000") == [["0x101002000", 2, "page", own]])')"
	result "a guard" "$(holds "$tmp/second" '.[0] | mapping("0x102000000").rss_pages == 6 and
		(entries("0x102000000") | length == 3 and .[1] == ["0x102002000", 2, "marker", "guard"])')"
	result "a private file: the own page and the file's" "$(holds "$tmp/second" '.[0] |
		(mapping("0x103000000").name | endswith("/file")) and (entries("0x103000000") ==
		[["0x103000000", 1, "page", own], ["0x103001000", 1, "page", "accessed"]])')"
	result "2 MiB in one entry" "$(holds "$tmp/second" '.[0] | mapping("0x105000000").entries |
		length == 1 and .[0].start == "0x105200000" and .[0].pages == 512 and .[0].entry_size == 2097152')"
	run --inspect=signal:SEGV,json,- -- "$GUEST_DIR/crash" segv
	result "a signal that kills" "$(ended 139; holds "$tmp/stdout" 'map([.pid, .when]) == [[1, "signal:SEGV"]]')"
	run --inspect=signal:CHLD,json,- -- "$GUEST_DIR/space" "$tmp/file"
	result "a signal that is ignored" "$(ended 0; cmp "$tmp/stdout" - <<<DONE)"
}

# --- text ---

# block START: print the lines of the text for the mapping at START, without frame numbers.
block() {
	awk -v start="$1-" 'index($0, "-") == 13 { on = index($0, start) == 1 } on' "$tmp/text" | sed 's/ pfn .*//'
}

text() {
	space --inspect=syscall:getpid:2,text,"$tmp/text"
	result "text: the head" "$(ended 0; head -n 1 "$tmp/text" |
		grep -vE '^process 1 \(.*/space\) at syscall:getpid:2: [0-9]+ pages present, 0 swapped out$')"
	result "text: a mapping" "$(block 000100000000 | diff - <(cat <<-END
		000100000000-000100010000 rw-p 00000000 rss 6 swapped 0 of 16  anonymous
		  tables 512G 000000000000, 1G 000100000000, 2M 000100000000
		    000100000000-000100003000      3 x 4K page   WDAS-- anon exclusive
		    000100004000-000100006000      2 x 4K zero   --A---
		    000100008000-000100009000      1 x 4K page   WDAS-- anon exclusive
	END
	))"
	result "text: a guard" "$(block 000102000000 | grep -c '2 x 4K marker ------ guard$' | grep -v '^1$')"
	result "text: no table below a huge entry" "$(block 000105000000 | sed 1d | diff - <(cat <<-END
		  tables 512G 000000000000, 1G 000100000000
		    000105200000-000105400000      1 x 2M page   WDAS-- anon exclusive
	END
	))"
	space --inspect=exit
	result "text on stderr: each line begins with vellum:" "$(ended 0; grep -v '^vellum: ' "$tmp/stderr"
		[ "$(grep -c ' at exit: ' "$tmp/stderr")" -eq 2 ] || echo "not two processes")"
	result "text on stderr: stdout is the program's" "$(cmp "$tmp/stdout" - <<<DONE)"
}

# --- many processes, and output that fails ---

outputs() {
	local i

	run --cpus=4 --inspect=exit,json,- --inspect=exit,json,"$tmp/many" -- "$busybox" sh -c \
		'for i in 1 2 3 4 5 6 7 8 9 10 11 12; do busybox true & done; wait'
	for i in "$tmp/stdout" "$tmp/many"; do
		result "13 processes at once: whole lines in ${i##*/}" \
			"$(ended 0; holds "$i" 'map(.pid) | sort == [range(1; 14)]')"
	done
	run --inspect=exit,/dev/full -- "$busybox" true
	result "a full disk" "$(ended 125; grep -c '^vellum: cannot write.*/dev/full' "$tmp/stderr" | grep -v '^1$')"
	run --inspect=exit,"$tmp/a,text,b" -- "$busybox" true
	result "a file name with commas" "$(ended 0; [ -s "$tmp/a,text,b" ] || echo "it is not there")"
}

# --- swap ---

# swaps NAME SWAP [OPTION...]: a working set larger than RAM keeps its contents.
swaps() {
	local name=$1 swap=$2

	shift 2
	run --ram=8M --swap="$swap" --json="$tmp/report" "$@" -- "$GUEST_DIR/swapped" 24
	result "24 MiB in a RAM of 8M: $name" "$(ended 0; cmp "$tmp/stdout" - <<<DONE
		holds "$tmp/report" '.[0].counters | .swapped_out > 4000 and .swapped_in > 4000 and .faults.swap > 0')"
	rm -f "$tmp/report"
}

swap() {
	swaps "a temporary file" 64M
	swaps "zstd" 64M,zstd
	mkdir "$tmp/folder"
	swaps "a folder" 64M,"$tmp/folder"
	result "nothing is left in the folder" "$(ls "$tmp/folder")"
	swaps "a file, verified" 64M,"$tmp/area" --track=wp --verify
	result "the file is there and empty" "$([ -e "$tmp/area" ] && [ ! -s "$tmp/area" ] || ls -l "$tmp/area")"
	swaps "zstd, verified" 64M,zstd --track=clean --interval=2ms --verify
	run --ram=8M --swap=64M,zstd --inspect=exit,json,"$tmp/swapped" -- "$GUEST_DIR/swapped" 24
	result "entries that are swapped out" "$(ended 0; holds "$tmp/swapped" '.[1] | mapping("0x100000000") |
		.swapped_pages > 1000 and .rss_pages + .swapped_pages == 3072 and
		([.entries[] | select(.kind == "swap" and .swap_area == 0 and (.swap_offset | type) == "number") |
		.pages] | add) == .swapped_pages')"
	run --ram=8M -- "$GUEST_DIR/swapped" 24
	result "without swap: one line says what to do" "$(ended 137; grep -vE \
		'^vellum: out of memory: .*--ram or --swap$' "$tmp/stderr"; [ -s "$tmp/stderr" ] || echo "no line")"
	run --ram=8M --swap=4M -- "$GUEST_DIR/swapped" 24
	result "a full swap area" "$(ended 137)"
	run --ram=64M -- "$busybox" true
	result "without swap, no line about it" "$(ended 0; cat "$tmp/stderr")"
}

main() {
	[ -x "$VELLUM" ] || bail "no $VELLUM"
	[ -x "$GUEST_DIR/space" ] || bail "no $GUEST_DIR/space"
	find_busybox
	tmp=$(mktemp -d)
	trap 'rm -rf "$tmp"' EXIT
	seq 2000 | head -c 8192 >"$tmp/file"
	exits
	moments
	text
	outputs
	swap
	finish
}

main
