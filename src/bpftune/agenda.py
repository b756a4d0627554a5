"""What is due when: looks at sockets, timers, and second looks at sysctls.

A plain schedule, told the time by its caller. Looks are never refused; when
too many are asked for, each comes later, so their cost has a ceiling.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from bpftune.model import NetnsCookie, Prefix, Recheck, Tuner, Wake, Watch

LEAST_LOOK_GAP_S = 0.01  # at most 100 looks a second
SEARCH_EVERY_LOOKS = 8  # looks in a slice: a competitor is seen in the next one
SEARCH_EVERY_S = 10.0  # however slow the looks are
MINUTE_S = 60.0
LATE_S = 1.0  # so much later than it was due a timer may be set again on time
RECHECKS_S = (0.0, 0.02, 0.1, 0.5, 1.0)
"""A write is seen before it happens: so long it may take until it did."""


_Key = tuple[str, NetnsCookie, Prefix | None, bool]


def _key(tuner: Tuner, cookie: NetnsCookie, watch: Watch) -> _Key:
    return tuner.name, cookie, watch.prefix, watch.receivers


@dataclass(slots=True)
class Looking:
    """A watch under way.

    A look that searches for senders costs fifty times as much as one at those
    found before, so few do: the next one is *known_looks* away, or at
    *known_until_s*.
    """

    tuner: Tuner
    cookie: NetnsCookie
    watch: Watch
    left: int
    due_s: float
    known_looks: int = 0
    known_until_s: float = 0.0

    @property
    def key(self) -> _Key:
        """What only a later watch of the same thing shares."""
        return _key(self.tuner, self.cookie, self.watch)

    def must_search(self, now_s: float) -> bool:
        """Tell whether this look must search."""
        return self.known_looks <= 0 or now_s >= self.known_until_s

    def searched(self, now_s: float) -> None:
        """Let the next looks be at the senders that were found."""
        self.known_looks = SEARCH_EVERY_LOOKS
        self.known_until_s = now_s + SEARCH_EVERY_S


@dataclass(slots=True)
class Waking:
    """A timer of a tuner's."""

    tuner: Tuner
    cookie: NetnsCookie
    name: str
    due_s: float


@dataclass(slots=True)
class Rechecking:
    """Somebody began to write a sysctl; *nth* of the looks at what became of it."""

    cookie: NetnsCookie
    recheck: Recheck
    began_s: float
    nth: int = 0

    @property
    def due_s(self) -> float:
        """When to look next."""
        return self.began_s + RECHECKS_S[self.nth]


