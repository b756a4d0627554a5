from __future__ import annotations

from math import inf, isnan, nan

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.metrics_core import Metric

from bpftune.metrics import MOST_COUNTED, Family, Tally, labels, render
from bpftune.records import Record
from tests.unit.fakes import RED
from tests.unit.openmetrics import read


def parsed(*families: Family) -> dict[str, Metric]:
    """Return what Prometheus itself reads in the text."""
    return read(render(families))


def test_prometheus_reads_what_was_written() -> None:
    found = parsed(
        Family("a", "counter", "Things.", {labels(x="1", y="b"): 3}),
        Family("b_bytes", "gauge", "Size.", {(): 1.5}, unit="bytes"),
        Family("c", "info", "What it is.", {labels(version="1.2"): 1}),
    )
    (sample,) = found["a"].samples
    assert (sample.name, sample.labels, sample.value) == (
        "a_total",
        {"x": "1", "y": "b"},
        3,
    )
    assert found["a"].documentation == "Things."
    assert found["b_bytes"].unit == "bytes"
    assert found["b_bytes"].samples[0].value == 1.5
    assert found["c"].samples[0].name == "c_info"


@given(st.text(max_size=60), st.text(max_size=60))
def test_any_text_in_a_label_or_help_is_one_line_that_is_read(
    value: str, text: str
) -> None:
    output = render([Family("a", "gauge", text, {labels(x=value): 1})])
    assert output.isascii() or "±" in output
    assert output.count("\n") == 4
    (sample,) = read(output)["a"].samples
    assert sample.labels.keys() == {"x"}
    assert "\n" not in sample.labels["x"]


@pytest.mark.parametrize("value", ['"', "\\", "\\n", 'a"b\\c', '\\"'])
def test_quotes_and_backslashes_come_out_as_they_went_in(value: str) -> None:
    found = parsed(Family("a", "gauge", value, {labels(x=value): 1}))
    assert found["a"].samples[0].labels["x"] == value


@given(st.floats() | st.integers(-(2**63), 2**63))
def test_any_number_is_read_again(number: float) -> None:
    value = parsed(Family("a", "gauge", "N.", {(): number}))["a"].samples[0].value
    assert value == number or (isnan(value) and isnan(number))


@pytest.mark.parametrize(
    ("number", "text"),
    [(inf, "+Inf"), (-inf, "-Inf"), (nan, "NaN"), (2**60, "1152921504606846976")],
)
def test_numbers_have_the_form_of_the_standard(number: float, text: str) -> None:
    assert f"a {text}\n" in render([Family("a", "gauge", "N.", {(): number})])


def test_nothing_to_tell_is_a_whole_text_too() -> None:
    assert render([]) == "# EOF\n"
    assert parsed(Family("a", "counter", "None."))["a"].samples == []


# --- counts --------------------------------------------------------------------


def record(kind: str, **more: object) -> Record:
    return Record(kind, "x", "t", "a.b", RED, (1,), (2,), extra=more)


def counts(tally: Tally) -> dict[str, dict[tuple[str, ...], float]]:
    return {
        family.name: {
            tuple(value for _, value in pairs): number
            for pairs, number in family.samples.items()
        }
        for family in tally.families()
    }


def test_counts_what_the_records_tell() -> None:
    tally = Tally()
    for kind in ("change", "change", "kept", "taken_back", "shrunk", "yielded"):
        tally.hear(record(kind))
    tally.hear(record("change", reason="admin"))
    tally.hear(record("rolled_back"))
    tally.hear(Record("degraded", "x", "t"))
    assert counts(tally) == {
        "bpftune_changes": {("t", "a.b", "trial"): 2, ("t", "a.b", "admin"): 1},
        "bpftune_reverts": {
            ("t", "a.b", "taken_back"): 1,
            ("t", "a.b", "shrunk"): 1,
            ("t", "a.b", "rolled_back"): 1,
        },
        "bpftune_yields": {("a.b",): 1},
    }


def test_a_plugin_cannot_fill_the_memory_with_names() -> None:
    tally = Tally()
    for number in range(2 * MOST_COUNTED):
        tally.hear(Record("change", "x", "t", f"a.b{number}"))
    assert len(counts(tally)["bpftune_changes"]) == MOST_COUNTED
