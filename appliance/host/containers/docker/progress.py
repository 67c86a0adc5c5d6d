"""How far a pull has come, from what the engine tells of its layers."""

from appliance.host.containers.docker.wire import PullMessage

_DOWNLOAD = 0.7
"""The share of a layer's time that its download is taken to have; the rest is unpacking."""
_STEPS = {
    "Pulling fs layer": (0.0, 0.0),
    "Waiting": (0.0, 0.0),
    "Downloading": (0.0, _DOWNLOAD),
    "Retrying": (0.0, 0.0),
    "Verifying Checksum": (_DOWNLOAD, 0.0),
    "Download complete": (_DOWNLOAD, 0.0),
    "Extracting": (_DOWNLOAD, 1 - _DOWNLOAD),
    "Pull complete": (1.0, 0.0),
    "Already exists": (1.0, 0.0),
}
"""Where a layer stands when its step begins, and how far the step takes it."""


class PullProgress:
    """Adds up what is told of the layers; they count alike, for their sizes are known too late."""

    def __init__(self) -> None:
        self._layers: dict[str, float] = {}
        self.percentage = 0

    def take(self, message: PullMessage) -> None:
        """Note a message. `percentage` never falls, and is 99 at the most: the end is not told by a layer."""
        step = _STEPS.get(message.status)
        if step is None or not message.id:
            return
        begin, length = step
        detail = message.progress_detail
        if length and detail is not None and detail.total > 0:
            begin += length * min(detail.current / detail.total, 1.0)
        self._layers[message.id] = begin
        reached = int(99 * sum(self._layers.values()) / len(self._layers))
        self.percentage = max(self.percentage, reached)
