#!/bin/bash
# SPDX-License-Identifier: MIT
# run.sh [--scenarios N] [--seed FIRST] [--file SCENARIOS] [--full]
#
# Linux as the oracle: run random scenarios on Debian's kernel in QEMU and on Vellum, and compare every answer and
# every page-table entry. TAP. --seed N alone replays that scenario and prints both outputs; --file runs
# scenarios from a file; --full is the long form for soak.
#
# The packages (kernel, headers) are downloaded and unpacked under build/oracle, not installed. Without
# them, or without QEMU, the test is skipped.
set -u
export LC_ALL=C
cd "$(dirname "$0")/../.." || exit 1

here=tests/oracle
work=${ORACLE_BUILD:-build/oracle}
nr= first= file= show= patience=200
while [ $# -gt 0 ]; do
	case $1 in
	--scenarios) nr=${2-} ;;
	--seed) first=${2-} ;;
	--file) file=${2-} ;;
	--full)
		nr=10000 patience=1800
		shift
		continue
		;;
	*)
		sed -n '3,8s/^# //p' "$0" >&2
		exit 2
		;;
	esac
	shift 2 || exit 2
done
[ -z "$first" ] || [ -n "$nr" ] || show=1 nr=1
[ -z "$file" ] || show=1

skip() {
	echo "ok - Linux as the oracle # SKIP $*"
	exit 0
}

fail() { # NAME [FILE]
	echo "not ok - $1"
	[ -z "${2-}" ] || tail -n 30 "$2" | sed 's/^/# /'
	exit 1
}

for tool in qemu-system-x86_64 busybox dpkg apt-get apt-cache gcc make timeout; do
	command -v $tool >/dev/null || skip "no $tool"
done
mkdir -p "$work" || exit 1
work=$(cd "$work" && pwd) || exit 1

# --- the kernel, from this machine's package sources ---

depends() { # PACKAGE PATTERN: print the package that it depends on
	apt-cache depends --no-recommends "$1" 2>/dev/null | sed -n "s/^ *Depends: \($2\)\$/\1/p" | head -n 1
}

