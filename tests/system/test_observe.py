"""``bpftune observe`` writes nothing: all of /proc/sys is as it was."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from tests.system.conftest import Start
from tests.system.paths import SMALL_TEXT, path, wait_busy

from bpftune.lab.namespaces import Namespace
from bpftune.lab.network import Lab
from bpftune.lab.traffic import Bulk

PROC_SYS = Path("/proc/sys")

# What changes, or differs from reader to reader, though nobody writes it.
KNOWN = (
    r"fs/(file-nr|inode-nr|inode-state|dentry-state|aio-nr)",  # objects now
    r"fs/quota/.*",  # counters
    r"fs/negative-dentry.*|fs/.*-nr",  # objects now
    r"kernel/random/(uuid|entropy_avail|boot_id)",  # uuid: new at each read
    r"kernel/ns_last_pid",  # the process started last
    r"kernel/pty/nr",  # terminals open now
    r"kernel/(tainted|perf_event_max_sample_rate)",  # set by the kernel
    r"kernel/sched_domain/.*|kernel/.*_lb_stats",  # measured by the kernel
    r"vm/stat_refresh",  # reading it does something
    r"net/netfilter/nf_conntrack_count",  # connections now
    r"net/ipv[46]/route/flush|vm/compact_memory|vm/drop_caches",  # to write
)
BY_ITSELF = re.compile("|".join(KNOWN))
LEAST_FILES = 100


def tree() -> dict[str, str]:
    """Return all of /proc/sys that can be read, as the calling thread has it."""
    found: dict[str, str] = {}
    for directory, _, names in os.walk(PROC_SYS):
        for name in names:
            file = Path(directory, name)
            key = str(file.relative_to(PROC_SYS))
            if BY_ITSELF.fullmatch(key):
                continue
            try:
                found[key] = file.read_text("utf-8", "replace")
            except OSError as error:
                found[key] = f"({error.strerror})"
    return found


def differences(before: dict[str, str], after: dict[str, str]) -> list[str]:
    return [
        f"{key}: {before.get(key)!r} -> {after.get(key)!r}"
        for key in sorted(before.keys() | after.keys())
        if before.get(key) != after.get(key)
    ]


def trees(*namespaces: Namespace) -> list[dict[str, str]]:
    return [tree(), *(netns.inside(tree) for netns in namespaces)]


@pytest.mark.slow
def test_the_whole_tree_is_as_it_was(lab: Lab, start: Start) -> None:
    sender, link = path(lab)
    idle = lab.namespace("idle")
    wait_busy(lab.traffic(link, Bulk()))
    before = trees(sender, idle)
    for one in before:
        assert len(one) > LEAST_FILES
    assert before[1]["net/ipv4/tcp_wmem"].split() == SMALL_TEXT.split()

    daemon = start(verb="observe")
    daemon.wait_kind("advice", sender, 30)
    during = trees(sender, idle)
    daemon.stop()
    after = trees(sender, idle)
    for was, is_now, at_the_end in zip(before, during, after, strict=True):
        assert differences(was, is_now) == []
        assert differences(was, at_the_end) == []
    for kind in ("change", "kept", "taken_back"):
        assert not daemon.of_kind(kind)


def test_a_difference_would_be_seen(lab: Lab) -> None:
    netns = lab.namespace("seen")
    before = netns.inside(tree)
    netns.set_sysctl("net.ipv4.tcp_wmem", "4096 16384 65537")
    (told,) = differences(before, netns.inside(tree))
    assert told.startswith("net/ipv4/tcp_wmem: ")
