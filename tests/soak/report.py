"""What came of a soak: a table for people, JSON for machines."""

from __future__ import annotations

import math
import os
from collections import Counter
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table
from tests.soak.lives import Lived
from tests.soak.run import Result
from tests.soak.schedule import End
from tests.soak.slope import Slope

SCHEMA = 1


def counts(lived: list[Lived]) -> dict[str, int]:
    """Return how many lives there were, how they ended, and what became of events."""
    ends = Counter(one.life.end for one in lived)
    settled = [one for one in lived if one.counted is not None]
    counted = [one.counted for one in settled if one.counted is not None]
    return {
        "lives": len(lived),
        "kills": ends[End.KILL],
        "stops": ends[End.TERM] + ends[End.INT],
        "ended early": sum(one.life.early for one in lived),
        "ended abruptly": sum(one.life.abrupt for one in lived),
        "lives that were settled": len(settled),
        "events sent in those": sum(one.sent for one in settled),
        "events handled": sum(one.handled for one in counted),
        "events counted as lost": sum(one.lost for one in counted),
        "events of namespaces gone": sum(one.dropped for one in counted),
        "records": sum(one.records for one in lived),
    }


def show(result: Result, console: Console) -> None:
    """Print the tables."""
    slopes = Table(title="a minute, ± 95 %", title_justify="left")
    for head in ("quantity", "all", "limit", "verdict", "each calm life"):
        slopes.add_column(head)
    for one in result.judgements:
        slopes.add_row(
            f"{one.quantity.name} {one.quantity.unit}".strip(),
            str(one.slope),
            f"{one.quantity.limit:g}",
            one.verdict,
            ", ".join(map(str, one.segments)),
        )
    console.print(slopes)
    table = Table(show_header=False)
    for name, number in counts(result.lived).items():
        table.add_row(name, str(number))
    table.add_row("rollbacks", str(result.rolled_back))
    table.add_row("writes overlooked at first", str(result.overlooked))
    acts = ", ".join(f"{kind} {count}" for kind, count in result.done.items())
    table.add_row("acts", f"{acts}; too late: {result.late}")
    kinds = ", ".join(f"{kind} {count}" for kind, count in result.kinds.items())
    table.add_row("records by kind", kinds)
    table.add_row("seed", str(result.seed))
    console.print(table)
    for why, failure in result.failures.items():
        when = f"at {failure.first_s:.0f} s, {failure.times} times"
        console.print(f"FAILED {when}: {why}", markup=False, highlight=False)


def as_json(result: Result) -> dict[str, Any]:
    """Return all of it."""
    return {
        "schema": SCHEMA,
        "kernel": os.uname().release,
        "seed": result.seed,
        "seconds": result.seconds,
        "failures": {why: asdict(one) for why, one in result.failures.items()},
        "slopes": [
            {
                "quantity": one.quantity.name,
                "unit": one.quantity.unit,
                "limit_per_minute": one.quantity.limit,
                "verdict": one.verdict,
                **_slope(one.slope),
                "segments": [_slope(segment) for segment in one.segments],
            }
            for one in result.judgements
        ],
        **counts(result.lived),
        "rollbacks": result.rolled_back,
        "writes overlooked at first": result.overlooked,
        "acts": dict(result.done),
        "acts too late": result.late,
        "records by kind": dict(result.kinds),
        "lived": [asdict(one) for one in result.lived],
    }


def _slope(slope: Slope) -> dict[str, Any]:
    error = None if math.isinf(slope.error) else slope.error
    return {"per_minute": slope.per_minute, "error": error, "floors": slope.floors}
