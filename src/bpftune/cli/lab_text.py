"""What came of runs in the lab, for people."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from bpftune.lab.scenario import ROOMY_BYTES, Scenario
from bpftune.lab.triples import RMEM, WMEM
from bpftune.lab.values import format_duration, format_rate, format_size

if TYPE_CHECKING:
    from bpftune.lab.compare import Comparison
    from bpftune.lab.run import Result

BARS = " ▁▂▃▄▅▆▇█"


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


def result_text(result: Result) -> str:
    """Return what came of a run."""
    lines = [f"{result.scenario}, tuner {result.tuner}: {_path(result.parameters)}"]
    lines += [f"  {name:13} {told}" for name, told in _rows(result)]
    lines.append(f"  {'each second':13} {_sparkline(result.series_bits_per_s)}")
    return "\n".join(lines)


def comparison_text(compared: Comparison) -> str:
    """Return what came of pairs of runs."""
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
