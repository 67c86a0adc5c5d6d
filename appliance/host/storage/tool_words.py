"""What the tools said when they failed, made fit to be shown: one short line, without control characters."""

_LIMIT = 200


def first_words(output: bytes) -> str:
    """The first line that says something."""
    return _shown(next(iter(_lines(output)), ""))


def last_words(output: bytes) -> str:
    """The last line that says something, before a tool went on to explain how it is used."""
    lines = _lines(output)
    usage = next((index for index, line in enumerate(lines) if line.startswith("Usage:")), len(lines))
    return _shown(lines[max(0, usage - 1)] if lines else "")


def _lines(output: bytes) -> list[str]:
    lines = (line.strip() for line in output.decode("utf-8", "replace").splitlines())
    return [line for line in lines if line]


def _shown(line: str) -> str:
    line = line.replace("\b", "")
    printable = "".join(character if character.isprintable() else " " for character in line).strip()
    return printable if len(printable) <= _LIMIT else f"{printable[:_LIMIT]}…"
