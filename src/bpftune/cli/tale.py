"""The whole story of a change, in order, from its records."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bpftune.cli.measured import measured
from bpftune.cli.sentences import (
    counted,
    local_time,
    move,
    value_of,
    where,
    whole,
)
from bpftune.cli.terminal import (
    BOLD,
    GREEN,
    YELLOW,
    coloured,
    wrapped,
)
from bpftune.text import one_line

if TYPE_CHECKING:
    from bpftune.cli.client import Reply
    from bpftune.cli.sentences import Told

# What happened, for people; the kinds of records are for machines.
HAPPENED = {
    "change": "tried",
    "kept": "kept",
    "taken_back": "taken back",
    "shrunk": "shrunk",
    "rejected": "refused",
    "yielded": "handed over",
    "adopted": "adopted",
    "rolled_back": "rolled back",
    "tries": "on trial",
    "ended": "ended",
    "advice": "advised",
    "stopped": "stays",
}
_COLOURS = {"change": YELLOW, "kept": GREEN, "tries": YELLOW, "chosen": GREEN}
_MARGIN = 21  # of a time and two blanks
_LABEL = 13


def tale(about: str, answer: Reply) -> str:
    """Return what happened to *about*: each change with its records, then now."""
    lines: list[str] = []
    for change, records in _by_change(answer["records"]):
        lines += [_title(change, records[0]), ""]
        for record in records:
            lines += _step(record)
        # With a daemon the way back is told once, at the end.
        if not answer["tunables"]:
            lines += _undo(records[-1])
        lines.append("")
    lines += _now(answer["tunables"])
    for told in answer["learned"]:
        lines += _labelled("Learned", told)
    for one in answer["known"]:
        lines += _labelled("Known", f"{one['text']}  (tuner {one['tuner']})")
    if not answer["records"]:
        lines.insert(0, f"Nothing was changed yet: {one_line(about)}")
    return "\n".join(lines).rstrip()


def _by_change(records: list[Told]) -> list[tuple[str | None, list[Told]]]:
    """Return the records of each change together, in order of their first.

    What changes no tunable is together by destination and tuner.
    """
    groups: dict[object, list[Told]] = {}
    for record in records:
        netns = record.get("netns") or {}
        what = record.get("tunable") or (record.get("destination"), record.get("tuner"))
        key = record.get("change") or (str(what), netns.get("cookie"))
        groups.setdefault(key, []).append(record)
    return [(group[0].get("change"), group) for group in groups.values()]


def _title(change: str | None, first: Told) -> str:
    subject = first.get("tunable") or first.get("destination") or first.get("tuner")
    text = "  ".join(one_line(str(word)) for word in (change, subject) if word)
    place = where(first.get("netns"))
    if place:
        text += " on the host" if place == "host" else f" in netns {place}"
    by = f"  (tuner {one_line(str(first['tuner']))})" if first.get("tuner") else ""
    return coloured(text, BOLD) + by


def _step(record: Told) -> list[str]:
    """Return one record of a story as lines: what, why, measured, undo."""
    kind = str(record.get("record"))
    word = one_line(HAPPENED.get(kind, kind.replace("_", " ")))
    margin = " " * _MARGIN
    first = f"{local_time(record.get('time')):<{_MARGIN}}"
    what = f"{word:<{_LABEL}}"
    tunable, old, new = record.get("tunable"), record.get("old"), record.get("new")
    if tunable and new is not None:
        place, before, after = move(tunable, old, new)
        told = f"{place} {after}" if old == new else f"{place} {before} -> {after}"
    else:
        told = None
    colour = _COLOURS.get(kind)
    what = coloured(what, colour) if colour else what
    why = str(record.get("why") or "")
    if told is None:
        lines = wrapped(f"{first}{what}", why, _MARGIN + _LABEL)
    else:
        lines = [f"{first}{what}{one_line(told)}".rstrip()]

    def more(label: str, text: str) -> None:
        head = f"{margin}{label:<{_LABEL}}"
        lines.extend(wrapped(head, text, len(head)))

    if why and told is not None:
        more("why", why)
    for label, text in measured(record):
        more(label, text)
    if record.get("by_comm") or record.get("by_uid") is not None:
        more("by", f"{record.get('by_comm') or '?'}, uid {record.get('by_uid')}")
    return lines


def _undo(record: Told) -> list[str]:
    """Return how to undo, or do, what *record* tells by hand."""
    if not record.get("undo"):
        return []
    label = "do" if record.get("record") == "advice" else "undo"
    # Whole, so that it can be copied.
    return [f"{' ' * _MARGIN}{label:<{_LABEL}}{one_line(str(record['undo']))}"]


def _now(tunables: list[Told]) -> list[str]:
    """Return how it stands, and how to undo it; where nothing is ours, only that."""
    lines: list[str] = []
    told = [one for one in tunables if one["state"] != "found" or one["changes"]]
    for one in told:
        what, found, now = move(one["tunable"], one["found"], one["expected"])
        state = {
            "found": f"as found, {whole(one['found'])}",
            "ours": f"{now}, found at {found}",
            "trial": f"{now} on trial, found at {found}",
            "yielded": _theirs(one),
            "paused": f"paused at {now}, found at {found}",
        }.get(one["state"], one["state"])
        writes = f" ({counted(one['changes'], 'write')})" if one["changes"] else ""
        lines += _labelled("Now", f"{what} {_at(one)}: {state}{writes}")
        if one["undo"] and value_of(one["expected"]) != value_of(one["found"]):
            label = coloured(f"{'Undo':<9}", BOLD)
            if one["change"]:
                lines.append(f"{label}bpftune rollback {one['change']}")
                label = "by hand  "
            lines.append(f"{label}{one_line(one['undo'])}")
    others = len(tunables) - len(told)
    if others:
        where_else = counted(others, "other namespace" if told else "namespace")
        lines += _labelled("Now", f"as it was found in {where_else}")
    return lines


def _theirs(one: Told) -> str:
    """Say that it is the admin's; one that is words has no numbers to show."""
    value = f", {whole(one['expected'])}" if one["expected"] else ""
    return f"the admin's{value}"


def _at(one: Told) -> str:
    place = where(one["netns"])
    return "on the host" if place == "host" else f"in netns {place}"


def _labelled(label: str, text: str) -> list[str]:
    return wrapped(coloured(f"{label:<9}", BOLD), text, 9)
