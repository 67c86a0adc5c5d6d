"""Where in the journal the pages of one filter begin, in little memory."""

from appliance.host.journal.files import JournalFiles

MAX_ANCHORS = 2048
"""How many cursors an index keeps at most: about 350 bytes each."""

_FIRST_STEP = 16


class Index:
    """
    The number of entries that match a filter, and the cursor of every so many of them.

    Entries bear numbers: the newest of the first count is 0, older ones are negative, those that came later positive.
    An anchor is kept for each multiple of a step, which doubles when there are too many; so numbers stay what they are
    and any entry is less than a step away from a cursor.

    `files` is the journal as it was counted; `complete` says that the oldest entry there is has been reached.
    """

    def __init__(self, files: JournalFiles) -> None:
        self.files = files
        self.complete = False
        self.oldest_cursor = b""
        self.newest_cursor = b""
        self._oldest = 1
        self._newest = 0
        self._step = _FIRST_STEP
        self._anchors: dict[int, bytes] = {}

    @property
    def total(self) -> int:
        """How many entries were counted."""
        return self._newest - self._oldest + 1

    def add_older(self, cursor: bytes) -> None:
        """Count one more entry at the old end."""
        self._oldest -= 1
        self.oldest_cursor = cursor
        if not self.newest_cursor:
            self.newest_cursor = cursor
        self._anchor(self._oldest, cursor)

    def add_newer(self, cursor: bytes) -> None:
        """Count one more entry at the new end."""
        self._newest += 1
        self.newest_cursor = cursor
        self._anchor(self._newest, cursor)

    def place(self, offset: int) -> tuple[bytes, int]:
        """
        Tell how to get to the entry `offset` places before the newest: a cursor, and how many entries to step back.

        `offset` is below `total`.
        """
        number = self._newest - offset
        anchor = -(-number // self._step) * self._step
        if anchor >= self._newest:
            return self.newest_cursor, offset
        return self._anchors[anchor], anchor - number

    def follows(self, files: JournalFiles) -> bool:
        """
        Tell whether what is new in `files` can be counted on top of what there is.

        It cannot where a file is gone or new. Nor where another writer than that of our newest entry has added some:
        entries of several writers are merged by time, and theirs may belong between ours.
        """
        if files.keys() != self.files.keys() or not self.newest_cursor:
            return files == self.files
        writers = {now.sequence for name, now in files.items() if now != self.files[name]}
        return all(f"s={writer.hex()};".encode() in self.newest_cursor for writer in writers)

    def _anchor(self, number: int, cursor: bytes) -> None:
        if number % self._step:
            return
        self._anchors[number] = cursor
        if len(self._anchors) > MAX_ANCHORS:
            self._step *= 2
            self._anchors = {number: each for number, each in self._anchors.items() if number % self._step == 0}
