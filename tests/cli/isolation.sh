#!/bin/bash
# SPDX-License-Identifier: MIT
# Isolation of the machine from the program: rings, registers and the rights of QEMU's process (THREAT-MODEL.md).
# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
programs=$root/build/programs

out=$(timeout -k 5 300 "$VELLUM" run "$programs/rings" 2>&1)
result "no instruction reaches the upper half" "$([[ $out == *", 0 failures" ]] || echo "$out")"

for how in none clean wp; do
	track=()
	[ "$how" = none ] || track=(--track="$how" --interval=100us)
	out=$(timeout -k 5 300 "$VELLUM" run "${track[@]}" "$programs/registers" 500 2>/dev/null)
	result "registers are kept over faults and interrupts ($how)" "$([ "$out" = kept ] || echo "$out")"
done

# The rights of QEMU's process, a child of `vellum run`, while the program waits.
fifo=$(mktemp -u)
mkfifo "$fifo"
"$VELLUM" run "$root/build/guest/crash" spin >"$fifo" 2>&1 &
vellum=$!
read -r _ <"$fifo"
qemu=$(pgrep -P "$vellum" qemu-system | head -n 1)
status=$(cat "/proc/$qemu/status" 2>&1)
field() { printf '%s\n' "$status" | awk -v f="$1:" '$1 == f { print $2 }'; }
result "QEMU cannot gain rights" "$([ "$(field NoNewPrivs)" = 1 ] || echo "NoNewPrivs is not set: $status")"
result "QEMU runs under seccomp" "$([ "$(field Seccomp)" = 2 ] || echo "no filter: $status")"
if [ "$(id -u)" = 0 ]; then
	result "QEMU is not root" "$([ "$(field Uid)" != 0 ] && [ "$(field CapEff)" = 0000000000000000 ] || echo "$status")"
else
	skip "QEMU is not root" "the caller is not root either"
fi
result "QEMU has no environment" "$(tr '\0' '\n' <"/proc/$qemu/environ" 2>/dev/null)"
kill "$vellum"
wait "$vellum" 2>/dev/null
rm -f "$fifo"

finish
