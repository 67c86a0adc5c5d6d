"""The licence: made by the command line, uploaded with curl, an invalid one changes nothing."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.server import Answer, Server, running
from tests.support.vendor import cli, json_file, make_keys, openssl

DETAILS = {
    "app": "enterprise",
    "users": 20,
    "expires": "19 January 2038",
    "name": "Enterprise Company",
    "contact": "cto@enterprise",
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(tmp_path_factory.mktemp("license")) as server:
        make_keys(server.folder / "keys", server)
        yield server


def make(server: Server, folder: Path, details: dict[str, object]) -> Path:
    file = json_file(folder / "details.json", details)
    cli("license", "make", file, "--key", server.folder / "keys" / "updates.private.pem", "-o", folder / "l.asc")
    return folder / "l.asc"


def upload(server: Server, file: Path) -> Answer:
    return server.post("/license", f"license=@{file}")


def test_none_is_404(server: Server) -> None:
    answer = server.get("/license")
    assert (answer.status, answer.json) == (404, {"Status": "404 Not Found"})


def test_upload_and_show(server: Server, tmp_path: Path) -> None:
    answer = upload(server, make(server, tmp_path, DETAILS))
    assert (answer.status, answer.json) == (200, DETAILS)
    assert server.get("/license").json == DETAILS
    further = DETAILS | {"users": 50, "modules": ["a", "ü"]}
    assert upload(server, make(server, tmp_path, further)).json == further
    assert server.get("/license").json == further


def signed(server: Server, details: bytes) -> bytes:
    """A licence made with openssl alone."""
    key = server.folder / "keys" / "updates.private.pem"
    signature = openssl("dgst", "-sha256", "-sign", key, stdin=details)
    pair = {"payload": details, "signature": signature}
    return json.dumps({name: base64.b64encode(value).decode() for name, value in pair.items()}).encode()


def test_one_made_with_openssl(server: Server, tmp_path: Path) -> None:
    (tmp_path / "license.asc").write_bytes(signed(server, json.dumps(DETAILS).encode()))
    assert upload(server, tmp_path / "license.asc").json == DETAILS


def test_invalid_ones_leave_the_old(server: Server, tmp_path: Path) -> None:
    good = signed(server, json.dumps(DETAILS).encode())
    file = tmp_path / "license.asc"
    file.write_bytes(good)
    assert upload(server, file).status == 200
    forged = json.loads(good)
    forged["payload"] = base64.b64encode(json.dumps(DETAILS | {"users": 2000}).encode()).decode()
    for content in (
        b"no licence", b"{}", b"[]", b"\xff\xfe", json.dumps(forged).encode(),
        signed(server, json.dumps(DETAILS | {"expires": "19 January 2018"}).encode()),
        signed(server, json.dumps(DETAILS | {"expires": "someday"}).encode()),
        signed(server, b"[]"), signed(server, b"\xff"), good[: len(good) // 2],
    ):  # fmt: skip
        file.write_bytes(content)
        answer = upload(server, file)
        assert (answer.status, answer.json["Error-Message"]) == (400, "Invalid license file")
        assert server.get("/license").json == DETAILS
    assert list((server.admin / "uploads").iterdir()) == []


def test_missing_and_empty(server: Server, tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    for fields in ((), (f"license=@{tmp_path}/empty",), (f"other=@{tmp_path}/empty",)):
        assert server.post("/license", *fields).status == 400


def test_an_installed_one_that_went_bad_is_404(server: Server) -> None:
    (server.admin / "etc" / "license.asc").write_text("{}")
    assert server.get("/license").status == 404


def test_a_vendors_license_sh(server: Server) -> None:
    script = server.admin / "bin" / "license.sh"
    for text, status in (
        ("echo '{\"vendor\":1}'", 200),
        ("exit 1", 404),
        ("echo no json", 404),
        ("printf '\\377'", 404),
    ):
        script.write_text(f"#!/bin/sh\n{text}\n")
        assert server.get("/license").status == status
    script.write_text("#!/bin/sh\necho '{\"vendor\":2}'\n")
    script.chmod(0o755)
    assert server.get("/license").json == {"vendor": 2}
    script.unlink()
