"""What is known of destinations, as JSON has it: bounded, checked, and ageing.

It only biases: a destination goes on with what was best, and a block that does harm
ends as early as any.
"""

from __future__ import annotations

from dataclasses import astuple
from typing import TYPE_CHECKING, Any

from bpftune.checked import InvalidError, number, rows, text, whole
from bpftune.model import Prefix
from bpftune.policy.arms import REMEMBERED, Arm
from bpftune.policy.blocks import Block
from bpftune.policy.choice import Choice
from bpftune.policy.excursion import Proof
from bpftune.policy.paired import Pairs
from bpftune.policy.reward import SizeClass
from bpftune.policy.veto import LONGEST_WAIT_S, VETO_S, Veto
from bpftune.policy.window import (
    DEFAULT_SEGMENTS,
    FIRST_WAIT_S,
    MOST_SEGMENTS,
    Window,
)
from bpftune.policy.window import LONGEST_WAIT_S as LONGEST_WINDOW_WAIT_S
from bpftune.tuners.congestion.destination import Destination, first_run

if TYPE_CHECKING:
    from collections.abc import Mapping

SCHEMA = 1
MOST = 512
MOST_ARMS = 8
DAY_S = 86400.0
LIFE_S = 90 * DAY_S

_LATEST_UNIX_S = 1e11
_MOST_BLOCKS = 1 / (1 - REMEMBERED) + 1
_MOST_NATS = 100.0  # exp(100) of anything is absurd
_MOST_COUNT = 2**53
_MOST_CARRIED = 2.0**63
_MOST_RTT_US = 2**31

Known = dict[str, dict[Prefix, Destination]]


def as_json(
    known: Mapping[str, Mapping[Prefix, Destination]], now_s: float, now_unix_s: float
) -> object:
    """Return all of which something is known, those of late first; None if none."""
    told = [
        (one.seen_s, _destination(netns, one, now_s, now_unix_s))
        for netns, theirs in known.items()
        for one in theirs.values()
        if one.choice.known or one.window.segments != DEFAULT_SEGMENTS
    ]
    if not told:
        return None
    told.sort(key=lambda one: -one[0])
    return {"schema": SCHEMA, "destinations": [one for _, one in told[:MOST]]}


def _destination(
    netns: str, one: Destination, now_s: float, now_unix_s: float
) -> dict[str, object]:
    choice, window = one.choice, one.window
    return {
        "netns": netns,
        "prefix": str(one.prefix),
        "seen_unix_s": round(now_unix_s - (now_s - one.seen_s)),
        "default": choice.default,
        "standing": choice.standing,
        "known": [
            [int(size), name, *astuple(arm)]
            for size, arms in choice.known.items()
            for name, arm in arms.items()
        ],
        "carried": [choice.carried.get(size, 0.0) for size in SizeClass],
        "carried_small": choice.carried_small,
        "vetoes": [
            [name, veto.early_ends, veto.wait_s, _left(veto.until_s, now_s)]
            for name, veto in choice.vetoes.items()
            if veto.early_ends
        ],
        "pairs": [
            [name, pairs.won, pairs.pairs] for name, pairs in choice.proof.pairs.items()
        ],
        "min_rtt_us": choice.min_rtt_us,
        "window": [
            window.segments,
            window.wait_s,
            _left(window.wait_until_s, now_s),
        ],
    }


def _left(until_s: float, now_s: float) -> float:
    return max(0.0, until_s - now_s)


def parsed(data: Any, now_s: float, now_unix_s: float) -> Known:
    """Return what JSON *data* says, by namespace. Raises InvalidError.

    What was not heard of for 90 days is forgotten. Waits go on as long as they were,
    whatever time has passed.
    """
    if not isinstance(data, dict) or data.get("schema") != SCHEMA:
        raise InvalidError(f"it is not of schema {SCHEMA}")
    told = data.get("destinations")
    if not isinstance(told, list) or len(told) > MOST:
        raise InvalidError("no list of destinations, or too long")
    known: Known = {}
    for one in told:
        if not isinstance(one, dict):
            raise InvalidError("a destination is no object")
        age_s = now_unix_s - number(one.get("seen_unix_s"), 0, _LATEST_UNIX_S)
        destination = _parsed(one, now_s, max(0.0, age_s))
        if age_s < LIFE_S:
            netns = known.setdefault(text(one.get("netns")), {})
            netns[destination.prefix] = destination
    return known


