"""Daemons and laboratories for the tests; both are gone at the end of a test."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.system.daemon import Daemon

from bpftune.lab.network import Lab

Start = Callable[..., Daemon]


@pytest.fixture
def lab() -> Iterator[Lab]:
    """Return a laboratory."""
    with Lab() as made:
        yield made


@pytest.fixture
def start() -> Iterator[Start]:
    """Return a function that starts a daemon; it is ready when it returns."""
    with ExitStack() as stack:
        run_dir = stack.enter_context(tempfile.TemporaryDirectory(prefix="bpftune-"))

        def begin(
            more: Mapping[str, str] | None = None,
            prefix: Sequence[str] = (),
            verb: str = "run",
        ) -> Daemon:
            daemon = Daemon(Path(run_dir), more, prefix, verb)
            stack.callback(daemon.end)
            daemon.wait_started()
            return daemon

        yield begin
