"""Progress on a terminal, and a line for each run that ended anywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from bench.matrix.plan import SETUP_S

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    Told = Callable[[float, float], None]


class Show:
    """A bar for the whole, in seconds of traffic; a context manager."""

    def __init__(self, total_s: float) -> None:
        """Begin with *total_s* to go."""
        console = Console(stderr=True, highlight=False)
        self.progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.percentage:3.0f}%"),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self.task = self.progress.add_task("", total=total_s)
        self.ended_s = 0.0
        self.now_s = 0.0

    def __enter__(self) -> Show:
        self.progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.progress.stop()

    def begins(self, what: str, seconds: float) -> Told:
        """Show that *what* begins and takes *seconds*; return what its run calls."""
        self.ended_s += self.now_s
        self.now_s = seconds + SETUP_S
        self.progress.update(self.task, description=what, completed=self.ended_s)

        def told(passed_s: float, goodput_bits_per_s: float) -> None:
            self.progress.update(
                self.task,
                description=f"{what}: {goodput_bits_per_s / 1e6:.0f} Mbit/s",
                completed=self.ended_s + passed_s,
            )

        return told

    def skips(self, seconds: float) -> None:
        """Count a run that is not needed."""
        self.ended_s += seconds + SETUP_S

    def say(self, line: str) -> None:
        """Print a line that stays."""
        self.progress.console.print(line, markup=False)
