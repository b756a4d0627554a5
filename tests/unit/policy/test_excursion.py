from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bpftune.policy.excursion import Proof
from bpftune.policy.paired import Pairs


def told(*blocks: tuple[str, float | None], kind: int = 2) -> Proof:
    proof = Proof()
    for arm, worth in blocks:
        proof = proof.see(arm, is_default=arm == "cubic", kind=kind, worth=worth)
    return proof


@pytest.mark.parametrize(
    ("blocks", "won", "total"),
    [
        ([("cubic", 1.0), ("bbr", 2.0), ("cubic", 1.0)], 1, 1),
        ([("cubic", 1.0), ("bbr", 2.0), ("bbr", 3.0), ("cubic", 2.5)], 1, 1),
        ([("cubic", 1.0), ("bbr", 2.0), ("cubic", 3.0)], 0, 1),
        ([("cubic", 1.0), ("bbr", 0.5), ("bbr", 3.0), ("cubic", 2.0)], 0, 1),
        ([("cubic", 1.0), ("bbr", 2.0)], 0, 0),
        ([("bbr", 2.0), ("cubic", 1.0)], 0, 0),
        ([("cubic", 1.0), ("bbr", 2.0), ("cubic", None), ("cubic", 1.0)], 0, 0),
        ([("cubic", 1.0), ("bbr", None), ("cubic", 1.0)], 0, 0),
        ([("cubic", 1.0), ("bbr", 2.0), ("cubic", 2.0)], 0, 0),
    ],
)
def test_a_run_wins_against_the_blocks_on_both_sides(
    blocks: list[tuple[str, float | None]], won: int, total: int
) -> None:
    assert told(*blocks).of("bbr") == Pairs(won, total)


def test_blocks_judged_by_other_flows_are_not_compared() -> None:
    proof = told(("cubic", 1.0))
    proof = proof.see("bbr", is_default=False, kind=0, worth=2.0)
    proof = proof.see("cubic", is_default=True, kind=0, worth=1.0)
    assert proof.of("bbr") == Pairs()


@settings(max_examples=30)
@given(st.floats(-1, 1), st.floats(-1, 1), st.integers(0, 1000))
def test_whoever_chooses_by_what_was_seen_wins_at_most_half(
    leave_below: float, return_below: float, seed: int
) -> None:
    """The default is left after a bad block, another arm too: chance gains nothing."""
    chance = random.Random(seed)
    proof, arm = Proof(), "cubic"
    for _ in range(200):
        worth = chance.gauss(0, 1)
        proof = proof.see(arm, is_default=arm == "cubic", kind=2, worth=worth)
        if worth < (leave_below if arm == "cubic" else return_below):
            arm = "bbr" if arm == "cubic" else "cubic"
    pairs = proof.of("bbr")
    assert pairs.won <= 0.5 * pairs.pairs + 2 * pairs.pairs**0.5
    assert not proof.is_proved("bbr")


def test_ten_runs_of_ten_are_proof() -> None:
    blocks: list[tuple[str, float | None]] = [("cubic", 1.0)]
    for _ in range(9):
        blocks += [("bbr", 2.0), ("cubic", 1.0)]
    assert not told(*blocks[:-4]).is_proved("bbr")
    assert told(*blocks, ("bbr", 2.0), ("cubic", 1.0)).is_proved("bbr")
