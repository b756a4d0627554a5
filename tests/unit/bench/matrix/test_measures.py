from __future__ import annotations

import pytest
from bench.matrix.cases import CASES
from bench.matrix.measures import BULK, GOODPUT, LATENCY, RTT
from tests.unit.bench.matrix.runs import made

CASE = CASES[0]


def test_the_steady_level_is_that_of_the_end() -> None:
    run = made(CASE, mbit=[10, 20, 30, 50], rtt_ms=[90, None, 20, 40])
    assert GOODPUT.steady(run, 2) == pytest.approx(40e6)
    assert RTT.steady(run, 2) == pytest.approx(0.03)
    assert RTT.level(run, 0, 2) == pytest.approx(0.09)
    assert RTT.level(run, 1, 2) is None
    assert GOODPUT.steady(run, 99) == pytest.approx(27.5e6)


def test_traffic_beside_has_its_own_level() -> None:
    run = made(CASE, mbit=[10, 10], beside_mbit=[5, 7])
    assert BULK.steady(run, 2) == pytest.approx(6e6)
    assert BULK.steady(made(CASE, mbit=[10, 10]), 2) is None


def test_more_goodput_is_better_and_less_time_is() -> None:
    assert GOODPUT.gain(20, 10) == 2
    assert LATENCY.gain(20, 10) == 0.5


def test_no_goodput_is_no_better_than_nothing_and_what_is_unknown_is_not_told() -> None:
    assert GOODPUT.gain(0.0, 10) == 0
    assert GOODPUT.gain(10, 0.0) is None
    assert GOODPUT.gain(None, 10) is None
    assert RTT.gain(10, None) is None


def test_a_goal_is_reached_where_five_seconds_in_a_row_have_it_together() -> None:
    lucky = [10, 99, 10, 10, 10, 10, 40, 50, 50, 50, 60]
    assert GOODPUT.reached_s(made(CASE, mbit=lucky), 50e6) == 6
    assert GOODPUT.reached_s(made(CASE, mbit=lucky), 70e6) is None
    slow = made(CASE, mbit=[1] * 7, rtt_ms=[90, 90, 30, 30, 30, 30, 30])
    assert RTT.reached_s(slow, 0.03) == 0
    assert RTT.reached_s(slow, 0.02) is None
