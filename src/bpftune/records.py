"""Records: what the daemon tells people and machines, one line each.

A record is one decision. ``as_line`` says it to people, ``as_json`` to
machines. Where it goes is the business of ``sink`` and ``targets``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bpftune.text import one_line, printable, rfc3339, size_words

if TYPE_CHECKING:
    from bpftune.model import Netns, Value

SCHEMA = 1

# Tunables counted in bytes; others are shown as plain numbers.
_IN_BYTES = frozenset(
    {
        "net.core.optmem_max",
        "net.core.rmem_default",
        "net.core.rmem_max",
        "net.core.wmem_default",
        "net.core.wmem_max",
        "net.ipv4.ipfrag_high_thresh",
        "net.ipv4.tcp_rmem",
        "net.ipv4.tcp_wmem",
        "net.ipv6.ip6frag_high_thresh",
    }
)
_PLACES = ("min", "default", "max")

# What is said between the value and the reason; see _sentence().
_PHRASES = {
    "change": "{what}{place} {move}{where} ({why})",
    "kept": "{what}{place} {new} kept{where}: {why}",
    "taken_back": "{what}{place} {move}{where}, taken back: {why}",
    "shrunk": "{what}{place} {move}{where}, shrunk: {why}",
    "rejected": "{what}{place} {move}{where} was refused: {why}",
    "yielded": "{what}{where} is the admin's now: {why}",
    "adopted": "{what}{place}{at}{where} is bpftune's to tune: {why}",
    "rolled_back": "{what}{place} {move}{where}, rolled back: {why}",
    "advice": "{what}{place} {move}{where} is advised ({why})",
    "stopped": "{what}{place} stays at {new}{where}, found at {old}: {why}",
}
# What these tell of a destination is a whole sentence.
_OF_DESTINATIONS = frozenset({"tries", "chosen", "ended"})
_UNDO = {
    "advice": "Do it",
    "chosen": "Undo, for all destinations",
    "rolled_back": "Redo",
    "rejected": "Try",
}


@dataclass(frozen=True, slots=True)
class Record:
    """One decision, or one thing to know about the daemon itself.

    *record* is one of ``kinds.KINDS``; *why* a sentence; *tunable* the dotted
    sysctl name; *old* and *new* whole values; *change* the id that ties the
    records of one change together; *undo* a shell command; *extra* plain numbers
    and words for machines; *mode* ``tune`` or ``observe``, which the sink adds.
    """

    record: str
    why: str
    tuner: str | None = None
    tunable: str | None = None
    netns: Netns | None = None
    old: Value | None = None
    new: Value | None = None
    change: str | None = None
    undo: str | None = None
    extra: Mapping[str, object] = field(default_factory=dict)
    mode: str | None = None

    @property
    def destination(self) -> str | None:
        """The prefix that it is about, if it changes no tunable."""
        found = self.extra.get("destination")
        return found if isinstance(found, str) else None


def _short(tunable: str) -> str:
    """Leave out ``net.ipv4.`` and ``net.core.`` where the rest is one word."""
    head, _, last = tunable.rpartition(".")
    return last if head in {"net.ipv4", "net.core"} else tunable


def _number(tunable: str, number: int, *, exact: bool) -> str:
    return str(number) if exact or tunable not in _IN_BYTES else size_words(number)


def _values(record: Record) -> tuple[str, str, str]:
    """Return which part of the value is meant, the old and the new, in words."""
    tunable, old, new = record.tunable or "", record.old, record.new
    place = ""
    if old and new and len(old) == len(new) == len(_PLACES):
        differing = [i for i in range(len(old)) if old[i] != new[i]]
        if len(differing) == 1:
            place = f" {_PLACES[differing[0]]}"
            old, new = (old[differing[0]],), (new[differing[0]],)

    def words(value: Value | None, *, exact: bool) -> str:
        if value is None:
            return "?"
        return " ".join(_number(tunable, number, exact=exact) for number in value)

    # Two values that differ must not read the same because of rounding.
    exact = old != new and words(old, exact=False) == words(new, exact=False)
    return place, words(old, exact=exact), words(new, exact=exact)


def _where(netns: Netns | None) -> str:
    if netns is None:
        return ""
    if netns.name == "host":
        return " on the host"
    return f" in netns {printable(str(netns))}"


def _sentence(record: Record) -> str:
    phrase = _PHRASES.get(record.record)
    if phrase is None or record.tunable is None:
        # What is about the daemon, or a whole tuner.
        subject = record.tuner if record.tuner is not None else "bpftune"
        words = [record.record.replace("_", " "), record.tunable, record.destination]
        if record.destination is not None and record.record in _OF_DESTINATIONS:
            del words[0]
        about = " ".join(printable(word) for word in (subject, *words) if word)
        return f"{about}{_where(record.netns)}: {record.why}"
    place, old, new = _values(record)
    return phrase.format(
        what=printable(_short(record.tunable)),
        place=place,
        move=f"{old} -> {new}",
        new=new,
        at="" if record.new is None else f" {new}",
        old=old,
        where=_where(record.netns),
        why=record.why,
    )


def as_line(record: Record) -> str:
    """Return *record* as one sentence on one line, for people."""
    text = _sentence(record)
    if record.undo is not None:
        end = "" if text.endswith(".") else "."
        text += f"{end} {_UNDO.get(record.record, 'Undo')}: {record.undo}"
    return one_line(text)


def plain(thing: object) -> object:
    """Return *thing* as JSON can carry it, its text escaped."""
    if thing is None or isinstance(thing, bool | int):
        return thing
    if isinstance(thing, float):
        # JSON knows neither infinity nor NaN.
        return thing if abs(thing) < float("inf") else None
    if isinstance(thing, bytes):
        return printable(thing)
    if isinstance(thing, Mapping):
        return {one_line(str(key)): plain(thing[key]) for key in thing}
    if isinstance(thing, list | tuple | set | frozenset):
        return [plain(one) for one in thing]
    return one_line(str(thing))


def as_json(record: Record, now_unix: float) -> str:
    """Return *record* as one JSON object on one line, for machines.

    Nothing in *record.extra* hides a field of the record itself.
    """
    netns = record.netns
    name = printable(netns.name) if netns and netns.name is not None else None
    fields: dict[str, object] = {
        "time": rfc3339(now_unix),
        "schema": SCHEMA,
        "record": record.record,
        "tuner": record.tuner,
        "tunable": record.tunable,
        "netns": {"cookie": netns.cookie, "name": name} if netns else None,
        "old": record.old,
        "new": record.new,
        "why": record.why,
        "change": record.change,
        "undo": record.undo,
        "mode": record.mode,
    }
    more = {key: record.extra[key] for key in record.extra if key not in fields}
    return json.dumps(plain({**fields, **more}))
