"""How many destinations of a network namespace are looked after, and who makes room."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bpftune.policy.parents import above

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bpftune.model import Prefix
    from bpftune.tuners.congestion.destination import Destination

MOST = 256
MOST_OF_ONE_PARENT = MOST // 4
"""In one /16 (IPv4) or /32 (IPv6): whoever has many prefixes there cannot take all the
room."""

IDLE_S = 600.0
"""A destination not heard of for so long makes room for another."""


def has_room(known: Mapping[Prefix, Destination], prefix: Prefix) -> bool:
    """Tell whether there is room for *prefix*."""
    siblings = len(_siblings(known, prefix))
    return len(known) < MOST and siblings < MOST_OF_ONE_PARENT


def dispensable(
    known: Mapping[Prefix, Destination], prefix: Prefix, now_s: float
) -> Prefix | None:
    """Return the destination that is to make room for *prefix*, None if none may.

    First one of which nothing is known that is better than the kernel's.
    """
    siblings = _siblings(known, prefix)
    among = siblings if len(siblings) >= MOST_OF_ONE_PARENT else list(known)
    idle = [one for one in among if now_s - known[one].seen_s >= IDLE_S]
    if not idle:
        return None
    return min(idle, key=lambda one: (known[one].is_valued, known[one].seen_s))


def _siblings(known: Mapping[Prefix, Destination], prefix: Prefix) -> list[Prefix]:
    parent = above(prefix)[0]
    return [one for one in known if above(one)[0] == parent]
