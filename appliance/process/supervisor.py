"""
Runs one job's program, so that the program outlives the server and its exit code is never lost.

Stand-alone on purpose: standard library only, started as `python -I -S supervisor.py JOBDIR` in a session
of its own, reading `JOBDIR/command.json` (argv with an absolute program, env, cwd, log, log_limit,
stop_grace, time_limit or null) and holding, as descriptor 3, the flock on `JOBDIR/lock` that the server
took. While anybody holds that lock the job is alive; the kernel lets go of it however this process dies.

Three processes, so that killing any one of them leaves a truth to be found:

- the program, in its own session. It is forked first but held at a gate, and let go only when its pid and
  start time are durable in `process.json` and the server was told `ready`. If this supervisor dies before
  that, the gate closes and the program never runs. If it dies later the program goes on (no
  PR_SET_PDEATHSIG: half an update is worse than an unwatched one), and the server finds it by pid, start
  time and boot id;
- the log pump, which appends the program's output to the log up to a limit and reads on beyond it. It is
  apart so that the program does not die of SIGPIPE when this supervisor is killed;
- this supervisor: it waits and writes `exit.json`. On SIGTERM, or after `time_limit` seconds, it ends the
  program's group: TERM, then KILL after `stop_grace` seconds. The group is signalled while its leader is a
  zombie at most, so the number is never another's.

A program that ends by a signal takes the rest of its group with it; one that exits leaves its daemons alive.
"""

import contextlib
import errno
import fcntl
import json
import os
import signal
import sys
import time
from typing import Any

LOCK = 3
WAKE = (signal.SIGCHLD, signal.SIGTERM)
PUMP_GRACE = 1.0
WRITE_ATTEMPTS = 20
WRITE_PAUSE = 0.5
EXIT_FILE_SIZE = 4096
LOG_KEPT = 4 << 20


