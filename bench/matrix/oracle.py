"""The best that fixed values set by hand can do, found by trying them: pure.

A grid of buffer limits and algorithms. What is chosen is the least that comes close
to the best of those that nobody pays for.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, NamedTuple

from bpftune.lab.values import format_size

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bench.matrix.cases import Case

CONTROLS = ("cubic", "bbr")
CLOSE = 1 / 1.05
"""As good as the best: less is within what two runs of the same differ by."""

PAID_AT_MOST = 0.9
"""What the other measures have to keep, as a share of what they are untuned."""

Levels = dict[str, float | None]


class Point(NamedTuple):
    """Values set at both ends; limits in bytes."""

    wmem_bytes: int
    rmem_bytes: int
    control: str

    def words(self) -> str:
        """Say it shortly."""
        sizes = format_size(self.wmem_bytes), format_size(self.rmem_bytes)
        return f"{self.control}, tcp_wmem {sizes[0]}, tcp_rmem {sizes[1]}"

    def as_sysctls(self) -> str:
        """Return the file of values; the first two numbers are the kernel's own."""
        return (
            f"net.ipv4.tcp_wmem = 4096 16384 {self.wmem_bytes}\n"
            f"net.ipv4.tcp_rmem = 4096 131072 {self.rmem_bytes}\n"
            f"net.ipv4.tcp_congestion_control = {self.control}\n"
        )


def grid(case: Case, controls: Sequence[str] = CONTROLS) -> list[Point]:
    """Return the points of *case*, what it has untuned first; none has less.

    *controls* are those of ``CONTROLS`` that the kernel offers.
    """
    scenario = case.at(case.fixed_s)
    points = []
    for size in case.sizes_bytes:
        wmem = max(size, scenario.wmem_max_bytes or 0)
        rmem = max(size, scenario.rmem_max_bytes or 0)
        points += [Point(wmem, rmem, control) for control in controls]
    return list(dict.fromkeys(points))


def choose(case: Case, levels: Sequence[Levels]) -> int:
    """Return which point of the grid is best, by the *levels* of the measures of each.

    Of those that leave the other measures most of what they are at the first point,
    it is the first within ``CLOSE`` of the best.
    """
    subject, *others = case.measures
    untuned = levels[0]
    gains = [subject.gain(one[subject.name], untuned[subject.name]) for one in levels]
    fair = [
        number
        for number, one in enumerate(levels)
        if all(
            (other.gain(one[other.name], untuned[other.name]) or 0) >= PAID_AT_MOST
            for other in others
        )
    ]
    best = max((gains[number] or 0 for number in fair), default=0)
    for number in fair:
        if best and (gains[number] or 0) >= CLOSE * best:
            return number
    return 0


def cache_key(case: Case, points: Sequence[Point], kernel: str) -> str:
    """Return the name under which a search is kept: all that decides what it finds."""
    decides: Mapping[str, Any] = {
        "parameters": asdict(case.at(case.fixed_s)),
        "steady_s": case.steady_s,
        "measures": [asdict(measure) for measure in case.measures],
        "points": points,
        "kernel": kernel,
    }
    told = json.dumps(decides, sort_keys=True).encode()
    return f"{case.name}-{hashlib.sha256(told).hexdigest()[:16]}"
