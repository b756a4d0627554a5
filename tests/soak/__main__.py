"""Let the daemon run for hours in a world that gives it no peace.

    python -m tests.soak [--hours H] [--seed N] [--out FILE]

Exit status 1 if anything was wrong; what it was is printed. The same seed plans
the same, though the machine and the kernel never do the same twice.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import sys
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from tests.soak import report
from tests.soak.run import Result, Soak

from bpftune.lab.errors import LabError

SAY_EVERY_S = 60.0


class Shown:
    """Progress: a bar on a terminal, else a line a minute."""

    def __init__(self, console: Console, seconds: float) -> None:
        """Begin at nothing."""
        self._console = console
        self._said_s = 0.0
        self._told = 0
        self.progress = Progress(
            BarColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.description}"),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self.progress.add_task("", total=seconds)

    def tell(self, now_s: float, result: Result) -> None:
        """Show how far it is."""
        samples = [one for life in result.lived for one in life.samples]
        rss = f"{samples[-1].rss_kib:.0f} KiB" if samples else "?"
        text = f"life {len(result.lived)}, RSS {rss}, wrong: {len(result.failures)}"
        for why in list(result.failures)[self._told :]:
            self._told += 1
            self._console.print(f"{now_s:.0f} s: {why}", markup=False, highlight=False)
        self.progress.update(self._task, completed=now_s, description=text)
        if not self._console.is_terminal and now_s >= self._said_s + SAY_EVERY_S:
            self._said_s = now_s
            self._console.print(f"{now_s:.0f} s: {text}")


def main(argv: list[str] | None = None) -> int:
    """Soak; return 1 if anything was wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak")
    parser.add_argument("--hours", type=float, default=1.0, help="0.1 and the like too")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--out", type=Path, help="write all figures there, as JSON")
    options = parser.parse_args(argv)
    console = Console(soft_wrap=True)
    seconds = options.hours * 3600
    console.print(f"{seconds / 60:g} minutes, seed {options.seed}")
    shown = Shown(console, seconds)
    # As Ctrl-C: what was made is removed, and what is known is told. And a shell may
    # have had us ignore that, and the daemon with us.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    try:
        with shown.progress:
            result = Soak(options.seed, seconds, shown.tell).run()
    except LabError as error:
        console.print(f"cannot soak: {error}", markup=False)
        return 1
    report.show(result, console)
    if options.out is not None:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(report.as_json(result), indent=1) + "\n")
        console.print(f"All figures: {options.out}")
    console.print("FAILED" if result.failures else "all as it should be")
    return 1 if result.failures else 0


if __name__ == "__main__":
    sys.exit(main())
