from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.soak.slope import Slope, Verdict, floors, pooled, slope

PAGE_KIB = 4.0


def noisy(
    chance: random.Random, count: int, per_minute: float, alike: float, noise: float
) -> list[tuple[float, float]]:
    """Return a line with noise each minute, of which each resembles the last."""
    points, wander = [], chance.gauss(0, noise)
    for number in range(count):
        wander = alike * wander + math.sqrt(1 - alike**2) * chance.gauss(0, noise)
        points.append((60.0 * number, 20_000 + per_minute * number + wander))
    return points


# --- floors ------------------------------------------------------------------


def test_a_floor_is_the_least_of_its_block() -> None:
    points = [(0.0, 5.0), (3.0, 2.0), (9.0, 7.0), (10.0, 4.0), (19.0, 9.0)]
    assert floors(points, 10) == [(5.0, 2.0), (15.0, 4.0)]


def test_a_block_that_is_not_whole_does_not_count() -> None:
    assert floors([(0.0, 5.0), (9.0, 3.0), (18.0, 9.0)], 10) == [(5.0, 3.0)]
    assert floors([], 10) == []


@given(
    st.lists(st.tuples(st.floats(0, 1e4), st.floats(0, 1e6)), min_size=1),
    st.floats(1, 1e3),
)
def test_floors_are_among_what_was_measured(
    points: list[tuple[float, float]], block_s: float
) -> None:
    found = floors(points, block_s)
    assert found
    assert {value for _, value in found} <= {value for _, value in points}
    assert min(value for _, value in found) >= min(value for _, value in points)
    assert found == sorted(found)


# --- slope -------------------------------------------------------------------


@given(
    st.floats(-1e3, 1e3),
    st.floats(0, 1e6),
    st.integers(8, 200),
)
def test_a_line_has_its_slope(per_minute: float, start: float, count: int) -> None:
    found = slope([(60.0 * n, start + per_minute * n) for n in range(count)])
    assert found.per_minute == pytest.approx(per_minute, abs=1e-6)
    assert found.floors == count


@given(st.lists(st.floats(0, 1e6), min_size=3, max_size=60), st.floats(-1e5, 1e5))
def test_where_it_begins_does_not_matter(values: list[float], shift: float) -> None:
    here = slope([(60.0 * n, value) for n, value in enumerate(values)])
    there = slope([(60.0 * n + 7, value + shift) for n, value in enumerate(values)])
    assert there.per_minute == pytest.approx(here.per_minute, abs=1e-3, rel=1e-6)


@pytest.mark.parametrize("points", [[], [(0.0, 1.0), (9.0, 1.0)], [(1.0, 1.0)] * 9])
def test_of_little_nothing_is_known(points: list[tuple[float, float]]) -> None:
    assert slope(points).error == math.inf
    assert str(slope(points)) == "unknown"
    assert slope(points).against(1.0) is Verdict.UNDECIDED


@pytest.mark.parametrize("alike", [0.0, 0.4, 0.7])
@pytest.mark.parametrize("count", [12, 40])
def test_the_true_slope_is_in_the_interval_about_as_often_as_is_said(
    alike: float, count: int
) -> None:
    chance = random.Random(5)
    inside = sum(
        abs(found.per_minute - 2.0) <= found.error
        for _ in range(400)
        for found in [slope(noisy(chance, count, 2.0, alike, 30.0))]
    )
    assert inside >= 0.9 * 400


def test_a_leak_of_a_page_a_minute_is_found_within_half_an_hour() -> None:
    chance = random.Random(6)
    found = [slope(noisy(chance, 30, PAGE_KIB, 0.3, 8.0), PAGE_KIB) for _ in range(100)]
    assert sum(one.against(1.0) is Verdict.GROWS for one in found) >= 95


def test_what_does_not_grow_is_hardly_ever_said_to() -> None:
    chance = random.Random(7)
    found = [slope(noisy(chance, 30, 0.0, 0.5, 20.0), PAGE_KIB) for _ in range(300)]
    assert sum(one.against(1.0) is Verdict.GROWS for one in found) <= 3


def test_equal_values_are_as_sure_as_a_page_allows() -> None:
    few = slope([(float(second), 100.0) for second in range(10)], PAGE_KIB)
    many = slope([(60.0 * minute, 100.0) for minute in range(30)], PAGE_KIB)
    assert few.per_minute == many.per_minute == 0
    assert few.against(1.0) is Verdict.UNDECIDED
    assert many.against(1.0) is Verdict.FLAT


# --- several segments --------------------------------------------------------


def test_segments_count_by_their_precision() -> None:
    both = pooled([Slope(0.0, 1.0, 10), Slope(5.0, 10.0, 4), Slope()])
    assert 0 < both.per_minute < 0.1
    assert both.error < 1.0
    assert both.floors == 14


def test_nothing_is_known_of_no_segment() -> None:
    assert pooled([]).error == math.inf
    assert pooled([Slope(3.0, math.inf, 2)]).error == math.inf


@given(
    st.lists(st.tuples(st.floats(-10, 10), st.floats(0, 10)), min_size=1, max_size=9)
)
def test_all_together_lie_between_the_segments(
    segments: list[tuple[float, float]],
) -> None:
    both = pooled([Slope(*segment) for segment in segments])
    slopes = [per_minute for per_minute, _ in segments]
    assert min(slopes) - 1e-9 <= both.per_minute <= max(slopes) + 1e-9
    assert both.error <= min(error for _, error in segments) + 1e-6
