import os
import shutil
import tempfile
from pathlib import Path
from typing import Any, cast

import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import TestCase
from twisted.web.http_headers import Headers

from appliance.http.call import Call
from appliance.http.static_files import ContentTypes, StaticFiles, is_unchanged, scan


class HeldThreads:
    """Threads whose work waits until the test lets it go on."""

    def __init__(self) -> None:
        self.waiting: list[Deferred[None]] = []
        self.failure: Exception | None = None

    async def run(self, function: Any, *args: Any) -> Any:
        turn: Deferred[None] = Deferred()
        self.waiting.append(turn)
        await turn
        if self.failure is not None:
            raise self.failure
        return function(*args)

    def release(self) -> None:
        self.waiting.pop(0).callback(None)


class LookingTests(TestCase):
    def setUp(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.folder)
        self.clock = Clock()
        self.clock.advance(1000)
        self.threads = HeldThreads()
        self.files = StaticFiles(self.clock, cast(Any, self.threads), self.folder)
        (self.folder / "first.txt").write_text("1")

    def start(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self.files.refresh())

    def look(self) -> None:
        refreshed = self.start()
        self.threads.release()
        self.successResultOf(refreshed)

    def size(self, name: str) -> int | None:
        getting = Deferred.fromCoroutine(self.files.get(name))
        if self.threads.waiting:
            self.threads.release()
        file = self.successResultOf(getting)
        return None if file is None else file.size

    def test_those_who_come_during_a_look_share_it(self) -> None:
        turns = [self.start() for _ in range(3)]
        assert len(self.threads.waiting) == 1
        self.threads.release()
        for turn in turns:
            self.successResultOf(turn)
        assert self.size("first.txt") == 1

    def test_one_who_leaves_ends_no_other_ones_wait(self) -> None:
        leaves, stays = self.start(), self.start()
        leaves.cancel()
        self.failureResultOf(leaves, CancelledError)
        self.threads.release()
        self.successResultOf(stays)
        assert self.size("first.txt") == 1

    def test_a_new_file_is_seen_after_five_seconds_and_not_before(self) -> None:
        self.look()
        (self.folder / "second.txt").write_text("22")
        self.clock.advance(4.9)
        self.successResultOf(self.start())
        assert self.size("second.txt") is None
        self.clock.advance(0.2)
        self.look()
        assert self.size("second.txt") == 2

    def test_a_clock_set_back_does_not_stop_the_looking(self) -> None:
        self.look()
        self.clock.rightNow = 10.0
        self.look()

    def test_a_failed_look_frees_those_who_wait_and_is_logged(self) -> None:
        self.threads.failure = RuntimeError("no thread")
        refreshed = self.start()
        self.threads.release()
        self.successResultOf(refreshed)
        assert len(self.flushLoggedErrors(RuntimeError)) == 1
        self.threads.failure = None
        self.clock.advance(6)
        self.look()
        assert self.size("first.txt") == 1

    def test_what_is_gone_or_changed_since_the_look(self) -> None:
        self.look()
        (self.folder / "first.txt").write_text("1234")
        assert self.size("first.txt") == 4
        (self.folder / "first.txt").unlink()
        assert self.size("first.txt") is None

    def test_what_became_a_way_out_since_the_look(self) -> None:
        inside, outside = self.folder / "inside", Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, outside)
        inside.mkdir()
        for place in (inside, outside):
            (place / "page.txt").write_text(place.name)
        self.look()
        assert self.size("inside/page.txt") == len("inside")
        shutil.rmtree(inside)
        inside.symlink_to(outside)
        assert self.size("inside/page.txt") is None
        (self.folder / "first.txt").unlink()
        (self.folder / "first.txt").symlink_to(outside / "page.txt")
        assert self.size("first.txt") is None


def test_a_scan_finds_files_by_their_place(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    for name in ("index.html", "a/x.js", "a/b/ü y.txt"):
        (tmp_path / name).write_text("")
    found = scan(tmp_path)
    assert found.complete
    assert found.files == {name: tmp_path / name for name in ("index.html", "a/x.js", "a/b/ü y.txt")}


def test_hidden_special_and_unnameable_entries_are_left_out(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "config").write_text("")
    (tmp_path / ".env").write_text("")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / os.fsdecode(b"\xff.txt")).write_text("")
    (tmp_path / "seen").write_text("")
    assert set(scan(tmp_path).files) == {"seen"}


