"""
What the password helper gives up before it sees its first password.

Standard library only, through libc: prctl(2), capset(2). It stays root where the server is: PAM's modules read
/etc/shadow. No PR_SET_NO_NEW_PRIVS: it would take the set-group-ID from unix_chkpwd and the set-user-ID from su.
"""

import contextlib
import ctypes
import os
import resource
from collections.abc import Iterable

NICENESS = 5
"""A password hash costs 50 ms of CPU: the server's other requests go first."""

CAPABILITIES = {
    "CAP_CHOWN": 0,  # pam_faillock gives each user's tally to that user
    "CAP_DAC_OVERRIDE": 1,  # modules that write a user's own file: tallies, used one-time codes
    "CAP_DAC_READ_SEARCH": 2,  # /etc/shadow has mode 0000 on Fedora and its kin
    "CAP_FOWNER": 3,  # … and set its mode
    "CAP_KILL": 5,  # ours: ends checks whose module or su runs as another user
    "CAP_SETGID": 6,  # modules that read a file as the user (one-time codes), and our own way to su
    "CAP_SETUID": 7,
    "CAP_AUDIT_WRITE": 29,  # libpam and unix_chkpwd report to the kernel's audit log
}
"""What checking by PAM takes, with the numbers of linux/capability.h."""

SU_CAPABILITIES = CAPABILITIES | {
    "CAP_SYS_NICE": 23,  # su opens a session, in which pam_limits sets the user's limits and priority
    "CAP_SYS_RESOURCE": 24,
}

_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_PR_CAPBSET_DROP = 24
_PR_SET_CHILD_SUBREAPER = 36
_CAPABILITY_VERSION_3 = 0x20080522

_libc = ctypes.CDLL(None, use_errno=True)


def confine() -> None:
    """No core dumps, no tracing, no descriptors but 0–2, private files, and orphans of our children come to us."""
    for name in os.listdir("/proc/self/fd"):
        if int(name) > 2:
            with contextlib.suppress(OSError):  # the one that listed the directory, closed since
                os.close(int(name))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _prctl(_PR_SET_DUMPABLE, 0)
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    os.umask(0o077)
    os.nice(NICENESS)


def keep_capabilities(numbers: Iterable[int]) -> None:
    """Give up every other capability, for us and all that we start; without root there are none. Raises `OSError`."""
    if os.geteuid() != 0:
        return
    kept = set(numbers)
    for number in range(64):
        if number not in kept and not _drop_from_bounding_set(number):
            break
    # struct __user_cap_header_struct, and two of struct __user_cap_data_struct for 32 capabilities each.
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    sets = (ctypes.c_uint32 * 6)()
    _checked(_libc.capget(header, sets))
    for word in (0, 1):
        permitted = sets[3 * word + 1] & sum(1 << number % 32 for number in kept if number // 32 == word)
        sets[3 * word : 3 * word + 3] = [permitted, permitted, 0]  # effective, permitted, inheritable
    _checked(_libc.capset(header, sets))


def die_with_parent(parent: int, number: int) -> None:
    """Have the kernel send us signal `number` when `parent`, who forked us, is gone. Raises `OSError`."""
    _prctl(_PR_SET_PDEATHSIG, number)
    if os.getppid() != parent:
        os.kill(os.getpid(), number)


def _drop_from_bounding_set(number: int) -> bool:
    """False where there is no such capability, or (in a container) we may not: capset takes it from us anyway."""
    return bool(_libc.prctl(_PR_CAPBSET_DROP, ctypes.c_ulong(number), *[ctypes.c_ulong(0)] * 3) == 0)


def _prctl(option: int, value: int) -> None:
    _checked(_libc.prctl(option, ctypes.c_ulong(value), *[ctypes.c_ulong(0)] * 3))


def _checked(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
