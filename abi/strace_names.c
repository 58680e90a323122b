/* SPDX-License-Identifier: MIT */
/* abi/strace_names.c - names of flags, commands and signals for --strace, in the order of strace(1). */
#define _GNU_SOURCE
#include <asm/prctl.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <linux/futex.h>
#include <linux/openat2.h>
#include <linux/prctl.h>
#include <linux/stat.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#include "abi/strace_print.h"
#include "abi/uffd.h"

#define KERNEL_O_LARGEFILE 0100000	/* glibc's O_LARGEFILE is 0 */
#define HUGE_SHIFT	   26	/* of the logarithm of a page size: MAP_HUGE_*, MFD_HUGE_* */
#define HUGE_MASK	   (63u << HUGE_SHIFT)

#define N(name) { (uint64_t)(name), #name }
#define UFFD_REQUEST(dir, nr, words) { UFFD_IOC(dir, VELLUM_UFFDIO_##nr, words), "UFFDIO_" #nr }
#define UFFD_RW(nr, words) UFFD_REQUEST(_IOC_READ | _IOC_WRITE, nr, words)
#define LIST(unknown, ...) \
	{ unknown, sizeof((const struct value_name[]){ __VA_ARGS__ }) / sizeof(struct value_name), \
	  (const struct value_name[]){ __VA_ARGS__ } }

