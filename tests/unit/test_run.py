from __future__ import annotations

import io
import json
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest

from bpftune import run as runner
from bpftune.daemon import Daemon
from bpftune.kernel.errors import KernelError
from bpftune.kernel.loader import Verdict
from bpftune.machine import Machine
from bpftune.model import Change, Event, Facts, Request, Tuner
from bpftune.records import Sink
from bpftune.run import SecondDaemonError, lock
from bpftune.tuners import Problem
from tests.unit.fakes import MIB, RED, TCP_WMEM, FakeMachine, wmem

# --- one daemon a machine ----------------------------------------------------


def test_a_second_daemon_is_told_who_holds_the_lock(tmp_path: Path) -> None:
    with ExitStack() as first, ExitStack() as second:
        lock(tmp_path / "new" / "run", first)
        with pytest.raises(SecondDaemonError, match="another bpftune daemon") as told:
            lock(tmp_path / "new" / "run", second)
    assert str(tmp_path / "new" / "run" / "lock") in told.value.hint


def test_the_lock_is_free_again_at_the_end(tmp_path: Path) -> None:
    for _ in range(2):
        with ExitStack() as stack:
            lock(tmp_path, stack)


def test_a_directory_that_cannot_be_used_is_named_with_a_way_out(
    tmp_path: Path,
) -> None:
    (tmp_path / "file").touch()
    with ExitStack() as stack, pytest.raises(KernelError) as told:
        lock(tmp_path / "file" / "run", stack)
    assert str(tmp_path / "file" / "run") in str(told.value)
    assert "BPFTUNE_RUN_DIR" in told.value.hint


# --- a whole run -------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Seen(Event):
    """What the tuner's BPF program would emit."""


class Raising(Tuner):
    """Raises the limit once, and then has the daemon ended, or fails it."""

    def __init__(self) -> None:
        super().__init__("raising", "raise once", (TCP_WMEM,), (Seen,))
        self.ended = False

    def event_handler(self, event: Event, facts: Facts) -> list[Request]:
        del facts
        if not isinstance(event, Seen):
            return []
        os.kill(os.getpid(), signal.SIGTERM)
        return [Change(TCP_WMEM, wmem(8 * MIB), "it is short", trial="somewhere")]

    def fini(self) -> None:
        self.ended = True


class RunnableMachine(FakeMachine):
    """A fake machine with what ``run`` needs beyond the daemon."""

    closed = False

    def __enter__(self) -> RunnableMachine:
        return self

    def __exit__(self, *_: object) -> None:
        self.closed = True

    def load(self, tuners: list[Tuner]) -> list[Tuner]:
        return tuners


@dataclass
class Stage:
    """What ``run`` finds instead of a kernel."""

    machine: RunnableMachine
    tuner: Raising
    ring: socket.socket
    captured: pytest.CaptureFixture[str]

    def lines(self) -> list[dict[str, Any]]:
        return [
            json.loads(line) for line in self.captured.readouterr().err.splitlines()
        ]


@pytest.fixture
def stage(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> Iterator[Stage]:
    near, far = socket.socketpair()
    with near, far:
        stage = Stage(RunnableMachine(RED), Raising(), far, capfd)
        stage.machine.loader.fd = near.fileno()
        found: tuple[list[Tuner], list[Problem]] = ([stage.tuner], [])
        monkeypatch.setattr(runner, "Machine", lambda: stage.machine)
        monkeypatch.setattr(runner, "discover", lambda: found)
        monkeypatch.setenv("BPFTUNE_RUN_DIR", str(tmp_path))
        monkeypatch.setenv("BPFTUNE_STATE_DIR", str(tmp_path / "state"))
        monkeypatch.delenv("BPFTUNE_ONLY_NETNS", raising=False)
        yield stage


def test_a_run_ends_with_a_signal_takes_back_the_trial_and_says_so(
    stage: Stage,
) -> None:
    before = signal.getsignal(signal.SIGTERM)
    stage.machine.loader.queue(stage.tuner, Seen(RED.cookie))
    assert runner.run(json=True) == 0
    told = [line["record"] for line in stage.lines()]
    assert sorted(told) == ["change", "started", "stopped", "taken_back"]
    assert told[-1] == "stopped"
    assert stage.machine.sysctls.largest(RED) == 4 * MIB
    assert stage.tuner.ended
    assert stage.machine.closed
    assert signal.getsignal(signal.SIGTERM) == before


def test_the_first_record_says_what_runs(stage: Stage) -> None:
    stage.machine.loader.queue(stage.tuner, Seen(RED.cookie))
    runner.run(observe=True, json=True)
    started = next(line for line in stage.lines() if line["record"] == "started")
    assert started["why"].endswith(", observing, writes nothing; tuners: raising")
    assert started["observe"] is True
    assert started["pid"] == os.getpid()
    assert stage.machine.sysctls.writes == []


def test_what_does_not_work_is_said_with_what_is_lost(stage: Stage) -> None:
    stage.tuner.losses["see_it"] = "it goes unseen"
    stage.machine.verdicts["raising"] = [
        Verdict("see_it", works=False, reason="no such hook"),
        Verdict("other", works=False, reason="refused"),
        Verdict("fine", works=True, reason=""),
    ]
    stage.machine.loader.queue(stage.tuner, Seen(RED.cookie))
    runner.run(json=True)
    told = [line["why"] for line in stage.lines() if line["record"] == "degraded"]
    assert told == ["see_it: no such hook; it goes unseen", "other: refused"]


def test_a_loop_that_fails_still_takes_back_the_trial(stage: Stage) -> None:
    first: list[tuple[Tuner, Event]] = [(stage.tuner, Seen(RED.cookie))]
    calls = iter([first, None])

    def events() -> list[tuple[Tuner, Event]]:
        batch = next(calls, [])
        if batch is None:
            raise ZeroDivisionError
        return batch

    stage.machine.loader.events = events  # type: ignore[method-assign]
    with pytest.raises(ZeroDivisionError):
        runner.run(json=True)
    assert stage.machine.sysctls.largest(RED) == 4 * MIB


def test_a_kernel_that_cannot_tell_of_new_names_is_no_hindrance(stage: Stage) -> None:
    assert stage.machine.namespaces.fd == -1
    stage.machine.loader.queue(stage.tuner, Seen(RED.cookie))
    assert runner.run(json=True) == 0


def test_events_in_the_ring_wake_the_loop(stage: Stage) -> None:
    """The loop sleeps up to a minute; the test ends only if it is woken."""
    daemon = Daemon(
        cast("Machine", stage.machine), [stage.tuner], stage.machine.records.append
    )
    with ExitStack() as stack:
        wake_fd = runner._signals(stack)
        stage.ring.send(b"!")
        turns = 0
        turn = daemon.turn

        def counted() -> float:
            nonlocal turns
            turns += 1
            if turns == 2:
                os.kill(os.getpid(), signal.SIGINT)
            return turn()

        daemon.turn = counted  # type: ignore[method-assign]
        runner._loop(daemon, wake_fd, Sink(io.StringIO()))
    assert turns >= 2
