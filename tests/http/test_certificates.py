import ipaddress
import subprocess
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519
from cryptography.x509.oid import ExtendedKeyUsageOID

from appliance.http.certificates import (
    ADDRESS_LIMIT,
    CERTIFICATE_LIMIT,
    CLOCK_SKEW,
    INPUT_LIMIT,
    CertificateError,
    Pair,
    Reason,
    check,
    make_self_signed,
)
from tests.support.authority import NOW, Issued, Key, issue, key_pem, rsa_key

PKCS8 = serialization.PrivateFormat.PKCS8
TRADITIONAL = serialization.PrivateFormat.TraditionalOpenSSL


def reason(public: bytes, private: bytes, ca: bytes | None = None) -> Reason:
    with pytest.raises(CertificateError) as caught:
        check(public, private, ca, NOW)
    assert caught.value.detail
    return caught.value.reason


@pytest.fixture(scope="module")
def root() -> Issued:
    return issue("root", ca=True)


@pytest.fixture(scope="module")
def intermediate(root: Issued) -> Issued:
    return issue("intermediate", root, ca=True)


@pytest.fixture(scope="module")
def leaf(intermediate: Issued) -> Issued:
    return issue("box.example", intermediate)


class TestKeys:
    @pytest.mark.parametrize("form", [PKCS8, TRADITIONAL])
    @pytest.mark.parametrize(
        "key",
        [
            rsa_key(2048),
            rsa_key(3072),
            ec.generate_private_key(ec.SECP256R1()),
            ec.generate_private_key(ec.SECP384R1()),
            ec.generate_private_key(ec.SECP521R1()),
        ],
        ids=["rsa-2048", "rsa-3072", "p-256", "p-384", "p-521"],
    )
    def test_accepts_each_kind_in_each_form(self, key: Key, form: serialization.PrivateFormat) -> None:
        issued = issue("box", key=key)

        pair = check(issued.pem, key_pem(key, form), None, NOW)

        assert pair == Pair(issued.pem, key_pem(key, PKCS8))

    def test_accepts_ed25519(self) -> None:
        issued = issue("box", key=ed25519.Ed25519PrivateKey.generate())

        assert check(issued.pem, issued.key_pem, None, NOW).key_pem == issued.key_pem

    def test_accepts_a_key_with_its_parameters_before_it(self, tmp_path: Path) -> None:
        written = subprocess.run(
            ["openssl", "ecparam", "-name", "prime256v1", "-genkey"], capture_output=True, check=True
        ).stdout
        assert written.startswith(b"-----BEGIN EC PARAMETERS-----")
        key = serialization.load_pem_private_key(written[written.index(b"-----BEGIN EC PRIVATE") :], None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)

        assert check(issue("box", key=key).pem, written, None, NOW).key_pem == key_pem(key)

    def test_accepts_windows_line_ends_and_a_byte_order_mark(self, leaf: Issued) -> None:
        public, private = (b"\xef\xbb\xbf" + each.replace(b"\n", b"\r\n") for each in (leaf.pem, leaf.key_pem))

        assert check(public, private, b"\r\n", NOW) == Pair(leaf.pem, leaf.key_pem)

    @pytest.mark.parametrize("form", [PKCS8, TRADITIONAL])
    def test_refuses_an_encrypted_key(self, leaf: Issued, form: serialization.PrivateFormat) -> None:
        assert reason(leaf.pem, key_pem(leaf.key, form, b"secret")) == "encrypted key"

    def test_refuses_a_foreign_key(self, leaf: Issued) -> None:
        assert reason(leaf.pem, issue("other").key_pem) == "private key mismatch"

    def test_refuses_a_key_of_another_kind(self, leaf: Issued) -> None:
        assert reason(leaf.pem, key_pem(rsa_key(2048))) == "private key mismatch"

    def test_refuses_a_short_rsa_key(self) -> None:
        issued = issue("box", key=rsa_key(1024))

        assert reason(issued.pem, issued.key_pem) == "weak key"

    @pytest.mark.parametrize(
        "key",
        [ec.generate_private_key(ec.SECP256K1()), ed448.Ed448PrivateKey.generate()],
        ids=["secp256k1", "ed448"],
    )
    def test_refuses_keys_that_browsers_do_not_take(self, key: Key) -> None:
        assert reason(issue("box", key=key).pem, key_pem(key)) == "unsupported key"

    def test_refuses_a_key_of_openssh(self, leaf: Issued) -> None:
        private = leaf.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
        )

        assert reason(leaf.pem, private) == "unsupported key"


