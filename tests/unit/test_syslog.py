from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpftune.kinds import KINDS
from bpftune.records import Record, as_line
from bpftune.syslog import SyslogTarget, encode
from tests.unit.any_record import any_record
from tests.unit.receivers import Message, Receiver, parse_message

NOON = 1_800_014_400.0
CHANGE = Record("change", "it pays (±1%)", "tcp_buffer")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log"


def test_a_message_is_as_syslog_has_them(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "UTC+3")
    time.tzset()
    target = SyslogTarget(path)
    with Receiver(path) as syslog:
        assert target.write(CHANGE, NOON)
        (data,) = syslog.datagrams()
    target.close()
    monkeypatch.undo()
    time.tzset()
    date = "Jan 15 09:00:00"
    assert parse_message(data) == Message(
        3, 5, date, "bpftune", os.getpid(), as_line(CHANGE)
    )


@given(any_record, st.integers(0, 2**33))
def test_any_record_is_a_message_of_one_line(record: Record, now_unix: int) -> None:
    message = parse_message(encode(record, now_unix, 1))
    assert message.text == as_line(record)
    assert message.text.isprintable()


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_has_its_severity(kind: str) -> None:
    message = parse_message(encode(Record(kind, "why"), 0, 1))
    assert message.severity == KINDS[kind].priority
    assert message.facility == 3


def test_a_day_of_one_digit_has_a_space_before_it() -> None:
    assert b">Jan  3 " in encode(CHANGE, 2 * 86400.0 + 43200, 1)


def test_syslog_may_come_late_and_restart(path: Path) -> None:
    target = SyslogTarget(path)
    for _ in range(2):
        assert not target.write(CHANGE, 0)
        assert target.trouble.startswith("syslog takes no records: ")
        with Receiver(path) as syslog:
            assert target.write(CHANGE, 0)
            assert len(syslog.datagrams()) == 1
    target.close()


def test_a_syslog_that_does_not_read_is_not_waited_for(path: Path) -> None:
    target = SyslogTarget(path)
    with Receiver(path) as syslog:
        took = 0
        while target.write(CHANGE, 0):
            took += 1
            assert took < 100_000
        assert target.trouble == ""
        assert len(syslog.datagrams()) == took
        assert target.write(CHANGE, 0)
    target.close()
