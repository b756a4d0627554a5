from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bpftune.lab.contender import (
    Bpftune,
    Command,
    ContenderError,
    SysctlFile,
    contender,
)

if TYPE_CHECKING:
    from pathlib import Path


def test_the_specification_names_the_tuner(tmp_path: Path) -> None:
    file = tmp_path / "a.conf"
    file.write_text("# said\n\nnet.ipv4.tcp_wmem = 1 2 3\n-net/core/somaxconn=9\n")
    tuner = contender(f"sysctl:{file}")
    assert isinstance(tuner, SysctlFile)
    assert tuner.values == [
        ("net.ipv4.tcp_wmem", "1 2 3"),
        ("-net.core.somaxconn", "9"),
    ]
    command = contender("cmd:tuned --daemon 'two words'")
    assert isinstance(command, Command)
    assert command.command == ["tuned", "--daemon", "two words"]
    assert isinstance(contender("self"), Bpftune)
    assert contender("none").cost() == {}


@pytest.mark.parametrize(
    "text", ["", "other", "sysctl", "sysctl:/nowhere", "cmd:", "cmd:'", "self:1"]
)
def test_refuses_what_names_no_tuner(text: str) -> None:
    with pytest.raises(ContenderError):
        contender(text)


def test_a_broken_sysctl_file_is_told_by_line(tmp_path: Path) -> None:
    file = tmp_path / "a.conf"
    file.write_text("good = 1\nbad\n")
    with pytest.raises(ContenderError, match=r"a\.conf:2"):
        contender(f"sysctl:{file}")


def test_records_are_kept_and_other_lines_explain() -> None:
    tuner = Bpftune()
    tuner.hear('{"record": "started"}')
    tuner.hear("no libbpf")
    assert [record["record"] for record in tuner.records] == ["started"]
    assert list(tuner.tail) == ["no libbpf"]
