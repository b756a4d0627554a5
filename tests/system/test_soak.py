"""The soak of ``make soak``, for less than a minute."""

from __future__ import annotations

import io
import json

import pytest
from rich.console import Console
from tests.soak.report import as_json, show
from tests.soak.run import Soak
from tests.soak.schedule import End, Kind, lives

SECONDS = 36.0
SEED = 66


@pytest.mark.slow
def test_half_a_minute_of_soaking_finds_nothing_wrong() -> None:
    looks: list[float] = []
    soak = Soak(SEED, SECONDS, lambda now_s, _: looks.append(now_s))
    result = soak.run()
    with io.StringIO() as text:
        show(result, Console(file=text, width=200))
        print(text.getvalue())
    told = as_json(result)
    assert json.loads(json.dumps(told))["schema"] == 1
    assert not result.failures
    assert len(looks) > 10
    assert told["lives"] >= 2
    assert told["kills"] >= 1
    assert told["events handled"] > 0
    assert result.kinds["change"] > 0


def test_that_half_minute_is_worth_it() -> None:
    assert {life.end for life in lives(SEED, SECONDS)} >= {End.KILL, End.TERM}
    assert any(life.roll_back for life in lives(SEED, SECONDS))
    planned = {act.kind for act in Soak(SEED, SECONDS, lambda *_: None).plan.acts}
    assert planned >= {Kind.POKE, Kind.CHURN, Kind.BOUT, Kind.SET, Kind.STALL}
