from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.soak.repeats import Repeats, words

WMEM = "net.ipv4.tcp_wmem"


def record(kind: str = "change", **more: Any) -> dict[str, Any]:
    return {
        "time": "now",
        "record": kind,
        "why": "because",
        "tuner": "tcp_buffer",
        "tunable": WMEM,
        "netns": {"cookie": 7, "name": "web"},
        "old": [1, 2, 3],
        "new": [1, 2, 6],
        "change": None,
        **more,
    }


def heard(*records: dict[str, Any]) -> list[str | None]:
    repeats = Repeats()
    return [repeats.hear(one) for one in records]


def test_the_same_words_twice_in_a_row_are_a_repeat() -> None:
    first, again = heard(record("kept"), record("kept", time="later"))
    assert first is None
    assert again == f"said twice: {words(record('kept'))}"


@pytest.mark.parametrize(
    "between",
    [
        record("taken_back"),
        record("kept", new=[1, 2, 9]),
        record("kept", why="another reason"),
    ],
)
def test_with_something_new_between_it_is_none(between: dict[str, Any]) -> None:
    assert heard(record("kept"), between, record("kept")) == [None] * 3


def test_what_is_new_elsewhere_is_nothing_new_here() -> None:
    elsewhere = record("kept", netns={"cookie": 8, "name": "db"})
    *before, again = heard(record("kept"), elsewhere, record("kept"))
    assert before == [None, None]
    assert again


def test_destinations_are_told_apart() -> None:
    one = record("tries", tunable=None, old=None, new=None, destination="10.1.0.0/24")
    other = {**one, "destination": "10.2.0.0/24"}
    assert heard(one, other) == [None, None]
    assert heard(one, other, one)[2]


def test_what_the_sink_counted_was_said_several_times() -> None:
    assert heard(record("rejected", times=3, over_s=1.0)) == [
        f"said again, 3 times: {words(record('rejected'))}"
    ]


def test_losses_of_the_same_number_are_new_losses() -> None:
    lost = record("lost", tuner=None, tunable=None, netns=None, why="3 events: full")
    assert heard(lost, lost) == [None, None]
    # The sink, which knows nothing of that, has said the second like this.
    assert heard(lost, {**lost, "times": 1, "over_s": 99.0}) == [None, None]


def test_a_change_has_a_number_that_no_other_has() -> None:
    first, other, again = heard(
        record(change="c1"), record("kept", change="c1"), record(change="c1")
    )
    assert (first, other) == (None, None)
    assert again is not None
    assert again.startswith("a second change c1")


def test_another_daemon_may_say_again_what_is_in_force() -> None:
    repeats = Repeats()
    assert repeats.hear(record("adopted")) is None
    repeats.began_anew()
    assert repeats.hear(record("adopted")) is None


def test_what_is_the_admins_yields_once_whoever_tells_it() -> None:
    repeats = Repeats()
    assert repeats.hear(record("yielded", why="uid 0")) is None
    repeats.began_anew()
    again = repeats.hear(record("yielded", why="uid 1"))
    assert again is not None
    assert again.startswith("yielded again")


@pytest.mark.parametrize("kind", ["adopted", "rolled_back"])
def test_what_was_taken_back_may_yield_again(kind: str) -> None:
    yielded = record("yielded")
    assert heard(yielded, record(kind), yielded) == [None] * 3


@given(st.lists(st.sampled_from(["kept", "change", "taken_back", "lost"])))
def test_it_is_told_exactly_where_two_neighbours_are_the_same(kinds: list[str]) -> None:
    told = heard(*map(record, kinds))
    expected = [
        number > 0 and kind == kinds[number - 1] and kind != "lost"
        for number, kind in enumerate(kinds)
    ]
    assert [one is not None for one in told] == expected
