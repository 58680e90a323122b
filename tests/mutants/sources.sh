# SPDX-License-Identifier: MIT
# How the explorer is built, for the Makefile's tree and for a mutated one.
explorer_build() {	# output
	gcc -std=c11 -g -O2 -Wall -Wextra -DVELLUM_EXPLORE -I. -Iinclude -Itests/explore \
		tests/explore/*.c host/test.c lib/*.c mm/*.c machine/soft.c machine/soft_hostile.c -lpthread -o "$1"
}