def main(directory: str) -> None:
    """Run the job in `directory` to its end."""
    # Both are only ever taken by sigtimedwait: no handler, no race.
    signal.pthread_sigmask(signal.SIG_BLOCK, WAKE)
    for number in (signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    check_lock(directory)
    os.set_inheritable(LOCK, False)
    command = load(os.path.join(directory, "command.json"))
    reserve_exit_file(directory)
    pump, output = start_pump(command["log"], command["log_limit"])
    child, gate = start_program(command, output)
    os.close(output)
    record(directory, child)
    announce(directory)
    with contextlib.suppress(BrokenPipeError):  # killed at its gate: an ending like any other
        os.write(gate, b"g")
    os.close(gate)
    code, ended_by, late = wait_for_program(child, command["stop_grace"], command["time_limit"])
    wait_for_pump(pump)
    if late:
        note(command["log"], f"[stopped: it ran for more than {command['time_limit']:g} seconds]\n")
    write_exit(directory, {"code": code, "signal": ended_by})


def check_lock(directory: str) -> None:
    """Refuse to run without the server's lock: two supervisors of one job would be two updates."""
    ours, expected = os.fstat(LOCK), os.stat(os.path.join(directory, "lock"))
    if (ours.st_dev, ours.st_ino) != (expected.st_dev, expected.st_ino):
        raise ValueError("descriptor 3 is not the lock of this job")
    fcntl.flock(LOCK, fcntl.LOCK_EX | fcntl.LOCK_NB)


def load(path: str) -> Any:
    """The JSON object in `path`."""
    with open(path, "rb") as file:
        return json.load(file)


def note(log: str, text: str) -> None:
    """Append a line of our own to the log, where the disk takes it."""
    with contextlib.suppress(OSError), open(log, "a", opener=private) as file:
        file.write(text)


def start_pump(log: str, limit: int) -> tuple[int, int]:
    """Fork the log pump; return its pid and the descriptor the program is to write to."""
    with contextlib.suppress(OSError):
        if os.path.getsize(log) > LOG_KEPT:
            os.replace(log, f"{log}.1")
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.setsid()
            signal.signal(signal.SIGTERM, signal.SIG_IGN)  # only the end of the output ends it
            os.close(LOCK)
            os.close(writing)
            detach(os.devnull)
            pump(reading, descriptor, limit)
        finally:
            os._exit(0)
    os.close(reading)
    os.close(descriptor)
    return pid, writing


def pump(reading: int, log: int, limit: int) -> None:
    """Append what comes from `reading` to `log` until its end; beyond `limit` bytes only a note."""
    room = limit
    while data := os.read(reading, 65536):
        if room <= 0:
            continue
        room -= len(data)
        if room <= 0:
            data = data[: len(data) + room] + b"\n[the log is full, the rest of the output is dropped]\n"
        while data:
            try:
                data = data[os.write(log, data) :]
            except OSError:  # disk full: the program must not wait for it
                break


def start_program(command: Any, output: int) -> tuple[int, int]:
    """Fork the program, held at its gate; return its pid and the gate's descriptor."""
    entrance, gate = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(LOCK)
            os.close(gate)
            become(command, output, entrance)
        except BaseException as error:
            os.write(2, f"cannot start {command['argv'][0]}: {error}\n".encode(errors="replace"))
            os._exit(127 if getattr(error, "errno", None) == errno.ENOENT else 126)
    os.close(entrance)
    return pid, gate


def become(command: Any, output: int, entrance: int) -> None:
    """Turn this process into the program, once the gate opens."""
    os.setsid()
    devnull = os.open(os.devnull, os.O_RDONLY)
    os.dup2(devnull, 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.chdir(command["cwd"])
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    if os.read(entrance, 1) != b"g":
        os._exit(125)  # the supervisor is dead, and nobody knows of us
    os.execve(command["argv"][0], command["argv"], command["env"])  # noqa: S606 (no shell is the point)


def record(directory: str, child: int) -> None:
    """Make durable who runs the job."""
    pid = os.getpid()
    with open("/proc/sys/kernel/random/boot_id") as file:
        boot = file.read().strip()
    mark = {
        "pid": pid,
        "start_time": start_time(pid),
        "child_pid": child,
        "child_start_time": start_time(child),
        "boot_id": boot,
    }
    path = os.path.join(directory, "process.new")
    with open(path, "w", opener=private) as file:
        json.dump(mark, file)
        file.flush()
        os.fsync(file.fileno())
    os.rename(path, os.path.join(directory, "process.json"))
    sync_directory(directory)


def announce(directory: str) -> None:
    """Tell the server, if it is still there, and let go of its pipes; later complaints go to a file of our
    own."""
    with contextlib.suppress(BrokenPipeError):
        os.write(1, b"ready\n")
    detach(os.path.join(directory, "supervisor.log"))


def detach(errors: str) -> None:
    """Point the standard descriptors away from the server: to nothing, and errors to the file `errors`."""
    devnull = os.open(os.devnull, os.O_RDWR)
    complaints = os.open(errors, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.dup2(devnull, 0)
    os.dup2(devnull, 1)
    os.dup2(complaints, 2)
    for descriptor in {devnull, complaints} - {0, 1, 2}:
        os.close(descriptor)


def wait_for_program(child: int, stop_grace: float, time_limit: float | None) -> tuple[int | None, int | None, bool]:
    """Wait for the program, passing on a request to stop; return its exit code and signal, one of them
    None, and whether its time was up."""
    time_is_up = float("inf") if time_limit is None else time.monotonic() + time_limit
    late = False
    deadline = None
    ending = None
    while ending is None:
        pause = (time_is_up if deadline is None else deadline) - time.monotonic()
        request = signal.sigtimedwait(WAKE, max(0.0, min(pause, 3600.0)))
        requested = request is not None and request.si_signo == signal.SIGTERM
        if deadline is None and (requested or time.monotonic() >= time_is_up):
            late = not requested
            deadline = time.monotonic() + stop_grace
            signal_group(child, signal.SIGTERM)
        elif deadline is not None and time.monotonic() >= deadline:
            signal_group(child, signal.SIGKILL)
            deadline = time.monotonic() + stop_grace
        ending = os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    exited = ending.si_code == os.CLD_EXITED
    if not exited or deadline is not None:
        signal_group(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return (ending.si_status, None, late) if exited else (None, ending.si_status, late)


def signal_group(child: int, number: signal.Signals) -> None:
    """Signal the program and all it started, or itself alone where it has no session yet."""
    try:
        os.killpg(child, number)
    except ProcessLookupError:
        os.kill(child, number)


def wait_for_pump(pid: int) -> None:
    """Let the last lines reach the log; a daemon that holds the pipe open is not waited for."""
    deadline = time.monotonic() + PUMP_GRACE
    while os.waitpid(pid, os.WNOHANG) == (0, 0):
        left = deadline - time.monotonic()
        if left <= 0:
            return
        signal.sigtimedwait(WAKE, left)


def reserve_exit_file(directory: str) -> None:
    """Take the disk space of the result now: an update that fills the disk must not lose its ending."""
    with open(os.path.join(directory, "exit.new"), "w", opener=private) as file:
        os.posix_fallocate(file.fileno(), 0, EXIT_FILE_SIZE)
        os.fsync(file.fileno())


def write_exit(directory: str, result: dict[str, int | None]) -> None:
    """Make the result durable, trying again for a while where the disk refuses."""
    data = json.dumps(result).encode()
    path = os.path.join(directory, "exit.new")
    for attempt in range(WRITE_ATTEMPTS):
        try:
            with open(path, "r+b") as file:
                file.write(data)
                file.truncate()
                file.flush()
                os.fsync(file.fileno())
            os.rename(path, os.path.join(directory, "exit.json"))
            sync_directory(directory)
            return
        except OSError:
            if attempt == WRITE_ATTEMPTS - 1:
                raise
            time.sleep(WRITE_PAUSE)


def start_time(pid: int) -> int:
    """When `pid` started, in clock ticks since boot (field 22 of /proc/PID/stat, proc(5))."""
    with open(f"/proc/{pid}/stat", "rb") as file:
        return int(file.read().rpartition(b")")[2].split()[19])


def private(path: str, flags: int) -> int:
    """An opener for files that only their owner may read."""
    return os.open(path, flags, 0o600)


def sync_directory(path: str) -> None:
    """Make the names in `path` durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


if __name__ == "__main__":
    try:
        main(sys.argv[1])
    except Exception as error:
        os.write(2, f"supervisor: {type(error).__name__}: {error}\n".encode(errors="replace"))
        sys.exit(1)
