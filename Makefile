# SPDX-License-Identifier: MIT
# GNU make. `make help` lists the targets. Each variant (sanitizer, compiler) is built in a separate
# folder: make BUILD=build/asan SANITIZE=address,undefined unit
include sources.mk

ifeq ($(origin CC),default)
CC := gcc
endif
BUILD    ?= build
SANITIZE ?=
DEFINES  ?=
PREFIX   ?= /usr/local
DESTDIR  ?=
LIBDIR   ?= $(PREFIX)/lib
MANDIR   ?= $(PREFIX)/share/man
DOCDIR   ?= $(PREFIX)/share/doc/vellum
Q        := $(if $(V),,@)
VERSION  := $(subst $(eval ) ,.,$(foreach part,MAJOR MINOR PATCH,$(shell sed -n \
	's/.define VELLUM_VERSION_$(part)[^0-9]*//p' include/vellum/version.h)))
SOVERSION := 0

WARNINGS := -Wall -Wextra -Wshadow -Wundef -Wmissing-prototypes -Wstrict-prototypes -Werror
# clang checks lock contracts (lib/annotate.h), and that no errno value becomes an enumerator.
CLANG_WARNINGS := $(if $(findstring clang,$(CC)),-Wthread-safety)
CFLAGS   ?= -O2 -g
ALL_CFLAGS := -std=c11 $(CFLAGS) $(WARNINGS) $(CLANG_WARNINGS) -I. -Iinclude -MMD -MP $(DEFINES) \
	$(if $(SANITIZE),-fsanitize=$(SANITIZE) -fno-omit-frame-pointer -fno-sanitize-recover=all) \
	$(if $(findstring thread,$(SANITIZE)),-DVELLUM_TSAN)
LIB_CFLAGS := -fPIC -fvisibility=hidden $(if $(CLANG_WARNINGS),-Wassign-enum)
LDFLAGS_ALL := $(LDFLAGS) $(if $(SANITIZE),-fsanitize=$(SANITIZE))
LDLIBS := -lpthread

OBJ  := $(BUILD)/obj
objs  = $(patsubst %.c,$(OBJ)/%.o,$(filter %.c,$(1))) $(patsubst %.S,$(OBJ)/%.o,$(filter %.S,$(1)))

