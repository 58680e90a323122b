# SPDX-License-Identifier: MIT
# A command in the fuzzers' box cannot change files or end processes outside; the box reports it if it does.
. "$(dirname "$0")/tap"

mkdir "$tmp/scratch"
if ! sh tests/fuzz/box.sh "$tmp/scratch" true >"$tmp/diag" 2>&1; then
	echo "ok - box # SKIP $(tail -n 1 "$tmp/diag")"
	exit 0
fi

# status STATUS NAME COMMAND: the box ends with this status.
status() {
	sh tests/fuzz/box.sh "$tmp/scratch" sh -c "$3" >"$tmp/diag" 2>&1
	got=$?
	echo "status $got, not $1" >>"$tmp/diag"
	[ $got -eq "$1" ]
	result $? "$2"
}

# Names outside the folder cannot be changed, whatever their mount.
status 0 "only the scratch folder can be written" '
	echo x >file && rm file || exit 1
	for at in / /dev /dev/shm /proc /proc/sys /sys /etc /tmp /home; do
		! mkdir $at/box || exit 2
		! chmod 700 $at || exit 3
	done
	! rm -f /dev/null || exit 4
	! mknod device b 1 1 || exit 5
	! mount -o remount,rw / || exit 6
	! unshare --mount true || exit 7
	! echo 1 >/proc/sys/kernel/panic || exit 8'
status 7 "the status is the command's" 'exit 7'
status 122 "a process outside that is ended is seen" 'kill -9 -1; sleep 1'
status 123 "a file outside that is changed is seen" 'echo more >>../outside/file'
status 0 "the folder is empty each time" '[ -z "$(ls)" ]'
[ -c /dev/null ] && [ -w /dev/null ]
result $? "/dev/null is there"
exit "$bad"
