import base64
import json
import os
import stat
from pathlib import Path
from typing import Any

import jwt
import pytest
from twisted.internet.task import Clock

from appliance.identity import signed_tokens
from appliance.identity.signed_tokens import KEY_BYTES, MAX_LENGTH, SKEW, BadToken, KeyUnusable, SignedTokens, load_key

KEY = b"k" * KEY_BYTES
AUDIENCE = "appliance:test"
NOW = 1_800_000_000


@pytest.fixture
def clock() -> Clock:
    clock = Clock()
    clock.advance(NOW)
    return clock


@pytest.fixture
def tokens(clock: Clock) -> SignedTokens:
    return SignedTokens(clock, KEY, AUDIENCE)


def content(**changed: Any) -> dict[str, Any]:
    """What a good token says, but for what is changed; None leaves a member out."""
    good = {
        "sub": "ann",
        "jti": "0123",
        "sid": "4567",
        "ims": NOW * 1000,
        "iat": NOW,
        "exp": NOW + 60,
        "aud": AUDIENCE,
    }
    return {name: value for name, value in {**good, **changed}.items() if value is not None}


def signed(algorithm: str = "HS256", key: bytes = KEY, **changed: Any) -> str:
    return jwt.encode(content(**changed), key, algorithm)


def segment(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def refused(tokens: SignedTokens, token: str) -> bool:
    try:
        tokens.check(token)
    except BadToken as error:
        return str(error) == ""  # nothing tells why
    return False


def test_made_and_checked(tokens: SignedTokens) -> None:
    token, claims = tokens.make("ann", "session", 60, NOW * 1000 - 5)
    assert tokens.check(token) == claims
    assert (claims.sub, claims.sid, claims.ims, claims.iat, claims.exp) == (
        "ann",
        "session",
        NOW * 1000 - 5,
        NOW,
        NOW + 60,
    )
    assert len(token) < 500
    other, others = tokens.make("ann", "session", 60, NOW * 1000 - 5)
    assert other != token and others.jti != claims.jti


def test_what_the_others_in_this_file_change_is_good_itself(tokens: SignedTokens) -> None:
    assert tokens.check(signed()).sub == "ann"


def test_expires_to_the_second(tokens: SignedTokens, clock: Clock) -> None:
    token, _ = tokens.make("ann", "session", 60, 0)
    fresh = SignedTokens(clock, KEY, AUDIENCE)
    clock.advance(59.9)
    tokens.check(token)
    clock.advance(0.1)
    assert refused(tokens, token)  # remembered as good until now
    assert refused(fresh, token)  # never seen before
    assert tokens._codec._known == {} == fresh._codec._known


def test_comes_not_from_the_future(tokens: SignedTokens, clock: Clock) -> None:
    token, _ = tokens.make("ann", "session", 10**6, 0)
    clock.rightNow -= SKEW
    tokens.check(token)
    clock.rightNow -= 1
    assert refused(tokens, token)
    clock.rightNow = 0
    assert refused(tokens, token)


def test_an_audience_opens_nothing_else(tokens: SignedTokens, clock: Clock) -> None:
    for audience in ("appliance:test:refresh", "appliance", "APPLIANCE:TEST", ""):
        token, _ = SignedTokens(clock, KEY, audience).make("ann", "session", 60, 0)
        assert refused(tokens, token), audience
    assert refused(tokens, signed(aud=[AUDIENCE])) and refused(tokens, signed(aud=["other", AUDIENCE]))


@pytest.mark.parametrize(
    "changed",
    [
        *({name: None} for name in ("sub", "jti", "sid", "ims", "iat", "exp", "aud")),
        *({name: ""} for name in ("sub", "jti", "sid")),
        *({name: 7} for name in ("sub", "jti", "sid")),
        *({name: "x" * 257} for name in ("sub", "jti", "sid")),
        *({name: str(NOW)} for name in ("ims", "iat")),
        *({name: NOW + 0.5} for name in ("ims", "iat")),
        *({name: True} for name in ("ims", "iat", "exp")),
        *({name: -1} for name in ("ims", "iat", "exp")),
        {"exp": str(NOW + 60)},
        {"exp": NOW + 60.5},
        {"exp": 1 << 60},
        {"exp": [NOW + 60]},
        {"exp": NOW - 1},
    ],
    ids=str,
)
def test_strict_about_what_it_says(tokens: SignedTokens, changed: dict[str, Any]) -> None:
    assert refused(tokens, signed(**changed))


def test_another_signature(tokens: SignedTokens) -> None:
    good = signed()
    head, body, signature = good.split(".")
    changed = segment(json.dumps(content(sub="root")).encode())
    for token in (
        signed(key=b"x" * KEY_BYTES),
        signed("HS384", KEY * 2),
        signed("HS512", KEY * 2),
        jwt.encode(content(), "", "none"),
        jwt.encode(content(), "", None),
        f"{segment(json.dumps({'alg': 'none', 'typ': 'JWT'}).encode())}.{body}.",
        f"{segment(json.dumps({'alg': 'None', 'typ': 'JWT'}).encode())}.{body}.{signature}",
        f"{head}.{changed}.{signature}",
        f"{head}.{body}.",
        f"{head}.{body}",
        f"{head}.{body}.{signature}.",
        f"{head}.{body}.{'A' if signature[0] != 'A' else 'B'}{signature[1:]}",
        f"{head}.{body}.{signature[:-4]}",
    ):
        assert refused(tokens, token), token
    tokens.check(good)


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "..",
        "Bearer",
        "x" * 5000,
        "\0.\0.\0",
        "\udcff",
        "ä.ö.ü",
        segment(b"[" * 2900) + ".e30.eA",
        segment(b'{"alg":"HS256","crit":["x"],"x":1}') + ".e30.eA",
        segment(b"null") + ".e30.eA",
    ],
    ids=lambda text: ascii(text[:20]),
)
def test_what_is_no_token(tokens: SignedTokens, text: str) -> None:
    assert refused(tokens, text)


