"""Ends a child as the interpreter would end it, at a quarter of the cost."""

from __future__ import annotations

import atexit
import contextlib
import gc
import io
import os
import sys
import warnings
import weakref

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType


class Before:
    """What was there before the script: modules, functions to be called at exit, filters of warnings."""

    def __init__(self) -> None:
        self.modules = frozenset(sys.modules)
        self.callbacks = atexit._ncallbacks()
        self.filters = list(warnings.filters)


def leave_quickly(status: int, before: Before) -> None:
    """
    End this process as Py_FinalizeEx does for what the script has made, and leave alone what was there before.

    That would be three quarters of the time of a call. Returns where anything is out of the ordinary: other threads,
    functions to be called at exit, warnings about what is left open, modules in C that are not the standard
    library's, output that cannot be written.
    """
    if len(sys._current_frames()) > 1 or atexit._ncallbacks() != before.callbacks:
        return
    if sys.warnoptions or sys.flags.dev_mode or warnings.filters != before.filters or not flushed():
        return
    names = new_modules(before)
    if any(is_foreign(name) for name in names):
        return
    threading = sys.modules.get("threading")
    if threading is not None:
        threading._shutdown()
    atexit._run_exitfuncs()
    if len(sys._current_frames()) > 1 or not flushed():
        return
    if gc.isenabled():
        gc.collect()  # not for nothing: it puts files before what they write to, in the order of the next collection
    sys.stdin, sys.stdout, sys.stderr = sys.__stdin__, sys.__stdout__, sys.__stderr__
    modules = []
    for name in ("__main__", *names):
        if isinstance(sys.modules.get(name), type(sys)):
            modules.append(weakref.ref(sys.modules[name]))
        sys.modules[name] = None  # type: ignore[assignment]
    # Nothing can be imported any more, not even what would show lines of source.
    sys.meta_path = sys.path_hooks = None  # type: ignore[assignment]
    sys.modules["io"] = sys.modules["traceback"] = None  # type: ignore[assignment]
    gc.collect()
    for reference in reversed(modules):
        clear(reference())
    gc.collect()
    flush_files()
    os._exit(status & 0xFF if flushed() else 120)


def new_modules(before: Before) -> list[str]:
    """
    What the script has imported, in that order.

    Looking at a name counts a reference to it, so that the page it lies in is copied: hence only at the newest.
    """
    names = []
    for name in reversed(sys.modules):
        if name in before.modules:
            break
        names.append(name)
    if len(sys.modules) - len(names) != len(before.modules):  # some were removed, or put there anew
        names = [name for name in sys.modules if name not in before.modules]
        names.reverse()
    return names[::-1]


def is_foreign(name: str) -> bool:
    """Whether the module is one in C that may have something to do at the end of the process."""
    file = getattr(sys.modules[name], "__file__", None) or ""
    return file.endswith(".so") and (name in ("_ctypes", "readline") or "lib-dynload" not in file)


def flushed() -> bool:
    """Write out standard output and error; whether that could be done."""
    try:
        for stream in (sys.stdout, sys.stderr):
            if stream is not None and not stream.closed:
                stream.flush()
    except BaseException:
        return False
    return True


def flush_files() -> None:
    """Write out what files still hold that are kept alive by what was here before."""
    for each in gc.get_objects():
        if type(each) in (io.TextIOWrapper, io.BufferedWriter, io.BufferedRandom):
            with contextlib.suppress(Exception):  # closed, or broken: nobody hears of that in a fresh process either
                each.flush()


def clear(module: ModuleType | None) -> None:
    """Let go of what a module holds, its private names first (_PyModule_Clear)."""
    if module is None:
        return
    names = vars(module)
    for name in list(names):
        if name[:1] == "_" and name[1:2] != "_":
            names[name] = None
    for name in list(names):
        if name != "__builtins__":
            names[name] = None
