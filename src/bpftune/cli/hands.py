"""``bpftune pause``, ``resume`` and ``adopt``: hands off, and on again."""

from __future__ import annotations

from bpftune.cli.client import Reply, call
from bpftune.cli.errors import ExitCode
from bpftune.cli.sentences import counted, listed, where, whole
from bpftune.cli.terminal import say, say_json, say_wrapped


def _say_paused(answer: Reply, moved: str, *, json: bool) -> int:
    paused, rows = answer["paused"], answer.get("rows", [])
    if json:
        say_json({"paused": paused, "rows": rows})
        return ExitCode.OK
    for one in rows:
        say(f"{one['tuner']}: {counted(one['destinations'], 'destination')} {moved}.")
    if paused:
        say_wrapped("Paused: ", listed(paused))
        say("Values in force stay. Go on with: bpftune resume")
    else:
        say("Nothing is paused.")
    return ExitCode.OK


def pause(*, what: str | None, json: bool = False) -> int:
    """Let the daemon change nothing more of *what*, or at all."""
    return _say_paused(call("Pause", what=what), "back to the default", json=json)


def resume(*, what: str | None, json: bool = False) -> int:
    """Let the daemon tune *what*, or everything, again."""
    return _say_paused(call("Resume", what=what), "as before", json=json)


def adopt(*, tunable: str, netns: str | None, json: bool = False) -> int:
    """Take *tunable* back from the admin."""
    answer = call("Adopt", tunable=tunable, netns=netns)
    if json:
        say_json(answer)
        return ExitCode.OK
    for one in answer["tunables"]:
        # One that is words has no numbers.
        start = f", from {whole(one['expected'])} on" if one["expected"] else ""
        place = where(one["netns"])
        say(f"{one['tunable']} ({place}) is bpftune's to tune again{start}.")
    if not answer["tunables"]:
        say(f"{tunable} was bpftune's to tune already.")
    return ExitCode.OK
