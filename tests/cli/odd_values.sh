#!/bin/bash
# SPDX-License-Identifier: MIT
#
# System calls with values at which sums and signs overflow have the same results as natively. Fuzzers found these.
# From the environment: VELLUM. Prints TAP.
set -u
. "$(dirname "$0")/lib.sh"

program=$root/build/programs/odd_values
tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT

"$program" >"$tmp/host"
timeout -k 5 60 "$VELLUM" run -- "$program" >"$tmp/here" 2>"$tmp/err"
status=$?
result "odd_values: status 0" "$([ $status -eq 0 ] || { echo "status $status" && cat "$tmp/err"; })"
result "odd_values: as on the host" "$(diff "$tmp/host" "$tmp/here")"
finish
