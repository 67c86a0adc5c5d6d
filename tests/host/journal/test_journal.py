"""Pages of real journals."""

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from twisted.internet import reactor as global_reactor
from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.trial.unittest import TestCase

from appliance.host.errors import Invalid, Unavailable
from appliance.host.journal import command as command_module
from appliance.host.journal import journal as journal_module
from appliance.host.journal import presence as presence_module
from appliance.host.journal import reader as reader_module
from appliance.host.journal.entries import LEFT_OUT
from appliance.host.journal.journal import Journal, LogPage
from appliance.host.journal.query import LogFilter, make_filter
from appliance.process.run import ProcessRunner
from appliance.threads import Threads
from tests.support.journal import BASE, PLAIN, SECOND, append, messages, numbered, record
from tests.support.processes import children, eventually

reactor: Any = global_reactor


@pytest.fixture(scope="module")
def large() -> Iterator[Path]:
    """A journal of 100 000 entries."""
    folder = Path(tempfile.mkdtemp())
    append(folder / "system.journal", numbered(0, 100_000))
    yield folder
    shutil.rmtree(folder)


class RecordingRunner(ProcessRunner):
    """Remembers what it was told to run, and how many programs ran at once."""

    def __init__(self) -> None:
        super().__init__(reactor)
        self.started: list[list[str]] = []
        self.most = 0

    def start(self, argv: Sequence[str], *arguments: Any, **options: Any) -> Any:
        self.started.append(list(argv))
        self.before(argv)
        child = super().start(argv, *arguments, **options)
        self.most = max(self.most, len(self._children))
        return child

    def before(self, argv: Sequence[str]) -> None:
        """A hook for tests."""

    def counts(self) -> int:
        """How often entries were counted from the newest on."""
        return sum("--output=export" in argv and "--reverse" in argv for argv in self.started)


