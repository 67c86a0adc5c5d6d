"""What tests say and hear on the WebSockets of programs in containers and pods."""

from typing import Any

from tests.support.live_socket import LiveSocket


def begin(socket: LiveSocket, *command: str, **payload: object) -> None:
    """Ask for a program."""
    socket.say("subscribe", payload={"channel": "container-exec", "command": list(command), **payload})


def output_until(socket: LiveSocket, wanted: str) -> str:
    """What is printed up to the piece in which `wanted` comes."""
    text = ""
    while wanted not in text:
        message = socket.hear()
        assert message["type"] == "output", message
        text += message["payload"]["data"]
    return text


def exit_of(socket: LiveSocket) -> Any:
    """How the program has ended, and the socket with it; what it prints before is passed over."""
    payload = socket.hear_until(lambda message: message["type"] == "exit")["payload"]
    assert socket.end() == 1000
    return payload
