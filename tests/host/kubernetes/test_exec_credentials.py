import base64
import json
import os
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from twisted.internet.defer import Deferred, gatherResults
from twisted.logger import LogEvent, globalLogPublisher

from appliance.host.kubernetes import exec_credentials
from appliance.host.kubernetes.errors import ClusterError
from appliance.host.kubernetes.exec_credentials import ExecCredentials
from tests.support.fake_cluster import ClusterTestCase, certificate
from tests.support.fake_engine import Connection, answer

V1 = "client.authentication.k8s.io/v1"
V1BETA1 = "client.authentication.k8s.io/v1beta1"

# Counts its runs, keeps what it was told, and prints what stands in `says`.
PLUGIN = b"""\
#!/bin/sh
here=$(dirname "$0")
echo run >>"$here/runs"
printf %s "$KUBERNETES_EXEC_INFO" >"$here/told"
env >"$here/env"
printf '%s\\n' "$@" >"$here/args"
echo secret-on-stderr >&2
exec cat "$here/says"
"""


class PluginTestCase(ClusterTestCase):
    def setUp(self) -> None:
        super().setUp()
        (self.folder / "bin").mkdir()
        self.put("bin/token", PLUGIN, 0o700)
        self.use()
        self.says(token="t1")
        self.events: list[LogEvent] = []
        observer: Any = self.events.append
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)

    def use(self, cluster: Mapping[str, Any] | None = None, user: Mapping[str, Any] | None = None, **more: Any) -> None:
        """Have the kubeconfig name the plugin, with changes."""
        plugin = {"apiVersion": V1, "command": "./bin/token", "interactiveMode": "IfAvailable", **more}
        self.write(user={"exec": plugin, **(user or {})}, cluster=cluster)

    def says(self, version: str = V1, **status: Any) -> None:
        """What the plugin prints next."""
        told = {"kind": "ExecCredential", "apiVersion": version, "status": status}
        self.put("bin/says", json.dumps(told).encode())

    @property
    def runs(self) -> int:
        """How often it was run."""
        path = self.folder / "bin" / "runs"
        return len(path.read_text().splitlines()) if path.exists() else 0

    def accept(self, *tokens: str) -> None:
        """Have the server take these tokens only."""
        wanted = [f"Authorization: Bearer {token}\r\n".encode() for token in tokens]

        def check(connection: Connection) -> None:
            head = self.cluster.heads[-1] + b"\r\n"
            good = any(each in head for each in wanted)
            connection.write(answer(b"1") if good else answer(b'{"message":"Unauthorized"}', 401))

        self.cluster.said["GET /x"] = check


