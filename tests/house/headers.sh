#!/bin/sh
# SPDX-License-Identifier: MIT
# Each public header can be included alone, and twice, in C11 and in C++17.
. "$(dirname "$0")/tap"

each() { # COMPILER LANGUAGE STANDARD
	if ! command -v "$1" >/dev/null; then
		echo "ok - the headers with $1 -std=$3 # SKIP no $1"
		return
	fi
	for h in include/vellum/*.h; do
		n=vellum/${h##*/}
		printf '#include <%s>\n#include <%s>\nint main(void) { return 0; }\n' "$n" "$n" \
			>"$tmp/one"
		check "$n alone with $1 -std=$3" \
			"$1" -x "$2" -std="$3" -Wall -Wextra -Wpedantic -Werror -fsyntax-only \
			-Iinclude "$tmp/one"
	done
}
each gcc c c11
each clang c c11
each g++ c++ c++17
each clang++ c++ c++17
exit $bad
