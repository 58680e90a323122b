#!/bin/bash
# SPDX-License-Identifier: MIT
# QEMU ends, is killed or hangs: Vellum starts it again. Processes on a CPU die, the others continue, and the report is
# written.
# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
find_busybox
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
abort=$root/build/guest/abort

# qemu_crash.c needs seccomp_unotify(2), and the right to read QEMU's memory.
names_instruction() {
	if [ "$(id -u)" = 0 ] && grep -q user_notif /proc/sys/kernel/seccomp/actions_avail 2>/dev/null; then
		result "which names the instruction" "$(grep -v 'it was in the code at 0x[0-9a-f]*: f0 0f a3 c8' "$tmp/err")"
	else
		skip "which names the instruction" "QEMU's memory cannot be read here"
	fi
}

# Instructions that make QEMU 7.2 abort. Other versions execute them or raise SIGILL.
for how in lock-bt lock-bts vpinsrw vroundss three-byte; do
	timeout -k 5 60 "$VELLUM" run "$abort" "$how" >"$tmp/out" 2>"$tmp/err"
	status=$?
	result "$how ends the program, not the run" "$([ $status = 132 ] || [ $status = 0 ] || { echo "status $status"; cat "$tmp/err"; })"
	result "$how: at most one line" "$([ "$(grep -c . "$tmp/err")" -le 1 ] || cat "$tmp/err")"
	[ "$how" != lock-bt ] || names_instruction
done

cat >"$tmp/script" <<END
$abort lock-bt
echo "status \$?"
seq 1 20000 | sort -r | head -n 1
$abort lock-bt
echo "status \$?"
echo after
END
timeout -k 5 120 "$VELLUM" run --track=clean --verify --json="$tmp/json" -- "$busybox" sh "$tmp/script" >"$tmp/out" 2>"$tmp/err"
status=$?
result "the other processes continue, and are verified" "$([ $status = 0 ] && [ "$(grep -v '^status' "$tmp/out" | tr '\n' ' ')" = "9999 after " ] &&
	grep -q 'verified: the replica' "$tmp/err" || { echo "status $status"; cat "$tmp/out" "$tmp/err"; })"
result "the report is valid" "$(jq -e '.exit.code == 0 and (.mappings | length) > 0' "$tmp/json" 2>&1 | grep -vx true)"

# qemu_of VELLUM: print the PID of its QEMU.
qemu_of() { pgrep -P "$1" qemu-system | head -n 1; }

# Write a line to the FIFO. There is no reader if the run has failed.
go() { timeout 60 sh -c 'echo word >"$1"' sh "$tmp/go"; }

# A process that waits has no state on a CPU, so it survives the end of QEMU.
for signal in KILL STOP; do
	rm -f "$tmp/go"
	mkfifo "$tmp/go"
	timeout -k 5 120 "$VELLUM" run --track=clean --verify -- "$busybox" sh -c "echo ready; read x <'$tmp/go'; echo \$x; echo \$((6 * 7))" \
		>"$tmp/out" 2>"$tmp/err" &
	timeout=$!
	while ! grep -q ready "$tmp/out" 2>/dev/null && kill -0 $timeout 2>/dev/null; do sleep 0.1; done
	sleep 0.3
	vellum=$(pgrep -P $timeout)
	kill -$signal "$(qemu_of "$vellum")"
	go
	wait $timeout
	status=$?
	result "a process that waits survives SIG$signal of QEMU" "$([ $status = 0 ] && [ "$(tr '\n' ' ' <"$tmp/out")" = "ready word 42 " ] ||
		{ echo "status $status"; cat "$tmp/out" "$tmp/err"; })"
done

# Its FPU state, which was on the CPU, survives, too, even if QEMU ends again before the process runs.
for times in 1 2; do
	rm -f "$tmp/go"
	mkfifo "$tmp/go"
	"$VELLUM" run "$root/build/programs/fpu_kept" <>"$tmp/go" >"$tmp/out" 2>"$tmp/err" &
	vellum=$!
	while ! grep -q ready "$tmp/out" 2>/dev/null && kill -0 $vellum 2>/dev/null; do sleep 0.1; done
	for ((i = 0; i < times; i++)); do
		sleep 0.5
		kill -KILL "$(qemu_of $vellum)"
	done
	sleep 0.5
	go
	wait $vellum
	result "its FPU state survives $times ends of QEMU" "$([ "$(tail -n 1 "$tmp/out")" = kept ] || cat "$tmp/out" "$tmp/err")"
done

# A process on a CPU dies with QEMU.
"$VELLUM" run --track=clean --json="$tmp/json" "$root/build/guest/crash" spin >"$tmp/out" 2>"$tmp/err" &
vellum=$!
while ! grep -q ready "$tmp/out" 2>/dev/null && kill -0 $vellum 2>/dev/null; do sleep 0.1; done
# It may still be in write(2), and so survive, or the next QEMU may be starting.
for ((i = 0; i < 40; i++)); do
	kill -0 $vellum 2>/dev/null || break
	kill -KILL "$(qemu_of $vellum)" 2>/dev/null
	sleep 0.5
done
kill -KILL $vellum 2>/dev/null
wait $vellum
status=$?
result "a process on a CPU dies with SIGILL, in one line" "$([ $status = 132 ] && grep -q 'process 1 (crash) is killed with SIGILL: qemu-system-x86_64 was killed' "$tmp/err" ||
	{ echo "status $status"; cat "$tmp/err"; })"
result "its report is written" "$(jq -e '.exit.signal == 4' "$tmp/json" 2>&1 | grep -vx true)"

finish