class AskingTests(PluginTestCase):
    async def test_a_token_that_counts_until_the_kubeconfig_changes(self) -> None:
        for _ in range(3):
            await self.get()
        self.assertEqual(self.cluster.shown("Authorization"), ["Bearer t1"])
        self.assertEqual(self.runs, 1)
        self.says(token="t2")
        self.use()
        await self.get()
        self.assertEqual((self.cluster.shown("Authorization"), self.runs), (["Bearer t2"], 2))

    async def test_many_at_once_ask_it_once(self) -> None:
        await gatherResults([Deferred.fromCoroutine(self.get()) for _ in range(5)])
        self.assertEqual(self.runs, 1)

    async def test_what_the_plugin_is_told(self) -> None:
        self.use(args=["get", "a b", "--", "$HOME"], env=[{"name": "A", "value": "b c"}])
        await self.get()
        told = json.loads((self.folder / "bin" / "told").read_text())
        self.assertEqual(told, {"kind": "ExecCredential", "apiVersion": V1, "spec": {"interactive": False}})
        self.assertEqual((self.folder / "bin" / "args").read_text().splitlines(), ["get", "a b", "--", "$HOME"])
        environment = dict(line.split("=", 1) for line in (self.folder / "bin" / "env").read_text().splitlines())
        self.assertEqual(environment["A"], "b c")
        self.assertIn("HOME", environment)
        known = {"A", "HOME", "PATH", "LANG", "KUBERNETES_EXEC_INFO", "PWD", "SHLVL", "_", "OLDPWD"}
        self.assertEqual(set(environment) - known, set())

    async def test_what_it_is_told_of_the_cluster_where_it_wants_to_know(self) -> None:
        self.says(V1BETA1, token="t1")
        extensions = [
            {"name": "another", "extension": 1},
            {"name": "client.authentication.k8s.io/exec", "extension": {"audience": ["a", 7]}},
        ]
        self.use(
            {"tls-server-name": "localhost", "extensions": extensions}, apiVersion=V1BETA1, provideClusterInfo=True
        )
        await self.get()
        told = json.loads((self.folder / "bin" / "told").read_text())
        cluster = {
            "server": f"https://127.0.0.1:{self.cluster.number}",
            "tls-server-name": "localhost",
            "certificate-authority-data": base64.b64encode(self.cluster.authority.pem).decode(),
            "config": {"audience": ["a", 7]},
        }
        spec = {"interactive": False, "cluster": cluster}
        self.assertEqual(told, {"kind": "ExecCredential", "apiVersion": V1BETA1, "spec": spec})

    async def test_one_without_a_slash_is_looked_for_in_the_path(self) -> None:
        path = f"{self.folder / 'bin'}:/usr/bin:/bin"
        self.use(command="token", env=[{"name": "PATH", "value": path}])
        await self.get()
        self.assertEqual(self.runs, 1)

    async def test_a_certificate_and_then_another(self) -> None:
        soon = datetime.now(UTC) + timedelta(seconds=0.3)
        for name in ("us", "us again"):
            us = certificate(name, self.cluster.authority)
            self.says(
                clientCertificateData=us.pem.decode(),
                clientKeyData=us.key_pem.decode(),
                expirationTimestamp=soon.isoformat(),
            )
            await self.get()
            self.assertEqual((self.cluster.identity(), self.cluster.shown("Authorization")), (name, []))
            time.sleep(0.3)
        self.assertEqual(self.runs, 2)

    async def test_it_may_ask_to_be_somebody_else(self) -> None:
        self.use(user={"as": "ann"})
        await self.get()
        self.assertEqual(self.cluster.shown("Impersonate-User"), ["ann"])
        self.assertEqual(self.cluster.shown("Authorization"), ["Bearer t1"])

    async def test_a_token_in_the_file_counts_before_it(self) -> None:
        self.use(user={"token": "in-file"})
        await self.get()
        self.assertEqual((self.cluster.shown("Authorization"), self.runs), (["Bearer in-file"], 0))

    async def test_nobody_is_asked_for_what_is_shown_in_the_clear(self) -> None:
        await self.cluster.show()
        server = f"http://127.0.0.1:{self.cluster.number}"
        self.use({"server": server, "certificate-authority-data": None})
        await self.get()
        self.assertEqual((self.cluster.shown("Authorization"), self.runs), ([], 0))


class LifetimeTests(PluginTestCase):
    async def test_an_expired_one_is_renewed(self) -> None:
        past, future = datetime.now(UTC) - timedelta(hours=1), datetime.now(UTC) + timedelta(hours=1)
        self.says(token="t1", expirationTimestamp=past.strftime("%Y-%m-%dT%H:%M:%SZ"))
        await self.get()
        self.says(token="t2", expirationTimestamp=future.isoformat())
        for _ in range(2):
            await self.get()
        self.assertEqual((self.cluster.shown("Authorization"), self.runs), (["Bearer t2"], 2))

    async def test_one_that_is_refused_is_renewed_once_and_the_request_sent_again(self) -> None:
        self.patch(exec_credentials, "PATIENCE_SECONDS", 0)
        await self.get()
        self.accept("t2")
        self.says(token="t2")
        self.assertEqual(await self.get(), b"1")
        self.assertEqual((self.runs, len(self.cluster.heard)), (2, 3))
        self.accept("t3")
        error = await self.failure(self.get())
        self.assertEqual(str(error), "The cluster refuses our credentials (context here)")
        self.assertEqual((self.runs, len(self.cluster.heard)), (3, 5))

    async def test_new_ones_that_are_refused_do_not_have_it_run_for_every_request(self) -> None:
        self.accept("t2")
        for _ in range(5):
            self.assertIs(type(await self.failure(self.get())), ClusterError)
        self.assertEqual(self.runs, 1)

    async def test_who_comes_with_old_ones_gets_those_there_are(self) -> None:
        session = await self.client._current()
        credentials = session.credentials
        assert isinstance(credentials, ExecCredentials)
        old = await credentials.current()
        self.patch(exec_credentials, "PATIENCE_SECONDS", 0)
        self.says(token="t2")
        self.assertTrue(credentials.refused(old))
        new = await credentials.current()
        self.assertTrue(credentials.refused(old))
        self.assertIs(await credentials.current(), new)
        self.assertEqual(self.runs, 2)


