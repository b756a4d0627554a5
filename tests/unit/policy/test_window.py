"""The initial window, on destinations where its worth is known."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpftune.policy.window import (
    DEFAULT_SEGMENTS,
    LEAST_SAMPLES,
    MOST_AGE_S,
    MOST_SEGMENTS,
    STEP,
    Transfer,
    Use,
    Window,
    on_transfer,
)

MSS = 1448


@dataclass
class Destination:
    """Transfers take a round trip per doubling of the window, and some noise.

    *room* segments fit into the path; what is sent beyond in the first round trip is
    lost. *gain* False: the peer's think time hides the round trips.
    """

    final: int = 200
    room: int = 1000
    rtt_us: int = 50_000
    noise: float = 0.1
    gain: bool = True
    seed: int = 1

    def run(
        self, transfers: int, every_s: float = 1.0
    ) -> tuple[Window, list[tuple[float, Use]]]:
        chance = random.Random(self.seed)
        window, uses = Window(), []
        for number in range(transfers):
            now_s = number * every_s
            size = int(chance.choice((30_000, 60_000, 120_000, 250_000)))
            initial = window.in_force
            packets = size / MSS
            rounds = math.ceil(math.log2(1 + packets / (initial if self.gain else 10)))
            sent = min(initial, round(packets))
            lost = max(0, sent - self.room)
            took_us = self.rtt_us * (rounds + 1 + 4 * bool(lost))
            took_us = int(took_us * chance.lognormvariate(0, self.noise))
            transfer = Transfer(size, took_us, initial, self.final, sent, lost)
            window, use = on_transfer(window, transfer, now_s)
            if use is not None:
                uses.append((now_s, use))
        return window, uses


def test_grows_while_transfers_end_sooner_a_doubling_at_a_time() -> None:
    window, uses = Destination().run(3000)
    assert window.segments == MOST_SEGMENTS
    kept = [use for _, use in uses if use.record == "kept"]
    assert [use.segments for use in kept] == [20, 40, 64]
    assert "sooner at the median (won " in kept[0].why
    first = uses[0][1]
    assert (first.record, first.segments) == ("change", 20)
    assert "reached a window of 40 segments or more" in first.why


def test_never_more_than_half_of_what_the_path_was_seen_to_take() -> None:
    window, _ = Destination(final=60).run(3000)
    assert window.segments == 30


@pytest.mark.parametrize("seed", range(20))
def test_what_brings_nothing_is_taken_back(seed: int) -> None:
    window, uses = Destination(gain=False, seed=seed).run(400)
    assert window.segments == DEFAULT_SEGMENTS
    assert [use for _, use in uses if use.record == "change"]
    last = [use for _, use in uses if use.record][-1]
    assert last.record == "taken_back"
    assert "no gain worth it" in last.why
    assert "next try in 10 min" in last.why


def test_the_wait_doubles() -> None:
    _, uses = Destination(gain=False).run(8000)
    tries = [at_s for at_s, use in uses if use.record == "change"]
    waits = [late - early for early, late in pairwise(tries)]
    assert len(waits) >= 2
    assert waits[1] > 1.5 * waits[0]


def test_a_first_round_trip_that_loses_halves_it() -> None:
    window, uses = Destination(room=15).run(600)
    assert window.segments == DEFAULT_SEGMENTS
    assert any(
        "of the first round trip were lost with 20 segments" in use.why
        for _, use in uses
    )


def test_what_was_kept_is_halved_when_it_begins_to_lose() -> None:
    window, _ = Destination().run(3000)
    lossy = Transfer(120_000, 200_000, MOST_SEGMENTS, 100, 64, 5)
    use = None
    for number in range(20):
        window, use = on_transfer(window, lossy, 4000.0 + number)
        if use is not None:
            break
    assert use is not None
    assert (use.segments, use.record) == (MOST_SEGMENTS // 2, "taken_back")
    assert window.in_force == MOST_SEGMENTS // 2


def test_too_few_or_old_windows_tell_nothing() -> None:
    finals = tuple((0.0, 200) for _ in range(LEAST_SAMPLES))
    assert Window(finals=finals).proposal(MOST_AGE_S) == 20
    assert Window(finals=finals).proposal(MOST_AGE_S + 1) == DEFAULT_SEGMENTS
    assert Window(finals=finals[1:]).proposal(0.0) == DEFAULT_SEGMENTS


def test_the_slowest_quarter_decides() -> None:
    finals = tuple((0.0, cwnd) for cwnd in (24, 24, 500, 500, 500, 500, 500))
    assert Window(finals=finals).proposal(0.0) == 12


def test_windows_that_were_not_needed_tell_nothing() -> None:
    idle = Transfer(30_000, 100_000, 10, 500, cwnd_limited=False)
    window, _ = on_transfer(Window(), idle, 0.0)
    assert window.finals == ()


def test_no_trial_while_the_congestion_control_is_on_trial() -> None:
    window = Window(finals=tuple((0.0, 200) for _ in range(LEAST_SAMPLES)))
    window, use = on_transfer(
        window, Transfer(30_000, 100_000, 10, 200), 1.0, may_try=False
    )
    assert window.trial is None
    assert use is None


def test_a_destination_that_falls_silent_is_not_left_on_trial() -> None:
    window, now_s = Window(), 0.0
    while not (window.trial and window.trial.trying_new):
        now_s += 1
        window, _ = on_transfer(window, Transfer(60_000, 90_000, 10, 200), now_s)
    stray = Transfer(60_000, 90_000, 10, 200)
    window, use = on_transfer(window, stray, now_s + 3600)
    assert use is not None
    assert (use.segments, use.record) == (DEFAULT_SEGMENTS, "taken_back")
    assert "too few transfers" in use.why


numbers = st.integers(-(2**40), 2**63)
transfers = st.builds(Transfer, *[numbers | st.integers(0, 10**6)] * 6, st.booleans())


@given(st.lists(st.tuples(transfers, st.floats(0, 1000)), max_size=60))
def test_no_transfers_lead_out_of_the_bounds(
    events: list[tuple[Transfer, float]],
) -> None:
    window, now_s = Window(), 0.0
    for transfer, after_s in events:
        now_s += after_s
        before = window.segments
        window, use = on_transfer(window, transfer, now_s)
        assert DEFAULT_SEGMENTS <= window.segments <= MOST_SEGMENTS
        assert window.in_force <= STEP * max(before, window.segments)
        assert len(window.finals) <= 64
        if use is not None:
            assert use.segments == window.in_force
