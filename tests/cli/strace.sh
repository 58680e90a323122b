#!/bin/bash
# SPDX-License-Identifier: MIT
#
# `vellum run --strace` prints system calls as strace(1) does. The lines of build/programs/strace_calls are those of
# strace.expected, and those of strace(1) natively. Bad addresses and odd bytes are printed harmlessly.
#
# strace.sh --record prints strace.expected. From the environment: VELLUM. Prints TAP.
set -u
. "$(dirname "$0")/lib.sh"

program=$root/build/programs/strace_calls
version="6.1" # of strace(1), whose lines are expected: others have more names
tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT
umask 022

# normal: the lines of the first process from close(-100) on, with names for addresses and PIDs, and for what a
# userfaultfd offers: strace 6.1 knows fewer names.
normal() {
	sed -n 's/^vellum: \[1\] //; /^vellum: /d; /^close(-100)/,/^exit_group/p' | grep -v '^---' |
		sed -E 's/\) += /) = /; s/0x(7f[0-9a-f]{10}|[4-9][0-9a-f]{5})\b/ADDRESS/g; s/^(brk.* = ).*/\1ADDRESS/
			s/^(getpid\(\) = ).*/\1PID/; s/^tgkill\([0-9]+, [0-9]+/tgkill(PID, PID/
			s/=> features=[^,]*/=> features=FEATURES/; s/ioctls=[^}]*/ioctls=IOCTLS/
			s/^(clone\(.* = )[0-9]+$/\1CHILD/; s/^wait4\([0-9]+(.* = )[0-9]+$/wait4(CHILD\1CHILD/'
}

traced() {
	(cd "$tmp" && timeout -k 5 60 "$VELLUM" run --strace -- "$program" 2>"$tmp/err")
	normal <"$tmp/err" >"$tmp/here"
}

native() {
	if ! command -v strace >/dev/null; then
		skip "as strace(1) natively" "no strace"
	elif ! strace -V | head -n 1 | grep -q " version $version\$"; then
		skip "as strace(1) natively" "strace is not version $version"
	elif ! (cd "$tmp" && strace -o "$tmp/strace" "$program"); then
		skip "as strace(1) natively" "strace cannot trace"
	else
		result "as strace(1) natively" "$(normal <"$tmp/strace" | diff - "$tmp/here")"
	fi
}

# odd FILE: print lines that are not Vellum's or have a byte that is no printable ASCII, and too long ones.
odd() {
	LC_ALL=C grep -anv '^vellum: [ -~]*$' "$1" | head -n 3 | cat -v
	LC_ALL=C awk 'length($0) > 4095 { print FILENAME ":" FNR ": " length($0) " bytes" }' "$1" | head -n 3
}

# called FILE: print the supported system calls that no line of FILE has.
called() {
	sed -n 's/^[0-9]*\t\([a-z0-9_]*\) .*/\1/p' "$root/abi/syscall.tbl" | sort >"$tmp/supported"
	sed -n 's/^vellum: \[[0-9]*\] \([a-z0-9_]*\)(.*/\1/p' "$1" | sort -u | comm -23 "$tmp/supported" - |
		grep -vx 'rt_sigreturn\|pause'
}

hostile() {
	local status

	mkdir "$tmp/hostile"
	(cd "$tmp/hostile" &&
		timeout -k 5 300 "$VELLUM" run --strace -- "$program" hostile 2>"$tmp/err" </dev/null)
	status=$?
	result "hostile arguments: status 0" "$([ $status -eq 0 ] || echo "status $status" "$(tail -n 3 "$tmp/err")")"
	result "hostile arguments: lines of printable ASCII" "$(odd "$tmp/err")"
	result "hostile arguments: of all supported calls" "$(called "$tmp/err")"
}

# A pipe takes a line as a whole if one write(2) has it.
together() {
	"$VELLUM" run --strace -- "$program" 2>&1 >/dev/null </dev/null | cat >"$tmp/err"
	result "lines of two processes do not mix" \
		"$(grep -anv '^vellum: \[[0-9]*\] [a-z0-9_]*(.*) = .*$' "$tmp/err")"
}

[ -x "$VELLUM" ] || bail "no $VELLUM"
VELLUM=$(readlink -f "$VELLUM")
[ -x "$program" ] || bail "no $program"
traced
if [ "${1:-}" = --record ]; then
	cat "$tmp/here"
	exit
fi
result "as recorded" "$(diff "$here/strace.expected" "$tmp/here")"
native
hostile
cd "$tmp" || exit 1
together
finish
