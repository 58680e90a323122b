#!/bin/bash
# SPDX-License-Identifier: MIT
#
# Names, paths and arguments of programs may have any bytes. Vellum's lines on stderr must contain no control characters
# and no bidirectional ones. JSON must be valid JSON in UTF-8.
#
# From the environment: VELLUM. Prints TAP.
set -u
. "$(dirname "$0")/lib.sh"

PROGRAMS=${PROGRAMS:-$root/build/programs}

# odd FILE: print bytes that are no text, and lines without Vellum's prefix.
odd() {
	LC_ALL=C grep -anP '[\x00-\x09\x0b-\x1f\x7f]|\xc2[\x80-\x9f]|\xe2\x80[\x8e\x8f\xa8-\xae]|\xe2\x81[\xa6-\xa9]' "$1" |
		head -n 3 | cat -v
	iconv -f UTF-8 -t UTF-8 "$1" >/dev/null 2>"$tmp/iconv" || cat "$tmp/iconv"
	grep -av '^vellum: ' "$1" | head -n 3 | cat -v
}

# strings: print each first byte with some second bytes, and each kind of invalid UTF-8, each on a line.
strings() {
	local first second

	for ((first = 1; first < 256; first++)); do
		for second in 22 41 5c 7f 80 85 9f a8 ae bf c2 e2 ed f4 ff; do
			printf '%b\n' "$(printf '\\x%02x\\x%s' "$first" "$second")"
		done
	done | LC_ALL=C grep -av '^$'
	printf '%b\n' '\xe2\x80\xae' '\xe2\x81\xa6' '\xe2\x80\xa8' '\xef\xbb\xbf' '\xe0\x80\x80' '\xed\xa0\x80' \
		'\xf0\x80\x80\x80' '\xf4\x90\x80\x80' '\xf0\x9f\x98\x80' '\xe2\x82' '\xf0\x9f\x98' '\xc0\xaf' '\xf8\x88\x80\x80\x80' \
		'\xed\x9f\xbf' '\xee\x80\x80' '</script><!--' '\\u0000' '"),\x1b[2J'
}

messages() {
	local evil

	evil=$tmp/$(printf '%b' 'a\x1b[31m\x01b\nvellum: c\xe2\x80\xae\xc0\x80\xc2\x9b"\\')
	cp "$PROGRAMS/doors" "$evil"
	sed 's/^/stat /' "$tmp/strings" | "$VELLUM" run --strace -- "$evil" >"$tmp/out" 2>"$tmp/err"
	result "--strace" "$([ "$(grep -ac 'newfstatat(\|stat(' "$tmp/err")" -ge 3000 ] || echo "too few lines")$(odd "$tmp/err")"
	"$VELLUM" run --track=wp --inspect=exit -- "$evil" </dev/null >"$tmp/out" 2>"$tmp/err"
	result "the summary and --inspect" "$(odd "$tmp/err")"
	"$VELLUM" run "$evil.not" 2>"$tmp/err"
	"$VELLUM" run --ram="$evil" true 2>>"$tmp/err"
	"$VELLUM" run --inspect="$evil" true 2>>"$tmp/err"
	"$VELLUM" run --json="$evil/x" "$PROGRAMS/doors" 2>>"$tmp/err"
	"$VELLUM" "$evil" 2>>"$tmp/err"
	"$VELLUM" report "$evil" -o "$evil.html" 2>>"$tmp/err"
	result "what cannot be run, read or written" \
		"$([ "$(wc -l <"$tmp/err")" = 6 ] || echo "not 6 lines")$(odd "$tmp/err")"
}

# json FILE: print what is wrong with it.
json() {
	iconv -f UTF-8 -t UTF-8 "$1" >/dev/null 2>"$tmp/iconv" || cat "$tmp/iconv"
	jq -e . "$1" >/dev/null 2>"$tmp/jq" || cat "$tmp/jq"
	LC_ALL=C grep -anP '[\x00-\x09\x0b-\x1f]' "$1" | head -n 3 | cat -v
}

json_strings() {
	local -a lines
	local nr

	mapfile -t lines <"$tmp/strings"
	cp "$PROGRAMS/doors" "$tmp/$(printf '%b' 'x\xff\xe2\x80"\\')"
	"$VELLUM" run --track=wp --json="$tmp/json" --inspect=exit,json,"$tmp/inspect" -- \
		"$tmp/$(printf '%b' 'x\xff\xe2\x80"\\')" "${lines[@]}" </dev/null >"$tmp/out" 2>&1
	nr=$(jq '.program | length' "$tmp/json")
	result "--json" "$([ "$nr" = $((${#lines[@]} + 1)) ] || echo "$nr arguments of ${#lines[@]}")$(json "$tmp/json")"
	result "--inspect=exit,json" "$(json "$tmp/inspect")"
	"$VELLUM" report "$tmp/json" -o "$tmp/page.html" 2>"$tmp/err"
	# The report's own element accounts for one match.
	result "no argument ends the report in the page" \
		"$(cat "$tmp/err")$(sed -n '/id="report"/,/<\/script>/p' "$tmp/page.html" | grep -ac '<!--\|<script' | grep -v '^[01]$')"
}

main() {
	[ -x "$VELLUM" ] || bail "no $VELLUM"
	[ -x "$PROGRAMS/doors" ] || bail "no $PROGRAMS/doors"
	tmp=$(mktemp -d)
	trap 'rm -rf "$tmp"' EXIT
	strings >"$tmp/strings"
	messages
	json_strings
	finish
}

main
