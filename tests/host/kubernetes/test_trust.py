import base64
import os
from datetime import UTC, datetime, timedelta

from OpenSSL import SSL
from twisted.internet.defer import Deferred

from appliance.host.kubernetes.errors import ClusterAbsent, ClusterError
from appliance.host.kubernetes.trust import NotTrusted
from tests.support.authority import issue
from tests.support.fake_cluster import ClusterTestCase, authority, certificate
from tests.support.fake_engine import answer

NOW = datetime.now(UTC)
DAY = timedelta(days=1)

ODD_KEY = b"""\
-----BEGIN EC PRIVATE KEY-----
MEECAQEEDwDKtOj69Um3IcPeWNUsYKAHBgUrgQQABKEiAyAABAHPcmlYu4dMKEnH
OjGyjQEenGNcI+PYkisOWorZ1A==
-----END EC PRIVATE KEY-----
"""
"""On a curve that nobody uses, by `openssl ecparam -name sect113r1 -genkey -noout`."""


def encoded(content: bytes) -> str:
    return base64.b64encode(content).decode()


class ServerTests(ClusterTestCase):
    async def refused(self) -> str:
        """Why the server is not trusted; nothing has been asked of it."""
        error = await self.failure(self.get())
        self.assertIsInstance(error, ClusterError)
        self.assertNotIsInstance(error, ClusterAbsent)
        self.assertEqual(self.cluster.heard, [])
        return str(error)

    async def test_one_that_another_authority_vouches_for(self) -> None:
        other = authority()
        await self.cluster.show(certificate("api", other))
        setting = f"certificate-authority-data of cluster 'c' in {self.file}"
        why = f"The cluster's certificate is not signed by an authority that we trust: look at {setting}"
        self.assertEqual(await self.refused(), why)
        await self.cluster.show(certificate("api", other), other)
        self.assertEqual(await self.refused(), why)

    async def test_one_that_vouches_for_itself(self) -> None:
        itself = issue("api", now=NOW, addresses=["127.0.0.1"])
        await self.cluster.show(itself)
        self.assertIn("not signed by an authority", await self.refused())
        self.write(cluster={"certificate-authority-data": encoded(itself.pem)})
        self.assertEqual(await self.get(), b"1")

    async def test_without_an_authority_of_its_own_the_systems_are_trusted(self) -> None:
        self.write(cluster={"certificate-authority-data": None})
        self.assertIn("not signed by an authority", await self.refused())

    async def test_the_systems_authorities(self) -> None:
        self.write(cluster={"certificate-authority-data": None})
        self.addCleanup(os.environ.pop, "SSL_CERT_FILE")
        os.environ["SSL_CERT_FILE"] = str(self.put("system.pem", self.cluster.authority.pem))
        self.assertEqual(await self.get(), b"1")

    async def test_one_that_has_expired_or_is_not_valid_yet(self) -> None:
        await self.cluster.show(certificate("api", self.cluster.authority, begin=NOW - 9 * DAY, end=NOW - DAY))
        self.assertIn("The cluster's certificate has expired", await self.refused())
        await self.cluster.show(certificate("api", self.cluster.authority, begin=NOW + DAY))
        self.assertIn("The cluster's certificate is not valid yet: look at this machine's clock", await self.refused())

    async def test_one_of_an_authority_that_has_expired(self) -> None:
        self.cluster.authority = issue("old CA", ca=True, begin=NOW - 9 * DAY, end=NOW - DAY)
        await self.cluster.show(certificate("api", self.cluster.authority))
        self.write()
        self.assertIn("A certificate above the cluster's has expired", await self.refused())

    async def test_one_for_another_host(self) -> None:
        await self.cluster.show(certificate("api", self.cluster.authority, addresses=["10.0.0.1"]))
        look = f"look at tls-server-name of cluster 'c' in {self.file}"
        self.assertIn(f"is for api, localhost, 10.0.0.1, not for 127.0.0.1: {look}", await self.refused())
        self.write(cluster={"tls-server-name": "api"})
        self.assertEqual(await self.get(), b"1")
        self.cluster.heard.clear()
        self.write(cluster={"tls-server-name": "api2"})
        self.assertIn("not for api2", await self.refused())

    async def test_the_name_of_the_host_or_its_address(self) -> None:
        for host in ("localhost", "127.0.0.1"):
            self.write(cluster={"server": f"https://{host}:{self.cluster.number}"})
            self.assertEqual(await self.get(), b"1")

    async def test_none_is_asked_for_where_that_is_said(self) -> None:
        await self.cluster.show(certificate("elsewhere", authority(), end=NOW - DAY, addresses=[]))
        self.write(cluster={"certificate-authority-data": None, "insecure-skip-tls-verify": True})
        self.assertEqual(await self.get(), b"1")
        self.cluster.heard.clear()
        self.write(cluster={"insecure-skip-tls-verify": True})
        self.assertIn("does not go together with certificate-authority-data", await self.refused())

    async def test_an_authority_that_is_not_the_root(self) -> None:
        root = authority("root")
        middle = authority("middle", root)
        await self.cluster.show(certificate("api", middle), middle)
        self.write(cluster={"certificate-authority-data": encoded(middle.pem)})
        self.assertEqual(await self.get(), b"1")

    async def test_several_authorities_in_a_file(self) -> None:
        pem = b"# the old one\n" + authority("the old CA").pem + b"# the new one\n" + self.cluster.authority.pem
        (self.folder / "ca.crt").write_bytes(pem)
        self.write(cluster={"certificate-authority-data": None, "certificate-authority": "ca.crt"})
        self.assertEqual(await self.get(), b"1")
        self.put("ca.crt", authority().pem)
        self.cluster.heard.clear()
        self.assertIn("look at certificate-authority of cluster 'c'", await self.refused())

    async def test_what_is_no_authority(self) -> None:
        for content in (b"", b"text", self.cluster.authority.key_pem):
            self.write(cluster={"certificate-authority-data": encoded(content) or "\n"})
            self.assertIn("holds no certificate in PEM form", await self.refused())
        self.write(cluster={"certificate-authority-data": "%%%"})
        self.assertIn("certificate-authority-data in", await self.refused())

    async def test_tls_that_is_too_old(self) -> None:
        old = (SSL.TLS1_VERSION, SSL.TLS1_1_VERSION)
        await self.cluster.show(certificate("api", self.cluster.authority), versions=old)
        self.assertIn("TLS with 127.0.0.1:", await self.refused())
        await self.cluster.show(
            certificate("api", self.cluster.authority), versions=(SSL.TLS1_2_VERSION, SSL.TLS1_2_VERSION)
        )
        self.assertEqual(await self.get(), b"1")

    async def test_a_server_without_tls(self) -> None:
        await self.cluster.show()
        asking = Deferred.fromCoroutine(self.failure(self.get()))
        await self.until(lambda: self.cluster.connections and self.cluster.connections[-1].data)
        self.cluster.connections[-1].write(b"HTTP/1.1 400 Bad Request\r\n\r\n")  # as servers do
        self.assertIn("TLS with 127.0.0.1", str(await asking))
        self.write(cluster={"server": f"http://127.0.0.1:{self.cluster.number}", "certificate-authority-data": None})
        self.assertEqual(await self.get(), b"1")
        self.assertEqual(self.cluster.shown("Authorization"), [])  # as kubectl, which shows nothing in the clear

    async def test_a_trust_that_is_lost_is_told_for_a_stream_as_well(self) -> None:
        await self.cluster.show(certificate("api", authority()))
        self.assertIsInstance(await self.failure(self.client.open("GET", "/x")), NotTrusted)


