from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bpftune.tuners.congestion.maps import padded, text
from bpftune.tuners.congestion.offer import ALLOWED, AVAILABLE, DEFAULT, Offer, read
from tests.leftovers import kept_blocks

TEXTS = {DEFAULT: "cubic", AVAILABLE: "reno cubic bbr", ALLOWED: "reno cubic"}


def test_texts_make_an_offer() -> None:
    offer = Offer("cubic", ("reno", "cubic", "bbr"), ("reno", "cubic"))
    assert read(TEXTS) == offer


def test_an_old_kernel_hides_what_is_allowed_from_namespaces() -> None:
    offer = read({name: TEXTS[name] for name in (DEFAULT, AVAILABLE)})
    assert offer == Offer("cubic", ("reno", "cubic", "bbr"), ())


def test_without_a_default_there_is_no_offer() -> None:
    assert read({}) is None
    assert read({**TEXTS, DEFAULT: " \n"}) is None


@given(st.text(), st.text())
def test_whatever_is_read_can_be_assigned(default: str, available: str) -> None:
    offer = read({DEFAULT: default, AVAILABLE: available})
    if offer is not None:
        assert len(offer.available) <= 32
        for name in (offer.default, *offer.available):
            assert text(padded(name)) == name


def test_reading_leaves_nothing() -> None:
    assert kept_blocks(lambda: read(TEXTS)) < 100
