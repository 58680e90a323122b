#!/bin/sh
# SPDX-License-Identifier: MIT
# house.sh - the house tests, one after the other: some build in the same tree.
for t in tests/house/*.sh; do
	echo "# $t"
	sh "$t" || echo "not ok - $t fails"
done
