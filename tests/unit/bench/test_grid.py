from __future__ import annotations

import json
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import pytest
from bench import grid
from bench.grid import (
    Best,
    Case,
    best_and_need,
    cached_best,
    first_as_good,
    limit_of,
    rounds_bytes,
    row_of,
    summary,
)
from tests.unit.lab.results import RESULT

from bpftune.lab.scenario import KIB, MIB, Scenario
from bpftune.lab.scenarios import find
from bpftune.lab.triples import RMEM, WMEM

if TYPE_CHECKING:
    from pathlib import Path

    from bpftune.lab.run import Result

ANEW = find("receiver-anew")
BOTH = find("both-short")


def case_of(scenario: Scenario, *tunables: str, **more: Any) -> Case:
    return Case(name=scenario.name, scenario=scenario, tunables=tunables, **more)


def result_of(
    scenario: Scenario,
    *rmem: tuple[float, int],
    wmem: int = 1 * MIB,
    connections: tuple[tuple[int, float, float, int], ...] = (),
    goodput: float = 90e6,
) -> Result:
    values = [{"t_s": 0.0, "end": "sender", "tunable": WMEM, "value": [1, 2, wmem]}]
    values += [
        {"t_s": t_s, "end": "receiver", "tunable": RMEM, "value": [1, 2, limit]}
        for t_s, limit in rmem
    ]
    names = ("flow", "began_s", "ended_s", "bytes")
    return replace(
        RESULT,
        parameters=asdict(scenario),
        goodput_bits_per_s=goodput,
        values=values,
        writes={WMEM: 0, RMEM: len(rmem) - 1},
        connections=[dict(zip(names, one, strict=True)) for one in connections],
    )


class Path100Mbit:
    """Goodput of both limits, the smaller of which decides, up to 100 Mbit/s."""

    def __init__(self, need_bytes: int) -> None:
        self.need_bytes = need_bytes
        self.runs: list[tuple[int | None, int | None]] = []

    def __call__(self, scenario: Scenario, _tuner: str) -> Result:
        limits = scenario.wmem_max_bytes, scenario.rmem_max_bytes
        self.runs.append(limits)
        least = min(limit for limit in limits if limit is not None)
        goodput = 100e6 * min(1.0, least / self.need_bytes)
        return replace(RESULT, parameters=asdict(scenario), goodput_bits_per_s=goodput)


@pytest.mark.parametrize("need", [256 * KIB, 1 * MIB, 4 * MIB, 32 * MIB, 64 * MIB])
def test_the_need_is_the_least_doubling_that_is_as_good(
    need: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = Path100Mbit(need)
    monkeypatch.setattr(grid, "run_scenario", path)
    assert best_and_need(case_of(BOTH, RMEM, WMEM)) == (100e6, need, [])
    assert all(wmem == rmem for wmem, rmem in path.runs)
    assert len(path.runs) <= 5


def test_a_limit_that_is_not_on_the_grid_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    path = Path100Mbit(4 * MIB)
    monkeypatch.setattr(grid, "run_scenario", path)
    best_and_need(case_of(find("receiver-short"), RMEM))
    assert {wmem for wmem, _ in path.runs} == {128 * MIB}


def test_where_less_can_be_reached_less_is_needed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(grid, "run_scenario", Path100Mbit(4 * MIB))
    case = case_of(BOTH, RMEM, WMEM, most_bits_per_s=25e6)
    assert best_and_need(case) == (25e6, 1 * MIB, [])


def test_the_best_is_measured_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = Path100Mbit(1 * MIB)
    monkeypatch.setattr(grid, "run_scenario", path)
    case, cache = case_of(BOTH, RMEM, WMEM), tmp_path / "best.json"
    first = cached_best(case, cache)
    runs = len(path.runs)
    assert cached_best(case, cache) == first
    assert len(path.runs) == runs
    cache.write_text(json.dumps({BOTH.name: [5e6, 4096]}))
    assert cached_best(case, cache) == Best(5e6, 4096)


def test_connections_of_all_flows_count_together() -> None:
    connections = (
        (0, 0.0, 5.2, 10), (1, 0.1, 5.2, 20),
        (0, 5.2, 10.4, 11), (1, 5.3, 10.4, 21),
        (0, 10.4, 12.0, 7), (1, 10.5, 12.0, 7),
    )  # fmt: skip
    result = result_of(
        replace(ANEW, flows=2), (0.0, MIB), (3.0, 2 * MIB), connections=connections
    )
    assert rounds_bytes(result) == [30, 32], "those cut off do not count"
    assert rounds_bytes(result, after_s=3.0) == [32]
    live = result_of(find("receiver-short"), (0.0, MIB), connections=connections)
    assert rounds_bytes(live) == []


def test_the_first_good_connection_is_counted_from_the_first_change() -> None:
    sizes = (40, 41, 60, 95, 100)
    connections = tuple(
        (0, 5.0 * number, 5.0 * number + 5, size) for number, size in enumerate(sizes)
    )
    result = result_of(ANEW, (0.0, MIB), (7.0, 2 * MIB), connections=connections)
    best = Best(100e6, 4 * MIB, [90, 100, 110])
    assert first_as_good(result, RMEM, best) == 2
    assert first_as_good(result, RMEM, best._replace(rounds_bytes=[200])) is None
    assert first_as_good(result, RMEM, best._replace(rounds_bytes=[])) is None
    unchanged = result_of(ANEW, (0.0, MIB), connections=connections)
    assert first_as_good(unchanged, RMEM, best) is None
    row = row_of(case_of(ANEW, RMEM), result, best)
    assert row["first_as_good"] == 2
    assert "connection 2" in summary(row)


def test_a_limit_ends_where_the_daemon_left_it() -> None:
    result = result_of(BOTH, (0.0, MIB), (3.0, 2 * MIB), (9.0, 4 * MIB))
    assert limit_of(result, RMEM) == {
        "start_bytes": MIB,
        "final_bytes": 4 * MIB,
        "writes": 2,
    }


def test_the_table_tells_both_limits_where_both_are_tuned() -> None:
    result = result_of(BOTH, (0.0, MIB), (3.0, 2 * MIB))
    row = row_of(case_of(BOTH, RMEM, WMEM), result, Best(100e6, 4 * MIB))
    assert summary(row) == (
        "| both-short | 1 -> 2 MiB, tcp_wmem 1 -> 1 MiB | 1 | 90 | 0.90 | 4 MiB, 0.5x |"
    )


def test_without_benefit_neither_limit_may_change() -> None:
    case = case_of(BOTH, WMEM, RMEM, has_benefit=False)
    assert "unchanged" in summary(row_of(case, result_of(BOTH, (0.0, MIB)), None))
    taken_back = result_of(BOTH, (0.0, MIB), (3.0, 2 * MIB), (9.0, MIB))
    assert "| 2 |" in summary(row_of(case, taken_back, None))
    assert "unchanged" in summary(row_of(case, taken_back, None))
    changed = result_of(BOTH, (0.0, MIB), (3.0, 2 * MIB))
    assert "CHANGED" in summary(row_of(case, changed, None))
