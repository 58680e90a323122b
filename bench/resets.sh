#!/bin/bash
# SPDX-License-Identifier: MIT
#
# resets.sh VELLUM PROGRAM [SVG]: runs per second of a program of 64 MiB against the pages that a run changes: `vellum
# repeat` and a fork server, in turns, medians of three. With SVG, a plot of it.
set -u
vellum=$1 program=$2 svg=${3-}
root=$(cd "$(dirname "$0")/.." && pwd)
tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT

median() { sort -g | sed -n 2p; }

resets() { # PAGES RUNS
	"$vellum" repeat -n "$2" --at=run --json="$tmp/json" -- "$program" "$1" 2>"$tmp/err" >"$tmp/out" ||
		{ cat "$tmp/err" >&2; exit 1; }
	sed -n 's/.*"runs_per_second": \([0-9.]*\).*/\1/p' "$tmp/json"
}

printf '%-12s %14s %14s %8s\n' 'pages a run' 'vellum, runs/s' 'fork, runs/s' ratio
for pages in 1 4 16 64 256 1024 4096; do
	runs=$((pages < 256 ? 10000 : 640000 / pages))
	for _ in 1 2 3; do
		resets $pages $runs >>"$tmp/vellum.$pages"
		"$program" $pages 1 >>"$tmp/fork.$pages"
	done
	v=$(median <"$tmp/vellum.$pages") f=$(median <"$tmp/fork.$pages")
	awk -v p=$pages -v v="$v" -v f="$f" 'BEGIN { printf "%-12d %14.0f %14.0f %7.1fx\n", p, v, f, v / f }'
	echo "$pages $v $f" >>"$tmp/rows"
done
[ -z "$svg" ] || awk -f "$root/tools/reset-plot.awk" "$tmp/rows" >"$svg"
