"""The ring buffer through which BPF programs send events."""

from __future__ import annotations

import errno
from ctypes import string_at

from bpftune.kernel.bpf_error import BpfError
from bpftune.kernel.libbpf import SAMPLE, last_error, libbpf


class RingBuffer:
    """The reading end of a ring buffer map."""

    BATCH = 4096
    """So many records at most are taken at once, if nobody asks for fewer."""

    def __init__(self, map_fd: int) -> None:
        """Read from the map *map_fd*, which stays its owner's."""
        self._lib = libbpf()
        self._records: list[bytes] = []
        self._most = self.BATCH
        # libbpf calls it for as long as this object lives.
        self._callback = SAMPLE(self._copy)
        self._ring = self._lib["ring_buffer__new"](map_fd, self._callback, None, None)
        if not self._ring:
            msg = "the ring buffer cannot be read"
            raise BpfError(msg, last_error(), self._lib.log.take())
        self.fd: int = self._lib["ring_buffer__epoll_fd"](self._ring)
        """Readable when there are records; for selectors."""

    def _copy(self, _context: int, data: int, size: int) -> int:
        # An exception in here would be printed and the record lost.
        self._records.append(string_at(data, size))
        return 0 if len(self._records) < self._most else -errno.ENOBUFS

    def consume(self, most: int = BATCH) -> list[bytes]:
        """Take the records that are there, at most *most*; do not wait."""
        self._most = most
        result = self._lib["ring_buffer__consume"](self._ring)
        records, self._records = self._records, []
        if result < 0 and result != -errno.ENOBUFS:
            msg = "the ring buffer cannot be read"
            raise BpfError(msg, -result, self._lib.log.take())
        return records

    def close(self) -> None:
        """Stop reading. May be called twice."""
        if self._ring:
            self._lib["ring_buffer__free"](self._ring)
            self._ring = None
