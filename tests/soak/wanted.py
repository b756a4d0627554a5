"""What has to hold: which values belong where, whatever becomes of the daemon.

The original of a sysctl is what nobody but the daemon can have replaced: the value
at first, or what the admin set last. What is the admin's, or was rolled back, is in
force now; anything else may be the daemon's, until it is rolled back.
"""

from __future__ import annotations

from collections.abc import Mapping

Place = tuple[str, str]
"""The name of a network namespace, and that of a sysctl."""


class Wanted:
    """The originals, and whose each value is."""

    def __init__(self) -> None:
        """Expect nothing yet."""
        self._originals: dict[Place, str] = {}
        self._held: set[Place] = set()
        self._set: set[Place] = set()

    def found(self, netns: str, values: Mapping[str, str]) -> None:
        """Note what a new namespace came with."""
        self._originals.update(((netns, name), text) for name, text in values.items())

    def admin_set(self, netns: str, name: str, value: str) -> None:
        """Note what the admin wrote. It is theirs once the daemon said so."""
        self._originals[netns, name] = value
        self._set.add((netns, name))

    def yielded(self, netns: str, name: str) -> str | None:
        """Note that the daemon said it is the admin's: it must not touch it any more.

        Return what is wrong with that, if the admin never set it.
        """
        place = netns, name
        if place not in self._originals:
            return None
        self._held.add(place)
        if place not in self._set:
            return f"nobody set {name} in {netns}, but it was handed over"
        return None

    def given_back(self, netns: str, name: str) -> None:
        """Note that the admin has the daemon look after it again."""
        self._held.discard((netns, name))
        self._set.discard((netns, name))

    def rolled_back(self, netns: str, name: str) -> None:
        """Note that it was put back to its original, and is left so."""
        if (netns, name) in self._originals:
            self._held.add((netns, name))

    def ended(self, netns: str) -> None:
        """Forget a namespace."""
        self._originals = {p: v for p, v in self._originals.items() if p[0] != netns}
        self._held = {place for place in self._held if place[0] != netns}
        self._set = {place for place in self._set if place[0] != netns}

    def is_held(self, netns: str, name: str) -> bool:
        """Tell whether it has to be at its original now."""
        return (netns, name) in self._held

    def places(self) -> set[Place]:
        """Return all that is known."""
        return set(self._originals)

    def held(self) -> set[Place]:
        """Return what has to be at its original now."""
        return set(self._held)

    def wrong(
        self, values: Mapping[Place, str], *, only_held: bool = False
    ) -> list[str]:
        """Return what in *values* is not at its original, in words."""
        places = self._held if only_held else self._originals.keys()
        return [
            f"{name} in {netns} is {values.get((netns, name), 'missing')!r} "
            f"instead of {self._originals[netns, name]!r}"
            for netns, name in sorted(places)
            if values.get((netns, name)) != self._originals[netns, name]
        ]
