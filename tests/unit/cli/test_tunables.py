from __future__ import annotations

import json

import pytest

from bpftune.cli import tunables as module
from bpftune.cli.tunables import tunables, tuners
from bpftune.kernel.errors import KernelError
from bpftune.model import Tunable, Tuner
from bpftune.tuners import Problem

HERE = Tunable("net.ipv4.tcp_wmem")
GONE = Tunable("net.ipv4.not_on_this_kernel", per_netns=False)


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    class Sysctls:
        def __init__(self, _: object) -> None:
            pass

        def read(self, _: object, name: str) -> tuple[int, ...]:
            if name == HERE.name:
                return (4096, 16384, 4194304)
            raise KernelError(f"{name}: no such file")

    tuner = Tuner("x", "Tune x", (HERE, GONE))
    found = ([tuner], [Problem("bad", "broken")])
    monkeypatch.setattr(module, "discover", lambda: found)
    monkeypatch.setattr(module, "Sysctls", Sysctls)


def test_lists_tunables_in_columns(capsys: pytest.CaptureFixture[str]) -> None:
    assert tunables() == 0
    output = capsys.readouterr()
    lines = output.out.splitlines()
    assert lines[0].split("  ")[0] == "TUNABLE"
    assert lines[1].endswith("each netns  4096 16384 4194304")
    assert lines[2].endswith("the host    not here")
    assert "tuner bad is left out: broken" in output.err


def test_lists_tunables_for_machines(capsys: pytest.CaptureFixture[str]) -> None:
    assert tunables(json=True) == 0
    parsed = json.loads(capsys.readouterr().out)
    assert parsed["schema"] == 1
    assert parsed["tunables"] == [
        {
            "tunable": HERE.name,
            "tuner": "x",
            "value": [4096, 16384, 4194304],
            "per_netns": True,
        },
        {"tunable": GONE.name, "tuner": "x", "value": None, "per_netns": False},
    ]
    assert parsed["problems"] == [{"name": "bad", "reason": "broken"}]


def test_lists_tuners(capsys: pytest.CaptureFixture[str]) -> None:
    assert tuners() == 0
    assert capsys.readouterr().out.splitlines() == [
        "x  Tune x (third-party)",
        f"   tunables: {HERE.name}, {GONE.name}",
        "   programs: none",
    ]


def test_lists_tuners_for_machines(capsys: pytest.CaptureFixture[str]) -> None:
    assert tuners(json=True) == 0
    (parsed,) = json.loads(capsys.readouterr().out)["tuners"]
    assert parsed["name"] == "x"
    assert parsed["built_in"] is False
