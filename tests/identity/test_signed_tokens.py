import base64
import json
from pathlib import Path

import jwt
import pytest
from twisted.internet.task import Clock

from appliance.identity.signed_tokens import MAX_LENGTH, BadToken, KeyUnusable, SignedTokens, load_key

KEY = b"k" * 32
AUDIENCE = "appliance:system"
CLAIMS: dict[str, object] = {
    "sub": "anna", "aud": AUDIENCE, "jti": "1", "sid": "s", "iat": 1000, "ims": 1_000_000, "exp": 2000,
}  # fmt: skip


def tokens(clock: Clock | None = None) -> SignedTokens:
    if clock is None:
        clock = Clock()
        clock.advance(1000)
    return SignedTokens(clock, KEY, AUDIENCE)


def test_what_was_made_is_found_good_until_it_expires() -> None:
    clock = Clock()
    clock.advance(1000.25)
    mine = tokens(clock)
    token, claims = mine.make("anna", "session", 60)
    assert mine.check(token) == claims
    assert (claims.sub, claims.sid, claims.ims, claims.exp) == ("anna", "session", 1_000_250, 1060)
    clock.advance(59.7)
    assert mine.check(token) == claims
    clock.advance(0.1)
    with pytest.raises(BadToken):
        mine.check(token)
    with pytest.raises(BadToken):
        tokens(clock).check(token)


def test_another_server_of_the_same_key_takes_it() -> None:
    assert tokens().check(jwt.encode(CLAIMS, KEY, "HS256")).sub == "anna"


@pytest.mark.parametrize("missing", sorted(CLAIMS))
def test_all_claims_are_needed(missing: str) -> None:
    claims = {name: value for name, value in CLAIMS.items() if name != missing}
    with pytest.raises(BadToken):
        tokens().check(jwt.encode(claims, KEY, "HS256"))


@pytest.mark.parametrize(
    "changed",
    [
        {"aud": "appliance:rpc"},
        {"aud": "appliance:system:refresh"},
        {"aud": [AUDIENCE + "x"]},
        {"exp": 999},
        {"exp": 1000},
        {"exp": "2000"},
        {"exp": None},
        {"ims": "x"},
        {"sid": 7},
        {"nbf": 10**12},
    ],
)
def test_claims_that_do_not_fit(changed: dict[str, object]) -> None:
    with pytest.raises(BadToken):
        tokens().check(jwt.encode({**CLAIMS, **changed}, KEY, "HS256"))


def unsigned(header: dict[str, str]) -> str:
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in (header, CLAIMS)]
    return ".".join([*parts, ""])


@pytest.mark.parametrize(
    "token",
    [
        "",
        "x",
        "a.b.c",
        "é.ü.ö",
        unsigned({"alg": "none", "typ": "JWT"}),
        unsigned({"alg": "HS256", "typ": "JWT"}),
        jwt.encode(CLAIMS, b"another" * 8, "HS256"),
        jwt.encode(CLAIMS, KEY * 2, "HS512"),
        jwt.encode(CLAIMS, KEY, "HS256") + "x",
        jwt.encode(CLAIMS, KEY, "HS256") + " " * MAX_LENGTH,
    ],
)
def test_what_is_no_token_of_ours(token: str) -> None:
    with pytest.raises(BadToken):
        tokens().check(token)


def test_the_key_is_made_once_and_private(tmp_path: Path) -> None:
    path = tmp_path / "tokens.key"
    key = load_key(path)
    assert len(key) == 32
    assert load_key(path) == key
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_key_that_is_none_names_file_and_cure(tmp_path: Path) -> None:
    path = tmp_path / "tokens.key"
    path.write_bytes(b"short")
    with pytest.raises(KeyUnusable, match=r"tokens\.key holds 5 bytes .* move it away"):
        load_key(path)
    path.unlink()
    path.mkdir()
    with pytest.raises(KeyUnusable, match="not a regular file"):
        load_key(path)
