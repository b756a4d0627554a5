"""The control socket as ``run`` has it: opened, turned, told each record."""

from __future__ import annotations

import json
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING

from bpftune.advice import Book, InvalidFileError
from bpftune.atomic import replace_file
from bpftune.control.access import group_number
from bpftune.control.changing import Changing
from bpftune.control.framing import reply
from bpftune.control.reading import Reading
from bpftune.control.redact import redacted
from bpftune.control.server import Server
from bpftune.control.service import Service
from bpftune.records import Record, as_json

if TYPE_CHECKING:
    from collections.abc import Callable

    from bpftune.control.about import About
    from bpftune.control.notes import Notes
    from bpftune.daemon import Daemon

NAME, METRICS, IGNORED = "control", "metrics.prom", "ignored.json"
METRICS_S = 60.0

GROUPS = Path("/etc/group")


def trusted_group(file: Path = GROUPS) -> int | None:
    """Return the number of the group ``bpftune``, if there is one."""
    try:
        return group_number(file.read_text("utf-8", "replace"))
    except OSError:
        return None


def read_book(state_dir: Path, boot: str, tell: Callable[[Record], None]) -> Book:
    """Return a book of advice that knows what was ignored before this *boot*."""
    book = Book(boot)
    try:
        book.load(state_dir / IGNORED)
    except InvalidFileError as error:
        tell(Record("degraded", f"{error}; all advice is told again"))
    return book


class Control:
    """Answers clients about one daemon; a target of the sink, for those who watch."""

    trouble = ""

    def __init__(
        self,
        run_dir: Path,
        state_dir: Path,
        daemon: Daemon,
        notes: Notes,
        about: About,
    ) -> None:
        """Listen in *run_dir*. Raises KernelError."""
        self._about = about
        self._daemon = daemon
        self._metrics_path = run_dir / METRICS
        self._next_metrics_s = -inf
        self._looks = Reading(daemon, about, notes, state_dir)
        changes = Changing(daemon, about, notes, self._looks, state_dir / IGNORED)
        service = Service(about.version, self._looks, changes, daemon.tell)
        self.server = Server(
            run_dir / NAME, service, group=trusted_group(), clock=daemon.clock
        )

    @property
    def fd(self) -> int:
        """Readable when there is something to do."""
        return self.server.fd

    def turn(self) -> float:
        """Do some of it; return when to come back (monotonic).

        Metrics are written when the daemon is awake anyway, once a minute.
        """
        self._about.wakeups += 1
        if self._daemon.clock() >= self._next_metrics_s:
            self._next_metrics_s = self._daemon.clock() + METRICS_S - 1
            self._write_metrics()
        return self.server.turn()

    def _write_metrics(self) -> None:
        try:
            replace_file(self._metrics_path, self._looks.metrics_text())
        except OSError as error:
            why = f"no metrics in {self._metrics_path}: {error.strerror}"
            self._daemon.tell(Record("degraded", why))

    def write(self, record: Record, now_unix: float) -> bool:
        """Pass *record* on to all who watch; who does not read is cut off."""
        if not self.server.has_watchers:
            return True
        told = json.loads(as_json(record, now_unix))

        def message(trusted: bool) -> bytes:
            shown = told if trusted else redacted(told)
            return reply({"record": shown}, continues=True)

        self.server.send_to_watchers(message)
        return True

    def close(self) -> None:
        """Send all clients away. May be called twice."""
        self.server.close()
