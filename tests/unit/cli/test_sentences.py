from __future__ import annotations

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.cli.served import CHANGE, CHOSEN

from bpftune.cli.sentences import (
    as_record,
    counted,
    evidence,
    listed,
    local_time,
    move,
    netns_of,
    sentence,
    where,
    whole,
)
from bpftune.model import Netns, NetnsCookie
from bpftune.records import Record, as_json, as_line

NETNS = st.builds(
    Netns,
    st.integers(0, 2**62).map(NetnsCookie),
    st.none()
    | st.binary(max_size=12).map(lambda b: b.decode(errors="surrogateescape")),
)


@given(
    NETNS,
    st.sampled_from(["change", "kept", "yielded", "rejected", "stopped", "odd"]),
    st.text(),
)
def test_the_sentence_is_the_one_that_the_daemon_said(
    netns: Netns, kind: str, why: str
) -> None:
    """Names are escaped in JSON already, and must not be escaped twice."""
    record = Record(
        kind, why, "t", "net.ipv4.tcp_wmem", netns, (1, 2, 3), (1, 2, 4), "c1", "undo"
    )
    told = json.loads(as_json(record, 0.0))
    assert sentence(told, with_undo=True) == as_line(record)


def test_the_undo_is_told_when_wanted() -> None:
    assert "Undo: sysctl -w" in sentence(CHANGE, with_undo=True)
    assert "Undo" not in sentence(CHANGE)


def test_the_sentence_about_a_destination_is_the_one_that_the_daemon_said() -> None:
    facts = {"destination": "2001:db8::/48", "evidence": {"n": 1}}
    host = Netns(NetnsCookie(1), "host")
    record = Record("chosen", "bbr from now on", "t", netns=host, extra=facts)
    told = json.loads(as_json(record, 0.0))
    assert sentence(told) == as_line(record)
    assert sentence(CHOSEN).startswith("congestion 203.0.113.0/24 on the host: bbr ")


def test_a_record_of_the_future_is_told_all_the_same() -> None:
    assert "tuner new kind" in sentence(
        {**CHANGE, "record": "new_kind", "tuner": "tuner"}
    )
    assert as_record({"record": "started"}).why == ""


def test_where() -> None:
    assert where({"cookie": 7, "name": None}) == "#7"
    assert where({"cookie": 7, "name": "web"}) == "web"
    assert where(None) == ""
    assert netns_of(None) is None


def test_only_what_differs_of_a_value_is_told() -> None:
    old, new = [4096, 16384, 4 << 20], [4096, 16384, 8 << 20]
    assert move("net.ipv4.tcp_wmem", old, new) == ("tcp_wmem max", "4 MiB", "8 MiB")
    assert move("net.ipv4.tcp_wmem", None, None) == ("tcp_wmem", "?", "?")
    assert move("vm.x", [1], [2]) == ("vm.x", "1", "2")
    assert whole(new) == "4096 16384 8388608"
    assert whole(None) == "?"


@pytest.mark.parametrize(
    ("name", "found", "words"),
    [
        ("srtt_us", 40_000, "srtt 40 ms"),
        ("bytes_per_s", 4_762_500, "rate 38.1 Mbit/s"),
        ("goodput_bytes_per_s", 125_000, "goodput 1 Mbit/s"),
        ("sndbuf_bytes", 4 << 20, "sndbuf 4 MiB"),
        ("wait_s", 64, "wait 64 s"),
        ("retransmitted_share", 0.0123, "retransmitted 1.23%"),
        ("gain_nats", 0.4401, "gain +55%"),
        ("sockets", 4, "sockets 4"),
        ("randomised", False, "not randomised"),
        ("randomised", True, "randomised"),
        ("looks", {"sender": 3, "rwnd": 1}, "looks: sender 3, rwnd 1"),
        ("sizes", [1, 2], "sizes 1 2"),
        ("destination", "203.0.113.0/24", "destination 203.0.113.0/24"),
        ("odd", None, "odd unknown"),
        ("x_us", 10**400, f"x us 1{'0' * 400}"),
        ("x_us", float("nan"), "x us nan"),
        ("evil\n", "\x1b", r"evil\x0a \x1b"),
    ],
)
def test_evidence_in_words(name: str, found: object, words: str) -> None:
    assert evidence(name, found) == words


def test_times_are_those_of_this_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        assert local_time("2026-01-31T12:00:03.250Z") == "2026-01-31 21:00:03"
    finally:
        monkeypatch.undo()
        time.tzset()
    assert local_time("never\n") == r"never\x0a"


def test_numbers_of_things() -> None:
    assert counted(1, "value") == "1 value"
    assert counted(0, "piece of advice", "pieces of advice") == "0 pieces of advice"
    assert listed([]) == "none"
    assert listed(["a", "b"]) == "a, b"