def _parsed(one: dict[str, Any], now_s: float, age_s: float) -> Destination:
    default, standing = name_of(one.get("default")), name_of(one.get("standing"))
    known: dict[SizeClass, dict[str, Arm]] = {}
    for size, name, *numbers in _few(one.get("known"), 13, 3 * MOST_ARMS):
        arms = known.setdefault(SizeClass(whole(size, 0, 2)), {})
        arms[name_of(name)] = _arm(numbers)
    carried = rows([one.get("carried")], 3)[0]
    rtt_us = whole(one.get("min_rtt_us"), 0, _MOST_RTT_US)
    choice = Choice(
        default,
        tuple(dict.fromkeys((default, standing))),
        Block(standing, first_run(now_s), now_s),
        standing,
        known=known,
        carried={
            size: number(sent, 0, _MOST_CARRIED)
            for size, sent in zip(SizeClass, carried, strict=True)
        },
        carried_small=number(one.get("carried_small"), 0, _MOST_CARRIED),
        vetoes={
            name_of(name): _veto(ends, wait_s, left_s, now_s)
            for name, ends, wait_s, left_s in _few(one.get("vetoes"), 4)
        },
        proof=Proof(
            {
                name_of(name): _pairs(won, pairs)
                for name, won, pairs in _few(one.get("pairs"), 3)
            }
        ),
        min_rtts=(rtt_us, rtt_us),
        min_rtt_s=now_s,
    )
    window = _window(one.get("window"), now_s)
    return Destination(
        Prefix.of(text(one.get("prefix"))), choice, window, seen_s=now_s - age_s
    )


def _few(thing: Any, width: int, most: int = MOST_ARMS) -> list[list[Any]]:
    found = rows(thing, width)
    if len(found) > most:
        raise InvalidError("too many arms")
    return found


def _arm(numbers: list[Any]) -> Arm:
    """Return an arm whose watch for a turn begins anew."""
    n, s, ss, rates, srtts, losses, early, _up, _down, blocks, flows = numbers
    n = number(n, 0, _MOST_BLOCKS)
    nats = n * _MOST_NATS
    return Arm(
        n=n,
        s=number(s, -nats, nats),
        ss=number(ss, 0, nats * _MOST_NATS),
        log_rates=number(rates, -nats, nats),
        log_srtts=number(srtts, -nats, nats),
        losses=number(losses, 0, n),
        early_losses=number(early, 0, n),
        blocks=whole(blocks, 0, _MOST_COUNT),
        flows=whole(flows, 0, _MOST_COUNT),
    )


def _veto(ends: Any, wait_s: Any, left_s: Any, now_s: float) -> Veto:
    return Veto(
        early_ends=whole(ends, 1, _MOST_COUNT),
        wait_s=number(wait_s, VETO_S, LONGEST_WAIT_S),
        until_s=now_s + number(left_s, 0, LONGEST_WAIT_S),
        waits=True,
    )


def _pairs(won: Any, pairs: Any) -> Pairs:
    pairs = whole(pairs, 0, 1_000_000)
    return Pairs(whole(won, 0, pairs), pairs)


def _window(thing: Any, now_s: float) -> Window:
    segments, wait_s, left_s = rows([thing], 3)[0]
    return Window(
        segments=whole(segments, DEFAULT_SEGMENTS, MOST_SEGMENTS),
        wait_s=number(wait_s, FIRST_WAIT_S, LONGEST_WINDOW_WAIT_S),
        wait_until_s=now_s + number(left_s, 0, LONGEST_WINDOW_WAIT_S),
    )


def name_of(thing: Any) -> str:
    """Return the name of an algorithm."""
    name = text(thing)
    if len(name) > 15 or not name.isascii() or not name.isprintable() or " " in name:
        raise InvalidError("not the name of a congestion control")
    return name
