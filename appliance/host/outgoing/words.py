"""What others say, as it may be passed on."""

LIMIT = 400


def shown(message: str, limit: int = LIMIT) -> str:
    """Another program's words, in one line and not too many."""
    text = " ".join("".join(each if each.isprintable() else " " for each in message[: 4 * limit]).split())
    return text if len(text) <= limit else text[: limit - 1] + "…"
