#!/bin/bash
# SPDX-License-Identifier: MIT
#
# run.sh [fast]: Linux's own tests of memory management, natively and under `vellum run`, compared subtest by subtest.
# Differences that are meant stand in docs/selftests.md with the reason. "fast" runs those that take a second, and
# downloads nothing. Prints TAP. From the environment:
# VELLUM; ONLY=regex chooses tests; OPTIONS for `vellum run`. Logs and the table of counts are in build/selftests.
set -u
. "$(dirname "$0")/../cli/lib.sh"

speed=${1:-all}
only=${ONLY:-.}
offline=
[ "$speed" = all ] || offline=yes
VELLUM=$(readlink -f "$VELLUM")
out=$root/build/selftests
document=$root/docs/selftests.md
tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT

# What a test may write is in its scratch directory, on a tmpfs, or in its PID namespace. The switches of huge pages are a
# copy, which tests may change and which the kernel does not read. It has only the size that there is inside, too.
# shellcheck disable=SC2016 # for the inner shell
setup='
huge=/sys/kernel/mm/transparent_hugepage
mkdir ../huge ../proc && cp -r $huge/. ../huge && rm -rf ../huge/hugepages-??kB ../huge/hugepages-???kB &&
	rm -rf ../huge/hugepages-1024kB && mount -t proc none ../proc &&
	mount --bind ../huge $huge && mount -o remount,bind,ro /sys &&
	mount --bind /proc/sys /proc/sys && mount -o remount,bind,ro /proc/sys &&
	mount --bind ../proc/sys/vm/memfd_noexec /proc/sys/vm/memfd_noexec &&
	exec "$@"'

# run COMMAND... -- PROGRAM [ARGUMENT...]: print what the program prints, and the status
run() {
	local directory
	local -a command=()

	while [ "$1" != -- ]; do
		command+=("$1")
		shift
	done
	shift
	directory=$(mktemp -d -p "$tmp") && mkdir "$directory/work" && cp "$out/bin/$1" "$directory/work" || return
	[ ${#command[@]} -eq 0 ] || command+=(--)
	(cd "$directory/work" && unshare --pid --fork --kill-child --mount --mount-proc --ipc \
		sh -c "$setup" setup timeout -k 5 600 "${command[@]}" "./$1" "${@:2}" </dev/null 2>&1)
	printf '\nexit status %d\n' $?
	rm -rf "$directory"
}

# counts FILE: passed/failed/skipped subtests; the exit status, if there are no subtests
counts() {
	awk -F'\t' '
		$1 != "exit" && $1 != "bail" { n[$2]++ }
		$1 == "exit" { status = $3 }
		END {
			if (n["pass"] + n["fail"] + n["skip"])
				printf "%d/%d/%d", n["pass"], n["fail"], n["skip"]
			else
				printf "%s", status
		}' "$1"
}

# differences NAME OPTIONS PROGRAM [ARGUMENT...]: run both ways, and print what differs
differences() {
	local name=$1 options="$2 ${OPTIONS-}" log=$out/log/${1// /_} kind tracked=0

	shift 2
	run -- "$@" >"$log.native"
	# shellcheck disable=SC2086 # several words
	run "$VELLUM" run $options -- "$@" >"$log.inside"
	for kind in native inside; do
		awk -f "$here/../selftests/subtests.awk" "$log.$kind" >"$tmp/$kind"
	done
	[[ $options != *--track* ]] || tracked=1
	awk -v test="$name" -v tracked=$tracked -f "$here/../selftests/compare.awk" "$document" "$tmp/native" \
		"$tmp/inside" | sort -V
}

# compared NAME OPTIONS PROGRAM [ARGUMENT...]: up to three times. mremap_test picks addresses that may be in use, and
# some tests of futexes fail on a busy machine.
compared() {
	local found

	for _ in 1 2 3; do
		found=$(differences "$@")
		[ -n "$found" ] || break
	done
	result "$1" "$found"
	echo "| $1 | $(counts "$tmp/native") | $(counts "$tmp/inside") |" >>"$tmp/table"
}

skip_all() {
	echo "1..0 # SKIP $*"
	exit 0
}

if [ "$(id -u)" != 0 ] || ! unshare --mount true 2>/dev/null; then
	skip_all "not root, or no namespaces"
fi
reason=$("$here/../selftests/build.sh" ${offline:+--offline}) || skip_all "$reason"

mkdir -p "$out/log"
while IFS=, read -r when options name; do
	[ "${when#\#}" = "$when" ] && { [ "$speed" != fast ] || [ "$when" = fast ]; } && [[ $name =~ $only ]] || continue
	# shellcheck disable=SC2086 # a program and its arguments
	if [ -x "$out/bin/${name%% *}" ]; then
		compared "$name" "$options" $name
	elif [ -n "$offline" ] && [ ! -e "$out/root/usr/include/sys/capability.h" ] &&
		grep -q 'sys/capability.h' "$out/src/tools/testing/selftests/mm/${name%% *}.c"; then
		skip "$name" "it needs libcap-dev, which make selftests downloads"
	else
		result "$name" "was not built"
	fi
done <"$here/../selftests/programs"

# The counts are those of one kernel. A row whose native counts differ is of a host that has other things, as pages of
# 1 GiB: prints the others that differ.
other_counts() { # DOCUMENTED HERE
	awk -F' *[|] *' '
		!/^\| [a-z]/ || $2 == "test" { next }
		NR == FNR { native[$2] = $3; inside[$2] = $4; next }
		!($2 in native) { print $2 " is not in the document" }
		$2 in native && $3 == native[$2] && $4 != inside[$2] { print $2 ": " inside[$2] " in the document, " $4 " here" }
		{ delete native[$2] }
		END { for (name in native) print name " was not run" }' "$@"
}

cp "$tmp/table" "$out/table"
if [ "$speed" = all ] && [ "$only" = . ] && [ -z "${OPTIONS-}" ]; then
	sed -n '/^<!-- counts /,/^<!-- end/p' "$document" >"$tmp/documented"
	case $(uname -r) in
	"$(sed -n 's/^<!-- counts of \([0-9.]*\) .*/\1/p' "$document")".*)
		result "docs/selftests.md has the counts" "$(other_counts "$tmp/documented" "$tmp/table")" ;;
	*) skip "docs/selftests.md has the counts" "another kernel" ;;
	esac
fi
finish
