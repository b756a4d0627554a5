from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

pytest.importorskip("matplotlib")

from bench.matrix import pictures
from bench.matrix.over_time import draw_run, marks
from bench.matrix.pictures import colours, draw, gains
from bench.matrix.report import by_case
from tests.unit.bench.matrix.matrices import CHOSEN, RECORDS, finished, matrix
from tests.unit.bench.matrix.runs import made

if TYPE_CHECKING:
    from pathlib import Path

CASE = CHOSEN[0]


def record(
    kind: str, why: str, at_s: float = 105.0, **more: object
) -> dict[str, object]:
    return {"record": kind, "why": why, "lab_monotonic_s": at_s, **more}


def words_of(*records: dict[str, object]) -> list[str]:
    run = made(CASE, mbit=[1] * 30, records=list(records))
    return [mark.words for mark in marks(run)]


def test_there_is_a_picture_of_the_gains_and_one_of_each_case(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pictures, "DPI", 20)
    found = matrix()
    del found["cases"][1:]
    draw(found, finished(), tmp_path)
    names = {file.name for file in tmp_path.iterdir()}
    assert names == {"gains.png", f"{CASE.name}.png"}


def test_the_gains_have_a_bar_for_each_tuner_but_none_and_each_measure() -> None:
    axes = gains(matrix()).axes[0]
    assert len(axes.get_yticklabels()) == 5
    legend = 4
    assert len(axes.patches) == 4 * 5 + legend


def test_changes_are_marked_when_they_were_and_said_shortly() -> None:
    found = marks(made(CASE, mbit=[1] * 30, records=RECORDS))
    assert [mark.at_s for mark in found] == [5, 12, 15]
    assert [mark.words for mark in found] == ["wmem 8 MiB", "tries", "chosen bbr"]


def test_decisions_about_algorithms_and_windows_have_their_names() -> None:
    assert words_of(
        record("tries", "tries bbr for new connections: unknown here, against cubic"),
        record("tries", "goes on with bbr: 3 against cubic 2, not yet sure"),
        record("ended", "stays cubic: bbr trial ended after 4 flows"),
        record("tries", "initial window of 20", evidence={"initial_window": 20}),
        record("kept", "rose", tunable="net.ipv4.tcp_rmem", new=[1, 2, 8 << 20]),
    ) == [
        "tries bbr",
        "goes on with bbr",
        "back to cubic",
        "tries window 20",
        "rmem kept",
    ]  # fmt: skip


def test_what_was_before_the_traffic_or_is_no_decision_is_not_marked() -> None:
    early = record("change", "it", 99.0, tunable="net.ipv4.tcp_wmem", new=[1, 2, 3])
    assert (
        words_of(early, record("started", "now"), record("chosen", "bbr", 199.0)) == []
    )


def test_transfers_and_answers_have_panels_where_they_are_the_subject() -> None:
    found = matrix()
    titles = {one["name"]: one["title"] for one in found["tuners"]}
    panels = {}
    for case in found["cases"]:
        runs = by_case(finished())[case["name"]]
        same = {name: of_repeat[1] for name, of_repeat in runs.items()}
        panels[case["name"]] = len(draw_run(case, same, titles, colours(titles)).axes)
    assert panels == {"long-fat": 3, "bufferbloat": 4, "shared": 5}


def test_tuners_of_others_have_a_colour() -> None:
    painted = colours({"none": "none", "other1": "cmd:x", "other2": "cmd:y"})
    assert len(set(painted.values())) == len(painted)
