"""A global variable of a BPF object, seen from user space."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import mmap


class Variable:
    """A global of a loaded object, shared with its programs."""

    def __init__(self, memory: mmap.mmap, offset: int, size: int) -> None:
        """Be the *size* bytes at *offset* of *memory*."""
        self._memory = memory
        self._slice = slice(offset, offset + size)
        self._size = size

    @property
    def value(self) -> int:
        """The variable as an unsigned integer."""
        return int.from_bytes(self._memory[self._slice], sys.byteorder)

    @value.setter
    def value(self, value: int) -> None:
        self._memory[self._slice] = value.to_bytes(self._size, sys.byteorder)

    @property
    def raw(self) -> bytes:
        """The variable's bytes; a value set must have as many."""
        return self._memory[self._slice]

    @raw.setter
    def raw(self, value: bytes) -> None:
        if len(value) != self._size:
            msg = f"{len(value)} bytes for a variable of {self._size}"
            raise ValueError(msg)
        self._memory[self._slice] = value
