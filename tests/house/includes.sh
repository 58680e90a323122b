#!/bin/sh
# SPDX-License-Identifier: MIT
# Each layer includes only headers that it may, and the checker finds planted violations.
. "$(dirname "$0")/tap"

check "includes keep to the layers" tools/check-includes .

plant() { # FILE INCLUDE: in a copy of the sources
	rm -rf "$tmp/tree"
	mkdir "$tmp/tree"
	find . \( -path "./build*" -o -path ./.git \) -prune -o -type f \
		\( -name '*.[chS]' -o -name Makefile -o -name rooms.list \) -print |
		tar -cf - -T - | tar -xf - -C "$tmp/tree"
	mkdir -p "$tmp/tree/$(dirname "$1")"
	echo "#include $2" >>"$tmp/tree/$1"
	caught "planted in $1: #include $2" "$1:" tools/check-includes "$tmp/tree"
}
plant lib/planted.c '"mm/planted.h"'
plant mm/planted.c '<string.h>'
plant mm/planted.c '<machine/planted.h>'
plant mm/frame/planted.c '"mm/space/space.h"'
plant mm/swap/planted.h '"mm/uffd/uffd.h"'
plant mm/space/planted.c '"mm/track/tracker.h"'
plant arch/x86/planted.h '"../../mm/planted.h"'
plant arch/x86/planted.S '"planted_elsewhere.h"'
plant machine/planted.c '"mm/planted.h"'
plant abi/planted.c '"mm/planted.h"'
plant abi/planted.c '"cli/planted.h"'
plant cli/planted.c 'PLANTED'
plant host/posix/planted.c '"lib/planted.h"'
plant include/vellum/planted.h '<stdio.h>'
plant elsewhere/planted.c '"vellum/errno.h"'
exit $bad
