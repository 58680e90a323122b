#!/bin/sh
# SPDX-License-Identifier: MIT
# The libraries define only names with their prefix. Inside the core, a room calls only rooms that it may call, and
# symbols that no other file uses are static.
. "$(dirname "$0")/tap"

only_ours() { # NM-FLAGS... FILE
	nm "$@" >"$tmp/nm" || return 1
	# Type A is the node of a version script.
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

accessors() { # the inline functions of vellum/soft.h, for bindings
	nm -D --defined-only build/libvellum.so | awk '{ print $3 }' | sed 's/@.*//' | sort >"$tmp/nm"
	for f in load8 load16 load32 load64 load128 store8 store64 store128 fetch32 fetch64; do
		echo "vellum_soft_$f"
		echo "vellum_soft_batch_$f"
	done >"$tmp/wanted"
	for f in begin pause end; do echo "vellum_soft_batch_$f"; done >>"$tmp/wanted"
	sort "$tmp/wanted" | comm -23 - "$tmp/nm" | grep . && return 1
	return 0
}
check "libvellum.so has the inline accessors as functions" accessors

echo 'int planted_symbol;' >"$tmp/planted.c"
# shellcheck disable=SC2086 # CC may have flags
cp build/libvellum.a "$tmp/planted.a" && $CC -c "$tmp/planted.c" -o "$tmp/planted.o" &&
	ar r "$tmp/planted.a" "$tmp/planted.o"
caught "planted: another symbol" planted_symbol only_ours -g --defined-only "$tmp/planted.a"

# --- rooms of the core, by the objects: mm/rooms.list ---

# Lines "user definer symbol" for each use of another file's symbol; "file - symbol" for a symbol that no other uses.
uses() { # FOLDER of objects
	(cd "$1" && find lib mm -name '*.o') | while read -r o; do
		# An object whose source has moved is an older build's.
		case $o in *planted*) true ;; *) [ -e "${o%.o}.c" ] ;; esac && echo "$o"
	done >"$tmp/objects"
	(cd "$1" && xargs nm -A <"$tmp/objects") | sed 's/:/ /' | awk '
		NF == 4 && $3 ~ /^[TDBRV]$/ { at[$4] = $1 }
		NF == 3 && $2 == "U" { user[++n] = $1; used[n] = $3 }
		END {
			for (i = 1; i <= n; i++)
				if (used[i] in at) {
					print user[i], at[used[i]], used[i]
					known[used[i]]
				}
			for (s in at)
				if (!(s in known))
					print at[s], "-", s
		}'
}
keeps_to_rooms() { # FOLDER
	uses "$1" >"$tmp/uses" || return 1
	awk 'FILENAME ~ /rooms.list$/ {
			if (!/^#/ && split($0, part, ":") == 2)
				not_for[part[1]] = part[2]
			next
		}
		{
			split($1, from, "/")
			split($2, to, "/")
			n++
		}
		from[1] == "lib" && to[1] == "mm" { print; bad = 1 }
		from[1] == "mm" && to[1] == "mm" && index(" " not_for[from[2]] " ", " " to[2] " ") { print; bad = 1 }
		$1 != $2 && $2 == "mm/validate.o" { print; bad = 1 }
		END { exit bad || n < 100 }' mm/rooms.list "$tmp/uses"
}
# Exception: only a test calls the second of the two questions about writes from another file.
no_needless_external() { # FOLDER
	uses "$1" >"$tmp/uses" || return 1
	! awk '$2 == "-" && $3 !~ /^vellum_/ && $3 != "vma_wants_writenotify"' "$tmp/uses" | grep .
}
check "rooms of the core call only those that they may" keeps_to_rooms build/obj
check "no symbol of the core is external without need" no_needless_external build/obj

mkdir -p "$tmp/obj/mm/frame" "$tmp/obj/lib"
cp -r build/obj/mm build/obj/lib "$tmp/obj"
# shellcheck disable=SC2086
printf 'void do_munmap(void); void planted_call(void); void planted_call(void) { do_munmap(); }' >"$tmp/planted.c" &&
	$CC -c "$tmp/planted.c" -o "$tmp/obj/mm/frame/planted.o"
caught "planted: mm/frame calls mm/space" do_munmap keeps_to_rooms "$tmp/obj"
caught "planted: an external symbol that nothing uses" planted_call no_needless_external "$tmp/obj"
exit $bad
