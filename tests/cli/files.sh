#!/bin/bash
# SPDX-License-Identifier: MIT
#
# Mapped files under `vellum run`: what the host's file contains, and from when on. file_limits.sh: errors and limits.
#
#   files.sh          a sample, about a minute
#   files.sh --full   200 kills, many seeds of the random operations; about ten minutes
#
# From the environment: see steps.sh, and SEED (of the first random run). Prints TAP.
set -u
# shellcheck source=tests/cli/steps.sh
. "$(dirname "$0")/steps.sh"

# --- changes that other processes of the host see, or make ---

seen_outside() {
	local method=$1

	fresh 8
	# shellcheck disable=SC2046 # options are words
	start $(options "$method")
	ok "open a $file w" "map m a shared 0 8" "store m 5000 one" "msync m"
	holds 5000 one
	ok "store m 4095 two" "fsync a"
	holds 4095 two
	ok "store m 9000 three" sync
	holds 9000 three
	ok "store m 100 four" "map n a shared 2 2" "unmap m" "store n 5 five" "unmap n"
	holds 100 four
	holds 8197 five
	ok "map m a shared 0 8" "store m 20000 six"
	comes 8 20000 six
	ok "store m 20000 seven" fork "child store m 100 eight" "child store m 30000 nine"
	wants wait 0
	ok "store m 12000 ten"
	end "seen by others after msync, fsync, sync, munmap, a while and exit ($method)" 3
	for line in "20000 seven" "100 eight" "30000 nine" "12000 ten"; do
		# shellcheck disable=SC2086 # two words
		in_file "$file" $line || echo "# not there after the end: $line"
	done | tee "$tmp/lost"
	result "seen by others after the end ($method)" "$(cat "$tmp/lost")"
}

# The memory of a killed program is written back.
seen_after_death() {
	fresh 8
	# shellcheck disable=SC2046
	start $(options "$1")
	ok "open a $file w" "map m a shared 0 8" "store m 5000 one" fork "child store m 9000 two"
	tell "child crash"
	sleep 0.1
	tell crash
	end "a program that is killed ($1)" killed
	wrong=
	holds 5000 one
	holds 9000 two
	[ "$ended" -eq 137 ] || wrong="$wrong
status $ended"
	result "what a killed program stored is in the file ($1)" "$(grep . <<<"$wrong")"
}

# The program sees changes by others at the next open or mmap.
changed_outside() {
	fresh 8
	# shellcheck disable=SC2046
	start $(options "$1")
	ok "open a $file w" "map m a shared 0 4" "map p a private 0 4"
	wants "load m 5000 3" zzz
	wants "load p 9000 3" zzz
	put 5000 one
	put 9000 two
	ok "open b $file r"
	wants "load m 5000 3" one
	wants "load p 9000 3" two
	wants "read a 5000 3" one
	put 5000 ten
	put 12288 new
	ok "map n b shared 0 8"
	wants "load n 5000 3" ten
	wants "load m 5000 3" ten
	wants "load m 12288 3" new
	# Growth and truncation.
	head -c 4096 /dev/zero >>"$file"
	put 32768 more
	ok "open c $file r" "map q c shared 8 1"
	wants "load q 0 4" more
	truncate -s 4100 "$file"
	ok "open d $file r"
	wants "size a" 4100
	wants "load m 4096 6" zzzz..
	wants "load m 8192 1" SIGBUS
	wants "load q 0 1" SIGBUS
	wants "read a 4090 100" zzzzzzzzzz
	ok "store m 4096 end" "msync m"
	holds 4096 endz
	[ "$(stat -c %s "$file")" -eq 4100 ] || wrong="$wrong
the file has $(stat -c %s "$file") bytes"
	end "changes by others ($1)" 0
}