const struct value_names strace_names[NR_FORMATS] = {
	[FORMAT_whence] = LIST("SEEK_???", N(SEEK_SET), N(SEEK_CUR), N(SEEK_END), N(SEEK_DATA), N(SEEK_HOLE)),
	[FORMAT_madvise] = LIST("MADV_???", N(MADV_NORMAL), N(MADV_RANDOM), N(MADV_SEQUENTIAL), N(MADV_WILLNEED),
		N(MADV_DONTNEED), N(MADV_FREE), N(MADV_REMOVE), N(MADV_DONTFORK), N(MADV_DOFORK), N(MADV_MERGEABLE),
		N(MADV_UNMERGEABLE), N(MADV_HUGEPAGE), N(MADV_NOHUGEPAGE), N(MADV_DONTDUMP), N(MADV_DODUMP),
		N(MADV_WIPEONFORK), N(MADV_KEEPONFORK), N(MADV_COLD), N(MADV_PAGEOUT), N(MADV_POPULATE_READ),
		N(MADV_POPULATE_WRITE), { 24, "MADV_DONTNEED_LOCKED" }, { 25, "MADV_COLLAPSE" }, N(MADV_HWPOISON),
		{ 101, "MADV_SOFT_OFFLINE" }, { 102, "MADV_GUARD_INSTALL" }, { 103, "MADV_GUARD_REMOVE" }),
	[FORMAT_fadvise] = LIST("POSIX_FADV_???", N(POSIX_FADV_NORMAL), N(POSIX_FADV_RANDOM),
		N(POSIX_FADV_SEQUENTIAL), N(POSIX_FADV_WILLNEED), N(POSIX_FADV_DONTNEED), N(POSIX_FADV_NOREUSE)),
	[FORMAT_rlimit] = LIST("RLIMIT_???", N(RLIMIT_CPU), N(RLIMIT_FSIZE), N(RLIMIT_DATA), N(RLIMIT_STACK),
		N(RLIMIT_CORE), N(RLIMIT_RSS), N(RLIMIT_NPROC), N(RLIMIT_NOFILE), N(RLIMIT_MEMLOCK), N(RLIMIT_AS),
		N(RLIMIT_LOCKS), N(RLIMIT_SIGPENDING), N(RLIMIT_MSGQUEUE), N(RLIMIT_NICE), N(RLIMIT_RTPRIO),
		N(RLIMIT_RTTIME)),
	[FORMAT_rusage_who] = LIST("RUSAGE_???", N(RUSAGE_SELF), N(RUSAGE_CHILDREN), N(RUSAGE_THREAD)),
	[FORMAT_clock] = LIST("CLOCK_???", N(CLOCK_REALTIME), N(CLOCK_MONOTONIC), N(CLOCK_PROCESS_CPUTIME_ID),
		N(CLOCK_THREAD_CPUTIME_ID), N(CLOCK_MONOTONIC_RAW), N(CLOCK_REALTIME_COARSE),
		N(CLOCK_MONOTONIC_COARSE), N(CLOCK_BOOTTIME), N(CLOCK_REALTIME_ALARM), N(CLOCK_BOOTTIME_ALARM),
		{ 10, "CLOCK_SGI_CYCLE" }, N(CLOCK_TAI)),
	[FORMAT_itimer] = LIST("ITIMER_???", N(ITIMER_REAL), N(ITIMER_VIRTUAL), N(ITIMER_PROF)),
	[FORMAT_sighow] = LIST("SIG_???", N(SIG_BLOCK), N(SIG_UNBLOCK), N(SIG_SETMASK)),
	[FORMAT_shutdown] = LIST("SHUT_???", N(SHUT_RD), N(SHUT_WR), N(SHUT_RDWR)),
	[FORMAT_arch_prctl] = LIST("ARCH_???", N(ARCH_SET_GS), N(ARCH_SET_FS), N(ARCH_GET_FS), N(ARCH_GET_GS),
		N(ARCH_GET_CPUID), N(ARCH_SET_CPUID)),
	[FORMAT_fcntl] = LIST("F_???", N(F_DUPFD), N(F_GETFD), N(F_SETFD), N(F_GETFL), N(F_SETFL), N(F_GETLK),
		N(F_SETLK), N(F_SETLKW), N(F_SETOWN), N(F_GETOWN), N(F_SETSIG), N(F_GETSIG), N(F_SETOWN_EX),
		N(F_GETOWN_EX), { 17, "F_GETOWNER_UIDS" }, N(F_OFD_GETLK), N(F_OFD_SETLK), N(F_OFD_SETLKW),
		N(F_SETLEASE), N(F_GETLEASE), N(F_NOTIFY), { 1029, "F_CANCELLK" }, N(F_DUPFD_CLOEXEC),
		N(F_SETPIPE_SZ), N(F_GETPIPE_SZ), N(F_ADD_SEALS), N(F_GET_SEALS), N(F_GET_RW_HINT),
		N(F_SET_RW_HINT), N(F_GET_FILE_RW_HINT), N(F_SET_FILE_RW_HINT)),
	[FORMAT_prctl] = LIST("PR_???", N(PR_SET_PDEATHSIG), N(PR_GET_PDEATHSIG), N(PR_GET_DUMPABLE),
		N(PR_SET_DUMPABLE), N(PR_GET_UNALIGN), N(PR_SET_UNALIGN), N(PR_GET_KEEPCAPS), N(PR_SET_KEEPCAPS),
		N(PR_GET_FPEMU), N(PR_SET_FPEMU), N(PR_GET_FPEXC), N(PR_SET_FPEXC), N(PR_GET_TIMING),
		N(PR_SET_TIMING), N(PR_SET_NAME), N(PR_GET_NAME), N(PR_GET_ENDIAN), N(PR_SET_ENDIAN),
		N(PR_GET_SECCOMP), N(PR_SET_SECCOMP), N(PR_CAPBSET_READ), N(PR_CAPBSET_DROP), N(PR_GET_TSC),
		N(PR_SET_TSC), N(PR_GET_SECUREBITS), N(PR_SET_SECUREBITS), N(PR_SET_TIMERSLACK),
		N(PR_GET_TIMERSLACK), N(PR_TASK_PERF_EVENTS_DISABLE), N(PR_TASK_PERF_EVENTS_ENABLE), N(PR_MCE_KILL),
		N(PR_MCE_KILL_GET), N(PR_SET_MM), N(PR_SET_CHILD_SUBREAPER), N(PR_GET_CHILD_SUBREAPER),
		N(PR_SET_NO_NEW_PRIVS), N(PR_GET_NO_NEW_PRIVS), N(PR_GET_TID_ADDRESS), N(PR_SET_THP_DISABLE),
		N(PR_GET_THP_DISABLE), N(PR_SET_FP_MODE), N(PR_GET_FP_MODE), N(PR_CAP_AMBIENT),
		N(PR_GET_SPECULATION_CTRL), N(PR_SET_SPECULATION_CTRL), { 59, "PR_SET_SYSCALL_USER_DISPATCH" },
		{ 62, "PR_SCHED_CORE" }, { 0x53564d41, "PR_SET_VMA" }, N(PR_SET_PTRACER)),
	[FORMAT_ioctl] = LIST("", N(TCGETS), N(TCSETS), N(TCSETSW), N(TCSETSF), N(TCGETA), N(TCSETA), N(TCSETAW),
		N(TCSETAF), N(TCSBRK), N(TCXONC), N(TCFLSH), N(TIOCEXCL), N(TIOCNXCL), N(TIOCSCTTY), N(TIOCGPGRP),
		N(TIOCSPGRP), N(TIOCOUTQ), N(TIOCSTI), N(TIOCGWINSZ), N(TIOCSWINSZ), N(TIOCMGET), N(TIOCMBIS),
		N(TIOCMBIC), N(TIOCMSET), N(TIOCGSOFTCAR), N(TIOCSSOFTCAR), N(FIONREAD), N(TIOCLINUX), N(TIOCCONS),
		N(TIOCPKT), N(FIONBIO), N(TIOCNOTTY), N(TIOCSETD), N(TIOCGETD), N(TCSBRKP), N(TIOCSBRK),
		N(TIOCCBRK), N(TIOCGSID), N(TIOCVHANGUP), N(TIOCGPTN), N(TIOCSPTLCK), N(TIOCGPTPEER), N(FIONCLEX),
		N(FIOCLEX), N(FIOASYNC), N(FIOQSIZE), N(FIBMAP), N(FIGETBSZ), N(FICLONE), N(FICLONERANGE),
		N(FIFREEZE), N(FITHAW), N(FITRIM), N(FS_IOC_GETFLAGS), N(FS_IOC_SETFLAGS), N(BLKGETSIZE64),
		N(BLKGETSIZE), N(BLKSSZGET), UFFD_RW(API, 3), UFFD_RW(REGISTER, 4),
		UFFD_REQUEST(_IOC_READ, UNREGISTER, 2),
		UFFD_REQUEST(_IOC_READ, WAKE, 2), UFFD_RW(COPY, 5),
		UFFD_RW(ZEROPAGE, 4), UFFD_RW(MOVE, 5), UFFD_RW(WRITEPROTECT, 3),
		UFFD_RW(CONTINUE, 4), UFFD_RW(POISON, 4), { UFFD_IOC_NEW, "USERFAULTFD_IOC_NEW" }),
	[FORMAT_prot] = LIST("PROT_???", N(PROT_NONE), N(PROT_READ), N(PROT_WRITE), N(PROT_EXEC), { 8, "PROT_SEM" },
		N(PROT_GROWSDOWN), N(PROT_GROWSUP)),
	[FORMAT_mremap] = LIST("MREMAP_???", N(MREMAP_MAYMOVE), N(MREMAP_FIXED), N(MREMAP_DONTUNMAP)),
	[FORMAT_msync] = LIST("MS_???", N(MS_SYNC), N(MS_ASYNC), N(MS_INVALIDATE)),
	[FORMAT_mlockall] = LIST("MCL_???", N(MCL_CURRENT), N(MCL_FUTURE), N(MCL_ONFAULT)),
	[FORMAT_mlock2] = LIST("MLOCK_???", N(MLOCK_ONFAULT)),
	[FORMAT_access] = LIST("?_OK", N(F_OK), N(R_OK), N(W_OK), N(X_OK)),
	[FORMAT_at] = LIST("AT_???", N(AT_SYMLINK_NOFOLLOW), N(AT_REMOVEDIR), N(AT_SYMLINK_FOLLOW),
		N(AT_NO_AUTOMOUNT), N(AT_EMPTY_PATH), { 0x8000, "AT_RECURSIVE" }),
	[FORMAT_at_access] = LIST("AT_???", N(AT_SYMLINK_NOFOLLOW), N(AT_EACCESS), N(AT_EMPTY_PATH)),
	[FORMAT_statx_mask] = LIST("STATX_???", N(STATX_ALL), N(STATX_BASIC_STATS), N(STATX_TYPE), N(STATX_MODE),
		N(STATX_NLINK), N(STATX_UID), N(STATX_GID), N(STATX_ATIME), N(STATX_MTIME), N(STATX_CTIME),
		N(STATX_INO), N(STATX_SIZE), N(STATX_BLOCKS), N(STATX_BTIME), { 0x1000, "STATX_MNT_ID" },
		{ 0x2000, "STATX_DIOALIGN" }),
	[FORMAT_statx_attr] = LIST("STATX_ATTR_???", N(STATX_ATTR_COMPRESSED), N(STATX_ATTR_IMMUTABLE),
		N(STATX_ATTR_APPEND), N(STATX_ATTR_NODUMP), N(STATX_ATTR_ENCRYPTED), N(STATX_ATTR_AUTOMOUNT),
		{ 0x2000, "STATX_ATTR_MOUNT_ROOT" }, N(STATX_ATTR_VERITY), { 0x200000, "STATX_ATTR_DAX" }),
	[FORMAT_rename] = LIST("RENAME_???", N(RENAME_NOREPLACE), N(RENAME_EXCHANGE), N(RENAME_WHITEOUT)),
	[FORMAT_fallocate] = LIST("FALLOC_FL_???", N(FALLOC_FL_KEEP_SIZE), N(FALLOC_FL_PUNCH_HOLE),
		N(FALLOC_FL_NO_HIDE_STALE), N(FALLOC_FL_COLLAPSE_RANGE), N(FALLOC_FL_ZERO_RANGE),
		N(FALLOC_FL_INSERT_RANGE), N(FALLOC_FL_UNSHARE_RANGE)),
	[FORMAT_getrandom] = LIST("GRND_???", N(GRND_NONBLOCK), N(GRND_RANDOM), { 4, "GRND_INSECURE" }),
	[FORMAT_memfd] = LIST("MFD_???", N(MFD_CLOEXEC), N(MFD_ALLOW_SEALING), N(MFD_HUGETLB)),
	[FORMAT_signalfd] = LIST("SFD_???", N(SFD_CLOEXEC), N(SFD_NONBLOCK)),
	[FORMAT_pidfd_open] = LIST("PIDFD_???", { O_NONBLOCK, "PIDFD_NONBLOCK" }, { O_EXCL, "PIDFD_THREAD" }),
	[FORMAT_pidfd_signal] = LIST("PIDFD_SIGNAL_???", { 1, "PIDFD_SIGNAL_THREAD" },
				     { 2, "PIDFD_SIGNAL_THREAD_GROUP" }, { 4, "PIDFD_SIGNAL_PROCESS_GROUP" }),
	[FORMAT_shmget] = LIST("SHM_???", N(SHM_HUGETLB), N(SHM_NORESERVE), N(IPC_CREAT), N(IPC_EXCL)),
	[FORMAT_shmat] = LIST("SHM_???", N(SHM_RDONLY), N(SHM_RND), N(SHM_REMAP), N(SHM_EXEC)),
	[FORMAT_shmctl] = LIST("SHM_???", N(IPC_RMID), N(IPC_SET), N(IPC_STAT), N(IPC_INFO), N(SHM_LOCK), N(SHM_UNLOCK),
		N(SHM_STAT), N(SHM_INFO), { 15, "SHM_STAT_ANY" }),
	[FORMAT_splice] = LIST("SPLICE_F_???", N(SPLICE_F_MOVE), N(SPLICE_F_NONBLOCK), N(SPLICE_F_MORE), N(SPLICE_F_GIFT)),
	[FORMAT_userfaultfd] = LIST("UFFD_???", { 1, "UFFD_USER_MODE_ONLY" }, N(O_NONBLOCK), N(O_CLOEXEC)),
	[FORMAT_uffd_features] = LIST("UFFD_FEATURE_???", { 1 << 0, "UFFD_FEATURE_PAGEFAULT_FLAG_WP" },
		{ 1 << 1, "UFFD_FEATURE_EVENT_FORK" }, { 1 << 2, "UFFD_FEATURE_EVENT_REMAP" },
		{ 1 << 3, "UFFD_FEATURE_EVENT_REMOVE" }, { 1 << 4, "UFFD_FEATURE_MISSING_HUGETLBFS" },
		{ 1 << 5, "UFFD_FEATURE_MISSING_SHMEM" }, { 1 << 6, "UFFD_FEATURE_EVENT_UNMAP" },
		{ 1 << 7, "UFFD_FEATURE_SIGBUS" }, { 1 << 8, "UFFD_FEATURE_THREAD_ID" },
		{ 1 << 9, "UFFD_FEATURE_MINOR_HUGETLBFS" }, { 1 << 10, "UFFD_FEATURE_MINOR_SHMEM" },
		{ 1 << 11, "UFFD_FEATURE_EXACT_ADDRESS" }, { 1 << 12, "UFFD_FEATURE_WP_HUGETLBFS_SHMEM" },
		{ 1 << 13, "UFFD_FEATURE_WP_UNPOPULATED" }, { 1 << 14, "UFFD_FEATURE_POISON" },
		{ 1 << 15, "UFFD_FEATURE_WP_ASYNC" }, { 1 << 16, "UFFD_FEATURE_MOVE" }),
	[FORMAT_uffd_ioctls] = LIST("_UFFDIO_???", { 1ull << 0, "1<<_UFFDIO_REGISTER" },
		{ 1ull << 1, "1<<_UFFDIO_UNREGISTER" }, { 1ull << 2, "1<<_UFFDIO_WAKE" },
		{ 1ull << 3, "1<<_UFFDIO_COPY" }, { 1ull << 4, "1<<_UFFDIO_ZEROPAGE" },
		{ 1ull << 5, "1<<_UFFDIO_MOVE" }, { 1ull << 6, "1<<_UFFDIO_WRITEPROTECT" },
		{ 1ull << 7, "1<<_UFFDIO_CONTINUE" }, { 1ull << 8, "1<<_UFFDIO_POISON" },
		{ 1ull << 63, "1<<_UFFDIO_API" }),
	[FORMAT_uffd_register] = LIST("UFFDIO_REGISTER_MODE_???", { 1, "UFFDIO_REGISTER_MODE_MISSING" },
		{ 2, "UFFDIO_REGISTER_MODE_WP" }, { 4, "UFFDIO_REGISTER_MODE_MINOR" }),
	[FORMAT_uffd_copy] = LIST("UFFDIO_COPY_MODE_???", { 1, "UFFDIO_COPY_MODE_DONTWAKE" },
		{ 2, "UFFDIO_COPY_MODE_WP" }),
	[FORMAT_uffd_zeropage] = LIST("UFFDIO_ZEROPAGE_???", { 1, "UFFDIO_ZEROPAGE_MODE_DONTWAKE" }),
	[FORMAT_uffd_move] = LIST("UFFDIO_MOVE_MODE_???", { 1, "UFFDIO_MOVE_MODE_DONTWAKE" },
		{ 2, "UFFDIO_MOVE_MODE_ALLOW_SRC_HOLES" }),
	[FORMAT_uffd_writeprotect] = LIST("UFFDIO_WRITEPROTECT_MODE_???", { 1, "UFFDIO_WRITEPROTECT_MODE_WP" },
		{ 2, "UFFDIO_WRITEPROTECT_MODE_DONTWAKE" }),
	[FORMAT_uffd_continue] = LIST("UFFDIO_CONTINUE_MODE_???", { 1, "UFFDIO_CONTINUE_MODE_DONTWAKE" },
		{ 2, "UFFDIO_CONTINUE_MODE_WP" }),
	[FORMAT_uffd_poison] = LIST("UFFDIO_POISON_MODE_???", { 1, "UFFDIO_POISON_MODE_DONTWAKE" }),
	[FORMAT_resolve] = LIST("RESOLVE_???", N(RESOLVE_NO_XDEV), N(RESOLVE_NO_MAGICLINKS), N(RESOLVE_NO_SYMLINKS),
		N(RESOLVE_BENEATH), N(RESOLVE_IN_ROOT), N(RESOLVE_CACHED)),
	[FORMAT_ipcget] = LIST("IPC_???", N(IPC_CREAT), N(IPC_EXCL)),
	[FORMAT_semctl] = LIST("SEM_???", N(IPC_RMID), N(IPC_SET), N(IPC_STAT), N(IPC_INFO), N(GETPID), N(GETVAL), N(GETALL),
		N(GETNCNT), N(GETZCNT), N(SETVAL), N(SETALL), N(SEM_STAT), N(SEM_INFO), { 20, "SEM_STAT_ANY" }),
	[FORMAT_sem_flags] = LIST("SEM_???", N(SEM_UNDO), N(IPC_NOWAIT)),
	[FORMAT_msgctl] = LIST("MSG_???", N(IPC_RMID), N(IPC_SET), N(IPC_STAT), N(IPC_INFO), N(MSG_STAT), N(MSG_INFO),
		{ 13, "MSG_STAT_ANY" }),
	[FORMAT_msgflg] = LIST("MSG_???", N(MSG_NOERROR), N(MSG_EXCEPT), { 040000, "MSG_COPY" }, N(IPC_NOWAIT)),
	[FORMAT_close_range] = LIST("CLOSE_RANGE_???", N(CLOSE_RANGE_UNSHARE), N(CLOSE_RANGE_CLOEXEC)),
	[FORMAT_flock] = LIST("LOCK_???", N(LOCK_SH), N(LOCK_EX), N(LOCK_NB), N(LOCK_UN), { 32, "LOCK_MAND" },
		{ 192, "LOCK_RW" }, { 64, "LOCK_READ" }, { 128, "LOCK_WRITE" }),
	[FORMAT_wait] = LIST("W???", N(WNOHANG), N(WEXITED), N(WSTOPPED), N(WCONTINUED), N(WNOWAIT), N(__WCLONE),
		N(__WALL), N(__WNOTHREAD)),
	[FORMAT_timer] = LIST("TIMER_???", N(TIMER_ABSTIME)),
	[FORMAT_xattr] = LIST("XATTR_???", N(XATTR_CREATE), N(XATTR_REPLACE)),
	[FORMAT_msg] = LIST("MSG_???", N(MSG_OOB), N(MSG_PEEK), N(MSG_DONTROUTE), N(MSG_CTRUNC),
		{ 16, "MSG_PROBE" }, N(MSG_TRUNC), N(MSG_DONTWAIT), N(MSG_EOR), N(MSG_WAITALL), N(MSG_FIN),
		N(MSG_SYN), N(MSG_CONFIRM), N(MSG_RST), N(MSG_ERRQUEUE), N(MSG_NOSIGNAL), N(MSG_MORE),
		N(MSG_WAITFORONE), N(MSG_BATCH), N(MSG_ZEROCOPY), N(MSG_FASTOPEN), N(MSG_CMSG_CLOEXEC)),
	[FORMAT_accept] = LIST("SOCK_???", N(SOCK_CLOEXEC), N(SOCK_NONBLOCK)),
	[FORMAT_o_flags] = LIST("O_???", N(O_CREAT), N(O_EXCL), N(O_NOCTTY), N(O_TRUNC), N(O_APPEND), N(O_NONBLOCK),
		N(O_SYNC), N(O_DSYNC), N(O_DIRECT), { KERNEL_O_LARGEFILE, "O_LARGEFILE" }, N(O_NOFOLLOW),
		N(O_NOATIME), N(O_CLOEXEC), N(O_PATH), N(O_TMPFILE), N(O_DIRECTORY), N(FASYNC)),
	[FORMAT_map_type] = LIST("MAP_???", N(MAP_FILE), N(MAP_SHARED), N(MAP_PRIVATE), N(MAP_SHARED_VALIDATE)),
	[FORMAT_map_flags] = LIST("MAP_???", N(MAP_FIXED), N(MAP_ANONYMOUS), N(MAP_32BIT), N(MAP_NORESERVE),
		N(MAP_POPULATE), N(MAP_NONBLOCK), N(MAP_GROWSDOWN), N(MAP_DENYWRITE), N(MAP_EXECUTABLE),
		N(MAP_LOCKED), N(MAP_STACK), N(MAP_HUGETLB), N(MAP_SYNC), N(MAP_FIXED_NOREPLACE)),
	[FORMAT_fd_flags] = LIST("FD_???", N(FD_CLOEXEC)),
	[FORMAT_seals] = LIST("F_SEAL_???", N(F_SEAL_SEAL), N(F_SEAL_SHRINK), N(F_SEAL_GROW), N(F_SEAL_WRITE),
		N(F_SEAL_FUTURE_WRITE)),
	[FORMAT_lock_type] = LIST("F_???", N(F_RDLCK), N(F_WRLCK), N(F_UNLCK)),
	[FORMAT_sa_flags] = LIST("SA_???", { 0x4000000, "SA_RESTORER" }, N(SA_ONSTACK), N(SA_RESTART),
		N(SA_INTERRUPT), N(SA_NODEFER), N(SA_RESETHAND), N(SA_SIGINFO), N(SA_NOCLDSTOP), N(SA_NOCLDWAIT)),
	[FORMAT_ss_flags] = LIST("SS_???", { 1u << 31, "SS_AUTODISARM" }, N(SS_ONSTACK), N(SS_DISABLE)),
	[FORMAT_poll_events] = LIST("POLL???", N(POLLIN), N(POLLPRI), N(POLLOUT), N(POLLERR), N(POLLHUP),
		N(POLLNVAL), N(POLLRDNORM), N(POLLRDBAND), N(POLLWRNORM), N(POLLWRBAND), N(POLLMSG), N(POLLREMOVE),
		N(POLLRDHUP)),
	[FORMAT_clone_flags] = LIST("CLONE_???", N(CLONE_VM), N(CLONE_FS), N(CLONE_FILES), N(CLONE_SIGHAND),
		{ 0x1000, "CLONE_PIDFD" }, N(CLONE_PTRACE), N(CLONE_VFORK), N(CLONE_PARENT), N(CLONE_THREAD),
		N(CLONE_NEWNS), N(CLONE_SYSVSEM), N(CLONE_SETTLS), N(CLONE_PARENT_SETTID), N(CLONE_CHILD_CLEARTID),
		N(CLONE_UNTRACED), N(CLONE_CHILD_SETTID), N(CLONE_NEWCGROUP), N(CLONE_NEWUTS), N(CLONE_NEWIPC),
		N(CLONE_NEWUSER), N(CLONE_NEWPID), N(CLONE_NEWNET), N(CLONE_IO)),
	[FORMAT_futex_names] = LIST("FUTEX_???", N(FUTEX_WAIT), N(FUTEX_WAKE), N(FUTEX_FD), N(FUTEX_REQUEUE),
		N(FUTEX_CMP_REQUEUE), N(FUTEX_WAKE_OP), N(FUTEX_LOCK_PI), N(FUTEX_UNLOCK_PI), N(FUTEX_TRYLOCK_PI),
		N(FUTEX_WAIT_BITSET), N(FUTEX_WAKE_BITSET), N(FUTEX_WAIT_REQUEUE_PI), N(FUTEX_CMP_REQUEUE_PI),
		{ 13, "FUTEX_LOCK_PI2" }),
	[FORMAT_file_type] = LIST("", N(S_IFREG), N(S_IFDIR), N(S_IFCHR), N(S_IFBLK), N(S_IFIFO), N(S_IFLNK),
		N(S_IFSOCK)),
};

