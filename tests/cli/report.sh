#!/bin/bash
# SPDX-License-Identifier: MIT
#
# `vellum report`: the page contains the report, and no part of the report runs as a script. Other input gets one
# line. A browser, if there is one, draws each mapping that was written.
#
# From the environment: VELLUM. Needs jq. Prints TAP.
set -u
. "$(dirname "$0")/lib.sh"

# shellcheck disable=SC2154 # root and busybox come from lib.sh
hostile='</script><img src=x onerror=document.title="owned"><!--<script>'

# --- reports ---

# A report with all members: pid 2 execs at 50 ms, and both its address spaces have a heap at one address.
sample() {
	jq -n --arg hostile "$hostile" '
	def mapping($pid; $first; $last; $name; $dirty; $faults; $from; $to):
		{ pid: $pid, start: $first, end: $last, prot: "rw-p", name: $name, offset: 0, pages: 16,
		  dirty_pages: $dirty, dirty_ranges: [[0, $dirty]], write_faults: $faults,
		  start_ns: $from, end_ns: $to };
	def process($pid; $name; $from; $to):
		{ pid: $pid, ppid: ($pid - 1), name: $name, start_ns: $from, end_ns: $to,
		  faults: { anon: 5, constructor: 1 }, tlb_flushes: 2, rss_pages: 9 };
	def collection($t; $ranges):
		{ t_ns: $t, pages: ([$ranges[][2]] | add), scan_ns: 1000, method: "auto", ranges: $ranges,
		  cost_ns: 2000, write_faults: 3, faults: { anon: 3, "</script>": 1 } };
	{ schema: "vellum-run/1", program: [$hostile, "\u00e9", "a b"], exit: { code: 3 }, machine: "qemu",
	  track: "auto", page_size: 4096, run_ns: 100000000, interval_ns: 10000000, total_collections: 10,
	  processes: [process(1; $hostile; 0; 100000000), process(2; "sh"; 10000000; 50000000),
		process(2; "sort"; 50000001; 90000000)],
	  mappings: [mapping(1; "0x10000"; "0x20000"; $hostile; 4; 4; 0; 100000000),
		mapping(2; "0x10000"; "0x20000"; "[heap]"; 3; 1; 10000000; 50000000),
		mapping(2; "0x10000"; "0x20000"; "[heap]"; 2; 0; 50000001; 90000000),
		mapping(2; "0x20000"; "0x30000"; ""; 0; 2; 50000001; 90000000),
		mapping(1; "0x40000"; "0x50000"; "untouched"; 0; 0; 0; 100000000)],
	  switches: [{ t_ns: 0, pid: 1, addr: "0x10000", pages: 16, method: "wp" },
		{ t_ns: 40000000, pid: 1, addr: "0x10000", pages: 8, method: "clean" },
		{ t_ns: 60000000, pid: 2, addr: "0x10000", pages: 16, method: "constructor" }],
	  collections: [collection(20000000; [[1, "0x10000", 2], [2, "0x11000", 3]]),
		collection(30000000; [[1, "0x12000", 2]]),
		collection(60000000; [[1, "0x10000", 1], [2, "0x1e000", 3]]),
		collection(70000000; [[2, "0x10000", 1], [7, "0x1000", 1]])],
	  counters: { faults: { anon: 15, cow: 0, constructor: 3 }, tlb_flushes: 6, exits: 9, syscalls: 8 } }'
}

# A report of an older version, without processes, times and switches.
older() {
	jq -c 'del(.processes, .switches, .run_ns, .interval_ns, .total_collections,
		.mappings[].start_ns, .mappings[].end_ns, .collections[].cost_ns,
		.collections[].write_faults, .collections[].faults)' "$tmp/sample.json"
}

# embedded PAGE: print the report in it.
embedded() {
	jq -Rs 'def hex: "0123456789abcdef"[. % 16:. % 16 + 1] as $digit |
			if . < 16 then $digit else (. / 16 | floor | hex) + $digit end;
		def ranges: . as $p | [range(0; length; 2) as $i | foreach range(0; $p[$i + 1] | length; 2) as $at ({ end: 0 };
			.start = .end + $p[$i + 1][$at] | .end = .start + $p[$i + 1][$at + 1];
			[$p[$i], "0x" + (.start * 4096 | hex), .end - .start])];
		split(" id=\"report\">")[1] | split("</script>")[0] | fromjson | .values as $v | del(.values) |
		with_entries(if (.value | type) == "object" and (.value | has("columns")) then .value |= (. as $t | [.rows[] |
			[range(length) as $i | select(.[$i] != null) | { key: $t.columns[$i], value:
				(if $t.shared[$i] then $v[.[$i]] else .[$i] end) }] | from_entries]) else . end) |
		if .collections then .collections[].ranges |= ranges else . end' "$1"
}

