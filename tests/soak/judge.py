"""What the samples of calm lives say: does anything grow?"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from tests.soak.measure import PAGE_KIB, Sample
from tests.soak.slope import Slope, Verdict, floors, pooled, slope

WARM_UP_S = 600.0
"""Of a calm life: bounded tables fill, and modules come when they are needed first."""

WARM_UP_SHARE = 1 / 3
"""Of one that is shorter than three times that."""

BLOCK_S, LEAST_BLOCK_S = 60.0, 20.0
LEAST_BLOCKS = 6
"""Memory is given back each minute; a short life has shorter blocks.

Of one that has too few of them, nothing is known: what ended is forgotten in seconds.
"""

DECISIVE_S = 3600.0
"""After so long the slope itself has to be below the limit, however sure it is."""


@dataclass(frozen=True)
class Quantity:
    """Something that must not grow by *limit* a minute; it is counted in *grain*."""

    name: str
    unit: str
    limit: float
    grain: float
    of: Callable[[Sample], float]


QUANTITIES = (
    Quantity("RSS", "KiB", 1.0, PAGE_KIB, lambda one: one.rss_kib),
    # Of 75 bytes: 1 KiB. What leaks into room that the allocator has already does
    # not show in the RSS.
    Quantity("memory blocks", "", 14.0, 1.0, lambda one: one.blocks),
    # Both follow what lives at the time. What leaks does so with each namespace or
    # client, of which there are dozens a minute.
    Quantity("open files", "", 1.0, 1.0, lambda one: one.files),
    Quantity("namespaces known", "", 1.0, 1.0, lambda one: one.namespaces),
)


@dataclass(frozen=True)
class Judgement:
    """What all segments together say of one quantity, and each by itself."""

    quantity: Quantity
    slope: Slope
    segments: tuple[Slope, ...]

    @property
    def verdict(self) -> Verdict:
        """Flat, grows, or undecided."""
        return self.slope.against(self.quantity.limit)

    def wrong(self, seconds: float) -> str | None:
        """Return what is wrong, if anything, after a soak of *seconds*."""
        about = (
            f"{self.quantity.name}: {self.slope} {self.quantity.unit} a minute, "
            f"at most {self.quantity.limit:g} wanted"
        )
        if self.verdict is Verdict.GROWS:
            return f"{about}: it grows"
        is_shown = self.slope.per_minute < self.quantity.limit and self.slope.floors
        if not is_shown and seconds >= DECISIVE_S:
            return f"{about}: not shown in {seconds / 60:.0f} minutes"
        return None


def warm(samples: Sequence[Sample]) -> list[Sample]:
    """Leave out the warm-up."""
    if not samples:
        return []
    begin_s, end_s = samples[0].at_s, samples[-1].at_s
    warm_s = begin_s + min(WARM_UP_S, WARM_UP_SHARE * (end_s - begin_s))
    return [one for one in samples if one.at_s >= warm_s]


def segment(samples: Sequence[Sample], quantity: Quantity) -> Slope:
    """Return the slope of one calm life, without its warm-up."""
    points = [(one.at_s, quantity.of(one)) for one in warm(samples)]
    seconds = points[-1][0] - points[0][0] if points else 0.0
    block_s = max(LEAST_BLOCK_S, min(BLOCK_S, seconds / LEAST_BLOCKS))
    least = floors(points, block_s)
    if len(least) < LEAST_BLOCKS:
        return Slope(floors=len(least))
    return slope(least, quantity.grain)


def judge(segments: Iterable[Sequence[Sample]]) -> list[Judgement]:
    """Return what the *segments*, the samples of each calm life, say."""
    lives = list(segments)
    found = []
    for quantity in QUANTITIES:
        slopes = tuple(segment(samples, quantity) for samples in lives)
        found.append(Judgement(quantity, pooled(slopes), slopes))
    return found
