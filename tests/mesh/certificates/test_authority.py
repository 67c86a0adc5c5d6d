"""Certificates against Nebula's own tool, in both directions; and codecs that take back what they give."""

import json
import subprocess
import time
from ipaddress import IPv4Interface, IPv6Interface, ip_interface
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from appliance.mesh.certificates import pem
from appliance.mesh.certificates.authority import check_signature, from_pem, make_authority, sign, to_pem, verify
from appliance.mesh.certificates.errors import BadCertificate
from appliance.mesh.certificates.keys import new_host_key, new_signing_key, read_public_key, signing_key_pem
from appliance.mesh.certificates.model import Certificate, Details, Version

NOW = int(time.time())
DAY = 86400

# Made by nebula-cert 1.11, the first versions of which that know this format are newer than Debian 12's.
CA_V2 = """\
-----BEGIN NEBULA CERTIFICATE V2-----
MHygFoAEdjJjYYQB/4UEawrW6YYFANIKBumCIPO/B4yVQEQp7oTK/ztjnXQXBxUF
UbrL6u7FN5jrCIgPg0BYYzIRbky5EcdQ54C/LCBc8nzPV4F146Rko+hNASyBks2u
dzQyqNq4PmAs3Dtv9pTI3MBnp4PIVTDm0o5ny60D
-----END NEBULA CERTIFICATE V2-----
"""
HOST_V2 = """\
-----BEGIN NEBULA CERTIFICATE V2-----
MIHFoF+AAW6hGgQFCgEAARgEEf0AAAAAAAAAAAAAAAAAAAFAogcEBcCoAAAYowYM
AXgMAXmFBGsK1umGBQDSCgbohyA3nY4+EvwT5mUC3+jiO2GMCKgNZKJ9pwoSZakh
9J8RMoIglA8SEWx6QK4JMFuxeqYFs7MCT76U+8wCvQ2427H2hGSDQIMkBdDZn1+j
oDMI95z4xI/nhDoguVvwB5jjUXz9WUSczcDj7tefulyVQylS0jX0dtl68x1LTMCf
3ptVlk2c3Qc=
-----END NEBULA CERTIFICATE V2-----
"""
FINGERPRINT_V2 = "f95600af691f956b6659a4c0257f81402edccc05decc4a146e40de467acd27a0"


def cert(*argv: str, cwd: Path) -> str:
    """Run nebula-cert."""
    finished = subprocess.run(["nebula-cert", *argv], cwd=cwd, capture_output=True, text=True, timeout=60, check=False)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return finished.stdout


def shown(folder: Path, name: str) -> Any:
    return json.loads(cert("print", "-json", "-path", name, cwd=folder))


def is_refused(host: Certificate, authority: Certificate, now: int = NOW) -> bool:
    try:
        verify(host, authority, now)
    except BadCertificate:
        return True
    return False


class Issued(msgspec.Struct):
    """A CA of ours, and a host's certificate."""

    key: Ed25519PrivateKey
    authority: Certificate
    host: Certificate


def issue(version: Version = 1, **changed: Any) -> Issued:
    key = new_signing_key()
    authority = make_authority("office", key, version, not_before=NOW - 60, not_after=NOW + 730 * DAY)
    details = Details(
        name="gateway.example",
        networks=(IPv4Interface("10.77.0.1/24"),),
        unsafe_networks=(IPv4Interface("192.168.0.0/16"),),
        groups=("servers", "büro"),
        not_before=NOW - 60,
        not_after=NOW + DAY,
        public_key=new_host_key().public,
        issuer=authority.fingerprint,
    )
    return Issued(key, authority, sign(msgspec.structs.replace(details, **changed), key, version))


def test_nebula_takes_what_we_sign(tmp_path: Path) -> None:
    issued = issue()
    (tmp_path / "ca.crt").write_text(to_pem(issued.authority))
    (tmp_path / "host.crt").write_text(to_pem(issued.host))
    cert("verify", "-ca", "ca.crt", "-crt", "host.crt", cwd=tmp_path)
    for name, certificate in (("ca.crt", issued.authority), ("host.crt", issued.host)):
        found = shown(tmp_path, name)
        assert found["fingerprint"] == certificate.fingerprint
        assert found["signature"] == certificate.signature.hex()
        assert found["details"]["name"] == certificate.details.name
        assert found["details"]["publicKey"] == certificate.details.public_key.hex()
        assert found["details"]["isCa"] is certificate.details.is_ca
        assert found["details"]["issuer"] == certificate.details.issuer
    details = shown(tmp_path, "host.crt")["details"]
    assert details["ips"] == ["10.77.0.1/24"]
    assert details["subnets"] == ["192.168.0.0/16"]
    assert details["groups"] == ["servers", "büro"]


