from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpftune.learned import MOST_SIZES, Learned
from bpftune.learned_file import MOST_BYTES, as_json, load, parsed, save
from bpftune.outcome import Finding
from tests.unit.fakes import BLUE, HOST, RED, TCP_WMEM
from tests.unit.test_outcome import trial

WMEM = TCP_WMEM.name
NOW_S = 1_800_000_000.0


def learned() -> Learned:
    """Somebody who knows a few things."""
    known = Learned(NOW_S)
    for number, netns in enumerate((HOST, RED, BLUE)):
        there = f"10.0.{number}.0/24"
        known.take_in(netns, WMEM, trial(destination=there), NOW_S)
    failed = trial(destination="10.9.9.0/24", finding=Finding.UNPAID, first_won=False)
    known.take_in(HOST, WMEM, failed, NOW_S)
    return known


def same(one: Learned, other: Learned) -> bool:
    return as_json(one) == as_json(other)


def test_what_is_saved_is_what_is_loaded(tmp_path: Path) -> None:
    path, known = tmp_path / "state" / "learned.json", learned()
    save(known, path)
    assert not known.changed
    again, problem = load(path, NOW_S)
    assert problem is None
    assert same(again, known)
    assert not again.changed
    assert path.stat().st_mode & 0o777 == 0o600
    assert [file.name for file in path.parent.iterdir()] == ["learned.json"]


def test_no_file_is_no_trouble(tmp_path: Path) -> None:
    again, problem = load(tmp_path / "learned.json", NOW_S)
    assert problem is None
    assert same(again, Learned(NOW_S))


def test_it_ages_while_nobody_runs(tmp_path: Path) -> None:
    path = tmp_path / "learned.json"
    save(learned(), path)
    again, _ = load(path, NOW_S + 7 * 86400)
    assert again.levels[WMEM][4].paid < 1.6


def test_what_lies_where_it_is_written_is_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / "learned.json.new").symlink_to(victim)
    save(learned(), tmp_path / "learned.json")
    assert victim.read_text() == "precious"
    assert load(tmp_path / "learned.json", NOW_S)[1] is None


def test_a_file_cut_at_any_byte_is_ignored_with_a_word(tmp_path: Path) -> None:
    path = tmp_path / "learned.json"
    save(learned(), path)
    data = path.read_bytes()
    for length in range(len(data)):
        path.write_bytes(data[:length])
        again, problem = load(path, NOW_S)
        assert problem is not None
        assert problem.startswith(f"{path} is ignored: ")
        assert same(again, Learned(NOW_S))


def test_a_file_that_cannot_be_read_is_ignored(tmp_path: Path) -> None:
    again, problem = load(tmp_path, NOW_S)
    assert problem == f"{tmp_path} is ignored: Is a directory"
    assert same(again, Learned(NOW_S))


def test_a_huge_or_deep_file_is_ignored(tmp_path: Path) -> None:
    path = tmp_path / "learned.json"
    path.write_bytes(b" " * (MOST_BYTES + 1))
    assert load(path, NOW_S)[1] == f"{path} is ignored: it is too large"
    path.write_bytes(b"[" * 200_000)
    assert load(path, NOW_S)[1] is not None


def broken(change: dict[str, Any]) -> dict[str, Any]:
    return {**as_json(learned()), **change}


LEVEL = [[0.0, 0.0, 0.0]] * 5
SIZE = ["red", WMEM, "10.0.1.0/24", 8 << 20, 0.5, NOW_S]


def size(**change: object) -> dict[str, Any]:
    names = ("netns", "tunable", "destination", "size", "gain", "seen")
    row = dict(zip(names, SIZE, strict=True)) | change
    return {"sizes": [list(row.values())]}


@pytest.mark.parametrize(
    "change",
    [
        {"schema": 2},
        {"schema": "1"},
        {"edges": [0.5]},
        {"aged_unix_s": "now"},
        {"aged_unix_s": True},
        {"aged_unix_s": float("nan")},
        {"aged_unix_s": float("inf")},
        {"levels": []},
        {"levels": {WMEM: LEVEL[:4]}},
        {"levels": {WMEM: [*LEVEL[:4], [0.0, 0.0]]}},
        {"levels": {WMEM: [*LEVEL[:4], [-1.0, 0.0, 0.0]]}},
        {"levels": {WMEM: [*LEVEL[:4], [1e9, 0.0, 0.0]]}},
        {"levels": {"": LEVEL}},
        {"levels": {f"net.x{number}": LEVEL for number in range(100)}},
        {"pairs": {WMEM: [3, 2]}},
        {"pairs": {WMEM: [-1, 2]}},
        {"pairs": {WMEM: [1.5, 2]}},
        {"pairs": {WMEM: [0, 10**9]}},
        {"sizes": {}},
        {"sizes": [["red"]]},
        size(netns=None),
        size(netns="x" * 300),
        size(tunable=7),
        size(size=0),
        size(size=2**31),
        size(size=True),
        size(size=8.5e6),
        size(gain=1e3),
        size(seen=-1),
        {"sizes": [[*SIZE[:2], f"{number}", *SIZE[3:]] for number in range(100)]},
        {"sizes": [[f"{number}", *SIZE[1:]] for number in range(MOST_SIZES + 1)]},
    ],
)
def test_what_is_out_of_form_or_bounds_is_ignored(
    tmp_path: Path, change: dict[str, Any]
) -> None:
    path = tmp_path / "learned.json"
    path.write_text(json.dumps(broken({})))
    assert load(path, NOW_S)[1] is None
    path.write_text(json.dumps(broken(change)))
    again, problem = load(path, NOW_S)
    assert problem is not None
    assert same(again, Learned(NOW_S))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner)
    ),
    max_leaves=12,
)


@given(st.sampled_from(sorted(as_json(learned()))), JSON)
def test_whatever_stands_in_a_field_is_used_or_refused_never_a_crash(
    field: str, thing: object
) -> None:
    try:
        known = parsed(broken({field: thing}))
    except ValueError:
        return
    known.age(NOW_S)
    json.dumps(as_json(known), allow_nan=False)