class TestPem:
    @pytest.mark.parametrize(
        "damaged",
        [
            b"",
            b"\x00\xff" * 100,
            b"-----BEGIN CERTIFICATE-----\n",
            b"-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n",
            b"-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n",
        ],
    )
    def test_refuses_what_holds_no_certificate(self, leaf: Issued, damaged: bytes) -> None:
        assert reason(damaged, leaf.key_pem) == "not PEM"

    @pytest.mark.parametrize(
        "damaged",
        [
            b"",
            b"\x00\xff" * 100,
            b"-----BEGIN PRIVATE KEY-----\n",
            b"-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n",
            b"-----BEGIN RSA PRIVATE KEY-----\nnonsense\n-----END RSA PRIVATE KEY-----\n",
            b"-----BEGIN PRIVATE KEY-----\nMAA=\n-----END RSA PRIVATE KEY-----\n",
        ],
    )
    def test_refuses_what_holds_no_key(self, leaf: Issued, damaged: bytes) -> None:
        assert reason(leaf.pem, damaged) == "not PEM"

    def test_refuses_der(self, leaf: Issued) -> None:
        der = leaf.certificate.public_bytes(serialization.Encoding.DER)

        assert reason(der, leaf.key_pem) == "not PEM"

    def test_refuses_two_keys(self, leaf: Issued) -> None:
        assert reason(leaf.pem, leaf.key_pem + issue("other").key_pem) == "not PEM"

    def test_refuses_parts_in_each_others_place(self, leaf: Issued) -> None:
        assert reason(leaf.key_pem, leaf.pem) == "not PEM"

    def test_refuses_a_ca_that_is_none(self, leaf: Issued) -> None:
        assert reason(leaf.pem, leaf.key_pem, b"nothing") == "not PEM"

    def test_refuses_too_many_bytes(self, leaf: Issued) -> None:
        assert reason(leaf.pem + b"#" * INPUT_LIMIT, leaf.key_pem) == "too large"

    def test_refuses_too_many_certificates(self, leaf: Issued) -> None:
        assert reason(leaf.pem * CERTIFICATE_LIMIT, leaf.key_pem, leaf.pem) == "too large"

    def test_refuses_many_blocks_without_an_end(self, leaf: Issued) -> None:
        assert reason(leaf.pem, b"-----BEGIN PRIVATE KEY-----\n" * 5000) == "too large"

    def test_takes_no_key_from_the_public_part(self, leaf: Issued) -> None:
        pair = check(leaf.key_pem + leaf.pem, leaf.key_pem, None, NOW)

        assert b"PRIVATE" not in pair.certificate_pem


class TestDates:
    def test_refuses_an_ended_certificate(self) -> None:
        issued = issue("box", end=NOW - timedelta(seconds=1))

        assert reason(issued.pem, issued.key_pem) == "expired"

    def test_refuses_one_that_has_not_begun(self) -> None:
        issued = issue("box", begin=NOW + timedelta(days=1))

        with pytest.raises(CertificateError, match="2026-06-02") as caught:
            check(issued.pem, issued.key_pem, None, NOW)
        assert caught.value.reason == "expired"

    def test_bears_with_clocks_that_differ_a_little(self) -> None:
        issued = issue("box", begin=NOW + CLOCK_SKEW)

        assert check(issued.pem, issued.key_pem, None, NOW).certificate_pem == issued.pem

    def test_refuses_an_ended_authority(self) -> None:
        root = issue("root", ca=True, end=NOW - timedelta(seconds=1))
        leaf = issue("box", root)

        assert reason(leaf.pem, leaf.key_pem, root.pem) == "expired"

    def test_reads_back_an_ended_pair_in_force(self) -> None:
        issued = issue("box", begin=NOW - timedelta(days=200), end=NOW - timedelta(days=100))

        assert Pair.from_bundle(issued.key_pem + issued.pem) == Pair(issued.pem, issued.key_pem)


