#!/bin/sh
# SPDX-License-Identifier: MIT
# docs/api.md is what gen-api makes of the headers, and every function of the library is documented in it.
. "$(dirname "$0")/tap"

current() { # DIR: docs/api.md is what gen-api makes of these headers
	tools/gen-api "$1" >"$tmp/api.md" || return 1
	cmp -s docs/api.md "$tmp/api.md" || {
		echo "docs/api.md is not what the headers say: run tools/gen-api > docs/api.md"
		diff docs/api.md "$tmp/api.md" | head -n 20
		return 1
	}
}
documented() { # DIR: every symbol that libvellum.so exports has a comment in the headers
	tools/gen-api -f "$1" | sort -u >"$tmp/documented" || return 1
	nm -D --defined-only build/libvellum.so | awk 'NF == 3 && $2 != "A" { sub(/@.*/, "", $3); print $3 }' |
		sort -u >"$tmp/exported"
	[ -s "$tmp/exported" ] || { echo "no exported functions"; return 1; }
	# A macro makes the functions of a group of sizes: the comment above it names them with N.
	comm -13 "$tmp/documented" "$tmp/exported" | while read -r name; do
		grep -qsw "${name%%[0-9]*}N" "${1:-include/vellum}"/*.h || echo "$name"
	done >"$tmp/bare"
	[ ! -s "$tmp/bare" ] || { sed 's/$/: no comment above it or its group/' "$tmp/bare"; return 1; }
}
readable() { # DIR: the index has one link a line, no heading comes twice, and no enum is headed as a function
	tools/gen-api "$1" >"$tmp/api.md" || return 1
	awk '
	/^## / { body = 1 }
	!body && gsub(/\]\(#/, "&") > 1 { print "an index line with several links: " $0; bad = 1 }
	/^##/ { heading = $0 }
	/^##/ && seen[$0]++ { print "a heading that comes twice: " $0; bad = 1 }
	/^enum \{/ && heading !~ /^### VELLUM/ { print "an enum under " heading; bad = 1 }
	END { exit bad }' "$tmp/api.md"
}
check "docs/api.md is made from the headers as they are" current include/vellum
check "every exported function is documented" documented include/vellum
check "the same comes out a second time" current include/vellum
check "the index and the headings of docs/api.md are readable" readable include/vellum

copy() { # SED-SCRIPT FILE: the headers with a change
	rm -rf "$tmp/headers"
	cp -R include/vellum "$tmp/headers"
	sed "$1" "include/vellum/$2" >"$tmp/headers/$2"
}
copy 's/^ \* vellum_strerror - .*/ * vellum_strerror - planted/' errno.h
caught "planted: another text" "run tools/gen-api > docs/api.md" current "$tmp/headers"
copy 's/^int vellum_peek(/\n&/' access.h
caught "planted: a function apart from its comment" "vellum_peek: no comment" documented "$tmp/headers"
copy 's/^int vellum_munlock(/\n\/** vellum_mlock - planted *\/\n&/' mm.h
caught "planted: two entries of one name" "a heading that comes twice: ### vellum" readable "$tmp/headers"
copy 's/^enum {$/\n&/;s/^\tVELLUM_PROT_NONE/\tPROT_NONE/;s/^\tVELLUM_PROT_\([A-Z]*\)/\tPROT_\1/' mm.h
caught "planted: an enum without a title" "an enum under " readable "$tmp/headers"
exit $bad
