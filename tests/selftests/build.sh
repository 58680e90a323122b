#!/bin/bash
# SPDX-License-Identifier: MIT
#
# build.sh [--offline]: build Linux's own tests of memory management, static, in build/selftests/bin, from Debian's
# package with the source of Linux. Only the tests and the headers for user space are unpacked. Nothing is installed.
# --offline: fail if the package would have to be downloaded. A failure prints one line with the reason.
set -u
cd "$(dirname "$0")/../.." || exit 1

package=linux-source-6.12
out=$PWD/build/selftests
bin=$out/bin
src=$out/src
tests=$src/tools/testing/selftests

fail() {
	echo "$*"
	exit 1
}

# get PACKAGE: download and unpack it into build/selftests/root.
get() {
	(cd "$out" && apt-get -qq download "$1" >/dev/null 2>&1 && dpkg-deb -x "$1"_*.deb root)
}

# The archive with the source: of the installed package, or of the downloaded one.
find_archive() {
	for archive in "$out/root/usr/src/$package.tar.xz" "/usr/src/$package.tar.xz"; do
		[ ! -e "$archive" ] || return 0
	done
	[ "${1-}" != --offline ] || fail "$package is not here; make selftests downloads it"
	archive=$out/root/usr/src/$package.tar.xz
	if ! get $package || [ ! -e "$archive" ]; then
		fail "$package cannot be downloaded with apt-get"
	fi
	rm -f "$out"/*.deb
}

# What the tests include, and what makes the headers for user space. No other code of the kernel is unpacked.
unpack() {
	local path paths=()

	for path in Makefile Kbuild scripts arch/x86/Makefile arch/x86/tools arch/x86/include/{uapi,asm/Kbuild} \
		arch/x86/entry/syscalls include/{uapi,asm-generic/Kbuild} usr/include/Makefile tools/{include,scripts} \
		tools/testing/selftests/{lib.mk,kselftest.h,kselftest_harness.h} \
		tools/testing/selftests/{mm,memfd,mincore,proc,sigaltstack,futex,cachestat,membarrier,clone3,x86}; do
		paths+=("$package/$path")
	done
	rm -rf "$src" && mkdir -p "$src/mm" && tar -xJf "$archive" -C "$src" --strip-components=1 "${paths[@]}" &&
		cp tests/selftests/gup_test.h "$src/mm/"
}

# build PROGRAM [ARGUMENT...]: of a path below tools/testing/selftests without ".c"
build() {
	local program=$1

	shift
	(cd "$tests/${program%/*}" && gcc -w -O2 -static -no-pie -U_FORTIFY_SOURCE -D_GNU_SOURCE= -I. -I.. \
		-isystem "$src/usr/include" -isystem "$src/tools/include/uapi" "${program##*/}.c" "$@" \
		-lrt -lpthread -lm -o "$bin/${program##*/}.new" && mv "$bin/${program##*/}.new" "$bin/${program##*/}")
}

build_all() {
	local speed program name args cap=("-I$out/root/usr/include" "-L$out/root/usr/lib/x86_64-linux-gnu" -lcap)

	mkdir -p "$bin"
	# Without liburing, as there is no io_uring(7) inside: each subtest exists in both runs.
	: >"$tests/mm/local_config.h"
	while IFS=', ' read -r speed _ name _; do
		[ "${speed#\#}" = "$speed" ] || continue
		args=()
		program=$(cd "$tests" && find . -name "$name.c" | head -n 1)
		case $program in
		./mm/uffd-*) args=(vm_util.c thp_settings.c uffd-common.c) ;;
		./mm/mlock-random-test.c | ./mm/memfd_secret.c) args=(vm_util.c thp_settings.c "${cap[@]}") ;;
		./mm/*) args=(vm_util.c thp_settings.c) ;;
		./memfd/*) args=(common.c) ;;
		./futex/*) args=(-I../include -I../../) ;;
		./proc/*) args=(-Wno-error) ;;
		esac
		[ -x "$bin/$name" ] || build "${program%.c}" "${args[@]}" || echo "$name: does not compile" >&2
	done <tests/selftests/programs
}

mkdir -p "$out"
find_archive "$@"
if [ ! -e "$out/headers-made" ]; then
	unpack || fail "$package cannot be unpacked"
	make -s -C "$src" ARCH=x86_64 headers >"$out/headers.log" 2>&1 || fail "the kernel's headers cannot be made"
	touch "$out/headers-made"
fi
# The library is for two of the tests.
[ -e "$out/root/usr/include/sys/capability.h" ] || [ "${1-}" = --offline ] || get libcap-dev
build_all
