"""bpftune in a hurry: ``python -m bpftune.lab.hurried FACTOR run --json``.

Blocks of time are there to be longer than what is compared in them, and take
minutes. A laboratory that has less time than the world has them shorter.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING

from bpftune.cli import main as command
from bpftune.tuners import congestion

if TYPE_CHECKING:
    from collections.abc import Sequence

LEAST_LIVES = 2.0


def hasten(factor: float) -> None:
    """Make the blocks of the congestion tuner *factor* times shorter.

    With as many flows fewer in each; yet a flow is to live shorter than a block.
    """
    pace = congestion.tuner.pace
    congestion.tuner.pace = replace(
        pace,
        least_s=pace.least_s / factor,
        longest_s=pace.longest_s / factor,
        lives=max(LEAST_LIVES, pace.lives / factor),
        enough_flows=max(pace.least_flows, round(pace.enough_flows / factor)),
    )


def main(argv: Sequence[str]) -> int:
    """Run the command with the words after the factor."""
    factor, *words = argv
    hasten(float(factor))
    return command(words)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
