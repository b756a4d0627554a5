from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import given

from bpftune.model import Netns, NetnsCookie
from bpftune.records import Record, as_json, as_line
from tests.unit.any_record import any_record

if TYPE_CHECKING:
    from collections.abc import Callable

WEB = Netns(NetnsCookie(428), "web")
HOST = Netns(NetnsCookie(1), "host")
WMEM = "net.ipv4.tcp_wmem"
FOUR = (4096, 16384, 4 << 20)
EIGHT = (4096, 16384, 8 << 20)
FIELDS = {
    "time",
    "schema",
    "record",
    "tuner",
    "tunable",
    "netns",
    "old",
    "new",
    "why",
    "change",
    "undo",
    "mode",
}


def change(**other: object) -> Record:
    fields: dict[str, object] = {
        "record": "change",
        "why": "12 of 40 sockets were held back",
        "tuner": "tcp_buffer",
        "tunable": WMEM,
        "netns": WEB,
        "old": FOUR,
        "new": EIGHT,
        **other,
    }
    return Record(**fields)  # type: ignore[arg-type]


@given(any_record)
def test_any_record_is_one_harmless_line(record: Record) -> None:
    line = as_line(record)
    assert line.isprintable()
    assert len(line.splitlines()) == 1


@given(any_record)
def test_any_record_is_one_json_object(record: Record) -> None:
    line = as_json(record, 1.7e9)
    assert line.isprintable()
    assert line.isascii()
    parsed = json.loads(line, parse_constant=pytest.fail)
    assert parsed.keys() >= FIELDS
    assert parsed["schema"] == 1
    assert parsed["record"] == record.record
    assert parsed["old"] == (None if record.old is None else list(record.old))


@pytest.mark.parametrize("byte", range(256))
@pytest.mark.parametrize("as_text", [as_line, lambda r: as_json(r, 0)])
def test_no_byte_of_a_name_breaks_a_line(
    byte: int, as_text: Callable[[Record], str]
) -> None:
    name = bytes([byte]).decode("utf-8", "surrogateescape")
    record = change(netns=Netns(NetnsCookie(2), name), why=name, undo=name, tuner=name)
    text = as_text(record)
    assert text.isprintable()
    assert len(text.splitlines()) == 1


@pytest.mark.parametrize(
    ("record", "line"),
    [
        (
            change(undo="ip netns exec web sysctl -w net.ipv4.tcp_wmem='4096 1 2'"),
            "tcp_wmem max 4 MiB -> 8 MiB in netns web (12 of 40 sockets were held "
            "back). Undo: ip netns exec web sysctl -w net.ipv4.tcp_wmem='4096 1 2'",
        ),
        (
            change(record="kept", why="their goodput per busy second rose 70%"),
            "tcp_wmem max 8 MiB kept in netns web: their goodput per busy second "
            "rose 70%",
        ),
        (
            change(
                record="taken_back",
                old=EIGHT,
                new=FOUR,
                why="no gain (+1% ± 4%), next try in 64 s",
            ),
            "tcp_wmem max 8 MiB -> 4 MiB in netns web, taken back: no gain "
            "(+1% ± 4%), next try in 64 s",
        ),
        (
            change(record="yielded", why="uid 0 (sysctl) set it to 1 2 3"),
            "tcp_wmem in netns web is the admin's now: uid 0 (sysctl) set it to 1 2 3",
        ),
        (
            change(record="yielded", why="file", netns=HOST, old=None, new=None),
            "tcp_wmem on the host is the admin's now: file",
        ),
        (
            change(netns=HOST, new=(4096, 32768, 4 << 20)),
            "tcp_wmem default 16 KiB -> 32 KiB on the host (12 of 40 sockets were "
            "held back)",
        ),
        (
            change(netns=Netns(NetnsCookie(77)), new=(4096, 32768, 8 << 20)),
            "tcp_wmem 4 KiB 16 KiB 4 MiB -> 4 KiB 32 KiB 8 MiB in netns #77 (12 of "
            "40 sockets were held back)",
        ),
        (
            change(new=(4096, 16384, (4 << 20) + 1)),
            "tcp_wmem max 4194304 -> 4194305 in netns web (12 of 40 sockets were "
            "held back)",
        ),
        (
            change(tunable="vm.swappiness", netns=None, old=(60,), new=(10,)),
            "vm.swappiness 60 -> 10 (12 of 40 sockets were held back)",
        ),
        (
            change(record="stopped", why="set in 2 writes", undo="sysctl -w x='1'"),
            "tcp_wmem max stays at 8 MiB in netns web, found at 4 MiB: set in 2 "
            "writes. Undo: sysctl -w x='1'",
        ),
        (
            Record(
                "chosen",
                "bbr from now on: 3.0 ± 0.1",
                "congestion",
                netns=HOST,
                extra={"destination": "203.0.113.0/24"},
            ),
            "congestion 203.0.113.0/24 on the host: bbr from now on: 3.0 ± 0.1",
        ),
        (
            Record(
                "degraded",
                "no room",
                "congestion",
                netns=WEB,
                extra={"destination": "203.0.113.0/24"},
            ),
            "congestion degraded 203.0.113.0/24 in netns web: no room",
        ),
        (
            Record("started", "3 tuners, 20 ms"),
            "bpftune started: 3 tuners, 20 ms",
        ),
        (
            Record("degraded", "program x refused", "tcp_buffer"),
            "tcp_buffer degraded: program x refused",
        ),
    ],
)
def test_lines_read_like_sentences(record: Record, line: str) -> None:
    assert as_line(record) == line


def test_json_has_whole_values_and_the_namespace() -> None:
    parsed = json.loads(
        as_json(change(change="7", extra={"proved": True, "why": "no"}), 0)
    )
    assert parsed["time"] == "1970-01-01T00:00:00.000Z"
    assert parsed["old"] == [4096, 16384, 4194304]
    assert parsed["netns"] == {"cookie": 428, "name": "web"}
    assert parsed["change"] == "7"
    assert parsed["proved"] is True
    assert parsed["why"] == "12 of 40 sockets were held back"


def test_json_has_the_mode() -> None:
    assert json.loads(as_json(change(mode="observe"), 0))["mode"] == "observe"
