"""The audit file under many writers, and when it is set aside."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from appliance.admin.audit import append_line


def test_no_line_is_lost_when_many_write_and_the_file_is_set_aside(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    filled = b"x" * 999 + b"\n"
    path.write_bytes(filled)
    lines = [b"%03d\n" % number for number in range(200)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda line: append_line(path, line, 900), lines))
    assert path.with_name("audit.log.1").read_bytes() == filled
    assert sorted(path.read_bytes().splitlines(keepends=True)) == lines


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "other").write_text("other\n")
    (tmp_path / "audit.log").symlink_to(tmp_path / "other")
    with pytest.raises(OSError, match="symbolic links"):
        append_line(tmp_path / "audit.log", b"line\n")
    assert (tmp_path / "other").read_text() == "other\n"
