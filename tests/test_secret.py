import copy
import json
import pickle
import traceback

import msgspec
import pytest

from appliance.secret import MASK, Secret, decode_hook, encode_hook, schema_hook

VALUE = "correct horse"


class Login(msgspec.Struct):
    name: str
    password: Secret
    hint: Secret | None = None


def test_reveals_only_when_asked() -> None:
    secret = Secret(VALUE)
    assert secret.reveal() == VALUE
    shown = [repr(secret), str(secret), f"{secret}", f"{secret!r:>20}", format(secret, ">40"), f"{secret:s}"]
    assert all(VALUE not in text and MASK in text for text in shown)
    assert VALUE not in repr([secret, {"a": secret}, Login("x", secret)])


def test_json_and_pickle_refuse() -> None:
    secret = Secret(VALUE)
    with pytest.raises(TypeError):
        json.dumps({"a": secret})
    with pytest.raises(TypeError):
        msgspec.json.encode(Login("x", secret))
    with pytest.raises(TypeError):
        msgspec.to_builtins(Login("x", secret))
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        with pytest.raises(TypeError):
            pickle.dumps(secret, protocol)
    with pytest.raises(TypeError):
        secret.__getstate__()
    assert not hasattr(secret, "__dict__")


def test_copies_are_the_same_secret() -> None:
    secret = Secret(VALUE)
    assert copy.copy(secret) is secret
    assert copy.deepcopy({"a": secret})["a"] is secret


def test_cannot_be_changed() -> None:
    secret = Secret(VALUE)
    with pytest.raises(AttributeError):
        secret._value = "other"
    with pytest.raises(AttributeError):
        del secret._value
    assert secret.reveal() == VALUE


def test_comparison() -> None:
    secret = Secret("pä\udcffss")
    assert secret.matches("pä\udcffss") and secret.matches(Secret("pä\udcffss"))
    assert not secret.matches("") and not secret.matches("pass")
    assert secret == Secret("pä\udcffss") and hash(secret) == hash(Secret("pä\udcffss"))
    assert secret != Secret("x") and secret != "pä\udcffss"
    assert not Secret("") and Secret("0")


def test_only_made_of_strings() -> None:
    with pytest.raises(TypeError, match="bytes"):
        Secret(b"x")  # type: ignore[arg-type]


def test_decodes_as_a_field() -> None:
    login = msgspec.json.decode(b'{"name": "a", "password": "p w"}', type=Login, dec_hook=decode_hook)
    assert login.password.reveal() == "p w" and login.hint is None
    again = msgspec.convert({"name": "a", "password": Secret("q"), "hint": "r"}, Login, dec_hook=decode_hook)
    assert again.password.reveal() == "q" and again.hint is not None and again.hint.reveal() == "r"


def test_decode_error_hides_the_value() -> None:
    with pytest.raises(msgspec.ValidationError, match=r"got `int` - at `\$.password`") as caught:
        msgspec.json.decode(b'{"name": "a", "password": %d}' % (271827 + 1), type=Login, dec_hook=decode_hook)
    assert "271828" not in "".join(traceback.format_exception(caught.value))


def test_hooks_leave_other_types_alone() -> None:
    for call in (lambda: decode_hook(complex, 1), lambda: encode_hook(1j), lambda: schema_hook(complex)):
        with pytest.raises(NotImplementedError):
            call()


def test_encode_and_schema_hooks() -> None:
    encoded = msgspec.json.encode(Login("x", Secret(VALUE)), enc_hook=encode_hook)
    assert json.loads(encoded) == {"name": "x", "password": MASK, "hint": None}
    schema = msgspec.json.schema(Login, schema_hook=schema_hook)
    assert schema["$defs"]["Login"]["properties"]["password"] == {"type": "string", "format": "password"}
