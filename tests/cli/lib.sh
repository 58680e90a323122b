# shellcheck shell=bash
# SPDX-License-Identifier: MIT
#
# Functions of all tests of the command: TAP lines, and processes that a command left behind.

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
# shellcheck disable=SC2034 # used by the scripts
VELLUM=${VELLUM:-$root/build/vellum} GUEST_DIR=${GUEST_DIR:-$root/build/guest}
test_number=0
failures=0

bail() {
	echo "Bail out! $*"
	exit 1
}

# wants_interpreter ELF: has it a program header of type PT_INTERP, as a dynamic program has?
wants_interpreter() {
	local count

	count=$(od -An -tu2 -j56 -N2 "$1")
	# 56 bytes each, the type first; the headers follow the ELF header.
	od -An -v -w56 -tu4 -j64 -N$((56 * count)) "$1" | grep -q '^ *3 '
}

# Debian's busybox-static is a static program, as Vellum needs.
find_busybox() {
	busybox=$(command -v busybox) || bail "no busybox"
	busybox=$(readlink -f "$busybox")
	! wants_interpreter "$busybox" || bail "$busybox isn't static"
}

# result NAME DIAGNOSTICS: print ok if DIAGNOSTICS is empty, else not ok.
result() {
	test_number=$((test_number + 1))
	if [ -z "$2" ]; then
		echo "ok $test_number - $1"
	else
		failures=$((failures + 1))
		echo "not ok $test_number - $1"
		printf '%s\n' "$2" | head -n 20 | cut -c 1-200 | sed 's/^/# /'
	fi
}

# skip NAME WHY
skip() {
	test_number=$((test_number + 1))
	echo "ok $test_number - $1 # SKIP $2"
}

finish() {
	echo "1..$test_number"
	[ "$failures" -eq 0 ]
}

# --- processes, named "PID:START" with their start time, as PIDs are reused ---

# read_stat PID: set $state, $parent and $start from /proc/PID/stat; "Z", 0 and 0 if the process does not exist.
# No subshell, as the functions below call it for each process of the system.
read_stat() {
	local line
	local -a f

	state=Z parent=0 start=0
	{ read -r line <"/proc/$1/stat"; } 2>/dev/null || return
	read -ra f <<<"${line##*) }" # the name before this may contain any character
	state=${f[0]} parent=${f[1]} start=${f[19]}
}

# identify PID: print PID:START.
identify() {
	local state parent start

	read_stat "$1"
	echo "$1:$start"
}

# alive PID:START: does the process exist, and is it no zombie?
alive() {
	local state parent start

	read_stat "${1%%:*}"
	[ "$state" != Z ] && [ "$start" = "${1##*:}" ]
}

# descendants PID: print its children, their children, and so on.
descendants() {
	local entry pid state parent start

	for entry in /proc/[0-9]*; do
		pid=${entry#/proc/}
		read_stat "$pid"
		if [ "$parent" = "$1" ]; then
			echo "$pid:$start"
			descendants "$pid"
		fi
	done
}

# still_alive SECONDS PID:START...: wait for them, and print those that have not ended.
still_alive() {
	local deadline=$(($(date +%s%N) + $1 * 1000000000)) process left

	shift
	while :; do
		left=
		for process in "$@"; do
			alive "$process" && left="$left $process"
		done
		if [ -z "$left" ] || [ "$(date +%s%N)" -gt "$deadline" ]; then
			break
		fi
		sleep 0.05
	done
	for process in $left; do
		echo "$process $(tr '\0' ' ' <"/proc/${process%%:*}/cmdline" 2>/dev/null)"
	done
}

# marked MARK: print the processes with VELLUM_TEST_MARK=MARK in their environment. It finds orphans, but not processes
# that have cleared their environment.
marked() {
	local file pid

	grep -lsa "VELLUM_TEST_MARK=$1" /proc/[0-9]*/environ | while read -r file; do
		pid=${file#/proc/}
		pid=${pid%/environ}
		identify "$pid"
	done
}