class TestChain:
    def test_orders_what_comes_in_any_order(self, leaf: Issued, intermediate: Issued, root: Issued) -> None:
        pair = check(leaf.pem, leaf.key_pem, root.pem + intermediate.pem, NOW)

        assert pair == Pair(leaf.pem, leaf.key_pem, intermediate.pem + root.pem)

    def test_takes_the_chain_from_the_public_part(self, leaf: Issued, intermediate: Issued) -> None:
        pair = check(leaf.pem + intermediate.pem, leaf.key_pem, None, NOW)

        assert pair == Pair(leaf.pem, leaf.key_pem, intermediate.pem)

    def test_takes_the_leaf_from_wherever_it_stands(self, leaf: Issued, intermediate: Issued) -> None:
        assert check(intermediate.pem + leaf.pem, leaf.key_pem, None, NOW).certificate_pem == leaf.pem

    def test_takes_certificates_that_are_given_twice_once(self, leaf: Issued, intermediate: Issued) -> None:
        full = leaf.pem + intermediate.pem

        assert check(full, leaf.key_pem, full, NOW).chain_pem == intermediate.pem

    def test_mixes_kinds_of_keys(self) -> None:
        root = issue("root", key=rsa_key(2048), ca=True)
        intermediate = issue("intermediate", root, key=ed25519.Ed25519PrivateKey.generate(), ca=True)
        leaf = issue("box", intermediate)

        pair = check(leaf.pem, leaf.key_pem, root.pem + intermediate.pem, NOW)

        assert pair.chain == [intermediate.certificate, root.certificate]

    def test_refuses_an_unrelated_authority(self, leaf: Issued) -> None:
        assert reason(leaf.pem, leaf.key_pem, issue("stranger", ca=True).pem) == "broken chain"

    def test_refuses_a_gap(self, leaf: Issued, root: Issued) -> None:
        assert reason(leaf.pem, leaf.key_pem, root.pem) == "broken chain"

    def test_refuses_an_unrelated_one_beside_the_right_ones(self, leaf: Issued, intermediate: Issued) -> None:
        ca = intermediate.pem + issue("stranger", ca=True).pem

        assert reason(leaf.pem, leaf.key_pem, ca) == "broken chain"

    def test_refuses_an_authority_of_the_same_name(self, leaf: Issued, root: Issued) -> None:
        assert reason(leaf.pem, leaf.key_pem, issue("intermediate", root, ca=True).pem) == "broken chain"

    def test_refuses_an_issuer_that_may_not_issue(self, root: Issued) -> None:
        subscriber = issue("subscriber", root)
        leaf = issue("box", subscriber)

        assert reason(leaf.pem, leaf.key_pem, subscriber.pem + root.pem) == "broken chain"

    def test_refuses_an_authority_whose_key_may_not_sign_certificates(self) -> None:
        root = issue("root", ca=True, signs_certificates=False)
        leaf = issue("box", root)

        assert reason(leaf.pem, leaf.key_pem, root.pem) == "broken chain"

    def test_refuses_a_longer_line_than_the_authority_allows(self) -> None:
        root = issue("root", ca=True, path_length=0)
        intermediate = issue("intermediate", root, ca=True)
        leaf, direct = issue("box", intermediate), issue("box", root)

        assert reason(leaf.pem, leaf.key_pem, intermediate.pem + root.pem) == "broken chain"
        assert check(direct.pem, direct.key_pem, root.pem, NOW).chain == [root.certificate]

    @pytest.mark.parametrize("cross_first", [True, False])
    def test_prefers_the_cross_signed_form_of_a_root(self, cross_first: bool) -> None:
        old, new = issue("old root", ca=True), issue("new root", ca=True)
        cross = issue("new root", old, key=new.key, ca=True)
        leaf = issue("box", new)
        ca = cross.pem + new.pem if cross_first else new.pem + cross.pem

        assert check(leaf.pem, leaf.key_pem, ca + old.pem, NOW).chain_pem == cross.pem + old.pem


