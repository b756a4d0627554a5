from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from bench import host
from bench.host import host_sysctl

NAME = "net.core.rmem_max"


@pytest.fixture
def sysctl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(host, "SYSCTLS", tmp_path)
    file = tmp_path / "net/core/rmem_max"
    file.parent.mkdir(parents=True)
    file.write_text("4194304\n")
    return file


def test_a_sysctl_is_set_for_a_while_and_both_are_said(sysctl: Path) -> None:
    said: list[str] = []
    with host_sysctl({NAME: 212992}, said.append):
        assert sysctl.read_text() == "212992"
        assert "is 212992 now, was 4194304" in said[0]
    assert sysctl.read_text() == "4194304"
    assert "is 4194304 again" in said[1]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_it_is_put_back_whatever_ends_the_while(
    sysctl: Path, number: signal.Signals
) -> None:
    before = signal.getsignal(number)

    def be_told_to_end() -> None:
        with host_sysctl({NAME: 212992}, lambda _: None):
            os.kill(os.getpid(), number)

    with pytest.raises(KeyboardInterrupt):
        be_told_to_end()
    assert sysctl.read_text() == "4194304"
    assert signal.getsignal(number) == before
