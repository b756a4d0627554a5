"""What tuners ask for; the daemon does it, or does not."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bpftune.model.things import Prefix, Table, Tunable, Value
    from bpftune.outcome import Trial


@dataclass(frozen=True, slots=True)
class Change:
    """Set *tunable* to *value* in the event's namespace, and say why.

    *record* is ``change`` for the start (or next step) of a trial,
    ``taken_back`` or ``shrunk`` for the way down. *sockets* is how many could
    use what is granted: the governor's memory budget counts on it. *trial*
    names what the change is tried on (a destination): one at a time per
    tunable and namespace. *evidence* is for machines: plain numbers and words.
    *tried* tells the trial that begins, goes on, or ended as this says.
    """

    tunable: Tunable
    value: Value
    why: str
    record: str = "change"
    trial: str = ""
    sockets: int = 1
    evidence: Mapping[str, object] = field(default_factory=dict)
    tried: Trial | None = None


@dataclass(frozen=True, slots=True)
class Keep:
    """The trial of *tunable* is over and its value stays; *tried* tells of it."""

    tunable: Tunable
    why: str
    proved: bool
    evidence: Mapping[str, object] = field(default_factory=dict)
    tried: Trial | None = None


@dataclass(frozen=True, slots=True)
class Watch:
    """Sample the senders to *prefix* (all: None), *count* times, *every_s*.

    Or the *receivers* from there. Only sockets whose buffer, of that side, is at
    least *buffer_bytes* are reported. A later Watch of the same prefix and side
    replaces this one; *count* 0 ends it.
    """

    prefix: Prefix | None
    every_s: float
    count: int
    buffer_bytes: int = 0
    receivers: bool = False


@dataclass(frozen=True, slots=True)
class Nudge:
    """Let the receivers from *prefix* notice that *tunable* was raised.

    Only while *tunable* is on trial there, and only sockets whose receive buffer
    is at least *buffer_bytes*. The kernel goes on sizing them by itself.
    """

    tunable: Tunable
    prefix: Prefix
    buffer_bytes: int


@dataclass(frozen=True, slots=True)
class Advise:
    """Tell that *tunable* limits, at *old*, and that *new* would not.

    For what is a choice of the admin's: it is told, never done.
    """

    tunable: Tunable
    old: Value
    new: Value
    why: str


@dataclass(frozen=True, slots=True)
class Tell:
    """Record a decision about *destination* that changes no sysctl.

    *record* is a kind of ``kinds.KINDS``: ``tries``, ``chosen`` or ``ended``; *why* a
    sentence for people, *evidence* plain numbers and words for machines.
    """

    record: str
    destination: Prefix
    why: str
    evidence: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Wake:
    """Send ``Woken`` after about *after_s*; a minute or more is rounded up.

    A later Wake of the same name in the same namespace replaces this one.
    """

    name: str
    after_s: float


@dataclass(frozen=True, slots=True)
class Survey:
    """Run the tuner's own iterator *program* in the namespace, once.

    *everywhere* runs it in every namespace that has a process or a name.
    What it finds comes back as events of the tuner's.
    """

    program: str
    everywhere: bool = False


@dataclass(frozen=True, slots=True)
class Recheck:
    """Somebody is writing sysctl *name*: read it again wherever it is known.

    The hook runs before the write and knows the writer's namespace only, so
    values are compared afterwards. *old* is the value before the write in the
    event's namespace, *old_text* the same as text, None if that is not known. What
    changed comes back as ``ValueChanged``, or for a setting as ``Yielded``.
    """

    name: str
    old: Value
    uid: int
    comm: bytes
    old_text: str | None = None


@dataclass(frozen=True, slots=True)
class Put:
    """Set *value* of *key* in a table; *key* is of the event's namespace.

    *changes*: it makes a difference to connections, and not only has a program look.
    """

    table: Table
    key: Any
    value: Any
    changes: bool = True


@dataclass(frozen=True, slots=True)
class Drop:
    """Remove *key* from a table; it may be missing."""

    table: Table
    key: Any


@dataclass(frozen=True, slots=True)
class Take:
    """Take all entries out of a table, of every namespace.

    They come back as ``Taken``, one event for each namespace that has some.
    """

    table: Table


@dataclass(frozen=True, slots=True)
class ReadText:
    """Read sysctls that are not numbers; comes back as ``TextRead``."""

    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Yield:
    """Hand *tunable* in the event's namespace to the admin.

    *old* is the value before the admin's, where that is known, *uid* and *comm*
    who set it, as in ``ValueChanged``.
    """

    tunable: Tunable
    why: str
    old: Value | None = None
    uid: int | None = None
    comm: bytes = b""


Request = (
    Change
    | Keep
    | Advise
    | Tell
    | Watch
    | Nudge
    | Wake
    | Survey
    | Recheck
    | Put
    | Drop
    | Take
    | ReadText
    | Yield
)
