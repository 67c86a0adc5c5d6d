"""Changing the certificate: the next handshake shows it, open connections go on, each refusal says why."""

import re
import stat
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from tests.support.authority import Issued, Key, issue, key_pem, rsa_key
from tests.support.server import TOKEN, Server, running
from tests.support.surface import post_when_idle
from tests.support.vendor import DEFAULT_SCRIPT, openssl, wrapper

NOW = datetime.now(UTC)
FAILED = r"\[\d+\]\[SYSTEM\] Failed updating TLS certificates: "


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(tmp_path_factory.mktemp("certs")) as server:
        server.insecure = True
        yield server


def new(name: str, issuer: Issued | None = None, **options: Any) -> Issued:
    return issue(name, issuer, now=NOW, **options)


def fingerprint(pem: bytes) -> str:
    return openssl("x509", "-noout", "-fingerprint", "-sha256", stdin=pem).decode().split("=")[1].strip()


def handshake(server: Server) -> bytes:
    """All certificates that a new handshake shows."""
    address = f"127.0.0.1:{server.port}"
    shown = openssl("s_client", "-connect", address, "-servername", "localhost", "-showcerts", stdin=b"")
    found = re.findall(rb"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----\n", shown, re.DOTALL)
    return b"".join(found)


def upload(
    server: Server, folder: Path, public: bytes | None, private: bytes | None, ca: bytes | None = None
) -> dict[str, Any]:
    """Upload the files and return the status once it is settled."""
    fields = []
    for name, content in (("public", public), ("private", private), ("ca", ca)):
        if content is not None:
            (folder / f"{name}.pem").write_bytes(content)
            fields.append(f"{name}=@{folder / name}.pem")
    answer = post_when_idle(server, "/certs", *fields)
    assert (answer.status, answer.json) == (202, {"Status": "202 Accepted", "Location": "/api/v1/admin/certs"})
    assert answer.headers["location"] == "/api/v1/admin/certs"
    seen: dict[str, Any] = server.until("/certs", lambda seen: seen["status"] != "running")
    return seen


def assert_failed(seen: dict[str, Any], why: str) -> None:
    assert seen["status"] == "failed"
    assert re.fullmatch(FAILED + re.escape(why), seen["log"].split("\\n")[-1])


def test_nothing_yet(server: Server) -> None:
    answer = server.get("/certs")
    assert (answer.status, answer.body) == (200, b'{"status":null,"log":null}')


@pytest.mark.parametrize(("key", "form"), [
    (rsa_key(2048), serialization.PrivateFormat.TraditionalOpenSSL),
    (rsa_key(2048), serialization.PrivateFormat.PKCS8),
    (ec.generate_private_key(ec.SECP256R1()), serialization.PrivateFormat.TraditionalOpenSSL),
    (ec.generate_private_key(ec.SECP384R1()), serialization.PrivateFormat.PKCS8),
], ids=["RSA PKCS#1", "RSA PKCS#8", "EC SEC 1", "EC PKCS#8"])  # fmt: skip
def test_success(server: Server, tmp_path: Path, key: Key, form: serialization.PrivateFormat) -> None:
    pair = new("success.host", key=key)
    seen = upload(server, tmp_path, pair.pem, key_pem(key, form))
    assert seen["status"] == "success"
    assert seen["log"].endswith("[SYSTEM] Updating TLS certificates successful")
    assert fingerprint(handshake(server)) == fingerprint(pair.pem)
    for name, mode in (("appliance.pem", 0o644), ("appliance.key", 0o600)):
        assert stat.S_IMODE((server.admin / "etc" / name).stat().st_mode) == mode
    assert list((server.admin / "uploads").iterdir()) == []


def test_a_chain_is_served_and_goes_with_the_next_pair(server: Server, tmp_path: Path) -> None:
    root = new("root", ca=True)
    middle = new("middle", root, ca=True)
    leaf = new("leaf.host", middle)
    seen = upload(server, tmp_path, leaf.pem, leaf.key_pem, middle.pem + root.pem)
    assert seen["status"] == "success"
    shown = handshake(server)
    assert shown.startswith(leaf.pem) and middle.pem in shown
    (tmp_path / "root.pem").write_bytes(root.pem)
    (tmp_path / "shown.pem").write_bytes(shown)
    openssl("verify", "-CAfile", tmp_path / "root.pem", "-untrusted", tmp_path / "shown.pem", tmp_path / "shown.pem")

    alone = new("alone.host")
    assert upload(server, tmp_path, alone.pem, alone.key_pem)["status"] == "success"
    assert handshake(server) == alone.pem
    assert not (server.admin / "etc" / "ca.pem").exists()


def test_it_survives_a_restart_and_a_kill(server: Server, tmp_path: Path) -> None:
    pair = new("survivor.host")
    assert upload(server, tmp_path, pair.pem, pair.key_pem)["status"] == "success"
    server.kill()
    server.start()
    assert handshake(server) == pair.pem
    assert server.get("/certs").json["status"] == "success"
    server.stop()
    server.start()
    assert handshake(server) == pair.pem


def test_running_then_success_and_a_second_one_refused(server: Server, tmp_path: Path) -> None:
    go = tmp_path / "go"
    script = wrapper(server, f'while [ ! -e "{go}" ]; do sleep 0.05; done\n' + DEFAULT_SCRIPT)
    try:
        pair, before = new("waiting.host"), handshake(server)
        (tmp_path / "public.pem").write_bytes(pair.pem)
        (tmp_path / "private.pem").write_bytes(pair.key_pem)
        fields = (f"public=@{tmp_path}/public.pem", f"private=@{tmp_path}/private.pem")
        assert post_when_idle(server, "/certs", *fields).status == 202
        assert server.get("/certs").json["status"] == "running"
        refused = server.post("/certs", *fields)
        assert (refused.status, refused.json["Error-Message"]) == (400, "Certs is already running")
        assert handshake(server) == before
        go.touch()
        assert server.until("/certs", lambda seen: seen["status"] != "running")["status"] == "success"
        assert handshake(server) == pair.pem
    finally:
        go.touch()
        script.unlink()


