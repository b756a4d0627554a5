"""Events that came through the ring buffer and wait for their turn.

They wait as the bytes they came as: decoded, one takes almost four times the memory.
"""

from __future__ import annotations

from collections import Counter, deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bpftune.kernel.loader import Loader
    from bpftune.model import Event, Tuner

AT_ONCE = 32
"""Events taken from the ring buffer at once: of a flood, the rest waits there."""

MOST_WAITING = 4096
"""So many events at most wait here while those that come first are searched for."""


class Inbox:
    """What a loader receives; each tuner's events in the order they were sent."""

    def __init__(self, loader: Loader, first: str) -> None:
        """Receive from *loader*; what is for the tuner *first* comes first."""
        self.received: Counter[str] = Counter()
        """Events handed out, by the tuner's name."""
        self._loader = loader
        self._first_name = first
        self._first: deque[bytes] = deque()
        self._others: deque[bytes] = deque()

    def __bool__(self) -> bool:
        return bool(self._first or self._others)

    def take(self) -> tuple[Tuner, Event] | None:
        """Take the next event and its tuner; None if none waits.

        What cannot be decoded is counted by the loader.
        """
        if not self:
            self._fetch(AT_ONCE)
        while self:
            found = self._decode((self._first or self._others).popleft())
            if found is not None:
                return found
        return None

    def take_first(self) -> list[tuple[Tuner, Event]]:
        """Take all events that come first, of the oldest ``MOST_WAITING``."""
        if len(self._others) < MOST_WAITING:
            self._fetch(MOST_WAITING - len(self._others))
        records, self._first = self._first, deque()
        return [found for one in records if (found := self._decode(one)) is not None]

    def _fetch(self, most: int) -> None:
        for record in self._loader.take(most):
            tuner = self._loader.tuner_of(record)
            is_first = tuner is not None and tuner.name == self._first_name
            (self._first if is_first else self._others).append(record)

    def _decode(self, record: bytes) -> tuple[Tuner, Event] | None:
        found = self._loader.decode(record)
        if found is not None:
            self.received[found[0].name] += 1
        return found
