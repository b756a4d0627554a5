from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpftune.text import (
    one_line,
    printable,
    rate_words,
    rfc3339,
    seconds_words,
    size_words,
)

PRINTABLE = re.compile(r"[ -~]*")


@pytest.mark.parametrize("byte", range(256))
def test_every_byte_is_itself_or_an_escape(byte: int) -> None:
    plain = 0x20 <= byte < 0x7F and chr(byte) != "\\"
    assert printable(bytes([byte])) == (chr(byte) if plain else f"\\x{byte:02x}")


@given(st.binary(), st.integers(0, 200))
def test_printable_is_short_printable_ascii(data: bytes, limit: int) -> None:
    text = printable(data, limit)
    assert len(text) <= limit
    assert PRINTABLE.fullmatch(text)


@given(st.binary(max_size=50), st.binary(max_size=50))
def test_different_names_look_different(one: bytes, other: bytes) -> None:
    assert (printable(one, 200) == printable(other, 200)) == (one == other)


@given(st.binary(max_size=40))
def test_a_name_from_the_file_system_reads_like_its_bytes(data: bytes) -> None:
    text = data.decode("utf-8", "surrogateescape")
    assert printable(text, 200) == printable(data, 200)


@given(st.text(st.characters(categories=None), max_size=40))
def test_any_text_can_be_shown(text: str) -> None:
    assert PRINTABLE.fullmatch(printable(text))
    line = one_line(text)
    assert len(line.splitlines()) <= 1
    assert line.isprintable()


def test_a_cut_does_not_break_an_escape() -> None:
    assert printable(b"ab\n\n\n", 11) == r"ab\x0a..."
    assert printable(b"a" * 65) == "a" * 61 + "..."
    assert printable(b"a" * 64) == "a" * 64


def test_one_line_keeps_escapes_and_our_own_signs() -> None:
    assert one_line(r"uid 0 (a\x0ab) +1% ± 4%") == r"uid 0 (a\x0ab) +1% ± 4%"
    assert one_line("a\nb\x1b[31m\u202e") == r"a\x0ab\x1b[31m\xe2\x80\xae"
    assert len(one_line("\n" * 9000)) <= 4000


@pytest.mark.parametrize(
    ("n_bytes", "words"),
    [
        (0, "0 bytes"),
        (1023, "1023 bytes"),
        (1024, "1 KiB"),
        (16384, "16 KiB"),
        (87380, "85.3 KiB"),
        (1024**2 - 1, "1 MiB"),
        (4 << 20, "4 MiB"),
        (6 << 20, "6 MiB"),
        (1000 << 20, "1000 MiB"),
        (3 << 30, "3 GiB"),
        (-4096, "-4 KiB"),
    ],
)
def test_sizes_in_words(n_bytes: int, words: str) -> None:
    assert size_words(n_bytes) == words


@pytest.mark.parametrize(
    ("bytes_per_s", "words"),
    [
        (0, "0 bit/s"),
        (135e6 / 8, "135 Mbit/s"),
        (999.6e6 / 8, "1 Gbit/s"),
        (9.876e6 / 8, "9.88 Mbit/s"),
        (1.5e9 / 8, "1.5 Gbit/s"),
    ],
)
def test_rates_in_words(bytes_per_s: float, words: str) -> None:
    assert rate_words(bytes_per_s) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"),
        (40e-6, "40 us"),
        (0.25, "250 ms"),
        (0.9999, "1 s"),
        (64, "64 s"),
        (99.7, "1 min 40 s"),
        (600, "10 min"),
        (7500, "2 h 5 min"),
        (3599.9, "1 h"),
        (86400 * 3, "3 d"),
        (86400 * 3 + 7200, "3 d 2 h"),
        (-64, "-64 s"),
    ],
)
def test_durations_in_words(seconds: float, words: str) -> None:
    assert seconds_words(seconds) == words


@given(st.floats(-1e12, 1e15))
def test_words_never_fail(number: float) -> None:
    for words in (
        size_words(int(number)),
        rate_words(number),
        seconds_words(number),
    ):
        assert re.fullmatch(r"-?[0-9.]+ [A-Za-z/]+( [0-9]+ [a-z]+)?", words)


def test_times_are_rfc3339_in_utc() -> None:
    assert rfc3339(0) == "1970-01-01T00:00:00.000Z"
    assert rfc3339(1700000000.1239) == "2023-11-14T22:13:20.123Z"
