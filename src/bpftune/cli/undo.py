"""``bpftune rollback``: the values found at first, as far as they are ours still."""

from __future__ import annotations

import os
import sys
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any

from bpftune.cli.client import DaemonMissingError, call
from bpftune.cli.errors import CommandError, ExitCode
from bpftune.cli.sentences import counted, move, where
from bpftune.cli.terminal import say, say_json, say_table
from bpftune.history import History
from bpftune.paths import run_dir, state_dir
from bpftune.rollback import Selection, Step, rollback_offline
from bpftune.text import one_line, printable

if TYPE_CHECKING:
    from bpftune.records import Record


def rollback(
    *,
    change: str | None,
    tunable: str | None,
    netns: str | None,
    everything: bool,
    dry_run: bool,
    json: bool = False,
) -> int:
    """Undo a change, a tunable, a namespace or everything; 1 if one failed."""
    words = {"change": change, "tunable": tunable, "netns": netns}
    chosen = {name: word for name, word in words.items() if word is not None}
    _check(chosen, everything=everything)
    try:
        answer = call(
            "Rollback", **chosen, all=everything or None, dry_run=dry_run or None
        )
        steps, rows = answer["steps"], answer.get("rows", [])
    except DaemonMissingError:  # rows of tables went with it
        steps, rows = offline(chosen, dry_run=dry_run), []
    failed = any(step["action"] == "fail" for step in steps)
    if json:
        say_json({"steps": steps, "rows": rows, "dry_run": dry_run})
    elif steps or rows:
        if steps:
            _say(steps, dry_run=dry_run)
        _say_rows(rows, dry_run=dry_run)
    else:
        say("Nothing of bpftune's is in force there.")
    return ExitCode.FAILED if failed else ExitCode.OK


def _check(chosen: dict[str, str], *, everything: bool) -> None:
    hint = "say CHANGE, --tunable T, --netns N or --all; see bpftune status"
    if not chosen and not everything:
        raise CommandError("rollback of what?", hint, ExitCode.USAGE)
    if chosen and everything:
        raise CommandError("rollback --all takes no other choice", hint, ExitCode.USAGE)
    if "change" in chosen and len(chosen) > 1:
        raise CommandError(
            "a change has its tunable and namespace already", hint, ExitCode.USAGE
        )


def offline(chosen: dict[str, str], *, dry_run: bool) -> list[dict[str, Any]]:
    """Undo from the journal that a daemon left behind; it must not be running."""
    if os.geteuid() != 0:
        raise CommandError(
            "the daemon is not running, and only root may undo without it",
            "try it as root: sudo bpftune rollback",
            ExitCode.NOT_PERMITTED,
        )
    sys.stderr.write("bpftune: the daemon is not running; undoing from its journal\n")
    with closing(History(state_dir())) as history:
        steps = rollback_offline(
            run_dir(),
            Selection(**chosen),
            dry_run=dry_run,
            tell=lambda record: _keep(history, record),
        )
        if history.trouble:
            sys.stderr.write(one_line(f"bpftune: {history.trouble}") + "\n")
    return [as_fields(step) for step in steps]


def _keep(history: History, record: Record) -> None:
    history.write(record, time.time())


def as_fields(step: Step) -> dict[str, Any]:
    """Return a step of ``bpftune.rollback`` as the daemon would send it."""
    return {
        "tunable": step.tunable.name,
        "netns": {"cookie": step.netns.cookie, "name": _name(step)},
        "change": step.change,
        "action": step.action,
        "now": list(step.now or ()),
        "new": list(step.new or ()),
        "why": step.why,
    }


def _name(step: Step) -> str | None:
    name = step.netns.name
    return None if name is None else printable(name)


def _say(steps: list[dict[str, Any]], *, dry_run: bool) -> None:
    rows = []
    for step in steps:
        what, now, new = move(step["tunable"], step["now"], step["new"])
        to = f"{now} -> {new}" if step["action"] == "set" else now
        action = "would set" if dry_run and step["action"] == "set" else step["action"]
        rows.append((action, what, where(step["netns"]), to, step["why"]))
    say_table(("ACTION", "TUNABLE", "NETNS", "VALUE", "WHY"), rows)
    undone = [step["tunable"] for step in steps if step["action"] == "set"]
    many = counted(len(undone), "value")
    if dry_run:
        say(f"{many} would go back to what was found. Nothing was changed.")
    elif undone:
        name = undone[0] if len(set(undone)) == 1 else "TUNABLE"
        say(
            f"{many} went back to what was found, and bpftune leaves it so until: "
            f"bpftune adopt {name}"
        )


def _say_rows(rows: list[dict[str, Any]], *, dry_run: bool) -> None:
    """Tell for how many destinations new connections get the default again."""
    for one in rows:
        name, many = one["tuner"], counted(one["destinations"], "destination")
        if dry_run:
            say(f"{name}: {many} would go back to the default.")
        else:
            say(f"{name}: {many} back to the default, until: bpftune resume {name}")
