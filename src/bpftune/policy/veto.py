"""How long an arm that did harm has to wait before it is tried again."""

from __future__ import annotations

from dataclasses import dataclass, replace

FIRST_WAIT_S = 600.0
VETO_S = 3600.0
LONGEST_WAIT_S = 7 * 24 * 3600.0
"""After one early end; after a second in a row, and twice as long after each that
follows; and at most. Nothing but a trial can tell that a path turned in favour of an
arm, if the default's blocks do not change; and a trial that ends early costs four
flows."""


@dataclass(frozen=True, slots=True)
class Veto:
    """No block under an arm before *until_s*, after *early_ends* in a row.

    It *waits* until, after that, the arm is taken for one that was never seen.
    """

    early_ends: int = 0
    until_s: float = 0.0
    wait_s: float = VETO_S
    waits: bool = False

    def forbids(self, now_s: float) -> bool:
        """Whether the arm must not be used yet."""
        return now_s < self.until_s

    def is_over(self, now_s: float) -> bool:
        """Whether the wait ended, and the arm has not been told so."""
        return self.waits and now_s >= self.until_s

    def ended_early(self, now_s: float) -> Veto:
        """Return the veto after a block that did harm, or had no flows."""
        if not self.early_ends:
            first_s = now_s + FIRST_WAIT_S
            return replace(self, early_ends=1, until_s=first_s, waits=True)
        return Veto(
            early_ends=self.early_ends + 1,
            until_s=now_s + self.wait_s,
            wait_s=min(2 * self.wait_s, LONGEST_WAIT_S),
            waits=True,
        )

    def turned(self, now_s: float) -> Veto:
        """Return the veto after the best arm known did harm: the path turned.

        That says nothing of trials. It may turn back any time, and the blocks of the
        default need not show that: where one user over a path with 0.1 % loss became
        four who share a shallow one, and one again, they were worth the same.
        """
        return replace(self, until_s=now_s + FIRST_WAIT_S, waits=True)

    def lifted(self, now_s: float) -> Veto:
        """Return the veto as the path turned: the arm may be tried now."""
        return replace(self, until_s=min(self.until_s, now_s))
