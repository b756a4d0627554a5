"""What the congestion tuner keeps over restarts."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpftune.model import Prefix
from bpftune.policy.reward import SizeClass
from bpftune.tuners.congestion.destination import (
    HALF_LIFE_S,
    Destination,
    resumed,
)
from bpftune.tuners.congestion.saved import (
    LIFE_S,
    MOST,
    as_json,
    parsed,
)
from tests.unit.policy.congestion_world import BBR, CUBIC, MB, Path, Users

from .congested_host import COOKIE, Host, prefix

NOW_S, NOW_UNIX_S = 5000.0, 1.7e9


@pytest.fixture(scope="module")
def known() -> dict[Prefix, Destination]:
    host = Host()
    host.add(0, Path(50, 0.020, 8), [Users(1, (10 * MB,))])
    host.add(1, Path(buffer_bdp=0.25), [Users(4, (10 * MB,))], device=3)
    host.run(NOW_S - host.now_s)
    return host.tuner.namespaces[COOKIE].known


def kept(known: dict[Prefix, Destination], now_unix_s: float = NOW_UNIX_S) -> Any:
    return json.loads(json.dumps(as_json({"host": known}, NOW_S, now_unix_s)))


def test_what_is_known_comes_back(known: dict[Prefix, Destination]) -> None:
    back = parsed(kept(known), 10.0, NOW_UNIX_S)
    assert set(back) == {"host"}
    for number, standing in ((0, BBR), (1, CUBIC)):
        before, after = known[prefix(number)], back["host"][prefix(number)]
        assert after.choice.standing == standing == after.choice.block.arm
        assert after.choice.is_worth_trial
        assert after.choice.min_rtt_us == before.choice.min_rtt_us
        for name, arm in before.choice.arms_of(SizeClass.LARGE).items():
            same = after.choice.arms_of(SizeClass.LARGE)[name]
            assert same.mean == pytest.approx(arm.mean)
            assert same.n == pytest.approx(arm.n, rel=0.01)
            assert same.blocks == arm.blocks
    vetoed = back["host"][prefix(1)].choice.vetoes[BBR]
    left_s = known[prefix(1)].choice.vetoes[BBR].until_s - NOW_S
    assert vetoed.until_s == pytest.approx(10.0 + left_s)


def test_it_fades_and_is_forgotten(known: dict[Prefix, Destination]) -> None:
    later = parsed(kept(known), 0.0, NOW_UNIX_S + HALF_LIFE_S)
    again = resumed(later["host"][prefix(0)], 0.0)
    arm = again.choice.arms_of(SizeClass.LARGE)[BBR]
    was = known[prefix(0)].choice.arms_of(SizeClass.LARGE)[BBR]
    assert arm.n == pytest.approx(was.n / 2, rel=0.01)
    assert arm.mean == pytest.approx(was.mean)
    assert parsed(kept(known), 0.0, NOW_UNIX_S + LIFE_S + 3600) == {}
    # A clock that was set back makes nothing younger than new.
    assert parsed(kept(known), 0.0, 1e9)["host"]


def test_nothing_known_is_nothing_kept() -> None:
    assert as_json({}, 0.0, 0.0) is None
    host = Host()
    host.add(0, Path(), [Users(1, (10 * MB,))])
    host.run(20)
    known = host.tuner.namespaces[COOKIE].known
    assert known
    assert as_json({"host": known}, host.now_s, 0.0) is None


def test_it_is_bounded(known: dict[Prefix, Destination]) -> None:
    many = {prefix(n): known[prefix(n % 2)] for n in range(MOST + 9)}
    told: Any = as_json({"host": many}, NOW_S, NOW_UNIX_S)
    assert len(told["destinations"]) == MOST
    assert len(json.dumps(told)) < 1 << 20
    told["destinations"].append(told["destinations"][0])
    with pytest.raises(ValueError, match="too long"):
        parsed(told, 0.0, 0.0)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=14)
        | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=20,
)


def places_in(thing: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the way to each part of some JSON."""
    found = [at] if at else []
    if isinstance(thing, dict | list):
        keys = list(thing) if isinstance(thing, dict) else range(len(thing))
        for key in keys:
            found += places_in(thing[key], (*at, key))
    return found


@given(data=st.data())
def test_anything_else_is_refused_or_within_bounds(
    known: dict[Prefix, Destination], data: st.DataObject
) -> None:
    told = kept(known)
    where = data.draw(st.sampled_from(places_in(told)))
    inner = told
    for key in where[:-1]:
        inner = inner[key]
    inner[where[-1]] = data.draw(JSON)
    try:
        back = parsed(told, NOW_S, NOW_UNIX_S)
    except ValueError:
        return
    for theirs in back.values():
        for one in theirs.values():
            one.assignment(NOW_S)
            again = as_json({"host": {one.prefix: one}}, NOW_S, NOW_UNIX_S)
            json.dumps(again, allow_nan=False)
            assert 10 <= one.window.segments <= 64
            for arms in one.choice.known.values():
                assert all(abs(arm.mean) <= 100 for arm in arms.values())


@given(JSON)
def test_what_was_never_ours_is_refused(thing: object) -> None:
    with pytest.raises(ValueError, match="schema"):
        parsed(thing, 0.0, 0.0)
