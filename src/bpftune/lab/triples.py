"""``tcp_wmem`` and ``tcp_rmem``: set before a run, watched while it goes on."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bpftune.lab.child import Record
    from bpftune.lab.namespaces import Namespace

WMEM = "net.ipv4.tcp_wmem"
RMEM = "net.ipv4.tcp_rmem"


class Watched:
    """A sysctl of the namespace at one end of a path over time, by looking."""

    def __init__(self, end: str, namespace: Namespace, name: str) -> None:
        """Open it; the descriptor does not keep the namespace alive."""
        self.end = end
        self.name = name
        self.descriptor = namespace.open_sysctl(name)
        self.values: list[tuple[float, list[int]]] = []

    def look(self) -> None:
        """Take note if the value is another than before."""
        value = [int(word) for word in os.pread(self.descriptor, 256, 0).split()]
        if not self.values or self.values[-1][1] != value:
            self.values.append((time.monotonic(), value))

    def close(self) -> None:
        """Close the descriptor."""
        os.close(self.descriptor)

    def since(self, start_s: float) -> list[Record]:
        """Return the values met, with times since *start_s*."""
        return [
            {
                "t_s": round(max(0.0, t_s - start_s), 2),
                "end": self.end,
                "tunable": self.name,
                "value": value,
            }
            for t_s, value in self.values
        ]


def in_order(watched: Iterable[Watched], start_s: float) -> list[Record]:
    """Return all values met, in the order of time."""
    met = [record for one in watched for record in one.since(start_s)]
    return sorted(met, key=lambda record: record["t_s"])


def triple(
    found: tuple[int, int, int], initial: int | None, maximum: int | None
) -> tuple[int, int, int]:
    """Return *found* with its last two numbers set where given, and in order.

    The maximum given gives way to nothing; the least gives way to both.
    """
    least, default, most = found
    default = default if initial is None else initial
    most = max(most, default) if maximum is None else maximum
    default = min(default, most)
    return min(least, default), default, most


def set_triple(
    namespace: Namespace, name: str, initial: int | None, maximum: int | None
) -> None:
    """Set the last two of a sysctl's three numbers, None leaves what is there."""
    if initial is not None or maximum is not None:
        least, default, most = map(int, namespace.sysctl(name).split())
        value = triple((least, default, most), initial, maximum)
        namespace.set_sysctl(name, " ".join(map(str, value)))