LIB_OBJ  := $(call objs,$(VELLUM_LIB_SRC))
SWAP_ZSTD_OBJ := $(call objs,$(VELLUM_SWAP_ZSTD_SRC))
TEST_OBJ := $(call objs,host/test.c tests/unit/support.c tests/unit/fail_sweep.c)
CLI_OBJ  := $(call objs,$(VELLUM_MACHINE_SRC) $(VELLUM_ABI_SRC) $(VELLUM_CLI_SRC))
COMMAND_LIBS := -ljansson -lzstd -lelf	# of the command, not of the library
UNIT     := $(patsubst %.c,$(BUILD)/unit/%,$(notdir $(wildcard tests/unit/*/test_*.c)))
GUEST    := $(patsubst tests/guest/%.c,build/guest/%,$(wildcard tests/guest/*.c))
PROGRAMS := $(patsubst tests/programs/%.c,build/programs/%,$(wildcard tests/programs/*.c))
EXAMPLES := $(patsubst examples/%.c,$(BUILD)/examples/%,$(wildcard examples/*.c))

.PHONY: all
all: $(BUILD)/vellum $(BUILD)/libvellum.a $(BUILD)/libvellum.so $(BUILD)/vellum.pc \
	$(BUILD)/libvellum-swap-zstd.a $(BUILD)/vellum-swap-zstd.pc

# The library without the command, and without what needs jansson or zstd.
.PHONY: lib
lib: $(BUILD)/libvellum.a $(BUILD)/libvellum.so $(BUILD)/vellum.pc

.PHONY: help
help:
	@echo "make            build/vellum, build/libvellum.{a,so}, build/libvellum-swap-zstd.a"
	@echo "make lib        the library alone: neither jansson nor zstd is needed; make install-lib installs it"
	@echo "make test       every test; ends with 'N passed, N failed' (./check installs what it needs)"
	@echo "make unit       the unit tests of one variant: BUILD=... CC=... SANITIZE=..."
	@echo "make fuzz       random system calls, instructions, programs and signal frames; FUZZ_SEED=N repeats"
	@echo "make selftests  Linux's own tests of memory management, natively and inside, compared; ONLY=regex"
	@echo "make soak       tests that take long: full matrices, long stress"
	@echo "make mutation   break the core in thousands of ways, one at a time: a test must fail for each; MUTATION=--help"
	@echo "make mutation-table  docs/mutation.md: mutants that were found and coverage, by file"
	@echo "make bench      measure Vellum and the host's kernel; build/bench.json. ROWS=fork: only these rows"
	@echo "make html       the documents and man pages as HTML, in build/html"
	@echo "make heat-map   docs/heat-map.svg anew, from a run"
	@echo "make install    PREFIX=$(PREFIX) DESTDIR= LIBDIR= MANDIR= DOCDIR=; make uninstall removes it"
	@echo "make deb        Debian packages: build/*.deb"
	@echo "make clean"

# --- objects ---

# Only objects of the library are compiled with hidden symbols.
$(LIB_OBJ) $(SWAP_ZSTD_OBJ) $(OBJ)/host/test.o: ALL_CFLAGS += $(LIB_CFLAGS)
$(call objs,$(VELLUM_CORE_SRC)): ALL_CFLAGS += -ffreestanding

$(OBJ)/%.o: %.c
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) -c $< -o $@

$(OBJ)/%.o: %.S
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) -c $< -o $@

$(BUILD)/gen/syscall_table.h: abi/syscall.tbl tools/gen-syscalls
	@mkdir -p $(@D)
	$(Q)tools/gen-syscalls table $< > $@

$(BUILD)/gen/syscalls.h: abi/syscall.tbl tools/gen-syscalls
	@mkdir -p $(@D)
	$(Q)tools/gen-syscalls prototypes $< > $@

$(BUILD)/gen/syscall_names.h: tools/gen-syscalls
	@mkdir -p $(@D)
	$(Q)echo '#include <asm/unistd_64.h>' | $(CC) -dM -E - > $@.macros
	$(Q)tools/gen-syscalls names $@.macros > $@

# A handler has all arguments of its call, even if it depends on none of them.
SYSCALL_OBJ := $(call objs,$(filter abi/sys_%.c abi/syscall.c abi/strace.c abi/fd.c abi/proc_system.c abi/rlimit.c,$(VELLUM_ABI_SRC)))
$(SYSCALL_OBJ): $(BUILD)/gen/syscalls.h $(BUILD)/gen/syscall_table.h $(BUILD)/gen/syscall_names.h
$(SYSCALL_OBJ): ALL_CFLAGS += -I$(BUILD)/gen -Wno-unused-parameter

# The vDSO is a shared object that is mapped into the programs.
$(BUILD)/gen/vdso.so: abi/vdso/vdso.c abi/vdso/vdso.lds abi/vdso/vvar.h
	@mkdir -p $(@D)
	$(Q)gcc -std=c11 -O2 $(WARNINGS) -fPIC -fno-stack-protector -fvisibility=default -fcf-protection=none \
		-mno-sse -nostdlib -shared -fasynchronous-unwind-tables \
		-Wl,-T,abi/vdso/vdso.lds -Wl,-soname,linux-vdso.so.1 -Wl,--hash-style=both \
		-Wl,--build-id=sha1 -Wl,--eh-frame-hdr -Wl,-z,max-page-size=4096 -Wl,-z,norelro -Wl,-Bsymbolic $< -o $@

$(OBJ)/abi/vdso/blob.o: $(BUILD)/gen/vdso.so
$(OBJ)/abi/vdso/blob.o: ALL_CFLAGS += -DVDSO_FILE='"$(BUILD)/gen/vdso.so"'

-include $(shell find $(OBJ) $(BUILD)/unit $(BUILD)/examples -name '*.d' 2>/dev/null)

# --- library: internal symbols become local, so that a program may define its own find_vma ---

$(OBJ)/vellum.o: $(LIB_OBJ)
	$(Q)$(LD) -r $^ -o $@.tmp
	$(Q)objcopy --localize-hidden $@.tmp $@
	@rm -f $@.tmp

$(BUILD)/libvellum.a: $(OBJ)/vellum.o
	@rm -f $@
	$(Q)$(AR) rcs $@ $<

$(BUILD)/libvellum.so.$(SOVERSION): $(LIB_OBJ) libvellum.map
	$(Q)$(CC) $(LDFLAGS_ALL) -shared -Wl,-soname,libvellum.so.$(SOVERSION) -Wl,--version-script=libvellum.map \
		$(LIB_OBJ) $(LDLIBS) -o $@

$(BUILD)/libvellum.so: $(BUILD)/libvellum.so.$(SOVERSION)
	$(Q)ln -sf $(<F) $@

$(BUILD)/libvellum-swap-zstd.a: $(SWAP_ZSTD_OBJ)
	@rm -f $@
	$(Q)$(AR) rcs $@ $^

# Made in every run, as the folders may have changed. The archive of swap-zstd is static, so a program that
# links it also links libzstd.
PC_HEAD := 'prefix=$(PREFIX)' 'libdir=$(LIBDIR:$(PREFIX)/%=$${prefix}/%)' 'includedir=$${prefix}/include' ''
.PHONY: FORCE
$(BUILD)/vellum.pc: PC_BODY = 'Name: vellum' 'Description: Linux memory management as a library' \
	'Version: $(VERSION)' 'Libs: -L$${libdir} -lvellum' 'Libs.private: -lpthread'
$(BUILD)/vellum-swap-zstd.pc: PC_BODY = 'Name: vellum-swap-zstd' 'Description: swap to memory for Vellum' \
	'Version: $(VERSION)' 'Requires: vellum libzstd' 'Libs: -L$${libdir} -lvellum-swap-zstd -lpthread'
$(BUILD)/vellum.pc $(BUILD)/vellum-swap-zstd.pc: FORCE
	@mkdir -p $(@D)
	@printf '%s\n' $(PC_HEAD) $(PC_BODY) 'Cflags: -I$${includedir}' > $@.tmp
	@# Replace the file, not its bytes: an install as root may have made it.
	@if cmp -s $@.tmp $@; then rm -f $@.tmp; else mv -f $@.tmp $@; fi

# --- command ---

$(CLI_OBJ): ALL_CFLAGS += -DVERSION='"$(VERSION)"'

$(OBJ)/cli/html_blob.o: cli/report.html

# QEMU loads it: without sanitizers, and QEMU has the functions that it calls.
PLUGIN := $(BUILD)/qemu-plugin.so
$(PLUGIN): machine/qemu_plugin.c machine/coverage.h
	@mkdir -p $(@D)
	$(Q)$(CC) -std=gnu11 -O2 -Wall -Wextra -Werror -fPIC -fvisibility=hidden -I. -shared -s $< -o $@
$(OBJ)/machine/plugin_blob.o: $(PLUGIN)
$(OBJ)/machine/plugin_blob.o: ALL_CFLAGS += -DPLUGIN='"$(PLUGIN)"'

# Linked with the library's objects, as it shares lib/ with the core. Jansson reads reports; the library does
# not need it.
$(BUILD)/vellum: $(CLI_OBJ) $(LIB_OBJ) $(SWAP_ZSTD_OBJ)
	$(Q)$(CC) $(LDFLAGS_ALL) $^ $(LDLIBS) $(COMMAND_LIBS) -o $@

# --- tests ---

vpath test_%.c $(wildcard tests/unit/*/)

$(BUILD)/unit/%: %.c $(LIB_OBJ) $(TEST_OBJ)
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) -Itests/unit $(filter %.c %.o,$^) $(LDFLAGS_ALL) -lcmocka $(LDLIBS) -o $@

# Else make treats the objects as intermediate, deletes them, and rebuilds all unit tests the next time.
.SECONDARY: $(TEST_OBJ)

# Tests can make allocations of frames fail: fail_sweep.h.
$(BUILD)/unit/%: LDFLAGS_ALL += -Wl,--wrap=folio_alloc,--wrap=folio_alloc_raw

# test_large counts the lookups of entries and VMAs.
$(BUILD)/unit/test_large: LDFLAGS_ALL += -Wl,--wrap=pte_lookup,--wrap=huge_lookup,--wrap=find_vma

# test_swap_backends makes these system and library calls fail.
$(BUILD)/unit/test_swap_backends: $(SWAP_ZSTD_OBJ)
$(BUILD)/unit/test_swap_backends: LDLIBS += -lzstd
$(BUILD)/unit/test_swap_backends: LDFLAGS_ALL += \
	-Wl,--wrap=pread,--wrap=pwrite,--wrap=fallocate,--wrap=ZSTD_createCCtx

$(BUILD)/examples/%: examples/%.c $(BUILD)/libvellum.a
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) $< $(BUILD)/libvellum.a $(LDFLAGS_ALL) $(LDLIBS) -o $@

