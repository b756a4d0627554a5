from __future__ import annotations

from dataclasses import replace

import pytest
from bench.matrix.cases import CASES, Case
from bench.matrix.oracle import cache_key, choose, grid

BY_NAME = {case.name: case for case in CASES}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_grid_begins_untuned_and_has_less_of_nothing(case: Case) -> None:
    scenario = case.at(case.fixed_s)
    first, *others = grid(case)
    assert first.wmem_bytes == scenario.wmem_max_bytes
    assert first.rmem_bytes == scenario.rmem_max_bytes
    assert first.control == scenario.congestion_control
    assert all(one.wmem_bytes >= first.wmem_bytes for one in others)
    assert all(one.rmem_bytes >= first.rmem_bytes for one in others)
    assert {one.control for one in others} == {"cubic", "bbr"}


def test_the_values_are_a_file_of_sysctls() -> None:
    lines = grid(BY_NAME["long-fat"])[-1].as_sysctls().splitlines()
    assert lines == [
        "net.ipv4.tcp_wmem = 4096 16384 67108864",
        "net.ipv4.tcp_rmem = 4096 131072 67108864",
        "net.ipv4.tcp_congestion_control = bbr",
    ]


def test_the_least_that_comes_close_to_the_best_is_chosen() -> None:
    rates = [100, 120, 196, 197, 200, 190]
    levels: list[dict[str, float | None]] = [{"goodput": rate} for rate in rates]
    assert choose(BY_NAME["long-fat"], levels) == 2


def test_what_is_paid_with_the_other_measures_is_not_chosen() -> None:
    case = BY_NAME["shared"]
    levels: list[dict[str, float | None]] = [
        {"goodput of others": 50, "goodput": 50},
        {"goodput of others": 80, "goodput": 20},
        {"goodput of others": 54, "goodput": 46},
        {"goodput of others": 90, "goodput": None},
    ]
    assert choose(case, levels) == 2


def test_to_take_from_others_is_no_gain() -> None:
    case = BY_NAME["shared"]
    levels: list[dict[str, float | None]] = [
        {"goodput of others": 50, "goodput": 40},
        {"goodput of others": 4, "goodput": 83},
    ]
    assert choose(case, levels) == 0


def test_of_times_the_shortest_is_chosen() -> None:
    case = BY_NAME["bufferbloat"]
    levels: list[dict[str, float | None]] = [
        {"round trip": 0.1, "goodput": 48},
        {"round trip": 0.03, "goodput": 47},
        {"round trip": 0.01, "goodput": 20},
    ]
    assert choose(case, levels) == 1
    assert choose(case, [{"round trip": None, "goodput": None}] * 2) == 0


def test_the_grid_has_what_the_kernel_offers() -> None:
    assert {one.control for one in grid(BY_NAME["lossier"], ["cubic"])} == {"cubic"}


def key_of(case: Case, *, kernel: str = "6.18") -> str:
    return cache_key(case, grid(case), kernel)


def test_a_search_is_kept_by_all_that_decides_what_it_finds() -> None:
    case = BY_NAME["lossier"]
    key = key_of(case)
    assert key == key_of(replace(case, title="said otherwise"))
    others = [
        replace(case, settings=(*case.settings, "loss=2%")),
        replace(case, fixed_s=case.fixed_s + 1),
        replace(case, steady_s=case.steady_s - 1),
        replace(case, sizes_bytes=case.sizes_bytes[:1]),
    ]
    keys = {key, key_of(case, kernel="6.12"), *map(key_of, others)}
    keys.add(cache_key(case, grid(case, ["cubic"]), "6.18"))
    assert len(keys) == 7
    assert all(one.startswith("lossier-") for one in keys)
