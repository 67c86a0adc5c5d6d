"""The heads of real journal files."""

from pathlib import Path

import pytest

from appliance.host.journal import files
from appliance.host.journal.files import scan
from tests.support.journal import append, numbered

ID = "0123456789abcdef0123456789abcdef"


def test_entries_are_counted_as_they_come(tmp_path: Path) -> None:
    journal = tmp_path / "system.journal"
    append(journal, numbered(0, 30))
    before = scan(tmp_path)
    append(journal, numbered(30, 5))
    after = scan(tmp_path)
    assert [file.entries for file in before.values()] == [30]
    assert [file.entries for file in after.values()] == [35]
    assert before.keys() == after.keys()


def test_a_file_keeps_its_id_when_it_is_renamed(tmp_path: Path) -> None:
    append(tmp_path / "system.journal", numbered(0, 3))
    before = scan(tmp_path)
    (tmp_path / "system.journal").rename(tmp_path / "system@1.journal")
    assert scan(tmp_path) == before
    append(tmp_path / "system.journal", numbered(3, 2))
    assert sorted(file.entries for file in scan(tmp_path).values()) == [2, 3]
    assert before.keys() < scan(tmp_path).keys()


def test_files_lie_in_folders_of_machines(tmp_path: Path) -> None:
    append(tmp_path / ID / "system.journal", numbered(0, 3))
    append(tmp_path / "remote" / "system.journal", numbered(0, 4))
    assert [file.entries for file in scan(tmp_path).values()] == [3]


def test_by_default_only_this_machine_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    append(tmp_path / "var" / ID / "system.journal", numbered(0, 3))
    append(tmp_path / "var" / ("f" * 32) / "system.journal", numbered(0, 4))
    append(tmp_path / "run" / ID / "system.journal", numbered(0, 5))
    (tmp_path / "machine-id").write_text(f"{ID}\n")
    monkeypatch.setattr(files, "DEFAULT_FOLDERS", (tmp_path / "var", tmp_path / "run"))
    monkeypatch.setattr(files, "MACHINE_ID", tmp_path / "machine-id")
    assert sorted(file.entries for file in scan(None).values()) == [3, 5]
    monkeypatch.setattr(files, "MACHINE_ID", tmp_path / "none")
    assert scan(None) == {}


def test_what_is_no_journal_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "text.journal").write_text("hello")
    (tmp_path / "empty.journal").touch()
    (tmp_path / "folder.journal").mkdir()
    (tmp_path / "gone.journal").symlink_to(tmp_path / "nothing")
    assert scan(tmp_path) == {}
    assert scan(tmp_path / "nothing") == {}
    assert scan(tmp_path / "text.journal") == {}
