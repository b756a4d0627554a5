"""Events in = handled + counted lost, for one run of the daemon."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Counted:
    """What the daemon says became of the events of one tuner.

    *received* from the ring buffer, *handled* by the tuner, *lost* before they were
    received; *gone* counts events, of any tuner, whose namespace could not be found
    any more, or not yet. *disordered* came before one that was sent earlier.
    """

    received: int = 0
    handled: int = 0
    lost: int = 0
    gone: int = 0
    disordered: int = 0

    @property
    def dropped(self) -> int:
        """Received, and not handled."""
        return self.received - self.handled


def unaccounted(sent: int, counted: Counted) -> list[str]:
    """Return in words what does not add up of *sent* events; nothing if all does."""
    told = []
    if counted.received + counted.lost != sent:
        told.append(
            f"of {sent} events {counted.received} were received "
            f"and {counted.lost} counted as lost"
        )
    if not 0 <= counted.dropped <= counted.gone:
        told.append(
            f"of {counted.received} events received {counted.handled} were handled, "
            f"and {counted.gone} counted as of namespaces that are gone"
        )
    if counted.disordered:
        told.append(f"{counted.disordered} events came before earlier ones")
    return told
