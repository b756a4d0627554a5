from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpftune.model import Netns, NetnsCookie
from bpftune.records import KINDS, Record, Sink, as_json, as_line

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
}

any_text = st.one_of(
    st.text(st.characters(categories=None), max_size=20),
    st.binary(max_size=20).map(lambda data: data.decode("utf-8", "surrogateescape")),
)
any_value = st.none() | st.lists(st.integers(-(2**64), 2**64), max_size=4).map(tuple)
any_thing = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | any_text | st.binary(),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(any_text, inner, max_size=3)
    ),
    max_leaves=5,
)
any_record = st.builds(
    Record,
    record=st.sampled_from(KINDS),
    why=any_text,
    tuner=st.none() | any_text,
    tunable=st.none() | st.sampled_from([WMEM, "vm.swappiness", ""]) | any_text,
    netns=st.none() | st.builds(Netns, st.integers(0), st.none() | any_text),
    old=any_value,
    new=any_value,
    change=st.none() | any_text,
    undo=st.none() | any_text,
    extra=st.dictionaries(any_text, any_thing, max_size=3),
)


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


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def stream() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def sink(stream: io.StringIO, clock: Clock) -> Sink:
    return Sink(stream, monotonic=clock, wall=lambda: 0.0)


def lines(stream: io.StringIO) -> list[str]:
    return stream.getvalue().splitlines()


def test_equal_records_are_written_once_and_counted(
    sink: Sink, stream: io.StringIO, clock: Clock
) -> None:
    again = Record("rejected", "no memory", "tcp_buffer")
    for _ in range(42):
        sink.write(again)
    assert lines(stream) == ["tcp_buffer rejected: no memory"]
    clock.now += 599
    sink.tick()
    assert len(lines(stream)) == 1
    clock.now += 1
    sink.tick()
    assert lines(stream)[1:] == ["tcp_buffer rejected: no memory (41 times in 10 min)"]
    sink.tick()
    sink.close()
    assert len(lines(stream)) == 2
    sink.write(again)
    assert len(lines(stream)) == 3


def test_another_record_ends_the_count_first(sink: Sink, stream: io.StringIO) -> None:
    for why in ("a", "a", "a", "b"):
        sink.write(Record("rejected", why, "x"))
    assert lines(stream) == [
        "x rejected: a",
        "x rejected: a (2 times in 0 s)",
        "x rejected: b",
    ]


def test_tuners_do_not_end_each_others_counts(sink: Sink, stream: io.StringIO) -> None:
    for _ in range(50):
        sink.write(Record("rejected", "a", "x"))
        sink.write(Record("rejected", "b", "y"))
    assert lines(stream) == ["x rejected: a", "y rejected: b"]


def test_a_flood_is_cut_and_counted(
    sink: Sink, stream: io.StringIO, clock: Clock
) -> None:
    for number in range(1000):
        sink.write(Record("rejected", str(number), "flood"))
    sink.write(Record("rejected", "calm", "other"))
    assert len(lines(stream)) == Sink.BURST + 1
    clock.now += 1
    sink.write(Record("rejected", "later", "flood"))
    assert lines(stream)[-2:] == [
        f"flood lost: {1000 - Sink.BURST} records were not written, for there were "
        "too many",
        "flood rejected: later",
    ]


def test_what_was_held_back_is_told_at_the_end(sink: Sink, stream: io.StringIO) -> None:
    for number in range(Sink.BURST + 5):
        sink.write(Record("rejected", str(number), "flood"))
    sink.close()
    assert lines(stream)[-1].startswith("flood lost: 5 records")


def test_json_lines(stream: io.StringIO, clock: Clock) -> None:
    sink = Sink(stream, json_lines=True, monotonic=clock, wall=lambda: 0.0)
    sink.write(change())
    sink.write(change())
    sink.close()
    first, second = (json.loads(line) for line in lines(stream))
    assert first.keys() >= FIELDS
    assert second["times"] == 1


class Broken(io.StringIO):
    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error
        self.calls = 0

    def flush(self) -> None:
        self.calls += 1
        raise self.error


def test_survives_a_reader_that_left() -> None:
    stream = Broken(BrokenPipeError())
    sink = Sink(stream)
    sink.write(Record("started", "a"))
    sink.write(Record("stopped", "b"))
    assert sink.broken
    assert stream.calls == 1


def test_does_not_wait_for_a_slow_reader() -> None:
    stream = Broken(BlockingIOError())
    sink = Sink(stream)
    sink.write(Record("started", "a"))
    sink.write(Record("stopped", "b"))
    assert not sink.broken
    assert stream.calls == 2


def test_counts_what_a_sleeping_reader_missed() -> None:
    awake, stream = [False], io.StringIO()
    sink = Sink(stream, has_room=lambda: awake[0])
    for number in range(3):
        sink.write(Record("degraded", f"{number}"))
    assert stream.getvalue() == ""
    awake[0] = True
    sink.write(Record("degraded", "last"))
    first, second = stream.getvalue().splitlines()
    assert "3 records were not written" in first
    assert "last" in second


def test_survives_a_closed_stream() -> None:
    stream = io.StringIO()
    stream.close()
    Sink(stream).write(Record("started", "a"))
