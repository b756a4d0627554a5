"""Finding Debian's kernels among packages, with an apt that only answers."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from tests.vm import kernels
from tests.vm.errors import CannotTryError
from tests.vm.kernels import (
    KERNELS,
    NEWEST,
    Kernel,
    archive,
    fetch,
    kept,
    packages_of,
    pick,
    releases_in,
    version_of,
)

RELEASES = [
    "6.1.0-9-cloud-amd64",
    "6.1.0-50-cloud-amd64",
    "6.12.117+deb13-cloud-amd64",
    "6.18.15+deb13-cloud-amd64",
    "7.3.4+deb13-cloud-amd64",
    "7.3~rc2-cloud-amd64",
]


@pytest.mark.parametrize(
    ("series", "release"),
    [
        ("6.1", "6.1.0-50-cloud-amd64"),
        ("6.12", "6.12.117+deb13-cloud-amd64"),
        ("6.18", "6.18.15+deb13-cloud-amd64"),
        (NEWEST, "7.3.4+deb13-cloud-amd64"),
        ("6", "6.18.15+deb13-cloud-amd64"),
        ("5.10", None),
    ],
)
def test_the_newest_of_a_series_is_taken(series: str, release: str | None) -> None:
    assert pick(series, RELEASES) == release


def test_versions_are_compared_as_numbers() -> None:
    assert version_of("6.9.10-cloud") < version_of("6.12.1+deb13")


def test_only_images_of_the_small_flavour_count() -> None:
    names = [
        "linux-image-6.1.0-50-cloud-amd64",
        "linux-image-6.1.0-50-amd64",
        "linux-image-6.1.0-50-cloud-amd64-dbg",
        "linux-image-6.1.0-50-cloud-amd64-unsigned",
        "linux-image-6.1.0-50-rt-amd64",
        "linux-image-cloud-amd64",
        "linux-headers-6.1.0-50-cloud-amd64",
    ]
    assert releases_in(names) == ["6.1.0-50-cloud-amd64"]


def test_image_and_modules_are_found_however_they_are_packaged() -> None:
    old, middle, new = "6.1.0-50-cloud-amd64", "7.0.4-cloud-amd64", "7.3.4-cloud-amd64"
    names = [
        *(f"linux-image-{release}" for release in (old, middle, new)),
        *(f"linux-binary-{release}" for release in (middle, new)),
        f"linux-modules-{new}",
    ]
    assert packages_of(old, names) == [f"linux-image-{old}"]
    assert packages_of(middle, names) == [f"linux-binary-{middle}"]
    assert packages_of(new, names) == [f"linux-binary-{new}", f"linux-modules-{new}"]


def make(cache: Path, release: str) -> Kernel:
    kernel = Kernel(release, cache / "kernels" / release)
    (kernel.modules / release).mkdir(parents=True)
    kernel.image.touch()
    return kernel


def test_what_was_fetched_is_not_fetched_again(tmp_path: Path) -> None:
    make(tmp_path, "6.1.0-49-cloud-amd64")
    newest = make(tmp_path, "6.1.0-50-cloud-amd64")
    make(tmp_path, "6.12.117+deb13-cloud-amd64")
    assert kept("6.1", tmp_path) == newest
    assert fetch("6.1", tmp_path) == newest
    assert kept("6.18", tmp_path) is None


APT = """#!/bin/sh
echo "$0 $*" >>{log}
for word in "$@"; do
	case $word in
	indextargets) echo http://archive.test/debian-security/
		echo http://archive.test/debian/ ;;
	update) exit {update} ;;
	search) echo "linux-image-6.18.15+deb13-cloud-amd64 - Linux" ;;
	download) exit 100 ;;
	esac
done
"""


class Apt:
    """Commands of apt's that note their words."""

    def __init__(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.path = path
        self.log = path / "log"
        self.log.touch()
        monkeypatch.setenv("PATH", f"{path}:{os.environ['PATH']}")
        monkeypatch.delenv(kernels.ARCHIVE, raising=False)
        monkeypatch.setattr(kernels, "KEYRING", self.log)
        self.answers()

    def answers(self, update: int = 0) -> None:
        for name in ("apt-get", "apt-cache"):
            command = self.path / name
            command.write_text(APT.format(log=self.log, update=update))
            command.chmod(0o755)

    def ran(self, word: str) -> int:
        return sum(word in line.split() for line in self.log.read_text().splitlines())


@pytest.fixture
def apt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Apt:
    commands = tmp_path / "commands"
    commands.mkdir()
    return Apt(commands, monkeypatch)


def test_the_archive_is_the_machines_own(
    apt: Apt, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert archive() == "http://archive.test/debian"
    assert apt.ran("indextargets") == 1
    monkeypatch.setenv(kernels.ARCHIVE, "http://other.test/debian")
    assert archive() == "http://other.test/debian"


def test_what_cannot_be_had_is_no_failure_of_a_kernel(apt: Apt, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    with pytest.raises(CannotTryError, match=r"there is no Linux 6.99"):
        fetch("6.99", cache)
    with pytest.raises(CannotTryError, match=r"apt-get download of trixie-backports"):
        fetch("6.18", cache)
    apt.answers(update=100)
    with pytest.raises(CannotTryError, match=r"apt-get update of bookworm"):
        fetch("6.1", cache)


def test_lists_are_renewed_once_a_week_and_old_ones_will_do(
    apt: Apt, tmp_path: Path
) -> None:
    suite = kernels.Suite("sid", tmp_path)
    (suite.lists / "x_Packages").touch()
    stamp = suite.directory / "renewed"
    stamp.touch()
    suite.renew()
    assert apt.ran("update") == 0
    old_s = time.time() - kernels.LISTS_AGE_S - 1
    os.utime(stamp, (old_s, old_s))
    apt.answers(update=100)
    suite.renew()
    assert apt.ran("update") == 1


def test_the_kernels_are_told_apart_by_series() -> None:
    assert [pick(series, RELEASES) for series in KERNELS].count(None) == 0
