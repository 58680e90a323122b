#!/bin/sh
# SPDX-License-Identifier: MIT
# The benchmarks run, do the work that they time, and write valid JSON. The times are not judged.
. "$(dirname "$0")/tap"
bench=build/bench/bench

quick() { # ROWS: into $tmp/json
	rm -f "$tmp/json"
	timeout 120 $bench --quick --json="$tmp/json" "$1" >"$tmp/table" || { cat "$tmp/table"; false; }
}
holds() { # JQ-FILTER
	jq -e "$1" "$tmp/json"
}
# Both sides have a time, and the median is between the quartiles.
# shellcheck disable=SC2016 # the $ are jq's
sound='all(.rows[]; .rounds > 0 and all(.vellum, .host, .ratio;
	.median == null or (.median > 0 and .q1 <= .median and .median <= .q3)))'

check "fork: both sides do it" quick fork
check "fork: the rows" holds '[.rows[].name] == ["fork.written", "fork.again", "fork.put"]'
check "fork: sound" holds "$sound and all(.rows[]; .host.median > 0)"
check "fork: the goal is in it" holds '.rows[0].goal.ratio_at_least == 5'
check "fork: the table names the JSON last" sh -c 'tail -n 1 "$1" | grep -qxF "$2"' - \
	"$tmp/table" "$tmp/json"
check "fork: the table fits 120 columns" sh -c '! grep -E ".{121}" "$1"' - "$tmp/table"
check "shared: both sides find what is dirty" quick shared
check "shared: sound" holds "$sound"
check "shared: a host that cannot is named" \
	holds 'all(.rows[]; .host.median != null or (.note | startswith("host: not available")))'
check "one row" quick vmas.mprotect.few
check "one row: no other" holds '[.rows[].name] == ["vmas.mprotect.few"]'
caught "rows that are not" usage: $bench --quick no-such-row
caught "an option that is not" usage: $bench --no-such-option
caught "JSON that cannot be written" "cannot be written" \
	$bench --quick --json="$tmp/no/such/folder" memory
exit $bad
