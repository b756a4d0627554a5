from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from tests.soak.judge import (
    DECISIVE_S,
    QUANTITIES,
    WARM_UP_S,
    Judgement,
    judge,
    warm,
)
from tests.soak.measure import Sample
from tests.soak.slope import Slope, Verdict

EVERY_S = 5.0


def life(
    seconds: float,
    rss_kib: Callable[[float], float],
    files: int = 30,
    blocks: Callable[[float], float] = lambda _: 80_000,
) -> list[Sample]:
    """Return samples of a life; memory goes up until it is given back each minute."""
    chance = random.Random(1)
    return [
        Sample(
            at_s=1000 + at_s,
            rss_kib=rss_kib(at_s / 60) + at_s % 60 + 4 * chance.randrange(5),
            anonymous_kib=0.0,
            files=files + chance.randrange(9),
            journal_bytes=0,
            cpu_s=0.0,
            namespaces=4,
            events=0,
            blocks=round(blocks(at_s / 60)) + chance.randrange(400),
        )
        for at_s in (EVERY_S * number for number in range(int(seconds / EVERY_S)))
    ]


def verdicts(*lives: list[Sample]) -> dict[str, Verdict]:
    return {one.quantity.name: one.verdict for one in judge(lives)}


def test_what_stays_is_flat_though_it_goes_up_within_each_minute() -> None:
    assert set(verdicts(life(2700, lambda _: 20_000)).values()) == {Verdict.FLAT}


def test_the_warm_up_does_not_count() -> None:
    samples = life(2700, lambda minute: 20_000 + 300 * min(minute, 4))
    assert verdicts(samples)["RSS"] is Verdict.FLAT
    assert warm(samples)[0].at_s == 1000 + WARM_UP_S


def test_a_leak_is_found_however_small_a_part_of_the_memory_it_is() -> None:
    found = judge([life(2700, lambda minute: 20_000 + 4 * minute)])
    rss = found[0]
    assert rss.verdict is Verdict.GROWS
    assert rss.slope.per_minute == pytest.approx(4, abs=1)
    assert "it grows" in (rss.wrong(600) or "")


def test_a_leak_into_memory_that_is_there_already_is_found() -> None:
    """The RSS knows nothing of it."""
    leaks = life(2700, lambda _: 20_000, blocks=lambda minute: 80_000 + 30 * minute)
    found = verdicts(leaks)
    assert found["RSS"] is Verdict.FLAT
    assert found["memory blocks"] is Verdict.GROWS


def test_two_lives_begin_anew() -> None:
    one, other = life(2700, lambda _: 20_000), life(2700, lambda _: 24_000)
    assert verdicts(one, other)["RSS"] is Verdict.FLAT


def test_a_short_soak_may_leave_it_open_and_a_long_one_may_not() -> None:
    rss = judge([life(60, lambda _: 20_000)])[0]
    assert rss.verdict is Verdict.UNDECIDED
    assert rss.wrong(60) is None
    assert "not shown" in (rss.wrong(DECISIVE_S) or "")


@pytest.mark.parametrize(("per_minute", "is_wrong"), [(0.8, False), (1.2, True)])
def test_of_a_long_soak_the_slope_itself_counts_if_it_is_not_sure(
    per_minute: float, is_wrong: bool
) -> None:
    rss = Judgement(QUANTITIES[0], Slope(per_minute, 2.0, 30), ())
    assert rss.verdict is Verdict.UNDECIDED
    assert rss.wrong(60) is None
    assert (rss.wrong(DECISIVE_S) is not None) == is_wrong


def test_of_a_life_of_seconds_nothing_is_said() -> None:
    seconds = judge([life(60, lambda minute: 20_000 + 9000 * minute)])
    assert {one.verdict for one in seconds} == {Verdict.UNDECIDED}


def test_without_samples_nothing_is_known() -> None:
    assert set(verdicts().values()) == {Verdict.UNDECIDED}
    assert set(verdicts([]).values()) == {Verdict.UNDECIDED}