def test_links_inside_are_followed_and_links_out_are_not(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "root-of-others"
    for folder in (root / "real", outside):
        folder.mkdir(parents=True)
        (folder / "page").write_text("")
    (root / "folder-inside").symlink_to("real")
    (root / "file-inside").symlink_to("real/page")
    (root / "loop").symlink_to(root)
    (root / "real" / "up").symlink_to("..")
    (root / "real" / "again").symlink_to("../real")
    (root / "self").symlink_to("self")
    (root / "nowhere").symlink_to("missing")
    (root / "folder-outside").symlink_to(outside)
    (root / "file-outside").symlink_to("../root-of-others/page")
    (root / "through").symlink_to("folder-outside/page")
    assert set(scan(root).files) == {"real/page", "folder-inside/page", "file-inside"}


def test_a_scan_is_bounded_in_number_and_depth(tmp_path: Path) -> None:
    for number in range(20):
        (tmp_path / f"{number:02}").write_text("")
    found = scan(tmp_path, limit=12)
    assert not found.complete and len(found.files) == 12
    deep = tmp_path / "deep"
    for _ in range(40):
        deep = deep / "d"
    deep.mkdir(parents=True)
    (deep / "bottom").write_text("")
    assert "bottom" not in {path.name for path in scan(tmp_path).files.values()}


def test_only_some_names_at_the_top(tmp_path: Path) -> None:
    (tmp_path / "docs" / "private").mkdir(parents=True)
    for name in ("index.html", "app.js", "docs/app.js", "docs/private/x"):
        (tmp_path / name).write_text("")
    assert set(scan(tmp_path, only=("index.html", "docs")).files) == {"index.html", "docs/app.js", "docs/private/x"}


def test_a_folder_that_is_not_there_is_empty(tmp_path: Path) -> None:
    assert scan(tmp_path / "missing").files == {}


@pytest.mark.parametrize(
    ("name", "media_type"),
    [
        ("index.html", "text/html; charset=utf-8"),
        ("a/app.JS", "text/javascript; charset=utf-8"),
        ("app.mjs", "text/javascript; charset=utf-8"),
        ("style.css", "text/css; charset=utf-8"),
        ("app.js.map", "application/json"),
        ("logo.svg", "image/svg+xml"),
        ("font.woff2", "font/woff2"),
        ("code.wasm", "application/wasm"),
        ("site.webmanifest", "application/manifest+json"),
        ("archive.tar.gz", "application/gzip"),
        ("archive.txt.br", "application/octet-stream"),
        ("data:text/html,x", "application/octet-stream"),
        ("README", "application/octet-stream"),
        ("folder.html/README", "application/octet-stream"),
    ],
)
def test_content_types(name: str, media_type: str) -> None:
    assert ContentTypes().of(name) == media_type


@pytest.mark.parametrize(
    ("header", "value", "unchanged"),
    [
        ("If-None-Match", '"a"', True),
        ("If-None-Match", 'W/"b", W/"a"', True),
        ("If-None-Match", "*", True),
        ("If-None-Match", '"b"', False),
        ("If-None-Match", "", False),
        ("If-Modified-Since", "Thu, 01 Jan 1970 00:16:40 GMT", True),
        ("If-Modified-Since", "Thu, 01 Jan 1970 00:16:39 GMT", False),
        ("If-Modified-Since", "yesterday", False),
        ("If-Modified-Since", "Thu, 01 Jan 99999999999 00:16:40 GMT", False),
        ("If-Modified-Since", "Thu, 01 Jan 1970 00:16:40 -0000", True),
        ("Accept", "*/*", False),
    ],
)
def test_conditional_requests(header: str, value: str, unchanged: bool) -> None:
    call = Call("1", "GET", b"/", "/", b"", Headers({header: [value]}))
    assert is_unchanged(call, '"a"', 1000_500_000_000) is unchanged


def test_the_tag_counts_more_than_the_date() -> None:
    date = "Thu, 01 Jan 2099 00:00:00 GMT"
    call = Call("1", "GET", b"/", "/", b"", Headers({"If-None-Match": ['"b"'], "If-Modified-Since": [date]}))
    assert not is_unchanged(call, '"a"', 1)
