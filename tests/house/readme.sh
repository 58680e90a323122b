#!/bin/sh
# SPDX-License-Identifier: MIT
# README.md's example works, and the files keep the house rules.
. "$(dirname "$0")/tap"

# The first C block after the comment embed-example.
awk '/^<!-- embed-example -->$/ { mark = 1 }
	block && /^```/ { exit }
	block { print }
	mark && /^```c$/ { block = 1 }' README.md >"$tmp/example.c"
lines=$(wc -l <"$tmp/example.c")
check "README's example is there and has 50 lines at most ($lines)" \
	[ "$lines" -gt 0 -a "$lines" -le 50 ]
# shellcheck disable=SC2086 # CC may have flags
check "README's example builds" \
	$CC -std=c11 -Wall -Wextra -Werror -Iinclude "$tmp/example.c" build/libvellum.a -lpthread \
	-o "$tmp/example"
check "README's example runs" timeout 60 "$tmp/example"
for c in ./demo ./check; do
	check "README names $c" grep -qF -e "$c" README.md
done

# The files that git tracks or does not ignore; without git or a repository, all files outside build.
git ls-files -co --exclude-standard >"$tmp/files" 2>/dev/null && [ -s "$tmp/files" ] ||
	find . \( -path "./build*" -o -path ./.git \) -prune -o -type f -print | sed "s|^[.]/||" >"$tmp/files"

# shellcheck disable=SC2016 # ` is one of the characters
portable() { # FILES...: print lines with paths of one machine, and fail if there are any
	! grep -InE '\.\./[s]hared|(^|[][:space:]"'\''`=:(,<])/([h]ome|[w]ork|[r]oot|[U]sers)(/|$)' \
		/dev/null "$@"
}
all() { # FUNCTION: call it with all files, none of which has a space in its name
	# shellcheck disable=SC2046
	"$1" $(while read -r f; do [ -f "$f" ] && echo "$f"; done <"$tmp/files")
}
check "no file depends on where it is" all portable

source_files() {
	for f; do
		case ${f##*/} in
		*.[chSs] | *.sh | *.awk | *.mk | *.ld | *.map | *.py | Makefile) echo "$f" ;;
		*) head -c 2 "$f" | grep -aq '^#!' && echo "$f" ;;
		esac
	done
}
all source_files >"$tmp/sources"
short() {
	while read -r f; do
		[ "$(wc -l <"$f")" -le 1500 ] || { echo "$f: over 1500 lines"; false; } || return 1
	done <"$tmp/sources"
}
licensed() {
	r=0
	while read -r f; do
		case $f in	# a module for Linux needs the kernel's licence
		tests/oracle/module/*) licence='(GPL-2.0|MIT OR GPL-2.0|GPL-2.0 OR MIT)' ;;
		*) licence=MIT ;;
		esac
		head -n 3 "$f" | grep -qE "SPDX-License-Identifier: $licence( \*/)?$" || { echo "$f"; r=1; }
	done <"$tmp/sources"
	return $r
}
check "no source file has over 1500 lines" short
check "each source file has its licence line" licensed

printf 'x = /%s/me\n' home >"$tmp/planted"
caught "planted: path of a home" planted portable "$tmp/planted"
printf '#include "../%s/x.h"\n' shared >"$tmp/planted"
caught "planted: path out of the tree" planted portable "$tmp/planted"
exit $bad
