"""The sink: where all records go in, and what a flood of them is cut to.

    Record --> Sink (count repeats, cut floods) --> each target

Targets are in ``targets``, ``journald``, ``syslog`` and ``history``.
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

from bpftune.records import Record
from bpftune.text import seconds_words

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


class Target(Protocol):
    """Where records are written.

    *trouble* says in words what is wrong with it, else "": that there is no room
    just now is not wrong.
    """

    trouble: str

    def write(self, record: Record, now_unix: float) -> bool:
        """Write *record* and return True, or False: never wait, never raise."""

    def close(self) -> None:
        """Close what the target itself opened."""


@dataclass(slots=True)
class _Voice:
    """What one tuner said last, how often, and how much it may still say."""

    tokens: float
    refilled_s: float
    last: Record | None = None
    first_s: float = 0.0
    repeats: int = 0
    suppressed: int = 0


@dataclass(slots=True)
class _Outlet:
    """A target, what waits for it, and how many records after that it missed."""

    target: Target
    waiting: deque[tuple[Record, float]] = field(default_factory=deque)
    missed: int = 0


class Sink:
    """Brings records to its targets; nothing that happens there stops the daemon.

    Equal records in a row of one tuner are written once and then counted for
    ``COALESCE_S``. A tuner may say ``BURST`` records at once and ``PER_S`` in
    the long run; more are counted, not written, and the count is a record.

    What one target could not take waits for it: sockets for syslog have room for
    ten datagrams, and a start may tell more at once. What is more than ``BACKLOG``
    is counted, and the count told there. What is wrong with a target is told to the
    others, once.
    """

    COALESCE_S = 600.0
    BURST = 100
    PER_S = 1.0
    BACKLOG = 64
    AGAIN_S = 1.0
    LAST_TRIES = 50
    LAST_TRIES_EVERY_S = 0.01

    def __init__(
        self,
        targets: Iterable[Target] = (),
        *,
        mode: str = "tune",
        monotonic: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """Write to *targets*; *mode* (``tune``, ``observe``) is put on each record."""
        self._outlets = [_Outlet(target) for target in targets]
        self._mode = mode
        self._monotonic = monotonic
        self._wall = wall
        self._voices: dict[str | None, _Voice] = {}
        self._troubles: set[str] = set()
        self._again_s = 0.0

    def add(self, target: Target) -> None:
        """Write to *target* too, from now on."""
        self._outlets.append(_Outlet(target))

    def remove(self, target: Target) -> None:
        """Write to *target* no more; it is not closed."""
        self._outlets = [one for one in self._outlets if one.target is not target]

    def write(self, record: Record) -> None:
        """Write *record*, or count it if it repeats or there are too many."""
        now_s = self._monotonic()
        voice = self._voices.get(record.tuner)
        if voice is None:
            voice = self._voices[record.tuner] = _Voice(self.BURST, now_s)
        if self._is_repeat(voice, record) and now_s - voice.first_s < self.COALESCE_S:
            voice.repeats += 1
            return
        self._say_repeats(voice, now_s)
        voice.tokens += (now_s - voice.refilled_s) * self.PER_S
        voice.tokens = min(voice.tokens, self.BURST)
        voice.refilled_s = now_s
        if voice.tokens < 1:
            voice.suppressed += 1
            voice.last = None
            return
        self._say_suppressed(record.tuner, voice)
        voice.tokens -= 1
        voice.last, voice.first_s = record, now_s
        self._out(record)

    def tick(self) -> None:
        """Write the counts that are due; call it about once a minute."""
        now_s = self._monotonic()
        for tuner, voice in self._voices.items():
            if now_s - voice.first_s >= self.COALESCE_S:
                self._say_repeats(voice, now_s)
                voice.last = None
            self._say_suppressed(tuner, voice)
        if now_s >= self._again_s:
            self._again_s = now_s + self.AGAIN_S
            for outlet in self._outlets:
                self._caught_up(outlet)

    def close(self) -> None:
        """Write all that is held back, and close the targets.

        A reader that is slow gets half a second more.
        """
        for tuner, voice in self._voices.items():
            self._say_repeats(voice, self._monotonic())
            self._say_suppressed(tuner, voice)
        for _ in range(self.LAST_TRIES):
            late = [one for one in self._outlets if not self._caught_up(one)]
            if all(outlet.target.trouble for outlet in late):
                break
            time.sleep(self.LAST_TRIES_EVERY_S)
        for outlet in self._outlets:
            outlet.target.close()
        self._outlets.clear()

    @staticmethod
    def _is_repeat(voice: _Voice, record: Record) -> bool:
        # A record of a change has an id that no other has: what can be
        # undone is never swallowed.
        return voice.last == record

    def _say_repeats(self, voice: _Voice, now_s: float) -> None:
        if voice.last is None or not voice.repeats:
            return
        times, over_s = voice.repeats, now_s - voice.first_s
        voice.repeats = 0
        why = f"{voice.last.why} ({times} times in {seconds_words(round(over_s))})"
        extra = {**voice.last.extra, "times": times, "over_s": round(over_s, 3)}
        self._out(replace(voice.last, why=why, extra=extra))

    def _say_suppressed(self, tuner: str | None, voice: _Voice) -> None:
        if not voice.suppressed:
            return
        count, voice.suppressed = voice.suppressed, 0
        why = f"{count} records were not written, for there were too many"
        self._out(Record("lost", why, tuner, extra={"suppressed": count}))

    def _out(self, record: Record, but: _Outlet | None = None) -> None:
        """Write *record* to all targets, *but* one."""
        record = replace(record, mode=self._mode)
        now_unix = self._wall()
        failing = []
        for outlet in self._outlets:
            if outlet is but:
                continue
            self._hand(outlet, record, now_unix)
            trouble = outlet.target.trouble
            if trouble and trouble not in self._troubles:
                self._troubles.add(trouble)
                failing.append((outlet, trouble))
        # Told once each, so this ends, whatever fails.
        for outlet, trouble in failing:
            self._out(Record("degraded", trouble), outlet)

    def _hand(self, outlet: _Outlet, record: Record, now_unix: float) -> None:
        """Let *outlet* have *record* now, or in its turn; if too many wait, count."""
        if self._caught_up(outlet) and outlet.target.write(record, now_unix):
            return
        if outlet.missed or len(outlet.waiting) >= self.BACKLOG:
            outlet.missed += 1
        else:
            outlet.waiting.append((record, now_unix))

    def _caught_up(self, outlet: _Outlet) -> bool:
        """Let *outlet* have what waits for it; return whether nothing is left."""
        while outlet.waiting:
            if not outlet.target.write(*outlet.waiting[0]):
                return False
            outlet.waiting.popleft()
        if not outlet.missed:
            return True
        why = f"{outlet.missed} records were not written, for nobody read them"
        extra = {"unread": outlet.missed}
        told = Record("lost", why, extra=extra, mode=self._mode)
        if not outlet.target.write(told, self._wall()):
            return False
        outlet.missed = 0
        return True
