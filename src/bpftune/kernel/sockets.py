"""Sample the TCP senders of a network namespace, with ``sockets.bpf.c``."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import TYPE_CHECKING

from bpftune.kernel.bpf import BpfObject
from bpftune.model import Prefix, SocketSample

if TYPE_CHECKING:
    from types import TracebackType

MIN_BYTES_ACKED = 30_000
"""Sockets that sent less say nothing yet about their path."""

_OBJECT = Path(__file__).with_name("sockets.bpf.o")


class Sockets:
    """The sampler. Not for two threads at once."""

    def __init__(self, path: Path = _OBJECT) -> None:
        """Load the iterator. Raises KernelError."""
        self._object = BpfObject(path)
        try:
            _, self._decode = self._object.btf.decoder(SocketSample)
            self._size = self._object.btf.size_of("socket_sample")
            self._prefix_bytes = self._object.btf.size_of("prefix")
            self._object.load()
            self._target = self._object.variable("target")
            self._min_sndbuf = self._object.variable("min_sndbuf_bytes")
            self._object.variable("min_bytes_acked").value = MIN_BYTES_ACKED
            self._samples = self._object.variable("samples")
            self._skipped = self._object.variable("skipped")
        except BaseException:
            self._object.close()
            raise
        self.truncated = 0
        """How many sockets the last call left out: more than 512 matched."""

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
        """Unload the iterator."""
        self._object.close()

    def sample(
        self, prefix: Prefix | None = None, sndbuf_bytes: int = 0
    ) -> tuple[SocketSample, ...]:
        """Look at the senders in the calling thread's network namespace.

        Established connections (or those that only the peer has closed) to
        *prefix* (None: to anywhere) whose send buffer has at least
        *sndbuf_bytes*, and that got 30,000 bytes across. Raises BpfError.
        """
        self._target.raw = self._pack(prefix)
        self._min_sndbuf.value = sndbuf_bytes
        self._samples.value = 0
        self._skipped.value = 0
        data = self._object.iterate("sample_senders")
        self.truncated = self._skipped.value
        whole = len(data) - len(data) % self._size
        return tuple(self._decode(data, at) for at in range(0, whole, self._size))

    def _pack(self, prefix: Prefix | None) -> bytes:
        if prefix is None:
            return bytes(self._prefix_bytes)
        return struct.pack("=HH16s", prefix.family, prefix.length, prefix.address)
