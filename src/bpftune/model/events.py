"""What happens in a network namespace, as tuners hear of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bpftune.model.things import (
    NetnsCookie,
    Prefix,
    SocketSample,
    Table,
    Tunable,
    Value,
)


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened in one network namespace.

    An event from BPF is a subclass whose fields are, in order, those of the C
    struct of that name (``SndbufLimited`` is ``struct sndbuf_limited``);
    the first is always the namespace's cookie. The others, below, are made by
    the daemon.
    """

    netns_cookie: NetnsCookie


@dataclass(frozen=True, slots=True)
class Sampled(Event):
    """The sockets that a ``Watch`` asked for; *left* samples will follow."""

    prefix: Prefix | None
    sockets: tuple[SocketSample, ...]
    left: int
    receivers: bool = False


@dataclass(frozen=True, slots=True)
class Taken(Event):
    """What a ``Take`` found for this namespace: keys with their values."""

    table: Table
    rows: tuple[tuple[Any, Any], ...]


@dataclass(frozen=True, slots=True)
class TextRead(Event):
    """The sysctls of a ``ReadText`` by name; missing if there is no such one."""

    texts: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Woken(Event):
    """The time that a ``Wake`` asked for has passed."""

    name: str


@dataclass(frozen=True, slots=True)
class Rejected(Event):
    """A requested change was refused, by the governor or by the kernel."""

    tunable: Tunable
    value: Value
    reason: str


@dataclass(frozen=True, slots=True)
class ValueChanged(Event):
    """Somebody else really changed a tunable: *old* is what we knew.

    *uid* and *comm* name the writer where a hook saw it, else None and "".
    """

    tunable: Tunable
    old: Value
    new: Value
    uid: int | None = None
    comm: bytes = b""


@dataclass(frozen=True, slots=True)
class Yielded(Event):
    """A tunable, or one of the ``settings``, is the admin's; forget any plan for it."""

    tunable: Tunable


@dataclass(frozen=True, slots=True)
class NetnsGone(Event):
    """The namespace no longer exists; forget what was known of it."""
