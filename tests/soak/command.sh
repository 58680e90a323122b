#!/bin/bash
# SPDX-License-Identifier: MIT
# command.sh MINUTES: `vellum run` on two vCPUs for a long time, every store tracked and verified: shells that
# fork, sort, compress and map files, without a difference and without memory that grows. TAP.
set -u
cd "$(dirname "$0")/../.." || exit 1
minutes=${1:-1}
vellum=${VELLUM:-build/vellum}
busybox=$(command -v busybox)
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
trap 'exit 1' HUP INT TERM
failed=0

result() {	# ok|not ok, text
	[ "$1" = ok ] || failed=1
	echo "$1 - $2"
}

# Resident KiB of vellum and of QEMU, which is its child.
resident() {
	local pid sum=0 kib

	for pid in "$1" $(cat "/proc/$1/task/$1/children" 2>/dev/null); do
		kib=$(awk '$1 == "VmRSS:" { print $2 }' "/proc/$pid/status" 2>/dev/null)
		sum=$((sum + ${kib:-0}))
	done
	echo "$sum"
}

seq 1 30000 | awk '{ print ($1 * 7919) % 65537, "row", $1 }' >"$tmp/table"
want=$("$busybox" sort -n "$tmp/table" | "$busybox" md5sum)

# One round is about a second: processes, pipes, private and shared memory, files.
cat >"$tmp/work.sh" <<'EOF'
bb=$1 table=$2 until=$3 want=$4
while [ $($bb date +%s) -lt $until ]; do
	got=$($bb sort -n $table | $bb md5sum)
	[ "$got" = "$want" ] || { echo "sort: $got"; exit 1; }
	$bb gzip -c $table >$table.gz && $bb gunzip -c $table.gz | $bb cmp - $table || { echo gzip; exit 1; }
	$bb awk '{ n[$1 % 100]++ } END { for (i in n) s += n[i]; print s }' $table | $bb grep -qx 30000 ||
		{ echo awk; exit 1; }
	i=0
	while [ $i -lt 10 ]; do $bb true & i=$((i + 1)); done
	wait
done
echo done
EOF

soak() {	# method, seconds
	local method=$1 seconds=$2 pid now rss early=0 late=0 start=$SECONDS status

	"$vellum" run --track="$method" --verify --interval=5ms --cpus=2 -- \
		"$busybox" sh "$tmp/work.sh" "$busybox" "$tmp/table" $(($(date +%s) + seconds)) "$want" \
		</dev/null >"$tmp/out" 2>"$tmp/err" &
	pid=$!
	while kill -0 "$pid" 2>/dev/null; do
		now=$((SECONDS - start))
		rss=$(resident "$pid")
		# The peak of the second quarter, and of the last.
		[ $((now * 4)) -ge "$seconds" ] && [ $((now * 2)) -lt "$seconds" ] && [ "$rss" -gt "$early" ] && early=$rss
		[ $((now * 4)) -ge $((3 * seconds)) ] && [ "$rss" -gt "$late" ] && late=$rss
		[ "$now" -gt $((seconds + 120)) ] && kill -KILL "$pid"
		sleep 2
	done
	wait "$pid"
	status=$?
	if [ $status -eq 0 ] && grep -q '^vellum: verified' "$tmp/err" && grep -qx done "$tmp/out"; then
		result ok "$method, $seconds s: verified"
	else
		result 'not ok' "$method, $seconds s: status $status"
		tail -n 5 "$tmp/out" "$tmp/err" | sed 's/^/# /'
	fi
	if [ "$late" -gt 0 ] && [ "$late" -le $((early + early / 10 + 8192)) ]; then
		result ok "$method: resident memory $early KiB early, $late KiB late"
	else
		result 'not ok' "$method: resident memory grew from $early to $late KiB"
	fi
}

each=$(awk -v m="$minutes" 'BEGIN { print int(m * 60 / 3) }')
for method in auto wp clean; do
	soak $method "$each"
done
exit $failed