# shown REPORT: the parts of a report that its page contains
shown() {
	jq 'with_entries(if .key == "mappings" then .value |= map(select(.dirty_pages + .write_faults > 0)) else . end |
		if .key == "processes" then .value |= map(.faults |= with_entries(select(.value != 0))) else . end)' "$1"
}

# --- pages ---

# makes NAME JSON: the page contains what it shows of the report, and no additional elements.
makes() {
	local wrong='' scripts

	rm -f "$tmp/page.html"
	"$VELLUM" report "$2" -o "$tmp/page.html" >"$tmp/stdout" 2>"$tmp/stderr" || wrong="status $?"
	wrong="$wrong$(cat "$tmp/stdout" "$tmp/stderr")"
	cmp -s <(shown "$2" | jq -S .) <(embedded "$tmp/page.html" | jq -S .) || wrong="$wrong
the page's JSON differs"
	scripts=$(grep -o '<script\|</script\|<img\|<!--' "$tmp/page.html" | sort | uniq -c)
	[ "$scripts" = "$(grep -o '<script\|</script\|<img\|<!--' "$root/cli/report.html" | sort | uniq -c)" ] ||
		wrong="$wrong
other elements than the template has: $scripts"
	result "$1" "$(grep . <<<"$wrong")"
}

pages() {
	sample >"$tmp/sample.json"
	older >"$tmp/older.json"
	"$VELLUM" run --track=wp --interval=1ms --json="$tmp/real.json" -- \
		"$busybox" sh -c "seq 1 20000 | sort -r | head -n 1; : '$hostile'" >"$tmp/out" 2>&1 ||
		bail "vellum run failed: $(cat "$tmp/out")"
	makes "a report with all members" "$tmp/sample.json"
	makes "an older report" "$tmp/older.json"
	workers >"$tmp/workers.json"
	makes "a report of alike processes" "$tmp/workers.json"
	makes "the report of a run" "$tmp/real.json"
	jq '.mappings = [] | .collections = [] | .processes = []' "$tmp/sample.json" >"$tmp/bare.json"
	makes "a report without mappings" "$tmp/bare.json"
	"$VELLUM" report "$tmp/bare.json" -o "$tmp/page.html"
	result "a page refers to no other file" "$(sed 's/@REPORT@//' "$root/cli/report.html" |
		grep -niE '(src|href|action) *= *["'\'']?[^d"'\'']|https?:|url\(|@import|innerHTML|outerHTML|insertAdjacent|document\.write|eval\(|new Function')"
	"$VELLUM" run --track=wp --report="$tmp/many.html" -- "$busybox" sh -c \
		"for i in \$(seq 1000); do $busybox true; done" >"$tmp/out" 2>&1
	result "a page of 1,000 short processes is less than 2 MB" \
		"$([ "$(stat -c %s "$tmp/many.html")" -lt 2000000 ] || stat -c %s "$tmp/many.html")"
	result "other users may read the page" "$([ "$(stat -c %a "$tmp/page.html")" = 644 ] || stat "$tmp/page.html")"
}

streams() {
	"$VELLUM" report -o "$tmp/file.html" "$tmp/sample.json"
	"$VELLUM" report - --output="$tmp/stdin.html" <"$tmp/sample.json"
	result "the same from stdin" "$(cmp "$tmp/file.html" "$tmp/stdin.html" 2>&1)"
	"$VELLUM" report "$tmp/sample.json" -o - >"$tmp/stdout.html"
	result "the same to stdout" "$(cmp "$tmp/file.html" "$tmp/stdout.html" 2>&1)"
	env POSIXLY_CORRECT=1 "$VELLUM" report -- "$tmp/sample.json" -o "$tmp/posix.html" >"$tmp/out" 2>&1
	result "after --, all are files" "$(grep -q 'one file at a time' "$tmp/out" || cat "$tmp/out")"
	env POSIXLY_CORRECT=1 "$VELLUM" report "$tmp/sample.json" -o "$tmp/posix.html"
	result "options may come last" "$(cmp "$tmp/file.html" "$tmp/posix.html" 2>&1)"
}

