"""Measure what bpftune gains on emulated paths, against fixed values and none.

Each path runs under each tuner, several times with other seeds, and each run is paired
with one without a tuner and with the same seed. Written are ``matrix.json``,
``table.md`` and pictures; the table is printed, too. docs/benchmarks.md tells more.

    python -m bench [--quick | --full] [--case NAME]... [--tuner TUNER]...
        [--repeats N] [--seed N] [--resume | --tell | --list] [--out DIRECTORY]
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.host import interruptible
from bench.matrix.execute import Store, algorithms, contender_of, run, search
from bench.matrix.plan import (
    REPEATS,
    Planned,
    cases_of,
    duration_s,
    plan,
    searched,
    tuners_of,
)
from bench.matrix.report import report
from bench.matrix.show import Show
from bench.matrix.table import table
from bench.matrix.tuners import TUNERS, other
from bpftune import __version__
from bpftune.lab.errors import LabError, NotPermittedError, NotSupportedError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.matrix.cases import Case
    from bench.matrix.tuners import Tuner

RESULTS = Path(__file__).parents[1] / "results"
Record = dict[str, Any]


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Return the options, with ``size``, ``cases`` and ``tuners`` resolved.

    The ``columns`` of the table are the same in each size.
    """
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_const", dest="size", const="quick")
    size.add_argument("--full", action="store_const", dest="size", const="full")
    parser.add_argument("--case", action="append", metavar="NAME", help="only this one")
    parser.add_argument(
        "--tuner",
        action="append",
        default=[],
        metavar="TUNER",
        help="one more: 'cmd:ANY COMMAND' or sysctl:FILE",
    )
    parser.add_argument("--repeats", type=int, metavar="N")
    parser.add_argument("--seed", type=int, default=1, help="of the order of the runs")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--resume", action="store_true", help="keep the runs there are")
    what.add_argument("--tell", action="store_true", help="run nothing, only tell")
    what.add_argument("--list", action="store_true", help="only tell what would run")
    parser.add_argument("--out", type=Path, metavar="DIRECTORY")
    options = parser.parse_args(argv)
    options.size = options.size or "core"
    options.out = options.out or RESULTS / options.size
    options.repeats = options.repeats or REPEATS[options.size]
    options.cases = cases_of("full" if options.case else options.size)
    if options.case:
        unknown = set(options.case) - {case.name for case in options.cases}
        if unknown:
            known = ", ".join(case.name for case in options.cases)
            parser.error(f"no case {', '.join(sorted(unknown))}; there are {known}")
        options.cases = [one for one in options.cases if one.name in options.case]
    try:
        more = [other(text, number) for number, text in enumerate(options.tuner, 1)]
    except LabError as error:
        parser.error(str(error))
    options.tuners = [*tuners_of(options.size), *more]
    options.columns = [*TUNERS, *more]
    return options


def main(argv: Sequence[str] | None = None) -> int:
    """Run the matrix and tell what came of it; the number of runs that failed."""
    options = parse(argv)
    runs = plan(options.cases, options.tuners, options.repeats, options.seed)
    minutes = duration_s(runs, searched(runs)) / 60
    length = f"{len(runs)} runs, {minutes:.0f} minutes with the search by hand"
    if options.list:
        for one in runs:
            print(f"{one.case.name:22}{one.tuner.title:18}{one.seconds:5.0f} s")
        print(length)
        return 0
    store = Store(options.out, RESULTS / "oracle")
    about = {
        "kernel": os.uname().release,
        "cpus": os.cpu_count(),
        "algorithms": algorithms(),
        "version": __version__,
        "began": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "size": options.size,
        "repeats": options.repeats,
        "seed": options.seed,
    }
    oracles: dict[str, Record] = {}
    written = options.out / "matrix.json"
    if options.tell and written.exists():
        told = json.loads(written.read_text())
        about = told["about"]
        oracles = {one["name"]: one["oracle"] for one in told["cases"] if one["oracle"]}
    if not options.tell:
        print(length, file=sys.stderr)
        if not options.resume:
            store.forget()
    done: list[Record] = []
    try:
        with interruptible():
            measure(runs, store, done, oracles, only_saved=options.tell)
    except KeyboardInterrupt:
        print("bench: stopped; --resume goes on from here", file=sys.stderr)
        return 1
    except LabError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    finally:
        if done:
            tell(store, about, options.cases, options.columns, done, oracles)
    return sum("failed" in one for one in done)


def measure(
    runs: Sequence[Planned],
    store: Store,
    done: list[Record],
    oracles: dict[str, Record],
    *,
    only_saved: bool,
) -> None:
    """Run what is not saved yet; add to *done* and *oracles* as it comes."""
    cases = [] if only_saved else searched(runs)
    with Show(duration_s(runs, cases)) as show:
        for case in cases:
            try:
                oracles[case.name] = search(case, store, show.begins)
            except (NotPermittedError, NotSupportedError):
                raise
            except LabError as error:
                show.say(f"{case.name}: nothing found by hand: {error}")
        for number, planned in enumerate(runs, 1):
            contender = contender_of(planned, oracles.get(planned.case.name), store)
            one = store.saved(planned, contender)
            if one is not None or only_saved or not contender:
                show.skips(planned.seconds)
                done += [one] if one is not None else []
                continue
            what = f"{number}/{len(runs)} {planned.case.name}, {planned.tuner.title}"
            one = run(planned, contender, show.begins(what, planned.seconds))
            store.keep(planned, one)
            done.append(one)
            show.say(line(planned, one))


def line(planned: Planned, one: Record) -> str:
    """Return a line about a run that ended."""
    where = f"{planned.case.name:22}{planned.tuner.title:18}repeat {planned.repeat}"
    if "failed" in one:
        return f"{where}  FAILED: {one['failed']}"
    levels = [
        (measure, measure.steady(one["result"], planned.case.steady_s))
        for measure in planned.case.measures
    ]
    told = ", ".join(
        f"{measure.name} {level / measure.one_unit:.1f} {measure.unit}"
        for measure, level in levels
        if level is not None
    )
    return f"{where}  {told}"


def tell(
    store: Store,
    about: Record,
    cases: Sequence[Case],
    tuners: Sequence[Tuner],
    done: Sequence[Record],
    oracles: dict[str, Record],
) -> None:
    """Write the matrix, its table and its pictures, and print the table."""
    matrix = report(about, cases, tuners, done, oracles)
    (store.directory / "matrix.json").write_text(json.dumps(matrix, indent=1))
    text = table(matrix)
    (store.directory / "table.md").write_text(text)
    print(text)
    draw_pictures(matrix, done, store.directory / "pictures")
    print(f"in {store.directory}", file=sys.stderr)


def draw_pictures(matrix: Record, done: Sequence[Record], directory: Path) -> None:
    """Write the pictures, if what draws them is installed."""
    try:
        from bench.matrix.pictures import draw  # noqa: PLC0415 - it is an extra
    except ImportError as error:
        print(f"bench: no pictures: {error}", file=sys.stderr)
    else:
        draw(matrix, done, directory)


if __name__ == "__main__":
    sys.exit(main())