class IdentityTests(ClusterTestCase):
    async def test_a_certificate_with_its_chain(self) -> None:
        middle = authority("middle", self.cluster.authority)
        us = certificate("us", middle)
        data = {"client-certificate-data": encoded(us.pem + middle.pem), "client-key-data": encoded(us.key_pem)}
        self.write(user=data)
        self.assertEqual(await self.get(), b"1")
        self.assertEqual(self.cluster.identity(), "us")
        self.assertEqual(self.cluster.shown("Authorization"), [])
        self.assertNotIn("PRIVATE", repr(self.client._session.access.identity))  # type: ignore[union-attr]

    async def test_in_files_beside_the_kubeconfig_which_may_change(self) -> None:
        self.write(user={"client-certificate": "pki/us.crt", "client-key": str(self.folder / "pki" / "us.key")})
        (self.folder / "pki").mkdir()
        for name in ("us", "us again"):
            us = certificate(name, self.cluster.authority)
            self.put("pki/us.crt", us.pem)
            self.put("pki/us.key", us.key_pem)
            await self.get()
            self.assertEqual(self.cluster.identity(), name)

    async def test_a_server_that_takes_nobody_without_one(self) -> None:
        chain = certificate("api", self.cluster.authority)
        for version in (SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION):
            await self.cluster.show(chain, versions=(version, version), demanding=True)
            error = await self.failure(self.get())
            self.assertIs(type(error), ClusterError)
            self.assertRegex(str(error), "TLS with 127.0.0.1:[0-9]+ fails: .*(certificate required|handshake failure)")

    async def test_what_does_not_belong_together(self) -> None:
        us, others = certificate("us", self.cluster.authority), certificate("others", self.cluster.authority)
        for cert, key in (
            (us.pem, others.key_pem),
            (us.pem, b"secret"),
            (b"secret", us.key_pem),
            (us.pem, b"-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n"),
            (us.pem, ODD_KEY),
        ):
            self.write(user={"client-certificate-data": encoded(cert), "client-key-data": encoded(key)})
            error = await self.failure(self.get())
            self.assertIn("Our client certificate and its key cannot be used", str(error))
            self.assertNotIn("secret", str(error))
        for data in ({"client-certificate-data": encoded(us.pem)}, {"client-key-data": encoded(us.key_pem)}):
            self.write(user=data)
            self.assertIn("User 'u' in", str(await self.failure(self.get())))

    async def test_one_that_the_server_refuses(self) -> None:
        us = certificate("us", self.cluster.authority)
        self.write(user={"client-certificate-data": encoded(us.pem), "client-key-data": encoded(us.key_pem)})
        self.cluster.said["GET /x"] = answer(b'{"message":"Unauthorized"}', 401)
        error = await self.failure(self.get())
        self.assertEqual(str(error), "The cluster refuses our credentials (context here)")
        self.assertEqual(len(self.cluster.heard), 1)