class JournalTests(TestCase):
    @pytest.fixture(autouse=True)
    def _large(self, request: pytest.FixtureRequest) -> None:
        self.get_large = lambda: request.getfixturevalue("large")

    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir(parents=True)
        self.file = self.folder / "system.journal"
        self.runner = RecordingRunner()
        self.before = set(children())

    async def tearDown(self) -> None:  # type: ignore[override]
        await self.runner.stop()
        await eventually(lambda: set(children()) <= self.before, "the reaping of every child")

    def journal(self, directory: Path | None = None) -> Journal:
        return Journal(reactor, self.runner, Threads(reactor), directory or self.folder, self.folder / "log")

    def page(self, journal: Journal, wanted: LogFilter, number: int = 1, size: int = 100) -> Deferred[LogPage]:
        return Deferred.fromCoroutine(journal.page(wanted, number, size))

    async def all_pages(self, journal: Journal, wanted: LogFilter, size: int) -> list[str]:
        """The messages of all pages one after the other; every page but the last is full."""
        found: list[str] = []
        number = 1
        while True:
            page = await journal.page(wanted, number, size)
            found += [entry.message for entry in page.logs]
            self.assertEqual((page.page, page.page_size, page.total_capped), (number, size, False))
            self.assertEqual(len(page.logs), max(0, min(size, page.total_count - (number - 1) * size)))
            if number * size >= page.total_count:
                self.assertEqual(page.total_count, len(found))
                return found
            number += 1

    async def test_pages_are_disjoint_and_cover_what_matches(self) -> None:
        append(self.file, numbered(0, 5000))
        since, until = BASE + 1000 * SECOND, BASE + 3000 * SECOND
        numbers = range(4999, -1, -1)
        cases = [
            (LogFilter(), 500, list(numbers)),
            (LogFilter(), 1000, list(numbers)),
            (LogFilter(service="u1"), 77, [n for n in numbers if n % 3 == 1]),
            (LogFilter(service="u1.service"), 500, [n for n in numbers if n % 3 == 1]),
            (LogFilter(service="app2"), 999, [n for n in numbers if n % 3 == 2]),
            (LogFilter(priority=3), 250, [n for n in numbers if n % 8 <= 3]),
            (LogFilter(priority=0, service="u0"), 33, [n for n in numbers if n % 8 == 0 and n % 3 == 0]),
            (LogFilter(since=since), 1000, [n for n in numbers if n >= 1000]),
            (LogFilter(until=until), 1000, [n for n in numbers if n <= 3000]),
            (LogFilter(None, 6, since, until), 333, [n for n in numbers if 1000 <= n <= 3000 and n % 8 < 7]),
            (LogFilter(since=since + 1, until=until - 1), 500, [n for n in numbers if 1000 < n < 3000]),
            (LogFilter(since=since, until=since), 10, [1000]),
            (LogFilter(search="NUMBER 49"), 50, [n for n in numbers if str(n).startswith("49")]),
            (LogFilter(search="number 4."), 50, []),
            (LogFilter(service="nothing"), 50, []),
            (LogFilter(since=BASE + 9000 * SECOND), 50, []),
            (LogFilter(until=5), 50, []),
        ]  # fmt: skip
        journal = self.journal()
        for wanted, size, expected in cases:
            found = await self.all_pages(journal, wanted, size)
            self.assertEqual(found, [f"message number {n}" for n in expected], wanted)

    async def test_journalctl_finds_the_same(self) -> None:
        def odd(number: int) -> bytes:
            fields = [
                {"_SYSTEMD_UNIT": "x.service", "MESSAGE": f"own {number}"},
                {"_PID": "1", "UNIT": "x.service", "MESSAGE": f"of the manager {number}"},
                {"_PID": "2", "UNIT": "x.service", "MESSAGE": f"pretended {number}"},
                {"_UID": "0", "OBJECT_SYSTEMD_UNIT": "x.service", "MESSAGE": f"of root {number}"},
                {"_SYSTEMD_UNIT": "y.service", "MESSAGE": f"other {number}"},
            ][number % 5]
            return record(BASE + number, {**PLAIN, **fields})

        append(self.file, (odd(number) for number in range(200)))
        expected = messages(self.folder, "--unit=x")
        self.assertEqual(len(expected), 120)
        self.assertEqual(await self.all_pages(self.journal(), LogFilter(service="x"), 17), expected)

    async def test_a_hundred_thousand_entries(self) -> None:
        journal = self.journal(self.get_large())
        for number in (1, 1000, 900, 500, 2, 123):
            page = await journal.page(LogFilter(), number, 100)
            newest = 99_999 - (number - 1) * 100
            expected = [f"message number {each}" for each in range(newest, newest - 100, -1)]
            self.assertEqual([entry.message for entry in page.logs], expected)
            self.assertEqual((page.total_count, page.total_capped), (100_000, False))
        page = await journal.page(LogFilter(), 1001, 100)
        self.assertEqual((page.logs, page.total_count), ([], 100_000))
        page = await journal.page(LogFilter(), 10**12, 1000)
        self.assertEqual((page.logs, page.total_count), ([], 100_000))
        self.assertEqual(self.runner.counts(), 1)

    async def test_priorities_in_both_spellings(self) -> None:
        append(self.file, numbered(0, 80))
        journal = self.journal()
        for names in (("error", "err", "3"), ("critical", "crit", "2"), ("warning", "warn"), ("emergency", "emerg")):
            answers = [await journal.page(make_filter(now=0, priority=name), 1, 100) for name in names]
            self.assertTrue(answers[0].logs)
            for answer in answers:
                self.assertEqual(answer, answers[0])

    async def test_messages_come_whole(self) -> None:
        giant = "x" * (1 << 20) + "end"
        fields: list[dict[str, Any]] = [
            {"MESSAGE": "plain"},
            {"MESSAGE": "two\nlines\n"},
            {"MESSAGE": b"bin\xff\0ary"},
            {"MESSAGE": giant},
            {"MESSAGE": b"\xfe" + giant.encode()},
            {"MESSAGE": ["one", "two"]},
            {"PRIORITY": "3"},
            {"MESSAGE": "Größe\t\x1b[1m"},
        ]
        append(self.file, (record(BASE + n, {**PLAIN, **each}) for n, each in enumerate(fields)))
        page = await self.journal().page(LogFilter(), 1, 100)
        expected = [
            "plain",
            "two\nlines\n",
            "bin\ufffd\0ary",
            giant,
            "\ufffd" + giant,
            "one\ntwo",
            "",
            "Größe\t\x1b[1m",
        ]
        self.assertEqual([entry.message for entry in reversed(page.logs)], expected)
        self.assertFalse(any(entry.message_left_out for entry in page.logs))

    async def test_a_page_that_would_be_too_large_leaves_long_messages_out(self) -> None:
        self.patch(reader_module, "PAGE_LIMIT", 100_000)
        texts = ["short", "y" * 60_000, "z" * 60_000, "short too"]
        append(self.file, (record(BASE + n, {**PLAIN, "MESSAGE": text}) for n, text in enumerate(texts)))
        journal = self.journal()
        page = await journal.page(LogFilter(), 1, 100)
        self.assertEqual([entry.message for entry in page.logs], ["short too", LEFT_OUT, LEFT_OUT, "short"])
        self.assertEqual([entry.message_left_out for entry in page.logs], [False, True, True, False])
        singles = [(await journal.page(LogFilter(), number, 1)).logs[0].message for number in (1, 2, 3, 4)]
        self.assertEqual(singles, texts[::-1])

    async def test_a_page_that_is_too_large_even_so(self) -> None:
        self.patch(reader_module, "PAGE_LIMIT", 1000)
        append(self.file, numbered(0, 10))
        with self.assertRaises(Invalid) as caught:
            await self.journal().page(LogFilter(), 1, 10)
        self.assertEqual(caught.exception.field, "page_size")

    async def test_new_entries_are_counted_on_top(self) -> None:
        append(self.file, numbered(0, 1000))
        journal = self.journal()
        first = await journal.page(LogFilter(priority=3), 1, 100)
        for round in range(1, 4):
            append(self.file, numbered(round * 1000, 1000))
            page = await journal.page(LogFilter(priority=3), 1, 100)
            self.assertEqual(page.total_count, first.total_count + 500 * round)
            self.assertEqual(page.logs[0].message, f"message number {round * 1000 + 995}")
        found = await self.all_pages(journal, LogFilter(priority=3), 100)
        self.assertEqual(found, messages(self.folder, "-p", "3"))
        self.assertEqual(self.runner.counts(), 1)

    async def test_nothing_moves_below_an_until(self) -> None:
        append(self.file, numbered(0, 1000))
        journal = self.journal()
        first = await journal.page(LogFilter(), 1, 100)
        until = (first.logs[0].timestamp.timestamp() * 1_000_000).__round__()
        found = [entry.message for entry in first.logs]
        for number in range(2, 11):
            append(self.file, numbered(1000 + number * 10, 10))
            page = await journal.page(LogFilter(until=until), number, 100)
            self.assertEqual(page.total_count, 1000)
            found += [entry.message for entry in page.logs]
        self.assertEqual(found, [f"message number {number}" for number in range(999, -1, -1)])

    async def test_the_first_entries_of_an_empty_journal(self) -> None:
        append(self.file, numbered(0, 3))
        journal = self.journal()
        self.assertEqual((await journal.page(LogFilter(service="late"), 1, 10)).total_count, 0)
        append(self.file, numbered(3, 2, _SYSTEMD_UNIT="late.service"))
        self.assertEqual((await journal.page(LogFilter(service="late"), 1, 10)).total_count, 2)

    async def test_files_are_rotated_and_deleted(self) -> None:
        journal = self.journal()
        for part in range(3):
            append(self.file, numbered(part * 500, 500))
            found = await self.all_pages(journal, LogFilter(service="u1"), 60)
            self.assertEqual(found, messages(self.folder, "--unit=u1"))
            self.file.rename(self.folder / f"system@{part}.journal")
            self.assertEqual(await self.all_pages(journal, LogFilter(service="u1"), 60), found)
        (self.folder / "system@0.journal").unlink()
        found = await self.all_pages(journal, LogFilter(service="u1"), 60)
        self.assertEqual(found, [f"message number {number}" for number in range(1499, 499, -1) if number % 3 == 1])
        (self.folder / "system@2.journal").unlink()
        found = await self.all_pages(journal, LogFilter(service="u1"), 60)
        self.assertEqual(found, [f"message number {number}" for number in range(999, 499, -1) if number % 3 == 1])
        (self.folder / "system@1.journal").unlink()
        self.assertEqual(await self.all_pages(journal, LogFilter(service="u1"), 60), [])

    async def test_a_file_is_deleted_between_looking_up_and_reading(self) -> None:
        append(self.folder / "system@0.journal", numbered(0, 500))
        append(self.file, numbered(500, 100))
        journal = self.journal()
        await journal.page(LogFilter(), 1, 100)

        def delete(argv: Sequence[str]) -> None:
            if any(argument.startswith("--cursor=") for argument in argv):
                (self.folder / "system@0.journal").unlink(missing_ok=True)

        self.runner.before = delete  # type: ignore[method-assign]
        page = await journal.page(LogFilter(), 4, 100)
        self.assertEqual((page.total_count, page.logs), (100, []))

    async def test_two_writers_are_merged_by_time(self) -> None:
        other = self.folder / "other.journal"
        boot = "f" * 32
        append(self.file, numbered(0, 300, step=10 * SECOND))
        journal = self.journal()
        await journal.page(LogFilter(), 1, 10)
        for part in range(3):
            late = (
                record(BASE + (part * 100 + n) * 10 * SECOND + 5, {"MESSAGE": f"late {part} {n}"}, boot)
                for n in range(100)
            )
            append(other, late)
            found = await self.all_pages(journal, LogFilter(), 70)
            self.assertEqual(found, messages(self.folder))
            self.assertEqual(len(found), 300 + (part + 1) * 100)

    async def test_equal_queries_at_once_count_once(self) -> None:
        journal = self.journal(self.get_large())
        pages = await gatherResults([self.page(journal, LogFilter(), number) for number in range(1, 21)])
        self.assertEqual([page.total_count for page in pages], [100_000] * 20)
        self.assertEqual(len({entry.message for page in pages for entry in page.logs}), 2000)
        self.assertEqual(self.runner.counts(), 1)
        self.assertLessEqual(self.runner.most, 2)

    async def test_too_many_queries_at_once(self) -> None:
        append(self.file, numbered(0, 100))
        journal = self.journal()
        outcomes: list[object] = []
        waiting = [self.page(journal, LogFilter(service=f"s{number}")).addBoth(outcomes.append) for number in range(60)]
        await gatherResults(waiting)
        refused = [each for each in outcomes if not isinstance(each, LogPage)]
        self.assertTrue(refused)
        self.assertTrue(all(each.check(Unavailable) for each in refused))  # type: ignore[attr-defined]
        self.assertGreaterEqual(len(outcomes) - len(refused), 2)
        self.assertLessEqual(self.runner.most, 2)
        self.assertEqual((await journal.page(LogFilter(), 1, 10)).total_count, 100)

    async def test_a_client_that_goes_spoils_nothing(self) -> None:
        journal = self.journal(self.get_large())
        first, second = self.page(journal, LogFilter()), self.page(journal, LogFilter(), 1000)
        await eventually(lambda: self.runner.counts(), "the counting")
        await eventually(lambda: journal._remembered[LogFilter()].index.total > 500, "some entries")  # type: ignore[union-attr]
        first.cancel()
        await self.assertFailure(first, CancelledError)
        page = await second
        self.assertEqual(page.total_count, 100_000)
        self.assertEqual(page.logs[-1].message, "message number 0")

    async def test_counting_goes_on_where_it_took_too_long(self) -> None:
        self.patch(reader_module, "COUNT_SECONDS", 0.05)
        journal = self.journal(self.get_large())
        wanted = LogFilter(since=BASE + 1000 * SECOND)
        page = await journal.page(wanted, 1, 10)
        self.assertTrue(page.total_capped)
        self.assertEqual(page.logs[0].message, "message number 99999")
        self.patch(reader_module, "COUNT_SECONDS", 30)
        page = await journal.page(wanted, 9900, 10)
        self.assertEqual((page.total_count, page.total_capped), (99_000, False))
        self.assertEqual(page.logs[-1].message, "message number 1000")

    async def test_new_entries_that_take_too_long_to_count(self) -> None:
        append(self.file, numbered(0, 100))
        journal = self.journal()
        await journal.page(LogFilter(), 1, 10)
        append(self.file, numbered(100, 20_000))
        self.patch(reader_module, "COUNT_SECONDS", 0.03)
        page = await journal.page(LogFilter(), 1, 10)
        self.assertTrue(page.total_capped)
        self.assertEqual(page.logs[0].message, "message number 20099")

    async def test_more_than_are_counted(self) -> None:
        self.patch(reader_module, "COUNT_LIMIT", 1000)
        self.patch(journal_module, "COUNT_LIMIT", 1000)
        append(self.file, numbered(0, 2500))
        journal = self.journal()
        page = await journal.page(LogFilter(), 10, 100)
        self.assertEqual((page.total_count, page.total_capped), (1000, True))
        self.assertEqual(page.logs[-1].message, "message number 1500")
        rest = await journal.page(LogFilter(until=BASE + 999 * SECOND), 10, 100)
        self.assertEqual((rest.total_count, rest.logs[-1].message), (1000, "message number 0"))
        few = await journal.page(LogFilter(until=BASE + 998 * SECOND), 1, 100)
        self.assertEqual((few.total_count, few.total_capped), (999, False))
        counted = self.runner.counts()
        await journal.page(LogFilter(), 1, 100)
        self.assertEqual(self.runner.counts(), counted)

    async def test_only_some_filters_are_remembered(self) -> None:
        append(self.file, numbered(0, 20))
        journal = self.journal()
        for number in range(journal_module.MAX_FILTERS + 5):
            await journal.page(LogFilter(since=number), 1, 10)
        self.assertEqual(len(journal._remembered), journal_module.MAX_FILTERS)

    async def test_a_journal_that_cannot_be_read(self) -> None:
        append(self.file, numbered(0, 10))
        for script in ("echo secret >&2; exit 1", "kill -KILL $$", "exit 3", "exit 1"):
            tool = self.folder / "tool"
            tool.write_text(f"#!/bin/sh\n{script}\n")
            tool.chmod(0o755)
            self.patch(command_module, "PROGRAM", str(tool.absolute()))
            with self.assertRaises(Unavailable) as caught:
                await self.journal().page(LogFilter(), 1, 10)
            self.assertEqual(str(caught.exception), "The journal cannot be read")

    async def test_journalctl_that_hangs_is_ended(self) -> None:
        append(self.file, numbered(0, 10))
        journal = self.journal()
        await journal.page(LogFilter(), 1, 10)
        tool = self.folder / "tool"
        tool.write_text("#!/bin/sh\nexec sleep 1000\n")
        tool.chmod(0o755)
        self.patch(command_module, "PROGRAM", str(tool.absolute()))
        self.patch(reader_module, "_READ_SECONDS", 0.2)
        with self.assertRaisesRegex(Unavailable, "not read in time"):
            await journal.page(LogFilter(), 1, 10)

    async def test_journalctl_without_entries(self) -> None:
        for wanted in (LogFilter(), LogFilter(service="sshd")):
            self.assertEqual(await self.journal().page(wanted, 3, 50), LogPage([], 0, 3, 50, False))
        append(self.file, [])
        self.assertEqual((await self.journal().page(LogFilter(), 1, 50)).total_count, 0)
        append(self.file, numbered(0, 1))
        self.assertEqual((await self.journal().page(LogFilter(), 1, 50)).total_count, 1)

    async def test_syslog_where_there_is_no_journal(self) -> None:
        (self.folder / "log").mkdir()
        (self.folder / "log" / "syslog").write_text("2025-08-01T10:30:00Z host app[5]: from syslog\n")
        journal = self.journal()
        page = await journal.page(LogFilter(), 1, 10)
        self.assertEqual(([entry.message for entry in page.logs], page.total_count), (["from syslog"], 1))
        append(self.file, numbered(0, 2))
        self.assertEqual((await journal.page(LogFilter(), 1, 10)).total_count, 2)
        self.patch(presence_module, "PROGRAM", "no-such-journalctl")
        self.assertEqual((await journal.page(LogFilter(), 1, 10)).logs[0].message, "from syslog")
        (self.folder / "log" / "syslog").unlink()
        with self.assertRaisesRegex(Unavailable, "neither journalctl nor a syslog file"):
            await journal.page(LogFilter(), 1, 10)
