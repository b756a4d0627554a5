"""What the TCP buffer tuner knows of one side of one network namespace.

Plain values: which destinations are watched, what was measured there, and which
limit is being tried.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from bpftune.model import Facts, Prefix, Request, SocketSample, Tunable, Watch
from bpftune.policy import limit
from bpftune.policy.cohort import Cohorts
from bpftune.policy.epoch import Gathering
from bpftune.tuners.tcp_buffer.events import RMEM, WMEM

if TYPE_CHECKING:
    from collections.abc import Mapping

MOST_PATHS = 64
FIRST_PATIENCE = 10  # checks of a minute each before an unused limit shrinks
FIRST_DOUBT_S = 10.0

TCP_MODERATE_RCVBUF = Tunable("net.ipv4.tcp_moderate_rcvbuf")

Samples = tuple[SocketSample, ...]


@dataclass(frozen=True, slots=True)
class Side:
    """What differs between senders and receivers.

    *unused* names the timer that looks for a limit that nobody needs.
    """

    tunable: Tunable
    receivers: bool
    unused: str


SENDERS = Side(WMEM, receivers=False, unused="unused wmem")
RECEIVERS = Side(RMEM, receivers=True, unused="unused rmem")


@dataclass(frozen=True, slots=True)
class Watched:
    """One destination: the climb, the epoch in the making, and our doubts.

    Of receivers, *recent* has the last samples of each, for its rate, *cohorts*
    what those made under each limit got, and *judged* how many of them were.
    *least_rtt_us* is the least that any of them had. *is_fixed*: the kernel may
    not enlarge their buffers, by the admin's choice.
    """

    path: limit.Path = field(default_factory=limit.Path)
    gathering: Gathering = field(default_factory=Gathering)
    recent: Mapping[int, Samples] = field(default_factory=dict)
    cohorts: Cohorts = field(default_factory=Cohorts)
    judged: int = 0
    least_rtt_us: int = 0
    is_fixed: bool = False
    watching: bool = False
    every_s: float = 0.0
    doubt_s: float = FIRST_DOUBT_S
    deaf_until_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Paths:
    """What is known of one side in one network namespace."""

    side: Side = SENDERS
    paths: Mapping[Prefix, Watched] = field(default_factory=dict)
    unused_checks: int = 0
    patience: int = FIRST_PATIENCE
    shrank: bool = False

    @property
    def tunable(self) -> Tunable:
        """Whose third number is the limit."""
        return self.side.tunable

    def limit_bytes(self, watched: Watched, facts: Facts) -> int:
        """Return how far the kernel enlarges the buffers of *watched*."""
        return facts.values[self.tunable][1 if watched.is_fixed else 2]

    def may_change(self, facts: Facts) -> bool:
        """Tell if the tunable exists there and is not the admin's."""
        return self.tunable in facts.values and self.tunable not in facts.yielded

    def climbing(self, other_than: Prefix | None = None) -> bool:
        """Tell if a path, or another path than this, holds the limit."""
        return any(w.path.climb for p, w in self.paths.items() if p != other_than)

    def watching(self) -> bool:
        """Tell if any path is being looked at."""
        return any(watched.watching for watched in self.paths.values())

    def put(self, prefix: Prefix, watched: Watched) -> Paths:
        """Remember *watched*, most recent last; forget the oldest idle ones."""
        paths = {p: w for p, w in self.paths.items() if p != prefix}
        paths[prefix] = watched
        for old in list(paths)[: max(0, len(paths) - MOST_PATHS)]:
            if not paths[old].watching:
                del paths[old]
        return replace(self, paths=paths)

    def watch(
        self, prefix: Prefix | None, every_s: float, count: int, buffer_bytes: int = 0
    ) -> Watch:
        """Return the request to look at this side's sockets."""
        return Watch(prefix, every_s, count, buffer_bytes, self.side.receivers)


Answer = tuple[Paths, list[Request]]
"""The next state, and what is asked for."""


def afresh(watched: Watched) -> Watched:
    """Forget what was seen, as there may be a gap before the next look."""
    return replace(
        watched,
        gathering=Gathering(),
        recent={},
        cohorts=Cohorts(),
        judged=0,
        least_rtt_us=0,
    )
