"""Notice what the admin sets, and step aside.

A hook sees every write to a tunable just before the kernel does, so it knows
who writes but not what comes of it: the value is read again afterwards, and
only a real change hands the tunable to the admin.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bpftune.model import Event, Facts, Recheck, Tuner, Value, ValueChanged, Yield
from bpftune.text import printable
from bpftune.tuners import beside

if TYPE_CHECKING:
    from collections.abc import Iterable

NAME_BYTES = 64
"""Size of a name and of a value in BPF, the zero at the end included."""

_SWAPPED = str.maketrans("./", "/.")
_NUMBERS = re.compile(rb"\s*-?[0-9]{1,20}(\s+-?[0-9]{1,20})*\s*")


@dataclass(frozen=True, slots=True)
class SysctlWritten(Event):
    """A process is writing a tunable; the kernel may yet refuse.

    The namespace is the writer's. The texts are as BPF saw them: zero-padded,
    cut to their size, and chosen by whoever writes.
    """

    tgid: int
    uid: int
    comm: bytes
    name: bytes
    old_value: bytes
    new_value: bytes


tuner = Tuner(
    name="sysctl",
    summary="Leave to the admin what the admin sets",
    events=(SysctlWritten,),
    bpf_object=beside(__file__, "sysctl.bpf.o"),
    losses={
        "see_write": "who changes a tunable is not known, and that it was changed"
        " is noticed only at the next look, within a minute",
    },
)


def hook_key(name: str) -> bytes:
    """Return the key of a tunable in the BPF map ``tunables``.

    Raises ValueError if the dotted *name* is too long to be watched.
    """
    path = name.translate(_SWAPPED).encode()
    if len(path) >= NAME_BYTES:
        raise ValueError(f"{name} has more than {NAME_BYTES - 1} bytes")
    return path.ljust(NAME_BYTES, b"\0")


def dotted_name(field: bytes) -> str | None:
    """Return the dotted name of a zero-padded path; None if it cannot be one."""
    path = field.partition(b"\0")[0]
    if not path.isascii() or b"/" not in path or len(path) == len(field):
        return None
    return path.decode().translate(_SWAPPED)


def value_of(field: bytes) -> Value:
    """Return the numbers in a zero-padded text; () if it is anything else."""
    text = field.partition(b"\0")[0]
    # Without room for a zero it was cut, and the last number may be too small.
    if len(text) >= len(field) - 1 or not _NUMBERS.fullmatch(text):
        return ()
    return (*map(int, text.split()),)


def text_of(field: bytes) -> str | None:
    """Return a zero-padded text without its line's end; None if it was cut."""
    text = field.partition(b"\0")[0]
    if len(text) >= len(field) - 1:
        return None
    return text.decode(errors="surrogateescape").rstrip("\n")


@tuner.on(SysctlWritten)
def look_again(event: SysctlWritten, facts: Facts) -> Iterable[Recheck]:
    """Have the value read once the write is done, wherever it is known."""
    name = dotted_name(event.name)
    if name is None:
        return ()
    comm = event.comm.partition(b"\0")[0]
    old = event.old_value
    return [Recheck(name, value_of(old), event.uid, comm, text_of(old))]


@tuner.on(ValueChanged)
def yield_to_admin(event: ValueChanged, facts: Facts) -> Iterable[Yield]:
    """Hand over a tunable that somebody else really changed."""
    if event.tunable in facts.yielded:
        return ()
    why = who(" ".join(map(str, event.new)), event.uid, event.comm)
    return [Yield(event.tunable, why, event.old, event.uid, event.comm)]


def who(value: str, uid: int | None, comm: bytes) -> str:
    """Say who set a sysctl to *value*; *uid* is None where no hook saw it."""
    value = value or "nothing"
    if uid is None:
        return f"somebody set it to {value} (not seen by the hook)"
    return f"uid {uid} ({printable(comm)}) set it to {value}"
