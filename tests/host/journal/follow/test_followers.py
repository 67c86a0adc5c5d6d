"""Following real journals, as they are written."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from twisted.internet import reactor as global_reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from appliance.background import Background
from appliance.host.errors import Unavailable
from appliance.host.journal import command as command_module
from appliance.host.journal import presence as presence_module
from appliance.host.journal.follow import follower as follower_module
from appliance.host.journal.follow import followers as followers_module
from appliance.host.journal.follow import source as source_module
from appliance.host.journal.follow.batch import Batch, LiveEntry
from appliance.host.journal.follow.followers import Followers, Wanted
from appliance.host.journal.output import NotAnExport
from appliance.host.journal.query import LogFilter
from appliance.process.run import ProcessRunner
from appliance.threads import Threads
from tests.support.journal import BASE, PLAIN, SECOND, Writer, append, half_linked, numbered, record
from tests.support.processes import children, eventually

reactor: Any = global_reactor
ALL = LogFilter()


class Reader:
    """A listener that is slow when told so, or after every `often` batches."""

    def __init__(self, often: int = 0) -> None:
        self.entries: list[LiveEntry] = []
        self.batches: list[Batch] = []
        self.slow = False
        self.often = often
        self._waiting: list[Deferred[None]] = []

    @property
    def messages(self) -> list[str]:
        return [entry.message for entry in self.entries]

    def deliver(self, batch: Batch) -> None:
        self.batches.append(batch)
        self.entries += batch.entries
        if self.often and len(self.batches) % self.often == 0:
            self.slow = True
            reactor.callLater(0.001, self.go_on)

    async def drained(self) -> None:
        if self.slow:
            waiting: Deferred[None] = Deferred(self._waiting.remove)
            self._waiting.append(waiting)
            await waiting

    def go_on(self) -> None:
        self.slow = False
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            each.callback(None)


def numbers(first: int, end: int) -> list[str]:
    return [f"message number {number}" for number in range(first, end)]


class FollowersTestCase(TestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir(parents=True)
        self.file = self.folder / "system.journal"
        self.before = set(children())
        self.runner = ProcessRunner(reactor)
        self.background = Background()
        self.followers = Followers(
            reactor, self.background, Threads(reactor), self.runner, self.folder, self.folder / "log"
        )
        self.tasks: list[Deferred[None]] = []

    async def tearDown(self) -> None:  # type: ignore[override]
        for task in self.tasks:
            task.cancel()
        self.assertEqual(self.followers._followers, {})
        await eventually(lambda: set(children()) <= self.before, "the end of every child")
        await self.background.stop()
        await self.runner.stop()

    def follow(
        self, reader: Reader, wanted: LogFilter = ALL, *, lines: int | None = None, follow: bool = True
    ) -> Deferred[None]:
        return Deferred.fromCoroutine(self.followers.follow(Wanted(wanted, lines, follow), reader))

    def start(self, reader: Reader, wanted: LogFilter = ALL, *, lines: int | None = None) -> Callable[[], None]:
        """Follow until the end of the test, or until what this returns is called."""
        task = self.follow(reader, wanted, lines=lines).addErrback(self._ended)
        self.tasks.append(task)
        return task.cancel

    def _ended(self, failure: Failure) -> None:
        if not failure.check(CancelledError):
            Logger().failure("follow failed", failure)  # which fails the test

    def writer(self, name: str = "system.journal") -> Writer:
        writer = Writer(self.folder / name)
        self.addCleanup(writer.close)
        return writer

    def processes(self) -> list[list[str]]:
        """The arguments of our journalctl processes."""
        found = []
        for pid in set(children()) - self.before:
            try:
                argv = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
            except (FileNotFoundError, ProcessLookupError):
                continue
            if "journalctl" in argv[0]:
                found.append(argv)
        return found

    def following(self) -> int:
        """How many of them follow."""
        return sum("--follow" in argv for argv in self.processes())

    async def has(self, reader: Reader, expected: list[str]) -> None:
        """Wait until it has that much, and compare."""
        await eventually(lambda: len(reader.entries) >= len(expected), f"{len(expected)} entries")
        self.assertEqual(reader.messages, expected)


class BacklogTests(FollowersTestCase):
    async def test_what_there_is(self) -> None:
        append(self.file, numbered(0, 2000))
        since, until = BASE + 1000 * SECOND, BASE + 1500 * SECOND
        every = range(2000)
        cases = [
            (ALL, None, list(every)),
            (ALL, 10, list(every)[-10:]),
            (ALL, 0, []),
            (ALL, 5000, list(every)),
            (LogFilter(since=since), None, list(every)[1000:]),
            (LogFilter(since=since), 3, list(every)[-3:]),
            (LogFilter(since=since), 1500, list(every)[1000:]),
            (LogFilter(until=until), 4, list(every)[1497:1501]),
            (LogFilter(since=since, until=until), None, list(every)[1000:1501]),
            (LogFilter(since=since, until=until), 1, [1500]),
            (LogFilter(service="u1"), 5, [n for n in every if n % 3 == 1][-5:]),
            (LogFilter(service="app2"), None, [n for n in every if n % 3 == 2]),
            (LogFilter(priority=3, service="u0.service"), None, [n for n in every if n % 8 <= 3 and n % 3 == 0]),
            (LogFilter(service="nothing"), 10, []),
            (LogFilter(service="nothing"), None, []),
        ]  # fmt: skip
        for wanted, lines, expected in cases:
            reader = Reader()
            await self.follow(reader, wanted, lines=lines, follow=False)
            self.assertEqual(reader.messages, [f"message number {n}" for n in expected], (wanted, lines))

    async def test_an_entry(self) -> None:
        fields = {
            "MESSAGE": "text",
            "PRIORITY": "4",
            "_SYSTEMD_UNIT": "ssh.service",
            "SYSLOG_IDENTIFIER": "sshd",
            "_PID": "7",
            "SYSLOG_PID": "8",
        }
        entries: list[dict[str, Any]] = [
            {**PLAIN, **fields},
            {"SYSLOG_IDENTIFIER": "tool", "SYSLOG_PID": "12", "MESSAGE": "two\nlines\n"},
            {"MESSAGE": b"bin\xff\0ary", "PRIORITY": "nine", "_PID": "x"},
            {"MESSAGE": ["one", "two"], "_SYSTEMD_UNIT": "dev.mount"},
            {"PRIORITY": "0"},
            {"MESSAGE": "Größe\t\x1b[1m" + "x" * (1 << 20)},
        ]
        append(self.file, (record(BASE + n, each) for n, each in enumerate(entries)))
        reader = Reader()
        await self.follow(reader, follow=False)
        self.assertEqual(
            [(e.priority, e.unit, e.message, e.hostname, e.pid, e.truncated) for e in reader.entries[:5]],
            [
                ("warning", "ssh", "text", "probe", 7, False),
                ("info", "tool", "two\nlines\n", "", 12, False),
                ("info", "", "bin\ufffd\0ary", "", None, False),
                ("info", "dev.mount", "one\ntwo", "", None, False),
                ("emergency", "", "", "", None, False),
            ],
        )
        self.assertEqual(reader.entries[0].timestamp.isoformat(), "2025-10-09T08:53:20+00:00")
        self.assertTrue(reader.entries[5].truncated)
        self.assertTrue(reader.entries[5].message.startswith("Größe\t\x1b[1mxxx"))
        self.assertEqual(len(reader.entries[5].message.encode()), 1 << 20)

    async def test_a_slow_reader_of_a_backlog(self) -> None:
        append(self.file, numbered(0, 20_000))
        reader = Reader(often=3)
        await self.follow(reader, follow=False)
        self.assertEqual(reader.messages, numbers(0, 20_000))

    async def test_a_reader_that_takes_longer_than_a_turn_goes_on(self) -> None:
        self.patch(followers_module, "TURN_SECONDS", 0.2)
        append(self.file, numbered(0, 20_000))
        reader = Reader()
        waiting = self.follow(reader, follow=False)
        for _ in range(3):
            await eventually(lambda: reader.entries, "the first entries")
            reader.slow = True
            await eventually(lambda: not self.processes(), "the end of its turn")
            reader.go_on()
        await waiting
        self.assertEqual(reader.messages, numbers(0, 20_000))

    async def test_one_who_leaves_in_the_middle(self) -> None:
        append(self.file, numbered(0, 20_000))
        reader = Reader()
        leave = self.start(reader)
        await eventually(lambda: reader.entries, "the first entries")
        reader.slow = True
        leave()
        await eventually(lambda: not self.processes(), "the end of journalctl")
        seen = len(reader.entries)
        reader.go_on()
        await deferLater(reactor, 0.05)
        self.assertEqual(len(reader.entries), seen)


class UnfinishedEntryTests(FollowersTestCase):
    """journalctl prints an entry without its message where the writer has not linked that yet."""

    def setUp(self) -> None:
        super().setUp()
        self.pauses: list[Deferred[None]] = []
        self.patch(source_module, "sleep", self.sleep)

    def sleep(self, reactor: object, seconds: float) -> Deferred[None]:
        pause: Deferred[None] = Deferred()
        self.pauses.append(pause)
        return pause

    async def test_at_the_end_of_a_backlog(self) -> None:
        append(self.file, numbered(0, 10))
        finish = half_linked(self.file, "message number 9")
        reader = Reader()
        ending = self.follow(reader, follow=False)
        await eventually(lambda: self.pauses, "the first look")
        self.assertEqual(reader.messages, numbers(0, 9))
        finish(self.file)
        self.pauses.pop().callback(None)
        await ending
        self.assertEqual(reader.messages, numbers(0, 10))
        self.assertEqual(self.pauses, [])

    async def test_the_first_entry_of_all(self) -> None:
        append(self.file, numbered(0, 1))
        finish = half_linked(self.file, "message number 0")
        reader = Reader()
        ending = self.follow(reader, follow=False)
        await eventually(lambda: self.pauses, "the first look")
        self.assertEqual(reader.messages, [])
        finish(self.file)
        self.pauses.pop().callback(None)
        await ending
        self.assertEqual(reader.messages, numbers(0, 1))

    async def test_while_it_is_followed(self) -> None:
        append(self.file, numbered(0, 10))
        readers = [Reader(), Reader(often=1)]
        for reader in readers:
            self.start(reader)
            await self.has(reader, numbers(0, 10))
        await eventually(self.following, "a follower")
        await eventually(lambda: sum(len(f._places) for f in self.followers._followers.values()) == 2, "both to join")
        other = self.folder / "making" / "system@1.journal"
        append(other, numbered(10, 5))
        finish = half_linked(other, "message number 14")
        other.rename(self.folder / other.name)
        other.parent.rmdir()
        await eventually(lambda: self.pauses, "the first look")
        for reader in readers:
            await self.has(reader, numbers(0, 14))
        finish(self.folder / other.name)
        self.pauses.pop().callback(None)
        writer = self.writer("system@1.journal")
        writer.write(numbered(15, 5))
        for reader in readers:
            await self.has(reader, numbers(0, 20))
        self.assertEqual(self.pauses, [])

    async def test_it_ends_between_the_looks(self) -> None:
        append(self.file, numbered(0, 10))
        half_linked(self.file, "message number 9")
        reader = Reader()
        leave = self.start(reader)
        await eventually(lambda: self.pauses, "the first look")
        leave()
        await eventually(lambda: not self.processes(), "the end of journalctl")
        self.assertEqual(reader.messages, numbers(0, 9))

    async def test_a_journal_of_entries_without_messages(self) -> None:
        append(self.file, (record(BASE + n, {**PLAIN, "PRIORITY": "3", "_PID": str(n)}) for n in range(5000)))
        reader = Reader(often=7)
        ending = self.follow(reader, follow=False)
        for _ in range(source_module.LOOKS_AGAIN):
            await eventually(lambda: self.pauses, "a look")
            self.pauses.pop().callback(None)
        await ending
        self.assertEqual([entry.pid for entry in reader.entries], list(range(5000)))
        self.assertEqual(set(reader.messages), {""})
        self.assertEqual(self.pauses, [])


class FollowingTests(FollowersTestCase):
    async def test_backlog_and_what_comes(self) -> None:
        append(self.file, numbered(0, 100))
        writer, reader = self.writer(), Reader()
        self.start(reader, LogFilter(service="u1"), lines=2)
        await self.has(reader, ["message number 94", "message number 97"])
        await eventually(self.following, "a follower")
        for part in range(1, 4):
            writer.write(numbered(part * 100, 100))
            expected = [n for n in range(94, (part + 1) * 100) if n % 3 == 1]
            await self.has(reader, [f"message number {n}" for n in expected])

    async def test_the_first_entry_that_matches_ever(self) -> None:
        append(self.file, numbered(0, 10))
        writer = self.writer()
        readers = [Reader(), Reader(), Reader()]
        late = LogFilter(service="late")
        self.start(readers[0], late, lines=10)
        self.start(readers[1], LogFilter(service="late", since=BASE))
        await eventually(self.following, "a follower")
        self.start(readers[2], late, lines=0)
        await deferLater(reactor, 0.2)
        writer.write(numbered(10, 5, _SYSTEMD_UNIT="late.service"))
        for reader in readers:
            await self.has(reader, numbers(10, 15))

    async def test_an_empty_journal_and_none_at_all(self) -> None:
        self.patch(followers_module, "_LOOK_SECONDS", 0.05)
        reader = Reader()
        self.start(reader, lines=10)
        ended = Reader()
        await self.follow(ended, follow=False)
        self.assertEqual(ended.entries, [])
        await deferLater(reactor, 0.2)
        writer = self.writer()
        writer.write(numbered(0, 10))
        await self.has(reader, numbers(0, 10))

    async def test_several_boots(self) -> None:
        append(self.file, numbered(0, 5))
        reader = Reader()
        self.start(reader)
        await eventually(self.following, "a follower")
        writer = self.writer()
        writer.write(record(BASE + n * SECOND, {"MESSAGE": f"message number {n}"}, "f" * 32) for n in range(5, 10))
        await self.has(reader, numbers(0, 10))

    async def test_readers_come_while_it_is_written(self) -> None:
        append(self.file, numbered(0, 1000))
        writer = self.writer()
        readers: list[tuple[int, Reader]] = []
        written = 1000
        for turn in range(60):
            writer.write(numbered(written, 50))
            written += 50
            if turn % 3 == 0:
                often = 2 if turn % 2 else 0
                since = BASE + (written - 500) * SECOND
                reader = Reader(often=often)
                readers.append((written - 500, reader))
                self.start(reader, LogFilter(since=since))
            await deferLater(reactor, 0.01)
        for first, reader in readers:
            await self.has(reader, numbers(first, written))
        await eventually(lambda: len(self.processes()) == 1, "the end of the readers of backlogs")
        self.assertEqual(self.following(), 1)

    async def test_one_process_for_each_filter(self) -> None:
        append(self.file, numbered(0, 100))
        writer = self.writer()
        filters = [
            LogFilter(service="u0"),
            LogFilter(service="u1"),
            LogFilter(service="u2"),
            LogFilter(priority=3),
            LogFilter(service="u1", priority=3),
        ]
        readers = [(wanted, Reader()) for wanted in filters for _ in range(10)]
        for number, (wanted, reader) in enumerate(readers):
            since = BASE + 100 * SECOND if number % 2 else None
            self.start(reader, LogFilter(wanted.service, wanted.priority, since), lines=0 if since is None else None)
        await eventually(lambda: len(self.followers._followers) == 5 and self.following() == 5, "five followers")
        await eventually(lambda: len(self.processes()) == 5, "the end of the readers of backlogs")
        await eventually(lambda: sum(len(f._places) for f in self.followers._followers.values()) == 50, "all to join")
        writer.write(numbered(100, 500))
        for wanted, reader in readers:
            expected = [
                f"message number {n}"
                for n in range(100, 600)
                if wanted.service in (None, f"u{n % 3}") and (wanted.priority is None or n % 8 <= wanted.priority)
            ]
            await self.has(reader, expected)
        self.assertEqual(self.following(), 5)
        same = [reader for wanted, reader in readers if wanted == filters[0]]
        for reader in same[1:]:  # one object for all: what it is encoded to is made once
            self.assertTrue(all(a is b for a, b in zip(reader.batches, same[0].batches, strict=True)))
        for task in self.tasks[:10]:
            task.cancel()
        await eventually(lambda: len(self.processes()) == 4, "the end of the first follower")

    async def test_too_many_filters(self) -> None:
        self.patch(followers_module, "MAX_FOLLOWERS", 3)
        append(self.file, numbered(0, 10))
        for number in range(3):
            self.start(Reader(), LogFilter(service=f"u{number}"))
        with self.assertRaisesRegex(Unavailable, "3 different log filters"):
            await self.follow(Reader(), LogFilter(priority=1))
        reader = Reader()
        self.start(reader, LogFilter(service="u1"))  # a known one
        ended = Reader()
        await self.follow(ended, LogFilter(priority=1), follow=False)  # one who does not stay
        self.assertEqual(ended.messages, numbers(0, 2) + numbers(8, 10))

    async def test_an_end_in_the_future(self) -> None:
        append(self.file, numbered(0, 10))
        until = int((reactor.seconds() + 1) * SECOND)
        reader = Reader()
        ending = self.follow(reader, LogFilter(service="u0", until=until))
        await eventually(self.following, "a follower")
        writer = self.writer()
        writer.write(
            record(until + at, {"_SYSTEMD_UNIT": "u0.service", "MESSAGE": str(at)}) for at in (-5, 0, 1, SECOND)
        )
        await ending
        self.assertEqual(reader.messages, [f"message number {n}" for n in (0, 3, 6, 9)] + ["-5", "0"])

    async def test_a_beginning_in_the_future(self) -> None:
        append(self.file, numbered(0, 10))
        since = int((reactor.seconds() + 3600) * SECOND)
        early, late = Reader(), Reader()
        self.start(early, lines=0)
        self.start(late, LogFilter(since=since))
        await eventually(lambda: sum(len(f._places) for f in self.followers._followers.values()) == 2, "both to join")
        writer = self.writer()
        texts = {-3600: "now", -1: "before", 0: "then", 5: "after"}
        writer.write(record(since + at * SECOND, {"MESSAGE": text}) for at, text in texts.items())
        await self.has(early, ["now", "before", "then", "after"])
        await self.has(late, ["then", "after"])

    async def test_files_are_rotated_and_deleted(self) -> None:
        append(self.file, numbered(0, 10))
        reader = Reader()
        self.start(reader, lines=1)
        expected = ["message number 9"]
        await self.has(reader, expected)
        await eventually(self.following, "a follower")
        for part in range(1, 6):
            self.file.rename(self.folder / f"system@{part}.journal")
            append(self.file, numbered(part * 10, 10))
            expected += numbers(part * 10, part * 10 + 10)
            await self.has(reader, expected)
            (self.folder / f"system@{part}.journal").unlink()

    async def test_journalctl_is_killed(self) -> None:
        self.patch(follower_module, "_FIRST_PAUSE", 0.05)
        append(self.file, numbered(0, 10))
        writer, reader = self.writer(), Reader()
        self.start(reader, lines=0)
        written = 10
        for _ in range(5):
            await eventually(self.following, "a follower")
            for pid in set(children()) - self.before:
                if b"--follow" in Path(f"/proc/{pid}/cmdline").read_bytes():
                    writer.write(numbered(written, 500))
                    os.kill(pid, signal.SIGKILL)
                    writer.write(numbered(written + 500, 10))
            written += 510
            await self.has(reader, numbers(10, written))
        self.assertEqual(len(self.flushLoggedErrors()), 0)

    async def test_journalctl_fails_and_prints_nonsense(self) -> None:
        self.patch(follower_module, "_FIRST_PAUSE", 0.05)
        append(self.file, numbered(0, 10))
        tool, count = self.folder / "tool", (self.folder / "count").absolute()
        tool.write_text(f"""#!/bin/sh
            case "$*" in *--follow*)
                echo >> {count}
                case $(wc -l < {count}) in 1) exit 1;; 2) head -c 1000 /dev/zero; exec sleep 100;; esac;;
            esac
            exec journalctl "$@"
        """)
        tool.chmod(0o755)
        self.patch(command_module, "PROGRAM", str(tool.absolute()))
        writer, reader = self.writer(), Reader()
        self.start(reader)
        await eventually(lambda: count.exists(), "the first try")
        writer.write(numbered(10, 10))
        await self.has(reader, numbers(0, 20))
        self.assertEqual(len(count.read_text()), 3)
        self.assertEqual(len(self.flushLoggedErrors(NotAnExport)), 1)

    async def test_it_is_started_anew_now_and_then(self) -> None:
        self.patch(follower_module, "RENEWAL", 0.1)
        append(self.file, numbered(0, 10))
        writer, reader = self.writer(), Reader()
        self.start(reader, lines=0)
        await eventually(lambda: any(each._places for each in self.followers._followers.values()), "it to join")
        pids: set[int] = set()
        written = 10
        while len(pids) <= 3:  # the test's own time limit bounds it
            writer.write(numbered(written, 10))
            written += 10
            await deferLater(reactor, 0.03)
            pids |= set(children()) - self.before
        await self.has(reader, numbers(10, written))

    async def test_a_reader_that_fails_is_alone_with_it(self) -> None:
        class Failing(Reader):
            def deliver(self, batch: Batch) -> None:
                if "message number 15" in [entry.message for entry in batch.entries]:
                    raise RuntimeError("as the test wants")
                super().deliver(batch)

        append(self.file, numbered(0, 10))
        writer, good = self.writer(), Reader()
        self.start(good)
        failing = self.follow(Failing())
        await eventually(lambda: sum(len(f._places) for f in self.followers._followers.values()) == 2, "both to join")
        writer.write(numbered(10, 10))
        await self.assertFailure(failing, RuntimeError)
        writer.write(numbered(20, 10))
        await self.has(good, numbers(0, 30))

    async def test_a_journal_that_cannot_be_read(self) -> None:
        append(self.file, numbered(0, 10))
        tool = self.folder / "tool"
        tool.write_text("#!/bin/sh\necho why >&2; exit 1\n")
        tool.chmod(0o755)
        self.patch(command_module, "PROGRAM", str(tool.absolute()))
        for lines in (None, 5):
            with self.assertRaisesRegex(Unavailable, "The journal cannot be read"):
                await self.follow(Reader(), lines=lines)

    async def test_neither_journalctl_nor_files(self) -> None:
        self.patch(presence_module, "PROGRAM", "no-such-journalctl")
        with self.assertRaisesRegex(Unavailable, "neither journalctl nor a syslog file"):
            await self.follow(Reader())


class SlowReaderTests(FollowersTestCase):
    @pytest.fixture(autouse=True)
    def _small(self) -> None:
        self.patch(follower_module, "RING_BYTES", 50_000)

    async def test_a_slow_one_gets_everything_and_holds_nobody_back(self) -> None:
        append(self.file, numbered(0, 10))
        writer = self.writer()
        slow, fast = Reader(), Reader()
        self.start(slow)
        self.start(fast)
        await eventually(lambda: sum(len(f._places) for f in self.followers._followers.values()) == 2, "both to join")
        slow.slow = True
        for part in range(20):
            writer.write(numbered(10 + part * 500, 500))
            await deferLater(reactor, 0)
        await self.has(fast, numbers(0, 10_010))
        self.assertEqual(slow.messages, numbers(0, 10))
        (follower,) = self.followers._followers.values()
        self.assertEqual(len(follower._places), 1)
        self.assertLess(follower._ring._size, 60_000)
        self.assertEqual(len(self.processes()), 1)  # nobody waits for it
        slow.go_on()
        await self.has(slow, numbers(0, 10_010))
        await eventually(lambda: len(follower._places) == 2, "it to join again")
        writer.write(numbered(10_010, 10))
        await self.has(slow, numbers(0, 10_020))
        await self.has(fast, numbers(0, 10_020))
        self.assertEqual(len(self.processes()), 1)

    async def test_where_all_are_slow_the_source_waits(self) -> None:
        append(self.file, numbered(0, 10))
        writer = self.writer()
        readers = [Reader(), Reader()]
        for reader in readers:
            self.start(reader)
        await eventually(lambda: sum(len(f._places) for f in self.followers._followers.values()) == 2, "both to join")
        for reader in readers:
            reader.slow = True
        writer.write(numbered(10, 20_000))
        (follower,) = self.followers._followers.values()
        await eventually(lambda: follower._held_back, "the source to be held back")
        self.assertLess(follower._ring._size, 60_000)
        readers[0].go_on()
        await self.has(readers[0], numbers(0, 20_010))
        readers[1].go_on()
        await self.has(readers[1], numbers(0, 20_010))

    async def test_a_newcomer_does_not_wait_for_those_who_are_behind(self) -> None:
        append(self.file, numbered(0, 10))
        writer, slow, fast = self.writer(), Reader(), Reader()
        self.start(slow)
        await eventually(self.following, "a follower")
        slow.slow = True
        writer.write(numbered(10, 20_000))
        (follower,) = self.followers._followers.values()
        await eventually(lambda: follower._held_back, "the source to be held back")
        await eventually(lambda: _entries(self.file) == 20_010, "all to be written")
        self.start(fast, lines=5)
        await self.has(fast, numbers(20_005, 20_010))
        await eventually(lambda: len(follower._places) == 1, "it to join")
        writer.write(numbered(20_010, 5))
        await self.has(fast, numbers(20_005, 20_015))
        slow.go_on()
        await self.has(slow, numbers(0, 20_015))
        await eventually(lambda: len(follower._places) == 2, "the other to join again")

    async def test_readers_that_stall_by_turns(self) -> None:
        append(self.file, numbered(0, 10))
        writer = self.writer()
        readers = [Reader(often=often) for often in (0, 1, 2, 3, 5, 7, 11, 20)]
        for reader in readers:
            self.start(reader)
        written = 10
        for _ in range(60):
            writer.write(numbered(written, 200))
            written += 200
            await deferLater(reactor, 0.005)
        for reader in readers:
            await self.has(reader, numbers(0, written))


class SyslogTests(FollowersTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.patch(followers_module, "_TAIL_SECONDS", 0.02)
        self.log = self.folder / "log" / "syslog"
        self.log.parent.mkdir()

    def add(self, *numbers: int, tag: str = "app") -> None:
        with self.log.open("a") as file:
            file.writelines(f"2025-08-01T10:{n // 60:02}:{n % 60:02}Z host {tag}[5]: entry {n}\n" for n in numbers)

    async def test_files_are_followed_through_their_rotation(self) -> None:
        self.add(*range(10))
        reader, other = Reader(), Reader()
        self.start(reader, lines=3)
        self.start(other, LogFilter(service="other"))
        await self.has(reader, ["entry 7", "entry 8", "entry 9"])
        self.add(10, 11)
        self.add(12, tag="other")
        self.log.rename(self.log.with_name("syslog.1"))
        self.add(13, 14)
        await self.has(reader, [f"entry {n}" for n in range(7, 15)])
        await self.has(other, ["entry 12"])
        entry = reader.entries[0]
        self.assertEqual((entry.unit, entry.pid, entry.hostname, entry.priority), ("app", 5, "host", "info"))

    async def test_what_there_is(self) -> None:
        self.add(*range(10))
        self.log.rename(self.log.with_name("syslog.1"))
        self.add(*range(10, 20))
        moment = 1754044200 * SECOND  # 10:30:00
        cases = [
            (ALL, None, range(20)),
            (ALL, 5, range(15, 20)),
            (ALL, 15, range(5, 20)),
            (ALL, 100, range(20)),
            (ALL, 0, range(0)),
            (LogFilter(until=moment - 1800 * SECOND + 4 * SECOND), 2, range(3, 5)),
            (LogFilter(since=moment - 1800 * SECOND + 18 * SECOND), None, range(18, 20)),
            (LogFilter(service="nothing"), None, range(0)),
        ]
        for wanted, lines, expected in cases:
            reader = Reader(often=1)
            await self.follow(reader, wanted, lines=lines, follow=False)
            self.assertEqual(reader.messages, [f"entry {n}" for n in expected], (wanted, lines))


def _entries(file: Path) -> int:
    """How many entries a journal file holds (see `files.scan`)."""
    return int.from_bytes(file.read_bytes()[152:160], "little")
