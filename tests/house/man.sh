#!/bin/sh
# SPDX-License-Identifier: MIT
# The man pages are well-formed, and agree with the command, the headers and the compiler.
. "$(dirname "$0")/tap"

lint() { # FILE: no message, except that the other page is not installed
	mandoc -T lint "$1" 2>/dev/null >"$tmp/lint"
	! grep -vE 'STYLE: referenced manual not found: Xr' "$tmp/lint"
}
formats() {
	groff -mandoc -ww -Tutf8 "$1" >/dev/null 2>"$tmp/groff" || return 1
	cat "$tmp/groff"
	[ ! -s "$tmp/groff" ]
}
for page in man/*.[13]; do
	if command -v mandoc >/dev/null; then
		check "mandoc finds no fault with $page" lint $page
	else
		echo "ok - mandoc finds no fault with $page # SKIP no mandoc"
	fi
	if command -v groff >/dev/null; then
		check "groff formats $page" formats $page
	else
		echo "ok - groff formats $page # SKIP no groff"
	fi
done

# The words of a page without mdoc's marks. Does not need mandoc or groff.
words() {
	sed 's/^\.[A-Z][A-Za-z]* *//; s/ *Ns *//g; s/Fl -/--/g; s/\\-/-/g' "$1"
}
options() { # every option and command that the help names
	words man/vellum.1 >"$tmp/words"
	build/vellum --help >"$tmp/help" || return 1
	sed -n 's/^  \(--[a-z]*\).*/\1/p; s/^ *\(usage: \)\{0,1\}vellum \([a-z]*\).*/\2/p' "$tmp/help" |
		sort -u >"$tmp/named"
	[ "$(wc -l <"$tmp/named")" -gt 8 ] || { echo "too few options in the help"; return 1; }
	while read -r o; do
		grep -qwF -e "$o" "$tmp/words" || { echo "$o is not in man/vellum.1"; return 1; }
	done <"$tmp/named"
}
check "vellum(1) has every option and command of --help" options

headers() {
	for h in include/vellum/*.h; do
		grep -qx "\.In vellum/${h##*/}" man/vellum.3 ||
			{ echo "vellum/${h##*/} is not in man/vellum.3"; return 1; }
	done
}
check "vellum(3) has every header" headers
functions() { # FILES...: the functions that the pages name exist
	cat include/vellum/*.h >"$tmp/headers"
	sed -n 's/^\.F[no] \(vellum_[a-z_0-9]*\).*/\1/p' "$@" | while read -r f; do
		# A macro defines vellum_soft_load64 and similar.
		grep -qE "\b($f|$(echo "$f" | sed 's/[0-9]*$//')##bits)[(,]" "$tmp/headers" ||
			{ echo "$f is in no header"; return 1; }
	done
}
check "what pages of section 3 name is in the headers" functions man/*.3
snapshot_functions() { # FILE: the page has each function of vellum/snapshot.h, with its arguments
	sed -n 's/^[a-z].*\b\(vellum_snapshot_[a-z]*\)(.*/\1/p' include/vellum/snapshot.h >"$tmp/declared"
	[ -s "$tmp/declared" ] || { echo "no functions in vellum/snapshot.h"; return 1; }
	tr '\n' ' ' <include/vellum/snapshot.h | tr -s ' \t' ' ' >"$tmp/header"
	while read -r f; do
		grep -qE "^\.Nm $f( ,)?\$" "$1" || { echo "$f has no .Nm"; return 1; }
		arguments=$(sed -n "/^\.Fo $f\$/,/^\.Fc/s/^\.Fa \"\(.*\)\"\$/\1/p" "$1" | paste -sd , | sed 's/,/, /g')
		grep -qF "$f($arguments);" "$tmp/header" || { echo "$f has other arguments than ($arguments)"; return 1; }
	done <"$tmp/declared"
}
check "vellum_snapshot(3) has every function, with its arguments" snapshot_functions man/vellum_snapshot.3

example() { # FILE: its program
	awk '/^\.\\" begin example/ { on = 1; next }
		/^\.\\" end example/ { exit }
		on && !/^\.[BE]d/ { gsub(/\\e/, "\\"); print }' "$1"
}
example man/vellum.3 >"$tmp/example.c"
# shellcheck disable=SC2086 # CC may have flags
check "vellum(3)'s example compiles" $CC -std=c11 -Wall -Wextra -Werror -Iinclude "$tmp/example.c" \
	build/libvellum.a -lpthread -o "$tmp/example"
finds_page() {
	timeout 60 "$tmp/example" >"$tmp/out" || return 1
	cat "$tmp/out"
	grep -q '^1 changed from page 0x[0-9a-f]* on$' "$tmp/out"
}
check "vellum(3)'s example finds the page it stored to" finds_page
example man/vellum_snapshot.3 >"$tmp/loop.c"
grep -q vellum_snapshot_restore "$tmp/loop.c" || echo '#error "no example"' >"$tmp/loop.c"
# shellcheck disable=SC2086
check "vellum_snapshot(3)'s example compiles" $CC -std=c11 -Wall -Wextra -Werror -Iinclude -fsyntax-only "$tmp/loop.c"

sed 's/^\.Fa "uint64_t index"/.Fa "uint64_t number"/' man/vellum_snapshot.3 >"$tmp/planted.3"
caught "planted: another argument" 'vellum_snapshot_mapping has other arguments' snapshot_functions "$tmp/planted.3"
sed '/^\.Nm vellum_snapshot_info/d' man/vellum_snapshot.3 >"$tmp/planted.3"
caught "planted: a function without a name line" 'vellum_snapshot_info has no .Nm' snapshot_functions "$tmp/planted.3"
{ cat man/vellum_snapshot.3; echo .Fn vellum_snapshot_planted; } >"$tmp/planted.3"
caught "planted: a function that no header has" vellum_snapshot_planted functions "$tmp/planted.3"
exit $bad
