#!/bin/bash
# SPDX-License-Identifier: MIT
#
# Programs whose output must be the same natively and under `vellum run`: what a program has at its first instruction, what
# signal handlers get; terminals; locks, waits, scheduling, splice(2); CPU times; /proc; threads; sockets, epoll and
# the like; userfaultfd(2); each flag of mmap and its family. From the environment:
# VELLUM. With "threads": only threads. Prints TAP.
set -u
. "$(dirname "$0")/lib.sh"

VELLUM=$(readlink -f "$VELLUM")
tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT

options=()

# as_native NAME ARGUMENT...: of a program in build/programs, both in an empty directory of the same name
as_native() {
	local name=$1 status expected

	shift
	rm -rf "$tmp/files" && mkdir "$tmp/files"
	# timeout: the same environment in both
	(cd "$tmp/files" && timeout -k 5 120 "$root/build/programs/$name" "$@") >"$tmp/host" 2>&1
	expected=$?
	rm -rf "$tmp/files" && mkdir "$tmp/files"
	(cd "$tmp/files" && timeout -k 5 120 "$VELLUM" run "${options[@]}" -- "$root/build/programs/$name" "$@") >"$tmp/here" 2>"$tmp/err"
	status=$?
	result "$name: the host's status" "$([ $status -eq $expected ] || { echo "status $status" && cat "$tmp/err"; })"
	result "$name: as on the host" "$(diff "$tmp/host" "$tmp/here")"
}

# Threads, also on two CPUs and tracked.
with_threads() {
	as_native threads
	as_native sharing
	options=(--cpus=2 --track=clean --verify)
	as_native threads
	as_native futex_pi
	as_native affinity
	as_native policies
	as_native sharing
	as_native fork_advice
	as_native populated
	as_native thread_exits
	as_native thread_exits alone
	options=()
}

# With one CPU, a fault that waits must give it up. Tracked, the events of an unmap or fork come while no reader can run.
with_uffds() {
	local name

	if ! "$root/build/programs/uffds" may; then
		skip "uffds: as on the host" "userfaultfd(2) needs CAP_SYS_PTRACE"
		return
	fi
	for name in uffds uffd_events uffd_files; do
		options=()
		as_native $name
		options=(--strace)
		as_native $name
		options=(--cpus=2)
		as_native $name
		options=(--cpus=2 --track=auto --verify)
		as_native $name
		options=(--track=clean --verify)
		as_native $name
	done
	options=()
}

if [ "${1:-}" = threads ]; then
	with_threads
	finish
	exit
fi
as_native signals
as_native process_calls
as_native users
as_native prctl
as_native cpu_times
as_native proc an "" "argument or two"
as_native terminal
with_threads
as_native sockets
as_native messages
as_native events
as_native sigio
as_native signalfds
as_native pidfds
as_native shm
as_native sysv
as_native process_vm
as_native openat2s
# The host may have no vsyscall page.
if "$root/build/programs/signals" vsyscall 2>/dev/null | grep -q 'time: 1'; then
	as_native signals vsyscall
fi
if [ "$(cat /sys/devices/system/node/possible 2>/dev/null)" = 0 ]; then
	as_native mempolicies
else
	skip "mempolicies: as on the host" "a machine with other nodes than node 0"
fi
as_native start
as_native start an '' argument
# The flags and seals are those of one kernel.
release=$(uname -r)
if [ "$(printf '%s\n' 6.18 "$release" | sort -V | head -n 1)" = 6.18 ]; then
	as_native mmap_flags
	as_native seals
	with_uffds
else
	skip "mmap_flags, seals: as on the host" "a Linux older than 6.18"
	skip "uffds: as on the host" "a Linux older than 6.18"
fi
finish
