"""BPF maps whose keys and values are dataclasses, typed by BTF as events are."""

from __future__ import annotations

import errno
from ctypes import byref, c_uint32
from typing import TYPE_CHECKING, Generic, TypeVar

from bpftune.kernel.bpf_error import BpfError
from bpftune.kernel.btf import BtfError
from bpftune.kernel.btf_encode import encoder
from bpftune.kernel.libbpf import buffer, libbpf

if TYPE_CHECKING:
    from bpftune.kernel.bpf import BpfObject

K = TypeVar("K")
V = TypeVar("V")

BATCH = 256
"""Entries that one system call takes out."""


class BpfMap(Generic[K, V]):
    """A map of a loaded object, read and written from user space."""

    def __init__(self, bpf: BpfObject, name: str, key: type[K], value: type[V]) -> None:
        """Use map *name* of *bpf*.

        *key* and *value* are dataclasses named as the structs are. Raises BpfError
        if there is no such map, BtfError if they differ from it.
        """
        self.name = name
        self._bpf = bpf
        self._encode_key = encoder(bpf.btf, key)
        self._encode_value = encoder(bpf.btf, value)
        key_id, self._decode_key = bpf.btf.decoder(key)
        value_id, self._decode_value = bpf.btf.decoder(value)
        self.evicted = 0
        """How many entries a program made that the kernel dropped, as others needed
        the room: known after each ``take`` if the program counts what it makes in
        the global ``NAME_created``."""
        self._taken = 0
        self._sizes = bpf.sizes(name)
        found = bpf.btf.size(key_id), bpf.btf.size(value_id)
        if found != self._sizes:
            msg = (
                f"map {name} has keys and values of {self._sizes} bytes; "
                f"{key.__name__} and {value.__name__} have {found}"
            )
            raise BtfError(msg)

    def put(self, key: K, value: V) -> None:
        """Set the value of *key*. Raises BpfError (E2BIG: full), ValueError."""
        self._bpf.update(self.name, self._encode_key(key), self._encode_value(value))

    def get(self, key: K) -> V | None:
        """Return the value of *key*, or None."""
        found = self._bpf.lookup(self.name, self._encode_key(key))
        return None if found is None else self._decode_value(found, 0)

    def remove(self, key: K) -> None:
        """Remove *key*; it may be missing."""
        self._bpf.delete(self.name, self._encode_key(key))

    def take(self) -> list[tuple[K, V]]:
        """Take all entries out and return them, in no order. Raises BpfError.

        For hash maps. What a program adds to an entry at the very moment it is
        taken is lost.
        """
        key_bytes, value_bytes = self._sizes
        take = libbpf()["bpf_map_lookup_and_delete_batch"]
        created = self._created()
        fd, at_once = self._bpf.map_fd(self.name), BATCH
        place, start = buffer(max(4, key_bytes)), None
        found: list[tuple[K, V]] = []
        while True:
            keys = buffer(key_bytes * at_once)
            values = buffer(value_bytes * at_once)
            count = c_uint32(at_once)
            result = take(fd, start, place, keys, values, byref(count), None)
            if result == -errno.ENOSPC:  # a bucket of the hash has more than that
                at_once *= 2
                continue
            if result < 0 and result != -errno.ENOENT:
                msg = f"map {self.name} cannot be read"
                raise BpfError(msg, -result)
            some_keys, some_values = keys.raw, values.raw
            found += (
                (
                    self._decode_key(some_keys, number * key_bytes),
                    self._decode_value(some_values, number * value_bytes),
                )
                for number in range(count.value)
            )
            if result < 0:
                self._taken += len(found)
                # Some of these were made meanwhile.
                self.evicted = max(self.evicted, created - self._taken)
                return found
            start, place = place, buffer(len(place))

    def _created(self) -> int:
        counter = f"{self.name}_created"
        if not self._bpf.has_variable(counter):
            return 0
        return self._bpf.variable(counter).value
