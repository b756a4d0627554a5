"""Hide the addresses of peers from those who may not know who they are. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping

HIDDEN = "(hidden)"

# Rather too much than too little: all that has the form of an address is hidden,
# whatever stands beside it.
_IPV4 = re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}(?:/[0-9]{1,2})?")
_IPV6 = re.compile(r"[0-9A-Fa-f]*:[0-9A-Fa-f]*:[0-9A-Fa-f:.]*(?:/[0-9]{1,3})?")

# Text that never has a peer in it, and looks as if it had.
_OPEN = frozenset({"time", "started", "version"})


def hide(text: str) -> str:
    """Return *text* without what looks like an address or a prefix, IPv4 or IPv6."""
    return _IPV4.sub(HIDDEN, _IPV6.sub(HIDDEN, text))


def redacted(thing: object) -> object:
    """Return *thing*, as JSON has it, with all text in it without addresses."""
    if isinstance(thing, str):
        return hide(thing)
    if isinstance(thing, Mapping):
        return {
            hide(str(key)): thing[key] if key in _OPEN else redacted(thing[key])
            for key in thing
        }
    if isinstance(thing, list | tuple):
        return [redacted(one) for one in thing]
    return thing