# --- wrong arguments and input ---

# refuses NAME PATTERN ARG...: one line with the pattern, status 125, and the older page is unchanged.
refuses() {
	local name=$1 pattern=$2 wrong='' status

	shift 2
	echo old >"$tmp/page.html"
	"$VELLUM" report "$@" </dev/null >"$tmp/stdout" 2>"$tmp/stderr"
	status=$?
	[ "$status" -eq 125 ] || wrong="status $status"
	[ "$(wc -l <"$tmp/stderr")" -eq 1 ] || wrong="$wrong
$(wc -l <"$tmp/stderr") lines, expected one"
	grep -qa "^vellum: .*$pattern" "$tmp/stderr" || wrong="$wrong
stderr, without $pattern: $(head -n 5 "$tmp/stderr")"
	! grep -qaP '[^ -~]' "$tmp/stderr" || wrong="$wrong
bytes that a terminal obeys: $(od -c "$tmp/stderr" | head -n 5)"
	[ ! -s "$tmp/stdout" ] || wrong="$wrong
stdout: $(head -n 3 "$tmp/stdout")"
	[ "$(cat "$tmp/page.html")" = old ] || wrong="$wrong
the older page was changed"
	[ -z "$(find "$tmp" -name '*.html.*')" ] || wrong="$wrong
left: $(find "$tmp" -name '*.html.*')"
	result "$name" "$(grep . <<<"$wrong")"
}

# refuses_json NAME PATTERN: the same for the JSON on stdin.
refuses_json() {
	cat >"$tmp/bad.json"
	refuses "$1" "$2" "$tmp/bad.json" -o "$tmp/page.html"
}

# changed NAME PATTERN FILTER: the same for the sample, changed by jq.
changed() {
	refuses_json "$1" "$2" < <(jq "$3" "$tmp/sample.json")
}

bad_arguments() {
	refuses "no arguments" 'no file to read'
	refuses "no -o" 'add -o FILE.html' "$tmp/sample.json"
	refuses "-o without a name" 'needs a value' "$tmp/sample.json" -o
	refuses "-o with an empty name" 'no file to write' "$tmp/sample.json" -o ''
	refuses "two files" 'one file at a time' "$tmp/sample.json" "$tmp/older.json" -o "$tmp/page.html"
	refuses "an unknown option" 'unknown option' --bogus "$tmp/sample.json" -o "$tmp/page.html"
	refuses "a file that isn't there" 'nosuch.json: No such file' "$tmp/nosuch.json" -o "$tmp/page.html"
	refuses "a directory to read" 'Is a directory' "$tmp" -o "$tmp/page.html"
	refuses "a directory to write" 'is a directory' "$tmp/sample.json" -o "$tmp"
	refuses "a page in a missing directory" 'nowhere/page.html: No such' "$tmp/sample.json" -o "$tmp/nowhere/page.html"
	refuses "a page over its report" 'is the report itself' "$tmp/sample.json" -o "$tmp/../${tmp##*/}/sample.json"
	refuses "a full disk" 'cannot write /dev/full' "$tmp/sample.json" -o /dev/full
	refuses "nothing on stdin" 'stdin: is not JSON' - -o "$tmp/page.html"
}

