#!/bin/bash
# SPDX-License-Identifier: MIT
#
# Limits of resources, and the end of runs. A program's resources are bounded, so that Vellum can always write back and
# report. A signal ends a run, whatever the program does.
#
# Hostile programs run in a PID namespace. From the environment: VELLUM. Prints TAP.
set -u
. "$(dirname "$0")/lib.sh"

limits=$root/build/programs/limits
box="unshare --pid --fork --kill-child --mount --mount-proc"
seconds=180 # a run that takes longer counts as endless

# boxed COMMAND...: run it in a PID namespace. Sets $output and $status.
boxed() {
	output=$(timeout -k 5 "$seconds" $box "$@" 2>"$tmp/stderr" </dev/null)
	status=$?
}

# expect NAME STATUS OUTPUT: check the last command. OUTPUT is a pattern.
expect() {
	local wrong=

	[ "$status" = "$2" ] || wrong="status $status, expected $2"
	# shellcheck disable=SC2053
	[[ $output == $3 ]] || wrong="$wrong
output: $output"
	[ -z "$wrong" ] || wrong="$wrong
stderr: $(head -n 5 "$tmp/stderr")"
	result "$1" "$wrong"
}

# --- resources ---

memfds() {
	boxed "$VELLUM" run --ram=64M -- "$root/build/programs/memfds" 64
	expect "files of memfd_create hold as much as RAM" 0 "write: up to the limit, ENOSPC
fallocate: up to the limit, ENOSPC
after a truncation: 1
stores: up to the limit, EFAULT
write: up to the limit, ENOSPC"
}

descriptors() {
	boxed bash -c 'ulimit -n 300; exec "$@"' - "$VELLUM" run -- "$limits" descriptors "$tmp/kept"
	expect "a process ends when all descriptors are used" 0 $'open: ENFILE\nchild: 3'
	result "and a page stored before is written back" "$([ "$(head -c 1 "$tmp/kept")" = X ] || echo lost)"
	boxed bash -c 'ulimit -n 60; exec "$@"' - "$VELLUM" run -- "$busybox" true
	expect "too few descriptors for a run" 125 ''
	result "one line says so" "$(grep -qx 'vellum: .*ulimit -n.*' "$tmp/stderr" || cat "$tmp/stderr")"
}

processes() {
	boxed "$VELLUM" run -- "$limits" zombies
	expect "zombies count as processes" 0 '4095 and EAGAIN'
	boxed "$VELLUM" run -- "$limits" processes
	# The host's descriptors may allow fewer.
	expect "as many processes as there may be, and their end" 0 '[1-9]* and EAGAIN'
	boxed "$VELLUM" run -- "$limits" groups 30
	expect "one SIGKILL to a group that forks leaves no process" 0 '0 survived'
}

# as_natively NAME SCRIPT: the shell's output and status are the same as natively.
as_natively() {
	local native

	native=$(cd "$tmp" && "$busybox" sh -c "$2" 2>/dev/null; echo "status $?")
	output=$(cd "$tmp" && timeout -k 5 "$seconds" "$VELLUM" run -- "$busybox" sh -c "$2" 2>"$tmp/stderr"; echo "status $?")
	result "$1" "$([ "$output" = "$native" ] || diff <(echo "$native") <(echo "$output"))"
}

own_limits() {
	as_natively "descriptors stay below their limit" \
		'ulimit -n 9; ulimit -n; exec 7</dev/null; echo 7; exec 9</dev/null; echo 9'
	as_natively "a file ends at the limit of its size, with SIGXFSZ" \
		'ulimit -f 4; dd if=/dev/zero of=file bs=1k count=100; echo $?; wc -c <file'
	as_natively "no more address space than its limit" 'ulimit -v 6000; dd if=/dev/zero of=/dev/null bs=64M count=1; echo $?'
	as_natively "no more data than its limit" 'ulimit -d 1000; dd if=/dev/zero of=/dev/null bs=64M count=1; echo $?'
	as_natively "limits are kept over fork and exec" "ulimit -s 4000; ulimit -c 0; $busybox sh -c '(ulimit -s; ulimit -c)'"
	as_natively "arguments have a quarter of the stack" \
		'ulimit -s 1024; x=$(head -c 100000 /dev/zero | tr "\0" x); busybox true $x $x; echo $?; busybox true $x $x $x; echo $?'
}

