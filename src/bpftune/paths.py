"""Where the daemon keeps things; environment variables move them for tests."""

from __future__ import annotations

import os
from pathlib import Path

RUN_DIR = Path("/run/bpftune")
STATE_DIR = Path("/var/lib/bpftune")


def run_dir() -> Path:
    """Return where lock, journal and socket are; gone after a reboot."""
    return Path(os.environ.get("BPFTUNE_RUN_DIR") or RUN_DIR)


def state_dir() -> Path:
    """Return where history and what was learned are kept."""
    return Path(os.environ.get("BPFTUNE_STATE_DIR") or STATE_DIR)
