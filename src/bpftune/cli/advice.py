"""``bpftune advise``, ``apply`` and ``ignore``: what is for the admin to decide."""

from __future__ import annotations

from typing import Any

from bpftune.cli.client import call
from bpftune.cli.errors import ExitCode
from bpftune.cli.sentences import counted, move, sentence, where
from bpftune.cli.terminal import BOLD, coloured, say, say_json, say_wrapped


def advise(*, ignored: bool = False, json: bool = False) -> int:
    """Tell what would be changed; 6 if there is any advice."""
    answer = call("Advise")
    news = [one for one in answer["advice"] if not one["ignored"]]
    code = ExitCode.DRIFT if news else ExitCode.OK
    shown = answer["advice"] if ignored else news
    if json:
        say_json({"advice": shown})
        return code
    for one in shown:
        _say(one)
    if shown:
        say("Do it: bpftune apply ID. Hear no more of it: bpftune ignore ID")
    else:
        say("No advice.")
    hidden = len(answer["advice"]) - len(shown)
    if hidden:
        what = counted(hidden, "piece", "pieces")
        say(f"{what} of advice that you ignore: bpftune advise --all")
    return code


def _say(one: dict[str, Any]) -> None:
    what, old, new = move(one["tunable"], one["old"], one["new"])
    aside = " (ignored)" if one["ignored"] else ""
    place = where(one["netns"])
    say(
        f"{coloured(one['id'], BOLD)}  {what} {old} -> {new}, "
        f"{'on the host' if place == 'host' else f'in netns {place}'}{aside}"
    )
    margin = " " * (len(one["id"]) + 2)
    say_wrapped(f"{margin}why: ", one["why"])
    say(f"{margin}do:  {one['do']}")


def apply(*, id: str, json: bool = False) -> int:  # noqa: A002 - as it is typed
    """Do what advice *id* says."""
    answer = call("Apply", id=id)
    if json:
        say_json(answer)
    else:
        say_wrapped("", sentence(answer["record"], with_undo=True))
    return ExitCode.OK


def ignore(*, id: str, json: bool = False) -> int:  # noqa: A002 - as it is typed
    """Tell of advice *id* no more."""
    answer = call("Ignore", id=id)
    if json:
        say_json(answer)
    else:
        say(f"{id} is ignored from now on; bpftune advise --all still shows it.")
    return ExitCode.OK
