"""The control socket as ``run`` has it: opened, turned, told each record."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING

from bpftune.control.access import group_number
from bpftune.control.framing import reply
from bpftune.control.reading import Reading
from bpftune.control.redact import redacted
from bpftune.control.server import Server
from bpftune.control.service import Service
from bpftune.records import Record, as_json

if TYPE_CHECKING:
    from bpftune.control.about import About
    from bpftune.daemon import Daemon

GROUPS = Path("/etc/group")


def trusted_group(file: Path = GROUPS) -> int | None:
    """Return the number of the group ``bpftune``, if there is one."""
    try:
        return group_number(file.read_text("utf-8", "replace"))
    except OSError:
        return None


class Control:
    """Answers clients at *path* about one daemon."""

    def __init__(self, path: Path, daemon: Daemon, about: About) -> None:
        """Listen at *path*. Raises KernelError."""
        self._about = about
        looks = Reading(daemon, about)
        service = Service(about.version, looks, object(), daemon.tell)
        self.server = Server(path, service, group=trusted_group())

    @property
    def fd(self) -> int:
        """Readable when there is something to do."""
        return self.server.fd

    def turn(self) -> float:
        """Do some of it; return when to come back (monotonic)."""
        self._about.wakeups += 1
        return self.server.turn()

    def hear(self, record: Record) -> None:
        """Pass *record* on to all who watch."""
        if not self.server.has_watchers:
            return
        told = json.loads(as_json(record, time.time()))

        def message(trusted: bool) -> bytes:
            shown = told if trusted else redacted(told)
            return reply({"record": shown}, continues=True)

        self.server.send_to_watchers(message)

    def close(self) -> None:
        """Send all clients away."""
        self.server.close()
