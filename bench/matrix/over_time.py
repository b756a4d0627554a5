"""One run of bpftune over time, the others behind it, with its changes marked."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

from matplotlib.figure import Figure

from bench.matrix.measures import LATENCY
from bench.matrix.tuners import OURS
from bpftune.lab.triples import RMEM, WMEM

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes

    from bench.matrix.measures import Run

Record = dict[str, Any]

MIB = 1 << 20
GOOD, BAD, NEW = "#2e7d32", "#c62828", "#555555"
MARKED = {
    "change": NEW,
    "kept": GOOD,
    "taken_back": BAD,
    "shrunk": BAD,
    "tries": NEW,
    "chosen": GOOD,
    "ended": BAD,
}
CONTROLS = {"cubic": "#7f7f7f", "bbr": "#4c72b0", "reno": "#937860", "dctcp": "#8172b3"}
SERIES = (
    ("series_bits_per_s", "", 1e6, "goodput\nMbit/s"),
    ("series_bits_per_s", "foreign", 1e6, "of others\nMbit/s"),
    ("series_bits_per_s", "also", 1e6, "beside\nMbit/s"),
    ("series_rtt_s", "", 1e-3, "round trip\nms"),
    ("series_latency_s", "", 1e-3, "time to answer\nms"),
)
"""What has a panel: a series, whose it is, its unit and its label."""


class Mark(NamedTuple):
    """A decision of bpftune's: when it was, in which colour, and its words."""

    at_s: float
    colour: str
    words: str


def marks(run: Run) -> list[Mark]:
    """Return the decisions of a run, in order."""
    found = []
    for record in run["records"]:
        kind = record.get("record")
        at_s = record["lab_monotonic_s"] - run["began_s"]
        if kind in MARKED and 0 <= at_s <= run["parameters"]["seconds"]:
            found.append(Mark(at_s, MARKED[kind], _words(kind, record)))
    return found


def _words(kind: str, record: Record) -> str:
    """Return what happened in two or three words."""
    evidence = record.get("evidence") or {}
    said = kind.replace("_", " ")
    if record["why"].startswith("goes on"):
        said = "goes on with"
    if record.get("tunable") in {WMEM, RMEM}:
        name = "wmem" if record["tunable"] == WMEM else "rmem"
        size = (record.get("new") or [0])[-1] / MIB
        return f"{name} {size:g} MiB" if kind == "change" else f"{name} {said}"
    if "initial_window" in evidence:
        return f"{said} window {evidence['initial_window']}"
    named = [word.strip(":,") for word in record["why"].split()]
    arm = next((word for word in named if word in CONTROLS), "")
    return f"back to {arm}" if kind == "ended" else f"{said} {arm}".strip()


def draw_run(
    case: Record,
    runs: Mapping[str, Run],
    titles: Mapping[str, str],
    colours: Mapping[str, str],
) -> Figure:
    """Return the picture of one repeat of *case*: its *runs* by tuner."""
    ours = runs[OURS.name]
    end_s = ours["parameters"]["seconds"]
    is_about_time = case["measures"][0]["name"] == LATENCY.name
    series = [
        one
        for one in SERIES
        if any(_numbers(ours, one[0], one[1]))
        and (one[0] != LATENCY.series or is_about_time)
    ]
    has_transfers = bool(_transfers(ours))
    heights = [2.0] * len(series) + [1.3] + [0.45] * has_transfers
    figure = Figure(figsize=(9, 1.5 + sum(heights)), layout="constrained")
    panels = figure.subplots(len(heights), 1, sharex=True, height_ratios=heights)
    for axes, (name, whose, unit, label) in zip(panels, series, strict=False):
        for tuner in (name for name in titles if name in runs):
            numbers = _numbers(runs[tuner], name, whose)
            _line(axes, numbers, unit, tuner, titles, colours)
        axes.set_ylabel(label)
        axes.set_ylim(bottom=0)
    _limits(panels[len(series)], ours)
    if has_transfers:
        _controls(panels[-1], ours)
    for axes in panels:
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", color="#e5e5e5", linewidth=0.6)
        for mark in marks(ours):
            axes.axvline(mark.at_s, color=mark.colour, linewidth=0.7, alpha=0.6)
        axes.axvspan(end_s - case["steady_s"], end_s, color="#f4f4f4", zorder=0)
    _label(panels[0], marks(ours), end_s)
    panels[-1].set_xlabel(
        "seconds since the traffic began; grey: what counts of bpftune's run"
    )
    panels[-1].set_xlim(0, end_s)
    figure.suptitle(case["title"], x=0.01, ha="left", fontsize=11)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside lower left", ncols=len(labels), frameon=False
    )
    return figure


