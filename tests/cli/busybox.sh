#!/bin/bash
# SPDX-License-Identifier: MIT
#
# busybox under `vellum run` has the same stdout, stderr, exit status and files as natively.
#
# From the environment: VELLUM, GUEST_DIR (see tests/guest). Prints TAP.
#
# shellcheck disable=SC2016 # the shell under test expands these strings
set -u
. "$(dirname "$0")/lib.sh"

wp='--track=wp --verify --interval=2ms'
clean='--track=clean --verify --interval=2ms'
cpus='--track=wp --verify --interval=1ms --cpus=2'
limit=120 # seconds; much more than any command takes

# --- input, the same in each run ---

make_inputs() {
	local in=$tmp/in dir

	mkdir -p "$in/tree"
	"$busybox" seq 1 250000 |
		"$busybox" awk '{ x = (x * 1103515245 + $1 * 12345) % 2147483648
			printf "%010d line %d of %s text %08x\n", x, $1, x % 7 ? "some" : "other", x }' |
		"$busybox" head -c 10485760 >"$in/big"
	[ "$(wc -c <"$in/big")" -eq 10485760 ] || bail "the input isn't 10 MiB"
	head -c 1000000 "$in/big" >"$in/small"
	head -n 2000 "$in/big" >"$in/lines"
	for dir in a a/b a/b/c d; do
		mkdir "$in/tree/$dir"
		split -n 12 "$in/lines" "$in/tree/$dir/part."
	done
	ln -s a/b/c/part.aa "$in/tree/link"
	chmod 640 "$in/tree/a/part.ab"
	chmod 755 "$in/tree/d/part.ac"
	: >"$in/tree/d/empty"
	gzip -nc "$in/big" >"$in/big.gz"
	tar -C "$in" -cf "$in/tree.tar" tree
}

# --- the same command twice ---

# run_in SIDE COMMAND...: run it with stdin from $input; output, status and files are in $tmp/SIDE.
run_in() {
	local dir=$tmp/$1

	shift
	rm -rf "$dir"
	mkdir -p "$dir/cwd"
	{
		(cd "$dir/cwd" && exec timeout -k 5 "$limit" "$@" <"$input" >../stdout 2>../stderr)
		echo $? >"$dir/status"
	} 2>/dev/null # the messages "Killed" and "Segmentation fault" of this shell
}

# The attributes of the files that a command made, except inodes and sizes of directories.
list_files() {
	(cd "$tmp/$1/cwd" && find . -type d -printf '%p %m\n' -o -printf '%p %y %m %n %s %l\n' | sort)
}

differences() {
	cmp "$tmp/native/status" "$tmp/vellum/status" >/dev/null ||
		echo "status $(cat "$tmp/vellum/status"), natively $(cat "$tmp/native/status")"
	cmp "$tmp/native/stdout" "$tmp/vellum/stdout" >/dev/null ||
		diff -a <(head -c 100000 "$tmp/native/stdout") <(head -c 100000 "$tmp/vellum/stdout") |
		head -n 6 | cat -v
	cmp "$tmp/native/stdout" "$tmp/vellum/stdout" 2>&1
	grep -v '^vellum: ' "$tmp/vellum/stderr" | diff "$tmp/native/stderr" - | sed 's/^/stderr /'
	diff <(list_files native) <(list_files vellum)
	diff -r --no-dereference "$tmp/native/cwd" "$tmp/vellum/cwd"
}

# same NAME OPTIONS COMMAND...
same() {
	local name=$1 options=$2

	shift 2
	run_in native "$@"
	# shellcheck disable=SC2086 # options are words
	run_in vellum "$VELLUM" run $options -- "$@"
	differences >"$tmp/diagnostics" 2>&1
	if [ -s "$tmp/diagnostics" ]; then
		grep '^vellum: ' "$tmp/vellum/stderr" | head -n 3 >>"$tmp/diagnostics"
	fi
	result "$name${options:+ ($options)}" "$(cat "$tmp/diagnostics")"
}

# The same with each method of tracking.
same_tracked() {
	local name=$1 options

	shift
	for options in '' "$wp" "$clean"; do
		same "$name" "$options" "$@"
	done
}

