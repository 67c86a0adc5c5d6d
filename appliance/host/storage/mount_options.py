"""The mount options that may be asked for; what is not here is refused.

From mount(8) and the manual pages of the file systems. Left out is what gives rights to others (`user`, `suid`, `dev`),
what names files or devices, what hands work to helper programs (`x-…`, `loop`, `helper`), and what may bring the whole
machine down (`errors=panic`). `nosuid` and `nodev` are always added: what a disk brings along from elsewhere must not
make anybody root.
"""

import re
from collections.abc import Mapping

from appliance.host.errors import Invalid

ALWAYS = ("nosuid", "nodev")
LIMIT = 1024
"""Characters of all options together."""
_FIELD = "options"

_FLAG = ""  # takes no value
_NUMBER = r"[0-9]{1,10}"
_SIZE = r"[0-9]{1,10}[kmg]?"
_MODE = r"0?[0-7]{1,4}"
_WORD = r"[a-z0-9_-]{1,32}"
_CHARSET = r"[A-Za-z0-9_-]{1,32}"
_SUBVOLUME = r"/?(?!\.\.?(/|$))[A-Za-z0-9@_.+-]{1,255}(/(?!\.\.?(/|$))[A-Za-z0-9@_.+-]{1,255}){0,15}"

Table = Mapping[str, str]
"""The pattern of each option's value; an option that may come without one has it in brackets."""


def _flags(*names: str) -> dict[str, str]:
    return dict.fromkeys(names, _FLAG)


_GENERAL: Table = _flags(
    *("defaults", "ro", "rw", "exec", "noexec", "nosuid", "nodev", "sync", "async", "dirsync", "silent", "loud"),
    *("atime", "noatime", "diratime", "nodiratime", "relatime", "norelatime", "strictatime", "nostrictatime"),
    *("lazytime", "nolazytime", "iversion", "noiversion"),
)
_EXT2: Table = {
    **_flags("acl", "noacl", "user_xattr", "nouser_xattr", "grpid", "nogrpid", "quota", "noquota", "usrquota"),
    **_flags("grpquota", "prjquota"),
    "errors": "continue|remount-ro",
}
_EXT4: Table = {
    **_EXT2,
    **_flags("discard", "nodiscard", "barrier", "nobarrier", "delalloc", "nodelalloc", "noload", "norecovery"),
    **_flags("auto_da_alloc", "noauto_da_alloc", "journal_checksum", "nojournal_checksum", "noinit_itable"),
    "commit": _NUMBER,
    "data": "journal|ordered|writeback",
    "init_itable": f"({_NUMBER})?",
    "stripe": _NUMBER,
}
_XFS: Table = {
    **_flags("discard", "nodiscard", "inode32", "inode64", "largeio", "nolargeio", "noalign", "norecovery", "nouuid"),
    **_flags("quota", "noquota", "uquota", "usrquota", "gquota", "grpquota", "pquota", "prjquota", "swalloc", "wsync"),
    "allocsize": _SIZE,
    "logbsize": _SIZE,
    "logbufs": _NUMBER,
    "sunit": _NUMBER,
    "swidth": _NUMBER,
}
_BTRFS: Table = {
    **_flags("acl", "noacl", "autodefrag", "noautodefrag", "barrier", "nobarrier", "datacow", "nodatacow", "datasum"),
    **_flags("nodatasum", "degraded", "nodiscard", "flushoncommit", "noflushoncommit", "ssd", "nossd", "ssd_spread"),
    **_flags("nossd_spread", "treelog", "notreelog", "nospace_cache", "skip_balance"),
    "commit": _NUMBER,
    "compress": r"((zlib|lzo|zstd)(:[0-9]{1,2})?|no|none)?",
    "compress-force": r"((zlib|lzo|zstd)(:[0-9]{1,2})?)?",
    "discard": "(sync|async)?",
    "max_inline": _SIZE,
    "space_cache": "(v1|v2)?",
    "subvol": _SUBVOLUME,
    "subvolid": _NUMBER,
    "thread_pool": _NUMBER,
}
_OWNED: Table = {"uid": _NUMBER, "gid": _NUMBER, "umask": _MODE, "fmask": _MODE, "dmask": _MODE, "iocharset": _CHARSET}
_FAT: Table = {
    **_OWNED,
    **_flags("flush", "quiet", "showexec", "discard", "utf8", "nonumtail", "usefree"),
    "codepage": _NUMBER,
    "errors": "continue|remount-ro",
    "shortname": "lower|win95|winnt|mixed",
    "tz": "UTC",
}

BY_FILESYSTEM: Mapping[str, Table] = {
    "btrfs": _BTRFS,
    "erofs": {},
    "exfat": {**_OWNED, **_flags("discard"), "errors": "continue|remount-ro", "time_offset": r"-?[0-9]{1,4}"},
    "ext2": _EXT2,
    "ext3": _EXT4,
    "ext4": _EXT4,
    "f2fs": {**_flags("discard", "nodiscard", "acl", "noacl", "user_xattr"), "background_gc": "on|off|sync"},
    "iso9660": {**_flags("norock", "nojoliet"), "uid": _NUMBER, "gid": _NUMBER, "mode": _MODE, "iocharset": _CHARSET},
    "ntfs3": {**_OWNED, **_flags("discard", "nohidden", "sparse", "showmeta", "prealloc", "windows_names")},
    "squashfs": {},
    "udf": {"uid": _NUMBER, "gid": _NUMBER, "umask": _MODE, "mode": _MODE, "dmode": _MODE, "iocharset": _CHARSET},
    "vfat": _FAT,
    "xfs": _XFS,
}
"""The file systems that may be mounted, each with the options of its own."""


def parse_options(text: str, filesystem: str) -> str:
    """The argument of `mount -o` for the options `text`, comma-separated as in fstab(5). Raises `Invalid`."""
    given = [part.strip(" ") for part in text.split(",")] if text.strip(" ") else []
    for option in given:
        _check(option, filesystem)
    return ",".join([*ALWAYS, *(option for option in given if option not in ("defaults", *ALWAYS))])


def _check(option: str, filesystem: str) -> None:
    name, separator, value = option.partition("=")
    if name in ("suid", "dev"):
        raise Invalid(_FIELD, f"{name} is not allowed: file systems are mounted nosuid and nodev")
    pattern = BY_FILESYSTEM[filesystem].get(name, _GENERAL.get(name))
    if pattern is None:
        raise Invalid(_FIELD, f"{_shown(name)} is not allowed for {filesystem}")
    if not separator:
        if pattern and not re.fullmatch(pattern, ""):
            raise Invalid(_FIELD, f"{name} needs a value")
    elif not pattern or not value or not re.fullmatch(pattern, value):
        raise Invalid(_FIELD, f"{name} does not take {_shown(value)}")


def _shown(text: str) -> str:
    return repr(text[:40]) if text else "an empty value"
