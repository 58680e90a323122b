#!/bin/sh
# SPDX-License-Identifier: MIT
# make install puts all needed files under DESTDIR and none elsewhere. README's example builds with these
# files alone. make uninstall removes all of them.
. "$(dirname "$0")/tap"

prefix=/opt/vellum
root=$tmp/root
quietly() { # TARGET: make as a user runs it, apart from the make that runs the tests
	env -u MAKEFLAGS -u MAKELEVEL -u MFLAGS "${MAKE:-make}" -s "$1" DESTDIR="$root" PREFIX="$prefix"
}
check "make install" quietly install
there() {
	for f in bin/vellum lib/libvellum.a lib/libvellum.so lib/libvellum.so.0 lib/pkgconfig/vellum.pc \
		lib/libvellum-swap-zstd.a lib/pkgconfig/vellum-swap-zstd.pc include/vellum/swap_backends.h \
		include/vellum/mm.h share/man/man1/vellum.1 share/man/man3/vellum.3 share/man/man3/vellum_snapshot.3 \
		share/doc/vellum/README.md share/doc/vellum/docs/api.md \
		share/doc/vellum/docs/porting.md share/doc/vellum/examples/embed_minimal.c; do
		[ -s "$root$prefix/$f" ] || { echo "$f is missing"; return 1; }
	done
	find "$root" -type f ! -path "$root$prefix/*" >"$tmp/elsewhere"
	[ ! -s "$tmp/elsewhere" ] || { cat "$tmp/elsewhere"; return 1; }
}
check "everything is there, and nothing outside of the prefix" there
check "the installed command runs" "$root$prefix/bin/vellum" --version
dangling() { # links from one document to another are valid
	(cd "$root$prefix/share/doc/vellum" && for f in *.md docs/*.md; do
		grep -o '](\([^)#:]*\))' "$f" | sed 's/](//; s/)//' | while read -r to; do
			[ -e "$(dirname "$f")/$to" ] || { echo "$f: $to"; exit 1; }
		done || exit 1
	done)
}
check "links between the installed documents lead somewhere" dangling

awk '/^<!-- embed-example -->$/ { mark = 1 }
	block && /^```/ { exit }
	block { print }
	mark && /^```c$/ { block = 1 }' README.md >"$tmp/example.c"
config() {
	PKG_CONFIG_SYSROOT_DIR=$root PKG_CONFIG_LIBDIR=$root$prefix/lib/pkgconfig pkg-config "$@"
}
with_zstd() { # pkg-config that also finds the system's libzstd.pc
	PKG_CONFIG_LIBDIR=$root$prefix/lib/pkgconfig:$(pkg-config --variable pc_path pkg-config) \
		pkg-config --define-variable=prefix="$root$prefix" "$@" vellum-swap-zstd
}
# In another folder than the sources, so that only installed files are found.
built() { # NAME FLAGS...: with flags from pkg-config
	name=$1
	shift
	# shellcheck disable=SC2046,SC2086
	(cd "$tmp" && set -x && $CC -std=c11 -Wall -Wextra -Werror example.c -o "$name" "$@")
}
if command -v pkg-config >/dev/null; then
	check "pkg-config knows the version" test \
		"$(config --modversion vellum)" = "$("$root$prefix/bin/vellum" --version | cut -d ' ' -f 2)"
	# shellcheck disable=SC2046
	check "README's example builds with the shared library" \
		built shared $(config --cflags --libs vellum)
	check "and runs with it" env LD_LIBRARY_PATH="$root$prefix/lib" timeout 60 "$tmp/shared"
	uses() { readelf -d "$1" | grep -q 'NEEDED.*libvellum\.so\.0'; }
	check "which it names by its soname" uses "$tmp/shared"
	# shellcheck disable=SC2046
	check "README's example builds with the static library" \
		built static -static $(config --static --cflags --libs vellum)
	check "and runs" timeout 60 "$tmp/static"
	cat >"$tmp/example.c" <<-EOF
	#include <vellum/swap_backends.h>
	int main(void)
	{
		struct vellum_swap_zstd *area;
		return vellum_swap_zstd_create(8, 0, &area) ? 1 : (vellum_swap_zstd_destroy(area), 0);
	}
	EOF
	# shellcheck disable=SC2046
	check "a program with a compressed swap area builds" \
		built swap $(with_zstd --cflags --libs)
	check "and runs with it" env LD_LIBRARY_PATH="$root$prefix/lib" timeout 60 "$tmp/swap"
else
	echo "ok - README's example from the installed files # SKIP no pkg-config"
fi

check "make uninstall" quietly uninstall
empty() {
	find "$root" ! -type d >"$tmp/left"
	find "$root" -name vellum ! -path "$root$prefix" >>"$tmp/left"
	[ ! -s "$tmp/left" ] || { cat "$tmp/left"; return 1; }
}
check "it leaves nothing" empty

lib_alone() { # a library that builds and installs where the headers of jansson and zstd are not found
	mkdir -p "$tmp/none"
	echo '#error "needed"' | tee "$tmp/none/jansson.h" >"$tmp/none/zstd.h"
	env -u MAKEFLAGS -u MAKELEVEL -u MFLAGS "${MAKE:-make}" -s install-lib DESTDIR="$root" PREFIX="$prefix" \
		BUILD="$tmp/lib-build" CFLAGS="-O0 -I$tmp/none" || return 1
	for f in lib/libvellum.a lib/libvellum.so lib/pkgconfig/vellum.pc include/vellum/version.h; do
		[ -s "$root$prefix/$f" ] || { echo "$f is missing"; return 1; }
	done
	[ ! -e "$root$prefix/bin/vellum" ] && [ ! -e "$root$prefix/lib/libvellum-swap-zstd.a" ]
}
check "make install-lib needs neither jansson nor zstd" lib_alone
versioned() { # every symbol has a version
	! nm -D --defined-only --with-symbol-versions build/libvellum.so | grep ' [TDR] ' | grep -v '@@VELLUM_'
}
check "the shared library's symbols have versions" versioned

versions() {
	v=$(sed -n 's/^#define VELLUM_VERSION_[MP][A-Z]*[^0-9]*//p' include/vellum/version.h | paste -sd .)
	head -n 1 debian/changelog | grep -qF "vellum ($v)" || { head -n 1 debian/changelog; return 1; }
}
check "the Debian changelog has the version of the headers" versions
exit $bad
