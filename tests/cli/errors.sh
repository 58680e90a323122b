#!/bin/bash
# SPDX-License-Identifier: MIT
#
# If `vellum run` fails: one line on stderr, the right status, no report, and no process left behind.
#
# Statuses: 127 no such program, 126 the program cannot be executed, 125 an error of Vellum.
# From the environment: VELLUM, GUEST_DIR (see tests/guest). Prints TAP.
#
# shellcheck disable=SC2016 # the shell under test expands these strings
set -u
. "$(dirname "$0")/lib.sh"

limit=40 # seconds; Vellum gives up after 15 if the machine hangs

# --- one failing command ---

# run COMMAND...: sets $status, $tmp/stdout, $tmp/stderr, and $left, the processes that are left behind.
run() {
	local mark=$$.$RANDOM

	: >"$tmp/pids"
	VELLUM_TEST_MARK=$mark timeout -k 5 "$limit" "$@" </dev/null >"$tmp/stdout" 2>"$tmp/stderr"
	status=$?
	left=$(left_behind "$mark")
}

# left_behind MARK: processes with the mark, and fake QEMUs even if their environment was cleared.
left_behind() {
	local pid processes

	mapfile -t processes < <(marked "$1"; while read -r pid; do identify "$pid"; done <"$tmp/pids")
	still_alive 2 "${processes[@]}"
}

# complaints STATUS: print what is wrong after a command that had to fail.
complaints() {
	[ "$status" -eq "$1" ] || echo "status $status, expected $1"
	[ "$(wc -l <"$tmp/stderr")" -eq 1 ] || echo "$(wc -l <"$tmp/stderr") lines, expected one"
	grep -v '^vellum: ' "$tmp/stderr"
	[ ! -s "$tmp/stdout" ] || echo "stdout: $(head -n 3 "$tmp/stdout")"
	[ ! -e "$tmp/report" ] || echo "a report was left"
	[ ! -e "$tmp/started" ] || echo "the program was started"
	[ -z "$left" ] || echo "left behind: $left"
	rm -f "$tmp/report" "$tmp/started"
}

# fails NAME STATUS COMMAND...
fails() {
	local name=$1 wanted=$2 wrong

	shift 2
	run "$@"
	wrong=$(complaints "$wanted")
	[ -z "$wrong" ] || wrong="$wrong
stderr: $(head -n 5 "$tmp/stderr")"
	result "$name" "$wrong"
}

# refuses NAME STATUS PROGRAM [ARG...]: the run fails, and writes no report.
refuses() {
	local name=$1 wanted=$2

	shift 2
	fails "$name" "$wanted" "$VELLUM" run --json="$tmp/report" -- "$@"
}

# --- files that are no programs ---

# put_byte FILE OFFSET OCTAL
put_byte() {
	# shellcheck disable=SC2059 # the octal escape is the format
	printf "\\$3" | dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}

# other_elf NAME: a copy of busybox, for a test that changes it.
other_elf() {
	cp "$busybox" "$tmp/$1"
	chmod +x "$tmp/$1"
}

# cut_elf NAME BYTES: the start of busybox.
cut_elf() {
	head -c "$2" "$busybox" >"$tmp/$1"
	chmod +x "$tmp/$1"
}

