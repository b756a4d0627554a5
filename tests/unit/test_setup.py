"""setup/install-dependencies, with a package manager that only notes its words."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "setup/install-dependencies"
TOOLS = ("sh", "sed", "env", "grep")
FOR_VM = ("qemu-system-x86_64", "virtiofsd", "busybox", "depmod", "zstd", "dpkg-deb")


class Machine:
    """Commands that a machine has, in a directory of its own."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.log = path / "log"
        for name in TOOLS:
            (path / name).symlink_to(str(shutil.which(name)))
        self.has("python3", "exit 0")
        for name in ("ip", "sysctl"):
            self.has(name, "exit 0")

    def has(self, name: str, script: str) -> None:
        file = self.path / name
        file.write_text(f"#!/bin/sh\n{script}\n")
        file.chmod(0o755)

    def notes(self, name: str) -> None:
        self.has(name, f'echo "{name} $*" >>{self.log}')

    def is_uid(self, uid: int) -> None:
        self.has("id", f"echo {uid}")

    def install(self, *purpose: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(self.path / "sh"), str(SCRIPT), "python3", *purpose],
            env={"PATH": str(self.path)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_says_nothing_when_all_is_there(machine: Machine) -> None:
    machine.has("clang-16", "exit 0")
    machine.notes("apt-get")
    answer = machine.install()
    assert (answer.returncode, answer.stdout, answer.stderr) == (0, "", "")
    assert not machine.log.exists()


def test_installs_what_is_missing_and_says_so(machine: Machine) -> None:
    machine.is_uid(0)
    machine.notes("apt-get")
    machine.has("python3", "exit 1")
    answer = machine.install()
    assert answer.returncode == 0, answer.stderr
    assert "missing: clang Python's venv. Installing: apt-get" in answer.stdout
    assert machine.log.read_text().splitlines() == [
        "apt-get update -q",
        "apt-get install -y --no-install-recommends clang python3-venv",
    ]


def test_becomes_root_by_sudo(machine: Machine) -> None:
    machine.is_uid(1000)
    machine.notes("apt-get")
    machine.has("sudo", f'echo "sudo $*" >>{machine.log}')
    answer = machine.install()
    assert "Installing: sudo apt-get install" in answer.stdout
    assert machine.log.read_text().startswith("sudo apt-get update")


def test_without_sudo_it_says_what_root_should_run(machine: Machine) -> None:
    machine.is_uid(1000)
    machine.notes("dnf")
    answer = machine.install()
    assert answer.returncode == 1
    assert "Please run as root: dnf install -y clang" in answer.stderr


def test_without_a_package_manager_it_says_what_is_missing(machine: Machine) -> None:
    machine.is_uid(0)
    answer = machine.install()
    assert answer.returncode == 1
    assert "missing: clang" in answer.stderr


def test_goes_on_when_the_list_of_packages_cannot_be_renewed(machine: Machine) -> None:
    machine.is_uid(0)
    machine.has("apt-get", f'echo "$1" >>{machine.log}; [ "$1" != update ]')
    answer = machine.install()
    assert answer.returncode == 0
    assert machine.log.read_text().split() == ["update", "install"]


def test_what_emulated_machines_need_is_installed_for_them_only(
    machine: Machine,
) -> None:
    machine.is_uid(0)
    machine.has("clang-16", "exit 0")
    machine.notes("apt-get")
    assert machine.install().stdout == ""
    answer = machine.install("vm")
    assert answer.returncode == 0, answer.stderr
    assert "missing: QEMU" in answer.stdout
    _, command = machine.log.read_text().splitlines()
    assert {"qemu-system-x86", "busybox-static"} <= set(command.split())
    for name in FOR_VM:
        machine.has(name, "exit 0")
    machine.log.unlink()
    assert "QEMU" not in machine.install("vm").stdout


def test_a_busybox_that_needs_libraries_will_not_do(machine: Machine) -> None:
    machine.is_uid(0)
    machine.has("clang-16", "exit 0")
    machine.notes("apt-get")
    for name in FOR_VM:
        machine.has(name, "exit 0")
    machine.has("ldd", "echo 'libc.so.6 => /lib/libc.so.6'")
    assert "missing: static busybox" in machine.install("vm").stdout
