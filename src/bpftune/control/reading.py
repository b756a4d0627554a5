"""The methods that only look: for everybody."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from bpftune.control.view import Shape, netns_shape, tunable_shape, tuner_shape
from bpftune.kernel import process
from bpftune.kernel.errors import KernelError
from bpftune.text import one_line, printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bpftune.control.about import About
    from bpftune.daemon import Daemon
    from bpftune.ledger import Entry

AT_ONCE = 64
"""So many entries are looked at before the daemon may go on."""


class Reading:
    """Answers what is asked about *daemon*."""

    def __init__(self, daemon: Daemon, about: About) -> None:
        """Answer about *daemon*, which was started as *about* says."""
        self._daemon = daemon
        self._about = about
        self._maps_bytes: int | None = None

    def _is_paused(self, entry: Entry) -> bool:
        return self._daemon.carrier.pauses.cover(entry)

    def shape(self, entry: Entry) -> Shape:
        """Return one tunable as the interface has it."""
        undo = None
        if entry.ours:
            carrier = self._daemon.carrier
            undo = carrier.by_hand(entry.netns, entry.tunable, entry.found)
        return tunable_shape(entry, paused=self._is_paused(entry), undo=undo)

    def tuners(self) -> list[Shape]:
        """Return all tuners that were found."""
        daemon = self._daemon
        return [
            tuner_shape(
                tuner,
                daemon.machine.verdicts.get(tuner.name, []),
                runs=tuner in daemon.tuners,
                paused=daemon.carrier.pauses.cover_tuner(tuner.name),
                off=daemon.off.get(tuner.name),
            )
            for tuner in self._about.tuners
        ]

    def cost(self) -> Shape:
        """Return what the daemon itself costs."""
        if self._maps_bytes is None:  # they are as large as they will ever be
            self._maps_bytes = process.maps_bytes()
        return {
            "rss_bytes": process.rss_bytes(),
            "cpu_s": process.cpu_seconds(),
            "wakeups": self._about.wakeups,
            "maps_bytes": self._maps_bytes,
        }

    def status(self) -> Iterator[Shape | None]:
        """Answer Status."""
        daemon, about = self._daemon, self._about
        in_force, yielded = [], []
        for number, entry in enumerate(daemon.ledger):
            if entry.ours:
                in_force.append(self.shape(entry))
            elif entry.yielded:
                yielded.append(self.shape(entry))
            if number % AT_ONCE == AT_ONCE - 1:
                yield None
        yield {
            "version": about.version,
            "pid": os.getpid(),
            "mode": about.mode,
            "started": about.started,
            "uptime_s": round(daemon.clock() - about.started_s, 3),
            "tuners": self.tuners(),
            "in_force": in_force,
            "yielded": yielded,
            "paused": daemon.carrier.pauses.names(),
            "netns_tracked": len(daemon.ledger),
            "events": daemon.received.total(),
            "lost": [
                {"cause": one_line(cause), "count": count}
                for cause, count in sorted(daemon.losses().items())
            ],
            "cost": self.cost(),
            "advice": 0,
        }

    def tunables(self) -> Iterator[Shape | None]:
        """Answer Tunables."""
        found = []
        for number, entry in enumerate(self._daemon.ledger):
            found.append(self.shape(entry))
            if number % AT_ONCE == AT_ONCE - 1:
                yield None
        yield {"tunables": found}

    def verify(self) -> Iterator[Shape | None]:
        """Answer Verify: read again what should be in force."""
        drift: list[Shape] = []
        daemon, checked = self._daemon, 0
        for entry in daemon.ledger.in_force():
            try:
                changed = daemon.reconciler.compare(entry)
            except KernelError:
                continue  # a namespace that is gone is noticed elsewhere
            checked += 1
            if changed is not None:
                seen = daemon.agenda.write_of(entry.netns.cookie, entry.tunable.name)
                by = None
                if seen is not None:
                    by = f"uid {seen.uid} ({printable(seen.comm)})"
                drift.append(
                    {
                        "tunable": entry.tunable.name,
                        "netns": netns_shape(entry.netns),
                        "expected": list(entry.expected),
                        "now": list(changed.new),
                        "by": by,
                    }
                )
            if checked % AT_ONCE == 0:
                yield None
        yield {"checked": checked, "drift": drift}
