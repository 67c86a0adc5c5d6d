"""How far a reader of the log has come, so that a new connection goes on where the old one broke."""

from collections.abc import Callable, Mapping

from appliance.client.log_lines import Entry


class Progress:
    """
    What is asked of the server, at first and after a lost connection, and which entries have been shown.

    Entries have a time but no number, so the server is asked for all from the last one's time on, and those of that
    time that were shown are left out. `seconds` is a clock.
    """

    def __init__(self, wanted: Mapping[str, object], seconds: Callable[[], float]) -> None:
        """`wanted` are the filters of the first subscription."""
        self._wanted = wanted
        self._seconds = seconds
        self._begun: float | None = None
        self._last = ""
        self._shown: list[Entry] = []
        self._again: list[Entry] = []

    def filters(self) -> Mapping[str, object]:
        """The filters of the subscription that is begun now."""
        if self._last:
            self._again = list(self._shown)
            return {**self._wanted, "since": self._last, "lines": None}
        if self._begun is None:
            self._begun = self._seconds()
            return self._wanted
        if self._wanted.get("since") is not None:
            return self._wanted
        # Nothing was there: what has come since then, by the server's clock.
        return {**self._wanted, "since": f"-{int(self._seconds() - self._begun) + 1}s", "lines": None}

    def is_new(self, entry: Entry) -> bool:
        """Tell whether an entry has to be shown, and take it for shown."""
        if entry in self._again:
            self._again.remove(entry)
            return False
        if entry.timestamp != self._last:
            self._last = entry.timestamp
            self._shown.clear()
        self._shown.append(entry)
        return True
