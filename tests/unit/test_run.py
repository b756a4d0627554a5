from __future__ import annotations

import gc
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest

from bpftune import run as runner
from bpftune.control.control import Control
from bpftune.daemon import Daemon
from bpftune.history import read
from bpftune.kernel.verdict import Verdict
from bpftune.lock import SecondDaemonError, lock
from bpftune.machine import Machine
from bpftune.model import Change, Event, Facts, Request, Tuner
from bpftune.notify import Notifier
from bpftune.records import Record
from bpftune.sink import Sink
from bpftune.tuners import Problem
from tests.unit.fakes import MIB, RED, TCP_WMEM, FakeMachine, wmem
from tests.unit.receivers import Receiver

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
        for variable in ("BPFTUNE_ONLY_NETNS", "NOTIFY_SOCKET", "JOURNAL_STREAM"):
            monkeypatch.delenv(variable, raising=False)
        yield stage
        gc.unfreeze()  # what the daemon took for permanent


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


def test_what_was_learned_and_cannot_be_used_is_said_once(
    stage: Stage, tmp_path: Path
) -> None:
    (tmp_path / "state").mkdir()
    path = tmp_path / "state" / "learned.json"
    path.write_text("{")
    stage.machine.loader.queue(stage.tuner, Seen(RED.cookie))
    assert runner.run(json=True) == 0
    told = [line["why"] for line in stage.lines() if line["record"] == "degraded"]
    assert len(told) == 1
    assert told[0].startswith(f"{path} is ignored: ")
    assert path.read_text() == "{"  # until something was learned


def test_a_loop_that_fails_still_takes_back_the_trial(stage: Stage) -> None:
    loader = stage.machine.loader
    loader.queue(stage.tuner, Seen(RED.cookie))
    take = loader.take

    def take_once(most: int) -> list[bytes]:
        if not loader.waiting:
            raise ZeroDivisionError
        return take(most)

    stage.machine.loader.take = take_once  # type: ignore[method-assign]
    with pytest.raises(ZeroDivisionError):
        runner.run(json=True)
    assert stage.machine.sysctls.largest(RED) == 4 * MIB


def test_events_that_came_while_an_admin_was_answered_have_their_turn_at_once(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    turn = Control.turn

    def hearing(control: Control) -> float:
        if not stage.machine.loader.sent:
            stage.machine.loader.queue(stage.tuner, Seen(RED.cookie))
            control._daemon.inbox.take_first()
        return turn(control)

    monkeypatch.setattr(Control, "turn", hearing)
    began_s = time.monotonic()
    assert runner.run(json=True) == 0
    assert time.monotonic() - began_s < 10


def test_collections_pass_by_what_there_was_at_the_start(stage: Stage) -> None:
    stage.machine.loader.queue(stage.tuner, Seen(RED.cookie))
    assert gc.get_freeze_count() == 0
    assert runner.run(json=True) == 0
    assert gc.get_freeze_count() > 1000


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
        runner._loop(daemon, wake_fd, Sink(), Notifier({}))
    assert turns >= 2


def test_the_history_has_what_was_told_and_in_which_mode(
    stage: Stage, tmp_path: Path
) -> None:
    for observe in (False, True):
        stage.machine.loader.queue(stage.tuner, Seen(RED.cookie))
        runner.run(observe=observe, json=True)
    told = stage.lines()
    assert list(read(tmp_path / "state")) == told
    modes = [(one["record"], one["mode"]) for one in told]
    assert ("change", "tune") in modes
    assert ("advice", "observe") in modes
    assert ("change", "observe") not in modes


def test_a_second_daemon_leaves_the_history_alone(stage: Stage, tmp_path: Path) -> None:
    assert stage.machine.records == []
    with ExitStack() as stack:
        lock(tmp_path, stack)
        with pytest.raises(SecondDaemonError):
            runner.run()
    assert not (tmp_path / "state").exists()


def test_without_a_place_for_the_history_it_runs_all_the_same(
    stage: Stage, tmp_path: Path
) -> None:
    (tmp_path / "state").touch()
    stage.machine.loader.queue(stage.tuner, Seen(RED.cookie))
    assert runner.run(json=True) == 0
    told = [line for line in stage.lines() if line["record"] == "degraded"]
    assert {line["why"] for line in told} == {
        f"no history is kept in {tmp_path / 'state'}: File exists",
        f"{tmp_path / 'state' / 'learned.json'} is ignored: Not a directory",
    }


def test_the_number_of_a_closed_standard_error_goes_to_no_other_file(
    tmp_path: Path,
) -> None:
    """Libraries print there whatever it is; a lock or a socket must not be."""
    script = """
import os
os.close(2)
os.close(0)
from contextlib import ExitStack
from bpftune.run import _sink
with ExitStack() as stack:
    _sink(stack, observe=False, json=False)
    opened = os.open(".", os.O_RDONLY)
print(opened > 2, os.readlink("/proc/self/fd/0"), os.readlink("/proc/self/fd/2"))
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "BPFTUNE_STATE_DIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=30,
    )
    assert done.stdout == "True /dev/null /dev/null\n"


# --- the service manager -----------------------------------------------------


def test_the_service_manager_hears_of_the_start_and_of_the_stop(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    stage.machine.loader.queue(stage.tuner, Seen(RED.cookie))
    with Receiver(tmp_path / "notify") as manager:
        runner.run(json=True)
        ready, stopping = manager.datagrams()
    assert ready.startswith(b"READY=1\nSTATUS=")
    assert ready.endswith(b"tuning; tuners: raising")
    assert stopping.startswith(b"STOPPING=1\n")


def test_the_loop_wakes_for_the_watchdog(stage: Stage, tmp_path: Path) -> None:
    """Nothing else wakes it for a minute; the test ends when it was heard of."""
    daemon = Daemon(
        cast("Machine", stage.machine), [stage.tuner], stage.machine.records.append
    )
    environment = {
        "NOTIFY_SOCKET": str(tmp_path / "notify"),
        "WATCHDOG_USEC": "20000",
    }
    with ExitStack() as stack:
        manager = stack.enter_context(Receiver(tmp_path / "notify"))
        notifier = stack.enter_context(closing(Notifier(environment)))
        wake_fd = runner._signals(stack)
        turn = daemon.turn

        def until_heard() -> float:
            if manager.waits():
                os.kill(os.getpid(), signal.SIGINT)
            return turn()

        daemon.turn = until_heard  # type: ignore[method-assign]
        runner._loop(daemon, wake_fd, Sink(), notifier)
        assert manager.datagrams()[0] == b"WATCHDOG=1"


class Killed(BaseException):
    """The end of the process, in the middle of a write."""


def test_what_somebody_may_have_heard_is_in_the_history_first(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    del stage  # which sets the directories

    class Last:
        trouble = ""

        def write(self, record: Record, now_unix: float) -> bool:
            raise Killed(record, now_unix)

        def close(self) -> None:
            pass

    monkeypatch.setattr(runner, "choose", lambda **_: Last())
    with ExitStack() as stack, pytest.raises(Killed):
        runner._sink(stack, observe=False, json=True).write(Record("started", "now"))
    (told,) = read(tmp_path / "state")
    assert told["record"] == "started"
