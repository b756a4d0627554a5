"""``bpftune status`` and ``bpftune verify``: how it stands now."""

from __future__ import annotations

from typing import Any

from bpftune.cli.client import Reply, call
from bpftune.cli.errors import ExitCode
from bpftune.cli.sentences import counted, listed, move, where, whole
from bpftune.cli.terminal import (
    BOLD,
    YELLOW,
    coloured,
    say,
    say_json,
    say_table,
    say_wrapped,
)
from bpftune.text import one_line, seconds_words, size_words

MODES = {"tune": "tuning", "observe": "observing, writes nothing"}
BROKEN = frozenset({"degraded", "unsupported", "off"})
STATES = {"ours": "kept", "trial": "on trial"}

SETTLED_S = 60.0  # before that the start is most of what it cost


def status(*, json: bool = False) -> int:
    """Tell what is tuned, what is in force, what was lost, what it costs."""
    answer = call("Status")
    tuners = answer["tuners"]
    broken = any(tuner["state"] in BROKEN for tuner in tuners)
    code = ExitCode.DEGRADED if broken else ExitCode.OK
    if json:
        say_json(answer)
        return code
    mode = MODES.get(answer["mode"], one_line(str(answer["mode"])))
    if answer["paused"]:
        mode = f"{mode}, {coloured('paused', YELLOW)}: {listed(answer['paused'])}"
    say(
        f"{coloured('bpftune', BOLD)} {one_line(answer['version'])}, process "
        f"{answer['pid']}, up {seconds_words(answer['uptime_s'])}: {mode}"
    )
    say()
    say_table(
        ("TUNER", "STATE", "WHAT IT DOES"),
        [(one["name"], one["state"], _about(one)) for one in tuners],
    )
    say()
    _say_values(answer)
    _say_cost(answer)
    return code


def _say_values(answer: Reply) -> None:
    """Tell what is in force, and what is the admin's."""
    in_force, yielded = answer["in_force"], answer["yielded"]
    if in_force:
        say_table(
            ("IN FORCE", "NETNS", "FOUND", "NOW", "STATE", "UNDO"),
            [_row(one) for one in in_force],
        )
        change = in_force[-1]["change"] or "CHANGE"
        say(
            f"The whole story: bpftune explain {change}. "
            "Undo all: bpftune rollback --all"
        )
    elif destinations := sum(map(_destinations, answer["tuners"])):
        say_wrapped(
            "In force: ",
            "no sysctl, every value is as it was found; but a decision for "
            f"{counted(destinations, 'destination')}. Which and why: bpftune history, "
            "bpftune explain PREFIX. Undo all: bpftune rollback --all",
        )
    else:
        say("In force: nothing; every value is as it was found.")
    if yielded:
        told = [
            f"{move(one['tunable'], None, None)[0]}{_aside(one['netns'])}"
            for one in yielded
        ]
        say_wrapped("Left to the admin: ", listed(told))
    if answer["advice"]:
        many = counted(answer["advice"], "piece of advice", "pieces of advice")
        say(f"{many}: bpftune advise")
    say()


def _about(tuner: dict[str, Any]) -> str:
    """Return what a tuner does, or why it does not."""
    broken = tuner["state"] in BROKEN
    told = str((tuner["why"] if broken else None) or tuner["summary"])
    many = _destinations(tuner)
    return f"{told} (now for {counted(many, 'destination')})" if many else told


def _destinations(tuner: dict[str, Any]) -> int:
    """Return for how many destinations a tuner has something in force."""
    return int(tuner.get("destinations", 0))


def _row(one: dict[str, Any]) -> tuple[str, ...]:
    what, found, now = move(one["tunable"], one["found"], one["expected"])
    undo = f"bpftune rollback {one['change']}" if one["change"] else one["undo"] or ""
    state = STATES.get(one["state"], one["state"])
    return what, where(one["netns"]), found, now, state, undo


def _aside(netns: dict[str, Any]) -> str:
    return "" if netns["name"] == "host" else f" in netns {where(netns)}"


def _say_cost(answer: Reply) -> None:
    """Tell what was seen, what was lost, and what all this costs."""
    cost = answer["cost"]
    seen = counted(answer["events"], "event")
    known = counted(answer["netns_tracked"], "network namespace")
    lost = listed([f"{one['count']} ({one['cause']})" for one in answer["lost"]])
    say_wrapped("Seen: ", f"{seen} in {known}; lost: {lost}")
    maps = cost.get("maps_bytes")
    kernel = f" and {size_words(maps)} in the kernel" if maps is not None else ""
    share = ""
    if answer["uptime_s"] >= SETTLED_S:
        share = f" ({cost['cpu_s'] / answer['uptime_s']:.2%} of one)"
    say_wrapped(
        "Cost: ",
        f"{size_words(cost['rss_bytes'])} of memory{kernel}, "
        f"{seconds_words(cost['cpu_s'])} of CPU{share}, "
        f"{counted(cost['wakeups'], 'wake-up')}",
    )


def verify(*, json: bool = False) -> int:
    """Compare the kernel's values with those expected; 6 if one differs."""
    answer = call("Verify")
    drift = answer["drift"]
    code = ExitCode.DRIFT if drift else ExitCode.OK
    if json:
        say_json(answer)
        return code
    if drift:
        say_table(
            ("TUNABLE", "NETNS", "EXPECTED", "NOW", "SET BY"),
            [
                (
                    one["tunable"],
                    where(one["netns"]),
                    whole(one["expected"]),
                    whole(one["now"]),
                    one["by"] or "unknown",
                )
                for one in drift
            ],
        )
        say("bpftune leaves these to whoever set them.")
    elif answer["checked"]:
        say(f"{counted(answer['checked'], 'value')} checked, all as expected.")
    else:
        say("Nothing of bpftune's is in force, so there is nothing to check.")
    return code
