"""Log-in by a real OpenID provider: who comes in, who does not, and what happens while the provider is away."""

import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest

from tests.support.mesh_server import MeshAnswer, MeshServer
from tests.support.openid import SECRET, OpenIdProvider, openid_provider
from tests.support.server import Server

CALLBACKS = ("/api/auth/callback", "/api/auth/reauth/callback")


@dataclass
class Site:
    """The server and its provider."""

    server: MeshServer
    provider: OpenIdProvider

    def depart(self) -> tuple[str, str]:
        """Begin to log in: where the browser is sent, and its cookie."""
        answer = self.server.ask("GET", "/auth/login")
        assert answer.status == 302, answer
        cookie, _, rules = answer.headers["set-cookie"].partition(";")
        assert {rule.strip() for rule in rules.split(";")} >= {"Secure", "HttpOnly", "SameSite=Lax", "Path=/"}
        return answer.headers["location"], cookie

    def arrive(self, query: dict[str, str], cookie: str) -> MeshAnswer:
        """Come back from the provider."""
        path = f"/auth/callback?{urlencode(query)}"
        answer = self.server.ask("GET", path, headers={"Cookie": f"other=1; {cookie}"})
        assert answer.status == 307, answer
        assert "Max-Age=0" in answer.headers["set-cookie"]
        return answer

    def log_in(self, who: str) -> str:
        """A token for one of the provider's users."""
        url, cookie = self.depart()
        return token_of(self.arrive(self.provider.follow(url, login_hint=who), cookie))


def token_of(answer: MeshAnswer) -> str:
    place = urlsplit(answer.headers["location"])
    assert place.path == "/auth/callback", answer.headers
    return parse_qs(place.query)["token"][0]


def is_refused(answer: MeshAnswer) -> bool:
    place = urlsplit(answer.headers["location"])
    return place.path == "/login" and place.query == "error=auth_failed"


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("oidc")
    ours, theirs = free_port(), free_port()
    secret = folder / "secret"
    secret.write_text(SECRET + "\n")
    config = f"""
[mesh]
rate_limit_exempt = ["127.0.0.1"]
oidc.issuer = "http://127.0.0.1:{theirs}"
oidc.client_secret_file = "{secret}"
"""
    redirects = ",".join(f"https://127.0.0.1:{ours}{path}" for path in CALLBACKS)
    with openid_provider(folder / "provider", theirs, redirects) as provider:
        server = Server(folder / "server", config, port=ours)
        found = MeshServer(server)
        try:
            server.start()
            yield Site(found, provider)
        finally:
            found.disconnect()
            server.stop()


def test_users_of_the_provider_log_in(site: Site) -> None:
    alice, bob = site.log_in("alice"), site.log_in("bob")
    assert site.server.ask("GET", "/auth/me", token=alice).json == {
        "authenticated": True,
        "sub": "alice",
        "email": "alice@example.test",
        "role": "system-admin",
        "system_role": "system-admin",
    }
    assert site.server.ask("GET", "/auth/me", token=bob).json["system_role"] == "user"
    assert site.server.ask("GET", "/users", token=bob).status == 403
    users = site.server.ask("GET", "/users", token=alice).json
    assert {user["oidc_sub"]: user["system_role"] for user in users} == {"alice": "system-admin", "bob": "user"}
    assert site.server.ask("GET", "/auth/oidc-status").json == {"status": "ok"}
    # Nobody comes in without it any more, and an address that the provider does not vouch for is nobody's.
    assert site.server.ask("GET", "/auth/dev-token").status == 404
    assert site.server.ask("GET", "/auth/me", token=site.log_in("mallory")).json["email"] is None


def test_what_an_admin_has_set_stays(site: Site) -> None:
    """A log-in whose claim has the role sets it; without the claim what an admin has set stays."""
    alice, bob = site.log_in("alice"), site.log_in("bob")
    ids = {user["oidc_sub"]: user["id"] for user in site.server.ask("GET", "/users", token=alice).json}
    site.server.ask("PATCH", f"/users/{ids['bob']}", {"system_role": "system-admin"}, token=alice)
    assert site.server.ask("GET", "/users", token=bob).status == 200
    assert site.server.ask("GET", "/users", token=site.log_in("bob")).status == 200
    site.server.ask("PATCH", f"/users/{ids['alice']}", {"system_role": "user"}, token=bob)
    assert site.server.ask("GET", "/users", token=alice).status == 403
    alice = site.log_in("alice")
    assert site.server.ask("GET", "/users", token=alice).status == 200
    site.server.ask("PATCH", f"/users/{ids['bob']}", {"system_role": "user"}, token=alice)
    assert site.server.ask("GET", "/users", token=bob).status == 403