bad_programs() {
	echo 'just some text' >"$tmp/text"
	chmod +x "$tmp/text"
	refuses "a text file" 126 "$tmp/text"
	: >"$tmp/empty"
	chmod +x "$tmp/empty"
	refuses "an empty file" 126 "$tmp/empty"
	cut_elf cut32 32
	refuses "32 bytes of an ELF file" 126 "$tmp/cut32"
	cut_elf cut100 100
	refuses "100 bytes of an ELF file" 126 "$tmp/cut100"
	cut_elf cut176 $((64 + 2 * 56))
	refuses "an ELF file cut in its program headers" 126 "$tmp/cut176"
	other_elf arm
	put_byte "$tmp/arm" 18 267 # EM_AARCH64
	refuses "an ELF file for another machine" 126 "$tmp/arm"
	other_elf elf32
	put_byte "$tmp/elf32" 4 001  # ELFCLASS32
	put_byte "$tmp/elf32" 18 003 # EM_386
	refuses "a 32-bit ELF file" 126 "$tmp/elf32"
	other_elf object
	put_byte "$tmp/object" 16 001 # ET_REL
	refuses "an object file" 126 "$tmp/object"
	other_elf headers
	put_byte "$tmp/headers" 39 177 # e_phoff far away
	refuses "program headers outside the file" 126 "$tmp/headers"
	if wants_interpreter /bin/ls; then
		sed 's|/lib64/ld-|/lib64/no-|' /bin/ls >"$tmp/nointerp"
		chmod +x "$tmp/nointerp"
		refuses "a dynamic program without its interpreter" 127 "$tmp/nointerp"
		sed 's|/lib64/ld-linux-x86-64.so.2|/etc/passwd//////////////////|' /bin/ls >"$tmp/badinterp"
		chmod +x "$tmp/badinterp"
		refuses "a dynamic program whose interpreter is not executable" 126 "$tmp/badinterp"
	fi
	refuses "a missing file" 127 "$tmp/nosuch"
	refuses "a missing name" 127 nosuchprogram
	refuses "a file in a missing directory" 127 "$tmp/nosuch/program"
	refuses "a file below a file" 126 "$tmp/text/program"
	refuses "a directory" 126 "$tmp"
	cp "$busybox" "$tmp/notexec"
	chmod 644 "$tmp/notexec"
	refuses "a file that isn't executable" 126 "$tmp/notexec"
}

script_file() {
	cat >"$tmp/$1"
	chmod +x "$tmp/$1"
}

# says NAME STATUS STDOUT COMMAND...
says() {
	local name=$1 wanted="$2 $3" got

	shift 3
	run "$@"
	got="$status $(cat "$tmp/stdout")"
	[ "$got" = "$wanted" ] && got=
	result "$name" "$got"
}

scripts() {
	script_file script <<END
#!$busybox sh
echo "script [\$1] [\$2]"; exit 6
END
	says "a script runs its interpreter" 6 'script [a b] []' "$VELLUM" run -- "$tmp/script" 'a b'
	script_file noarg <<END
#! $busybox
END
	# busybox takes the script's name for the applet's.
	mv "$tmp/noarg" "$tmp/echo"
	says "an interpreter without argument" 0 "$("$tmp/echo" x 2>&1)" "$VELLUM" run -- "$tmp/echo" x
	script_file nested <<END
#!$tmp/script nested
END
	says "a script that a script interprets" 6 "$("$tmp/nested" z)" "$VELLUM" run -- "$tmp/nested" z
	script_file badinterp <<'END'
#!/no/such/interpreter
END
	run "$VELLUM" run --json="$tmp/report" -- "$tmp/badinterp"
	[ "$status" -eq 126 ] || status=$((status == 127 ? 126 : status)) # shells differ here
	result "a script without interpreter" "$(complaints 126)"
	script_file loop <<END
#!$tmp/loop
END
	refuses "a script that interprets itself" 126 "$tmp/loop"
}

# --- machines that fail ---

# fake_qemu DIR: create a QEMU from the script on stdin, in a directory for PATH.
fake_qemu() {
	mkdir "$tmp/$1"
	{
		echo '#!/bin/sh'
		echo "echo \$\$ >>$tmp/pids"
		cat
	} >"$tmp/$1/qemu-system-x86_64"
	chmod +x "$tmp/$1/qemu-system-x86_64"
}

# without_qemu NAME PATH
without_qemu() {
	fails "$1" 125 env PATH="$2" "$VELLUM" run --json="$tmp/report" -- "$busybox" touch "$tmp/started"
}

