#!/bin/sh
# SPDX-License-Identifier: MIT
# `make html`: every document and man page becomes a page, and links between pages lead somewhere.
. "$(dirname "$0")/tap"

for tool in cmark-gfm mandoc; do
	command -v $tool >/dev/null || {
		echo "ok - documents as HTML # SKIP no $tool"
		exit 0
	}
done
check "documents and man pages become HTML" tools/gen-html "$tmp/html"

# Comments in code are no links: they are not looked at.
whole() { # FOLDER: each link inside it leads to a file, and to an id in it
	(cd "$1" && find . -name '*.html' -exec grep -HoE '(href|src)="[^"]*"' {} +) >"$tmp/links" || return 1
	r=0
	while IFS=: read -r f link; do
		link=${link#*\"}
		link=${link%\"}
		case $link in [a-z]*:*) continue ;; esac
		to=${link%%#*}
		[ -z "$to" ] && to=$f || to=$(dirname "$f")/$to
		if ! [ -e "$1/$to" ]; then
			case $to in *.c | *.h | *.list | */tests/* | */tools/* | */examples/*) continue ;; esac
			echo "$f: $link: no such file"
			r=1
		else
			case $link in
			*#*) grep -qF -e "id=\"${link#*#}\"" "$1/$to" || { echo "$f: $link: no such id"; r=1; } ;;
			esac
		fi
	done <"$tmp/links"
	return $r
}
check "links between the pages lead somewhere" whole "$tmp/html"
complete() { # FOLDER
	for f in index.html README.html ARCHITECTURE.html docs/api.html mm/README.html docs/heat-map.svg \
		man/vellum.1.html man/vellum.3.html man/vellum_snapshot.3.html; do
		[ -s "$1/$f" ] || { echo "no $f"; return 1; }
	done
	# shellcheck disable=SC2016 # ` is Markdown's
	! grep -l '^|---\|```' "$1"/*.html "$1"/docs/*.html
}
check "no page is missing or unformatted" complete "$tmp/html"

echo '<a href="docs/no-such.html">x</a>' >>"$tmp/html/SPEC.html"
caught "planted: a link to no page" no-such.html whole "$tmp/html"
sed -i '$d' "$tmp/html/SPEC.html"
echo '<a href="ARCHITECTURE.html#no-such-id">x</a>' >>"$tmp/html/SPEC.html"
caught "planted: a link to no heading" no-such-id whole "$tmp/html"
rm "$tmp/html/docs/api.html"
caught "planted: a page that is not there" docs/api.html complete "$tmp/html"
exit $bad
