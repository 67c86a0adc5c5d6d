"""The certs script: the pair is taken in whole, and what is wrong with it is named."""

import datetime
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.support.admin_directory import AdminDirectory


@pytest.fixture
def admin(tmp_path: Path) -> AdminDirectory:
    return AdminDirectory.make(tmp_path / "admin")


def openssl(*arguments: str) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)


def make_pair(folder: Path, *, key: str = "rsa:2048") -> None:
    options = ["-pkeyopt", "ec_paramgen_curve:prime256v1"] if key == "ec" else []
    pair = ["-keyout", str(folder / "appliance.key"), "-out", str(folder / "appliance.pem")]
    openssl("req", "-x509", "-newkey", key, *options, "-nodes", "-days", "2", "-subj", "/CN=appliance", *pair)


def make_signed_pair(folder: Path) -> None:
    """A pair signed by ca.pem."""
    pair = ["-keyout", str(folder / "ca.key"), "-out", str(folder / "ca.pem")]
    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=ca", *pair)
    key, request = str(folder / "appliance.key"), str(folder / "request")
    openssl("req", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=appliance", "-keyout", key, "-out", request)
    signer = ["-CA", str(folder / "ca.pem"), "-CAkey", str(folder / "ca.key"), "-CAcreateserial"]
    openssl("x509", "-req", "-in", request, *signer, "-days", "2", "-out", str(folder / "appliance.pem"))
    for name in ("ca.key", "ca.srl", "request"):
        (folder / name).unlink(missing_ok=True)


@pytest.mark.parametrize("key", ["rsa:2048", "ec"])
def test_a_pair_is_taken_in(admin: AdminDirectory, key: str) -> None:
    (admin.etc / "ca.pem").write_text("of the former certificate")
    make_pair(admin.uploads, key=key)
    public = (admin.uploads / "appliance.pem").read_text()
    assert admin.run("certs").returncode == 0
    assert (admin.etc / "appliance.pem").read_text() == public
    assert (admin.etc / "appliance.key").stat().st_mode & 0o777 == 0o600
    assert not (admin.etc / "ca.pem").exists()
    assert (admin.etc / "status_certs.txt").read_text() == "success\n"
    assert admin.log("update_certs.log")[-1].endswith("][SYSTEM] Updating TLS certificates successful")
    assert list(admin.uploads.iterdir()) == []
    assert [path.name for path in (admin.path / "tmp").iterdir()] == ["certs.lock"]


def test_a_pair_with_its_authority(admin: AdminDirectory) -> None:
    make_signed_pair(admin.uploads)
    assert admin.run("certs").returncode == 0
    assert "CERTIFICATE" in (admin.etc / "ca.pem").read_text()


def mismatch(admin: AdminDirectory) -> None:
    make_pair(admin.uploads)
    openssl("genrsa", "-out", str(admin.uploads / "appliance.key"), "2048")


def expired(admin: AdminDirectory) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "appliance")])
    yesterday = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), serial_number=1)
        .not_valid_before(yesterday - datetime.timedelta(days=1))
        .not_valid_after(yesterday)
        .sign(key, hashes.SHA256())
    )
    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain)
    (admin.uploads / "appliance.key").write_bytes(private)
    (admin.uploads / "appliance.pem").write_bytes(certificate.public_bytes(pem))


def encrypted(admin: AdminDirectory) -> None:
    make_pair(admin.uploads)
    key = admin.uploads / "appliance.key"
    openssl("pkey", "-in", str(key), "-aes256", "-passout", "pass:x", "-out", str(admin.path / "key"))
    (admin.path / "key").rename(key)


def garbage(admin: AdminDirectory) -> None:
    make_pair(admin.uploads)
    (admin.uploads / "appliance.pem").write_text("no certificate")


def garbage_key(admin: AdminDirectory) -> None:
    make_pair(admin.uploads)
    (admin.uploads / "appliance.key").write_text("no key")


def broken_chain(admin: AdminDirectory) -> None:
    make_pair(admin.uploads)
    (admin.uploads / "appliance.pem").rename(admin.uploads / "ca.pem")
    (admin.uploads / "appliance.key").unlink()
    make_pair(admin.uploads)


def nothing(admin: AdminDirectory) -> None:
    """No files at all."""


@pytest.mark.parametrize(("make", "reason"), [
    (mismatch, "private key mismatch"), (expired, "expired"), (encrypted, "encrypted key"),
    (garbage, "not PEM"),
    (garbage_key, "not PEM"), (broken_chain, "broken chain"), (nothing, "appliance.pem is missing"),
])  # fmt: skip
def test_a_bad_pair_changes_nothing(admin: AdminDirectory, make: Callable[[AdminDirectory], None], reason: str) -> None:
    (admin.etc / "appliance.pem").write_text("old")
    make(admin)
    done = admin.run("certs")
    assert (done.returncode, done.stderr) == (1, f"{reason}\n")
    assert (admin.etc / "appliance.pem").read_text() == "old"
    assert (admin.etc / "status_certs.txt").read_text() == "failed\n"
    assert admin.log("update_certs.log")[-1].endswith(f"][SYSTEM] Failed updating TLS certificates: {reason}")
    assert list(admin.uploads.iterdir()) == []
