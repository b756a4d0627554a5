"""Files are not opened as text where that is done again and again."""

from __future__ import annotations

import random
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from bpftune.atomic import replace_file
from bpftune.kernel.files import read_text
from bpftune.kernel.memory import memory_facts
from bpftune.kernel.process import maps_bytes, rss_bytes

NAME_BYTES = {
    sys.getsizeof(name) for name in ("incrementaldecoder", "incrementalencoder")
}
TIMES = 500
MOST = 20


def names_kept(do: Callable[[], object]) -> int:
    """Return how many of the names that io.open() makes are kept.

    Between calls others allocate and free, so that each name has its own address.
    """
    chance = random.Random(1)
    kept: list[str] = []
    do()
    tracemalloc.start()
    try:
        for number in range(TIMES):
            kept.append("x" * chance.randrange(14, 30) + str(number))
            if len(kept) > 100:
                kept.pop(chance.randrange(100))
            do()
        kept.clear()
        traces = tracemalloc.take_snapshot().traces
        return sum(trace.size in NAME_BYTES for trace in traces)
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("read", [memory_facts, rss_bytes, maps_bytes])
def test_to_look_at_memory_keeps_none(read: Callable[[], object]) -> None:
    assert names_kept(read) < MOST


def test_to_replace_a_file_keeps_none(tmp_path: Path) -> None:
    assert names_kept(lambda: replace_file(tmp_path / "x", "\u00e9")) < MOST
    assert (tmp_path / "x").read_text("utf-8") == "\u00e9"


def test_others_would_be_kept(tmp_path: Path) -> None:
    """Else this proves nothing: CPython may have been mended."""
    file = tmp_path / "x"
    file.write_text("12 \u00e9", "utf-8")
    assert read_text(file) == "12 \u00e9"
    if names_kept(lambda: file.read_text("utf-8")) < MOST:
        pytest.skip("this Python keeps no names of attributes")
    assert names_kept(lambda: read_text(file)) < MOST
