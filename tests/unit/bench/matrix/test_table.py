from __future__ import annotations

from bench.matrix.report import report
from bench.matrix.table import gain_words, level_words, table
from bench.matrix.tuners import TUNERS
from tests.unit.bench.matrix.matrices import ABOUT, CHOSEN, finished, matrix


def cells_of(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_a_gain_has_its_spread_and_a_level_its_unit() -> None:
    gain = {"median": 2.25, "least": 2.0, "most": 12.34, "all": [2, 2.25, 12.34]}
    assert gain_words(gain) == "2.25x (2.00-12.3)"
    assert gain_words({**gain, "all": [2.25]}) == "2.25x"
    assert gain_words(None) == "-"
    measure = {"one_unit": 1e6, "unit": "Mbit/s"}
    assert level_words({"median": 126.8e6}, measure) == "127 Mbit/s"
    assert level_words(None, measure) == "-"


def test_there_is_a_line_for_each_measure_and_two_for_all() -> None:
    lines = [one for one in table(matrix()).splitlines() if one.startswith("|")]
    assert len(lines) == 2 + 1 + 2 + 2 + 2
    widths = {len(cells_of(line)) for line in lines}
    assert widths == {2 + 5 + 3}
    assert cells_of(lines[2])[:3] == ["300 Mbit/s x 200 ms", "goodput", "51.5 Mbit/s"]
    assert cells_of(lines[-2])[2] == "1"
    assert cells_of(lines[-1])[-4].endswith("shared, goodput of others")


def test_time_to_ninety_percent_and_writes_are_told_of_bpftune() -> None:
    lines = table(matrix()).splitlines()
    assert cells_of(lines[2])[-2:] == ["5 s", "0, 3 records"]
    found = matrix()
    of_ours = found["cases"][0]["results"]["bpftune"]
    of_ours["never_reached"] = 1
    assert cells_of(table(found).splitlines()[2])[-2] == "not in 1 of 2 runs"


def test_the_quick_matrix_has_a_table_of_the_same_shape() -> None:
    full = matrix()
    done = [one for one in finished() if one["tuner"] in {"none", "bpftune"}]
    quick = report(ABOUT | {"repeats": 1}, CHOSEN, TUNERS, done, {})
    of_full, of_quick = (table(one).splitlines()[2] for one in (full, quick))
    assert len(cells_of(of_full)) == len(cells_of(of_quick))
    assert cells_of(of_quick)[3:6] == ["-", "-", "-"]
    assert "nothing is known of the spread" in table(quick)
    assert "What has a - was not measured" in table(quick)
    assert "What has a - was not measured" not in table(full)


def test_a_kernel_without_bbr_is_told() -> None:
    found = matrix()
    assert "bbr" not in table(found)
    found["about"]["algorithms"] = ["reno", "cubic"]
    assert "did not offer bbr" in table(found)


def test_what_spoiled_runs_and_what_failed_is_told() -> None:
    found = matrix()
    assert "short of time" not in table(found)
    found["cases"][0]["results"]["none"]["cautions"] = ["packets late"]
    found["failed"] = [
        {"case": "lan", "tuner": "bpftune", "repeat": 2, "failed": "no BTF"}
    ]
    told = table(found)
    assert "short of time in long-fat (none: packets late)" in told
    cells = [cells_of(line) for line in told.splitlines()[2:4]]
    assert all(cell.endswith("x (1.19-1.20) \\*") for cell in cells[0][3:4])
    assert not any(cell.endswith("*") for cell in [cells[0][2], *cells[1]])
    assert "lan, bpftune, repeat 2 failed: no BTF" in told
