"""What a trial predicted and what it measured, in words for people."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from bpftune.cli.sentences import LARGEST, counted, evidence
from bpftune.text import one_line, rate_words, seconds_words

if TYPE_CHECKING:
    from bpftune.cli.sentences import Told

FINDINGS = {
    "paid": "it paid",
    "unpaid": "it did not pay",
    "harm": "it did harm",
    "unproven": "whether it paid cannot be told",
    "void": "there was nothing to compare",
}
_NOT_FACTS = frozenset({"randomised"})

Lines = list[tuple[str, str]]
"""A label and what stands beside it."""


def measured(record: Told) -> Lines:
    """Return what *record* says was seen, predicted, measured and concluded."""
    trial: Any = record.get("trial")
    facts: Any = record.get("evidence")
    if isinstance(trial, dict):
        return _trial(trial)
    told: Lines = []
    if isinstance(facts, dict):
        words = [evidence(str(k), facts[k]) for k in facts if k not in _NOT_FACTS]
        told += [("seen", ", ".join(words))] if words else []
    if "proved" in record:
        randomised = facts.get("randomised") if isinstance(facts, dict) else None
        told.append(("verdict", _proof(record["proved"], randomised)))
    return told


def destination(record: Told) -> object:
    """Return the destination that *record* is about, if it names one."""
    for facts in (record, record.get("trial"), record.get("evidence")):
        if isinstance(facts, dict) and "destination" in facts:
            return facts["destination"]
    return None


def _number(fields: dict[str, Any], name: str) -> float | None:
    """Return the number of that name, if there is one."""
    found = fields.get(name)
    if isinstance(found, int | float) and abs(found) < LARGEST:
        return found
    return None


def _trial(trial: dict[str, Any]) -> Lines:
    told: Lines = []
    if (predicted := _number(trial, "predicted_nats")) is not None:
        told.append(("predicted", f"a gain of {_percent(predicted)}"))
    for label in ("before", "after"):
        if isinstance(trial.get(label), dict):
            told.append((label, _measurement(trial[label])))
    if (gain := _number(trial, "gain_nats")) is not None:
        told.append(("gained", _percent(gain) + _spread(trial, "gain_error_nats")))
    finding = trial.get("finding")
    if finding is not None:
        words = FINDINGS.get(str(finding), one_line(str(finding)))
        proof = _proof(trial.get("proved"), trial.get("randomised"))
        told.append(("verdict", f"{words}; {proof}"))
    return told


def _proof(proved: object, randomised: object) -> str:
    """Say what a verdict rests on."""
    told = "proved" if proved else "not proved"
    if randomised is None:
        return told
    if randomised:
        return f"{told}, in random order"
    return f"{told}, not randomised: before and after were compared"


def _percent(nats: float) -> str:
    """Return a difference of logarithms as a percentage."""
    return f"{math.expm1(min(nats, 99.0)):+.0%}"


def _spread(fields: dict[str, Any], name: str) -> str:
    """Return two standard errors of a logarithm."""
    error = _number(fields, name)
    return "" if error is None else f" ± {_percent(2 * abs(error)).lstrip('+')}"


def _measurement(one: dict[str, Any]) -> str:
    """Return one measurement as a sentence; what is missing is left out."""
    words = []
    if (rate := _number(one, "bytes_per_s")) is not None:
        words.append(rate_words(rate) + _spread(one, "spread_nats"))
    if (sockets := _number(one, "sockets")) is not None:
        held = _number(one, "sockets_held_back")
        text = counted(round(sockets), "socket")
        words.append(text if held is None else f"{text}, {held:.0f} held back")
    if (srtt := _number(one, "srtt_us")) is not None:
        least = _number(one, "min_rtt_us")
        beside = "" if least is None else f" (least {seconds_words(least / 1e6)})"
        words.append(f"round trip {seconds_words(srtt / 1e6)}{beside}")
    if (lost := _number(one, "retransmitted_share")) is not None:
        words.append(f"{lost:.2%} sent again")
    looks = one.get("looks")
    if isinstance(looks, dict) and looks:
        words.append(evidence("held back by", looks))
    return one_line(", ".join(words))