get_kernel() {
	local headers common kbuild image
	headers=$(depends linux-headers-amd64 'linux-headers-[0-9].*')
	[ -n "$headers" ] || skip "the package sources have no linux-headers-amd64"
	common=$(depends "$headers" 'linux-headers-.*-common')
	kbuild=$(depends "$headers" 'linux-kbuild-.*')
	release=${headers#linux-headers-}
	root=$work/$release
	[ ! -e "$root/complete" ] || return 0
	image=linux-image-$release	# about 100 MB with the other packages; ./check allows $patience seconds
	rm -rf "$root"
	mkdir -p "$root/debs"
	(cd "$root/debs" && timeout $patience apt-get download "$headers" "$common" "$kbuild" "$image") \
		>"$work/download.log" 2>&1 || skip "the packages of Linux $release cannot be downloaded"
	for deb in "$root"/debs/linux-[hk]*.deb; do
		dpkg -x "$deb" "$root" || fail "unpack $deb"
	done
	# The packages have 400 MB; unpack only the files that are used.
	dpkg-deb --fsys-tarfile "$root"/debs/linux-image-*.deb | tar -x -C "$root" --wildcards \
		"./boot/*-$release" "*/kernel/drivers/virtio/*" "*/kernel/drivers/char/*" || fail "unpack $image"
	# The headers' Makefile has the path of an installation.
	sed -i "s|/usr/src/|$root/usr/src/|" "$root/usr/src/$headers/Makefile"
	rm -rf "$root/debs"
	touch "$root/complete"
}

build_module() {
	local src=$root/usr/src/linux-headers-$release
	[ -e "$src/Makefile" ] || fail "headers of $release"
	grep -q '^CONFIG_MAPPING_DIRTY_HELPERS=y' "$root/boot/config-$release" ||
		skip "Linux $release is configured without the helpers"
	rm -rf "$work/module"
	cp -r $here/module "$work/module"
	make -C "$src" M="$work/module" modules >"$work/module.log" 2>&1 ||
		fail 'build the module' "$work/module.log"
}

# --- the programs ---

build_programs() {
	local flags='-std=c11 -O2 -g -Wall -Wextra -Wshadow -Werror -I. -Iinclude'
	local common="$here/drive.c $here/scenario.c $here/differences.c"
	{
		gcc $flags -static $here/guest.c $common -o "$work/guest" &&
			gcc $flags $here/generate.c $here/scenario.c -o "$work/generate" &&
			gcc $flags $here/compare.c -o "$work/compare" &&
			gcc $flags -fsanitize=undefined -fno-sanitize-recover=all $here/vellum.c $common \
				host/test.c $(lib_sources) -lpthread -o "$work/vellum"
	} >"$work/programs.log" 2>&1 || fail 'build the programs' "$work/programs.log"
}

lib_sources() {
	printf '%s\n' 'include sources.mk' 'all:; @echo $(VELLUM_LIB_SRC)' | make -s -f -
}

# --- the guest ---

# In the order of their dependencies.
guest_modules='virtio/virtio_ring.ko virtio/virtio.ko virtio/virtio_pci_legacy_dev.ko
	virtio/virtio_pci_modern_dev.ko virtio/virtio_pci.ko char/virtio_console.ko'

make_initramfs() {
	local dir=$work/initramfs m
	rm -rf "$dir"
	mkdir -p "$dir/dev" "$dir/proc"
	cp "$work/guest" "$dir/init"
	cp "$work/scenarios" "$dir/scenarios"
	for m in $guest_modules; do
		# In later kernels, some are built in or compressed.
		m=$root/lib/modules/$release/kernel/drivers/$m
		[ -e "$m" ] || continue
		cp "$m" "$dir" && echo "/${m##*/}"
	done >"$dir/modules"
	cp "$work/module/oracle.ko" "$dir" && echo /oracle.ko >>"$dir/modules"
	(cd "$dir" && find . | busybox cpio -o -H newc 2>/dev/null) | gzip -1 >"$work/initramfs.gz"
}

# TCG: nested KVM without hardware tables is far slower.
# One CPU, so that no page is in another CPU's list when entries are read: the reader drains its own per-CPU
# lists. No transparent huge pages and no balancing, as scenarios do not use them.
# The second GiB is for the module's huge entries; the host allocates only pages that are accessed.
run_linux() {
	rm -f "$work/linux.out"
	timeout -k 5 $limit qemu-system-x86_64 -machine q35,accel=${ORACLE_ACCEL:-tcg} -cpu max -smp 1 -m 2048 -nodefaults -display none \
		-no-reboot -kernel "$root/boot/vmlinuz-$release" -initrd "$work/initramfs.gz" \
		-append 'console=ttyS0 quiet panic=-1 transparent_hugepage=never numa_balancing=disable mitigations=off memmap=1G$0x40000000' \
		-serial "file:$work/console.log" \
		-device virtio-serial -chardev "file,id=out,path=$work/linux.out" -device virtserialport,chardev=out \
		>"$work/qemu.log" 2>&1 </dev/null || fail 'run Linux' "$work/qemu.log"
	tail -n 1 "$work/linux.out" | grep -qx end || fail 'Linux runs all scenarios' "$work/console.log"
}

: "${nr:=300}" "${first:=1}"
get_kernel
build_module
build_programs
if [ -n "$file" ]; then
	cp "$file" "$work/scenarios" || exit 1
	nr=$(grep -c '^scenario ' "$work/scenarios")
else
	"$work/generate" "$first" "$nr" >"$work/scenarios" || fail 'generate scenarios'
fi
limit=$((120 + nr))
make_initramfs
run_linux
timeout -k 5 $limit "$work/vellum" <"$work/scenarios" >"$work/vellum.out" 2>"$work/vellum.log" ||
	fail 'Vellum runs all scenarios' "$work/vellum.log"
[ -z "$show" ] || diff -U 1000 --label Linux --label Vellum "$work/linux.out" "$work/vellum.out" | sed 's/^/# /'
"$work/compare" "$work/linux.out" "$work/vellum.out" "$nr"
