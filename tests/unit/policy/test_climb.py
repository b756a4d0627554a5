from __future__ import annotations

from dataclasses import replace

import pytest

from bpftune.outcome import Finding
from bpftune.policy.climb import (
    FIRST_WAIT_EPOCHS,
    LEAST_SETTLE_S,
    Climb,
    Path,
    TakenBack,
    double,
    give_back,
    refused,
    settle_s,
)
from bpftune.policy.epoch import Epoch, Gathering, gather
from bpftune.policy.evidence import Estimate
from bpftune.policy.threshold import Outlook
from tests.unit.policy.world import World

MIB = 1 << 20


def epoch(rtt_s: float = 0.2) -> Epoch:
    """What is measured of a starved sender."""
    world, state = World(rate=40e6, rtt_s=rtt_s, limit=4 * MIB), Gathering()
    while True:
        state, done = gather(state, world.looks(0.0625))
        if done:
            return done


def climbing(level: int = 8 * MIB) -> Path:
    """A path whose limit was raised from 4 MiB to *level*."""
    outlook = Outlook(size=level, size_gain_nats=0.3)
    best = epoch()
    return Path(climb=Climb(level, 4 * MIB, 4 * MIB, best, 0.0, best.hit, outlook))


def test_a_limit_gets_five_round_trips_to_show() -> None:
    assert settle_s(epoch(0.2)) == pytest.approx(1.0)
    assert settle_s(epoch(0.01)) == LEAST_SETTLE_S


def test_a_doubling_is_no_leap_and_promises_what_a_doubling_can() -> None:
    climb = climbing().climb
    assert climb is not None
    assert not climb.is_leap
    assert climb.predicted_nats == pytest.approx(0.69, abs=0.01)


def test_a_leap_promises_what_it_brought_before() -> None:
    climb = climbing(32 * MIB).climb
    assert climb is not None
    assert climb.is_leap
    assert climb.predicted_nats == 0.3
    path, _ = double(replace(climbing(32 * MIB)), climb, epoch(), 0.0, None)
    assert path.climb is not None
    assert not path.climb.is_leap  # it climbs on by doublings
    assert (path.climb.level, path.climb.below) == (64 * MIB, 32 * MIB)


@pytest.mark.parametrize(
    ("gain", "harm", "finding"),
    [
        (None, False, Finding.VOID),
        (None, True, Finding.HARM),
        (Estimate(0.0, 0.01), False, Finding.UNPAID),
        (Estimate(0.04, 0.03), False, Finding.UNPROVEN),
        (Estimate(-0.3, 0.05), False, Finding.HARM),
    ],
)
def test_what_is_given_back_has_a_finding(
    gain: Estimate | None, harm: bool, finding: Finding
) -> None:
    path, (verdict,) = give_back(climbing(), epoch(), 10.0, "", gain, harm=harm)
    assert isinstance(verdict, TakenBack)
    assert verdict.finding is finding
    assert (verdict.level, verdict.paid) == (8 * MIB, 4 * MIB)
    assert path.climb is None
    assert path.wait_epochs == 2 * FIRST_WAIT_EPOCHS
    assert path.wait_until_s == pytest.approx(10.0 + verdict.wait_s)


def test_a_leap_that_did_not_pay_is_the_last_but_one_without_a_finding_is_not() -> None:
    unpaid, _ = give_back(climbing(32 * MIB), None, 0.0, "", Estimate(0.0, 0.01))
    assert not unpaid.leaps
    void, _ = give_back(climbing(32 * MIB), None, 0.0, "", None)
    assert void.leaps
    doubled, _ = give_back(climbing(), None, 0.0, "", Estimate(0.0, 0.01))
    assert doubled.leaps


def test_a_refused_leap_leaves_the_value_and_is_the_last() -> None:
    path, verdicts = refused(climbing(32 * MIB), 0.0)
    assert verdicts == ()
    assert path.climb is None
    assert not path.leaps
    assert refused(Path(), 0.0) == (Path(), ())
