# SPDX-License-Identifier: MIT
# The fuzzer of the library's calls. $(BUILD)/fuzz/library --seed S --calls N
FUZZ_LIBRARY_SRC := $(wildcard tests/fuzz/library*.c)
$(BUILD)/fuzz/library: $(FUZZ_LIBRARY_SRC) tests/fuzz/library.h host/test.c $(BUILD)/libvellum.a $(BUILD)/libvellum-swap-zstd.a
	@mkdir -p $(@D)
	$(Q)$(CC) $(filter-out -MMD -MP,$(ALL_CFLAGS)) $(filter %.c,$^) $(BUILD)/libvellum-swap-zstd.a $(BUILD)/libvellum.a \
		$(LDFLAGS_ALL) $(LDLIBS) -lzstd -o $@
