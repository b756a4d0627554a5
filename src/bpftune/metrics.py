"""OpenMetrics text: what a monitoring system reads. Pure.

The format is that of https://prometheus.io/docs/specs/om/open_metrics_spec/ (1.0).
There is never an address of a peer or the number of a process in a label.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from io import StringIO
from math import isfinite, isnan
from typing import TYPE_CHECKING

from bpftune.text import one_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from bpftune.records import Record

MOST_COUNTED = 1024
_REVERTS = frozenset({"taken_back", "shrunk", "rolled_back"})

Labels = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Family:
    """A metric: *kind* is ``counter``, ``gauge`` or ``info``; samples by labels."""

    name: str
    kind: str
    help: str
    samples: Mapping[Labels, float] = field(default_factory=dict)
    unit: str = ""


_SUFFIX = {"counter": "_total", "info": "_info", "gauge": ""}


def labels(**pairs: str) -> Labels:
    """Return the labels of a sample."""
    return tuple(pairs.items())


def _escaped(text: str) -> str:
    text = one_line(text).replace("\\", "\\\\")
    return text.replace('"', '\\"')


def _number(number: float) -> str:
    if isinstance(number, int):
        return str(number)
    if not isfinite(number):
        return "NaN" if isnan(number) else "+Inf" if number > 0 else "-Inf"
    return repr(number)


def _sample(family: Family, pairs: Labels, number: float) -> str:
    inside = ",".join(f'{name}="{_escaped(value)}"' for name, value in pairs)
    inside = f"{{{inside}}}" if inside else ""
    return f"{family.name}{_SUFFIX[family.kind]}{inside} {_number(number)}\n"


def render(families: Iterable[Family]) -> str:
    """Return the text, ended as a reader of OpenMetrics wants it."""
    text = StringIO()
    for family in families:
        text.write(f"# TYPE {family.name} {family.kind}\n")
        if family.unit:
            text.write(f"# UNIT {family.name} {family.unit}\n")
        text.write(f"# HELP {family.name} {_escaped(family.help)}\n")
        for pairs, number in family.samples.items():
            text.write(_sample(family, pairs, number))
    text.write("# EOF\n")
    return text.getvalue()


class Tally:
    """Counts what the records tell: changes, reverts and what became the admin's."""

    def __init__(self) -> None:
        """Begin at zero."""
        self._changes: Counter[Labels] = Counter()
        self._reverts: Counter[Labels] = Counter()
        self._yields: Counter[Labels] = Counter()

    def hear(self, record: Record) -> None:
        """Count *record*."""
        tuner, tunable, kind = record.tuner or "", record.tunable or "", record.record
        if not tunable:
            return
        both = labels(tuner=tuner, tunable=tunable)
        if kind == "change":
            reason = record.extra.get("reason", "trial")
            self._count(self._changes, (*both, ("reason", str(reason))))
        elif kind in _REVERTS:
            self._count(self._reverts, (*both, ("cause", kind)))
        elif kind == "yielded":
            self._count(self._yields, labels(tunable=tunable))

    @staticmethod
    def _count(counter: Counter[Labels], key: Labels) -> None:
        # The names are tuners' and tunables', so there are few; a plugin may err.
        if key in counter or len(counter) < MOST_COUNTED:
            counter[key] += 1

    def families(self) -> Iterator[Family]:
        """Yield what was counted."""
        yield Family(
            "bpftune_changes", "counter", "Changes that were made.", self._changes
        )
        yield Family(
            "bpftune_reverts",
            "counter",
            "Changes that were undone, by cause.",
            self._reverts,
        )
        yield Family(
            "bpftune_yields",
            "counter",
            "Tunables that became the admin's.",
            self._yields,
        )
