# SPDX-License-Identifier: MIT
# The one source list. Embedders may include it: $(VELLUM_CORE_SRC) is the freestanding core, to be
# compiled with -I<here> -I<here>/include.
VELLUM_CORE_SRC := \
	lib/lock.c lib/radix.c lib/strerror.c lib/tree.c \
	mm/access.c mm/clear_refs.c mm/collapse.c mm/collect.c mm/cow.c mm/device.c mm/dirty.c mm/exposed.c mm/fault.c \
	mm/fault_around.c mm/fault_file.c mm/fault_huge.c mm/fork.c mm/gup.c mm/huge.c mm/madvise.c \
	mm/madvise_drop.c mm/madvise_reclaim.c mm/mapping.c mm/mapping_io.c mm/memory.c mm/migrate.c \
	mm/mlock.c mm/mmap.c mm/mprotect.c mm/mremap.c mm/msync.c mm/notifier.c mm/page_set.c mm/pagemap.c \
	mm/pagewalk.c mm/pgtable.c mm/populate.c mm/reclaim.c mm/remap.c mm/rmap.c mm/scan.c mm/shmem.c \
	mm/shmem_huge.c mm/stack.c mm/swap.c mm/swap_in.c mm/swap_off.c mm/tlb.c mm/track_auto.c \
	mm/tracker.c mm/truncate.c mm/uffd.c mm/uffd_event.c mm/uffd_fault.c mm/uffd_fill.c mm/uffd_fork.c \
	mm/uffd_move.c mm/uffd_wp.c mm/validate.c mm/vma.c mm/vma_usage.c mm/writeback.c mm/zap.c
VELLUM_HOST_SRC := host/maps_text.c host/posix.c host/swap_file.c
VELLUM_SOFT_SRC := machine/soft.c machine/soft_access.c machine/soft_hostile.c
VELLUM_LIB_SRC := $(VELLUM_CORE_SRC) $(VELLUM_HOST_SRC) $(VELLUM_SOFT_SRC)

# A library of its own, as it needs libzstd.
VELLUM_SWAP_ZSTD_SRC := host/swap_zstd.c

# The command, on top of the library.
VELLUM_MACHINE_SRC := machine/qemu.c machine/qemu_confine.c machine/qemu_crash.c machine/qemu_memory.c machine/qemu_start.c machine/qemu_stubs.S machine/qemu_test.c machine/vcpu.c
VELLUM_ABI_SRC := \
	abi/bounce.c abi/cpu.c abi/exec.c abi/exit.c abi/fd.c abi/filemap.c abi/filemap_io.c abi/filemap_note.c \
	abi/filemap_ops.c abi/filemap_report.c abi/fork.c abi/hostfd.c abi/inspect.c abi/kernel.c abi/kernel_fs.c \
	abi/memfd.c abi/path.c abi/rlimit.c abi/signal.c abi/sys_file.c abi/sys_fs.c abi/sys_ids.c abi/sys_io.c abi/sys_mm.c \
	abi/sys_open.c abi/sys_poll.c abi/sys_proc.c abi/sys_signal.c abi/sys_time.c abi/syscall.c abi/task.c \
	abi/text.c abi/usermem.c abi/vdso.c abi/vdso/blob.S
VELLUM_CLI_SRC := cli/main.c cli/run.c cli/track.c cli/verify.c cli/replica.c cli/rows.c cli/report.c cli/json.c cli/html.c \
	cli/html_blob.S cli/inspect.c cli/inspect_show.c cli/swap.c
