"""``bpftune lab``: scenarios in throw-away namespaces, proved on this machine."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sys
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, NoReturn

from bpftune.cli.lab_text import comparison_text, result_text
from bpftune.lab.compare import compare
from bpftune.lab.contender import KINDS, ContenderError, contender
from bpftune.lab.errors import LabError, NotPermittedError, NotSupportedError
from bpftune.lab.run import run_scenario
from bpftune.lab.scenario import (
    PARAMETERS,
    ScenarioError,
    override,
)
from bpftune.lab.scenarios import SCENARIOS, find
from bpftune.lab.values import (
    ValueTextError,
    format_rate,
    parse_count,
    parse_seconds,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

OK, FAILED, USAGE, NOT_PERMITTED, NOT_SUPPORTED = 0, 1, 2, 4, 5
CODES = (
    (ScenarioError, USAGE),
    (ValueTextError, USAGE),
    (NotPermittedError, NOT_PERMITTED),
    (NotSupportedError, NOT_SUPPORTED),
    (LabError, FAILED),
)


def parser() -> argparse.ArgumentParser:
    """Return the parser of ``bpftune lab``."""
    keys = "\n".join(f"  {key:13} {told}" for key, (_, _, told) in PARAMETERS.items())
    top = argparse.ArgumentParser(
        prog="bpftune lab",
        description="Prove it on this machine, in namespaces that are thrown away.",
    )
    verbs = top.add_subparsers(dest="verb", required=True, metavar="VERB")
    listing = verbs.add_parser("list", help="the scenarios")
    running = verbs.add_parser(
        "run",
        help="one run",
        epilog=f"keys of --set:\n{keys}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    comparing = verbs.add_parser("compare", help="two tuners, in pairs")
    for verb in (running, comparing):
        verb.add_argument("scenario", metavar="SCENARIO")
        verb.add_argument(
            "--set",
            action="append",
            default=[],
            dest="settings",
            metavar="KEY=VALUE",
            help="another value for one of the scenario's keys",
        )
        verb.add_argument("--seconds", metavar="N", help="how long a run takes")
        verb.add_argument("--seed", type=int, default=0, help="of the random losses")
    running.add_argument("--tuner", default="none", metavar="TUNER", help=KINDS)
    comparing.add_argument(
        "--tuner", action="append", default=[], metavar="TUNER", help=f"twice: {KINDS}"
    )
    comparing.add_argument("--repeat", default="1", metavar="N", help="pairs of runs")
    for verb in (listing, running, comparing):
        verb.add_argument("--json", action="store_true", help="one JSON object")
    return top


def lab_main(argv: list[str]) -> int:
    """Run ``bpftune lab`` with *argv* and return the exit code."""
    try:
        options = parser().parse_args(argv)
    except SystemExit as end:
        return OK if not end.code else USAGE

    def stop(_number: int, _frame: FrameType | None) -> NoReturn:
        raise KeyboardInterrupt

    before = {n: signal.signal(n, stop) for n in (signal.SIGTERM, signal.SIGHUP)}
    try:
        _verb(options)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except KeyboardInterrupt:
        sys.stderr.write("bpftune lab: stopped; everything is cleaned up\n")
        return FAILED
    except LabError as error:
        sys.stderr.write(f"bpftune lab: {error}\n")
        return next(code for kind, code in CODES if isinstance(error, kind))
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return OK


def _verb(options: argparse.Namespace) -> None:
    if options.verb == "list":
        _list(as_json=options.json)
        return
    scenario = override(find(options.scenario), options.settings)
    if options.seconds is not None:
        seconds = parse_seconds(options.seconds)
        scenario = override(replace(scenario, seconds=seconds), [])
    if options.verb == "run":
        tuners = [options.tuner]
    else:
        tuners = options.tuner
        if len(tuners) != 2:
            raise ScenarioError("compare needs --tuner twice")
    for tuner in tuners:
        try:
            contender(tuner)
        except ContenderError as error:
            raise ScenarioError(str(error)) from error
    if options.verb == "run":
        result = run_scenario(scenario, tuners[0], options.seed, _progress(tuners[0]))
        _write(result.as_json() if options.json else result_text(result))
    else:
        repeat = parse_count(options.repeat)
        pair = (tuners[0], tuners[1])
        compared = compare(scenario, pair, repeat, options.seed, _progress)
        _write(compared.as_json() if options.json else comparison_text(compared))


def _write(what: object) -> None:
    sys.stdout.write((what if isinstance(what, str) else json.dumps(what)) + "\n")
    sys.stdout.flush()


def _progress(told: str) -> Callable[[float, float], None] | None:
    """Return what shows the progress of a run, on a terminal only."""
    if not sys.stderr.isatty():
        return None

    def show(passed_s: float, goodput: float) -> None:
        width = max(20, shutil.get_terminal_size().columns - 1)
        line = f"{told}: {passed_s:3.0f} s, {format_rate(goodput)}"
        sys.stderr.write("\r" + line[:width] + "\x1b[K\r")
        sys.stderr.flush()

    return show


def _list(*, as_json: bool) -> None:
    if as_json:
        scenarios = [asdict(scenario) for scenario in SCENARIOS]
        _write({"schema": 1, "scenarios": scenarios})
        return
    width = max(len(scenario.name) for scenario in SCENARIOS)
    rows = [f"{scenario.name:{width}}  {scenario.summary}" for scenario in SCENARIOS]
    _write("\n".join(rows))
