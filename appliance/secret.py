"""A string that does not print itself: passwords, tokens, keys on their way through the program."""

import hmac
from typing import Any, Final, NoReturn, Self

MASK: Final = "***"


class Secret:
    """
    Holds a string and shows `***` wherever it is printed, formatted or logged.

    Only `reveal()` gives the value. It cannot be pickled, and neither json nor msgspec encode it (with
    `encode_hook` they write the mask). As a field of a msgspec type it needs `decode_hook`.
    """

    __slots__ = ("_value",)
    _value: str

    def __init__(self, value: str) -> None:
        if not isinstance(value, str):
            raise TypeError(f"a secret is made of str, not {type(value).__name__}")
        object.__setattr__(self, "_value", value)

    def reveal(self) -> str:
        """The value itself, for the one place that needs it."""
        return self._value

    def matches(self, other: "Secret | str") -> bool:
        """Whether `other` has the same value, in time that depends on the lengths only."""
        theirs = other._value if isinstance(other, Secret) else other
        return hmac.compare_digest(_octets(self._value), _octets(theirs))

    def __eq__(self, other: object) -> bool:
        return self.matches(other) if isinstance(other, Secret) else NotImplemented

    def __hash__(self) -> int:
        return hash((Secret, self._value))

    def __bool__(self) -> bool:
        return bool(self._value)

    def __repr__(self) -> str:
        return MASK

    def __str__(self) -> str:
        return MASK

    def __format__(self, specification: str) -> str:
        return MASK

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError("a secret cannot be changed")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError("a secret cannot be changed")

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self

    def __getstate__(self) -> NoReturn:
        raise TypeError("a secret cannot be serialized")

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a secret cannot be serialized")


def decode_hook(kind: type, value: Any) -> Any:
    """msgspec `dec_hook`: makes a `Secret` of a string. The error for other types does not show the value."""
    if kind is not Secret:
        raise NotImplementedError(f"cannot decode {kind!r}")
    if isinstance(value, Secret):
        return value
    if isinstance(value, str):
        return Secret(value)
    raise TypeError(f"Expected `str`, got `{type(value).__name__}`")


def encode_hook(value: Any) -> Any:
    """msgspec `enc_hook` (and json `default`) that writes `***` for a `Secret`."""
    if isinstance(value, Secret):
        return MASK
    raise NotImplementedError(f"cannot encode {type(value).__name__}")


def schema_hook(kind: type) -> dict[str, Any]:
    """msgspec `schema_hook`: a `Secret` is a string of format `password` (OpenAPI format registry)."""
    if kind is Secret:
        return {"type": "string", "format": "password"}
    raise NotImplementedError(f"no schema for {kind!r}")


def _octets(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
