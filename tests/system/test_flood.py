"""Many events a second: clients are answered, and no event is unaccounted for."""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.system.conftest import Start
from tests.system.daemon import Daemon, wait_until
from tests.system.flood import EVENTS_PER_READ, SOURCE
from tests.system.installed import installed
from tests.system.talk import call, slowest_s

from bpftune.kernel.loader import FULL
from bpftune.lab.namespaces import Namespace
from bpftune.lab.network import Lab

pytestmark = pytest.mark.real_machine("answers are to come within a tenth of a second")

ANSWER_S = 0.1
FLOOD = Path(__file__).with_name("flood")
TICK_S = 0.005


@pytest.fixture(scope="module")
def site() -> Iterator[Path]:
    """Return a directory in which the tuner that is flooded is installed."""
    with installed(FLOOD) as made:
        yield made


class Pouring:
    """Reads the sysctl in *netns* at such a rate that so many events are sent."""

    def __init__(self, netns: Namespace, events_per_s: int) -> None:
        self.netns = netns
        self.rate = events_per_s
        self.events = 0
        self.took_s = 0.0
        self._end = threading.Event()
        self._thread = threading.Thread(target=netns.inside, args=(self._pour,))

    def __enter__(self) -> Pouring:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def _pour(self) -> None:
        fd = self.netns.open_sysctl(SOURCE)
        began_s = time.monotonic()
        try:
            while not self._end.wait(TICK_S):
                self.took_s = time.monotonic() - began_s
                while self.events < self.took_s * self.rate:
                    os.pread(fd, 64, 0)
                    self.events += EVENTS_PER_READ
        finally:
            os.close(fd)


def counted(daemon: Daemon) -> tuple[int, int]:
    """Return how many events the daemon has handled, and how many were lost."""
    text = call(daemon.run_dir / "control", "Metrics")["parameters"]["text"]

    def number(family: str) -> int:
        lines = re.findall(rf'^{family}_total{{.*"flood".*}} (\d+)', text, re.MULTILINE)
        return sum(map(int, lines))

    return number("bpftune_events_received"), number("bpftune_events_lost")


@pytest.mark.slow
@pytest.mark.parametrize("events_per_s", [10_000, 50_000])
def test_answers_while_many_events_arrive(
    lab: Lab, start: Start, site: Path, events_per_s: int
) -> None:
    netns = lab.namespace("many")
    daemon = start({"PYTHONPATH": str(site)})
    assert counted(daemon) == (0, 0)
    with Pouring(netns, events_per_s) as pouring:
        assert wait_until(lambda: counted(daemon)[0] > 0, 10)
        slowest = slowest_s(daemon.run_dir / "control")
        wait_until(lambda: pouring.took_s > 5, 10)
    sent = pouring.events
    print(f"{sent / pouring.took_s:.0f}/s, slowest answer {slowest * 1e3:.1f} ms")
    wait_until(lambda: sum(counted(daemon)) == sent, 20)
    handled, lost = counted(daemon)
    print(f"sent {sent}, handled {handled}, lost {lost}")
    assert slowest < ANSWER_S
    assert sent > 10_000 * pouring.took_s * 0.95
    assert handled + lost == sent
    daemon.stop()
    told = [one["lost"].get(FULL, 0) for one in daemon.of_kind("lost")]
    assert sum(told) >= lost  # other tuners' events found no room either
    assert not daemon.degraded(), daemon.heard()
