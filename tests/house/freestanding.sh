#!/bin/sh
# SPDX-License-Identifier: MIT
# The core (mm, arch, lib) needs only four mem functions of libc, and has no global state: a kernel can
# contain it, and several instances in one process are independent.
. "$(dirname "$0")/tap"

OBJ=$tmp/obj
export OBJ
core() { # TREE COMPILER FLAGS...: check the core of that tree
	tree=$1
	shift
	rm -rf "$tmp/obj"
	mkdir "$tmp/obj"
	sources=$(cd "$tree" && find mm arch lib -name '*.[cS]') || return 1
	[ -n "$sources" ] || { echo "no core sources"; return 1; }
	# Without PIC, as with it constant tables of pointers are in data sections.
	(cd "$tree" && printf '%s\n' $sources | xargs -P "$(nproc)" -I FILE sh -c '
		file=$1
		shift
		exec "$@" -c "$file" -o "$OBJ/$(echo "$file" | tr / -).o"' sh FILE \
		"$@" -ffreestanding -nostdlib -std=c11 -fno-pic -fno-stack-protector -I. -Iinclude) || return 1
	ld -r -o "$tmp/obj/core" "$tmp"/obj/*.o || return 1
	nm "$tmp/obj/core" >"$tmp/obj/nm" && size -A "$tmp/obj/core" >"$tmp/obj/size" || return 1
	awk '
		NF == 2 && $1 ~ /^[Uwv]$/ && $2 !~ /^(memcpy|memmove|memset|memcmp)$/ {
			print "undefined: " $2; bad = 1
		}
		NF == 3 && $2 ~ /^[BbDdCVu]$/ { print "writable: " $3; bad = 1 }
		END { exit bad }' "$tmp/obj/nm" &&
	# Not all data has a symbol.
	awk '/^\.t?(data|bss)/ && $1 !~ /^\.data\.rel\.ro/ && $2 > 0 {
			print "writable section: " $1; bad = 1
		}
		END { exit bad }' "$tmp/obj/size"
}

# Without optimization a compiler leaves calls that others inline; with it, it makes calls of mem functions.
for cc in "$CC -O0" "clang -O2"; do
	# shellcheck disable=SC2086 # the compiler and its flags
	if command -v ${cc%% *} >/dev/null; then
		check "the core stands alone and is stateless ($cc)" core . $cc
	else
		echo "ok - the core stands alone and is stateless ($cc) # SKIP no ${cc%% *}"
	fi
done

plant() { # NAME TEXT CODE: in a copy of the core's lowest layer, as compiling all of it again says no more
	rm -rf "$tmp/tree"
	mkdir -p "$tmp/tree/mm"
	cp -R arch lib include "$tmp/tree"
	echo "$3" >"$tmp/tree/lib/planted.c"
	# shellcheck disable=SC2086
	caught "planted: $1" "$2" core "$tmp/tree" $CC -O2
}
plant "call of libc" "undefined: planted_malloc" \
	'void *planted_malloc(int); void *planted(void); void *planted(void) { return planted_malloc(1); }'
plant "counter" "writable: planted_counter" \
	'static int planted_counter; int planted(void); int planted(void) { return ++planted_counter; }'
plant "table that isn't const" "writable: planted_table" 'int planted_table[] = { 1, 2 };'
exit $bad
