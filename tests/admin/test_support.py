"""Log files and the debug bundle, unpacked with tar and decrypted with openssl as support does."""

import io
import re
import tarfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.server import TOKEN, Server, running
from tests.support.vendor import decrypt, make_keys, openssl, wrapper


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(tmp_path_factory.mktemp("support")) as server:
        yield server


def unpacked(content: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(content)) as reader:
        files = [member for member in reader if member.isfile()]
        return {member.name: reader.extractfile(member).read() for member in files}  # type: ignore[union-attr]


def test_no_bundle_without_keys(server: Server) -> None:
    answer = server.get("/debug")
    assert answer.status == 400
    assert answer.json["Error-Message"].startswith("Making debug-bundle.tar failed")


def test_logs(server: Server, tmp_path: Path) -> None:
    (tmp_path / "app.log").write_text("of the application\n")
    (server.admin / "log" / "own.log").write_text("of ours\n")
    (server.admin / "etc" / "logs.txt").write_text(
        f"{tmp_path}/app.log\n{tmp_path}/missing.log\netc/api.token\n../../server.log\n"
    )
    answer = server.get("/logs")
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["filename"] == "logs.tar.gz"
    assert answer.headers["content-disposition"] == 'attachment; filename="logs.tar.gz"'
    found = unpacked(answer.body)
    assert found["log/own.log"] == b"of ours\n"
    assert found[f"{tmp_path}/app.log".lstrip("/")] == b"of the application\n"
    assert not [name for name in found if "token" in name or "server.log" in name]
    assert TOKEN.encode() not in b"".join(found.values())


def test_two_at_once_get_whole_archives(server: Server) -> None:
    with ThreadPoolExecutor(4) as pool:
        for answer in pool.map(lambda _: server.get("/logs"), range(4)):
            assert answer.status == 200
            assert "log/jidoteki-audit.log" in unpacked(answer.body)


def test_the_debug_bundle_opens_with_the_private_key(server: Server, tmp_path: Path) -> None:
    keys = make_keys(tmp_path / "keys", server)
    (server.admin / "etc" / "debug.txt").write_text("echo of a command; echo wrong >&2\nexit 3\n# comment\n")
    answer = server.get("/debug")
    assert answer.headers["filename"] == "debug-bundle.tar"
    assert answer.headers["content-disposition"] == 'attachment; filename="debug-bundle.tar"'
    bundle = unpacked(answer.body)
    assert list(bundle) == ["debug.key.enc", "debug.tar.gz.enc", "logs.tar.gz.enc"]
    key = openssl(
        "pkeyutl", "-decrypt", "-inkey", keys / "updates.private.pem", "-pkeyopt", "rsa_padding_mode:pkcs1",
        stdin=bundle["debug.key.enc"],
    )  # fmt: skip
    (tmp_path / "debug.key").write_bytes(key)
    debug = unpacked(decrypt(tmp_path / "debug.key", bundle["debug.tar.gz.enc"]))
    said = b"".join(debug.values()).decode()
    assert "of a command\nwrong\n" in said
    assert "[exit code 3]" in said
    assert "log/jidoteki-audit.log" in unpacked(decrypt(tmp_path / "debug.key", bundle["logs.tar.gz.enc"]))
    assert not list((server.admin / "tmp").glob("debug.??????"))
    other = unpacked(server.get("/debug").body)
    assert other["debug.key.enc"] != bundle["debug.key.enc"]


def test_a_vendors_scripts(server: Server) -> None:
    script = wrapper(server, 'rm -f "$APPLIANCE_UPLOADS/logs.tar.gz" "$APPLIANCE_UPLOADS/debug-bundle.tar"\n')
    try:
        for path in ("/logs", "/debug"):
            assert (server.get(path).status, server.get(path).json) == (404, {"Status": "404 Not Found"})
        wrapper(server, 'printf "for $SSH_ORIGINAL_COMMAND" >"$APPLIANCE_UPLOADS/logs.tar.gz"\n')
        assert server.get("/logs").body == b"for logs"
        wrapper(server, "echo out of order >&2; exit 1\n")
        for path in ("/logs", "/debug", "/services"):
            answer = server.get(path)
            assert answer.status == 400 and answer.json["Error-Message"]
        wrapper(server, "echo no json\n")
        assert server.get("/services").status == 400
        wrapper(server, """echo '{"services":[{"openssh":"running"}]}'\n""")
        assert server.get("/services").json == {"services": [{"openssh": "running"}]}
    finally:
        script.unlink()


def test_both_are_audited(server: Server) -> None:
    text = (server.admin / "log" / "jidoteki-audit.log").read_text()
    for action, path in (("logs.get", "logs"), ("debug.get", "debug")):
        assert re.search(rf'^\d+\.\d{{9}},[0-9a-f]{{16}},web,admin,{action},"/api/v1/admin/{path}"$', text, re.M)