def test_who_does_not_come_in(site: Site) -> None:
    url, cookie = site.depart()
    good = site.provider.follow(url, login_hint="bob")
    other_url, other_cookie = site.depart()
    other = site.provider.follow(other_url, login_hint="bob")
    assert is_refused(site.arrive({**good, "state": "forged"}, cookie))
    assert is_refused(site.arrive({**good, "state": ""}, cookie))
    assert is_refused(site.arrive(good, "none=1"))
    assert is_refused(site.arrive(good, other_cookie))
    assert is_refused(site.arrive({**good, "code": other["code"]}, cookie))  # another code's verifier
    assert is_refused(site.arrive({}, cookie))
    fresh_url, fresh_cookie = site.depart()
    fresh = site.provider.follow(fresh_url, login_hint="bob")
    token_of(site.arrive(fresh, fresh_cookie))
    assert is_refused(site.arrive(fresh, fresh_cookie))  # a code counts once
    denied_url, denied_cookie = site.depart()
    denied = site.provider.follow(denied_url, login_hint="deny")
    assert denied["error"] == "access_denied"
    assert is_refused(site.arrive(denied, denied_cookie))
    nonce_url, nonce_cookie = site.depart()
    assert is_refused(site.arrive(site.provider.follow(nonce_url, login_hint="bob", nonce="another"), nonce_cookie))
    audit = site.server.ask("GET", "/audit?action=auth_login_failure", token=site.log_in("alice")).json
    assert len(audit) >= 9
    assert all(good["code"] not in entry["details"] for entry in audit)


def test_another_log_in_opens_what_cannot_be_undone(site: Site) -> None:
    bob, alice = site.log_in("bob"), site.log_in("alice")
    network = site.server.ask("POST", "/networks", {"name": "bobs", "subnet_cidr": "10.1.0.0/24"}, token=bob).json["id"]
    path = f"/networks/{network}"

    def again(who: str, **changed: str) -> str | None:
        """The token that another log-in gives."""
        begun = site.server.ask("POST", "/auth/reauth/challenge", token=bob).json
        query = site.provider.follow(begun["reauth_url"], login_hint=who, **changed)
        assert query["state"] == begun["challenge"]
        answer = site.server.ask("GET", f"/auth/reauth/callback?code={query['code']}&state={query['state']}")
        place = urlsplit(answer.headers["location"])
        assert (answer.status, place.path) == (307, "/reauth/complete")
        return parse_qs(place.query).get("token", [None])[0]

    def delete(token: str | None, who: str = bob, confirmation: str = "bobs") -> MeshAnswer:
        return site.server.ask("DELETE", path, {"reauth_token": token or "", "confirmation": confirmation}, token=who)

    assert again("alice") is None  # somebody else
    assert again("bob", nonce="another") is None
    assert delete(None).json == {"detail": "Reauthentication required"}
    for wrong in ("x", bob, alice):
        assert (delete(wrong).status, delete(wrong).json["detail"]) == (403, "Invalid or expired reauthentication")
    token = again("bob")
    assert token is not None
    assert site.server.ask("GET", "/networks", token=token).status == 401  # it is no log-in
    assert delete(token, alice).status == 403  # of another user
    assert delete(token, confirmation="other").status == 400
    assert delete(token).status == 204
    second = site.server.ask("POST", "/networks", {"name": "bobs", "subnet_cidr": "10.1.0.0/24"}, token=bob).json["id"]
    path = f"/networks/{second}"
    assert delete(token).status == 403  # it opened one thing


def test_logging_out_ends_at_the_providers(site: Site) -> None:
    token = site.log_in("bob")
    answer = site.server.ask("GET", "/auth/logout", token=token)
    assert answer.status == 307
    assert answer.headers["location"].startswith(f"{site.provider.issuer}/session/end?")
    assert site.server.ask("GET", "/networks", token=token).status == 401


def test_the_provider_changes_its_key_and_goes_away(site: Site, tmp_path: Path) -> None:
    token = site.log_in("bob")
    url, cookie = site.depart()
    query = site.provider.follow(url, login_hint="bob")
    site.provider.stop()
    assert is_refused(site.arrive(query, cookie))
    assert site.server.ask("GET", "/networks", token=token).status == 200
    site.provider.start("second")
    deadline = time.monotonic() + 60
    while True:  # keys are not fetched again at once
        url, cookie = site.depart()
        answer = site.arrive(site.provider.follow(url, login_hint="bob"), cookie)
        if not is_refused(answer):
            break
        assert time.monotonic() < deadline
        time.sleep(0.5)
    token_of(answer)


def test_a_server_that_starts_without_its_provider(tmp_path: Path) -> None:
    config = f'[mesh]\noidc.issuer = "http://127.0.0.1:{free_port()}"\n'
    server = Server(tmp_path / "server", config)
    found = MeshServer(server)
    try:
        server.start()
        for path in ("/auth/login", "/auth/oidc-status"):
            answer = found.ask("GET", path)
            assert (answer.status, answer.json["detail"]) == (503, "The log-in provider cannot be reached")
        assert found.ask("GET", "/health").status == 200
        assert found.ask("GET", "/networks", token=found.mint("bob")).status == 200
    finally:
        found.disconnect()
        server.stop()
