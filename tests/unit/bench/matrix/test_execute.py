from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from bench.matrix import __main__ as command
from bench.matrix import execute
from bench.matrix.cases import CASES
from bench.matrix.execute import Store, contender_of, kept_of, run, search
from bench.matrix.oracle import grid
from bench.matrix.plan import Planned
from bench.matrix.tuners import NONE, ORACLE, OURS, TUNERS, other
from tests.unit.lab.results import RESULT

from bpftune.lab.contender import ContenderError, SysctlFile, contender
from bpftune.lab.errors import LabError, NotPermittedError

if TYPE_CHECKING:
    from pathlib import Path

    from bpftune.lab.run import Result
    from bpftune.lab.scenario import Scenario

CASE = next(case for case in CASES if case.name == "long-fat")
LIMITS = [
    {"t_s": 0.0, "end": end, "tunable": f"net.ipv4.{name}", "value": [1, 2, 1 << 20]}
    for end, name in (("sender", "tcp_wmem"), ("receiver", "tcp_rmem"))
]
GOOD_RATES = {"bbr": 290e6, "cubic": 120e6}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "out", tmp_path / "oracle")


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Scenario, str, int]]:
    """Return what was run, by a laboratory that answers at once."""
    asked: list[tuple[Scenario, str, int]] = []

    def answer(scenario: Scenario, tuner: str, seed: int, _: Any = None) -> Result:
        asked.append((scenario, tuner, seed))
        rate = 120e6
        if tuner.startswith("sysctl:"):
            values = dict(_values(tuner))
            rate = GOOD_RATES[values.get("net.ipv4.tcp_congestion_control", "cubic")]
        seconds = int(scenario.seconds)
        return replace(
            RESULT,
            tuner=tuner,
            parameters={"seconds": scenario.seconds},
            values=LIMITS,
            series_bits_per_s=[rate] * seconds,
            transfers=[
                {"began_s": 0, "took_s": 1, "congestion_control": "bbr", "x": 1}
            ],
        )

    monkeypatch.setattr(execute, "run_scenario", answer)
    monkeypatch.setattr(execute, "algorithms", lambda: ["reno", "bbr", "cubic"])
    return asked


def _values(tuner: str) -> list[tuple[str, str]]:
    found = contender(tuner)
    assert isinstance(found, SysctlFile)
    return found.values


def begins(_what: str, _seconds: float) -> Any:
    return lambda _passed_s, _goodput: None


def test_the_fixed_values_are_files_that_the_lab_reads() -> None:
    for tuner in TUNERS[1:3]:
        names = [name for name, _ in _values(tuner.contender)]
        assert {"net.ipv4.tcp_rmem", "net.ipv4.tcp_wmem"} <= set(names)
        assert all(name.startswith("net.ipv4.") for name in names), "of a namespace"


def test_a_run_that_fails_is_told_and_one_that_cannot_is_raised(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object) -> None:
        raise LabError("no BTF")

    def refuse(*_: object) -> None:
        raise NotPermittedError("run it as root")

    planned = Planned(CASE, OURS, 2)
    monkeypatch.setattr(execute, "run_scenario", fail)
    found = run(planned, "self", None)
    assert (found["failed"], found["repeat"]) == ("no BTF", 2)
    assert "result" not in found
    monkeypatch.setattr(execute, "run_scenario", refuse)
    with pytest.raises(NotPermittedError):
        run(planned, "self", None)


def test_the_repeat_is_the_seed_and_little_of_transfers_is_kept(
    runs: list[tuple[Scenario, str, int]],
) -> None:
    found = run(Planned(CASE, NONE, 3), "none", None)
    assert [(scenario.seconds, seed) for scenario, _, seed in runs] == [(75, 3)]
    assert "connections" not in found["result"]
    assert found["result"]["transfers"] == [
        {"began_s": 0, "took_s": 1, "congestion_control": "bbr"}
    ]


def test_transfers_beside_are_kept_alike() -> None:
    side = {"transfers": [{"began_s": 1, "took_s": 2, "congestion_control": "x"}]}
    found = kept_of({**RESULT.as_json(), "beside": {"also": side}})
    assert found["beside"]["also"] == side


