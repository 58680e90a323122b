/* SPDX-License-Identifier: MIT */
/* abi/strace_formats.h - the formats of arguments that syscall.tbl names, and the functions that print them. */
#ifndef ABI_STRACE_FORMATS_H
#define ABI_STRACE_FORMATS_H

/* X(format, function) */
#define STRACE_FORMATS \
	/* numbers: the types of syscall.tbl */ \
	X(d, print_int) X(u, print_unsigned) X(l, print_long) X(z, print_size) X(X, print_hex32) X(x, print_hex) \
	X(o, print_octal) X(p, print_pointer) X(s, print_path) X(id, print_id) X(dirfd, print_dirfd) \
	/* one of several names */ \
	X(whence, print_enum) X(madvise, print_enum) X(fadvise, print_enum) X(rlimit, print_enum) \
	X(rusage_who, print_enum) X(clock, print_enum) X(itimer, print_enum) X(sighow, print_enum) \
	X(ioctl, print_ioctl) X(fcntl, print_enum) X(prctl, print_enum) X(arch_prctl, print_enum) \
	X(shutdown, print_enum) X(signal, print_signal) X(ipc_key, print_ipc_key) X(shmctl, print_enum) X(semctl, print_enum) \
	X(msgctl, print_enum) \
	/* flags */ \
	X(prot, print_flags) X(mremap, print_flags) X(msync, print_flags) X(mlockall, print_flags) \
	X(mlock2, print_flags) X(access, print_flags) X(at, print_flags) X(at_access, print_flags) \
	X(statx_at, print_statx_at) X(statx_mask, print_flags) X(rename, print_flags) X(fallocate, print_flags) \
	X(getrandom, print_flags) X(memfd, print_memfd) X(close_range, print_flags) X(signalfd, print_flags) \
	X(shmget, print_shmget) X(ipcget, print_ipcget) X(msgflg, print_flags) X(shmat, print_flags) \
	X(userfaultfd, print_flags) X(splice, print_flags) X(pidfd_open, print_flags) X(pidfd_signal, print_flags) X(flock, print_flags) \
	X(wait, print_flags) X(timer, print_flags) X(xattr, print_flags) X(msg, print_flags) X(accept, print_flags) \
	X(map, print_map) X(open, print_open) X(o_flags, print_flags) \
	/* arguments whose meaning another argument decides */ \
	X(mode_create, print_mode_create) X(mode_file, print_mode_file) X(dev_file, print_dev_file) \
	X(new_addr, print_new_addr) X(fcntl_arg, print_fcntl_arg) X(prctl_arg, print_prctl_arg) \
	X(arch_prctl_arg, print_arch_prctl_arg) X(ioctl_arg, print_ioctl_arg) X(futex_op, print_futex_op) \
	X(futex, print_futex) X(clone, print_clone) X(none, print_none) \
	/* bytes and strings; their length is the next argument. OUT: the call stores them */ \
	X(in, print_in) X(out, print_out) X(out_random, print_out_random) X(out_path, print_out_path) \
	X(str, print_string) X(argv, print_argv) X(envp, print_envp) X(iov, print_iov) X(iov_other, print_iov_other) X(iov_out, print_iov_out) \
	/* structures */ \
	X(stat, print_stat) X(statx, print_statx) X(timespec, print_timespec) X(timespec_out, print_timespec_out) \
	X(timespec_left, print_timespec_left) X(timespecs, print_timespecs) X(timevals, print_timevals) \
	X(time_out, print_time_out) X(timezone_out, print_timezone_out) X(mincore, print_mincore) \
	X(timeval, print_timeval) X(timeval_out, print_timeval_out) X(itimerval, print_itimerval) \
	X(itimerval_out, print_itimerval_out) X(limit, print_limit) X(limit_out, print_limit_out) \
	X(rusage, print_rusage) X(rusage_wait, print_rusage_wait) X(wstatus, print_wstatus) X(uname, print_uname) \
	X(fds_out, print_fds_out) X(int_out, print_int_out) X(gids, print_gids) X(gids_out, print_gids_out) \
	X(offset, print_offset) X(offset_moved, print_offset_moved) X(sigset, print_sigset) \
	X(sigset_out, print_sigset_out) X(sigmask, print_sigmask) X(sigaction, print_sigaction) \
	X(sigaction_out, print_sigaction_out) X(sigaltstack, print_sigaltstack) \
	X(sigaltstack_out, print_sigaltstack_out) X(pollfds, print_pollfds) X(fds, print_fds) \
	X(open_how, print_open_how) X(sembufs, print_sembufs) X(msgbuf, print_msgbuf) \
	X(msgbuf_out, print_msgbuf_out) X(dirents, print_dirents) X(cpus, print_cpus) \
	/* lists of names that no argument has as its format */ \
	X(uffd_features, print_flags) X(uffd_ioctls, print_flags) \
	X(uffd_register, print_flags) X(uffd_copy, print_flags) X(uffd_zeropage, print_flags) X(uffd_move, print_flags) \
	X(uffd_writeprotect, print_flags) X(uffd_continue, print_flags) X(uffd_poison, print_flags) \
	X(fd_flags, print_flags) X(resolve, print_flags) X(sem_flags, print_flags) X(seals, print_flags) X(lock_type, print_enum) X(sa_flags, print_flags) \
	X(ss_flags, print_flags) X(poll_events, print_flags) X(clone_flags, print_flags) X(map_flags, print_flags) \
	X(map_type, print_enum) X(futex_names, print_enum) X(statx_attr, print_flags) X(file_type, print_enum)

enum strace_format {
	FORMAT_END,
#define X(name, print) FORMAT_##name,
	STRACE_FORMATS
#undef X
	NR_FORMATS
};

#endif
