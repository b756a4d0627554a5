"""Which congestion controls may be tried on a path."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

SAFE = ("cubic", "bbr")
"""What runs on the public Internet beside all others, besides the admin's default."""

DCTCP = "dctcp"
DCTCP_RTT_US = 1000
"""A data centre's round trip: dctcp is for those only (RFC 8257, 1 and 5)."""


@dataclass(frozen=True, slots=True)
class Ecn:
    """What is known of explicit congestion notification on a path.

    *ce_marks*: how many marks were seen, of which dctcp lives. *permitted*: the
    admin said that all hosts of that path run dctcp; beside others it starves them.
    """

    negotiated: bool = False
    ce_marks: int = 0
    rtt_us: int = 0
    permitted: bool = False

    @property
    def suits_dctcp(self) -> bool:
        """Whether dctcp may be tried (RFC 8257, 5)."""
        near = 0 < self.rtt_us < DCTCP_RTT_US
        return self.permitted and self.negotiated and near and self.ce_marks > 0


def arms(
    default: str,
    available: Collection[str],
    failed: Collection[str] = (),
    ecn: Ecn | None = None,
) -> tuple[str, ...]:
    """Return the arms of a path, the default first.

    *available* is ``tcp_available_congestion_control`` as it is now, *failed* those
    that ``bpf_setsockopt`` refused. Where the admin's default is none of the safe
    ones (a data centre's dctcp, a lab's own) there is nothing to choose.
    """
    if default == DCTCP:
        return (default,)
    names = [*SAFE, DCTCP] if ecn is not None and ecn.suits_dctcp else list(SAFE)
    usable = set(available) - set(failed)
    return (default, *(name for name in names if name in usable and name != default))
