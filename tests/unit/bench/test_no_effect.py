from __future__ import annotations

from collections import Counter
from typing import Any

from bench.no_effect import findings, passes

from bpftune.lab.triples import RMEM, WMEM


def record(finding: str | None, *, proved: bool = False, tunable: str = WMEM) -> Any:
    return {"tunable": tunable, "trial": {"finding": finding, "proved": proved}}


def test_only_trials_that_ended_are_findings() -> None:
    records = [
        {"record": "started"},
        record(None),
        record("unpaid"),
        record("paid"),
        record("paid", proved=True),
        record("unpaid", tunable=RMEM),
    ]
    assert findings(records) == ["unpaid", "paid", "proved"]


def test_none_may_be_proved_and_few_may_pay() -> None:
    assert passes(Counter(unpaid=48, unproven=0, paid=2))
    assert not passes(Counter(unpaid=48, paid=3))
    assert not passes(Counter(unpaid=499, proved=1))
    assert not passes(Counter(unpaid=10, paid=1, void=100))
