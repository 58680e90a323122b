#!/bin/sh
# SPDX-License-Identifier: MIT
#
# box.sh [--first] SCRATCH COMMAND...: run a command that may do anything, where it can do no harm.
#
# The command runs in new namespaces for processes, mounts, network and IPC. Every mount is read-only, except a
# file system of 64 MiB at SCRATCH; the command starts in its folder "work". /dev has six harmless devices. The
# command is root, but has only the capabilities for its own files. All this is checked before the command starts.
# --first: the command is process 1.
#
# Status: the command's; 120 or 121 if the box cannot be made or leaks; 122 if the command ended a process outside;
# 123 if it changed a file outside its folder. `box.sh SCRATCH true` tests whether a box can be made here.
set -u
export LC_ALL=C

if [ "${1-}" != --inside ]; then
	exec unshare --pid --fork --kill-child --mount --mount-proc --net --ipc --uts -- sh "$0" --inside "$@"
fi
shift
first=
if [ "$1" = --first ]; then
	first='unshare --pid --fork --kill-child --'
	shift
fi
cd "$1" && shift || exit 120
scratch=$(pwd -P)

mount_points() {
	awk '{ print $5 }' /proc/self/mountinfo
}

make_devices() {
	mount -t tmpfs -o size=64k,mode=755,nosuid none dev || return
	for node in 'null 3' 'zero 5' 'full 7' 'random 8' 'urandom 9'; do
		mknod -m 666 "dev/${node% *}" c 1 "${node#* }" || return
	done
	mknod -m 666 dev/tty c 5 0 && mkdir dev/shm && mount --move dev /dev
}

mount -t tmpfs -o size=64m,nodev,nosuid none "$scratch" && cd "$scratch" && mkdir dev work outside || exit 120
make_devices || exit 120
# A mount point that another mount hides cannot be reached or made read-only.
mount_points | while read -r at; do
	[ "$at" = "$scratch" ] || mount -o remount,bind,ro "$at"
done 2>/dev/null

for at in / /dev /dev/shm /sys /proc /proc/sys /proc/sys/kernel/core_pattern /etc /usr /root /home /tmp $(mount_points); do
	if [ "$at" != "$scratch" ] && [ -w "$at" ]; then
		echo "box.sh: $at is writable" >&2
		exit 121
	fi
done
for at in / /dev /dev/shm /sys /proc/sys /etc /tmp; do
	if mkdir "$at/box-leaks"; then
		rmdir "$at/box-leaks"
		exit 121
	fi 2>/dev/null
done

echo kept >outside/file
ls -lR --time-style=full-iso outside >list
sleep 1000000 &
witness=$!
cd work || exit 120
# shellcheck disable=SC2086 # several words
$first setpriv --bounding-set=-all,+chown,+dac_override,+fowner,+fsetid --inh-caps=-all --no-new-privs -- "$@"
status=$?
cd .. || exit 123
kill -0 $witness || exit 122
ls -lR --time-style=full-iso outside >list.now
cmp -s list list.now || exit 123
exit $status
