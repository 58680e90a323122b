#!/bin/sh
# SPDX-License-Identifier: MIT
# Functions that clang's analysis of lock contracts skips say why, on the same line. CONTRIBUTING.md names their number.
. "$(dirname "$0")/tap"

explained() { # DIR
	unexplained=$(grep -rn --include='*.[ch]' 'NO_LOCK_ANALYSIS' "$1"/mm "$1"/lib | grep -v '#define\|lib/annotate.h' |
		grep -v 'NO_LOCK_ANALYSIS.*/\*')
	[ -z "$unexplained" ] || { echo "no reason: $unexplained"; return 1; }
	n=$(grep -rho --include='*.c' 'NO_LOCK_ANALYSIS' "$1"/mm | wc -l)
	grep -q "The analysis skips $n functions" "$1/CONTRIBUTING.md" || {
		echo "$n functions are exempt; CONTRIBUTING.md says otherwise"
		return 1
	}
}
check "each function without lock analysis has a reason and is counted" explained .

mkdir -p "$tmp/tree"
cp -r mm lib CONTRIBUTING.md "$tmp/tree"
echo 'void planted(void) NO_LOCK_ANALYSIS;' >>"$tmp/tree/mm/space/mmap.c"
caught "planted: an exemption without a reason" "no reason: " explained "$tmp/tree"
exit $bad
