#!/bin/bash
# SPDX-License-Identifier: MIT
#
# The files of procfs and sysfs that a program under `vellum run` can open: only those in the list of abi/kernel_fs.c,
# none for writing, and by no path those of Vellum's and QEMU's processes and threads.
#
# From the environment: VELLUM. Prints TAP.
set -u
. "$(dirname "$0")/lib.sh"

PROGRAMS=${PROGRAMS:-$root/build/programs}

# start: start tests/programs/doors.c, with a second procfs if the test may mount it.
start() {
	# shellcheck disable=SC2016 # the inner shell expands
	local run='exec "$2" run -- "$3"' within=()

	mkdir "$tmp/proc"
	second_proc=
	if unshare --mount mount -t proc proc "$tmp/proc" 2>/dev/null; then
		second_proc=yes within=(unshare --mount)
		run="mount -t proc proc \"\$1\" && $run"
	fi
	coproc DOORS { exec "${within[@]}" sh -c "$run" sh "$tmp/proc" "$VELLUM" "$PROGRAMS/doors" 2>"$tmp/stderr"; }
	read -r -t 60 own <&"${DOORS[0]}" || bail "the program did not start: $(cat "$tmp/stderr")"
}

# answer LINE: print the program's answer.
answer() {
	local said

	echo "$1" >&"${DOORS[1]}"
	read -r -t 60 said <&"${DOORS[0]}" || said="no answer"
	echo "$said"
}

# expect WANTED LINE...: add the lines with another answer to $wrong.
expect() {
	local wanted=$1 line said

	shift
	for line in "$@"; do
		said=$(answer "$line")
		[ "$said" = "$wanted" ] || wrong="$wrong$line: $said"$'\n'
	done
}

# shut LINE...: add the lines that accessed the file to $wrong.
shut() {
	local line said

	for line in "$@"; do
		said=$(answer "$line")
		case $said in
		ENOENT | EACCES | ELOOP | EISDIR | ENXIO) ;; # ELOOP: a link of procfs into a process; ENXIO: no driver
		*) wrong="$wrong$line: $said"$'\n' ;;
		esac
	done
}

# checked NAME: print the result of all expectations since the last call.
checked() {
	result "$1" "$wrong"
	wrong=
}

# forms PATH: print other paths of /proc/PATH.
forms() {
	echo "/proc/$1" "/proc//$1" "/proc/./$1" "//proc/$1" "/proc/sys/../$1" "/sys/../proc/$1" \
		"/proc/self/../$1" "/proc/self/root/proc/$1" "$tmp/link/$1"
}

# every TARGET: try to open each file of the process /proc/TARGET in each way.
every() {
	local file form

	for file in mem maps environ cmdline status exe fd fd/0 fd/3 root/etc/passwd cwd task ns/mnt map_files; do
		for form in $(forms "$1/$file"); do
			shut "read $form"
		done
		shut "stat /proc/$1/$file" "can 0 /proc/$1/$file" "readlink /proc/$1/$file" \
			"at /proc $1/$file" "in /proc $1/$file" "write /proc/$1/$file"
	done
	expect ENOENT "stat /proc/$1" "read /proc/$1" "list /proc/$1" "at /proc/sys ../$1/maps"
}

processes() {
	local pid tid

	for pid in "$vellum" $(descendants "$vellum" | cut -d: -f1); do
		every "$pid"
		for tid in /proc/"$pid"/task/*; do
			tid=${tid##*/}
			shut "read /proc/$tid/mem" "read /proc/$tid/maps" "read /proc/$tid/environ" \
				"read /proc/$tid/fd" "stat /proc/$tid/fd/0" "read /proc/$pid/task/$tid/mem" \
				"write /proc/$tid/mem" "stat /proc/$tid"
			shut "read /proc/self/task/$tid/mem" "read /proc/thread-self/task/$tid/maps"
		done
		checked "nothing of process $(cat "/proc/$pid/comm") and its threads"
	done
	expect ENOENT "read /proc/2/maps" "stat /proc/2" "list /proc/2" "read /proc/self/fd/77" \
		"read /proc/self/task/$vellum/maps"
	expect EIO "read /proc/self/mem" # at address 0
	checked "nothing of other processes"
	if [ -n "$second_proc" ]; then
		expect ENOENT "read $tmp/proc/meminfo" "read $tmp/proc/$vellum/mem" "read $tmp/proc/self/maps" \
			"list $tmp/proc"
		checked "nothing of a second procfs"
	else
		skip "nothing of a second procfs" "cannot mount one"
	fi
}

