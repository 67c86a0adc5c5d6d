"""What can go wrong with processes and jobs, in words for whoever operates the machine."""


class ProcessError(Exception):
    """A process could not be started, or its runner is stopping. The text never holds arguments."""


class JobError(Exception):
    """A job was asked for something its state does not allow, or its records cannot be kept."""


class AlreadyRunning(JobError):
    """A job of this kind has not ended yet: there is one at a time."""

    def __init__(self, kind: str) -> None:
        super().__init__(f"a job of kind {kind} is already running")
        self.kind = kind


class JobsClosed(JobError):
    """The jobs were closed (the server stops) before the answer was known; the job itself may go on."""
