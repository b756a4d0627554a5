"""What runs of one case come to: figures of bpftune's run beside those of others.

Pure arithmetic on the JSON results of ``bpftune lab``. A run under bpftune is
compared with one in which all connections have the default, *cubic*, and one in
which all have *bbr*.
"""

from __future__ import annotations

import statistics
from collections import Counter
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

from bpftune.lab.scenario import Scenario
from bpftune.lab.turns import turns

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

DEFAULT = "cubic"
OURS = "self"
STEADY = 2 / 3
"""The last third of a time is what was learned."""

IN_A_ROW = 5

Run = dict[str, Any]
Figures = dict[str, float | None]


class Span(NamedTuple):
    """A time of a run, in seconds since its traffic began."""

    begin_s: float
    end_s: float

    def last_third(self) -> Span:
        """Return the time in which all should be learned."""
        return Span(self.begin_s + STEADY * (self.end_s - self.begin_s), self.end_s)

    def has(self, at_s: float) -> bool:
        """Tell whether it was then."""
        return self.begin_s <= at_s < self.end_s


def whole(run: Run) -> Span:
    """Return all of the time of a run."""
    return Span(0.0, run["parameters"]["seconds"])


def parts(run: Run) -> list[Span]:
    """Return the times between the turns of a run's path."""
    scenario = Scenario(**run["parameters"])
    at_s = [0.0, *(turn.at_s for turn in turns(scenario)), scenario.seconds]
    return [Span(begin_s, end_s) for begin_s, end_s in pairwise(at_s)]


def bits_per_s(side: Run, span: Span) -> float:
    """Return the mean goodput."""
    seconds = side["series_bits_per_s"][int(span.begin_s) : int(span.end_s)]
    return statistics.fmean(seconds) if seconds else 0.0


def ended_in(side: Run, span: Span) -> list[Run]:
    """Return the transfers that ended in that time."""
    return [
        one for one in side["transfers"] if span.has(one["began_s"] + one["took_s"])
    ]


def resent(transfers: Iterable[Run]) -> float | None:
    """Return the share of data segments that were sent again."""
    sent = sum(one["segments"] for one in transfers)
    return sum(one["retransmitted"] for one in transfers) / sent if sent else None


def srtt_s(transfers: Sequence[Run]) -> float | None:
    """Return the mean round trip of a byte."""
    total = sum(one["bytes"] for one in transfers)
    weighted = sum(one["bytes"] * one["srtt_s"] for one in transfers)
    return weighted / total if total else None


def last_srtt_s(transfers: Sequence[Run]) -> float | None:
    """Return the round trip at the end of a transfer, the median."""
    last_s = [one["last_srtt_s"] for one in transfers]
    return statistics.median(last_s) if last_s else None


def took_s(transfers: Sequence[Run]) -> float | None:
    """Return how long a transfer takes, the median."""
    return statistics.median(one["took_s"] for one in transfers) if transfers else None


def off_default(transfers: Sequence[Run]) -> tuple[float | None, float | None]:
    """Return the share of transfers, and of their time, not under the default."""
    off = [one for one in transfers if one["congestion_control"] != DEFAULT]
    if not transfers:
        return None, None
    time_s = sum(one["took_s"] for one in transfers)
    return len(off) / len(transfers), sum(one["took_s"] for one in off) / time_s


def decisions(run: Run, side: Run, kind: str) -> list[Run]:
    """Return what bpftune told of the algorithm for a destination, in order.

    Each has ``after_s`` since the traffic began, the ``arm`` that is meant, how many
    ``blocks`` were judged by then, the ``flows`` of the last, and ``why``.
    """
    told = []
    for record in run["records"]:
        evidence = record.get("evidence") or {}
        if record["record"] != kind or record.get("destination") != side["destination"]:
            continue
        if "initial_window" in evidence:
            continue
        blocks = [n for name, n in evidence.items() if name.endswith("_blocks")]
        arm = record["why"].split()[0] if kind == "chosen" else evidence.get("arm")
        told.append(
            {
                "after_s": round(record["lab_monotonic_s"] - run["began_s"], 1),
                "arm": arm,
                "blocks": sum(blocks),
                "flows": evidence.get("flows"),
                "harm": evidence.get("harm"),
                "why": record["why"],
            }
        )
    return told


def ratio(one: float | None, other: float | None) -> float | None:
    """Return their quotient, None if there is none."""
    return one / other if one is not None and other else None