listed() {
	local name

	for name in $(answer "list /proc"); do
		case $name in
		[0-9]*) [ "$name" = "$own" ] || wrong="${wrong}a process: $name"$'\n' ;;
		. | ..) ;;
		*) expect ok "lstat /proc/$name" ;;
		esac
	done
	[ -n "$(answer "list /proc")" ] || wrong="nothing is listed"
	checked "what /proc lists can be looked at, and is no process of the host"
}

allowed() {
	local path dir

	for path in cpuinfo version filesystems mounts sys/kernel/osrelease sys/vm/overcommit_memory self/mounts \
		net/dev; do
		expect ok "read /proc/$path" "stat /proc/$path" "can 4 /proc/$path" "at /proc $path"
		expect EACCES "write /proc/$path" "trunc /proc/$path" "can 2 /proc/$path" "reopen /proc/$path" \
			"chmod /proc/$path"
	done
	checked "what programs read of the host's /proc, and do not write"
	for path in meminfo stat uptime loadavg swaps "$own/stat" self/status "self/task/$own/maps"; do
		expect ok "read /proc/$path" "stat /proc/$path" "can 4 /proc/$path" "at /proc $path" \
			"read $tmp/link/$path" "read /sys/../proc/$path"
		expect EACCES "chmod /proc/$path"
	done
	expect EACCES "mkdir /proc/new" "mkdir /proc/self/new" "mkdir /proc/self/fd/9" "chmod /proc/self/fd" "chmod /proc"
	checked "what programs read of the run's /proc, and do not change"
	dir=$(ls -d /dev/shm/vellum-proc-* "${TMPDIR:-/tmp}"/vellum-proc-* 2>/dev/null | head -n 1)
	if [ -n "$dir" ]; then
		expect ENOENT "read $dir/proc/$own/stat" "list $dir/proc" "stat $dir/proc/self" "write $dir/proc/meminfo" \
			"at $dir proc/stat" "in $dir proc/stat"
		checked "nothing of the tree by its name on the host"
	else
		skip "nothing of the tree by its name on the host" "no tree"
	fi
	expect "$own" "readlink /proc/self" "readlink //proc/./self"
	expect "$own/task/$own" "readlink /proc/thread-self"
	expect "$(readlink -f "$PROGRAMS/doors")" "readlink /proc/self/exe" "readlink /proc//self/exe" \
		"readlink /proc/$own/exe" "readlink /proc/self/task/$own/exe" "readlink /proc/thread-self/exe"
	expect ok "read /proc/self/exe" "read /proc/./$own/exe" "read /proc/self/cwd" "stat /proc/self/fd/0" \
		"stat /dev/fd/0" "stat /dev//stdin"
	checked "the program's own"
}

refused() {
	expect ENOENT "read /proc/kcore" "read /proc/kmsg" "read /proc/kallsyms" "read /proc/kpageflags" \
		"write /proc/sysrq-trigger" "read /proc/nosuch" "read /proc/iomem" "read /proc/bus/input"
	expect EACCES "write /proc/sys/vm/drop_caches" "write /sys/power/state" "mkdir /proc/sys/new" \
		"mkdir /sys/fs/new" "can 2 /sys/kernel/mm" "chmod /sys/kernel/notes"
	expect ok "read /sys/kernel/mm" "stat /sys/kernel/notes"
	checked "other files of the kernel"
	if [ "$(answer "memory $tmp/memory")" = ok ]; then
		shut "read $tmp/memory" "write $tmp/memory" "reopen $tmp/memory"
		checked "the memory of the host as a device"
	else
		skip "the memory of the host as a device" "cannot make one"
	fi
}

main() {
	[ -x "$VELLUM" ] || bail "no $VELLUM"
	[ -x "$PROGRAMS/doors" ] || bail "no $PROGRAMS/doors"
	tmp=$(mktemp -d)
	trap 'rm -rf "$tmp"' EXIT
	wrong=
	ln -s /proc "$tmp/link"
	start
	vellum=$DOORS_PID
	processes
	listed
	allowed
	refused
	to=${DOORS[1]}
	exec {to}>&-
	wait "$vellum"
	finish
}

main
