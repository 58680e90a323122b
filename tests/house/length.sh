#!/bin/sh
# SPDX-License-Identifier: MIT
# No function has more than 60 lines, and no source file of the product more than 620.
. "$(dirname "$0")/tap"

short() { # FILES...
	awk '
	FNR == 1 && NR > 1 && lines > 620 && product { print last ": " lines " lines"; bad = 1 }
	FNR == 1 { last = FILENAME; product = FILENAME ~ /(^|\/)(mm|lib|arch|host|proc|abi|machine|cli|include)\// && \
		FILENAME !~ /(^|\/)tests\// }
	{ lines = FNR }
	/^[a-zA-Z_].*[(]/ { name = $0 }
	/^[{]/ { start = FNR }
	/^[}]/ { if (start && FNR - start > 61) { print FILENAME ":" start ": " FNR - start - 1 " lines: " name; bad = 1 }
		start = 0 }
	END { if (lines > 620 && product) { print last ": " lines " lines"; bad = 1 }
		exit bad }' "$@"
}
# shellcheck disable=SC2046
check "functions have at most 60 lines, files at most 620" short $(find . -path ./build -prune -o -name '*.[ch]' -print)

mkdir -p "$tmp/mm"
{ echo 'int planted(void)'; echo '{'; seq 61 | sed 's/.*/	;/'; echo '}'; } >"$tmp/mm/planted.c"
caught "planted: a function of 61 lines" "61 lines: int planted" short "$tmp/mm/planted.c"
seq 621 | sed 's/.*/extern int a;/' >"$tmp/mm/planted.h"
caught "planted: a file of 621 lines" "621 lines" short "$tmp/mm/planted.h"
exit $bad