# Ordinary Linux programs that run on Vellum.
build/programs/%: examples/programs/%.c
	@mkdir -p $(@D)
	$(Q)gcc -std=gnu11 -O1 -g -static $(WARNINGS) $< -o $@

GUEST_CFLAGS := -O1 -g -static -nostdlib -ffreestanding -fno-stack-protector -fno-pic -no-pie -mno-sse
build/guest/%: tests/guest/%.c tests/guest/guest.h
	@mkdir -p $(@D)
	$(Q)gcc $(GUEST_CFLAGS) $< -o $@

# Programs with a libc.
build/programs/%: tests/programs/%.c tests/programs/show.h tests/programs/uffd.h
	@mkdir -p $(@D)
	$(Q)gcc -std=c11 -O2 -g -static $(WARNINGS) $(PROGRAM_LDFLAGS) $< -o $@
build/programs/start: PROGRAM_LDFLAGS := -Wl,--entry=start_here

.PHONY: unit unit-build guests examples
unit-build: $(UNIT)
guests: $(GUEST) $(PROGRAMS)
examples: $(EXAMPLES)
unit: unit-build
	@tests/tap-sum $(foreach t,$(UNIT),'env CMOCKA_MESSAGE_OUTPUT=TAP $(t)')

include tests/fuzz/fuzz.mk
include tests/suite.mk
include tests/mutation/mutation.mk
include tests/fuzz/library.mk
include bench/bench.mk

