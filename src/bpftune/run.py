"""``bpftune run`` and ``bpftune observe``: one daemon in the foreground."""

from __future__ import annotations

import os
import selectors
import signal
import socket
import time
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING

from bpftune import __version__, learned_file
from bpftune.control.about import About
from bpftune.control.control import Control, read_book
from bpftune.control.notes import Notes
from bpftune.daemon import Daemon
from bpftune.history import History, last_change
from bpftune.journal import NAME, Journal, boot_id, replay
from bpftune.kernel.errors import KernelError
from bpftune.kernel.process import spare_collections
from bpftune.lock import lock
from bpftune.machine import Machine
from bpftune.notify import Notifier
from bpftune.paths import run_dir, state_dir
from bpftune.records import Record
from bpftune.settings_file import NAME as SETTINGS
from bpftune.settings_file import SettingsFile
from bpftune.sink import Sink
from bpftune.targets import STDERR, choose
from bpftune.tuners import discover

if TYPE_CHECKING:
    from bpftune.model import Tuner


def run(*, observe: bool = False, json: bool = False) -> int:
    """Run until SIGTERM or SIGINT; return the exit code.

    Records go to the history, and to standard error or wherever ``targets.choose``
    finds better. Raises KernelError if it cannot start.
    """
    with ExitStack() as stack:
        sink = _sink(stack, observe=observe, json=json)
        notifier = stack.enter_context(closing(Notifier()))
        lock(run_dir(), stack)
        wake_fd = _signals(stack)
        boot = boot_id()
        earlier = replay(run_dir() / NAME, boot)
        journal = stack.enter_context(closing(Journal(run_dir() / NAME, boot)))
        settings_file = SettingsFile(run_dir() / SETTINGS, boot)
        stack.enter_context(closing(settings_file))
        tuners, problems = discover()
        learned_path = state_dir() / "learned.json"
        learned, not_learned = learned_file.load(learned_path, time.time())
        machine = stack.enter_context(Machine())
        notes = Notes(sink.write, read_book(state_dir(), boot, sink.write))
        daemon = Daemon(
            machine,
            machine.load(tuners),
            notes.hear,
            observe=observe,
            only_netns=os.environ.get("BPFTUNE_ONLY_NETNS", ""),
            journal=journal,
            earlier=earlier,
            serial=last_change(state_dir()),
            learned=learned,
            learned_path=None if observe else learned_path,
            state_dir=state_dir(),
            settings_file=settings_file,
        )
        if not_learned is not None:
            sink.write(Record("degraded", not_learned))
        for problem in problems:
            sink.write(Record("degraded", problem.reason, problem.name))
        _tell_degraded(machine, tuners, sink)
        control = _control(daemon, notes, About(tuners, observe), sink, stack)
        stack.callback(daemon.stop)  # whatever happens, no trial is left behind
        daemon.start()
        spare_collections()
        started = _started(daemon, observe=observe)
        sink.write(started)
        notifier.ready(started.why)
        _loop(daemon, wake_fd, sink, notifier, control)
        notifier.stopping()
    return 0


def _sink(stack: ExitStack, *, observe: bool, json: bool) -> Sink:
    """Return the sink, which writes what it holds back when *stack* is left."""
    # Were standard error closed, its number would go to the next file opened.
    while (fd := os.open(os.devnull, os.O_RDWR)) <= STDERR:
        pass
    os.close(fd)
    # The history first: what somebody heard of is kept, whenever we are killed.
    targets = [History(state_dir()), choose(json_lines=json)]
    return stack.enter_context(
        closing(Sink(targets, mode="observe" if observe else "tune"))
    )


def _control(
    daemon: Daemon, notes: Notes, about: About, sink: Sink, stack: ExitStack
) -> Control | None:
    """Listen for the other verbs; without a socket tuning goes on all the same."""
    try:
        control = Control(run_dir(), state_dir(), daemon, notes, about)
    except KernelError as error:
        sink.write(Record("degraded", str(error)))
        return None
    stack.callback(control.close)
    sink.add(control)
    return control


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


def _loop(
    daemon: Daemon,
    wake_fd: int,
    sink: Sink,
    notifier: Notifier,
    control: Control | None = None,
) -> None:
    """Wait and turn until a signal comes; the watchdog hears of each turn."""
    machine = daemon.machine
    with selectors.DefaultSelector() as selector:
        selector.register(wake_fd, selectors.EVENT_READ)
        if machine.namespaces.fd >= 0:
            selector.register(machine.namespaces.fd, selectors.EVENT_READ)
        selector.register(machine.loader.fd, selectors.EVENT_READ)
        if control is not None:
            selector.register(control.fd, selectors.EVENT_READ)
        while True:
            due_s = min(daemon.turn(), notifier.turned())
            if control is not None:
                due_s = min(due_s, control.turn())
            if daemon.inbox:  # what a client wanted brought more events
                due_s = 0.0
            for key, _ in selector.select(max(0.0, due_s - time.monotonic())):
                if key.fd == wake_fd:
                    return
                if key.fd == machine.namespaces.fd and machine.namespaces.noticed():
                    daemon.names_changed()
            sink.tick()