# sh_same OPTIONS SCRIPT: the script is also the name of the test.
sh_same() {
	local name=${2//$'\n'/; }

	name=${name//$'\t'/}
	same "sh: ${name:0:90}" "$1" "$busybox" sh -c "$2"
}

# --- cases ---

applets() {
	same_tracked "sha256sum of 10 MiB" "$busybox" sha256sum ../../in/big
	same_tracked "gzip of 10 MiB" "$busybox" gzip -c ../../in/big
	same_tracked "sort of 10 MiB" "$busybox" sort ../../in/big
	same "gunzip of 10 MiB" "$wp" "$busybox" gunzip -c ../../in/big.gz
	same "gzip and gunzip in a pipe" '' "$busybox" sh -c \
		'busybox gzip -c <../../in/small | busybox gunzip | busybox cmp - ../../in/small'
	same "sort by a number, backwards, unique" "$clean" "$busybox" sort -rnuk3 ../../in/small
	same "sort onto its input" '' "$busybox" sh -c \
		'cp ../../in/lines f; sort -o f f; sort -c f && md5sum f'
	same "awk sums" "$wp" "$busybox" awk \
		'{ n[$5] += $3; h = (h * 31 + length($0)) % 65521 } END { for (k in n) print k, n[k]; print h }' \
		../../in/small
	same "awk with files" '' "$busybox" awk \
		'{ print > ($2 % 2 ? "odd" : "even") } END { close("odd"); while ((getline l < "odd") > 0) n++
			printf "%d %.3f %s\n", n, atan2(1, 2), toupper(substr(l, 3, 9)); exit 3 }' ../../in/lines
	same "grep counts" "$clean" "$busybox" grep -c '7 of other' ../../in/big
	same "grep with numbers" '' "$busybox" grep -nE '^0+[1-9]{3}.*(some|other) text' ../../in/small
	same "grep finds nothing" '' "$busybox" grep 'no such line' ../../in/small
	same "sed" "$wp" "$busybox" sed -n -e 's/\([0-9]*\) line \([0-9]*\)/\2:\1/' -e '/other/p' \
		../../in/small
	same "sed in place" '' "$busybox" sh -c 'cp ../../in/lines f; sed -i "s/line/row/; 5,10d" f'
	same "dd, od, base64, xxd" '' "$busybox" sh -c \
		'dd if=../../in/big bs=4095 skip=3 count=7 2>/dev/null | tee f | od -A d -t x2 | tail -n 4
		base64 f | base64 -d | cmp - f; xxd -l 64 f; dd if=f of=g bs=1k seek=5 conv=notrunc 2>/dev/null'
	same "reads and writes of 3 MiB at once" "$wp" "$busybox" sh -c \
		'for f in /dev/zero ../../in/big; do
			dd if=$f bs=3M count=2 of=f 2>&1 | grep records
			md5sum f
		done'
	same "bc" '' "$busybox" sh -c 'echo "scale=60; 4*a(1); 2^200" | busybox bc -l'
	same "wc of a large stdin" "$wp" "$busybox" sh -c 'cat ../../in/big | wc'
}

files() {
	same_tracked "tar to a pipe" "$busybox" sh -c \
		'busybox tar -C ../../in -cf - tree | busybox md5sum'
	same "tar to stdout" '' "$busybox" tar -C ../../in -cf - tree
	same_tracked "tar extracts" "$busybox" tar -xf ../../in/tree.tar
	same "tar through gzip and back" "$wp" "$busybox" sh -c \
		'tar -C ../../in -cf - tree | gzip >t.gz && tar -xzf t.gz && rm t.gz'
	same "find by name" '' "$busybox" find ../../in/tree -type f -name '*.a[a-d]'
	same "find and exec" "$cpus" "$busybox" find ../../in/tree/a/b -type f -exec busybox md5sum {} +
	same "find and xargs" "$clean" "$busybox" sh -c \
		'find ../../in/tree -type f | sort | xargs -n 20 cat | md5sum'
	same "cp, mv, ln, chmod, rm" '' "$busybox" sh -c \
		'cp -a ../../in/tree . && mv tree/a x && ln -s x y && ln x/part.aa hard && chmod 600 y/part.ab &&
		rm -r tree/d && ls -la x | wc -l && readlink y && test -x x/b'
	same "umask, mkdir, truncate" '' "$busybox" sh -c \
		'umask 027; mkdir -p p/q; echo x >p/q/r; truncate -s 5000 p/s; : >>p/t; rmdir p/q; echo $?'
	same "head, tail, cat, cmp, diff" '' "$busybox" sh -c \
		'head -n 700 ../../in/lines >a; tail -n +701 ../../in/lines >b
		cat a b | cmp - ../../in/lines && diff a b | head -n 3'
}

pipelines() {
		for options in '' "$wp" "$clean" "$cpus"; do
		sh_same "$options" 'for i in 1 2 3; do echo $i | busybox md5sum; done'
		sh_same "$options" 'cut -d" " -f5 ../../in/small | sort | uniq -c | awk "{ print \$2, \$1 }"'
		sh_same "$options" 'sleep 0.1 & busybox md5sum ../../in/small & wait; echo done'
	done
	sh_same '' 'cut -c1-3 ../../in/small | uniq | sed -n "\$=" ; tail -n 3 ../../in/small | tac | rev'
	sh_same "$cpus" 'seq 100000 | grep 7 | tr 0-9 a-j | sort -r | head -n 5'
	sh_same "$wp" 'n=0; seq 300 | while read -r l; do n=$((n + l)); echo $n; done | tail -n 1'
	sh_same '' 'x=$(seq 20000); echo "${#x}"; echo "$x" | md5sum'
	sh_same '' 'mkfifo f; cat f & echo through a fifo >f; wait; rm f'
}

shell() {
	local status

	for status in 0 1 7 255; do
		sh_same '' "exit $status"
	done
	sh_same '' 'nosuchcommand; echo $?; nosuchcommand'
	sh_same '' '/no/such/program'
	sh_same '' './none; cat /no/such/file; echo $?'
	sh_same '' 'mkdir d; cd d; echo x >f; cd ..; cat d/f; cd d/../d && basename "$PWD"; cd nowhere'
	sh_same '' 'echo out; echo err >&2; ls nothing 2>&1 | cat; echo both >f 2>&1; cat <f'
	sh_same '' 'exec 3>f; echo three >&3; exec 3>&-; exec 4<f; read -r x <&4; echo "$x"; echo y >>f'
	sh_same '' $'cat <<END\nhere $((6 * 7))\nEND\ncat <<"END" | tr a-z A-Z\n$quoted\nEND'
	sh_same "$wp" 'x=$(seq 30000); cat <<END | md5sum
$x
END'
	sh_same '' 'set -- "a b" "" c; for a in "$@"; do echo "[$a]"; done; printf "%s|" "$@"; echo ../../in/l*'
	sh_same '' 'echo "$A_VARIABLE"; A_VARIABLE=changed sh -c "echo \$A_VARIABLE"'
	sh_same '' 'unset A_VARIABLE; env | grep -c A_VARIABLE'
	sh_same '' '(exit 3); echo $?; false || echo or; ! true; echo $?; set -e; false; echo never'
	sh_same '' 'f() { [ "$1" -eq 0 ] && return 5; f $(($1 - 1)); }; f 50; echo $?'
	sh_same "$wp" '(sh -c "exit 4" & wait $!; echo $?); (sleep 0.1; echo late) & echo early; wait'
	sh_same "$clean" 'for i in 1 2 3 4; do (sleep 0.0$i; exit $i) & done
		for j in 1 2 3 4; do wait %$j; echo $?; done'
	sh_same '' 'exec busybox echo replaced'
	input=$tmp/in/lines
	sh_same '' 'read -r a; read -r b; echo "$b"; cat | md5sum'
	same "cat of stdin" "$wp" "$busybox" cat
	input=/dev/null
	same "strange arguments" '' "$busybox" printf '[%s]\n' 'a b' '' $'two\nlines' '*' --json=x -- '"'
}

signals() {
	local how sig

	for sig in 9 TERM HUP USR1 ABRT PIPE; do
		sh_same '' "kill -$sig \$\$; echo not reached"
	done
	for how in segv readonly jump ill fpe stack; do
		same "killed by itself: $how" '' "$GUEST_DIR/crash" "$how"
	done
	same "killed by itself: bus" "$wp" "$GUEST_DIR/crash" bus ../../in/small
	same "killed by itself: segv" "$wp" "$GUEST_DIR/crash" segv
	sh_same '' 'trap "echo caught" USR1; kill -USR1 $$; echo after; trap "" TERM; kill -TERM $$; echo alive'
	sh_same "$wp" 'trap "echo caught" USR1; (sleep 0.1; kill -USR1 $$) & wait; echo $?; wait; echo $?'
	sh_same '' 'trap "echo bye" EXIT; exit 4'
	sh_same '' 'trap "echo int; exit 9" INT; kill -INT $$; sleep 5'
	# The shell may or may not print "Killed" on stderr, natively too.
	sh_same '' 'exec 2>f; rm f; sleep 60 & kill $!; wait $!; echo $?; sleep 60 & kill -9 $!; wait $!; echo $?'
	sh_same '' 'exec 2>f; rm f; sleep 60 & kill -STOP $!; kill -CONT $!; kill -0 $! && kill $!; wait $!; echo $?'
	same "a child's segmentation fault" '' "$busybox" sh -c '"$0" segv 2>/dev/null; echo $?' \
		"$GUEST_DIR/crash"
	sh_same '' 'yes | head -n 1'
	sh_same "$wp" '(yes; echo $? >&2) | head -n 2'
	sh_same '' 'timeout 1 sleep 30; echo $?'
}

# --- other tests ---

# The reader closes the pipe: SIGPIPE kills the program, and Vellum's status is 141.
sigpipe_outside() {
	local wrong='' line

	timeout "$limit" "$VELLUM" run -- "$busybox" yes 2>/dev/null | head -n 1 >"$tmp/out"
	line="${PIPESTATUS[0]} $(cat "$tmp/out")"
	[ "$line" = '141 y' ] || wrong="status and line: $line"
	result "yes | head -n 1" "$wrong"
}

stdin_from_a_pipe() {
	local got

	got=$({ echo first; sleep 0.3; echo second; } | "$VELLUM" run -- "$busybox" cat 2>/dev/null)
	[ "$got" = $'first\nsecond' ] && got=
	result "a slow pipe to stdin" "$got"
}

closed_descriptors() {
	local native vellum

	for fd in 0 1; do
		native=$(eval "\"\$busybox\" sh -c 'cat; echo x' 2>&1 $fd>&-; echo \$?")
		vellum=$(eval "\"\$VELLUM\" run -- \"\$busybox\" sh -c 'cat; echo x' 2>&1 $fd>&-; echo \$?" |
			grep -v '^vellum: ')
		[ "$native" = "$vellum" ] && vellum=
		result "descriptor $fd closed" "$vellum"
	done </dev/null
}

# start COMMAND...: start it in the background and wait until it prints "ready". Sets $vellum_pid and $helpers.
start() {
	local i

	mark=$$.$RANDOM
	# The background shell may create the file later than the first grep.
	: >"$tmp/out"
	VELLUM_TEST_MARK=$mark "$VELLUM" run -- "$@" </dev/null >"$tmp/out" 2>"$tmp/err" &
	vellum_pid=$!
	for ((i = 0; i < 200; i++)); do
		grep -q ready "$tmp/out" && break
		sleep 0.05
	done
	mapfile -t helpers < <({ descendants "$vellum_pid"; marked "$mark"; } |
		grep -v "^$vellum_pid:" | sort -u)
}

# reap NAME STATUS OUTPUT: wait for the command, after a signal was sent to it, and check its end.
reap() {
	local name=$1 status=$2 output=$3 got wrong=''

	# If it ignores the signal, wait would never return.
	if [ -n "$(still_alive 10 "$(identify "$vellum_pid")")" ]; then
		wrong="vellum did not end"
		kill -9 "$vellum_pid"
	fi
	{ wait "$vellum_pid"; } 2>/dev/null # "Killed"
	got=$?
	[ "$got" -eq "$status" ] || wrong="$wrong
status $got, expected $status"
	[ "$(cat "$tmp/out")" = "$output" ] || wrong="$wrong
output: $(cat "$tmp/out")"
	[ "${#helpers[@]}" -gt 0 ] || wrong="$wrong
no process of the machine was found, so the test cannot check that it ends"
	got=$(still_alive 2 "${helpers[@]}")
	[ -z "$got" ] || wrong="$wrong
left behind: $got"
	result "$name" "${wrong#$'\n'}"
	for got in "${helpers[@]}"; do
		alive "$got" && kill -9 "${got%%:*}"
	done
}

signals_from_outside() {
	local how

	start "$busybox" sh -c 'echo ready; exec sleep 100'
	kill -TERM "$vellum_pid"
	reap "SIGTERM ends a sleeping program" 143 ready

	start "$GUEST_DIR/crash" spin
	kill -TERM "$vellum_pid"
	reap "SIGTERM ends a running program" 143 ready

	start "$busybox" sh -c 'trap "echo caught; exit 3" TERM; echo ready; while :; do sleep 0.1; done'
	kill -TERM "$vellum_pid"
	reap "SIGTERM runs the program's handler" 3 $'ready\ncaught'

	start "$busybox" sh -c 'trap "" TERM; echo ready; sleep 0.5; echo end; exit 5'
	kill -TERM "$vellum_pid"
	reap "SIGTERM that the program ignores" 5 $'ready\nend'

	for how in spin fork; do
		start "$GUEST_DIR/crash" "$how"
		kill -KILL "$vellum_pid"
		reap "SIGKILL of vellum leaves nothing: $how" 137 "$(cat "$tmp/out")"
	done

	start "$busybox" sh -c 'echo ready; sleep 100'
	kill -KILL "$vellum_pid"
	reap "SIGKILL of vellum leaves nothing: sleep" 137 ready

	mkfifo "$tmp/go"
	start "$busybox" sh -c 'echo ready; read -r line <"$0"' "$tmp/go"
	echo >"$tmp/go"
	reap "the end of the program leaves nothing" 0 ready
}

# json NAME WANTED FILTER COMMAND...: check the report on stdout, which comes after the program's output.
json() {
	local name=$1 wanted=$2 filter=$3 got

	shift 3
	"$VELLUM" run --json=- -- "$@" >"$tmp/out" 2>"$tmp/err"
	got=$(tail -n +2 "$tmp/out" | jq -c "$filter" 2>&1)
	[ "$(head -n 1 "$tmp/out") $got" = "hello $wanted" ] && got=
	result "$name" "$got"
}

reports() {
	json "report of an exit" '["vellum-run/1",{"code":7},"qemu",4096]' \
		'[.schema, .exit, .machine, .page_size]' "$busybox" sh -c 'echo hello; exit 7'
	json "report of a signal" '{"signal":9}' .exit "$busybox" sh -c 'echo hello; kill -9 $$'
	json "report of the program" '["sh","-c","echo hello"]' '.program[1:]' \
		"$busybox" sh -c 'echo hello'
	json "report of two processes" '[1,2]' '[.mappings[].pid] | unique' \
		"$busybox" sh -c 'echo hello; (exit 3); exit 0'
	"$VELLUM" run --json=fd:3 -- "$busybox" sh -c 'echo hello; ls /dev/fd/3; echo mixed >&3' 3>"$tmp/json" >"$tmp/out" 2>&1
	result "report to a descriptor, which the program does not have" \
		"$([ "$(jq -c .schema "$tmp/json")" = '"vellum-run/1"' ] && [ "$(head -n 1 "$tmp/out")" = hello ] &&
			! grep -q '^/dev/fd/3' "$tmp/out" || cat "$tmp/out")"
	"$VELLUM" run --json=/dev/fd/5 -- "$busybox" echo hello 5>&1 >/dev/null | jq -c .exit >"$tmp/out" 2>&1
	result "report to a pipe" "$([ "$(cat "$tmp/out")" = '{"code":0}' ] || cat "$tmp/out")"
	"$VELLUM" run --json=- -- "$busybox" echo hello >/dev/null 2>"$tmp/err"
	result "report behind the program's output: a line says so" "$(grep -q 'write --json=fd:3' "$tmp/err" || cat "$tmp/err")"
	json "report of threads, which have names" '[[["reader",true],["thread_names",true],["writer",true]],[["a \"new\" name",true]]]' \
		'[.processes[] | select(.name | endswith("thread_names")) | [.threads | sort_by(.name)[] | [.name, .syscalls > 0]]]' \
		"$busybox" sh -c 'echo hello; exec "$1"' sh "$root/build/programs/thread_names"
	json "report of threads, their system calls" '[100,5,true]' \
		'.counters.syscalls as $all | [.processes[].threads[]] |
			[(map(select(.name == "writer" or .name == "reader")) | sort_by(.name) | .[1].syscalls - .[0].syscalls), length,
			([.[].syscalls] | add) == $all]' \
		"$busybox" sh -c 'echo hello; exec "$1"' sh "$root/build/programs/thread_names"
	json "report of counters" '["number","number","number","object"]' \
		'[.counters | .tlb_flushes, .exits, .syscalls, .faults | type]' "$busybox" echo hello

}

