"""Puts a set of prepared files in the place of the old ones: all of them or, after a crash, none.

Library of restore.py; standard library only. The new files lie ready in ROOT/.appliance-swap/new. A journal
in ROOT/.appliance-swap says what will be done; then each old file is linked aside and the new one renamed
over it, so that a path never lacks its file. When all are in place and on the disk, the journal says `done`,
which is the moment that counts: until then `recover` puts everything back, from then on it only tidies up.
Both may be interrupted and run again. A file on another file system than ROOT is prepared beside its place,
for rename(2) works within one only.

One process at a time: `Swap.lock` takes flock(2) on the directory ROOT itself.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import stat
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import asdict, dataclass

WORK = ".appliance-swap"
LOCK_WAIT = 30.0


class SwapError(Exception):
    """The files cannot be put in place; nothing was changed. One line of text."""


@dataclass(frozen=True)
class Step:
    """One file or link: its place, what was prepared, where the new one waits, where the old one goes.

    `prepared` and `new` are the same, but on another file system; both are None for a file to be removed.
    """

    path: str
    prepared: str | None
    new: str | None
    old: str
    existed: bool


def _nothing(point: str) -> None:
    """The checkpoint of normal use."""


class Swap:
    """A swap of files below `root`.

    `checkpoint` is called at each point where a crash leaves something else behind; tests crash there.
    """

    def __init__(self, root: str, *, checkpoint: Callable[[str], None] = _nothing) -> None:
        self._root = os.path.realpath(root)
        self._work = os.path.join(self._root, WORK)
        self.new = os.path.join(self._work, "new")
        self._old = os.path.join(self._work, "old")
        self._journal = os.path.join(self._work, "journal.json")
        self._checkpoint = checkpoint

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Keep others out, and recover first what an earlier process left. Raises SwapError, OSError."""
        descriptor = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY)
        try:
            _flock(descriptor, LOCK_WAIT)
            self._recover()
            yield
        finally:
            os.close(descriptor)

    def prepare(self) -> str:
        """Make the empty folder that takes the new files and return its path. Needs the lock."""
        os.makedirs(self.new, mode=0o700)
        os.makedirs(self._old, mode=0o700)
        self._checkpoint("prepared")
        return self.new

    def commit(self, remove: Collection[str] = ()) -> None:
        """Put everything under `new` in its place and remove the relative paths `remove` where they exist.

        Directories are merged with those in place. Raises SwapError or OSError with the old state in place.
        """
        directories, steps = self._plan(remove)
        _sync_tree(self.new)
        self._write_journal("swapping", directories, steps)
        self._checkpoint("journal written")
        try:
            self._carry_out(directories, steps)
        except BaseException:
            self._recover()
            raise
        self._write_journal("done", directories, steps)
        self._checkpoint("done")
        self._tidy(steps)

    def abandon(self) -> None:
        """Forget what was prepared."""
        self._recover()

    def _plan(self, remove: Collection[str]) -> tuple[list[str], list[Step]]:
        directories: list[str] = []
        steps: list[Step] = []
        device = device_of(self._work)
        for folder, names, files in os.walk(self.new):
            relative = os.path.relpath(folder, self.new)
            links = [name for name in names if os.path.islink(os.path.join(folder, name))]
            for name in sorted(set(names) - set(links)):
                place = self._place(os.path.join(relative, name))
                if not os.path.isdir(place):
                    if os.path.lexists(place):
                        raise SwapError(f"{place} is no directory")
                    directories.append(place)
            for name in sorted(files + links):
                new = os.path.join(folder, name)
                steps.append(self._step(os.path.join(relative, name), new, len(steps), device))
        for name in remove:
            step = self._step(name, None, len(steps), device)
            if step.existed:
                steps.append(step)
        return directories, steps

    def _step(self, name: str, new: str | None, number: int, device: int) -> Step:
        place = self._place(name)
        existed = os.path.lexists(place)
        if existed and stat.S_ISDIR(os.lstat(place).st_mode):
            raise SwapError(f"{place} is a directory")
        beside = _existing_parent(place)
        if device_of(beside) == device:
            return Step(place, new, new, os.path.join(self._old, str(number)), existed)
        aside = os.path.join(beside, f"{WORK}-{number}")
        return Step(place, new, None if new is None else f"{aside}.new", f"{aside}.old", existed)

    def _place(self, name: str) -> str:
        """The path that `name` stands for, links in its parent followed.

        It must not leave the root, nor reach the journal: whoever writes that decides what is renamed to where.
        """
        above, leaf = os.path.split(os.path.normpath(os.path.join(self._root, name)))
        real = os.path.realpath(above)
        if real != self._root and not real.startswith(self._root.rstrip("/") + "/"):
            raise SwapError(f"{name} lies outside of {self._root} through a link")
        place = os.path.join(real, leaf)
        if any(part.startswith(WORK) for part in os.path.relpath(place, self._root).split("/")):
            raise SwapError(f"{name}: names that begin with {WORK} are our own")
        return place

    def _carry_out(self, directories: list[str], steps: list[Step]) -> None:
        for directory in directories:
            prepared = os.path.join(self.new, os.path.relpath(directory, self._root))
            mode = stat.S_IMODE(os.stat(prepared).st_mode) if os.path.isdir(prepared) else 0o755
            os.mkdir(directory, mode)
        for step in steps:
            if step.prepared is not None and step.new is not None and step.new != step.prepared:
                shutil.copy2(step.prepared, step.new, follow_symlinks=False)
                if not os.path.islink(step.new):
                    _sync(step.new)
        for number, step in enumerate(steps):
            if step.existed:
                _link_or_move(step.path, step.old)
            self._checkpoint(f"step {number} old aside")
            if step.new is None:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(step.path)
            else:
                os.rename(step.new, step.path)
            self._checkpoint(f"step {number} new in place")
        self._sync_places(directories, steps)
        self._checkpoint("all in place")

    def _recover(self) -> None:
        """Bring back the state before the swap, or, where it was done, tidy up. Safe to repeat."""
        found = self._read_journal()
        if found is None:
            shutil.rmtree(self._work, ignore_errors=True)
            return
        state, directories, steps = found
        if state == "swapping":
            self._put_back(directories, steps)
            self._write_journal("done", directories, steps)
            self._checkpoint("put back")
        self._tidy(steps)

    def _put_back(self, directories: list[str], steps: list[Step]) -> None:
        for step in reversed(steps):
            if step.existed:
                with contextlib.suppress(FileNotFoundError):
                    os.rename(step.old, step.path)
            elif step.new is not None and not os.path.lexists(step.new):
                # Not ready any more: it was renamed into its place, where nothing was before.
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(step.path)
            self._checkpoint("one put back")
        for directory in reversed(directories):
            with contextlib.suppress(OSError):
                os.rmdir(directory)
        self._sync_places(directories, steps)

    def _tidy(self, steps: list[Step]) -> None:
        for step in steps:
            for path in (step.new, step.old):
                if path is not None and not path.startswith(self._work + "/"):
                    with contextlib.suppress(FileNotFoundError):
                        os.unlink(path)
        shutil.rmtree(self.new, ignore_errors=True)
        shutil.rmtree(self._old, ignore_errors=True)
        self._checkpoint("nearly tidy")
        shutil.rmtree(self._work)

    def _write_journal(self, state: str, directories: list[str], steps: list[Step]) -> None:
        content = {"state": state, "directories": directories, "steps": [asdict(step) for step in steps]}
        with open(f"{self._journal}.new", "w", encoding="ascii") as file:
            json.dump(content, file)
            file.flush()
            os.fsync(file.fileno())
        os.rename(f"{self._journal}.new", self._journal)
        _sync(self._work)
        _sync(self._root)

    def _read_journal(self) -> tuple[str, list[str], list[Step]] | None:
        try:
            with open(self._journal, encoding="ascii") as file:
                content = json.load(file)
        except FileNotFoundError:
            return None
        return content["state"], content["directories"], [Step(**step) for step in content["steps"]]

    @staticmethod
    def _sync_places(directories: list[str], steps: list[Step]) -> None:
        for folder in {os.path.dirname(path) for path in [*directories, *(step.path for step in steps)]}:
            with contextlib.suppress(FileNotFoundError):
                _sync(folder)


def device_of(path: str) -> int:
    """The file system that a path is on."""
    return os.stat(path).st_dev


def _existing_parent(path: str) -> str:
    parent = os.path.dirname(path)
    while not os.path.isdir(parent):
        parent = os.path.dirname(parent)
    return parent


def _link_or_move(path: str, aside: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(aside)
    try:
        os.link(path, aside, follow_symlinks=False)
    except OSError:
        # A file system without hard links.
        os.rename(path, aside)


def _flock(descriptor: int, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError as error:
            if time.monotonic() > deadline:
                raise SwapError("another process is changing these files") from error
            time.sleep(0.05)


def _sync(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_tree(top: str) -> None:
    for folder, _, files in os.walk(top, topdown=False):
        for name in files:
            path = os.path.join(folder, name)
            if not os.path.islink(path):
                _sync(path)
        _sync(folder)
