# SPDX-License-Identifier: MIT
# `make bench`: Vellum and the host's kernel side by side. ROWS=fork runs only such rows.
BENCH_SRC := $(wildcard bench/*.c)
BENCH_GUEST := build/bench/guest/ops
ROWS ?=

$(BUILD)/bench/bench: $(call objs,$(BENCH_SRC)) $(BUILD)/libvellum.a
	@mkdir -p $(@D)
	$(Q)$(CC) $(LDFLAGS_ALL) $^ $(LDLIBS) -lm -o $@

build/bench/guest/%: bench/guest/%.c tests/guest/guest.h
	@mkdir -p $(@D)
	$(Q)gcc $(GUEST_CFLAGS) -Itests/guest $< -o $@

.PHONY: bench
bench: all guests $(BUILD)/bench/bench $(BENCH_GUEST)
	@$(BUILD)/bench/bench --vellum=$(BUILD)/vellum --json=$(BUILD)/bench.json $(ROWS)

# It is built with every variant, and run quickly by tests/house/bench.sh.
unit-build: $(BUILD)/bench/bench
test: $(BENCH_GUEST)
