"""Records: what the daemon tells people and machines, one line each.

A record is one decision. ``as_line`` says it to people, ``as_json`` to
machines, and ``Sink`` writes either, without ever flooding or failing.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TextIO

from bpftune.text import one_line, printable, rfc3339, seconds_words, size_words

if TYPE_CHECKING:
    from bpftune.model import Netns, Value

KINDS = (
    "started",
    "change",
    "kept",
    "taken_back",
    "shrunk",
    "rejected",
    "yielded",
    "adopted",
    "rolled_back",
    "advice",
    "lost",
    "degraded",
    "stopped",
)

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
    "adopted": "{what} {new}{where} is bpftune's to tune: {why}",
    "rolled_back": "{what}{place} {move}{where}, rolled back: {why}",
    "advice": "{what}{place} {move}{where} is advised ({why})",
    "stopped": "{what}{place} stays at {new}{where}, found at {old}: {why}",
}
_UNDO = {"advice": "Do it", "rolled_back": "Redo", "rejected": "Try"}


@dataclass(frozen=True, slots=True)
class Record:
    """One decision, or one thing to know about the daemon itself.

    *record* is one of ``KINDS``; *why* a sentence; *tunable* the dotted sysctl
    name; *old* and *new* whole values; *change* the id that ties the records
    of one change together; *undo* a shell command; *extra* plain numbers and
    words for machines.
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
        about = f" {printable(record.tunable)}" if record.tunable is not None else ""
        what = record.record.replace("_", " ")
        return f"{printable(subject)} {what}{about}{_where(record.netns)}: {record.why}"
    place, old, new = _values(record)
    return phrase.format(
        what=printable(_short(record.tunable)),
        place=place,
        move=f"{old} -> {new}",
        new=new,
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


def _plain(thing: object) -> object:
    """Return *thing* as JSON can carry it, its text escaped."""
    if thing is None or isinstance(thing, bool | int):
        return thing
    if isinstance(thing, float):
        # JSON knows neither infinity nor NaN.
        return thing if abs(thing) < float("inf") else None
    if isinstance(thing, bytes):
        return printable(thing)
    if isinstance(thing, Mapping):
        return {one_line(str(key)): _plain(thing[key]) for key in thing}
    if isinstance(thing, list | tuple | set | frozenset):
        return [_plain(one) for one in thing]
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
    }
    more = {key: record.extra[key] for key in record.extra if key not in fields}
    return json.dumps(_plain({**fields, **more}))


@dataclass(slots=True)
class _Voice:
    """What one tuner said last, how often, and how much it may still say."""

    tokens: float
    refilled_s: float
    last: Record | None = None
    first_s: float = 0.0
    repeats: int = 0
    suppressed: int = 0


class Sink:
    """Writes records to *stream*; nothing that happens there stops the daemon.

    Equal records in a row of one tuner are written once and then counted for
    ``COALESCE_S``. A tuner may say ``BURST`` records at once and ``PER_S`` in
    the long run; more are counted, not written, and the count is a record.
    """

    COALESCE_S = 600.0
    BURST = 100
    PER_S = 1.0

    def __init__(
        self,
        stream: TextIO,
        *,
        json_lines: bool = False,
        monotonic: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        has_room: Callable[[], bool] = lambda: True,
    ) -> None:
        """Write to *stream*: sentences, or with *json_lines* JSON objects.

        *has_room* tells whether a line can be written without waiting.
        """
        self._stream = stream
        self._json_lines = json_lines
        self._monotonic = monotonic
        self._wall = wall
        self._has_room = has_room
        self._unread = 0
        self._voices: dict[str | None, _Voice] = {}
        self.broken = False

    def write(self, record: Record) -> None:
        """Write *record*, or count it if it repeats or there are too many."""
        now_s = self._monotonic()
        voice = self._voices.get(record.tuner)
        if voice is None:
            voice = self._voices[record.tuner] = _Voice(self.BURST, now_s)
        if self._is_repeat(voice, record) and now_s - voice.first_s < self.COALESCE_S:
            voice.repeats += 1
            return
        self._say_repeats(voice, now_s)
        voice.tokens += (now_s - voice.refilled_s) * self.PER_S
        voice.tokens = min(voice.tokens, self.BURST)
        voice.refilled_s = now_s
        if voice.tokens < 1:
            voice.suppressed += 1
            voice.last = None
            return
        self._say_suppressed(record.tuner, voice)
        voice.tokens -= 1
        voice.last, voice.first_s = record, now_s
        self._out(record)

    def tick(self) -> None:
        """Write the counts that are due; call it about once a minute."""
        now_s = self._monotonic()
        for tuner, voice in self._voices.items():
            if now_s - voice.first_s >= self.COALESCE_S:
                self._say_repeats(voice, now_s)
                voice.last = None
            self._say_suppressed(tuner, voice)

    def close(self) -> None:
        """Write all counts still held back. The stream stays open."""
        for tuner, voice in self._voices.items():
            self._say_repeats(voice, self._monotonic())
            self._say_suppressed(tuner, voice)

    @staticmethod
    def _is_repeat(voice: _Voice, record: Record) -> bool:
        # A record of a change has an id that no other has: what can be
        # undone is never swallowed.
        return voice.last == record

    def _say_repeats(self, voice: _Voice, now_s: float) -> None:
        if voice.last is None or not voice.repeats:
            return
        times, over_s = voice.repeats, now_s - voice.first_s
        voice.repeats = 0
        why = f"{voice.last.why} ({times} times in {seconds_words(round(over_s))})"
        extra = {**voice.last.extra, "times": times, "over_s": round(over_s, 3)}
        self._out(replace(voice.last, why=why, extra=extra))

    def _say_suppressed(self, tuner: str | None, voice: _Voice) -> None:
        if not voice.suppressed:
            return
        count, voice.suppressed = voice.suppressed, 0
        why = f"{count} records were not written, for there were too many"
        self._out(Record("lost", why, tuner, extra={"suppressed": count}))

    def _out(self, record: Record) -> None:
        if self.broken:
            return
        if not self._has_room():
            self._unread += 1
            return
        if self._unread:
            count, self._unread = self._unread, 0
            why = f"{count} records were not written, for nobody read them"
            self._out(Record("lost", why, extra={"unread": count}))
        line = (
            as_json(record, self._wall()) if self._json_lines else as_line(record)
        ) + "\n"
        try:
            self._stream.write(line)
            self._stream.flush()
        except BlockingIOError:
            return  # the reader is slow, and tuning does not wait for it
        except (OSError, ValueError):
            # The reader is gone (EPIPE), or the stream was closed.
            self.broken = True
