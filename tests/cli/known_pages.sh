#!/bin/bash
# SPDX-License-Identifier: MIT
#
# `vellum run` must report exactly those pages as dirty that the guest programs say they changed.
#
#   known_pages.sh            a sample, under a minute
#   known_pages.sh --full N   every combination N times, two at a time
#
# From the environment: VELLUM, GUEST_DIR; and lists that replace the defaults:
# PROGRAMS, METHODS, INTERVALS, CPUS. Prints TAP; a diagnostic is a line with "# ".
set -u

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
VELLUM=${VELLUM:-$root/build/vellum}
GUEST_DIR=${GUEST_DIR:-$root/build/guest}
PROGRAMS=${PROGRAMS:-anon layout forks sysio reexec churn files threads}
METHODS=${METHODS:-wp clean auto}

# sysio.c and files.c need 15.5 pages without a zero byte.
make_input_file() {
	seq -f 'line %08.0f of a file' 4000 | head -c 63488 >"$1"
}

# compare REPORT SAID METHOD: print the differences.
compare() {
	jq -r --rawfile said "$2" --arg track "$3" -f "$here/known_pages.jq" "$1" 2>&1
}

# try PROGRAM METHOD INTERVAL CPUS DIR: run once, and print what is wrong.
try() {
	local program=$1 method=$2 interval=$3 cpus=$4 dir=$5 status args=()

	mkdir "$dir"
	make_input_file "$dir/file"
	cp "$dir/file" "$dir/file.before"
	case $program in sysio | files) args=("$dir/file") ;; esac
	timeout -k 5 60 "$VELLUM" run --track="$method" --interval="$interval" --cpus="$cpus" \
		--verify --json="$dir/report" -- "$GUEST_DIR/$program" "${args[@]}" \
		</dev/null >"$dir/said" 2>"$dir/stderr"
	status=$?
	if [ "$status" -ne 0 ]; then
		echo "status $status"
		head -n 5 "$dir/stderr"
		grep '^FAIL' "$dir/said"
	elif [ ! -s "$dir/report" ]; then
		echo "no report"
	else
		compare "$dir/report" "$dir/said" "$method"
	fi
	cmp "$dir/file.before" "$dir/file" 2>&1
	rm -rf "$dir"
}

# combination RUNS PROGRAM METHOD INTERVAL CPUS: one TAP line. Status 1 if any run fails.
combination() {
	local runs=$1 name="known_pages $2 $3 $4 $5" failed=0 i differences diagnostics=

	shift
	for ((i = 0; i < runs; i++)); do
		differences=$(try "$@" "$tmp/run.$BASHPID.$i")
		if [ -n "$differences" ]; then
			failed=$((failed + 1))
			diagnostics=${diagnostics:-$differences}
		fi
	done
	[ "$runs" -gt 1 ] && name="$name # $failed of $runs runs failed"
	if [ "$failed" -eq 0 ]; then
		echo "ok - $name"
	else
		# A single write, so that lines of two workers do not mix.
		echo "not ok - $name
# ${diagnostics//$'\n'/$'\n# '}"
		return 1
	fi
}

# Print a line PROGRAM METHOD INTERVAL CPUS for each combination.
combinations() {
	local program method interval cpus

	for program in $PROGRAMS; do
		for method in $METHODS; do
			for interval in $INTERVALS; do
				for cpus in $CPUS; do
					echo "$program $method $interval $cpus"
				done
			done
		done
	done
}

# The sample: all programs and methods with the shortest interval, in turns on one and on two CPUs; each method once with
# the other intervals.
sample() {
	local program method n=0

	for program in $PROGRAMS; do
		for method in $METHODS; do
			echo "$program $method 1ms 1"
			echo "$program $method 1ms 2"
			n=$((n + 1))
			[ $((n % 3)) -eq 0 ] && echo "$program $method 10ms 2"
			[ $((n % 3)) -eq 1 ] && echo "$program $method 100ms 1"
		done
	done
	return 0
}

# run_all RUNS WORKERS: run the combinations on stdin.
run_all() {
	local runs=$1 workers=$2 busy=0 failures=0 line

	while read -r line; do
		if [ "$busy" -eq "$workers" ]; then
			wait -n || failures=1
			busy=$((busy - 1))
		fi
		# shellcheck disable=SC2086 # four words
		combination "$runs" $line </dev/null &
		busy=$((busy + 1))
	done
	while [ "$busy" -gt 0 ]; do
		wait -n || failures=1
		busy=$((busy - 1))
	done
	return "$failures"
}

# The comparison itself must find errors: a missing page, an extra page, a wrong right.
comparison_works() {
	local dir=$tmp/self line n

	mkdir "$dir"
	printf '%s\n' 'EXPECT 1 0x100000000 rw-p 1+2,7+1' 'WINDOW 1 [heap] 0x5000 0x9000 1+1' DONE \
		>"$dir/said"
	for line in '0 rw-p [[1,2],[7,1]] [[2,1]]' '1 rw-p [[1,2]] [[2,1]]' \
		'1 rw-p [[1,2],[6,2]] [[2,1]]' '1 rw-s [[1,2],[7,1]] [[2,1]]' \
		'1 rw-p [[1,2],[7,1]] [[1,2]]' '1 rw-p [[1,2],[7,1]] []'; do
		# shellcheck disable=SC2086 # four words
		set -- $line
		jq -n --arg prot "$2" --argjson a "$3" --argjson b "$4" '
			def dirty: {dirty_ranges: ., dirty_pages: (map(.[1]) | add // 0)};
			{schema: "vellum-run/1", exit: {code: 0}, track: "wp", page_size: 4096,
			 collections: [],
			 mappings: [
			  {pid: 1, start: "0x100000000", end: "0x100008000", prot: $prot,
			   name: "", pages: 8} + ($a | dirty),
			  {pid: 1, start: "0x4000", end: "0x9000", prot: "rw-p",
			   name: "[heap]", pages: 5} + ($b | dirty)]}' >"$dir/report"
		compare "$dir/report" "$dir/said" wp >"$dir/out"
		n=$(wc -l <"$dir/out")
		[ $((n > 0)) -eq "$1" ] || { sed 's/^/# /' "$dir/out"; return 1; }
	done
}

main() {
	tmp=$(mktemp -d)
	trap 'rm -rf "$tmp"' EXIT
	if ! comparison_works; then
		echo "Bail out! known_pages.jq doesn't tell reports apart"
		exit 1
	fi
	if [ "${1:-}" = --full ]; then
		INTERVALS=${INTERVALS:-1ms 10ms 100ms}
		CPUS=${CPUS:-1 2}
		echo "1..$(combinations | wc -l)"
		run_all "${2:-10}" 2 < <(combinations)
	elif [ $# -eq 0 ] && [ -z "${INTERVALS:-}${CPUS:-}" ]; then
		echo "1..$(sample | wc -l)"
		run_all 1 1 < <(sample)
	elif [ $# -eq 0 ]; then
		INTERVALS=${INTERVALS:-1ms}
		CPUS=${CPUS:-1}
		echo "1..$(combinations | wc -l)"
		run_all 1 1 < <(combinations)
	else
		echo "usage: $0 [--full N]" >&2
		exit 2
	fi
}

main "$@"
