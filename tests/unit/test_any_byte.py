"""Every byte in every text that comes from outside, in every target."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from bpftune.history import History, read
from bpftune.journald import JournaldTarget
from bpftune.model import Facts, Netns, NetnsCookie, ValueChanged, Yield
from bpftune.records import Record
from bpftune.sink import Sink
from bpftune.syslog import SyslogTarget
from bpftune.targets import LineTarget
from bpftune.text import printable
from bpftune.tuners.sysctl import tuner, value_of
from tests.unit.fakes import TCP_WMEM, facts
from tests.unit.receivers import Receiver, parse_entry, parse_message


class Everywhere:
    """A sink with all targets there are, and what came out of each."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.journald = Receiver(directory / "journald")
        self.syslog = Receiver(directory / "log")
        self.files = [os.memfd_create(name) for name in ("lines", "json")]
        lines, objects = self.files
        self.sink = Sink(
            [
                LineTarget(lines),
                LineTarget(objects, json_lines=True),
                JournaldTarget(directory / "journald"),
                SyslogTarget(directory / "log"),
                History(directory / "state"),
            ]
        )

    def close(self) -> None:
        self.sink.close()
        for receiver in (self.journald, self.syslog):
            receiver.socket.close()
        for fd in self.files:
            os.close(fd)

    def file(self, number: int) -> list[str]:
        """Return the lines of a file, which end in newlines and nothing else."""
        data = os.pread(self.files[number], 1 << 20, 0)
        text, end, rest = data.decode().rpartition("\n")
        assert (end, rest) == ("\n", "")
        return text.split("\n")


@pytest.fixture
def everywhere(tmp_path: Path) -> Iterator[Everywhere]:
    with closing(Everywhere(tmp_path)) as made:
        yield made


def yielded(name: bytes, comm: bytes, facts_now: Facts) -> Record:
    """Return the record of a change by *comm* in the namespace *name*."""
    event = ValueChanged(
        NetnsCookie(7), TCP_WMEM, (1, 2, 3), value_of(comm), 1000, comm
    )
    (request,) = tuner.event_handler(event, facts_now)
    assert isinstance(request, Yield)
    netns = Netns(NetnsCookie(7), name.decode("utf-8", "surrogateescape"))
    return Record(
        "yielded",
        request.why,
        "sysctl",
        TCP_WMEM.name,
        netns,
        extra={"by_uid": request.uid, "by_comm": request.comm, "text": comm},
    )


def check_texts(texts: list[str], wanted: str) -> None:
    """Each is one line that no terminal acts upon, and one has what was *wanted*."""
    for text in texts:
        assert text.isprintable(), text
        assert len(text.splitlines()) <= 1
    assert any(wanted in text for text in texts)


@pytest.mark.parametrize("byte", range(256))
def test_any_byte_of_any_name_is_harmless_everywhere(
    byte: int, everywhere: Everywhere
) -> None:
    text = b"a" + bytes([byte]) + b"b"
    record = yielded(text, text, facts())
    everywhere.sink.write(record)
    shown = printable(text)

    (line,) = everywhere.file(0)
    check_texts([line], f"in netns {shown} is the admin's now: uid 1000 ({shown})")

    (written,) = everywhere.file(1)
    check_texts([written], "")
    told = json.loads(written, parse_constant=pytest.fail)
    assert told["netns"]["name"] == told["by_comm"] == told["text"] == shown

    (datagram,) = everywhere.journald.datagrams()
    entry = {name: value.decode() for name, value in parse_entry(datagram).items()}
    check_texts(list(entry.values()), shown)
    assert entry["BPFTUNE_BY_COMM"] == entry["BPFTUNE_NETNS"] == shown
    assert json.loads(entry["BPFTUNE_EVIDENCE"]) == {"text": shown}
    assert entry["MESSAGE"] == line

    (datagram,) = everywhere.syslog.datagrams()
    message = parse_message(datagram)
    assert message.text == line
    assert message.identifier == "bpftune"

    assert list(read(everywhere.directory / "state")) == [told]


@pytest.mark.parametrize(
    "text",
    [
        b"\n<0>Jan  1 00:00:00 kernel: panic",
        b"a\nMESSAGE=forged\nPRIORITY=0\n",
        b"\x1b]0;title\x07\x1b[2J",
        "\u202eevil\u2028\u0085".encode(),
        b'","record":"forged","x":"',
        bytes(range(256)),
    ],
)
def test_nothing_is_forged(text: bytes, everywhere: Everywhere) -> None:
    record = yielded(text, text[:16], facts())
    for _ in range(2):
        everywhere.sink.write(record)
    everywhere.sink.close()
    assert len(everywhere.file(0)) == 2
    for datagram in everywhere.journald.datagrams():
        entry = parse_entry(datagram)
        assert entry["PRIORITY"] == b"5"
        assert b"\n" not in b"".join(entry.values())
    for datagram in everywhere.syslog.datagrams():
        assert parse_message(datagram).text.isprintable()
    for told in read(everywhere.directory / "state"):
        assert told["record"] == "yielded"
