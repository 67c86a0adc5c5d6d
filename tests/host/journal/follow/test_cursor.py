"""Which cursor comes first, as journalctl itself sees it."""

import random
import subprocess
from pathlib import Path

from appliance.host.journal.follow.cursor import is_after, is_same
from tests.support.journal import BASE, SECOND, append, record

OTHER_BOOT = "f" * 32


def cursors(directory: Path) -> list[bytes]:
    """All cursors, in journalctl's order."""
    argv = ["journalctl", "-q", "--no-pager", "-o", "export", "--output-fields=_BOOT_ID", f"--directory={directory}"]
    lines = subprocess.run(argv, check=True, capture_output=True, timeout=60).stdout.splitlines()
    return [line.removeprefix(b"__CURSOR=") for line in lines if line.startswith(b"__CURSOR=")]


def test_the_order_is_that_of_journalctl(tmp_path: Path) -> None:
    dice = random.Random(7)
    for name in ("one", "two"):  # two writers, two boots, and some entries at the same time
        at = BASE
        entries = []
        for number in range(100):
            at += dice.choice((0, 1, SECOND, 7 * SECOND))
            boot = OTHER_BOOT if number >= 50 else OTHER_BOOT.replace("f", "e")
            entries.append(record(at, {"MESSAGE": f"{name} {number}"}, boot))
        append(tmp_path / f"{name}.journal", entries)
    found = cursors(tmp_path)
    assert len(found) == 200
    for place, cursor in enumerate(found):
        assert not is_after(cursor, cursor)
        for later in found[place + 1 : place + 30]:
            assert is_after(later, cursor)
            assert not is_after(cursor, later)


def test_nothing_comes_before_the_empty_cursor() -> None:
    cursor = b"s=aa;i=1;b=bb;m=1;t=1;x=1"
    assert is_after(cursor, b"")
    assert not is_after(b"", cursor)
    assert not is_after(b"", b"")


def test_numbers_go_before_clocks() -> None:
    assert is_after(b"s=aa;i=10;b=bb;m=1;t=1;x=1", b"s=aa;i=f;b=bb;m=2;t=2;x=1")
    assert is_after(b"s=cc;i=1;b=bb;m=3;t=1;x=1", b"s=aa;i=f;b=bb;m=2;t=2;x=1")
    assert is_after(b"s=cc;i=1;b=dd;m=1;t=3;x=1", b"s=aa;i=f;b=bb;m=2;t=2;x=1")
    assert is_after(b"s=cc;i=1;b=dd;m=1;t=2;x=2", b"s=aa;i=f;b=bb;m=2;t=2;x=1")


def test_an_entry_that_was_copied_is_the_same() -> None:
    assert is_same(b"s=aa;i=10;b=bb;m=5;t=6;x=7", b"s=cc;i=3;b=bb;m=5;t=6;x=7")
    assert not is_same(b"s=aa;i=10;b=bb;m=5;t=6;x=7", b"s=aa;i=11;b=bb;m=5;t=6;x=7")
    assert not is_same(b"s=aa;i=10;b=bb;m=5;t=6;x=7", b"s=cc;i=10;b=bb;m=5;t=6;x=8")
