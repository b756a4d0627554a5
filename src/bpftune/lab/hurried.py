"""bpftune with blocks of time that are shorter, so that a laboratory need not wait.

    python -m bpftune.lab.hurried 5 run --json

It is injected here, as no daemon has an option for it: a block that is shorter than
some lives of a connection says nothing on a path like any other.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING

from bpftune.cli import main
from bpftune.policy.blocks import USUAL
from bpftune.tuners.congestion import tuner

if TYPE_CHECKING:
    from collections.abc import Sequence

LEAST_LIVES = 2.0


def hurried(arguments: Sequence[str]) -> int:
    """Run bpftune with all but the first of *arguments*, so many times as fast."""
    times = float(arguments[0])
    tuner.pace = replace(
        USUAL,
        least_s=USUAL.least_s / times,
        longest_s=USUAL.longest_s / times,
        lives=max(LEAST_LIVES, USUAL.lives / times),
        enough_flows=max(USUAL.least_flows, round(USUAL.enough_flows / times)),
    )
    return main(arguments[1:])


if __name__ == "__main__":
    sys.exit(hurried(sys.argv[1:]))
