#!/bin/bash
# SPDX-License-Identifier: MIT
#
# Files under `vellum run` at their limits: errors and edge cases of file calls, compared with a native run; full disks;
# files larger than RAM; lost swap.
#
#   file_limits.sh          a file larger than RAM with one method of tracking
#   file_limits.sh --full   with all methods
#
# From the environment: see steps.sh. Prints TAP.
set -u
# shellcheck source=tests/cli/steps.sh
. "$(dirname "$0")/steps.sh"

# --- file calls, compared with a native run ---

# file_calls SIDE SUBJECT [OPTION...]: run it in an empty folder below $place; its output is in $tmp/SIDE.out.
file_calls() {
	local side=$1 subject=$2

	shift 2
	rm -rf "${place:?}/$side"
	mkdir "$place/$side"
	(
		ulimit -S -n 1024 # the limit of a program under Vellum
		cd "$place/$side" || exit 1
		if [ "$side" = native ]; then
			set --
		else
			set -- "$VELLUM" run "$@" --
		fi
		timeout -k 5 "$limit" "$@" "$PROGRAM_DIR/file_calls" "$subject" >"$tmp/$side.out" 2>"$tmp/stderr" \
			</dev/null
		echo "status $?" >>"$tmp/$side.out"
		what_vellum_said "$tmp/stderr" >>"$tmp/$side.out"
	)
}

# as_native SUBJECT [OPTION...]: tests/programs/file_calls.c has the same output and files as natively.
as_native() {
	local place=$tmp

	file_calls native "$@"
	file_calls vellum "$@"
	[ "$(wc -l <"$tmp/native.out")" -gt 2 ] || bail "file_calls $1 says nothing"
	result "$1: as natively" "$(diff "$tmp/native.out" "$tmp/vellum.out" && diff -r "$tmp/native" "$tmp/vellum")"
}

# The times of the program's file do not fit into 64 bits as nanoseconds since 1970.
far_times() {
	local at out

	mkdir "$tmp/far"
	# shellcheck disable=SC2154 # from find_busybox
	cp "$busybox" "$tmp/far/busybox"
	for at in 4147-08-20 1901-12-14; do
		touch -d "$at" "$tmp/far/busybox"
		out=$("$VELLUM" run "$tmp/far/busybox" echo right 2>&1)
		result "a program's file of $at" "$([ "$out" = right ] || echo "$out")"
	done
}

# The same with RLIMIT_FSIZE. Stores beyond the limit through a mapping are in the file.
as_native_within_limits() {
	local place=$tmp side

	for side in native vellum; do
		head -c 65536 /dev/zero | tr '\0' z >"$tmp/$side.big"
		(
			ulimit -S -f 16
			BIG_FILE=$tmp/$side.big file_calls "$side" limits
		)
	done
	result "limits: as natively" "$(diff "$tmp/native.out" "$tmp/vellum.out" && diff -r "$tmp/native" "$tmp/vellum" &&
		cmp "$tmp/native.big" "$tmp/vellum.big")"
}

# read(2) of a regular file that waits for data: a signal interrupts it.
waiting_file() {
	local traces=$tmp/traces instance

	mkdir -p "$traces"
	if ! mount -t tracefs vellum-test "$traces" 2>"$tmp/mount"; then
		skip "a regular file that waits" "no mount: $(head -n 1 "$tmp/mount")"
		return
	fi
	mounted=$traces instance=$traces/instances/vellum-test-$$
	if ! mkdir "$instance" 2>"$tmp/mount"; then
		skip "a regular file that waits" "no tracing instance: $(head -n 1 "$tmp/mount")"
		leave_disk
		return
	fi
	timeout -k 5 "$limit" "$VELLUM" run -- "$busybox" sh -c 'echo begins; exec head -c 1' <"$instance/trace_pipe" \
		>"$tmp/stdout" 2>"$tmp/stderr" &
	inside=$!
	while [ ! -s "$tmp/stdout" ] && alive "$(identify "$inside")"; do sleep 0.1; done
	sleep 0.2
	kill -TERM "$inside"
	wait "$inside"
	result "a regular file that waits" "$(echo "status $?" | grep -v 'status 143$')"
	rmdir "$instance"
	leave_disk
}

# The same on a full disk; first natively, then under Vellum.
as_native_on_full_disk() {
	local place side

	for side in native vellum; do
		if ! on_small_disk 2M; then
			skip "disk: as natively" "no mount: $(head -n 1 "$tmp/mount")"
			return
		fi
		place=$disk
		file_calls "$side" disk
		leave_disk
	done
	result "disk: as natively" "$(diff "$tmp/native.out" "$tmp/vellum.out")"
}

# --- a full disk ---

