#!/bin/bash
# SPDX-License-Identifier: MIT
#
# Programs whose output must be the same natively and under `vellum run`: what signal handlers get; locks, waits, scheduling,
# splice(2); sockets, epoll and the like. From the environment:
# VELLUM. Prints TAP.
set -u
. "$(dirname "$0")/lib.sh"

VELLUM=$(readlink -f "$VELLUM")
tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT

# as_native NAME ARGUMENT...: of a program in build/programs, each time in an empty directory
as_native() {
	local name=$1 status

	shift
	rm -rf "$tmp/host.files" "$tmp/here.files"
	mkdir "$tmp/host.files" "$tmp/here.files"
	(cd "$tmp/host.files" && "$root/build/programs/$name" "$@") >"$tmp/host" 2>&1
	(cd "$tmp/here.files" && timeout -k 5 120 "$VELLUM" run -- "$root/build/programs/$name" "$@") >"$tmp/here" 2>"$tmp/err"
	status=$?
	result "$name: status 0" "$([ $status -eq 0 ] || { echo "status $status" && cat "$tmp/err"; })"
	result "$name: as on the host" "$(diff "$tmp/host" "$tmp/here")"
}

as_native signals
as_native process_calls
as_native sockets
as_native messages
as_native events
# The host may have no vsyscall page.
if "$root/build/programs/signals" vsyscall 2>/dev/null | grep -q 'time: 1'; then
	as_native signals vsyscall
fi
finish
