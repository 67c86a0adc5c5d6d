"""DER (ITU-T X.690), as much of it as Nebula's certificates of version 2 use: tags of one byte, definite lengths."""

from appliance.mesh.certificates.errors import BadCertificate

SEQUENCE, OCTET_STRING, UTF8_STRING = 0x30, 0x04, 0x0C


def element(tag: int, *contents: bytes) -> bytes:
    """One element."""
    content = b"".join(contents)
    size = len(content)
    if size < 0x80:
        return bytes((tag, size)) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(length))) + length + content


def integer(tag: int, number: int) -> bytes:
    """An INTEGER under an implicit tag: two's complement, as short as can be (X.690 section 8.3)."""
    return element(tag, number.to_bytes((number if number >= 0 else ~number).bit_length() // 8 + 1, "big", signed=True))


class Reader:
    """Takes a sequence of elements apart, in their order."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._position = 0

    @property
    def at_end(self) -> bool:
        """Whether nothing is left."""
        return self._position == len(self._content)

    def next_is(self, tag: int) -> bool:
        """Whether an element of that tag comes next."""
        return self._content[self._position : self._position + 1] == bytes((tag,))

    def take(self, tag: int) -> bytes:
        """The content of the next element, which must have that tag. Raises `BadCertificate`."""
        return self.take_whole(tag)[1]

    def take_whole(self, tag: int) -> tuple[bytes, bytes]:
        """The next element as it stands, and its content."""
        begin = self._position
        head = self._content[begin : begin + 2]
        if len(head) < 2 or head[0] != tag:
            raise BadCertificate("not a certificate: an element is missing or not expected")
        size, position = head[1], begin + 2
        if size & 0x80:
            count = size & 0x7F
            size = int.from_bytes(self._content[position : position + count], "big")
            position += count
        if position + size > len(self._content):
            raise BadCertificate("not a certificate: an element is cut off")
        self._position = position + size
        return self._content[begin : self._position], self._content[position : self._position]

    def take_optional(self, tag: int) -> bytes | None:
        """The content of the next element where it has that tag."""
        return self.take(tag) if self.next_is(tag) else None


def read_integer(content: bytes) -> int:
    """The number that the content of an INTEGER holds. Raises `BadCertificate`."""
    if not 1 <= len(content) <= 8:
        raise BadCertificate("not a certificate: a number cannot be read")
    return int.from_bytes(content, "big", signed=True)
