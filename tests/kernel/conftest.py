"""Network namespaces to try things in, and BPF objects, built if need be."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import bpftune
from bpftune.compile import compile_all
from bpftune.kernel.bpf import BpfObject
from bpftune.kernel.bpf_error import BpfError
from bpftune.kernel.setns import call_in, cookie_here
from bpftune.model import NetnsCookie

PACKAGE = Path(bpftune.__file__).parent


@pytest.fixture(scope="session")
def objects() -> Path:
    """Return the package's directory, with all BPF objects in it."""
    compile_all(PACKAGE)
    return PACKAGE


@pytest.fixture(scope="session")
def map_iterators() -> None:
    """Skip where the kernel lets no program walk over a map's elements."""
    here = Path(__file__).parent
    compile_all(here)
    with BpfObject(here / "map_iterator.bpf.o") as nothing:
        try:
            nothing.load()
        except BpfError as error:
            pytest.skip(f"this kernel has no iterators over maps: {error}")


class NamedNetns:
    """A namespace made with ``ip netns add``; deleted at the end of the test."""

    def __init__(self, name: str) -> None:
        self.name = name
        subprocess.run(["ip", "netns", "add", name], check=True)
        self.path = Path("/run/netns", name)
        inum = self.path.stat().st_ino
        self.cookie: NetnsCookie = call_in(str(self.path), inum, cookie_here)

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["ip", "netns", "exec", self.name, *command],
            capture_output=True,
            text=True,
            check=False,
        )

    def delete(self) -> None:
        if self.path.exists():
            subprocess.run(["ip", "netns", "del", self.name], check=True)


@pytest.fixture
def make_netns() -> Iterator[Callable[..., NamedNetns]]:
    """Return a function that makes a namespace, with a name of its own or given."""
    made: list[NamedNetns] = []

    def make(name: str | None = None) -> NamedNetns:
        made.append(NamedNetns(name or f"bpftune-test-{os.getpid()}-{len(made)}"))
        return made[-1]

    try:
        yield make
    finally:
        for netns in made:
            netns.delete()
