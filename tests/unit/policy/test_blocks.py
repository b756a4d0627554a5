from __future__ import annotations

from bpftune.policy.blocks import USUAL, Block
from bpftune.policy.reward import SizeClass, Sums

LARGE = SizeClass.LARGE


def of(flows: int, life_s: float = 1.0) -> Block:
    sums = Sums(flows, flows * 10**7, int(flows * life_s * 1e6), 10**12)
    return Block("bbr", 3, 100.0).add({LARGE: sums})


def test_what_came_since_is_added() -> None:
    block = of(2).add({LARGE: Sums(1), SizeClass.SMALL: Sums(5)})
    assert block.of(LARGE).flows == 3
    assert block.of(SizeClass.MEDIUM) == Sums()
    assert block.flows == 8


def test_a_block_lasts_ten_lives_and_half_a_minute() -> None:
    assert not of(USUAL.enough_flows).is_full(LARGE, 100 + USUAL.least_s - 1)
    assert of(USUAL.enough_flows).is_full(LARGE, 100 + USUAL.least_s)
    assert not of(USUAL.enough_flows, 10).is_full(LARGE, 199)
    assert of(USUAL.enough_flows, 10).is_full(LARGE, 200)


def test_a_block_waits_for_flows_but_not_for_ever() -> None:
    few = of(USUAL.enough_flows - 1)
    assert not few.is_full(LARGE, 100 + USUAL.longest_s - 1)
    assert few.is_full(LARGE, 100 + USUAL.longest_s)
    assert not few.is_void(LARGE)
    assert of(USUAL.least_flows - 1).is_void(LARGE)
    assert of(50).is_void(SizeClass.SMALL)
