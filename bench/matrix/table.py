"""The matrix as a Markdown table: pure, from its JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bench.matrix.tuners import NONE, OURS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Record = dict[str, Any]

NOTHING = "-"
LATE = (
    "bpftune, learning included",
    "90 % of best by hand after",
    "writes",
)

PAIRED = "How many times better than without a tuner, each pair with the same seed; "
COUNTED = (
    "Counted is the end of each run, after what was to be learned; *learning included* "
    "counts from the beginning."
)
MARK = " \\*"
SPOILED = "\\* is worth less, as the machine was short of time in "
NOT_MEASURED = " What has a - was not measured."
NO_BBR = (
    "The kernel did not offer bbr: nobody could choose it. See modprobe tcp_bbr, and "
    "measure again."
)


def _number(value: float) -> str:
    """Return three digits of *value*, and no exponent."""
    if value >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def gain_words(gain: Record | None) -> str:
    """Return how many times better, and the least and the most if there are more."""
    if gain is None:
        return NOTHING
    median = f"{_number(gain['median'])}x"
    if len(gain["all"]) == 1:
        return median
    return f"{median} ({_number(gain['least'])}-{_number(gain['most'])})"


def level_words(level: Record | None, measure: Record) -> str:
    """Return the median with its unit."""
    if level is None:
        return NOTHING
    return f"{_number(level['median'] / measure['one_unit'])} {measure['unit']}"


def _late_words(found: Record | None) -> list[str]:
    """Return the last columns, which are about bpftune alone."""
    if found is None:
        return [NOTHING] * len(LATE)
    reached = NOTHING
    if found["never_reached"]:
        reached = f"not in {found['never_reached']} of {found['runs']} runs"
    elif found["reached_s"]:
        reached = f"{found['reached_s']['median']:.0f} s"
    writes = found["writes"]["median"] if found["writes"] else 0
    decisions = found["decisions"]["median"] if found["decisions"] else 0
    told = f"{writes:g}" if not decisions else f"{writes:g}, {decisions:g} records"
    return [gain_words(found["whole_gain"]), reached, told]


def _is_spoiled(results: Record, tuner: str) -> bool:
    """Tell whether a run of *tuner*, or one that it is paired with, may be spoiled."""
    pair = (results.get(name, {}).get("cautions") for name in (NONE.name, tuner))
    return any(pair)


def _rows(case: Record, tuners: Sequence[Record]) -> Iterable[list[str]]:
    results = case["results"]
    for number, measure in enumerate(case["measures"]):
        name = measure["name"]
        cells = []
        for tuner in tuners:
            told = results.get(tuner["name"], {}).get("measures", {}).get(name)
            if told is None:
                cells.append(NOTHING)
            elif tuner["name"] == NONE.name:
                cells.append(level_words(told["level"], measure))
            else:
                mark = MARK if _is_spoiled(results, tuner["name"]) else ""
                cells.append(gain_words(told["gain"]) + mark)
        late = _late_words(results.get(OURS.name)) if number == 0 else [""] * len(LATE)
        yield [case["title"] if number == 0 else "", name, *cells, *late]


def _mean_words(matrix: Record, tuner: str) -> str:
    if tuner == NONE.name:
        return "1"
    mean = matrix["overall"][tuner]["gain"]
    return NOTHING if mean is None else f"**{_number(mean)}x**"


def _worst_words(matrix: Record, tuner: str) -> str:
    worst = matrix["overall"][tuner]["worst"]
    if tuner == NONE.name or worst is None:
        return NOTHING
    return f"{_number(worst['gain'])}x, {worst['case']}, {worst['measure']}"


def table(matrix: Record) -> str:
    """Return the table and what is to be known to read it."""
    tuners = matrix["tuners"]
    head = ["path", "measured", *(one["title"] for one in tuners), *LATE]
    lines = [head, ["---"] * len(head)]
    for case in matrix["cases"]:
        lines += _rows(case, tuners)
    names = [one["name"] for one in tuners]
    means = [_mean_words(matrix, name) for name in names]
    worst = [_worst_words(matrix, name) for name in names]
    blank = [""] * len(LATE)
    lines.append(["geometric mean", "first lines", *means, *blank])
    lines.append(["worst against none", "all lines", *worst, *blank])
    text = "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
    return f"{text}\n\n{notes(matrix)}\n"


def notes(matrix: Record) -> str:
    """Return what the numbers are, and what may have spoiled them."""
    about = matrix["about"]
    repeats = about["repeats"]
    pairs = "one pair, so nothing is known of the spread."
    if repeats > 1:
        pairs = f"the median of {repeats} pairs, the least and the most in brackets."
    machine = f"Linux {about['kernel']}, {about['cpus']} CPUs, {about['began']}"
    told = [PAIRED + pairs, COUNTED, f"{machine}, bpftune {about['version']}."]
    if any(not one["cases"] for one in matrix["overall"].values()):
        told[1] += NOT_MEASURED
    if "bbr" not in about["algorithms"]:
        told.append(NO_BBR)
    spoiled = [
        f"{case['name']} ({name}: {', '.join(one['cautions'])})"
        for case in matrix["cases"]
        for name, one in case["results"].items()
        if one["cautions"]
    ]
    if spoiled:
        told.append(SPOILED + f"{'; '.join(spoiled)}.")
    told += [
        f"{one['case']}, {one['tuner']}, repeat {one['repeat']} failed: {one['failed']}"
        for one in matrix["failed"]
    ]
    return "\n".join(told)
