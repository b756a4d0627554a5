"""Names and numbers that Python and the BPF program share."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpftune.tuners.congestion import maps
from bpftune.tuners.congestion.maps import padded, text

HERE = Path(maps.__file__).parent
SOURCE = "".join(path.read_text() for path in HERE.glob("*.bpf.h"))


@given(st.text(st.characters(min_codepoint=1, max_codepoint=127), max_size=15))
def test_names_are_padded_and_back(name: str) -> None:
    assert len(padded(name)) == 16
    assert text(padded(name)) == name


@pytest.mark.parametrize("name", ["sixteen-letters-", "a\0b", "bbr\N{BULLET}"])
def test_what_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="is no name of"):
        padded(name)


@given(st.binary(max_size=16))
def test_any_bytes_of_bpf_make_a_text(name: bytes) -> None:
    assert len(text(name)) <= 16


def test_limits_are_those_of_the_program() -> None:
    defined = dict(re.findall(r"#define (\w+)\s+(\S.*?)(?:\t|$)", SOURCE, re.MULTILINE))
    assert defined["COUNTED_BYTES"] == str(maps.COUNTED_BYTES)
    assert defined["NAME_BYTES"] == str(maps.NAME_BYTES)
    assert defined["MEDIUM_BYTES"] == "(256 << 10)"
    assert defined["LARGE_BYTES"] == "(2 << 20)"
    assert maps.SIZES_BYTES == (256 << 10, 2 << 20)
    steps = re.search(r"window_class.*?\n}", SOURCE, re.DOTALL)
    assert steps is not None
    found = tuple(int(one) for one in re.findall(r"cwnd < (\d+)", steps[0]))
    assert found == maps.WINDOWS
    assert defined["WINDOWS"] == str(len(maps.WINDOWS) + 1)