disk_full() {
	local accepted

	if ! on_small_disk 2M; then
		skip "stores to a full disk ($1)" "no mount: $(head -n 1 "$tmp/mount")"
		return
	fi
	file=$disk/file
	truncate -s 8M "$file"
	# shellcheck disable=SC2046
	start $(options "$1")
	ok "open a $file w" "map m a shared 0 2048"
	ask "fill m 0 2048 x"
	accepted=$answer
	[ "$accepted" -ge 500 ] && [ "$accepted" -le 512 ] || wrong="$wrong
$accepted pages accepted, expected about 512"
	wants "store m $((accepted * 4096)) y" SIGBUS
	wants "writes a $((1000 * 4096)) 10 w" 0
	ok "msync m" "store m 0 y" "fsync a"
	holds 0 y
	# Stores to pages that have blocks already.
	wants "fill m 1 $((accepted - 1)) u" $((accepted - 1))
	# After a hole was punched, new pages can be stored to.
	ok "remove m 4096 $((50 * 4096))"
	wants "fill m 1500 50 v" 50
	wants "writes a $((1600 * 4096)) 10 w" 0
	end "stores to a full disk ($1)" 0
	wrong=
	[ "$(count_pages "$file" u)" -eq $((accepted - 51)) ] || wrong="$wrong
$(count_pages "$file" u) of $((accepted - 51)) pages that were accepted are in the file"
	[ "$(count_pages "$file" v)" -eq 50 ] || wrong="$wrong
$(count_pages "$file" v) of 50 pages that were accepted later are in the file"
	result "what was accepted is in the file ($1)" "$(grep . <<<"$wrong")"
	leave_disk
}

written_to_full_disk() {
	local accepted

	if ! on_small_disk 2M; then
		skip "write(2) to a mapped file on a full disk ($1)" "no mount: $(head -n 1 "$tmp/mount")"
		return
	fi
	file=$disk/file
	truncate -s 8K "$file"
	# shellcheck disable=SC2046
	start $(options "$1")
	ok "open a $file w" "map m a shared 0 2048" "store m 0 y" "store m 4096 y"
	ask "writes a 8192 1000 w"
	accepted=$answer
	[ "$accepted" -gt 2000000 ] && [ "$accepted" -lt 2097152 ] || wrong="$wrong
$accepted bytes accepted"
	wants "size a" $((8192 + accepted))
	wants "write a $((8192 + accepted)) no" "No space left on device"
	wants "load m $((8192 + accepted - 1)) 1" w
	wants "load m $((8192 + (accepted + 4095) / 4096 * 4096)) 1" SIGBUS
	ok "store m 9000 inside" "truncate a 8192"
	wants "writes a 8192 10 v" 40960
	# Deleted files use no space.
	for i in 1 2 3 4; do
		ok "truncate a 8192" "open t $disk/t$i wc" "truncate t 1400000" "map t t shared 0 300"
		wants "fill t 0 300 t" 300
		ok "unmap t" "close t" "unlink $disk/t$i"
	done
	wants "writes a 8192 300 v" 1228800
	end "write(2) to a mapped file on a full disk ($1)" 0
	wrong=
	[ "$(count_pages "$file" v)" -eq 300 ] || wrong="$(count_pages "$file" v) pages"
	holds 0 y
	result "the file that was written to a full disk ($1)" "$wrong"
	leave_disk
}

# --- a file larger than RAM ---

pressure() {
	local pages=12288

	file=$tmp/file
	rm -f "$file"
	truncate -s $((pages * 4096)) "$file"
	# shellcheck disable=SC2046
	start $(options "$1") --ram=16M
	ok "open a $file w" "map m a shared 0 $pages"
	wants "fill m 0 $pages a" $pages
	wants "sum m $pages" $((pages * 97))
	wants "fill m 0 6000 b" 6000
	ok "store m $((7000 * 4096 + 10)) z"
	wants "sum m $pages" $((pages * 97 + 6000 + 122))
	end "a file of three times the RAM ($1)" 0
	wrong=
	[ "$(count_pages "$file" b)" -eq 6000 ] || wrong="$(count_pages "$file" b) of 6000 pages"
	[ "$(count_pages "$file" a)" -eq $((pages - 6000)) ] || wrong="$wrong
$(count_pages "$file" a) of $((pages - 6000)) pages"
	holds $((7000 * 4096)) a.........z
	result "all of it is in the file ($1)" "$(grep . <<<"$wrong")"
	rm -f "$file"
}

# --- a swap area that loses pages ---

# An access to a swapped page that cannot be read fails. It never sees other bytes.
lost() {
	fresh 4
	start --track="$1" --swap=16M,"$tmp/area" # without --verify, which would swap pages in
	ok "open a $file w" "map m a private 0 4" "store m 0 one" "store m 4096 two" "store m 8192 three" \
		"pageout m 0 8192"
	: >"$tmp/area"
	wants "load m 0 3" SIGBUS
	wants "store m 4096 new" SIGBUS
	wants "send a 0 m 0 3" "Bad address"
	wants "load m 8192 5" three
	ok "send a 0 m 8192 5" "unmap m" "map m a private 0 4"
	wants "load m 0 6" threez
	end "swapped pages that are lost ($1)" 0
	rm -f "$tmp/area"
}

main() {
	local method full=

	if [ "${1:-}" = --full ]; then
		full=1
	elif [ $# -gt 0 ]; then
		echo "usage: $0 [--full]" >&2
		exit 2
	fi
	set_up
	as_native opens
	as_native buffers
	as_native direct
	as_native waits
	as_native moved
	as_native raced
	as_native_on_full_disk
	as_native_within_limits
	far_times
	waiting_file
	for method in $METHODS; do
		disk_full "$method"
		written_to_full_disk "$method"
		lost "$method"
		case $full$method in 1* | wp) pressure "$method" ;; esac
	done
	finish
}

main "$@"
