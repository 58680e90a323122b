#!/bin/sh
# SPDX-License-Identifier: MIT
# The libraries take no name of their user's but vellum_*.
. "$(dirname "$0")/tap"

only_ours() { # NM-FLAGS... FILE
	nm "$@" >"$tmp/nm" || return 1
	# A is the node of a version script.
	awk 'NF == 3 && $2 == "A" && $3 ~ /^VELLUM_/ { next }
		NF == 3 && $3 !~ /^vellum_/ { print; bad = 1 }
		NF == 3 { n++ }
		END { if (!n) print "no symbols"; exit bad || !n }' "$tmp/nm"
}
check "libvellum.a defines only vellum_*" only_ours -g --defined-only build/libvellum.a
check "libvellum.so defines only vellum_*" only_ours -D --defined-only build/libvellum.so
check "libvellum-swap-zstd.a defines only vellum_*" \
	only_ours -g --defined-only build/libvellum-swap-zstd.a
without_zstd() {
	nm -u build/libvellum.a >"$tmp/nm" && nm -D -u build/libvellum.so >>"$tmp/nm" || return 1
	! grep -i zstd "$tmp/nm"
}
check "libvellum does without zstd" without_zstd

echo 'int planted_symbol;' >"$tmp/planted.c"
# shellcheck disable=SC2086 # CC may have flags
cp build/libvellum.a "$tmp/planted.a" && $CC -c "$tmp/planted.c" -o "$tmp/planted.o" &&
	ar r "$tmp/planted.a" "$tmp/planted.o"
caught "planted: another symbol" planted_symbol only_ours -g --defined-only "$tmp/planted.a"
exit $bad
