"""What the daemon knows, in the shapes of the interface. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bpftune.text import one_line, printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from bpftune.kernel.verdict import Verdict
    from bpftune.ledger import Entry
    from bpftune.model import Netns, Tuner
    from bpftune.rollback import Step
    from bpftune.setting import Setting

Shape = dict[str, object]


def netns_shape(netns: Netns) -> Shape:
    """Return ``type Netns``."""
    name = None if netns.name is None else printable(netns.name)
    return {"cookie": netns.cookie, "name": name}


def is_called(netns: Netns, name: str) -> bool:
    """Tell whether a person who types *name* means *netns*."""
    return name in {printable(str(netns)), f"#{netns.cookie}"}


def state_of(entry: Entry, *, paused: bool) -> str:
    """Return the state of a tunable in a namespace, in one word."""
    if entry.yielded:
        return "yielded"
    if paused:
        return "paused"
    if entry.trial is not None:
        return "trial"
    return "ours" if entry.ours else "found"


def tunable_shape(entry: Entry, *, paused: bool, undo: str | None) -> Shape:
    """Return ``type Tunable``; *undo* is the command that sets what was found."""
    return {
        "tunable": entry.tunable.name,
        "tuner": entry.tuner,
        "netns": netns_shape(entry.netns),
        "state": state_of(entry, paused=paused),
        "found": list(entry.found),
        "expected": list(entry.expected),
        "settled": list(entry.settled),
        "change": entry.change_id,
        "changes": entry.changes,
        "undo": one_line(undo) if undo is not None else None,
    }


def setting_shape(setting: Setting) -> Shape:
    """Return ``type Tunable`` for a sysctl that is words: it has no numbers."""
    return {
        "tunable": setting.name,
        "tuner": setting.tuner,
        "netns": netns_shape(setting.netns),
        "state": "yielded" if setting.why else "found",
        "found": [],
        "expected": [],
        "settled": [],
        "change": None,
        "changes": 0,
        "undo": None,
    }


def step_shape(step: Step) -> Shape:
    """Return ``type Step``: what a rollback does, or did, to one tunable."""
    return {
        "tunable": step.tunable.name,
        "netns": netns_shape(step.netns),
        "change": step.change,
        "action": step.action,
        "now": list(step.now or ()),
        "new": list(step.new),
        "why": one_line(step.why),
    }


def rows_shape(moved: Mapping[str, int]) -> list[Shape]:
    """Return ``[]Rows``: of how many destinations rows of tables moved, by tuner."""
    return [{"tuner": name, "destinations": moved[name]} for name in sorted(moved)]


def rows_words(moved: Mapping[str, int]) -> str:
    """Return the same in words."""
    told = []
    for name in sorted(moved):
        many = "1 destination" if moved[name] == 1 else f"{moved[name]} destinations"
        told.append(f"{many} of {name}")
    return ", ".join(told)


def tuner_shape(
    tuner: Tuner,
    verdicts: Iterable[Verdict],
    *,
    runs: bool,
    paused: bool,
    off: str | None,
    destinations: int = 0,
) -> Shape:
    """Return ``type Tuner``. *runs*: the daemon asks it; *off*: why not any more.

    For so many *destinations* it has rows of tables in force.

    One whose programs are all refused is unsupported, even if it still decides
    on what the daemon itself sees.
    """
    verdicts = list(verdicts)
    refused = [verdict for verdict in verdicts if not verdict.works]
    why = "; ".join(f"{one.program}: {one.reason}" for one in refused) or None
    if off is not None:
        state, why = "off", off
    elif not runs or (refused and len(refused) == len(verdicts)):
        state = "unsupported"
    elif paused:
        state, why = "paused", "paused by the admin"
    else:
        state = "degraded" if refused else "on"
    return {
        "name": tuner.name,
        "summary": one_line(tuner.summary),
        "state": state,
        "why": one_line(why) if why is not None else None,
        "destinations": destinations,
    }
