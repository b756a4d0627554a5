"""One tunable in one network namespace: what was found, what is ours, on trial.

And the same as plain fields, for the journal.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bpftune.model import Netns, NetnsCookie, Tunable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bpftune.model import Value

IN_DOUBT = "a write whose end is not known"
"""The trial of a value of ours that is in force though its write failed."""

_MOST_NUMBERS = 8


@dataclass(slots=True)
class Entry:
    """One tunable in one network namespace.

    *found* is the value met first, *expected* the one we believe is there,
    *settled* the last that is not on trial, *written* the last of ours, None
    once it is not in force any more. While *intended* is set, a write of it is
    under way, or nobody knows how it ended. *grant_bytes* is what sockets may
    use beyond *found*, *sockets* the most that were ever counted for it.
    *change_id* is of the last change, *earlier_ids* of those before it since
    the value was *found*. *by_file*: a file of the admin's sets it, which the
    next run of the daemon reads again. *noted*: the journal knows the entry.
    *refused* is the value and the reason of the refusal that was told last, None once
    something else was.
    """

    netns: Netns
    tunable: Tunable
    tuner: str
    found: Value
    expected: Value
    settled: Value
    yielded: bool = False
    trial: str | None = None
    intended: Value | None = None
    written: Value | None = None
    changes: int = 0
    change_id: str | None = None
    earlier_ids: list[str] = field(default_factory=list)
    grant_bytes: int = 0
    sockets: int = 1
    raises_s: list[float] = field(default_factory=list)
    by_file: bool = False
    noted: bool = False
    refused: tuple[Value, str] | None = None

    @property
    def ours(self) -> bool:
        """Whether a value of ours is in force."""
        return not self.yielded and self.expected != self.found

    @property
    def is_open(self) -> bool:
        """Whether it is on trial, or a write of it in doubt."""
        return (self.trial, self.intended) != (None, None)

    @property
    def counts(self) -> bool:
        """Whether a later run has to know of it."""
        handed_over = self.yielded and not self.by_file
        return handed_over or (self.written, self.intended) != (None, None)

    def as_fields(self, step: str) -> dict[str, object]:
        """Return it as a line of the journal; *step* is for people."""
        return {
            "step": step,
            "cookie": self.netns.cookie,
            "netns": self.netns.name,
            "tunable": self.tunable.name,
            "tuner": self.tuner,
            "found": self.found,
            "expected": self.expected,
            "settled": self.settled,
            "intended": self.intended,
            "written": self.written,
            "yielded": self.yielded and not self.by_file,
            "trial": self.trial,
            "changes": self.changes,
            "change": self.change_id,
            "earlier": self.earlier_ids,
            "grant_bytes": self.grant_bytes,
            "sockets": self.sockets,
        }

    def set_by_us(self, now: Value) -> bool:
        """Tell whether *now* is what we wrote, or may have written in part.

        The kernel takes the numbers of a triple one by one.
        """
        if self.intended is not None and len(now) == len(self.intended):
            triples = zip(now, self.expected, self.intended, strict=True)
            mixed = all(n in {before, after} for n, before, after in triples)
            if mixed and now != self.expected:
                return True
        return now == self.written

    def is_of(self, change_id: str) -> bool:
        """Tell whether *change_id* is of a change that made the value what it is."""
        return change_id in {self.change_id, *self.earlier_ids}


def entry_from(fields: Mapping[str, Any]) -> Entry:
    """Return the entry of a line. Raises ValueError, KeyError or TypeError.

    Its tunable has the name only; what else a tuner says of it is the tuner's.
    """
    found = _value(fields["found"])
    entry = Entry(
        netns=Netns(NetnsCookie(_count(fields["cookie"])), _text(fields["netns"])),
        tunable=Tunable(_text(fields["tunable"]) or ""),
        tuner=_text(fields["tuner"]) or "",
        found=found,
        expected=_value(fields["expected"]),
        settled=_value(fields["settled"]),
        intended=_value_or_none(fields["intended"]),
        written=_value_or_none(fields["written"]),
        yielded=fields["yielded"] is True,
        trial=_text(fields["trial"]),
        changes=_count(fields["changes"]),
        change_id=_text(fields["change"]),
        earlier_ids=[_text(one) or "" for one in fields["earlier"]],
        grant_bytes=_count(fields["grant_bytes"]),
        sockets=_count(fields["sockets"]),
        noted=True,
    )
    values = (entry.expected, entry.settled, entry.intended, entry.written)
    if any(value is not None and len(value) != len(found) for value in values):
        raise ValueError("values of different lengths")
    if not entry.tunable.name:
        raise ValueError("no tunable")
    return entry


def _count(thing: object) -> int:
    if type(thing) is not int or not 0 <= thing < 2**64:
        raise ValueError("not a count")
    return thing


def _text(thing: object) -> str | None:
    if thing is not None and not isinstance(thing, str):
        raise ValueError("not a text")
    return thing


def _value(thing: object) -> Value:
    if not isinstance(thing, list) or not 0 < len(thing) <= _MOST_NUMBERS:
        raise ValueError("not a value")
    if any(type(number) is not int or abs(number) >= 2**64 for number in thing):
        raise ValueError("not a value")
    return tuple(thing)


def _value_or_none(thing: object) -> Value | None:
    return None if thing is None else _value(thing)


def serial_of(change_id: str | None) -> int:
    """Return the number in a change's id, 0 if it is none: 17 of ``c17``."""
    digits = (change_id or "").removeprefix("c")
    return int(digits) if digits.isascii() and digits.isdigit() else 0
