from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpftune.journald import JournaldTarget, encode, fields
from bpftune.kinds import KINDS
from bpftune.model import Netns, NetnsCookie
from bpftune.records import Record, as_line
from bpftune.sink import Sink
from tests.unit.any_record import any_record
from tests.unit.receivers import Receiver, parse_entry

YIELDED = Record(
    record="yielded",
    why="uid 1000 (sysctl) set it to 1 2 3",
    tuner="tcp_buffer",
    tunable="net.ipv4.tcp_wmem",
    netns=Netns(NetnsCookie(428), "web"),
    old=(4096, 16384, 4194304),
    new=(1, 2, 3),
    change="c7",
    extra={"by_uid": 0, "by_comm": b"sys\nctl", "proved": True},
    mode="tune",
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "socket"


def written(path: Path, record: Record) -> dict[str, bytes]:
    """Return what journald reads when *record* is written."""
    target = JournaldTarget(path)
    with Receiver(path) as journald:
        assert target.write(record, 0)
        (data,) = journald.datagrams()
    target.close()
    return parse_entry(data)


def test_an_entry_has_all_fields_that_apply(path: Path) -> None:
    assert written(path, YIELDED) == {
        "MESSAGE": as_line(YIELDED).encode(),
        "MESSAGE_ID": KINDS["yielded"].message_id.encode(),
        "PRIORITY": b"5",
        "SYSLOG_IDENTIFIER": b"bpftune",
        "BPFTUNE_CHANGE_ID": b"c7",
        "BPFTUNE_TUNER": b"tcp_buffer",
        "BPFTUNE_TUNABLE": b"net.ipv4.tcp_wmem",
        "BPFTUNE_NETNS": b"web",
        "BPFTUNE_OLD": b"4096 16384 4194304",
        "BPFTUNE_NEW": b"1 2 3",
        "BPFTUNE_REASON": b"uid 1000 (sysctl) set it to 1 2 3",
        "BPFTUNE_EVIDENCE": b'{"proved": true}',
        "BPFTUNE_BY_UID": b"0",
        "BPFTUNE_BY_COMM": rb"sys\x0actl",
        "BPFTUNE_MODE": b"tune",
    }


def test_what_does_not_apply_is_left_out(path: Path) -> None:
    entry = written(path, Record("degraded", "a program is missing"))
    assert entry.keys() == {
        *("MESSAGE", "MESSAGE_ID", "PRIORITY", "SYSLOG_IDENTIFIER", "BPFTUNE_REASON")
    }


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_has_its_id_and_priority(kind: str) -> None:
    entry = fields(Record(kind, "why", "tuner"))
    assert entry["MESSAGE_ID"] == KINDS[kind].message_id
    assert int(entry["PRIORITY"]) == KINDS[kind].priority


def test_a_kind_that_is_not_known_is_told_all_the_same(path: Path) -> None:
    entry = written(path, Record("of the future", "why"))
    assert entry["MESSAGE"] == b"bpftune of the future: why"
    assert "MESSAGE_ID" not in entry


@given(any_record)
def test_any_record_is_an_entry_of_printable_fields(record: Record) -> None:
    entry = parse_entry(encode(fields(record)))
    assert entry.keys() >= {"MESSAGE", "MESSAGE_ID", "PRIORITY", "SYSLOG_IDENTIFIER"}
    for value in entry.values():
        assert value.decode().isprintable()
    if "BPFTUNE_EVIDENCE" in entry:
        json.loads(entry["BPFTUNE_EVIDENCE"], parse_constant=pytest.fail)


names = st.from_regex(r"\A[A-Z][A-Z0-9_]{0,20}\Z")
texts = st.text(st.characters(categories=None), max_size=40) | st.sampled_from(
    ["\n", "a\nb", "=", "\nKEY=value\n", "\udc80"]
)


@given(st.dictionaries(names, texts, max_size=5))
def test_any_text_is_framed_so_that_it_is_read_back(entry: dict[str, str]) -> None:
    read = parse_entry(encode(entry))
    assert read == {
        name: text.encode("utf-8", "backslashreplace") for name, text in entry.items()
    }


def test_a_newline_takes_the_binary_form() -> None:
    assert encode({"KEY": "a\nb"}) == b"KEY\n\x03\0\0\0\0\0\0\0a\nb\n"


def test_what_is_too_large_for_a_datagram_goes_into_a_sealed_file(path: Path) -> None:
    evidence = ["x" * 3000] * 1000
    entry = written(path, Record("kept", "why", extra={"evidence": evidence}))
    assert json.loads(entry["BPFTUNE_EVIDENCE"]) == {"evidence": evidence}


def test_journald_may_come_late_and_restart(path: Path) -> None:
    target = JournaldTarget(path)
    for _ in range(2):
        assert not target.write(YIELDED, 0)
        assert target.trouble.startswith("the journal takes no records: ")
        with Receiver(path) as journald:
            assert target.write(YIELDED, 0)
            assert target.trouble == ""
            assert len(journald.datagrams()) == 1
    target.close()


def test_a_journald_that_died_leaves_a_socket_that_nobody_reads(path: Path) -> None:
    target = JournaldTarget(path)
    journald = Receiver(path)
    journald.socket.close()
    assert not target.write(YIELDED, 0)
    path.unlink()
    with Receiver(path):
        assert target.write(YIELDED, 0)
    target.close()


def test_a_journald_that_does_not_read_is_not_waited_for(path: Path) -> None:
    target = JournaldTarget(path)
    sink = Sink([target])
    with Receiver(path) as journald:
        took = 0
        while target.write(YIELDED, 0):
            took += 1
            assert took < 100_000
        assert target.trouble == ""
        for number in range(5):
            sink.write(Record("change", f"{number}"))
        assert len(journald.datagrams()) == took
        sink.close()
        entries = [parse_entry(data) for data in journald.datagrams()]
    assert [entry["BPFTUNE_REASON"] for entry in entries] == [
        f"{number}".encode() for number in range(5)
    ]
