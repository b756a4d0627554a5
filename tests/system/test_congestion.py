"""The daemon learns a congestion control from real transfers, and keeps it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bpftune.lab.congestion import AVAILABLE
from bpftune.lab.contender import Bpftune
from bpftune.lab.link import EmulatedLink
from bpftune.lab.network import Lab
from bpftune.lab.traffic import Flows, Transfers
from bpftune.lab.triples import RMEM, WMEM
from bpftune.tuners.congestion.offer import DEFAULT

pytestmark = [
    pytest.mark.skipif(
        "bbr" not in AVAILABLE.read_text().split(), reason="this kernel has no bbr now"
    ),
    pytest.mark.real_machine("a fast path is filled for minutes"),
]

DEADLINE_S = 120.0
HURRY = 10.0
ROOMY = "4096 131072 67108864"


@pytest.fixture
def path(lab: Lab) -> EmulatedLink:
    """A path with a queue of eight times what it holds: bbr leaves it empty."""
    sender, receiver = lab.namespace("sender"), lab.namespace("receiver")
    link = lab.emulated_link(
        sender,
        receiver,
        rate_bits_per_s=50_000_000,
        rtt_ns=20_000_000,
        queue_bytes=1_000_000,
    )
    sender.set_sysctl(WMEM, ROOMY)
    receiver.set_sysctl(RMEM, ROOMY)
    sender.set_congestion_control("cubic")
    return link


@pytest.fixture
def begin(tmp_path: Path) -> Iterator[Callable[[], Bpftune]]:
    """Return what starts daemons that know what those before learned."""
    started: list[Bpftune] = []

    def start() -> Bpftune:
        tuner = Bpftune(state=tmp_path, hurry=HURRY)
        started.append(tuner)
        tuner.start()
        return tuner

    yield start
    for tuner in started:
        tuner.stop()


def wait(flows: Flows, tuner: Bpftune, came: Callable[[], bool]) -> None:
    end_s = time.monotonic() + DEADLINE_S
    while not came():
        assert time.monotonic() < end_s, [one["why"] for one in tuner.records]
        flows.wait_s(0.2)
        tuner.check()


def told(tuner: Bpftune, kind: str) -> list[dict[str, Any]]:
    return [one for one in tuner.records if one["record"] == kind]


def since(flows: Flows, begun_s: float) -> list[str]:
    """Return what transfers used that began since then, on the monotonic clock."""
    return [
        one["congestion_control"]
        for one in flows.transfers()
        if one["began_s"] + flows.started_s > begun_s
    ]


def test_what_is_better_is_found_kept_and_left_to_the_admin(
    lab: Lab, path: EmulatedLink, begin: Callable[[], Bpftune], tmp_path: Path
) -> None:
    first = begin()
    flows = lab.traffic(path, Transfers(transfer_bytes=5_000_000, think_s=0.02))
    wait(flows, first, lambda: bool(told(first, "chosen")))
    record = told(first, "chosen")[0]
    assert record["why"].startswith("bbr from now on: ")
    assert "same rate, queueing delay" in record["why"]
    assert record["destination"] == "10.77.0.0/24"
    assert record["evidence"]["arm"] == "bbr"
    assert told(first, "tries")[0]["why"].startswith("tries bbr for new connections")
    chosen_s = time.monotonic()
    wait(flows, first, lambda: len(since(flows, chosen_s)) >= 3)
    assert set(since(flows, chosen_s)) == {"bbr"}
    first.stop()
    stopped_s = time.monotonic()
    wait(flows, first, lambda: "cubic" in since(flows, stopped_s))
    (kept,) = tmp_path.glob("tuner-congestion.json")
    assert kept.stat().st_mode & 0o777 == 0o600

    second = begin()
    begun_s = time.monotonic()
    wait(flows, second, lambda: "bbr" in since(flows, begun_s))
    assert not told(second, "tries"), [one["why"] for one in second.records]
    assert flows.sender is not None
    used = since(flows, begun_s)
    assert used.index("bbr") <= 4, used

    sender = path.ends[0].namespace
    sender.set_sysctl(DEFAULT, "reno")
    wait(flows, second, lambda: bool(told(second, "yielded")))
    record = told(second, "yielded")[0]
    assert record["tunable"] == DEFAULT
    assert record["netns"]["name"] == sender.name
    yielded_s = time.monotonic()
    wait(flows, second, lambda: len(since(flows, yielded_s)) >= 3)
    assert set(since(flows, yielded_s)) == {"reno"}, "the admin's, for all"
