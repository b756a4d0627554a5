"""Load the tuners' BPF objects and receive their events.

A program that this kernel cannot run is left out, with a verdict that says
why; it never costs the others.
"""

from __future__ import annotations

import struct
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bpftune.kernel.bpf import BpfObject
from bpftune.kernel.bpf_error import BpfError
from bpftune.kernel.process import trim_heap
from bpftune.kernel.ring_buffer import RingBuffer
from bpftune.kernel.verdict import Verdict, attach, culprits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path
    from types import TracebackType

    from bpftune.kernel.bpf import Program
    from bpftune.model import Event, Tuner

    Decoders = dict[int, Callable[[bytes, int], Event]]

_HEADER = struct.Struct("=II")  # struct event_header: tuner_id, type_id
_CHAIN, _NEXT = "sockops_chain", "sockops_next"  # see bpf/chain.bpf.h
_EVENTS = "events"
_SOMEBODY = "(unknown)"

FULL, UNDECODABLE, UNKNOWN = "ring buffer full", "undecodable", "sender unknown"


@dataclass(slots=True)
class _Source:
    """A tuner with its object and the decoders of its events, by type id."""

    tuner: Tuner
    object: BpfObject
    decoders: Decoders


class Loader:
    """All tuners' objects and the one ring buffer that they share."""

    def __init__(self) -> None:
        """Begin with none; the first object with events makes the buffer."""
        self._sources: dict[int, _Source] = {}
        self._next_id = 0
        self._ring: RingBuffer | None = None
        self._shared: dict[str, int] = {}  # maps that the objects share
        self._chained = 0
        self._undecodable: Counter[str] = Counter()
        self._unknown: Counter[str] = Counter()

    def __enter__(self) -> Loader:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Detach and unload everything, the last first."""
        if self._ring:
            self._ring.close()
            self._ring = None
        while self._sources:
            self._sources.popitem()[1].object.close()

    @property
    def fd(self) -> int:
        """Readable when events wait; -1 until an object with events is added."""
        return self._ring.fd if self._ring else -1

    # --- loading -----------------------------------------------------------------

    def add(
        self,
        tuner: Tuner,
        path: Path,
        events: Iterable[type[Event]],
        constants: Mapping[str, int] | None = None,
        cgroup_fd: int = -1,
    ) -> list[Verdict]:
        """Load *path* for *tuner* and attach its programs; one verdict each.

        *events* are the classes that it emits, *constants* values for those of
        its ``const volatile`` globals that exist, *cgroup_fd* where programs
        for control groups go. Iterators and ``SEC("syscall")`` programs are
        run on demand. Raises BpfError if *path* is no BPF object, BtfError if
        an event differs from its struct; then nothing is left behind.
        """
        tuner_id, self._next_id = self._next_id, self._next_id + 1
        values = {
            **(constants or {}),
            "tuner_id": tuner_id,
            _NEXT: self._chained + 1,
        }
        events = tuple(events)
        refused: dict[str, str] = {}
        while True:
            opened = BpfObject(path)
            try:
                decoders: Decoders = dict(opened.btf.decoder(cls) for cls in events)
                self._prepare(opened, values, refused)
            except BaseException:
                opened.close()
                raise
            try:
                opened.load()
                break
            except BpfError as error:
                # What failed to load cannot be loaded again: open it anew.
                opened.close()
                left = [one for one in opened.programs if one.name not in refused]
                found = culprits(left, error, first=not refused)
                refused.update(found)
                if not found:
                    refused.update((one.name, str(error)) for one in left)
                    return [
                        Verdict(one.name, works=False, reason=refused[one.name])
                        for one in opened.programs
                    ]
        try:
            for name in (_EVENTS, _CHAIN):
                if name not in self._shared and opened.has_map(name):
                    self._shared[name] = opened.map_fd(name)
                    if name == _EVENTS:
                        self._ring = RingBuffer(self._shared[name])
        except BaseException:
            opened.close()
            raise
        self._sources[tuner_id] = _Source(tuner, opened, decoders)
        verdicts = [
            Verdict(one.name, works=False, reason=refused[one.name])
            if one.name in refused
            else self._attach(opened, one, cgroup_fd)
            for one in opened.programs
        ]
        trim_heap()
        return verdicts

    def _prepare(
        self, opened: BpfObject, constants: Mapping[str, int], refused: Iterable[str]
    ) -> None:
        for name, value in constants.items():
            if opened.has_constant(name):
                opened.set_constant(name, value)
        for program in refused:
            opened.disable(program)
        for name, fd in self._shared.items():
            if opened.has_map(name):
                opened.share_map(name, fd)

    def _attach(self, opened: BpfObject, program: Program, cgroup_fd: int) -> Verdict:
        """Attach *program*, or chain it: the kernel runs one sockops program only."""
        chained = program.section == "sockops" and opened.has_map(_CHAIN)
        if not chained or not self._chained:
            verdict = attach(opened, program, cgroup_fd)
        else:
            try:
                opened.chain(program.name, _CHAIN, self._chained)
                verdict = Verdict(program.name, works=True)
            except BpfError as error:
                verdict = Verdict(program.name, works=False, reason=str(error))
        if chained and verdict.works:
            self._chained += 1
        return verdict

    # --- events --------------------------------------------------------------------

    def take(self, most: int = RingBuffer.BATCH) -> list[bytes]:
        """Take the records that wait, oldest first; do not wait for more.

        At most *most* at once; ``fd`` stays readable if there are more.
        """
        return self._ring.consume(most) if self._ring else []

    def tuner_of(self, record: bytes) -> Tuner | None:
        """Return the tuner whose BPF part sent *record*, if it is one of ours."""
        source = self._source(record)
        return source.tuner if source else None

    def decode(self, record: bytes) -> tuple[Tuner, Event] | None:
        """Return the event in *record*; None, and count it, if there is none."""
        source = self._source(record)
        if source is None:
            self._unknown[_SOMEBODY] += 1
            return None
        decode = source.decoders.get(_HEADER.unpack_from(record)[1])
        if decode is None:
            self._unknown[source.tuner.name] += 1
            return None
        try:
            return source.tuner, decode(record, _HEADER.size)
        except (struct.error, ValueError, TypeError):
            self._undecodable[source.tuner.name] += 1
            return None

    def _source(self, record: bytes) -> _Source | None:
        if len(record) < _HEADER.size:
            return None
        return self._sources.get(_HEADER.unpack_from(record)[0])

    def events(self, most: int = RingBuffer.BATCH) -> list[tuple[Tuner, Event]]:
        """Take the events that wait, as ``take`` and ``decode`` do."""
        decoded = map(self.decode, self.take(most))
        return [found for found in decoded if found is not None]

    def lost(self) -> dict[str, dict[str, int]]:
        """Return how many events were lost so far: by tuner's name and cause.

        Only what is not zero. An event without a known tuner is counted for
        ``(unknown)``.
        """
        losses: dict[str, dict[str, int]] = {}

        def count(name: str, cause: str, number: int) -> None:
            if number:
                causes = losses.setdefault(name, {})
                causes[cause] = causes.get(cause, 0) + number

        for source in self._sources.values():
            if source.object.has_variable("lost_events"):
                number = source.object.variable("lost_events").value
                count(source.tuner.name, FULL, number)
        for name, number in self._undecodable.items():
            count(name, UNDECODABLE, number)
        for name, number in self._unknown.items():
            count(name, UNKNOWN, number)
        return losses

    def maps(self) -> dict[str, tuple[int | None, int]]:
        """Return how full the maps are, by tuner and map: ``tcp_buffer.last_sent``.

        See ``BpfObject.usage``; the ring buffer, shared by all, is ``events``.
        """
        found: dict[str, tuple[int | None, int]] = {}
        for source in self._sources.values():
            for name, usage in source.object.usage().items():
                shared = name == "events"
                found[name if shared else f"{source.tuner.name}.{name}"] = usage
        return found

    # --- on demand -----------------------------------------------------------------

    def iterate(self, tuner: Tuner, program: str) -> bytes:
        """Run an iterator of *tuner*'s in the calling thread's namespace.

        Returns what it wrote; events that it emitted wait as others do.
        """
        return self.object(tuner).iterate(program)

    def object(self, tuner: Tuner) -> BpfObject:
        """Return *tuner*'s object. Raises BpfError if it could not be loaded."""
        for source in self._sources.values():
            if source.tuner is tuner:
                return source.object
        msg = f"no BPF object of tuner {tuner.name} is loaded"
        raise BpfError(msg)
