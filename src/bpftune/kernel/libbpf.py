"""The functions of libbpf that are used here, called through ctypes.

``PROTOTYPES`` is the one place that knows their types; a test compares it with
libbpf's own headers. libbpf 1.1 has all of them. libbpf never prints: what it
says is kept, and ends up in the exception of the call that failed.
"""

from __future__ import annotations

import ctypes
import os
from collections import deque
from ctypes import (
    CFUNCTYPE,
    POINTER,
    Array,
    Structure,
    c_bool,
    c_char,
    c_char_p,
    c_int,
    c_size_t,
    c_uint32,
    c_uint64,
    c_void_p,
)
from functools import cache
from typing import Any

from bpftune.kernel.errors import UnsupportedError

OLDEST = (1, 1)
"""The oldest libbpf that has everything (that of Debian 12)."""

_INSTALL = "install libbpf 1.1 or newer: apt install libbpf1, or dnf install libbpf"


class LibbpfMissing(UnsupportedError):  # noqa: N818 - it is what it is called
    """There is no libbpf, or it is too old."""


# ctypes refuses one kind of handle where another is due.
class Object(c_void_p):
    """struct bpf_object *."""


class Program(c_void_p):
    """struct bpf_program *."""


class Map(c_void_p):
    """struct bpf_map *."""


class Link(c_void_p):
    """struct bpf_link *."""


class BtfHandle(c_void_p):
    """struct btf *."""


class Ring(c_void_p):
    """struct ring_buffer *."""


class TestRunOpts(Structure):
    """struct bpf_test_run_opts."""

    _fields_ = (
        ("sz", c_size_t),
        ("data_in", c_void_p),
        ("data_out", c_void_p),
        ("data_size_in", c_uint32),
        ("data_size_out", c_uint32),
        ("ctx_in", c_void_p),
        ("ctx_out", c_void_p),
        ("ctx_size_in", c_uint32),
        ("ctx_size_out", c_uint32),
        ("retval", c_uint32),
        ("repeat", c_int),
        ("duration", c_uint32),
        ("flags", c_uint32),
        ("cpu", c_uint32),
        ("batch_size", c_uint32),
    )


class IterLinkInfo(Structure):
    """union bpf_iter_link_info, for an iterator over a map."""

    _fields_ = (("map_fd", c_uint32),)


class IterAttachOpts(Structure):
    """struct bpf_iter_attach_opts."""

    _fields_ = (
        ("sz", c_size_t),
        ("link_info", POINTER(IterLinkInfo)),
        ("link_info_len", c_uint32),
    )

    @classmethod
    def over_map(cls, fd: int) -> IterAttachOpts:
        """Make the options of an iterator over the elements of a map."""
        info = IterLinkInfo(map_fd=fd)
        return cls(
            sz=ctypes.sizeof(cls),
            link_info=ctypes.pointer(info),
            link_info_len=ctypes.sizeof(info),
        )


# int (*)(void *ctx, void *data, size_t size)
SAMPLE = CFUNCTYPE(c_int, c_void_p, c_void_p, c_size_t)
# int (*)(enum libbpf_print_level level, const char *format, va_list arguments)
PRINT = CFUNCTYPE(c_int, c_int, c_void_p, c_void_p)

# name: (result, arguments...)
PROTOTYPES: dict[str, tuple[Any, ...]] = {
    "libbpf_major_version": (c_uint32,),
    "libbpf_minor_version": (c_uint32,),
    "libbpf_set_print": (c_void_p, PRINT),
    "bpf_object__open_file": (Object, c_char_p, c_void_p),
    "bpf_object__load": (c_int, Object),
    "bpf_object__close": (None, Object),
    "bpf_object__btf": (BtfHandle, Object),
    "bpf_object__next_program": (Program, Object, Program),
    "bpf_object__find_program_by_name": (Program, Object, c_char_p),
    "bpf_object__next_map": (Map, Object, Map),
    "bpf_object__find_map_by_name": (Map, Object, c_char_p),
    "bpf_program__name": (c_char_p, Program),
    "bpf_program__section_name": (c_char_p, Program),
    "bpf_program__set_autoload": (c_int, Program, c_bool),
    "bpf_program__fd": (c_int, Program),
    "bpf_program__attach": (Link, Program),
    "bpf_program__attach_cgroup": (Link, Program, c_int),
    "bpf_program__attach_iter": (Link, Program, POINTER(IterAttachOpts)),
    "bpf_link__fd": (c_int, Link),
    "bpf_link__destroy": (c_int, Link),
    "bpf_map__fd": (c_int, Map),
    "bpf_map__name": (c_char_p, Map),
    "bpf_map__type": (c_int, Map),
    "bpf_map__max_entries": (c_uint32, Map),
    "bpf_map__key_size": (c_uint32, Map),
    "bpf_map__value_size": (c_uint32, Map),
    "bpf_map__reuse_fd": (c_int, Map, c_int),
    "bpf_map__initial_value": (c_void_p, Map, POINTER(c_size_t)),
    "bpf_map_lookup_elem": (c_int, c_int, c_void_p, c_void_p),
    "bpf_map_update_elem": (c_int, c_int, c_void_p, c_void_p, c_uint64),
    "bpf_map_delete_elem": (c_int, c_int, c_void_p),
    "bpf_map_lookup_batch": (
        c_int,
        c_int,
        c_void_p,
        c_void_p,
        c_void_p,
        c_void_p,
        POINTER(c_uint32),
        c_void_p,
    ),
    "bpf_map_lookup_and_delete_batch": (
        c_int,
        c_int,
        c_void_p,
        c_void_p,
        c_void_p,
        c_void_p,
        POINTER(c_uint32),
        c_void_p,
    ),
    "bpf_iter_create": (c_int, c_int),
    "bpf_prog_load": (
        c_int,
        c_int,
        c_char_p,
        c_char_p,
        c_void_p,
        c_size_t,
        c_void_p,
    ),
    "bpf_prog_test_run_opts": (c_int, c_int, POINTER(TestRunOpts)),
    "btf__raw_data": (c_void_p, BtfHandle, POINTER(c_uint32)),
    "btf__load_vmlinux_btf": (BtfHandle,),
    "btf__find_by_name_kind": (c_int, BtfHandle, c_char_p, c_uint32),
    "btf__free": (None, BtfHandle),
    "ring_buffer__new": (Ring, c_int, SAMPLE, c_void_p, c_void_p),
    "ring_buffer__epoll_fd": (c_int, Ring),
    "ring_buffer__consume": (c_int, Ring),
    "ring_buffer__free": (None, Ring),
}