def test_nebula_signs_with_our_key_for_our_key(tmp_path: Path) -> None:
    issued, pair = issue(), new_host_key()
    (tmp_path / "ca.crt").write_text(to_pem(issued.authority))
    (tmp_path / "ca.key").write_text(signing_key_pem(issued.key).reveal())
    (tmp_path / "host.pub").write_text(pem.encode(pem.X25519_PUBLIC_KEY, pair.public))
    cert("sign", "-name", "other", "-ip", "10.77.0.9/24", "-in-pub", "host.pub", "-out-crt", "o.crt", cwd=tmp_path)
    found = from_pem((tmp_path / "o.crt").read_text())
    verify(found, issued.authority, int(time.time()) + 1)
    assert found.details.public_key == pair.public


def test_we_read_what_nebula_makes_and_encode_it_byte_for_byte(tmp_path: Path) -> None:
    cert(
        "ca", "-name", "theirs", "-duration", "48h", "-groups", "a,b", "-ips", "10.0.0.0/8,172.16.0.0/12", cwd=tmp_path
    )
    options = ["-name", "host", "-ip", "10.77.0.1/24", "-groups", "a", "-duration", "1h"]
    cert("sign", *options, cwd=tmp_path)
    authority, host = (from_pem((tmp_path / name).read_text()) for name in ("ca.crt", "host.crt"))
    for name, certificate in (("ca.crt", authority), ("host.crt", host)):
        assert to_pem(certificate) == (tmp_path / name).read_text()
        assert certificate.fingerprint == shown(tmp_path, name)["fingerprint"]
    assert authority.details.networks == (IPv4Interface("10.0.0.0/8"), IPv4Interface("172.16.0.0/12"))
    verify(host, authority, int(time.time()))
    check_signature(authority, authority.details.public_key)


def test_version_2_as_nebula_makes_it() -> None:
    authority, host = from_pem(CA_V2), from_pem(HOST_V2)
    assert to_pem(authority) == CA_V2
    assert to_pem(host) == HOST_V2
    assert host.fingerprint == FINGERPRINT_V2
    verify(host, authority, host.details.not_before)
    assert host.details.networks == (IPv4Interface("10.1.0.1/24"), IPv6Interface("fd00::1/64"))
    assert host.details.unsafe_networks == (IPv4Interface("192.168.0.0/24"),)
    assert host.details.groups == ("x", "y")


@pytest.mark.parametrize("version", [1, 2])
def test_what_must_not_be_trusted(version: Version) -> None:
    good = issue(version)
    verify(good.host, good.authority, NOW)
    renamed = msgspec.structs.replace(good.host.details, name="x")
    bad = {
        "another authority": (issue(version).host, good.authority, NOW),
        "too early": (good.host, good.authority, NOW - 61),
        "too late": (good.host, good.authority, NOW + DAY + 1),
        "no host": (good.authority, good.authority, NOW),
        "no authority": (good.host, good.host, NOW),
        "another signature": (msgspec.structs.replace(good.host, signature=bytes(64)), good.authority, NOW),
        "another name": (msgspec.structs.replace(good.host, details=renamed), good.authority, NOW),
    }
    for why, (host, authority, now) in bad.items():
        assert is_refused(host, authority, now), why


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize(
    ("own", "allowed"), [(("a",), True), (("a", "b"), True), (("c",), False), (("a", "c"), False), ((), True)]
)
def test_a_bounded_authority_gives_no_other_group(version: Version, own: tuple[str, ...], allowed: bool) -> None:
    issued = issue(version)
    bounded = sign(msgspec.structs.replace(issued.authority.details, groups=("a", "b")), issued.key, version)
    details = msgspec.structs.replace(issued.host.details, groups=own, issuer=bounded.fingerprint)
    host = sign(details, issued.key, version)
    assert is_refused(host, bounded) is not allowed


@pytest.mark.parametrize(
    ("own", "allowed"),
    [("10.1.2.3/24", True), ("10.1.2.3/16", True), ("10.1.2.3/15", False), ("10.2.0.1/24", False)],
)
def test_a_bounded_authority_gives_no_other_address(own: str, allowed: bool) -> None:
    issued = issue()
    bounded = sign(
        msgspec.structs.replace(issued.authority.details, networks=(IPv4Interface("10.1.0.0/16"),)), issued.key, 1
    )
    details = msgspec.structs.replace(issued.host.details, networks=(IPv4Interface(own),), issuer=bounded.fingerprint)
    host = sign(details, issued.key, 1)
    assert is_refused(host, bounded) is not allowed


