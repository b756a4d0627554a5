"""``bpftune run`` and ``bpftune observe``: one daemon in the foreground."""

from __future__ import annotations

import fcntl
import os
import select
import selectors
import signal
import socket
import sys
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

from bpftune import __version__, learned_file
from bpftune.daemon import Daemon
from bpftune.kernel.errors import KernelError
from bpftune.machine import Machine
from bpftune.paths import run_dir, state_dir
from bpftune.records import Record, Sink
from bpftune.text import printable
from bpftune.tuners import discover

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from bpftune.model import Tuner


class SecondDaemonError(KernelError):
    """Another daemon runs on this machine."""


def lock(directory: Path, stack: ExitStack) -> None:
    """Take the lock that keeps a second daemon away. Raises KernelError."""
    try:
        directory.mkdir(mode=0o755, parents=True, exist_ok=True)
        file = stack.enter_context((directory / "lock").open("a+"))
    except OSError as error:
        raise KernelError(
            f"cannot use {directory}: {error.strerror}",
            "set BPFTUNE_RUN_DIR to a directory that root may write",
        ) from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        file.seek(0)
        raise SecondDaemonError(
            "another bpftune daemon is running on this machine",
            f"stop it first; process {printable(file.readline(32).strip()) or '?'} "
            f"holds {directory / 'lock'}",
        ) from error
    file.truncate(0)
    file.write(f"{os.getpid()}\n")
    file.flush()


def run(*, observe: bool = False, json: bool = False) -> int:
    """Run until SIGTERM or SIGINT; return the exit code.

    Records go to stderr, one a line. Raises KernelError if it cannot start.
    """
    sink = Sink(sys.stderr, json_lines=json, has_room=_room_in(sys.stderr.fileno()))
    with ExitStack() as stack:
        lock(run_dir(), stack)
        wake_fd = _signals(stack)
        tuners, problems = discover()
        learned_path = state_dir() / "learned.json"
        learned, not_learned = learned_file.load(learned_path, time.time())
        machine = stack.enter_context(Machine())
        daemon = Daemon(
            machine,
            machine.load(tuners),
            sink.write,
            observe=observe,
            only_netns=os.environ.get("BPFTUNE_ONLY_NETNS", ""),
            learned=learned,
            learned_path=None if observe else learned_path,
        )
        if not_learned is not None:
            sink.write(Record("degraded", not_learned))
        for problem in problems:
            sink.write(Record("degraded", problem.reason, problem.name))
        _tell_degraded(machine, tuners, sink)
        stack.callback(daemon.stop)  # whatever happens, no trial is left behind
        daemon.start()
        sink.write(_started(daemon, observe=observe))
        _loop(daemon, wake_fd, sink)
    sink.close()
    return 0


def _room_in(fd: int) -> Callable[[], bool]:
    """Return a function that tells whether *fd* takes a line at once.

    A reader that sleeps, or a terminal stopped by Ctrl-S, must not stop us, and
    O_NONBLOCK would hold for all who share the file.
    """
    poll = select.poll()
    poll.register(fd, select.POLLOUT)
    return lambda: bool(poll.poll(0))


def _signals(stack: ExitStack) -> int:
    """Turn SIGTERM and SIGINT into a byte on the returned descriptor."""
    reader, writer = socket.socketpair()
    stack.callback(reader.close)
    stack.callback(writer.close)
    reader.setblocking(False)
    writer.setblocking(False)
    old_fd = signal.set_wakeup_fd(writer.fileno())
    stack.callback(signal.set_wakeup_fd, old_fd)
    for number in (signal.SIGTERM, signal.SIGINT):
        old = signal.signal(number, lambda _number, _frame: None)
        stack.callback(signal.signal, number, old)
    return reader.fileno()


def _tell_degraded(machine: Machine, tuners: list[Tuner], sink: Sink) -> None:
    for problem in machine.problems:
        sink.write(Record("degraded", problem))
    for tuner in tuners:
        for verdict in machine.verdicts.get(tuner.name, []):
            if not verdict.works:
                lost = tuner.losses.get(verdict.program, "")
                why = f"{verdict.program}: {verdict.reason}"
                sink.write(
                    Record("degraded", f"{why}; {lost}" if lost else why, tuner.name)
                )


def _started(daemon: Daemon, *, observe: bool) -> Record:
    names = ", ".join(tuner.name for tuner in daemon.tuners)
    mode = "observing, writes nothing" if observe else "tuning"
    return Record(
        "started",
        f"{__version__}, {mode}; tuners: {names}",
        extra={"version": __version__, "observe": observe, "pid": os.getpid()},
    )


def _loop(daemon: Daemon, wake_fd: int, sink: Sink) -> None:
    """Wait and turn until a signal comes."""
    machine = daemon.machine
    with selectors.DefaultSelector() as selector:
        selector.register(wake_fd, selectors.EVENT_READ)
        if machine.namespaces.fd >= 0:
            selector.register(machine.namespaces.fd, selectors.EVENT_READ)
        selector.register(machine.loader.fd, selectors.EVENT_READ)
        while True:
            due_s = daemon.turn()
            for key, _ in selector.select(max(0.0, due_s - time.monotonic())):
                if key.fd == wake_fd:
                    return
                if key.fd == machine.namespaces.fd and machine.namespaces.noticed():
                    daemon.names_changed()
            sink.tick()
