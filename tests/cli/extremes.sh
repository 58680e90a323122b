#!/bin/bash
# SPDX-License-Identifier: MIT
#
# System calls with extreme numbers have the same results as natively. Under UBSan, no arithmetic overflows.
#
# From the environment: VELLUM. Prints TAP.
set -u
. "$(dirname "$0")/lib.sh"

PROGRAMS=${PROGRAMS:-$root/build/programs}

main() {
	local status

	[ -x "$VELLUM" ] || bail "no $VELLUM"
	[ -x "$PROGRAMS/extremes" ] || bail "no $PROGRAMS/extremes"
	tmp=$(mktemp -d)
	trap 'rm -rf "$tmp"' EXIT
	"$PROGRAMS/extremes" "$tmp/file" >"$tmp/native"
	timeout -k 5 120 "$VELLUM" run -- "$PROGRAMS/extremes" "$tmp/file" >"$tmp/vellum" 2>"$tmp/stderr"
	status=$?
	[ "$(wc -l <"$tmp/native")" -gt 2000 ] || bail "the program does not run natively"
	result "the same as natively" "$([ "$status" = 0 ] || echo "status $status")$(diff "$tmp/native" "$tmp/vellum")"
	result "no line on stderr" "$(cat "$tmp/stderr")"
	finish
}

main
