"""One run of the daemon after the other, and what has to hold in and between them."""

from __future__ import annotations

import ctypes
import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.soak import measure
from tests.soak.balance import Counted, unaccounted
from tests.soak.measure import PATIENCE_S, Sample
from tests.soak.repeats import Repeats, words
from tests.soak.schedule import End, Life
from tests.soak.world import World
from tests.system.daemon import Daemon, name_in, wait_until

from bpftune.journal import LONG_BYTES
from bpftune.rollback import FAIL, SET, Selection, rollback_offline

JOURNAL_BYTES = LONG_BYTES + 64 * 1024
"""It is written anew beyond ``LONG_BYTES``, of so few namespaces."""

OF_DESTINATIONS = ("congestion.assignments",)
"""Maps that have rows for long transfers only, and no longer than their namespace."""

FILES_PER_NAMESPACE = 8
FILES_BESIDE = 8
SIGNALS = {End.KILL: signal.SIGKILL, End.TERM: signal.SIGTERM, End.INT: signal.SIGINT}
LIBBPF = ctypes.CDLL("libbpf.so.1", use_errno=True)
WAYS = {"prog": "bpf_prog_get_fd_by_id", "map": "bpf_map_get_fd_by_id"}


@dataclass
class Lived:
    """What is known of one life. *began_s* is monotonic."""

    life: Life
    began_s: float
    samples: list[Sample] = field(default_factory=list)
    sent: int = 0
    counted: Counted | None = None
    records: int = 0