# Changes that keep the size and the modification time.
changed_unseen() {
	local i

	fresh 2
	start
	ok "open a $file w" "map m a shared 0 2"
	wants "load m 0 1" z
	touch -r "$file" "$tmp/times"
	put 0 y
	touch -r "$tmp/times" "$file"
	ok "open b $file r"
	wants "load m 0 1" y
	end "a change by others that sets the time back" 0
	disk=$tmp/disk
	mkdir -p "$disk"
	if ! mount -t ramfs vellum-test "$disk" 2>"$tmp/mount"; then
		skip "changes by others within a tick" "no mount: $(head -n 1 "$tmp/mount")"
		return
	fi
	mounted=$disk file=$disk/file
	printf zzzz >"$file"
	start
	ok "open a $file w" "map m a shared 0 1"
	# The times of ramfs are coarse, so two changes often have the same time. A command in between would take too long.
	for ((i = 0; i < 30; i++)); do
		printf %d $((i % 10)) 1<>"$file"
		printf '%s\n' "open b $file r" "load m 0 1" >&"$to"
		read -r answer <&"$from"
		read -r answer <&"$from"
		printf x 1<>"$file"
		[ "$answer" = $((i % 10)) ] || wrong="$wrong
round $i: $answer, expected $((i % 10))"
		ok "close b" "open b $file r"
		wants "load m 0 1" x
		ok "close b"
	done
	end "changes by others within a tick" 0
	leave_disk
}

# Changes of pages that are neither cached nor accessed.
changed_afar() {
	fresh 200
	# shellcheck disable=SC2046
	start $(options "$1")
	ok "open a $file w" "map m a shared 0 200" "store m 0 here"
	put 600000 far
	ok "open b $file r" "map n b private 0 1"
	end "changes by others to pages that aren't cached ($1)" 0
}

# --- several processes under Vellum ---

several_processes() {
	fresh 8
	# shellcheck disable=SC2046
	start $(options "$1") --cpus=2
	ok "open a $file w" "map m a shared 0 8" "store m 100 parent" fork
	wants "child load m 100 6" parent
	ok "child store m 5000 child"
	wants "read a 5000 5" child
	wants "load m 5000 5" child
	ok "child write a 9000 written"
	wants "load m 9000 7" written
	ok "write a 9003 TT"
	wants "child load m 9000 7" wriTTen
	ok "child open b $file w" "child map n b private 0 8"
	wants "child load n 100 6" parent
	ok "store m 100 PARENT"
	wants "child load n 100 6" PARENT
	ok "child store n 103 own"
	wants "load m 100 6" PARENT
	wants "child load n 100 6" PARown
	ok "truncate a 8192"
	wants "child load m 8192 1" SIGBUS
	wants "child size b" 8192
	ok "child truncate b 20000"
	wants "load m 12000 2" ..
	ok "child remove m 0 4096"
	wants "load m 100 3" ...
	wants "child load n 100 6" PARown
	wants "read a 100 3" ...
	ok "child unmap m" "store m 4096 last"
	wants wait 0
	end "several processes share a file ($1)" 0
	wrong=
	holds 100 ...
	holds 4096 last
	holds 12000 ..
	result "the file after several processes ($1)" "$(grep . <<<"$wrong")"
}

sealed() {
	# shellcheck disable=SC2046
	start $(options "$1")
	ok "memfd a" "truncate a 8192" "map m a shared 0 2" "store m 4090 sealed" "write a 4096 ALED"
	wants "load m 4090 10" "sealedALED"
	wants "seal a 8" "Device or resource busy"
	ok "map p a private 0 2" "seal a 2"
	wants "truncate a 4096" "Operation not permitted"
	ok "unmap m" "seal a 8"
	wants "write a 0 no" "Operation not permitted"
	wants "map m a shared 0 2" "Operation not permitted"
	wants "read a 4090 10" sealedALED
	ok "store p 4090 own"
	wants "read a 4090 3" sea
	ok "seal a 1"
	wants "seal a 4" "Operation not permitted"
	end "a memfd and its seals ($1)" 0
}

# Closing the last descriptor and unmapping the last VMA releases the lock.
let_go() {
	fresh 8
	# shellcheck disable=SC2046
	start $(options "$1")
	ok "open a $file w" "flock a" "map m a shared 0 8" "store m 0 x" "unmap m" "close a"
	ok "open b $file w" "flock b"
	end "a lock ends with its descriptor and mapping ($1)" 0
}

