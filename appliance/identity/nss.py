"""
What the name service (nsswitch.conf(5)) knows of a user.

Every function blocks, on a directory service for seconds: call them in a thread. Two things are asked through libc
itself, by ctypes, which lets other threads run meanwhile: `os.getgrouplist` does not, and Python 3.13 dropped `spwd`.
getspnam_r(3) and not /etc/shadow, since that is only one of the places nsswitch.conf may name, and not
`getent shadow`, since a process of its own would be asked at every use of an account.
"""

import ctypes
import errno
import grp
import os
import pwd
import re
import time
from dataclasses import dataclass
from pathlib import Path

from appliance.files import FileTooLarge, NotARegularFile, read_limited

_SWITCH = Path("/etc/nsswitch.conf")
_SWITCH_LIMIT = 1 << 16
_OF_THIS_MACHINE = frozenset({"files", "compat", "db", "systemd", "extrausers", "altfiles"})
"""Sources that are never out of reach."""

_SECONDS_A_DAY = 86400
_MAX_BUFFER = 1 << 20
_MAX_GROUPS = 65536  # NGROUPS_MAX of Linux


class _Spwd(ctypes.Structure):
    """`struct spwd` of shadow(3)."""

    _fields_ = [  # type: ignore[mutable-override]  # as ctypes' own annotation has it
        ("name", ctypes.c_char_p),
        ("password", ctypes.c_char_p),
        ("last_change", ctypes.c_long),
        ("min", ctypes.c_long),
        ("max", ctypes.c_long),
        ("warn", ctypes.c_long),
        ("inactive", ctypes.c_long),
        ("expire", ctypes.c_long),
        ("flag", ctypes.c_ulong),
    ]


_libc = ctypes.CDLL(None)
_libc.getspnam_r.argtypes = [
    ctypes.c_char_p,
    ctypes.POINTER(_Spwd),
    ctypes.c_void_p,
    ctypes.c_size_t,
    ctypes.POINTER(ctypes.c_void_p),
]
_libc.getspnam_r.restype = ctypes.c_int
_libc.getgrouplist.argtypes = [
    ctypes.c_char_p,
    ctypes.c_uint,
    ctypes.POINTER(ctypes.c_uint),
    ctypes.POINTER(ctypes.c_int),
]
_libc.getgrouplist.restype = ctypes.c_int


@dataclass(frozen=True, slots=True)
class Account:
    """A user as the machine knows him.

    `groups` holds names, the primary group's too. `locked`: the password is locked (`usermod -L`). `expired`: the
    account's day has come (`chage -E`), or its password was left expired for too long (`chage -I`). A password that
    must be changed (`chage -d 0`) is neither. Where the shadow file may not be read (we are not root) both are False.
    """

    name: str
    uid: int
    gid: int
    home: str
    shell: str
    groups: frozenset[str]
    locked: bool
    expired: bool


def read_account(name: str) -> Account | None:
    """The user of that name, None where there is none. Raises `OSError` when the name service fails."""
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        return None
    locked, expired = _shadow_state(entry.pw_name, entry.pw_passwd)
    return Account(
        name=entry.pw_name,
        uid=entry.pw_uid,
        gid=entry.pw_gid,
        home=entry.pw_dir,
        shell=entry.pw_shell,
        groups=frozenset(_group_names(entry.pw_name, entry.pw_gid)),
        locked=locked,
        expired=expired,
    )


def absence_is_certain(switch: Path = _SWITCH) -> bool:
    """Whether a user who is not found does not exist, and is not merely out of reach just now.

    A directory that is down or being restarted looks to getpwnam(3) as if nobody were in it; so do damaged files.
    """
    try:
        pwd.getpwuid(0)
        text = read_limited(switch, _SWITCH_LIMIT).decode("utf-8", "replace")
    except FileNotFoundError:
        return True  # then there are the files only
    except (KeyError, OSError, FileTooLarge, NotARegularFile):
        return False
    sources = {
        word
        for line in text.splitlines()
        if line.partition("#")[0].strip().startswith("passwd:")
        for word in re.sub(r"\[.*?\]", " ", line.partition("#")[0]).split(":", 1)[1].split()
    }
    return sources <= _OF_THIS_MACHINE


def _group_names(name: str, gid: int) -> list[str]:
    names = []
    for number in group_numbers(name, gid):
        try:
            names.append(grp.getgrgid(number).gr_name)
        except KeyError:
            continue  # a number that has no name (any more)
    return names


def group_numbers(name: str, gid: int) -> list[int]:
    """All groups of a user, `gid`, the primary one, among them. Raises `OSError` for one who has too many."""
    count = ctypes.c_int(64)
    while True:
        room = count.value
        numbers = (ctypes.c_uint * room)()
        if _libc.getgrouplist(os.fsencode(name), gid, numbers, ctypes.byref(count)) >= 0:
            return list(numbers[: count.value])
        if room >= _MAX_GROUPS:
            raise OSError(errno.E2BIG, f"user {name} is in too many groups")
        count.value = max(count.value, 2 * room)


def _shadow_state(name: str, password: str) -> tuple[bool, bool]:
    """Locked and expired. `password` is the field of passwd(5), for a user without a shadow entry."""
    entry = _Spwd()
    found = ctypes.c_void_p()
    size = 1024
    while True:
        buffer = ctypes.create_string_buffer(size)
        try:
            error = _libc.getspnam_r(os.fsencode(name), entry, buffer, size, ctypes.byref(found))
            if error != errno.ERANGE or size >= _MAX_BUFFER:
                if error not in (0, errno.ENOENT, errno.EACCES, errno.EPERM):
                    raise OSError(error, f"shadow entry of {name}: {os.strerror(error)}")
                if found.value is None:
                    return password.startswith("!"), False
                return bool(entry.password) and entry.password.startswith(b"!"), _is_expired(entry)
        finally:
            ctypes.memset(buffer, 0, size)  # the hash
        size *= 4


def _is_expired(entry: _Spwd) -> bool:
    """As pam_unix decides (check_shadow_expiry in its passverify.c); fields that are not set are -1."""
    today = int(time.time() // _SECONDS_A_DAY)
    if 0 <= entry.expire <= today:
        return True
    if entry.last_change <= 0 or entry.max < 0 or entry.inactive < 0:
        return False
    return bool(today > entry.last_change + entry.max + entry.inactive)