class Lives:
    """Starts and ends daemons; *fail* hears what is wrong."""

    def __init__(
        self, world: World, run_dir: Path, site: Path, fail: Callable[[str], None]
    ) -> None:
        """Keep everything in *run_dir*; tuners of the test are in *site*."""
        self.world = world
        self.run_dir = run_dir
        self.lived: list[Lived] = []
        self.kinds: Counter[str] = Counter()
        self.rolled_back = 0
        self._site = site
        self._fail = fail
        self._repeats = Repeats()
        self._daemon: Daemon | None = None
        self._heard = 0
        self._files_at_start = 0

    # --- a life ------------------------------------------------------------------

    def begin(self, life: Life) -> None:
        """Start a daemon; wait until it is ready, unless that is not of interest."""
        self._repeats.began_anew()
        self.world.sent = 0
        self._heard = 0
        self.lived.append(Lived(life, time.monotonic()))
        daemon = Daemon(self.run_dir, {"PYTHONPATH": str(self._site)})
        self._daemon = daemon
        if life.early:
            return
        try:
            daemon.wait_for(lambda one: one["record"] == "started", PATIENCE_S)
        except AssertionError as error:
            self._fail(f"the daemon does not start: {error}")
            return
        self.world.daemon = daemon
        self._files_at_start = daemon.open_files()

    def hear(self) -> None:
        """Take in what the daemon said since it was heard last."""
        daemon = self._daemon
        if daemon is None:
            return
        new = daemon.records[self._heard :]
        self._heard += len(new)
        self.lived[-1].records = self._heard
        for record in new:
            kind, netns = record["record"], name_in(record)
            self.kinds[kind] += 1
            if wrong := self._repeats.hear(record):
                self._fail(wrong)
            if kind == "yielded" and netns is not None:
                wrong = self.world.wanted.yielded(netns, record["tunable"])
                if wrong:
                    self._fail(wrong)
            if record in daemon.degraded():
                self._fail(words(record))

    def latest(self, count: int = 20) -> list[str]:
        """Return the latest records, in words."""
        records = self._daemon.records[-count:] if self._daemon else []
        return [f"{one['time']} {words(one)}" for one in records]

    @contextmanager
    def _going_on(self, what: str) -> Iterator[None]:
        """Note that *what* could not be done, and go on."""
        try:
            yield
        except (AssertionError, OSError) as error:
            self._fail(f"{what}: {type(error).__name__}: {error}")

    def look(self) -> None:
        """Measure the daemon, and see that what is the admin's is untouched."""
        daemon = self.world.daemon
        if daemon is None:
            return
        self.hear()
        if daemon.process.poll() is not None:
            self._fail(f"the daemon ended by itself: {daemon.heard()[-2000:]}")
            self.world.daemon = None
            return
        with self._going_on("a look"):
            took = measure.sample(daemon.pid, self.run_dir)
            self.lived[-1].samples.append(took)
            if took.journal_bytes > JOURNAL_BYTES:
                self._fail("the journal is not written anew")
        wrong = self.world.wanted.wrong(self.world.values(), only_held=True)
        for text in wrong:
            self._fail(f"the admin's: {text}")

    def settle(self) -> None:
        """Wait until nothing is under way, and see that it all adds up."""
        daemon = self.world.daemon
        if daemon is None:
            return
        sent, lived = self.world.sent, self.lived[-1]
        lived.sent = sent
        problems = ["it was not asked"]

        def adds_up() -> bool:
            lived.counted = measure.counted(self.run_dir)
            problems[:] = unaccounted(sent, lived.counted)
            return not problems

        if not wait_until(adds_up, PATIENCE_S, 0.2):
            for text in problems:
                self._fail(text)
        self.hear()
        self._bounded(daemon)
        drift: list[object] = []

        def is_true() -> bool:
            drift[:] = measure.asked(self.run_dir, "Verify")["drift"]
            return not drift

        if not wait_until(is_true, PATIENCE_S, 0.2):
            self._fail(f"drift: {drift}")

    def _bounded(self, daemon: Daemon) -> None:
        """See that nothing is kept of what ended."""
        living = self.world.living()
        most_files = self._files_at_start + FILES_BESIDE + FILES_PER_NAMESPACE * living
        took = measure.sample(daemon.pid, self.run_dir)

        def is_bounded() -> bool:
            nonlocal took
            took = measure.sample(daemon.pid, self.run_dir)
            rows = sum(took.maps.get(name, 0) for name in OF_DESTINATIONS)
            return (
                took.namespaces <= living + 1 and took.files <= most_files and not rows
            )

        if not wait_until(is_bounded, PATIENCE_S, 0.5):
            self._fail(
                f"{took.namespaces} namespaces and {took.files} files are kept of "
                f"{living} that live, {self._files_at_start} files at the start"
            )
        for name, used in took.maps.items():
            room = 0 if name in OF_DESTINATIONS else took.room[name]
            if used > room:
                self._fail(f"map {name} has {used} entries, at most {room} belong")

    def end(self) -> None:
        """End the daemon as its life's plan says, and see what it left."""
        daemon, life = self._daemon, self.lived[-1].life
        if daemon is None:
            return
        if not life.abrupt:
            self.world.end_bout()
            with self._going_on("the last look"):
                self.settle()
        objects = {}
        with suppress(OSError):
            objects = daemon.bpf()
        self.world.daemon = None
        try:
            daemon.stop(SIGNALS[life.end], PATIENCE_S)
        except Exception as error:  # noqa: BLE001 - whatever it is, the soak goes on
            where = whereabouts(daemon.pid)
            self._fail(f"the daemon does not end at {life.end}: {error}\n{where}")
        daemon.end()
        self.hear()
        self._daemon = None
        code = daemon.process.returncode
        expected = -signal.SIGKILL if life.end is End.KILL else 0
        # Before it is ready, a signal does what it does to any process.
        if code != expected and not life.early:
            self._fail(f"exit code {code} at {life.end}: {daemon.heard()[-2000:]}")
        if daemon.other and not (life.early and life.end is End.INT):
            self._fail(f"on standard error: {''.join(daemon.other)[-2000:]}")
        self._gone(objects)
        if life.roll_back:
            self.roll_back()

    def _gone(self, objects: dict[str, dict[int, int]]) -> None:
        """See that nothing of the daemon's stays in the kernel."""
        left = [
            (kind, number)
            for kind in WAYS
            for number in objects.get(kind, {})
            if not wait_until(lambda k=kind, n=number: not exists(k, n), PATIENCE_S)  # type: ignore[misc]
        ]
        if left:
            self._fail(f"left in the kernel: {left}")

    def roll_back(self) -> None:
        """Without a daemon, go back to the originals, and see that they are there."""
        self.rolled_back += 1
        for step in rollback_offline(self.run_dir, Selection()):
            if step.action == FAIL:
                self._fail(f"rollback of {step.tunable.name}: {step.why}")
            if step.action == SET and step.netns.name is not None:
                self.world.wanted.rolled_back(step.netns.name, step.tunable.name)
        for text in self.world.wanted.wrong(self.world.values()):
            self._fail(f"after a rollback: {text}")


def whereabouts(pid: int) -> str:
    """Return what the process waits for in the kernel, and its processor time."""
    told = []
    for name in ("stat", "syscall", "stack"):
        with suppress(OSError):
            told.append(Path(f"/proc/{pid}/{name}").read_text().strip())
    return "\n".join(told)


def exists(kind: str, number: int) -> bool:
    """Tell whether the kernel has a BPF program or map of this id."""
    fd: int = getattr(LIBBPF, WAYS[kind])(number)
    if fd >= 0:
        os.close(fd)
    return fd >= 0
