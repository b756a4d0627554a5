from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from tests.soak.balance import Counted, unaccounted

COUNTS = st.integers(0, 10_000)


@given(COUNTS, COUNTS, COUNTS, COUNTS)
def test_what_is_handled_lost_or_dropped_and_counted_adds_up(
    handled: int, lost: int, dropped: int, of_others: int
) -> None:
    counted = Counted(handled + dropped, handled, lost, gone=dropped + of_others)
    assert unaccounted(handled + lost + dropped, counted) == []


@given(COUNTS, COUNTS, st.integers(1, 100))
def test_one_that_is_missing_is_told(handled: int, lost: int, missing: int) -> None:
    sent = handled + lost + missing
    assert unaccounted(sent, Counted(handled, handled, lost))
    # Received is not handled, and nothing was counted as dropped.
    assert unaccounted(sent, Counted(handled + missing, handled, lost))


def test_one_that_is_handled_twice_is_told() -> None:
    assert unaccounted(5, Counted(received=5, handled=6))
    assert unaccounted(5, Counted(received=6, handled=6))


def test_one_that_is_dropped_in_silence_is_told() -> None:
    assert unaccounted(5, Counted(received=5, handled=3, gone=2)) == []
    (told,) = unaccounted(5, Counted(received=5, handled=3, gone=1))
    assert told == (
        "of 5 events received 3 were handled, "
        "and 1 counted as of namespaces that are gone"
    )


def test_order_is_kept() -> None:
    (told,) = unaccounted(2, Counted(2, 2, disordered=1))
    assert told == "1 events came before earlier ones"
