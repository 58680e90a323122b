# SPDX-License-Identifier: MIT
# Fuzzers. FUZZERS: command lines for the suite, half a minute of CPU time together. FUZZERS_LONG: command lines for
# `make soak` and `make fuzz`. FUZZ_PROGRAMS: the programs that they need.
fuzz_guests := syscalls instructions elf sigreturn threads
FUZZ_PROGRAMS += $(addprefix build/fuzz/,$(fuzz_guests))
fuzz_run = "env VELLUM=build/$(1)vellum bash tests/fuzz/run.sh $(2)"
FUZZERS += $(call fuzz_run,asan/,--groups 8 syscalls) $(call fuzz_run,,--groups 8 instructions) \
	$(call fuzz_run,,--groups 1 --aborts instructions) $(call fuzz_run,asan/,--groups 2 elf) \
	$(call fuzz_run,asan/,--groups 6 sigreturn) \
	$(call fuzz_run,asan/,--groups 4 --option=--track=clean --option=--cpus=2 threads) \
	"build/asan/fuzz/library --calls 30000"
FUZZ_SEED ?= $(shell date +%s)
FUZZERS_LONG += $(call fuzz_run,asan/,--seed $(FUZZ_SEED) --groups 5000 syscalls) \
	$(call fuzz_run,asan/,--seed $(FUZZ_SEED) --groups 500 instructions) \
	$(call fuzz_run,,--seed $(FUZZ_SEED) --groups 100 --aborts instructions) \
	$(call fuzz_run,asan/,--seed $(FUZZ_SEED) --groups 500 elf) \
	$(call fuzz_run,asan/,--seed $(FUZZ_SEED) --groups 500 sigreturn) \
	$(call fuzz_run,asan/,--seed $(FUZZ_SEED) --groups 500 --option=--track=clean --option=--cpus=2 threads) \
	$(call fuzz_run,tsan/,--seed $(FUZZ_SEED) --groups 50 --option=--track=wp --option=--cpus=3 threads) \
	"build/asan/fuzz/library --calls 10000000 --seed $(FUZZ_SEED)"

build/fuzz/gen/fuzz_calls.h: abi/syscall.tbl
	@mkdir -p $(@D)
	$(Q)awk '/^[0-9]/ { kinds = ""; for (i = 3; i <= NF; i++) kinds = kinds substr($$i, index($$i ":", ":") + 1, 1); \
		gsub(/[luz]/, "d", kinds); gsub(/X/, "x", kinds); printf "{ %d, \"%s\" },\n", $$1, kinds }' $< > $@

build/fuzz/syscalls: build/fuzz/gen/fuzz_calls.h
$(addprefix build/fuzz/,$(fuzz_guests)): build/fuzz/%: tests/fuzz/%.c $(wildcard tests/fuzz/*.h) tests/guest/guest.h
	@mkdir -p $(@D)
	$(Q)gcc $(GUEST_CFLAGS) -mgeneral-regs-only $(WARNINGS) -Ibuild/fuzz/gen $< -o $@

# forge writes page-table entries from outside, as a program could that broke out of its memory.
FUZZ_PROGRAMS += build/fuzz/forge
FUZZERS += "env VELLUM=build/asan/vellum bash tests/fuzz/forge.sh --runs 4" "bash tests/fuzz/elf_native.sh --files 1000"
FUZZERS_LONG += "env VELLUM=build/asan/vellum bash tests/fuzz/forge.sh --seed $(FUZZ_SEED) --runs 300" \
	"bash tests/fuzz/elf_native.sh --seed $(FUZZ_SEED) --files 20000"
build/fuzz/forge: tests/fuzz/forge.c arch/x86/pgtable.h machine/qemu_layout.h
	@mkdir -p $(@D)
	$(Q)gcc -std=gnu11 -O1 -g $(WARNINGS) -I. -Iinclude $< -o $@

# `make fuzz` runs for hours, with a new seed each time. `make fuzz-short` is part of the suite.
.PHONY: fuzz fuzz-short
fuzz: all variants $(FUZZ_PROGRAMS)
	@tests/tap-sum -t 100000 $(subst ",',$(FUZZERS_LONG))

fuzz-short: all variants $(FUZZ_PROGRAMS)
	@tests/tap-sum 'tests/side-by-side $(FUZZERS)'
