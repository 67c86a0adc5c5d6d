"""WebSockets (RFC 6455): the handshake's rules, messages in order, back-pressure. Knows nothing of what is said."""