# A shell script and tools that change a mapped file; compared with a native run.
shell_script() {
	cat <<'END'
mkfifo in
: >out		# so that it exists before steps opens it
"$STEPS" <in >out &
exec 3>in
n=0
# tell LINE: send it, and wait for the answer.
tell() {
	echo "$1" >&3
	n=$((n + 1))
	while [ "$(wc -l <out)" -lt $n ]; do usleep 2000; done
	echo "$1: $(tail -n 1 out)"
}
seq 1 5000 >f
tell "open a f w"
tell "map m a shared 0 6"
tell "map p a private 0 6"
tell "store m 5000 HELLO"
grep -c HELLO f
md5sum f
echo patch | dd of=f bs=1 seek=9000 conv=notrunc 2>/dev/null
tell "load m 9000 6"
cp f g
cmp f g && echo same
cat g >>f
tell "size a"
tell "store p 100 own"
head -c 10000 g | tail -c 10 | od -c
head -c 6000 g >f
tell "size a"
tell "load m 5000 5"
tell "load m 8192 1"
tell "load p 100 3"
sed -i s/HELLO/BYE/ f
tell "load m 5000 5"
grep -c BYE f
tell "open b f w"
tell "map n b shared 0 2"
tell "store n 10 SED"
gzip -k f
gzip -dc f.gz | cmp - f && echo packed
tar -c f g | tar -x -O f | md5sum
mv f h
tell "store n 20 MOVED"
head -c 30 h
rm h
tell "load n 20 5"
tell "fsync b"
echo "exit 0" >&3
wait
rm in f.gz
END
}

with_busybox() {
	local side wrong=

	for side in native vellum; do
		rm -rf "${tmp:?}/$side"
		mkdir "$tmp/$side"
		(
			cd "$tmp/$side" || exit 1
			if [ "$side" = native ]; then
				set --
			else
				# shellcheck disable=SC2046
				set -- "$VELLUM" run $(options "$1") --cpus=2 --
			fi
			# shellcheck disable=SC2154 # from find_busybox
			STEPS="$PROGRAM_DIR/steps" timeout -k 5 "$limit" "$@" "$busybox" sh -c "$(shell_script)" \
				>stdout 2>stderr </dev/null
			echo $? >status
			what_vellum_said stderr >said
			rm stderr
		)
	done
	wrong=$(diff -r "$tmp/native" "$tmp/vellum")
	[ -s "$tmp/native/h" ] || [ "$(wc -l <"$tmp/native/stdout")" -gt 30 ] || wrong="$wrong
the script did not end"
	result "busybox on files that are mapped ($1)" "$wrong"
}

