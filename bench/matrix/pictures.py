"""Pictures of the matrix: gains as bars, and single runs over time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from matplotlib.figure import Figure

from bench.matrix.over_time import draw_run
from bench.matrix.report import by_case
from bench.matrix.tuners import NONE, ORACLE, OURS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from matplotlib.axes import Axes

Record = dict[str, Any]

COLOURS = {
    NONE.name: "#7f7f7f",
    "esnet": "#dd8452",
    "tuned": "#c9b458",
    ORACLE.name: "#55a868",
    OURS.name: "#4c72b0",
}
OTHERS = ("#8172b3", "#937860", "#da8bc3")
DPI = 130
PALE = 0.45
"""How strong the bars are of what a gain is paid with."""

TOO_FAR = 1 << 5
"""No bar is longer than that: it is told by its number."""


def draw(matrix: Record, done: Sequence[Record], directory: Path) -> None:
    """Write all pictures to *directory*: ``gains.png`` and one for each case."""
    gains(matrix).savefig(directory / "gains.png", dpi=DPI)
    runs = by_case(done)
    titles = {one["name"]: one["title"] for one in matrix["tuners"]}
    for case in matrix["cases"]:
        of_tuners = runs.get(case["name"], {})
        repeats = sorted(of_tuners.get(OURS.name, {}))
        if not repeats:
            continue
        same = {
            name: of_repeat[repeats[0]]
            for name, of_repeat in of_tuners.items()
            if repeats[0] in of_repeat
        }
        figure = draw_run(case, same, titles, colours(titles))
        figure.savefig(directory / f"{case['name']}.png", dpi=DPI)


def colours(titles: dict[str, str]) -> dict[str, str]:
    """Return the colour of each tuner; strangers get one of their own."""
    strangers = [name for name in titles if name not in COLOURS]
    return COLOURS | {
        name: OTHERS[number % len(OTHERS)] for number, name in enumerate(strangers)
    }


def gains(matrix: Record) -> Figure:
    """Return the bars: a group for each line of the table, a bar for each tuner."""
    tuners = [
        one
        for one in matrix["tuners"]
        if one["name"] != NONE.name and matrix["overall"][one["name"]]["cases"]
    ]
    lines = [
        (case, measure)
        for case in matrix["cases"]
        for measure in case["measures"]
        if case["results"]
    ]
    figure = Figure(
        figsize=(9, 1.1 + 0.17 * (len(tuners) + 1) * max(1, len(lines))),
        layout="constrained",
    )
    axes = figure.add_subplot()
    width = 1 / (len(tuners) + 1)
    painted = colours({one["name"]: one["title"] for one in matrix["tuners"]})
    for order, tuner in enumerate(tuners):
        for place, (case, measure) in enumerate(lines):
            told = case["results"].get(tuner["name"], {}).get("measures", {})
            gain = told.get(measure["name"], {}).get("gain")
            if gain is not None:
                at = place + (order - (len(tuners) - 1) / 2) * width
                strength = 1 if measure == case["measures"][0] else PALE
                _bar(axes, at, width, gain, painted[tuner["name"]], strength)
    _name_lines(axes, lines)
    axes.set_xscale("log", base=2)
    axes.set_xlim(min(0.5, axes.get_xlim()[0]), max(2.2, axes.get_xlim()[1] * 1.3))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}x")
    axes.axvline(1, color="black", linewidth=0.8)
    axes.grid(axis="x", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.set_title(
        "How many times better than without a tuner", loc="left", fontsize=11
    )
    handles = [
        axes.barh([0], [0], color=painted[one["name"]], label=one["title"])
        for one in tuners
    ]
    figure.legend(
        handles=handles, loc="outside lower left", ncols=len(tuners), frameon=False
    )
    return figure


def _bar(
    axes: Axes, at: float, width: float, gain: Record, colour: str, strength: float
) -> None:
    """Draw one bar from 1, the least and the most of its pairs, and its number."""
    end = min(max(gain["median"], 1 / TOO_FAR), TOO_FAR)
    axes.barh(at, end - 1, left=1, height=width * 0.9, color=colour, alpha=strength)
    if len(gain["all"]) > 1:
        axes.plot([gain["least"], gain["most"]], [at, at], color="black", linewidth=0.9)
    beyond = max(gain["most"], end, 1)
    axes.text(
        beyond * 1.03, at, f"{gain['median']:.2f}", va="center", ha="left", fontsize=6.5
    )


def _name_lines(axes: Axes, lines: Sequence[tuple[Record, Record]]) -> None:
    names = []
    for case, measure in lines:
        shorter = " shorter" if measure["less_is_better"] else ""
        is_first = measure == case["measures"][0]
        title = f"{case['title']}\n" if is_first else "and at that: "
        names.append(f"{title}{measure['name']}{shorter}")
    axes.set_yticks(range(len(lines)), names, fontsize=8)
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(lines) - 0.4, -0.6)
