"""Sample TCP senders and receivers, with ``sockets.bpf.c``.

``sample`` passes all connections of the host: 2-4 ms, most of it the kernel's
walk over its hash table. It marks the sockets it finds (socket-local storage),
and ``again`` looks at those only: some ten microseconds, from anywhere.
"""

from __future__ import annotations

import struct
import time
from pathlib import Path
from typing import TYPE_CHECKING

from bpftune.kernel.bpf import BpfError, BpfObject
from bpftune.model import NetnsCookie, Prefix, SocketSample

if TYPE_CHECKING:
    from types import TracebackType

MIN_BYTES = 30_000
"""Sockets that sent (or got) less say nothing yet about their path."""

MARKS_LAST_S = 60.0
"""Marks that no ``sample`` renewed for so long are removed by a later one."""

MARKERS = ("sample_marked", "sweep_marks")
NUDGERS = ("nudge_receivers",)

LOST_NUDGE = "connections that are there do not notice a larger receive buffer"
"""What it means that the kernel refuses ``nudge``."""

IN_VAIN = 3
"""Searches that left no mark on any socket they found, after which none tries."""

NO_MARKS = (
    "this kernel leaves no mark on any socket; since Linux 6.19 it takes a processor "
    "that has cmpxchg16b, or its like"
)
LOST_MARKS = "each look passes all connections, which takes more time"
"""What it means that the kernel refuses ``again``."""

_OBJECT = Path(__file__).with_name("sockets.bpf.o")
_ALL = 2**64 - 1


