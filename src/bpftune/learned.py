"""What trials taught, kept over restarts: it biases decisions and grants nothing.

Per tunable, how often trials paid at each level of pressure, and how many of them
began with a gain. Per destination in the host's or a named network namespace, the
size that paid. A nameless namespace never comes back, so nothing is kept of it.

Everything is bounded, and old things fade. ``learned_file`` keeps it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from bpftune.outcome import Finding, Known, Level, Size
from bpftune.policy import threshold
from bpftune.policy.paired import Pairs

if TYPE_CHECKING:
    from bpftune.model import Netns, NetnsCookie
    from bpftune.outcome import Trial

MOST_TUNABLES = 64
MOST_SIZES = 512
MOST_SIZES_PER_NETNS = 64
MOST_FAILED = 512
MOST_PAIRS = 1_000_000
LARGEST = 2**31 - 1
MOST_GAIN_NATS = math.log(LARGEST)
DAY_S = 86400.0
HALF_LIFE_S = 7 * DAY_S  # of counts: paths, kernels and machines change
SIZE_LIFE_S = 90 * DAY_S
LEAST_AGE_S = 3600.0

Place = tuple[str, str]  # tunable, destination


class Learned:
    """What is known; ``changed`` tells whether it is worth saving."""

    def __init__(self, now_unix_s: float) -> None:
        """Know nothing yet."""
        self.levels: dict[str, tuple[Level, ...]] = {}
        self.pairs: dict[str, Pairs] = {}
        self.sizes: dict[str, dict[Place, Size]] = {}
        self.changed = False
        self.aged_unix_s = now_unix_s
        self._failed: dict[tuple[NetnsCookie, str, str], None] = {}

    def known(self, netns: Netns) -> Known:
        """Return what concerns *netns*, as facts for a decision."""
        sizes = self.sizes.get(netns.name, {}) if netns.name is not None else {}
        return Known(self.levels, sizes)

    def take_in(
        self, netns: Netns, tunable: str, trial: Trial, now_unix_s: float
    ) -> None:
        """Learn from a *trial* that ended; one without a finding teaches nothing."""
        if trial.finding in (None, Finding.VOID):
            return
        if tunable not in self.levels and len(self.levels) >= MOST_TUNABLES:
            return
        self.changed = True
        paid = trial.finding is Finding.PAID
        if self._counts(netns.cookie, tunable, trial.destination, paid=paid):
            self._count(tunable, trial, paid=paid)
        pairs = self.pairs.get(tunable, Pairs())
        if trial.first_won is not None and pairs.pairs < MOST_PAIRS:
            self.pairs[tunable] = pairs.add(won=trial.first_won)
        if netns.name is not None:
            place = tunable, trial.destination
            self._remember(netns.name, place, trial, now_unix_s, paid=paid)

    def _counts(
        self, cookie: NetnsCookie, tunable: str, destination: str, *, paid: bool
    ) -> bool:
        """Tell whether a trial tells anything new of its level.

        What fails again and again for one destination says nothing of others.
        """
        key = cookie, tunable, destination
        failed_before = key in self._failed
        self._failed.pop(key, None)
        if not paid:
            self._failed[key] = None
            if len(self._failed) > MOST_FAILED:
                del self._failed[next(iter(self._failed))]
        return paid or not failed_before

    def _count(self, tunable: str, trial: Trial, *, paid: bool) -> None:
        number = threshold.level_of(trial.pressure)
        if number < 0:
            return
        levels = list(self.levels.get(tunable, (Level(),) * len(threshold.EDGES)))
        levels[number] = threshold.counted(
            levels[number], trial.gain_nats or 0.0, paid=paid
        )
        self.levels[tunable] = tuple(levels)

    def _remember(
        self, netns: str, place: Place, trial: Trial, now_unix_s: float, *, paid: bool
    ) -> None:
        """Remember a size that paid; forget one that does not pay any more."""
        mine = self.sizes.pop(netns, {})
        known = mine.pop(place, None)
        if paid:
            gain_nats = trial.gain_nats or 0.0
            if known is not None and known.size == trial.old_size:
                gain_nats += known.gain_nats
            gain_nats = max(-MOST_GAIN_NATS, min(MOST_GAIN_NATS, gain_nats))
            mine[place] = Size(trial.size, gain_nats, now_unix_s)
        elif known is not None and known.size < trial.size:
            mine[place] = known
        if len(mine) > MOST_SIZES_PER_NETNS:
            del mine[next(iter(mine))]
        if mine:
            self.sizes[netns] = mine
        if sum(map(len, self.sizes.values())) > MOST_SIZES:
            self._forget_oldest()

    def _forget_oldest(self) -> None:
        """Forget a size in the namespace heard of longest ago."""
        netns, theirs = next(iter(self.sizes.items()))
        del theirs[next(iter(theirs))]
        if not theirs:
            del self.sizes[netns]

    def age(self, now_unix_s: float) -> None:
        """Let what is old count for less. The clock may have jumped."""
        elapsed_s = now_unix_s - self.aged_unix_s
        if 0 <= elapsed_s < LEAST_AGE_S:
            return
        self.aged_unix_s = now_unix_s
        if not self.levels and not self.sizes:
            return
        share = 0.5 ** (max(0.0, elapsed_s) / HALF_LIFE_S)
        self.levels = {
            tunable: tuple(threshold.faded(level, share) for level in levels)
            for tunable, levels in self.levels.items()
        }
        for netns, mine in list(self.sizes.items()):
            self.sizes[netns] = {
                place: size
                for place, size in mine.items()
                if now_unix_s - size.seen_unix_s < SIZE_LIFE_S
            }
            if not self.sizes[netns]:
                del self.sizes[netns]
        self.changed = True

    def words(self, tunable: str) -> list[str]:
        """Say what was learned of *tunable*, for ``explain``."""
        said = []
        ends = [f"{edge:.0%}" for edge in (*threshold.EDGES, 1.0)]
        for number, level in enumerate(self.levels.get(tunable, ())):
            if round(level.trials):
                said.append(
                    f"held back in {ends[number]} to {ends[number + 1]} of looks: "
                    f"{threshold.words(level)}"
                )
        pairs = self.pairs.get(tunable, Pairs())
        if pairs.pairs:
            said.append(f"measured once before and once after, it {pairs.words()}")
        return said
