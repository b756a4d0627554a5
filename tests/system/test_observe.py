"""Observing writes nothing: each sysctl stays, where tuning would change one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from tests.system.conftest import Start
from tests.system.daemon import value
from tests.system.paths import SMALL, path, wait_busy

from bpftune.lab.namespaces import Namespace
from bpftune.lab.network import Lab
from bpftune.lab.traffic import Bulk

ROOT = Path("/proc/sys")
MOVES_BY_ITSELF = {
    "fs/aio-nr",  # requests under way
    "fs/dentry-state",  # the dentry cache
    "fs/file-nr",  # open files
    "fs/inode-nr",
    "fs/inode-state",
    "fs/quota/syncs",
    "kernel/ns_last_pid",  # the last process made
    "kernel/pty/nr",  # terminals
    "kernel/random/entropy_avail",
    "kernel/random/uuid",  # another each time
    "vm/stat_refresh",  # reading it does something
}
"""What the kernel itself writes there, tuner or not."""

DEVICES = ("net/ipv4/conf/", "net/ipv4/neigh/", "net/ipv6/conf/", "net/ipv6/neigh/")
"""Directories that come and go with devices, those of the laboratory too."""

ENOUGH = 300  # files that every kernel has
MOST_BYTES = 1 << 16


def files(directory: Path) -> Iterator[Path]:
    for parent, _, names in os.walk(directory):
        for name in names:
            yield Path(parent, name)


def everything(directory: Path = ROOT) -> dict[str, bytes]:
    """Return each readable sysctl under *directory*, but for what moves by itself."""
    found = {}
    for file in files(directory):
        name = str(file.relative_to(ROOT))
        if name in MOVES_BY_ITSELF or name.startswith(DEVICES):
            continue
        with suppress(OSError):  # some are for writing, or only for some states
            descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK)
            try:
                found[name] = os.read(descriptor, MOST_BYTES)
            finally:
                os.close(descriptor)
    return found


def in_namespace(namespace: Namespace) -> dict[str, bytes]:
    return namespace.inside(lambda: everything(ROOT / "net"))


@pytest.mark.slow
def test_observing_writes_nothing(lab: Lab, start: Start) -> None:
    sender, link = path(lab)
    namespaces = [sender, link.ends[1].namespace]
    wait_busy(lab.traffic(link, Bulk()))
    before = everything(), [in_namespace(one) for one in namespaces]
    assert len(before[0]) > ENOUGH
    assert all("net/ipv4/tcp_wmem" in one for one in before[1])

    daemon = start(verb="observe")
    # Tuning would have changed it by then, see test_daemon.
    advice = daemon.wait_kind("advice", sender, 30)
    assert advice["old"] == list(SMALL)
    daemon.stop()

    after = everything(), [in_namespace(one) for one in namespaces]
    for old, new in zip([before[0], *before[1]], [after[0], *after[1]], strict=True):
        assert {name for name in old if new.get(name) != old[name]} == set()
        assert set(new) == set(old)
    assert value(sender) == list(SMALL)
    assert not daemon.of_kind("change")