def test_the_oracle_is_searched_once_and_kept(
    store: Store, runs: list[tuple[Scenario, str, int]]
) -> None:
    found = search(CASE, store, begins)
    assert found["chosen"] == grid(CASE)[1]._asdict(), "bbr, with the least buffers"
    assert len(runs) == len(grid(CASE))
    assert {seed for _, _, seed in runs} == {0}
    assert search(CASE, store, begins) == found
    assert len(runs) == len(grid(CASE))
    path = contender_of(Planned(CASE, ORACLE, 1), found, store)
    assert ("net.ipv4.tcp_congestion_control", "bbr") in _values(path)
    assert contender_of(Planned(CASE, OURS, 1), found, store) == "self"
    assert [one.suffix for one in store.cache.iterdir()] == [".json"]


def test_only_the_very_same_run_is_not_run_again(
    store: Store, runs: list[tuple[Scenario, str, int]]
) -> None:
    planned = Planned(CASE, NONE, 1)
    assert store.saved(planned, "none") is None
    store.keep(planned, run(planned, "none", None))
    assert len(runs) == 1
    assert store.saved(planned, "none") is not None
    assert store.saved(planned, "cmd:other") is None
    longer = replace(CASE, seconds=CASE.seconds + 1)
    assert store.saved(planned._replace(case=longer), "none") is None
    store.keep(planned, {"failed": "no BTF"})
    assert store.saved(planned, "none") is None
    store.forget()
    assert not list((store.directory / "runs").iterdir())


def test_anything_else_that_the_lab_takes_is_a_column(tmp_path: Path) -> None:
    added = other("cmd:/usr/sbin/some-daemon --in --the --foreground | x", 1)
    assert added.learns
    assert len(added.title) <= 24
    file = tmp_path / "a.conf"
    file.write_text("net.ipv4.tcp_wmem = 1 2 3\n")
    assert not other(f"sysctl:{file}", 2).learns
    with pytest.raises(ContenderError):
        other("luck", 1)


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(command, "RESULTS", tmp_path)
    monkeypatch.setattr(command, "draw_pictures", lambda *_: None)
    return tmp_path


def test_the_matrix_is_written_printed_and_told_again(
    results: Path,
    runs: list[tuple[Scenario, str, int]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    asked = ["--quick", "--case", "long-fat", "--tuner", "cmd:true"]
    assert command.main(asked) == 0
    table = capsys.readouterr().out
    assert (
        "| 300 Mbit/s x 200 ms | goodput | 120 Mbit/s | - | - | - | 1.00x | 1.00x |"
        in table
    )
    written = json.loads((results / "quick" / "matrix.json").read_text())
    names = [one["name"] for one in written["tuners"]]
    assert names == ["none", "esnet", "tuned", "oracle", "bpftune", "other1"]
    assert set(written["cases"][0]["results"]) == {"none", "bpftune", "other1"}
    assert (results / "quick" / "table.md").read_text() in table
    count = len(runs)
    assert command.main([*asked, "--tell"]) == 0
    assert capsys.readouterr().out == table
    assert command.main([*asked, "--resume"]) == 0
    assert len(runs) == count == 3
    assert command.main(asked) == 0
    assert len(runs) == 2 * count


def test_nothing_is_told_where_nothing_was_run(
    results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.main(["--quick", "--tell"]) == 0
    assert capsys.readouterr().out == ""
    assert not (results / "quick" / "matrix.json").exists()


def test_where_the_oracle_fails_the_others_are_measured(
    results: Path,
    runs: list[tuple[Scenario, str, int]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(*_: object) -> None:
        raise LabError("path broken")

    monkeypatch.setattr(command, "search", fail)
    assert command.main(["--case", "long-fat", "--repeats", "1"]) == 0
    assert len(runs) == 4
    told = capsys.readouterr()
    assert "nothing found by hand: path broken" in told.err
    assert "| 120 Mbit/s | 1.00x | 1.00x | - | 1.00x |" in told.out
    assert (results / "core" / "matrix.json").exists()


def test_the_plan_is_told_without_running(
    capsys: pytest.CaptureFixture[str], runs: list[tuple[Scenario, str, int]]
) -> None:
    assert command.main(["--list", "--quick"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("6 runs, ")
    assert not runs


@pytest.mark.parametrize("asked", [["--case", "no-such"], ["--tuner", "luck"]])
def test_wrong_usage_is_refused(
    asked: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        command.main(asked)
    assert "no " in capsys.readouterr().err


def test_not_being_able_to_is_told(
    results: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def refuse(*_: object) -> None:
        raise NotPermittedError("run it as root")

    monkeypatch.setattr(execute, "run_scenario", refuse)
    assert command.main(["--quick"]) == 1
    assert "run it as root" in capsys.readouterr().err
    assert not (results / "quick" / "matrix.json").exists()
