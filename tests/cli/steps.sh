# shellcheck shell=bash
# SPDX-License-Identifier: MIT
#
# Functions of files.sh and file_limits.sh: tests/programs/steps.c runs under Vellum and executes the lines that the test
# sends; small disks. From the environment: VELLUM, PROGRAM_DIR, METHODS (of tracking).
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

PROGRAM_DIR=${PROGRAM_DIR:-$root/build/programs}
METHODS=${METHODS:-none wp clean auto}
limit=60 # seconds, for one run

# options METHOD: print the options of `vellum run`.
options() {
	case $1 in
	none) echo --track=none ;;
	*) echo "--track=$1 --verify --interval=2ms" ;;
	esac
}

# what_vellum_said FILE: print Vellum's lines, except the summary.
what_vellum_said() {
	grep -v '^vellum:  \|^vellum: \(and [0-9]* more\|faults:\|swap:\|tracked by\|verified:\)' "$1" | head -n 5
}

# --- a program that executes what the test sends ---

# start OPTION...: start steps under `vellum run`.
start() {
	coproc INSIDE { exec timeout -k 5 "$limit" "$VELLUM" run "$@" -- "$PROGRAM_DIR/steps" 2>"$tmp/stderr"; }
	inside=$INSIDE_PID wrong=
	exec {to}>&"${INSIDE[1]}" {from}<&"${INSIDE[0]}" # bash closes the coprocess's descriptors in subshells
}

# tell LINE: send it. In a subshell, as the program may have ended, and SIGPIPE would kill this shell.
tell() {
	(echo "$1" >&"$to") 2>/dev/null
}

# ask LINE: send it. Sets $answer.
ask() {
	answer='no answer'
	tell "$1" && { IFS= read -r -t 30 answer <&"$from"; } 2>/dev/null
}

# wants LINE ANSWER: add another answer to $wrong.
wants() {
	ask "$1"
	[ "$answer" = "$2" ] || wrong="$wrong
$1: $answer, expected $2"
}

# ok LINE...: the answer to each is ok.
ok() {
	local line

	for line; do
		wants "$line" ok
	done
}

# end NAME STATUS: end the program, and print the result of the test.
end() {
	local said

	[ "$2" = killed ] || tell "exit $2"
	wait "$inside" 2>/dev/null
	ended=$?
	exec {to}>&- {from}<&-
	[ "$2" = killed ] || [ "$ended" -eq "$2" ] || wrong="$wrong
status $ended, expected $2"
	said=$(what_vellum_said "$tmp/stderr")
	[ -z "$said" ] || wrong="$wrong
$said"
	result "$1" "$(grep . <<<"$wrong")"
}

# in_file FILE OFFSET TEXT: is the text in the host's file?
in_file() {
	[ "$(dd if="$1" bs=1 skip="$2" count=${#3} status=none | tr '\0' .)" = "$3" ]
}

# holds OFFSET TEXT: the text must be in the host's file now.
holds() {
	in_file "$file" "$1" "$2" || wrong="$wrong
the file has $(dd if="$file" bs=1 skip="$1" count=${#2} status=none | tr '\0' .) at $1, expected $2"
}

# comes SECONDS OFFSET TEXT: the text must be in the host's file by then.
comes() {
	local deadline=$((SECONDS + $1))

	while ! in_file "$file" "$2" "$3" && [ "$SECONDS" -le "$deadline" ]; do
		sleep 0.1
	done
	holds "$2" "$3"
}

put() {
	printf %s "$2" | dd of="$file" bs=1 seek="$1" conv=notrunc status=none
}

# fresh NR: create $file, with NR pages of the letter z.
fresh() {
	file=$tmp/file
	rm -f "$file"
	head -c $(($1 * 4096)) /dev/zero | tr '\0' z >"$file"
}

# count_pages FILE CHAR: print the number of pages that begin with CHAR.
count_pages() {
	printf 'open a %s r\ncount a %s\n' "$1" "$2" | "$PROGRAM_DIR/steps" | tail -n 1
}

# --- disks ---

# on_small_disk SIZE: mount a tmpfs at $disk.
on_small_disk() {
	disk=$tmp/disk
	mkdir -p "$disk"
	mount -t tmpfs -o "size=$1" vellum-test "$disk" 2>"$tmp/mount" || return 1
	mounted=$disk
}

leave_disk() {
	[ -z "$mounted" ] || umount "$mounted"
	mounted=
}

# set_up: check the programs, and create $tmp.
set_up() {
	[ -x "$VELLUM" ] || bail "no $VELLUM"
	[ -x "$PROGRAM_DIR/steps" ] || bail "no $PROGRAM_DIR/steps"
	find_busybox
	VELLUM=$(realpath "$VELLUM")
	mounted=
	tmp=$(mktemp -d)
	trap clean_up EXIT
}

clean_up() {
	leave_disk
	rm -rf "$tmp"
}
