"""Debian's kernels, fetched with apt and unpacked; nothing of it is installed.

The machine's own package sources stay as they are: apt is run with lists, sources
and a cache of ours, on the archive that the machine uses already.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.vm.errors import CannotTryError

if TYPE_CHECKING:
    from collections.abc import Iterable

NEWEST = "newest"
KERNELS = ("6.1", "6.12", "6.18", NEWEST)
"""The oldest that is supported, the long-term ones since, and the newest packaged."""

# Where a series is found. A release of Debian keeps the series it came with.
SUITES = {"6.1": ("bookworm",), "6.12": ("trixie",)}
OTHERS = ("trixie-backports", "sid")

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
LISTS_AGE_S = 7 * 86400.0
ARCHIVE = "BPFTUNE_DEBIAN_ARCHIVE"
CACHE = "BPFTUNE_VM_CACHE"

# Of several builds the small one for virtual machines: it has all that we test.
FLAVOUR = "cloud-amd64"
_IMAGE = re.compile(rf"linux-image-(\d[\w.+~-]*-{FLAVOUR})")


@dataclass(frozen=True, slots=True)
class Kernel:
    """A kernel that was unpacked: its ``uname -r``, image and modules."""

    release: str
    directory: Path

    @property
    def image(self) -> Path:
        """What the boot loader would load."""
        return self.directory / "vmlinuz"

    @property
    def modules(self) -> Path:
        """What is ``/lib/modules`` under this kernel."""
        return self.directory / "modules"


def cache_directory() -> Path:
    """Return where kernels are kept between runs; ``BPFTUNE_VM_CACHE`` moves it."""
    if named := os.environ.get(CACHE):
        return Path(named)
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home, "bpftune", "vm")


def version_of(release: str) -> tuple[int, ...]:
    """Return the numbers in a release, to tell which of two is newer."""
    return tuple(map(int, re.findall(r"\d+", release)))


def pick(series: str, releases: Iterable[str]) -> str | None:
    """Return the newest release of *series*, ``6.12`` or ``newest``; None: none."""
    found = [
        one
        for one in releases
        if series == NEWEST or re.match(rf"{re.escape(series)}(?!\d)", one)
    ]
    return max(found, key=version_of, default=None)


def releases_in(package_names: Iterable[str]) -> list[str]:
    """Return the releases whose images are among the packages."""
    matches = map(_IMAGE.fullmatch, package_names)
    return [match[1] for match in matches if match and "-rt-" not in match[1]]


def packages_of(release: str, package_names: Iterable[str]) -> list[str]:
    """Return the packages with the image and the modules of *release*.

    It was one package up to 6.18. Then the image moved to ``linux-binary-``, and
    since 7.2 the modules have a package as well.
    """
    names = set(package_names)
    parts = [f"linux-binary-{release}", f"linux-modules-{release}"]
    return [name for name in parts if name in names] or [f"linux-image-{release}"]


def archive() -> str:
    """Return the address of the Debian archive that this machine uses."""
    if named := os.environ.get(ARCHIVE):
        return named
    if shutil.which("apt-get") is None:
        raise CannotTryError("there is no apt-get", "kernels are Debian's packages")
    answer = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(REPO_URI)"],
        capture_output=True,
        text=True,
        check=False,
    )
    for line in answer.stdout.splitlines():
        if line.rstrip("/").endswith("/debian"):
            return line.rstrip("/")
    raise CannotTryError(
        "apt has no archive of Debian among its sources",
        f"name one in the environment variable {ARCHIVE}",
    )


class Suite:
    """One suite of Debian's archive as apt sees it, apart from the machine's own."""

    def __init__(self, name: str, cache: Path) -> None:
        """Prepare the directories; ``renew`` gets the lists."""
        self.name = name
        self.directory = cache / "apt" / name
        self.lists = self.directory / "lists"
        sources = self.directory / "sources.list"
        for path in (self.lists / "partial", self.directory / "archives" / "partial"):
            path.mkdir(parents=True, exist_ok=True)
        if not KEYRING.exists():
            raise CannotTryError(
                f"{KEYRING} is missing", "apt-get install debian-archive-keyring"
            )
        sources.write_text(f"deb [signed-by={KEYRING}] {archive()} {name} main\n")
        self._options = [
            "-qq",
            f"-oDir::Etc::SourceList={sources}",
            "-oDir::Etc::SourceParts=/dev/null",
            f"-oDir::State::Lists={self.lists}",
            f"-oDir::Cache={self.directory}",
            # Root's directory is not for the user _apt.
            "-oAPT::Sandbox::User=root",
            "-oAcquire::Languages=none",
            "-oAcquire::Retries=3",
        ]

    def _run(self, command: str, *words: str, where: Path | None = None) -> str:
        answer = subprocess.run(
            [command, *self._options, *words],
            cwd=where,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if answer.returncode:
            why = answer.stderr.strip().splitlines()[-1:] or ["no reason given"]
            raise CannotTryError(f"{command} {words[0]} of {self.name}: {why[0]}")
        return answer.stdout

    def renew(self) -> None:
        """Get the lists of packages, unless they are from this week."""
        found = [path.stat().st_mtime for path in self.lists.glob("*Packages*")]
        stamp = self.directory / "renewed"
        if found and time.time() - stamp.stat().st_mtime < LISTS_AGE_S:
            return
        try:
            self._run("apt-get", "update")
        except CannotTryError:
            if not found:  # old lists are better than none
                raise
        stamp.touch()

    def package_names(self) -> list[str]:
        """Return the names of all packages of kernels."""
        text = self._run("apt-cache", "search", "--names-only", f"^linux-.*{FLAVOUR}$")
        return [line.split()[0] for line in text.splitlines()]

    def unpack(self, packages: Iterable[str], into: Path) -> None:
        """Fetch the packages and unpack them into a directory."""
        with tempfile.TemporaryDirectory(dir=self.directory) as name:
            where = Path(name)
            self._run("apt-get", "download", *packages, where=where)
            for package in where.glob("*.deb"):
                subprocess.run(["dpkg-deb", "-x", package, into], check=True)


def _arrange(unpacked: Path, release: str, made: Path) -> None:
    """Put image and modules of what was unpacked where ``Kernel`` has them."""
    images = [
        *unpacked.glob("boot/vmlinuz-*"),
        *unpacked.glob("**/lib/modules/*/vmlinuz"),
    ]
    modules = [*unpacked.glob("lib/modules"), *unpacked.glob("usr/lib/modules")]
    if not images or not modules:
        raise CannotTryError(f"the packages of Linux {release} have no image")
    made.mkdir(parents=True)
    shutil.move(images[0], made / "vmlinuz")
    # depmod looks below lib/modules.
    (made / "lib").mkdir()
    shutil.move(modules[0], made / "lib" / "modules")
    (made / "modules").symlink_to("lib/modules")
    subprocess.run(
        ["depmod", "-b", made, release], stderr=subprocess.DEVNULL, check=True
    )


def kept(series: str, cache: Path) -> Kernel | None:
    """Return the newest kernel of *series* that was fetched before."""
    directory = cache / "kernels"
    there = [path.parent.name for path in directory.glob("*/modules")]
    release = pick(series, there)
    return Kernel(release, directory / release) if release else None


def fetch(series: str, cache: Path | None = None) -> Kernel:
    """Return the kernel of *series*, got now if need be. Raises CannotTryError.

    One that is there is not fetched anew, but for ``newest`` where the lists of
    packages have a newer one.
    """
    cache = cache or cache_directory()
    have = kept(series, cache)
    if have and series != NEWEST:
        return have
    for name in SUITES.get(series, OTHERS):
        suite = Suite(name, cache)
        suite.renew()
        names = suite.package_names()
        release = pick(series, releases_in(names))
        if release is None:
            continue
        target = cache / "kernels" / release
        if not target.exists():
            with tempfile.TemporaryDirectory(dir=cache) as directory:
                unpacked, made = Path(directory, "unpacked"), Path(directory, "made")
                suite.unpack(packages_of(release, names), unpacked)
                _arrange(unpacked, release, made)
                target.parent.mkdir(exist_ok=True)
                made.rename(target)
        return Kernel(release, target)
    suites = ", ".join(SUITES.get(series, OTHERS))
    raise CannotTryError(f"there is no Linux {series} ({FLAVOUR}) in {suites}")