bad_json() {
	local member

	refuses_json "an empty file" 'is not JSON' </dev/null
	refuses_json "a file that ends early" 'is not JSON: line' < <(head -c 700 "$tmp/sample.json")
	refuses_json "two reports in a file" 'is not JSON: line' < <(cat "$tmp/sample.json" "$tmp/sample.json")
	refuses_json "an ELF file" 'is not JSON' < <(head -c 3000 "$VELLUM")
	refuses_json "text that isn't UTF-8" 'is not JSON' < <(printf '{"\033[2J\377":1}')
	refuses_json "a string with NUL" 'is not JSON' <<<'{"schema":"vellum-run/1","program":["\u0000"]}'
	refuses_json "100000 levels" 'is not JSON' < <(head -c 100000 /dev/zero | tr '\0' '[')
	refuses_json "overlong UTF-8" 'is not JSON' < <(printf '{"\300\257":1}')
	refuses_json "half a surrogate pair" 'is not JSON' <<<'{"\ud800":1}'
	refuses_json "a number beyond all" 'is not JSON' <<<'[1e999]'
	refuses_json "an integer beyond all" 'is not JSON' <<<'[99999999999999999999]'
	refuses_json "a schema that moves the cursor" 'has the schema "\\x1b\[2J' <<<'{"schema":"\u001b[2J"}'
	refuses_json "a schema of 50 MB" 'has the schema "xxx' \
		< <(printf '{"schema":"' && head -c 50000000 /dev/zero | tr '\0' x && printf '"}')
	refuses_json "a list" 'has no "schema"' <<<'[1]'
	refuses_json "an empty object" 'has no "schema"' <<<'{}'
	changed "another schema" 'the schema "vellum-run/2"' '.schema = "vellum-run/2"'
	changed "a schema that a terminal would obey" 'the schema' '.schema = "\u001b[2J\n"'
	for member in program exit machine track page_size mappings collections counters; do
		changed "no $member" " $member: is missing" "del(.$member)"
		changed "$member is of another type" " $member: is " ".$member = null"
	done
	for member in processes switches run_ns interval_ns total_collections; do
		changed "$member is of another type" " $member: is " ".$member = \"x\""
	done
	changed "an argument that is a number" 'program\[1\]: is not a string' '.program[1] = 1'
	changed "a mapping that is a number" 'mappings\[2\]: is not an object' '.mappings[2] = 1'
	changed "an address that isn't hexadecimal" 'mappings\[0\].start: is not an address' '.mappings[0].start = "12"'
	changed "an address of 17 digits" 'mappings\[0\].end: is not an address' '.mappings[0].end = "0x12345678901234567"'
	changed "a mapping that ends before it starts" 'mappings\[1\]: ends before' '.mappings[1].end = "0x0"'
	changed "a negative count" 'mappings\[1\].dirty_pages: is not a count' '.mappings[1].dirty_pages = -1'
	changed "a range of one number" 'dirty_ranges\[0\]: is not a list of' '.mappings[1].dirty_ranges[0] = [1]'
	changed "a range of four" 'collections\[1\].ranges\[0\]: is not a list of' '.collections[1].ranges[0] += [1]'
	changed "a run without process" 'collections\[0\].ranges\[1\]\[0\]: is not a count' '.collections[0].ranges[1][0] = "1"'
	changed "a fault count that is a string" 'collections\[0\].faults.anon: is not a count' '.collections[0].faults.anon = "1"'
	changed "a process without name" 'processes\[1\].name: is missing' 'del(.processes[1].name)'
	changed "pages of no size" 'page_size: is not a power of two' '.page_size = 0'
}

# --- in a browser ---

find_browser() {
	command -v chromium || command -v chromium-browser || command -v google-chrome
}

# attributes NAME: print the values of that attribute in the DOM, each on a line.
attributes() {
	grep -o " $1=\"[^\"]*\"" "$tmp/dom" | sed 's/.*="//; s/"$//'
}

# browse JSON: open its page in the browser. $tmp/dom and $tmp/console are the DOM and the console's lines.
browse() {
	"$VELLUM" report "$1" -o "$tmp/browse.html"
	timeout -k 5 120 "$browser" --headless --no-sandbox --disable-gpu --user-data-dir="$tmp/profile" \
		--enable-logging=stderr --v=0 --window-size=1200,2000 --virtual-time-budget=5000 --dump-dom \
		"file://$tmp/browse.html" >"$tmp/dom" 2>"$tmp/console"
}

# workers: the sample and 7 processes of one program. 5 are alike; one has another argument 0, one far more faults.
workers() {
	jq 'reduce ([range(10; 15) | [., "worker", 2]] + [[15, "other", 2], [16, "worker", 900]])[] as [$pid, $first, $faults] (.;
		.processes += [{ pid: $pid, ppid: 1, name: "/bin/worker", args: [$first, "job", "\($pid)"], start_ns: 0,
			end_ns: 90000000, faults: {}, tlb_flushes: 0, rss_pages: 1, dirty_pages: 2,
			threads: [{ tid: $pid, name: "</script>", syscalls: 3 }] }] |
		.mappings += [.mappings[1] | .pid = $pid | .start_ns = 0 | .end_ns = 90000000 | .dirty_pages = 2 |
			.dirty_ranges = [[0, 2]] | .write_faults = $faults])' "$tmp/sample.json"
}

