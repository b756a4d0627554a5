from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace

import pytest

from bpftune.lab import hurried
from bpftune.lab.contender import Bpftune, contender
from bpftune.policy.blocks import USUAL, Pace
from bpftune.tuners import congestion


@dataclass
class Tuner:
    pace: Pace = USUAL


@pytest.fixture
def tuner(monkeypatch: pytest.MonkeyPatch) -> Tuner:
    fake = Tuner()
    monkeypatch.setattr(hurried, "congestion", SimpleNamespace(tuner=fake))
    return fake


def test_blocks_are_shorter_and_need_fewer_flows(tuner: Tuner) -> None:
    hurried.hasten(2)
    assert tuner.pace == Pace(15.0, 5.0, 5, 150.0, 3)


def test_a_block_is_longer_than_a_flow_and_has_some(tuner: Tuner) -> None:
    hurried.hasten(10)
    assert tuner.pace == Pace(3.0, hurried.LEAST_LIVES, USUAL.least_flows, 30.0, 3)


def test_the_command_gets_the_words_after_the_factor(
    tuner: Tuner, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[list[str]] = []

    def command(words: list[str]) -> int:
        heard.append(words)
        return 3

    monkeypatch.setattr(hurried, "command", command)
    assert hurried.main(["4", "run", "--json"]) == 3
    assert heard == [["run", "--json"]]
    assert tuner.pace.longest_s == 75


def test_the_real_tuner_has_a_pace() -> None:
    assert congestion.tuner.pace == USUAL


def test_only_who_is_in_a_hurry_is_started_in_one() -> None:
    usual, hasty = contender("self"), contender("self", 10.0)
    assert isinstance(usual, Bpftune)
    assert isinstance(hasty, Bpftune)
    assert usual.command[1:] == ["-m", "bpftune", "run", "--json"]
    assert hasty.command[1:] == ["-m", "bpftune.lab.hurried", "10.0", "run", "--json"]
