from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

from bench.again import Settled, is_better, line, settled

from bpftune.lab.triples import RMEM, WMEM

MIB = 1 << 20
FIRST = Settled({WMEM: 4, RMEM: 0}, 23.5, {WMEM: 8 * MIB, RMEM: MIB}, 140e6)
SECOND = Settled({WMEM: 1, RMEM: 0}, 6.5, {WMEM: 8 * MIB, RMEM: MIB}, 145e6)


def test_how_a_run_settled_is_told_from_the_values_met() -> None:
    wmem: Any = SimpleNamespace(
        name=WMEM, values=[(90.0, [1, 2, MIB]), (107.04, [1, 2, 4 * MIB])]
    )
    rmem: Any = SimpleNamespace(name=RMEM, values=[(90.0, [1, 2, MIB])])
    assert settled([wmem, rmem], 100.0, 9e6) == Settled(
        {WMEM: 1, RMEM: 0}, 7.0, {WMEM: 4 * MIB, RMEM: MIB}, 9e6
    )
    assert settled([rmem], 100.0, 9e6).settled_s == 0.0


def test_better_is_less_or_sooner_and_not_slower() -> None:
    assert is_better(FIRST, SECOND)
    assert not is_better(SECOND, FIRST)
    assert not is_better(FIRST, FIRST)
    assert is_better(FIRST, replace(FIRST, settled_s=20.0))
    assert not is_better(FIRST, replace(SECOND, goodput_bits_per_s=100e6))


def test_a_line_tells_what_changed() -> None:
    assert line(1, FIRST) == "| 1 | 4 | 23.5 | tcp_wmem 8 MiB | 140 |"
    unchanged = replace(FIRST, writes={WMEM: 0, RMEM: 0})
    assert line(2, unchanged) == "| 2 | 0 | 23.5 | unchanged | 140 |"
