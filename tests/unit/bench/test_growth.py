from __future__ import annotations

import os

from bench.footprint import Footprint, footprint
from bench.growth import numbers, report, row

MIB = 1 << 20


def test_of_a_process_without_programs() -> None:
    mine = footprint(os.getpid())
    assert mine.rss_bytes > MIB
    assert (mine.maps_bytes, mine.programs_bytes) == (0, 0)
    assert mine.all_bytes == mine.rss_bytes
    descriptor = os.open(os.devnull, os.O_RDONLY)
    try:
        assert footprint(os.getpid()).files == mine.files + 1
    finally:
        os.close(descriptor)


def test_a_row_is_of_the_span_between_two_looks() -> None:
    first = Footprint(20 * MIB, 2 * MIB, MIB // 2, 80, cpu_s=1.0, wakeups=100)
    last = Footprint(21 * MIB, 2 * MIB, MIB // 2, 81, cpu_s=1.3, wakeups=103)
    made = row("namespaces", 1000, 0.5, first, last, span_s=30.0)
    assert made["all_bytes"] == 23.5 * MIB
    assert (made["wakeups_per_minute"], round(made["cpu_share"], 6)) == (6.0, 0.01)
    told = "| 1,000 namespaces | 0.50 | 21.0 | 2.0 | 0.5 | 23.5 | 81 | 6.0 | 1.00 |"
    assert report([made]).splitlines()[-1] == told


def test_numbers_are_read_from_a_list() -> None:
    assert numbers("10,1000") == [10, 1000]
    assert numbers("") == []