_callbacks: list[Any] = []


class Log:
    """The last things that libbpf said, warnings and information only."""

    _DEBUG = 2
    _MESSAGE_BYTES = 64 * 1024

    def __init__(self) -> None:
        """Begin empty."""
        self._messages: deque[str] = deque(maxlen=64)
        self._libc: Any = ctypes.CDLL(None)
        self._libc.vasprintf.argtypes = (POINTER(c_void_p), c_void_p, c_void_p)
        self._libc.free.argtypes = (c_void_p,)
        self.callback = PRINT(self._keep)

    def _keep(self, level: int, text: int, arguments: int) -> int:
        """Format and keep one message. An exception here would be lost."""
        if level >= self._DEBUG:
            return 0
        formatted = c_void_p()
        # va_list arrives as a pointer, or as what fits into one, on every
        # architecture that Linux has BPF for, so it can be passed on.
        length = self._libc.vasprintf(ctypes.byref(formatted), text, arguments)
        if length < 0 or not formatted.value:
            return 0
        # A verifier's log says what is wrong at its end.
        skip = max(0, length - self._MESSAGE_BYTES)
        message = ctypes.string_at(formatted.value + skip, length - skip)
        self._libc.free(formatted)
        self._messages.append(message.decode(errors="replace"))
        return 0

    def take(self) -> str:
        """Return what was said since the last time, oldest first."""
        text = "".join(self._messages)
        self._messages.clear()
        return text


class Libbpf:
    """The library, opened, with ``PROTOTYPES`` applied."""

    def __init__(self, file: str = "libbpf.so.1") -> None:
        """Open *file*. Raises LibbpfMissing."""
        try:
            self._library = ctypes.CDLL(file, use_errno=True)
        except OSError as error:
            msg = f"libbpf cannot be opened: {error}"
            raise LibbpfMissing(msg, _INSTALL) from None
        self._functions: dict[str, Any] = {}
        self.version = self["libbpf_major_version"](), self["libbpf_minor_version"]()
        if self.version < OLDEST:
            msg = "libbpf {}.{} is too old".format(*self.version)
            raise LibbpfMissing(msg, _INSTALL)
        self.log = Log()
        # libbpf holds the pointer for good: the callback must never be freed.
        _callbacks.append(self.log.callback)
        self["libbpf_set_print"](self.log.callback)

    def __getitem__(self, name: str) -> Any:
        """Return the function *name*; only those in the table exist."""
        function = self._functions.get(name)
        if function is None:
            result, *arguments = PROTOTYPES[name]
            try:
                function = self._library[name]
            except AttributeError:
                msg = f"this libbpf has no {name}()"
                raise LibbpfMissing(msg, _INSTALL) from None
            function.restype, function.argtypes = result, arguments
            self._functions[name] = function
        return function


_opened: Libbpf | None = None


def libbpf() -> Libbpf:
    """Return the library, opening it the first time. Raises LibbpfMissing."""
    global _opened  # noqa: PLW0603 - a process has one libbpf and one log of it
    if _opened is None:
        _opened = Libbpf()
    return _opened


@cache
def _bytes_of(size: int) -> type[Array[c_char]]:
    # ctypes forgets the type with its last buffer, and leaves 3 KB in a cycle.
    return c_char * size


def buffer(size: int) -> Array[c_char]:
    """Return *size* zero bytes for the kernel to fill; of few different sizes."""
    return _bytes_of(size)()


def last_error(result: int = 0) -> int:
    """Return the errno of a failed call that returned *result*."""
    return -result if result < 0 else ctypes.get_errno()


def describe_error(number: int) -> str:
    """Return ``EPERM (Operation not permitted)`` for 1."""
    from errno import errorcode  # noqa: PLC0415 - only when something failed

    # libbpf has numbers of its own from 4000.
    return f"{errorcode.get(number, f'error {number}')} ({os.strerror(number)})"