def test_a_vendors_script_may_refuse(server: Server, tmp_path: Path) -> None:
    script = wrapper(server, "exit 1\n")
    try:
        pair, before = new("refused.host"), handshake(server)
        assert_failed(upload(server, tmp_path, pair.pem, pair.key_pem), "script error")
        assert handshake(server) == before
    finally:
        script.unlink()


def weak(pair: Issued) -> bytes:
    return pair.pem.replace(b"\n", b"", 3)[:200]


GOOD = new("good.host")
OTHER = new("other.host")
ROOT = new("root", ca=True)
EXPIRED = new("old.host", begin=NOW - timedelta(days=20), end=NOW - timedelta(days=1))
FUTURE = new("future.host", begin=NOW + timedelta(days=2), end=NOW + timedelta(days=20))
TINY = rsa.generate_private_key(public_exponent=65537, key_size=1024)


@pytest.mark.parametrize(("public", "private", "ca", "why"), [
    (GOOD.pem, OTHER.key_pem, None, "private key mismatch"),
    (EXPIRED.pem, EXPIRED.key_pem, None, "expired"),
    (FUTURE.pem, FUTURE.key_pem, None, "expired"),
    (GOOD.pem, key_pem(GOOD.key, passphrase=b"secret"), None, "encrypted key"),
    (GOOD.pem,
     key_pem(rsa_key(2048), serialization.PrivateFormat.TraditionalOpenSSL, b"secret"), None, "encrypted key"),
    (b"no certificate", GOOD.key_pem, None, "not PEM"),
    (GOOD.pem, b"no key", None, "not PEM"),
    (GOOD.pem, GOOD.key_pem, b"no chain", "not PEM"),
    (GOOD.key_pem, GOOD.key_pem, None, "not PEM"),
    (GOOD.pem, GOOD.pem, None, "not PEM"),
    (weak(GOOD), GOOD.key_pem, None, "not PEM"),
    (b"\xff\xfe\x00" * 100, GOOD.key_pem, None, "not PEM"),
    (GOOD.certificate.public_bytes(serialization.Encoding.DER), GOOD.key_pem, None, "not PEM"),
    (GOOD.pem, GOOD.key_pem, ROOT.pem, "broken chain"),
    (new("tiny.host", key=TINY).pem, key_pem(TINY), None, "weak key"),
])  # fmt: skip
def test_failures(server: Server, tmp_path: Path, public: bytes, private: bytes, ca: bytes | None, why: str) -> None:
    before, installed = handshake(server), (server.admin / "etc" / "appliance.key").read_bytes()
    assert_failed(upload(server, tmp_path, public, private, ca), why)
    assert handshake(server) == before
    assert (server.admin / "etc" / "appliance.key").read_bytes() == installed
    assert list((server.admin / "uploads").iterdir()) == []


@pytest.mark.parametrize("names", [(), ("public",), ("private",), ("ca",), ("public", "private", "private")])
def test_missing_and_doubled_parts(server: Server, tmp_path: Path, names: tuple[str, ...]) -> None:
    (tmp_path / "file").write_bytes(GOOD.pem)
    status = server.get("/certs").json["status"]
    answer = server.post("/certs", *(f"{name}=@{tmp_path}/file" for name in names))
    assert answer.status == 400
    assert server.get("/certs").json["status"] == status


def test_an_empty_part_and_one_too_large(server: Server, tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    (tmp_path / "large").write_bytes(b"x" * 3_000_000)
    assert server.post("/certs", f"public=@{tmp_path}/empty", f"private=@{tmp_path}/empty").status == 400
    assert server.post("/certs", f"public=@{tmp_path}/large", f"private=@{tmp_path}/empty").status == 413


def test_two_parts_may_have_the_same_file_name(server: Server, tmp_path: Path) -> None:
    pair = new("same.host")
    (tmp_path / "a").write_bytes(pair.pem)
    (tmp_path / "b").write_bytes(pair.key_pem)
    name = "filename=same.pem"
    answer = post_when_idle(server, "/certs", f"public=@{tmp_path}/a;{name}", f"private=@{tmp_path}/b;{name}")
    assert answer.status == 202
    assert server.until("/certs", lambda seen: seen["status"] != "running")["status"] == "success"
    assert handshake(server) == pair.pem


def test_an_open_download_goes_on(server: Server, tmp_path: Path) -> None:
    content = bytes(range(256)) * 120_000
    (server.admin / "uploads" / "backup.tar").write_bytes(content)
    target, url = tmp_path / "download", server.url(f"/backup/download?token={TOKEN}")
    argv = ["curl", "-sS", "--insecure", "--limit-rate", "12M", "-o", str(target), url]
    with subprocess.Popen(argv) as download:
        while not target.exists() or target.stat().st_size == 0:
            assert download.poll() is None
        pair = new("during.host")
        assert upload(server, tmp_path, pair.pem, pair.key_pem)["status"] == "success"
        assert handshake(server) == pair.pem
        assert download.poll() is None, "the download ended before the certificate was changed"
        assert target.stat().st_size < len(content)
        assert download.wait(60) == 0
    assert target.read_bytes() == content
    (server.admin / "uploads" / "backup.tar").unlink()
