"""What the daemon and its history say, as JSON, in words for people."""

from __future__ import annotations

import math
import re
from datetime import datetime
from typing import TYPE_CHECKING, Any

from bpftune.model import Netns, NetnsCookie
from bpftune.records import Record, _short, _values, as_line
from bpftune.text import one_line, rate_words, seconds_words, size_words

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Told = dict[str, Any]

LARGEST = 1e18
"""Beyond this a number in JSON is no measurement, and not worth words."""

_ESCAPED = re.compile(r"\\x([0-9a-f]{2})")
# Words of evidence whose number has a unit, by the end of the name.
_UNITS = (
    ("reward_nats", lambda number: f"reward {number:.2f}"),  # a level, no difference
    ("_error_nats", lambda number: f"± {math.expm1(2 * min(number, 40)):.0%}"),
    ("_nats", lambda number: f"{math.expm1(min(number, 99)):+.0%}"),
    ("bytes_per_s", rate_words),
    ("_bytes", lambda number: size_words(round(number))),
    ("_us", lambda number: seconds_words(number / 1e6)),
    ("_ms", lambda number: seconds_words(number / 1e3)),
    ("_s", seconds_words),
    ("_share", lambda number: f"{number:.2%}"),
)


def netns_of(fields: Mapping[str, Any] | None) -> Netns | None:
    """Return the namespace that JSON's *fields* describe."""
    if not isinstance(fields, dict):
        return None
    name = fields.get("name")
    if name is not None:
        # Escaped already; it is escaped again where it is shown.
        raw = _ESCAPED.sub(lambda found: chr(int(found[1], 16)), str(name))
        name = raw.encode("latin-1", "replace").decode("utf-8", "surrogateescape")
    cookie = fields.get("cookie")
    return Netns(NetnsCookie(cookie if isinstance(cookie, int) else 0), name)


def where(fields: Mapping[str, Any] | None) -> str:
    """Return the name of a namespace, or its cookie."""
    if not isinstance(fields, dict):
        return ""
    name = fields.get("name")
    return one_line(f"#{fields.get('cookie')}" if name is None else str(name))


def value_of(numbers: object) -> tuple[int, ...] | None:
    """Return a whole value."""
    if not isinstance(numbers, list | tuple):
        return None
    return tuple(int(number) for number in numbers)


def as_record(fields: Told) -> Record:
    """Return the record that one JSON object holds; oddities become words."""
    return Record(
        record=one_line(str(fields.get("record"))),
        why=str(fields.get("why") or ""),
        tuner=fields.get("tuner"),
        tunable=fields.get("tunable"),
        netns=netns_of(fields.get("netns")),
        old=value_of(fields.get("old")),
        new=value_of(fields.get("new")),
        change=fields.get("change"),
        undo=fields.get("undo"),
        extra={"destination": fields.get("destination")},
    )


def sentence(fields: Told, *, with_undo: bool = False) -> str:
    """Return the sentence with which the daemon told of a record."""
    return as_line(as_record(fields if with_undo else {**fields, "undo": None}))


def move(tunable: str, old: object, new: object) -> tuple[str, str, str]:
    """Return what of *tunable* differs, from what, and to what."""
    record = Record("change", "", None, tunable, None, value_of(old), value_of(new))
    place, before, after = _values(record)
    return one_line(_short(tunable) + place), before, after


def whole(numbers: object) -> str:
    """Return a whole value as sysctl(8) shows it."""
    return " ".join(map(str, value_of(numbers) or ("?",)))


def local_time(text: object) -> str:
    """Return an RFC 3339 time as people here read it: date and time of day."""
    try:
        told = datetime.fromisoformat(str(text)).astimezone()
    except (ValueError, OverflowError):
        return one_line(str(text))
    return told.strftime("%Y-%m-%d %H:%M:%S")


def evidence(name: str, found: object) -> str:
    """Return one fact of a decision's evidence: ``srtt 40 ms``."""
    words = name.replace("_", " ")
    match found:
        case None:
            text = f"{words} unknown"
        case dict():
            inner = ", ".join(evidence(str(key), found[key]) for key in found)
            text = f"{words}: {inner}"
        case list() | tuple():
            text = f"{words} {' '.join(map(str, found))}"
        case bool():
            text = words if found else f"not {words}"
        case int() | float() if abs(found) < LARGEST:
            text = _with_unit(name, found)
        case _:
            text = f"{words} {found}"
    return one_line(text)


def _with_unit(name: str, number: float) -> str:
    for end, told in _UNITS:
        if name.endswith(end):
            stem = name.removesuffix(end).replace("_", " ").strip()
            if end == "bytes_per_s":
                stem = stem or "rate"
            return f"{stem} {told(number)}".strip()
    return f"{name.replace('_', ' ')} {number:g}"


def counted(count: int, one: str, many: str = "") -> str:
    """Return a number of things: ``1 value``, ``2 values``."""
    return f"{count} {one if count == 1 else many or one + 's'}"


def listed(things: Sequence[str]) -> str:
    """Return *things* as one list, or ``none``."""
    return one_line(", ".join(things) or "none")