const char *name_of(const struct value_names *names, uint64_t value)
{
	for (size_t i = 0; i < names->nr; i++)
		if ((uint32_t)names->values[i].value == value)
			return names->values[i].name;
	return NULL;
}

void text_enum(struct trace *tr, const struct value_names *names, uint64_t value)
{
	const char *name = name_of(names, value);

	if (name)
		text(tr, "%s", name);
	else
		text(tr, "%#llx /* %s */", (unsigned long long)value, names->unknown);
}

/* @more: print the names after others. A name with several bits stands before the names of its parts. */
static void text_names(struct trace *tr, const struct value_names *names, uint64_t flags, bool more)
{
	uint64_t left = flags;

	for (size_t i = 0; i < names->nr; i++) {
		uint64_t v = names->values[i].value;

		if (!v || (left & v) != v)
			continue;
		text(tr, "%s%s", more ? "|" : "", names->values[i].name);
		more = true;
		left &= ~v;
	}
	if (left && more)
		text(tr, "|%#llx", (unsigned long long)left);
	else if (left)
		text(tr, "%#llx /* %s */", (unsigned long long)left, names->unknown);
}

void text_flags(struct trace *tr, const struct value_names *names, uint64_t flags)
{
	if (flags)
		text_names(tr, names, flags, false);
	else
		text(tr, "%s", name_of(names, 0) ? name_of(names, 0) : "0");
}

