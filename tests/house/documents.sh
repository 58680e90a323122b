#!/bin/sh
# SPDX-License-Identifier: MIT
# What documents say and a script can check: invariants, links, files that are named, sizes.
. "$(dirname "$0")/tap"

documents='README.md ARCHITECTURE.md SPEC.md THREAT-MODEL.md CONTRIBUTING.md CHANGELOG.md mm/README.md docs/*.md'

invariants() { # FILES...
	cat "$@" | grep -oE 'INV-[A-Z]+-[0-9]+' | LC_ALL=C sort -u
}
same_invariants() { # DOCUMENT: it has those of the code, and no others
	# shellcheck disable=SC2046
	invariants $(find mm arch lib machine host include -name '*.[chS]') >"$tmp/code"
	invariants "$1" >"$tmp/document"
	diff "$tmp/code" "$tmp/document"
}
links() { # FILES...: relative links lead to files
	r=0
	for f; do
		grep -oE '\]\([^)#: ]+' "$f" | cut -c 3- >"$tmp/links"
		while read -r to; do
			[ -e "$(dirname "$f")/$to" ] || { echo "$f: $to"; r=1; }
		done <"$tmp/links"
	done
	return $r
}
# Paths below folders of the repository, in documents and comments.
named_files() { # FILES...
	r=0
	grep -oHE '\b(mm|abi|machine|host|cli|arch|lib|tests|tools|docs|bench|examples)/[a-zA-Z0-9_/-]+\.(c|h|S|sh|md|mk)\b' "$@" |
		LC_ALL=C sort -u >"$tmp/named"
	while IFS=: read -r f to; do
		case $f in *[!/]include/*) continue ;; esac
		[ -e "$to" ] || [ -e "include/$to" ] || [ -e "$(dirname "$f")/$to" ] || { echo "$f: $to"; r=1; }
	done <"$tmp/named"
	return $r
}
frame_bytes() { # DOCUMENT: as many as struct folio has
	bytes=$(sed -n 's/^_Static_assert(sizeof(struct folio) == \([0-9]*\).*/\1/p' mm/frame/folio.h)
	[ -n "$bytes" ] && grep -qF "$bytes bytes for every frame of RAM" "$1" || { echo "not $bytes bytes"; false; }
}

# shellcheck disable=SC2086
{
	check "ARCHITECTURE lists the invariants of the code" same_invariants ARCHITECTURE.md
	check "links lead to files" links $documents
	check "files that documents name are there" named_files $documents man/vellum.[13]
	check "porting.md says how large a frame's metadata is" frame_bytes docs/porting.md
}
# shellcheck disable=SC2046
check "files that comments name are there" named_files $(find mm abi machine host cli arch lib include bench examples \
	-name '*.[chS]')

{ cat ARCHITECTURE.md; echo INV-PLANTED-1; } >"$tmp/planted.md"
caught "planted: an invariant that no code has" INV-PLANTED-1 same_invariants "$tmp/planted.md"
echo '[x](no/such/file.md), mm/no_such_file.c, 64 bytes for every frame of RAM' >"$tmp/planted.md"
caught "planted: a link to nowhere" no/such/file.md links "$tmp/planted.md"
caught "planted: a file that is not there" no_such_file named_files "$tmp/planted.md" README.md
caught "planted: another size" 'not 32 bytes' frame_bytes "$tmp/planted.md"
exit $bad
