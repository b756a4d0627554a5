"""How a decision about a tunable is told: what, why, and the command that undoes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bpftune.records import Record

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from bpftune.entry import Entry
    from bpftune.model import Advise, Change, Keep, Netns, NetnsCookie, Tunable, Value


def evidence_of(request: Change | Keep) -> dict[str, object]:
    """Return what machines are told beyond the sentence."""
    facts: dict[str, object] = {"evidence": request.evidence}
    if request.tried is not None:
        facts["trial"] = request.tried.as_facts()
    return facts


class Teller:
    """Makes records of what becomes of tunables."""

    def __init__(
        self, tell: Callable[[Record], None], undo_prefix: Callable[[NetnsCookie], str]
    ) -> None:
        """Tell *tell*; commands for a namespace begin with its *undo_prefix*."""
        self._tell = tell
        self._undo_prefix = undo_prefix

    def by_hand(self, netns: Netns, tunable: Tunable, value: Value) -> str:
        """Return the command with which a person sets *value*."""
        numbers = " ".join(map(str, value))
        return f"{self._undo_prefix(netns.cookie)}sysctl -w {tunable.name}='{numbers}'"

    def advise(self, tuner: str, advice: Advise, netns: Netns) -> None:
        """Tell the admin what limits; it is for them to change."""
        tunable = advice.tunable
        self._tell(
            Record(
                record="advice",
                why=advice.why,
                tuner=tuner,
                tunable=tunable.name,
                netns=netns,
                old=advice.old,
                new=advice.new,
                undo=self.by_hand(netns, tunable, advice.new),
            )
        )

    def say(
        self,
        kind: str,
        entry: Entry,
        why: str,
        old: Value,
        new: Value,
        extra: Mapping[str, object] | None = None,
        *,
        by_hand: Value | None = None,
    ) -> None:
        """Tell that *entry* went from *old* to *new*; *by_hand* is the way back.

        A refusal that was told before may be told again from now on.
        """
        entry.refused = None
        undo = None
        if by_hand is not None and by_hand != entry.expected:
            undo = self.by_hand(entry.netns, entry.tunable, by_hand)
        self._tell(
            Record(
                record=kind,
                why=why,
                tuner=entry.tuner,
                tunable=entry.tunable.name,
                netns=entry.netns,
                old=old,
                new=new,
                change=entry.change_id,
                undo=undo,
                extra=extra or {},
            )
        )