static const struct value_names *names_of(const struct trace *tr, unsigned i)
{
	return &strace_names[tr->call->args[i]];
}

bool print_enum(struct trace *tr, unsigned i)
{
	text_enum(tr, names_of(tr, i), (uint32_t)tr->arg[i]);
	return true;
}

bool print_flags(struct trace *tr, unsigned i)
{
	text_flags(tr, names_of(tr, i), (uint32_t)tr->arg[i]);
	return true;
}

bool print_dirfd(struct trace *tr, unsigned i)
{
	if ((int)tr->arg[i] == AT_FDCWD)
		text(tr, "AT_FDCWD");
	else
		text(tr, "%d", (int)tr->arg[i]);
	return true;
}

void text_open_flags(struct trace *tr, uint32_t flags)
{
	static const char *const modes[] = { "O_RDONLY", "O_WRONLY", "O_RDWR", "O_ACCMODE" };

	text(tr, "%s", modes[flags & O_ACCMODE]);
	text_names(tr, &strace_names[FORMAT_o_flags], flags & ~(uint32_t)O_ACCMODE, true);
}

bool print_open(struct trace *tr, unsigned i)
{
	text_open_flags(tr, (uint32_t)tr->arg[i]);
	return true;
}

bool print_map(struct trace *tr, unsigned i)
{
	const uint32_t flags = (uint32_t)tr->arg[i];

	text_enum(tr, &strace_names[FORMAT_map_type], flags & MAP_TYPE);
	text_names(tr, &strace_names[FORMAT_map_flags], flags & ~(MAP_TYPE | HUGE_MASK), true);
	if (flags & HUGE_MASK)
		text(tr, "|%u<<MAP_HUGE_SHIFT", flags >> HUGE_SHIFT);
	return true;
}

