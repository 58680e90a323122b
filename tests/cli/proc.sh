#!/bin/bash
# SPDX-License-Identifier: MIT
#
# Tools that read /proc, under `vellum run`: ps, top, free, pgrep, and soft-dirty bits. What they print must be about the
# programs of the run. The tree on the host must be gone after the run, also after a killed one. The end of a process whose
# memory is read.
# From the environment: VELLUM. Prints TAP.
set -u
. "$(dirname "$0")/lib.sh"

VELLUM=$(readlink -f "$VELLUM")
tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT

# run COMMAND: in a shell under vellum. Sets $output.
run() {
	output=$(timeout -k 5 60 "$VELLUM" run -- /bin/sh -c "$1" 2>"$tmp/stderr" </dev/null)
}

# expect NAME PATTERN: check the output of the last command.
expect() {
	local wrong=

	# shellcheck disable=SC2053
	[[ $output == $2 ]] || wrong="output: $output
stderr: $(head -n 5 "$tmp/stderr")"
	result "$1" "$wrong"
}

# have COMMAND...: are they on the host?
have() {
	command -v "$@" >/dev/null
}

# For a shell inside: start sleep(1) and wait until its execve(2) is done.
sleeper='sleep 60 & until read -r comm </proc/$!/comm && [ "$comm" = sleep ]; do :; done;'

trees() {
	ls -d /dev/shm/vellum-proc-* "${TMPDIR:-/tmp}"/vellum-proc-* 2>/dev/null
}

if have ps; then
	run "$sleeper"' ps -eo pid,ppid,comm,args; kill $!'
	expect "ps" '*PID*PPID*COMMAND*COMMAND
*1*0 sh*/bin/sh -c sleep*
*2*1 sleep*sleep 60
*3*1 ps*ps -eo*args'
	# The zombie's parent becomes a program that does not wait.
	run 'sh -c "sleep 0.1 & exec sleep 60" & sleep 0.5; ps -eo stat=,comm= | grep "^Z"; kill $!'
	expect "a zombie" 'Z *sleep*'
else
	skip "ps" "not installed"
	skip "a zombie" "not installed"
fi
if have top; then
	# The CPU time of the loop must appear as that of its process, and of the CPUs.
	run 'while :; do :; done & top -b -n 2 -d 0.5 -w 200 >top; kill $!; tail -n +8 top; rm top'
	expect "top: the running process" '*2 *R *sh*'
	run 'top -b -n 1 | head -n 5'
	expect "top: sums" 'top - *Tasks:* 1 running*%Cpu(s):*MiB Mem :   1024.0 total*MiB Swap:*'
else
	skip "top: the running process" "not installed"
	skip "top: sums" "not installed"
fi
if have free; then
	output=$(timeout 60 "$VELLUM" run --ram=256M --swap=64M -- "$(command -v free)" -k 2>"$tmp/stderr")
	expect "free" '*Mem: *262144 *Swap: *65536 *'
else
	skip "free" "not installed"
fi
if have pgrep; then
	run "$sleeper"' pgrep sleep; pgrep -P 1 sleep; kill $!'
	expect "pgrep" '2
2'
else
	skip "pgrep" "not installed"
fi
output=$("$VELLUM" run -- "$root/build/programs/proc" soft-dirty 2>"$tmp/stderr")
expect "soft-dirty bits of known pages" 'write(clear, "4", 1): 1
1
00100001'

# The file of a program becomes a link to a descriptor that Vellum has and the program has not.
find_busybox
mkdir "$tmp/bin" && cp "$busybox" "$tmp/bin/busybox"
output=$(cd "$tmp/bin" && timeout -k 5 60 "$VELLUM" run -- "$tmp/bin/busybox" sh -c 'for fd in 3 4 5 6 7 8 9 10 11 12 13 14 15 16
do rm busybox && ln -s /proc/self/fd/$fd busybox && (: </proc/$$/exe) 2>/dev/null && echo "opened $fd"
done; readlink /proc/$$/exe' 2>"$tmp/stderr")
expect "exe is no way to Vellum's descriptors" "$tmp/bin/busybox"

before=$(trees)
run 'ls /proc/self/'
expect "ls" '*status*'
result "the tree on the host is gone after the run" "$(comm -13 <(echo "$before") <(trees) | while read -r tree; do
	sleep 20; [ ! -e "$tree" ] || echo "$tree"; done)"

# A run that is killed leaves one, which the next run removes.
"$VELLUM" run -- /bin/sh -c 'ls /proc/self/; exec sleep 60' >"$tmp/listed" 2>/dev/null &
pid=$!
disown
for _ in {1..100}; do
	[ -s "$tmp/listed" ] && break
	sleep 0.1
done
new=$(comm -13 <(echo "$before") <(trees))	# of other tests, too, which remove theirs when they end
result "a tree of a running one" "$([ -n "$new" ] || echo none)"
kill -KILL $pid
while kill -0 $pid 2>/dev/null; do
	sleep 0.1
done
run 'ls /proc/self/'
for _ in {1..60}; do
	left=$(comm -12 <(echo "$new") <(trees))
	[ -n "$left" ] || break
	sleep 1
done
result "the next run removes what a killed one left" "$left"
# A process that copies the memory of another one does not delay the writeback of that one's files beyond wait(2).
late=0 rounds=0
coproc watched { timeout -k 5 60 "$VELLUM" run --cpus=2 -- "$root/build/programs/watched_ends" "$tmp/file" 2>"$tmp/stderr"; }
exec {answers}>&"${watched[1]}"
while read -r number; do
	rounds=$((rounds + 1))
	[ "$(od -An -N4 -td4 "$tmp/file" | tr -d ' ')" = "$number" ] || late=$((late + 1))
	echo >&$answers
done <&"${watched[0]}"
exec {answers}>&-
result "a process that ends while its memory is copied: its file" "$([ "$rounds $late" = '10 0' ] ||
	{ echo "$rounds rounds, $late late" && cat "$tmp/stderr"; })"
finish
