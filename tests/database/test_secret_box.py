import stat
from pathlib import Path

import pytest

from appliance.database.secret_box import KEY_BYTES, MasterKey, MasterKeyUnusable, SecretBox, Unsealable

BOX = SecretBox(b"k" * KEY_BYTES)


def test_what_was_sealed_is_opened() -> None:
    for content in (b"", b"secret", bytes(range(256)) * 100):
        sealed = BOX.seal(content, "test")
        assert BOX.open(sealed, "test") == content
        assert content == b"" or content not in sealed
        assert BOX.seal(content, "test") != sealed


def test_nothing_else_is_opened() -> None:
    sealed = BOX.seal(b"secret", "test")
    changed = [sealed[:i] + bytes((sealed[i] ^ 1,)) + sealed[i + 1 :] for i in range(len(sealed))]
    for wrong in (b"", b"\x01", sealed[:-1], sealed[:13], sealed + b"x", b"\x02" + sealed[1:], *changed):
        with pytest.raises(Unsealable):
            BOX.open(wrong, "test")
    with pytest.raises(Unsealable):
        BOX.open(sealed, "other")
    with pytest.raises(Unsealable):
        SecretBox(b"x" * KEY_BYTES).open(sealed, "test")


def test_the_master_key_is_made_once(tmp_path: Path) -> None:
    path = tmp_path / "master.key"
    first, second = MasterKey.load(path), MasterKey.load(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert first.derive("a") == second.derive("a") != first.derive("b")
    assert len(first.derive("a")) == KEY_BYTES
    assert second.box("a").open(first.box("a").seal(b"x", "p"), "p") == b"x"
    path.chmod(0o644)
    MasterKey.load(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_keys_are_those_of_rfc_5869() -> None:
    # Its test case 3 has neither salt nor info; ours always has the purpose, so the empty one is compared.
    derived = MasterKey(b"\x0b" * 22).derive("")
    assert derived.hex().startswith("8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d")


@pytest.mark.parametrize("content", [b"", b"short", b"x" * 2000])
def test_what_is_no_key_is_not_replaced(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "master.key"
    path.write_bytes(content)
    with pytest.raises(MasterKeyUnusable, match=r"master\.key"):
        MasterKey.load(path)
    assert path.read_bytes() == content


def test_a_place_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(MasterKeyUnusable, match="put back"):
        MasterKey.load(tmp_path)
    with pytest.raises(MasterKeyUnusable, match="make its folder writable"):
        MasterKey.load(tmp_path / "missing" / "master.key")
