"""What a plugin prints when it is asked for its methods."""

from collections.abc import Mapping

import msgspec

Methods = Mapping[str, Mapping[str, object]]
"""Method → argument → a value of the argument's type."""

NAME_LIMIT = 128

_decoder = msgspec.json.Decoder(dict[str, object])


class BadListing(Exception):
    """The plugin did not say what methods it has."""


def methods_in(output: bytes) -> dict[str, dict[str, object]]:
    """
    The methods in the output of `PLUGIN list`: a JSON object of objects.

    A method whose arguments are no object is left out, as rpcd does it. Raises `BadListing`.
    """
    try:
        listed = _decoder.decode(output)
    except (msgspec.DecodeError, RecursionError) as error:
        raise BadListing(f"its list is not a JSON object: {error}") from None
    methods = {name: arguments for name, arguments in listed.items() if isinstance(arguments, dict)}
    for name in methods:
        if not name or len(name) > NAME_LIMIT or not name.isprintable():
            raise BadListing("its list has a method whose name is empty, too long or not printable")
    return methods
