from __future__ import annotations

from dataclasses import replace

import pytest

from bpftune.policy.algorithms import DCTCP_RTT_US, Ecn, arms

ALL = ("reno", "cubic", "bbr", "dctcp", "vegas")
NEAR = Ecn(negotiated=True, ce_marks=10, rtt_us=200, permitted=True)


def test_the_default_comes_first_and_no_unsafe_one_after_it() -> None:
    assert arms("cubic", ALL) == ("cubic", "bbr")
    assert arms("bbr", ALL) == ("bbr", "cubic")
    assert arms("vegas", ALL) == ("vegas", "cubic", "bbr")


def test_what_is_not_there_or_failed_is_no_arm() -> None:
    assert arms("cubic", ("reno", "cubic")) == ("cubic",)
    assert arms("cubic", ALL, failed={"bbr"}) == ("cubic",)


@pytest.mark.parametrize(
    "ecn",
    [
        None,
        replace(NEAR, negotiated=False),
        replace(NEAR, ce_marks=0),
        replace(NEAR, rtt_us=DCTCP_RTT_US),
        replace(NEAR, rtt_us=0),
        replace(NEAR, permitted=False),
    ],
)
def test_dctcp_takes_all_of_its_conditions(ecn: Ecn | None) -> None:
    assert "dctcp" not in arms("cubic", ALL, ecn=ecn)


def test_dctcp_is_an_arm_where_all_are_met() -> None:
    assert arms("cubic", ALL, ecn=NEAR) == ("cubic", "bbr", "dctcp")


def test_a_data_centres_own_default_is_left_alone() -> None:
    assert arms("dctcp", ALL, ecn=NEAR) == ("dctcp",)
