# SPDX-License-Identifier: MIT
# What `make test` and `make soak` run. Every command prints TAP; tests/tap-sum adds up.
TAP := env CMOCKA_MESSAGE_OUTPUT=TAP
HOUSE := $(wildcard tests/house/*.sh)

# Variants of the unit tests: folder, compiler, sanitizers.
VARIANTS := clang asan tsan
variant_clang := BUILD=build/clang CC=clang
variant_asan  := BUILD=build/asan CC=gcc SANITIZE=address,undefined
variant_tsan  := BUILD=build/tsan CC=gcc SANITIZE=thread

.PHONY: variants
variants:
	$(foreach v,$(VARIANTS),$(MAKE) $(variant_$(v)) unit-build &&) true

variant_units = $(foreach v,$(VARIANTS),$(foreach t,$(notdir $(UNIT)),'$(TAP) build/$(v)/unit/$(t)'))

.PHONY: test
test: all unit-build guests examples variants
	@tests/tap-sum \
		$(foreach t,$(UNIT),'$(TAP) $(t)') $(variant_units) \
		$(foreach e,$(EXAMPLES),'$(e)') \
		$(foreach s,$(HOUSE),'sh $(s)')