machines() {
	local version='case "$*" in *version*) echo "QEMU emulator version 7.2.0"; exit 0;; esac'

	mkdir "$tmp/nothing"
	without_qemu "no QEMU" "$tmp/nothing"
	fake_qemu fails <<<'exit 1'
	without_qemu "a QEMU that fails" "$tmp/fails:$PATH"
	fake_qemu fails_late <<END
$version
echo "qemu-system-x86_64: something is wrong" >&2
echo "qemu-system-x86_64: so I give up" >&2
exit 1
END
	without_qemu "a QEMU that fails after its version" "$tmp/fails_late:$PATH"
	fake_qemu killed <<END
$version
kill -SEGV \$\$
END
	without_qemu "a QEMU that is killed" "$tmp/killed:$PATH"
	fake_qemu quits <<END
$version
exit 0
END
	without_qemu "a QEMU that ends at once" "$tmp/quits:$PATH"
	fake_qemu rubbish <<<'echo ")*&^%$ rubbish"; echo "%s%n rubbish" >&2; exit 0'
	without_qemu "a QEMU that prints rubbish" "$tmp/rubbish:$PATH"
	fake_qemu old <<<'echo "QEMU emulator version 4.0.0 (Debian 1:4.0)"; exit 0'
	without_qemu "a QEMU that is too old" "$tmp/old:$PATH"
	mkdir "$tmp/notexecutable"
	echo text >"$tmp/notexecutable/qemu-system-x86_64"
	without_qemu "a QEMU that isn't executable" "$tmp/notexecutable"
	fake_qemu hangs <<<'exec sleep 1000'
	in_time "a QEMU that hangs" "$tmp/hangs:$PATH"
	fake_qemu hangs_late <<END
$version
exec sleep 1000
END
	in_time "a QEMU that hangs after its version" "$tmp/hangs_late:$PATH"
	fake_qemu hangs_asked <<<'case "$*" in *version*) exec sleep 1000;; esac; exit 1'
	in_time "a QEMU that fails, and hangs when asked for its version" "$tmp/hangs_asked:$PATH"
}

# in_time NAME PATH: Vellum gives up before the timeout.
in_time() {
	local start=$SECONDS seconds

	without_qemu "$1" "$2"
	seconds=$((SECONDS - start))
	result "$1: given up in time" "$([ "$seconds" -le 17 ] || echo "after $seconds s")"
}

# --- arguments ---

# bad NAME ARG...: Vellum refuses the arguments before the program starts.
bad() {
	local name=$1

	shift
	fails "$name" 125 "$VELLUM" run "$@" -- "$busybox" touch "$tmp/started"
}

arguments() {
	local arg

	for arg in --bogus --bogus=1 -x \
		--interval=abc --interval= --interval=-5ms --interval=5parsecs --interval=ms --interval=nanms --interval=infs \
		--track=foo --track= --machine=foo --machine= \
		--cpus=0 --cpus=abc --cpus=-1 --cpus=100000 --cpus=2x \
		--ram=garbage --ram= --ram=-1 --ram=0 --ram=1M --ram=64X --ram=99999999999999999999G --ram=nan --ram=infG --swap=nan \
		--verify=yes --json= \
		--swap= --swap=garbage --swap=0 --swap=-1 --swap=1K --swap=99999999999G --swap=64M, \
		--swap=64M,/dev/null --swap=64M,/no/such/folder/file \
		--inspect= --inspect=never --inspect=exit, --inspect=exit,json, --inspect=exit,/no/such/folder/file \
		--inspect=exit,/ --inspect=signal --inspect=signal: --inspect=signal:BOGUS --inspect=syscall: \
		--inspect=syscall:bogus --inspect=syscall:write: --inspect=syscall:write:0 --inspect=syscall:write:-1 \
		--inspect=syscall:write:1x; do
		bad "$arg" "$arg"
	done
	bad "a report in a missing directory" --json="$tmp/nowhere/report"
	echo text >"$tmp/plain"
	chmod 755 "$tmp/plain"
	bad "a report below a file" --json="$tmp/plain/report"
	bad "a report over a directory" --json="$tmp"
	fails "no program" 125 "$VELLUM" run
	fails "no program after --" 125 "$VELLUM" run --
	fails "no program, but a report" 125 "$VELLUM" run --json="$tmp/report"
	fails "no such subcommand" 125 "$VELLUM" frobnicate
	fails "an option before the subcommand" 125 "$VELLUM" --bogus run
}

