# SPDX-License-Identifier: MIT
#
# Compares a report of `vellum run` with what the guest program said about itself.
#
# Input: the report. $said: the program's stdout, lines as tests/guest/guest.h has them.
# $track: the method that was asked for. Output: one text per difference; none if all is well.

def unhex:
	.[2:] | explode
	| reduce .[] as $c (0; . * 16 + (if $c >= 97 then $c - 87 else $c - 48 end));

def ranges_to_pages: [.[] | range(.[0]; .[0] + .[1])];

def text_to_ranges:
	if . == "-" or . == "" then [] else split(",") | map(split("+") | map(tonumber)) end;

# Sorted pages as "first+count,...", so that the same set is the same text.
def pages_to_text:
	reduce unique[] as $p ([];
		if length > 0 and (.[-1] | .[0] + .[1]) == $p then .[-1][1] += 1 else . + [[$p, 1]] end)
	| if length == 0 then "-" else map("\(.[0])+\(.[1])") | join(",") end;

def mapping_text: "pid \(.pid) at \(.start) \(.prot): \(.pages | pages_to_text)";

# 0x100000000 to 0x200000000: there every mapping is one that the program made and named.
def in_program_slots: (.start | unhex) as $a | $a >= 4294967296 and $a < 8589934592;

# Multiset difference of texts.
def minus($other):
	reduce $other[] as $o (.; index($o) as $i | if $i then .[:$i] + .[$i + 1:] else . end);

def said_lines($kind): $said | split("\n")[] | split(" ") | select(.[0] == $kind);

def said_mappings($kind):
	[said_lines($kind)
	 | {pid: (.[1] | tonumber), start: .[2], prot: .[3],
	    pages: (.[4] | text_to_ranges | ranges_to_pages)}];

def said_windows:
	[said_lines("WINDOW")
	 | (.[3] | unhex / 4096) as $lo
	 | {key: {pid: (.[1] | tonumber), name: .[2], lo: $lo, hi: (.[4] | unhex / 4096)},
	    pages: (.[5] | text_to_ranges | ranges_to_pages)}]
	| group_by(.key)[] | {key: .[0].key, pages: (map(.pages) | add | unique)};

def listed_in_window($key):
	[.mappings[]
	 | select(.pid == $key.pid and ($key.name == "-" or .name == $key.name))
	 | (.start | unhex / 4096) as $first
	 | .dirty_ranges | ranges_to_pages[] + $first
	 | select(. >= $key.lo and . < $key.hi) - $key.lo] | unique;

def window_differences:
	. as $report | said_windows | . as $w
	| ($report | listed_in_window($w.key) | pages_to_text) as $got
	| ($w.pages | pages_to_text) as $want
	| select($got != $want)
	| "pid \($w.key.pid) \($w.key.name) from page \($w.key.lo): expected \($want), listed \($got)";

def mapping_differences:
	said_mappings("EXPECT") as $must
	| said_mappings("MAYBE") as $may
	| ($must | map({pid, start})) as $named
	| [.mappings[] | {pid, start, prot, pages: (.dirty_ranges | ranges_to_pages)}
	   | select(in_program_slots or ({pid, start} as $k | $named | index($k)))
	   | mapping_text] as $got
	| ($must | map(mapping_text)) as $want
	| ($want | minus($got) | .[] | "expected, not listed: " + .),
	  ($got | minus($want) | minus($may | map(mapping_text)) | .[] | "listed, not expected: " + .);

# What any report has to keep, whatever the program does.
def form_differences:
	(select(.schema != "vellum-run/1") | "schema is \(.schema)"),
	(select(.exit != {code: 0}) | "exit is \(.exit)"),
	(select(.track != $track) | "track is \(.track)"),
	(select(.page_size != 4096) | "page_size is \(.page_size)"),
	(.mappings[] | . as $m
	 | (select((.end | unhex) - (.start | unhex) != .pages * 4096) | "pages"),
	   (select((.dirty_ranges | map(.[1]) | add // 0) != .dirty_pages) | "dirty_pages"),
	   (select(any(.dirty_ranges[]; .[0] < 0 or .[1] < 1 or .[0] + .[1] > $m.pages))
	    | "a range outside the mapping"),
	   (select(.dirty_ranges | ranges_to_pages | length != (unique | length))
	    | "ranges that overlap")
	 | "pid \($m.pid) at \($m.start): \(.)"),
	(.collections[] | . as $c
	 | (select(.method != $track) | "method \(.method)"),
	   (select((.ranges | map(.[2]) | add // 0) != .pages) | "pages")
	 | "collection at \($c.t_ns): \(.)");

def speech_differences:
	(said_lines("FAIL") | join(" ")),
	(if [said_lines("DONE")] | length == 1 then empty else "the program didn't come to its end" end);

speech_differences, form_differences, mapping_differences, window_differences
