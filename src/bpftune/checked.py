"""Check that what was read from a file is as it should be, in form and in bounds.

Each function returns the thing, or raises ``InvalidError``.
"""

from __future__ import annotations

from typing import Any

MOST_TEXT = 256


class InvalidError(ValueError):
    """What was read is not as it should be."""


def rows(thing: Any, width: int) -> list[list[Any]]:
    """Return a list of lists of this width."""
    if not isinstance(thing, list):
        raise InvalidError("not a list")
    if any(not isinstance(row, list) or len(row) != width for row in thing):
        raise InvalidError(f"not a list of {width} things")
    return thing


def text(thing: Any) -> str:
    """Return a text that is not empty, nor long."""
    if not isinstance(thing, str) or not 0 < len(thing) <= MOST_TEXT:
        raise InvalidError("not a name")
    return thing


def number(thing: Any, least: float, most: float) -> float:
    """Return a number within bounds."""
    if isinstance(thing, bool) or not isinstance(thing, int | float):
        raise InvalidError("not a number")
    if not least <= thing <= most:  # NaN is not, either
        raise InvalidError(f"a number is not within {least:g} and {most:g}")
    return float(thing)


def whole(thing: Any, least: int, most: int) -> int:
    """Return a whole number within bounds."""
    if isinstance(thing, bool) or not isinstance(thing, int):
        raise InvalidError("not a whole number")
    if not least <= thing <= most:
        raise InvalidError(f"a number is not within {least} and {most}")
    return thing
