from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from tests.unit.lab.results import RESULT

from bpftune.lab import compare as module
from bpftune.lab.compare import Comparison, compare
from bpftune.lab.run import Result
from bpftune.lab.scenario import Scenario
from bpftune.lab.scenarios import find

if TYPE_CHECKING:
    from collections.abc import Callable


def test_pairs_alternate_who_is_first_and_share_the_seed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ran: list[tuple[str, int]] = []

    def run(
        _scenario: Scenario,
        tuner: str,
        seed: int,
        _progress: Callable[[float, float], None] | None,
    ) -> Result:
        ran.append((tuner, seed))
        goodput = 100.0 if tuner == "none" else 200.0
        return replace(RESULT, tuner=tuner, goodput_bits_per_s=goodput)

    monkeypatch.setattr(module, "run_scenario", run)
    compared = compare(find("long-fat"), ("none", "self"), repeat=3, seed=7)
    assert ran == [
        ("none", 7), ("self", 7), ("self", 8), ("none", 8), ("none", 9), ("self", 9),
    ]  # fmt: skip
    assert compared.ratios == [2.0, 2.0, 2.0]
    assert compared.ratio == pytest.approx(2.0)
    assert [first.tuner for first, _ in compared.pairs] == ["none"] * 3


def test_a_run_without_goodput_has_no_finite_ratio() -> None:
    nothing = replace(RESULT, goodput_bits_per_s=0.0)
    compared = Comparison("x", ("a", "b"), [(nothing, RESULT)])
    assert compared.as_json()["ratio"] is None
    compared = Comparison("x", ("a", "b"), [(RESULT, nothing)])
    assert compared.as_json()["ratio"] == 0


def test_requests_are_compared_by_their_number() -> None:
    asked = replace(RESULT, requests_per_s=20.0)
    assert asked.headline == 20.0
    assert asked.as_json()["schema"] == 1
    none = replace(RESULT, requests_per_s=0.0)
    assert none.headline == 0.0
