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
from bpftune.lab.errors import LabError
from bpftune.lab.namespaces import Namespace

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


def test_a_sysctl_file_is_written_at_both_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "a.conf"
    file.write_text("net.ipv4.tcp_rmem = 1 2 3\n-no.such = 1\n")
    written = []

    def write(self: Namespace, name: str, value: str) -> None:
        if name == "no.such":
            raise LabError(name)
        written.append((self, name, value))

    monkeypatch.setattr(Namespace, "set_sysctl", write)
    sender, receiver = Namespace("a"), Namespace("b")
    contender(f"sysctl:{file}").start(sender, receiver)
    assert written == [
        (host, "net.ipv4.tcp_rmem", "1 2 3") for host in (sender, receiver)
    ]


def test_a_sysctl_file_may_choose_what_the_host_restricts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "a.conf"
    file.write_text("net.ipv4.tcp_congestion_control = bbr\n")
    chosen = []
    monkeypatch.setattr(
        Namespace, "set_congestion_control", lambda _, name: chosen.append(name)
    )
    contender(f"sysctl:{file}").start(Namespace("a"), Namespace("b"))
    assert chosen == ["bbr", "bbr"]


def test_records_are_kept_and_other_lines_explain() -> None:
    tuner = Bpftune()
    tuner.hear('{"record": "started"}')
    tuner.hear("no libbpf")
    assert [record["record"] for record in tuner.records] == ["started"]
    assert list(tuner.tail) == ["no libbpf"]
