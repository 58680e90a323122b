#!/bin/bash
# SPDX-License-Identifier: MIT
#
# repeat.sh [RUNS]: ten real programs, static and dynamic, two with threads, RUNS times each (100,000) from one snapshot.
# All runs must be alike, and memory as it was at each 1,000th reset. Vellum's own memory must stay level: late in the runs
# it may be 16 MiB above what it was early. From the environment: VELLUM. Prints TAP.
set -u
. "$(dirname "$0")/../cli/lib.sh"

export LC_ALL=C	# else most time goes into reading locales
VELLUM=$(readlink -f "$VELLUM")
runs=${1:-100000}
tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT
cd "$tmp" || exit 1
seq 1 200 >in

rss_of() { # PID: kB
	awk '/^VmRSS/ { print $2 }' "/proc/$1/status" 2>/dev/null
}

# repeat PROGRAM [ARGUMENT...]
repeat() {
	local pid early='' late='' now tenth

	"$VELLUM" repeat --ram=256M -n "$runs" --check=1000 --json=report.json -- "$@" <in >out 2>said &
	pid=$!
	tenth=$((SECONDS + 10))
	while kill -0 "$pid" 2>/dev/null; do
		now=$(rss_of "$pid")
		if [ -n "$now" ]; then
			[ $SECONDS -lt $tenth ] || : "${early:=$now}"
			late=$now
		fi
		sleep 1
	done
	wait "$pid"
	result "$*: all runs are alike" "$(status=$?; [ $status = 0 ] && grep -q 'all runs are alike' said || { echo "status $status"; tail -n 3 said; })"
	echo "# $(head -n 1 <(grep ' runs, ' said))"
	[ -z "$early" ] || result "$*: Vellum's memory stays level" "$([ "$late" -lt $((early + 16384)) ] || echo "$early kB, then $late kB")"
}

gcc -O1 -pthread -o threads -xc - <<'END_OF_C' || bail "gcc"
/* Two threads sum up halves of the input. */
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>
static char text[4096];
static long sums[2];
static void *sum(void *arg)
{
	long which = (long)arg;

	for (int i = (int)which; i < 4096; i += 2)
		sums[which] += text[i];
	return NULL;
}
int main(void)
{
	pthread_t t[2];

	if (read(0, text, sizeof(text)) < 0)
		return 1;
	for (long i = 0; i < 2; i++)
		pthread_create(&t[i], NULL, sum, (void *)i);
	for (int i = 0; i < 2; i++)
		pthread_join(t[i], NULL);
	printf("%ld %ld\n", sums[0], sums[1]);
	return 0;
}
END_OF_C

busybox=$(command -v busybox)
repeat "$busybox" awk '{ s += $1 } END { print s }' in
repeat "$busybox" sha256sum in
repeat gzip -c in
repeat sed 's/1/x/g;s/\(.\)2/\1/' in
repeat wc in
repeat factor 1234567890
repeat cut -c2 in
repeat date -u -d @1
repeat sort -rn in
repeat ./threads
finish
