# SPDX-License-Identifier: MIT
# The list of all sources. Embedders may include it: $(VELLUM_CORE_SRC) is the freestanding core, to be
# compiled with -I<this folder> -I<this folder>/include.
VELLUM_CORE_SRC := \
	lib/lock.c lib/page_set.c lib/radix.c lib/strerror.c lib/tree.c lib/version.c \
	mm/frame/memory.c mm/frame/migrate.c mm/frame/rmap.c \
	mm/table/exposed.c mm/table/huge.c mm/table/huge_zero.c mm/table/notifier.c mm/table/pagewalk.c \
	mm/table/pgtable.c mm/table/tlb.c mm/table/zap.c \
	mm/space/collapse.c mm/space/fork.c mm/space/madvise.c \
	mm/space/mlock.c mm/space/mmap.c mm/space/mprotect.c mm/space/mremap.c mm/space/mseal.c \
	mm/space/populate.c mm/space/vma.c \
	mm/fault/cow.c mm/fault/fault.c mm/fault/file.c mm/fault/huge.c \
	mm/fault/swap_in.c mm/fault/swp_entry.c \
	mm/object/mapping.c mm/object/mapping_io.c mm/object/remap.c mm/object/shmem.c \
	mm/object/truncate.c mm/object/writeback.c \
	mm/swap/reclaim.c mm/swap/swap.c mm/swap/swap_off.c \
	mm/track/auto.c mm/track/clear_refs.c mm/track/collect.c mm/track/dirty.c \
	mm/track/pagemap.c mm/track/scan.c mm/track/tracker.c mm/track/vma_usage.c \
	mm/uffd/event.c mm/uffd/fill.c mm/uffd/move.c mm/uffd/uffd.c mm/uffd/wait.c \
	mm/uffd/wp.c \
	mm/outside/access.c mm/outside/device.c mm/outside/gup.c \
	mm/snapshot/entry.c mm/snapshot/freeze.c mm/snapshot/shared.c mm/snapshot/snapshot.c mm/snapshot/tables.c \
	mm/snapshot/verify.c mm/snapshot/vmas.c \
	mm/validate.c
VELLUM_HOST_SRC := host/posix.c host/swap_file.c
VELLUM_PROC_SRC := proc/maps_text.c
VELLUM_SOFT_SRC := machine/soft.c machine/soft_access.c machine/soft_atomic.c machine/soft_functions.c machine/soft_hostile.c \
	machine/soft_tlb.c
VELLUM_LIB_SRC := $(VELLUM_CORE_SRC) $(VELLUM_HOST_SRC) $(VELLUM_PROC_SRC) $(VELLUM_SOFT_SRC)

# A separate library, as it needs libzstd.
VELLUM_SWAP_ZSTD_SRC := host/swap_zstd.c

# The command, on top of the library.
VELLUM_MACHINE_SRC := \
	machine/qemu.c machine/qemu_confine.c machine/qemu_crash.c machine/qemu_flush.c machine/qemu_memory.c \
	machine/plugin_blob.S machine/qemu_start.c machine/qemu_stubs.S machine/qemu_test.c machine/vcpu.c
VELLUM_ABI_SRC := \
	abi/access.c abi/async.c abi/bounce.c abi/control.c abi/cpu.c abi/cpu_clock.c abi/elf.c abi/exec.c \
	abi/exit.c abi/fd.c abi/filemap.c abi/filemap_io.c abi/filemap_note.c abi/filemap_ops.c abi/filemap_report.c \
	abi/fork.c abi/futex_pi.c abi/gate.c abi/host.c abi/hostfd.c abi/image.c abi/inspect.c abi/ipc.c abi/jobs.c abi/kernel.c \
	abi/kernel_fs.c abi/lock.c abi/memfd.c abi/mempolicy.c abi/path.c abi/proc_file.c abi/proc_memory.c abi/proc_names.c \
	abi/proc_shown.c abi/proc_status.c abi/proc_system.c abi/proc_text.c abi/proc_tree.c abi/proc_view.c \
	abi/proc_walk.c abi/repeat.c abi/repeat_place.c abi/repeat_threads.c abi/rlimit.c abi/signal.c abi/signal_frame.c abi/sharing.c abi/sockaddr.c abi/strace.c abi/strace_calls.c \
	abi/strace_ipc.c abi/strace_names.c abi/strace_signal.c abi/strace_structs.c abi/strace_uffd.c \
	abi/sys_epoll.c abi/sys_event.c abi/sys_file.c abi/sys_fs.c abi/sys_futex.c abi/sys_ids.c abi/sys_io.c \
	abi/sys_membarrier.c abi/sys_mempolicy.c abi/sys_message.c abi/sys_mm.c abi/sys_msg.c abi/sys_open.c abi/sys_pidfd.c abi/sys_policy.c \
	abi/sys_poll.c abi/sys_prctl.c abi/sys_proc.c abi/sys_process_vm.c abi/sys_robust.c abi/sys_sched.c \
	abi/sys_sem.c abi/sys_shm.c abi/sys_signal.c abi/sys_signalfd.c abi/sys_socket.c abi/sys_sockopt.c \
	abi/sys_splice.c abi/sys_time.c abi/sys_timer.c abi/sys_userfaultfd.c abi/sys_wait.c abi/sys_xattr.c \
	abi/syscall.c abi/task.c abi/text.c abi/tty.c abi/tty_input.c abi/uffd.c abi/usage.c abi/usermem.c \
	abi/vdso.c abi/vdso/blob.S
VELLUM_CLI_SRC := cli/main.c cli/run.c cli/track.c cli/verify.c cli/replica.c cli/rows.c cli/repeat.c cli/fuzz.c cli/fuzz_server.c cli/report.c cli/json.c cli/html.c \
	cli/html_blob.S cli/inspect.c cli/inspect_show.c cli/pack.c cli/swap.c