# The summary lists what dirtied most, in that order. Without a report, Vellum keeps only so many processes.
summary() {
	local options got
	# shellcheck disable=SC2016 # for the shell inside
	local script='for i; do busybox dd if=/dev/zero of=/dev/null bs=${i}k count=1; done 2>/dev/null'

	for options in '' --json="$tmp/json"; do
		# shellcheck disable=SC2046,SC2086 # a word for each size; no word without an option
		"$VELLUM" run --track=wp $options -- "$busybox" sh -c "${script/busybox/$busybox}" sh \
			200 $(yes 4 | head -n 30) 4000 40 1000 >"$tmp/out" 2>&1
		got=$(grep -o ' bs=[0-9]*k' "$tmp/out" | head -n 4 | tr -d '\n')
		result "summary${options:+ beside a report}: processes by dirtied pages" \
			"$([ "$got" = ' bs=4000k bs=1000k bs=200k bs=40k' ] &&
				grep -q 'more processes or programs' "$tmp/out" || cat "$tmp/out")"
		got=$(awk '$3 ~ /^[0-9a-f]+-/ { print $6 }' "$tmp/out")
		result "summary${options:+ beside a report}: mappings by dirtied pages" \
			"$([ "$(wc -l <<<"$got")" -eq 40 ] && [ "${got%%[!0-9]*}" -ge 1000 ] && sort -rnc <<<"$got" 2>&1 || cat "$tmp/out")"
	done
	got=$(jq -c '[.processes[] | select(.args[4] == "bs=4000k") | [.args[1:5], .dirty_pages >= 1000 and .dirty_pages < 1100]]' \
		"$tmp/json")
	result "report of arguments, and of dirtied pages" \
		"$([ "$got" = '[[["dd","if=/dev/zero","of=/dev/null","bs=4000k"],true]]' ] || echo "$got")"
	got=$(jq -c '[(.processes | map(.dirty_pages) | add) - (.mappings | map(.dirty_pages) | add)]' "$tmp/json")
	result "report: the pages of a process are those of its mappings" "$([ "$got" = '[0]' ] || echo "$got")"
}

strace() {
	local got

	"$VELLUM" run --strace -- "$busybox" echo hello >"$tmp/out" 2>"$tmp/err"
	got="status $?, $(cat "$tmp/out"), $(grep -c 'write(' "$tmp/err" | sed 's/[1-9].*/some/') writes"
	[ "$got" = "status 0, hello, some writes" ] && got=
	result "--strace leaves stdout alone" "$got"
}

main() {
	[ -x "$VELLUM" ] || bail "no $VELLUM"
	[ -x "$GUEST_DIR/crash" ] || bail "no $GUEST_DIR/crash"
	find_busybox
	tmp=$(mktemp -d)
	trap 'rm -rf "$tmp"' EXIT
	export A_VARIABLE='from the environment'
	input=/dev/null
	make_inputs
	applets
	files
	pipelines
	shell
	signals
	sigpipe_outside
	stdin_from_a_pipe
	closed_descriptors
	signals_from_outside
	reports
	summary
	strace
	finish
}

main
