from __future__ import annotations

import socket

from hypothesis import given
from hypothesis import strategies as st

from bpftune.model import Prefix
from bpftune.policy.parents import LEAST_VOTES, MOST_VOTE, Votes, above, prior
from bpftune.policy.reward import SizeClass

LARGE = SizeClass.LARGE


def prefix(text: str, length: int) -> Prefix:
    family = socket.AF_INET6 if ":" in text else socket.AF_INET
    return Prefix(family, length, socket.inet_pton(family, text).ljust(16, b"\0"))


def votes(gain: float, count: int = LEAST_VOTES) -> Votes:
    kept = Votes()
    for _ in range(count):
        kept = kept.vote(LARGE, "bbr", gain)
    return kept


def test_the_prefixes_above_are_wider() -> None:
    assert [str(one) for one in above(prefix("203.0.113.0", 24))] == [
        "203.0.0.0/16",
        "0.0.0.0/0",
    ]
    assert [str(one) for one in above(prefix("2001:db8:77::", 48))] == [
        "2001:db8::/32",
        "::/0",
    ]


@given(st.lists(st.floats(allow_nan=False), min_size=LEAST_VOTES, max_size=50))
def test_a_name_is_bounded_whatever_is_claimed(gains: list[float]) -> None:
    kept = Votes()
    for gain in gains:
        kept = kept.vote(LARGE, "bbr", gain)
    mean = kept.gain(LARGE, "bbr")
    assert mean is not None
    assert abs(mean) <= MOST_VOTE + 1e-9


def test_a_few_votes_are_no_name() -> None:
    assert votes(1.0, LEAST_VOTES - 1).gain(LARGE, "bbr") is None
    assert votes(1.0).gain(SizeClass.SMALL, "bbr") is None


def test_the_nearest_that_knows_is_asked() -> None:
    arms = ("bbr", "reno")
    assert prior((votes(-1.0), votes(1.0)), LARGE, arms) == {"bbr": -MOST_VOTE}
    assert prior((Votes(), votes(1.0)), LARGE, arms) == {"bbr": MOST_VOTE}
    assert prior((Votes(), Votes()), LARGE, arms) == {}
