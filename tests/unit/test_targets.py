from __future__ import annotations

import fcntl
import json
import os
import select
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from bpftune.journald import JournaldTarget
from bpftune.records import Record, as_line
from bpftune.sink import Sink
from bpftune.syslog import SyslogTarget
from bpftune.targets import LineTarget, choose

LONG = Record("kept", "why", extra={"evidence": ["x" * 3000] * 80})


class Pipe:
    """A small pipe, and what came through it."""

    def __init__(self) -> None:
        self.reader, self.writer = os.pipe()
        fcntl.fcntl(self.writer, fcntl.F_SETPIPE_SZ, 8 * select.PIPE_BUF)
        self.capacity = fcntl.fcntl(self.writer, fcntl.F_GETPIPE_SZ)
        self.read = b""

    def fill(self) -> None:
        """Leave no room."""
        os.write(self.writer, b"x" * self.capacity)

    def drain(self) -> None:
        """Read what waits."""
        while select.select([self.reader], [], [], 0)[0]:
            data = os.read(self.reader, 1 << 16)
            if not data:
                return
            self.read += data

    def close(self) -> None:
        for fd in (self.reader, self.writer):
            if fd >= 0:
                os.close(fd)
        self.reader = self.writer = -1


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    pipe = Pipe()
    yield pipe
    pipe.close()


def test_sentences_or_objects_one_a_line(pipe: Pipe) -> None:
    record = Record("started", "±1")
    assert LineTarget(pipe.writer).write(record, 0)
    assert LineTarget(pipe.writer, json_lines=True).write(record, 0)
    pipe.drain()
    first, second = pipe.read.decode().splitlines()
    assert first == as_line(record)
    assert json.loads(second)["why"] == "±1"


def test_does_not_wait_for_a_reader_that_sleeps(pipe: Pipe) -> None:
    sink = Sink([LineTarget(pipe.writer)])
    pipe.fill()
    for number in range(3):
        sink.write(Record("degraded", f"{number}"))
    pipe.drain()
    pipe.read = b""
    sink.write(Record("degraded", "last"))
    pipe.drain()
    assert pipe.read.decode().splitlines() == [
        *(f"bpftune degraded: {number}" for number in range(3)),
        "bpftune degraded: last",
    ]
    sink.close()


def test_a_line_longer_than_the_pipe_is_ended_before_the_next(pipe: Pipe) -> None:
    target = LineTarget(pipe.writer, json_lines=True)
    assert target.write(LONG, 0)
    assert not target.write(Record("kept", "lost"), 0)
    for _ in range(100):
        pipe.drain()
        if target.write(Record("kept", "next"), 0):
            break
    pipe.drain()
    lines = pipe.read.decode().splitlines()
    assert [json.loads(line)["why"] for line in lines] == ["why", "next"]
    assert len(lines[0]) > 7 * pipe.capacity


def test_a_reader_that_left_is_given_up(pipe: Pipe) -> None:
    os.close(pipe.reader)
    pipe.reader = -1
    target = LineTarget(pipe.writer)
    assert not target.write(Record("started", "a"), 0)
    assert target.trouble == "records cannot be written there: Broken pipe"
    assert not target.write(Record("stopped", "b"), 0)


def test_a_closed_descriptor_is_given_up(pipe: Pipe) -> None:
    target = LineTarget(pipe.writer)
    os.close(pipe.writer)
    pipe.writer = -1
    assert not target.write(Record("started", "a"), 0)
    assert target.trouble


def test_somebody_else_may_have_made_it_non_blocking(pipe: Pipe) -> None:
    os.set_blocking(pipe.writer, False)
    pipe.fill()
    target = LineTarget(pipe.writer)
    assert not target.write(Record("started", "a"), 0)
    assert target.trouble == ""


def test_the_descriptor_stays_open(pipe: Pipe) -> None:
    LineTarget(pipe.writer).close()
    assert stat.S_ISFIFO(os.fstat(pipe.writer).st_mode)


# --- the choice --------------------------------------------------------------


@pytest.fixture
def sockets(tmp_path: Path) -> Iterator[tuple[Path, Path]]:
    """Return paths of a journald and a syslog that are there."""
    paths = tmp_path / "journald", tmp_path / "log"
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journald,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as syslog,
    ):
        journald.bind(str(paths[0]))
        syslog.bind(str(paths[1]))
        yield paths


def chosen(
    fd: int, stream: str | None, journald: Path, syslog: Path, *, lines: bool = False
) -> type:
    environment = {} if stream is None else {"JOURNAL_STREAM": stream}
    target = choose(
        fd,
        json_lines=lines,
        environment=environment,
        journald=journald,
        syslog=syslog,
    )
    target.close()
    return type(target)


def stream_of(fd: int) -> str:
    about = os.fstat(fd)
    return f"{about.st_dev}:{about.st_ino}"


def test_a_service_whose_errors_go_to_the_journal_uses_it_natively(
    pipe: Pipe, sockets: tuple[Path, Path]
) -> None:
    assert chosen(pipe.writer, stream_of(pipe.writer), *sockets) is JournaldTarget


@pytest.mark.parametrize("stream", [None, "", "0:0", "nonsense", "1:2:3"])
def test_errors_that_go_elsewhere_stay_lines(
    pipe: Pipe, sockets: tuple[Path, Path], stream: str | None
) -> None:
    """JOURNAL_STREAM is inherited by children whose errors were redirected."""
    assert chosen(pipe.writer, stream, *sockets) is LineTarget


def test_json_lines_are_lines_even_in_a_service(
    pipe: Pipe, sockets: tuple[Path, Path]
) -> None:
    stream = stream_of(pipe.writer)
    assert chosen(pipe.writer, stream, *sockets, lines=True) is LineTarget


def test_a_journal_without_its_socket_gets_lines(pipe: Pipe, tmp_path: Path) -> None:
    none = tmp_path / "none"
    assert chosen(pipe.writer, stream_of(pipe.writer), none, none) is LineTarget


def test_without_standard_error_the_journal_is_used_or_else_syslog(
    sockets: tuple[Path, Path], tmp_path: Path
) -> None:
    closed = os.open(os.devnull, os.O_WRONLY)
    os.close(closed)
    null = os.open(os.devnull, os.O_WRONLY)
    try:
        for fd in (null, 1 << 20):
            assert chosen(fd, None, *sockets) is JournaldTarget
            assert chosen(fd, None, tmp_path / "none", sockets[1]) is SyslogTarget
    finally:
        os.close(null)
