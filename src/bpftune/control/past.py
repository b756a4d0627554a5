"""What the history tells: some of its records, or the story of one thing.

The whole history may have to be read, so the daemon goes on in between.
"""

from __future__ import annotations

import re
from collections import deque
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Any

from bpftune import history
from bpftune.control.framing import STANDARD, CallError
from bpftune.kernel.errors import KernelError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator
    from pathlib import Path

    Told = dict[str, Any]

AT_ONCE = 50
"""So many records are read before the daemon may go on: about a millisecond."""

_END = (-1, b"")

MOST_RECORDS = 10_000
USUAL_RECORDS = 1000

_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}(\.[0-9]{1,9})?Z")
_CHANGE = re.compile(r"c[0-9]{1,18}")
_PREFIX = re.compile(r"[0-9A-Fa-f]*[.:][0-9A-Fa-f.:]*(/[0-9]{1,3})?")


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which records; ``matches`` tells. Times as RFC 3339 in UTC."""

    since: str | None = None
    tunable: str | None = None
    netns: str | None = None
    limit: int | None = None

    def check(self) -> None:
        """Raise InvalidParameter for what cannot be meant."""
        if self.since is not None and not _TIME.fullmatch(self.since):
            raise CallError(f"{STANDARD}.InvalidParameter", parameter="since")
        if self.limit is not None and not 0 < self.limit <= MOST_RECORDS:
            raise CallError(f"{STANDARD}.InvalidParameter", parameter="limit")

    def matches(self, told: Told) -> bool:
        """Tell whether a record is one of those."""
        # Without the Z, a time with a fraction sorts behind one without.
        if self.since is not None and told["time"][:-1] < self.since[:-1]:
            return False
        netns = told.get("netns") or {}
        return self.tunable in (None, told.get("tunable")) and self.netns in (
            None,
            netns.get("name"),
            f"#{netns.get('cookie')}",
        )


class Found:
    """The records that were found, the oldest first; in memory are their places."""

    def __init__(self, lines: history.Lines, places: Collection[int]) -> None:
        """Those of *lines* at *places*."""
        self._lines = lines
        self._places = places

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._places)

    def __iter__(self) -> Iterator[Told | None]:
        """Yield each, and None now and then. Raises KernelError."""
        for number, place in enumerate(self._places):
            with _refusing():
                told = history.parse(self._lines.at(place))
            if told is not None:  # else somebody wrote into the file
                yield told
            if number % AT_ONCE == AT_ONCE - 1:
                yield None


def read(
    directory: Path, matches: Callable[[Told], bool], most: int
) -> Iterator[Found | None]:
    """Yield the last *most* records that match, once; before that, None.

    They can be read until the next is asked for. Raises KernelError if a file of
    the history cannot be read.
    """
    with _refusing():
        opened = history.Lines(directory)
    with closing(opened) as lines:
        places: deque[int] = deque(maxlen=most)
        # Not across a yield: what is raised there is not the history's.
        each = iter(lines)
        for number in count(1):
            with _refusing():
                place, line = next(each, _END)
            if place < 0:
                break
            told = history.parse(line)
            if told is not None and matches(told):
                places.append(place)
            if number % AT_ONCE == 0:
                yield None
        yield Found(lines, places)


@contextmanager
def _refusing() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise KernelError(f"the history cannot be read: {error.strerror}") from error


def is_change(about: str) -> bool:
    """Tell whether *about* has the form of a change's id."""
    return bool(_CHANGE.fullmatch(about))


def is_destination(about: str) -> bool:
    """Tell whether *about* may be an address or a prefix, and no tunable."""
    return bool(_PREFIX.fullmatch(about)) and any(map(str.isdigit, about))


def concerns(about: str) -> Callable[[Told], bool]:
    """Return what tells whether a record is part of the story of *about*."""
    if is_change(about):
        return lambda told: told.get("change") == about
    if is_destination(about):
        return lambda told: about in _destinations(told)
    return lambda told: told.get("tunable") == about


def _destinations(told: Told) -> set[object]:
    parts = (told, told.get("evidence"), told.get("trial"))
    named = [part.get("destination") for part in parts if isinstance(part, dict)]
    return {one for one in named if isinstance(one, str)}
