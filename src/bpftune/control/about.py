"""What the daemon was started as, and what the control socket counts for it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bpftune import __version__
from bpftune.text import rfc3339

if TYPE_CHECKING:
    from bpftune.model import Tuner


@dataclass(slots=True)
class About:
    """One run of the daemon.

    *tuners* are all that were found, also those that cannot run here.
    *started_unix* is wall clock, *started_s* monotonic.
    """

    tuners: list[Tuner]
    observe: bool = False
    version: str = __version__
    started_unix: float = field(default_factory=time.time)
    started_s: float = field(default_factory=time.monotonic)
    wakeups: int = 0

    @property
    def mode(self) -> str:
        """``tune`` or ``observe``."""
        return "observe" if self.observe else "tune"

    @property
    def started(self) -> str:
        """The time of the start as RFC 3339."""
        return rfc3339(self.started_unix)
