"""The token and license scripts."""

import base64
import json
import subprocess
from pathlib import Path

import pytest

from tests.support.admin_directory import AdminDirectory, make_keys

DETAILS = {
    "app": "enterprise",
    "users": 20,
    "expires": "19 January 2038",
    "name": "Company",
    "contact": "x@y",
}


@pytest.fixture
def admin(tmp_path: Path) -> AdminDirectory:
    return AdminDirectory.make(tmp_path / "admin")


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("keys")
    return make_keys(folder / "keys", AdminDirectory.make(folder / "admin"))


@pytest.mark.parametrize("token", ["a", "!~'\"$`\\", "x" * 255, "with-line-end\n"])
def test_a_token_is_taken_in(admin: AdminDirectory, token: str) -> None:
    (admin.uploads / "api.token").write_text(token)
    assert admin.run("token").returncode == 0
    assert (admin.etc / "api.token").read_text() == token
    assert (admin.etc / "api.token").stat().st_mode & 0o777 == 0o600
    assert list(admin.uploads.iterdir()) == []


@pytest.mark.parametrize("token", [b"", b"\n", b"a b", b"x" * 256, b"a\nb", b"\xc3\xa9", b"a\0b", b"a\n\n"])
def test_a_bad_token_changes_nothing(admin: AdminDirectory, token: bytes) -> None:
    (admin.etc / "api.token").write_text("old")
    (admin.uploads / "api.token").write_bytes(token)
    done = admin.run("token")
    assert (done.returncode, done.stderr) == (1, "api.token is not a valid token\n")
    assert (admin.etc / "api.token").read_text() == "old"


def test_no_token_at_all(admin: AdminDirectory) -> None:
    assert admin.run("token").returncode == 1


def sign(payload: bytes, keys: Path) -> bytes:
    """A licence made with openssl alone."""
    argv = ["openssl", "dgst", "-sha256", "-sign", str(keys / "updates.private.pem")]
    signature = subprocess.run(argv, input=payload, capture_output=True, check=True).stdout
    document = {
        "payload": base64.b64encode(payload).decode(),
        "signature": base64.b64encode(signature).decode(),
    }
    return json.dumps(document).encode()


@pytest.mark.parametrize("name", ["license.pub", "updates.pub"])
def test_a_licence_is_taken_in_and_shown(admin: AdminDirectory, keys: Path, name: str) -> None:
    (admin.etc / name).write_bytes((keys / "updates.pub").read_bytes())
    (admin.uploads / "license.asc").write_bytes(sign(json.dumps(DETAILS).encode(), keys))
    done = admin.run("license")
    assert (done.returncode, done.stderr, json.loads(done.stdout)) == (0, "", DETAILS)
    shown = admin.run("license", "SHOW")
    assert (shown.returncode, json.loads(shown.stdout)) == (0, DETAILS)
    assert list(admin.uploads.iterdir()) == []


def details(**changes: object) -> bytes:
    return json.dumps(DETAILS | changes).encode()


@pytest.mark.parametrize(("payload", "reason"), [
    (details(expires="1 January 2001"), "expired on 1 January 2001"),
    (details(expires="2001-01-01"), "expired on 2001-01-01"),
    (details(expires="soon"), "expires: 'soon' is no date"),
    (details(expires=5), "expires: 5 is no date"),
    (b"[]", "the payload is no JSON object"),
    (b"{", "the payload is no JSON"),
])  # fmt: skip
def test_a_bad_payload_leaves_the_old_licence(admin: AdminDirectory, keys: Path, payload: bytes, reason: str) -> None:
    (admin.etc / "updates.pub").write_bytes((keys / "updates.pub").read_bytes())
    (admin.etc / "license.asc").write_text("old")
    (admin.uploads / "license.asc").write_bytes(sign(payload, keys))
    done = admin.run("license")
    assert (done.returncode, done.stdout, done.stderr) == (1, "", f"invalid licence: {reason}\n")
    assert (admin.etc / "license.asc").read_text() == "old"


@pytest.mark.parametrize("document", [b"", b"{}", b"[]", b'{"payload": "?", "signature": ""}', b"x" * (2 << 20)])
def test_what_is_no_licence_is_refused(admin: AdminDirectory, keys: Path, document: bytes) -> None:
    (admin.etc / "updates.pub").write_bytes((keys / "updates.pub").read_bytes())
    (admin.uploads / "license.asc").write_bytes(document)
    assert admin.run("license").returncode == 1


def test_a_changed_payload_is_refused(admin: AdminDirectory, keys: Path) -> None:
    (admin.etc / "updates.pub").write_bytes((keys / "updates.pub").read_bytes())
    document = json.loads(sign(details(), keys))
    document["payload"] = base64.b64encode(details(users=1000)).decode()
    (admin.uploads / "license.asc").write_text(json.dumps(document))
    assert admin.run("license").stderr == "invalid licence: the signature does not match\n"


def test_without_a_key_or_a_licence(admin: AdminDirectory, keys: Path) -> None:
    assert admin.run("license", "SHOW").returncode == 1
    (admin.uploads / "license.asc").write_bytes(sign(details(), keys))
    assert admin.run("license").stderr == "invalid licence: there is no key to check it with\n"
    assert admin.run("license").stderr == "license.asc is missing\n"
    assert admin.run("license", "OTHER").returncode == 2