def _numbers(run: Run, name: str, whose: str) -> Sequence[float | None]:
    """Return a series of the measured traffic, or of other traffic by what it is."""
    found: Record = run["beside"].get(whose, {}) if whose else run
    numbers: Sequence[float | None] = found.get(name, ())
    return numbers


def _line(
    axes: Axes,
    series: Sequence[float | None],
    unit: float,
    tuner: str,
    titles: Mapping[str, str],
    colours: Mapping[str, str],
) -> None:
    values = [math.nan if number is None else number / unit for number in series]
    axes.plot(
        [second + 0.5 for second in range(len(values))],
        values,
        color=colours[tuner],
        linewidth=1.8 if tuner == OURS.name else 1.0,
        zorder=3 if tuner == OURS.name else 2,
        label=titles[tuner],
    )


def _limits(axes: Axes, run: Run) -> None:
    """Draw the maxima of both limits as steps."""
    end_s = run["parameters"]["seconds"]
    for tunable, style, colour in ((WMEM, "-", "#4c72b0"), (RMEM, "--", "#8172b3")):
        met = [one for one in run["values"] if one["tunable"] == tunable]
        times = [one["t_s"] for one in met] + [end_s]
        sizes = [one["value"][-1] / MIB for one in met]
        axes.step(
            times,
            [*sizes, sizes[-1]],
            style,
            where="post",
            color=colour,
            linewidth=1.4,
            label=f"{tunable.rpartition('.')[2]} ({met[0]['end']})",
        )
    axes.set_yscale("log", base=2)
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    low, high = axes.get_ylim()
    axes.set_ylim(low / 1.5, high * 3)
    axes.set_ylabel("limit\nMiB")
    axes.legend(loc="upper right", fontsize=7, frameon=False, ncols=2)


def _transfers(run: Run) -> list[Record]:
    """Return the transfers of this host, measured or beside."""
    found: list[Record] = run["transfers"]
    return found or run["beside"].get("also", {}).get("transfers", [])


def _controls(axes: Axes, run: Run) -> None:
    """Draw each transfer as a line in the row of its algorithm."""
    names = sorted({one["congestion_control"] for one in _transfers(run)} | {"cubic"})
    for one in _transfers(run):
        name = one["congestion_control"]
        axes.plot(
            [one["began_s"], one["began_s"] + one["took_s"]],
            [names.index(name)] * 2,
            color=CONTROLS.get(name, "black"),
            linewidth=4,
            solid_capstyle="butt",
        )
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_ylabel("transfers", rotation=0, ha="right", va="center", fontsize=8)


def _label(axes: Axes, marked: Sequence[Mark], seconds: float) -> None:
    """Write the words of the marks above the topmost panel, where there is room."""
    free_s = [-math.inf] * 4
    for mark in marked:
        row = min(range(len(free_s)), key=lambda n: (free_s[n] > mark.at_s, n))
        free_s[row] = mark.at_s + seconds * 0.012 * len(mark.words)
        axes.annotate(
            mark.words,
            (mark.at_s, 1.02 + 0.075 * row),
            xycoords=("data", "axes fraction"),
            color=mark.colour,
            fontsize=7,
        )
