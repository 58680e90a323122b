#!/bin/sh
# SPDX-License-Identifier: MIT
# The core is ported to a second host and a second machine as docs/porting.md says: with the list in sources.mk
# and the files that a porter writes, tests/link/second_*.c. The code that the guide quotes is compiled here.
. "$(dirname "$0")/tap"

# shellcheck disable=SC2016 # the $ is make's
core=$(printf 'include sources.mk\nall:\n\t@echo $(VELLUM_CORE_SRC)\n' |
	MAKEFLAGS='' "${MAKE:-make}" -s -f - all)

OBJ=$tmp/core
export OBJ
objects() { # COMPILER FLAGS...: compile the core into $tmp/core
	rm -rf "$tmp/core"
	mkdir "$tmp/core"
	# shellcheck disable=SC2086 # a list
	printf '%s\n' $core | xargs -P "$(nproc)" -I FILE sh -c '
		file=$1
		shift
		exec "$@" -c "$file" -o "$OBJ/$(echo "$file" | tr / -).o"' sh FILE "$@"
}
port() { # PROGRAM SOURCES...: link the core with these, with only the flags that the guide names
	out=$1
	shift
	# shellcheck disable=SC2086 # CC may have flags
	$CC -std=c11 -O1 -Wall -Wextra -Werror -I. -Iinclude "$@" "$tmp"/core/*.o -o "$out" -lpthread
}

# shellcheck disable=SC2086
check "the core compiles from sources.mk" objects $CC -std=c11 -O1 -I. -Iinclude
check "a second host links with a machine of its own" \
	port "$tmp/own" tests/link/second_host.c tests/link/second_machine.c
"$tmp/own" || bad=1
check "a second host links with the software machine" \
	port "$tmp/soft" tests/link/second_host.c tests/link/second_soft.c machine/soft.c machine/soft_access.c machine/soft_atomic.c machine/soft_functions.c \
		machine/soft_hostile.c machine/soft_tlb.c
"$tmp/soft" || bad=1

frugal() { # host, machine and core use only the functions of libc that the guide names
	# shellcheck disable=SC2086
	for f in tests/link/second_host.c tests/link/second_machine.c; do
		$CC -std=c11 -O1 -I. -Iinclude -c "$f" -o "$tmp/$(basename "$f").o" || return 1
	done
	ld -r -o "$tmp/all.o" "$tmp"/core/*.o "$tmp"/second_*.o && nm -u "$tmp/all.o" >"$tmp/nm" || return 1
	# The test itself uses printf, puts and exit.
	! grep -vE ' (malloc|free|mem(cpy|move|set|cmp)|printf|puts|putchar|exit|_GLOBAL_OFFSET_TABLE_|__.*_chk(_fail)?)$' "$tmp/nm"
}
check "malloc and free are all that they need" frugal

planted() { # FROM TO FILE: run the workload with a changed line in the host or machine
	sed "s/$1/$2/" "tests/link/$3" >"$tmp/planted_$3"
	! cmp -s "$tmp/planted_$3" "tests/link/$3" || { echo "nothing was planted"; return 0; }
	case $3 in
	second_host.c) port "$tmp/planted" "$tmp/planted_$3" tests/link/second_machine.c ;;
	*) port "$tmp/planted" tests/link/second_host.c "$tmp/planted_$3" ;;
	esac && timeout 60 "$tmp/planted"
}
caught "planted: a flush that forgets nothing" "not ok - a store after a collection" \
	planted 'forget(machine, batch.*' '(void)machine, (void)forget;' second_machine.c
caught "planted: a load's translation that may store" "not ok - a store after a collection" \
	planted ' && (entry & ENTRY_DIRTY);' ';' second_machine.c
caught "planted: a huge entry for its first page alone" "not ok - they reach the frames" \
	planted ' + (addr >> 12 & (pages - 1))' ' + 0 * addr' second_machine.c
caught "planted: an access that is translated once" "not ok - an access may cross" \
	planted '(addr + i) >> 12 & (TLB' 'addr >> 12 \& (TLB' second_machine.c
caught "planted: a block that keeps its bytes" "not ok - discarded blocks" \
	planted 'memset(host->ram + offset, 0, len);.*' '(void)len;' second_host.c

for target in aarch64-none-elf riscv64-none-elf; do
	if command -v clang >/dev/null; then
		check "the core compiles for $target" \
			objects clang --target=$target -std=c11 -O1 -ffreestanding -I. -Iinclude
	else
		echo "ok - the core compiles for $target # SKIP no clang"
	fi
done

quotes() { # each block below <!-- from FILE --> occurs in that file, line by line
	awk '
	function look(	 line, at, n, i, j, hit) {
		while ((getline line < from) > 0)
			text[++n] = line
		close(from)
		for (i = 1; i + nr - 1 <= n && !hit; i++) {
			for (j = 1; j <= nr && text[i + j - 1] == quote[j]; j++)
				;
			hit = j > nr
		}
		seen++
		if (!hit) {
			print "not in " from ": " quote[1]
			bad = 1
		}
	}
	/^<!-- from .* -->$/ { from = $3; next }
	from != "" && /^```c$/ { inside = 1; nr = 0; next }
	inside && /^```$/ { look(); inside = 0; from = ""; next }
	inside { quote[++nr] = $0 }
	END { if (!seen) print "no quotes"; exit bad || !seen }' "$1"
}
check "docs/porting.md quotes the files as they are" quotes docs/porting.md
hooks() { # HEADER STRUCT: the guide names every hook of the struct
	sed -n "/^struct $2 {/,/^}/s/.*(\*\([a-z_]*\))(.*/\1/p" "include/vellum/$1" >"$tmp/hooks"
	[ -s "$tmp/hooks" ] || return 1
	while read -r h; do
		grep -qF "\`$h\`" docs/porting.md || { echo "$h is not in docs/porting.md"; return 1; }
	done <"$tmp/hooks"
}
check "docs/porting.md has every hook of the host" hooks host.h vellum_host_ops
check "docs/porting.md has every hook of the machine" hooks mmu.h vellum_mmu_ops
exit $bad
