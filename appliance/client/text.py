"""Text that comes from a server, for a terminal."""


def printable(text: str) -> str:
    """`text` with nothing in it that could drive the terminal."""
    return "".join(character if character.isprintable() else "?" for character in text)
