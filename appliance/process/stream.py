"""A child process whose output flows to a consumer as fast as the consumer takes it, and no faster."""

from collections.abc import Mapping, Sequence

from twisted.internet.interfaces import IConsumer, IPushProducer
from zope.interface import implementer

from appliance.process.child import STDOUT, Child
from appliance.process.output import Tail
from appliance.process.run import Finished, ProcessRunner


async def stream(
    runner: ProcessRunner,
    argv: Sequence[str],
    consumer: IConsumer,
    *,
    stdin: bytes = b"",
    env: Mapping[str, str] | None = None,
    cwd: str | None = None,
    timeout: float | None = None,
    error_limit: int = 1 << 16,
) -> Finished:
    """
    Write the standard output of `argv` to `consumer` and return how it ended, with the end of its standard
    error.

    The consumer's `pauseProducing` stops the reading, so that a slow peer holds back the child and costs no
    memory; its `stopProducing` (the peer has gone) terminates the child, whose ending then shows the
    signal. Environment, timeout, cancelling and errors are as in `ProcessRunner.run`; without `timeout`
    (seconds) the consumer decides.
    """
    stderr = Tail(error_limit)
    flow = _Flow(consumer)

    def receive(descriptor: int, data: bytes) -> None:
        if descriptor == STDOUT:
            flow.write(data)
        else:
            stderr.add(data)

    child = runner.start(argv, receive, stdin=stdin, env=env, cwd=cwd)
    try:
        flow.begin(child)
        ending, timed_out = await runner.attend(child, timeout)
    except BaseException:
        child.terminate()
        raise
    finally:
        flow.end()
    return Finished(
        exit_code=ending.exit_code,
        signal=ending.signal,
        stdout=b"",
        stderr=stderr.content(),
        timed_out=timed_out,
        truncated=stderr.dropped or flow.stopped,
    )


@implementer(IPushProducer)
class _Flow:
    """Stands between the child's pipe and the consumer."""

    def __init__(self, consumer: IConsumer) -> None:
        self.stopped = False
        self._consumer = consumer
        self._child: Child | None = None

    def begin(self, child: Child) -> None:
        self._child = child
        self._consumer.registerProducer(self, True)

    def write(self, data: bytes) -> None:
        if self._child is not None and not self.stopped:
            self._consumer.write(data)

    def end(self) -> None:
        """Let go of the consumer, which is the caller's to finish."""
        if self._child is not None and not self.stopped:
            self._consumer.unregisterProducer()
        self._child = None

    def pauseProducing(self) -> None:
        if self._child is not None:
            self._child.pause()

    def resumeProducing(self) -> None:
        if self._child is not None and not self.stopped:
            self._child.resume()

    def stopProducing(self) -> None:
        self.stopped = True
        if self._child is not None:
            self._child.terminate()
