"""How full the maps of a BPF object are."""

from __future__ import annotations

import errno
from ctypes import byref, c_uint32
from typing import TYPE_CHECKING, Any

from bpftune.kernel.bpf_error import BpfError
from bpftune.kernel.libbpf import buffer

if TYPE_CHECKING:
    from bpftune.kernel.libbpf import Libbpf, Map

# enum bpf_map_type: those that fill up.
_HASHES = frozenset({1, 9})  # BPF_MAP_TYPE_HASH, _LRU_HASH
_RINGBUF = 27

_AT_ONCE = 1024


def usage(lib: Libbpf, opened: Any) -> dict[str, tuple[int | None, int]]:
    """Return entries and room of each map of the loaded object *opened*.

    Only of those that can be full; see ``BpfObject.usage``. Raises BpfError.
    """
    found: dict[str, tuple[int | None, int]] = {}
    handle = lib["bpf_object__next_map"](opened, None)
    while handle:
        name = lib["bpf_map__name"](handle).decode()
        kind = lib["bpf_map__type"](handle)
        room = lib["bpf_map__max_entries"](handle)
        if kind in _HASHES:
            found[name] = _count(lib, name, handle, room), room
        elif kind == _RINGBUF:
            found[name] = None, room
        handle = lib["bpf_object__next_map"](opened, handle)
    return found


def _count(lib: Libbpf, name: str, handle: Map, room: int) -> int:
    """Count the entries of a hash; they come and go meanwhile."""
    fd = lib["bpf_map__fd"](handle)
    if fd < 0:
        msg = f"map {name} is not loaded"
        raise BpfError(msg)
    key_bytes = lib["bpf_map__key_size"](handle)
    value_bytes = lib["bpf_map__value_size"](handle)
    count, at_once = 0, _AT_ONCE
    place, start = buffer(max(4, key_bytes)), None
    while count < room:
        keys = buffer(key_bytes * at_once)
        values = buffer(value_bytes * at_once)
        found = c_uint32(at_once)
        result = lib["bpf_map_lookup_batch"](
            fd, start, place, keys, values, byref(found), None
        )
        if result == -errno.ENOSPC:  # a bucket of the hash has more than that
            at_once *= 2
            continue
        count += found.value
        if result < 0:
            break
        start, place = place, buffer(len(place))
    return count
