# SPDX-License-Identifier: MIT
# Fuzzers. $(FUZZERS) are for the suite, $(FUZZERS_LONG) for `make soak` and `make fuzz-long`: a command line each.
FUZZ_GUESTS := $(addprefix build/fuzz/,syscalls instructions elf sigreturn)

build/fuzz/gen/fuzz_calls.h: abi/syscall.tbl
	@mkdir -p $(@D)
	$(Q)awk '/^[0-9]/ { printf "{ %d, \"%s\" },\n", $$1, $$3 }' $< > $@

build/fuzz/syscalls: build/fuzz/gen/fuzz_calls.h
build/fuzz/%: tests/fuzz/%.c $(wildcard tests/fuzz/*.h) tests/guest/guest.h
	@mkdir -p $(@D)
	$(Q)gcc $(GUEST_CFLAGS) -mgeneral-regs-only $(WARNINGS) -Wno-unused-function -Ibuild/fuzz/gen $< -o $@
