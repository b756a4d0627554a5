"""Who may do what over the control socket.

The kernel says who connected (``SO_PEERCRED``, unix(7)), in the numbers of our own
user namespace. Root of another user namespace is the overflow user there, 65534,
and so are its groups.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

GROUP = "bpftune"
OVERFLOW = 65534
"""User and group that our user namespace does not have (DEFAULT_OVERFLOWUID)."""

UCRED = struct.Struct("=iII")  # struct ucred: pid, uid, gid


@dataclass(frozen=True, slots=True)
class Peer:
    """Whoever connected: user, group and supplementary groups at that time."""

    uid: int
    gid: int
    groups: frozenset[int] = frozenset()


def is_trusted(peer: Peer, group: int | None) -> bool:
    """Tell whether *peer* may change things, and see who our peers are.

    *group* is the number of the group ``bpftune``, None if there is none.
    """
    if peer.uid == 0:
        return True
    if group is None or group == OVERFLOW:
        return False
    return group == peer.gid or group in peer.groups


def group_number(text: str, name: str = GROUP) -> int | None:
    """Return the number of a group in *text*, a file as group(5) describes it.

    The C library would ask LDAP and the like, and the daemon would wait for it.
    """
    for line in text.splitlines():
        words = line.split(":")
        if len(words) == 4 and words[0] == name and words[2].isdecimal():
            return int(words[2])
    return None
