#!/bin/sh
# SPDX-License-Identifier: MIT
# example.sh PROGRAM: an example is a test that passes if it exits with 0. TAP.
"$1" && echo "ok - example ${1##*/}" || { echo "not ok - example ${1##*/}"; exit 1; }
