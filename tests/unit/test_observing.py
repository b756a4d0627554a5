"""A daemon that observes, on a kernel that ends it at the first write."""

from __future__ import annotations

from pathlib import Path

import pytest

from bpftune.journal import replay
from bpftune.model import NetnsCookie, Value
from bpftune.tuners.sysctl import tuner as sysctl_tuner
from bpftune.tuners.tcp_buffer import RcvbufLimited, SndbufLimited, TcpBuffer
from tests.unit.fakes import MIB, RED, FakeMachine, prefix, wmem
from tests.unit.policy.world import World


class Written(BaseException):
    """Nothing of the daemon's catches this."""


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> FakeMachine:
    machine = FakeMachine(RED)
    machine.sysctls.by_admin(RED, wmem(2 * MIB))
    world = World(rate=40e6, rtt_s=0.2, limit=2 * MIB, now_s=machine.clock.now_s)
    machine.sockets.worlds[RED.cookie, prefix(1)] = world

    def write(
        cookie: NetnsCookie, name: str, value: Value, expected: Value | None = None
    ) -> Value:
        raise Written(cookie, name, value, expected)

    monkeypatch.setattr(machine.sysctls, "write", write)
    return machine


def run(machine: FakeMachine, path: Path, *, observe: bool) -> None:
    tuner = TcpBuffer()
    daemon = machine.daemon(sysctl_tuner, tuner, observe=observe, journal=path)
    daemon.start()
    for _ in range(120):
        hints = (
            SndbufLimited(RED.cookie, prefix(1), 2 * MIB, 200_000),
            RcvbufLimited(RED.cookie, prefix(2), 4 * MIB, 200_000, 1),
        )
        machine.loader.queue(tuner, *hints)
        machine.let_pass(daemon, 1.0)
    daemon.stop()


def test_two_minutes_of_shortage_bring_advice_and_no_write(
    machine: FakeMachine, tmp_path: Path
) -> None:
    run(machine, tmp_path / "journal", observe=True)
    (advice, *_) = machine.told("advice")
    assert (advice.old, advice.new) == (wmem(2 * MIB), wmem(4 * MIB))
    assert not machine.told("change")
    assert replay(tmp_path / "journal", "boot").entries == []


def test_the_same_without_observing_would_write(
    machine: FakeMachine, tmp_path: Path
) -> None:
    with pytest.raises(Written):
        run(machine, tmp_path / "journal", observe=False)
