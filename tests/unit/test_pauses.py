from __future__ import annotations

import pytest

from bpftune.ledger import Entry
from bpftune.model import Netns, NetnsCookie
from bpftune.pauses import EVERYTHING, MOST, Pauses, TooManyError
from tests.unit.fakes import BLUE, FOUND, RED, TCP_RMEM, TCP_WMEM


def entry(netns: Netns = RED) -> Entry:
    return Entry(netns, TCP_WMEM, "tcp_buffer", FOUND, FOUND, FOUND)


@pytest.mark.parametrize("name", [EVERYTHING, "tcp_buffer", TCP_WMEM.name, "red", "#2"])
def test_covers_what_was_named(name: str) -> None:
    pauses = Pauses()
    assert not pauses.cover(entry())
    pauses.pause(name)
    assert pauses.cover(entry())
    assert name in pauses
    assert pauses.resume(name)
    assert not pauses.cover(entry())
    assert not pauses.resume(name)


@pytest.mark.parametrize("name", ["sysctl", TCP_RMEM.name, "blue", "#3", "re"])
def test_covers_nothing_else(name: str) -> None:
    pauses = Pauses()
    pauses.pause(name)
    assert not pauses.cover(entry())


def test_a_tuner_is_paused_by_its_name_and_with_everything() -> None:
    pauses = Pauses()
    pauses.pause("red")
    assert not pauses.cover_tuner("tcp_buffer")
    pauses.pause("tcp_buffer")
    assert pauses.cover_tuner("tcp_buffer")
    assert not pauses.cover_tuner("sysctl")
    pauses.pause(EVERYTHING)
    assert pauses.cover_tuner("sysctl")


def test_resumes_one_or_all() -> None:
    pauses = Pauses()
    for name in ("b", "a", "a"):
        pauses.pause(name)
    assert pauses.names() == ["a", "b"]
    pauses.resume("a")
    assert pauses.names() == ["b"]
    assert pauses.resume(None)
    assert pauses.names() == []


@pytest.mark.parametrize("name", [EVERYTHING, "congestion", "red", "#2"])
def test_rows_are_covered_by_tuner_and_namespace(name: str) -> None:
    pauses = Pauses()
    assert not pauses.cover_rows("congestion", RED)
    pauses.pause(name)
    assert pauses.cover_rows("congestion", RED)
    assert pauses.cover_rows("congestion", BLUE) == (name in {EVERYTHING, "congestion"})
    assert not pauses.cover_rows("other", BLUE) or name == EVERYTHING


@pytest.mark.parametrize("meant", [None, "congestion", "red", "congestion in red"])
def test_rows_of_one_tuner_for_one_namespace_are_paused_alone(
    meant: str | None,
) -> None:
    pauses = Pauses()
    assert pauses.pause_rows("congestion", RED) == "congestion in red"
    assert pauses.cover_rows("congestion", RED)
    assert not pauses.cover_rows("congestion", BLUE)
    assert not pauses.cover_rows("other", RED)
    assert not pauses.cover_tuner("congestion")
    assert not pauses.cover(entry())
    assert pauses.names() == ["congestion in red"]
    for other in ("blue", "tcp_buffer", "congestion in blue", "congestion in"):
        assert pauses.resume(other) == []
    assert pauses.resume(meant) == ["congestion in red"]
    assert not pauses.cover_rows("congestion", RED)


def test_what_a_name_means_is_resumed_together() -> None:
    pauses = Pauses()
    for netns in (RED, BLUE, Netns(NetnsCookie(9))):
        pauses.pause_rows("congestion", netns)
    pauses.pause_rows("other", RED)
    pauses.pause("red")
    assert pauses.cover_rows("congestion", Netns(NetnsCookie(9), "named since"))
    assert pauses.resume("red") == ["congestion in red", "other in red", "red"]
    assert pauses.resume("congestion") == ["congestion in #9", "congestion in blue"]
    assert pauses.names() == []


def test_a_name_that_could_do_harm_on_a_terminal_is_escaped() -> None:
    pauses = Pauses()
    pauses.pause("\\x1b[2J")
    assert pauses.cover(entry(Netns(NetnsCookie(9), "\x1b[2J")))
    assert not pauses.cover(entry(BLUE))


def test_is_bounded() -> None:
    pauses = Pauses()
    for number in range(MOST):
        pauses.pause(f"#{number}")
    with pytest.raises(TooManyError):
        pauses.pause("one more")
    with pytest.raises(TooManyError):
        pauses.pause_rows("congestion", RED)
    pauses.pause("#0")
    assert len(pauses.names()) == MOST
