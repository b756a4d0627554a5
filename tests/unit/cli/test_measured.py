from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.unit.cli.schemas import check
from tests.unit.cli.served import CHANGE, KEPT, record

from bpftune.cli.measured import destination, measured

BEFORE = {
    "bytes_per_s": 1_250_000,
    "spread_nats": 0.01,
    "sockets": 4,
    "sockets_held_back": 3,
    "looks": {"our send buffer": 31, "the application": 9},
    "retransmitted_share": 0.012,
    "srtt_us": 50_000,
    "min_rtt_us": 40_000,
}
TRIAL: dict[str, Any] = {
    "destination": "198.51.100.0/24",
    "old_size": 4 << 20,
    "size": 8 << 20,
    "pressure": 0.775,
    "predicted_nats": 0.6931,
    "before": BEFORE,
    "after": {**BEFORE, "bytes_per_s": 2_500_000, "spread_nats": None},
    "gain_nats": 0.6931,
    "gain_error_nats": 0.01,
    "finding": "paid",
    "randomised": False,
    "proved": True,
    "first_won": True,
}


def test_what_was_predicted_stands_beside_what_was_measured() -> None:
    told = record("kept", proved=True, trial=TRIAL, evidence={"sockets": 4})
    check("record", told)
    assert measured(told) == [
        ("predicted", "a gain of +100%"),
        (
            "before",
            "10 Mbit/s ± 2%, 4 sockets, 3 held back, round trip 50 ms (least 40 ms), "
            "1.20% sent again, held back by: our send buffer 31, the application 9",
        ),
        (
            "after",
            "20 Mbit/s, 4 sockets, 3 held back, round trip 50 ms (least 40 ms), "
            "1.20% sent again, held back by: our send buffer 31, the application 9",
        ),
        ("gained", "+100% ± 2%"),
        (
            "verdict",
            "it paid; proved, not randomised: before and after were compared",
        ),
    ]


def test_a_trial_under_way_has_no_verdict() -> None:
    trial = {**TRIAL, "after": None, "gain_nats": None, "finding": None}
    told = record("change", trial=trial)
    check("record", told)
    assert [label for label, _ in measured(told)] == ["predicted", "before"]


@pytest.mark.parametrize(
    ("finding", "words"),
    [
        ("unpaid", "it did not pay; not proved"),
        ("harm", "it did harm; not proved"),
        ("unproven", "whether it paid cannot be told; not proved"),
        ("void", "there was nothing to compare; not proved"),
        ("odd\n", r"odd\x0a; not proved"),
    ],
)
def test_each_finding_has_words(finding: str, words: str) -> None:
    trial = {**TRIAL, "finding": finding, "proved": False, "randomised": None}
    assert measured(record("taken_back", trial=trial))[-1] == ("verdict", words)


def test_what_is_no_trial_tells_its_evidence() -> None:
    assert measured(CHANGE) == [
        (
            "seen",
            "destination 203.0.113.0/24, sockets 4, rate 38.1 Mbit/s, srtt 100 ms",
        )
    ]
    assert measured(KEPT) == [
        ("seen", "gain +55%"),
        ("verdict", "proved, not randomised: before and after were compared"),
    ]
    assert measured(record("kept", proved=False)) == [("verdict", "not proved")]
    assert measured(record("yielded")) == []
    random = record("kept", proved=True, evidence={"randomised": True})
    assert measured(random) == [("verdict", "proved, in random order")]


def test_the_destination_is_found_wherever_it_is() -> None:
    assert destination(CHANGE) == "203.0.113.0/24"
    assert destination(record("kept", trial=TRIAL)) == "198.51.100.0/24"
    assert destination(record("started")) is None


JSON = st.none() | st.booleans() | st.integers() | st.floats() | st.text()


@given(
    st.dictionaries(st.sampled_from(list(TRIAL)), JSON),
    st.dictionaries(st.sampled_from(list(BEFORE)), JSON),
)
@example({"gain_nats": 10**400}, {"sockets": float("inf"), "bytes_per_s": 10**400})
def test_an_odd_trial_is_told_all_the_same(
    trial: dict[str, Any], before: dict[str, Any]
) -> None:
    for label, text in measured(record("kept", trial={**trial, "before": before})):
        assert label
        assert all(" " <= c <= "~" or c == "±" for c in text)
