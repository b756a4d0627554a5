"""Give back what was grown and is not needed, or not bearable.

Once a minute, while the limit is above what was found.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from bpftune.model import Change, Facts, Memory, Sampled, Wake
from bpftune.tuners.tcp_buffer import say

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bpftune.tuners.tcp_buffer.paths import Answer, Paths

LONGEST_PATIENCE = 24 * 60


def on_wake(state: Paths, facts: Facts) -> Answer:
    """Check once a minute that a limit above what was found is used, and bearable."""
    if not state.may_change(facts):
        return state, []
    now, found = facts.values[state.tunable][2], facts.found[state.tunable][2]
    if now <= found:
        return replace(state, unused_checks=0), []
    again = Wake(state.side.unused, 60)
    if is_short(facts.memory) and not state.climbing():
        why = say.short_of_memory(facts.memory)
        held = {"tcp_used_bytes": facts.memory.tcp_used_bytes}
        state, requests = _shrunk(state, facts, why, held)
        return state, [*requests, again]
    half = max(found, now // 2)
    return state, [state.watch(None, 0, 1, half + 1), again]


def is_short(memory: Memory) -> bool:
    """Tell if TCP holds so much memory that the kernel saves it (``tcp_mem[1]``)."""
    return memory.tcp_used_bytes >= memory.tcp_pressure_bytes


def on_unused_check(state: Paths, event: Sampled, facts: Facts) -> Answer:
    """Count the checks that found no connection in need of more than half."""
    if event.sockets or state.climbing() or state.tunable not in facts.values:
        return replace(state, unused_checks=0), []
    checks = state.unused_checks + 1
    if checks < state.patience:
        return replace(state, unused_checks=checks), []
    why = say.unused(checks, receivers=state.side.receivers)
    return _shrunk(state, facts, why, {"checks": checks})


def _shrunk(
    state: Paths, facts: Facts, why: str, evidence: Mapping[str, object]
) -> Answer:
    """Give half of the limit back, but for what was found."""
    low, default, now = facts.values[state.tunable]
    half = max(facts.found[state.tunable][2], now // 2)
    if half >= now:
        return replace(state, unused_checks=0), []
    value = (low, default, half)
    shrunk = Change(state.tunable, value, why, record="shrunk", evidence=evidence)
    return replace(state, unused_checks=0, shrank=True), [shrunk]


def grew(state: Paths) -> Paths:
    """Grow again after shrinking: the shrink was a mistake, be more patient."""
    patience = state.patience * 2 if state.shrank else state.patience
    return replace(
        state,
        unused_checks=0,
        shrank=False,
        patience=min(patience, LONGEST_PATIENCE),
    )
