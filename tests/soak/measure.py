"""What the daemon takes: memory, open files, entries of maps; and what it counted."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.soak.balance import Counted
from tests.soak.counted import ABOUT
from tests.system.talk import Reply, call
from tests.unit import openmetrics

PATIENCE_S = 60.0
"""So long an answer may take; on a machine that has too much to do, it does."""

PAGE_KIB = os.sysconf("SC_PAGESIZE") / 1024
"""Memory is counted in pages."""

_COUNTS = re.compile(r"handled (\d+), disordered (\d+)")


@dataclass(frozen=True)
class Sample:
    """The daemon at one time; *at_s* is monotonic, memory is in KiB.

    *blocks* are small ones that Python objects have; *maps* are entries by map,
    *room* what there is room for.
    """

    at_s: float
    rss_kib: float
    anonymous_kib: float
    files: int
    journal_bytes: int
    cpu_s: float
    namespaces: int
    events: int
    blocks: int
    lost: Mapping[str, int] = field(default_factory=dict)
    maps: Mapping[str, int] = field(default_factory=dict)
    room: Mapping[str, int] = field(default_factory=dict)


class Numbers:
    """The daemon's metrics at one time."""

    def __init__(self, text: str) -> None:
        """Read OpenMetrics *text*."""
        self._families = openmetrics.read(text)

    def by(self, family: str, label: str, **wanted: str) -> dict[str, int]:
        """Return the samples of *family* with these labels, summed up by *label*."""
        found: dict[str, int] = {}
        known = self._families.get(family)
        for one in known.samples if known is not None else ():
            if wanted.items() <= one.labels.items():
                key = one.labels.get(label, "")
                found[key] = found.get(key, 0) + int(one.value)
        return found

    def number(self, family: str, **wanted: str) -> float:
        """Return the sum of the samples of *family* with these labels."""
        known = self._families.get(family)
        return sum(
            one.value
            for one in (known.samples if known is not None else ())
            if wanted.items() <= one.labels.items()
        )


def asked(run_dir: Path, method: str, **parameters: object) -> Reply:
    """Return what the daemon answers. Raises OSError, and AssertionError on errors."""
    reply = call(run_dir / "control", method, PATIENCE_S, **parameters)
    assert "error" not in reply, f"{method} {parameters}: {reply}"
    found: Reply = reply["parameters"]
    return found


def numbers(run_dir: Path) -> Numbers:
    """Ask for the metrics."""
    return Numbers(asked(run_dir, "Metrics")["text"])


def sample(pid: int, run_dir: Path) -> Sample:
    """Measure the daemon. Raises OSError if it is not there."""
    told = numbers(run_dir)
    memory = _memory_kib(pid)
    return Sample(
        at_s=time.monotonic(),
        rss_kib=memory["Rss"],
        anonymous_kib=memory["Anonymous"],
        files=len(os.listdir(f"/proc/{pid}/fd")),  # noqa: PTH208 - links
        journal_bytes=(run_dir / "journal").stat().st_size,
        cpu_s=told.number("process_cpu_seconds"),
        namespaces=int(told.number("bpftune_netns_tracked")),
        events=int(told.number("bpftune_events_received")),
        blocks=int(told.number("bpftune_python_blocks")),
        lost=told.by("bpftune_events_lost", "cause"),
        maps=told.by("bpftune_map_entries", "map"),
        room=told.by("bpftune_map_capacity", "map"),
    )


def _memory_kib(pid: int) -> dict[str, float]:
    """Return the sums over all mappings, as they are: statm may be late by a batch."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    fields = (line.split() for line in lines)
    return {words[0].rstrip(":"): float(words[1]) for words in fields}


def counted(run_dir: Path) -> Counted:
    """Ask what became of the events of the tuner *counted*."""
    told = numbers(run_dir)
    known = asked(run_dir, "Explain", about=ABOUT)["known"]
    text = next(one["text"] for one in known if one["tuner"] == "counted")
    found = _COUNTS.fullmatch(text)
    assert found, text
    return Counted(
        received=int(told.number("bpftune_events_received", tuner="counted")),
        handled=int(found[1]),
        lost=int(told.number("bpftune_events_lost", tuner="counted")),
        gone=int(told.number("bpftune_events_lost", tuner="")),
        disordered=int(found[2]),
    )
