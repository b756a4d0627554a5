"""Records that say again what was said, without anything new.

A subject is a tuner's tunable, or destination, in one network namespace. Of it
nothing is said twice in a row in the same words with the same values; a change has
a number that no other has; and what became the admin's does so once, until it is
taken back, whichever run of the daemon tells it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Told = Mapping[str, Any]
Subject = tuple[Any, ...]

ALWAYS_NEW = frozenset({"lost", "started", "stopped"})
"""What was lost since it was said last is new, though its count may be the same."""

GIVEN_BACK = frozenset({"adopted", "rolled_back"})


class Repeats:
    """Hears all records of one run directory, of one daemon after the other."""

    def __init__(self) -> None:
        """Begin with nothing said."""
        self._last: dict[Subject, tuple[Any, ...]] = {}
        self._theirs: set[Subject] = set()
        self._changes: set[str] = set()

    def began_anew(self) -> None:
        """Note that another daemon speaks: it may say once more what is in force."""
        self._last.clear()

    def hear(self, record: Told) -> str | None:
        """Return what is wrong with *record*, None if nothing is."""
        kind, subject = record["record"], _subject(record)
        if "times" in record and kind not in ALWAYS_NEW:
            return f"said again, {record['times']} times: {words(record)}"
        said = (kind, _plain(record["old"]), _plain(record["new"]), record["why"])
        again = kind not in ALWAYS_NEW and self._last.get(subject) == said
        self._last[subject] = said
        if again:
            return f"said twice: {words(record)}"
        return self._once(record, kind, subject)

    def _once(self, record: Told, kind: str, subject: Subject) -> str | None:
        change = record.get("change")
        if kind == "change" and change is not None:
            if change in self._changes:
                return f"a second change {change}: {words(record)}"
            self._changes.add(change)
        if kind == "yielded":
            if subject in self._theirs:
                return f"yielded again: {words(record)}"
            self._theirs.add(subject)
        elif kind in GIVEN_BACK:
            self._theirs.discard(subject)
        return None


def words(record: Told) -> str:
    """Return a record as one line for people."""
    netns = record["netns"] or {}
    about = [record["tuner"], record["tunable"] or record.get("destination")]
    about += [netns.get("name") or netns.get("cookie")]
    head = " ".join(str(one) for one in (record["record"], *about) if one)
    return f"{head} {record['old']} -> {record['new']}: {record['why']}"


def _subject(record: Told) -> Subject:
    netns = record["netns"] or {}
    return (
        record["tuner"],
        record["tunable"],
        netns.get("cookie"),
        record.get("destination"),
    )


def _plain(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value