class TestPair:
    def test_survives_its_bundle(self, leaf: Issued, intermediate: Issued, root: Issued) -> None:
        pair = check(leaf.pem, leaf.key_pem, root.pem + intermediate.pem, NOW)

        assert Pair.from_bundle(pair.bundle) == pair

    def test_refuses_half_a_bundle(self, leaf: Issued) -> None:
        bundle = Pair(leaf.pem, leaf.key_pem).bundle
        with pytest.raises(CertificateError):
            Pair.from_bundle(bundle[: len(bundle) // 2])

    def test_shows_the_fingerprint_as_openssl_does(self, leaf: Issued) -> None:
        shown = subprocess.run(
            ["openssl", "x509", "-noout", "-fingerprint", "-sha256"],
            input=leaf.pem, capture_output=True, check=True,
        ).stdout.decode()  # fmt: skip

        assert shown.strip().partition("=")[2] == Pair(leaf.pem, leaf.key_pem).fingerprint

    def test_does_not_show_its_key(self, leaf: Issued) -> None:
        assert "PRIVATE" not in repr(Pair(leaf.pem, leaf.key_pem))


class TestSelfSigned:
    def test_holds_names_and_addresses(self) -> None:
        pair = make_self_signed(["box.example", "box"], ["192.0.2.7", "2001:db8::7", "fe80::7%eth0"], NOW)

        names = pair.certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert names.get_values_for_type(x509.DNSName) == ["box.example", "box", "localhost"]
        assert {str(each) for each in names.get_values_for_type(x509.IPAddress)} == {
            "127.0.0.1", "::1", "192.0.2.7", "2001:db8::7", "fe80::7",
        }  # fmt: skip

    def test_leaves_out_what_is_no_name_or_address(self) -> None:
        pair = make_self_signed(["", "(none)", "a..b", "ä", "x" * 64, "localhost"], ["", "eth0", "1.2.3"], NOW)

        names = pair.certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert names.get_values_for_type(x509.DNSName) == ["localhost"]
        assert len(names.get_values_for_type(x509.IPAddress)) == 2

    def test_bounds_the_addresses_and_keeps_loopback(self) -> None:
        pair = make_self_signed([], [str(ipaddress.ip_address(2**32 - 1 - each)) for each in range(5000)], NOW)

        names = pair.certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        addresses = names.get_values_for_type(x509.IPAddress)
        assert len(addresses) == ADDRESS_LIMIT
        assert ipaddress.ip_address("127.0.0.1") in addresses

    def test_takes_a_name_too_long_for_a_common_name(self) -> None:
        name = ".".join(["label" * 5] * 4)

        assert make_self_signed([name], [], NOW).certificate.subject.rfc4514_string().startswith("CN=localhost")

    def test_serves_and_does_nothing_else(self) -> None:
        extensions = make_self_signed(["box"], [], NOW).certificate.extensions

        assert extensions.get_extension_for_class(x509.BasicConstraints).value.ca is False
        assert extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign is False
        usage = extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        assert list(usage) == [ExtendedKeyUsageOID.SERVER_AUTH]

    def test_can_be_handed_in_again(self) -> None:
        pair = make_self_signed(["box"], [], NOW)

        assert check(pair.certificate_pem, pair.key_pem, None, NOW) == pair
        assert pair.made_here
        assert not Pair(issue("box").pem, b"").made_here

    def test_is_trusted_by_openssl_under_its_strict_rules(self, tmp_path: Path) -> None:
        pair = make_self_signed(["box"], ["192.0.2.7"], NOW)
        file = tmp_path / "server.pem"
        file.write_bytes(pair.certificate_pem)

        def verify(*options: str) -> subprocess.CompletedProcess[bytes]:
            time = str(int(NOW.timestamp()))
            argv = ["openssl", "verify", "-x509_strict", "-purpose", "sslserver", "-attime", time]
            return subprocess.run([*argv, "-CAfile", str(file), *options, str(file)], check=False, capture_output=True)

        assert verify("-verify_ip", "192.0.2.7").returncode == 0
        assert verify("-verify_hostname", "box").returncode == 0
        assert verify("-verify_hostname", "elsewhere").returncode != 0