def test_a_deep_body_that_is_signed(tokens: SignedTokens) -> None:
    assert refused(tokens, jwt.PyJWS().encode(b"[" * 1500, KEY, "HS256"))
    assert refused(tokens, jwt.PyJWS().encode(b"[]", KEY, "HS256"))


def test_too_long_is_not_parsed(tokens: SignedTokens, monkeypatch: pytest.MonkeyPatch) -> None:
    long = signed(jti="x" * 200, more="y" * MAX_LENGTH)
    assert len(long) > MAX_LENGTH
    monkeypatch.setattr(jwt, "decode", lambda *arguments, **options: pytest.fail("it was parsed"))
    assert refused(tokens, long)


def test_what_was_good_is_not_parsed_again(tokens: SignedTokens, monkeypatch: pytest.MonkeyPatch) -> None:
    token = signed()
    claims = tokens.check(token)
    monkeypatch.setattr(jwt, "decode", lambda *arguments, **options: pytest.fail("it was parsed"))
    assert tokens.check(token) is claims


def test_memory_is_bounded_and_what_is_bad_is_not_remembered(
    tokens: SignedTokens, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signed_tokens, "MAX_CACHED", 10)
    for number in range(50):
        tokens.check(signed(jti=str(number)))
        assert refused(tokens, signed(jti=str(number), key=b"x" * KEY_BYTES))
        assert refused(tokens, signed(jti=f"e{number}", exp=NOW))
    assert [claims.jti for claims in tokens._codec._known.values()] == [str(number) for number in range(40, 50)]
    tokens.check(signed(jti="0"))


def test_the_key_is_made_once_for_us_alone(tmp_path: Path) -> None:
    path = tmp_path / "tokens.key"
    umask = os.umask(0)
    try:
        key = load_key(path)
    finally:
        os.umask(umask)
    assert len(key) >= 32 and key == path.read_bytes() == load_key(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert os.listdir(tmp_path) == ["tokens.key"]
    assert load_key(tmp_path / "other.key") != key


def test_a_key_that_others_may_read_is_taken_from_them(tmp_path: Path) -> None:
    path = tmp_path / "tokens.key"
    path.write_bytes(KEY)
    path.chmod(0o644)
    assert load_key(path) == KEY
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("bytes_there", [b"", b"k" * (KEY_BYTES - 1), b"k" * 2000])
def test_a_file_that_holds_no_key(tmp_path: Path, bytes_there: bytes) -> None:
    path = tmp_path / "tokens.key"
    path.write_bytes(bytes_there)
    with pytest.raises(KeyUnusable, match=r"tokens\.key .*move it away"):
        load_key(path)
    assert path.read_bytes() == bytes_there


def test_a_key_that_cannot_be_read_or_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tokens.key").mkdir()
    with pytest.raises(KeyUnusable, match=r"tokens\.key is not a regular file: move it away"):
        load_key(tmp_path / "tokens.key")
    with pytest.raises(KeyUnusable, match=r"missing/tokens\.key cannot be made \(No such file.*writable"):
        load_key(tmp_path / "missing" / "tokens.key")

    def denied(*arguments: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(signed_tokens, "read_limited", denied)
    with pytest.raises(KeyUnusable, match=r"tokens\.key cannot be read \(Permission denied\): make it readable"):
        load_key(tmp_path / "tokens.key")
