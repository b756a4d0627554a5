"""A daemon that learns from trials, and what a later one does with it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import cast

import pytest

from bpftune import learned_file
from bpftune.learned import Learned
from bpftune.model import Keep
from bpftune.outcome import Size
from bpftune.tuners.sysctl import tuner as sysctl_tuner
from bpftune.tuners.tcp_buffer import TcpBuffer
from bpftune.tuners.tcp_buffer.events import SndbufLimited
from tests.unit.fakes import MEMORY, MIB, RED, TCP_WMEM, FakeMachine, prefix, wmem
from tests.unit.policy.world import World
from tests.unit.test_daemon import Scene, Seen, raised
from tests.unit.test_outcome import trial


def settled(machine: FakeMachine, learned: Learned, path: Path) -> tuple[int, float]:
    """Run the daemon on a starved sender; return writes, and seconds to the last."""
    tuner, began_s = TcpBuffer(), machine.clock.now_s
    daemon = machine.daemon(sysctl_tuner, tuner, learned=learned, learned_path=path)
    world = World(rate=40e6, rtt_s=0.2, limit=2 * MIB, now_s=began_s)
    machine.sysctls.by_admin(RED, wmem(2 * MIB))
    machine.sockets.worlds[RED.cookie, prefix(1)] = world
    daemon.start()
    last_s, writes = began_s, 0
    for _ in range(60):
        if world.starved():
            hint = SndbufLimited(RED.cookie, prefix(1), world.limit, 200_000)
            machine.loader.queue(tuner, hint)
        machine.let_pass(daemon, 1.0)
        if len(machine.sysctls.writes) > writes:
            last_s, writes = machine.clock.now_s, len(machine.sysctls.writes)
    daemon.stop()
    assert machine.sysctls.largest(RED) == 16 * MIB
    return writes, last_s - began_s


def test_after_a_restart_the_same_case_settles_in_fewer_writes_and_sooner(
    tmp_path: Path,
) -> None:
    path = tmp_path / "state" / "learned.json"
    first = FakeMachine(RED)
    writes, seconds = settled(first, Learned(time.time()), path)
    assert writes == 3
    learned, problem = learned_file.load(path, time.time())
    assert problem is None
    again = FakeMachine(RED)
    writes_again, seconds_again = settled(again, learned, path)
    assert writes_again == 1
    assert seconds_again < seconds / 2
    assert again.kinds() == ["change", "kept", "stopped", "stopped"]
    change, kept = again.records[:2]
    assert "16 MiB paid for them before" in change.why
    assert "at this level it paid in 3 of 3 trials" in change.why
    trial = cast("Mapping[str, object]", kept.extra["trial"])
    assert trial["finding"] == "paid"
    assert trial["predicted_nats"] == pytest.approx(trial["gain_nats"], abs=0.1)


def test_what_was_learned_leads_past_no_bound() -> None:
    learned = Learned(time.time())
    too_much = MEMORY.total_bytes // 32
    sizes = {(TCP_WMEM.name, str(prefix(1))): Size(too_much, 3.0, 0.0)}
    learned.sizes["red"] = sizes
    machine, tuner = FakeMachine(RED), TcpBuffer()
    daemon = machine.daemon(sysctl_tuner, tuner, learned=learned)
    world = World(rate=40e6, rtt_s=0.2, limit=4 * MIB, now_s=1000.0)
    machine.sockets.worlds[RED.cookie, prefix(1)] = world
    machine.loader.queue(tuner, SndbufLimited(RED.cookie, prefix(1), 0, 200_000))
    machine.let_pass(daemon, 6.0)
    assert machine.kinds() == ["rejected"]
    assert machine.sysctls.writes == []


def test_only_a_trial_that_was_made_teaches_anything() -> None:
    paid = Keep(TCP_WMEM, "it paid", proved=True, tried=trial())
    for observe, learns in ((False, True), (True, False)):
        scene = Scene(observe=observe)
        scene.tuner.answers[Seen] = [raised(), paid]
        scene.see(RED)
        assert bool(scene.daemon.learned.levels) == learns
    scene = Scene()
    scene.tuner.answers[Seen] = [paid]  # of a trial that is none
    scene.see(RED)
    assert not scene.daemon.learned.changed


def test_what_was_learned_is_saved_each_minute_and_as_it_stops(tmp_path: Path) -> None:
    path = tmp_path / "learned.json"
    machine = FakeMachine(RED)
    daemon = machine.daemon(learned_path=path)
    machine.let_pass(daemon, 61.0)
    assert not path.exists()  # nothing was learned
    daemon.learned.take_in(RED, TCP_WMEM.name, trial(), 0.0)
    machine.let_pass(daemon, 61.0)
    assert path.exists()
    path.unlink()
    machine.let_pass(daemon, 61.0)
    assert not path.exists()
    daemon.learned.take_in(RED, TCP_WMEM.name, trial(), 0.0)
    daemon.stop()
    assert path.exists()


def test_that_it_cannot_be_saved_is_told_and_ends_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    machine = FakeMachine(RED)
    daemon = machine.daemon(learned_path=tmp_path / "file" / "learned.json")
    daemon.learned.take_in(RED, TCP_WMEM.name, trial(), 0.0)
    machine.let_pass(daemon, 61.0)
    (told,) = machine.told("degraded")
    assert told.why == "what was learned cannot be saved: File exists"
    daemon.stop()
    assert "stopped" in machine.kinds()
