"""What can be said of WebSockets without Autobahn: close codes (RFC 6455 section 7.4), frames made for many sockets."""

NORMAL = 1000
GOING_AWAY = 1001
UNSUPPORTED = 1003
NO_CODE = 1005
ABNORMAL = 1006
TOO_BIG = 1009
INTERNAL_ERROR = 1011
TRY_AGAIN_LATER = 1013


def prepared(message: bytes) -> bytes:
    """A text message as the frame that goes to clients, for `Socket.send_prepared`."""
    from autobahn.websocket.protocol import PreparedMessage  # loaded by now: there are sockets

    return bytes(PreparedMessage(message, False, False, True).payloadHybi)
