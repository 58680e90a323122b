# SPDX-License-Identifier: MIT
# Mutation testing of the core. MUTATION: options of tests/mutation/run.py; `make mutation MUTATION=--help` lists them.
MUTATION ?=

.PHONY: mutation mutation-table
mutation:
	$(Q)tools/install-deps build-essential clang python3 python3-clang-14 libcmocka-dev
	$(Q)tests/mutation/run.py $(MUTATION)

# docs/mutation.md, from the results so far and a run of the tests for coverage.
mutation-table:
	$(Q)$(MAKE) --no-print-directory mutation MUTATION='--coverage --table'