# alike NAME JSON: the page has a row for the workers that are alike, and rows of their own for the others.
alike() {
	local wrong='' pid

	browse "$2"
	[ "$(attributes data-alike)" = 5 ] || wrong="rows of several processes: $(attributes data-alike)"
	grep -q '<summary>worker job × 5: [^<]*; 10 pages dirtied, 2 by each' "$tmp/dom" || wrong="$wrong
$(grep -o '<summary>[^<]*' "$tmp/dom")"
	for pid in 10 11 12 13 14 15 16; do
		grep -q "data-process=\"$pid\"><h3>$pid worker</h3><p>[a-z]* job $pid; " "$tmp/dom" || wrong="$wrong
no process $pid with its arguments"
	done
	sed 's/<details/\n&/g; s/<section class="process"/\n&/g; s/<\/details>/&\n/g' "$tmp/dom" |
		sed -n '/data-alike/,/<\/details>/p' | grep -o 'data-process="[0-9]*"' | tr -dc '0-9\n' | sort >"$tmp/inside"
	[ "$(paste -sd' ' "$tmp/inside")" = "10 11 12 13 14" ] || wrong="$wrong
in the row: $(paste -sd' ' "$tmp/inside")"
	result "$1" "$(grep . <<<"$wrong")"
}

drawn() {
	local wrong=''

	browse "$2"
	grep -q 'data-ready="yes"' "$tmp/dom" || wrong="the script did not end"
	wrong="$wrong
$(grep -a CONSOLE "$tmp/console")"
	[ "$(attributes data-mapping | sort -n | tr '\n' ' ')" = "$(shown "$2" |
		jq -j '.mappings | keys[] | "\(.) "')" ] || wrong="$wrong
mappings: $(attributes data-mapping | sort -n | tr '\n' ' ')"
	[ "$(($(attributes 'data-found' | paste -sd+) + $(attributes data-unplaced)))" -eq \
		"$(jq '[.collections[].ranges[][2]] | add' "$2")" ] || wrong="$wrong
pages found: $(attributes data-found | paste -sd+) + $(attributes data-unplaced)"
	[ "$(attributes data-drawn | grep -c '[1-9]')" -gt 0 ] || wrong="$wrong
no heat map has a cell"
	! grep -q 'owned</title>\|<img' "$tmp/dom" || wrong="$wrong
the hostile name ran"
	result "$1" "$(grep . <<<"$wrong")"
}

# placed NAME JSON PAGES: the pages of each mapping, with the times and without them.
placed() {
	browse "$2"
	result "$1" "$([ "$(attributes data-found | paste -sd' ') $(attributes data-unplaced)" = "$3" ] ||
		echo "$(attributes data-found | paste -sd' ') $(attributes data-unplaced), expected $3")"
}

in_browser() {
	local step

	browser=$(find_browser)
	if [ -z "$browser" ]; then
		for step in "all members" "an older report" "a run" "pages to mappings, by time" \
			"pages to mappings, without times" "alike processes share a row"; do
			skip "drawn: $step" "no chromium"
		done
		return
	fi
	drawn "drawn: all members" "$tmp/sample.json"
	drawn "drawn: an older report" "$tmp/older.json"
	drawn "drawn: a run" "$tmp/real.json"
	# In the order of the page: by the number of dirtied pages.
	placed "drawn: pages to mappings, by time" "$tmp/sample.json" "5 3 3 1 1"
	placed "drawn: pages to mappings, without times" "$tmp/older.json" "6 0 1 5 1"
	alike "drawn: alike processes share a row" "$tmp/workers.json"
}

main() {
	[ -x "$VELLUM" ] || bail "no $VELLUM"
	command -v jq >/dev/null || bail "no jq"
	find_busybox
	tmp=$(mktemp -d)
	trap 'rm -rf "$tmp"' EXIT
	pages
	streams
	bad_arguments
	bad_json
	in_browser
	finish
}

main