class Sockets:
    """The sampler. Not for two threads at once."""

    def __init__(self, path: Path = _OBJECT) -> None:
        """Load the iterators. Raises KernelError."""
        self.refused = ""
        """Why the kernel cannot do ``again``; empty if it can. Then ``sample``
        leaves no marks, and every look has to be a full one. Some kernels show it
        only after a few."""
        self.nudge_refused = ""
        """Why the kernel cannot do ``nudge``; empty if it can."""
        self._object = self._load(path)
        try:
            _, self._decode = self._object.btf.decoder(SocketSample)
            self._size = self._object.btf.size_of("socket_sample")
            self._prefix_bytes = self._object.btf.size_of("prefix")
            self._target = self._object.variable("target")
            self._min_buffer = self._object.variable("min_buffer_bytes")
            self._object.variable("min_bytes").value = MIN_BYTES
            self._receivers = self._object.variable("receivers")
            self._nudged = self._object.variable("nudged")
            self._samples = self._object.variable("samples")
            self._skipped = self._object.variable("skipped")
            self._netns_cookie = self._object.variable("netns_cookie")
            self._mark_them = self._object.variable("mark_them")
            self._oldest_ns = self._object.variable("oldest_ns")
            self._marks_left = self._object.variable("marks_left")
            self._unmarked = self._object.variable("unmarked")
        except BaseException:
            self._object.close()
            raise
        self.truncated = 0
        """How many sockets the last call left out: more than 512 matched."""
        self._in_vain: int | None = 0  # None: marks can be left
        self.marked = False
        """Whether all that the last ``sample`` returned bear marks."""

    def _load(self, path: Path) -> BpfObject:
        """Load all that this kernel takes. Raises KernelError if it takes nothing."""
        refused = {}
        for left_out in ((), MARKERS, NUDGERS):
            try:
                opened = _open(path, left_out)
            except BpfError as error:
                refused[left_out] = str(error)
                continue
            self.refused = refused[()] if left_out == MARKERS else ""
            self.nudge_refused = refused[()] if left_out == NUDGERS else ""
            return opened
        # Without the one, the other was refused still.
        self.refused, self.nudge_refused = refused[NUDGERS], refused[MARKERS]
        return _open(path, MARKERS + NUDGERS)

    def __enter__(self) -> Sockets:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Unload the iterators, which removes all marks."""
        self._object.close()

    def sample(
        self,
        prefix: Prefix | None = None,
        buffer_bytes: int = 0,
        *,
        receivers: bool = False,
        mark: bool = False,
    ) -> tuple[SocketSample, ...]:
        """Look at the senders in the calling thread's network namespace.

        Established connections (or those that only the peer has closed) to
        *prefix* (None: to anywhere) whose send buffer has at least
        *buffer_bytes*, and that got 30,000 bytes across. Or the *receivers*: the
        receive buffer and the bytes received count. With *mark*, leave a
        mark on each for ``again``; *marked* tells whether that went well: at
        most 4096 sockets bear one. Raises BpfError.
        """
        mark = mark and not self.refused
        if mark:
            # In the first minute after the machine booted, nothing is that old.
            self._sweep(max(0, time.monotonic_ns() - int(MARKS_LAST_S * 1e9)))
        self._mark_them.value = mark
        self._unmarked.value = 0
        samples = self._run("sample_sockets", prefix, buffer_bytes, receivers)
        self.marked = mark and not self._unmarked.value
        if mark and self._in_vain is not None:
            self._find_out()
        return samples

    def _find_out(self) -> None:
        """Find out, by the first searches, whether this kernel leaves marks.

        Since Linux 6.19 (commit f484f4a3e058) their memory comes from
        kmalloc_nolock(), which has none without cmpxchg16b, and says nothing. Where
        one mark was left, later ones fail for a socket's own reasons.
        """
        if self._marks_left.value:
            self._in_vain = None
        elif self._unmarked.value and self._in_vain is not None:
            self._in_vain += 1
            if self._in_vain == IN_VAIN:
                self.refused = NO_MARKS

    def again(
        self,
        cookie: NetnsCookie,
        prefix: Prefix | None = None,
        buffer_bytes: int = 0,
        *,
        receivers: bool = False,
    ) -> tuple[SocketSample, ...]:
        """Look at the marked sockets in the network namespace of *cookie*.

        As ``sample`` from inside, but without those that came or began to
        match since it last marked them. Raises BpfError.
        """
        self._netns_cookie.value = cookie
        return self._run("sample_marked", prefix, buffer_bytes, receivers)

    def unmark(self) -> int:
        """Remove all marks and return how many there were."""
        count = self.count_marks()
        if count:
            self._sweep(_ALL)
        return count

    def count_marks(self) -> int:
        """Return how many sockets bear a mark."""
        return 0 if self.refused else self._sweep(0)

    def _sweep(self, oldest_ns: int) -> int:
        """Remove marks left before *oldest_ns*, return how many others remain."""
        self._oldest_ns.value = oldest_ns
        self._marks_left.value = 0
        self._object.iterate("sweep_marks")
        return self._marks_left.value

    def nudge(self, prefix: Prefix, buffer_bytes: int) -> int:
        """Let receivers here notice that ``tcp_rmem[2]`` was raised.

        Those from *prefix* with a receive buffer of at least *buffer_bytes*, but
        for those whose application set SO_RCVBUF or SO_RCVLOWAT. Returns how many
        there were; 0 where the kernel refuses it. Raises BpfError.
        """
        if self.nudge_refused:
            return 0
        self._nudged.value = 0
        self._prepare(prefix, buffer_bytes, receivers=True)
        self._object.iterate("nudge_receivers")
        return self._nudged.value

    def _prepare(
        self, prefix: Prefix | None, buffer_bytes: int, *, receivers: bool
    ) -> None:
        self._target.raw = self._pack(prefix)
        self._min_buffer.value = buffer_bytes
        self._receivers.value = receivers

    def _run(
        self, program: str, prefix: Prefix | None, buffer_bytes: int, receivers: bool
    ) -> tuple[SocketSample, ...]:
        self._prepare(prefix, buffer_bytes, receivers=receivers)
        self._samples.value = 0
        self._skipped.value = 0
        data = self._object.iterate(program)
        self.truncated = self._skipped.value
        whole = len(data) - len(data) % self._size
        return (*[self._decode(data, at) for at in range(0, whole, self._size)],)

    def _pack(self, prefix: Prefix | None) -> bytes:
        if prefix is None:
            return bytes(self._prefix_bytes)
        return struct.pack("=HH16s", prefix.family, prefix.length, prefix.address)


def _open(path: Path, left_out: tuple[str, ...]) -> BpfObject:
    """Load the object without the programs *left_out*. Raises KernelError."""
    bpf = BpfObject(path)
    try:
        bpf.set_constant("has_marks", MARKERS[0] not in left_out)
        for name in left_out:
            bpf.disable(name)
        bpf.load()
        for name in MARKERS:
            if name not in left_out:
                bpf.attach(name, over="marks")
    except BaseException:
        bpf.close()
        raise
    return bpf
