"""The methods that only look: for everybody."""

from __future__ import annotations

import math
import os
from itertools import chain
from typing import TYPE_CHECKING

from bpftune.control import past
from bpftune.control.errors import answered
from bpftune.control.measures import families
from bpftune.control.view import (
    Shape,
    netns_shape,
    setting_shape,
    tunable_shape,
    tuner_shape,
)
from bpftune.kernel import process
from bpftune.kernel.errors import KernelError
from bpftune.metrics import render
from bpftune.text import one_line, printable, size_words

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from bpftune.advice import Advice
    from bpftune.control.about import About
    from bpftune.control.notes import Notes
    from bpftune.daemon import Daemon
    from bpftune.ledger import Entry
    from bpftune.setting import Setting

AT_ONCE = 64
"""So many entries are looked at before the daemon may go on."""


class Reading:
    """Answers what is asked about *daemon*."""

    def __init__(
        self, daemon: Daemon, about: About, notes: Notes, state_dir: Path
    ) -> None:
        """Answer about *daemon*, which was started as *about* says."""
        self._daemon = daemon
        self._about = about
        self._notes = notes
        self._state_dir = state_dir
        self._maps_bytes: int | None = None

    def _is_paused(self, entry: Entry) -> bool:
        return self._daemon.carrier.pauses.cover(entry)

    def shape(self, entry: Entry) -> Shape:
        """Return one tunable as the interface has it."""
        undo = None
        if entry.ours:
            carrier = self._daemon.carrier
            undo = carrier.teller.by_hand(entry.netns, entry.tunable, entry.found)
        return tunable_shape(entry, paused=self._is_paused(entry), undo=undo)

    def tuners(self) -> list[Shape]:
        """Return all tuners that were found."""
        daemon = self._daemon
        destinations = daemon.tables.in_force()
        return [
            tuner_shape(
                tuner,
                daemon.machine.verdicts.get(tuner.name, []),
                runs=tuner in daemon.tuners,
                paused=daemon.carrier.pauses.cover_tuner(tuner.name),
                off=daemon.off.get(tuner.name),
                destinations=destinations[tuner.name],
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
        ours = [entry for entry in daemon.ledger if entry.ours]
        theirs = [entry for entry in daemon.ledger if entry.yielded and not entry.ours]
        yield {
            "version": about.version,
            "pid": os.getpid(),
            "mode": about.mode,
            "started": about.started,
            "uptime_s": round(daemon.clock() - about.started_s, 3),
            "tuners": self.tuners(),
            "in_force": self._shapes(ours),
            "yielded": self._shapes(theirs, daemon.settings.theirs()),
            "paused": daemon.carrier.pauses.names(),
            "netns_tracked": len(daemon.ledger),
            "events": daemon.inbox.received.total(),
            "lost": [
                {"cause": one_line(cause), "count": count}
                for cause, count in sorted(daemon.losses().items())
            ],
            "cost": self.cost(),
            "advice": sum(not one.ignored for one in self._advice()),
        }

    def tunables(self) -> Iterator[Shape | None]:
        """Answer Tunables."""
        yield {"tunables": self._shapes(self._daemon.ledger, self._daemon.settings)}

    def _shapes(
        self, entries: Iterable[Entry], settings: Iterable[Setting] = ()
    ) -> Iterator[Shape | None]:
        """Return tunables, and settings that are words, as the interface has them.

        As they are when each is asked for, and None now and then.
        """
        # Both may change before the last is asked for.
        shapes = chain(
            map(self.shape, list(entries)), map(setting_shape, list(settings))
        )
        return _with_pauses(shapes)

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

    # --- advice --------------------------------------------------------------------

    def holds(self, advice: Advice) -> bool:
        """Tell whether *advice* is about what is still there, as far as is known."""
        mine = self._daemon.ledger.of(advice.netns.cookie)
        values = {entry.tunable.name: entry.expected for entry in mine.values()}
        return bool(mine) and values.get(advice.tunable, advice.old) == advice.old

    def _advice(self) -> list[Advice]:
        self._notes.book.keep(self.holds)
        return self._notes.book.all()

    def advise(self) -> Iterator[Shape | None]:
        """Answer Advise."""
        yield {
            "advice": [
                {
                    "id": one.id,
                    "tuner": one.tuner,
                    "tunable": one.tunable,
                    "netns": netns_shape(one.netns),
                    "old": list(one.old),
                    "new": list(one.new),
                    "why": one_line(one.why),
                    "do": one_line(one.do),
                    "ignored": one.ignored,
                }
                for one in self._advice()
            ]
        }

    # --- metrics -------------------------------------------------------------------

    def metrics_text(self) -> str:
        """Return all metrics as OpenMetrics text."""
        tally = self._notes.tally
        return render(families(self._daemon, self._about, self, tally))

    def metrics(self) -> Iterator[Shape | None]:
        """Answer Metrics."""
        yield {"text": self.metrics_text()}

    # --- the past ------------------------------------------------------------------

    def history(
        self,
        since: str | None = None,
        tunable: str | None = None,
        netns: str | None = None,
        limit: int | None = None,
    ) -> Iterator[Shape | None]:
        """Answer History: the last of the records that are asked for."""
        wanted = past.Wanted(since, tunable, netns, limit)
        wanted.check()
        most = past.USUAL_RECORDS if limit is None else limit
        for found in past.read(self._state_dir, wanted.matches, most):
            yield None if found is None else {"records": iter(found)}

    def explain(self, about: str) -> Iterator[Shape | None]:
        """Answer Explain: all that is known of a change, tunable or destination."""
        entries = [
            entry
            for entry in self._daemon.ledger
            if entry.tunable.name == about or entry.is_of(about)
        ]
        theirs = [one for one in self._daemon.settings.theirs() if one.name == about]
        learned = list(map(one_line, self._learned(about)))
        known: list[Shape] = []
        if past.is_destination(about):
            told = self._daemon.explain(about)
            known = [{"tuner": tuner, "text": text} for tuner, text in told]
        tells = past.concerns(about)
        for found in past.read(self._state_dir, tells, past.USUAL_RECORDS):
            if found is None:
                yield None
                continue
            if not (found or entries or theirs or learned or known):
                raise answered("NoSuch", f"record of {printable(about)}")
            yield {
                "records": iter(found),
                "tunables": self._shapes(entries, theirs),
                "learned": learned,
                "known": known,
            }

    def _learned(self, about: str) -> list[str]:
        """Return sentences about what earlier trials taught."""
        learned = self._daemon.learned
        if past.is_destination(about):
            return [
                f"in {netns} {size_words(size.size)} of {tunable} paid, "
                f"{math.expm1(size.gain_nats):+.0%}"
                for netns, sizes in learned.sizes.items()
                for (tunable, destination), size in sizes.items()
                if destination == about
            ]
        if past.is_change(about):
            entries = (entry for entry in self._daemon.ledger if entry.is_of(about))
            about = next((entry.tunable.name for entry in entries), about)
        return learned.words(about)


def _with_pauses(shapes: Iterable[Shape]) -> Iterator[Shape | None]:
    """Yield *shapes*, and None where the daemon may go on."""
    for number, shape in enumerate(shapes):
        yield shape
        if number % AT_ONCE == AT_ONCE - 1:
            yield None