bool print_memfd(struct trace *tr, unsigned i)
{
	const uint32_t flags = (uint32_t)tr->arg[i], rest = flags & ~HUGE_MASK;

	if (rest || !flags)
		text_flags(tr, &strace_names[FORMAT_memfd], rest);
	if (flags & HUGE_MASK)
		text(tr, "%s%u<<MFD_HUGE_SHIFT", rest ? "|" : "", flags >> HUGE_SHIFT);
	return true;
}

bool print_statx_at(struct trace *tr, unsigned i)
{
	static const char *const sync[] = { "AT_STATX_SYNC_AS_STAT", "AT_STATX_FORCE_SYNC", "AT_STATX_DONT_SYNC",
					    "AT_STATX_FORCE_SYNC|AT_STATX_DONT_SYNC" };
	const uint32_t flags = (uint32_t)tr->arg[i], mask = AT_STATX_SYNC_TYPE;

	text(tr, "%s", sync[(flags & mask) / AT_STATX_FORCE_SYNC]);
	text_names(tr, &strace_names[FORMAT_at], flags & ~mask, true);
	return true;
}

void text_mode(struct trace *tr, uint32_t mode)
{
	const char *type = name_of(&strace_names[FORMAT_file_type], mode & S_IFMT);

	if (type)
		text(tr, "%s|%#03o", type, mode & ~(uint32_t)S_IFMT);
	else
		text(tr, "%#03o", mode);
}

