"""What an emulated machine is told, and how its end is taken."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest

from tests.vm import guest
from tests.vm.errors import CannotTryError
from tests.vm.guest import Guest, Machines
from tests.vm.kernels import Kernel


def a_guest(tmp_path: Path, *command: str) -> Guest:
    kernel = Kernel("6.1.0-1-cloud-amd64", tmp_path)
    environment = {"WORDS": "two words"}
    return Guest(kernel, command, tmp_path / "a b", tmp_path, environment, Machines())


def test_the_script_is_quoted_and_complete(tmp_path: Path) -> None:
    script = a_guest(tmp_path, "sh", "-c", "echo $HOME").script()
    assert "setsid sh -c 'echo $HOME'\n" in script
    assert "export WORDS='two words'\n" in script
    assert f"cd '{tmp_path}/a b'" in script
    assert "{" not in script.replace("${", "")
    subprocess.run(["sh", "-n"], input=script, text=True, check=True)


def test_the_first_script_is_one_of_the_shells() -> None:
    text = (guest.HERE / "init.sh").read_text().replace("{modules}", "a.ko b.ko")
    subprocess.run(["sh", "-n"], input=text, text=True, check=True)


def test_a_machine_is_heard_until_it_ends() -> None:
    heard: list[str] = []
    machines = Machines()
    with machines.start(["printf", r"one\r\ntwo\n"]) as machine:
        in_time, cpu_s = guest._listen(machine, heard.append, time.monotonic() + 30)
    assert heard == ["one", "two"]
    assert in_time
    assert 0 <= cpu_s < 30
    assert machine.returncode == 0


def test_a_machine_that_takes_too_long_is_ended() -> None:
    with Machines().start(["sleep", "60"]) as machine:
        in_time, _ = guest._listen(machine, print, time.monotonic())
    assert not in_time
    assert machine.returncode == -9


def test_all_machines_can_be_stopped() -> None:
    machines = Machines()
    with machines.start(["sleep", "60"]) as machine:
        machines.stop()
        assert machine.wait(30) == -9
    with pytest.raises(CannotTryError), machines.start(["true"]):
        pass


def test_what_is_missing_is_named_with_its_package(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(CannotTryError, match=r"apt-get install qemu-system-x86"):
        guest._find("qemu-system-x86_64", "qemu-system-x86")
