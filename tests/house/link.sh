#!/bin/sh
# SPDX-License-Identifier: MIT
# A program that defines names which the library uses internally links with the library.
. "$(dirname "$0")/tap"

both() { # HOW LINK-FLAGS...
	how=$1
	shift
	# shellcheck disable=SC2086 # CC may have flags
	check "collide.c links with the $how library" \
		$CC -std=c11 -Wall -Wextra -Werror -Iinclude tests/link/collide.c -o "$tmp/$how" "$@"
	check "collide.c runs with the $how library" env LD_LIBRARY_PATH=build "$tmp/$how"
}
both static build/libvellum.a -lpthread
# -rdynamic: the program's names precede the library's at run time, which is the hardest case.
both shared -rdynamic build/libvellum.so
exit $bad