bool print_ioctl(struct trace *tr, unsigned i)
{
	static const char *const directions[] = { "_IOC_NONE", "_IOC_WRITE", "_IOC_READ", "_IOC_READ|_IOC_WRITE" };
	const uint32_t request = (uint32_t)tr->arg[i];
	const char *name = name_of(&strace_names[FORMAT_ioctl], request);

	if (name)
		text(tr, "%s", name);
	else
		text(tr, "_IOC(%s, %#x, %#x, %#x)", directions[_IOC_DIR(request)], _IOC_TYPE(request), _IOC_NR(request),
		     _IOC_SIZE(request));
	return true;
}

/* --- signals --- */

static void text_signal_name(struct trace *tr, int signo)
{
	const char *name = signo == SIGIO ? "IO" : sigabbrev_np(signo);	/* glibc has its other name, POLL */

	if (name)
		text(tr, "%s", name);
	else if (signo == 32)
		text(tr, "RTMIN");
	else
		text(tr, "RT_%d", signo - 32);
}

void text_signal(struct trace *tr, int signo)
{
	if (signo < 1 || signo > 64) {
		text(tr, "%d", signo);
		return;
	}
	text(tr, "SIG");
	text_signal_name(tr, signo);
}

bool print_signal(struct trace *tr, unsigned i)
{
	text_signal(tr, (int)tr->arg[i]);
	return true;
}

/* A set of most signals is printed as its complement. */
void text_sigset(struct trace *tr, uint64_t set)
{
	const char *separator = "";

	if (__builtin_popcountll(set) >= 64 * 2 / 3) {
		text(tr, "~");
		set = ~set;
	}
	text(tr, "[");
	for (int signo = 1; signo <= 64; signo++) {
		if (!(set >> (signo - 1) & 1))
			continue;
		text(tr, "%s", separator);
		text_signal_name(tr, signo);
		separator = " ";
	}
	text(tr, "]");
}