# A program that needs more memory than there is fails in an ordinary way, and one line says why.
out_of_memory() {
	local ram=$1 megabytes=$2 wrong=

	run "$VELLUM" run --ram="$ram" -- "$GUEST_DIR/crash" hog "$megabytes"
	case $status in
	3 | 125 | 137) ;; # ENOMEM from mmap; refused; killed
	*) wrong="status $status" ;;
	esac
	[ "$(grep -ci '^vellum: .*\(memory\|ram\)' "$tmp/stderr")" -eq 1 ] ||
		wrong="$wrong
$(grep -ci '^vellum: .*\(memory\|ram\)' "$tmp/stderr") lines about memory, expected one"
	wrong="$wrong
$(grep -v '^vellum: ' "$tmp/stderr")"
	[ -z "$left" ] || wrong="$wrong
left behind: $left"
	wrong=$(grep . <<<"$wrong")
	[ -z "$wrong" ] || wrong="$wrong
stderr: $(cat "$tmp/stderr")
stdout: $(cat "$tmp/stdout")"
	result "$megabytes MiB in a RAM of $ram" "$wrong"
}

# A run whose report cannot be written fails.
lost_report() {
	fails "a report to a full disk" 125 "$VELLUM" run --json=/dev/full -- "$busybox" true
	fails "a report to a closed stdout" 125 sh -c 'exec "$@" >&-' sh \
		"$VELLUM" run --json=- -- "$busybox" touch "$tmp/started"
	fails "an inspection to a closed stdout" 125 sh -c 'exec "$@" >&-' sh \
		"$VELLUM" run --inspect=exit,- -- "$busybox" touch "$tmp/started"
}

# Descriptors that a report cannot be written to.
report_descriptors() {
	local name

	for name in fd:7 /dev/fd/7 fd: fd:x fd:-1 fd:99999999999999999999; do
		fails "a report to $name" 125 "$VELLUM" run --json="$name" -- "$busybox" touch "$tmp/started"
	done
	fails "a report to a descriptor for reading" 125 sh -c 'exec "$@" 3</dev/null' sh \
		"$VELLUM" run --json=fd:3 -- "$busybox" touch "$tmp/started"
	fails "a report to the program's stdout" 125 sh -c 'exec "$@" 3>&1' sh \
		"$VELLUM" run --json=fd:3 -- "$busybox" touch "$tmp/started"
	fails "a report over the program's stdout" 125 sh -c 'exec "$@" >"$0"' "$tmp/plain" \
		"$VELLUM" run --json="$tmp/plain" -- "$busybox" touch "$tmp/started"
}

# The report's path can be opened, but the run fails.
older_report() {
	echo old >"$tmp/existing"
	run "$VELLUM" run --json="$tmp/existing" -- "$tmp/nosuch"
	result "an older report isn't replaced by a partial one" \
		"$([ ! -s "$tmp/existing" ] || [ "$(cat "$tmp/existing")" = old ] || cat "$tmp/existing")"
	rm -f "$tmp/existing"
}

main() {
	[ -x "$VELLUM" ] || bail "no $VELLUM"
	[ -x "$GUEST_DIR/crash" ] || bail "no $GUEST_DIR/crash"
	find_busybox
	tmp=$(mktemp -d)
	trap 'rm -rf "$tmp"' EXIT
	# The tests below need a Vellum that can run programs at all.
	says "a program runs" 0 fine "$VELLUM" run -- "$busybox" echo fine
	bad_programs
	scripts
	machines
	arguments
	says "16 MiB in a RAM of 64M" 0 "done" "$VELLUM" run --ram=64M -- "$GUEST_DIR/crash" hog 16
	out_of_memory 4M 16
	out_of_memory 64M 256
	lost_report
	report_descriptors
	older_report
	finish
}

main
