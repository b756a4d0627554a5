"""``bpftune lab``: scenarios in throw-away namespaces, proved on this machine."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sys
from collections import Counter
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, NoReturn

from bpftune.lab.compare import Comparison, compare
from bpftune.lab.contender import KINDS, ContenderError, contender
from bpftune.lab.errors import LabError, NotPermittedError, NotSupportedError
from bpftune.lab.run import Result, run_scenario
from bpftune.lab.scenario import (
    PARAMETERS,
    ROOMY_BYTES,
    Scenario,
    ScenarioError,
    override,
)
from bpftune.lab.scenarios import SCENARIOS, find
from bpftune.lab.triples import RMEM, WMEM
from bpftune.lab.values import (
    ValueTextError,
    format_duration,
    format_rate,
    format_size,
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
BARS = " ▁▂▃▄▅▆▇█"


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
        _write(result.as_json() if options.json else _result_text(result))
    else:
        repeat = parse_count(options.repeat)
        pair = (tuners[0], tuners[1])
        compared = compare(scenario, pair, repeat, options.seed, _progress)
        _write(compared.as_json() if options.json else _comparison_text(compared))


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


def _path(scenario: dict[str, object]) -> str:
    made = Scenario(**scenario)  # type: ignore[arg-type]
    flows = f"{made.flows} flow{'s' if made.flows > 1 else ''} of {made.traffic}"
    if made.rate_bits_per_s is None:
        return f"veth, {flows}"
    rate, rtt = format_rate(made.rate_bits_per_s), format_duration(made.rtt_ns / 1e9)
    loss = f", {made.loss:.2%} loss" if made.loss else ""
    return f"{rate} x {rtt}{loss}, {flows}"


def _sparkline(series: list[float]) -> str:
    top = max(series, default=0.0)
    if top <= 0:
        return ""
    return "".join(BARS[round(value / top * (len(BARS) - 1))] for value in series)


def _rows(result: Result) -> list[tuple[str, str]]:
    rows = [
        ("goodput", format_rate(result.goodput_bits_per_s) + " at the end"),
        ("whole run", format_rate(result.goodput_whole_bits_per_s)),
    ]
    if len(result.per_flow_bits_per_s) > 1:
        flows = result.per_flow_bits_per_s
        rows.append(("flows", f"{min(flows) / 1e6:.1f} to {format_rate(max(flows))}"))
    rows += _beside(result)
    if result.requests_per_s is not None:
        rows.append((_completed(result), f"{result.requests_per_s:.4g} /s"))
    if result.latency_median_s is not None and result.latency_p99_s is not None:
        worst = format_duration(result.latency_p99_s)
        rows.append(
            ("latency", f"{format_duration(result.latency_median_s)}, p99 {worst}")
        )
    if result.rtt_min_s is not None and result.rtt_median_s is not None:
        usual = format_duration(result.rtt_median_s)
        rows.append(("RTT", f"{usual}, least {format_duration(result.rtt_min_s)}"))
    rows.append(("retransmits", f"{result.retransmitted_share:.3%}"))
    rows += _algorithms(result)
    rows += [_limit_row(result, tunable) for tunable in _shown(result)]
    if result.tuner_cost:
        cpu, rss = result.tuner_cost["cpu_s"], result.tuner_cost["rss_peak_bytes"]
        rows.append(("tuner's cost", f"{cpu:.2f} s of CPU, {format_size(rss)}"))
    return rows + [("caution", told) for told in _cautions(result)]


def _cautions(result: Result) -> list[str]:
    """Return what may have spoiled the run."""
    cautions = []
    if result.late_s is not None and result.late_s > 0.02:
        late = format_duration(result.late_s)
        cautions.append(f"busy machine: packets up to {late} late")
    if result.emulator_busy is not None and result.emulator_busy > 0.8:
        busy = f"{result.emulator_busy:.0%} of a CPU"
        cautions.append(f"too fast a path to emulate here: {busy}")
    if result.waited_s > 0.02:
        waited = format_duration(result.waited_s)
        cautions.append(f"busy machine: traffic waited {waited} now and then")
    tuned = [_word(tunable) for tunable, count in result.writes.items() if count]
    if tuned and result.tuner == "none":
        told = " and ".join(tuned)
        cautions.append(f"something else on this machine tuned {told}")
    return cautions


def _beside(result: Result) -> list[tuple[str, str]]:
    """Return what other traffic got."""
    rows = []
    if result.content_bits_per_s is not None:
        rows.append(("beside", format_rate(result.content_bits_per_s)))
    for what, told in result.beside.items():
        again = f"{told['retransmitted_share']:.3%} sent again"
        rows.append((what, f"{format_rate(told['goodput_bits_per_s'])}, {again}"))
    return rows


def _algorithms(result: Result) -> list[tuple[str, str]]:
    """Return how many transfers had which congestion control, if that differs."""
    used = Counter(one["congestion_control"] for one in result.transfers)
    told = ", ".join(f"{count} {name}" for name, count in used.most_common())
    return [("algorithms", told)] if len(used) > 1 else []


def _completed(result: Result) -> str:
    is_transfers = result.parameters["traffic"] == "transfers"
    return "transfers" if is_transfers else "requests"


def _word(tunable: str) -> str:
    return tunable.rpartition(".")[2]


def _shown(result: Result) -> list[str]:
    """Return the limits worth a row: ``tcp_rmem`` where it is short or changed."""
    limit = result.parameters["rmem_max_bytes"]
    is_short = limit is not None and limit < ROOMY_BYTES
    return [WMEM, RMEM] if is_short or result.writes[RMEM] else [WMEM]


def _limit_row(result: Result, tunable: str) -> tuple[str, str]:
    sizes = " -> ".join(format_size(value[-1]) for value in result.met(tunable))
    return f"{_word(tunable)} max", f"{sizes} ({result.writes[tunable]} writes)"


def _result_text(result: Result) -> str:
    lines = [f"{result.scenario}, tuner {result.tuner}: {_path(result.parameters)}"]
    lines += [f"  {name:13} {told}" for name, told in _rows(result)]
    lines.append(f"  {'each second':13} {_sparkline(result.series_bits_per_s)}")
    return "\n".join(lines)


def _comparison_text(compared: Comparison) -> str:
    first, second = compared.tuners
    lines = [f"{compared.scenario}: {_path(compared.pairs[0][0].parameters)}"]
    lines.append(f"  {'pair':>4}  {first[:22]:>22}  {second[:22]:>22}  ratio")
    for number, (pair, ratio) in enumerate(
        zip(compared.pairs, compared.ratios, strict=True), 1
    ):
        told = [
            f"{result.headline:.4g} {_completed(result)}/s"
            if result.requests_per_s is not None
            else format_rate(result.headline)
            for result in pair
        ]
        lines.append(f"  {number:4}  {told[0]:>22}  {told[1]:>22}  {ratio:.3f}")
    spread = f"{min(compared.ratios):.3f} to {max(compared.ratios):.3f}"
    lines.append(f"  {second} does {compared.ratio:.3f} times {first} ({spread})")
    return "\n".join(lines)
