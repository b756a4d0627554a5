"""Events in = handled + counted lost, for one run of the daemon."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Sent:
    """Events that were caused: in namespaces that stay, and in those about to end."""

    living: int = 0
    dying: int = 0

    @property
    def total(self) -> int:
        """All of them."""
        return self.living + self.dying

    def __add__(self, other: Sent) -> Sent:
        return Sent(self.living + other.living, self.dying + other.dying)


@dataclass(frozen=True)
class Counted:
    """What the daemon says became of them.

    *received* from the ring buffer, *handled* by the tuner, *lost* before they were
    received; *gone* counts events of any tuner whose namespace had ended. *disordered*
    came before one that was sent earlier.
    """

    received: int = 0
    handled: int = 0
    lost: int = 0
    gone: int = 0
    disordered: int = 0


def unaccounted(sent: Sent, counted: Counted) -> list[str]:
    """Return what does not add up, in words; nothing if all does."""
    told = []
    if counted.received + counted.lost != sent.total:
        told.append(
            f"of {sent.total} events {counted.received} were received "
            f"and {counted.lost} counted as lost"
        )
    dropped = counted.received - counted.handled
    if not 0 <= dropped <= min(sent.dying, counted.gone):
        told.append(
            f"of {counted.received} events received {counted.handled} were handled, "
            f"{sent.dying} were of namespaces about to end, and {counted.gone} "
            "counted as too late"
        )
    if counted.disordered:
        told.append(f"{counted.disordered} events came before earlier ones")
    return told
