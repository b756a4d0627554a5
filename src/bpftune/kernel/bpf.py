"""BPF objects: their programs, maps and globals.

The life of an object is libbpf's: open, set constants, load, attach, close.
Everything attached is a link, so nothing stays behind when the process ends,
however it ends.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import sys
from ctypes import byref, c_size_t, c_uint32, string_at
from typing import TYPE_CHECKING, Any, NamedTuple

from bpftune.kernel.bpf_error import BpfError
from bpftune.kernel.btf import Btf, BtfError
from bpftune.kernel.errors import KernelError
from bpftune.kernel.libbpf import (
    IterAttachOpts,
    Map,
    TestRunOpts,
    buffer,
    last_error,
    libbpf,
)
from bpftune.kernel.map_usage import usage
from bpftune.kernel.ring_buffer import RingBuffer
from bpftune.kernel.variable import Variable

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

__all__ = ["BpfError", "BpfObject", "BtfError", "KernelError", "Program", "RingBuffer"]

_READ_BYTES = 64 * 1024
_WRITABLE = (".bss", ".data")


class Program(NamedTuple):
    """A BPF program: its C function's name and its ``SEC()``."""

    name: str
    section: str


class BpfObject:
    """A compiled BPF file, opened and perhaps loaded."""

    def __init__(self, path: Path) -> None:
        """Open *path*. Raises BpfError, BtfError and LibbpfMissing."""
        self.path = path
        self._lib = libbpf()
        self._links: dict[str, Any] = {}
        self._memories: dict[str, mmap.mmap] = {}
        self._lib.log.take()
        self._object = self._lib["bpf_object__open_file"](os.fsencode(path), None)
        if not self._object:
            why = "" if path.exists() else "; build it with make build"
            raise self._error(f"{path} cannot be opened{why}")
        try:
            self.btf = self._read_btf()
            self.programs = tuple(self._each_program())
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> BpfObject:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Detach and unload everything. May be called twice."""
        for memory in self._memories.values():
            memory.close()
        self._memories.clear()
        while self._links:
            self._lib["bpf_link__destroy"](self._links.popitem()[1])
        if self._object:
            self._lib["bpf_object__close"](self._object)
            self._object = None

    def _error(self, message: str, result: int = 0) -> BpfError:
        return BpfError(message, last_error(result), self._lib.log.take())

    def _read_btf(self) -> Btf:
        # Offsets of globals are right only in the BTF that libbpf has fixed
        # up; in the file they are 0.
        size = c_uint32()
        handle = self._lib["bpf_object__btf"](self._object)
        raw = self._lib["btf__raw_data"](handle, byref(size)) if handle else None
        if not raw:
            msg = f"{self.path} has no type information (BTF); compile it with -g"
            raise BtfError(msg)
        return Btf(string_at(raw, size.value))

    def _each_program(self) -> Any:
        program = self._lib["bpf_object__next_program"](self._object, None)
        while program:
            yield Program(
                self._lib["bpf_program__name"](program).decode(),
                self._lib["bpf_program__section_name"](program).decode(),
            )
            program = self._lib["bpf_object__next_program"](self._object, program)

    def _program(self, name: str) -> Any:
        found = self._lib["bpf_object__find_program_by_name"](
            self._object, name.encode()
        )
        if not found:
            msg = f"{self.path.name} has no program {name}"
            raise BpfError(msg)
        return found

    def _map(self, name: str) -> Map:
        found: Map = self._lib["bpf_object__find_map_by_name"](
            self._object, name.encode()
        )
        if not found:
            msg = f"{self.path.name} has no map {name}"
            raise BpfError(msg)
        return found

    # --- before load -----------------------------------------------------------

    def has_constant(self, name: str) -> bool:
        """Say whether there is a ``const volatile`` global *name*."""
        return name in self.btf.variables(".rodata")

    def has_map(self, name: str) -> bool:
        """Say whether there is a map *name*."""
        return bool(
            self._lib["bpf_object__find_map_by_name"](self._object, name.encode())
        )

    def has_variable(self, name: str) -> bool:
        """Say whether there is a global *name* in ``.bss`` or ``.data``."""
        return any(name in self.btf.variables(one) for one in _WRITABLE)

    def set_constant(self, name: str, value: int) -> None:
        """Set the ``const volatile`` integer *name*. Raises BpfError."""
        if not self.has_constant(name):
            msg = f"{self.path.name} has no constant {name}"
            raise BpfError(msg)
        offset, size = self.btf.variables(".rodata")[name]
        if size not in (1, 2, 4, 8):
            msg = f"{name} in {self.path.name} is no integer: it has {size} bytes"
            raise BpfError(msg)
        try:
            data = value.to_bytes(size, sys.byteorder, signed=value < 0)
        except OverflowError:
            msg = f"{value} does not fit into {name}, which has {size} bytes"
            raise BpfError(msg) from None
        length = c_size_t()
        start = self._lib["bpf_map__initial_value"](self._map(".rodata"), byref(length))
        if not start or offset + size > length.value:
            msg = f"{name} cannot be set in {self.path.name}"
            raise BpfError(msg)
        ctypes.memmove(start + offset, data, size)

    def disable(self, program: str) -> None:
        """Leave *program* out when the object is loaded."""
        result = self._lib["bpf_program__set_autoload"](self._program(program), 0)
        if result < 0:
            raise self._error(f"program {program} cannot be left out", result)

    def share_map(self, name: str, fd: int) -> None:
        """Use the loaded map *fd* for the map *name*."""
        result = self._lib["bpf_map__reuse_fd"](self._map(name), fd)
        if result < 0:
            raise self._error(f"map {name} cannot be shared", result)

    def load(self) -> None:
        """Load into the kernel. Raises BpfError; the object is then dead."""
        self._lib.log.take()
        result = self._lib["bpf_object__load"](self._object)
        if result < 0:
            raise self._error(f"{self.path.name} cannot be loaded", result)
        self._lib.log.take()

    # --- after load --------------------------------------------------------------

    def map_fd(self, name: str) -> int:
        """Return the map's file descriptor, which stays the object's."""
        fd: int = self._lib["bpf_map__fd"](self._map(name))
        if fd < 0:
            msg = f"map {name} of {self.path.name} is not loaded"
            raise BpfError(msg)
        return fd

    def variable(self, name: str) -> Variable:
        """Return the global *name* of ``.bss`` or ``.data``, live."""
        for section in _WRITABLE:
            if name in (found := self.btf.variables(section)):
                if section not in self._memories:
                    # libbpf's own mapping is moved at load; before 1.5 the
                    # pointer it gives stays with the old one.
                    size = self._lib["bpf_map__value_size"](self._map(section))
                    self._memories[section] = mmap.mmap(self.map_fd(section), size)
                return Variable(self._memories[section], *found[name])
        msg = f"{self.path.name} has no variable {name}"
        raise BpfError(msg)

    def attach(self, program: str, cgroup_fd: int = -1, over: str = "") -> None:
        """Attach *program* by a link; to the cgroup if *cgroup_fd* is given.

        An iterator over the elements of a map is attached to the map *over*.
        """
        self._lib.log.take()
        handle = self._program(program)
        if cgroup_fd >= 0:
            link = self._lib["bpf_program__attach_cgroup"](handle, cgroup_fd)
        elif over:
            options = IterAttachOpts.over_map(self.map_fd(over))
            link = self._lib["bpf_program__attach_iter"](handle, byref(options))
        else:
            link = self._lib["bpf_program__attach"](handle)
        if not link:
            error = self._error(f"program {program} cannot be attached")
            if cgroup_fd >= 0 and error.number == errno.EPERM:
                error.hint = "another program may be attached there exclusively"
            raise error
        self._links[program] = link

    def detach(self, program: str) -> None:
        """Destroy the link of *program*, which may be attached again."""
        self._lib["bpf_link__destroy"](self._links.pop(program))

    def chain(self, program: str, name: str, slot: int) -> None:
        """Put *program* into *slot* of the map *name*, for tail calls."""
        fd = self._lib["bpf_program__fd"](self._program(program))
        self.update(
            name, slot.to_bytes(4, sys.byteorder), fd.to_bytes(4, sys.byteorder)
        )

    def iterate(self, program: str) -> bytes:
        """Run the iterator *program* and return what it wrote.

        Iterators of sockets show the network namespace of the calling thread.
        """
        if program not in self._links:
            self.attach(program)
        fd = self._lib["bpf_iter_create"](
            self._lib["bpf_link__fd"](self._links[program])
        )
        if fd < 0:
            raise self._error(f"iterator {program} cannot be started", fd)
        parts: list[bytes] = []
        try:
            while True:
                try:
                    part = os.read(fd, _READ_BYTES)
                except BlockingIOError:
                    continue  # a million objects passed, none was written
                if not part:
                    return b"".join(parts)
                parts.append(part)
        except OSError as error:
            msg = f"iterator {program} failed"
            raise BpfError(msg, error.errno or 0) from None
        finally:
            os.close(fd)

    def run(self, program: str) -> int:
        """Run a ``SEC("syscall")`` *program* once; return what it returned."""
        options = TestRunOpts(sz=ctypes.sizeof(TestRunOpts))
        fd = self._lib["bpf_program__fd"](self._program(program))
        result = self._lib["bpf_prog_test_run_opts"](fd, byref(options))
        if result < 0:
            raise self._error(f"program {program} cannot be run", result)
        return ctypes.c_int32(options.retval).value

    # --- maps ----------------------------------------------------------------------

    def usage(self) -> dict[str, tuple[int | None, int]]:
        """Return for each map that can be full: entries in it, and room.

        Of a ring buffer the room in bytes, and None for what is in it.
        """
        return usage(self._lib, self._object)

    def lookup(self, name: str, key: bytes) -> bytes | None:
        """Return the value of *key* in map *name*, or None."""
        handle = self._map(name)
        self._check_size(name, "key", handle, key)
        value = buffer(self._lib["bpf_map__value_size"](handle))
        result = self._lib["bpf_map_lookup_elem"](self.map_fd(name), key, value)
        if result == -errno.ENOENT:
            return None
        if result < 0:
            raise self._error(f"map {name} cannot be read", result)
        return value.raw

    def update(self, name: str, key: bytes, value: bytes) -> None:
        """Set the value of *key* in map *name*."""
        handle = self._map(name)
        self._check_size(name, "key", handle, key)
        self._check_size(name, "value", handle, value)
        result = self._lib["bpf_map_update_elem"](self.map_fd(name), key, value, 0)
        if result < 0:
            raise self._error(f"map {name} cannot be changed", result)

    def delete(self, name: str, key: bytes) -> None:
        """Remove *key* from map *name*; it may be missing."""
        self._check_size(name, "key", self._map(name), key)
        result = self._lib["bpf_map_delete_elem"](self.map_fd(name), key)
        if result < 0 and result != -errno.ENOENT:
            raise self._error(f"map {name} cannot be changed", result)

    def sizes(self, name: str) -> tuple[int, int]:
        """Return how many bytes a key and a value of map *name* have."""
        handle = self._map(name)
        return (
            self._lib["bpf_map__key_size"](handle),
            self._lib["bpf_map__value_size"](handle),
        )

    def _check_size(self, name: str, what: str, handle: Map, data: bytes) -> None:
        size = self._lib[f"bpf_map__{what}_size"](handle)
        if len(data) != size:
            msg = f"map {name}: a {what} has {size} bytes, not {len(data)}"
            raise BpfError(msg)
