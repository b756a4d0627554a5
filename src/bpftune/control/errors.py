"""The errors of our own interface."""

from __future__ import annotations

from bpftune.control.framing import CallError
from bpftune.control.interface import NAME
from bpftune.text import one_line

__all__ = ["CallError", "answered"]


def answered(name: str, text: str) -> CallError:
    """Return the error *name* of the interface, with what or why in words."""
    key = "what" if name == "NoSuch" else "why"
    return CallError(f"{NAME}.{name}", **{key: one_line(text)})
