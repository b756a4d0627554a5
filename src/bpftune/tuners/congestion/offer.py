"""What the kernel offers in a network namespace at this moment.

Algorithms come and go with modules, and a namespace may have a default of its own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT = "net.ipv4.tcp_congestion_control"
AVAILABLE = "net.ipv4.tcp_available_congestion_control"
ALLOWED = "net.ipv4.tcp_allowed_congestion_control"
LOOK = "look"
"""The name of the timer by which sums are taken out."""

NAMES = (DEFAULT, AVAILABLE, ALLOWED)

MOST = 32
"""The kernel's own list ends at TCP_CA_BUF_MAX, 128 names."""

_NAME = re.compile(r"[!-~]{1,15}")


@dataclass(frozen=True, slots=True)
class Offer:
    """The default of new sockets, what there is, and what any user may choose.

    A program in the kernel may set all that is *available*.
    """

    default: str
    available: tuple[str, ...]
    allowed: tuple[str, ...]


def read(texts: Mapping[str, str]) -> Offer | None:
    """Make sense of what ``ReadText(NAMES)`` brought; None if there is no default."""
    default = _names(texts.get(DEFAULT, ""))
    if not default:
        return None
    return Offer(
        default[0], _names(texts.get(AVAILABLE, "")), _names(texts.get(ALLOWED, ""))
    )


def _names(text: str) -> tuple[str, ...]:
    words = [word for word in text.split() if _NAME.fullmatch(word)]
    return (*words[:MOST],)