# Vellum writes a file with F_SEAL_FUTURE_WRITE back through a mapping of its own. Another process may truncate the file
# in the meantime.
sealed_and_cut() {
	local vellum fd

	start
	ok "memfd a" "truncate a 16384" "map m a shared 0 4" "store m 0 one" "seal a 16" "store m 4096 two"
	vellum=$(descendants "$inside" | head -n 1)
	vellum=${vellum%%:*}
	if ! ls "/proc/$vellum/fd" >/dev/null 2>&1; then
		wrong=
		end "a sealed file that is written back" 0
		skip "a sealed file that others cut off" "its descriptor cannot be reached"
		return
	fi
	for fd in "/proc/$vellum/fd"/*; do
		case $(readlink "$fd") in /memfd:steps*) break ;; esac
	done
	truncate -s 0 "$fd"
	ok "msync m" "store m 8192 three"
	truncate -s 8195 "$fd"
	ok "msync m"
	wants "read a 8192 5" thr
	file=$fd
	holds 8192 thr
	end "a sealed file that others cut off" 0
}

# --- SIGKILL of Vellum ---

# kill_once METHOD PROCESSES: print what is wrong.
kill_once() {
	local mark=$$.$RANDOM pid left processes delay

	rm -f "$tmp/records"
	# shellcheck disable=SC2046
	VELLUM_TEST_MARK=$mark "$VELLUM" run $(options "$1") --cpus="$2" -- "$PROGRAM_DIR/records" write \
		"$tmp/records" "$2" </dev/null >"$tmp/log" 2>"$tmp/stderr" &
	pid=$!
	# Up to 2 s; the start takes 0.15 s.
	printf -v delay '%d.%03d' $(((RANDOM % 1500 + 150) / 1000)) $(((RANDOM * 7 + 150) % 1000))
	sleep "$delay"
	kill -KILL "$pid"
	wait "$pid" 2>/dev/null
	mapfile -t processes < <(marked "$mark")
	left=$(still_alive 3 "${processes[@]}")
	[ -z "$left" ] || echo "left behind: $left"
	[ -s "$tmp/log" ] || return
	"$PROGRAM_DIR/records" check "$tmp/records" <"$tmp/log" 2>"$tmp/counts"
	read -r -a counts <"$tmp/counts"
	syncs=$((syncs + counts[0]))
}

killed() {
	local rounds=$1 i=0 wrong='' method methods

	read -r -a methods <<<"$METHODS"
	syncs=0
	while [ "$i" -lt "$rounds" ]; do
		method=${methods[i % ${#methods[@]}]}
		kill_once "$method" $((i / 4 % 2 + 1)) >"$tmp/wrong" 2>"$tmp/shell"
		[ ! -s "$tmp/wrong" ] || wrong="$wrong
kill $i, $method: $(cat "$tmp/wrong")"
		i=$((i + 1))
	done
	[ "$syncs" -gt "$rounds" ] || wrong="$wrong
only $syncs syncs in $rounds runs"
	echo "# $rounds kills, $syncs returned syncs"
	result "what was synced is there after a kill" "$(grep . <<<"$wrong")"
}

# --- random operations ---

# random_run SEED METHOD STEPS: print what is wrong.
random_run() {
	local dir=$tmp/random args=("$1" "$3" "$tmp/random") status

	rm -rf "$dir"
	mkdir "$dir"
	[ $(($1 % 5)) -ne 0 ] || args+=(memfd)
	# The program must pass natively first.
	if ! timeout -k 5 "$limit" "$PROGRAM_DIR/random_files" "${args[@]}" >/dev/null 2>"$tmp/stderr"; then
		echo "natively: $(head -n 2 "$tmp/stderr")"
		return
	fi
	# shellcheck disable=SC2046
	timeout -k 5 "$limit" "$VELLUM" run $(options "$2") --cpus=$(($1 / 3 % 2 + 1)) -- \
		"$PROGRAM_DIR/random_files" "${args[@]}" >"$tmp/stdout" 2>"$tmp/stderr" </dev/null
	status=$?
	[ "$status" -eq 0 ] || echo "seed $1, $2, $3 steps: status $status"
	what_vellum_said "$tmp/stderr"
	[ $(($1 % 5)) -eq 0 ] || cat "$dir/random.0" "$dir/random.1" | cmp - "$tmp/stdout" 2>&1
}

# random_operations FIRST NR STEPS: the methods share the seeds.
random_operations() {
	local first=$1 nr=$2 steps=$3 seed i=0 wrong methods

	read -r -a methods <<<"$METHODS"
	for ((i = 0; i < ${#methods[@]}; i++)); do
		wrong=
		for ((seed = first + i; seed < first + nr; seed += ${#methods[@]})); do
			wrong="$wrong$(random_run "$seed" "${methods[i]}" "$steps")"
		done
		result "random operations, of seeds $first to $((first + nr - 1)) one in ${#methods[@]} (${methods[i]})" \
			"$wrong"
	done
}

main() {
	local method kills=10 seeds=16 steps=300

	if [ "${1:-}" = --full ]; then
		kills=200 seeds=400 steps=600
	elif [ $# -gt 0 ]; then
		echo "usage: $0 [--full]" >&2
		exit 2
	fi
	set_up
	sealed_and_cut
	changed_unseen
	for method in $METHODS; do
		seen_outside "$method"
		seen_after_death "$method"
		changed_outside "$method"
		changed_afar "$method"
		several_processes "$method"
		sealed "$method"
		let_go "$method"
		with_busybox "$method"
	done
	killed "$kills"
	random_operations "${SEED:-1}" "$seeds" "$steps"
	finish
}

main "$@"
