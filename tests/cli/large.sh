#!/bin/bash
# SPDX-License-Identifier: MIT
#
# Mappings of 2^46 bytes with a few pages: calls, --verify and --inspect take as long as for small mappings. A signal
# interrupts calls that fault in all pages.
#
# From the environment: VELLUM. Prints TAP.
set -u
. "$(dirname "$0")/lib.sh"

PROGRAMS=${PROGRAMS:-$root/build/programs}
limit=100

# same NAME ARG...: the output is the same as natively.
same() {
	local name=$1 native vellum

	shift
	native=$("$PROGRAMS/large" "$@" 2>&1)
	vellum=$(timeout -k 5 "$limit" "$VELLUM" run -- "$PROGRAMS/large" "$@" 2>&1)
	result "$name" "$(diff <(echo "$native") <(echo "$vellum"))"
}

# verified METHOD VERB
verified() {
	local said

	said=$(timeout -k 5 "$limit" "$VELLUM" run --track="$1" --verify --interval=2ms --json="$tmp/json" -- \
		"$PROGRAMS/large" "$2" 2>&1 >"$tmp/out")
	said="$? $(grep -c '^vellum: verified' <<<"$said") $(jq -r .schema "$tmp/json") $(grep -v '^vellum: ' <<<"$said")"
	[ "$said" = "0 1 vellum-run/1 " ] && said=
	result "--track=$1 --verify: $2" "$said"
}

inspected() {
	local said

	timeout -k 5 "$limit" "$VELLUM" run --inspect=exit,json,"$tmp/json" -- "$PROGRAMS/large" maps >"$tmp/out" 2>&1
	said="$? $(jq -r '.mappings | length > 5' "$tmp/json" | sort -u)"
	[ "$said" = "0 true" ] && said=
	result "--inspect=exit" "$said"
}

# ended NAME ARG...: the alarm ends the program; 137: out of memory before.
ended() {
	local name=$1 status

	shift
	timeout -k 5 "$limit" "$VELLUM" run -- "$PROGRAMS/large" "$@" >"$tmp/out" 2>&1
	status=$?
	case $status in
	142 | 137) status= ;;
	esac
	result "$name" "$status"
}

main() {
	[ -x "$VELLUM" ] || bail "no $VELLUM"
	[ -x "$PROGRAMS/large" ] || bail "no $PROGRAMS/large"
	tmp=$(mktemp -d)
	trap 'rm -rf "$tmp"' EXIT
	same "calls" calls
	same "shared memory and sparse files" maps
	for method in wp clean auto; do
		verified "$method" calls
		verified "$method" maps
	done
	inspected
	ended "MADV_POPULATE_READ" fill 22
	ended "MADV_POPULATE_WRITE" fill 23
	ended "MADV_GUARD_INSTALL" fill 102
	ended "mlock" lock
	finish
}

main
