"""What of a scenario differs at another destination, beside, and after a while.

All are settings as on the command line, of what a path is like and what goes over
it: ``loss=1% flows=4``, and ``600s bdp=0.25 flows=4; 1200s bdp=1 flows=1``. What a
turn does not set stays as it was.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from bpftune.lab.scenario import Scenario, ScenarioError, override
from bpftune.lab.traffic import Traffic, Transfers
from bpftune.lab.values import parse_seconds

if TYPE_CHECKING:
    from collections.abc import Iterable

PATH = {"rate", "rtt", "queue", "bdp", "loss", "flows"}
SECOND = PATH | {"traffic", "transfer", "think"}
ALSO = {"traffic", "flows", "transfer", "think", "request", "response"}


class Turn(NamedTuple):
    """What the scenario is from *at_s* on."""

    at_s: float
    scenario: Scenario


def turns(scenario: Scenario) -> list[Turn]:
    """Return the turns of *scenario*, in order; ScenarioError where there is none."""
    found: list[Turn] = []
    now = replace(scenario, turns="")
    for text in filter(str.strip, scenario.turns.split(";")):
        at, *settings = text.split()
        now = _set(now, settings, PATH)
        found.append(Turn(parse_seconds(at), now))
    if found and scenario.rate_bits_per_s is None:
        raise ScenarioError("turns: a veth pair has nothing to change")
    if any(late.at_s <= soon.at_s for soon, late in pairwise(found)):
        raise ScenarioError("turns: each is later than the one before")
    changes_users = any(turn.scenario.flows != scenario.flows for turn in found)
    if changes_users and scenario.traffic != "transfers":
        raise ScenarioError("turns: only the flows of transfers come and go")
    return found


def traffic(scenario: Scenario) -> Traffic:
    """Return the traffic to be measured, with the flows that come and go."""
    made = scenario.make_traffic()
    users = [(turn.at_s, turn.scenario.flows) for turn in turns(scenario)]
    if not isinstance(made, Transfers) or not users:
        return made
    users.insert(0, (0.0, scenario.flows))
    return replace(made, flows=max(count for _, count in users), users=tuple(users))


def second(scenario: Scenario) -> Scenario | None:
    """Return what goes to the other destination, None if there is none."""
    settings = scenario.second.split()
    if not settings:
        return None
    if scenario.rate_bits_per_s is None:
        raise ScenarioError("second: a veth pair has no router")
    return _set(replace(scenario, second="", turns=""), settings, SECOND)


def also(scenario: Scenario) -> Traffic | None:
    """Return what else goes over the path of *scenario*, None if nothing does."""
    settings = scenario.also.split()
    if not settings:
        return None
    return _set(replace(scenario, also="", turns=""), settings, ALSO).make_traffic()


def shortened(scenario: Scenario, seconds: float) -> Scenario:
    """Return *scenario* as it is run for *seconds*, its turns in proportion."""
    factor = seconds / scenario.seconds
    told = []
    for text in filter(str.strip, scenario.turns.split(";")):
        at, _, settings = text.strip().partition(" ")
        told.append(f"{parse_seconds(at) * factor:g}s {settings}")
    return replace(scenario, seconds=seconds, turns="; ".join(told))


def _set(scenario: Scenario, settings: Iterable[str], keys: set[str]) -> Scenario:
    for setting in settings:
        if setting.partition("=")[0] not in keys:
            raise ScenarioError(f"{setting!r}: only {', '.join(sorted(keys))} here")
    return override(scenario, list(settings))
