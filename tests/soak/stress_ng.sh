#!/bin/bash
# SPDX-License-Identifier: MIT
#
# stress_ng.sh [SECONDS]: stress-ng(1) finds no fault in memory, processes and threads under `vellum run` that it does not
# find natively in the same run. Plain and tracked with --track=auto --verify. Needs Debian's stress-ng. From the
# environment: VELLUM. Prints TAP.
set -u
. "$(dirname "$0")/../cli/lib.sh"

seconds=${1:-3}
VELLUM=$(readlink -f "$VELLUM")
tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT

# stress COMMAND... STRESSOR: print what it complains about and its status
stress() {
	local stressor=${*: -1}

	set -- "${@:1:$#-1}"
	# It makes processes and kills them: a PID namespace.
	(cd "$tmp" && unshare --pid --fork --kill-child --mount --mount-proc timeout -k 5 300 "$@" stress-ng --verify \
		"--$stressor" 2 --vm-bytes 32M --mmap-bytes 16M --mremap-bytes 16M --msync-bytes 16M -t "$seconds" \
		>"$tmp/out" 2>&1 </dev/null)
	echo "status $?"
	grep -aE 'fail|error|differ|vellum: (out of|left)' "$tmp/out" | grep -v '^vellum: faults: ' | sed -E 's/\[[0-9]+\]/[PID]/; s/[0-9]{3,}/N/g'
}

if [ "$(id -u)" != 0 ] || ! command -v stress-ng >/dev/null; then
	skip "stress-ng" "not root, or no stress-ng"
	finish
	exit
fi
for stressor in vm mmap mmapfork mremap madvise msync mprotect brk stack fork vfork clone pthread futex sem pipe shm fault \
	zombie mlock memfd sigq switch eventfd epoll sock poll dentry; do
	stress "$stressor" >"$tmp/host"
	for options in "" "--track=auto --verify"; do
		# shellcheck disable=SC2086 # several words
		stress "$VELLUM" run $options -- "$stressor" >"$tmp/here"
		result "$stressor${options:+, $options}: as natively" "$(diff "$tmp/host" "$tmp/here")"
	done
done
finish