# --- the end of a run ---

# started MODE...: start a run in the background, and wait for its line. Sets $pid and $boxpid.
started() {
	mkfifo "$tmp/line"
	$box bash -c 'echo $BASHPID >"$1"; shift; exec "$@"' - "$tmp/pid" "$VELLUM" run "${options[@]}" -- \
		"$limits" "$@" >"$tmp/line" 2>"$tmp/stderr" &
	boxpid=$!
	exec 9<"$tmp/line"
	rm "$tmp/line"
	timeout "$seconds" head -n 1 <&9 >/dev/null
	pid=$(pgrep -P "$boxpid")
}

# ended: wait for the run in the background. Sets $status and $output.
ended() {
	(sleep "$seconds"; kill -KILL "$boxpid") 2>/dev/null &
	local watchdog=$!

	output=$(cat <&9)
	exec 9<&-
	wait "$boxpid"
	status=$?
	kill "$watchdog" 2>/dev/null
}

ends() {
	local options=()

	boxed "$VELLUM" run -- "$limits" orphan "$tmp/orphan"
	expect "the end of process 1 is the end of all" 7 ''
	result "and what the others stored is written back" "$([ "$(head -c 1 "$tmp/orphan")" = X ] || echo lost)"

	options=(--track=wp --json="$tmp/report")
	started stubborn
	kill -TERM "$pid"
	sleep 0.3
	kill -TERM "$pid"
	ended
	expect "a second SIGTERM ends a run that ignores it" 143 ''
	result "with a report" "$(grep -q '"signal": *15' "$tmp/report" || echo none)"

	options=()
	started fork_bomb
	kill -TERM "$pid"
	sleep 0.3
	kill -TERM "$pid"
	ended
	expect "a second SIGTERM ends a fork bomb" 143 ''

	started stubborn
	kill -INT "$pid"
	sleep 0.3
	kill -INT "$pid"
	ended
	expect "a second SIGINT ends a run that ignores it" 130 ''

	started takes_interrupts 3
	for _ in 1 2 3; do
		kill -INT "$pid"
		sleep 0.3
	done
	ended
	expect "a program that takes SIGINT gets each one" 0 $'taken 1\ntaken 2\ntaken 3'
}

# A process waits in the host for the reader of its inspection, where no signal reaches it.
stuck() {
	local options=(--inspect=exit,"$tmp/full" --json="$tmp/report")

	rm -f "$tmp/report"
	mkfifo "$tmp/full"
	sleep 1000 <>"$tmp/full" &
	local reader=$!

	dd if=/dev/zero of="$tmp/full" oflag=nonblock bs=4096 count=100 2>/dev/null
	started stubborn
	for _ in 1 2 3; do
		kill -TERM "$pid" 2>/dev/null
		sleep 0.5
	done
	ended
	expect "a third SIGTERM ends a run whose process is stuck in the host" 143 ''
	result "with a report" "$(grep -q '"signal": *15' "$tmp/report" || echo none)"
	result "and a line that says so" "$(grep -q '^vellum: .*left behind' "$tmp/stderr" || echo "none: $(cat "$tmp/stderr")")"
	kill "$reader"
}

main() {
	[ -x "$VELLUM" ] || bail "no $VELLUM"
	[ -x "$limits" ] || bail "no $limits"
	find_busybox
	tmp=$(mktemp -d)
	# A subshell that is killed before it resets the trap would run it.
	trap '[ "$BASHPID" != $$ ] || rm -rf "$tmp"' EXIT
	own_limits
	if $box true 2>/dev/null; then
		descriptors
		memfds
		processes
		ends
		stuck
	else
		skip "hostile programs" "unshare(1) may not make a PID namespace here"
	fi
	finish
}

main
