# SPDX-License-Identifier: MIT
# What `make test` and `make soak` run. Every command prints TAP; tests/tap-sum adds up.
TAP := env CMOCKA_MESSAGE_OUTPUT=TAP

# Variants: folder, compiler, sanitizers.
VARIANTS := clang asan tsan
# All but the plain build end at a function whose caller lacks the lock (lib/lock.h).
ASSERT_LOCKS := DEFINES=-DVELLUM_ASSERT_LOCKS
variant_clang := BUILD=build/clang CC=clang $(ASSERT_LOCKS)
variant_asan  := BUILD=build/asan CC=gcc SANITIZE=address,undefined $(ASSERT_LOCKS)
variant_tsan  := BUILD=build/tsan CC=gcc SANITIZE=thread $(ASSERT_LOCKS)

# TSan has nothing to find in a unit test with one thread.
threaded := $(notdir $(basename $(shell grep -lE 'pthread_|run_on_cpus|in_thread' tests/unit/*/test_*.c)))
unit_clang := unit-build
unit_asan  := unit-build
unit_tsan  := $(addprefix build/tsan/unit/,$(threaded))

.PHONY: variants
variants:
	$(foreach v,$(VARIANTS),$(MAKE) --no-print-directory $(variant_$(v)) $(unit_$(v)) build/$(v)/vellum &&) true
	$(MAKE) --no-print-directory $(variant_asan) examples build/asan/soak/pressure build/asan/soak/snapshot build/asan/fuzz/library
	$(MAKE) --no-print-directory $(variant_tsan) build/tsan/soak/pressure build/tsan/soak/snapshot
	$(MAKE) --no-print-directory $(variant_clang) examples

# The core with a scheduler at every entry access, TLB access, lock and wait.
EXPLORE_OBJ := $(patsubst %.c,build/explore/obj/%.o,$(wildcard tests/explore/*.c) host/test.c \
	$(VELLUM_CORE_SRC) $(VELLUM_SOFT_SRC))

build/explore/obj/%.o: %.c
	@mkdir -p $(@D)
	$(Q)gcc -std=c11 -g -O2 $(WARNINGS) -DVELLUM_EXPLORE -DVELLUM_ASSERT_LOCKS -I. -Iinclude -MMD -MP -c $< -o $@

build/explore/explore: $(EXPLORE_OBJ)
	$(Q)gcc $^ -lpthread -o $@

-include $(EXPLORE_OBJ:.o=.d)

# Random operations on the host's kernel and on Vellum, compared. Links the library as anybody would.
DIFF_SRC := $(wildcard tests/diff/*.c)
$(BUILD)/diff/diff: $(DIFF_SRC) $(wildcard tests/diff/*.h) host/test.c $(BUILD)/libvellum.a
	@mkdir -p $(@D)
	$(Q)$(CC) $(filter-out -MMD -MP,$(ALL_CFLAGS)) $(filter %.c %.a,$^) $(LDFLAGS_ALL) $(LDLIBS) -o $@

in = $(foreach x,$(2),'$(1) $(x)')
unit_names := $(notdir $(UNIT))
# On a command line each; the longest first. What runs with ASan runs without it in soak.
program_tests := "bash tests/oracle/run.sh" \
	"env VELLUM=build/tsan/vellum bash tests/cli/known_pages.sh" "bash tests/cli/busybox.sh" "bash tests/cli/dynamic.sh" \
	"bash tests/cli/known_pages.sh" \
	$(foreach t,files file_limits known_pages inspect report,"env VELLUM=build/asan/vellum bash tests/cli/$(t).sh") \
	$(foreach t,errors isolation restart limits boundary text large extremes odd_values native proc repeat fuzz strace terminal,"bash tests/cli/$(t).sh") \
	"bash tests/selftests/run.sh fast" \
	$(foreach t,large extremes strace,"env VELLUM=build/asan/vellum bash tests/cli/$(t).sh") \
	$(foreach v,asan tsan,"env VELLUM=build/$(v)/vellum bash tests/cli/native.sh threads")
fail_sweeps := $(foreach what,allocs frames,"env UNIT=build/asan/unit sh tests/soak/fail_sweep.sh $(what) \
	$(addprefix test_,cache_io device fault_object gup gup_pins guard mlock scan shstk softdirty uffd uffd_file uffd_fill \
		uffd_move uffd_persist)")

# Apart from `test`, so that all CPUs can build it (-j) and only the tests say what is a failure.
.PHONY: test-build test
test-build: all unit-build guests examples variants build/explore/explore build/diff/diff \
	build/soak/pressure build/soak/snapshot $(FUZZ_PROGRAMS)
test: test-build
	@tests/tap-sum -t 1500 \
		'tests/side-by-side $(foreach u,$(UNIT) $(foreach v,clang asan,$(addprefix build/$(v)/unit/,$(unit_names))) $(unit_tsan),"$(TAP) $(u)")' \
		$(call in,sh tests/example.sh,$(EXAMPLES) $(addprefix build/asan/examples/,$(notdir $(EXAMPLES)))) \
		'tests/side-by-side "build/explore/explore all" "sh tests/house.sh"' \
		'sh tests/mutants/run.sh -h' 'build/diff/diff --ops 60000' \
		'build/soak/pressure 0.3' 'build/tsan/soak/pressure 0.2' 'build/asan/soak/pressure 0.2' \
		'tests/side-by-side "build/asan/soak/snapshot random 25000 1" "build/tsan/soak/snapshot threads 200 1" \
			"build/soak/snapshot resets 100000 1"' \
		'tests/side-by-side $(program_tests) $(fail_sweeps) $(FUZZERS)'

$(BUILD)/soak/%: tests/soak/%.c host/test.c $(BUILD)/libvellum.a
	@mkdir -p $(@D)
	$(Q)$(CC) $(filter-out -MMD -MP,$(ALL_CFLAGS)) $(filter %.c %.a,$^) $(LDFLAGS_ALL) $(LDLIBS) -o $@

$(BUILD)/soak/snapshot: tests/soak/snapshot_ops.c tests/soak/snapshot_more_ops.c tests/soak/snapshot_image.c \
		tests/soak/snapshot_threads.c tests/soak/snapshot.h

# Linux's own tests, from Debian's package with the source of Linux: natively and inside, also tracked and on two CPUs.
SELFTESTS := 'bash tests/selftests/run.sh' 'env OPTIONS="--track=auto --verify" bash tests/selftests/run.sh' \
	'env OPTIONS=--cpus=2 bash tests/selftests/run.sh'
.PHONY: selftests
selftests: $(BUILD)/vellum
	@tests/tap-sum -t 3000 $(SELFTESTS)

# What takes longer: every combination of the known-pages programs 100 times, deep exploration, the
# randomized core tests again and again; and half an hour each of address spaces on the software MMU and
# of programs on two vCPUs.
SOAK_RUNS ?= 100
SOAK_MINUTES ?= 30
.PHONY: soak
soak: all unit-build guests build/explore/explore build/soak/soft build/soak/pressure build/soak/snapshot \
		build/diff/diff variants \
		$(FUZZ_PROGRAMS)
	@tests/tap-sum -t 10000 \
		'build/soak/soft $(SOAK_MINUTES)' 'build/soak/pressure 10' 'build/tsan/soak/pressure 2' \
		'build/asan/soak/pressure 2' \
		'build/soak/snapshot resets 10000000' 'build/asan/soak/snapshot random 1000000' \
		'build/tsan/soak/snapshot threads 3000' \
		'bash tests/soak/command.sh $(SOAK_MINUTES)' \
		'build/explore/explore all +1 --most 200000' 'build/explore/explore all --random 200000' \
		"build/diff/diff --ops 1000000 --seed $$(date +%s)" \
		'bash tests/oracle/run.sh --full' \
		'bash tests/cli/known_pages.sh --full $(SOAK_RUNS)' \
		'bash tests/cli/files.sh --full' 'bash tests/cli/file_limits.sh --full' 'bash tests/cli/dynamic.sh all' \
		'bash tests/cli/inspect.sh' 'bash tests/cli/report.sh' \
		$(SELFTESTS) \
		'bash tests/soak/python.sh' 'bash tests/soak/stress_ng.sh' 'bash tests/soak/fuzz_afl.sh' 'bash tests/soak/fuzz_kill.sh' 'bash tests/soak/repeat.sh' \
		'sh tests/soak/unit.sh 20' 'sh tests/mutants/run.sh' \
		'make -s mutation MUTATION="--check --sample 200"' \
		'sh tests/soak/fail_sweep.sh allocs' 'sh tests/soak/fail_sweep.sh frames' \
		$(subst ",',$(FUZZERS_LONG))
