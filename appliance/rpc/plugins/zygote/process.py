"""The forked child: becomes a process that seems to have been started for the script, and runs it."""

from __future__ import annotations

import os
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING or __package__:
    from appliance.rpc.plugins.zygote.ending import Before, leave_quickly
else:
    from ending import Before, leave_quickly

if TYPE_CHECKING:
    from types import CodeType
    from typing import Any

STANDARD = 4
"""Descriptors that a script is started with."""

NOT_BEGUN = 125


class Task:
    """What a forked child is to do."""

    def __init__(
        self,
        path: str,
        folder: str,
        arguments: list[str],
        code: CodeType,
        before: Before,
        descriptors: list[int],
        gate: int,
    ) -> None:
        """`folder` is where the script lies, `before` what is there before it; it waits for a byte in `gate`."""
        self.folder = folder
        self.before = before
        self.path = path
        self.arguments = arguments
        self.code = code
        self.descriptors = descriptors
        self.gate = gate


def become(task: Task, fresh: dict[str, Any], *, beside: bool) -> dict[str, Any]:
    """Make this process one that was started for the script; return the namespace of its `__main__`.

    `fresh` is the namespace as the interpreter makes it; with `beside` the script's folder is on the path.
    """
    os.setsid()
    for number, descriptor in enumerate(task.descriptors):
        os.dup2(descriptor, number)
    for descriptor in task.descriptors:
        if descriptor >= STANDARD:
            os.close(descriptor)
    tell_name(task.path)
    cache = sys.path_importer_cache  # where Python notes whether a script is a folder or archive
    cache[task.path] = cache.pop(fresh["__file__"], None)
    sys.argv = [task.path, *task.arguments]
    if hasattr(sys, "orig_argv"):
        sys.orig_argv[-1:] = sys.argv
    if beside:
        sys.path.insert(0, task.folder)
    logging = sys.modules.get("logging")
    if logging is not None:
        began = time.time_ns()
        logging._startTime = began if isinstance(logging._startTime, int) else began / 1e9  # type: ignore[attr-defined]
    if os.read(task.gate, 1) != b"g":
        os._exit(NOT_BEGUN)  # the zygote died before it could say that we are here: so we are not
    os.close(task.gate)
    module = type(sys)("__main__")
    namespace = vars(module)
    namespace.clear()
    namespace.update(fresh, __doc__=None, __file__=task.path)
    namespace["__loader__"] = type(fresh["__loader__"])("__main__", task.path)
    if "__annotations__" in namespace:
        namespace["__annotations__"] = {}
    sys.modules["__main__"] = module
    return namespace


def tell_name(path: str) -> None:
    """Let ps(1) and top(1) show the script's name, as they do of a process that was started for it."""
    try:
        name = os.open("/proc/self/comm", os.O_WRONLY)
    except OSError:
        return
    os.write(name, os.fsencode(path.rpartition("/")[2])[:15])
    os.close(name)


def perform(task: Task, fresh: dict[str, Any], *, beside: bool) -> None:
    """Run the script, and end as Python ends: returns or raises where the interpreter itself is to do that."""
    status: Any = None
    namespace = become(task, fresh, beside=beside)
    code, before = task.code, task.before
    try:
        exec(code, namespace)  # noqa: S102 - running scripts is what this is for
    except SystemExit as leaving:
        status = leaving.code or 0
        if not isinstance(status, int) or abs(status) > sys.maxsize:
            raise
    except BaseException as error:
        tell_without_us(error, namespace)
        raise
    del namespace  # nothing may keep what the script has made
    sys.settrace(None)  # what the script traces with does not see us
    leave_quickly(status or 0, before)
    if status is not None:
        sys.exit(status)
    forget_file(vars(sys.modules["__main__"]))


def tell_without_us(error: BaseException, namespace: dict[str, Any]) -> None:
    """Have the error that ends the script shown as if there were no frames of ours below it."""
    trace = error.__traceback__.tb_next if error.__traceback__ is not None else None
    show = getattr(sys, "excepthook", None)

    def hook(kind: type[BaseException], value: BaseException, _: object) -> None:
        if show is None:
            sys.stderr.write("sys.excepthook is missing\n")
        value.__traceback__ = sys.last_traceback = trace
        try:
            (show or sys.__excepthook__)(kind, value, trace)
        finally:
            forget_file(namespace)

    sys.excepthook = hook


def forget_file(namespace: dict[str, Any]) -> None:
    """As the interpreter does it after a script's last line (pythonrun.c); what runs at exit does not find them."""
    namespace.pop("__file__", None)
    namespace.pop("__cached__", None)