def test_version_1_holds_no_ipv6() -> None:
    with pytest.raises(BadCertificate):
        issue(1, networks=(IPv6Interface("fd00::1/64"),))
    issue(2, networks=(IPv6Interface("fd00::1/64"),))


interfaces = st.tuples(st.ip_addresses(v=4), st.integers(0, 32)).map(IPv4Interface)
any_interfaces = interfaces | st.tuples(st.ip_addresses(v=6), st.integers(0, 128)).map(IPv6Interface)
times = st.integers(0, 1 << 40)


@st.composite
def certificates(draw: st.DrawFn) -> Certificate:
    version: Version = draw(st.sampled_from((1, 2)))
    networks = st.lists(interfaces if version == 1 else any_interfaces, max_size=3).map(tuple)
    details = Details(
        name=draw(st.text(st.characters(codec="utf-8"), max_size=300)),
        networks=draw(networks),
        unsafe_networks=draw(networks),
        groups=tuple(draw(st.lists(st.text(st.characters(codec="utf-8"), min_size=1, max_size=50), max_size=3))),
        not_before=draw(times),
        not_after=draw(times),
        public_key=draw(st.binary(min_size=32, max_size=32)),
        is_ca=draw(st.booleans()),
        issuer=draw(st.binary(min_size=32, max_size=32)).hex(),
    )
    return sign(details, KEY, version)


KEY = new_signing_key()


@given(certificates())
def test_what_is_encoded_is_read_again(certificate: Certificate) -> None:
    assert from_pem(to_pem(certificate)) == certificate
    check_signature(certificate, KEY.public_key().public_bytes_raw())


@given(certificates(), st.data())
def test_a_changed_byte_is_noticed(certificate: Certificate, data: st.DataObject) -> None:
    position = data.draw(st.integers(0, len(certificate.encoded) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda value: value != certificate.encoded[position]))
    changed = certificate.encoded[:position] + bytes((byte,)) + certificate.encoded[position + 1 :]
    label = pem.CERTIFICATE_V1 if certificate.version == 1 else pem.CERTIFICATE_V2
    with pytest.raises(BadCertificate):
        check_signature(from_pem(pem.encode(label, changed)), KEY.public_key().public_bytes_raw())


@given(st.binary(max_size=200), st.sampled_from((pem.CERTIFICATE_V1, pem.CERTIFICATE_V2)))
def test_any_bytes_are_read_or_refused(content: bytes, label: str) -> None:
    try:
        certificate = from_pem(pem.encode(label, content))
    except BadCertificate:
        return
    assert certificate.encoded == content


@given(st.text(max_size=300) | st.just("-----BEGIN X-----\n-----END X-----"))
def test_any_text_is_read_or_refused(text: str) -> None:
    with pytest.raises(BadCertificate):
        from_pem(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "garbage",
        pem.encode(pem.X25519_PUBLIC_KEY, b"x" * 31),
        pem.encode(pem.X25519_PUBLIC_KEY, b"x" * 33),
        pem.encode(pem.X25519_PUBLIC_KEY, bytes(32)),
        pem.encode(pem.X25519_PUBLIC_KEY, b"\x01" + bytes(31)),
        pem.encode(pem.X25519_PRIVATE_KEY, b"x" * 32),
        pem.encode(pem.X25519_PUBLIC_KEY, b"x" * 32) * 2,
        pem.encode(pem.X25519_PUBLIC_KEY, b"x" * 32).replace("eHh4", "eH*4"),
        pem.encode(pem.X25519_PUBLIC_KEY, b"x" * 100_000),
    ],
    ids=lambda text: repr(text[:40]),
)
def test_what_is_no_public_key(text: str) -> None:
    with pytest.raises(BadCertificate):
        read_public_key(text)


def test_a_public_key_as_nebula_makes_it(tmp_path: Path) -> None:
    cert("keygen", "-out-key", "k", "-out-pub", "p", cwd=tmp_path)
    assert len(read_public_key((tmp_path / "p").read_text())) == 32
    assert len(read_public_key("\n" + (tmp_path / "p").read_text().replace("\n", "\r\n") + "\n")) == 32


def test_a_host_key_is_one_that_nebula_reads(tmp_path: Path) -> None:
    pair = new_host_key()
    _, raw = pem.decode(pair.private.reveal(), pem.X25519_PRIVATE_KEY)
    assert len(raw) == 32
    assert pair.private.reveal() not in repr(pair)
    assert ip_interface("10.0.0.1/8") in issue(networks=(IPv4Interface("10.0.0.1/8"),)).host.details.networks
