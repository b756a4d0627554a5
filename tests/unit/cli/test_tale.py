from __future__ import annotations

import pytest
from tests.unit.cli.served import (
    CHANGE,
    CHOSEN,
    KEPT,
    TRIES,
    TUNABLE,
    WEB,
    record,
)

from bpftune.cli.tale import _LABEL, HAPPENED, tale
from bpftune.kinds import KINDS


def lines_of(*records: object, **more: object) -> list[str]:
    nothing: dict[str, list[object]] = {"tunables": [], "learned": [], "known": []}
    answer = {"records": list(records), **nothing, **more}
    return [" ".join(line.split()) for line in tale("c17", answer).splitlines()]


def test_a_change_is_told_from_what_was_seen_to_how_it_is_undone() -> None:
    told = lines_of(
        CHANGE,
        KEPT,
        tunables=[TUNABLE],
        learned=["at this level it paid in 37 of 40 trials"],
    )
    wanted = [
        "c17 net.ipv4.tcp_wmem on the host (tuner tcp_buffer)",
        "tried tcp_wmem max 4 MiB -> 8 MiB",
        "why 3 of 4 sockets to 203.0.113.0/24 were held back by it",
        "seen destination 203.0.113.0/24, sockets 4, rate 38.1 Mbit/s, srtt",
        "kept tcp_wmem max 4 MiB -> 8 MiB",
        "why goodput rose +56%",
        "verdict proved, not randomised: before and after were compared",
        "Now tcp_wmem max on the host: 8 MiB, found at 4 MiB (1 write)",
        "Undo bpftune rollback c17",
        "by hand sysctl -w net.ipv4.tcp_wmem='4096 16384 4194304'",
        "Learned at this level it paid in 37 of 40 trials",
    ]
    place = 0
    for start in wanted:
        found = [n for n, line in enumerate(told[place:], place) if start in line]
        assert found, f"{start!r} not after line {place} of {told}"
        place = found[0] + 1


def test_changes_stay_apart_and_who_set_it_is_named() -> None:
    other = record("change", change="c18", netns=WEB)
    taken = record("yielded", change=None, netns=WEB, by_comm="sysctl", by_uid=0)
    told = lines_of(CHANGE, other, KEPT, taken)
    titles = [line for line in told if "(tuner tcp_buffer)" in line]
    assert titles == [
        "c17 net.ipv4.tcp_wmem on the host (tuner tcp_buffer)",
        "c18 net.ipv4.tcp_wmem in netns web (tuner tcp_buffer)",
        "net.ipv4.tcp_wmem in netns web (tuner tcp_buffer)",
    ]
    assert told.index(titles[1]) > told.index("why goodput rose +56%")
    assert "by sysctl, uid 0" in told


def test_what_became_of_one_destination_is_told_together() -> None:
    other = {**TRIES, "destination": "198.51.100.0/24"}
    elsewhere = {**TRIES, "netns": WEB}
    assert lines_of(TRIES, CHANGE, other, elsewhere, CHOSEN)[:5] == [
        "203.0.113.0/24 on the host (tuner congestion)",
        "",
        "2026-01-31 12:00:03 on trial bbr in this block, for comparison with cubic",
        "seen arm bbr, flows 0",
        "2026-01-31 12:00:03 chosen bbr from now on: 3.0 ± 0.1 in 4 blocks (41 flows)",
    ]
    told = lines_of(TRIES, CHANGE, other, elsewhere, CHOSEN)
    assert told[5] == "seen rate 88 Mbit/s, bbr reward 3.02, not proved"
    assert [line for line in told if "(tuner " in line] == [
        "203.0.113.0/24 on the host (tuner congestion)",
        "c17 net.ipv4.tcp_wmem on the host (tuner tcp_buffer)",
        "198.51.100.0/24 on the host (tuner congestion)",
        "203.0.113.0/24 in netns web (tuner congestion)",
    ]


def test_what_tuners_know_of_a_destination_is_told_last() -> None:
    known = [{"tuner": "congestion", "text": "on the host cubic: 3.0 ± 0.1"}]
    last = "Known on the host cubic: 3.0 ± 0.1 (tuner congestion)"
    assert lines_of(CHANGE, known=known)[-1] == last
    assert lines_of(known=known) == ["Nothing was changed yet: c17", last]


def test_each_kind_of_decision_has_a_word_that_fits_its_column() -> None:
    of_the_daemon = {"started", "paused", "resumed", "lost", "degraded"}
    words = {kind: HAPPENED.get(kind, kind) for kind in KINDS}
    assert {kind for kind in KINDS if kind not in HAPPENED} <= of_the_daemon | {
        "chosen"
    }
    assert max(map(len, words.values())) < _LABEL


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ("found", "as found, 4096 16384 4194304 (1 write)"),
        ("trial", "8 MiB on trial, found at 4 MiB"),
        ("yielded", "the admin's, 4096 16384 8388608"),
        ("paused", "paused at 8 MiB"),
        ("odd", ": odd"),
    ],
)
def test_how_it_stands_now(state: str, words: str) -> None:
    told = lines_of(tunables=[{**TUNABLE, "state": state}])
    assert told[0] == "Nothing was changed yet: c17"
    assert words in told[1]


def test_where_nothing_happened_is_only_counted() -> None:
    untouched = {**TUNABLE, "state": "found", "changes": 0}
    told = lines_of(CHANGE, tunables=[untouched, TUNABLE, untouched])
    assert told[-1] == "Now as it was found in 2 other namespaces"
    assert lines_of(tunables=[untouched])[-1] == "Now as it was found in 1 namespace"


def test_without_a_daemon_the_last_record_tells_how_to_undo() -> None:
    told = lines_of(CHANGE, KEPT)
    undo = "undo sysctl -w net.ipv4.tcp_wmem='4096 16384 4194304'"
    assert told.index(undo) > told.index("why goodput rose +56%")
    assert told.count(undo) == 1
    advice = record("advice", undo="sysctl -w x='1'")
    assert lines_of(advice)[-1] == "do sysctl -w x='1'"


def test_nothing_in_a_record_acts_upon_a_terminal() -> None:
    evil = record(
        "change\x1b",
        why="a\nb",
        tunable="x\x1b[31m",
        evidence={"a\x1b": "\n", "before": "\x07"},
    )
    known = [{"tuner": "\x1b", "text": "\x1b"}]
    answer = {"records": [evil], "tunables": [], "learned": ["\x1b"], "known": known}
    text = tale("c\x1b", answer)
    assert set(text) <= {"\n", *map(chr, range(32, 127))}
