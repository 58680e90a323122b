# SPDX-License-Identifier: MIT
# The one source list. Embedders may include it: $(VELLUM_CORE_SRC) is the freestanding core, to be
# compiled with -I<here> -I<here>/include.
VELLUM_CORE_SRC := \
	lib/lock.c lib/radix.c lib/strerror.c lib/tree.c \
	mm/access.c mm/cow.c mm/dirty.c mm/fault.c mm/fork.c mm/mapping.c mm/memory.c mm/mmap.c \
	mm/mprotect.c mm/mremap.c mm/notifier.c mm/pagewalk.c mm/pgtable.c mm/rmap.c mm/tlb.c \
	mm/tracker.c mm/validate.c mm/vma.c mm/zap.c
VELLUM_HOST_SRC := host/posix.c
VELLUM_MACHINE_SRC := machine/soft.c
VELLUM_ABI_SRC :=
VELLUM_CLI_SRC :=
VELLUM_LIB_SRC := $(VELLUM_CORE_SRC) $(VELLUM_HOST_SRC) $(VELLUM_MACHINE_SRC)
