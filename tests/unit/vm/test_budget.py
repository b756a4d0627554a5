"""Numbers of instructions that are compared, and where they come from."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.vm import budget
from tests.vm.budget import TOLERATED, TOLERATED_ELSEWHERE, Cost, growth, nearest
from tests.vm.kernels import KERNELS

KNOWN = {
    "6.1": "6.1.0-50-cloud-amd64",
    "6.12": "6.12.117+deb13",
    "6.18": "6.18.15+deb13",
    "newest": "7.3.4+deb13",
}


@pytest.mark.parametrize(
    ("release", "kernel"),
    [
        ("6.1.0-9-amd64", "6.1"),
        ("6.8.0-31-generic", "6.1"),
        ("6.12.3", "6.12"),
        ("6.18.44", "6.18"),
        ("7.2.1", "6.18"),
        ("7.3.0", "newest"),
        ("8.0.1", "newest"),
        ("5.15.0", "6.1"),
    ],
)
def test_a_kernel_is_compared_with_the_nearest_older_one(
    release: str, kernel: str
) -> None:
    assert nearest(release, KNOWN) == kernel


def test_growth_is_told_beyond_what_is_tolerated() -> None:
    then = {"a.b": Cost(1000, 8000), "a.small": Cost(20, 160)}
    same = {"a.b": Cost(1200, 9600), "a.small": Cost(70, 560)}
    assert growth(same, then, TOLERATED) == []
    small = {"a.small": then["a.small"]}
    assert growth({"a.b": Cost(1201, 8000), **small}, then, TOLERATED) == [
        "a.b: the verifier goes through 1201 instructions, not 1000"
    ]
    assert growth({"a.b": Cost(10, 9601), **small}, then, TOLERATED) == [
        "a.b has 9601 bytes, not 8000"
    ]
    assert growth({"a.b": Cost(2000, 8000), **small}, then, TOLERATED_ELSEWHERE) == []
    assert "a.new is new" in growth({**then, "a.new": Cost(1, 8)}, then, TOLERATED)[0]
    assert growth(small, then, TOLERATED) == ["a.b is refused now"]


def test_another_compiler_or_kernel_is_given_more_room() -> None:
    kernels = {name: {"release": release} for name, release in KNOWN.items()}
    text = json.dumps({"clang": "14.0.6", "kernels": kernels})

    def share(release: str, clang: str) -> float:
        return budget.tolerated(text, nearest(release, KNOWN), release, clang)

    assert share("6.12.9", "14.0.0") == TOLERATED
    assert share("6.12.9", "19.1.7") == TOLERATED_ELSEWHERE
    assert share("6.17.2", "14.0.6") == TOLERATED_ELSEWHERE


def test_what_guests_measured_is_gathered_and_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for kernel, release in KNOWN.items():
        out = tmp_path / kernel
        out.mkdir()
        (out / "up").write_text(f"{release} 9.50\n")
        (out / "programs").write_text('{"a.b": [12, 96]}')
    file = tmp_path / "budget.json"
    monkeypatch.setattr(budget, "FILE", file)
    monkeypatch.setattr(budget, "clang_version", lambda: "14.0.6")
    assert budget.main([str(tmp_path)]) == 0
    text = file.read_text()
    assert '"a.b": [12, 96]' in text
    assert budget.releases(text) == KNOWN
    assert list(budget.releases(text)) == list(KNOWN)
    assert budget.read("6.18", text) == {"a.b": Cost(12, 96)}


def test_each_kernel_has_its_numbers() -> None:
    text = budget.FILE.read_text()
    assert set(budget.releases(text)) == set(KERNELS)
    for kernel in KERNELS:
        assert "congestion.apply_arm" in budget.read(kernel, text)