def compared(runs: Mapping[str, Run], spans: Mapping[str, Span]) -> Figures:
    """Return the figures of one side of all *runs*, each in its span of time.

    *gain* is goodput, *rtt* the round trip of a byte, *last_rtt* that at the end of a
    transfer, and *took* the time of a transfer, each as a multiple of the default's.
    """
    found: Figures = {}
    for name, run in runs.items():
        transfers = ended_in(run, spans[name])
        found |= {
            f"mbit_{name}": bits_per_s(run, spans[name]) / 1e6,
            f"rtt_ms_{name}": _times(srtt_s(transfers), 1e3),
            f"last_rtt_ms_{name}": _times(last_srtt_s(transfers), 1e3),
            f"took_s_{name}": took_s(transfers),
            f"resent_{name}": resent(transfers),
        }
    for word, measured in (
        ("gain", "mbit"),
        ("rtt", "rtt_ms"),
        ("last_rtt", "last_rtt_ms"),
        ("took", "took_s"),
        ("resent", "resent"),
    ):
        ours, default = (found.get(f"{measured}_{who}") for who in (OURS, DEFAULT))
        found[word] = ratio(ours, default)
    return found


def _times(number: float | None, factor: float) -> float | None:
    return None if number is None else number * factor


def settled_s(side: Run, span: Span) -> float | None:
    """Return how long it took until transfers had what most have at the end.

    That is the beginning of the first of so many in a row as ``IN_A_ROW``.
    """
    began = [one for one in side["transfers"] if span.has(one["began_s"])]
    late = Counter(
        one["congestion_control"] for one in ended_in(side, span.last_third())
    )
    if not late:
        return None
    usual = late.most_common(1)[0][0]
    row = 0
    for number, one in enumerate(began):
        row = row + 1 if one["congestion_control"] == usual else 0
        if row == IN_A_ROW:
            first: float = began[number + 1 - IN_A_ROW]["began_s"]
            return max(0.0, first - span.begin_s)
    return None


def side_figures(run: Run, side: Run) -> Figures:
    """Return what bpftune did for one destination.

    *blocks* were judged, and *learned_s* had passed, when it first chose another
    algorithm than the default. *early_flows* is after how many a trial ended which
    did harm, the median, and *most_early_flows* the most; 0 without any.
    *late_off_time* is that of the last third.
    """
    chosen = [one for one in decisions(run, side, "chosen") if one["arm"] != DEFAULT]
    early = [one for one in decisions(run, side, "ended") if one["harm"]]
    early_flows = [one["flows"] or 0 for one in early] or [0]
    off_flows, off_time = off_default(side["transfers"])
    late = ended_in(side, whole(run).last_third())
    return {
        "blocks": chosen[0]["blocks"] if chosen else None,
        "learned_s": chosen[0]["after_s"] if chosen else None,
        "trials": len(decisions(run, side, "tries")),
        "early_ends": len(early),
        "early_flows": statistics.median(early_flows),
        "most_early_flows": max(early_flows),
        "off_flows": off_flows,
        "off_time": off_time,
        "late_off_time": off_default(late)[1],
    }


def begin_with(word: str, found: Figures) -> Figures:
    """Return the figures under names that begin with *word*."""
    return {f"{word}_{name}": figure for name, figure in found.items()}


def of_parts(runs: Mapping[str, Run]) -> Figures:
    """Return the figures of the last third of each part between turns."""
    of_runs = {name: parts(run) for name, run in runs.items()}
    found: Figures = {}
    for number in range(min(map(len, of_runs.values()))):
        spans = {name: spans[number] for name, spans in of_runs.items()}
        late = {name: span.last_third() for name, span in spans.items()}
        part = compared(runs, late)
        if OURS in runs:
            part["settled_s"] = settled_s(runs[OURS], spans[OURS])
            part["off_time"] = off_default(ended_in(runs[OURS], late[OURS]))[1]
        found |= begin_with(f"part{number + 1}", part)
    return found


def figures(runs: Mapping[str, Run]) -> Figures:
    """Return all figures of *runs* of one case with one seed, by who decided.

    Those of the last third have plain names, those of the whole time begin with
    ``whole_``. Those of the flows of others begin with ``foreign_`` and are of the
    whole time; those of a second destination begin with ``second_``. With turns,
    ``part1_`` is the time until the first.
    """
    spans = {name: whole(run) for name, run in runs.items()}
    late = {name: span.last_third() for name, span in spans.items()}
    found = compared(runs, late) | begin_with("whole", compared(runs, spans))
    for word, times in (("foreign", spans), ("second", late)):
        if all(word in run["beside"] for run in runs.values()):
            sides = {name: run["beside"][word] for name, run in runs.items()}
            found |= begin_with(word, compared(sides, times))
    if any(len(parts(run)) > 1 for run in runs.values()):
        found |= of_parts(runs)
    ours = runs.get(OURS)
    if ours is not None:
        found |= side_figures(ours, ours)
        if "second" in ours["beside"]:
            second = side_figures(ours, ours["beside"]["second"])
            found |= begin_with("second", second)
    return found | validity(runs)


def validity(runs: Mapping[str, Run]) -> Figures:
    """Return how late the emulator and the processes of the traffic were at worst."""
    late_s = [run["late_s"] for run in runs.values() if run["late_s"] is not None]
    waited_s = [run["waited_s"] for run in runs.values()]
    return {
        "late_ms": 1e3 * max(late_s, default=0.0),
        "waited_ms": 1e3 * max(waited_s, default=0.0),
    }
