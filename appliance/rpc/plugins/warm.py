"""One zygote (see `zygote/start.py`) and the calls that it runs for us."""

import os
import socket
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path

from twisted.internet.interfaces import IReadWriteDescriptor
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from appliance.process.child import Ending
from appliance.process.descriptors import duplicate_above
from appliance.process.errors import ProcessError
from appliance.process.eventual import Eventual
from appliance.process.leader import SessionLeader
from appliance.process.output import Tail
from appliance.process.pipes import Intake, pipe_from_child, pipe_to_child
from appliance.process.reactor import ProcessReactor
from appliance.process.spawn import OwnChild, spawn
from appliance.rpc.plugins.forked import Forked

PROGRAM = Path(__file__).absolute().with_name("zygote") / "start.py"

START_LIMIT = 20.0
"""Seconds a zygote may take to be ready."""

FORK_LIMIT = 10.0
"""Seconds it may take to start a call."""

_CONTROL = 3
_LOWEST = 8
_MESSAGE_LIMIT = 65536


class Cold(Exception):
    """The call was not started, and is to be started as any other program; the text says why."""


@implementer(IReadWriteDescriptor)
class Zygote:
    """
    One zygote process.

    `ready` is true or false once that is known; `usable` says whether it takes calls now, `retired` that it takes no
    more of them. `gone` gets a text when it has ended, and with it all its calls: those that had begun are lost, the
    others were cold.
    """

    _log = Logger()

    def __init__(self, reactor: ProcessReactor, python: Sequence[str], environment: Mapping[str, str]) -> None:
        """Start one for scripts that the kernel runs by the command `python`. Raises `ProcessError`."""
        self.ready: Eventual[bool] = Eventual()
        self.gone: Eventual[str] = Eventual()
        self.usable = False
        self._reactor = reactor
        self.retired = False
        self._last = 0
        self._starting: dict[str, Eventual[SessionLeader | None]] = {}
        self._running: dict[str, Forked] = {}
        self._backlog: deque[bytes] = deque()
        self._words = Tail(2000)
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._control.setblocking(False)
        self._intakes: list[Intake] = []
        try:
            self._leader = self._spawn([*python, str(PROGRAM)], environment, theirs)
        except BaseException:
            self._control.close()
            raise
        finally:
            theirs.close()
        self._timer = reactor.callLater(START_LIMIT, self._hangs, "it did not start in time")
        reactor.addReader(self)
        _ = self._leader.ended.wait().addBoth(self._has_ended)  # last, for it may have ended already

    @property
    def pid(self) -> int:
        """Its process number."""
        return self._leader.pid

    async def launch(self, argv: Sequence[str], descriptors: Mapping[int, int]) -> SessionLeader:
        """
        Have the script `argv[0]` run with these arguments and the descriptors 0, 1, 2 and 3, which stay ours to close.

        Raises `Cold`.
        """
        self._last += 1
        number = str(self._last)
        message = "\0".join(("run", number, *argv)).encode("utf-8", "surrogateescape")
        if not self.usable or len(message) > _MESSAGE_LIMIT:
            raise Cold("it takes no calls")
        try:
            socket.send_fds(self._control, [message], [descriptors[each] for each in sorted(descriptors)])
        except OSError as error:
            raise Cold(str(error)) from None
        starting = self._starting[number] = Eventual()
        timer = self._reactor.callLater(FORK_LIMIT, self._hangs, "it does not start a call")
        try:
            leader = await starting.wait()
        finally:
            if timer.active():
                timer.cancel()
        if leader is None:
            raise Cold("it was refused")
        return leader

    def retire(self) -> None:
        """Take no more calls, and end with the last of those there are."""
        self.usable = False
        self.retired = True
        if not self._starting and not self._running:
            self._close()

    async def stop(self) -> None:
        """End it, and lose its calls; return when it is gone."""
        self._close()
        self._leader.terminate()
        await self.gone.wait()

    # What it says

    def _hear(self, words: list[str]) -> None:
        match words:
            case ["ready"]:
                self._timer.cancel()
                self.usable = not self.retired
                self.ready.set(True)
            case ["started", number, pid]:
                leader = Forked(self._reactor, int(pid), self.doRead, lambda: self._let_go(number))
                self._running[number] = leader
                self._starting.pop(number).set(leader)
            case ["cold", number, why]:
                self._log.debug("A call of a plugin is not run warm: {why}", why=why)
                self._starting.pop(number).set(None)
                self._retire_when_idle()
            case ["ended", number, kind, status]:
                code = int(status)
                self._running[number].has_ended(Ending(code, None) if kind == "exit" else Ending(None, code))
            case ["retired", why]:
                self._log.info("A warm interpreter is replaced: {why}", why=why)
                self.usable = False
                self.retired = True
            case _:
                raise ProcessError(f"a message that means nothing: {words}")

    def _let_go(self, number: str) -> None:
        del self._running[number]
        self._backlog.append(f"reap\0{number}".encode())
        self.doWrite()
        self._retire_when_idle()

    def _retire_when_idle(self) -> None:
        if self.retired and not self._starting and not self._running:
            self._close()

    # Its end

    def _hangs(self, why: str) -> None:
        self._log.error("A warm interpreter is killed: {why}", why=why)
        self.usable = False
        self._leader.kill()

    def _has_ended(self, ending: Ending | Failure) -> None:
        if not self._closed:
            self.doRead()  # what it said last counts
        self._close()
        for intake in self._intakes:
            intake.read_rest()
            intake.close()
        words = self._words.content().decode(errors="replace").strip()
        how = "it hangs" if isinstance(ending, Failure) else f"exit code {ending.exit_code}, signal {ending.signal}"
        self.gone.set(f"{how} {words}".strip())

    @property
    def _closed(self) -> bool:
        return self._control.fileno() < 0

    def _close(self) -> None:
        """Close the socket, at which it ends; its calls are lost."""
        self.usable = False
        if self._timer.active():
            self._timer.cancel()
        if self._closed:
            return
        self._reactor.removeReader(self)
        self._reactor.removeWriter(self)
        self._control.close()
        self.ready.set(False)
        starting, self._starting = self._starting, {}
        for each in starting.values():
            each.set(None)
        running, self._running = self._running, {}
        for leader in running.values():
            leader.orphan()

    # What the reactor calls

    def fileno(self) -> int:
        return self._control.fileno()

    def logPrefix(self) -> str:
        return "zygote"

    def doRead(self) -> None:
        try:
            while not self._closed:
                message = self._control.recv(_MESSAGE_LIMIT)
                if not message:
                    self._close()
                    self._leader.terminate()
                    return
                self._hear(message.decode("utf-8", "surrogateescape").split("\0"))
        except BlockingIOError:
            return
        except (OSError, ProcessError, KeyError, ValueError) as error:
            self._hangs(f"it cannot be understood: {error}")

    def doWrite(self) -> None:
        try:
            while self._backlog and not self._closed:
                self._control.send(self._backlog[0])
                self._backlog.popleft()
        except BlockingIOError:
            self._reactor.addWriter(self)
            return
        except OSError:
            self._backlog.clear()  # it is gone, which `doRead` finds out
        if not self._closed:
            self._reactor.removeWriter(self)

    def connectionLost(self, reason: Failure) -> None:
        self._close()

    def _spawn(self, argv: Sequence[str], environment: Mapping[str, str], control: socket.socket) -> OwnChild:
        # Pipes, as scripts get: Python decides by their kind how it buffers.
        stdin, stdout, stderr = pipe_to_child(), pipe_from_child(), pipe_from_child()
        os.close(stdin.ours)
        self._intakes = [Intake(self._reactor, each.ours, self._words.add) for each in (stdout, stderr)]
        lifted = duplicate_above(control.fileno(), _LOWEST)
        theirs = {0: stdin.theirs, 1: stdout.theirs, 2: stderr.theirs, _CONTROL: lifted}
        try:
            return spawn(self._reactor, argv, env=environment, descriptors=theirs)
        except BaseException:
            for intake in self._intakes:
                intake.close()
            raise
        finally:
            for descriptor in theirs.values():
                os.close(descriptor)
