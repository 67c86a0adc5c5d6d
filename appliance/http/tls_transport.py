"""Twisted's TLS connection, gone with its last reference: none of its kind waits for the garbage collector.

What waits is scattered over the heap by the thousand, a few kilobytes of OpenSSL's with each, and the pages between
are not given back to the system when it goes. Uses private names of Twisted.
"""

from twisted.internet.protocol import connectionDone
from twisted.protocols.tls import BufferingTLSTransport
from twisted.python.failure import Failure


class TLSTransport(BufferingTLSTransport):
    """Breaks the reference cycles in which Twisted leaves a connection that has ended."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Let go of the producer, which is most often the protocol whose transport we are."""
        super().connectionLost(reason)
        self._producer = None

    def _tlsShutdownFinished(self, reason: Failure | None) -> None:
        """Let go of the frames in which an error came up: in one of them stands `reason`, and in all of them we.

        It comes up whenever a peer ends a connection without a word of TLS, as most programs do.
        """
        super()._tlsShutdownFinished(reason)
        if reason is not None:
            reason.cleanFailure()
