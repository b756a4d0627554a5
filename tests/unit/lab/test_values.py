from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpftune.lab.errors import LabError
from bpftune.lab.values import (
    ValueTextError,
    format_duration,
    format_rate,
    format_size,
    parse_count,
    parse_duration_ns,
    parse_family,
    parse_rate,
    parse_seconds,
    parse_share,
    parse_size,
)


def test_reads_values_as_people_write_them() -> None:
    assert parse_rate("300mbit") == 300_000_000
    assert parse_rate("1.5 Gbit") == 1_500_000_000
    assert parse_duration_ns("200ms") == 200_000_000
    assert parse_duration_ns("0.5s") == 500_000_000
    assert parse_seconds("90") == 90
    assert parse_seconds("2min") == 120
    assert parse_size("4MiB") == 4 << 20
    assert parse_size("4MB") == 4_000_000
    assert parse_size("65536") == 65536
    assert parse_share("0.3%") == pytest.approx(0.003)
    assert parse_share("0.003") == pytest.approx(0.003)
    assert parse_count("16") == 16
    assert parse_family("6") == 6


@pytest.mark.parametrize("text", ["", "mbit", "300", "-1mbit", "3furlong", "1bit"])
def test_refuses_what_is_no_rate(text: str) -> None:
    with pytest.raises(ValueTextError):
        parse_rate(text)


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "many", "²"])
def test_refuses_what_is_no_count(text: str) -> None:
    with pytest.raises(ValueTextError):
        parse_count(text)


def test_refuses_other_nonsense() -> None:
    with pytest.raises(ValueTextError, match="more than all"):
        parse_share("101%")
    with pytest.raises(ValueTextError, match="4 or 6"):
        parse_family("5")
    with pytest.raises(ValueTextError, match="200ms"):
        parse_duration_ns("200")


@given(st.text())
def test_any_text_is_a_value_or_an_error_of_the_lab(text: str) -> None:
    for parse in (parse_rate, parse_size, parse_share, parse_seconds, parse_count):
        try:
            assert parse(text) >= 0
        except LabError:
            continue


def test_writes_values_for_people() -> None:
    assert format_rate(289_600_000) == "289.6 Mbit/s"
    assert format_size(4 << 20) == "4 MiB"
    assert format_size(1536) == "1.5 KiB"
    assert format_size(100) == "100 B"
    assert format_duration(0.2) == "200 ms"
    assert format_duration(1.5) == "1.5 s"
    assert format_duration(0.000_015) == "15 us"
