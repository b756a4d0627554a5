from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpftune.cli import names
from bpftune.cli.errors import CommandError, ExitCode
from bpftune.cli.names import (
    destination_name,
    moment,
    netns_name,
    tunable_name,
)

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def proc_sys(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("net/ipv4/tcp_wmem", "net/core/rmem_max"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "net/ipv4/conf").mkdir()
    monkeypatch.setattr(names, "PROC_SYS", tmp_path)


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("tcp_wmem", "net.ipv4.tcp_wmem"),
        ("rmem_max", "net.core.rmem_max"),
        ("net.ipv4.tcp_wmem", "net.ipv4.tcp_wmem"),
        ("net/ipv4/tcp_wmem", "net.ipv4.tcp_wmem"),
        ("conf", "conf"),  # a directory
        ("c17", "c17"),
        ("tcp_buffer", "tcp_buffer"),
        ("203.0.113.0/24", "203.0.113.0/24"),
        ("2001:db8::/48", "2001:db8::/48"),
        ("net/../x", "net/../x"),
        ("", ""),
        ("a\0b", "a\0b"),
    ],
)
def test_short_names_are_those_that_records_use(typed: str, meant: str) -> None:
    assert tunable_name(typed) == meant


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("203.0.113.7", "203.0.113.0/24"),
        ("203.0.113.0/24", "203.0.113.0/24"),
        ("::ffff:203.0.113.7", "203.0.113.0/24"),
        ("2001:db8:1:2::3", "2001:db8:1::/48"),
        ("fe80::1%eth0", "fe80::/48"),
        ("::1", "::/48"),
        ("c17", "c17"),
        ("net.ipv4.tcp_wmem", "net.ipv4.tcp_wmem"),
        ("1.2.3", "1.2.3"),
        ("", ""),
    ],
)
def test_an_address_stands_for_its_prefix(typed: str, meant: str) -> None:
    assert destination_name(typed) == meant


def test_a_number_is_the_cookie_of_a_namespace(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "7").touch()
    monkeypatch.setattr(names, "RUN_NETNS", tmp_path)
    typed = ["host", "web", "4711", "#4711", "7"]
    assert list(map(netns_name, typed)) == ["host", "web", "#4711", "#4711", "7"]


@given(st.text())
def test_any_word_is_a_name_or_stays(word: str) -> None:
    assert tunable_name(word)[-1:] == word[-1:]


@pytest.mark.parametrize(
    ("text", "ago"),
    [
        ("90s", timedelta(seconds=90)),
        ("30min", timedelta(minutes=30)),
        ("30m", timedelta(minutes=30)),
        ("2h", timedelta(hours=2)),
        (" 7 d", timedelta(days=7)),
    ],
)
def test_a_time_ago(text: str, ago: timedelta) -> None:
    assert moment(text, NOW) == NOW - ago


def test_a_time_of_day() -> None:
    assert moment("2026-01-31T11:00:00Z", NOW) == NOW - timedelta(hours=1)
    assert moment("2026-01-31T12:00:00+01:00", NOW) == NOW - timedelta(hours=1)
    assert (
        moment("2026-01-31", NOW) == datetime.fromisoformat("2026-01-31").astimezone()
    )


def test_what_is_no_time_is_told() -> None:
    with pytest.raises(CommandError, match="soon is no time") as told:
        moment("soon", NOW)
    assert told.value.code == ExitCode.USAGE


@given(st.text())
def test_any_text_is_a_time_or_an_error(text: str) -> None:
    with suppress(CommandError):
        assert moment(text, NOW).tzinfo is not None
