from __future__ import annotations

import os
from pathlib import Path

import pytest

from bpftune.control import past
from bpftune.control.framing import CallError
from bpftune.control.past import AT_ONCE, Found, Wanted, concerns, is_destination
from bpftune.history import History, Told
from bpftune.kernel.errors import KernelError
from bpftune.records import Record
from tests.unit.fakes import BLUE, FOUND, RED, TCP_WMEM


def told(**more: object) -> Told:
    return {
        "time": "2026-11-24T18:00:22.508Z",
        "tunable": "a.b",
        "netns": {"cookie": 2, "name": "red"},
        "change": "c7",
        **more,
    }


@pytest.mark.parametrize(
    ("wanted", "matches"),
    [
        (Wanted(), True),
        (Wanted(tunable="a.b"), True),
        (Wanted(tunable="a.c"), False),
        (Wanted(netns="red"), True),
        (Wanted(netns="#2"), True),
        (Wanted(netns="#3"), False),
        (Wanted(since="2026-11-24T18:00:22Z"), True),
        (Wanted(since="2026-11-24T18:00:22.508Z"), True),
        (Wanted(since="2026-11-24T18:00:22.509Z"), False),
        (Wanted(since="2026-11-24T18:00:23Z"), False),
    ],
)
def test_matches_what_was_asked_for(wanted: Wanted, matches: bool) -> None:
    wanted.check()
    assert wanted.matches(told()) is matches


def test_a_record_about_no_namespace_is_in_none() -> None:
    assert not Wanted(netns="red").matches(told(netns=None))


@pytest.mark.parametrize(
    "wanted",
    [
        *(Wanted(since=text) for text in ("", "yesterday", "2026-11-24", "2026")),
        Wanted(since="2026-11-24T18:00:22+01:00"),
        *(Wanted(limit=number) for number in (0, -1, past.MOST_RECORDS + 1)),
    ],
)
def test_what_cannot_be_meant_is_refused(wanted: Wanted) -> None:
    with pytest.raises(CallError):
        wanted.check()


def test_the_last_are_returned_and_the_daemon_goes_on_meanwhile(tmp_path: Path) -> None:
    history = History(tmp_path)
    for number in range(3 * AT_ONCE):
        netns = (RED, BLUE)[number % 2]
        record = Record("change", str(number), "t", TCP_WMEM.name, netns, FOUND, FOUND)
        assert history.write(record, 1_000_000.0 + number)
    history.close()
    steps = past.read(tmp_path, Wanted(netns="red").matches, 2)
    assert [next(steps) for _ in range(3)] == [None] * 3
    assert whys(next(steps)) == ["146", "148"]


def whys(found: Found | None) -> list[str]:
    assert found is not None
    told = [one["why"] for one in found if one is not None]
    assert len(found) == len(told)
    return told


def test_what_was_found_is_there_whatever_is_written_meanwhile(tmp_path: Path) -> None:
    history = History(tmp_path, file_bytes=2000)
    for number in range(200):
        assert history.write(Record("change", str(number)), 1_000_000.0 + number)
    steps = past.read(tmp_path, Wanted().matches, 10_000)
    found = next(one for one in steps if one is not None)
    assert 50 < len(found) < 200
    each = iter(found)
    told = [next(each)]
    for number in range(200, 500):  # of the files that it was in, none has a name
        assert history.write(Record("change", str(number)), 1_000_000.0 + number)
    history.close()
    told += each
    last = [str(number) for number in range(200 - len(found), 200)]
    assert [one["why"] for one in told if one is not None] == last


def test_a_file_that_was_cut_short_meanwhile_costs_its_records(tmp_path: Path) -> None:
    history = History(tmp_path)
    for number in range(20):
        assert history.write(Record("change", str(number)), 1_000_000.0 + number)
    history.close()
    steps = past.read(tmp_path, Wanted().matches, 100)
    found = next(one for one in steps if one is not None)
    os.truncate(tmp_path / "history.jsonl", 0)
    assert list(found) == []


def test_many_records_are_read_in_steps(tmp_path: Path) -> None:
    history = History(tmp_path)
    for number in range(3 * AT_ONCE):
        assert history.write(Record("change", str(number)), 1_000_000.0 + number)
    history.close()
    steps = past.read(tmp_path, Wanted().matches, 10_000)
    found = next(one for one in steps if one is not None)
    assert [one is None for one in found].count(True) == 3


def open_files() -> list[str]:
    return sorted(map(str, Path("/proc/self/fd").iterdir()))


def test_all_files_are_closed_in_the_end(tmp_path: Path) -> None:
    history = History(tmp_path, file_bytes=2000)
    for number in range(50):
        assert history.write(Record("change", str(number)), 1_000_000.0 + number)
    history.close()
    before = open_files()
    steps = past.read(tmp_path, Wanted().matches, 10_000)
    next(one for one in steps if one is not None)
    assert len(open_files()) > len(before)
    steps.close()  # type: ignore[attr-defined]
    assert open_files() == before


def test_no_history_is_no_record(tmp_path: Path) -> None:
    (found,) = past.read(tmp_path / "none", Wanted().matches, 9)
    assert whys(found) == []


def test_a_history_that_cannot_be_read_is_an_error_that_says_so(tmp_path: Path) -> None:
    (tmp_path / "history.jsonl").mkdir()
    with pytest.raises(KernelError, match="history cannot be read"):
        list(past.read(tmp_path, Wanted().matches, 9))


@pytest.mark.parametrize("about", ["10.0.0.0/24", "2001:db8::/48", "::1", "1.2.3.4"])
def test_knows_a_destination(about: str) -> None:
    assert is_destination(about)


@pytest.mark.parametrize("about", ["c17", "net.ipv4.tcp_wmem", "", "kernel.x", "fe.d"])
def test_knows_what_is_none(about: str) -> None:
    assert not is_destination(about)


def test_a_story_is_of_a_change_a_tunable_or_a_destination() -> None:
    assert concerns("c7")(told())
    assert not concerns("c8")(told())
    assert concerns("a.b")(told())
    assert not concerns("c7")(told(change=None))
    tells = concerns("10.0.0.0/24")
    assert not tells(told())
    assert tells(told(evidence={"destination": "10.0.0.0/24"}))
    assert tells(told(destination="10.0.0.0/24"))
    assert not tells(told(destination="10.0.1.0/24"))
    assert tells(told(trial={"destination": "10.0.0.0/24"}))
    assert not tells(told(evidence={"destination": ["10.0.0.0/24"]}, trial="x"))