# --- documents ---

.PHONY: html heat-map
html:
	$(Q)tools/install-deps cmark-gfm mandoc
	$(Q)tools/gen-html build/html
	@echo "build/html/index.html"

# The picture in README.md: the second run of ./demo.
heat-map: $(BUILD)/vellum build/programs/phases
	$(Q)tools/install-deps jq
	$(Q)rm -f build/heat-map.db
	$(Q)$(BUILD)/vellum run --track=auto --verify --interval=10ms --json=build/heat-map.json -- \
		build/programs/phases build/heat-map.db
	$(Q)rm -f build/heat-map.db
	$(Q)tools/heat-map build/heat-map.json >docs/heat-map.svg.tmp
	$(Q)mv docs/heat-map.svg.tmp docs/heat-map.svg

.PHONY: install install-lib uninstall deb clean

TO_BIN     = $(DESTDIR)$(PREFIX)/bin
TO_LIB     = $(DESTDIR)$(LIBDIR)
TO_INCLUDE = $(DESTDIR)$(PREFIX)/include/vellum
TO_MAN     = $(DESTDIR)$(MANDIR)
TO_DOC     = $(DESTDIR)$(DOCDIR)
DOCS       = README.md ARCHITECTURE.md SPEC.md THREAT-MODEL.md CONTRIBUTING.md CHANGELOG.md LICENSE mm/README.md mm/rooms.list \
	$(wildcard docs/*.md docs/*.svg examples/*.[ch])

# The library alone, which needs neither jansson nor zstd.
install-lib: lib
	install -d $(TO_LIB)/pkgconfig $(TO_INCLUDE) $(TO_MAN)/man3
	install -m 644 $(BUILD)/libvellum.a $(BUILD)/libvellum.so.$(SOVERSION) $(TO_LIB)
	ln -sf libvellum.so.$(SOVERSION) $(TO_LIB)/libvellum.so
	install -m 644 $(BUILD)/vellum.pc $(TO_LIB)/pkgconfig
	install -m 644 $(filter-out include/vellum/swap_backends.h,$(wildcard include/vellum/*.h)) $(TO_INCLUDE)
	install -m 644 $(wildcard man/*.3) $(TO_MAN)/man3
	@# Update the loader's cache if this process may.
	@if [ -z "$(DESTDIR)" ] && [ "$$(id -u)" = 0 ]; then PATH=$$PATH:/sbin ldconfig || true; fi

install: all install-lib
	install -d $(TO_BIN) $(TO_MAN)/man1 $(TO_DOC)/docs $(TO_DOC)/examples $(TO_DOC)/mm
	install -m 755 $(BUILD)/vellum $(TO_BIN)
	install -m 644 $(BUILD)/libvellum-swap-zstd.a $(TO_LIB)
	install -m 644 $(BUILD)/vellum-swap-zstd.pc $(TO_LIB)/pkgconfig
	install -m 644 include/vellum/swap_backends.h $(TO_INCLUDE)
	install -m 644 man/vellum.1 $(TO_MAN)/man1
	for f in $(DOCS); do install -m 644 $$f $(TO_DOC)/$$f || exit 1; done

uninstall:
	rm -f $(TO_BIN)/vellum $(TO_LIB)/libvellum.a $(TO_LIB)/libvellum.so* $(TO_LIB)/libvellum-swap-zstd.a \
		$(addprefix $(TO_LIB)/pkgconfig/,vellum.pc vellum-swap-zstd.pc) \
		$(TO_MAN)/man1/vellum.1 $(addprefix $(TO_MAN)/man3/,$(notdir $(wildcard man/*.3)))
	rm -f $(addprefix $(TO_DOC)/,$(DOCS)) $(addprefix $(TO_INCLUDE)/,$(notdir $(wildcard include/vellum/*.h)))
	@# Folders that have only Vellum's files.
	-rmdir --ignore-fail-on-non-empty $(TO_DOC)/docs $(TO_DOC)/examples $(TO_DOC)/mm $(TO_DOC) $(TO_INCLUDE)

deb:
	$(Q)tools/make-deb $(VERSION)

clean:
	rm -rf build
