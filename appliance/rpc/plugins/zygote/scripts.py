"""Scripts, each compiled once; and when they, or Python itself, have changed."""

from __future__ import annotations

import contextlib
import gc
import os
import sys
import time
import warnings

TYPE_CHECKING = False
if TYPE_CHECKING or __package__:
    from appliance.rpc.plugins.zygote.ending import Before
else:
    from ending import Before

if TYPE_CHECKING:
    from types import CodeType

# Modules without a life of their own: nothing that they do at import, or keep, differs in a fresh process. Those that
# scripts do not name stay out, for each fork pays for what is there.
COMMON = frozenset(
    (
        *("abc", "argparse", "base64", "binascii", "bisect", "calendar", "collections", "collections.abc"),
        *("configparser", "contextlib", "copy", "csv", "dataclasses", "datetime", "decimal", "enum", "errno", "fcntl"),
        *("fnmatch", "functools", "getpass", "glob", "grp", "gzip", "hashlib", "heapq", "hmac", "html", "http.client"),
        *("io", "ipaddress", "itertools", "json", "locale", "logging", "math", "operator", "pathlib", "pprint", "pwd"),
        *("queue", "random", "re", "secrets", "select", "shlex", "shutil", "signal", "socket", "sqlite3", "ssl"),
        *("stat", "string", "struct", "subprocess", "syslog", "tarfile", "tempfile", "textwrap", "threading", "time"),
        *("traceback", "types", "typing", "unicodedata", "urllib", "urllib.error", "urllib.parse", "urllib.request"),
        *("uuid", "warnings", "xml.etree.ElementTree", "zipfile", "zlib", "zoneinfo"),
    )
)

CODE_LIMIT = 256
SETTLED = 0.1
"""Seconds after which a change of a file shows in its times for sure."""


class Cold(Exception):
    """A call that must have a process of its own; the text says why."""


def names_in(code: CodeType) -> set[str]:
    """The names in a script and its functions, those of modules among them."""
    names = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, type(code)):
            names |= names_in(constant)
    return names


def world() -> list[tuple[int, ...] | None]:
    """What a fresh start would read anew: the interpreter, its library, the folders of packages, the time zone."""
    environment = os.path.join(os.path.dirname(os.path.dirname(sys.executable)), "pyvenv.cfg")
    return [mark(path) for path in (sys.executable, environment, os.__file__, "/etc/localtime", *sys.path)]


def mark(path: str) -> tuple[int, ...] | None:
    """What differs between two states of a file; None where there is none."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


class Scripts:
    """Scripts, each compiled once, and the modules that they have in common; `before` is what is there by now."""

    def __init__(self, at_start: frozenset[str], *, beside: bool) -> None:
        """`at_start` were there when Python had started; with `beside` scripts may have modules beside them."""
        self.before = Before()
        self._at_start = at_start
        self._beside = beside
        self._ours: frozenset[str] = frozenset()
        self._codes: dict[str, tuple[tuple[int, ...] | None, CodeType | None]] = {}
        self._load(set())

    def code(self, path: str) -> CodeType:
        """The compiled script as it is now. Raises `Cold`."""
        state = mark(path)
        known, code = self._codes.get(path, (None, None))
        if state is None or state != known:
            code = self._compiled(path)
            if len(self._codes) >= CODE_LIMIT:
                self._codes.clear()
            if state is not None and abs(time.time() - state[-1] / 1e9) > SETTLED:
                self._codes[path] = state, code
        if code is None:
            raise Cold("it cannot be compiled, or warns")
        if self._beside:
            self._refuse_shadows(os.path.dirname(os.path.realpath(path)))
        return code

    def _compiled(self, path: str) -> CodeType | None:
        """None where compiling has something to say, which the script's own standard error must get."""
        try:
            with open(path, "rb") as file:
                source = file.read()
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                code = compile(source, path, "exec", dont_inherit=True)
        except Exception:
            return None
        if caught:
            return None
        wanted = names_in(code).intersection(COMMON).difference(sys.modules)
        if wanted:
            self._load(wanted)
        return code

    def _load(self, names: set[str]) -> None:
        """Import modules; all that is there now belongs to this process, and costs its children nothing."""
        for name in names:
            with contextlib.suppress(Exception):  # what a script cannot import tells the script so
                __import__(name)
        self.before = Before()
        loaded = {name.partition(".")[0] for name in self.before.modules - self._at_start}
        self._ours = frozenset(loaded.difference(sys.builtin_module_names))
        gc.collect()
        gc.freeze()

    def _refuse_shadows(self, folder: str) -> None:
        """A fresh start would take these modules from the script's own folder."""
        for entry in os.listdir(folder):
            name, dot, suffix = entry.partition(".")
            if name not in self._ours:
                continue
            if suffix.endswith(("py", "pyc", "so")) or (not dot and os.path.isdir(os.path.join(folder, entry))):
                raise Cold(f"beside it lies another module {name}")
