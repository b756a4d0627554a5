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
"""So many events at most wait here while one of their sort is searched for."""


class Inbox:
    """What *loader* receives, in the order in which it was sent."""

    def __init__(self, loader: Loader) -> None:
        """Begin with none."""
        self.received: Counter[str] = Counter()
        """Events handed out, by the tuner's name."""
        self._loader = loader
        self._waiting: deque[bytes] = deque()

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def take(self) -> tuple[Tuner, Event] | None:
        """Take the oldest event and its tuner; None if none waits.

        What cannot be decoded is counted by the loader.
        """
        if not self._waiting:
            self._fetch(AT_ONCE)
        while self._waiting:
            found = self._decode(self._waiting.popleft())
            if found is not None:
                return found
        return None

    def take_all_for(self, name: str) -> list[tuple[Tuner, Event]]:
        """Take, before their turn, events for the tuner of that *name*.

        All of those among the oldest ``MOST_WAITING``.
        """
        if len(self._waiting) < MOST_WAITING:
            self._fetch(MOST_WAITING - len(self._waiting))
        wanted: list[bytes] = []
        others: deque[bytes] = deque()
        for record in self._waiting:
            tuner = self._loader.tuner_of(record)
            mine = tuner is not None and tuner.name == name
            (wanted if mine else others).append(record)
        self._waiting = others
        return [found for one in wanted if (found := self._decode(one)) is not None]

    def _fetch(self, most: int) -> None:
        self._waiting.extend(self._loader.take(most))

    def _decode(self, record: bytes) -> tuple[Tuner, Event] | None:
        found = self._loader.decode(record)
        if found is not None:
            self.received[found[0].name] += 1
        return found
