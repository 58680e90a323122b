#!/bin/bash
# SPDX-License-Identifier: MIT
#
# Job control on a terminal: what the terminal shows is the same natively and under `vellum run`. A shell inside has its
# jobs; a program that a shell outside started stops and continues as a job of that shell; terminals that programs inside
# open have sessions of their own.
#
# From the environment: VELLUM. Needs python3. Prints TAP.
set -u
. "$(dirname "$0")/lib.sh"

VELLUM=$(readlink -f "$VELLUM")
tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT
export TERM=dumb JOB="$root/build/programs/job"
unset PROMPT_COMMAND
echo "PS1='$ '; unset HISTFILE" >"$tmp/rc"
bash=(bash --rcfile "$tmp/rc" --noprofile --noediting -i)

# show SCENARIO COMMAND...: what the terminal shows
show() {
	timeout -k 5 120 "$python" "$here/terminal.py" "$@" 2>&1
}

# same NAME SCENARIO COMMAND...: as natively
same() {
	local name=$1 scenario=$2

	shift 2
	show "$scenario" "$@" >"$tmp/native"
	show "$scenario" "$VELLUM" run -- "$@" >"$tmp/inside"
	result "$name" "$(diff "$tmp/native" "$tmp/inside")"
}

# A shell outside that runs a program with `run`, natively or inside.
jobs_outside() {
	local run='run() { "${via[@]}" "$@"; }'

	(cat "$tmp/rc" && echo "via=(env); $run") >"$tmp/native.rc"
	(cat "$tmp/rc" && echo "via=('$VELLUM' run --); $run") >"$tmp/inside.rc"
	show job bash --rcfile "$tmp/native.rc" --noprofile --noediting -i >"$tmp/native"
	show job bash --rcfile "$tmp/inside.rc" --noprofile --noediting -i >"$tmp/inside"
	result "a job of a shell outside" "$(diff "$tmp/native" "$tmp/inside")"
}

if ! command -v python3 >/dev/null; then
	skip "job control" "no python3"
	finish
	exit
fi
python=$(python3 -c 'import sys; print(sys.executable)')
same "bash" shell "${bash[@]}"
jobs_outside
same "python3's pty" nested "$python" -c 'import os, pty, sys
sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))' "${bash[@]}"
same "a shell below a shell without jobs" shell sh -c "${bash[*]}; exit \$?"
finish
