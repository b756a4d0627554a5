"""What is true as an event is handled."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bpftune.outcome import Known

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bpftune.model.things import Netns, Tunable, Value


@dataclass(frozen=True, slots=True)
class Memory:
    """What memory there is, in bytes. ``tcp_*``: all of TCP, host-wide.

    *tcp_pressure_bytes* is ``tcp_mem[1]``, where the kernel begins to save.
    """

    total_bytes: int
    available_bytes: int
    tcp_used_bytes: int
    tcp_pressure_bytes: int


@dataclass(frozen=True, slots=True)
class Facts:
    """What is true as the event is handled, in the event's namespace.

    *values* and *found* have an entry for each of the tuner's tunables that
    exists there: the value now, and the one met first, below which nothing
    shrinks. *yielded* are the admin's. *now_s* is a monotonic clock. *learned* is
    what earlier trials taught. *trials* are the destinations on which a tunable is
    on trial, of any tuner's, as text. *admins* are those of the tuner's ``settings``
    that are the admin's, with the reason.
    """

    netns: Netns
    now_s: float
    values: Mapping[Tunable, Value]
    found: Mapping[Tunable, Value]
    yielded: frozenset[Tunable]
    memory: Memory
    learned: Known = field(default_factory=Known)
    trials: frozenset[str] = frozenset()
    admins: Mapping[str, str] = field(default_factory=dict)
