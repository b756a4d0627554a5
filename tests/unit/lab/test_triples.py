from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from bpftune.lab.namespaces import Namespace
from bpftune.lab.triples import RMEM, WMEM, Watched, in_order, triple

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def sysctl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "value"
    file.write_text("4096 16384 4194304\n")
    monkeypatch.setattr(
        Namespace, "open_sysctl", lambda _self, _name: os.open(file, os.O_RDONLY)
    )
    return file


def test_only_changes_are_noted(sysctl: Path) -> None:
    watched = Watched("sender", Namespace("a"), WMEM)
    watched.look()
    watched.look()
    sysctl.write_text("4096 16384 8388608\n")
    watched.look()
    watched.close()
    assert [value for _, value in watched.values] == [
        [4096, 16384, 4194304],
        [4096, 16384, 8388608],
    ]


def test_the_values_of_both_ends_are_told_in_the_order_of_time(sysctl: Path) -> None:
    sender = Watched("sender", Namespace("a"), WMEM)
    receiver = Watched("receiver", Namespace("b"), RMEM)
    sender.values = [(9.0, [1]), (12.0, [3])]
    receiver.values = [(9.5, [2]), (11.25, [4])]
    told = in_order([sender, receiver], 10.0)
    assert [(one["t_s"], one["end"], one["value"]) for one in told] == [
        (0.0, "sender", [1]),
        (0.0, "receiver", [2]),
        (1.25, "receiver", [4]),
        (2.0, "sender", [3]),
    ]
    assert sysctl.exists()
    sender.close()
    receiver.close()


@pytest.mark.parametrize(
    ("initial", "maximum", "value"),
    [
        (None, None, (4096, 16384, 4 << 20)),
        (None, 65536, (4096, 16384, 65536)),
        (None, 8192, (4096, 8192, 8192)),
        (65536, None, (4096, 65536, 4 << 20)),
        (8 << 20, None, (4096, 8 << 20, 8 << 20)),
        (2048, 65536, (2048, 2048, 65536)),
        (32768, 1024, (1024, 1024, 1024)),
    ],
)
def test_three_numbers_stay_in_order(
    initial: int | None, maximum: int | None, value: tuple[int, int, int]
) -> None:
    assert triple((4096, 16384, 4 << 20), initial, maximum) == value
