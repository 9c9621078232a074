"""The container's seccomp profile: an allow list, for all that runs in it, the worker included.

It stands where Docker's default would, and names less: nothing that needs a capability, since the
container has none. The filter that a program gets inside (``sandbox.inside.confine``) comes on top;
both read the same tables for what depends on a call's arguments.
"""

from __future__ import annotations

import errno
import json
from typing import Any

from sandbox.inside.confine import ALLOWED_ARGUMENTS, NEW_NAMESPACES

ALLOWED = (
    # Files and directories.
    "access chdir chmod chown close close_range copy_file_range creat dup dup2 dup3 faccessat "
    "faccessat2 fadvise64 fallocate fchdir fchmod fchmodat fchmodat2 fchown fchownat fcntl fdatasync "
    "fgetxattr file_getattr flistxattr flock fremovexattr fsetxattr fstat fstatfs fsync ftruncate "
    "futimesat getcwd getdents getdents64 getxattr getxattrat inotify_add_watch inotify_init "
    "inotify_init1 inotify_rm_watch ioctl lchown lgetxattr link linkat listxattr listxattrat "
    "llistxattr lremovexattr lseek lsetxattr lstat memfd_create mkdir mkdirat mknod mknodat "
    "newfstatat open openat openat2 pipe pipe2 pread64 preadv preadv2 pwrite64 pwritev pwritev2 read "
    "readahead readlink readlinkat readv removexattr removexattrat rename renameat renameat2 rmdir "
    "sendfile setxattr setxattrat splice stat statfs statx symlink symlinkat sync sync_file_range "
    "syncfs tee truncate umask unlink unlinkat utime utimensat utimes vmsplice write writev "
    # Waiting for several of them; clocks.
    "alarm clock_getres clock_gettime clock_nanosleep epoll_create epoll_create1 epoll_ctl "
    "epoll_pwait epoll_pwait2 epoll_wait eventfd eventfd2 getitimer gettimeofday nanosleep pause poll "
    "ppoll pselect6 select setitimer signalfd signalfd4 time timer_create timer_delete "
    "timer_getoverrun timer_gettime timer_settime timerfd_create timerfd_gettime timerfd_settime "
    # Memory.
    "brk cachestat madvise map_shadow_stack membarrier memfd_secret mincore mlock mlock2 mlockall "
    "mmap mprotect mremap mseal msync munlock munlockall munmap pkey_alloc pkey_free pkey_mprotect "
    # Processes, threads, signals, and who they are.
    "arch_prctl capget capset execve execveat exit exit_group fork futex futex_requeue futex_wait "
    "futex_waitv futex_wake get_robust_list get_thread_area getcpu getegid geteuid getgid getgroups "
    "getpgid getpgrp getpid getppid getpriority getrandom getresgid getresuid getrlimit getrusage "
    "getsid gettid getuid ioprio_get kill pidfd_open pidfd_send_signal prctl restart_syscall rseq "
    "rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend "
    "rt_sigtimedwait rt_tgsigqueueinfo sched_get_priority_max sched_get_priority_min "
    "sched_getaffinity sched_getattr sched_getparam sched_getscheduler sched_rr_get_interval "
    "sched_yield set_robust_list set_thread_area set_tid_address setfsgid setfsuid setgid setgroups "
    "setpgid setregid setresgid setresuid setreuid setrlimit setsid setuid sigaltstack sysinfo tgkill "
    "times tkill uname vfork wait4 waitid "
    # Sockets of the families that `socket` may make.
    "accept accept4 bind connect getpeername getsockname getsockopt listen recvfrom recvmmsg recvmsg "
    "sendmmsg sendmsg sendto setsockopt shutdown "
    # What the worker confines programs with.
    "landlock_add_rule landlock_create_ruleset landlock_restrict_self seccomp"
)
"""Names of calls that any argument is fine for; a name that a machine doesn't have changes nothing.

``ioctl`` is whole, for a profile compares 64 bits where the kernel reads 32: what it forbids by value
would pass with a bit set above. The container has no terminal, and the filter inside reads 32.
"""


def docker_profile() -> str:
    """The JSON for ``security_opt``'s ``seccomp=``; Docker 20.10.10 and later read all of it.

    Earlier ones drop the error number of ``clone3``, and threads don't start where libc tries it.
    """
    rules: list[dict[str, Any]] = [
        {"names": ALLOWED.split(), "action": "SCMP_ACT_ALLOW"},
        # As inside: flags that are out of reach, and libc takes clone where this one doesn't exist.
        {"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": errno.ENOSYS},
        _allowed("clone", [_compare(0, "SCMP_CMP_MASKED_EQ", NEW_NAMESPACES)]),
    ]
    for name, alternatives in ALLOWED_ARGUMENTS.items():
        for values in alternatives:
            rules.append(_allowed(name, [_compare(i, "SCMP_CMP_EQ", v) for i, v in values.items()]))
    native = ("SCMP_ARCH_X86_64", "SCMP_ARCH_AARCH64")
    profile = {
        "defaultAction": "SCMP_ACT_ERRNO",
        "archMap": [{"architecture": name, "subArchitectures": []} for name in native],
        "syscalls": rules,
    }
    return json.dumps(profile, separators=(",", ":"))


def _allowed(name: str, comparisons: list[dict[str, Any]]) -> dict[str, Any]:
    return {"names": [name], "action": "SCMP_ACT_ALLOW", "args": comparisons}


def _compare(index: int, operator: str, value: int) -> dict[str, Any]:
    """One comparison; a masked one takes ``value`` as the mask, and wants 0 under it."""
    return {"index": index, "value": value, "valueTwo": 0, "op": operator}