class TroubleTests(PluginTestCase):
    async def trouble(self) -> str:
        """What is said of it; neither there nor in the log stands what it printed."""
        error = await self.failure(self.get())
        self.assertIs(type(error), ClusterError)
        self.assertEqual(self.cluster.heard, [])
        self.assertNotIn("secret", str(error))
        self.assertNotIn("secret", repr(self.events))
        return str(error)

    async def test_what_it_prints_is_checked_and_not_shown(self) -> None:
        us = certificate("us", self.cluster.authority)
        for said, why in (
            (b"secret", "it did not print JSON"),
            (b"", "it did not print JSON"),
            (b'{"x":' + b"[" * 5000, "it did not print JSON"),
            (b"\xff", "it did not print JSON"),
            (b'"secret"', "it printed no ExecCredential"),
            (b'{"kind":"secret","apiVersion":"secret"}', f"it printed no ExecCredential of {V1}"),
            (json.dumps({"kind": "ExecCredential", "apiVersion": V1BETA1, "status": {"token": "secret"}}).encode(), V1),
            (json.dumps({"kind": "ExecCredential", "apiVersion": V1}).encode(), "it printed no status"),
        ):
            self.put("bin/says", said)
            self.assertIn(why, await self.trouble())
        for status, why in (
            ({}, "it printed neither a token nor a certificate"),
            ({"token": ["secret"]}, "Expected `str`"),
            ({"token": "secret\nX: y"}, "is not one line of printable characters"),
            ({"clientCertificateData": us.pem.decode()}, "a certificate without its key"),
            ({"clientKeyData": us.key_pem.decode()}, "a key without its certificate"),
            ({"token": "secret", "expirationTimestamp": "soon"}, "Invalid RFC3339"),
            ({"clientCertificateData": "secret", "clientKeyData": "secret"}, "cannot be used"),
        ):
            self.says(**status)
            self.assertIn(why, await self.trouble())

    async def test_a_certificate_that_cannot_be_used_is_not_kept(self) -> None:
        self.patch(exec_credentials, "PATIENCE_SECONDS", 0)
        self.says(clientCertificateData="secret", clientKeyData="secret")
        await self.trouble()
        self.says(token="t1")
        self.assertEqual(await self.get(), b"1")

    async def test_one_that_prints_without_end(self) -> None:
        self.put("bin/token", b"#!/bin/sh\nexec head -c 2000000 /dev/zero\n", 0o700)
        self.assertIn("it printed more than 1024 KiB", await self.trouble())

    async def test_one_that_fails_or_hangs(self) -> None:
        self.put("bin/token", b"#!/bin/sh\necho secret; echo secret >&2; exit 3\n", 0o700)
        found = await self.trouble()
        self.assertEqual(found, "The credential plugin './bin/token' of user 'u' is of no use: exit code 3")
        self.patch(exec_credentials, "_SECONDS", 0.1)
        self.put("bin/token", b"#!/bin/sh\nexec sleep 1000\n", 0o700)
        self.assertIn("timed out", await self.trouble())

    async def test_one_that_is_missing(self) -> None:
        self.use(command="missing-plugin", installHint="Get it\nfrom there.")
        found = await self.trouble()
        self.assertIn("there is no such program (Get it from there.)", found)
        self.use(command="bin/says")
        self.assertIn("it is not executable", await self.trouble())

    async def test_as_root_none_that_others_may_change(self) -> None:
        os.chown(self.folder / "bin" / "token", 1234, 0)
        self.assertIn("is not run as root", await self.trouble())
        self.assertEqual(self.runs, 0)

    async def test_what_cannot_be_run_here(self) -> None:
        for changes, why in (
            ({"interactiveMode": "Always"}, "there is none"),
            ({"interactiveMode": "Sometimes"}, "is not a kubeconfig"),
            ({"command": ""}, "has no command"),
            ({"apiVersion": "client.authentication.k8s.io/v1alpha1"}, "has the apiVersion"),
            ({"apiVersion": ""}, "has the apiVersion"),
            ({"env": [{"name": "A", "value": "a\0b"}]}, "NUL"),
        ):
            self.use(**changes)
            self.assertIn(why, await self.trouble())
        self.write(user={"auth-provider": {"name": "gcp", "config": {"access-token": "secret"}}})
        self.assertIn("The auth-provider 'gcp' of user 'u' is not supported", await self.trouble())