class Agenda:
    """All that waits for its time."""

    def __init__(self) -> None:
        """Begin with nothing to do."""
        self._looks: dict[_Key, Looking] = {}
        self._wakes: dict[tuple[str, NetnsCookie, str], Waking] = {}
        self._rang: dict[tuple[str, NetnsCookie, str], float] = {}
        self._rechecks: dict[tuple[NetnsCookie, str], Rechecking] = {}
        self._last_look_s = float("-inf")
        self._last: Looking | None = None  # the watch of the last look, if it ended

    def watch(
        self, tuner: Tuner, cookie: NetnsCookie, watch: Watch, now_s: float
    ) -> None:
        """Begin, replace or (count 0) end a watch; the first look is at once."""
        key = _key(tuner, cookie, watch)
        known = current = self._looks.pop(key, None)
        last, self._last = self._last, None
        if last is not None and last.key == key:
            known = last
        if watch.count > 0:
            look = Looking(tuner, cookie, watch, watch.count, now_s)
            if known is not None:  # a renewed watch keeps its rhythm
                look.due_s = max(now_s, min(known.due_s, now_s + watch.every_s))
            if current and current.watch.buffer_bytes <= watch.buffer_bytes:
                look.known_looks = current.known_looks
                look.known_until_s = current.known_until_s
            self._looks[key] = look

    def wake(self, tuner: Tuner, cookie: NetnsCookie, wake: Wake, now_s: float) -> None:
        """Set a timer. Long ones fall on whole minutes, to share wake-ups.

        One that is set again as it rings goes by when it was due, not by when it
        was heard: else what is asked for each minute would come every other one.
        """
        key = (tuner.name, cookie, wake.name)
        now_s = max(self._rang.get(key, now_s), now_s - LATE_S)
        due_s = now_s + wake.after_s
        if wake.after_s >= MINUTE_S:
            due_s = -(-due_s // MINUTE_S) * MINUTE_S
        self._wakes[key] = Waking(tuner, cookie, wake.name, due_s)

    def recheck(self, cookie: NetnsCookie, recheck: Recheck, now_s: float) -> None:
        """Look at a sysctl now and again soon."""
        key = (cookie, recheck.name)
        known = self._rechecks.get(key)
        if known is not None:  # the value before the first write counts
            before = known.recheck
            recheck = replace(recheck, old=before.old, old_text=before.old_text)
        self._rechecks[key] = Rechecking(cookie, recheck, now_s)

    def write_of(self, cookie: NetnsCookie, name: str) -> Recheck | None:
        """Return the write to sysctl *name* that is being looked at, if any.

        The namespace is the writer's: one from there, else from elsewhere.
        """
        known = (one for (_, what), one in self._rechecks.items() if what == name)
        return self.write_from(cookie, name) or next(
            (one.recheck for one in known), None
        )

    def write_from(self, cookie: NetnsCookie, name: str) -> Recheck | None:
        """Return the write to sysctl *name* from this namespace, as ``write_of``."""
        known = self._rechecks.get((cookie, name))
        return known.recheck if known else None

    def due_looks(self, now_s: float) -> list[Looking]:
        """Take the looks that are due, with *left* counted down."""
        if now_s < self._last_look_s + LEAST_LOOK_GAP_S:
            return []
        ready = [look for look in self._looks.values() if look.due_s <= now_s]
        if not ready:
            return []
        look = min(ready, key=lambda one: one.due_s)
        self._last_look_s = now_s
        look.left -= 1
        look.known_looks -= 1
        look.due_s = now_s + look.watch.every_s
        self._last = None
        if look.left <= 0:
            self._last = look
            del self._looks[look.key]
        return [look]

    def due_wakes(self, now_s: float) -> list[Waking]:
        """Take the timers that are due."""
        ready = [key for key, wake in self._wakes.items() if wake.due_s <= now_s]
        self._rang = {key: self._wakes[key].due_s for key in ready}
        return [self._wakes.pop(key) for key in ready]

    def due_rechecks(self, now_s: float) -> list[Rechecking]:
        """Take the second looks that are due; the last of each ends it."""
        ready = [r for r in self._rechecks.values() if r.due_s <= now_s]
        for one in ready:
            one.nth += 1
            if one.nth >= len(RECHECKS_S):
                del self._rechecks[one.cookie, one.recheck.name]
        return ready

    @property
    def is_looking(self) -> bool:
        """Whether a watch is under way."""
        return bool(self._looks)

    def next_s(self) -> float | None:
        """Return when something is due next, or None."""
        due = [wake.due_s for wake in self._wakes.values()]
        due += [recheck.due_s for recheck in self._rechecks.values()]
        if self._looks:
            first = min(look.due_s for look in self._looks.values())
            due.append(max(first, self._last_look_s + LEAST_LOOK_GAP_S))
        return min(due, default=None)

    def settled(self, cookie: NetnsCookie, name: str) -> None:
        """End the second looks at *name*: its change was found."""
        self._rechecks.pop((cookie, name), None)

    def forget(self, cookie: NetnsCookie) -> None:
        """Drop all that concerns a namespace that is gone."""
        self._looks = {k: v for k, v in self._looks.items() if v.cookie != cookie}
        self._wakes = {k: v for k, v in self._wakes.items() if v.cookie != cookie}
        self._rechecks = {k: v for k, v in self._rechecks.items() if v.cookie != cookie}

    def drop(self, tuner: Tuner) -> None:
        """Drop all that *tuner* asked for: it failed."""
        self._looks = {k: v for k, v in self._looks.items() if v.tuner is not tuner}
        self._wakes = {k: v for k, v in self._wakes.items() if v.tuner is not tuner}
