"""The wire format of Protocol Buffers (its encoding guide), as much of it as Nebula's certificates use."""

from collections.abc import Iterator

from appliance.mesh.certificates.errors import BadCertificate

_VARINT, _BYTES = 0, 2
_VARINT_LIMIT = 1 << 64


def varint(number: int) -> bytes:
    """A number of 64 bits; a negative one as its two's complement."""
    number %= _VARINT_LIMIT
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    found.append(number)
    return bytes(found)


def number_field(tag: int, number: int) -> bytes:
    """A field that holds a number; nothing for 0, the default."""
    return varint(tag << 3 | _VARINT) + varint(number) if number else b""


def bytes_field(tag: int, content: bytes) -> bytes:
    """A field that holds bytes."""
    return varint(tag << 3 | _BYTES) + varint(len(content)) + content


def fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Tag and value of each field. Raises `BadCertificate` for what is cut off or of another kind."""
    position = 0
    while position < len(message):
        key, position = read_varint(message, position)
        value, position = read_varint(message, position)
        if key & 7 == _VARINT:
            yield key >> 3, value
        elif key & 7 == _BYTES and position + value <= len(message):
            yield key >> 3, message[position : position + value]
            position += value
        else:
            raise BadCertificate("not a certificate: a field cannot be read")


def read_varint(message: bytes, position: int) -> tuple[int, int]:
    """The number at `position`, and where what follows it begins. Raises `BadCertificate`."""
    number = 0
    for shift in range(0, 70, 7):
        if position >= len(message):
            break
        byte = message[position]
        position += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            if number >= _VARINT_LIMIT:
                break
            return number, position
    raise BadCertificate("not a certificate: a number cannot be read")
