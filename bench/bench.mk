# SPDX-License-Identifier: MIT
# `make bench` measures Vellum and the host's kernel side by side. ROWS=fork: only rows with "fork" in their name.
BENCH_SRC := $(wildcard bench/*.c)
BENCH_GUEST := build/bench/guest/ops
ROWS ?=

$(BUILD)/bench/bench: $(call objs,$(BENCH_SRC)) $(BUILD)/libvellum.a
	@mkdir -p $(@D)
	$(Q)$(CC) $(LDFLAGS_ALL) $^ $(LDLIBS) -lm -o $@

build/bench/guest/%: bench/guest/%.c tests/guest/guest.h
	@mkdir -p $(@D)
	$(Q)gcc $(GUEST_CFLAGS) -Itests/guest $< -o $@

# The command, but the core trusts the machine's page tables. bench/run.c measures what the checks cost.
$(BUILD)/bench/unchecked/qemu.o: machine/qemu.c
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) -DBENCH_UNCHECKED -c $< -o $@

-include $(wildcard $(BUILD)/bench/unchecked/qemu.d)

$(BUILD)/bench/vellum-unchecked: $(BUILD)/bench/unchecked/qemu.o $(filter-out %/machine/qemu.o,$(CLI_OBJ)) $(LIB_OBJ) \
		$(SWAP_ZSTD_OBJ)
	$(Q)$(CC) $(LDFLAGS_ALL) $^ $(LDLIBS) $(COMMAND_LIBS) -o $@

.PHONY: bench
bench: all guests $(BUILD)/bench/bench $(BUILD)/bench/vellum-unchecked $(BENCH_GUEST) build/bench/resets
	@$(BUILD)/bench/bench --vellum=$(BUILD)/vellum \
		--unchecked=$(BUILD)/bench/vellum-unchecked --json=$(BUILD)/bench.json --growth=$(BUILD)/growth.txt $(ROWS)
	@! [ -s $(BUILD)/growth.txt ] || awk -f tools/growth-plot.awk $(BUILD)/growth.txt >$(BUILD)/growth.svg
	@$(if $(ROWS),,bash bench/resets.sh $(BUILD)/vellum build/bench/resets $(BUILD)/resets.svg && \
		bash bench/fuzzing.sh $(BUILD)/vellum)

build/bench/resets: bench/programs/resets.c
	@mkdir -p $(@D)
	$(Q)gcc -std=gnu11 -O1 -static $(WARNINGS) $< -o $@

# Every variant builds the benchmarks. tests/house/bench.sh runs them with --quick.
unit-build: $(BUILD)/bench/bench
test: $(BENCH_GUEST) $(BUILD)/bench/vellum-unchecked
