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
[ $speed = all ] || offline=yes
VELLUM=$(readlink -f "$VELLUM")
out=$root/build/selftests
document=$root/docs/selftests.md
tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT

# What a test may write is in its scratch directory, on a tmpfs, or in its PID namespace. The switches of huge pages are a
# copy, which tests may change and which the kernel does not read.
# shellcheck disable=SC2016 # for the inner shell
setup='
huge=/sys/kernel/mm/transparent_hugepage
mkdir ../huge ../proc && cp -r $huge/. ../huge && mount -t proc none ../proc &&
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
		sh -c "$setup" setup timeout -k 5 120 "${command[@]}" "./$1" "${@:2}" </dev/null 2>&1)
	printf '\nexit status %d\n' $?
	rm -rf "$directory"
}

# counts FILE: passed/failed/skipped
counts() {
	awk -F'\t' '$1 != "exit" { n[$2]++ } END { printf "%d/%d/%d", n["pass"], n["fail"], n["skip"] }' "$1"
}

# compared NAME PROGRAM [ARGUMENT...]: run both ways, and compare
compared() {
	local name=$1 log=$out/log/${1// /_} kind

	shift
	run -- "$@" >"$log.native"
	# shellcheck disable=SC2086 # several words
	run "$VELLUM" run ${OPTIONS-} -- "$@" >"$log.inside"
	for kind in native inside; do
		awk -f "$here/../selftests/subtests.awk" "$log.$kind" >"$tmp/$kind"
	done
	result "$name" "$(awk -v test="$name" -f "$here/../selftests/compare.awk" "$document" "$tmp/native" "$tmp/inside")"
	echo "| $name | $(counts "$tmp/native") | $(counts "$tmp/inside") |" >>"$tmp/table"
}

skip_all() {
	echo "1..0 # SKIP $*"
	exit 0
}

[ "$(id -u)" = 0 ] && unshare --mount true 2>/dev/null || skip_all "not root, or no namespaces"
reason=$("$here/../selftests/build.sh" ${offline:+--offline}) || skip_all "$reason"

mkdir -p "$out/log"
while read -r when name; do
	[ "$when" != "#" ] && { [ $speed != fast ] || [ "$when" = fast ]; } && [[ $name =~ $only ]] || continue
	# shellcheck disable=SC2086 # a program and its arguments
	if [ -x "$out/bin/${name%% *}" ]; then
		compared "$name" $name
	else
		result "$name" "was not built"
	fi
done <"$here/../selftests/programs"

# The counts are those of one kernel.
cp "$tmp/table" "$out/table"
sed -n '/^<!-- counts /,/^<!-- end/{/^| [a-z]/p}' "$document" | grep -v '^| test ' >"$tmp/documented"
if [ $speed = all ] && [ "$only" = . ] && [ -z "${OPTIONS-}" ]; then
	case $(uname -r) in
	"$(sed -n 's/^<!-- counts of \([0-9.]*\) .*/\1/p' "$document")".*)
		result "docs/selftests.md has the counts" "$(diff "$tmp/documented" "$tmp/table")" ;;
	*) skip "docs/selftests.md has the counts" "another kernel" ;;
	esac
fi
finish
