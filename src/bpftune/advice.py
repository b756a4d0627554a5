"""What bpftune would change, with ids that people can type and that stay the same.

In ``observe`` mode that is each change that was not made; in both modes, what is
the admin's own choice. One advice for each tunable and network namespace: the
latest. Pure but for ``load`` and ``save``.
"""

from __future__ import annotations

import json
import re
from binascii import crc32
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from bpftune.atomic import replace_file

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from bpftune.model import Netns, NetnsCookie, Value
    from bpftune.records import Record

MOST = 256
MOST_IGNORED = 1024
MOST_FILE_BYTES = 64 * 1024
VERSION = 1

_ID = re.compile(r"[0-9a-f]{6}")


@dataclass(frozen=True, slots=True)
class Advice:
    """Set *tunable* in *netns* from *old* to *new*, for *why*; *do* does it.

    *sockets* is how many could use what it grants.
    """

    id: str
    tuner: str
    tunable: str
    netns: Netns
    old: Value
    new: Value
    why: str
    do: str
    sockets: int = 1
    ignored: bool = False


class InvalidFileError(Exception):
    """The file of what is ignored is not what was written; the message says why."""


class Book:
    """All advice in force, and the ids of what the admin does not want to hear.

    *boot* tells apart namespaces without a name, whose cookies come again after
    the machine was booted.
    """

    def __init__(self, boot: str = "") -> None:
        """Begin with no advice."""
        self._boot = boot
        self._advice: dict[tuple[str, NetnsCookie], Advice] = {}
        self._ignored: dict[str, None] = {}  # the longest ignored first

    def all(self) -> list[Advice]:
        """Return all advice, the oldest first."""
        return list(self._advice.values())

    def get(self, wanted: str) -> Advice | None:
        """Return the advice of that id."""
        return next((one for one in self._advice.values() if one.id == wanted), None)

    def note(self, record: Record) -> Advice | None:
        """Remember the advice in *record*; None if there is none in it."""
        tunable, netns = record.tunable, record.netns
        if record.record != "advice" or tunable is None or netns is None:
            return None
        if record.old is None or record.new is None:
            return None
        sockets = record.extra.get("sockets", 1)
        mark = self._id(tunable, netns, record.new)
        advice = Advice(
            id=mark,
            tuner=record.tuner or "",
            tunable=tunable,
            netns=netns,
            old=record.old,
            new=record.new,
            why=record.why,
            do=record.undo or "",
            sockets=sockets if isinstance(sockets, int) else 1,
            ignored=mark in self._ignored,
        )
        self._advice.pop((tunable, netns.cookie), None)
        self._advice[tunable, netns.cookie] = advice
        if len(self._advice) > MOST:
            del self._advice[next(iter(self._advice))]
        return advice

    def _id(self, tunable: str, netns: Netns, new: Value) -> str:
        """Return six digits that stand for this and nothing else in the book."""
        where = netns.name or f"#{netns.cookie} {self._boot}"
        subject = f"{tunable} {new} {where!r}"
        taken = {
            one.id
            for one in self._advice.values()
            if (one.tunable, one.netns.cookie) != (tunable, netns.cookie)
        }
        for turn in range(len(taken) + 1):
            mark = f"{crc32(f'{turn} {subject}'.encode()) & 0xFFFFFF:06x}"
            if mark not in taken:
                break
        return mark

    def drop(self, wanted: str) -> None:
        """Forget the advice of that id: it was followed, or is out of date."""
        self._advice = {
            key: one for key, one in self._advice.items() if one.id != wanted
        }

    def keep(self, holds: Callable[[Advice], bool]) -> None:
        """Forget all advice that does not hold any more."""
        self._advice = {key: one for key, one in self._advice.items() if holds(one)}

    def ignore(self, wanted: str) -> bool:
        """Do not tell of the advice of that id again; False if there is none."""
        for key, one in self._advice.items():
            if one.id == wanted:
                self._advice[key] = replace(one, ignored=True)
                self._ignored[wanted] = None
                if len(self._ignored) > MOST_IGNORED:
                    del self._ignored[next(iter(self._ignored))]
                return True
        return False

    # --- what is ignored, in a file --------------------------------------------------

    def save(self, path: Path) -> None:
        """Write the ids that are ignored. Raises OSError."""
        text = json.dumps({"version": VERSION, "ignored": list(self._ignored)})
        replace_file(path, text + "\n")

    def load(self, path: Path) -> None:
        """Read the ids that are ignored, if any ever were. Raises InvalidFileError."""
        try:
            with path.open("rb") as file:
                data = file.read(MOST_FILE_BYTES + 1)
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as error:
            raise InvalidFileError(f"{path}: {error.strerror}") from error
        self._ignored = dict.fromkeys(_ids(path, data))


def _ids(path: Path, data: bytes) -> list[str]:
    if len(data) > MOST_FILE_BYTES:
        raise InvalidFileError(f"{path} has more than {MOST_FILE_BYTES} bytes")
    try:
        found = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise InvalidFileError(f"{path} is not JSON") from error
    if not isinstance(found, dict) or found.get("version") != VERSION:
        raise InvalidFileError(f"{path} is of another version")
    ids = found.get("ignored")
    if not isinstance(ids, list) or len(ids) > MOST_IGNORED:
        raise InvalidFileError(f"{path} has no list of ids")
    if not all(isinstance(one, str) and _ID.fullmatch(one) for one in ids):
        raise InvalidFileError(f"{path} has an id that is none")
    return ids
