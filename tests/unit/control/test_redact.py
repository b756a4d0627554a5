from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpftune.control.redact import HIDDEN, hide, redacted
from tests.unit.fakes import prefix

ipv4 = st.ip_addresses(v=4).map(str)
ipv6 = st.ip_addresses(v=6).map(str)
around = st.text(alphabet=st.characters(codec="ascii"), max_size=12)


@given(around, ipv4, st.integers(0, 32), around)
def test_no_address_of_ipv4_gets_through(
    before: str, address: str, length: int, after: str
) -> None:
    for text in (address, f"{address}/{length}"):
        assert address not in hide(before + text + after)


@given(around, ipv6, st.integers(0, 128), around)
def test_no_address_of_ipv6_gets_through(
    before: str, address: str, length: int, after: str
) -> None:
    for text in (address, f"{address}/{length}", address.upper()):
        shown = hide(before + text + after)
        assert text not in shown
        assert HIDDEN in shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("12 of 40 sockets to 203.0.113.0/24 were held back", "to (hidden) were"),
        ("from 2001:db8:1::/48 rose +70%", "from (hidden) rose +70%"),
        ("to ::ffff:10.0.0.1.", "to (hidden)"),
        ("to 10.0.0.1, to ::1", "to (hidden), to (hidden)"),
    ],
)
def test_hides_the_address_and_no_more(text: str, shown: str) -> None:
    assert shown in hide(text)


@pytest.mark.parametrize(
    "text",
    [
        "tcp_wmem max 4 MiB -> 8 MiB in netns web (47% of looks)",
        "net.ipv4.tcp_wmem net.ipv4.conf.eth0/100.rp_filter",
        "sysctl -w net.ipv4.tcp_wmem='4096 16384 8388608'",
        "uid 0 (sysctl) set it to 4096 16384 8388608; next try in 64 s",
        "0.1.0, tuning; tuners: sysctl, tcp_buffer",
    ],
)
def test_leaves_the_rest_as_it_is(text: str) -> None:
    assert hide(text) == text


def test_hides_in_every_corner_of_a_record() -> None:
    address = str(prefix(3))
    record = {
        "time": "2026-11-24T18:00:22.508Z",
        "why": f"to {address}",
        "destination": address,
        "new": [1, 2, 3],
        "proved": True,
        "evidence": {"destination": address, address: 1, "list": [address, None, 1.5]},
    }
    shown = redacted(record)
    assert address not in json.dumps(shown)
    assert isinstance(shown, dict)
    assert shown["time"] == record["time"]
    assert shown["new"] == [1, 2, 3]
    assert shown["proved"] is True
    assert shown["evidence"]["list"] == [HIDDEN, None, 1.5]
